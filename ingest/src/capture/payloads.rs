//! The UDP payloads to a port in a capture file.

use std::net::SocketAddr;
use std::ops::Range;

use super::fragments::{Fragments, Key};
use super::legacy::Located;
use super::{CaptureError, Reader, link};
use crate::layers::{UDP, UDP_HEADER, after_type, read_ip, read_udp, u16_at};

/// A UDP payload.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// When its frame was captured, microseconds since 1970.
    pub time_us: Option<u64>,
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What was captured of it.
    pub bytes: &'a [u8],
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames read.
    pub frames: u64,
    /// Payloads given.
    pub payloads: u64,
    /// Frames of a link type that is not known.
    pub unknown_link: u64,
    /// Frames that hold no UDP.
    pub not_udp: u64,
    /// UDP packets to other ports.
    pub other_port: u64,
    /// Frames cut short by the capture, so that their payload is not whole.
    pub cut: u64,
    /// IP fragments.
    pub fragments: u64,
    /// Packets put together from fragments.
    pub reassembled: u64,
    /// Packets of which not all fragments were seen.
    pub incomplete: u64,
}

/// Finds UDP payloads to a port.
pub struct Payloads {
    reader: Reader,
    port: u16,
    fragments: Fragments,
    statistics: Statistics,
    /// Payloads of the current batch that were put together from fragments.
    whole: Vec<Vec<u8>>,
    found: Vec<Found>,
    /// An error that came behind the payloads of a batch.
    failed: Option<CaptureError>,
}

/// A payload of the current batch.
struct Found {
    time_us: Option<u64>,
    source: SocketAddr,
    destination: SocketAddr,
    place: Place,
}

/// Where a payload is.
enum Place {
    /// In the bytes of the reader's batch.
    Frame(Range<usize>),
    /// In one that was put together.
    Whole(usize),
}

impl Payloads {
    /// Payloads of `reader`'s frames to `port`.
    pub fn new(reader: Reader, port: u16) -> Self {
        Self {
            reader,
            port,
            fragments: Fragments::default(),
            statistics: Statistics::default(),
            whole: Vec::new(),
            found: Vec::new(),
            failed: None,
        }
    }

    /// What became of the frames so far.
    pub fn statistics(&self) -> Statistics {
        Statistics { incomplete: self.fragments.given_up + self.fragments.waiting(), ..self.statistics }
    }

    /// The next payload; `None` at the end.
    pub fn next_payload(&mut self) -> Option<Result<Payload<'_>, CaptureError>> {
        match self.next_batch(1)? {
            Ok(mut batch) => batch.next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    /// The next few payloads, one at least and `most` at most, where they lie; `None` at the end. Payloads before an
    /// error are given first.
    pub fn next_batch(
        &mut self,
        most: usize,
    ) -> Option<Result<impl ExactSizeIterator<Item = Payload<'_>> + Clone, CaptureError>> {
        self.found.clear();
        self.whole.clear();
        while self.found.is_empty() {
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            self.reader.begin_batch();
            let mut is_empty = true;
            while self.found.len() < most.max(1) {
                match self.reader.next_of_batch() {
                    None => break,
                    Some(Ok(frame)) => {
                        is_empty = false;
                        self.look(frame);
                    }
                    Some(Err(error)) => {
                        is_empty = false;
                        self.failed = Some(error);
                        break;
                    }
                }
            }
            if is_empty {
                return None;
            }
        }
        let (bytes, whole) = (self.reader.bytes(), self.whole.as_slice());
        Some(Ok(self.found.iter().map(move |found| Payload {
            time_us: found.time_us,
            source: found.source,
            destination: found.destination,
            bytes: match &found.place {
                Place::Frame(at) => bytes.get(at.clone()),
                Place::Whole(place) => whole.get(*place).and_then(|whole| whole.get(UDP_HEADER..)),
            }
            .unwrap_or_default(),
        })))
    }

    /// Finds the payload of a frame, where it has one that is wanted. Nothing is moved right after it was written, which a
    /// processor would wait for.
    fn look(&mut self, frame: Located) {
        let Located { time_us, link, at, cut } = frame;
        let bytes = self.reader.bytes().get(at.clone()).unwrap_or_default();
        let count = &mut self.statistics;
        count.frames += 1;
        let Some(ip) = network_layer(link, bytes) else {
            count.unknown_link += 1;
            return;
        };
        let read = ip.and_then(read_ip);
        if ip.is_some() && read.is_none() && cut {
            count.cut += 1;
            return;
        }
        let Some(packet) = read.as_ref().filter(|packet| packet.protocol == UDP) else {
            count.not_udp += 1;
            return;
        };
        let whole = match packet.fragment {
            None => None,
            Some((id, offset, more)) => {
                count.fragments += 1;
                let key = Key {
                    source: packet.source,
                    destination: packet.destination,
                    id,
                    protocol: packet.protocol,
                };
                let added = self.fragments.add(key, offset, more, packet.payload, time_us.unwrap_or(0));
                let Some(whole) = added else { return };
                count.reassembled += 1;
                Some(whole)
            }
        };
        let Some((ports, payload)) = read_udp(whole.as_deref().unwrap_or(packet.payload)) else {
            let why = if packet.cut { &mut count.cut } else { &mut count.not_udp };
            *why += 1;
            return;
        };
        if ports.1 != self.port {
            count.other_port += 1;
            return;
        }
        count.cut += u64::from(packet.cut || payload.cut);
        count.payloads += 1;
        let length = payload.bytes.len();
        let source = SocketAddr::new(packet.source, ports.0);
        let destination = SocketAddr::new(packet.destination, ports.1);
        let place = match whole {
            None => {
                let begins = at.start + (payload.bytes.as_ptr().addr() - bytes.as_ptr().addr());
                Place::Frame(begins..begins + length)
            }
            Some(mut whole) => {
                whole.truncate(UDP_HEADER + length);
                self.whole.push(whole);
                Place::Whole(self.whole.len() - 1)
            }
        };
        self.found.push(Found { time_us, source, destination, place });
    }
}

/// The IP packet of a frame: `None` for an unknown link type, `Some(None)` when the frame holds something else.
fn network_layer(link_type: i32, frame: &[u8]) -> Option<Option<&[u8]>> {
    Some(match link_type {
        link::ETHERNET => after_type(frame, 12),
        link::LINUX_SLL => after_type(frame, 14),
        link::LINUX_SLL2 => match u16_at(frame, 0) {
            Some(0x8100 | 0x88a8 | 0x9100) => frame.get(22..).and_then(|rest| after_type(rest, 0)),
            Some(0x0800 | 0x86dd) => frame.get(20..),
            _ => None,
        },
        link::RAW | link::RAW_BSD | link::RAW_OPENBSD | link::IPV4 | link::IPV6 => Some(frame),
        // The family's number differs between systems; the IP version is looked at anyway.
        link::NULL | link::LOOP => frame.get(4..),
        _ => return None,
    })
}
