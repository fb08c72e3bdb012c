//! What is asked for when queues are opened, what was reached, and why nothing was.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::program::{Program, Steering};
use crate::queue::{FRAMES, Mode};
use crate::receiver::{MOST_QUEUES, Receiver};

/// What is to be opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface, by name.
    pub interface: String,
    /// Its queues; all of them when empty.
    pub queues: Vec<u32>,
    /// Which datagrams are ours.
    pub steering: Steering,
    /// What to try.
    pub order: Mode,
    /// Whether a driver is asked for packets instead of waiting for its interrupts.
    pub busy_poll: bool,
    /// Whether checksums are verified, as the kernel would.
    pub verify_checksum: bool,
    /// Whether all queues have their frames in one memory.
    pub share_umem: bool,
    /// Frames of each queue; rounded up to a power of two, and between [`crate::queue::FEWEST_FRAMES`] and [`crate::queue::MOST_FRAMES`].
    pub frames_per_queue: u32,
}

impl Options {
    /// All queues of an interface, the best mode, checksums verified.
    pub fn new(interface: &str, steering: Steering) -> Self {
        Self {
            interface: interface.to_owned(),
            queues: Vec::new(),
            steering,
            order: Mode::Auto,
            busy_poll: false,
            verify_checksum: true,
            share_umem: false,
            frames_per_queue: FRAMES,
        }
    }
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// One for each queue, in the order of [`Reached::queues`].
    pub receivers: Vec<Receiver>,
    /// How.
    pub reached: Reached,
    /// What steers datagrams to them; it does so as long as one of the receivers lives.
    pub program: Arc<Program>,
}

/// What was reached, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The interface.
    pub interface: String,
    /// How packets come from it.
    pub mode: Mode,
    /// The queues that are bound.
    pub queues: Vec<u32>,
    /// Whether the frames are on huge pages.
    pub huge_pages: bool,
    /// Whether packets may span several frames, as the interface's MTU asks for.
    pub multi_buffer: bool,
    /// Whether the driver is asked for packets.
    pub busy_poll: bool,
    /// What was refused on the way, and why.
    pub why: Vec<String>,
}

/// Why nothing was opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The interface is not there, or does not answer.
    #[error("interface {interface}: {source}; `ip link` lists those there are")]
    Interface {
        /// Which.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A queue is not there.
    #[error(
        "interface {interface} has no queue {queue}: it has {queues}, numbered from 0 (`ethtool -l {interface}`; \
         `ethtool -L {interface} combined N` changes how many)"
    )]
    NoQueue {
        /// Which interface.
        interface: String,
        /// Which queue.
        queue: u32,
        /// How many there are.
        queues: u32,
    },
    /// More queues than can be served.
    #[error(
        "interface {interface}: {queues} queues, of which {MOST_QUEUES} at most can be served; choose them, or \
         `ethtool -L {interface} combined N`"
    )]
    TooMany {
        /// Which interface.
        interface: String,
        /// How many.
        queues: usize,
    },
    /// Everything that was tried is refused.
    #[error("AF_XDP on {interface}: {}", refused.join("; "))]
    Refused {
        /// Which interface.
        interface: String,
        /// What was tried, and why it is refused.
        refused: Vec<String>,
    },
}
