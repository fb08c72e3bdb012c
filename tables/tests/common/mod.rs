//! What the tests of metrics share: an agent that sends counters samples, and questions.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub, reason = "tests; each uses a part")]

use std::net::IpAddr;

use decode::build::{DatagramBuilder, RecordOut};
use decode::layout::{Kind as WireKind, Lanes, Layout, Value};
use decode::{Address, CountersSample, DataSource, Header, Mac};
use tables::question::{Metric as Found, Statistic};
use tables::select::{Agents, Filter, MetricRef};
use tables::{Answer, Outbox, Question, Shard};

pub const SECOND: u64 = 1_000_000;

/// An agent that sends counters samples.
pub struct Sender {
    pub agent: [u8; 4],
    pub sequence: u32,
    pub sample: u32,
}

pub type Records<'a> = &'a [(&'static Layout, &'a [Value<'a>])];

impl Sender {
    pub fn new(last: u8) -> Self {
        Self { agent: [10, 0, 0, last], sequence: 0, sample: 0 }
    }

    /// A datagram with one counters sample, `at_s` seconds after the agent's start.
    pub fn datagram(&mut self, source: DataSource, at_s: f64, records: Records<'_>) -> Vec<u8> {
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

pub fn us(at_s: f64) -> u64 {
    SECOND + (at_s * 1e6) as u64
}

pub fn feed(shard: &mut Shard, datagram: &[u8], at_s: f64) {
    let mut outbox = Outbox::default();
    shard.datagram(datagram, IpAddr::from([127, 0, 0, 1]), us(at_s), &mut outbox);
    shard.flush(us(at_s), &mut outbox);
}

pub fn dump(shard: &Shard, names: &str, at_s: f64) -> Vec<Found> {
    let metrics = if names == "ALL" { Vec::new() } else { MetricRef::list(names).unwrap() };
    let question = Question::Dump { agents: Agents::All, metrics, filter: Filter::default() };
    match shard.ask(&question, us(at_s)).finish(&question) {
        Answer::Metrics(metrics) => metrics,
        other => panic!("{other:?}"),
    }
}

pub fn number(shard: &Shard, name: &str, at_s: f64) -> Option<f64> {
    dump(shard, name, at_s).first().and_then(|metric| metric.value.number())
}

pub fn statistics(shard: &Shard, metrics: &str, filter: &[(&str, &str)], at_s: f64) -> Vec<Statistic> {
    let filter =
        Filter::new(filter.iter().map(|(name, pattern)| (*name, vec![(*pattern).to_owned()]))).unwrap();
    let question =
        Question::Metric { agents: Agents::All, metrics: MetricRef::list(metrics).unwrap(), filter };
    match shard.ask(&question, us(at_s)).finish(&question) {
        Answer::Statistics(statistics) => statistics,
        other => panic!("{other:?}"),
    }
}

/// Eight lanes, the last one first, whose word at place w is `step * (10 * index + w)`.
pub fn lanes(step: u32) -> Lanes<'static> {
    let words = |lane| (1..10).map(move |word| step * (10 * lane + word));
    let lane = |lane: u32| std::iter::once(lane).chain(words(lane)).flat_map(u32::to_be_bytes);
    let bytes: Vec<u8> = (1..=8).rev().flat_map(lane).collect();
    Lanes::from_bytes(bytes.leak())
}

/// Values of a structure: the field at place n is `base + step * (n + 1)`.
pub fn values(layout: &Layout, base: u64, step: u64) -> Vec<Value<'static>> {
    let one = |n: u64| base + step * (n + 1);
    let of = |kind, n| match kind {
        WireKind::U32 => Value::U32(one(n) as u32),
        WireKind::U64 => Value::U64(one(n)),
        WireKind::F32 => Value::F32(one(n) as f32),
        WireKind::Byte => Value::Byte(1),
        WireKind::Mac => Value::Mac(Mac([0xab; 6])),
        WireKind::Text => Value::Text(b"name"),
        WireKind::Uuid => Value::Uuid([0x11; 16]),
        WireKind::Lanes => Value::Lanes(lanes(step as u32)),
        other => panic!("{other:?} has no metric"),
    };
    layout.fields.iter().zip(0..).map(|(field, n)| of(field.kind, n)).collect()
}
