//! Datagrams to collectors: a connected UDP socket for each, none of which ever waits or stops the others.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use socket2::SockRef;

use super::Sink;
use crate::settings::Collector;

/// Datagrams in a row that a collector must have taken before its next failure is worth a line again.
const FORGIVEN_AFTER: u32 = 100;

/// What became of the datagrams for one collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorStatus {
    /// Host and port as they were configured.
    pub name: String,
    /// What the name was resolved to.
    pub address: SocketAddr,
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Failures: datagrams that the kernel refused, and refusals that came back from the collector's host.
    pub errors: u64,
}

/// A collector's name has no address.
#[derive(Debug, thiserror::Error)]
#[error("collector {name}: {source}; give an address, or a name that this host can resolve")]
pub struct ResolveError {
    /// Host and port as they were configured.
    pub name: String,
    /// Why.
    pub source: io::Error,
}

/// Sends each datagram to every collector.
pub struct UdpSink {
    statuses: Vec<CollectorStatus>,
    sockets: Vec<Line>,
}

/// The way to one collector.
struct Line {
    /// The interface that datagrams leave by, where one was said.
    device: Option<String>,
    /// Opened with the first datagram, and anew after a failure: a socket keeps the source address and the lack of a
    /// route that it had when it was connected.
    socket: Option<UdpSocket>,
    good_in_a_row: u32,
    failed_before: bool,
}

impl UdpSink {
    /// Resolves the names of the collectors. Which of a name's addresses is taken is the resolver's choice. Nothing is sent
    /// yet, and no route is needed.
    ///
    /// # Errors
    /// A name has no address.
    pub fn resolve(collectors: &[Collector]) -> Result<Self, ResolveError> {
        let statuses = collectors.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        let line = |collector: &Collector| Line {
            device: collector.device.clone(),
            socket: None,
            good_in_a_row: 0,
            failed_before: false,
        };
        Ok(Self { statuses, sockets: collectors.iter().map(line).collect() })
    }
}

fn resolve(collector: &Collector) -> Result<CollectorStatus, ResolveError> {
    let Collector { host, port, .. } = collector;
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let first = (host.as_str(), *port).to_socket_addrs().and_then(|mut addresses| {
        addresses.next().ok_or_else(|| io::Error::other("the name has no address"))
    });
    match first {
        Ok(address) => Ok(CollectorStatus { name, address, datagrams: 0, bytes: 0, errors: 0 }),
        Err(source) => Err(ResolveError { name, source }),
    }
}

impl Sink for UdpSink {
    fn send(&mut self, datagram: &[u8]) {
        for (status, line) in self.statuses.iter_mut().zip(&mut self.sockets) {
            if let Err(error) = line.send(datagram, status) {
                line.socket = None;
                line.failed(&error, status);
            }
        }
    }

    fn collectors(&self) -> &[CollectorStatus] {
        &self.statuses
    }
}

impl Line {
    fn send(&mut self, datagram: &[u8], status: &mut CollectorStatus) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = Some(connect(status.address, self.device.as_deref())?);
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        let sent = match socket.send(datagram) {
            // It is about a datagram before this one, which was not sent for it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let again = socket.send(datagram);
                self.failed(&error, status);
                again
            }
            sent => {
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                sent
            }
        };
        sent.map(|bytes| {
            status.datagrams += 1;
            status.bytes += bytes as u64;
        })
    }

    /// Counts a failure, and tells of it unless the one before it was a short while ago.
    fn failed(&mut self, error: &io::Error, status: &mut CollectorStatus) {
        status.errors += 1;
        if !self.failed_before || self.good_in_a_row >= FORGIVEN_AFTER {
            tracing::warn!(
                "collector {} ({}): {error}; further failures are counted, and the others are still served",
                status.name,
                status.address
            );
        }
        self.failed_before = true;
        self.good_in_a_row = 0;
    }
}

impl fmt::Debug for UdpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.statuses).finish()
    }
}

fn connect(to: SocketAddr, device: Option<&str>) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    if let Some(device) = device {
        SockRef::from(&socket).bind_device(Some(device.as_bytes()))?;
    }
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}
