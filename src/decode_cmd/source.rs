//! Where datagrams come from: a capture file or a socket.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingest::capture::{Payloads, Reader, Statistics};
use ingest::receiver::Receiver;
use ingest::wake::wait;

/// A datagram and how it arrived.
pub(super) struct Arrived<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) source: IpAddr,
    /// Microseconds since 1970.
    pub(super) time_us: u64,
    /// Whether the time is that of a capture file.
    pub(super) from_file: bool,
}

/// A capture file or a socket.
pub(super) enum Source {
    File(Box<Payloads>),
    Socket(Box<Socket>),
}

/// A socket, and how many of the datagrams that were taken last were given.
pub(super) struct Socket {
    receiver: Receiver,
    given: usize,
    /// When they were taken, microseconds since 1970.
    time_us: u64,
}

/// Receive buffer asked for, bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

impl Source {
    pub(super) fn open_file(path: &Path, port: u16) -> anyhow::Result<Self> {
        Ok(Self::File(Box::new(Payloads::new(Reader::open(path)?, port))))
    }

    pub(super) fn open_socket(address: SocketAddr) -> anyhow::Result<Self> {
        let receiver = Receiver::open(address, RECEIVE_BUFFER)?;
        eprintln!("finderscope: listening on UDP {}", receiver.local_address()?);
        let socket = Socket { receiver, given: 0, time_us: 0 };
        Ok(Self::Socket(Box::new(socket)))
    }

    /// The next datagram; `None` at the end of a file, and when none came within `timeout`.
    pub(super) fn next(&mut self, timeout: Duration) -> anyhow::Result<Option<Arrived<'_>>> {
        match self {
            Self::File(payloads) => match payloads.next_payload() {
                None => Ok(None),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(payload)) => Ok(Some(Arrived {
                    bytes: payload.bytes,
                    source: payload.source.ip(),
                    time_us: payload.time_us.unwrap_or(0),
                    from_file: true,
                })),
            },
            Self::Socket(socket) => socket.next(timeout),
        }
    }

    /// What became of a file's frames.
    pub(super) fn statistics(&self) -> Option<Statistics> {
        match self {
            Self::File(payloads) => Some(payloads.statistics()),
            Self::Socket(_) => None,
        }
    }
}

impl Socket {
    fn next(&mut self, timeout: Duration) -> anyhow::Result<Option<Arrived<'_>>> {
        if self.given == self.receiver.received().len() {
            wait(std::slice::from_ref(&self.receiver), None, timeout)?;
            self.receiver.receive()?;
            self.given = 0;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.time_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        }
        let Some((bytes, source)) = self.receiver.received().get(self.given) else { return Ok(None) };
        self.given += 1;
        Ok(Some(Arrived { bytes, source, time_us: self.time_us, from_file: false }))
    }
}
