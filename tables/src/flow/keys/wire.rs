//! Where keys stand in the headers of a packet, for those that are bits at a fixed place: a recipe copies them without
//! asking [`super::Key::get`]. A test holds that both say the same.

use decode::packet::LayerKind;

/// Bits of a header, within the eight bytes from a place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) layer: LayerKind,
    /// Where the eight bytes begin in the header.
    pub(crate) at: u16,
    /// Bits before the value.
    pub(crate) skip: u32,
    /// Bits of the value; of an address of 128 these are twice eight bytes.
    pub(crate) bits: u32,
    /// Whether it is that only while no extension headers follow.
    pub(crate) unextended: bool,
}

/// Where the value of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a header.
    Wire(Wire),
    /// In a header; without one it is a word of the `extended_switch` record.
    WireOrSwitch(Wire, usize),
    /// A word of the `extended_switch` record.
    Switch(usize),
    /// Where the packet came in.
    Input,
    /// Where it went out.
    Output,
    /// Nowhere that is fixed.
    Anywhere,
}

/// The place of the key with this name.
pub(crate) fn place(name: &str) -> Place {
    use LayerKind::{Ethernet, Icmp, Icmpv6, Ipv4, Ipv6, Tcp, Udp, Vlan};
    let (layer, at, skip, bits) = match name {
        "inputifindex" => return Place::Input,
        "outputifindex" => return Place::Output,
        "vlansource" => return Place::Switch(0),
        "prioritysource" => return Place::Switch(1),
        "vlandestination" => return Place::Switch(2),
        "prioritydestination" => return Place::Switch(3),
        "macdestination" => (Ethernet, 0, 0, 48),
        "macsource" => (Ethernet, 6, 0, 48),
        "ethernetprotocol" => (Ethernet, 12, 0, 16),
        "priority" => (Vlan, 0, 0, 3),
        "vlan" => (Vlan, 0, 4, 12),
        "iptos" => (Ipv4, 1, 0, 8),
        "ipdscp" => (Ipv4, 1, 0, 6),
        "ipecn" => (Ipv4, 1, 6, 2),
        "ipbytes" => (Ipv4, 2, 0, 16),
        "ipid" => (Ipv4, 4, 0, 16),
        "ipflags" => (Ipv4, 6, 0, 3),
        "ipfragoffset" => (Ipv4, 6, 3, 13),
        "ipttl" => (Ipv4, 8, 0, 8),
        "ipprotocol" => (Ipv4, 9, 0, 8),
        "ipsource" => (Ipv4, 12, 0, 32),
        "ipdestination" => (Ipv4, 12, 32, 32),
        "ip6tos" => (Ipv6, 0, 4, 8),
        "ip6dscp" => (Ipv6, 0, 4, 6),
        "ip6ecn" => (Ipv6, 0, 10, 2),
        "ip6flowlabel" => (Ipv6, 0, 12, 20),
        "ip6nexthdr" => (Ipv6, 6, 0, 8),
        "ip6ttl" => (Ipv6, 7, 0, 8),
        "ip6source" => (Ipv6, 8, 0, 128),
        "ip6destination" => (Ipv6, 24, 0, 128),
        "tcpsourceport" => (Tcp, 0, 0, 16),
        "tcpdestinationport" => (Tcp, 0, 16, 16),
        "tcpflags" => (Tcp, 12, 7, 9),
        "udpsourceport" => (Udp, 0, 0, 16),
        "udpdestinationport" => (Udp, 0, 16, 16),
        "icmptype" => (Icmp, 0, 0, 8),
        "icmpcode" => (Icmp, 0, 8, 8),
        "icmp6type" => (Icmpv6, 0, 0, 8),
        "icmp6code" => (Icmpv6, 0, 8, 8),
        _ => return Place::Anywhere,
    };
    let wire = Wire { layer, at, skip, bits, unextended: name == "ip6nexthdr" };
    match name {
        "vlan" => Place::WireOrSwitch(wire, 0),
        "priority" => Place::WireOrSwitch(wire, 1),
        _ => Place::Wire(wire),
    }
}
