//! What of a list is taken, and whether the list is taken at all (SPECIFICATION, A11). Prefixes to prefixes, nothing else.

use std::collections::{BTreeMap, HashSet};

use ip_network::{IpNetwork, Ipv4Network, Ipv6Network};

use super::parse::Parsed;

/// Shortest prefixes that are taken.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;

/// Space that no host of the Internet has (RFC 6890 and the registries of IANA); of IPv6 that within 2000::/3.
const RESERVED: [&str; 22] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "::/3",
    "4000::/2",
    "8000::/1",
];

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// Its prefix is shorter than /8, or /19 of IPv6.
    Short,
    /// It overlaps the operator's own networks.
    Own,
    /// It overlaps what is never captured.
    Never,
    /// It overlaps reserved space.
    Reserved,
}

impl Reject {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Own => "own",
            Self::Never => "never",
            Self::Reserved => "reserved",
        }
    }
}

/// What no entry may overlap.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The operator's own networks.
    pub own: Vec<IpNetwork>,
    /// What is never captured.
    pub never: Vec<IpNetwork>,
    /// Reserved space of which entries are taken all the same, for laboratories.
    pub reserved_allowed: Vec<IpNetwork>,
}

/// When a whole list is not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The least share of lines that are entries, 0 to 1.
    pub parsed_least: f64,
    /// The largest share of its entries that may be new, and of the entries before that may be gone, 0 to 1.
    pub change_most: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parsed_least: 0.95, change_most: 0.5 }
    }
}

/// A list that is taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Its prefixes in their order, each once.
    pub networks: Vec<IpNetwork>,
    /// Entries that are not among them, by reason.
    pub rejected: BTreeMap<Reject, usize>,
    /// Entries that were there already.
    pub duplicates: usize,
    /// How many were not there before, and how many have gone.
    pub change: Change,
}

/// How a list differs from the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Prefixes that are new.
    pub added: usize,
    /// Prefixes that have gone.
    pub removed: usize,
}

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Too many lines are no entries.
    #[error("only {:.1} % of its lines are entries, {:.0} % must be; line {line} is not: {text:?}", share * 100.0, least * 100.0)]
    Unparsed {
        /// The share that are.
        share: f64,
        /// The share that must be.
        least: f64,
        /// The first line that is not.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// There is no entry in it.
    #[error("it is empty")]
    Empty,
    /// All of its entries are rejected.
    #[error("all of its {0} entries are rejected")]
    AllRejected(usize),
    /// It differs too much from the one before.
    #[error(
        "it changes by more than {:.0} %: {} of its {after} prefixes are new, and {} of {before} have gone; if it is \
         right, accept the change", most * 100.0, change.added, change.removed
    )]
    Changed {
        /// How.
        change: Change,
        /// Prefixes before.
        before: usize,
        /// Prefixes after.
        after: usize,
        /// The share that may change.
        most: f64,
    },
}

impl Refusal {
    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unparsed { .. } => "unparsed",
            Self::Empty => "empty",
            Self::AllRejected(_) => "all_rejected",
            Self::Changed { .. } => "changed",
        }
    }
}

/// Takes what may be taken of a list. `before` is the list that is in use; without one any change is taken.
///
/// # Errors
/// The list is not taken, and the one before stays.
pub fn accept(
    parsed: Parsed,
    rules: &Rules,
    limits: &Limits,
    before: Option<&[IpNetwork]>,
) -> Result<Accepted, Refusal> {
    if parsed.networks.is_empty() && parsed.unparsed == 0 {
        return Err(Refusal::Empty);
    }
    if parsed.share() < limits.parsed_least {
        let (share, least) = (parsed.share(), limits.parsed_least);
        let (line, text) = parsed.first_unparsed.unwrap_or_default();
        return Err(Refusal::Unparsed { share, least, line, text });
    }
    let mut accepted = select(parsed.networks, rules);
    if accepted.networks.is_empty() {
        return Err(Refusal::AllRejected(accepted.rejected.values().sum()));
    }
    if let Some(before) = before {
        let (after, most) = (accepted.networks.len(), limits.change_most);
        let change = change(before, &accepted.networks);
        let share = |part: usize, whole: usize| part as f64 > most * whole as f64;
        if share(change.added, after) || share(change.removed, before.len()) {
            return Err(Refusal::Changed { change, before: before.len(), after, most });
        }
        accepted.change = change;
    } else {
        accepted.change.added = accepted.networks.len();
    }
    Ok(accepted)
}

/// The entries that may be taken.
pub fn select(networks: Vec<IpNetwork>, rules: &Rules) -> Accepted {
    let reserved: Vec<IpNetwork> = RESERVED.iter().filter_map(|text| text.parse().ok()).collect();
    let all = networks.len();
    let mut accepted = Accepted { networks, ..Accepted::default() };
    accepted.networks.sort_unstable();
    accepted.networks.dedup();
    accepted.duplicates = all - accepted.networks.len();
    let rejected = &mut accepted.rejected;
    accepted.networks.retain(|network| match reject(network, rules, &reserved) {
        None => true,
        Some(reason) => {
            *rejected.entry(reason).or_default() += 1;
            false
        }
    });
    accepted
}

fn reject(network: &IpNetwork, rules: &Rules, reserved: &[IpNetwork]) -> Option<Reject> {
    let shortest = if network.is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
    if network.netmask() < shortest {
        return Some(Reject::Short);
    }
    let overlaps = |list: &[IpNetwork]| list.iter().any(|other| overlap(network, other));
    if overlaps(&rules.own) {
        return Some(Reject::Own);
    }
    if overlaps(&rules.never) {
        return Some(Reject::Never);
    }
    let allowed = rules.reserved_allowed.iter().any(|allowed| within(network, allowed));
    (!allowed && overlaps(reserved)).then_some(Reject::Reserved)
}

/// Whether two prefixes have addresses in common: then one is within the other.
fn overlap(one: &IpNetwork, other: &IpNetwork) -> bool {
    within(one, other) || within(other, one)
}

/// Whether all addresses of the first are addresses of the second.
fn within(inner: &IpNetwork, outer: &IpNetwork) -> bool {
    outer.netmask() <= inner.netmask() && outer.contains(inner.network_address())
}

fn change(before: &[IpNetwork], after: &[IpNetwork]) -> Change {
    let known: HashSet<&IpNetwork> = before.iter().collect();
    let kept = after.iter().filter(|network| known.contains(network)).count();
    Change { added: after.len() - kept, removed: before.len() - kept }
}

/// How many addresses prefixes cover: of IPv4, and of IPv6 in networks of 64 bits (a part of one counts as a part).
pub fn covered(networks: &[IpNetwork]) -> (u64, f64) {
    let (mut v4, mut v6): (Vec<Ipv4Network>, Vec<Ipv6Network>) = (Vec::new(), Vec::new());
    for network in networks {
        match network {
            IpNetwork::V4(network) => v4.push(*network),
            IpNetwork::V6(network) => v6.push(*network),
        }
    }
    v4.sort_unstable();
    v6.sort_unstable();
    // A prefix either lies within the one before or begins after it.
    let mut four = 0;
    let mut last = None::<Ipv4Network>;
    for network in v4 {
        if last.is_none_or(|last| !last.contains(network.network_address())) {
            four += 1_u64 << (32 - network.netmask());
            last = Some(network);
        }
    }
    let mut six = 0.0;
    let mut last = None::<Ipv6Network>;
    for network in v6 {
        if last.is_none_or(|last| !last.contains(network.network_address())) {
            six += 2_f64.powi(64 - i32::from(network.netmask()));
            last = Some(network);
        }
    }
    (four, six)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::parse;
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn parsed(text: &str) -> Parsed {
        parse(text.as_bytes(), 100_000).unwrap()
    }

    #[test]
    fn entries_that_reach_too_far_are_rejected_by_reason() {
        let rules = Rules {
            own: networks(&["93.184.0.0/16", "2600:aaaa::/32"]),
            never: networks(&["9.9.9.9/32"]),
            reserved_allowed: networks(&["198.51.100.0/24"]),
        };
        let text = "0.0.0.0/0\n8.0.0.0/7\n2600::/18\n93.184.216.34\n93.0.0.0/8\n2600:aaaa:1::/48\n9.9.9.0/24\n10.1.2.3\n\
                    255.255.255.255\n fe80::1\n::1\n2001:db8::/32\n203.0.113.0/24\n198.51.100.9\n45.9.148.0/24\n45.9.148.7/24\n\
                    2600:bbbb::/32\n7.0.0.0/8\n2a00::/19\n";
        let accepted = accept(parsed(text), &rules, &Limits::default(), None).unwrap();
        let taken: Vec<String> = accepted.networks.iter().map(ToString::to_string).collect();
        assert_eq!(taken, ["7.0.0.0/8", "45.9.148.0/24", "198.51.100.9/32", "2600:bbbb::/32", "2a00::/19"]);
        let expected = [(Reject::Short, 3), (Reject::Own, 3), (Reject::Never, 1), (Reject::Reserved, 6)];
        assert_eq!(accepted.rejected, BTreeMap::from(expected));
        assert_eq!((accepted.duplicates, accepted.change.added), (1, 5));
    }

    #[test]
    fn reserved_space_is_written_rightly() {
        assert_eq!(networks(&RESERVED).len(), RESERVED.len());
        let rules = Rules::default();
        let reserved = networks(&RESERVED);
        for text in [
            "1.1.1.0/24",
            "172.15.0.0/16",
            "172.32.0.0/16",
            "100.128.0.0/16",
            "198.20.0.0/16",
            "223.255.255.0/24",
            "2606:4700::/32",
            "2001:4860::/32",
            "3ffe::/32",
        ] {
            assert_eq!(reject(&text.parse().unwrap(), &rules, &reserved), None, "{text}");
        }
        for text in [
            "::ffff:1.1.1.0/120",
            "fd00::/32",
            "fe80::/64",
            "ff02::1/128",
            "64:ff9b::/96",
            "4000::/20",
            "2002:101:101::/48",
        ] {
            assert_eq!(reject(&text.parse().unwrap(), &rules, &reserved), Some(Reject::Reserved), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_wrong_as_a_whole_is_not_taken() {
        let (rules, limits) = (Rules::default(), Limits::default());
        let label = |text: &str, before| accept(parsed(text), &rules, &limits, before).unwrap_err().label();
        let many = |from: u32, to: u32| -> String { (from..to).map(|n| format!("1.2.3.{n}\n")).collect() };
        assert_eq!(label("# only words\n", None), "empty");
        assert_eq!(label("no\nentry\n", None), "unparsed");
        assert_eq!(label(&(many(0, 94) + &"x\n".repeat(6)), None), "unparsed");
        assert!(accept(parsed(&(many(0, 95) + &"x\n".repeat(5))), &rules, &limits, None).is_ok());
        assert_eq!(label("0.0.0.0/0\n10.0.0.0/8\n", None), "all_rejected");
        let before = parsed(&many(0, 100)).networks;
        for (from, to, taken) in [
            (0, 50, true),
            (0, 49, false),
            (0, 200, true),
            (0, 201, false),
            (50, 150, true),
            (51, 151, false),
        ] {
            let after = accept(parsed(&many(from, to)), &rules, &limits, Some(&before));
            assert_eq!(after.is_ok(), taken, "{from}..{to}: {after:?}");
        }
        let any = Limits { change_most: 1.0, ..limits };
        let change = accept(parsed(&many(100, 200)), &rules, &any, Some(&before)).unwrap().change;
        assert_eq!(change, Change { added: 100, removed: 100 });
    }

    #[test]
    fn covered_addresses_are_counted_once() {
        let list = networks(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "11.0.0.0/32",
            "2001:db8::/48",
            "2001:db8::1/128",
            "2001:db9::1/128",
        ]);
        assert_eq!(covered(&list), ((1 << 24) + 1, 65536.0 + 2_f64.powi(-64)));
        assert_eq!(covered(&networks(&["0.0.0.0/0"])), (1 << 32, 0.0));
    }

    proptest! {
        #[test]
        fn what_is_taken_overlaps_nothing_that_it_must_not(
            entries in proptest::collection::vec((any::<IpAddr>(), 0..=32_u8), 1..50),
            own in proptest::collection::vec((any::<IpAddr>(), 0..=12_u8), 0..4),
        ) {
            let network = |(address, length): &(IpAddr, u8)| IpNetwork::new_truncate(*address, *length).unwrap();
            let own: Vec<IpNetwork> = own.iter().map(network).collect();
            let rules = Rules { own: own.clone(), ..Rules::default() };
            let accepted = select(entries.iter().map(network).collect(), &rules);
            let reserved: Vec<IpNetwork> = networks(&RESERVED);
            for taken in &accepted.networks {
                let shortest = if taken.is_ipv4() { 8 } else { 19 };
                prop_assert!(taken.netmask() >= shortest);
                // By first and last addresses, another way than the code's.
                for other in own.iter().chain(&reserved) {
                    let (a, b) = (ends(taken), ends(other));
                    let same = taken.is_ipv4() == other.is_ipv4();
                    prop_assert!(!same || a.1 < b.0 || b.1 < a.0, "{} and {}", taken, other);
                }
            }
            let gone: usize = accepted.rejected.values().sum();
            prop_assert_eq!(accepted.networks.len() + gone + accepted.duplicates, entries.len());
        }
    }

    use std::net::IpAddr;

    fn ends(network: &IpNetwork) -> (u128, u128) {
        match network {
            IpNetwork::V4(n) => {
                (u128::from(n.network_address().to_bits()), u128::from(n.broadcast_address().to_bits()))
            }
            IpNetwork::V6(n) => {
                let first = n.network_address().to_bits();
                (first, first | u128::MAX.checked_shr(u32::from(n.netmask())).unwrap_or(0))
            }
        }
    }
}
