//! How data sources are measured: sampling rates, counts and polling intervals, against the truth of a simulated fabric.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use common::*;
use decode::build::DatagramBuilder;
use decode::{Address, DataSource, FlowSample, Header, counter};
use fabric::{Fabric, FabricOptions};
use proptest::prelude::*;
use tables::question::{Source, SourceSummary};
use tables::select::Agents;
use tables::{Answer, Options, Outbox, Partial, Question, Shard};

fn question(agents: Agents, source: Option<DataSource>) -> Question {
    Question::Sources { agents, source }
}

fn sources(shards: &[Shard], question: &Question, now_us: u64) -> Vec<SourceSummary> {
    let partials = shards.iter().map(|shard| shard.ask(question, now_us));
    let Answer::Sources(found) = partials.reduce(Partial::merge).unwrap().finish(question) else { panic!() };
    found
}

/// Hears a fabric for some seconds, with one datagram in `lost` lost, none where it is 0. `of` says which shard has an agent.
fn hear(options: &FabricOptions, seconds: u64, lost: u64, of: &dyn Fn(usize) -> usize) -> Vec<Shard> {
    let mut fabric = Fabric::new(options).unwrap();
    let mut outbox = Outbox::default();
    let mut shards: Vec<Shard> = (0..4).map(|_| Shard::new(Options::default())).collect();
    let agents: BTreeMap<Address, usize> =
        fabric.truth().agents.iter().enumerate().map(|(n, agent)| (agent.agent, of(n) % 4)).collect();
    let (sender, mut dice) = (IpAddr::V4(Ipv4Addr::LOCALHOST), options.seed);
    for now_us in (0..=seconds * SECOND).step_by(50_000) {
        let mut take = |agent: Address, bytes: &[u8]| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if lost == 0 || !(dice >> 33).is_multiple_of(lost) {
                shards[agents[&agent]].datagram(bytes, sender, now_us, &mut outbox);
            }
        };
        fabric.step(now_us, &mut take);
        for shard in &mut shards {
            shard.flush(now_us, &mut outbox);
        }
    }
    shards
}

fn fabric() -> FabricOptions {
    FabricOptions {
        leaves: 3,
        hosts: 9,
        sampling: 100,
        host_bps: 2e8,
        polling_s: 5,
        ..FabricOptions::default()
    }
}

#[test]
fn a_fabric_has_the_rates_and_intervals_that_it_was_given() {
    for (lost, measured) in [(0, 100.0), (5, 125.0)] {
        let shards = hear(&fabric(), 60, lost, &|_| 0);
        let found = sources(&shards, &question(Agents::All, None), 60 * SECOND);
        let ports: Vec<_> = found.iter().filter(|source| source.flow_samples.received > 400).collect();
        assert!(ports.len() > 10, "{} ports with traffic", ports.len());
        let mut sum = 0.0;
        for port in &ports {
            assert_eq!(port.sampling_rate, Some(100));
            let rate = port.measured_rate.unwrap();
            sum += rate;
            assert!((rate - measured).abs() < 0.35 * measured, "{rate}, not about {measured}");
            assert_eq!(port.flow_samples.lost > 0, lost > 0);
        }
        let mean = sum / ports.len() as f64;
        // A window of a hundred random samples is a tenth off, the mean of ten of them a thirtieth.
        assert!((mean - measured).abs() < 0.1 * measured, "{mean}, not about {measured}");
        let mut intervals: Vec<u64> = found.iter().filter_map(|source| source.polling_interval_us).collect();
        intervals.sort_unstable();
        let median = intervals[intervals.len() / 2];
        assert!(median.abs_diff(5 * SECOND) <= SECOND / 10, "{median} us between counters");
        let hosts = found
            .iter()
            .filter(|source| source.owner.source == Source::Of(DataSource { class: 2, index: 1 }));
        for host in hosts {
            assert_eq!((host.sampling_rate, host.measured_rate, host.flow_samples.received), (None, None, 0));
            assert!(host.counter_samples.received + host.counter_samples.lost >= 11);
        }
    }
}

/// A datagram with a flow sample whose pool says `pool`.
fn flow(agent: u8, sequence: u32, rate: u32, pool: u32, drops: u32) -> Vec<u8> {
    let agent = Address::V4([10, 0, 0, agent].into());
    let header = Header { agent, sequence, uptime_ms: sequence * 10, ..Header::default() };
    let mut buffer = vec![0; 1500];
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    let source = DataSource { class: 0, index: 7 };
    let sample = FlowSample {
        sequence,
        source,
        sampling_rate: rate,
        sample_pool: pool,
        drops,
        ..FlowSample::default()
    };
    builder.flow_sample(&sample, &[]).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn one_data_source_is_told_by_what_it_has_sent() {
    let mut shard = [Shard::new(Options::default())];
    let port = DataSource { class: 0, index: 7 };
    let ask = |shard: &[Shard; 1], at_s: f64| {
        let of = question(Agents::Named(vec!["10.0.0.3".to_owned()]), Some(port));
        sources(shard, &of, us(at_s)).first().cloned()
    };
    assert_eq!(ask(&shard, 0.0), None);
    // Every second one is lost: what arrives stands for twice as many packets.
    for n in 0..101_u32 {
        let measured = ask(&shard, 1.0).and_then(|source| source.measured_rate);
        assert_eq!(measured, None, "not before a hundred samples");
        feed(&mut shard[0], &flow(3, 1 + 2 * n, 400, 2 * n * 400, n / 10), 1.0);
    }
    feed(&mut shard[0], &flow(4, 1, 1000, 0, 0), 1.0);
    let found = ask(&shard, 3.0).unwrap();
    assert_eq!((found.sampling_rate, found.measured_rate), (Some(400), Some(800.0)));
    assert_eq!((found.flow_samples.received, found.flow_samples.lost, found.flow_drops), (101, 100, 10));
    assert_eq!((found.polling_interval_us, found.last_seen_us), (None, 2 * SECOND));
    // Another rate: what was measured is of the one before.
    feed(&mut shard[0], &flow(3, 203, 200, 90_000, 10), 1.0);
    let found = ask(&shard, 1.0).unwrap();
    assert_eq!((found.sampling_rate, found.measured_rate), (Some(200), None));
    // Counters: the first interval is chance, the mean of the last two counts.
    let (mut sender, values) = (Sender::new(3), values(&counter::IF_COUNTERS, 0, 1));
    (sender.sequence, sender.sample) = (1000, 0);
    for (at_s, interval) in [(10.0, None), (14.0, Some(4.0)), (34.0, Some(12.0)), (54.0, Some(20.0))] {
        feed(&mut shard[0], &sender.datagram(port, at_s, &[(&counter::IF_COUNTERS, &values)]), at_s);
        let found = ask(&shard, at_s).unwrap();
        assert_eq!(found.polling_interval_us.map(|us| us as f64 / 1e6), interval);
    }
    assert_eq!(ask(&shard, 54.0).unwrap().counter_samples.received, 4);
    // Three intervals without any: nothing is known of them.
    let mut outbox = Outbox::default();
    for second in 54..200 {
        shard[0].tick(us(f64::from(second)), &mut outbox);
    }
    assert_eq!(ask(&shard, 200.0).unwrap().polling_interval_us, None);
    let all = sources(&shard, &question(Agents::All, None), us(200.0));
    let names: Vec<String> = all.iter().map(|s| format!("{} {}", s.owner.agent, s.owner.source)).collect();
    assert_eq!(names, ["10.0.0.3 7", "10.0.0.4 7"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever shard an agent is on, and in whatever order they answer.
    #[test]
    fn any_partition_gives_the_same_sources(places in prop::collection::vec(0_usize..4, 15), seed in 0_u64..1000) {
        let options = FabricOptions { seed, ..fabric() };
        let one = hear(&options, 3, 7, &|_| 0);
        let mut many = hear(&options, 3, 7, &|n| places[n % 15]);
        many.reverse();
        let first = question(Agents::All, None);
        let found = sources(&one, &first, 3 * SECOND);
        prop_assert!(found.len() > 20);
        prop_assert_eq!(&found, &sources(&many, &first, 3 * SECOND));
        let port = question(Agents::All, Some(DataSource { class: 0, index: 1 }));
        let found = sources(&one, &port, 3 * SECOND);
        prop_assert!(!found.is_empty());
        prop_assert_eq!(&found, &sources(&many, &port, 3 * SECOND));
    }
}
