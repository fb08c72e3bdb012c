//! Link layers: Ethernet, VLAN tags, LLC and SNAP, MPLS, PPPoE, ARP.

use std::net::Ipv4Addr;

use super::{at, u8_at, u16_at, u32_at};
use crate::address::Mac;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const VLAN: u16 = 0x8100;
pub(super) const VLAN_AD: u16 = 0x88a8;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const MPLS: u16 = 0x8847;
pub(super) const MPLS_MULTICAST: u16 = 0x8848;
pub(super) const PPPOE: u16 = 0x8864;
/// Transparent Ethernet bridging, in GRE and Geneve.
pub(super) const BRIDGED: u16 = 0x6558;
/// A type field up to this is a length (IEEE 802.3).
pub(super) const LONGEST_802_3: u16 = 1500;

/// Ethernet header (IEEE 802.3): destination, source, type or length.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a>(pub(super) &'a [u8]);

impl Ethernet<'_> {
    /// Destination address.
    pub fn destination(&self) -> Option<Mac> {
        at(self.0, 0).map(Mac)
    }

    /// Source address.
    pub fn source(&self) -> Option<Mac> {
        at(self.0, 6).map(Mac)
    }

    /// Type or length field.
    pub fn ethertype(&self) -> Option<u16> {
        u16_at(self.0, 12)
    }
}

/// VLAN tag after its type field (IEEE 802.1Q, 802.1ad): tag control information, and the next type.
#[derive(Clone, Copy, Debug)]
pub struct Vlan<'a>(pub(super) &'a [u8]);

impl Vlan<'_> {
    /// VLAN identifier, 0 to 4095.
    pub fn id(&self) -> Option<u16> {
        u16_at(self.0, 0).map(|tci| tci & 0x0fff)
    }

    /// Priority, 0 to 7.
    pub fn priority(&self) -> Option<u8> {
        u8_at(self.0, 0).map(|byte| byte >> 5)
    }

    /// Type or length field after the tag.
    pub fn ethertype(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }
}

/// MPLS label stack entry (RFC 3032).
#[derive(Clone, Copy, Debug)]
pub struct Mpls<'a>(pub(super) &'a [u8]);

impl<'a> Mpls<'a> {
    /// The entry at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Label, 20 bits.
    pub fn label(&self) -> Option<u32> {
        u32_at(self.0, 0).map(|word| word >> 12)
    }

    /// Whether it is the bottom of the stack.
    pub fn is_bottom(&self) -> Option<bool> {
        u8_at(self.0, 2).map(|byte| byte & 1 == 1)
    }
}

/// What follows the bottom label of a stack.
pub(super) enum Pseudowire {
    /// An IP packet of this ethertype.
    Ip(u16),
    /// An Ethernet frame, behind a control word of this many bytes.
    Ethernet { skipped: usize },
}

/// Nothing in MPLS says what follows the bottom label: the first nibble is 4 or 6 for IP, 0 for the control
/// word of a pseudowire (RFC 4928); anything else is taken for Ethernet.
pub(super) fn after_mpls(entry: &[u8]) -> Option<Pseudowire> {
    Some(match u8_at(entry, 4)? >> 4 {
        4 => Pseudowire::Ip(IPV4),
        6 => Pseudowire::Ip(IPV6),
        0 => Pseudowire::Ethernet { skipped: 4 },
        _ => Pseudowire::Ethernet { skipped: 0 },
    })
}

/// PPP protocol field of two bytes (RFC 1661): the ethertype of what follows, and how far away it is.
pub(super) fn after_ppp(rest: &[u8]) -> Option<(u16, usize)> {
    // Address and control fields (RFC 1662) stand before it on some links.
    let skip = if at(rest, 0) == Some([0xff, 0x03]) { 2 } else { 0 };
    let ethertype = match u16_at(rest, skip)? {
        0x0021 => IPV4,
        0x0057 => IPV6,
        0x0281 => MPLS,
        _ => return None,
    };
    Some((ethertype, skip + 2))
}

/// LLC (IEEE 802.2): the ethertype of what follows, and how far away it is. SNAP with OUI 0 has an
/// ethertype; IP over 802.2 has none.
pub(super) fn after_llc(rest: &[u8]) -> Option<(u16, usize)> {
    match at::<3>(rest, 0)? {
        [0xaa, 0xaa, 0x03] => {
            let snap = Snap(rest);
            (snap.oui()? == [0; 3]).then_some((snap.ethertype()?, 8))
        }
        [0x06, 0x06, control] if control & 1 == 1 => Some((IPV4, 3)),
        _ => None,
    }
}

/// SNAP after LLC: OUI and type.
#[derive(Clone, Copy, Debug)]
pub struct Snap<'a>(pub(super) &'a [u8]);

impl<'a> Snap<'a> {
    /// The LLC header and what follows it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Organisation.
    pub fn oui(&self) -> Option<[u8; 3]> {
        at(self.0, 3)
    }

    /// Type within the organisation; an ethertype for OUI 0.
    pub fn ethertype(&self) -> Option<u16> {
        u16_at(self.0, 6)
    }
}

/// ARP for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(&'a [u8]);

impl<'a> Arp<'a> {
    /// The ARP packet at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn is_ipv4(&self) -> bool {
        at(self.0, 2) == Some([0x08, 0x00]) && at(self.0, 4) == Some([6, 4])
    }

    /// 1 request, 2 reply.
    pub fn operation(&self) -> Option<u16> {
        u16_at(self.0, 6)
    }

    /// Sender's IPv4 address.
    pub fn sender(&self) -> Option<Ipv4Addr> {
        at::<4>(self.0, 14).filter(|_| self.is_ipv4()).map(Into::into)
    }

    /// Target's IPv4 address.
    pub fn target(&self) -> Option<Ipv4Addr> {
        at::<4>(self.0, 24).filter(|_| self.is_ipv4()).map(Into::into)
    }
}
