//! Queues of an interface that are read past the kernel's network stack: how that can be done, and what is counted of one.
//! The words are there in every build, so that a program without AF_XDP can say that it has none.

use std::fmt;

/// Frames of a queue, of which the number is a power of two.
pub const FEWEST_FRAMES: u32 = 256;
/// The most that it may be.
pub const MOST_FRAMES: u32 = 1 << 18;
/// What it is unless something else is asked for: 45 ms of 179,000 datagrams a second.
pub const FRAMES: u32 = 8192;

/// How packets come from the driver to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best that can be had. Only asked for, never reached.
    #[default]
    Auto,
    /// The card writes into our frames.
    ZeroCopy,
    /// The driver runs the XDP program, and a packet is copied once.
    Copy,
    /// The kernel runs the program after the driver has made a packet of the stack of it. Every interface has it; it
    /// is the slowest.
    Generic,
}

impl Mode {
    /// All of them, the better ones first.
    pub const ALL: [Self; 4] = [Self::Auto, Self::ZeroCopy, Self::Copy, Self::Generic];

    /// The one of this name.
    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.label() == label)
    }

    /// Its name in output and options.
    pub fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A queue's rings as they stand, and counts since the socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
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

impl QueueStatus {
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
