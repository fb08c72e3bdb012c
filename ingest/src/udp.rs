//! A UDP socket that receives.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("UDP {address}: {source}{hint}")]
pub struct OpenError {
    /// Which address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
    hint: &'static str,
}

/// The largest UDP payload, bytes.
pub const LARGEST_PAYLOAD: usize = 65_535;

/// A bound socket.
#[derive(Debug)]
pub struct Receiver {
    socket: UdpSocket,
    receive_buffer: usize,
}

impl Receiver {
    /// Binds a socket and asks for a receive buffer of this many bytes. An IPv6 wildcard takes IPv4 too.
    ///
    /// # Errors
    /// The address cannot be bound; the message says what to do.
    pub fn open(address: SocketAddr, receive_buffer: usize) -> Result<Self, OpenError> {
        let open = || -> io::Result<Self> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            if address.is_ipv6() && address.ip().is_unspecified() {
                socket.set_only_v6(false)?;
            }
            // The kernel grants what it may; what it granted is read back.
            socket.set_recv_buffer_size(receive_buffer)?;
            let granted = socket.recv_buffer_size()?;
            socket.bind(&address.into())?;
            Ok(Self { socket: socket.into(), receive_buffer: granted })
        };
        open().map_err(|source| {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => "; another program has this port: `ss -lunp` names it",
                io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
                io::ErrorKind::AddrNotAvailable => "; no interface has this address",
                _ => "",
            };
            OpenError { address, source, hint }
        })
    }

    /// Where it is bound: the port that the kernel chose, for port 0.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The receive buffer that the kernel granted, bytes.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Waits at most `timeout` for a datagram; `None` when none came, or a signal did.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
        timeout: Duration,
    ) -> io::Result<Option<(&'b [u8], SocketAddr)>> {
        self.socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        match self.socket.recv_from(buffer) {
            Ok((length, source)) => Ok(Some((buffer.get(..length).unwrap_or_default(), source))),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl Receiver {
    /// Takes a datagram that has arrived already; `None` when there is none. The socket is then in non-blocking
    /// mode, see [`Receiver::never_block`].
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn take<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<(&'b [u8], SocketAddr)>> {
        match self.socket.recv_from(buffer) {
            Ok((length, source)) => Ok(Some((buffer.get(..length).unwrap_or_default(), source))),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Puts the socket into non-blocking mode.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn never_block(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Datagrams that the kernel dropped because the receive buffer was full; `None` where it does not say.
    pub fn drops(&self) -> Option<u64> {
        // The last column of the socket's line, which is found by its inode.
        let link = std::fs::read_link(format!("/proc/self/fd/{}", self.socket.as_raw_fd())).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        ["/proc/self/net/udp", "/proc/self/net/udp6"].iter().find_map(|table| {
            let text = std::fs::read_to_string(table).ok()?;
            let line = text.lines().find(|line| line.split_whitespace().nth(9) == Some(&inode))?;
            line.split_whitespace().last()?.parse().ok()
        })
    }
}

/// Wakes a thread that waits in [`wait`].
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A waker of its own.
    ///
    /// # Errors
    /// The kernel has no more descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)))
    }

    /// Wakes the thread, or keeps it from falling asleep the next time.
    pub fn wake(&self) {
        // It fails only when the counter is full: then the thread is awake anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Waits until a datagram has arrived, the waker is used, a signal comes or `timeout` passes.
///
/// # Errors
/// Those of the kernel.
pub fn wait(receivers: &[Receiver], waker: &Waker, timeout: Duration) -> io::Result<()> {
    let mut waiting: Vec<PollFd<'_>> =
        receivers.iter().map(|receiver| PollFd::new(&receiver.socket, PollFlags::IN)).collect();
    waiting.push(PollFd::new(&*waker.0, PollFlags::IN));
    let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut waiting, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // Empties the counter; there is nothing to read when it was not used.
    let _ = rustix::io::read(&*waker.0, &mut [0_u8; 8]);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::send::Sender;

    #[test]
    fn what_is_sent_arrives() {
        let receiver = Receiver::open("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        assert!(receiver.receive_buffer() > 0);
        let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
        sender.send(b"datagram");
        let mut buffer = [0; 100];
        let (bytes, source) = receiver.receive(&mut buffer, Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!((bytes, source.ip()), (b"datagram".as_slice(), "127.0.0.1".parse().unwrap()));
        assert_eq!((sender.sent(), sender.failed()), (1, 0));
    }

    #[test]
    fn a_full_buffer_is_counted_by_the_kernel() {
        let receiver = Receiver::open("127.0.0.1:0".parse().unwrap(), 4096).unwrap();
        let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
        for _ in 0..500 {
            sender.send(&[0; 1400]);
        }
        receiver.never_block().unwrap();
        let mut buffer = [0; 2000];
        let mut taken = 0;
        while receiver.take(&mut buffer).unwrap().is_some() {
            taken += 1;
        }
        assert_eq!(taken + receiver.drops().unwrap(), 500, "sent = received + dropped");
        assert!(taken < 500);
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let receivers = [Receiver::open("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap()];
        let waker = Waker::new().unwrap();
        let other = waker.clone();
        let began = std::time::Instant::now();
        let thread = std::thread::spawn(move || other.wake());
        wait(&receivers, &waker, Duration::from_secs(100)).unwrap();
        assert!(began.elapsed() < Duration::from_secs(50));
        thread.join().unwrap();
    }

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_too() {
        let receiver = Receiver::open("[::]:0".parse().unwrap(), 1 << 20).unwrap();
        let port = receiver.local_address().unwrap().port();
        let mut sender = Sender::new(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        sender.send(b"four");
        let mut buffer = [0; 100];
        assert!(receiver.receive(&mut buffer, Duration::from_secs(10)).unwrap().is_some());
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_next_step() {
        let first = Receiver::open("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let refusal = Receiver::open(first.local_address().unwrap(), 1 << 16).unwrap_err().to_string();
        assert!(refusal.contains("another program has this port"), "{refusal}");
    }
}
