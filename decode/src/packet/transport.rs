//! TCP, UDP, SCTP, ICMP and ICMPv6.

use super::{Ipv4, LayerKind, u8_at, u16_at, u32_at};

/// TCP header (RFC 9293).
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a>(pub(super) &'a [u8]);

impl Tcp<'_> {
    /// Source port.
    #[inline]
    pub fn source_port(&self) -> Option<u16> {
        u16_at(self.0, 0)
    }

    /// Destination port.
    #[inline]
    pub fn destination_port(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }

    /// The nine flags, NS highest and FIN lowest.
    pub fn flags(&self) -> Option<u16> {
        u16_at(self.0, 12).map(|word| word & 0x01ff)
    }

    /// Length of the header with its options, bytes.
    pub fn header_length(&self) -> Option<usize> {
        u8_at(self.0, 12).map(|byte| usize::from(byte >> 4) * 4)
    }
}

/// UDP header (RFC 768).
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a>(pub(super) &'a [u8]);

impl Udp<'_> {
    /// Source port.
    #[inline]
    pub fn source_port(&self) -> Option<u16> {
        u16_at(self.0, 0)
    }

    /// Destination port.
    #[inline]
    pub fn destination_port(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }

    /// Source and destination port.
    #[inline]
    pub fn ports(&self) -> Option<(u16, u16)> {
        Some((self.source_port()?, self.destination_port()?))
    }

    /// Length of header and payload, bytes.
    pub fn length(&self) -> Option<u16> {
        u16_at(self.0, 4)
    }
}

/// What a port says is inside: VXLAN (4789, and 8472 as Linux had it), Geneve, RoCE v2, DNS.
#[inline]
pub(super) fn after_udp(source: u16, destination: u16) -> Option<LayerKind> {
    match destination {
        4789 | 8472 => Some(LayerKind::Vxlan),
        6081 => Some(LayerKind::Geneve),
        4791 => Some(LayerKind::Bth),
        53 => Some(LayerKind::Dns),
        _ if source == 53 => Some(LayerKind::Dns),
        _ => None,
    }
}

/// Whether one of the ports (source, destination) may say that something is inside: `false` only where
/// [`after_udp`] answers `None`. Without branches.
#[inline]
pub(super) fn may_carry([source, destination]: [u16; 2]) -> bool {
    (destination == 4789)
        | (destination == 8472)
        | (destination == 6081)
        | (destination == 4791)
        | (destination == 53)
        | (source == 53)
}

/// SCTP common header (RFC 9260).
#[derive(Clone, Copy, Debug)]
pub struct Sctp<'a>(&'a [u8]);

impl<'a> Sctp<'a> {
    /// The header at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Source port.
    pub fn source_port(&self) -> Option<u16> {
        u16_at(self.0, 0)
    }

    /// Destination port.
    pub fn destination_port(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443).
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a>(&'a [u8]);

impl<'a> Icmp<'a> {
    /// The message at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Type.
    pub fn kind(&self) -> Option<u8> {
        u8_at(self.0, 0)
    }

    /// Code.
    pub fn code(&self) -> Option<u8> {
        u8_at(self.0, 1)
    }

    /// Sequence number of an echo request or reply (ICMP types 8 and 0, ICMPv6 types 128 and 129).
    pub fn sequence(&self) -> Option<u16> {
        u16_at(self.0, 6).filter(|_| matches!(self.kind(), Some(0 | 8 | 128 | 129)))
    }

    /// The IPv4 packet that a "destination unreachable" (type 3) is about.
    pub fn unreachable(&self) -> Option<Ipv4<'a>> {
        let inner = self.0.get(8..).filter(|_| self.kind() == Some(3))?;
        inner.first().filter(|first| *first >> 4 == 4)?;
        Some(Ipv4(inner))
    }

    /// The port that could not be reached (type 3, code 3).
    pub fn unreachable_port(&self) -> Option<u16> {
        let ip = self.unreachable().filter(|_| self.code() == Some(3))?;
        u32_at(ip.0, ip.header_length()?).map(|ports| (ports & 0xffff) as u16)
    }
}
