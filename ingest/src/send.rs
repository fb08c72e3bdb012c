//! A UDP socket that sends datagrams to one place.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Sends datagrams and counts them.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    to: SocketAddr,
    sent: u64,
    failed: u64,
}

impl Sender {
    /// A sender to this address, from any of our own.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn new(to: SocketAddr) -> io::Result<Self> {
        let from = if to.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        Ok(Self { socket: UdpSocket::bind(from)?, to, sent: 0, failed: 0 })
    }

    /// The same, but a datagram that the kernel cannot take at once has failed.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn never_waiting(to: SocketAddr) -> io::Result<Self> {
        let sender = Self::new(to)?;
        sender.socket.set_nonblocking(true)?;
        Ok(sender)
    }

    /// Where it sends.
    pub fn destination(&self) -> SocketAddr {
        self.to
    }

    /// Sends a datagram; a failure is counted, and does not stop those after it.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.socket.send_to(bytes, self.to) {
            Ok(_) => self.sent += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Datagrams that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Datagrams that the kernel refused.
    pub fn failed(&self) -> u64 {
        self.failed
    }
}
