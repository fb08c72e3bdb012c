//! Sleep until a datagram comes or another thread has something to say.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::receiver::{MOST_ADDRESSES, MOST_QUEUES, Receiver};

/// Receivers that one thread waits for at most.
pub const MOST_RECEIVERS: usize = MOST_ADDRESSES + MOST_QUEUES;

/// Wakes a thread that waits in [`wait`].
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// A waker of its own.
    ///
    /// # Errors
    /// The kernel has no more descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Bell::new()?)))
    }

    /// Wakes the thread, or keeps it from falling asleep the next time.
    pub fn wake(&self) {
        self.0.ring();
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Bell(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Bell {
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    fn ring(&self) {
        // It fails only when the counter is full: then the thread is awake anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn ear(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn silence(&self) {
        // There is nothing to read when it was not used.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

/// What other systems have: a pair of sockets.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Bell(std::os::unix::net::UnixStream, std::os::unix::net::UnixStream);

#[cfg(not(target_os = "linux"))]
impl Bell {
    fn new() -> io::Result<Self> {
        let (hand, ear) = std::os::unix::net::UnixStream::pair()?;
        hand.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self(hand, ear))
    }

    fn ring(&self) {
        // It fails only when the pipe is full: then the thread is awake anyway.
        let _ = io::Write::write(&mut &self.0, &[1]);
    }

    fn ear(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }

    fn silence(&self) {
        let _ = io::Read::read(&mut &self.1, &mut [0; 64]);
    }
}

/// How long a thread sleeps at most that has to look for datagrams because nothing tells of them. The rings of such a
/// receiver hold thousands, which take longer to come at ten million per second.
const LOOK: Duration = Duration::from_micros(100);

/// Waits until a datagram has arrived at one of the first [`MOST_RECEIVERS`] receivers, the waker is used, a
/// signal comes or `timeout` passes. For a queue of an interface whose driver sleeps until it is told of free frames,
/// asking is telling. For a port of DPDK it waits 100 us at most: nothing tells of its datagrams.
///
/// # Errors
/// Those of the kernel.
pub fn wait(receivers: &[Receiver], waker: Option<&Waker>, timeout: Duration) -> io::Result<()> {
    let receivers = receivers.get(..MOST_RECEIVERS).unwrap_or(receivers);
    let silent = receivers.iter().any(|receiver| receiver.descriptor().is_none());
    let timeout = if silent { timeout.min(LOOK) } else { timeout };
    let mut descriptors =
        receivers.iter().filter_map(Receiver::descriptor).chain(waker.map(|waker| waker.0.ear()));
    let Some(first) = descriptors.next() else {
        if silent {
            std::thread::sleep(timeout);
            return Ok(());
        }
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut waiting = [const { None }; MOST_RECEIVERS + 1];
    let mut count = 0;
    for (place, descriptor) in waiting.iter_mut().zip(std::iter::once(first).chain(descriptors)) {
        *place = Some(descriptor);
        count += 1;
    }
    // No allocation: a thread that sleeps after each datagram comes here as often as datagrams do.
    let mut polled: [PollFd<'_>; MOST_RECEIVERS + 1] = std::array::from_fn(|n| {
        PollFd::from_borrowed_fd(waiting.get(n).copied().flatten().unwrap_or(first), PollFlags::IN)
    });
    let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(polled.get_mut(..count).unwrap_or_default(), Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(waker) = waker {
        waker.0.silence();
    }
    Ok(())
}
