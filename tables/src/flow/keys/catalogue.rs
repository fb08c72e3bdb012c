//! The catalogue of keys.

use decode::flow;
use decode::layout::Layout;
use decode::packet::{Arp, Bth, Dns, Geneve, Gre, Icmp, Ipv4, LayerKind, Mpls, Vxlan};
use decode::{Interface, InterfaceKind, Mac};

use super::read::{
    address, bits_of_words, communities, dscp_name, entity, http_url, interface, known, made, name, number,
    offset, path, query_type, small, stack, uri_path, value, word,
};
use super::{Key, Sampled};
use crate::flow::atom::Atom;
use crate::flow::layout::Form;

/// Status of a memcache operation (sFlow Memcache Structures, `status`).
const MEMCACHE_STATUS: [&str; 10] = [
    "UNKNOWN",
    "OK",
    "ERROR",
    "CLIENT_ERROR",
    "SERVER_ERROR",
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "DELETED",
];

/// Command of a memcache operation.
const MEMCACHE_COMMAND: [&str; 16] = [
    "OTHER", "SET", "ADD", "REPLACE", "APPEND", "PREPEND", "CAS", "GET", "GETS", "INCR", "DECR", "DELETE",
    "STATS", "FLUSH", "VERSION", "QUIT",
];

/// Protocol of a memcache operation.
const MEMCACHE_PROTOCOL: [&str; 3] = ["OTHER", "ASCII", "BINARY"];

/// Method of an HTTP request (sFlow HTTP Structures, `http_method`).
const HTTP_METHOD: [&str; 9] =
    ["OTHER", "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"];

/// Status of an application's operation (sFlow Application Structures, `status`).
const APP_STATUS: [&str; 11] = [
    "SUCCESS",
    "OTHER",
    "TIMEOUT",
    "INTERNAL_ERROR",
    "BAD_REQUEST",
    "FORBIDDEN",
    "TOO_LARGE",
    "NOT_IMPLEMENTED",
    "NOT_FOUND",
    "UNAVAILABLE",
    "UNAUTHORIZED",
];

const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;

macro_rules! key {
    ($name:literal, $form:ident, $what:literal, $get:expr) => {
        Key { name: $name, form: Form::$form, what: $what, get: $get }
    };
}

/// A key that is the field of a record.
macro_rules! field {
    ($name:literal, $form:ident, $what:literal, $layout:ident, $field:literal) => {
        key!($name, $form, $what, |s, _| value(s, s.field(&flow::$layout, $field)?))
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
    key!("frames", U8, "1 for a packet; null for an operation of an application", |s, _| (!s.is_operation()).then(|| number(1_u8))),
    key!("stripped", U32, "bytes that were removed before sampling", |s, _| Some(number(s.stripped))),
    key!("stack", Stack, "the layers, eth.ip.tcp", |s, _| stack(s)),
    key!("macsource", Mac, "source Ethernet address", |s, n| match s.packet.ethernet(n) {
        Some(ethernet) => ethernet.source().map(Atom::Mac),
        None => s.basic_ethernet(n).map(|told| Atom::Mac(told.source)),
    }),
    key!("macdestination", Mac, "destination Ethernet address", |s, n| destination(s, n).map(Atom::Mac)),
    key!("ethernetprotocol", U16, "Ethernet type", |s, n| match s.packet.ethernet(n) {
        Some(ethernet) => ethernet.ethertype().map(number),
        None => small::<u16>(s.basic_ethernet(n)?.ethertype),
    }),
    key!("isbroadcast", Bool, "whether the destination is all stations", |s, n| Some(Atom::Bool(destination(s, n)?.0 == [0xff; 6]))),
    key!("ismulticast", Bool, "whether the destination is a group, but not all stations", |s, n| {
        let mac = destination(s, n)?;
        Some(Atom::Bool(mac.0[0] & 1 == 1 && mac.0 != [0xff; 6]))
    }),
    key!("isunicast", Bool, "whether the destination is one station", |s, n| Some(Atom::Bool(destination(s, n)?.0[0] & 1 == 0))),
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
    key!("ip_offset", U16, "where the IPv4 header begins in the sampled bytes", |s, n| offset(s, LayerKind::Ipv4, n)),
    key!("ipsource", V4, "source IPv4 address", |s, n| match s.packet.ipv4(n) {
        Some(ip) => ip.source().map(Atom::V4),
        None => s.basic_v4(n).map(|told| Atom::V4(told.source)),
    }),
    key!("ipdestination", V4, "destination IPv4 address", |s, n| match s.packet.ipv4(n) {
        Some(ip) => ip.destination().map(Atom::V4),
        None => s.basic_v4(n).map(|told| Atom::V4(told.destination)),
    }),
    key!("ipprotocol", U8, "protocol of the IPv4 payload", |s, n| match s.packet.ipv4(n) {
        Some(ip) => ip.protocol().map(number),
        None => small::<u8>(s.basic_v4(n)?.protocol),
    }),
    key!("iptos", Bits, "type of service, eight bits", |s, n| tos(s, n).map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ipdscp", U8, "differentiated services code point", |s, n| tos(s, n).map(|tos| number(tos >> 2))),
    key!("ipdscpname", Text, "its name and number", |s, n| tos(s, n).map(|tos| dscp_name(s, tos >> 2))),
    key!("ipecn", Bits, "explicit congestion notification, two bits", |s, n| tos(s, n).map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ipbytes", U16, "length of the IPv4 packet", |s, n| match s.packet.ipv4(n) {
        Some(ip) => ip.total_length().map(number),
        None => small::<u16>(s.basic_v4(n)?.length),
    }),
    key!("ipid", U16, "identification", |s, n| s.packet.ipv4(n)?.id().map(number)),
    key!("ipflags", Bits, "reserved, don't fragment, more fragments: three bits", |s, n| s.packet.ipv4(n)?.flags().map(|flags| Atom::Bits(flags.into(), 3))),
    key!("ipfragoffset", U16, "fragment offset, units of eight bytes", |s, n| s.packet.ipv4(n)?.fragment_offset().map(number)),
    key!("ipttl", U8, "time to live", |s, n| s.packet.ipv4(n)?.ttl().map(number)),
    key!("ip6_offset", U16, "where the IPv6 header begins in the sampled bytes", |s, n| offset(s, LayerKind::Ipv6, n)),
    key!("ip6source", V6, "source IPv6 address", |s, n| match s.packet.ipv6(n) {
        Some(ip) => ip.source().map(Atom::V6),
        None => s.basic_v6(n).map(|told| Atom::V6(told.source)),
    }),
    key!("ip6destination", V6, "destination IPv6 address", |s, n| match s.packet.ipv6(n) {
        Some(ip) => ip.destination().map(Atom::V6),
        None => s.basic_v6(n).map(|told| Atom::V6(told.destination)),
    }),
    key!("ip6nexthdr", U8, "protocol of the IPv6 payload, behind extension headers", |s, n| match s.packet.ipv6(n) {
        Some(ip) => ip.options().map(|o| number(o.protocol)),
        None => small::<u8>(s.basic_v6(n)?.protocol),
    }),
    key!("ip6tos", Bits, "traffic class, eight bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits(tos.into(), 8))),
    key!("ip6dscp", U8, "differentiated services code point", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| number(tos >> 2))),
    key!("ip6dscpname", Text, "its name and number", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| dscp_name(s, tos >> 2))),
    key!("ip6ecn", Bits, "explicit congestion notification, two bits", |s, n| s.packet.ipv6(n)?.traffic_class().map(|tos| Atom::Bits((tos & 3).into(), 2))),
    key!("ip6flowlabel", U32, "flow label", |s, n| s.packet.ipv6(n)?.flow_label().map(number)),
    key!("ip6ttl", U8, "hop limit", |s, n| s.packet.ipv6(n)?.hop_limit().map(number)),
    key!("ip6bytes", U32, "length of the IPv6 packet", |s, n| match s.packet.ipv6(n) {
        Some(ip) => ip.payload_length().map(|length| number(u32::from(length) + 40)),
        None => s.basic_v6(n).map(|told| number(told.length)),
    }),
    key!("ip6extensions", U8, "number of extension headers", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.extensions))),
    key!("ip6fragoffset", U16, "fragment offset, units of eight bytes", |s, n| s.packet.ipv6(n)?.options().map(|o| number(o.fragment_offset.unwrap_or(0)))),
    key!("ip6fragm", Bool, "whether more fragments follow", |s, n| s.packet.ipv6(n)?.options().map(|o| Atom::Bool(o.more_fragments.unwrap_or(false)))),
    key!("tcpsourceport", U16, "source port", |s, n| match s.packet.tcp(n) {
        Some(tcp) => tcp.source_port().map(number),
        None => small::<u16>(s.basic_transport(TCP, n)?.0),
    }),
    key!("tcpdestinationport", U16, "destination port", |s, n| match s.packet.tcp(n) {
        Some(tcp) => tcp.destination_port().map(number),
        None => small::<u16>(s.basic_transport(TCP, n)?.1),
    }),
    key!("tcpflags", Bits, "NS CWR ECE URG ACK PSH RST SYN FIN: nine bits", |s, n| match s.packet.tcp(n) {
        Some(tcp) => tcp.flags().map(|flags| Atom::Bits(flags, 9)),
        None => s.basic_transport(TCP, n).map(|told| Atom::Bits((told.2 & 0x1ff) as u16, 9)),
    }),
    key!("udpsourceport", U16, "source port", |s, n| match s.packet.udp(n) {
        Some(udp) => udp.source_port().map(number),
        None => small::<u16>(s.basic_transport(UDP, n)?.0),
    }),
    key!("udpdestinationport", U16, "destination port", |s, n| match s.packet.udp(n) {
        Some(udp) => udp.destination_port().map(number),
        None => small::<u16>(s.basic_transport(UDP, n)?.1),
    }),
    key!("icmptype", U8, "ICMP type", |s, n| match s.packet.nth(LayerKind::Icmp, n) {
        Some(icmp) => Icmp::new(icmp).kind().map(number),
        None => small::<u8>(s.basic_transport(ICMP, n)?.0),
    }),
    key!("icmpcode", U8, "ICMP code", |s, n| match s.packet.nth(LayerKind::Icmp, n) {
        Some(icmp) => Icmp::new(icmp).code().map(number),
        None => small::<u8>(s.basic_transport(ICMP, n)?.1),
    }),
    key!("icmpseqno", U16, "sequence number of an echo", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).sequence().map(number)),
    key!("icmpunreachableport", U16, "port that could not be reached", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmp, n)?).unreachable_port().map(number)),
    key!("icmpunreachableprotocol", U8, "protocol that could not be reached", |s, n| unreachable(s, n, 2)?.protocol().map(number)),
    key!("icmpunreachablehost", V4, "host that could not be reached", |s, n| unreachable(s, n, 1)?.destination().map(Atom::V4)),
    key!("icmpunreachablenet", V4, "address whose network could not be reached", |s, n| unreachable(s, n, 0)?.destination().map(Atom::V4)),
    key!("icmp6type", U8, "ICMPv6 type", |s, n| match s.packet.nth(LayerKind::Icmpv6, n) {
        Some(icmp) => Icmp::new(icmp).kind().map(number),
        None => small::<u8>(s.basic_transport(ICMPV6, n)?.0),
    }),
    key!("icmp6code", U8, "ICMPv6 code", |s, n| match s.packet.nth(LayerKind::Icmpv6, n) {
        Some(icmp) => Icmp::new(icmp).code().map(number),
        None => small::<u8>(s.basic_transport(ICMPV6, n)?.1),
    }),
    key!("icmp6seqno", U16, "sequence number of an ICMPv6 echo", |s, n| Icmp::new(s.packet.nth(LayerKind::Icmpv6, n)?).sequence().map(number)),
    key!("mplslabel", U32, "MPLS label", |s, n| Mpls::new(s.packet.nth(LayerKind::Mpls, n)?).label().map(number)),
    key!("vni", U32, "virtual network of VXLAN, Geneve or NVGRE; else that which the switch says, in before out", |s, n| {
        let vxlan = || Vxlan::new(s.packet.nth(LayerKind::Vxlan, n)?).vni();
        let geneve = || Geneve::new(s.packet.nth(LayerKind::Geneve, n)?).vni();
        let nvgre = || Gre::new(s.packet.nth(LayerKind::Gre, n)?).virtual_subnet();
        let sampled = vxlan().or_else(geneve).or_else(nvgre).map(number);
        let input = || word(s.field(&flow::EXTENDED_VNI_INGRESS, "VNI")).map(number);
        let output = || word(s.field(&flow::EXTENDED_VNI_EGRESS, "VNI")).map(number);
        sampled.or_else(|| if n == 0 { input().or_else(output) } else { None })
    }),
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
    key!("ibbt_offset", U16, "where the transport header of RoCE begins in the sampled bytes", |s, n| offset(s, LayerKind::Bth, n)),
    key!("ibbtopcode", U8, "opcode of RoCE", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).opcode().map(number)),
    key!("ibbtopname", Text, "its operation", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).operation().map(Atom::Text)),
    key!("ibbtoptransport", Text, "its transport", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).transport().map(Atom::Text)),
    key!("ibbttver", U8, "version of the transport header", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).version().map(number)),
    key!("ibbtack", Bool, "whether an acknowledgement is wanted", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).acknowledge_request().map(Atom::Bool)),
    key!("ibbtse", Bool, "solicited event", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).solicited().map(Atom::Bool)),
    key!("ibbtm", Bool, "migration request", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).migration().map(Atom::Bool)),
    key!("ibbtdestqp", U32, "destination queue pair", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).destination_queue_pair().map(number)),
    key!("ibbtrdmalen", U32, "bytes moved by remote DMA", |s, n| Bth::new(s.packet.nth(LayerKind::Bth, n)?).dma_length().map(number)),
    key!("ibbtaethack", U8, "credit count of an acknowledgement, 0 to 31 as on the wire", |s, n| {
        // Bits 7 to 5 of the syndrome are 0 in an acknowledgement: others are negative, or say how long to wait.
        Bth::new(s.packet.nth(LayerKind::Bth, n)?).syndrome().filter(|syndrome| syndrome >> 5 == 0).map(number)
    }),
    key!("ipnexthoprouter", Any, "next hop of the route", |s, _| address(s.router()?.next_hop)),
    key!("ipsourcemaskbits", U32, "prefix length of the route to the source", |s, _| Some(number(s.router()?.source_mask))),
    key!("ipdestinationmaskbits", U32, "prefix length of the route to the destination", |s, _| Some(number(s.router()?.destination_mask))),
    key!("bgpnexthop", Any, "next hop of the BGP route", |s, _| address(s.gateway()?.next_hop)),
    key!("bgpas", U32, "AS of the router", |s, _| Some(number(s.gateway()?.own_as))),
    key!("bgpsourceas", U32, "AS of the source", |s, _| Some(number(s.gateway()?.source_as))),
    key!("bgpsourcepeeras", U32, "neighbouring AS towards the source", |s, _| Some(number(s.gateway()?.source_peer_as))),
    key!("bgpdestinationas", U32, "AS of the destination", |s, _| s.gateway()?.path.last().map(number)),
    key!("bgpdestinationpeeras", U32, "neighbouring AS towards the destination", |s, _| s.gateway()?.path.first().map(number)),
    key!("bgpdestinationaspath", Text, "AS numbers of the path to the destination, 65001-65002", |s, _| path(s, &s.gateway()?.path)),
    key!("bgpcommunities", Text, "communities, 65001:100-65001:200", |s, _| communities(s, &s.gateway()?.communities)),
    key!("bgplocalpref", U32, "local preference", |s, _| Some(number(s.gateway()?.local_pref))),
    key!("tcprtt", U64, "round trip time of the connection, us", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_rtt_uS").and_then(|v| value(s, v))),
    key!("tcpunacked", U64, "packets not acknowledged yet", |s, _| s.field(&flow::EXTENDED_TCP_INFO, "tcpinfo_unacked_pkts").and_then(|v| value(s, v))),
    field!("tcprttsdev", U32, "variation of the round trip time, us", EXTENDED_TCP_INFO, "tcpinfo_rtt_uS_var"),
    key!("tcprttwait", U32, "round trip time above the smallest that the connection had, us", |s, _| {
        let field = |name| word(s.field(&flow::EXTENDED_TCP_INFO, name));
        Some(number(field("tcpinfo_rtt_uS")?.checked_sub(field("tcpinfo_rtt_uS_min")?)?))
    }),
    field!("tcprttmin", U32, "smallest round trip time that the connection had, us", EXTENDED_TCP_INFO, "tcpinfo_rtt_uS_min"),
    field!("tcplost", U32, "packets that are believed lost", EXTENDED_TCP_INFO, "tcpinfo_lost_pkts"),
    field!("tcpretrans", U32, "packets sent again and not acknowledged yet", EXTENDED_TCP_INFO, "tcpinfo_retrans_pkts"),
    field!("tcpcwnd", U32, "congestion window, segments", EXTENDED_TCP_INFO, "tcpinfo_send_congestion_win"),
    field!("tcpreordering", U32, "reordering that the connection has met", EXTENDED_TCP_INFO, "tcpinfo_reordering"),
    field!("tcppathmtu", U32, "path MTU, bytes", EXTENDED_TCP_INFO, "tcpinfo_path_mtu"),
    field!("tcpsendmss", U32, "largest segment that is sent, bytes", EXTENDED_TCP_INFO, "tcpinfo_send_mss"),
    field!("tcpreceivemss", U32, "largest segment that is received, bytes", EXTENDED_TCP_INFO, "tcpinfo_receive_mss"),
    field!("tcpdirection", U32, "1 when the packet was received, 2 when it was sent", EXTENDED_TCP_INFO, "tcpinfo_direction"),
    key!("reason", Text, "why a packet was dropped", |s, _| {
        let reason = s.reason?;
        Some(flow::drop_reason(reason).map_or_else(|| made(s, format_args!("{reason}")), Atom::Text))
    }),
    field!("function", Text, "function of the kernel that dropped the packet", EXTENDED_FUNCTION, "symbol"),
    field!("linuxdropreason", Text, "why the Linux kernel dropped the packet, in its own words", EXTENDED_LINUX_REASON, "linux_drop_reason"),
    field!("hwtrapgroup", Text, "group of the hardware trap", EXTENDED_HW_TRAP, "hw_trap_group"),
    field!("hwtrapname", Text, "hardware trap", EXTENDED_HW_TRAP, "hw_trap_name"),
    field!("aclnumber", U32, "access list that dropped the packet", EXTENDED_ACL, "acl_number"),
    field!("aclname", Text, "its name", EXTENDED_ACL, "acl_name"),
    field!("acldirection", U32, "0 unknown, 1 ingress, 2 egress", EXTENDED_ACL, "acl_direction"),
    key!("queueindex", U64, "egress queue", |s, _| s.field(&flow::EXTENDED_EGRESS_QUEUE, "egress_queue_id").and_then(|v| value(s, v))),
    key!("queuedepth", U64, "depth of the queue, bytes", |s, _| s.field(&flow::EXTENDED_QUEUE, "queue_depth_bytes").and_then(|v| value(s, v))),
    key!("transitdelay", U64, "delay in the switch, ns", |s, _| s.field(&flow::EXTENDED_TRANSIT, "transit_delay_nS").and_then(|v| value(s, v))),
    field!("timestamp", U64, "when the packet was seen, ns since 1970", EXTENDED_TIMESTAMP, "timestamp_nS"),
    field!("inputmacsource", Mac, "outer source Ethernet address of the tunnel that ended", EXTENDED_L2_TUNNEL_INGRESS, "ethernet_src"),
    field!("inputmacdestination", Mac, "outer destination Ethernet address of the tunnel that ended", EXTENDED_L2_TUNNEL_INGRESS, "ethernet_dst"),
    key!("inputipsource", Any, "outer source address of the tunnel that ended", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_INGRESS, "srcIP"), (&flow::EXTENDED_IPV6_TUNNEL_INGRESS, "srcIP6"))),
    key!("inputipdestination", Any, "outer destination address of the tunnel that ended", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_INGRESS, "dstIP"), (&flow::EXTENDED_IPV6_TUNNEL_INGRESS, "dstIP6"))),
    key!("inputipprotocol", U32, "outer protocol of the tunnel that ended", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_INGRESS, "IPProtocol"), (&flow::EXTENDED_IPV6_TUNNEL_INGRESS, "IPProtocol"))),
    key!("inputsourceport", U32, "outer source port of the tunnel that ended", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_INGRESS, "srcPort"), (&flow::EXTENDED_IPV6_TUNNEL_INGRESS, "srcPort"))),
    key!("inputdestinationport", U32, "outer destination port of the tunnel that ended", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_INGRESS, "dstPort"), (&flow::EXTENDED_IPV6_TUNNEL_INGRESS, "dstPort"))),
    field!("inputvni", U32, "virtual network on the way in, as the switch says", EXTENDED_VNI_INGRESS, "VNI"),
    field!("inputinneroffset", U32, "where the inner header begins", EXTENDED_DECAPSULATE_INGRESS, "decap_inner_header_offset"),
    field!("outputmacsource", Mac, "outer source Ethernet address of the tunnel that begins", EXTENDED_L2_TUNNEL_EGRESS, "ethernet_src"),
    field!("outputmacdestination", Mac, "outer destination Ethernet address of the tunnel that begins", EXTENDED_L2_TUNNEL_EGRESS, "ethernet_dst"),
    key!("outputipsource", Any, "outer source address of the tunnel that begins", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_EGRESS, "srcIP"), (&flow::EXTENDED_IPV6_TUNNEL_EGRESS, "srcIP6"))),
    key!("outputipdestination", Any, "outer destination address of the tunnel that begins", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_EGRESS, "dstIP"), (&flow::EXTENDED_IPV6_TUNNEL_EGRESS, "dstIP6"))),
    key!("outputipprotocol", U32, "outer protocol of the tunnel that begins", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_EGRESS, "IPProtocol"), (&flow::EXTENDED_IPV6_TUNNEL_EGRESS, "IPProtocol"))),
    key!("outputsourceport", U32, "outer source port of the tunnel that begins", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_EGRESS, "srcPort"), (&flow::EXTENDED_IPV6_TUNNEL_EGRESS, "srcPort"))),
    key!("outputdestinationport", U32, "outer destination port of the tunnel that begins", |s, _| either(s, (&flow::EXTENDED_IPV4_TUNNEL_EGRESS, "dstPort"), (&flow::EXTENDED_IPV6_TUNNEL_EGRESS, "dstPort"))),
    field!("outputvni", U32, "virtual network on the way out, as the switch says", EXTENDED_VNI_EGRESS, "VNI"),
    field!("outputinneroffset", U32, "where the inner header begins, before encapsulation is removed", EXTENDED_DECAPSULATE_EGRESS, "decap_inner_header_offset"),
    key!("vlantunnel", Text, "VLANs of tags that were removed, 100-200", |s, _| bits_of_words(s, s.field(&flow::EXTENDED_VLAN_TUNNEL, "vlan_tunnel"), |tag| tag & 0xfff)),
    field!("natsource", Any, "translated source address", EXTENDED_NAT, "nat_src"),
    field!("natdestination", Any, "translated destination address", EXTENDED_NAT, "nat_dst"),
    field!("natsourceport", U32, "translated source port", EXTENDED_NAT_PORT, "nat_src_port"),
    field!("natdestinationport", U32, "translated destination port", EXTENDED_NAT_PORT, "nat_dst_port"),
    field!("mplsnexthop", Any, "next hop of the label switched path", EXTENDED_MPLS, "mpls_nexthop"),
    key!("mplsinputlabels", Text, "labels on the way in, 16-17", |s, _| bits_of_words(s, s.field(&flow::EXTENDED_MPLS, "mpls_input_stack"), |entry| entry >> 12)),
    key!("mplsoutputlabels", Text, "labels on the way out, 16-17", |s, _| bits_of_words(s, s.field(&flow::EXTENDED_MPLS, "mpls_output_stack"), |entry| entry >> 12)),
    field!("mplstunnelname", Text, "name of the tunnel", EXTENDED_MPLS_TUNNEL, "mpls_tunnel_lsp_name"),
    field!("mplstunnelid", U32, "its number", EXTENDED_MPLS_TUNNEL, "mpls_tunnel_id"),
    field!("mplstunnelcos", U32, "its class of service", EXTENDED_MPLS_TUNNEL, "mpls_tunnel_cos"),
    field!("mplsvcname", Text, "name of the virtual circuit", EXTENDED_MPLS_VC, "mpls_vc_name"),
    field!("mplsvcid", U32, "its number", EXTENDED_MPLS_VC, "mpls_vll_vc_id"),
    field!("mplsvccos", U32, "its class of service", EXTENDED_MPLS_VC, "mpls_vc_cos"),
    field!("mplsftnname", Text, "description of the forwarding class", EXTENDED_MPLS_FTN, "mpls_ftn_descr"),
    field!("mplsftnmask", U32, "which of its fields count", EXTENDED_MPLS_FTN, "mpls_ftn_mask"),
    field!("mplsfecprefixlength", U32, "prefix length of the forwarding class", EXTENDED_MPLS_LDP_FEC, "mpls_fec_addr_prefix_len"),
    field!("usersource", Text, "user at the source", EXTENDED_USER, "src_user"),
    field!("userdestination", Text, "user at the destination", EXTENDED_USER, "dst_user"),
    field!("wlanrxssid", Text, "network that the frame was received from", EXTENDED_80211_RX, "rx_SSID"),
    field!("wlanrxbssid", Mac, "its access point", EXTENDED_80211_RX, "rx_BSSID"),
    field!("wlanrxversion", U32, "1 a, 2 b, 3 g, 4 n", EXTENDED_80211_RX, "rx_version"),
    field!("wlanrxchannel", U32, "channel", EXTENDED_80211_RX, "rx_channel"),
    field!("wlanrxspeed", U64, "speed, bits per second", EXTENDED_80211_RX, "rx_speed"),
    field!("wlanrxrsni", U32, "received signal to noise indicator", EXTENDED_80211_RX, "rx_rsni"),
    field!("wlanrxrcpi", U32, "received channel power indicator", EXTENDED_80211_RX, "rx_rcpi"),
    field!("wlanrxduration", U32, "time on the air, us", EXTENDED_80211_RX, "rx_packet_uS"),
    field!("wlantxssid", Text, "network that the frame was sent to", EXTENDED_80211_TX, "tx_SSID"),
    field!("wlantxbssid", Mac, "its access point", EXTENDED_80211_TX, "tx_BSSID"),
    field!("wlantxversion", U32, "1 a, 2 b, 3 g, 4 n", EXTENDED_80211_TX, "tx_version"),
    field!("wlantxtransmissions", U32, "how often it was sent", EXTENDED_80211_TX, "tx_transmissions"),
    field!("wlantxduration", U32, "time on the air of the last time, us", EXTENDED_80211_TX, "tx_packet_uS"),
    field!("wlantxretransduration", U32, "time on the air of the times before, us", EXTENDED_80211_TX, "tx_retrans_uS"),
    field!("wlantxchannel", U32, "channel", EXTENDED_80211_TX, "tx_channel"),
    field!("wlantxspeed", U64, "speed, bits per second", EXTENDED_80211_TX, "tx_speed"),
    field!("wlantxpower", U32, "power, mW", EXTENDED_80211_TX, "tx_power_mW"),
    field!("wlancipher", U32, "cipher suite of the payload", EXTENDED_80211_PAYLOAD, "cipher_suite"),
    key!("entitysource", Text, "data source (container, service) at the source, 3.100001", |s, _| entity(s, s.field(&flow::EXTENDED_ENTITIES, "entities_src_class"), s.field(&flow::EXTENDED_ENTITIES, "entities_src_index"))),
    key!("entitydestination", Text, "data source at the destination", |s, _| entity(s, s.field(&flow::EXTENDED_ENTITIES, "entities_dst_class"), s.field(&flow::EXTENDED_ENTITIES, "entities_dst_index"))),
    key!("socketprotocol", U32, "protocol of the socket", |s, _| either(s, (&flow::EXTENDED_SOCKET_IPV4, "socket4_ip_protocol"), (&flow::EXTENDED_SOCKET_IPV6, "socket6_ip_protocol"))),
    key!("socketlocalip", Any, "local address of the socket", |s, _| either(s, (&flow::EXTENDED_SOCKET_IPV4, "socket4_local_ip"), (&flow::EXTENDED_SOCKET_IPV6, "socket6_local_ip"))),
    key!("socketremoteip", Any, "remote address of the socket", |s, _| either(s, (&flow::EXTENDED_SOCKET_IPV4, "socket4_remote_ip"), (&flow::EXTENDED_SOCKET_IPV6, "socket6_remote_ip"))),
    key!("socketlocalport", U32, "local port of the socket", |s, _| either(s, (&flow::EXTENDED_SOCKET_IPV4, "socket4_local_port"), (&flow::EXTENDED_SOCKET_IPV6, "socket6_local_port"))),
    key!("socketremoteport", U32, "remote port of the socket", |s, _| either(s, (&flow::EXTENDED_SOCKET_IPV4, "socket4_remote_port"), (&flow::EXTENDED_SOCKET_IPV6, "socket6_remote_port"))),
    key!("proxysocketprotocol", U32, "protocol of the socket behind the proxy", |s, _| either(s, (&flow::EXTENDED_PROXY_SOCKET_IPV4, "proxy_socket4_ip_protocol"), (&flow::EXTENDED_PROXY_SOCKET_IPV6, "proxy_socket6_ip_protocol"))),
    key!("proxysocketlocalip", Any, "local address of the socket behind the proxy", |s, _| either(s, (&flow::EXTENDED_PROXY_SOCKET_IPV4, "proxy_socket4_local_ip"), (&flow::EXTENDED_PROXY_SOCKET_IPV6, "proxy_socket6_local_ip"))),
    key!("proxysocketremoteip", Any, "remote address of the socket behind the proxy", |s, _| either(s, (&flow::EXTENDED_PROXY_SOCKET_IPV4, "proxy_socket4_remote_ip"), (&flow::EXTENDED_PROXY_SOCKET_IPV6, "proxy_socket6_remote_ip"))),
    key!("proxysocketlocalport", U32, "local port of the socket behind the proxy", |s, _| either(s, (&flow::EXTENDED_PROXY_SOCKET_IPV4, "proxy_socket4_local_port"), (&flow::EXTENDED_PROXY_SOCKET_IPV6, "proxy_socket6_local_port"))),
    key!("proxysocketremoteport", U32, "remote port of the socket behind the proxy", |s, _| either(s, (&flow::EXTENDED_PROXY_SOCKET_IPV4, "proxy_socket4_remote_port"), (&flow::EXTENDED_PROXY_SOCKET_IPV6, "proxy_socket6_remote_port"))),
    key!("requests", U8, "1 for an operation of an application", |s, _| s.is_operation().then(|| number(1_u8))),
    key!("duration", U64, "how long the operation took, us", |s, _| {
        let field = |layout, name| word(s.field(layout, name));
        let http = || word(s.http("http_duration_uS"));
        let app = || field(&flow::APP_OPERATION, "duration_uS");
        http().or_else(app).or_else(|| field(&flow::MEMCACHE_OPERATION, "memcache_op_duration_uS")).map(number)
    }),
    key!("httpurl", Text, "URL of the request: host and path put together", |s, _| http_url(s)),
    key!("uripath", Text, "path of httpurl", |s, _| uri_path(s)),
    key!("httpmethod", Text, "OTHER, OPTIONS, GET, HEAD, POST, PUT, DELETE, TRACE, CONNECT", |s, _| name(s, &HTTP_METHOD, s.http("http_method"))),
    key!("httpprotocol", U32, "version of HTTP: 1001 is 1.1", |s, _| s.http("http_protocol").and_then(|v| value(s, v))),
    key!("httphost", Text, "host that was asked", |s, _| s.http("http_host").or_else(|| s.field(&flow::EXTENDED_URL, "host")).and_then(|v| value(s, v))),
    key!("httpreferrer", Text, "page that led there", |s, _| s.http("http_referrer").and_then(|v| value(s, v))),
    key!("httpuseragent", Text, "program that asked", |s, _| s.http("http_useragent").and_then(|v| value(s, v))),
    key!("httpxff", Text, "X-Forwarded-For", |s, _| s.http("http_xff").and_then(|v| value(s, v))),
    key!("httpauthuser", Text, "user that asked", |s, _| s.http("http_authuser").and_then(|v| value(s, v))),
    key!("httpmimetype", Text, "kind of what was answered", |s, _| s.http("http_mimetype").and_then(|v| value(s, v))),
    key!("httprequestbytes", U64, "bytes of the request", |s, _| s.http("http_request_bytes").and_then(|v| value(s, v))),
    key!("httpresponsebytes", U64, "bytes of the answer", |s, _| s.http("http_bytes").and_then(|v| value(s, v))),
    key!("httpstatus", U32, "status of the answer", |s, _| s.http("http_status").and_then(|v| value(s, v))),
    field!("urldirection", U32, "1 when the source has the URL, 2 when the destination has it", EXTENDED_URL, "url_direction"),
    field!("proxyuri", Text, "path that a proxy asked for", EXTENDED_PROXY_REQUEST, "proxy_uri"),
    field!("proxyhost", Text, "host that a proxy asked", EXTENDED_PROXY_REQUEST, "proxy_host"),
    field!("appname", Text, "application", APP_OPERATION, "application"),
    field!("appoperation", Text, "its operation", APP_OPERATION, "operation"),
    field!("appattributes", Text, "attributes of the operation", APP_OPERATION, "attributes"),
    key!("appstatus", Text, "SUCCESS, OTHER, TIMEOUT, INTERNAL_ERROR, BAD_REQUEST, FORBIDDEN, TOO_LARGE, NOT_IMPLEMENTED, NOT_FOUND, UNAVAILABLE, UNAUTHORIZED", |s, _| name(s, &APP_STATUS, s.field(&flow::APP_OPERATION, "status"))),
    field!("appstatusdescr", Text, "status in words", APP_OPERATION, "status_descr"),
    field!("apprequestbytes", U64, "bytes of the request", APP_OPERATION, "request_bytes"),
    field!("appresponsebytes", U64, "bytes of the answer", APP_OPERATION, "response_bytes"),
    field!("appparentname", Text, "application that caused the operation", APP_PARENT_CONTEXT, "server_context_application"),
    field!("appparentoperation", Text, "operation that caused it", APP_PARENT_CONTEXT, "server_context_operation"),
    field!("appparentattributes", Text, "attributes of that operation", APP_PARENT_CONTEXT, "server_context_attributes"),
    field!("appinitiator", Text, "who asked", APP_INITIATOR, "actor_initiator"),
    field!("apptarget", Text, "who was asked", APP_TARGET, "actor_target"),
    key!("memcacheprotocol", Text, "OTHER, ASCII, BINARY", |s, _| name(s, &MEMCACHE_PROTOCOL, s.field(&flow::MEMCACHE_OPERATION, "memcache_op_protocol"))),
    key!("memcachecommand", Text, "OTHER, SET, ADD, REPLACE, APPEND, PREPEND, CAS, GET, GETS, INCR, DECR, DELETE, STATS, FLUSH, VERSION, QUIT", |s, _| name(s, &MEMCACHE_COMMAND, s.field(&flow::MEMCACHE_OPERATION, "memcache_op_cmd"))),
    field!("memcachekey", Text, "key of the operation", MEMCACHE_OPERATION, "memcache_op_key"),
    field!("memcachenkeys", U32, "how many keys it has", MEMCACHE_OPERATION, "memcache_op_nkeys"),
    field!("memcachevaluebytes", U32, "bytes of the value", MEMCACHE_OPERATION, "memcache_op_value_bytes"),
    key!("memcachestatus", Text, "UNKNOWN, OK, ERROR, CLIENT_ERROR, SERVER_ERROR, STORED, NOT_STORED, EXISTS, NOT_FOUND, DELETED", |s, _| name(s, &MEMCACHE_STATUS, s.field(&flow::MEMCACHE_OPERATION, "memcache_op_status"))),
];

/// Destination of the `n`th frame.
fn destination(s: &Sampled<'_>, n: usize) -> Option<Mac> {
    match s.packet.ethernet(n) {
        Some(ethernet) => ethernet.destination(),
        None => s.basic_ethernet(n).map(|told| told.destination),
    }
}

/// Type of service of the `n`th IPv4 packet.
fn tos(s: &Sampled<'_>, n: usize) -> Option<u8> {
    match s.packet.ipv4(n) {
        Some(ip) => ip.tos(),
        None => u8::try_from(s.basic_v4(n)?.tos).ok(),
    }
}

/// The packet that could not be delivered, where the ICMP code is this one.
fn unreachable<'a>(s: &Sampled<'a>, n: usize, code: u8) -> Option<Ipv4<'a>> {
    let icmp = Icmp::new(s.packet.nth(LayerKind::Icmp, n)?);
    icmp.unreachable().filter(|_| icmp.code() == Some(code))
}

/// A field that one of two records has.
fn either<'a>(s: &Sampled<'a>, v4: (&'static Layout, &str), v6: (&'static Layout, &str)) -> Option<Atom<'a>> {
    s.field(v4.0, v4.1).or_else(|| s.field(v6.0, v6.1)).and_then(|told| value(s, told))
}
