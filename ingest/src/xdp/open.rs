//! Opens the queues of an interface: tries one mode after the other, and tells what was refused on the way.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xsk_rs::config::BindFlags;

use super::options::{OpenError, Opened, Options, Reached};
use super::program::{Attach, AttachError, Program};
use super::socket::{Manner, QueueSocket};
use super::umem::{Frame, Memory, Pair};
use crate::interface;
use crate::linux;
use crate::machine::Machine;
use crate::queue::{FEWEST_FRAMES, MOST_FRAMES, Mode};
use crate::receiver::{MOST_QUEUES, Receiver};

/// What a frame loses to the kernel's headroom, bytes.
const HEADROOM: u32 = 256;

/// Bytes of a frame, and those of the larger ones for longer packets.
const FRAME_BYTES: u32 = 2048;
const LARGE_FRAME_BYTES: u32 = 4096;

/// What stands before a packet, bytes: Ethernet and two tags.
const LINK_HEADERS: u32 = 14 + 8;

/// The longest packet, with what stands before it, that drivers give in one buffer: a page without its headroom and
/// what the kernel keeps at its end.
const ONE_BUFFER: u32 = 3500;

/// How long a queue that is not free is waited for in all, and how long between two looks.
const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN: Duration = Duration::from_millis(5);

/// How long, microseconds, and for how many packets a driver is asked at once.
const BUSY_POLL_US: i32 = 20;
const BUSY_POLL_BUDGET: i32 = 64;

/// `SO_PREFER_BUSY_POLL`, `SO_BUSY_POLL_BUDGET`, which `libc` does not have.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Opens sockets on the queues of an interface, in the network namespace of the calling thread, and steers datagrams
/// to them.
///
/// # Errors
/// Nothing that was asked for can be had; the message says why, of each.
pub fn open(options: &Options) -> Result<Opened, OpenError> {
    let plan = Plan::of(options)?;
    let mut refused = Vec::new();
    // The program stays attached from one mode to the next where both want it alike: attaching resets some cards.
    let mut attached: Option<Arc<Program>> = None;
    let mut native_is_refused = false;
    for &mode in order(options.order) {
        if mode == Mode::Generic {
            attached = None;
        } else if native_is_refused {
            continue;
        }
        let program = match attached.take() {
            Some(program) => program,
            None => {
                match Program::attach(&options.interface, &options.steering, attach(mode), plan.multi_buffer)
                {
                    Ok(program) => Arc::new(program),
                    Err(error @ (AttachError::Mtu { .. } | AttachError::Refused { .. })) => {
                        native_is_refused = mode != Mode::Generic;
                        let what = if native_is_refused { "native XDP" } else { mode.label() };
                        refused.push(format!("{what}: {error}"));
                        continue;
                    }
                    // In the other modes it would be as much in the way.
                    Err(error) => {
                        refused.push(error.to_string());
                        break;
                    }
                }
            }
        };
        match plan.bind(mode, &program) {
            Ok(bound) => return Ok(plan.opened(mode, bound, program, refused)),
            Err(refusal) => {
                refused.push(format!("{mode}: {}", refusal.why));
                if refusal.busy {
                    break;
                }
            }
        }
        attached = Some(program);
    }
    Err(OpenError::Refused { interface: options.interface.clone(), refused })
}

/// Bytes of each frame, for packets of an interface with this MTU.
pub fn frame_bytes(mtu: u32) -> u32 {
    if mtu.saturating_add(LINK_HEADERS) <= FRAME_BYTES - HEADROOM { FRAME_BYTES } else { LARGE_FRAME_BYTES }
}

/// What is to be done, whatever the mode.
struct Plan<'a> {
    options: &'a Options,
    queues: Vec<u32>,
    frames: u32,
    frame_bytes: u32,
    multi_buffer: bool,
    /// For the patience with queues that are not free yet.
    began: Instant,
}

/// Why a mode cannot be had.
struct Refusal {
    why: String,
    /// Whether somebody has a queue: it is taken in every mode.
    busy: bool,
}

impl Refusal {
    fn of(what: &str, error: &io::Error) -> Self {
        let busy = is_busy(error);
        Self { why: format!("{what}: {error}{}", hint(error)), busy }
    }
}

/// The sockets of one mode.
struct Bound {
    sockets: Vec<QueueSocket>,
    huge_pages: bool,
    busy_poll: bool,
    why: Vec<String>,
}

impl<'a> Plan<'a> {
    fn of(options: &'a Options) -> Result<Self, OpenError> {
        let name = || options.interface.clone();
        let interface = interface::read(&options.interface)
            .map_err(|source| OpenError::Interface { interface: name(), source })?;
        let there = interface.queues.max(1);
        let mut wanted = options.queues.clone();
        if wanted.is_empty() {
            wanted.extend(0..there);
        }
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(queue) = wanted.iter().copied().find(|queue| *queue >= there) {
            return Err(OpenError::NoQueue { interface: name(), queue, queues: there });
        }
        if wanted.len() > MOST_QUEUES {
            return Err(OpenError::TooMany { interface: name(), queues: wanted.len() });
        }
        let packet = interface.mtu.saturating_add(LINK_HEADERS);
        let frame_bytes = frame_bytes(interface.mtu);
        let frames = options.frames_per_queue.clamp(FEWEST_FRAMES, MOST_FRAMES).next_power_of_two();
        Ok(Self {
            options,
            queues: wanted,
            frames,
            frame_bytes,
            multi_buffer: packet > ONE_BUFFER,
            began: Instant::now(),
        })
    }

    /// Binds a socket to each queue, and has the program steer to it; what is in the way, otherwise.
    fn bind(&self, mode: Mode, program: &Arc<Program>) -> Result<Bound, Refusal> {
        let mut bound = Bound {
            sockets: Vec::new(),
            huge_pages: true,
            busy_poll: self.options.busy_poll,
            why: Vec::new(),
        };
        let together = if self.options.share_umem { self.queues.len() } else { 1 };
        for queues in self.queues.chunks(together.max(1)) {
            let (memory, mut frames, huge_pages) = self.memory(queues.len() as u32)?;
            bound.huge_pages &= huge_pages;
            for &queue in queues {
                let own = frames.split_off(frames.len().saturating_sub(self.frames as usize));
                let socket = self.socket(mode, queue, memory.clone(), own, program, &mut bound);
                bound.sockets.push(socket.map_err(|error| Refusal::of(&format!("queue {queue}"), &error))?);
            }
        }
        Ok(bound)
    }

    /// Memory for the frames of so many queues, on huge pages when there are enough.
    fn memory(&self, queues: u32) -> Result<(Memory, Vec<Frame>, bool), Refusal> {
        let frames = self.frames.saturating_mul(queues);
        let bytes = u64::from(frames) * u64::from(self.frame_bytes);
        let huge = Machine::read().huge_pages;
        if huge.free > 0
            && bytes.is_multiple_of(huge.bytes)
            && let Ok((memory, frames)) = Memory::new(frames, self.frame_bytes, self.frames, true)
        {
            return Ok((memory, frames, true));
        }
        let (memory, frames) = Memory::new(frames, self.frame_bytes, self.frames, false)
            .map_err(|error| Refusal::of(&format!("{bytes} bytes of memory for frames"), &error))?;
        Ok((memory, frames, false))
    }

    fn socket(
        &self,
        mode: Mode,
        queue: u32,
        memory: Memory,
        frames: Vec<Frame>,
        program: &Arc<Program>,
        bound: &mut Bound,
    ) -> io::Result<QueueSocket> {
        let mut flags = BindFlags::XDP_USE_NEED_WAKEUP;
        flags |= if mode == Mode::ZeroCopy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
        if self.multi_buffer {
            flags |= BindFlags::XDP_USE_SG;
        }
        // Where frames are also with the driver there are enough of them to fill a ring of half as many places, so
        // that packets are dropped, and counted, at the ring. Where they are copied, all of them may wait in the ring.
        let places = if mode == Mode::ZeroCopy { self.frames / 2 } else { self.frames };
        let pair = self.patiently(|| Pair::bind(&memory, &self.options.interface, queue, flags, places))?;
        if bound.busy_poll
            && let Err(error) = prefer_busy_poll(&pair)
        {
            bound.busy_poll = false;
            bound.why.push(format!("busy polling: {error}"));
        }
        let manner = Manner {
            verify_checksum: self.options.verify_checksum,
            multi_buffer: self.multi_buffer,
            busy_poll: bound.busy_poll,
        };
        let socket = QueueSocket::new(queue, pair, memory, frames, manner, Arc::clone(program))?;
        program.set_socket(queue, socket.descriptor())?;
        Ok(socket)
    }

    /// Tries to bind until the queue is free, or [`PATIENCE`] is over. The kernel frees a queue some time after its
    /// socket was closed: that of a mode that was tried before, or of a process that has just ended.
    fn patiently<T>(&self, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match bind() {
                Err(error) if is_busy(&error) && self.began.elapsed() < PATIENCE => {
                    std::thread::sleep(BETWEEN);
                }
                other => return other,
            }
        }
    }

    fn opened(&self, mode: Mode, bound: Bound, program: Arc<Program>, mut why: Vec<String>) -> Opened {
        why.extend(bound.why);
        let reached = Reached {
            interface: self.options.interface.clone(),
            mode,
            queues: self.queues.clone(),
            huge_pages: bound.huge_pages,
            multi_buffer: self.multi_buffer,
            busy_poll: bound.busy_poll,
            why,
        };
        Opened { receivers: bound.sockets.into_iter().map(Receiver::queue).collect(), reached, program }
    }
}

/// Has the driver of a socket's queue asked for packets when the socket is, and leaves its interrupts off meanwhile.
fn prefer_busy_poll(pair: &Pair) -> io::Result<()> {
    let socket = pair.descriptor();
    linux::set_option(&socket, SO_PREFER_BUSY_POLL, &1_i32)?;
    linux::set_option(&socket, libc::SO_BUSY_POLL, &BUSY_POLL_US)?;
    linux::set_option(&socket, SO_BUSY_POLL_BUDGET, &BUSY_POLL_BUDGET)
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EADDRINUSE))
}

/// What to do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EADDRINUSE) => {
            " (another program has an AF_XDP socket on it: end that, or choose other queues)"
        }
        Some(libc::EPERM | libc::EACCES) => " (it needs root, or the capability CAP_NET_RAW)",
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            " (more memory than may be locked: raise LimitMEMLOCK=, give CAP_IPC_LOCK, or ask for fewer frames)"
        }
        Some(libc::ENETDOWN) => " (the interface is down: `ip link set IF up`)",
        _ => "",
    }
}

/// What is tried, one after the other.
fn order(wanted: Mode) -> &'static [Mode] {
    match wanted {
        Mode::Auto => &[Mode::ZeroCopy, Mode::Copy, Mode::Generic],
        Mode::ZeroCopy => &[Mode::ZeroCopy],
        Mode::Copy => &[Mode::Copy],
        Mode::Generic => &[Mode::Generic],
    }
}

/// How the program is attached for it.
fn attach(mode: Mode) -> Attach {
    match mode {
        Mode::Generic => Attach::Generic,
        Mode::Auto | Mode::ZeroCopy | Mode::Copy => Attach::Native,
    }
}
