//! The interface whose queues are read past the kernel's network stack (AF_XDP): what is wanted of it, what came of that,
//! and looking after it. The types are there in every build, so that a program without AF_XDP can say that it has none.

#[cfg(all(target_os = "linux", any(feature = "xdp", feature = "dpdk")))]
mod listened;
pub(crate) mod ports;
#[cfg(all(target_os = "linux", feature = "xdp"))]
mod xdp;

#[cfg(all(target_os = "linux", feature = "xdp"))]
pub(crate) use xdp::{Watch, open};
#[cfg(all(target_os = "linux", feature = "xdp"))]
pub use xdp::{attempt, memory_bytes};

#[cfg(not(all(target_os = "linux", feature = "xdp")))]
mod without;

#[cfg(not(all(target_os = "linux", feature = "xdp")))]
pub(crate) use without::{Watch, open};
#[cfg(not(all(target_os = "linux", feature = "xdp")))]
pub use without::{attempt, memory_bytes};

pub use ingest::queue::{FEWEST_FRAMES, FRAMES, MOST_FRAMES, Mode, QueueStatus};

/// How datagrams get in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingest {
    /// From the queues of the interface when one is named and it can be, else by UDP sockets alone.
    #[default]
    Auto,
    /// From the queues of the interface; the engine does not start without them.
    Xdp,
    /// By UDP sockets alone.
    Udp,
    /// From ports of DPDK; the engine does not start without them.
    Dpdk,
}

/// What is wanted of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceOptions {
    /// Its name; without one there are UDP sockets alone.
    pub name: Option<String>,
    /// The queues that are read; all of them when empty.
    pub queues: Vec<u32>,
    /// How frames get to the sockets.
    pub mode: Mode,
    /// Whether workers poll the driver instead of sleeping: a processor for each, and the least delay.
    pub busy_poll: bool,
    /// Whether the checksum of UDP is verified, which the kernel does for UDP sockets.
    pub verify_checksum: bool,
    /// Whether all queues share one piece of memory.
    pub share_umem: bool,
    /// Whether only datagrams to this machine's addresses are taken. Those that sFlow is listened for on are asked for
    /// in any case, unless they are those of all interfaces.
    pub own_addresses: bool,
    /// Frames of memory for each queue: packets that may wait for a worker. A power of two, else the next one is taken.
    pub frames: u32,
}

impl Default for InterfaceOptions {
    fn default() -> Self {
        Self {
            name: None,
            queues: Vec::new(),
            mode: Mode::Auto,
            busy_poll: false,
            verify_checksum: true,
            share_umem: false,
            own_addresses: false,
            frames: FRAMES,
        }
    }
}

/// How datagrams come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The interface that is read, or that it was tried with; none where none was named.
    pub interface: Option<String>,
    /// How frames get to the sockets; `None` where there are UDP sockets alone.
    pub mode: Option<&'static str>,
    /// The queues that are read.
    pub queues: Vec<u32>,
    /// Whether their frames are on huge pages.
    pub huge_pages: bool,
    /// Whether frames of several buffers are taken, which a large MTU needs.
    pub multi_buffer: bool,
    /// Whether the driver is polled.
    pub busy_poll: bool,
    /// What was tried and did not work, and why.
    pub why: Vec<String>,
    /// Whether the interface went away after the start: there are UDP sockets alone since.
    pub gone: bool,
}

impl Reached {
    /// The mode in a word: `zero-copy`, `copy`, `generic`, `dpdk` or `udp`.
    pub fn label(&self) -> &'static str {
        self.mode.filter(|_| !self.gone).unwrap_or("udp")
    }
}

/// What the program on the interface made of its frames, in all and by verdict.
pub type Verdicts = Vec<(&'static str, u64)>;

/// Adds what was made of other frames.
pub(crate) fn add(to: &mut Verdicts, more: &[(&'static str, u64)]) {
    for (verdict, frames) in more {
        match to.iter_mut().find(|(known, _)| known == verdict) {
            Some((_, sum)) => *sum += frames,
            None => to.push((verdict, *frames)),
        }
    }
}

/// What became of the interface since it was last looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It went away; its name.
    Gone(String),
    /// It is there, and the addresses that datagrams may come to could not be changed: why.
    Addresses(String),
}
