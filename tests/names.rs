//! Names from the network: in no answer and on no line do they move anything but themselves.

use std::net::UdpSocket;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::Value;
use decode::sample::{DataSource, Interface};
use decode::{Address, CountersSample, FlowSample, Header, Mac, Tag, counter};

use crate::support::Collector;

const AGENT: &str = "10.66.0.1";

/// Quotes, a line's end, an escape sequence, a comma, an override of direction.
const NAME: &str = "ev\"il\n\u{1b}[31mred\r,\u{202e}txt\\{}";

/// A DNS query for a name of one label with a comma in it, in a sampled packet.
fn query(label: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.len() as u8];
    payload.extend_from_slice(label);
    payload.extend_from_slice(&[0, 0, 1, 0, 1]);
    let mut packet = [0; 128];
    let built = decode::packet::PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), Mac([4; 6])).unwrap();
    let built = built.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0, 64).unwrap();
    let whole = 14 + 28 + payload.len();
    let length = built.udp(4000, 53).unwrap().payload(&payload).unwrap().finish(whole).unwrap();
    packet[..length].to_vec()
}

fn datagram(sequence: u32) -> Vec<u8> {
    let header = Header {
        agent: Address::V4(AGENT.parse().unwrap()),
        sequence,
        uptime_ms: sequence * 2000,
        ..Header::default()
    };
    let mut buffer = vec![0; 1400];
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    let cpu = [Value::F32(1.5)];
    let identity = [Value::Text(NAME.as_bytes()), Value::Uuid([7; 16]), Value::U32(3), Value::U32(2)];
    let host = CountersSample { sequence, source: DataSource { class: 2, index: 1 }, ..Default::default() };
    let records =
        [RecordOut::Fields(&counter::HOST_CPU, &cpu), RecordOut::Fields(&counter::HOST_DESCR, &identity)];
    builder.counters_sample(&host, &records).unwrap();
    let bytes = query(b"a,b");
    let sampled = SampledHeader { protocol: 1, frame_length: bytes.len() as u32, stripped: 0, bytes: &bytes };
    let sample = FlowSample {
        sequence,
        source: DataSource { class: 0, index: 5 },
        sampling_rate: 100,
        sample_pool: sequence * 100,
        input: Interface::index(5),
        output: Interface::index(6),
        ..FlowSample::default()
    };
    builder.flow_sample(&sample, &[RecordOut::Header(sampled)]).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn hidden(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && finderscope::escape::is_hidden(c))
}

#[test]
fn names_move_nothing_in_any_answer() {
    let collector = Collector::start(&[]);
    let definition = "{keys:'dnsqname,ipprotocol',value:'frames',log:true,flowStart:true}";
    assert_eq!(collector.request("PUT", "/flow/dns/json", Some(definition)).0, 204);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 1..=3 {
        socket.send_to(&datagram(sequence), collector.sflow).unwrap();
    }
    collector.wait_for("/flows/json?name=dns", |records| {
        records[0]["flowKeys"].as_str().map(|key| assert_eq!(key, "a%2Cb.,17", "a comma moves no field"))
    });
    let path = format!("/metric/{AGENT}/json");
    let metrics = collector.wait_for(&path, |metrics| metrics.get("2.1.host_name").cloned());
    assert_eq!(metrics, NAME, "as JSON it means the same");
    // The key finds the flow, as it is shown.
    assert_eq!(collector.request("GET", "/flowvalue/ALL/dns/json?key=a%252Cb.,17", None).0, 200);
    let prometheus = format!("/prometheus/metrics/{AGENT}/ALL/txt");
    for path in [&path, &prometheus, "/flows/json", "/activeflows/ALL/dns/json", "/dump/ALL/ALL/json"] {
        let (status, text) = collector.get(path);
        assert_eq!(status, 200, "{path}");
        assert!(!hidden(&text), "{path}: {text:?}");
    }
    let lines = collector.get(&prometheus).1;
    assert!(lines.lines().all(|line| line.starts_with("sflow_")), "one line stays one: {lines}");
}

#[test]
fn what_cannot_be_read_is_told_in_the_log_by_reason() {
    let collector = Collector::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // NetFlow version 5, and a sample that is longer than its datagram.
    socket.send_to(&[0, 5, 0, 1, 0, 0, 0, 0], collector.sflow).unwrap();
    let mut buffer = vec![0; 200];
    let header = Header { agent: Address::V4([10, 0, 0, 7].into()), ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    builder.raw_sample(Tag::new(0, 1), &[0; 32]).unwrap();
    let length = builder.finish().unwrap();
    socket.send_to(&buffer[..length - 8], collector.sflow).unwrap();
    let told = collector.wait_for_log("Datagrams that could not be read");
    assert!(told[0].contains(" WARNING: ") && told[0].contains(" 1 version"), "{told:?}");
    let told = collector.wait_for_log("Samples that could not be read: 1 sample_length");
    assert!(told[0].contains("agent=10.0.0.7"), "{told:?}");
}
