//! The catalogue of keys: each reads one field of a sampled packet, or of what its sample says about it.
//!
//! A suffix `.1`, `.2` reads the field of the next such layer inwards: `ipsource.1` is the inner source address
//! of a tunnel. A key whose field is not there is null.

use decode::flow::{self, ExtendedGateway, ExtendedRouter, ExtendedSwitch};
use decode::layout::{Fields, Value};
use decode::packet::{Arp, Bth, Dns, Geneve, Gre, Icmp, LayerKind, Packet, Vxlan};
use decode::{Address, DataSource, Interface, InterfaceKind, Records, Tag};

use super::atom::Atom;

/// What a packet sample says.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// Whose sample it is.
    pub source: DataSource,
    /// Where the packet came in.
    pub input: Interface,
    /// Where it went out.
    pub output: Interface,
    /// Its length on the wire, bytes.
    pub frame_length: u32,
    /// Bytes that were removed before sampling.
    pub stripped: u32,
    /// Its layers.
    pub packet: &'a Packet<'a>,
    /// The records beside the sampled header.
    pub records: Records<'a>,
}

impl<'a> Sampled<'a> {
    fn record(&self, format: u32) -> Option<&'a [u8]> {
        self.records.iter().find(|record| record.tag == Tag::new(0, format)).map(|record| record.body)
    }

    fn field(&self, layout: &'static decode::layout::Layout, name: &str) -> Option<Value<'a>> {
        Fields::new(layout, self.record(layout.tag.format())?).named(name)
    }

    fn switch(&self) -> Option<ExtendedSwitch> {
        self.record(1001).map(ExtendedSwitch::parse)
    }

    fn router(&self) -> Option<ExtendedRouter> {
        self.record(1002).and_then(ExtendedRouter::parse)
    }

    fn gateway(&self) -> Option<ExtendedGateway<'a>> {
        self.record(1003).and_then(ExtendedGateway::parse)
    }
}

/// A key.
pub struct Key {
    /// Its name in definitions.
    pub name: &'static str,
    /// What it reads.
    pub what: &'static str,
    /// Reads it from the `n`th layer of its kind.
    pub get: for<'a> fn(&Sampled<'a>, usize) -> Option<Atom<'a>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn number<'a>(value: impl Into<u64>) -> Atom<'a> {
    Atom::Number(value.into())
}

fn known(word: u32) -> Option<Atom<'static>> {
    (word != u32::MAX).then(|| number(word))
}

fn address<'a>(address: Address) -> Option<Atom<'a>> {
    match address {
        Address::Unknown => None,
        Address::V4(address) => Some(Atom::V4(address)),
        Address::V6(address) => Some(Atom::V6(address)),
    }
}

fn interface<'a>(interface: Interface) -> Atom<'a> {
    match interface.kind() {
        InterfaceKind::Index(index) => number(index),
        InterfaceKind::Internal => Atom::Text("internal".into()),
        InterfaceKind::Multiple(_) => Atom::Text("multiple".into()),
        InterfaceKind::Discarded(_) => Atom::Text("discard".into()),
        InterfaceKind::Unknown => Atom::Text("unknown".into()),
    }
}

fn value<'a>(value: Value<'a>) -> Option<Atom<'a>> {
    match value {
        Value::U32(word) => Some(number(word)),
        Value::U64(word) => Some(number(word)),
        Value::Text(text) if !text.is_empty() => Some(Atom::Text(String::from_utf8_lossy(text))),
        _ => None,
    }
}

/// Names of differentiated services code points (RFC 4594 and before).
fn dscp_name(dscp: u8) -> String {
    match dscp {
        0 => "be(0)".to_owned(),
        46 => "ef(46)".to_owned(),
        _ if dscp.is_multiple_of(8) => format!("cs{}({dscp})", dscp / 8),
        _ if (10..=38).contains(&dscp) && dscp.is_multiple_of(2) => {
            format!("af{}{}({dscp})", dscp / 8, dscp % 8 / 2)
        }
        _ => dscp.to_string(),
    }
}

fn query_type(kind: u16) -> String {
    match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return format!("TYPE{other}"),
    }
    .to_owned()
}

macro_rules! key {
    ($name:literal, $what:literal, $get:expr) => {
        Key { name: $name, what: $what, get: $get }
    };
}

/// Every key.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key!("inputifindex", "interface that the packet came in by: ifIndex, internal, multiple, discard or unknown", |s, _| Some(interface(s.input))),
    key!("outputifindex", "interface that it went out by", |s, _| Some(interface(s.output))),
    key!("direction", "ingress or egress: which of its interfaces was sampled", |s, _| {
        let is = |i: Interface| i.kind() == InterfaceKind::Index(s.source.index);
        let text = if is(s.input) { "ingress" } else if is(s.output) { "egress" } else { return None };
        Some(Atom::Text(text.into()))
    }),
    key!("bytes", "length of the frame", |s, _| Some(number(s.frame_length))),
    key!("stripped", "bytes that were removed before sampling", |s, _| Some(number(s.stripped))),
    key!("stack", "the layers, eth.ip.tcp", |s, _| {
        let mut text = String::new();
        s.packet.write_stack(&mut text).ok()?;
        (!text.is_empty()).then(|| Atom::Text(text.into()))
    }),
    key!("macsource", "source Ethernet address", |s, n| s.packet.ethernet(n)?.source().map(Atom::Mac)),
    key!("macdestination", "destination Ethernet address", |s, n| s.packet.ethernet(n)?.destination().map(Atom::Mac)),
    key!("ethernetprotocol", "Ethernet type", |s, n| s.packet.ethernet(n)?.ethertype().map(number)),
    key!("isbroadcast", "whether the destination is all stations", |s, n| Some(Atom::Bool(s.packet.ethernet(n)?.destination()?.0 == [0xff; 6]))),
    key!("ismulticast", "whether the destination is a group, but not all stations", |s, n| {
        let mac = s.packet.ethernet(n)?.destination()?;
        Some(Atom::Bool(mac.0[0] & 1 == 1 && mac.0 != [0xff; 6]))
    }),
    key!("isunicast", "whether the destination is one station", |s, n| Some(Atom::Bool(s.packet.ethernet(n)?.destination()?.0[0] & 1 == 0))),
    key!("vlan", "VLAN of the tag; without one, that which the switch says", |s, n| match s.packet.vlan(n) {
        Some(tag) => tag.id().map(number),
        None if n == 0 => s.switch().and_then(|switch| known(switch.source_vlan)),
        None => None,
    }),
    key!("priority", "priority of the tag; without one, that which the switch says", |s, n| match s.packet.vlan(n) {
        Some(tag) => tag.priority().map(number),
        None if n == 0 => s.switch().and_then(|switch| known(switch.source_priority)),
        None => None,
    }),
    key!("vlansource", "VLAN on the way in, as the switch says", |s, _| known(s.switch()?.source_vlan)),
    key!("vlandestination", "VLAN on the way out, as the switch says", |s, _| known(s.switch()?.destination_vlan)),
    key!("prioritysource", "priority on the way in, as the switch says", |s, _| known(s.switch()?.source_priority)),
    key!("prioritydestination", "priority on the way out, as the switch says", |s, _| known(s.switch()?.destination_priority)),
    key!("arpoperation", "1 request, 2 reply", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).operation().map(number)),
    key!("arpipsender", "who asks or answers", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).sender().map(Atom::V4)),
    key!("arpiptarget", "who is asked for", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).target().map(Atom::V4)),
    key!("ipsource", "source IPv4 address", |s, n| s.packet.ipv4(n)?.source().map(Atom::V4)),
    key!("ipdestination", "destination IPv4 address", |s, n| s.packet.ipv4(n)?.destination().map(Atom::V4)),
    key!("ipprotocol", "protocol of the IPv4 payload", |s, n| s.packet.ipv4(n)?.protocol().map(number)),
    key!("iptos", "type of service, eight bits", |s, n| s.packet.ipv4(n)?.tos().map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ipdscp", "differentiated services code point", |s, n| s.packet.ipv4(n)?.tos().map(|tos| number(tos >> 2))),
    key!("ipdscpname", "its name and number", |s, n| s.packet.ipv4(n)?.tos().map(|tos| Atom::Text(dscp_name(tos >> 2).into()))),
    key!("ipecn", "explicit congestion notification, two bits", |s, n| s.packet.ipv4(n)?.tos().map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ipbytes", "length of the IPv4 packet", |s, n| s.packet.ipv4(n)?.total_length().map(number)),
    key!("ipid", "identification", |s, n| s.packet.ipv4(n)?.id().map(number)),
    key!("ipflags", "reserved, don't fragment, more fragments: three bits", |s, n| s.packet.ipv4(n)?.flags().map(|flags| Atom::Bits(flags.into(), 3))),
    key!("ipfragoffset", "fragment offset, units of eight bytes", |s, n| s.packet.ipv4(n)?.fragment_offset().map(number)),
    key!("ipttl", "time to live", |s, n| s.packet.ipv4(n)?.ttl().map(number)),
    key!("ip6source", "source IPv6 address", |s, n| s.packet.ipv6(n)?.source().map(Atom::V6)),
    key!("ip6destination", "destination IPv6 address", |s, n| s.packet.ipv6(n)?.destination().map(Atom::V6)),
    key!("ip6nexthdr", "protocol of the IPv6 payload, behind extension headers", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.protocol))),
    key!("ip6tos", "traffic class, eight bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ip6dscp", "differentiated services code point", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| number(tos >> 2))),
    key!("ip6dscpname", "its name and number", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Text(dscp_name(tos >> 2).into()))),
    key!("ip6ecn", "explicit congestion notification, two bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ip6flowlabel", "flow label", |s, n| s.packet.ipv6(n)?.flow_label().map(number)),
    key!("ip6ttl", "hop limit", |s, n| s.packet.ipv6(n)?.hop_limit().map(number)),
    key!("ip6bytes", "length of the IPv6 packet", |s, n| s.packet.ipv6(n)?.payload_length().map(|length| number(u32::from(length) + 40))),
    key!("ip6extensions", "number of extension headers", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.extensions))),
    key!("ip6fragoffset", "fragment offset, units of eight bytes", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.fragment_offset.unwrap_or(0)))),
    key!("ip6fragm", "whether more fragments follow", |s, n| s.packet.ipv6(n)?.options().map(|o| Atom::Bool(o.more_fragments.unwrap_or(false)))),
    key!("tcpsourceport", "source port", |s, n| s.packet.tcp(n)?.source_port().map(number)),
    key!("tcpdestinationport", "destination port", |s, n| s.packet.tcp(n)?.destination_port().map(number)),
    key!("tcpflags", "NS CWR ECE URG ACK PSH RST SYN FIN: nine bits", |s, n| s.packet.tcp(n)?.flags().map(|flags| Atom::Bits(flags, 9))),
    key!("udpsourceport", "source port", |s, n| s.packet.udp(n)?.source_port().map(number)),
    key!("udpdestinationport", "destination port", |s, n| s.packet.udp(n)?.destination_port().map(number)),
    key!("icmptype", "ICMP type", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).kind().map(number)),
    key!("icmpcode", "ICMP code", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).code().map(number)),
    key!("icmpseqno", "sequence number of an echo", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).sequence().map(number)),
    key!("icmpunreachableport", "port that could not be reached", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).unreachable_port().map(number)),
    key!("icmp6type", "ICMPv6 type", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmpv6, n)?).kind().map(number)),
    key!("vxlanvni", "virtual network of VXLAN", |s, n| Vxlan::new(s.packet.nth(LayerKind::Vxlan, n)?).vni().map(number)),
    key!("genevevni", "virtual network of Geneve", |s, n| Geneve::new(s.packet.nth(LayerKind::Geneve, n)?).vni().map(number)),
    key!("grevsid", "virtual subnet of NVGRE", |s, n| Gre::new(s.packet.nth(LayerKind::Gre, n)?).virtual_subnet().map(number)),
    key!("dnsqname", "name of the question, with its last dot", |s, n| {
        let mut text = String::new();
        Dns::new(s.packet.nth(LayerKind::Dns, n)?).write_name(&mut text)?.ok()?;
        Some(Atom::Text(text.into()))
    }),
    key!("dnsqtypename", "type of the question", |s, n| Dns::new(s.packet.nth(LayerKind::Dns, n)?).question_type().map(|kind| Atom::Text(query_type(kind).into()))),
    key!("dnsqr", "false for a query, true for a response", |s, n| Dns::new(s.packet.nth(LayerKind::Dns, n)?).is_response().map(Atom::Bool)),
    key!("ibbtopcode", "opcode of RoCE", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).opcode().map(number)),
    key!("ibbtopname", "its operation", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).operation().map(|name| Atom::Text(name.into()))),
    key!("ibbtoptransport", "its transport", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).transport().map(|name| Atom::Text(name.into()))),
    key!("ibbtdestqp", "destination queue pair", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).destination_queue_pair().map(number)),
    key!("ibbtrdmalen", "bytes moved by remote DMA", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).dma_length().map(number)),
    key!("ipnexthoprouter", "next hop of the route", |s, _| address(s.router()?.next_hop)),
    key!("ipsourcemaskbits", "prefix length of the route to the source", |s, _| Some(number(s.router()?.source_mask))),
    key!("ipdestinationmaskbits", "prefix length of the route to the destination", |s, _| Some(number(s.router()?.destination_mask))),
    key!("bgpnexthop", "next hop of the BGP route", |s, _| address(s.gateway()?.next_hop)),
    key!("bgpas", "AS of the router", |s, _| Some(number(s.gateway()?.own_as))),
    key!("bgpsourceas", "AS of the source", |s, _| Some(number(s.gateway()?.source_as))),
    key!("bgpsourcepeeras", "neighbouring AS towards the source", |s, _| Some(number(s.gateway()?.source_peer_as))),
    key!("bgpdestinationas", "AS of the destination", |s, _| s.gateway()?.path.last().map(number)),
    key!("bgpdestinationpeeras", "neighbouring AS towards the destination", |s, _| s.gateway()?.path.first().map(number)),
    key!("bgplocalpref", "local preference", |s, _| Some(number(s.gateway()?.local_pref))),
    key!("tcprtt", "round trip time of the connection, us", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_rtt_uS").and_then(value)),
    key!("tcpunacked", "packets not acknowledged yet", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_unacked_pkts").and_then(value)),
    key!("queueindex", "egress queue", |s, _| s.field(&flow::EXTENDED_EGRESS_QUEUE, "egress_queue_id").and_then(value)),
    key!("queuedepth", "depth of the queue, bytes", |s, _| s.field(&flow::EXTENDED_QUEUE, "queue_depth_bytes").and_then(value)),
    key!("transitdelay", "delay in the switch, ns", |s, _| s.field(&flow::EXTENDED_TRANSIT, "transit_delay_nS").and_then(value)),
];

/// The place of a key in the catalogue, and which layer its suffix names.
pub fn find(name: &str) -> Option<(usize, usize)> {
    let place = |name: &str| KEYS.iter().position(|key| key.name == name);
    if let Some(found) = place(name) {
        return Some((found, 0));
    }
    let (stem, suffix) = name.rsplit_once('.')?;
    Some((place(stem)?, suffix.parse().ok().filter(|n| *n < decode::packet::DEPTH)?))
}
