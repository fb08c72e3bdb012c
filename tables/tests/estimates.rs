//! Estimates against the truth (promise I4): a simulated fabric is heard with one datagram in ten lost.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use decode::Address;
use fabric::{Curve, Fabric, FabricOptions, Truth};
use serde_json::json;
use tables::flow::active::FlowAggregation;
use tables::outbox::Outbox;
use tables::select::Agents;
use tables::{Answer, Change, Options, Partial, Program, Question, Shard};

const SECOND: u64 = 1_000_000;

/// A shard, and the fabric that it heard.
struct Heard {
    shard: Shard,
    truth: Truth,
    seconds: f64,
    /// Time constant of its flows, seconds.
    t: f64,
}

/// Steady traffic, heard for eight time constants: what is missing of the rate is then 0.03 %.
fn hear(options: &FabricOptions, t: u64, flows: &[(&str, &str, &str)]) -> Heard {
    let seconds = 8 * t;
    let mut program = Program::default();
    for (name, keys, value) in flows {
        let definition = json!({"keys": keys, "value": value, "t": t});
        program = program.changed(Change::Flow((*name).to_owned(), Some(definition))).unwrap();
    }
    let mut shard = Shard::new(Options::default());
    let mut outbox = Outbox::default();
    shard.adopt(&Arc::new(program), 0, &mut outbox);
    let mut fabric = Fabric::new(&FabricOptions { replicas: 0, ..options.clone() }).unwrap();
    let mut dice = options.seed;
    let lost = |dice: &mut u64| {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*dice >> 33).is_multiple_of(10)
    };
    let sender = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let step = 50_000;
    for now_us in (0..=seconds * SECOND).step_by(step) {
        let mut take = |_: Address, bytes: &[u8]| {
            if !lost(&mut dice) {
                shard.datagram(bytes, sender, now_us, &mut outbox);
            }
        };
        fabric.step(now_us, &mut take);
        if now_us == seconds * SECOND {
            // Nothing waits in an agent any longer.
            fabric.finish(&mut take);
        }
        shard.flush(now_us, &mut outbox);
        if now_us % (10 * step as u64) == 0 {
            shard.tick(now_us, &mut outbox);
        }
    }
    let counters = shard.counters();
    assert_eq!((counters.datagram_errors, counters.sample_errors, counters.unknown), ([0; 3], [0; 4], 0));
    Heard { shard, truth: fabric.truth(), seconds: seconds as f64, t: t as f64 }
}

impl Heard {
    /// The flows of a definition that an agent has seen: key and value per second.
    fn flows(&self, agent: Address, name: &str) -> BTreeMap<String, f64> {
        let question = Question::ActiveFlows {
            agents: Agents::Named(vec![agent.to_string()]),
            flow: name.to_owned(),
            aggregation: FlowAggregation::Sum,
            most: 100_000,
            least: 0.0,
            separator: ",".to_owned(),
        };
        let partial: Partial = self.shard.ask(&question, self.seconds as u64 * SECOND);
        let Answer::Flows(flows) = partial.finish(&question) else {
            panic!("not the answer to the question")
        };
        flows.into_iter().map(|flow| (flow.key, flow.value)).collect()
    }

    /// Samples that count towards a rate of so many received per second: a decaying sum with time constant t knows a
    /// rate as well as a plain count over 2 t.
    fn counted(&self, samples: u64) -> f64 {
        0.9 * samples as f64 / self.seconds * 2.0 * self.t
    }

    /// Estimate and truth of the frames per second of every data source, and how many samples count towards it.
    fn ports(&self, name: &str) -> Vec<(f64, f64, f64)> {
        let ports = self.truth.interfaces.iter().filter(|port| port.samples > 0);
        ports
            .map(|port| {
                let flows = self.flows(port.agent, name);
                let estimate = flows.get(&port.source.to_string()).copied().unwrap_or(0.0);
                (estimate, port.in_frames as f64 / self.seconds, self.counted(port.samples))
            })
            .collect()
    }
}

#[test]
fn totals_and_classes_are_within_their_bounds_with_a_tenth_lost() {
    for seed in 1..=4 {
        let options = FabricOptions {
            spines: 2,
            leaves: 3,
            hosts: 9,
            flows: 500,
            sampling: 100,
            host_bps: 2e8,
            seed,
            ..FabricOptions::default()
        };
        let keys = "ipsource,ipdestination,tcpsourceport,tcpdestinationport";
        let flows = [
            ("frames", "inputifindex", "frames"),
            ("bytes", "inputifindex", "bytes"),
            ("classes", keys, "bytes"),
        ];
        let heard = hear(&options, 30, &flows);
        totals(&heard);
        classes(&heard);
    }
}

/// Frames of every data source by itself, and bytes of all of them, within 1 %.
fn totals(heard: &Heard) {
    let totals = heard.ports("frames");
    let busy: Vec<_> = totals.iter().filter(|(_, _, samples)| *samples > 1000.0).collect();
    assert!(busy.len() >= 12, "{} data sources with enough samples", busy.len());
    for (estimate, truth, samples) in busy {
        let error = (estimate - truth).abs() / truth;
        assert!(error < 0.01, "{estimate} frames per second, not {truth}, of {samples} samples");
    }
    let estimate: f64 = heard.ports("bytes").iter().map(|(estimate, _, _)| estimate).sum();
    let octets: u64 = heard.truth.interfaces.iter().map(|port| port.in_octets).sum();
    let truth = octets as f64 / heard.seconds;
    assert!((estimate - truth).abs() < 0.01 * truth, "{estimate} bytes per second, not {truth}");
}

/// Bytes of every flow at every switch, within 196 sqrt(1/c) % of the truth for nine in ten.
fn classes(heard: &Heard) {
    let (mut classes, mut inside) = (0, 0);
    let agents: BTreeMap<Address, _> =
        heard.truth.agents.iter().map(|agent| (agent.agent, heard.flows(agent.agent, "classes"))).collect();
    // Of a tunnel the collector sees the outer addresses: those flows are not compared.
    let flows = heard.truth.flows.iter().filter(|flow| flow.protocol == 6 && flow.source.is_ipv4());
    for flow in flows.filter(|flow| flow.vni.is_none()) {
        let key = format!("{},{},{},{}", flow.source, flow.destination, flow.ports.0, flow.ports.1);
        for hop in &flow.hops {
            let samples = heard.counted(hop.samples);
            if samples < 20.0 {
                continue;
            }
            let estimate = agents[&hop.agent].get(&key).copied().unwrap_or(0.0);
            let truth = (flow.frames * u64::from(hop.frame_length)) as f64 / heard.seconds;
            classes += 1;
            inside += u64::from((estimate - truth).abs() <= 1.96 / samples.sqrt() * truth);
        }
    }
    assert!(classes >= 200, "{classes} classes");
    assert!(inside * 10 >= classes * 9, "{inside} of {classes} classes are within their bound");
}

/// Data sources with a sample a second or fewer: their weights are those of few samples, and must not all be too large.
#[test]
fn totals_of_slow_data_sources_are_not_biased() {
    let options = FabricOptions {
        spines: 2,
        leaves: 8,
        hosts: 64,
        flows: 400,
        sampling: 1000,
        host_bps: 1e7,
        ..FabricOptions::default()
    };
    let heard = hear(&options, 100, &[("ports", "inputifindex", "frames")]);
    let totals = heard.ports("ports");
    let sum = |of: fn(&(f64, f64, f64)) -> f64| totals.iter().map(of).sum::<f64>();
    let (estimate, truth, samples) = (sum(|p| p.0), sum(|p| p.1), sum(|p| p.2));
    let per_second = samples / 200.0 / totals.len() as f64;
    assert!(per_second < 5.0, "{per_second} samples per second and data source");
    let error = (estimate - truth) / truth;
    assert!(
        error.abs() < 3.0 / samples.sqrt(),
        "{estimate} frames per second, not {truth}: {error}; {samples} samples, {per_second} per second and source"
    );
}

/// A service that is on for 30 s and off for 30 s, over and over, every packet sampled: the reading at the end of each
/// half is that of an exponential mean, from "follows the traffic" (t = 1) to "the average" (t = 500).
#[test]
fn a_step_load_is_read_as_its_time_constant_says() {
    let options = FabricOptions {
        hosts: 8,
        flows: 0,
        suspects: 0,
        sampling: 1,
        polling_s: 3600,
        replicas: 1,
        load: Curve::Step { period_s: 60.0 },
        web_bytes_per_s: 50_000.0,
        ..FabricOptions::default()
    };
    let constants = [1_u32, 5, 30, 100, 500];
    let mut program = Program::default();
    for t in constants {
        // The responses, which are 1,100 bytes of the 1,250 of a request and its response.
        let definition = json!({"value": "bytes", "filter": "tcpsourceport=80", "t": t});
        program = program.changed(Change::Flow(format!("t{t}"), Some(definition))).unwrap();
    }
    let (peak, mut readings) = (50_000.0 * 1100.0 / 1250.0, 0);
    let mut shard = Shard::new(Options::default());
    let mut outbox = Outbox::default();
    shard.adopt(&Arc::new(program), 0, &mut outbox);
    let mut fabric = Fabric::new(&options).unwrap();
    // The first container is behind the first leaf, where its responses come in by one port.
    let leaf = Address::V4([10, 255, 0, 1].into());
    let sender = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let step = 100_000;
    for now_us in (step..=1200 * SECOND).step_by(step as usize) {
        fabric.step(now_us, &mut |_, bytes| shard.datagram(bytes, sender, now_us, &mut outbox));
        shard.flush(now_us, &mut outbox);
        shard.tick(now_us, &mut outbox);
        if now_us < 1140 * SECOND || now_us % (30 * SECOND) != 0 {
            continue;
        }
        for t in constants {
            let question = Question::ActiveFlows {
                agents: Agents::Named(vec![leaf.to_string()]),
                flow: format!("t{t}"),
                aggregation: FlowAggregation::Max,
                most: 10,
                least: 0.0,
                separator: ",".to_owned(),
            };
            let Answer::Flows(flows) = shard.ask(&question, now_us).finish(&question) else {
                panic!("not the answer to the question")
            };
            let reading = flows.first().map_or(0.0, |flow| flow.value);
            // The sum over all periods so far, of which the oldest have decayed most.
            let (t, seconds) = (f64::from(t), (now_us / SECOND) as f64);
            let half = (-30.0 / t).exp();
            let on = seconds % 60.0 > 0.0;
            let periods = (seconds / 60.0).ceil();
            let share = if on { 1.0 } else { half } / (1.0 + half) * (1.0 - (-60.0 * periods / t).exp());
            let error = (reading - share * peak).abs() / peak;
            // A sample is about a tenth of a second on its way.
            assert!(error < 0.03 + 0.1 / t, "t={t}, {seconds} s: {reading}, not {}", share * peak);
            readings += 1;
        }
    }
    assert_eq!(readings, 3 * constants.len());
}
