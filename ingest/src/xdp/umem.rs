//! The memory that frames lie in, the frames, and the rings by which they pass between the kernel and us.
//!
//! **A [`Frame`] is a frame that is ours.** It is neither copied nor made outside this file: it comes from the memory
//! when that is made, or out of the receive ring, and ends in the fill ring. So what is read through a frame is never
//! written by the kernel meanwhile, and a frame that is neither with the kernel nor with us would have to be dropped
//! by name. What each side has is counted ([`Pair::levels`]).

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags,
};
use xsk_rs::socket::{SocketCreateError, XdpStatistics};
use xsk_rs::umem::UmemCreateError;
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use crate::batch::BATCH;

/// Places in the rings for sending, which are not used but cannot be left out.
const UNUSED: u32 = 64;

/// A frame that the kernel has not.
#[derive(Debug)]
pub(super) struct Frame(FrameDesc);

impl Frame {
    /// Whether the packet goes on in the next frame.
    pub(super) fn goes_on(&self) -> bool {
        self.0.has_more_frames()
    }
}

/// Memory that is divided into frames.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    umem: Umem,
    config: UmemConfig,
}

impl Memory {
    /// Memory of so many frames, on huge pages if wanted, registered with the kernel. A fill ring of it has
    /// `fill` places.
    pub(super) fn new(
        frames: u32,
        frame_bytes: u32,
        fill: u32,
        huge_pages: bool,
    ) -> io::Result<(Self, Vec<Frame>)> {
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(frame_bytes).map_err(invalid)?)
            .fill_queue_size(QueueSize::new(fill).map_err(invalid)?)
            .comp_queue_size(QueueSize::new(UNUSED).map_err(invalid)?)
            .build()
            .map_err(invalid)?;
        let frames = NonZeroU32::new(frames).ok_or(io::ErrorKind::InvalidInput)?;
        let (umem, frames) = Umem::new(config, frames, huge_pages).map_err(|e: UmemCreateError| cause(&e))?;
        Ok((Self { umem, config }, frames.into_iter().map(Frame).collect()))
    }

    /// What stands in a frame of this memory.
    pub(super) fn bytes(&self, frame: &Frame) -> &[u8] {
        // SAFETY: the frame is of this memory: a queue's frames are those that the memory gave it and those that its
        // receive ring gave back, and it has no other memory. The kernel does not write to it: it has it only from the
        // fill ring on, where the frame ends that is borrowed here.
        unsafe { self.umem.data(&frame.0) }.contents()
    }

    /// Bytes of a frame.
    pub(super) fn frame_bytes(&self) -> u32 {
        self.config.frame_size().get()
    }

    /// Places in a fill ring.
    fn fill(&self) -> u32 {
        self.config.fill_queue_size().get()
    }
}

/// How many frames are in the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    /// In the fill ring: the kernel may take them.
    pub(super) fill: u32,
    /// In the receive ring: packets that have arrived.
    pub(super) arrived: u32,
}

/// The two rings of a queue's socket.
#[derive(Debug)]
pub(super) struct Pair {
    receive: RxQueue,
    fill: FillQueue,
    fill_places: u32,
    /// Descriptions on their way from or to a ring.
    passing: Box<[FrameDesc; BATCH]>,
    /// Not used, but they are the socket's.
    _unused: (TxQueue, CompQueue),
}

impl Pair {
    /// Binds a socket to a queue, with its frames in this memory.
    pub(super) fn bind(
        memory: &Memory,
        interface: &str,
        queue: u32,
        flags: BindFlags,
        receive_places: u32,
    ) -> io::Result<Self> {
        let interface: Interface = interface.parse().map_err(invalid)?;
        let config = SocketConfig::builder()
            .rx_queue_size(QueueSize::new(receive_places).map_err(invalid)?)
            .tx_queue_size(QueueSize::new(UNUSED).map_err(invalid)?)
            // Never the library's program: it takes all traffic, and stays when the process has gone.
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .xdp_flags(XdpFlags::empty())
            .bind_flags(flags)
            .build();
        // SAFETY: no program is loaded by the library, which is what it asks for where a queue is bound twice.
        let socket = unsafe { Socket::new(config, &memory.umem, &interface, queue) };
        let (send, receive, pair) = socket.map_err(|e: SocketCreateError| cause(&e))?;
        // A queue that this memory is bound to already has no rings of its own.
        let (fill, completed) = pair.ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRINUSE))?;
        let passing = Box::new([FrameDesc::default(); BATCH]);
        Ok(Self { receive, fill, fill_places: memory.fill(), passing, _unused: (send, completed) })
    }

    /// The socket.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as its rings, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.receive.fd().as_raw_fd()) }
    }

    /// Gives frames to the kernel, as many as the fill ring has places for.
    pub(super) fn give(&mut self, frames: &mut Vec<Frame>) {
        while !frames.is_empty() {
            let wanted = frames.len().min(BATCH);
            let places = self.fill.nb_free(wanted as u32) as usize;
            let many = wanted.min(places);
            if many == 0 {
                return;
            }
            for (description, frame) in self.passing.iter_mut().zip(frames.drain(frames.len() - many..)) {
                *description = frame.0;
            }
            let given = self.passing.get(..many).unwrap_or_default();
            // SAFETY: each is that of a frame of this queue's memory that was ours alone until the line above, where it
            // ended. All are taken, because there are places for them.
            unsafe { self.fill.produce(given) };
        }
    }

    /// Takes frames that packets have arrived in, `most` of them; whether there were any.
    pub(super) fn take(&mut self, most: usize, into: &mut Vec<Frame>) -> bool {
        let places = self.passing.get_mut(..most.min(BATCH)).unwrap_or_default();
        // SAFETY: descriptions are written over; the frames are of the memory that the socket was bound with.
        let taken = unsafe { self.receive.consume(places) };
        into.extend(places.iter().take(taken).map(|description| Frame(*description)));
        taken > 0
    }

    /// Tells the kernel that there are frames again, where it waits for that.
    pub(super) fn wake(&mut self) -> io::Result<()> {
        if self.fill.needs_wakeup() {
            self.fill.wakeup(self.receive.fd_mut(), 0)?;
        }
        Ok(())
    }

    /// Has the driver look for packets, and says whether the socket is still bound: it no longer is when the interface
    /// is gone. Nothing waits.
    pub(super) fn ask(&self) -> io::Result<bool> {
        match recv(self.descriptor(), &mut [0; 0], RecvFlags::DONTWAIT) {
            Err(Errno::NXIO) => Ok(false),
            // There is nothing just now, the driver is at it already, or the interface is down.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::BUSY | Errno::NOBUFS | Errno::NETDOWN) => {
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the kernel has counted.
    pub(super) fn statistics(&self) -> io::Result<XdpStatistics> {
        self.receive.fd().xdp_statistics()
    }

    /// How many frames are in each.
    pub(super) fn levels(&mut self) -> Levels {
        let fill = self.fill_places.saturating_sub(self.fill.nb_free_exact());
        Levels { fill, arrived: self.receive.nb_avail_exact() }
    }
}

/// What a library's error is about.
fn cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let inner = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
