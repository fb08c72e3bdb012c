//! IPv4 and IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{at, u8_at, u16_at, u32_at};

pub(super) const ICMP: u8 = 1;
pub(super) const IPV4_IN_IP: u8 = 4;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const IPV6_IN_IP: u8 = 41;
pub(super) const GRE: u8 = 47;
pub(super) const ICMPV6: u8 = 58;
pub(super) const ETHERNET_IN_IP: u8 = 97;
pub(super) const SCTP: u8 = 132;

/// IPv4 header (RFC 791).
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(pub(super) &'a [u8]);

impl Ipv4<'_> {
    /// Length of the header with its options, bytes; `None` when it says less than 20.
    pub fn header_length(&self) -> Option<usize> {
        u8_at(self.0, 0).map(|byte| usize::from(byte & 0x0f) * 4).filter(|length| *length >= 20)
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(&self) -> Option<u8> {
        u8_at(self.0, 1)
    }

    /// Length of the packet, bytes.
    pub fn total_length(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }

    /// Identification.
    pub fn id(&self) -> Option<u16> {
        u16_at(self.0, 4)
    }

    /// The three flags: reserved, don't fragment, more fragments.
    pub fn flags(&self) -> Option<u8> {
        u8_at(self.0, 6).map(|byte| byte >> 5)
    }

    /// Fragment offset in units of eight bytes.
    pub fn fragment_offset(&self) -> Option<u16> {
        u16_at(self.0, 6).map(|word| word & 0x1fff)
    }

    /// Time to live.
    pub fn ttl(&self) -> Option<u8> {
        u8_at(self.0, 8)
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> Option<u8> {
        u8_at(self.0, 9)
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Option<Ipv4Addr> {
        at::<4>(self.0, 12).map(Into::into)
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Option<Ipv4Addr> {
        at::<4>(self.0, 16).map(Into::into)
    }
}

/// IPv6 header (RFC 8200).
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(pub(super) &'a [u8]);

/// What a walk over the extension headers finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Options {
    /// Protocol of the payload.
    pub protocol: u8,
    /// Length of all headers, bytes.
    pub length: usize,
    /// How many extension headers there are.
    pub extensions: u8,
    /// Fragment offset in units of eight bytes, when there is a fragment header.
    pub fragment_offset: Option<u16>,
    /// The "more fragments" flag, when there is a fragment header.
    pub more_fragments: Option<bool>,
}

/// Extension headers that are walked over: hop-by-hop, routing, fragment, authentication, destination.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];

const FRAGMENT: u8 = 44;

/// Length of an extension header, bytes, from its length field.
#[inline]
fn extension_length(protocol: u8, field: u8) -> usize {
    match protocol {
        FRAGMENT => 8,
        // The authentication header counts in words, less two (RFC 4302).
        51 => (usize::from(field) + 2) * 4,
        _ => (usize::from(field) + 1) * 8,
    }
}

/// More extension headers than this end the walk.
const MOST_EXTENSIONS: u8 = 8;

impl Ipv6<'_> {
    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> Option<u8> {
        u16_at(self.0, 0).map(|word| (word >> 4) as u8)
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> Option<u32> {
        u32_at(self.0, 0).map(|word| word & 0x000f_ffff)
    }

    /// Length of what follows the fixed header, bytes; 0 for a jumbogram.
    pub fn payload_length(&self) -> Option<u16> {
        u16_at(self.0, 4)
    }

    /// The next header field of the fixed header.
    pub fn next_header(&self) -> Option<u8> {
        u8_at(self.0, 6)
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> Option<u8> {
        u8_at(self.0, 7)
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Option<Ipv6Addr> {
        at::<16>(self.0, 8).map(Into::into)
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Option<Ipv6Addr> {
        at::<16>(self.0, 24).map(Into::into)
    }

    /// The protocol numbers of the extension headers, in order, as far as they are there.
    pub fn extensions(&self) -> impl Iterator<Item = u8> {
        let bytes = self.0;
        let mut next = self.next_header();
        let mut place = 40;
        std::iter::from_fn(move || {
            let protocol = next.filter(|protocol| EXTENSIONS.contains(protocol))?;
            let [following, length] = at::<2>(bytes, place)?;
            place += extension_length(protocol, length);
            next = Some(following);
            Some(protocol)
        })
        .take(usize::from(MOST_EXTENSIONS))
    }

    /// Walks the extension headers; `None` when the sample ends within them.
    #[inline]
    pub fn options(&self) -> Option<Ipv6Options> {
        let mut found = Ipv6Options {
            protocol: self.next_header()?,
            length: 40,
            extensions: 0,
            fragment_offset: None,
            more_fragments: None,
        };
        while EXTENSIONS.contains(&found.protocol) && found.extensions < MOST_EXTENSIONS {
            let [next, length] = at::<2>(self.0, found.length)?;
            if found.protocol == FRAGMENT {
                let word = u16_at(self.0, found.length + 2)?;
                found.fragment_offset = Some(word >> 3);
                found.more_fragments = Some(word & 1 == 1);
            }
            found.length += extension_length(found.protocol, length);
            found.protocol = next;
            found.extensions += 1;
            if found.fragment_offset.is_some_and(|offset| offset != 0) {
                break;
            }
        }
        Some(found)
    }
}
