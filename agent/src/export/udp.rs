//! Datagrams to collectors: a connected UDP socket for each, none of which ever waits or stops the others.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Sink;
use super::lookup::Lookup;
use crate::settings::Collector;

/// Datagrams in a row that a collector must have taken before its next failure is worth a line again.
const FORGIVEN_AFTER: u32 = 100;

/// How long the agent waits at its start for the addresses of its collectors' names.
const LONGEST_WAIT_AT_START: Duration = Duration::from_secs(2);

/// What became of the datagrams for one collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorStatus {
    /// Host and port as they were configured.
    pub name: String,
    /// Where datagrams go; nowhere while the name has no address.
    pub address: Option<SocketAddr>,
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Failures: datagrams that the kernel refused or that had no address to go to, and refusals that came back from the
    /// collector's host.
    pub errors: u64,
}

/// Sends each datagram to every collector.
pub struct UdpSink {
    lines: Vec<Line>,
}

/// The way to one collector.
struct Line {
    collector: Collector,
    status: CollectorStatus,
    /// Of its name, if it is called by one.
    lookup: Option<Lookup>,
    /// Opened with the first datagram, and anew after a failure: a socket keeps the source address and the lack of a
    /// route that it had when it was connected.
    socket: Option<UdpSocket>,
    good_in_a_row: u32,
    /// What the last failure was.
    failed: Option<io::ErrorKind>,
    /// Whether it was told that the name has no address.
    nowhere: bool,
}

impl UdpSink {
    /// A sink for these collectors. Names are looked up, for two seconds at most; one without an address is told in the log,
    /// and looked up again. Which of a name's addresses is taken is the resolver's choice. Nothing is sent yet, and no
    /// route is needed.
    pub fn new(collectors: &[Collector]) -> Self {
        let now = Instant::now();
        let mut lines: Vec<Line> = collectors.iter().map(|collector| Line::new(collector, now)).collect();
        // All names are asked for before the first is waited for.
        lines.iter_mut().for_each(|line| line.look_up(now));
        for line in &mut lines {
            let left = LONGEST_WAIT_AT_START.saturating_sub(now.elapsed());
            let found = line.lookup.as_mut().filter(|_| line.status.address.is_none());
            if let Some(found) = found.and_then(|lookup| lookup.wait(left, now)) {
                line.found(found);
            }
        }
        Self { lines }
    }
}

impl Sink for UdpSink {
    fn send(&mut self, datagram: &[u8]) {
        self.lines.iter_mut().for_each(|line| line.send(datagram));
    }

    fn tick(&mut self, now: Instant) {
        self.lines.iter_mut().for_each(|line| line.look_up(now));
    }

    fn set_collectors(&mut self, collectors: &[Collector]) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.lines);
        self.lines = collectors
            .iter()
            .map(|collector| match before.iter().position(|line| line.collector == *collector) {
                Some(at) => before.swap_remove(at),
                None => Line::new(collector, now),
            })
            .collect();
        self.tick(now);
    }

    fn collectors(&self) -> Vec<CollectorStatus> {
        self.lines.iter().map(|line| line.status.clone()).collect()
    }
}

impl Line {
    fn new(collector: &Collector, now: Instant) -> Self {
        let Collector { host, port, .. } = collector;
        let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let address = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, *port));
        Self {
            collector: collector.clone(),
            status: CollectorStatus { name, address, datagrams: 0, bytes: 0, errors: 0 },
            lookup: Lookup::new(host, *port, now),
            socket: None,
            good_in_a_row: 0,
            failed: None,
            nowhere: false,
        }
    }

    /// Takes what a look-up of the name has come to, and begins another when it is time.
    fn look_up(&mut self, now: Instant) {
        if let Some(found) = self.lookup.as_mut().and_then(|lookup| lookup.poll(now)) {
            self.found(found);
        }
    }

    /// The address that the collector has is kept while it is one of its name's, and when the resolver knows of none.
    fn found(&mut self, found: io::Result<Vec<SocketAddr>>) {
        let name = &self.status.name;
        match (found, self.status.address) {
            (Ok(addresses), Some(address)) if addresses.contains(&address) => {}
            (Ok(addresses), before) => {
                if before.is_some() || self.nowhere {
                    tracing::info!("collector {name} is at {} from here on", shown(addresses.first()));
                }
                (self.status.address, self.socket, self.nowhere) = (addresses.first().copied(), None, false);
            }
            (Err(error), None) if !self.nowhere => {
                tracing::warn!(
                    "collector {name}: {error}; it is looked up again every few seconds, and the others are served; give an \
                     address, or a name that this host can resolve"
                );
                self.nowhere = true;
            }
            (Err(_), _) => {}
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        let Some(address) = self.status.address else {
            self.status.errors += 1;
            return;
        };
        let fresh = self.socket.is_none();
        let sent = match self.try_to_send(datagram, address) {
            // It is about a datagram before this one, which was not sent for it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let again = self.try_to_send(datagram, address);
                self.failed(&error);
                again
            }
            // The address that the socket had may be gone, and the way with it.
            Err(error) if !fresh && error.kind() != io::ErrorKind::WouldBlock => {
                self.socket = None;
                self.try_to_send(datagram, address)
            }
            sent => {
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                sent
            }
        };
        match sent {
            Ok(bytes) => {
                self.status.datagrams += 1;
                self.status.bytes += bytes as u64;
            }
            Err(error) => {
                self.socket = None;
                self.failed(&error);
            }
        }
    }

    fn try_to_send(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(to, self.collector.device.as_deref())?,
        };
        self.socket.insert(socket).send(datagram)
    }

    /// Counts a failure, and tells of it unless the one before it was the same and a short while ago.
    fn failed(&mut self, error: &io::Error) {
        self.status.errors += 1;
        if self.failed != Some(error.kind()) || self.good_in_a_row >= FORGIVEN_AFTER {
            tracing::warn!(
                "collector {} ({}): {error}; further failures are counted, and the others are still served",
                self.status.name,
                shown(self.status.address.as_ref())
            );
        }
        self.failed = Some(error.kind());
        self.good_in_a_row = 0;
    }
}

impl fmt::Debug for UdpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines.iter().map(|line| &line.status)).finish()
    }
}

fn shown(address: Option<&SocketAddr>) -> String {
    address.map_or_else(|| "no address".to_owned(), SocketAddr::to_string)
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
