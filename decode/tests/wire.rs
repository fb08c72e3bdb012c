//! Every structure is written and read back: `parse(emit(x)) == x`.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::{Adapters, AsPath, Fields, Kind, Lanes, Layout, Value, Words};
use decode::rt::{FlowValue, MetricValue};
use decode::sample::{DataSource, Interface};
use decode::{
    Address, CountersSample, Datagram, DiscardedPacket, FlowSample, Header, Mac, Sample, Tag, counter, flow,
};

fn header() -> Header {
    Header {
        agent: Address::V6("2001:db8::1".parse().unwrap()),
        sub_agent: 7,
        sequence: 11,
        uptime_ms: 13,
        samples: 1,
    }
}

const WORDS: &[u8] = &[0, 0, 0, 1, 0, 0, 0xff, 0xfe];
const PATH: &[u8] = &[0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9];
const ADAPTERS: &[u8] = &[0, 0, 0, 3, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
const LANES: &[u8] = &[9; 80];

/// A value of each kind that differs from field to field.
fn value(kind: Kind, n: u32) -> Value<'static> {
    match kind {
        Kind::U32 => Value::U32(0x0102_0300 + n),
        Kind::U64 => Value::U64(0x0102_0304_0506_0700 + u64::from(n)),
        Kind::F32 => Value::F32(1.5 + n as f32),
        Kind::Byte => Value::Byte(n as u8),
        Kind::Mac => Value::Mac(Mac([n as u8; 6])),
        Kind::Ip4 => Value::Ip4([10, 0, 0, n as u8].into()),
        Kind::Ip6 => Value::Ip6([n as u8; 16].into()),
        Kind::Address => Value::Address(Address::V4([10, 1, 0, n as u8].into())),
        Kind::Text => Value::Text(["", "a", "ab", "abc", "abcd", "abcde"][n as usize % 6].as_bytes()),
        Kind::Uuid => Value::Uuid([n as u8; 16]),
        Kind::Words => Value::Words(Words::from_bytes(WORDS)),
        Kind::AsPath => Value::AsPath(AsPath::from_bytes(2, PATH)),
        Kind::Adapters => Value::Adapters(Adapters::from_bytes(2, ADAPTERS)),
        Kind::Lanes => Value::Lanes(Lanes::from_bytes(LANES)),
    }
}

fn values(layout: &Layout) -> Vec<Value<'static>> {
    layout.fields.iter().zip(1..).map(|(field, n)| value(field.kind, n)).collect()
}

#[test]
fn every_flow_structure_in_both_forms() {
    for expanded in [false, true] {
        for layout in flow::LAYOUTS {
            let values = values(layout);
            let sample = FlowSample {
                expanded,
                sequence: 1,
                source: DataSource { class: 0, index: 5 },
                sampling_rate: 400,
                sample_pool: 800,
                drops: 3,
                input: Interface::index(5),
                output: Interface { format: 2, value: 7 },
                ..FlowSample::default()
            };
            let mut buffer = [0; 1400];
            let mut builder = DatagramBuilder::new(&mut buffer, &header()).unwrap();
            builder.flow_sample(&sample, &[RecordOut::Fields(layout, &values)]).unwrap();
            let length = builder.finish().unwrap();
            let datagram = Datagram::parse(&buffer[..length]).unwrap();
            assert_eq!(datagram.header, header());
            let Some(Ok(Sample::Flow(read))) = datagram.samples().next() else { panic!("{}", layout.name) };
            assert_eq!(
                (read.sequence, read.source, read.sampling_rate, read.sample_pool, read.drops),
                (1, sample.source, 400, 800, 3)
            );
            assert_eq!((read.expanded, read.input, read.output), (expanded, sample.input, sample.output));
            let record = read.records.iter().next().unwrap();
            let fields = flow::fields(record).unwrap();
            assert!(std::ptr::eq(fields.layout, *layout), "{} is found by its tag", layout.name);
            assert_eq!(fields.iter().map(|(_, v)| v).collect::<Vec<_>>(), values, "{}", layout.name);
        }
    }
}

#[test]
fn every_counter_structure_in_both_forms() {
    for expanded in [false, true] {
        for layout in counter::LAYOUTS {
            let values = values(layout);
            let sample = CountersSample {
                expanded,
                sequence: 9,
                source: DataSource { class: 3, index: 100_001 },
                ..CountersSample::default()
            };
            let mut buffer = [0; 1400];
            let mut builder = DatagramBuilder::new(&mut buffer, &header()).unwrap();
            builder.counters_sample(&sample, &[RecordOut::Fields(layout, &values)]).unwrap();
            let length = builder.finish().unwrap();
            let datagram = Datagram::parse(&buffer[..length]).unwrap();
            let Some(Ok(Sample::Counters(read))) = datagram.samples().next() else {
                panic!("{}", layout.name)
            };
            assert_eq!((read.expanded, read.sequence, read.source), (expanded, 9, sample.source));
            let fields = counter::fields(read.records.iter().next().unwrap()).unwrap();
            assert!(std::ptr::eq(fields.layout, *layout), "{} is found by its tag", layout.name);
            assert_eq!(fields.iter().map(|(_, v)| v).collect::<Vec<_>>(), values, "{}", layout.name);
        }
    }
}

#[test]
fn lists_are_read_in_order() {
    let path = AsPath::from_bytes(2, PATH);
    assert_eq!((path.first(), path.last()), (Some(7), Some(9)));
    assert_eq!(path.segments().map(|(kind, n)| (kind, n.len())).collect::<Vec<_>>(), [(2, 2), (1, 1)]);
    let adapters: Vec<_> =
        Adapters::from_bytes(2, ADAPTERS).iter().map(|(i, m)| (i, m.iter().collect::<Vec<_>>())).collect();
    assert_eq!(adapters, [(3, vec![Mac([1, 2, 3, 4, 5, 6])]), (4, vec![])]);
    let lanes = Lanes::from_bytes(LANES);
    assert_eq!(lanes.iter().map(|lane| lane.iter().next().unwrap()).collect::<Vec<_>>(), [0x0909_0909; 2]);
}

#[test]
fn typed_records_agree_with_their_tables() {
    let mut buffer = [0; 1400];
    for layout in
        [&flow::EXTENDED_ROUTER, &flow::EXTENDED_GATEWAY, &flow::SAMPLED_IPV4, &flow::SAMPLED_ETHERNET]
    {
        let mut writer = decode::xdr::Writer::new(&mut buffer);
        layout.write(&values(layout), &mut writer).unwrap();
        let body = writer.written();
        match layout.tag.format() {
            2 => assert_eq!(flow::SampledEthernet::parse(body).unwrap().destination, Mac([3; 6])),
            3 => {
                let ip = flow::SampledIp::<std::net::Ipv4Addr>::parse(body).unwrap();
                assert_eq!((ip.source, ip.tos), ([10, 0, 0, 3].into(), 0x0102_0308));
            }
            1002 => assert_eq!(flow::ExtendedRouter::parse(body).unwrap().destination_mask, 0x0102_0303),
            _ => {
                let gateway = flow::ExtendedGateway::parse(body).unwrap();
                assert_eq!((gateway.path.last(), gateway.communities.len()), (Some(9), 2));
                assert_eq!(gateway.local_pref, 0x0102_0307);
            }
        }
        assert_eq!(Fields::new(layout, body).get(0), Some(values(layout)[0]));
    }
}

#[test]
fn sampled_headers_discarded_packets_and_custom_samples() {
    let sampled = SampledHeader { protocol: 1, frame_length: 1518, stripped: 4, bytes: b"12345" };
    let discarded = DiscardedPacket {
        sequence: 4,
        source: DataSource { class: 0, index: 3 },
        drops: 2,
        input: 8,
        output: 9,
        reason: 258,
        ..DiscardedPacket::default()
    };
    let metrics: [(&[u8], MetricValue<'_>); 7] = [
        (b"text", MetricValue::Text(b"v")),
        (b"c32", MetricValue::Counter32(1)),
        (b"c64", MetricValue::Counter64(2)),
        (b"g32", MetricValue::Gauge32(3)),
        (b"g64", MetricValue::Gauge64(4)),
        (b"float", MetricValue::Float(0.5)),
        (b"double", MetricValue::Double(0.25)),
    ];
    let fields: [(&[u8], FlowValue<'_>); 8] = [
        (b"text", FlowValue::Text(b"value")),
        (b"mac", FlowValue::Mac(Mac([1; 6]))),
        (b"ip", FlowValue::Ip4([1, 2, 3, 4].into())),
        (b"ip6", FlowValue::Ip6([6; 16].into())),
        (b"i32", FlowValue::Int32(1)),
        (b"i64", FlowValue::Int64(2)),
        (b"float", FlowValue::Float(0.5)),
        (b"double", FlowValue::Double(0.25)),
    ];
    let mut buffer = [0; 1400];
    let mut builder = DatagramBuilder::new(&mut buffer, &header()).unwrap();
    builder.discarded(&discarded, &[RecordOut::Header(sampled)]).unwrap();
    builder.rt_metric(b"app", &metrics).unwrap();
    builder.rt_flow(b"app", 10, 20, &fields).unwrap();
    builder.raw_sample(Tag::new(99, 1), &[1, 2, 3, 4]).unwrap();
    let length = builder.finish().unwrap();
    let datagram = Datagram::parse(&buffer[..length]).unwrap();
    assert_eq!(datagram.header.samples, 4);
    let mut samples = datagram.samples();
    let Some(Ok(Sample::Discarded(read))) = samples.next() else { panic!() };
    assert_eq!((read.drops, read.input, read.output, read.reason), (2, 8, 9, 258));
    assert_eq!(flow::drop_reason(read.reason), Some("acl"));
    let record = read.records.iter().next().unwrap();
    assert_eq!(SampledHeader::parse(record.body), Ok(sampled));
    let Some(Ok(Sample::RtMetric(read))) = samples.next() else { panic!() };
    assert_eq!((read.source, read.metrics().collect::<Vec<_>>()), (b"app".as_slice(), metrics.to_vec()));
    let Some(Ok(Sample::RtFlow(read))) = samples.next() else { panic!() };
    assert_eq!((read.sampling_rate, read.sample_pool), (10, 20));
    assert_eq!(read.fields().collect::<Vec<_>>(), fields);
    assert!(matches!(samples.next(), Some(Ok(Sample::Unknown { length: 4, .. }))));
    assert!(samples.next().is_none());
    assert_eq!((samples.trailing(), samples.missing()), (0, 0));
}

#[test]
fn a_sample_that_does_not_fit_leaves_the_datagram_as_it_was() {
    let sampled = SampledHeader { protocol: 1, frame_length: 100, stripped: 4, bytes: &[7; 60] };
    let sample = FlowSample { sampling_rate: 1, ..FlowSample::default() };
    let mut buffer = [0; 260];
    let mut builder = DatagramBuilder::new(&mut buffer, &header()).unwrap();
    let mut fitted = 0;
    while builder.flow_sample(&sample, &[RecordOut::Header(sampled)]).is_ok() {
        fitted += 1;
    }
    let length = builder.finish().unwrap();
    let datagram = Datagram::parse(&buffer[..length]).unwrap();
    assert_eq!((fitted, datagram.header.samples), (1, 1));
    assert_eq!(datagram.samples().filter(Result::is_ok).count(), 1);
}

#[test]
fn data_sources_as_text() {
    for (text, class, index) in [("22", 0, 22), ("2.1", 2, 1), ("3.100000", 3, 100_000)] {
        let source: DataSource = text.parse().unwrap();
        assert_eq!((source, source.to_string().as_str()), (DataSource { class, index }, text));
    }
    assert!("x".parse::<DataSource>().is_err() && "1.2.3".parse::<DataSource>().is_err());
}
