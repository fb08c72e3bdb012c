//! What most packets are: Ethernet, at most one tag, IPv4 or IPv6, TCP or UDP.
//!
//! On mixed traffic each of these choices is a coin toss, and a mispredicted branch costs more than all the bytes of a
//! header. So what is noted of each combination stands in a table, the places of headers are computed, and the only
//! branches are those that a packet of another kind takes.

use super::{Layer, LayerKind, PATH_STEP, Packet, ether, ip, transport};

/// What is noted of packets that are alike but for the length of an IPv4 header.
struct Common {
    path: u64,
    /// Where the layers begin, but for the last one.
    offsets: u64,
    layers: [Layer; 4],
    kinds: u32,
    count: u8,
}

impl Common {
    /// With a tag or without one, of these protocols.
    #[allow(
        clippy::indexing_slicing,
        reason = "evaluated when it is compiled: `place` is below `count`, at most four"
    )]
    const fn new(tagged: bool, network: LayerKind, transport: LayerKind) -> Self {
        let ethernet = Layer { kind: LayerKind::Ethernet, offset: 0 };
        let tag = Layer { kind: LayerKind::Vlan, offset: 14 };
        let last = Layer { kind: transport, offset: 0 };
        let (layers, count) = if tagged {
            ([ethernet, tag, Layer { kind: network, offset: 18 }, last], 4)
        } else {
            ([ethernet, Layer { kind: network, offset: 14 }, last, last], 3)
        };
        let (mut path, mut offsets, mut kinds) = (0, 0, 0);
        let mut place = 0;
        while place < count {
            let Layer { kind, offset } = layers[place];
            path = path << PATH_STEP | (kind as u64 + 1);
            offsets = offsets << 8 | offset as u64;
            kinds |= 1 << kind as u32;
            place += 1;
        }
        Self { path, offsets, layers, kinds, count: count as u8 }
    }
}

/// Tagged: 1, IPv6: 2, UDP: 4.
static COMMON: [Common; 8] = {
    use LayerKind::{Ipv4, Ipv6, Tcp, Udp};
    [
        Common::new(false, Ipv4, Tcp),
        Common::new(true, Ipv4, Tcp),
        Common::new(false, Ipv6, Tcp),
        Common::new(true, Ipv6, Tcp),
        Common::new(false, Ipv4, Udp),
        Common::new(true, Ipv4, Udp),
        Common::new(false, Ipv6, Udp),
        Common::new(true, Ipv6, Udp),
    ]
};

impl Packet<'_> {
    /// Notes the layers of such a packet in place of what was noted before; `None` for any other, of which nothing is
    /// noted.
    #[inline(always)]
    #[allow(
        clippy::indexing_slicing,
        reason = "at most 17 of 18 bytes and 9 of 40: no check is left, nor a branch"
    )]
    pub(super) fn note_common(&mut self) -> Option<()> {
        let link = self.bytes.first_chunk::<18>()?;
        let is_tagged = u16::from_be_bytes([link[12], link[13]]) == ether::VLAN;
        let tagged = usize::from(is_tagged);
        let at = 14 + 4 * tagged;
        let ethertype = u16::from_be_bytes([link[12 + 4 * tagged], link[13 + 4 * tagged]]);
        let ip = self.bytes.get(at..)?.first_chunk::<40>()?;
        let is_v4 = (ethertype == ether::IPV4) & (ip[0] >> 4 == 4);
        let is_v6 = (ethertype == ether::IPV6) & (ip[0] >> 4 == 6);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff;
        let length = if is_v4 { usize::from(ip[0] & 0x0f) * 4 } else { 40 };
        let protocol = ip[6 + 3 * usize::from(is_v4)];
        let (is_tcp, is_udp) = (protocol == ip::TCP, protocol == ip::UDP);
        let ports = self.bytes.get(at + length..)?.first_chunk::<4>()?;
        let ports = [u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])];
        let is_common = (is_v4 & (fragment == 0) & (length >= 20)) | is_v6;
        let inside = is_udp & transport::may_carry(ports);
        if !is_common | !(is_tcp | is_udp) | inside {
            return None;
        }
        let common = COMMON.get(tagged | usize::from(is_v6) << 1 | usize::from(is_udp) << 2)?;
        let offset = at + length;
        *self.layers.first_chunk_mut::<4>()? = common.layers;
        self.layers.get_mut(2 + tagged)?.offset = offset as u16;
        self.count = common.count;
        self.path = common.path;
        self.offsets = common.offsets | offset as u64;
        self.kinds = common.kinds;
        Some(())
    }
}
