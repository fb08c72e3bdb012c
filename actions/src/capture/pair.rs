//! The two hosts of a capture, and the name of their rule. The name is made of addresses and of the instance alone, so
//! that the same pair has the same name before and after a restart, and no text of a packet is ever in it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the names of all our rules begin with, whichever instance made them.
pub const PREFIX: &str = "fs_";

/// Characters of an instance's name at most.
pub const LONGEST_INSTANCE: usize = 12;

/// Two hosts, in an order of their own: a pair is the same whoever is local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    low: IpAddr,
    high: IpAddr,
}

impl Pair {
    /// The pair of two hosts of one family; `None` for two families or one host.
    pub fn new(a: IpAddr, b: IpAddr) -> Option<Self> {
        (a != b && a.is_ipv4() == b.is_ipv4()).then(|| Self { low: a.min(b), high: a.max(b) })
    }

    /// Both hosts, the lower address first.
    pub fn hosts(&self) -> [IpAddr; 2] {
        [self.low, self.high]
    }

    /// Whether its addresses are those of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.low.is_ipv6()
    }

    /// The name of its rule when `instance` makes it: `fs_main_10_0_0_162_192_0_2_1`.
    pub fn rule(&self, instance: &str) -> String {
        let mut name = format!("{PREFIX}{instance}");
        for host in self.hosts() {
            match host {
                IpAddr::V4(host) => {
                    for byte in host.octets() {
                        let _ = write!(name, "_{byte}");
                    }
                }
                IpAddr::V6(host) => {
                    let _ = write!(name, "_{:032x}", host.to_bits());
                }
            }
        }
        name
    }

    /// Instance and pair of a rule's name; `None` when it is not one that [`Pair::rule`] makes.
    pub fn of_rule(name: &str) -> Option<(&str, Self)> {
        let (instance, hosts) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let parts: Vec<&str> = hosts.split('_').collect();
        let pair = match parts.as_slice() {
            [low, high] => Self::new(v6(low)?, v6(high)?)?,
            [low @ .., a, b, c, d] if low.len() == 4 => Self::new(v4(low)?, v4(&[a, b, c, d])?)?,
            _ => return None,
        };
        // Only the one spelling that is made is taken: 01 is not 1, and the lower one stands first.
        (is_instance(instance) && pair.rule(instance) == name).then_some((instance, pair))
    }
}

/// Whether a text may name an instance: 1 to 12 characters of `a-z0-9`.
pub fn is_instance(text: &str) -> bool {
    (1..=LONGEST_INSTANCE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The name of an instance for an owner's name: that name where it may be one, else what it begins with and a hash of it,
/// so that two owners have two names: `collector-1.example` is `collec41c7a5`.
pub fn instance(owner: &str) -> String {
    if is_instance(owner) {
        return owner.to_owned();
    }
    let known = |c: &char| c.is_ascii_alphanumeric();
    let mut name: String = owner.chars().filter(known).take(6).collect::<String>().to_ascii_lowercase();
    // FNV-1a: the same in every version, because rules that exist have the name.
    let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let _ = write!(name, "{:06x}", hash & 0xff_ffff);
    name
}

fn v4(parts: &[&str]) -> Option<IpAddr> {
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = part.parse().ok()?;
    }
    Some(Ipv4Addr::from(octets).into())
}

fn v6(part: &str) -> Option<IpAddr> {
    let bits = (part.len() == 32).then(|| u128::from_str_radix(part, 16).ok())??;
    Some(Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(a: &str, b: &str) -> Option<Pair> {
        Pair::new(a.parse().unwrap(), b.parse().unwrap())
    }

    #[test]
    fn a_name_is_made_of_addresses_and_the_instance() {
        let v4 = pair("192.0.2.1", "10.0.0.162").unwrap();
        assert_eq!(v4.rule("main"), "fs_main_10_0_0_162_192_0_2_1");
        assert_eq!(v4, pair("10.0.0.162", "192.0.2.1").unwrap());
        let v6 = pair("2001:db8::1", "fe80::2").unwrap();
        assert_eq!(v6.rule("a1"), "fs_a1_20010db8000000000000000000000001_fe800000000000000000000000000002");
        assert_eq!(pair("10.0.0.1", "10.0.0.1"), None);
        assert_eq!(pair("10.0.0.1", "::1"), None);
    }

    #[test]
    fn every_owner_has_an_instance_of_its_own() {
        assert_eq!(instance("main"), "main");
        let names = ["collector-1.example", "collector-2.example", "Main", "", "ü", "averyveryverylongname"]
            .map(instance);
        assert!(names.iter().all(|name| is_instance(name)), "{names:?}");
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert!(names[0].starts_with("collec"));
    }

    #[test]
    fn only_names_that_are_made_are_read() {
        for name in [
            "",
            "fs_",
            "fs_main",
            "capture1",
            "fs_main_10_0_0_162_192_0_2",
            "fs_main_10_0_0_162_192_0_2_01",
            "fs_main_192_0_2_1_10_0_0_162",
            "fs_main_10_0_0_162_192_0_2_256",
            "fs_main_10_0_0_162_10_0_0_162",
            "fs_Main_10_0_0_162_192_0_2_1",
            "fs_main_10_0_0_162_192_0_2_1\n",
            "fs_aninstancetoolong_10_0_0_162_192_0_2_1",
            "fs_main_20010DB8000000000000000000000001_fe800000000000000000000000000002",
        ] {
            assert_eq!(Pair::of_rule(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(a: [IpAddr; 2], instance in "[a-z0-9]{1,12}") {
            if let Some(pair) = Pair::new(a[0], a[1]) {
                let name = pair.rule(&instance);
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
                prop_assert_eq!(Pair::of_rule(&name), Some((instance.as_str(), pair)));
            }
        }
    }
}
