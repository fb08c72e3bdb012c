//! Packets of the pairs that scripts have captured, as evidence: two flow definitions of our own, which look at the hosts of
//! these pairs only and write no records, so that no script takes them for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ip_network::IpNetwork;
use serde_json::json;
use tables::Program;
use tables::flow::group::GroupSet;
use tables::flow::plan::ActiveFlow;
use tables::question::Owner;

use super::super::evidence::Sighting;
use super::super::pair::Pair;
use super::super::watch::{Definition, PREFIX, SMOOTHING_S, leaf, owner_address, role};
use super::policy::Scripts;
use super::session::NO_POLICY;

/// The label of their hosts, and a name that no policy can have.
const LABEL: &str = "captured";
const NAME: &str = ".scripts";

/// A part of what a flow has gathered that may be an error of the clock, and is no new sample: 100 ms of 10 s.
const CLOCK_ERROR: f64 = 0.01;

/// The name of the group set.
pub(in crate::capture) fn set_name() -> String {
    format!("{PREFIX}{NAME}")
}

/// The name of the flow definition of a version of IP.
pub(in crate::capture) fn flow_name(is_ipv6: bool) -> String {
    format!("{PREFIX}{NAME}_{}", if is_ipv6 { "ip6" } else { "ip" })
}

/// The definitions that these pairs need, for each version of IP that there is.
pub(in crate::capture) fn definitions(pairs: &BTreeSet<Pair>) -> Vec<Definition> {
    let mut all = Vec::new();
    for (ip, is_ipv6) in [("ip", false), ("ip6", true)] {
        if !pairs.iter().any(|pair| pair.is_ipv6() == is_ipv6) {
            continue;
        }
        let set = set_name();
        let json = json!({
            "keys": format!("{ip}source,{ip}destination,group:{ip}source:{set},group:{ip}destination:{set}"),
            "value": "frames", "values": "bytes", "t": SMOOTHING_S,
        });
        all.push(Definition::of_scripts(flow_name(is_ipv6), json));
    }
    all
}

/// The hosts of these pairs.
pub(in crate::capture) fn hosts(pairs: &BTreeSet<Pair>) -> GroupSet {
    let label: Arc<str> = LABEL.into();
    let hosts: BTreeSet<IpAddr> = pairs.iter().flat_map(Pair::hosts).collect();
    GroupSet::from_lists(hosts.into_iter().map(|host| (IpNetwork::from(host), Arc::clone(&label))))
}

/// A flow at a place, and what was known of it last.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    /// Frames per second.
    reading: f64,
    at_ms: u64,
}

/// Makes sightings of rates.
#[derive(Debug, Default)]
pub(in crate::capture) struct Traffic {
    /// Both directions of each pair, and where they are seen.
    gauges: BTreeMap<Pair, BTreeMap<(bool, Owner), Gauge>>,
}

impl Traffic {
    /// Pairs of sessions that are to last.
    pub(in crate::capture) fn pairs(scripts: &Scripts) -> BTreeSet<Pair> {
        scripts.sessions().filter(|one| one.is_live()).map(|one| one.mirror.pair()).collect()
    }

    /// The flows whose rates are to be asked for; what is known of other pairs is forgotten.
    pub(in crate::capture) fn follow(&mut self, pairs: &BTreeSet<Pair>) -> Vec<(Pair, bool, String)> {
        self.gauges.retain(|pair, _| pairs.contains(pair));
        let both = |pair: &Pair| {
            let [low, high] = pair.hosts();
            let pair = *pair;
            [(true, low, high), (false, high, low)]
                .map(move |(upward, from, to)| (pair, upward, format!("{from},{to},{LABEL},{LABEL}")))
        };
        pairs.iter().flat_map(both).collect()
    }

    /// What the rates of a flow say. Where more has come than a rate can have left it is a sample.
    pub(in crate::capture) fn rates(
        &mut self,
        (pair, upward): (Pair, bool),
        found: &[ActiveFlow],
        program: &Program,
        now_ms: u64,
    ) -> Vec<Sighting> {
        let places = self.gauges.entry(pair).or_default();
        places.retain(|(way, owner), _| *way != upward || found.iter().any(|flow| flow.owner == *owner));
        let [local, remote] = pair.hosts();
        let mut sightings = Vec::new();
        for flow in found {
            let Some(agent) = owner_address(&flow.owner) else { continue };
            let before =
                places.insert((upward, flow.owner.clone()), Gauge { reading: flow.value, at_ms: now_ms });
            let left = before.map_or(0.0, |gauge| {
                let passed_s = now_ms.saturating_sub(gauge.at_ms) as f64 / 1000.0;
                gauge.reading * (-passed_s / SMOOTHING_S).exp()
            });
            let frames = (flow.value - left) * SMOOTHING_S;
            let is_new = frames >= (flow.value * SMOOTHING_S * CLOCK_ERROR).max(0.5);
            sightings.push(Sighting {
                policy: NO_POLICY,
                local,
                remote,
                outward: upward,
                label: "".into(),
                agent,
                source: Arc::from(flow.owner.source.to_string()),
                role: role(&program.topology, &flow.owner),
                leaf: leaf(program, local),
                samples: f64::from(u8::from(is_new)),
                frames: if is_new { frames } else { 0.0 },
                bits_per_second: flow.values.first().copied().unwrap_or(0.0) * 8.0,
            });
        }
        sightings
    }
}
