//! A queue of a port: its frames, and the datagrams in them that are ours. What is not ours is counted by its reason.

use std::net::IpAddr;
use std::sync::Arc;

use super::Wanted;
use super::port::{Burst, PortCounts};
use crate::batch::BATCH;
use crate::layers::{UDP, after_type, read_ip};
use crate::payload;

/// A queue, what it has given last, and what was counted.
#[derive(Debug)]
pub(crate) struct PortQueue {
    number: u32,
    burst: Burst,
    wanted: Arc<Wanted>,
    verify_checksum: bool,
    datagrams: [Datagram; BATCH],
    found: usize,
    frames: u64,
    given: u64,
    refused: Refused,
}

/// Where a datagram lies.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    frame: usize,
    begins: usize,
    length: usize,
    sender: IpAddr,
}

/// What a queue has counted since it was opened. Each frame that arrived is received, missed or failed; each that was
/// received is given or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Which of all queues it is, in the order in which they were opened.
    pub queue: u32,
    /// Frames that its ring holds.
    pub descriptors: u16,
    /// Frames received.
    pub frames: u64,
    /// Datagrams given: those that are ours.
    pub given: u64,
    /// Frames for which the port's rings had no room; told by its first queue for all.
    pub missed: u64,
    /// Frames that came damaged, likewise.
    pub failed: u64,
    /// How often no buffer was to be had, likewise; the frames wait or are missed.
    pub no_buffer: u64,
    /// Frames that are not ours.
    pub refused: Refused,
}

/// Frames that are not ours, by reason. No kernel gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// No UDP.
    pub not_udp: u64,
    /// Fragments of IP packets: they are not put together here.
    pub fragment: u64,
    /// UDP whose lengths contradict each other, or that is longer than its frame.
    pub malformed: u64,
    /// UDP to another port.
    pub other_port: u64,
    /// To one of our ports, at an address that is not ours.
    pub other_address: u64,
    /// Ours, with a wrong checksum.
    pub checksum: u64,
}

impl PortQueue {
    pub(super) fn new(number: u32, burst: Burst, wanted: Arc<Wanted>, verify_checksum: bool) -> Self {
        let nowhere = Datagram { frame: 0, begins: 0, length: 0, sender: IpAddr::from([0; 4]) };
        Self {
            number,
            burst,
            wanted,
            verify_checksum,
            datagrams: [nowhere; BATCH],
            found: 0,
            frames: 0,
            given: 0,
            refused: Refused::default(),
        }
    }

    /// Takes a burst, and finds the datagrams in it.
    pub(crate) fn receive(&mut self) {
        self.found = 0;
        self.burst.take();
        self.frames += self.burst.len() as u64;
        for (n, frame) in (0..self.burst.len()).filter_map(|n| Some((n, self.burst.frame(n)?))) {
            match self.wanted.look(frame, self.verify_checksum) {
                Ok((payload, sender)) => {
                    let begins = payload.as_ptr().addr() - frame.as_ptr().addr();
                    if let Some(place) = self.datagrams.get_mut(self.found) {
                        *place = Datagram { frame: n, begins, length: payload.len(), sender };
                        self.found += 1;
                    }
                }
                Err(why) => *why(&mut self.refused) += 1,
            }
        }
        self.given += self.found as u64;
    }

    /// Datagrams that were found in the last burst.
    pub(crate) fn len(&self) -> usize {
        self.found
    }

    /// The `n`th datagram and who sent it.
    pub(crate) fn get(&self, n: usize) -> Option<(&[u8], IpAddr)> {
        let Datagram { frame, begins, length, sender } = *self.datagrams.get(..self.found)?.get(n)?;
        Some((self.burst.frame(frame)?.get(begins..begins + length)?, sender))
    }

    /// Datagrams that were lost or of a wrong checksum.
    pub(crate) fn drops(&mut self) -> u64 {
        let counts = self.counts();
        counts.missed + counts.failed + counts.refused.checksum
    }

    pub(crate) fn counts(&mut self) -> Counts {
        let PortCounts { missed, failed, no_buffer } = self.burst.counts();
        let Self { number, frames, given, refused, .. } = *self;
        let descriptors = self.burst.descriptors();
        Counts { queue: number, descriptors, frames, given, missed, failed, no_buffer, refused }
    }

    /// Memory of its buffers, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.burst.memory_bytes()
    }
}

/// Which count of [`Refused`] a frame goes to.
type Why = fn(&mut Refused) -> &mut u64;

impl Wanted {
    /// The datagram in a frame, when it is ours, and who sent it.
    fn look<'a>(&self, frame: &'a [u8], verify_checksum: bool) -> Result<(&'a [u8], IpAddr), Why> {
        let located = payload::locate(frame).map_err(|_| unusable(frame))?;
        if !self.ports.contains(&located.port) {
            return Err(|refused| &mut refused.other_port);
        }
        if !self.addresses.is_empty() && !self.addresses.contains(&located.destination()) {
            return Err(|refused| &mut refused.other_address);
        }
        if verify_checksum && located.verify().is_err() {
            return Err(|refused| &mut refused.checksum);
        }
        Ok((located.bytes, located.sender()))
    }
}

/// Why a frame has no payload of UDP. It is looked at once more: it was not ours, and such frames are rare on a port
/// that was given to the collector.
#[cold]
fn unusable(frame: &[u8]) -> Why {
    const ETHERTYPE: usize = 12;
    match after_type(frame, ETHERTYPE).and_then(read_ip) {
        Some(packet) if packet.fragment.is_some() => |refused| &mut refused.fragment,
        Some(packet) if packet.protocol == UDP => |refused| &mut refused.malformed,
        _ => |refused| &mut refused.not_udp,
    }
}
