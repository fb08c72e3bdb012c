//! What is in the rings of a queue's socket, and what was counted of it.

use xsk_rs::socket::XdpStatistics;

/// A queue's rings as they stand, and counts since the socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// The queue.
    pub queue: u32,
    /// Whether the interface is still there. When it is not, nothing more comes, also when it appears again.
    pub bound: bool,
    /// Frames in all.
    pub frames: u32,
    /// Frames in the fill ring, which wait for packets.
    pub fill_level: u32,
    /// Frames in the receive ring, whose packets wait for us.
    pub receive_level: u32,
    /// Frames whose datagrams were given and may still be read.
    pub frames_lent: u32,
    /// Frames that are neither lent nor in a ring, because the fill ring is full.
    pub frames_free: u32,
    /// Packets dropped because no frame was free, or because they are longer than a frame where each has one only
    /// (the kernel's `rx_dropped`).
    pub rx_dropped: u64,
    /// Packets dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Descriptions in the fill ring that the kernel refused; 0, unless something is broken.
    pub rx_invalid_descs: u64,
    /// How often the kernel found the fill ring empty. These are no packets: one that was dropped for it is in
    /// `rx_dropped`, or in the driver's own counters where nothing is copied.
    pub rx_fill_ring_empty_descs: u64,
    /// Datagrams dropped because a checksum was wrong.
    pub checksum_wrong: u64,
    /// Datagrams given though their checksum covers the addresses only: their sender is on this machine and left the
    /// rest to a card that was never reached.
    pub checksum_partial: u64,
    /// Packets dropped because they are not whole datagrams: a length in them is wrong.
    pub malformed: u64,
    /// Packets that spanned several frames and were put together.
    pub gathered: u64,
}

impl Rings {
    /// Takes over what the kernel has counted.
    pub(super) fn see(&mut self, statistics: &XdpStatistics) {
        self.rx_dropped = statistics.rx_dropped();
        self.rx_ring_full = statistics.rx_ring_full();
        self.rx_invalid_descs = statistics.rx_invalid_descs();
        self.rx_fill_ring_empty_descs = statistics.rx_fill_ring_empty_descs();
    }

    /// Packets that were steered to the socket and not given as datagrams.
    pub fn drops(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full + self.checksum_wrong + self.malformed
    }

    /// Frames that neither we nor the rings have: those that the driver holds. None where packets are copied and none
    /// is just being copied; `None` is a frame too many, which cannot be.
    pub fn frames_in_driver(&self) -> Option<u32> {
        let known = self.fill_level + self.receive_level + self.frames_lent + self.frames_free;
        self.frames.checked_sub(known)
    }
}
