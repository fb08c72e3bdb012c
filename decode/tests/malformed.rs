//! Malformed input: no panic, no endless loop, the good samples kept. The corpus is made here, at fixed seeds.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::layout::{Kind, Layout, Value};
use decode::packet::{self, LayerKind};
use decode::{Address, CountersSample, Datagram, FlowSample, Header, Sample, counter, flow};
use proptest::prelude::*;

/// Reads everything that can be read, and says how many samples were whole.
fn walk(bytes: &[u8]) -> usize {
    let Ok(datagram) = Datagram::parse(bytes) else { return 0 };
    let mut whole = 0;
    for sample in datagram.samples() {
        let Ok(sample) = sample else { continue };
        whole += 1;
        let (records, is_flow) = match sample {
            Sample::Flow(s) => (s.records, true),
            Sample::Discarded(s) => (s.records, true),
            Sample::Counters(s) => (s.records, false),
            Sample::RtMetric(s) => {
                s.metrics().count();
                continue;
            }
            Sample::RtFlow(s) => {
                s.fields().count();
                continue;
            }
            Sample::Unknown { .. } => continue,
        };
        for record in &records {
            if is_flow && record.tag == SAMPLED_HEADER {
                let header = SampledHeader::parse(record.body).unwrap();
                look_into(&packet::dissect(header.protocol, header.bytes));
                continue;
            }
            let fields = if is_flow { flow::fields(record) } else { counter::fields(record) };
            for (_, value) in fields.iter().flat_map(|fields| fields.iter()) {
                match value {
                    Value::AsPath(path) => drop((path.first(), path.last())),
                    Value::Adapters(adapters) => {
                        assert!(
                            adapters.iter().map(|(_, macs)| macs.iter().len()).sum::<usize>() < bytes.len()
                        );
                    }
                    Value::Lanes(lanes) => drop(lanes.iter().count()),
                    _ => {}
                }
            }
        }
    }
    whole
}

fn look_into(packet: &packet::Packet<'_>) {
    let mut text = String::new();
    packet.write_stack(&mut text).unwrap();
    if let Some(dns) = packet.nth(LayerKind::Dns, 0) {
        let _ = packet::Dns::new(dns).write_name(&mut text);
    }
    if let Some(icmp) = packet.nth(LayerKind::Icmp, 0) {
        packet::Icmp::new(icmp).unreachable_port();
    }
    for n in 0..3 {
        packet.ipv6(n).map(|ip| ip.options());
    }
}

/// A datagram with many structures in it.
fn specimen() -> Vec<u8> {
    let value = |kind| match kind {
        Kind::U32 => Value::U32(7),
        Kind::U64 => Value::U64(7),
        Kind::F32 => Value::F32(7.0),
        Kind::Byte => Value::Byte(7),
        Kind::Mac => Value::Mac(decode::Mac([7; 6])),
        Kind::Ip4 => Value::Ip4([7; 4].into()),
        Kind::Ip6 => Value::Ip6([7; 16].into()),
        Kind::Address => Value::Address(Address::V4([7; 4].into())),
        Kind::Text => Value::Text(b"name"),
        Kind::Uuid => Value::Uuid([7; 16]),
        Kind::Words => Value::Words(decode::layout::Words::from_bytes(&[0, 0, 0, 1])),
        Kind::AsPath => {
            Value::AsPath(decode::layout::AsPath::from_bytes(1, &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]))
        }
        Kind::Adapters => Value::Adapters(decode::layout::Adapters::from_bytes(1, &[0, 0, 0, 2, 0, 0, 0, 0])),
        Kind::Lanes => Value::Lanes(decode::layout::Lanes::from_bytes(&[1; 40])),
    };
    let all = |layout: &Layout| layout.fields.iter().map(|field| value(field.kind)).collect::<Vec<_>>();
    let mut packet = [0; 128];
    let built =
        packet::PacketBuilder::new(&mut packet).ethernet(decode::Mac([1; 6]), decode::Mac([2; 6])).unwrap();
    let built = built.vlan(9, 1).unwrap().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0, 64).unwrap();
    let length = built.udp(4000, 4789).unwrap().vxlan(6).unwrap().finish(300).unwrap();
    let mut buffer = vec![0; 9000];
    let header = Header { agent: Address::V4([10, 0, 0, 1].into()), ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    let sampled = SampledHeader { protocol: 1, frame_length: 304, stripped: 4, bytes: &packet[..length] };
    for layout in [&flow::EXTENDED_GATEWAY, &flow::HTTP_REQUEST, &flow::EXTENDED_MPLS, &flow::APP_OPERATION] {
        let values = all(layout);
        let records = [RecordOut::Header(sampled), RecordOut::Fields(layout, &values)];
        builder.flow_sample(&FlowSample::default(), &records).unwrap();
    }
    for layout in [&counter::HOST_DESCR, &counter::HOST_ADAPTERS, &counter::SFP, &counter::LACP_COUNTERS] {
        let values = all(layout);
        let records = [RecordOut::Fields(layout, &values), RecordOut::Fields(layout, &values)];
        builder.counters_sample(&CountersSample { expanded: true, ..Default::default() }, &records).unwrap();
    }
    builder.rt_metric(b"s", &[(b"m", decode::rt::MetricValue::Text(b"v"))]).unwrap();
    builder.rt_flow(b"s", 1, 1, &[(b"f", decode::rt::FlowValue::Text(b"v"))]).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn truncation_at_every_offset() {
    let specimen = specimen();
    let whole = walk(&specimen);
    assert_eq!(whole, 10);
    let mut last = 0;
    for cut in 0..specimen.len() {
        let kept = walk(&specimen[..cut]);
        assert!(kept >= last && kept <= whole, "samples before the cut are kept");
        last = kept;
    }
}

#[test]
fn lying_words_at_every_offset() {
    let specimen = specimen();
    for at in 0..specimen.len() - 4 {
        for lie in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff, 0x4000_0001] {
            let mut bytes = specimen.clone();
            bytes[at..at + 4].copy_from_slice(&u32::to_be_bytes(lie));
            let kept = walk(&bytes);
            // A word inside one sample spoils that one; one in a sample's length may spoil those after it.
            assert!(kept <= 10);
        }
    }
}

#[test]
fn a_tenth_of_garbage_changes_nothing_for_the_rest() {
    let specimen = specimen();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut good = 0;
    for n in 0..2000 {
        if n % 10 == 0 {
            let garbage: Vec<u8> = (0..random() % 1500).map(|_| random() as u8).collect();
            walk(&garbage);
        } else {
            good += walk(&specimen);
        }
    }
    assert_eq!(good, 1800 * 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutations_of_a_good_datagram(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24)) {
        let mut bytes = specimen();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        walk(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_good_header(tail in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = specimen();
        bytes.truncate(28);
        bytes.extend(tail);
        walk(&bytes);
    }

    #[test]
    fn any_packet(protocol in 0u32..20, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        look_into(&packet::dissect(protocol, &bytes));
    }
}
