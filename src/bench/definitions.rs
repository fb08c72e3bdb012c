//! What the collector is told to keep in the runs.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tables::Change;

use super::input::PROBE_PORT;

/// Addresses on the blacklist.
pub(crate) const LISTED: u32 = 50_000;

/// Of a collector in full use: each of these keys, by frames and by bytes.
const FULL: [&str; 8] = [
    "ipsource",
    "ipsource,ipdestination",
    "macsource,macdestination",
    "ipsource,ipdestination,ipprotocol",
    "ipsource,ipdestination,tcpsourceport,tcpdestinationport",
    "ipsource,ipdestination,udpsourceport,udpdestinationport",
    "group:ipsource:blacklist,group:ipdestination:blacklist",
    "or:tcpsourceport:udpsourceport,or:tcpdestinationport:udpdestinationport",
];

/// The name of the flow that probes make records of.
pub(crate) const PROBE: &str = "probe";

fn flow(name: &str, keys: &str, value: &str) -> Change {
    Change::Flow(name.to_owned(), Some(json!({"keys": keys, "value": value})))
}

/// Addresses all over IPv4, of which few packets have one.
fn blacklist() -> Change {
    // An odd factor reaches every number, in no visible order.
    let address = |n: u32| Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1)).to_string();
    let listed: Value = (1..=LISTED).map(address).collect();
    Change::Group("blacklist".to_owned(), Some(json!({ "listed": listed })))
}

/// TCP flows by addresses and ports, source and destination checked against a blacklist: what the pipeline's promises are
/// about.
pub(crate) fn pipeline() -> Vec<Change> {
    vec![
        blacklist(),
        flow("tcp", "ipsource,ipdestination,tcpsourceport,tcpdestinationport", "bytes"),
        flow("from", "group:ipsource:blacklist", "bytes"),
        flow("to", "group:ipdestination:blacklist", "bytes"),
    ]
}

/// The same, and a flow of the probes whose records come with their first packet.
pub(crate) fn with_probes() -> Vec<Change> {
    let filter = format!("udpdestinationport={PROBE_PORT}");
    let probe = json!({
        "keys": "ipsource", "value": "frames", "filter": filter, "log": true, "flowStart": true
    });
    let mut all = pipeline();
    all.push(Change::Flow(PROBE.to_owned(), Some(probe)));
    all
}

/// The definitions of a collector in full use.
pub(crate) fn full() -> Vec<Change> {
    let mut all = vec![blacklist()];
    for (n, keys) in FULL.iter().enumerate() {
        all.extend(["frames", "bytes"].map(|value| flow(&format!("{value}{n}"), keys, value)));
    }
    all
}

/// Flows among the definitions.
pub(crate) fn flows(definitions: &[Change]) -> usize {
    definitions.iter().filter(|change| matches!(change, Change::Flow(..))).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tables::Program;

    use super::*;

    #[test]
    fn all_can_be_defined() {
        for (definitions, count) in [(pipeline(), 3), (with_probes(), 4), (full(), 16)] {
            assert_eq!(flows(&definitions), count);
            let program = definitions.into_iter().try_fold(Program::default(), |p, change| p.changed(change));
            assert_eq!(program.unwrap().flows.len(), count);
        }
    }

    #[test]
    fn no_address_is_listed_twice() {
        let Change::Group(_, Some(list)) = blacklist() else { panic!() };
        let mut all: Vec<&str> =
            list["listed"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), LISTED as usize);
    }
}
