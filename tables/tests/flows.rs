//! The flow language: every key and every function is made to answer with a value that is known otherwise.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow as wire;
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::layout::{AsPath, Value, Words};
use decode::packet::{PacketBuilder, dissect};
use decode::sample::Interface;
use decode::{Address, DataSource, Datagram, FlowSample, Header, Mac, Sample};
use serde_json::json;
use tables::flow::atom::key_text;
use tables::flow::group::{GroupSet, ValueMap};
use tables::flow::keys::{KEYS, Sampled};
use tables::flow::layout::LONGEST_KEY;
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};

const A: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
const B: Mac = Mac([4, 0, 0, 0, 0, 0xbb]);

/// A packet, with everything that a sample can say beside it.
struct Specimen {
    packet: Vec<u8>,
    protocol: u32,
}

fn build(
    add: impl for<'b> FnOnce(PacketBuilder<'b>) -> Result<PacketBuilder<'b>, decode::xdr::Full>,
) -> Specimen {
    let mut buffer = vec![0; 256];
    let length = add(PacketBuilder::new(&mut buffer)).unwrap().finish(1000).unwrap();
    buffer.truncate(length);
    Specimen { packet: buffer, protocol: 1 }
}

fn tcp() -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .vlan(30, 5)?
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0xb9, 63)?
            .tcp(40000, 443, 0x12)
    })
}

fn ip6() -> Specimen {
    let (a, b) = ("fe80::104c:51df".parse().unwrap(), "2001:db8::2".parse().unwrap());
    build(|p| p.ethernet(B, A)?.ipv6(a, b, 501_244, 64)?.udp(5353, 9999))
}

fn tunnel() -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .ipv4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 0, 64)?
            .udp(50000, 4789)?
            .vxlan(77)?
            .ethernet(A, B)?
            .ipv4([10, 9, 0, 1].into(), [10, 9, 0, 2].into(), 0, 64)?
            .tcp(1, 2, 0)
    })
}

fn with_payload(port: u16, payload: &'static [u8]) -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0, 64)?
            .udp(5000, port)?
            .payload(payload)
    })
}

/// A packet of this protocol with these bytes behind an IPv4 header.
fn behind_ip(protocol: u8, payload: &[u8]) -> Specimen {
    let mut packet = vec![0x45, 0, 0, 99, 0x12, 0x34, 0x20, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend(payload);
    Specimen { packet, protocol: 11 }
}

fn arp() -> Specimen {
    let mut packet = vec![0xff; 6];
    packet.extend([2, 0, 0, 0, 0, 0xaa, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.extend([1, 1, 1, 1, 1, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    Specimen { packet, protocol: 1 }
}

fn lookups() -> Lookups {
    let group = |json| Arc::new(GroupSet::from_json(&json).unwrap());
    let map = |json| Arc::new(ValueMap::from_json(&json).unwrap());
    Lookups {
        groups: BTreeMap::from([
            (
                "sites".to_owned(),
                group(json!({"berlin": ["10.0.0.0/24"], "rest": ["10.0.0.0/8", "2001:db8::/32"]})),
            ),
            ("other".to_owned(), group(json!({"local": ["fe80::/10"]}))),
        ]),
        maps: BTreeMap::from([("services".to_owned(), map(json!({"web": ["80", "443"]})))]),
    }
}

fn compile(spec: serde_json::Value) -> Result<FlowPlan, String> {
    let spec = FlowSpec::from_json(&spec).map_err(|error| error.to_string())?;
    FlowPlan::compile(spec, &lookups()).map_err(|error| error.to_string())
}

/// What a definition makes of a specimen: the key's text and the value.
fn evaluate(specimen: &Specimen, spec: serde_json::Value) -> Option<(String, f64)> {
    let plan = compile(spec.clone()).unwrap_or_else(|error| panic!("{spec}: {error}"));
    let words = |list: &[u32]| list.iter().map(|word| Value::U32(*word)).collect::<Vec<_>>();
    let path = [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 65, 0, 0, 0, 66];
    let router = [Value::Address(Address::V4([10, 0, 0, 254].into())), Value::U32(24), Value::U32(16)];
    let gateway = [
        Value::Address(Address::V4([10, 0, 0, 253].into())),
        Value::U32(61),
        Value::U32(62),
        Value::U32(63),
        Value::AsPath(AsPath::from_bytes(1, &path)),
        Value::Words(Words::default()),
        Value::U32(100),
    ];
    let (switch, tcp_info) = (words(&[31, 1, 32, 2]), words(&[1, 2, 3, 4, 5, 6, 7, 800, 9]));
    let (queue, depth, delay) = (words(&[3]), words(&[4096]), words(&[250]));
    let header = SampledHeader {
        protocol: specimen.protocol,
        frame_length: 1004,
        stripped: 4,
        bytes: &specimen.packet,
    };
    let records = [
        RecordOut::Header(header),
        RecordOut::Fields(&wire::EXTENDED_SWITCH, &switch),
        RecordOut::Fields(&wire::EXTENDED_ROUTER, &router),
        RecordOut::Fields(&wire::EXTENDED_GATEWAY, &gateway),
        RecordOut::Fields(&wire::EXTENDED_TCP_INFO, &tcp_info),
        RecordOut::Fields(&wire::EXTENDED_EGRESS_QUEUE, &queue),
        RecordOut::Fields(&wire::EXTENDED_QUEUE, &depth),
        RecordOut::Fields(&wire::EXTENDED_TRANSIT, &delay),
    ];
    let sample = FlowSample {
        source: DataSource { class: 0, index: 7 },
        input: Interface::index(7),
        output: Interface { format: 2, value: 3 },
        ..FlowSample::default()
    };
    let mut buffer = vec![0; 2000];
    let mut builder = DatagramBuilder::new(&mut buffer, &Header::default()).unwrap();
    builder.flow_sample(&sample, &records).unwrap();
    let length = builder.finish().unwrap();
    let datagram = Datagram::parse(&buffer[..length]).unwrap();
    let Some(Ok(Sample::Flow(sample))) = datagram.samples().next() else { panic!() };
    let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER).unwrap();
    let header = SampledHeader::parse(header.body).unwrap();
    let (packet, arena) = (dissect(header.protocol, header.bytes), bumpalo::Bump::new());
    let sampled = Sampled {
        source: sample.source,
        input: sample.input,
        output: sample.output,
        frame_length: header.frame_length,
        stripped: header.stripped,
        reason: Some(256),
        packet: &packet,
        records: sample.records,
        arena: &arena,
    };
    let (atoms, measured) = plan.evaluate(&sampled, &ahash::RandomState::new())?;
    let mut texts = Texts::new(1 << 20);
    let mut buffer = [0; LONGEST_KEY];
    // A key whose form is not that of its atom has no place in a table.
    plan.layout.pack(&atoms, &mut buffer, &mut texts).unwrap_or_else(|| panic!("{spec}: {atoms:?}"));
    let words: Vec<u64> = buffer.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let key = key_text(&plan.layout.portable(&words, &texts), &plan.spec.fs);
    Some((key, f64::from_bits(measured[0])))
}

fn key(specimen: &Specimen, key: &str) -> Option<String> {
    evaluate(specimen, json!({"keys": key, "value": "frames"})).map(|(key, _)| key)
}

#[test]
fn every_key_of_the_catalogue_answers() {
    let dns = || {
        with_payload(
            53,
            &[0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 3, b'c', b'o', b'm', 0, 0, 28, 0, 1],
        )
    };
    let mut bth = vec![0x0a, 0x80, 0xff, 0xff, 0, 0x12, 0x34, 0x56, 0x80, 0, 0, 1];
    bth.extend([0; 12]);
    bth.extend(4096_u32.to_be_bytes());
    let bth: &'static [u8] = bth.leak();
    let roce = || with_payload(4791, bth);
    let geneve = || {
        let mut bytes = vec![0x13, 0x88, 0x17, 0xc1, 0, 0, 0, 0, 0, 0, 0x65, 0x58, 0, 0, 0x2a, 0];
        bytes.extend([0; 14]);
        behind_ip(17, &bytes)
    };
    let nvgre = || behind_ip(47, &[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 1]);
    let unreachable = || {
        let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0];
        bytes.extend([0x45, 0, 0, 99, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 0, 9, 0x1f, 0x90]);
        behind_ip(1, &bytes)
    };
    let echo6 =
        || build(|p| p.ethernet(B, A)?.ipv6([1; 16].into(), [2; 16].into(), 0, 9)?.icmp(128, 0, 1, 7));
    let expected: Vec<(&str, Specimen, &str)> = vec![
        ("inputifindex", tcp(), "7"),
        ("outputifindex", tcp(), "multiple"),
        ("direction", tcp(), "ingress"),
        ("bytes", tcp(), "1004"),
        ("stripped", tcp(), "4"),
        ("stack", tunnel(), "eth.ip.udp.vxlan.eth.ip.tcp"),
        ("macsource", tcp(), "0200000000AA"),
        ("macdestination", tcp(), "0400000000BB"),
        ("ethernetprotocol", ip6(), "34525"),
        ("isbroadcast", arp(), "true"),
        ("ismulticast", arp(), "false"),
        ("isunicast", tcp(), "true"),
        ("vlan", tcp(), "30"),
        ("priority", tcp(), "5"),
        ("vlansource", tcp(), "31"),
        ("vlandestination", tcp(), "32"),
        ("prioritysource", tcp(), "1"),
        ("prioritydestination", tcp(), "2"),
        ("arpoperation", arp(), "1"),
        ("arpipsender", arp(), "10.0.0.1"),
        ("arpiptarget", arp(), "10.0.0.2"),
        ("ipsource", tcp(), "10.0.0.1"),
        ("ipdestination", tcp(), "10.0.0.2"),
        ("ipprotocol", tcp(), "6"),
        ("iptos", tcp(), "10111001"),
        ("ipdscp", tcp(), "46"),
        ("ipdscpname", tcp(), "ef(46)"),
        ("ipecn", tcp(), "01"),
        ("ipbytes", tcp(), "982"),
        ("ipid", unreachable(), "4660"),
        ("ipflags", unreachable(), "001"),
        ("ipfragoffset", tcp(), "0"),
        ("ipttl", tcp(), "63"),
        ("ip6source", ip6(), "FE80::104C:51DF"),
        ("ip6destination", ip6(), "2001:DB8::2"),
        ("ip6nexthdr", ip6(), "17"),
        ("ip6tos", ip6(), "00000000"),
        ("ip6dscp", ip6(), "0"),
        ("ip6dscpname", ip6(), "be(0)"),
        ("ip6ecn", ip6(), "00"),
        ("ip6flowlabel", ip6(), "501244"),
        ("ip6ttl", ip6(), "64"),
        ("ip6bytes", ip6(), "986"),
        ("ip6extensions", ip6(), "0"),
        ("ip6fragoffset", ip6(), "0"),
        ("ip6fragm", ip6(), "false"),
        ("tcpsourceport", tcp(), "40000"),
        ("tcpdestinationport", tcp(), "443"),
        ("tcpflags", tcp(), "000010010"),
        ("udpsourceport", ip6(), "5353"),
        ("udpdestinationport", ip6(), "9999"),
        ("icmptype", unreachable(), "3"),
        ("icmpcode", unreachable(), "3"),
        ("icmpseqno", behind_ip(1, &[8, 0, 0, 0, 0, 0, 0, 9]), "9"),
        ("icmpunreachableport", unreachable(), "8080"),
        ("icmp6type", echo6(), "128"),
        ("vxlanvni", tunnel(), "77"),
        ("genevevni", geneve(), "42"),
        ("grevsid", nvgre(), "4660"),
        ("dnsqname", dns(), "a.com."),
        ("dnsqtypename", dns(), "AAAA"),
        ("dnsqr", dns(), "true"),
        ("ibbtopcode", roce(), "10"),
        ("ibbtopname", roce(), "rdma_write_only"),
        ("ibbtoptransport", roce(), "rc"),
        ("ibbtdestqp", roce(), "1193046"),
        ("ibbtrdmalen", roce(), "4096"),
        ("ipnexthoprouter", tcp(), "10.0.0.254"),
        ("ipsourcemaskbits", tcp(), "24"),
        ("ipdestinationmaskbits", tcp(), "16"),
        ("bgpnexthop", tcp(), "10.0.0.253"),
        ("bgpas", tcp(), "61"),
        ("bgpsourceas", tcp(), "62"),
        ("bgpsourcepeeras", tcp(), "63"),
        ("bgpdestinationas", tcp(), "66"),
        ("bgpdestinationpeeras", tcp(), "65"),
        ("bgplocalpref", tcp(), "100"),
        ("tcprtt", tcp(), "800"),
        ("tcpunacked", tcp(), "4"),
        ("queueindex", tcp(), "3"),
        ("queuedepth", tcp(), "4096"),
        ("transitdelay", tcp(), "250"),
        ("reason", tcp(), "unknown"),
    ];
    for (name, specimen, text) in &expected {
        assert_eq!(key(specimen, name).as_deref(), Some(*text), "{name}");
    }
    let tested: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    let untested: Vec<&str> = KEYS.iter().map(|key| key.name).filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn a_suffix_reads_inner_layers() {
    assert_eq!(
        key(&tunnel(), "ipsource,ipsource.1,macsource.1").as_deref(),
        Some("192.0.2.1,10.9.0.1,0400000000BB")
    );
    assert_eq!(key(&tunnel(), "ipsource.2"), None);
}

#[test]
fn every_function_answers() {
    for (expression, specimen, text) in [
        ("group:ipsource:sites", tcp(), Some("berlin")),
        ("group:ip6source:sites:other", ip6(), Some("local")),
        ("group:ip6source:sites", ip6(), None),
        ("map:tcpdestinationport:services", tcp(), Some("web")),
        ("map:tcpsourceport:services", tcp(), None),
        ("prefix:stack:.:1", tcp(), Some("eth")),
        ("suffix:stack:.:2", tcp(), Some("ip.tcp")),
        ("mask:ipsource:8", tcp(), Some("10.0.0.0/8")),
        ("mask:ip6destination:32", ip6(), Some("2001:DB8::/32")),
        ("range:tcpsourceport:1024", tcp(), Some("true")),
        ("range:tcpsourceport:0:1023", tcp(), Some("false")),
        ("eq:ipsource:ipdestination", tcp(), Some("false")),
        ("null:vxlanvni:none", tcp(), Some("none")),
        ("null:vxlanvni", tcp(), Some("null")),
        ("null:vxlanvni:none", tunnel(), Some("77")),
        ("or:ipsource:ip6source", ip6(), Some("FE80::104C:51DF")),
        ("if:[first:stack:.:ip:ip6]:ip:ipsource:ip6source", tcp(), Some("10.0.0.1")),
        ("if:[first:stack:.:ip:ip6]:ip:ipsource:ip6source", ip6(), Some("FE80::104C:51DF")),
        ("concat:\\::ipprotocol:[or:tcpdestinationport:udpdestinationport]", tcp(), Some("6:443")),
        ("bits:ip6flowlabel:261884", ip6(), Some("238844")),
    ] {
        assert_eq!(key(&specimen, expression).as_deref(), text, "{expression}");
    }
}

#[test]
fn a_null_key_or_value_contributes_nothing() {
    assert_eq!(key(&ip6(), "ipsource"), None);
    assert_eq!(evaluate(&ip6(), json!({"value": "ipttl"})), None);
    assert_eq!(evaluate(&tcp(), json!({"value": "ipttl"})), Some((String::new(), 63.0)));
}

#[test]
fn values_and_the_separator() {
    let spec = |value| json!({"keys": ["ipsource", "ipdestination"], "value": value, "fs": "_SEP_"});
    let expected = [("bytes", 1004.0), ("bps", 8032.0), ("frames", 1.0), ("fps", 1.0), ("ipbytes", 982.0)];
    for (value, number) in expected {
        let (key, measured) = evaluate(&tcp(), spec(value)).unwrap();
        assert_eq!((key.as_str(), measured), ("10.0.0.1_SEP_10.0.0.2", number), "{value}");
    }
}

#[test]
fn filters() {
    let passes = |specimen: &Specimen, filter: &str| {
        evaluate(specimen, json!({"value": "frames", "filter": filter})).is_some()
    };
    for (filter, yes) in [
        ("ipprotocol=6", true),
        ("ipprotocol=17", false),
        ("tcpdestinationport=80,443", true),
        ("tcpdestinationport!=80,443", false),
        ("ipprotocol=6&tcpdestinationport=443", true),
        ("ipprotocol=17|tcpdestinationport=443", true),
        ("ipprotocol=17|ipprotocol=6&tcpdestinationport=80", false),
        ("(ipprotocol=17|ipprotocol=6)&tcpdestinationport=443", true),
        ("tcpflags~....1..1.", true),
        ("tcpflags~.......0.", false),
        ("tcpflags!~.......0.", true),
        ("stack~eth\\.(ip|ip6)\\.tcp", true),
        ("vxlanvni=null", true),
        ("vxlanvni!=null", false),
        ("udpsourceport=53", false),
        ("outputifindex!=discard", true),
        ("udpsourceport!=53", true),
        ("dnsqname=\"a.com.,b.com.\"", false),
        ("group:ipsource:sites=berlin", true),
        ("range:tcpdestinationport:0:1023=true", true),
    ] {
        assert_eq!(passes(&tcp(), filter), yes, "{filter}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (spec, named) in [
        (json!({"keys": "ipsorce", "value": "bytes"}), "keys: \"ipsorce\" is no key"),
        (json!({"keys": "ipsource,,", "value": "bytes"}), "is no key"),
        (json!({"keys": "group:ipsource:nosuch", "value": "bytes"}), "no group set \"nosuch\""),
        (json!({"keys": "country:ipsource", "value": "bytes"}), "country: is not supported yet"),
        (json!({"keys": "frobnicate:ipsource", "value": "bytes"}), "no key function"),
        (json!({"keys": "prefix:[stack", "value": "bytes"}), "bracket is not closed"),
        (json!({"keys": "prefix:stack:.:x", "value": "bytes"}), "needs a number"),
        (json!({"value": "byte"}), "value: \"byte\" is no key"),
        (json!({"value": "avg:byte"}), "value: \"byte\" is no key"),
        (json!({"value": "bytes", "values": "bytes,"}), "values: is empty"),
        (json!({"value": "bytes", "values": "bytes,".repeat(9) + "bytes"}), "values: more than 7"),
        (json!({"value": "bytes", "keys": "ip6source,".repeat(33) + "ip6source"}), "more than 512 bytes"),
        (json!({"value": "bytes", "filter": "ipprotocol"}), "filter: a comparison has no"),
        (json!({"value": "bytes", "filter": "(ipprotocol=6"}), "bracket is not closed"),
        (json!({"value": "bytes", "filter": "stack~("}), "filter: "),
        (json!({"value": "bytes", "filter": "ipprotocol=6)"}), "is not understood"),
        (
            json!({"keys": format!("{}ipsource{}", "[".repeat(50), "]".repeat(50)), "value": "bytes"}),
            "nested",
        ),
        (json!({"value": "bytes", "filter": "(".repeat(2000)}), "nested"),
        (json!({"keys": "ipsource,".repeat(2000), "value": "bytes"}), "longer than"),
    ] {
        let error = compile(spec.clone()).unwrap_err();
        assert!(error.contains(named), "{spec}: {error}");
    }
}
