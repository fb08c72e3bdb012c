//! The sampled packet: which layers its first bytes hold, and where.
//!
//! [`dissect`] walks from the outermost header inwards and notes kind and offset of each layer. It never
//! fails: a packet that is cut, or that says something impossible, has fewer layers. A layer is noted as soon
//! as one byte of it is there; its fields are read by views ([`Packet::ipv4`] and so on), which answer `None`
//! beyond the cut. At most [`DEPTH`] layers are noted.

mod app;
mod build;
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
    /// Place of the first layer of each kind, [`ABSENT`] where there is none.
    first: [u8; LayerKind::COUNT],
}

const ABSENT: u8 = u8::MAX;

/// What the walk expects at its offset.
enum Next {
    Ethernet,
    /// After an ethertype field: the type, or a length.
    Type(u16),
    /// After an IP header.
    Protocol(u8),
    Ppp,
    Mpls,
    Vxlan,
    Geneve,
    Erspan(u16),
    Dns,
    Bth,
    End,
}

/// Dissects the bytes of a `sampled_header` of this `header_protocol`.
pub fn dissect(protocol: u32, bytes: &[u8]) -> Packet<'_> {
    // Offsets are 16 bit: a sampled header is far shorter than what they reach.
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    let mut packet = Packet {
        bytes,
        layers: [Layer { kind: LayerKind::Ethernet, offset: 0 }; DEPTH],
        count: 0,
        first: [ABSENT; LayerKind::COUNT],
    };
    let mut next = match protocol {
        header_protocol::ETHERNET => Next::Ethernet,
        header_protocol::PPP => Next::Ppp,
        header_protocol::IPV4 => Next::Type(ether::IPV4),
        header_protocol::IPV6 => Next::Type(ether::IPV6),
        header_protocol::MPLS => Next::Mpls,
        _ => Next::End,
    };
    let mut at = 0;
    // Every step notes a layer or ends, so the walk is bounded by the depth.
    while let Some((following, length)) = packet.step(&next, at) {
        next = following;
        at += length;
    }
    packet
}

impl<'a> Packet<'a> {
    /// Notes the layer that `next` expects at `at`; what follows it, and how far away.
    #[inline]
    fn step(&mut self, next: &Next, at: usize) -> Option<(Next, usize)> {
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        match *next {
            Next::Ethernet => {
                self.note(LayerKind::Ethernet, at)?;
                Some((Next::Type(Ethernet(rest).ethertype()?), 14))
            }
            Next::Type(ether::IPV4) => {
                // The version is looked at before the layer is believed.
                rest.first().filter(|first| *first >> 4 == 4)?;
                self.note(LayerKind::Ipv4, at)?;
                let ip = Ipv4(rest);
                if ip.fragment_offset()? != 0 {
                    return None;
                }
                Some((Next::Protocol(ip.protocol()?), ip.header_length()?))
            }
            Next::Type(ether::IPV6) => {
                rest.first().filter(|first| *first >> 4 == 6)?;
                self.note(LayerKind::Ipv6, at)?;
                let options = Ipv6(rest).options()?;
                if options.fragment_offset.unwrap_or(0) != 0 {
                    return None;
                }
                Some((Next::Protocol(options.protocol), options.length))
            }
            Next::Type(ether::VLAN | ether::VLAN_AD | 0x9100 | 0x9200 | 0x9300) => {
                self.note(LayerKind::Vlan, at)?;
                Some((Next::Type(Vlan(rest).ethertype()?), 4))
            }
            Next::Type(other) => self.other_type(other, rest, at),
            Next::Protocol(protocol) => self.protocol(protocol, rest, at),
            Next::Mpls => {
                self.note(LayerKind::Mpls, at)?;
                if Mpls(rest).is_bottom()? { ether::after_mpls(rest) } else { Some((Next::Mpls, 4)) }
            }
            Next::Ppp => ether::after_ppp(rest),
            Next::Vxlan => {
                self.note(LayerKind::Vxlan, at)?;
                Some((Next::Ethernet, 8))
            }
            Next::Geneve => {
                self.note(LayerKind::Geneve, at)?;
                let geneve = Geneve(rest);
                let following = match geneve.protocol()? {
                    ether::BRIDGED => Next::Ethernet,
                    other => Next::Type(other),
                };
                Some((following, geneve.header_length()?))
            }
            Next::Erspan(version) => {
                self.note(LayerKind::Erspan, at)?;
                Some((Next::Ethernet, Erspan(rest).header_length(version)?))
            }
            Next::Dns => {
                self.note(LayerKind::Dns, at)?;
                None
            }
            Next::Bth => {
                self.note(LayerKind::Bth, at)?;
                None
            }
            Next::End => None,
        }
    }

    fn other_type(&mut self, ethertype: u16, rest: &'a [u8], at: usize) -> Option<(Next, usize)> {
        match ethertype {
            ether::ARP => {
                self.note(LayerKind::Arp, at)?;
                None
            }
            ether::MPLS | ether::MPLS_MULTICAST => Some((Next::Mpls, 0)),
            ether::PPPOE => {
                self.note(LayerKind::Pppoe, at)?;
                ether::after_ppp(rest.get(6..)?).map(|(next, length)| (next, length + 6))
            }
            length if length <= ether::LONGEST_802_3 => {
                self.note(LayerKind::Llc, at)?;
                ether::after_llc(rest)
            }
            _ => None,
        }
    }

    #[inline]
    fn protocol(&mut self, protocol: u8, rest: &'a [u8], at: usize) -> Option<(Next, usize)> {
        match protocol {
            ip::TCP => {
                self.note(LayerKind::Tcp, at)?;
                None
            }
            ip::UDP => {
                self.note(LayerKind::Udp, at)?;
                let (source, destination) = Udp(rest).ports()?;
                Some((transport::after_udp(source, destination)?, 8))
            }
            ip::ICMP => {
                self.note(LayerKind::Icmp, at)?;
                None
            }
            ip::ICMPV6 => {
                self.note(LayerKind::Icmpv6, at)?;
                None
            }
            ip::SCTP => {
                self.note(LayerKind::Sctp, at)?;
                None
            }
            ip::GRE => {
                self.note(LayerKind::Gre, at)?;
                let gre = Gre(rest);
                let following = match gre.protocol()? {
                    ether::BRIDGED => Next::Ethernet,
                    tunnel::ERSPAN_2 if !gre.has_sequence()? => Next::Ethernet,
                    tunnel::ERSPAN_2 => Next::Erspan(2),
                    tunnel::ERSPAN_3 => Next::Erspan(3),
                    other => Next::Type(other),
                };
                Some((following, gre.header_length()?))
            }
            ip::IPV4_IN_IP => Some((Next::Type(ether::IPV4), 0)),
            ip::IPV6_IN_IP => Some((Next::Type(ether::IPV6), 0)),
            ip::ETHERNET_IN_IP => Some((Next::Ethernet, 2)),
            _ => None,
        }
    }

    /// `None` when no more layers can be noted.
    #[inline]
    fn note(&mut self, kind: LayerKind, at: usize) -> Option<()> {
        let place = self.count;
        let layer = self.layers.get_mut(usize::from(place))?;
        *layer = Layer { kind, offset: u16::try_from(at).ok()? };
        let first = self.first.get_mut(kind as usize)?;
        *first = (*first).min(place);
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

    /// The bytes from the header of the `n`th layer of a kind (0 is the outermost) to the end of the sample.
    #[inline]
    pub fn nth(&self, kind: LayerKind, n: usize) -> Option<&'a [u8]> {
        let first = usize::from(*self.first.get(kind as usize)?);
        let layers = self.layers().get(first..)?;
        let layer =
            if n == 0 { layers.first() } else { layers.iter().filter(|layer| layer.kind == kind).nth(n) }?;
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
