//! What a container may use, by what the engine says of it.

use docker::Container;

/// How many processors a container may use, rounded up: the least of its limit, its quota, its set and the host's.
pub(super) fn processors(container: &Container, host: u32) -> u32 {
    let nano = container.nano_cpus.map(|nano| nano.div_ceil(1_000_000_000));
    let period = container.cpu_period_us.unwrap_or(100_000).max(1);
    let quota = container.cpu_quota_us.map(|quota| quota.div_ceil(period));
    let limits = [nano, quota, set_size(&container.cpuset_cpus)];
    let least = limits.into_iter().flatten().min().and_then(|least| u32::try_from(least).ok());
    least.map_or(host, |least| least.clamp(1, host.max(1)))
}

/// How many processors a list such as `0-3,8` has; `None` for an empty one, or one that is not understood.
fn set_size(list: &str) -> Option<u64> {
    let mut size = 0_u64;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        size += u64::from(last.checked_sub(first)?) + 1;
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_the_least_limit_rounded_up() {
        let of = |change: &dyn Fn(&mut Container)| {
            let mut container = super::super::population::tests::container();
            change(&mut container);
            processors(&container, 8)
        };
        assert_eq!(of(&|_| {}), 8, "no limit");
        assert_eq!(of(&|c| c.nano_cpus = Some(1_500_000_000)), 2);
        assert_eq!(of(&|c| c.nano_cpus = Some(1)), 1);
        assert_eq!(of(&|c| c.nano_cpus = Some(64_000_000_000)), 8, "more than there are");
        assert_eq!(of(&|c| c.cpu_quota_us = Some(250_000)), 3, "of the usual period");
        assert_eq!(of(&|c| (c.cpu_quota_us, c.cpu_period_us) = (Some(50_000), Some(25_000))), 2);
        assert_eq!(of(&|c| c.cpuset_cpus = "0-2,7".to_owned()), 4);
        let both = |c: &mut Container| (c.nano_cpus, c.cpuset_cpus) = (Some(3_000_000_000), "5".to_owned());
        assert_eq!(of(&both), 1);
        for unclear in ["x", "3-1", "1-", ","] {
            assert_eq!(set_size(unclear), None, "{unclear}");
        }
    }
}
