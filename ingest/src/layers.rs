//! The layers of a frame down to UDP: what capture files and what the queues of an interface give have them alike.
//!
//! A frame that a capture has cut short is read as far as it goes, and what is cut is told; what comes off a wire
//! must be whole ([`crate::payload`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// UDP's number among the protocols of IP.
pub(crate) const UDP: u8 = 17;

/// Bytes of a UDP header.
pub(crate) const UDP_HEADER: usize = 8;

/// An IP packet within a frame.
pub(crate) struct IpPacket<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) payload: &'a [u8],
    /// The header that the header's own checksum is over, for IPv4.
    pub(crate) checked: Option<&'a [u8]>,
    /// Identification, offset in bytes and "more fragments", for a fragment.
    pub(crate) fragment: Option<(u32, usize, bool)>,
    /// Whether the packet does not say where it ends, as one that a card is to cut up.
    pub(crate) open_ended: bool,
    /// Whether the frame ends before the packet does.
    pub(crate) cut: bool,
}

/// A UDP packet's payload.
pub(crate) struct UdpPayload<'a> {
    pub(crate) bytes: &'a [u8],
    /// As [`IpPacket::open_ended`].
    pub(crate) open_ended: bool,
    /// Whether the frame ends before it does.
    pub(crate) cut: bool,
}

/// The number of 16 bits that begins at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

/// What follows the type field at `at`, through VLAN tags, when it is IP.
pub(crate) fn after_type(frame: &[u8], mut at: usize) -> Option<&[u8]> {
    loop {
        match u16_at(frame, at)? {
            0x0800 | 0x86dd => return frame.get(at + 2..),
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => at += 4,
            _ => return None,
        }
    }
}

/// The IP packet that begins here.
pub(crate) fn read_ip(bytes: &[u8]) -> Option<IpPacket<'_>> {
    match bytes.first()? >> 4 {
        4 => read_ipv4(bytes),
        6 => read_ipv6(bytes),
        _ => None,
    }
}

fn read_ipv4(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let header = bytes.first_chunk::<20>()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let stated = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // Offloading senders leave 0: then the packet ends with the frame.
    let length = if stated == 0 { bytes.len() } else { stated };
    let payload = bytes.get(header_length.max(20)..length.min(bytes.len()))?;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    Some(IpPacket {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        protocol: header[9],
        payload,
        checked: bytes.get(..header_length.max(20)),
        fragment: (more || offset > 0).then_some((id, offset, more)),
        open_ended: stated == 0,
        cut: length > bytes.len(),
    })
}

fn read_ipv6(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let header = bytes.first_chunk::<40>()?;
    let stated = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let length = if stated == 0 { bytes.len() } else { 40 + stated };
    let address = |at: usize| -> Option<Ipv6Addr> {
        bytes.get(at..)?.first_chunk::<16>().map(|address| (*address).into())
    };
    let mut protocol = header[6];
    let mut at = 40;
    let mut fragment = None;
    // Every step moves on by eight bytes at least.
    loop {
        let size = match protocol {
            0 | 43 | 60 => (usize::from(*bytes.get(at + 1)?) + 1) * 8,
            51 => (usize::from(*bytes.get(at + 1)?) + 2) * 4,
            44 => {
                let word = u16_at(bytes, at + 2)?;
                let id = bytes.get(at + 4..)?.first_chunk::<4>().map(|id| u32::from_be_bytes(*id))?;
                fragment = Some((id, usize::from(word & 0xfff8), word & 1 != 0));
                8
            }
            _ => break,
        };
        protocol = *bytes.get(at)?;
        at += size;
        if fragment.is_some_and(|(_, offset, _)| offset > 0) {
            break;
        }
    }
    Some(IpPacket {
        source: address(8)?.into(),
        destination: address(24)?.into(),
        protocol,
        payload: bytes.get(at..length.min(bytes.len()))?,
        checked: None,
        open_ended: stated == 0,
        fragment: fragment.filter(|(_, offset, more)| *more || *offset > 0),
        cut: length > bytes.len(),
    })
}

/// Ports and payload of the UDP packet that begins here.
pub(crate) fn read_udp(bytes: &[u8]) -> Option<((u16, u16), UdpPayload<'_>)> {
    let header = bytes.first_chunk::<8>()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let stated = usize::from(word(4));
    let length = if stated == 0 { bytes.len() } else { stated };
    let payload = bytes.get(8..length.min(bytes.len()))?;
    let payload = UdpPayload { bytes: payload, open_ended: stated == 0, cut: length > bytes.len() };
    Some(((word(0), word(2)), payload))
}
