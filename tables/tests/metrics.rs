//! Counters become metrics: every entry of the catalogue, and what must not become a spike (promises I3, I5).
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::net::IpAddr;

use decode::build::{DatagramBuilder, RecordOut};
use decode::layout::{Kind as WireKind, Lanes, Layout, Value};
use decode::{Address, CountersSample, DataSource, Header, Mac, counter};
use proptest::prelude::*;
use tables::metric::MetricValue;
use tables::metric::catalogue::{DERIVED, Kind, METRICS};
use tables::question::{Metric, Statistic};
use tables::select::{Agents, Filter, MetricRef};
use tables::{Answer, Options, Outbox, Partial, Question, Shard};

const SECOND: u64 = 1_000_000;

/// An agent that sends counters samples.
struct Sender {
    agent: [u8; 4],
    sequence: u32,
    sample: u32,
}

type Records<'a> = &'a [(&'static Layout, &'a [Value<'a>])];

impl Sender {
    fn new(last: u8) -> Self {
        Self { agent: [10, 0, 0, last], sequence: 0, sample: 0 }
    }

    /// A datagram with one counters sample, `at_s` seconds after the agent's start.
    fn datagram(&mut self, source: DataSource, at_s: f64, records: Records<'_>) -> Vec<u8> {
        self.sequence += 1;
        self.sample += 1;
        let header = Header {
            agent: Address::V4(self.agent.into()),
            sequence: self.sequence,
            uptime_ms: (at_s * 1000.0) as u32,
            ..Header::default()
        };
        let mut buffer = vec![0; 9000];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        let records: Vec<_> =
            records.iter().map(|(layout, values)| RecordOut::Fields(layout, values)).collect();
        let sample = CountersSample { expanded: true, sequence: self.sample, source, ..Default::default() };
        builder.counters_sample(&sample, &records).unwrap();
        let length = builder.finish().unwrap();
        buffer.truncate(length);
        buffer
    }
}

fn us(at_s: f64) -> u64 {
    SECOND + (at_s * 1e6) as u64
}

fn feed(shard: &mut Shard, datagram: &[u8], at_s: f64) {
    let mut outbox = Outbox::default();
    shard.datagram(datagram, IpAddr::from([127, 0, 0, 1]), us(at_s), &mut outbox);
    shard.flush(us(at_s), &mut outbox);
}

fn dump(shard: &Shard, names: &str, at_s: f64) -> Vec<Metric> {
    let metrics = if names == "ALL" { Vec::new() } else { MetricRef::list(names).unwrap() };
    let question = Question::Dump { agents: Agents::All, metrics, filter: Filter::default() };
    match shard.ask(&question, us(at_s)).finish(&question) {
        Answer::Metrics(metrics) => metrics,
        other => panic!("{other:?}"),
    }
}

fn number(shard: &Shard, name: &str, at_s: f64) -> Option<f64> {
    dump(shard, name, at_s).first().and_then(|metric| metric.value.number())
}

fn statistics(shard: &Shard, metrics: &str, filter: &[(&str, &str)], at_s: f64) -> Vec<Statistic> {
    let filter =
        Filter::new(filter.iter().map(|(name, pattern)| (*name, vec![(*pattern).to_owned()]))).unwrap();
    let question =
        Question::Metric { agents: Agents::All, metrics: MetricRef::list(metrics).unwrap(), filter };
    match shard.ask(&question, us(at_s)).finish(&question) {
        Answer::Statistics(statistics) => statistics,
        other => panic!("{other:?}"),
    }
}

/// Values of a structure: the field at place n is `base + step * (n + 1)`.
fn values(layout: &Layout, base: u64, step: u64) -> Vec<Value<'static>> {
    let one = |n: u64| base + step * (n + 1);
    let of = |kind, n| match kind {
        WireKind::U32 => Value::U32(one(n) as u32),
        WireKind::U64 => Value::U64(one(n)),
        WireKind::F32 => Value::F32(one(n) as f32),
        WireKind::Byte => Value::Byte(1),
        WireKind::Mac => Value::Mac(Mac([0xab; 6])),
        WireKind::Text => Value::Text(b"name"),
        WireKind::Uuid => Value::Uuid([0x11; 16]),
        WireKind::Lanes => Value::Lanes(Lanes::from_bytes(&[])),
        other => panic!("{other:?} has no metric"),
    };
    layout.fields.iter().zip(0..).map(|(field, n)| of(field.kind, n)).collect()
}

/// Style of the house: an entry that is accepted and never answers is found here.
#[test]
fn every_metric_of_the_catalogue_answers_with_what_its_field_says() {
    for metric in METRICS {
        let mut shard = Shard::new(Options::default());
        let mut sender = Sender::new(1);
        let source = DataSource { class: 2, index: 1 };
        let (first, second) = (values(metric.layout, 0, 100), values(metric.layout, 0, 300));
        feed(&mut shard, &sender.datagram(source, 1.0, &[(metric.layout, &first)]), 1.0);
        feed(&mut shard, &sender.datagram(source, 11.0, &[(metric.layout, &second)]), 11.0);
        let place = metric.layout.position(metric.field).unwrap() as f64 + 1.0;
        let found = dump(&shard, metric.name, 12.0);
        assert_eq!(found.len(), 1, "{}", metric.name);
        let value = &found[0].value;
        let expected = match metric.kind {
            Kind::Gauge => 300.0 * place,
            Kind::Rate => 200.0 * place / 10.0,
            Kind::Busy => 200.0 * place / 10.0 / 1000.0 * 100.0,
            Kind::Hundredths => 3.0 * place,
            Kind::Share(of) => 100.0 * place / (metric.layout.position(of).unwrap() as f64 + 1.0),
            Kind::CpuTime => {
                // Places 9 to 15 and 18 (steal) are the states that make up the whole.
                100.0 * place / ((9..=15).sum::<u32>() + 18) as f64
            }
            Kind::Text | Kind::Hex | Kind::Name(_) => {
                let MetricValue::Text(text) = value else { panic!("{}: {value:?}", metric.name) };
                assert!(!text.is_empty(), "{}", metric.name);
                continue;
            }
        };
        let value = value.number().unwrap();
        assert!(
            (value - expected).abs() < 1e-6 * expected.max(1.0),
            "{}: {value}, not {expected}",
            metric.name
        );
        assert_eq!(found[0].age_us, SECOND);
    }
}

#[test]
fn the_manual_has_every_metric_with_its_source_and_unit() {
    let page = include_str!("../../manual/metrics.md");
    for metric in METRICS {
        let row = format!("| `{}` | {} | {} |", metric.name, metric.layout.tag, metric.field);
        let line = page.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}"));
        assert!(line.ends_with(&format!("| {} |", metric.unit)), "{line}");
    }
    for derived in DERIVED {
        assert!(page.contains(&format!("| `{}` | | ", derived.name)), "{}", derived.name);
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), METRICS.len() + DERIVED.len());
}

#[test]
fn every_derived_metric_answers() {
    let expected = [
        ("ifinpkts", 20.0 * (7.0 + 8.0 + 9.0)),
        ("ifoutpkts", 20.0 * (14.0 + 15.0 + 16.0)),
        ("ifinutilization", 100.0 * 20.0 * 6.0 * 8.0 / 900.0),
        ("ifoututilization", 100.0 * 20.0 * 13.0 * 8.0 / 900.0),
        ("cpu_utilization", 100.0 - 100.0 * 12.0 / 102.0),
        ("load_one_per_cpu", 1.0 / 6.0),
        ("mem_used", 300.0 * (1.0 - 2.0 - 4.0 - 5.0)),
        ("mem_utilization", 100.0 * (1.0 - 2.0 - 4.0 - 5.0)),
        ("disk_utilization", 100.0 * (1.0 - 2.0)),
    ];
    assert_eq!(expected.len(), DERIVED.len());
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let layouts = [&counter::IF_COUNTERS, &counter::HOST_CPU, &counter::HOST_MEMORY, &counter::HOST_DISK_IO];
    let source = DataSource { class: 2, index: 1 };
    for (at, step) in [(1.0, 100), (11.0, 300)] {
        let all: Vec<_> = layouts.iter().map(|layout| values(layout, 0, step)).collect();
        let records: Vec<_> =
            layouts.iter().zip(&all).map(|(layout, values)| (*layout, values.as_slice())).collect();
        feed(&mut shard, &sender.datagram(source, at, &records), at);
    }
    for (name, expected) in expected {
        let value = number(&shard, name, 11.0).unwrap_or_else(|| panic!("{name}"));
        assert!((value - expected).abs() < 1e-6 * expected.abs().max(1.0), "{name}: {value}, not {expected}");
    }
}

/// The rate of `ifinucastpkts` after two samples with these counters, `seconds` apart.
fn rate_of(first: u32, second: u32, seconds: f64) -> Option<f64> {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    for (at, packets) in [(100.0, first), (100.0 + seconds, second)] {
        let mut values = values(&counter::IF_COUNTERS, 0, 1);
        values[6] = Value::U32(packets);
        feed(&mut shard, &sender.datagram(source, at, &[(&counter::IF_COUNTERS, &values)]), at);
    }
    number(&shard, "ifinucastpkts", 200.0)
}

#[test]
fn wraps_are_growth_and_falls_are_gaps() {
    assert_eq!(rate_of(100, 200, 10.0), Some(10.0));
    assert_eq!(rate_of(u32::MAX - 9, 90, 10.0), Some(10.0), "a wrap");
    assert_eq!(rate_of(5000, 100, 10.0), None, "a fall is no wrap");
    assert_eq!(rate_of(100, u32::MAX, 10.0), None, "all ones are unknown");
    assert_eq!(rate_of(u32::MAX, 100, 10.0), None);
    assert_eq!(rate_of(100, 200, 0.004), None, "two samples of nearly the same moment");
}

#[test]
fn a_first_sample_gives_gauges_and_no_rate() {
    let mut shard = Shard::new(Options::default());
    let datagram = Sender::new(1).datagram(
        DataSource { class: 0, index: 4 },
        5.0,
        &[(&counter::IF_COUNTERS, &values(&counter::IF_COUNTERS, 0, 1))],
    );
    feed(&mut shard, &datagram, 5.0);
    assert_eq!(number(&shard, "ifindex", 5.0), Some(1.0));
    assert_eq!(number(&shard, "ifinoctets", 5.0), None);
}

#[test]
fn a_restart_is_a_gap_and_never_a_spike() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    let with = |octets: u64| {
        let mut values = values(&counter::IF_COUNTERS, 0, 1);
        values[5] = Value::U64(octets);
        values
    };
    let mut send = |sender: &mut Sender, uptime: f64, at: f64, octets| {
        let datagram = sender.datagram(source, uptime, &[(&counter::IF_COUNTERS, &with(octets))]);
        feed(&mut shard, &datagram, at);
        number(&shard, "ifinoctets", at)
    };
    assert_eq!(send(&mut sender, 1000.0, 1000.0, 0), None);
    assert_eq!(send(&mut sender, 1010.0, 1010.0, 1000), Some(100.0));
    sender.sequence = 0;
    sender.sample = 0;
    // The new counter is above the old one: only the uptime tells that it began anew.
    assert_eq!(send(&mut sender, 5.0, 1020.0, 1_000_000), None);
    assert_eq!(send(&mut sender, 15.0, 1030.0, 1_002_000), Some(200.0));
}

#[test]
fn values_are_forgotten_after_three_intervals() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    let mut send = |shard: &mut Shard, at| {
        let values = values(&counter::IF_COUNTERS, 0, 1);
        feed(shard, &sender.datagram(source, at, &[(&counter::IF_COUNTERS, &values)]), at);
    };
    // The second sample comes early, as Host sFlow's does: the interval is not known yet.
    for at in [0.0, 1.0] {
        send(&mut shard, at);
    }
    assert_eq!(number(&shard, "ifindex", 90.0), Some(1.0));
    assert_eq!(number(&shard, "ifindex", 91.1), None);
    for at in [11.0, 21.0] {
        send(&mut shard, at);
    }
    shard.tick(us(50.0), &mut Outbox::default());
    assert_eq!(number(&shard, "ifindex", 50.9), Some(1.0));
    assert_eq!(number(&shard, "ifindex", 51.1), None, "to the moment, whenever a tick comes");
}

/// What the published autoscaling script asks: only running containers that have a rate are counted.
#[test]
fn only_fresh_running_containers_are_counted() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let mut send = |index: u32, name: &'static str, state: u32, cpu_ms: u32, at: f64| {
        let network = values(&counter::VIRT_NET_IO, 0, at as u64 * 1000);
        let cpu = [Value::U32(state), Value::U32(cpu_ms), Value::U32(0)];
        let identity = [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
        let records: Records<'_> = &[
            (&counter::VIRT_CPU, &cpu),
            (&counter::VIRT_NET_IO, &network),
            (&counter::HOST_DESCR, &identity),
        ];
        let source = DataSource { class: 3, index: 100_000 + index };
        feed(&mut shard, &sender.datagram(source, at, records), at);
        let asked = "avg:vir_cpu_utilization,avg:vir_bytes_in,avg:vir_bytes_out";
        let filter = [("vir_host_name", "apache\\.*"), ("vir_cpu_state", "running")];
        statistics(&shard, asked, &filter, at)
    };
    let none = send(1, "apache.1.aaaa", 1, 1000, 100.0);
    assert_eq!((none[0].n, none[0].value.clone()), (0, None), "a first sample has no rate");
    let one = send(1, "apache.1.aaaa", 1, 1500, 110.0);
    assert_eq!((one[0].n, one[0].value.clone()), (1, Some(MetricValue::Number(5.0))));
    assert_eq!(one[1].value, Some(MetricValue::Number(1000.0)));
    assert_eq!(one[2].value, Some(MetricValue::Number(5000.0)));
    send(2, "apache.2.bbbb", 1, 0, 110.0);
    send(3, "apache2.1.cccc", 1, 0, 110.0);
    send(3, "apache2.1.cccc", 1, 9000, 120.0);
    let two = send(2, "apache.2.bbbb", 1, 1500, 120.0);
    assert_eq!((two[0].n, two[0].value.clone()), (2, Some(MetricValue::Number(10.0))));
    // The final sample of a stopped container has cpu time 0, which is no wrap.
    let stopped = send(2, "apache.2.bbbb", 5, 0, 121.0);
    assert_eq!((stopped[0].n, stopped[0].value.clone()), (1, Some(MetricValue::Number(5.0))));
}

#[test]
fn a_final_sample_with_true_counters_closes_the_last_interval() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 3, index: 100_000 };
    for (at, state, cpu) in [(100.0, 1, 1000), (110.0, 4, 3000)] {
        let cpu = [Value::U32(state), Value::U32(cpu), Value::U32(0)];
        feed(&mut shard, &sender.datagram(source, at, &[(&counter::VIRT_CPU, &cpu)]), at);
    }
    assert_eq!(number(&shard, "vir_cpu_utilization", 110.0), Some(20.0));
}

#[test]
fn a_containers_name_is_no_hosts() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let identity = |name: &'static str| [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
    for (source, name) in [((2, 1), "node1"), ((3, 100_000), "web.1")] {
        let source = DataSource { class: source.0, index: source.1 };
        feed(&mut shard, &sender.datagram(source, 1.0, &[(&counter::HOST_DESCR, &identity(name))]), 1.0);
    }
    let names = |asked| {
        let values = dump(&shard, asked, 1.0);
        values.iter().map(|metric| format!("{} {:?}", metric.owner.source, metric.value)).collect::<Vec<_>>()
    };
    assert_eq!(names("host_name"), ["2.1 Text(\"node1\")"]);
    assert_eq!(names("vir_host_name"), ["3.100000 Text(\"web.1\")"]);
    let found = statistics(&shard, "any:vir_host_name", &[("host_name", "node*")], 1.0);
    assert_eq!(
        found[0].value,
        Some(MetricValue::Text("web.1".into())),
        "the host's name filters its containers"
    );
}

#[test]
fn loss_duplicates_and_senders_of_an_agent() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(7);
    let source = DataSource { class: 0, index: 4 };
    let datagrams: Vec<_> = (0..10)
        .map(|n| {
            let values = values(&counter::IF_COUNTERS, 0, n + 1);
            sender.datagram(source, n as f64, &[(&counter::IF_COUNTERS, &values)])
        })
        .collect();
    for (n, datagram) in datagrams.iter().enumerate().filter(|(n, _)| ![3, 4].contains(n)) {
        feed(&mut shard, datagram, n as f64);
    }
    feed(&mut shard, &datagrams[9], 9.0);
    feed(&mut shard, &datagrams[3], 9.0);
    let question = Question::Agents(Agents::All);
    let Answer::Agents(agents) = shard.ask(&question, us(10.0)).finish(&question) else { panic!() };
    let agent = &agents[0];
    assert_eq!(agent.agent, Address::V4([10, 0, 0, 7].into()));
    let datagrams = agent.datagrams;
    assert_eq!((datagrams.received, datagrams.lost, datagrams.duplicates), (9, 1, 1));
    assert_eq!(datagrams.out_of_order, 1);
    assert_eq!((agent.counter_sources, agent.counter_samples.received), (1, 9));
    assert_eq!((agent.last_seen_us, agent.first_seen_us), (SECOND, 10 * SECOND));
    assert_eq!(agent.senders, [IpAddr::from([127, 0, 0, 1])]);
    assert_eq!(shard.counters().duplicates, 1);
}

#[test]
fn forged_agents_evict_only_one_another_and_sources_are_bounded() {
    let mut shard = Shard::new(Options { agents: 100, sources_per_agent: 5, ..Options::default() });
    for n in 0..1000_u32 {
        let mut sender = Sender::new(0);
        sender.agent = (0x0a00_0000 + n).to_be_bytes();
        let values = values(&counter::IF_COUNTERS, 0, 1);
        let source = DataSource { class: 0, index: 1 };
        feed(&mut shard, &sender.datagram(source, 1.0, &[(&counter::IF_COUNTERS, &values)]), f64::from(n));
    }
    assert_eq!((shard.agents(), shard.counters().agents_evicted), (100, 900));
    let mut sender = Sender::new(200);
    for index in 0..20 {
        let values = values(&counter::IF_COUNTERS, 0, 1);
        let source = DataSource { class: 0, index };
        feed(&mut shard, &sender.datagram(source, 1.0, &[(&counter::IF_COUNTERS, &values)]), 2000.0);
    }
    assert_eq!(shard.counters().sources_refused, 15);
}

/// A source with one metric at the agent 10.x.y.z.
fn interface_of(agent: u32, index: u32, at_s: f64) -> Vec<u8> {
    let mut sender = Sender::new(0);
    sender.agent = (0x0a00_0000 + agent).to_be_bytes();
    (sender.sequence, sender.sample) = (at_s as u32, at_s as u32);
    let values = values(&counter::IF_COUNTERS, 0, 1);
    sender.datagram(DataSource { class: 0, index }, at_s, &[(&counter::IF_COUNTERS, &values)])
}

#[test]
fn agents_that_come_once_do_not_push_out_those_that_stay() {
    let mut shard = Shard::new(Options { agents: 100, ..Options::default() });
    for second in 0..100 {
        for agent in 0..50 {
            feed(&mut shard, &interface_of(agent, 1, f64::from(second)), f64::from(second));
        }
        for forged in 0..if second < 2 { 0 } else { 1000 } {
            let agent = 1000 + 1000 * second + forged;
            feed(&mut shard, &interface_of(agent, 1, 1.0), f64::from(second) + 0.5);
        }
    }
    let question = Question::Agents(Agents::All);
    let Answer::Agents(agents) = shard.ask(&question, us(100.0)).finish(&question) else { panic!() };
    let stayed = agents.iter().filter(|agent| agent.datagrams.received > 90).count();
    assert_eq!((agents.len(), stayed), (100, 50));
}

#[test]
fn the_data_sources_of_all_agents_are_bounded_together() {
    let mut shard = Shard::new(Options { sources: 100, ..Options::default() });
    for agent in 0..50 {
        for second in [0.0, 2.0] {
            feed(&mut shard, &interface_of(agent, second as u32, second), second);
        }
    }
    for index in 100..110 {
        feed(&mut shard, &interface_of(7, index, 3.0 + f64::from(index)), 4.0);
    }
    assert_eq!(shard.counters().sources_refused, 10, "those heard twice do not give way");
    assert_eq!(dump(&shard, "ifindex", 4.0).len(), 100);
}

#[test]
fn silent_agents_and_data_sources_are_released() {
    let options = Options {
        agent_timeout_us: 100 * SECOND,
        metric_timeout_us: Some(1000 * SECOND),
        ..Options::default()
    };
    let mut shard = Shard::new(options);
    for (agent, index, at) in [(1, 1, 0.0), (2, 1, 0.0), (2, 2, 60.0)] {
        feed(&mut shard, &interface_of(agent, index, at), at);
    }
    let mut outbox = Outbox::default();
    let mut released = |shard: &mut Shard, at: f64| {
        (0..20).for_each(|_| shard.tick(us(at), &mut outbox));
        std::mem::take(&mut outbox.released)
    };
    assert!(released(&mut shard, 99.0).is_empty());
    assert_eq!(dump(&shard, "ifindex", 99.0).len(), 3);
    assert_eq!(released(&mut shard, 101.0), [Address::V4([10, 0, 0, 1].into())]);
    let left = dump(&shard, "ifindex", 101.0);
    assert_eq!(left.iter().map(|metric| metric.owner.source.to_string()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(released(&mut shard, 161.0), [Address::V4([10, 0, 0, 2].into())]);
    assert_eq!((shard.agents(), shard.counters().agents_released), (0, 2));
}

/// Promise A5. Measured: 0.4 s; a loaded machine stays below the tenfold of 1 s.
#[test]
fn three_hundred_thousand_forged_agents_cost_little() {
    let mut shard = Shard::new(Options { agents: 10_000, ..Options::default() });
    let mut datagram = interface_of(0, 1, 1.0);
    let began = std::time::Instant::now();
    let mut outbox = Outbox::default();
    for agent in 0..300_000_u32 {
        datagram[8..12].copy_from_slice(&(0x0a00_0000 + agent).to_be_bytes());
        shard.datagram(&datagram, IpAddr::from([127, 0, 0, 1]), us(f64::from(agent) / 1e5), &mut outbox);
    }
    assert_eq!((shard.agents(), shard.counters().agents_evicted), (10_000, 290_000));
    assert_eq!(outbox.released.len(), 290_000);
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    println!("300,000 forged agents: {:?}", began.elapsed());
}

#[test]
fn what_no_data_source_has_is_said_and_counted_as_none() {
    let shard = Shard::new(Options::default());
    let statistics = statistics(&shard, "max:load_one,nosuch", &[], 0.0);
    assert_eq!(statistics.len(), 2);
    assert_eq!((statistics[0].n, &statistics[0].value, &statistics[0].owner), (0, &None, &None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any partition of the agents over shards gives the answer of one shard, in any order of merging.
    #[test]
    fn merging_is_commutative_and_associative(
        loads in prop::collection::vec((0u8..4, 0u32..1000), 1..20),
        aggregation in prop::sample::select(vec!["max", "min", "sum", "avg", "var", "med", "q1", "q3", "iqr", "any"]),
        turned in any::<bool>(),
    ) {
        let mut whole = Shard::new(Options::default());
        let mut parts: Vec<Shard> = (0..4).map(|_| Shard::new(Options::default())).collect();
        for (n, (part, load)) in loads.iter().enumerate() {
            let mut values = values(&counter::HOST_CPU, 0, 1);
            values[0] = Value::F32(*load as f32);
            let source = DataSource { class: 2, index: 1 };
            let datagram = Sender::new(n as u8).datagram(source, 1.0, &[(&counter::HOST_CPU, &values)]);
            feed(&mut whole, &datagram, 1.0);
            feed(&mut parts[usize::from(*part)], &datagram, 1.0);
        }
        let metrics = MetricRef::list(&format!("{aggregation}:load_one")).unwrap();
        let question = Question::Metric { agents: Agents::All, metrics, filter: Filter::default() };
        let mut partials: Vec<Partial> = parts.iter().map(|shard| shard.ask(&question, us(2.0))).collect();
        if turned {
            partials.reverse();
        }
        let [a, b, c, d] = <[Partial; 4]>::try_from(partials).unwrap();
        let left = a.clone().merge(b.clone()).merge(c.clone()).merge(d.clone()).finish(&question);
        let right = a.merge(b.merge(c.merge(d))).finish(&question);
        let one = whole.ask(&question, us(2.0)).finish(&question);
        prop_assert_eq!(&left, &one);
        prop_assert_eq!(&right, &one);
    }
}
