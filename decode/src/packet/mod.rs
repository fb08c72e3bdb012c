//! The sampled packet: which layers its first bytes hold, and where.
//!
//! [`dissect`] walks from the outermost header inwards and notes kind and offset of each layer. It never
//! fails: a packet that is cut, or that says something impossible, has fewer layers. A layer is noted as soon
//! as one byte of it is there; its fields are read by views ([`Packet::ipv4`] and so on), which answer `None`
//! beyond the cut. At most [`DEPTH`] layers are noted.

mod app;
mod build;
mod common;
mod ether;
mod ip;
mod transport;
mod tunnel;

pub use app::{Bth, Dns};
pub use build::PacketBuilder;
pub use ether::{Arp, Ethernet, Mpls, Snap, Vlan};
pub use ip::{Ipv4, Ipv6, Ipv6Options};
pub use transport::{Icmp, Sctp, Tcp, Udp};
pub use tunnel::{Erspan, Geneve, Gre, Vxlan};

/// How many layers are noted.
pub const DEPTH: usize = 16;

/// `header_protocol` values that are dissected (sFlow v5, `header_protocol`).
pub mod header_protocol {
    /// Ethernet.
    pub const ETHERNET: u32 = 1;
    /// PPP.
    pub const PPP: u32 = 7;
    /// IPv4 without a link layer.
    pub const IPV4: u32 = 11;
    /// IPv6 without a link layer.
    pub const IPV6: u32 = 12;
    /// MPLS without a link layer.
    pub const MPLS: u32 = 13;
}

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LayerKind {
    /// Ethernet II or 802.3.
    Ethernet,
    /// One 802.1Q or 802.1ad tag.
    Vlan,
    /// One MPLS label stack entry.
    Mpls,
    /// PPPoE session and the PPP protocol field.
    Pppoe,
    /// 802.2 LLC, and SNAP where it follows.
    Llc,
    /// ARP.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// SCTP.
    Sctp,
    /// GRE, NVGRE among it.
    Gre,
    /// ERSPAN.
    Erspan,
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
    /// DNS.
    Dns,
    /// InfiniBand base transport header (RoCE v2).
    Bth,
}

impl LayerKind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Bth as usize + 1;

    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ethernet,
        Self::Vlan,
        Self::Mpls,
        Self::Pppoe,
        Self::Llc,
        Self::Arp,
        Self::Ipv4,
        Self::Ipv6,
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Icmpv6,
        Self::Sctp,
        Self::Gre,
        Self::Erspan,
        Self::Vxlan,
        Self::Geneve,
        Self::Dns,
        Self::Bth,
    ];

    /// The layer's name in a `stack`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Ethernet => "eth",
            Self::Vlan => "vlan",
            Self::Mpls => "mpls",
            Self::Pppoe => "pppoe",
            Self::Llc => "llc",
            Self::Arp => "arp",
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmp6",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Dns => "dns",
            Self::Bth => "ibbt",
        }
    }
}

/// A layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Where its header begins in the sampled bytes.
    pub offset: u16,
}

/// A dissected packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    layers: [Layer; DEPTH],
    count: u8,
    path: u64,
    /// The offsets of the layers, eight bits for each, as far as they have them.
    offsets: u64,
    /// A bit for each kind that is there.
    kinds: u32,
}

/// Bits of a layer in a [`Packet::path`].
const PATH_STEP: u32 = 5;

/// Which layers a packet has, and where each begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    kinds: u64,
    offsets: u64,
}

impl Outline {
    /// A number that differs for most outlines, for a place in a table: of 32 bits, which depend on all there is.
    #[inline]
    pub fn mixed(&self) -> u64 {
        (self.kinds.rotate_left(40) ^ self.offsets).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }
}

/// Layers of an [`Outline`] at most, one byte of offset for each.
const LONGEST_OUTLINE: u8 = 8;

/// The layers before there are any.
static NO_LAYERS: [Layer; DEPTH] = [Layer { kind: LayerKind::Ethernet, offset: 0 }; DEPTH];

/// Dissects the bytes of a `sampled_header` of this `header_protocol`.
#[inline]
pub fn dissect(protocol: u32, bytes: &[u8]) -> Packet<'_> {
    let mut packet = Packet::default();
    packet.dissect(protocol, bytes);
    packet
}

impl Default for Packet<'_> {
    fn default() -> Self {
        Self { bytes: &[], layers: NO_LAYERS, count: 0, path: 0, offsets: 0, kinds: 0 }
    }
}

/// The walk: each function looks at one layer at an offset, notes it, and goes on to what it says follows.
/// `None` only ends the walk.
impl<'a> Packet<'a> {
    /// Dissects the bytes of a `sampled_header` of this `header_protocol` in place of what was noted before. The packet
    /// path prefers this to [`dissect`]: a value that is moved right after it was written in small pieces is waited for.
    #[inline]
    pub fn dissect(&mut self, protocol: u32, bytes: &'a [u8]) {
        // Offsets are 16 bit: a sampled header is far shorter than what they reach.
        self.bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
        if protocol != header_protocol::ETHERNET || self.note_common().is_none() {
            self.walk(protocol);
        }
    }

    #[inline(never)]
    fn walk(&mut self, protocol: u32) -> Option<()> {
        (self.count, self.path, self.offsets, self.kinds) = (0, 0, 0, 0);
        // Each step notes a layer and calls the next one: all end with the bytes or at the depth.
        match protocol {
            header_protocol::ETHERNET => self.walk_ethernet(0),
            header_protocol::PPP => self.walk_ppp(0),
            header_protocol::IPV4 => self.walk_ipv4(0),
            header_protocol::IPV6 => self.walk_ipv6(0),
            header_protocol::MPLS => self.walk_mpls(0),
            _ => None,
        }
    }

    /// What is left from an offset on, when there is a byte of it.
    #[inline]
    fn rest(&self, at: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..).filter(|rest| !rest.is_empty())
    }

    #[inline]
    fn walk_ethernet(&mut self, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        self.note(LayerKind::Ethernet, at)?;
        self.walk_type(Ethernet(rest).ethertype()?, at + 14)
    }

    /// After a type field: the type, or a length.
    #[inline]
    fn walk_type(&mut self, mut ethertype: u16, mut at: usize) -> Option<()> {
        while matches!(ethertype, ether::VLAN | ether::VLAN_AD | 0x9100 | 0x9200 | 0x9300) {
            let rest = self.rest(at)?;
            self.note(LayerKind::Vlan, at)?;
            ethertype = Vlan(rest).ethertype()?;
            at += 4;
        }
        match ethertype {
            ether::IPV4 => self.walk_ipv4(at),
            ether::IPV6 => self.walk_ipv6(at),
            other => self.walk_other_type(other, at),
        }
    }

    #[cold]
    fn walk_other_type(&mut self, ethertype: u16, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        match ethertype {
            ether::ARP => self.note(LayerKind::Arp, at),
            ether::MPLS | ether::MPLS_MULTICAST => self.walk_mpls(at),
            ether::PPPOE => {
                self.note(LayerKind::Pppoe, at)?;
                self.walk_ppp(at + 6)
            }
            length if length <= ether::LONGEST_802_3 => {
                self.note(LayerKind::Llc, at)?;
                let (following, skipped) = ether::after_llc(rest)?;
                self.walk_type(following, at + skipped)
            }
            _ => None,
        }
    }

    #[inline]
    fn walk_ipv4(&mut self, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        // The version is looked at before the layer is believed.
        if rest.first()? >> 4 != 4 {
            return None;
        }
        self.note(LayerKind::Ipv4, at)?;
        let ip = Ipv4(rest);
        let protocol = ip.protocol()?;
        if ip.fragment_offset()? != 0 {
            return None;
        }
        self.walk_protocol(protocol, at + ip.header_length()?)
    }

    #[inline]
    fn walk_ipv6(&mut self, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        if rest.first()? >> 4 != 6 {
            return None;
        }
        self.note(LayerKind::Ipv6, at)?;
        match Ipv6(rest).next_header()? {
            protocol @ (ip::TCP | ip::UDP) => self.walk_protocol(protocol, at + 40),
            _ => {
                let options = Ipv6(rest).options()?;
                if options.fragment_offset.unwrap_or(0) != 0 {
                    return None;
                }
                self.walk_protocol(options.protocol, at + options.length)
            }
        }
    }

    /// After an IP header.
    #[inline]
    fn walk_protocol(&mut self, protocol: u8, at: usize) -> Option<()> {
        match protocol {
            ip::TCP => {
                self.rest(at)?;
                self.note(LayerKind::Tcp, at)
            }
            ip::UDP => {
                let rest = self.rest(at)?;
                self.note(LayerKind::Udp, at)?;
                let (source, destination) = Udp(rest).ports()?;
                match transport::after_udp(source, destination) {
                    None => None,
                    Some(kind) => self.walk_udp_payload(kind, at + 8),
                }
            }
            other => self.walk_other_protocol(other, at),
        }
    }

    #[cold]
    fn walk_udp_payload(&mut self, kind: LayerKind, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        self.note(kind, at)?;
        match kind {
            LayerKind::Vxlan => self.walk_ethernet(at + 8),
            LayerKind::Geneve => {
                let geneve = Geneve(rest);
                self.walk_bridged(geneve.protocol()?, at + geneve.header_length()?)
            }
            _ => None,
        }
    }

    #[cold]
    fn walk_other_protocol(&mut self, protocol: u8, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        match protocol {
            ip::ICMP => self.note(LayerKind::Icmp, at),
            ip::ICMPV6 => self.note(LayerKind::Icmpv6, at),
            ip::SCTP => self.note(LayerKind::Sctp, at),
            ip::GRE => {
                self.note(LayerKind::Gre, at)?;
                let gre = Gre(rest);
                let after = at + gre.header_length()?;
                match gre.protocol()? {
                    tunnel::ERSPAN_2 if !gre.has_sequence()? => self.walk_ethernet(after),
                    tunnel::ERSPAN_2 => self.walk_erspan(2, after),
                    tunnel::ERSPAN_3 => self.walk_erspan(3, after),
                    other => self.walk_bridged(other, after),
                }
            }
            ip::IPV4_IN_IP => self.walk_ipv4(at),
            ip::IPV6_IN_IP => self.walk_ipv6(at),
            ip::ETHERNET_IN_IP => self.walk_ethernet(at + 2),
            _ => None,
        }
    }

    /// After the type field of a tunnel, where Ethernet has a type of its own.
    fn walk_bridged(&mut self, ethertype: u16, at: usize) -> Option<()> {
        if ethertype == ether::BRIDGED { self.walk_ethernet(at) } else { self.walk_type(ethertype, at) }
    }

    fn walk_erspan(&mut self, version: u16, at: usize) -> Option<()> {
        let rest = self.rest(at)?;
        self.note(LayerKind::Erspan, at)?;
        self.walk_ethernet(at + Erspan(rest).header_length(version)?)
    }

    fn walk_ppp(&mut self, at: usize) -> Option<()> {
        let (following, skipped) = ether::after_ppp(self.rest(at)?)?;
        self.walk_type(following, at + skipped)
    }

    fn walk_mpls(&mut self, mut at: usize) -> Option<()> {
        loop {
            let entry = self.rest(at)?;
            self.note(LayerKind::Mpls, at)?;
            at += 4;
            if Mpls(entry).is_bottom()? {
                return match ether::after_mpls(entry)? {
                    ether::Pseudowire::Ip(ethertype) => self.walk_type(ethertype, at),
                    ether::Pseudowire::Ethernet { skipped } => self.walk_ethernet(at + skipped),
                };
            }
        }
    }

    /// `None` when no more layers can be noted.
    #[inline]
    fn note(&mut self, kind: LayerKind, at: usize) -> Option<()> {
        let place = self.count;
        let layer = self.layers.get_mut(usize::from(place))?;
        *layer = Layer { kind, offset: u16::try_from(at).ok()? };
        self.kinds |= 1 << kind as u32;
        self.path = self.path << PATH_STEP | (kind as u64 + 1);
        self.offsets = self.offsets << 8 | at as u64 & 0xff;
        self.count += 1;
        Some(())
    }

    /// The sampled bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> &[Layer] {
        self.layers.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The kinds of the layers as one number: packets have the same one when they have the same kinds in the same
    /// order. Of more than twelve layers the innermost ones count.
    #[inline]
    pub fn path(&self) -> u64 {
        self.path
    }

    /// Kinds and places of the layers; `None` where there are none, or too many, or some too far inside.
    #[inline]
    pub fn outline(&self) -> Option<Outline> {
        let last = self.layers().last()?;
        let fits = self.count <= LONGEST_OUTLINE && last.offset <= 0xff;
        fits.then_some(Outline { kinds: self.path, offsets: self.offsets })
    }

    /// The bytes from the header of the `n`th layer of a kind (0 is the outermost) to the end of the sample.
    #[inline]
    pub fn nth(&self, kind: LayerKind, n: usize) -> Option<&'a [u8]> {
        if self.kinds & (1 << kind as u32) == 0 {
            return None;
        }
        let layer = self.layers().iter().filter(|layer| layer.kind == kind).nth(n)?;
        self.bytes.get(usize::from(layer.offset)..)
    }

    /// The `n`th Ethernet header.
    pub fn ethernet(&self, n: usize) -> Option<Ethernet<'a>> {
        self.nth(LayerKind::Ethernet, n).map(Ethernet)
    }

    /// The `n`th VLAN tag.
    pub fn vlan(&self, n: usize) -> Option<Vlan<'a>> {
        self.nth(LayerKind::Vlan, n).map(Vlan)
    }

    /// The `n`th IPv4 header.
    #[inline]
    pub fn ipv4(&self, n: usize) -> Option<Ipv4<'a>> {
        self.nth(LayerKind::Ipv4, n).map(Ipv4)
    }

    /// The `n`th IPv6 header.
    #[inline]
    pub fn ipv6(&self, n: usize) -> Option<Ipv6<'a>> {
        self.nth(LayerKind::Ipv6, n).map(Ipv6)
    }

    /// The `n`th TCP header.
    #[inline]
    pub fn tcp(&self, n: usize) -> Option<Tcp<'a>> {
        self.nth(LayerKind::Tcp, n).map(Tcp)
    }

    /// The `n`th UDP header.
    #[inline]
    pub fn udp(&self, n: usize) -> Option<Udp<'a>> {
        self.nth(LayerKind::Udp, n).map(Udp)
    }

    /// Writes the tokens of all layers, joined by dots: `eth.ip.udp.vxlan.eth.ip.tcp`. VLAN tags are left
    /// out: the same conversation has the same stack on a tagged and on an untagged port.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_stack(&self, out: &mut impl core::fmt::Write) -> core::fmt::Result {
        let mut dot = "";
        for layer in self.layers().iter().filter(|layer| layer.kind != LayerKind::Vlan) {
            out.write_str(dot)?;
            out.write_str(layer.kind.token())?;
            dot = ".";
        }
        Ok(())
    }
}

/// Bytes at a place of a layer, when they are there.
#[inline]
fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..)?.first_chunk::<N>().copied()
}

/// The byte at a place of a layer.
#[inline]
fn u8_at(bytes: &[u8], place: usize) -> Option<u8> {
    bytes.get(place).copied()
}

/// The big-endian 16 bits at a place of a layer.
#[inline]
fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    at(bytes, place).map(u16::from_be_bytes)
}

/// The big-endian 32 bits at a place of a layer.
#[inline]
fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    at(bytes, place).map(u32::from_be_bytes)
}

/// The big-endian 24 bits at a place of a layer.
#[inline]
fn u24_at(bytes: &[u8], place: usize) -> Option<u32> {
    at(bytes, place).map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
