//! Flow records: what is known about one sampled packet (sFlow v5 and its extensions).
//!
//! Most are tables of fields; those on the packet path are read typed.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::{Address, Mac};
use crate::layout::{AsPath, Fields, Words, layouts};
use crate::record::{Record, Tag};
use crate::xdr::{Full, Reader, Truncated, Writer};

/// `sampled_header`
pub const SAMPLED_HEADER: Tag = Tag::new(0, 1);

layouts! {
    /// Fields of an Ethernet frame.
    SAMPLED_ETHERNET = 0:2 "sampled_ethernet" {
        "ethernet_len" U32, "ethernet_src" Mac, "ethernet_dst" Mac, "ethernet_type" U32 }
    /// Fields of an IPv4 packet.
    SAMPLED_IPV4 = 0:3 "sampled_ipv4" {
        "IPSize" U32, "IPProtocol" U32, "srcIP" Ip4, "dstIP" Ip4, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "IPTOS" U32 }
    /// Fields of an IPv6 packet.
    SAMPLED_IPV6 = 0:4 "sampled_ipv6" {
        "IPSize" U32, "IPProtocol" U32, "srcIP6" Ip6, "dstIP6" Ip6, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "priority" U32 }
    /// Layer 2 forwarding.
    EXTENDED_SWITCH = 0:1001 "extended_switch" {
        "in_vlan" U32, "in_priority" U32, "out_vlan" U32, "out_priority" U32 }
    /// Layer 3 forwarding.
    EXTENDED_ROUTER = 0:1002 "extended_router" {
        "nextHop" Address, "srcSubnetMask" U32, "dstSubnetMask" U32 }
    /// BGP.
    EXTENDED_GATEWAY = 0:1003 "extended_gateway" {
        "bgp_nexthop" Address, "my_as" U32, "src_as" U32, "src_peer_as" U32, "dst_as_path" AsPath,
        "BGP_communities" Words, "BGP_localpref" U32 }
    /// User names.
    EXTENDED_USER = 0:1004 "extended_user" {
        "src_user_charset" U32, "src_user" Text, "dst_user_charset" U32, "dst_user" Text }
    /// A URL.
    EXTENDED_URL = 0:1005 "extended_url" { "url_direction" U32, "url" Text, "host" Text }
    /// MPLS label stacks.
    EXTENDED_MPLS = 0:1006 "extended_mpls" {
        "mpls_nexthop" Address, "mpls_input_stack" Words, "mpls_output_stack" Words }
    /// Translated addresses.
    EXTENDED_NAT = 0:1007 "extended_nat" { "nat_src" Address, "nat_dst" Address }
    /// MPLS tunnel.
    EXTENDED_MPLS_TUNNEL = 0:1008 "extended_mpls_tunnel" {
        "mpls_tunnel_lsp_name" Text, "mpls_tunnel_id" U32, "mpls_tunnel_cos" U32 }
    /// MPLS virtual circuit.
    EXTENDED_MPLS_VC = 0:1009 "extended_mpls_vc" {
        "mpls_vc_name" Text, "mpls_vll_vc_id" U32, "mpls_vc_cos" U32 }
    /// MPLS FEC to NHLFE.
    EXTENDED_MPLS_FTN = 0:1010 "extended_mpls_FTN" { "mpls_ftn_descr" Text, "mpls_ftn_mask" U32 }
    /// MPLS LDP FEC.
    EXTENDED_MPLS_LDP_FEC = 0:1011 "extended_mpls_LDP_FEC" { "mpls_fec_addr_prefix_len" U32 }
    /// Stripped VLAN tags.
    EXTENDED_VLAN_TUNNEL = 0:1012 "extended_vlantunnel" { "vlan_tunnel" Words }
    /// Payload of a wireless frame.
    EXTENDED_80211_PAYLOAD = 0:1013 "extended_80211_payload" { "cipher_suite" U32, "data" Text }
    /// Reception of a wireless frame.
    EXTENDED_80211_RX = 0:1014 "extended_80211_rx" {
        "rx_SSID" Text, "rx_BSSID" Mac, "rx_version" U32, "rx_channel" U32, "rx_speed" U64, "rx_rsni" U32,
        "rx_rcpi" U32, "rx_packet_uS" U32 }
    /// Transmission of a wireless frame.
    EXTENDED_80211_TX = 0:1015 "extended_80211_tx" {
        "tx_SSID" Text, "tx_BSSID" Mac, "tx_version" U32, "tx_transmissions" U32, "tx_packet_uS" U32,
        "tx_retrans_uS" U32, "tx_channel" U32, "tx_speed" U64, "tx_power_mW" U32 }
    /// Translated ports.
    EXTENDED_NAT_PORT = 0:1020 "extended_nat_port" { "nat_src_port" U32, "nat_dst_port" U32 }
    /// Outer Ethernet frame of a tunnel that begins.
    EXTENDED_L2_TUNNEL_EGRESS = 0:1021 "extended_L2_tunnel_egress" {
        "ethernet_len" U32, "ethernet_src" Mac, "ethernet_dst" Mac, "ethernet_type" U32 }
    /// Outer Ethernet frame of a tunnel that ended.
    EXTENDED_L2_TUNNEL_INGRESS = 0:1022 "extended_L2_tunnel_ingress" {
        "ethernet_len" U32, "ethernet_src" Mac, "ethernet_dst" Mac, "ethernet_type" U32 }
    /// Outer IPv4 packet of a tunnel that begins.
    EXTENDED_IPV4_TUNNEL_EGRESS = 0:1023 "extended_ipv4_tunnel_egress" {
        "IPSize" U32, "IPProtocol" U32, "srcIP" Ip4, "dstIP" Ip4, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "IPTOS" U32 }
    /// Outer IPv4 packet of a tunnel that ended.
    EXTENDED_IPV4_TUNNEL_INGRESS = 0:1024 "extended_ipv4_tunnel_ingress" {
        "IPSize" U32, "IPProtocol" U32, "srcIP" Ip4, "dstIP" Ip4, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "IPTOS" U32 }
    /// Outer IPv6 packet of a tunnel that begins.
    EXTENDED_IPV6_TUNNEL_EGRESS = 0:1025 "extended_ipv6_tunnel_egress" {
        "IPSize" U32, "IPProtocol" U32, "srcIP6" Ip6, "dstIP6" Ip6, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "priority" U32 }
    /// Outer IPv6 packet of a tunnel that ended.
    EXTENDED_IPV6_TUNNEL_INGRESS = 0:1026 "extended_ipv6_tunnel_ingress" {
        "IPSize" U32, "IPProtocol" U32, "srcIP6" Ip6, "dstIP6" Ip6, "srcPort" U32, "dstPort" U32,
        "TCPFlags" U32, "priority" U32 }
    /// Where the inner header begins, before encapsulation is removed.
    EXTENDED_DECAPSULATE_EGRESS = 0:1027 "extended_decapsulate_egress" { "decap_inner_header_offset" U32 }
    /// Where the inner header begins.
    EXTENDED_DECAPSULATE_INGRESS = 0:1028 "extended_decapsulate_ingress" { "decap_inner_header_offset" U32 }
    /// Virtual network on the way out.
    EXTENDED_VNI_EGRESS = 0:1029 "extended_vni_egress" { "VNI" U32 }
    /// Virtual network on the way in.
    EXTENDED_VNI_INGRESS = 0:1030 "extended_vni_ingress" { "VNI" U32 }
    /// Queue of the egress port.
    EXTENDED_EGRESS_QUEUE = 0:1036 "extended_egress_queue" { "egress_queue_id" U32 }
    /// The access list that dropped the packet.
    EXTENDED_ACL = 0:1037 "extended_acl" { "acl_number" U32, "acl_name" Text, "acl_direction" U32 }
    /// The function that dropped the packet.
    EXTENDED_FUNCTION = 0:1038 "extended_function" { "symbol" Text }
    /// Delay in the switch, nanoseconds.
    EXTENDED_TRANSIT = 0:1039 "extended_transit" { "transit_delay_nS" U32 }
    /// Depth of the queue, bytes.
    EXTENDED_QUEUE = 0:1040 "extended_queue" { "queue_depth_bytes" U32 }
    /// Hardware trap.
    EXTENDED_HW_TRAP = 0:1041 "extended_hw_trap" { "hw_trap_group" Text, "hw_trap_name" Text }
    /// Drop reason of the Linux kernel.
    EXTENDED_LINUX_REASON = 0:1042 "extended_linux_drop_reason" { "linux_drop_reason" Text }
    /// When the packet was seen, nanoseconds since 1970.
    EXTENDED_TIMESTAMP = 0:1043 "extended_timestamp" { "timestamp_nS" U64 }
    /// A socket.
    EXTENDED_SOCKET_IPV4 = 0:2100 "extended_socket_ipv4" {
        "socket4_ip_protocol" U32, "socket4_local_ip" Ip4, "socket4_remote_ip" Ip4,
        "socket4_local_port" U32, "socket4_remote_port" U32 }
    /// A socket.
    EXTENDED_SOCKET_IPV6 = 0:2101 "extended_socket_ipv6" {
        "socket6_ip_protocol" U32, "socket6_local_ip" Ip6, "socket6_remote_ip" Ip6,
        "socket6_local_port" U32, "socket6_remote_port" U32 }
    /// The socket behind a proxy.
    EXTENDED_PROXY_SOCKET_IPV4 = 0:2102 "extended_proxy_socket_ipv4" {
        "proxy_socket4_ip_protocol" U32, "proxy_socket4_local_ip" Ip4, "proxy_socket4_remote_ip" Ip4,
        "proxy_socket4_local_port" U32, "proxy_socket4_remote_port" U32 }
    /// The socket behind a proxy.
    EXTENDED_PROXY_SOCKET_IPV6 = 0:2103 "extended_proxy_socket_ipv6" {
        "proxy_socket6_ip_protocol" U32, "proxy_socket6_local_ip" Ip6, "proxy_socket6_remote_ip" Ip6,
        "proxy_socket6_local_port" U32, "proxy_socket6_remote_port" U32 }
    /// A memcache operation.
    MEMCACHE_OPERATION = 0:2200 "memcache_operation" {
        "memcache_op_protocol" U32, "memcache_op_cmd" U32, "memcache_op_key" Text, "memcache_op_nkeys" U32,
        "memcache_op_value_bytes" U32, "memcache_op_duration_uS" U32, "memcache_op_status" U32 }
    /// An HTTP request (the earlier structure).
    HTTP_REQUEST_V1 = 0:2201 "http_request" {
        "http_method" U32, "http_protocol" U32, "http_uri" Text, "http_host" Text, "http_referrer" Text,
        "http_useragent" Text, "http_authuser" Text, "http_mimetype" Text, "http_bytes" U64,
        "http_duration_uS" U32, "http_status" U32 }
    /// An operation of an application.
    APP_OPERATION = 0:2202 "app_operation" {
        "application" Text, "operation" Text, "attributes" Text, "status_descr" Text, "request_bytes" U64,
        "response_bytes" U64, "duration_uS" U32, "status" U32 }
    /// The operation that caused this one.
    APP_PARENT_CONTEXT = 0:2203 "app_parent_context" {
        "server_context_application" Text, "server_context_operation" Text,
        "server_context_attributes" Text }
    /// Who asked.
    APP_INITIATOR = 0:2204 "app_initiator" { "actor_initiator" Text }
    /// Who was asked.
    APP_TARGET = 0:2205 "app_target" { "actor_target" Text }
    /// An HTTP request.
    HTTP_REQUEST = 0:2206 "http_request" {
        "http_method" U32, "http_protocol" U32, "http_uri" Text, "http_host" Text, "http_referrer" Text,
        "http_useragent" Text, "http_xff" Text, "http_authuser" Text, "http_mimetype" Text,
        "http_request_bytes" U64, "http_bytes" U64, "http_duration_uS" U32, "http_status" U32 }
    /// The request as a proxy sent it on.
    EXTENDED_PROXY_REQUEST = 0:2207 "extended_proxy_request" { "proxy_uri" Text, "proxy_host" Text }
    /// The sender's TCP state (`struct tcp_info` of Linux).
    EXTENDED_TCP_INFO = 0:2209 "extended_tcp_info" {
        "tcpinfo_direction" U32, "tcpinfo_send_mss" U32, "tcpinfo_receive_mss" U32,
        "tcpinfo_unacked_pkts" U32, "tcpinfo_lost_pkts" U32, "tcpinfo_retrans_pkts" U32,
        "tcpinfo_path_mtu" U32, "tcpinfo_rtt_uS" U32, "tcpinfo_rtt_uS_var" U32,
        "tcpinfo_send_congestion_win" U32, "tcpinfo_reordering" U32, "tcpinfo_rtt_uS_min" U32 }
    /// The data sources (containers, services) at both ends.
    EXTENDED_ENTITIES = 0:2210 "extended_entities" {
        "entities_src_class" U32, "entities_src_index" U32, "entities_dst_class" U32,
        "entities_dst_index" U32 }
}

/// What nearly every packet is asked for, noted while its records are verified. Of two of a kind the first one counts.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    /// The sampled header.
    pub header: Option<SampledHeader<'a>>,
    /// The body of the `extended_switch` record.
    pub switch: Option<&'a [u8]>,
    /// Which records there are, as a hash of their tags in order.
    pub kinds: u64,
}

impl Default for Noted<'_> {
    fn default() -> Self {
        Self { header: None, switch: None, kinds: FNV_BEGIN }
    }
}

/// FNV-1a: kinds of samples are few.
const FNV_BEGIN: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0000_0100_0000_01b3;

impl<'a> Noted<'a> {
    /// Notes a record; whether no length inside it lies.
    #[inline(always)]
    pub(crate) fn take(&mut self, record: Record<'a>) -> bool {
        self.kinds = (self.kinds ^ u64::from(record.tag.0)).wrapping_mul(FNV_FACTOR);
        if record.tag == SAMPLED_HEADER {
            let Ok(header) = SampledHeader::parse(record.body) else { return false };
            if self.header.is_none() {
                self.header = Some(header);
            }
            return true;
        }
        // Its fields are of fixed size.
        if record.tag == EXTENDED_SWITCH.tag {
            if self.switch.is_none() {
                self.switch = Some(record.body);
            }
            return true;
        }
        is_sound(record)
    }
}

/// Whether no length inside the record lies.
fn is_sound(record: Record<'_>) -> bool {
    find(record.tag).is_none_or(|layout| layout.is_sound(record.body))
}

/// The record through its table of fields; `None` for one that is not known, and for `sampled_header`.
pub fn fields(record: Record<'_>) -> Option<Fields<'_>> {
    find(record.tag).map(|layout| Fields::new(layout, record.body))
}

/// The first bytes of a sampled packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledHeader<'a> {
    /// `header_protocol`: 1 Ethernet, 11 IPv4, 12 IPv6, ...
    pub protocol: u32,
    /// Length of the packet before it was cut, bytes.
    pub frame_length: u32,
    /// Bytes removed from the packet before it was sampled: the frame check sequence at least.
    pub stripped: u32,
    /// What was sampled of it.
    pub bytes: &'a [u8],
}

impl<'a> SampledHeader<'a> {
    /// Reads the body of a `sampled_header`.
    ///
    /// # Errors
    /// The header's length says more than the record holds.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Truncated> {
        let (head, rest) = body.split_first_chunk::<16>().ok_or(Truncated)?;
        let [a, b, c, d] = *head.as_chunks::<4>().0 else { return Err(Truncated) };
        let length = u32::from_be_bytes(d) as usize;
        Ok(Self {
            protocol: u32::from_be_bytes(a),
            frame_length: u32::from_be_bytes(b),
            stripped: u32::from_be_bytes(c),
            bytes: rest.get(..length).ok_or(Truncated)?,
        })
    }

    /// Writes the body of a `sampled_header`.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u32(self.protocol)?;
        writer.u32(self.frame_length)?;
        writer.u32(self.stripped)?;
        writer.opaque(self.bytes)
    }
}

/// `extended_switch`, typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedSwitch {
    /// VLAN on the way in.
    pub source_vlan: u32,
    /// 802.1p priority on the way in.
    pub source_priority: u32,
    /// VLAN on the way out.
    pub destination_vlan: u32,
    /// 802.1p priority on the way out.
    pub destination_priority: u32,
}

impl ExtendedSwitch {
    /// Reads the body of an `extended_switch`; fields that are not there are all ones, "unknown".
    pub fn parse(body: &[u8]) -> Self {
        let mut reader = Reader::new(body);
        let mut word = || reader.u32().unwrap_or(u32::MAX);
        Self {
            source_vlan: word(),
            source_priority: word(),
            destination_vlan: word(),
            destination_priority: word(),
        }
    }
}

/// `extended_router`, typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedRouter {
    /// Next hop.
    pub next_hop: Address,
    /// Prefix length of the route to the source.
    pub source_mask: u32,
    /// Prefix length of the route to the destination.
    pub destination_mask: u32,
}

impl ExtendedRouter {
    /// Reads the body of an `extended_router`; `None` when it is cut.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(Self {
            next_hop: Address::read(&mut reader).ok()?,
            source_mask: reader.u32().ok()?,
            destination_mask: reader.u32().ok()?,
        })
    }
}

/// `extended_gateway`, typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedGateway<'a> {
    /// Next hop of the BGP route.
    pub next_hop: Address,
    /// AS of the agent.
    pub own_as: u32,
    /// AS of the source.
    pub source_as: u32,
    /// Neighbouring AS towards the source.
    pub source_peer_as: u32,
    /// AS path to the destination.
    pub path: AsPath<'a>,
    /// Communities.
    pub communities: Words<'a>,
    /// `LOCAL_PREF`.
    pub local_pref: u32,
}

impl<'a> ExtendedGateway<'a> {
    /// Reads the body of an `extended_gateway`; `None` when it is cut.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        use crate::layout::Value;
        let mut values = Fields::new(&EXTENDED_GATEWAY, body).iter().map(|(_, value)| value);
        let Some(Value::Address(next_hop)) = values.next() else { return None };
        let mut word = || match values.next() {
            Some(Value::U32(word)) => Some(word),
            _ => None,
        };
        let (own_as, source_as, source_peer_as) = (word()?, word()?, word()?);
        let Some(Value::AsPath(path)) = values.next() else { return None };
        let Some(Value::Words(communities)) = values.next() else { return None };
        let Some(Value::U32(local_pref)) = values.next() else { return None };
        Some(Self { next_hop, own_as, source_as, source_peer_as, path, communities, local_pref })
    }
}

/// `sampled_ethernet`, typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledEthernet {
    /// Length of the frame without lower layers' encapsulations.
    pub length: u32,
    /// Source.
    pub source: Mac,
    /// Destination.
    pub destination: Mac,
    /// Ethertype.
    pub ethertype: u32,
}

impl SampledEthernet {
    /// Reads the body; `None` when it is cut.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(Self {
            length: reader.u32().ok()?,
            source: Mac::read(&mut reader).ok()?,
            destination: Mac::read(&mut reader).ok()?,
            ethertype: reader.u32().ok()?,
        })
    }
}

/// `sampled_ipv4` or `sampled_ipv6`, typed by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledIp<A> {
    /// Length of the packet.
    pub length: u32,
    /// Protocol of the payload.
    pub protocol: u32,
    /// Source.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// Source port, or 0.
    pub source_port: u32,
    /// Destination port, or 0.
    pub destination_port: u32,
    /// TCP flags.
    pub tcp_flags: u32,
    /// Type of service, or priority.
    pub tos: u32,
}

impl SampledIp<Ipv4Addr> {
    /// Reads the body of a `sampled_ipv4`; `None` when it is cut.
    pub fn parse(body: &[u8]) -> Option<Self> {
        Self::read::<4>(body)
    }
}

impl SampledIp<Ipv6Addr> {
    /// Reads the body of a `sampled_ipv6`; `None` when it is cut.
    pub fn parse(body: &[u8]) -> Option<Self> {
        Self::read::<16>(body)
    }
}

impl<A> SampledIp<A> {
    fn read<const N: usize>(body: &[u8]) -> Option<Self>
    where
        A: From<[u8; N]>,
    {
        let mut reader = Reader::new(body);
        Some(Self {
            length: reader.u32().ok()?,
            protocol: reader.u32().ok()?,
            source: reader.array::<N>().ok()?.into(),
            destination: reader.array::<N>().ok()?.into(),
            source_port: reader.u32().ok()?,
            destination_port: reader.u32().ok()?,
            tcp_flags: reader.u32().ok()?,
            tos: reader.u32().ok()?,
        })
    }
}

/// The name of a drop reason (sFlow Dropped Packet Notification Structures, `drop_reason`).
pub fn drop_reason(reason: u32) -> Option<&'static str> {
    DROP_REASONS
        .binary_search_by_key(&reason, |&(code, _)| code)
        .ok()
        .and_then(|i| DROP_REASONS.get(i))
        .map(|r| r.1)
}

/// Drop reasons by code, in order.
pub static DROP_REASONS: &[(u32, &str)] = &[
    (0, "net_unreachable"),
    (1, "host_unreachable"),
    (2, "protocol_unreachable"),
    (3, "port_unreachable"),
    (4, "frag_needed"),
    (5, "src_route_failed"),
    (6, "dst_net_unknown"),
    (7, "dst_host_unknown"),
    (8, "src_host_isolated"),
    (9, "dst_net_prohibited"),
    (10, "dst_host_prohibited"),
    (11, "dst_net_tos_unreachable"),
    (12, "dst_host_tos_unreachable"),
    (13, "comm_admin_prohibited"),
    (14, "host_precedence_violation"),
    (15, "precedence_cutoff"),
    (256, "unknown"),
    (257, "ttl_exceeded"),
    (258, "acl"),
    (259, "no_buffer_space"),
    (260, "red"),
    (261, "traffic_shaping"),
    (262, "pkt_too_big"),
    (263, "src_mac_is_multicast"),
    (264, "vlan_tag_mismatch"),
    (265, "ingress_vlan_filter"),
    (266, "ingress_spanning_tree_filter"),
    (267, "port_list_is_empty"),
    (268, "port_loopback_filter"),
    (269, "blackhole_route"),
    (270, "non_ip"),
    (271, "uc_dip_over_mc_dmac"),
    (272, "dip_is_loopback_address"),
    (273, "sip_is_mc"),
    (274, "sip_is_loopback_address"),
    (275, "ip_header_corrupted"),
    (276, "ipv4_sip_is_limited_bc"),
    (277, "ipv6_mc_dip_reserved_scope"),
    (278, "ipv6_mc_dip_interface_local_scope"),
    (279, "unresolved_neigh"),
    (280, "mc_reverse_path_forwarding"),
    (281, "non_routable_packet"),
    (282, "decap_error"),
    (283, "overlay_smac_is_mc"),
    (284, "unknown_l2"),
    (285, "unknown_l3"),
    (286, "unknown_l3_exception"),
    (287, "unknown_buffer"),
    (288, "unknown_tunnel"),
    (289, "unknown_l4"),
    (290, "sip_is_unspecified"),
    (291, "mlag_port_isolation"),
    (292, "blackhole_arp_neigh"),
    (293, "src_mac_is_dmac"),
    (294, "dmac_is_reserved"),
    (295, "sip_is_class_e"),
    (296, "mc_dmac_mismatch"),
    (297, "sip_is_dip"),
    (298, "dip_is_local_network"),
    (299, "dip_is_link_local"),
    (300, "overlay_smac_is_dmac"),
    (301, "egress_vlan_filter"),
    (302, "uc_reverse_path_forwarding"),
    (303, "split_horizon"),
    (304, "locked_port"),
    (305, "dmac_filter"),
    (306, "blackhole_nexthop"),
    (307, "vxlan_parsing"),
    (308, "llc_snap_parsing"),
    (309, "vlan_parsing"),
    (310, "pppoe_ppp_parsing"),
    (311, "mpls_parsing"),
    (312, "arp_parsing"),
    (313, "ip_1_parsing"),
    (314, "ip_n_parsing"),
    (315, "gre_parsing"),
    (316, "udp_parsing"),
    (317, "tcp_parsing"),
    (318, "ipsec_parsing"),
    (319, "sctp_parsing"),
    (320, "dccp_parsing"),
    (321, "gtp_parsing"),
    (322, "esp_parsing"),
    (323, "unknown_parsing"),
    (324, "pkt_too_small"),
    (325, "unhandled_proto"),
    (326, "ipv6disabled"),
    (327, "invalid_proto"),
    (328, "ip_noproto"),
    (329, "skb_csum"),
    (330, "skb_ucopy_fault"),
    (331, "dev_ready"),
    (332, "dev_hdr"),
    (333, "dup_frag"),
    (334, "skb_gso_seg"),
    (335, "reverse_path_forwarding"),
    (336, "icmp_parsing"),
    (337, "tcp_md5notfound"),
    (338, "tcp_md5unexpected"),
    (339, "tcp_md5failure"),
    (340, "tcp_flags"),
    (341, "tcp_zerowindow"),
    (342, "tcp_old_data"),
    (343, "tcp_overwindow"),
    (344, "tcp_ofomerge"),
    (345, "tcp_rfc7323_paws"),
    (346, "tcp_invalid_sequence"),
    (347, "tcp_reset"),
    (348, "tcp_invalid_syn"),
    (349, "tcp_close"),
    (350, "tcp_fastopen"),
    (351, "tcp_old_ack"),
    (352, "tcp_too_old_ack"),
    (353, "tcp_ack_unsent_data"),
    (354, "tcp_ofo_queue_prune"),
    (355, "tcp_ofo_drop"),
    (356, "tcp_minttl"),
    (357, "ipv6_bad_exthdr"),
    (358, "ipv6_ndisc_frag"),
    (359, "ipv6_ndisc_hop_limit"),
    (360, "ipv6_ndisc_bad_code"),
    (361, "ipv6_ndisc_bad_options"),
    (362, "ipv6_ndisc_ns_otherhost"),
    (363, "tap_filter"),
    (364, "tap_txfilter"),
    (365, "tc_ingress"),
    (366, "tc_egress"),
    (367, "xdp"),
    (368, "cpu_backlog"),
    (369, "bpf_cgroup_egress"),
    (370, "xfrm_policy"),
    (371, "socket_filter"),
];
