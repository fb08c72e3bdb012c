//! Datagrams as agents send them, and waiting for an engine to have taken them.

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::{Duration, Instant};

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::Value;
use decode::{Address, CountersSample, DataSource, FlowSample, Header, counter};
use engine::{Engine, EngineOptions, Handle, Status};
use serde_json::json;
use tables::flow::active::FlowAggregation;
use tables::select::{Agents, Filter};
use tables::{Answer, Change, Question};

/// How long a test waits for something that should be there in a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Options for loopback, with as many workers.
pub(crate) fn options(workers: usize) -> EngineOptions {
    EngineOptions {
        sflow: vec!["127.0.0.1:0".parse().unwrap()],
        receive_buffer: 8 << 20,
        workers: NonZero::new(workers),
        ..EngineOptions::default()
    }
}

/// An agent that samples packets and counts octets.
pub(crate) struct Agent {
    address: Address,
    sequence: u32,
    /// Packet samples in each datagram.
    pub(crate) samples: u32,
}

impl Agent {
    /// The `n`th agent: an IPv4 address, every fourth an IPv6 one.
    pub(crate) fn new(n: u32) -> Self {
        let address = match n % 4 {
            3 => Address::V6(((0x2001_0db8_u128 << 96) + u128::from(n)).into()),
            _ => Address::V4((0x0a00_0000 + n).into()),
        };
        Self { address, sequence: 0, samples: 2 }
    }

    /// The agent begins anew.
    pub(crate) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The next datagram: a counters sample of interface 1, and samples of packets that come in there.
    pub(crate) fn datagram(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let n = self.sequence;
        let header = Header { agent: self.address, sequence: n, uptime_ms: n * 20_000, ..Header::default() };
        let mut buffer = vec![0; 65_000];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        let source = DataSource { class: 0, index: 1 };
        let counters = CountersSample { sequence: n, source, ..Default::default() };
        let interface = [
            Value::U32(1),
            Value::U32(6),
            Value::U64(1_000_000_000),
            Value::U32(1),
            Value::U32(3),
            Value::U64(u64::from(n) * 2_500_000),
        ];
        builder.counters_sample(&counters, &[RecordOut::Fields(&counter::IF_COUNTERS, &interface)]).unwrap();
        for k in 0..self.samples {
            let packet = packet((n * self.samples + k) % 50);
            let header = SampledHeader { protocol: 1, frame_length: 1000, stripped: 4, bytes: &packet };
            let sample = FlowSample {
                sequence: (n - 1) * self.samples + k + 1,
                source,
                sampling_rate: 100,
                sample_pool: ((n - 1) * self.samples + k + 1) * 100,
                ..Default::default()
            };
            builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
        }
        let length = builder.finish().unwrap();
        buffer.truncate(length);
        buffer
    }
}

/// An Ethernet frame with a UDP packet from a host of 50.
fn packet(host: u32) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, 0x03, 0xd2, 0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend([192, 0, 2, host as u8, 198, 51, 100, 1]);
    bytes.extend([0x10, 0, 0, 53, 0x03, 0xbe, 0, 0]);
    bytes.resize(128, 0);
    bytes
}

/// Defines the flow that [`answers`] asks for.
pub(crate) fn define(handle: &Handle) {
    let flow = json!({"keys": "ipsource", "value": "frames", "t": 600});
    handle.define(Change::Flow("sources".into(), Some(flow))).unwrap();
}

/// Waits until the status is as wanted.
pub(crate) fn wait_for(handle: &Handle, mut wanted: impl FnMut(&Status) -> bool) -> Status {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = handle.status().unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Datagrams of which is known what became of them.
pub(crate) fn accounted(status: &Status) -> u64 {
    let errors: u64 = status.counters.datagram_errors.iter().sum();
    status.counters.datagrams + errors + status.hand_over.handover_full + status.kernel_drops.unwrap()
}

/// Sends datagrams and waits until all are accounted for, `before` of them from earlier.
pub(crate) fn send(to: SocketAddr, handle: &Handle, datagrams: &[Vec<u8>], before: u64) -> Status {
    let mut sender = ingest::send::Sender::new(to).unwrap();
    for (n, datagram) in datagrams.iter().enumerate() {
        sender.send(datagram);
        // A pace that a receive buffer of any size takes.
        if n % 200 == 199 {
            wait_for(handle, |status| accounted(status) == before + sender.sent());
        }
    }
    wait_for(handle, |status| accounted(status) == before + datagrams.len() as u64)
}

/// What the tables hold that does not depend on the moment: agents with their counts, metrics, flows.
pub(crate) fn answers(engine: &Engine) -> String {
    answers_of(|question| engine.handle().ask(question).unwrap())
}

/// The same of whatever answers questions.
pub(crate) fn answers_of(ask: impl Fn(Question) -> Answer) -> String {
    let mut text = String::new();
    let Answer::Agents(agents) = ask(Question::Agents(Agents::All)) else { panic!() };
    for agent in agents {
        text += &format!(
            "{} {:?} {:?} {:?} {:?}\n",
            agent.agent, agent.senders, agent.datagrams, agent.flow_samples, agent.counter_samples
        );
    }
    let dump = Question::Dump { agents: Agents::All, metrics: Vec::new(), filter: Filter::default() };
    let Answer::Metrics(metrics) = ask(dump) else { panic!() };
    // The definition is a metric too, which decays with the moment: it is asked for below.
    for metric in metrics.iter().filter(|metric| metric.name != "sources") {
        text += &format!("{:?} {} {:?}\n", metric.owner, metric.name, metric.value);
    }
    let flows = Question::ActiveFlows {
        agents: Agents::All,
        flow: "sources".into(),
        aggregation: FlowAggregation::Sum,
        most: 1000,
        least: 0.0,
        separator: ",".into(),
    };
    let Answer::Flows(mut flows) = ask(flows) else { panic!() };
    flows.sort_by(|a, b| a.key.cmp(&b.key));
    for flow in flows {
        // Rates have decayed a little, depending on the moment: the time constant is ten minutes.
        text += &format!("{} {:.0}\n", flow.key, flow.value * 600.0 / 100.0);
    }
    text
}

/// Says in which line two answers differ first.
pub(crate) fn assert_same(found: &str, expected: &str, what: &str) {
    for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{what}, line {n}");
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{what}, lines");
}
