//! Payloads of frames: what was put in comes out, what is spoilt does not, nothing panics, and frames off a wire and
//! frames of a capture are read alike.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;

use ingest::capture::{Payloads, Reader, Statistics, Writer, link};
use ingest::payload::{Found, Unusable, find};
use proptest::prelude::*;

/// A frame by its parts.
#[derive(Clone, Debug)]
struct Parts {
    tags: Vec<u16>,
    source: IpAddr,
    destination: IpAddr,
    /// Words of options of IPv4, or extension headers of IPv6 by their length in words of eight bytes.
    more: Vec<u8>,
    port: u16,
    payload: Vec<u8>,
    padding: usize,
}

/// A frame, and where in it something stands.
struct Built {
    bytes: Vec<u8>,
    ip: usize,
    udp: usize,
}

fn sum(parts: &[&[u8]]) -> u16 {
    let sum: u64 = parts
        .concat()
        .chunks(2)
        .map(|pair| (u64::from(pair[0]) << 8) | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let sum = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    !u16::try_from(sum).unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl Parts {
    fn build(&self) -> Built {
        let mut bytes = vec![2; 12];
        for tag in &self.tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0, 7]);
        }
        let addresses = [octets(self.source), octets(self.destination)].concat();
        let length = u16::try_from(8 + self.payload.len()).unwrap();
        let mut udp =
            [&[0x99, 0x99][..], &self.port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], &self.payload]
                .concat();
        let check = sum(&[&addresses, &[0, 17], &length.to_be_bytes(), &udp]);
        udp[6..8].copy_from_slice(&(if check == 0 { 0xffff } else { check }).to_be_bytes());
        let ip = bytes.len() + 2;
        if self.source.is_ipv4() {
            bytes.extend([8, 0]);
            let words = 5 + self.more.len().min(10);
            let total = u16::try_from(words * 4 + udp.len()).unwrap().to_be_bytes();
            let first =
                [0x40 | u8::try_from(words).unwrap(), 0, total[0], total[1], 1, 2, 0x40, 0, 64, 17, 0, 0];
            let mut header = [&first[..], &addresses].concat();
            header.resize(words * 4, 1);
            let check = sum(&[&header]);
            header[10..12].copy_from_slice(&check.to_be_bytes());
            bytes.extend(header);
        } else {
            bytes.extend([0x86, 0xdd]);
            let kinds = [0, 60, 43];
            let count = self.more.len().min(3);
            let mut headers = Vec::new();
            for n in 0..count {
                let next = if n + 1 == count { 17 } else { kinds[n + 1] };
                let words = self.more[n] % 4;
                headers.extend([next, words]);
                headers.resize(headers.len() + 6 + usize::from(words) * 8, 0);
            }
            let length = u16::try_from(headers.len() + udp.len()).unwrap().to_be_bytes();
            let first = if count == 0 { 17 } else { kinds[0] };
            bytes.extend([0x60, 0, 0, 0, length[0], length[1], first, 64]);
            bytes.extend(addresses);
            bytes.extend(headers);
        }
        let at = bytes.len();
        bytes.extend(udp);
        bytes.resize(bytes.len() + self.padding, 0xee);
        Built { bytes, ip, udp: at }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let tags = prop::collection::vec(prop::sample::select(vec![0x8100, 0x88a8, 0x9100]), 0..=2);
    let addresses = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..1500);
    (tags, addresses, prop::collection::vec(any::<u8>(), 0..5), any::<u16>(), payload, 0..20_usize).prop_map(
        |(tags, (source, destination), more, port, payload, padding)| Parts {
            tags,
            source,
            destination,
            more,
            port,
            payload,
            padding,
        },
    )
}

/// What a capture of the frame alone gives.
fn captured(frame: &[u8], port: u16) -> (Option<(Vec<u8>, IpAddr)>, Statistics) {
    let mut bytes = Vec::new();
    let mut file = Writer::new(&mut bytes, link::ETHERNET).unwrap();
    file.frame(0, frame, u32::try_from(frame.len()).unwrap()).unwrap();
    let reader = Reader::new(Path::new("a frame"), Cursor::new(bytes)).unwrap();
    let mut payloads = Payloads::new(reader, port);
    let found = payloads.next_payload().map(|payload| {
        let payload = payload.unwrap();
        (payload.bytes.to_vec(), payload.source.ip().to_canonical())
    });
    (found, payloads.statistics())
}

/// The port that a payload was sent to stands before it.
fn port_of(frame: &[u8], found: &Found<'_>) -> u16 {
    let at = found.bytes.as_ptr().addr() - frame.as_ptr().addr();
    u16::from_be_bytes([frame[at - 6], frame[at - 5]])
}

/// Frames of a wire that are read are read alike from a capture.
fn agree(frame: &[u8]) {
    if let Ok(found) = find(frame, false) {
        let (from_file, statistics) = captured(frame, port_of(frame, &found));
        assert_eq!(from_file, Some((found.bytes.to_vec(), found.sender)));
        assert_eq!((statistics.payloads, statistics.cut, statistics.fragments), (1, 0, 0));
    }
    // Whoever verifies gives nothing else, and not more.
    if let Ok(verified) = find(frame, true) {
        let found = find(frame, false).unwrap();
        assert_eq!((verified.bytes, verified.sender), (found.bytes, found.sender));
    }
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out(parts in parts()) {
        let built = parts.build();
        let sender = parts.source.to_canonical();
        for verify in [false, true] {
            let expected = Found { bytes: &parts.payload, sender, partial: false };
            prop_assert_eq!(find(&built.bytes, verify), Ok(expected));
        }
        agree(&built.bytes);
        // A capture that a length or an end was spoilt in has it too, and says what is cut.
        let (from_file, _) = captured(&built.bytes, parts.port);
        prop_assert_eq!(from_file, Some((parts.payload.clone(), sender)));
    }

    /// Each bit that is turned is noticed, but in what is not covered: addresses of Ethernet, tags, and what IPv6 leaves
    /// out.
    #[test]
    fn a_damaged_byte_is_noticed(parts in parts(), at in any::<prop::sample::Index>(), turned in 1..=255_u8) {
        let Built { mut bytes, ip, udp } = parts.build();
        let end = bytes.len() - parts.padding;
        let (covered, from) = if parts.source.is_ipv4() { (end - ip, ip) } else { (end - udp, udp) };
        let place = from + at.index(covered);
        bytes[place] ^= turned;
        // A checksum of 0 is none, and lengths that shrink may hide what was turned.
        let is_none = parts.source.is_ipv4() && bytes[udp + 6..udp + 8] == [0, 0];
        let original = parts.build().bytes;
        let pseudo_only = matches!(find(&bytes, true), Ok(found) if found.partial);
        if !is_none && !pseudo_only && !(udp + 4..udp + 6).contains(&place) {
            prop_assert!(find(&bytes, true).is_err(), "{place} of {original:?}");
        }
        agree(&bytes);
    }

    /// Every frame that ends early is refused, whatever it says.
    #[test]
    fn a_frame_that_ends_early_is_refused(parts in parts(), at in any::<prop::sample::Index>()) {
        let bytes = parts.build().bytes;
        let end = bytes.len() - parts.padding;
        let cut = &bytes[..at.index(end)];
        prop_assert_eq!(find(cut, false), Err(Unusable::Malformed));
        agree(cut);
    }

    /// The rest that a sender on this machine leaves to a card.
    #[test]
    fn a_checksum_of_the_addresses_only_is_told(parts in parts()) {
        let Built { mut bytes, udp, .. } = parts.build();
        let addresses = [octets(parts.source), octets(parts.destination)].concat();
        let length = u16::try_from(8 + parts.payload.len()).unwrap().to_be_bytes();
        let partial = !sum(&[&addresses, &[0, 17], &length]);
        bytes[udp + 6..udp + 8].copy_from_slice(&partial.to_be_bytes());
        prop_assert!(find(&bytes, true).is_ok_and(|found| found.bytes == parts.payload));
        prop_assert!(find(&bytes, false).is_ok_and(|found| !found.partial));
    }

    #[test]
    fn edited_frames_are_read_alike_or_not_at_all(
        parts in parts(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = parts.build().bytes;
        for (at, byte) in edits {
            // Most of it is headers.
            let most = bytes.len().min(100);
            bytes[at.index(most)] = byte;
        }
        agree(&bytes);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        agree(&bytes);
    }
}

#[test]
fn what_a_wire_never_carries_is_refused() {
    let parts = Parts {
        tags: vec![0x8100],
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
        more: Vec::new(),
        port: 6343,
        payload: vec![7; 50],
        padding: 0,
    };
    let Built { bytes, ip, udp } = parts.build();
    let spoilt = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    for (what, frame) in [
        ("IP that ends with the frame", spoilt(ip + 2, &[0, 0])),
        ("UDP that ends with the packet", spoilt(udp + 4, &[0, 0])),
        ("IP longer than the frame", spoilt(ip + 2, &[0, 200])),
        ("UDP longer than IP", spoilt(udp + 4, &[0, 200])),
        ("UDP shorter than its header", spoilt(udp + 4, &[0, 7])),
        ("a first fragment", spoilt(ip + 6, &[0x20, 0])),
        ("a last fragment", spoilt(ip + 6, &[0, 9])),
        ("TCP", spoilt(ip + 9, &[6])),
        ("IPv5", spoilt(ip, &[0x55])),
        ("ARP", spoilt(ip - 2, &[8, 6])),
        ("a header of IP shorter than any", spoilt(ip, &[0x41])),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(find(&frame, false), Err(Unusable::Malformed), "{what}");
        agree(&frame);
    }
}
