//! A socket on one queue of an interface: datagrams out of the frames that arrive, where they lie.

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use xsk_rs::socket::XdpStatistics;

use super::gather::Gather;
use super::near::bring;
use super::program::Program;
use super::umem::{Frame, Memory, Pair};
use crate::batch::BATCH;
use crate::payload::{Unusable, find};
use crate::queue::QueueStatus;

/// Frames that are brought near before their turn.
const AHEAD: usize = 2;

/// How a queue's socket is worked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether checksums are verified.
    pub(super) verify_checksum: bool,
    /// Whether packets may span several frames.
    pub(super) multi_buffer: bool,
    /// Whether the driver is asked for packets instead of waiting for its interrupts.
    pub(super) busy_poll: bool,
}

/// A socket on one queue.
#[derive(Debug)]
pub(crate) struct QueueSocket {
    manner: Manner,
    pair: Pair,
    memory: Memory,
    /// Frames that are to go to the kernel.
    free: Vec<Frame>,
    /// Frames that have arrived and were not looked at.
    arrived: Vec<Frame>,
    /// What was received last.
    lent: Vec<Lent>,
    gather: Gather,
    /// What was counted, and the levels as they were when somebody asked.
    counts: QueueStatus,
    /// Steers datagrams to the sockets as long as there is one.
    _program: Arc<Program>,
}

/// A datagram that was received.
#[derive(Debug)]
struct Lent {
    place: Place,
    payload: Range<usize>,
    sender: IpAddr,
}

/// Where a packet lies.
#[derive(Debug)]
enum Place {
    Frame(Frame),
    /// In the buffer of this number, because it spans several frames.
    Gathered(usize),
}

impl QueueSocket {
    /// With these frames of the memory, all of which go to the kernel at once.
    pub(super) fn new(
        queue: u32,
        pair: Pair,
        memory: Memory,
        frames: Vec<Frame>,
        manner: Manner,
        program: Arc<Program>,
    ) -> io::Result<Self> {
        let counts = QueueStatus {
            queue,
            frames: u32::try_from(frames.len()).unwrap_or(u32::MAX),
            ..QueueStatus::default()
        };
        let mut socket = Self {
            manner,
            pair,
            memory,
            free: frames,
            arrived: Vec::with_capacity(BATCH),
            lent: Vec::with_capacity(BATCH),
            gather: if manner.multi_buffer { Gather::new() } else { Gather::none() },
            counts,
            _program: program,
        };
        socket.pair.give(&mut socket.free);
        socket.pair.wake()?;
        Ok(socket)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.pair.descriptor()
    }

    /// The memory of its frames, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.counts.frames as usize * self.memory.frame_bytes() as usize
    }

    /// Takes what has arrived, [`BATCH`] datagrams at most. Those that were taken before go back to the kernel.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        self.give_back();
        self.pair.wake()?;
        if self.manner.busy_poll {
            self.pair.ask()?;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        while self.lent.len() < BATCH && self.pair.take(BATCH - self.lent.len(), &mut arrived) {
            self.look_at(&mut arrived);
        }
        self.arrived = arrived;
        Ok(())
    }

    /// Datagrams that were received last.
    pub(crate) fn len(&self) -> usize {
        self.lent.len()
    }

    /// The `n`th of them and the address that it came from.
    pub(crate) fn get(&self, n: usize) -> Option<(&[u8], IpAddr)> {
        let lent = self.lent.get(n)?;
        let packet = match &lent.place {
            Place::Frame(frame) => self.memory.bytes(frame),
            Place::Gathered(buffer) => self.gather.packet(*buffer),
        };
        Some((packet.get(lent.payload.clone())?, lent.sender))
    }

    /// Datagrams that the kernel has steered here and that were not given: for want of room, or because they could not
    /// be used.
    pub(crate) fn drops(&mut self) -> u64 {
        self.read_statistics();
        self.counts.drops()
    }

    /// What is in the rings, and what was counted.
    pub(crate) fn rings(&mut self) -> QueueStatus {
        self.read_statistics();
        let levels = self.pair.levels();
        let lent = self.lent.iter().filter(|lent| matches!(lent.place, Place::Frame(_))).count();
        self.counts.bound = self.pair.ask().unwrap_or(true);
        self.counts.fill_level = levels.fill;
        self.counts.receive_level = levels.arrived;
        self.counts.frames_lent = u32::try_from(lent).unwrap_or(u32::MAX);
        self.counts.frames_free = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        self.counts
    }

    /// Gives the frames of the last batch to the kernel.
    fn give_back(&mut self) {
        for lent in self.lent.drain(..) {
            if let Place::Frame(frame) = lent.place {
                self.free.push(frame);
            }
        }
        self.gather.begin();
        self.pair.give(&mut self.free);
    }

    /// Finds the datagrams in frames, in their order. A checksum would wait for each line that is in no cache yet, so
    /// frames are asked for before their turn: of 1,200 bytes that saves 130 of 240 ns.
    fn look_at(&mut self, arrived: &mut Vec<Frame>) {
        let mut frames = arrived.drain(..);
        let verified = self.manner.verify_checksum;
        if verified {
            frames.as_slice().iter().take(AHEAD).for_each(|frame| bring(self.memory.bytes(frame)));
        }
        while let Some(frame) = frames.next() {
            if let Some(ahead) = frames.as_slice().get(AHEAD - 1).filter(|_| verified) {
                bring(self.memory.bytes(ahead));
            }
            self.look(frame);
        }
    }

    /// Finds the datagram in a frame, or in the packet that ends with it.
    fn look(&mut self, frame: Frame) {
        let bytes = self.memory.bytes(&frame);
        let found = if frame.goes_on() || self.gather.is_open() {
            let ended = self.gather.add(bytes, !frame.goes_on());
            self.free.push(frame);
            let Some(buffer) = ended else { return };
            self.counts.gathered += 1;
            let packet = self.gather.packet(buffer);
            located(packet, self.manner).map(|at| (Place::Gathered(buffer), at))
        } else {
            match located(bytes, self.manner) {
                Ok(at) => Ok((Place::Frame(frame), at)),
                Err(why) => {
                    self.free.push(frame);
                    Err(why)
                }
            }
        };
        match found {
            Ok((place, (payload, sender, partial))) => {
                self.counts.checksum_partial += u64::from(partial);
                self.lent.push(Lent { place, payload, sender });
            }
            Err(Unusable::Malformed) => self.counts.malformed += 1,
            Err(Unusable::Checksum) => self.counts.checksum_wrong += 1,
        }
    }

    fn read_statistics(&mut self) {
        // Where the kernel does not say, what it said last stands.
        if let Ok(statistics) = self.pair.statistics() {
            see(&mut self.counts, &statistics);
        }
    }
}

/// Where the payload is in a packet, who sent it, and whether its checksum was left to a card.
fn located(packet: &[u8], manner: Manner) -> Result<(Range<usize>, IpAddr, bool), Unusable> {
    let found = find(packet, manner.verify_checksum)?;
    let begin = found.bytes.as_ptr().addr() - packet.as_ptr().addr();
    Ok((begin..begin + found.bytes.len(), found.sender, found.partial))
}

/// Takes over what the kernel has counted.
fn see(counts: &mut QueueStatus, statistics: &XdpStatistics) {
    counts.rx_dropped = statistics.rx_dropped();
    counts.rx_ring_full = statistics.rx_ring_full();
    counts.rx_invalid_descs = statistics.rx_invalid_descs();
    counts.rx_fill_ring_empty_descs = statistics.rx_fill_ring_empty_descs();
}
