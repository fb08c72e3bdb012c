//! The back end that every system has: a datagram per call, and one socket that all receivers of a group share.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::batch::Batch;

/// A socket, or another handle of it.
#[derive(Debug)]
pub(crate) struct Plain(UdpSocket);

impl Plain {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.0
    }

    /// Takes what has arrived, as much as the batch holds.
    pub(crate) fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.clear();
        let mut arrived = [(0, IpAddr::V4(Ipv4Addr::UNSPECIFIED)); crate::batch::BATCH];
        let mut taken = 0;
        let mut ended = Ok(());
        for (buffer, place) in batch.buffers().zip(&mut arrived) {
            match self.0.recv_from(buffer) {
                Ok((length, sender)) => *place = (length, SocketAddr::ip(&sender)),
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            taken += 1;
        }
        for (length, sender) in arrived.into_iter().take(taken) {
            batch.push(length, sender);
        }
        match ended {
            Err(error) if taken == 0 && !nothing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether the error says that there is no datagram just now.
pub(crate) fn nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
