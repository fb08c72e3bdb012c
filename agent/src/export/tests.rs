//! What the exporter says is read back by `decode` and compared.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use decode::counter::{HOST_ADAPTERS, HOST_DESCR, IF_COUNTERS, VIRT_CPU};
use decode::flow::SampledHeader;
use decode::layout::{Adapters, Value};
use decode::sample::INTERNAL;
use decode::{Datagram, Sample, counter};

use super::*;
use crate::settings::Collector;

const ETH: DataSource = DataSource { class: 0, index: 2 };
const CONTAINER: DataSource = DataSource { class: 3, index: 100_000 };

/// Keeps what it is given.
#[derive(Clone, Debug, Default)]
struct Kept(Rc<RefCell<Vec<Vec<u8>>>>);

impl Sink for Kept {
    fn send(&mut self, datagram: &[u8]) {
        self.0.borrow_mut().push(datagram.to_vec());
    }
}

fn exporter(agent: &str) -> (Exporter, Kept, Instant) {
    let kept = Kept::default();
    let now = Instant::now();
    (Exporter::new(agent.parse().unwrap(), 7, Box::new(kept.clone()), now), kept, now)
}

fn cpu(ms: u32) -> [Value<'static>; 3] {
    [Value::U32(1), Value::U32(ms), Value::U32(0)]
}

fn header(bytes: &[u8]) -> [RecordOut<'_>; 1] {
    [RecordOut::Header(SampledHeader { protocol: 1, frame_length: 1518, stripped: 4, bytes })]
}

fn flow_out<'a>(records: &'a [RecordOut<'a>]) -> FlowSampleOut<'a> {
    FlowSampleOut {
        sampling_rate: 400,
        sample_pool: 123_456,
        drops: 3,
        input: Interface::index(2),
        output: Interface::index(INTERNAL),
        records,
    }
}

/// Source, sequence and form of each sample, with the number of records.
fn samples(datagram: &[u8]) -> Vec<(DataSource, u32, bool, u32)> {
    let datagram = Datagram::parse(datagram).unwrap();
    let all = datagram.samples().map(|sample| match sample.unwrap() {
        Sample::Flow(s) => (s.source, s.sequence, s.expanded, s.records.count()),
        Sample::Counters(s) => (s.source, s.sequence, s.expanded, s.records.count()),
        other => panic!("{other:?}"),
    });
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), datagram.header.samples as usize);
    all
}

#[test]
fn values_arrive_as_they_were_given() {
    for agent in ["192.0.2.1", "2001:db8::1"] {
        let (mut exporter, kept, start) = exporter(agent);
        let now = start + Duration::from_millis(1500);
        let frame: Vec<u8> = (0..128).collect();
        exporter.flow(ETH, &flow_out(&header(&frame)), now);
        exporter.counters(CONTAINER, &[RecordOut::Fields(&VIRT_CPU, &cpu(42))], now);
        assert!(kept.0.borrow().is_empty());
        exporter.flush(now + Duration::from_millis(20));
        let datagrams = kept.0.borrow();
        let [bytes] = datagrams.as_slice() else { panic!("{datagrams:?}") };
        let datagram = Datagram::parse(bytes).unwrap();
        assert_eq!(
            datagram.header,
            Header {
                agent: agent.parse::<IpAddr>().unwrap().into(),
                sub_agent: 7,
                sequence: 1,
                uptime_ms: 1520,
                samples: 2
            }
        );
        let mut samples = datagram.samples();
        let Sample::Flow(flow) = samples.next().unwrap().unwrap() else { panic!() };
        assert_eq!((flow.expanded, flow.sequence, flow.source), (false, 1, ETH));
        assert_eq!((flow.sampling_rate, flow.sample_pool, flow.drops), (400, 123_456, 3));
        assert_eq!((flow.input, flow.output), (Interface::index(2), Interface::index(INTERNAL)));
        let record = flow.records.iter().next().unwrap();
        let sampled = SampledHeader::parse(record.body).unwrap();
        assert_eq!((sampled.frame_length, sampled.stripped, sampled.bytes), (1518, 4, frame.as_slice()));
        let Sample::Counters(counters) = samples.next().unwrap().unwrap() else { panic!() };
        assert_eq!((counters.expanded, counters.sequence, counters.source), (true, 1, CONTAINER));
        let fields = counter::fields(counters.records.iter().next().unwrap()).unwrap();
        assert_eq!(fields.iter().map(|(_, value)| value).collect::<Vec<_>>(), cpu(42));
        assert!(samples.next().is_none());
    }
}

#[test]
fn datagrams_are_filled_to_1400_bytes_and_no_further() {
    let (mut exporter, kept, now) = exporter("192.0.2.1");
    let frame = [0xab; 128];
    for _ in 0..100 {
        exporter.flow(ETH, &flow_out(&header(&frame)), now);
    }
    exporter.flush(now);
    let datagrams = kept.0.borrow();
    let one = 8 + 32 + 8 + 16 + 128;
    let fit = (LARGEST_DATAGRAM - 28) / one;
    assert_eq!(datagrams.len(), 100_usize.div_ceil(fit));
    assert_eq!(datagrams[0].len(), 28 + fit * one);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= LARGEST_DATAGRAM));
    let numbers: Vec<u32> =
        datagrams.iter().flat_map(|d| samples(d)).map(|(_, sequence, _, _)| sequence).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    let sequences: Vec<u32> = datagrams.iter().map(|d| Datagram::parse(d).unwrap().header.sequence).collect();
    assert_eq!(sequences, (1..=datagrams.len() as u32).collect::<Vec<_>>());
    let exported = exporter.exported();
    assert_eq!((exported.datagrams, exported.samples), (datagrams.len() as u64, 100));
    assert_eq!(exported.bytes, datagrams.iter().map(|d| d.len() as u64).sum::<u64>());
    assert_eq!((exported.shortened, exported.sources_full), (0, 0));
}

#[test]
fn no_sample_waits_longer_than_a_second() {
    let (mut exporter, kept, start) = exporter("192.0.2.1");
    assert_eq!(exporter.due(), None);
    let first = start + Duration::from_millis(300);
    exporter.flow(ETH, &flow_out(&[]), first);
    assert_eq!(exporter.due(), Some(first + LONGEST_WAIT));
    assert!(LONGEST_WAIT <= Duration::from_millis(950), "the timer may be late");
    exporter.flow(ETH, &flow_out(&[]), first + Duration::from_millis(850));
    assert_eq!(exporter.due(), Some(first + LONGEST_WAIT), "the oldest counts");
    // Whoever comes late sends what waited before he adds his own.
    exporter.flow(ETH, &flow_out(&[]), first + Duration::from_millis(1001));
    assert_eq!(kept.0.borrow().len(), 1);
    assert_eq!(samples(&kept.0.borrow()[0]).len(), 2);
    assert_eq!(exporter.due(), Some(first + Duration::from_millis(1001) + LONGEST_WAIT));
    // Counters go on sooner, and take with them what waits.
    exporter.counters(ETH, &[], first + Duration::from_millis(1500));
    assert_eq!(exporter.due(), Some(first + Duration::from_millis(1550)));
    exporter.flow(ETH, &flow_out(&[]), first + Duration::from_millis(1510));
    assert_eq!(exporter.due(), Some(first + Duration::from_millis(1550)));
    exporter.flush(first + Duration::from_millis(1550));
    assert_eq!(exporter.due(), None);
    exporter.flush(first + Duration::from_millis(3000));
    assert_eq!(kept.0.borrow().len(), 2, "nothing is sent when nothing waits");
}

#[test]
fn sequences_are_per_source_and_kind_and_end_with_the_source() {
    let (mut exporter, kept, now) = exporter("192.0.2.1");
    let far = DataSource { class: 0, index: 0x0100_0000 };
    exporter.counters(ETH, &[], now);
    exporter.counters(CONTAINER, &[], now);
    exporter.flow(ETH, &flow_out(&[]), now);
    exporter.counters(ETH, &[], now);
    exporter.counters(far, &[], now);
    exporter.forget(ETH);
    exporter.counters(ETH, &[], now);
    exporter.counters(CONTAINER, &[], now);
    exporter.flow(ETH, &FlowSampleOut { output: Interface::index(1 << 30), ..flow_out(&[]) }, now);
    exporter.flush(now);
    let expected = [
        (ETH, 1, false),
        (CONTAINER, 1, true),
        (ETH, 1, false),
        (ETH, 2, false),
        (far, 1, true),
        (ETH, 1, false),
        (CONTAINER, 2, true),
        (ETH, 1, true),
    ];
    let got: Vec<_> =
        samples(&kept.0.borrow()[0]).into_iter().map(|(source, n, form, _)| (source, n, form)).collect();
    assert_eq!(got, expected);
}

#[test]
fn sources_beyond_the_limit_are_counted() {
    let (mut exporter, _, now) = exporter("192.0.2.1");
    for index in 0..MOST_SOURCES as u32 + 5 {
        exporter.counters(DataSource { class: 3, index }, &[], now);
    }
    exporter.counters(DataSource { class: 3, index: 0 }, &[], now);
    exporter.flush(now);
    assert_eq!((exporter.exported().samples, exporter.exported().sources_full), (MOST_SOURCES as u64 + 1, 5));
}

#[test]
fn a_new_address_takes_only_what_comes_after() {
    let (mut exporter, kept, now) = exporter("192.0.2.1");
    exporter.counters(ETH, &[], now);
    exporter.set_agent("2001:db8::2".parse().unwrap(), now);
    exporter.counters(ETH, &[], now);
    exporter.flush(now);
    let agent = |bytes: &[u8]| Datagram::parse(bytes).unwrap().header.agent.to_string();
    assert_eq!(kept.0.borrow().iter().map(|d| agent(d)).collect::<Vec<_>>(), ["192.0.2.1", "2001:db8::2"]);
    assert_eq!(samples(&kept.0.borrow()[1]), [(ETH, 2, false, 0)]);
}

#[test]
fn a_sample_too_long_for_a_datagram_is_shortened_and_counted() {
    let adapters: Vec<u8> = (0..300_u32)
        .flat_map(|n| [n.to_be_bytes(), 1_u32.to_be_bytes(), (n << 8).to_be_bytes(), [9, 9, 0, 0]].concat())
        .collect();
    let name = [b'n'; 4001];
    let adapters = [Value::Adapters(Adapters::from_bytes(300, &adapters))];
    let identity =
        [Value::Text(&name), Value::Uuid([5; 16]), Value::U32(3), Value::U32(2), Value::Text(b"6.1")];
    for agent in ["192.0.2.1", "2001:db8::1"] {
        let (mut exporter, kept, now) = exporter(agent);
        exporter.counters(
            CONTAINER,
            &[
                RecordOut::Fields(&HOST_ADAPTERS, &adapters),
                RecordOut::Fields(&VIRT_CPU, &cpu(42)),
                RecordOut::Fields(&HOST_DESCR, &identity),
            ],
            now,
        );
        exporter.counters(CONTAINER, &[RecordOut::Fields(&HOST_ADAPTERS, &adapters)], now);
        exporter.flush(now);
        assert_eq!((exporter.exported().shortened, exporter.exported().samples), (2, 2));
        let datagrams = kept.0.borrow();
        assert_eq!(datagrams.len(), 2);
        assert!(datagrams.iter().all(|d| d.len() <= LARGEST_DATAGRAM));
        // The shorter records are whole; what is left of the long ones has all its fields.
        let Sample::Counters(sample) =
            Datagram::parse(&datagrams[0]).unwrap().samples().next().unwrap().unwrap()
        else {
            panic!()
        };
        let all: Vec<_> = sample.records.iter().map(|record| counter::fields(record).unwrap()).collect();
        let of = |tag| all.iter().find(|fields| fields.layout.tag == tag);
        assert_eq!(of(VIRT_CPU.tag).unwrap().iter().map(|(_, v)| v).collect::<Vec<_>>(), cpu(42));
        assert!(of(HOST_DESCR.tag).is_some(), "the name stays, if not all of it");
        // A list of adapters alone fills its datagram to within one adapter.
        assert!(datagrams[1].len() > LARGEST_DATAGRAM - 20, "{}", datagrams[1].len());
        let Sample::Counters(sample) =
            Datagram::parse(&datagrams[1]).unwrap().samples().next().unwrap().unwrap()
        else {
            panic!()
        };
        let fields = counter::fields(sample.records.iter().next().unwrap()).unwrap();
        let Some(Value::Adapters(kept)) = fields.get(0) else { panic!() };
        assert!(kept.len() > 70 && kept.len() < 90, "{}", kept.len());
        for (n, (index, macs)) in kept.iter().enumerate() {
            let [_, b, c, d] = ((n as u32) << 8).to_be_bytes();
            assert_eq!(index, n as u32);
            assert_eq!(macs.iter().map(|mac| mac.0).collect::<Vec<_>>(), [[0, b, c, d, 9, 9]]);
        }
    }
}

#[test]
fn a_long_name_is_cut_and_the_fields_after_it_stay() {
    let (mut exporter, kept, now) = exporter("192.0.2.1");
    let name = "né\n".repeat(1000);
    let identity = [Value::Text(name.as_bytes()), Value::Uuid([5; 16]), Value::U32(3)];
    exporter.counters(
        CONTAINER,
        &[RecordOut::Fields(&VIRT_CPU, &cpu(1)), RecordOut::Fields(&HOST_DESCR, &identity)],
        now,
    );
    exporter.flush(now);
    let datagrams = kept.0.borrow();
    let Sample::Counters(sample) = Datagram::parse(&datagrams[0]).unwrap().samples().next().unwrap().unwrap()
    else {
        panic!()
    };
    let fields = counter::fields(sample.records.iter().nth(1).unwrap()).unwrap();
    let values: Vec<_> = fields.iter().map(|(_, value)| value).collect();
    let short = values[0].as_text().unwrap();
    assert!(short.len() > 1200 && name.as_bytes().starts_with(short), "{}", short.len());
    assert_eq!(values[1..], identity[1..]);
}

fn collector(address: SocketAddr) -> Collector {
    Collector { host: address.ip().to_string(), port: address.port(), device: None }
}

/// Sends over both families to two collectors that live and one that does not.
#[test]
fn one_dead_collector_stops_no_other() {
    let receivers = ["127.0.0.1:0", "[::1]:0"].map(|address| UdpSocket::bind(address).unwrap());
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for receiver in &receivers {
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let [four, six] = receivers.each_ref().map(|receiver| receiver.local_addr().unwrap());
    let sink = UdpSink::new(&[four, dead, six].map(collector));
    let now = Instant::now();
    let mut exporter = Exporter::new("192.0.2.1".parse().unwrap(), 0, Box::new(sink), now);
    for _ in 0..50 {
        exporter.counters(ETH, &[], now);
        exporter.flush(now);
    }
    let mut buffer = [0; 2000];
    for receiver in &receivers {
        for n in 1..=50 {
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(Datagram::parse(&buffer[..length]).unwrap().header.sequence, n);
        }
    }
    let statuses = exporter.collectors();
    let bytes = exporter.exported().bytes;
    for (status, address) in [(&statuses[0], four), (&statuses[2], six)] {
        assert_eq!((status.datagrams, status.bytes, status.errors), (50, bytes, 0));
        assert_eq!(status.address, Some(address));
    }
    assert!(statuses[1].errors > 0, "{:?}", statuses[1]);
    assert_eq!((statuses[1].name.as_str(), statuses[1].address), (format!("{dead}").as_str(), Some(dead)));
    assert_eq!(statuses[2].name, format!("{six}"));
}

/// A refusal is about a datagram before it: a collector that is started again gets the first one after.
#[test]
fn a_collector_that_comes_back_gets_the_next_datagram() {
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut sink = UdpSink::new(&[collector(address)]);
    sink.send(b"nobody hears this");
    let receiver = UdpSocket::bind(address).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    sink.send(b"this is heard");
    let mut buffer = [0; 100];
    let length = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"this is heard");
    assert_eq!((sink.collectors()[0].datagrams, sink.collectors()[0].errors), (2, 1));
}

/// The loopback brings a datagram; a device that is not there is a failure that is tried anew.
#[test]
fn datagrams_leave_by_the_device_that_was_said() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let by = |device: &str| Collector {
        device: Some(device.to_owned()),
        ..collector(receiver.local_addr().unwrap())
    };
    let mut sink = UdpSink::new(&[by("no-such-device"), by("lo")]);
    sink.send(b"one");
    sink.send(b"two");
    let mut buffer = [0; 100];
    for expected in [b"one", b"two"] {
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], expected);
    }
    let counts: Vec<_> = sink.collectors().iter().map(|c| (c.datagrams, c.errors)).collect();
    assert_eq!(counts, [(0, 2), (2, 0)]);
}

#[test]
fn smaller_datagrams_are_made_where_they_are_asked_for() {
    for (asked, largest) in [(500, 500), (0, LEAST_LARGEST_DATAGRAM), (9000, LARGEST_DATAGRAM)] {
        let (mut exporter, kept, now) = exporter("2001:db8::1");
        exporter.set_largest_datagram(asked, now);
        for _ in 0..50 {
            exporter.flow(ETH, &flow_out(&header(&[7; 128])), now);
        }
        let name = [b'n'; 4000];
        exporter.counters(CONTAINER, &[RecordOut::Fields(&HOST_DESCR, &[Value::Text(&name)])], now);
        exporter.flush(now);
        let longest = kept.0.borrow().iter().map(Vec::len).max().unwrap();
        assert!(longest <= largest && longest > largest - 16, "{asked}: {longest}");
        assert_eq!(kept.0.borrow().iter().map(|d| samples(d).len()).sum::<usize>(), 51);
        assert_eq!(exporter.exported().shortened, 1);
    }
}

/// Of three collectors one has a name without an address, and one is called by name; then one goes and one comes.
#[test]
fn a_name_without_an_address_stops_nobody_and_who_stays_keeps_his_counters() {
    let receivers = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = receivers.each_ref().map(|receiver| receiver.local_addr().unwrap().port());
    let by = |host: &str, port| Collector { host: host.to_owned(), port, device: None };
    let (named, nobody) = (by("localhost", ports[0]), by("collector.invalid", 6343));
    let mut sink = UdpSink::new(&[named, nobody.clone(), by("127.0.0.1", ports[1])]);
    sink.send(b"one");
    let said = |sink: &UdpSink| -> Vec<(Option<u16>, u64, u64)> {
        let said = sink.collectors().into_iter();
        said.map(|c| (c.address.map(|address| address.port()), c.datagrams, c.errors)).collect()
    };
    assert_eq!(said(&sink), [(Some(ports[0]), 1, 0), (None, 0, 1), (Some(ports[1]), 1, 0)]);
    sink.set_collectors(&[by("127.0.0.1", ports[1]), nobody, by("127.0.0.1", ports[2])]);
    sink.tick(Instant::now());
    sink.send(b"two");
    assert_eq!(said(&sink), [(Some(ports[1]), 2, 0), (None, 0, 2), (Some(ports[2]), 1, 0)]);
    let mut buffer = [0; 100];
    for (receiver, expected) in [(1, "one"), (1, "two"), (2, "two")] {
        receivers[receiver].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = receivers[receiver].recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], expected.as_bytes());
    }
}

#[derive(Clone, Default)]
struct Page(Rc<RefCell<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// As of `finderscope-agent --dry-run | head`.
#[test]
fn a_dry_run_is_over_when_its_reader_is_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut sink, datagram) = (DryRun::new(Box::new(writer)), [0; 28]);
    sink.send(&datagram);
    let was_over = sink.is_over();
    drop(reader);
    let (mut exporter, now) =
        (Exporter::new("192.0.2.1".parse().unwrap(), 0, Box::new(sink), Instant::now()), Instant::now());
    exporter.counters(ETH, &[], now);
    exporter.flush(now);
    assert_eq!((was_over, exporter.is_over()), (false, true));
}

#[test]
fn a_dry_run_prints_a_line_per_record() {
    let page = Page::default();
    let now = Instant::now();
    let mut exporter =
        Exporter::new("192.0.2.1".parse().unwrap(), 0, Box::new(DryRun::new(Box::new(page.clone()))), now);
    let identity = [Value::Text(b"web\n\x1b[31m1"), Value::Uuid([0xab; 16])];
    exporter.flow(ETH, &flow_out(&header(&[0xfe; 14])), now);
    exporter.counters(
        CONTAINER,
        &[RecordOut::Fields(&VIRT_CPU, &cpu(42)), RecordOut::Fields(&HOST_DESCR, &identity)],
        now,
    );
    // Counters may have the number of a flow structure.
    exporter.counters(ETH, &[RecordOut::Fields(&IF_COUNTERS, &[Value::U32(2), Value::U32(6)])], now);
    exporter.flush(now + Duration::from_millis(5));
    let text = String::from_utf8(page.0.borrow().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "datagram agent=192.0.2.1 sub_agent=0 sequence=1 uptime_ms=5 samples=3 bytes=228",
            "  flow source=2 sequence=1 sampling_rate=400 sample_pool=123456 drops=3 input=2 output=host record=0:1 \
             sampled_header header_protocol=1 frame_length=1518 stripped=4 header=fefefefefefefefefefefefefefe",
            "  counters source=3.100000 sequence=1 record=0:2101 virt_cpu vcpu_state=1 vcpu_cpu_mS=42 \
             vcpu_cpuCount=0",
            "  counters source=3.100000 sequence=1 record=0:2000 host_descr hostname=\"web\\n\\u{1b}[31m1\" \
             UUID=abababababababababababababababab",
            "  counters source=2 sequence=1 record=0:1 if_counters ifIndex=2 networkType=6",
        ]
    );
}
