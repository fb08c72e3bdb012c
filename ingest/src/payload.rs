//! The UDP payload of a frame that came off a wire, where no kernel has looked at it before: every length is checked,
//! and the checksums if wanted.

use std::net::IpAddr;

use crate::checksum::{self, CORRECT, fold, pseudo_header};
use crate::layers::{IpPacket, UDP, after_type, read_ip, read_udp, u16_at};

/// Where an Ethernet frame says what it holds.
const ETHERTYPE: usize = 12;

/// Where a UDP header has its length, and its checksum.
const LENGTH: usize = 4;
const CHECKSUM: usize = 6;

/// The shortest IPv4 header, words of 32 bits.
const SHORTEST: u8 = 5;

/// A payload, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// Who sent it, an IPv4 address as such.
    pub sender: IpAddr,
    /// Whether its checksum covers the addresses only: the sender is on this machine and left the rest to a card that
    /// was never reached (the peer of a veth, a guest). Such a packet has crossed no wire that could have damaged it.
    pub partial: bool,
}

/// Why a frame has none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not UDP over IP, a fragment, or a length in it is wrong.
    Malformed,
    /// A checksum of it is wrong.
    Checksum,
}

/// Finds the UDP payload of an Ethernet frame, through VLAN tags and IPv6's extension headers.
///
/// # Errors
/// There is none that can be used.
pub fn find(frame: &[u8], verify: bool) -> Result<Found<'_>, Unusable> {
    let located = locate(frame)?;
    let partial = verify && located.verify()?;
    Ok(Found { bytes: located.bytes, sender: located.sender(), partial })
}

/// A payload and the packet that it is of, before any checksum was looked at.
pub struct Located<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// To which port.
    pub port: u16,
    packet: IpPacket<'a>,
}

/// As [`find`], where one has to know first to whom it is.
///
/// # Errors
/// There is none that can be used.
pub fn locate(frame: &[u8]) -> Result<Located<'_>, Unusable> {
    let packet = after_type(frame, ETHERTYPE).and_then(read_ip).ok_or(Unusable::Malformed)?;
    if packet.protocol != UDP || packet.fragment.is_some() || packet.open_ended || packet.cut {
        return Err(Unusable::Malformed);
    }
    // A capture's reader takes a header that says it is shorter than any for the shortest.
    if packet.checked.and_then(<[u8]>::first).is_some_and(|first| first & 0x0f < SHORTEST) {
        return Err(Unusable::Malformed);
    }
    let ((_, port), payload) = read_udp(packet.payload).ok_or(Unusable::Malformed)?;
    if payload.open_ended || payload.cut {
        return Err(Unusable::Malformed);
    }
    Ok(Located { bytes: payload.bytes, port, packet })
}

impl Located<'_> {
    /// Who sent it, an IPv4 address as such.
    pub fn sender(&self) -> IpAddr {
        self.packet.source.to_canonical()
    }

    /// To whom, likewise.
    pub fn destination(&self) -> IpAddr {
        self.packet.destination.to_canonical()
    }

    /// Looks at its checksums; whether UDP's is [`Found::partial`].
    ///
    /// # Errors
    /// One is wrong.
    pub fn verify(&self) -> Result<bool, Unusable> {
        Ok(check(&self.packet)? == Checked::Partial)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    Whole,
    Partial,
}

/// Checks what the kernel would: the IPv4 header, and UDP with its payload. A checksum of 0 means that there is none,
/// which only IPv4 allows.
fn check(packet: &IpPacket<'_>) -> Result<Checked, Unusable> {
    if packet.checked.is_some_and(|header| fold(checksum::sum(header)) != CORRECT) {
        return Err(Unusable::Checksum);
    }
    let length = u16_at(packet.payload, LENGTH).unwrap_or_default();
    let udp = packet.payload.get(..usize::from(length)).unwrap_or_default();
    let stated = udp.get(CHECKSUM..).and_then(|rest| rest.first_chunk::<2>()).copied().unwrap_or_default();
    if stated == [0, 0] {
        return if packet.source.is_ipv4() { Ok(Checked::Whole) } else { Err(Unusable::Checksum) };
    }
    let pseudo = pseudo_header(packet.source, packet.destination, UDP, length);
    if fold(pseudo + checksum::sum(udp)) == CORRECT {
        return Ok(Checked::Whole);
    }
    if fold(pseudo) == u16::from_ne_bytes(stated) { Ok(Checked::Partial) } else { Err(Unusable::Checksum) }
}
