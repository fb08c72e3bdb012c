//! `finderscope run`: real sFlow in, answers out, as a client sees them.

use std::net::UdpSocket;

use decode::build::{DatagramBuilder, RecordOut};
use decode::layout::Value;
use decode::{Address, CountersSample, DataSource, Header, counter};

use crate::support::{Collector, finderscope};

/// Sends counters samples of a host, two seconds of its own time apart.
pub(crate) struct Host {
    socket: UdpSocket,
    agent: [u8; 4],
    /// That of the last datagram.
    pub(crate) sequence: u32,
}

impl Host {
    pub(crate) fn new(collector: &Collector, last: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(collector.sflow).unwrap();
        Self { socket, agent: [10, 0, 0, last], sequence: 0 }
    }

    pub(crate) fn send(&mut self, name: &str, load: f32, octets: u64) {
        self.sequence += 1;
        let header = Header {
            agent: Address::V4(self.agent.into()),
            sequence: self.sequence,
            uptime_ms: self.sequence * 2000,
            ..Header::default()
        };
        let mut interface =
            vec![Value::U32(4), Value::U32(6), Value::U64(1_000_000_000), Value::U32(1), Value::U32(3)];
        interface.push(Value::U64(octets));
        let port = [Value::Text(b"eth\"0")];
        let cpu = [Value::F32(load)];
        let identity = [Value::Text(name.as_bytes()), Value::Uuid([7; 16]), Value::U32(3), Value::U32(2)];
        let mut buffer = vec![0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        let sample = |source| CountersSample { sequence: self.sequence, source, ..Default::default() };
        let records = [
            RecordOut::Fields(&counter::PORT_NAME, &port),
            RecordOut::Fields(&counter::IF_COUNTERS, &interface),
        ];
        builder.counters_sample(&sample(DataSource { class: 0, index: 4 }), &records).unwrap();
        let records =
            [RecordOut::Fields(&counter::HOST_CPU, &cpu), RecordOut::Fields(&counter::HOST_DESCR, &identity)];
        builder.counters_sample(&sample(DataSource { class: 2, index: 1 }), &records).unwrap();
        let length = builder.finish().unwrap();
        self.socket.send(&buffer[..length]).unwrap();
    }
}

/// A collector that has heard three hosts with an interface each.
pub(crate) fn three_hosts(more: &[&str]) -> Collector {
    let collector = Collector::start(more);
    for (last, name, load) in [(1, "web1", 0.5), (2, "web2", 1.5), (3, "mem1", 4.0)] {
        let mut host = Host::new(&collector, last);
        host.send(name, load, 1000);
        // Counters of nearly the same moment make no rate, so the agent's clock moves on by two seconds.
        host.send(name, load, 251_000);
    }
    collector.wait_for("/analyzer/json", |answer| (answer["sFlowDatagramsReceived"] == 6).then_some(()));
    collector
}

/// A datagram with `count` samples of one TCP packet, each standing for 100 packets of 1,000 bytes.
pub(crate) fn packets(sequence: u32, count: u32) -> Vec<u8> {
    use decode::flow::SampledHeader;
    use decode::sample::Interface;
    use decode::{FlowSample, Mac};
    let mut packet = [0; 128];
    let built = decode::packet::PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), Mac([4; 6])).unwrap();
    let built = built.ipv4([10, 0, 0, 1].into(), [192, 0, 2, 7].into(), 0, 64).unwrap();
    let length = built.tcp(40000, 443, 0x10).unwrap().finish(996).unwrap();
    let header = SampledHeader { protocol: 1, frame_length: 1000, stripped: 4, bytes: &packet[..length] };
    let mut buffer = vec![0; 9000];
    let agent = Address::V4([10, 0, 0, 50].into());
    let head = Header { agent, sequence, uptime_ms: 1000, ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut buffer, &head).unwrap();
    for n in 0..count {
        let sample = FlowSample {
            sequence: sequence * count + n,
            source: DataSource { class: 0, index: 3 },
            sampling_rate: 100,
            input: Interface::index(3),
            ..FlowSample::default()
        };
        builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
    }
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn a_port_that_is_taken_is_named() {
    let collector = Collector::start(&["--workers", "4", "--pin"]);
    let taken = collector.sflow.to_string();
    let args = ["run", "--sflow", &taken, "--http", "127.0.0.1:0", "--state-dir", "none"];
    let output = finderscope().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&taken) && said.contains("another program has this port: \"finderscope\""),
        "{said}"
    );
}

#[test]
fn datagrams_that_are_no_sflow_are_counted_by_reason() {
    let collector = Collector::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0, 5, 0, 1, 0, 0, 0, 0], collector.sflow).unwrap();
    socket.send_to(b"x", collector.sflow).unwrap();
    collector.wait_for("/analyzer/json", |answer| {
        (answer["sFlowUnsupportedVersion"] == 1 && answer["sFlowParseErrors"] == 1).then_some(())
    });
    let (_, text) = collector.get("/prometheus/analyzer/txt");
    assert!(text.contains("sflow_analyzer_datagram_errors{reason=\"version\"} 1\n"), "{text}");
}
