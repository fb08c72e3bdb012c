//! What real senders send that the specifications alone do not prepare a decoder for.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::layout::Value;
use decode::sample::{DataSource, Interface, InterfaceKind};
use decode::{
    Address, CountersSample, Datagram, DatagramError, FlowSample, Header, Sample, SampleError, Tag,
};
use decode::{counter, flow};

fn header() -> Header {
    Header { agent: Address::V4([10, 0, 0, 1].into()), ..Header::default() }
}

fn build(add: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 9000];
    let mut builder = DatagramBuilder::new(&mut buffer, &header()).unwrap();
    add(&mut builder);
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn sampled(bytes: &[u8]) -> RecordOut<'_> {
    RecordOut::Header(SampledHeader { protocol: 1, frame_length: 500, stripped: 4, bytes })
}

fn flow_samples(bytes: &[u8]) -> Vec<Result<u32, SampleError>> {
    let samples = Datagram::parse(bytes).unwrap().samples();
    samples
        .map(|sample| match sample? {
            Sample::Flow(flow) => Ok(flow.sequence),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn numbered(sequence: u32) -> FlowSample<'static> {
    FlowSample { sequence, sampling_rate: 1, ..FlowSample::default() }
}

#[test]
fn host_sflow_sends_longer_and_shorter_host_records() {
    for (layout, bytes, present) in [
        (&counter::HOST_CPU, 80, 20),
        (&counter::HOST_CPU, 68, 17),
        (&counter::HOST_ICMP, 100, 25),
        (&counter::HOST_TCP, 60, 15),
        (&counter::HOST_UDP, 28, 7),
        (&counter::HOST_UDP, 40, 7),
    ] {
        let body: Vec<u8> = (0..bytes as u32 / 4).flat_map(u32::to_be_bytes).collect();
        let sample = CountersSample { source: DataSource { class: 2, index: 1 }, ..Default::default() };
        let bytes = build(|b| b.counters_sample(&sample, &[RecordOut::Raw(layout.tag, &body)]).unwrap());
        let Some(Ok(Sample::Counters(read))) = Datagram::parse(&bytes).unwrap().samples().next() else {
            panic!()
        };
        let fields = counter::fields(read.records.iter().next().unwrap()).unwrap();
        assert_eq!(fields.iter().count(), present, "{} of {} bytes", layout.name, body.len());
        assert_eq!(fields.get(present), None, "absent, not zero");
    }
}

#[test]
fn the_last_header_without_its_pad_is_taken() {
    let whole = build(|b| {
        b.flow_sample(&numbered(1), &[sampled(&[1; 60])]).unwrap();
        b.flow_sample(&numbered(2), &[sampled(&[2; 61])]).unwrap();
    });
    for missing in 0..=3 {
        assert_eq!(flow_samples(&whole[..whole.len() - missing]), [Ok(1), Ok(2)]);
    }
    assert_eq!(flow_samples(&whole[..whole.len() - 4])[0], Ok(1));
    // 280 bytes of a claimed 284: the sample's length counts a pad word that is not there.
    let mut claimed = build(|b| b.flow_sample(&numbered(3), &[sampled(&[3; 60])]).unwrap());
    let length = u32::from_be_bytes(claimed[32..36].try_into().unwrap());
    claimed[32..36].copy_from_slice(&(length + 4).to_be_bytes());
    assert_eq!(flow_samples(&claimed), [Ok(3)]);
}

#[test]
fn bytes_after_the_last_sample_are_ignored_and_counted() {
    let mut bytes = build(|b| b.flow_sample(&numbered(1), &[]).unwrap());
    bytes.extend([0xaa; 24]);
    let mut samples = Datagram::parse(&bytes).unwrap().samples();
    assert!(matches!(samples.next(), Some(Ok(Sample::Flow(_)))));
    assert!(samples.next().is_none());
    assert_eq!((samples.trailing(), samples.missing()), (24, 0));
}

#[test]
fn a_sample_count_that_lies_ends_with_the_bytes() {
    let mut bytes = build(|b| b.flow_sample(&numbered(1), &[]).unwrap());
    bytes[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut samples = Datagram::parse(&bytes).unwrap().samples();
    assert_eq!(samples.by_ref().count(), 1);
    assert_eq!(samples.missing(), u32::MAX - 1);
}

#[test]
fn unknown_samples_and_records_are_skipped_without_an_error() {
    let bytes = build(|b| {
        b.raw_sample(Tag::new(8800, 9), &[1; 40]).unwrap();
        let unknown = RecordOut::Raw(Tag::new(43874, 2), &[5; 12]);
        b.flow_sample(&numbered(7), &[unknown, sampled(&[0; 20])]).unwrap();
    });
    let samples: Vec<_> = Datagram::parse(&bytes).unwrap().samples().collect();
    assert!(matches!(samples[0], Ok(Sample::Unknown { length: 40, .. })));
    let Ok(Sample::Flow(flow)) = samples[1] else { panic!() };
    let tags: Vec<String> = flow.records.iter().map(|r| r.tag.to_string()).collect();
    assert_eq!(tags, ["43874:2", "0:1"]);
}

#[test]
fn a_sample_that_lies_is_dropped_whole_and_its_neighbours_kept() {
    let good = |b: &mut DatagramBuilder<'_>, n| b.flow_sample(&numbered(n), &[sampled(&[0; 20])]).unwrap();
    for lie in 0..3 {
        let bytes = build(|b| {
            good(b, 1);
            let mut body = vec![0; 32];
            let length = |n: u32| n.to_be_bytes();
            match lie {
                0 => body[28..].copy_from_slice(&length(u32::MAX)),
                1 => {
                    body[28..].copy_from_slice(&length(1));
                    body.extend(length(1).into_iter().chain(length(u32::MAX)));
                }
                _ => {
                    body[28..].copy_from_slice(&length(1));
                    body.extend(
                        [length(1), length(16), length(1), length(9), length(4), length(u32::MAX)].concat(),
                    );
                }
            }
            b.raw_sample(Tag::new(0, 1), &body).unwrap();
            good(b, 3);
        });
        let reason = if lie == 2 { SampleError::RecordContent } else { SampleError::RecordLength };
        assert_eq!(flow_samples(&bytes), [Ok(1), Err(reason), Ok(3)]);
    }
}

#[test]
fn header_protocols_11_and_12_have_no_link_layer() {
    let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    assert!(decode::packet::dissect(11, &ip).ipv4(0).is_some());
    assert!(decode::packet::dissect(1, &ip).ipv4(0).is_none());
}

#[test]
fn container_samples_come_with_the_name_last() {
    let name = [Value::Text(b"apache.2.abc"), Value::Uuid([9; 16])];
    let cpu = [Value::U32(1), Value::U32(1234), Value::U32(0)];
    let sample = CountersSample {
        expanded: true,
        source: DataSource { class: 3, index: 100_000 },
        ..Default::default()
    };
    let records =
        [RecordOut::Fields(&counter::VIRT_CPU, &cpu), RecordOut::Fields(&counter::HOST_DESCR, &name)];
    let bytes = build(|b| b.counters_sample(&sample, &records).unwrap());
    let Some(Ok(Sample::Counters(read))) = Datagram::parse(&bytes).unwrap().samples().next() else {
        panic!()
    };
    assert_eq!(read.source.to_string(), "3.100000");
    let last = counter::fields(read.records.iter().last().unwrap()).unwrap();
    assert_eq!(last.named("hostname"), Some(Value::Text(b"apache.2.abc")));
}

#[test]
fn netflow_version_5_is_refused_by_its_whole_version_word() {
    let mut netflow = vec![0, 5, 0, 1];
    netflow.extend([0; 68]);
    assert_eq!(Datagram::parse(&netflow).unwrap_err(), DatagramError::Version);
}

#[test]
fn interfaces_say_internal_discarded_and_multiple() {
    for (word, kind) in [
        (0, InterfaceKind::Unknown),
        (0x3fff_ffff, InterfaceKind::Internal),
        (5, InterfaceKind::Index(5)),
        (0x4000_0102, InterfaceKind::Discarded(258)),
        (0x8000_0007, InterfaceKind::Multiple(7)),
    ] {
        assert_eq!(Interface::compact(word).kind(), kind);
    }
}

#[test]
fn a_vlan_of_all_ones_is_unknown() {
    let all_ones = flow::ExtendedSwitch::parse(&[0xff; 16]);
    assert_eq!(all_ones.source_vlan, u32::MAX);
    assert_eq!(
        flow::ExtendedSwitch::parse(&[0, 0, 0, 1]).destination_vlan,
        u32::MAX,
        "absent is unknown too"
    );
}

#[test]
fn a_vendors_wrapper_holds_an_ordinary_flow_sample() {
    let inner = build(|b| b.flow_sample(&numbered(42), &[sampled(&[0; 20])]).unwrap());
    let body = [&[0; 12], &inner[36..]].concat();
    let bytes = build(|b| b.raw_sample(Tag::new(1991, 1), &body).unwrap());
    assert_eq!(flow_samples(&bytes), [Ok(42)]);
}

#[test]
fn frame_length_is_that_of_the_sampled_header() {
    let other = [Value::U32(60)];
    let records = [sampled(&[0; 20]), RecordOut::Fields(&flow::SAMPLED_ETHERNET, &other)];
    let bytes = build(|b| b.flow_sample(&numbered(1), &records).unwrap());
    let Some(Ok(Sample::Flow(read))) = Datagram::parse(&bytes).unwrap().samples().next() else { panic!() };
    let header = read.records.iter().find(|r| r.tag == SAMPLED_HEADER).unwrap();
    assert_eq!(SampledHeader::parse(header.body).unwrap().frame_length, 500);
}
