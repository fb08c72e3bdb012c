//! The catalogue of keys: each reads one field of a sampled packet, or of what its sample says about it.
//!
//! A suffix `.1`, `.2` reads the field of the next such layer inwards: `ipsource.1` is the inner source address
//! of a tunnel. A key whose field is not there is null.

use std::fmt::Write;

use bumpalo::Bump;
use decode::flow::{self, ExtendedGateway, ExtendedRouter, ExtendedSwitch};
use decode::layout::{Fields, Value};
use decode::packet::{Arp, Bth, Dns, Geneve, Gre, Icmp, LayerKind, Packet, Vxlan};
use decode::{Address, DataSource, Interface, InterfaceKind, Records, Tag};

use super::atom::{Atom, Stack};
use super::layout::Form;

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
    /// Why it was dropped, where it was.
    pub reason: Option<u32>,
    /// Its layers.
    pub packet: &'a Packet<'a>,
    /// The records beside the sampled header.
    pub records: Records<'a>,
    /// Where texts are made that no packet or definition holds; emptied after each sample.
    pub arena: &'a Bump,
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
    /// What kind of value it has.
    pub form: Form,
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

/// The kinds that show the same text are one value.
fn interface<'a>(interface: Interface) -> Atom<'a> {
    Atom::Interface(match interface.kind() {
        InterfaceKind::Multiple(_) => Interface { format: 2, value: 0 },
        InterfaceKind::Discarded(_) => Interface { format: 1, value: 0 },
        InterfaceKind::Unknown => Interface { format: 0, value: 0 },
        InterfaceKind::Index(_) | InterfaceKind::Internal => interface,
    })
}

/// Layers but for VLAN tags: the same conversation has the same stack on a tagged and on an untagged port.
fn stack<'a>(packet: &Packet<'_>) -> Option<Atom<'a>> {
    let mut stack = Stack::default();
    let layers = packet.layers().iter().filter(|layer| layer.kind != LayerKind::Vlan);
    for (place, layer) in stack.iter_mut().zip(layers) {
        *place = layer.kind as u8 + 1;
    }
    (stack != Stack::default()).then_some(Atom::Stack(stack))
}

fn value<'a>(s: &Sampled<'a>, value: Value<'a>) -> Option<Atom<'a>> {
    match value {
        Value::U32(word) => Some(number(word)),
        Value::U64(word) => Some(number(word)),
        Value::Text(text) if !text.is_empty() => Some(lossy(text, s)),
        _ => None,
    }
}

/// Text in the batch's arena.
fn made<'a>(s: &Sampled<'a>, text: std::fmt::Arguments<'_>) -> Atom<'a> {
    let mut out = bumpalo::collections::String::new_in(s.arena);
    // An arena takes everything.
    let _ = out.write_fmt(text);
    Atom::Text(out.into_bump_str())
}

/// Text from the network; what is no UTF-8 is replaced.
fn lossy<'a>(bytes: &'a [u8], s: &Sampled<'a>) -> Atom<'a> {
    Atom::Text(match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => s.arena.alloc_str(&String::from_utf8_lossy(bytes)),
    })
}

/// Names of differentiated services code points (RFC 4594 and before).
fn dscp_name<'a>(s: &Sampled<'a>, dscp: u8) -> Atom<'a> {
    match dscp {
        0 => Atom::Text("be(0)"),
        46 => Atom::Text("ef(46)"),
        _ if dscp.is_multiple_of(8) => made(s, format_args!("cs{}({dscp})", dscp / 8)),
        _ if (10..=38).contains(&dscp) && dscp.is_multiple_of(2) => {
            made(s, format_args!("af{}{}({dscp})", dscp / 8, dscp % 8 / 2))
        }
        _ => made(s, format_args!("{dscp}")),
    }
}

fn query_type<'a>(s: &Sampled<'a>, kind: u16) -> Atom<'a> {
    Atom::Text(match kind {
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
        other => return made(s, format_args!("TYPE{other}")),
    })
}

macro_rules! key {
    ($name:literal, $form:ident, $what:literal, $get:expr) => {
        Key { name: $name, form: Form::$form, what: $what, get: $get }
    };
}

/// Every key.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key!("inputifindex", Interface, "interface that the packet came in by: ifIndex, internal, multiple, discard or unknown", |s, _| Some(interface(s.input))),
    key!("outputifindex", Interface, "interface that it went out by", |s, _| Some(interface(s.output))),
    key!("direction", Text, "ingress or egress: which of its interfaces was sampled", |s, _| {
        let is = |i: Interface| i.kind() == InterfaceKind::Index(s.source.index);
        let text = if is(s.input) { "ingress" } else if is(s.output) { "egress" } else { return None };
        Some(Atom::Text(text))
    }),
    key!("bytes", U32, "length of the frame", |s, _| Some(number(s.frame_length))),
    key!("stripped", U32, "bytes that were removed before sampling", |s, _| Some(number(s.stripped))),
    key!("stack", Stack, "the layers, eth.ip.tcp", |s, _| stack(s.packet)),
    key!("macsource", Mac, "source Ethernet address", |s, n| s.packet.ethernet(n)?.source().map(Atom::Mac)),
    key!("macdestination", Mac, "destination Ethernet address", |s, n| s.packet.ethernet(n)?.destination().map(Atom::Mac)),
    key!("ethernetprotocol", U16, "Ethernet type", |s, n| s.packet.ethernet(n)?.ethertype().map(number)),
    key!("isbroadcast", Bool, "whether the destination is all stations", |s, n| Some(Atom::Bool(s.packet.ethernet(n)?.destination()?.0 == [0xff; 6]))),
    key!("ismulticast", Bool, "whether the destination is a group, but not all stations", |s, n| {
        let mac = s.packet.ethernet(n)?.destination()?;
        Some(Atom::Bool(mac.0[0] & 1 == 1 && mac.0 != [0xff; 6]))
    }),
    key!("isunicast", Bool, "whether the destination is one station", |s, n| Some(Atom::Bool(s.packet.ethernet(n)?.destination()?.0[0] & 1 == 0))),
    key!("vlan", U32, "VLAN of the tag; without one, that which the switch says", |s, n| match s.packet.vlan(n) {
        Some(tag) => tag.id().map(number),
        None if n == 0 => s.switch().and_then(|switch| known(switch.source_vlan)),
        None => None,
    }),
    key!("priority", U32, "priority of the tag; without one, that which the switch says", |s, n| match s.packet.vlan(n) {
        Some(tag) => tag.priority().map(number),
        None if n == 0 => s.switch().and_then(|switch| known(switch.source_priority)),
        None => None,
    }),
    key!("vlansource", U32, "VLAN on the way in, as the switch says", |s, _| known(s.switch()?.source_vlan)),
    key!("vlandestination", U32, "VLAN on the way out, as the switch says", |s, _| known(s.switch()?.destination_vlan)),
    key!("prioritysource", U32, "priority on the way in, as the switch says", |s, _| known(s.switch()?.source_priority)),
    key!("prioritydestination", U32, "priority on the way out, as the switch says", |s, _| known(s.switch()?.destination_priority)),
    key!("arpoperation", U16, "1 request, 2 reply", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).operation().map(number)),
    key!("arpipsender", V4, "who asks or answers", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).sender().map(Atom::V4)),
    key!("arpiptarget", V4, "who is asked for", |s, n| Arp::new(s.packet.nth(LayerKind::Arp, n)?).target().map(Atom::V4)),
    key!("ipsource", V4, "source IPv4 address", |s, n| s.packet.ipv4(n)?.source().map(Atom::V4)),
    key!("ipdestination", V4, "destination IPv4 address", |s, n| s.packet.ipv4(n)?.destination().map(Atom::V4)),
    key!("ipprotocol", U8, "protocol of the IPv4 payload", |s, n| s.packet.ipv4(n)?.protocol().map(number)),
    key!("iptos", Bits, "type of service, eight bits", |s, n| s.packet.ipv4(n)?.tos().map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ipdscp", U8, "differentiated services code point", |s, n| s.packet.ipv4(n)?.tos().map(|tos| number(tos >> 2))),
    key!("ipdscpname", Text, "its name and number", |s, n| s.packet.ipv4(n)?.tos().map(|tos| dscp_name(s, tos >> 2))),
    key!("ipecn", Bits, "explicit congestion notification, two bits", |s, n| s.packet.ipv4(n)?.tos().map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ipbytes", U16, "length of the IPv4 packet", |s, n| s.packet.ipv4(n)?.total_length().map(number)),
    key!("ipid", U16, "identification", |s, n| s.packet.ipv4(n)?.id().map(number)),
    key!("ipflags", Bits, "reserved, don't fragment, more fragments: three bits", |s, n| s.packet.ipv4(n)?.flags().map(|flags| Atom::Bits(flags.into(), 3))),
    key!("ipfragoffset", U16, "fragment offset, units of eight bytes", |s, n| s.packet.ipv4(n)?.fragment_offset().map(number)),
    key!("ipttl", U8, "time to live", |s, n| s.packet.ipv4(n)?.ttl().map(number)),
    key!("ip6source", V6, "source IPv6 address", |s, n| s.packet.ipv6(n)?.source().map(Atom::V6)),
    key!("ip6destination", V6, "destination IPv6 address", |s, n| s.packet.ipv6(n)?.destination().map(Atom::V6)),
    key!("ip6nexthdr", U8, "protocol of the IPv6 payload, behind extension headers", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.protocol))),
    key!("ip6tos", Bits, "traffic class, eight bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ip6dscp", U8, "differentiated services code point", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| number(tos >> 2))),
    key!("ip6dscpname", Text, "its name and number", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| dscp_name(s, tos >> 2))),
    key!("ip6ecn", Bits, "explicit congestion notification, two bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ip6flowlabel", U32, "flow label", |s, n| s.packet.ipv6(n)?.flow_label().map(number)),
    key!("ip6ttl", U8, "hop limit", |s, n| s.packet.ipv6(n)?.hop_limit().map(number)),
    key!("ip6bytes", U32, "length of the IPv6 packet", |s, n| s.packet.ipv6(n)?.payload_length().map(|length| number(u32::from(length) + 40))),
    key!("ip6extensions", U8, "number of extension headers", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.extensions))),
    key!("ip6fragoffset", U16, "fragment offset, units of eight bytes", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.fragment_offset.unwrap_or(0)))),
    key!("ip6fragm", Bool, "whether more fragments follow", |s, n| s.packet.ipv6(n)?.options().map(|o| Atom::Bool(o.more_fragments.unwrap_or(false)))),
    key!("tcpsourceport", U16, "source port", |s, n| s.packet.tcp(n)?.source_port().map(number)),
    key!("tcpdestinationport", U16, "destination port", |s, n| s.packet.tcp(n)?.destination_port().map(number)),
    key!("tcpflags", Bits, "NS CWR ECE URG ACK PSH RST SYN FIN: nine bits", |s, n| s.packet.tcp(n)?.flags().map(|flags| Atom::Bits(flags, 9))),
    key!("udpsourceport", U16, "source port", |s, n| s.packet.udp(n)?.source_port().map(number)),
    key!("udpdestinationport", U16, "destination port", |s, n| s.packet.udp(n)?.destination_port().map(number)),
    key!("icmptype", U8, "ICMP type", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).kind().map(number)),
    key!("icmpcode", U8, "ICMP code", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).code().map(number)),
    key!("icmpseqno", U16, "sequence number of an echo", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).sequence().map(number)),
    key!("icmpunreachableport", U16, "port that could not be reached", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).unreachable_port().map(number)),
    key!("icmp6type", U8, "ICMPv6 type", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmpv6, n)?).kind().map(number)),
    key!("vxlanvni", U32, "virtual network of VXLAN", |s, n| Vxlan::new(s.packet.nth(LayerKind::Vxlan, n)?).vni().map(number)),
    key!("genevevni", U32, "virtual network of Geneve", |s, n| Geneve::new(s.packet.nth(LayerKind::Geneve, n)?).vni().map(number)),
    key!("grevsid", U32, "virtual subnet of NVGRE", |s, n| Gre::new(s.packet.nth(LayerKind::Gre, n)?).virtual_subnet().map(number)),
    key!("dnsqname", Text, "name of the question, with its last dot", |s, n| {
        let mut text = bumpalo::collections::String::new_in(s.arena);
        Dns::new(s.packet.nth(LayerKind::Dns, n)?).write_name(&mut text)?.ok()?;
        Some(Atom::Text(text.into_bump_str()))
    }),
    key!("dnsqtypename", Text, "type of the question", |s, n| Dns::new(s.packet.nth(LayerKind::Dns, n)?).question_type().map(|kind| query_type(s, kind))),
    key!("dnsqr", Bool, "false for a query, true for a response", |s, n| Dns::new(s.packet.nth(LayerKind::Dns, n)?).is_response().map(Atom::Bool)),
    key!("ibbtopcode", U8, "opcode of RoCE", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).opcode().map(number)),
    key!("ibbtopname", Text, "its operation", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).operation().map(Atom::Text)),
    key!("ibbtoptransport", Text, "its transport", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).transport().map(Atom::Text)),
    key!("ibbtdestqp", U32, "destination queue pair", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).destination_queue_pair().map(number)),
    key!("ibbtrdmalen", U32, "bytes moved by remote DMA", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).dma_length().map(number)),
    key!("ipnexthoprouter", Any, "next hop of the route", |s, _| address(s.router()?.next_hop)),
    key!("ipsourcemaskbits", U32, "prefix length of the route to the source", |s, _| Some(number(s.router()?.source_mask))),
    key!("ipdestinationmaskbits", U32, "prefix length of the route to the destination", |s, _| Some(number(s.router()?.destination_mask))),
    key!("bgpnexthop", Any, "next hop of the BGP route", |s, _| address(s.gateway()?.next_hop)),
    key!("bgpas", U32, "AS of the router", |s, _| Some(number(s.gateway()?.own_as))),
    key!("bgpsourceas", U32, "AS of the source", |s, _| Some(number(s.gateway()?.source_as))),
    key!("bgpsourcepeeras", U32, "neighbouring AS towards the source", |s, _| Some(number(s.gateway()?.source_peer_as))),
    key!("bgpdestinationas", U32, "AS of the destination", |s, _| s.gateway()?.path.last().map(number)),
    key!("bgpdestinationpeeras", U32, "neighbouring AS towards the destination", |s, _| s.gateway()?.path.first().map(number)),
    key!("bgplocalpref", U32, "local preference", |s, _| Some(number(s.gateway()?.local_pref))),
    key!("tcprtt", U64, "round trip time of the connection, us", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_rtt_uS").and_then(|v| value(s, v))),
    key!("tcpunacked", U64, "packets not acknowledged yet", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_unacked_pkts").and_then(|v| value(s, v))),
    key!("reason", Text, "why a packet was dropped", |s, _| {
        let reason = s.reason?;
        Some(flow::drop_reason(reason).map_or_else(|| made(s, format_args!("{reason}")), Atom::Text))
    }),
    key!("queueindex", U64, "egress queue", |s, _| s.field(&flow::EXTENDED_EGRESS_QUEUE, "egress_queue_id").and_then(|v| value(s, v))),
    key!("queuedepth", U64, "depth of the queue, bytes", |s, _| s.field(&flow::EXTENDED_QUEUE, "queue_depth_bytes").and_then(|v| value(s, v))),
    key!("transitdelay", U64, "delay in the switch, ns", |s, _| s.field(&flow::EXTENDED_TRANSIT, "transit_delay_nS").and_then(|v| value(s, v))),
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
