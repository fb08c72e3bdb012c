//! What the collector sees of listed hosts: flow records, which come at the first packet, and the rates of flows that are
//! being captured, which are asked for. Both become sightings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::LoggedFlow;
use serde_json::{Value as Json, json};
use tables::Program;
use tables::flow::plan::ActiveFlow;
use tables::question::{Address, Owner, Source};
use tables::topology::{Role as PortRole, Topology};

use super::config::{Config, End};
use super::evidence::{Role, Sighting};
use super::pair::Pair;
use super::scripts::session::NO_POLICY;

/// What the names of our definitions begin with.
pub const PREFIX: &str = "fs_capture_";

/// Smoothing time of a flow, seconds: one sample counts for this long in the estimate of a rate.
pub(super) const SMOOTHING_S: f64 = 10.0;

/// A flow that goes on is told again after this long, seconds, so that a record that was lost is lost for no longer.
const AGAIN_S: f64 = 10.0;

/// A part of what a flow has gathered that may be an error of the clock, and is no new sample: 50 ms of 10 s.
const CLOCK_ERROR: f64 = 0.005;

/// Flows whose rates are followed, at each of their places.
const MOST_GAUGES: usize = 65_536;

/// A flow definition of ours.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// As JSON.
    pub json: Json,
    policy: usize,
    local: End,
}

impl Definition {
    /// One for captures of scripts, of which no record is written.
    pub(super) fn of_scripts(name: String, json: Json) -> Self {
        Self { name, json, policy: NO_POLICY, local: End::Source }
    }
}

/// All definitions that the policies need.
pub fn definitions(config: &Config) -> Vec<Definition> {
    let ipv6 = config.has_ipv6();
    let mut all = Vec::new();
    for (policy, named) in config.policies.iter().enumerate() {
        for (number, flow) in named.policy.flows(ipv6).into_iter().enumerate() {
            let mut json = json!({
                "keys": flow.keys, "value": "frames", "values": "bytes", "log": true, "flowStart": true,
                "activeTimeout": AGAIN_S, "t": SMOOTHING_S,
            });
            if let (Some(filter), Some(object)) = (flow.filter, json.as_object_mut()) {
                object.insert("filter".to_owned(), filter.into());
            }
            let name = format!("{PREFIX}{}_{number}", named.name);
            all.push(Definition { name, json, policy, local: flow.local });
        }
    }
    all
}

/// A flow at a place, and what was known of it last.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    /// What one sample stands for, frames.
    weight: f64,
    /// Frames per second.
    reading: f64,
    at_ms: u64,
}

/// A flow whose rate is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
    /// The definition's place among [`definitions`].
    pub definition: usize,
    /// Its keys as text.
    pub keys: String,
}

/// Makes sightings of what the collector sees.
#[derive(Debug)]
pub struct Watch {
    definitions: Vec<Definition>,
    by_name: BTreeMap<String, usize>,
    /// Flows of each pair, and where they are seen.
    flows: BTreeMap<Pair, BTreeMap<Followed, BTreeMap<Owner, Gauge>>>,
    gauges: usize,
    /// Records that are of no two hosts, or of an agent without an address.
    pub unreadable: u64,
}

impl Watch {
    /// For these definitions; nothing was seen yet.
    pub fn new(definitions: Vec<Definition>) -> Self {
        let by_name = definitions.iter().enumerate().map(|(at, one)| (one.name.clone(), at)).collect();
        Self { definitions, by_name, flows: BTreeMap::new(), gauges: 0, unreadable: 0 }
    }

    /// The definitions.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// What a record says; `None` when it is not of ours, or says nothing new.
    pub fn record(&mut self, record: &LoggedFlow, program: &Program, now_ms: u64) -> Option<Sighting> {
        let definition = *self.by_name.get(&*record.name)?;
        let keys = hosts(&record.keys).zip(owner_address(&record.owner));
        let Some((([source, destination], label), agent)) = keys else {
            self.unreadable += 1;
            return None;
        };
        let Some(pair) = Pair::new(source, destination) else {
            self.unreadable += 1;
            return None;
        };
        let followed = Followed { definition, keys: record.keys.clone() };
        let places = self.flows.entry(pair).or_default().entry(followed).or_default();
        // It goes on: its samples are counted where its rate is asked for.
        if places.contains_key(&record.owner) {
            return None;
        }
        if self.gauges < MOST_GAUGES {
            self.gauges += 1;
            let reading = record.value / SMOOTHING_S;
            places.insert(
                record.owner.clone(),
                Gauge { weight: record.value.max(1.0), reading, at_ms: now_ms },
            );
        }
        let bytes = record.values.first().copied().unwrap_or(0.0);
        let of = Of { definition, source, destination, label, agent, owner: &record.owner };
        self.sighting(&of, program, 1.0, record.value, bytes * 8.0 / SMOOTHING_S)
    }

    /// The flows of these pairs, whose rates are to be asked for; those of others are forgotten.
    pub fn follow(&mut self, is_wanted: impl Fn(Pair) -> bool) -> Vec<Followed> {
        self.flows.retain(|pair, _| is_wanted(*pair));
        let gauges = self.flows.values().flat_map(BTreeMap::values).map(BTreeMap::len);
        self.gauges = gauges.sum();
        self.flows.values().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// What the rates of a flow say, at every place that has it. Where it is not found any more nothing is left of it.
    pub fn rates(
        &mut self,
        followed: &Followed,
        found: &[ActiveFlow],
        program: &Program,
        now_ms: u64,
    ) -> Vec<Sighting> {
        let Some(([source, destination], label)) = hosts(&followed.keys) else { return Vec::new() };
        let Some(pair) = Pair::new(source, destination) else { return Vec::new() };
        let Some(places) = self.flows.get_mut(&pair).and_then(|flows| flows.get_mut(followed)) else {
            return Vec::new();
        };
        let gone = |owner: &Owner| !found.iter().any(|flow| flow.owner == *owner);
        let before = places.len();
        places.retain(|owner, gauge| !gone(owner) || now_ms.saturating_sub(gauge.at_ms) < 1000);
        self.gauges -= before - places.len();
        let mut new = Vec::new();
        for flow in found {
            let Some(gauge) = places.get_mut(&flow.owner) else { continue };
            let passed_s = now_ms.saturating_sub(gauge.at_ms) as f64 / 1000.0;
            let left = gauge.reading * (-passed_s / SMOOTHING_S).exp();
            let frames = (flow.value - left) * SMOOTHING_S;
            let is_new = frames >= (gauge.weight / 2.0).max(flow.value * SMOOTHING_S * CLOCK_ERROR);
            let frames = if is_new { frames } else { 0.0 };
            (gauge.reading, gauge.at_ms) = (flow.value, now_ms);
            new.push((flow, frames / gauge.weight, frames));
        }
        let sightings = new.into_iter().filter_map(|(flow, samples, frames)| {
            let bits = flow.values.first().copied().unwrap_or(0.0) * 8.0;
            let agent = owner_address(&flow.owner)?;
            let definition = followed.definition;
            let of = Of { definition, source, destination, label, agent, owner: &flow.owner };
            self.sighting(&of, program, samples, frames, bits)
        });
        sightings.collect()
    }

    fn sighting(
        &self,
        of: &Of<'_>,
        program: &Program,
        samples: f64,
        frames: f64,
        bits_per_second: f64,
    ) -> Option<Sighting> {
        let definition = self.definitions.get(of.definition)?;
        let outward = definition.local == End::Source;
        let (local, remote) = if outward { (of.source, of.destination) } else { (of.destination, of.source) };
        Some(Sighting {
            policy: definition.policy,
            local,
            remote,
            outward,
            label: Arc::from(of.label),
            agent: of.agent,
            source: Arc::from(of.owner.source.to_string()),
            role: role(&program.topology, of.owner),
            leaf: leaf(program, local),
            samples,
            frames,
            bits_per_second,
        })
    }
}

/// A flow at a place.
struct Of<'a> {
    definition: usize,
    source: IpAddr,
    destination: IpAddr,
    label: &'a str,
    agent: IpAddr,
    owner: &'a Owner,
}

/// The two addresses that keys begin with, and what stands behind them: a label, whatever is in it. An address has no
/// comma, so that nothing behind it can pass for one.
fn hosts(keys: &str) -> Option<([IpAddr; 2], &str)> {
    let mut parts = keys.splitn(3, ',');
    let source = parts.next()?.parse().ok()?;
    let destination = parts.next()?.parse().ok()?;
    Some(([source, destination], parts.next().unwrap_or_default()))
}

/// What a data source is in the topology.
pub(super) fn role(topology: &Topology, owner: &Owner) -> Role {
    let Source::Of(source) = owner.source else { return Role::Unknown };
    match topology.role(owner.agent, source) {
        PortRole::Edge => Role::Edge,
        PortRole::Core => Role::Core,
        PortRole::Unknown => Role::Unknown,
    }
}

/// The agent that a host is attached to. A sender may lie about who it is: where two agents have seen one host come in
/// nothing is known.
pub(super) fn leaf(program: &Program, host: IpAddr) -> Option<IpAddr> {
    let mut places = program.located.by_address(&program.topology, host).map(|place| place.location.agent);
    let first = places.next()?;
    places.all(|other| other == first).then(|| ip(first))?
}

/// The address of an agent.
pub(super) fn owner_address(owner: &Owner) -> Option<IpAddr> {
    ip(owner.agent)
}

/// An agent's address; `None` for one that has none.
pub(super) fn ip(agent: Address) -> Option<IpAddr> {
    match agent {
        Address::V4(address) => Some(address.into()),
        Address::V6(address) => Some(address.into()),
        Address::Unknown => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tables::question::Source;

    use super::*;

    fn watch() -> Watch {
        let json = json!({
            "switch": [{"agent": "10.0.0.253", "driver": "dry-run"}],
            "capture": {"emerging": {"group": "emerging", "analyzer": "10.0.0.70"}},
        });
        let config = serde_json::from_value::<super::super::config::Raw>(json).unwrap().check().unwrap();
        Watch::new(definitions(&config))
    }

    fn owner(agent: u8) -> Owner {
        Owner { agent: Address::V4([10, 0, 0, agent].into()), source: Source::Agent }
    }

    fn record(name: &str, keys: &str, agent: u8) -> LoggedFlow {
        LoggedFlow {
            id: 0,
            name: name.into(),
            owner: owner(agent),
            keys: keys.to_owned(),
            value: 400.0,
            values: vec![400_000.0],
            start_ms: 0,
            end_ms: 0,
        }
    }

    fn rate(agent: u8, value: f64) -> ActiveFlow {
        ActiveFlow { owner: owner(agent), key: String::new(), value, values: vec![value * 1000.0] }
    }

    #[test]
    fn a_record_is_a_sample_of_a_pair() {
        let mut watch = watch();
        let seen = watch
            .record(&record("fs_capture_emerging_0", "10.0.0.162,192.0.2.1,block", 1), &Program::default(), 0)
            .unwrap();
        assert_eq!((seen.local, seen.remote), ([10, 0, 0, 162].into(), [192, 0, 2, 1].into()));
        assert_eq!((seen.outward, seen.samples, seen.frames, &*seen.label), (true, 1.0, 400.0, "block"));
        assert_eq!(seen.bits_per_second, 320_000.0, "one sample is spread over the smoothing time");
        let mirror = watch
            .record(&record("fs_capture_emerging_1", "192.0.2.1,10.0.0.162,block", 1), &Program::default(), 0)
            .unwrap();
        assert_eq!((mirror.local, mirror.outward), ([10, 0, 0, 162].into(), false));
        assert_eq!(
            watch.record(&record("emerging", "10.0.0.162,192.0.2.1,block", 1), &Program::default(), 0),
            None
        );
    }

    #[test]
    fn what_is_no_pair_of_hosts_is_counted_and_nothing_else() {
        let mut watch = watch();
        for keys in [
            "",
            "10.0.0.162",
            "10.0.0.162,evil\n-A FORWARD,block",
            "a,b,c",
            "10.0.0.162,,block",
            "10.0.0.1,::1,x",
            "10.0.0.1,10.0.0.1,x",
            "10.0.0.162/8,192.0.2.1,block",
            " 10.0.0.162,192.0.2.1,b",
        ] {
            assert_eq!(
                watch.record(&record("fs_capture_emerging_0", keys, 1), &Program::default(), 0),
                None,
                "{keys:?}"
            );
        }
        assert_eq!(watch.unreadable, 9);
        let odd = "10.0.0.162,192.0.2.1,a,10.9.9.9\n-A FORWARD -j DROP";
        let seen = watch.record(&record("fs_capture_emerging_0", odd, 1), &Program::default(), 0).unwrap();
        assert_eq!((seen.remote, &*seen.label), ([192, 0, 2, 1].into(), "a,10.9.9.9\n-A FORWARD -j DROP"));
    }

    #[test]
    fn samples_are_counted_by_what_a_rate_has_gained() {
        let mut watch = watch();
        let keys = "10.0.0.162,192.0.2.1,block";
        watch.record(&record("fs_capture_emerging_0", keys, 1), &Program::default(), 0).unwrap();
        assert_eq!(
            watch.record(&record("fs_capture_emerging_0", keys, 1), &Program::default(), 500),
            None,
            "it goes on"
        );
        let followed = &watch.follow(|_| true)[0];
        // Another three samples within a second.
        let after = 40.0 * (-0.1f64).exp();
        let samples = |watch: &mut Watch, value, now_ms| {
            watch.rates(followed, &[rate(1, value)], &Program::default(), now_ms)[0].samples
        };
        let three = samples(&mut watch, after + 120.0, 1000);
        assert!((three - 3.0).abs() < 1e-9, "{three}");
        // Then none; the clocks are 20 ms apart.
        let decayed = (after + 120.0) * (-0.098f64).exp();
        assert_eq!(samples(&mut watch, decayed, 2000), 0.0);
        assert!(
            watch.rates(followed, &[rate(2, 40.0)], &Program::default(), 3500).is_empty(),
            "what no record has told of is not followed"
        );
        assert!(watch.rates(followed, &[rate(1, 40.0)], &Program::default(), 3600).is_empty(), "it was gone");
        assert!(watch.record(&record("fs_capture_emerging_0", keys, 1), &Program::default(), 4000).is_some());
        assert!(watch.follow(|_| false).is_empty());
    }
}
