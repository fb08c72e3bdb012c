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

    /// Sends datagrams, many per call of the kernel where it has that; a failure is counted, and does not stop those
    /// after it.
    pub fn send_all(&mut self, datagrams: &[&[u8]]) {
        #[cfg(target_os = "linux")]
        {
            let mut rest = datagrams;
            while !rest.is_empty() {
                let taken = crate::linux::send_many(&self.socket, self.to, rest).unwrap_or(0);
                self.sent += taken as u64;
                // The kernel stops at the first that it refuses, and says why when that is asked for next.
                rest = rest.get(taken.max(1)..).unwrap_or_default();
                self.failed += u64::from(taken == 0);
            }
        }
        #[cfg(not(target_os = "linux"))]
        datagrams.iter().for_each(|datagram| self.send(datagram));
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// More than one call takes, and one in the middle that no kernel takes.
    #[test]
    fn many_are_sent_in_order_and_one_that_is_refused_stops_none() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut sender = Sender::new(receiver.local_addr().unwrap()).unwrap();
            let mut datagrams: Vec<Vec<u8>> = (0..150_u8).map(|n| vec![n; usize::from(n)]).collect();
            datagrams.insert(100, vec![0; 70_000]);
            sender.send_all(&datagrams.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!((sender.sent(), sender.failed()), (150, 1));
            let mut buffer = [0; 2000];
            for n in 0..150_u8 {
                let length = receiver.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..length], vec![n; usize::from(n)]);
            }
        }
    }
}
