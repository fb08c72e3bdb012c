//! What receives datagrams: one interface to the back ends, and groups of receivers that share an address.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::{Batch, Received};
#[cfg(all(target_os = "linux", feature = "dpdk"))]
use crate::dpdk::{Counts, PortQueue};
#[cfg(target_os = "linux")]
use crate::linux::{self, Many};
use crate::plain::Plain;
use crate::port;
use crate::queue::QueueStatus;
#[cfg(all(target_os = "linux", feature = "xdp"))]
use crate::xdp::QueueSocket;

/// Addresses that one thread listens on at most.
pub const MOST_ADDRESSES: usize = 16;

/// Queues of interfaces that one thread receives from at most.
pub const MOST_QUEUES: usize = 64;

/// How datagrams are taken from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The best that the system offers.
    #[default]
    Auto,
    /// Many datagrams per call, and a socket for each receiver of a group (Linux).
    #[cfg(target_os = "linux")]
    Many,
    /// A datagram per call from one socket, which the receivers of a group share.
    Plain,
}

/// One step of a program of the classic Berkeley packet filter. It is run on a datagram's payload and gives the
/// number of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Steps to leave out when a comparison holds.
    pub jump_true: u8,
    /// Steps to leave out when it does not.
    pub jump_false: u8,
    /// With what.
    pub value: u32,
}

/// What a group of receivers should be.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// How datagrams are taken.
    pub backend: Backend,
    /// Receivers in the group, at least one.
    pub receivers: usize,
    /// Receive buffer asked for per socket, bytes.
    pub receive_buffer: usize,
    /// Which receiver gets a datagram; by sender and receiver addresses when empty.
    pub steering: &'a [Instruction],
}

/// Receivers of one address.
#[derive(Debug)]
pub struct Group {
    /// In the order of the numbers that the steering gives.
    pub receivers: Vec<Receiver>,
    /// Whether the kernel took the steering.
    pub steered: bool,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("UDP {address}: {source}{hint}")]
pub struct OpenError {
    /// Which address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
    hint: String,
}

/// A bound socket, by back end, and the datagrams that were taken from it last.
#[derive(Debug)]
enum Kind {
    #[cfg(target_os = "linux")]
    Many(Many, Batch),
    Plain(Plain, Batch),
    #[cfg(all(target_os = "linux", feature = "xdp"))]
    Queue(Box<QueueSocket>),
    #[cfg(all(target_os = "linux", feature = "dpdk"))]
    Port(Box<PortQueue>),
}

/// Takes datagrams that have arrived at an address, or on a queue of an interface (`xdp`) or of a port (`dpdk`). They
/// stay with it until the next are taken, so that a back end can lend them where the kernel or the card has put them.
#[derive(Debug)]
pub struct Receiver {
    kind: Kind,
    receive_buffer: usize,
    /// Whether another receiver of the group shares the socket, and tells of its drops.
    shared: bool,
}

impl Group {
    /// Opens receivers for an address. Nobody else may have its port: a second collector is refused, and told who
    /// the first one is. An IPv6 wildcard takes IPv4 too.
    ///
    /// # Errors
    /// The address cannot be bound; the message says what to do.
    pub fn open(address: SocketAddr, options: &Options<'_>) -> Result<Self, OpenError> {
        let group = match options.backend {
            #[cfg(target_os = "linux")]
            Backend::Auto | Backend::Many => Self::many(address, options),
            #[cfg(not(target_os = "linux"))]
            Backend::Auto => Self::plain(address, options),
            Backend::Plain => Self::plain(address, options),
        };
        group.map_err(|source| {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => port::owner(address.port()),
                io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege".to_owned(),
                io::ErrorKind::AddrNotAvailable => "; no interface has this address".to_owned(),
                _ => String::new(),
            };
            OpenError { address, source, hint }
        })
    }

    /// A socket for each receiver. The first one is bound without SO_REUSEPORT, so that it fails when anybody else
    /// has the port, and lets the others join it only then.
    #[cfg(target_os = "linux")]
    fn many(address: SocketAddr, options: &Options<'_>) -> io::Result<Self> {
        let first = unbound(address, options.receive_buffer)?;
        first.bind(&address.into())?;
        let mut receivers = vec![Receiver::many(first)?];
        // For port 0 the kernel has chosen one.
        let bound = receivers.first().map_or(Ok(address), Receiver::local_address)?;
        let mut steered = options.receivers <= 1;
        if options.receivers > 1 {
            for socket in receivers.iter().filter_map(Receiver::socket) {
                rustix::net::sockopt::set_socket_reuseport(socket, true)?;
            }
            for _ in 1..options.receivers {
                let socket = unbound(address, options.receive_buffer)?;
                socket.set_reuse_port(true)?;
                socket.bind(&bound.into())?;
                receivers.push(Receiver::many(socket)?);
            }
            let first = receivers.first().and_then(Receiver::socket);
            if let Some(socket) = first.filter(|_| !options.steering.is_empty()) {
                steered = linux::attach(socket, options.steering).is_ok();
            }
        }
        Ok(Self { receivers, steered })
    }

    /// One socket that all receivers share.
    fn plain(address: SocketAddr, options: &Options<'_>) -> io::Result<Self> {
        let socket = unbound(address, options.receive_buffer)?;
        socket.bind(&address.into())?;
        let receive_buffer = granted(&socket)?;
        let socket: UdpSocket = socket.into();
        let receivers = (0..options.receivers.max(1))
            .map(|n| {
                let kind = Kind::Plain(Plain::new(socket.try_clone()?)?, Batch::default());
                Ok(Receiver { kind, receive_buffer, shared: n > 0 })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { steered: receivers.len() == 1, receivers })
    }
}

/// A socket with a receive buffer of this many bytes, or as many as the kernel grants.
fn unbound(address: SocketAddr, receive_buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A privileged process may go beyond net.core.rmem_max.
    #[cfg(target_os = "linux")]
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, receive_buffer).is_ok() {
        return Ok(socket);
    }
    // The kernel grants what it may; what it granted is read back.
    socket.set_recv_buffer_size(receive_buffer)?;
    Ok(socket)
}

/// The receive buffer that the kernel granted, bytes. Linux doubles what is asked for, to have room for its own
/// book-keeping, and tells the double.
fn granted(socket: &Socket) -> io::Result<usize> {
    let told = socket.recv_buffer_size()?;
    Ok(if cfg!(target_os = "linux") { told / 2 } else { told })
}

impl Receiver {
    /// One receiver for an address, by the best back end.
    ///
    /// # Errors
    /// Those of [`Group::open`].
    pub fn open(address: SocketAddr, receive_buffer: usize) -> Result<Self, OpenError> {
        let options = Options { backend: Backend::Auto, receivers: 1, receive_buffer, steering: &[] };
        let none = || OpenError { address, source: io::ErrorKind::NotFound.into(), hint: String::new() };
        Group::open(address, &options)?.receivers.pop().ok_or_else(none)
    }

    #[cfg(target_os = "linux")]
    fn many(socket: Socket) -> io::Result<Self> {
        let receive_buffer = granted(&socket)?;
        let kind = Kind::Many(Many::new(socket.into())?, Batch::default());
        Ok(Self { kind, receive_buffer, shared: false })
    }

    /// One queue of an interface.
    #[cfg(all(target_os = "linux", feature = "xdp"))]
    pub(crate) fn queue(socket: QueueSocket) -> Self {
        let receive_buffer = socket.memory_bytes();
        Self { kind: Kind::Queue(Box::new(socket)), receive_buffer, shared: false }
    }

    /// One queue of a port of DPDK.
    #[cfg(all(target_os = "linux", feature = "dpdk"))]
    pub(crate) fn port(queue: PortQueue) -> Self {
        let receive_buffer = queue.memory_bytes();
        Self { kind: Kind::Port(Box::new(queue)), receive_buffer, shared: false }
    }

    fn socket(&self) -> Option<&UdpSocket> {
        match &self.kind {
            #[cfg(target_os = "linux")]
            Kind::Many(many, _) => Some(many.socket()),
            Kind::Plain(plain, _) => Some(plain.socket()),
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(_) => None,
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Kind::Port(_) => None,
        }
    }

    /// What tells that datagrams have arrived; `None` where nothing does, and one has to look.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            #[cfg(target_os = "linux")]
            Kind::Many(many, _) => Some(many.socket().as_fd()),
            Kind::Plain(plain, _) => Some(plain.socket().as_fd()),
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(socket) => Some(socket.descriptor()),
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Kind::Port(_) => None,
        }
    }

    /// Where it is bound: the port that the kernel chose, for port 0.
    ///
    /// # Errors
    /// Those of the kernel, and that a queue of an interface has no address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket().ok_or(io::ErrorKind::Unsupported)?.local_addr()
    }

    /// The receive buffer that the kernel granted, bytes: as many as were asked for, where it granted all. The memory
    /// of its frames, for a queue of an interface.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Takes what has arrived, [`BATCH`](crate::batch::BATCH) datagrams at most, and never waits. Those that were
    /// taken before are gone.
    ///
    /// # Errors
    /// Those of the kernel. Then nothing was received.
    pub fn receive(&mut self) -> io::Result<Received<'_>> {
        match &mut self.kind {
            #[cfg(target_os = "linux")]
            Kind::Many(many, batch) => many.receive(batch)?,
            Kind::Plain(plain, batch) => plain.receive(batch)?,
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(socket) => socket.receive()?,
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Kind::Port(queue) => queue.receive(),
        }
        Ok(self.received())
    }

    /// What was taken last, once more.
    pub fn received(&self) -> Received<'_> {
        match &self.kind {
            #[cfg(target_os = "linux")]
            Kind::Many(_, batch) => Received::of(batch),
            Kind::Plain(_, batch) => Received::of(batch),
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(socket) => Received::of_queue(socket),
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Kind::Port(queue) => Received::of_port(queue),
        }
    }

    /// Datagrams that were dropped since the socket was opened, because its receive buffer or ring was full or their
    /// checksum wrong; `None` where the kernel does not say. Its own count has 32 bits: ask often enough that
    /// fewer than 2^31 are dropped in between.
    pub fn drops(&mut self) -> Option<u64> {
        if self.shared {
            return Some(0);
        }
        match &mut self.kind {
            #[cfg(target_os = "linux")]
            Kind::Many(many, _) => Some(many.drops()),
            #[cfg(target_os = "linux")]
            Kind::Plain(plain, _) => linux::read_drops(plain.socket()).map(u64::from),
            #[cfg(not(target_os = "linux"))]
            Kind::Plain(..) => None,
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(socket) => Some(socket.drops()),
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Kind::Port(queue) => Some(queue.drops()),
        }
    }

    /// What a queue of a port of DPDK has counted; `None` for any other receiver.
    #[cfg(all(target_os = "linux", feature = "dpdk"))]
    pub fn port_counts(&mut self) -> Option<Counts> {
        match &mut self.kind {
            Kind::Port(queue) => Some(queue.counts()),
            _ => None,
        }
    }

    /// The rings of a queue of an interface as they stand, and what was counted there; `None` for a socket with an
    /// address.
    pub fn rings(&mut self) -> Option<QueueStatus> {
        match &mut self.kind {
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Kind::Queue(socket) => Some(socket.rings()),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::send::Sender;
    use crate::wake::{Waker, wait};

    const BACKENDS: &[Backend] = &[
        #[cfg(target_os = "linux")]
        Backend::Many,
        Backend::Plain,
    ];

    fn open(address: &str, backend: Backend, receive_buffer: usize) -> Receiver {
        let options = Options { backend, receivers: 1, receive_buffer, steering: &[] };
        Group::open(address.parse().unwrap(), &options).unwrap().receivers.pop().unwrap()
    }

    #[test]
    fn what_is_sent_arrives_in_order() {
        for &backend in BACKENDS {
            let mut receiver = open("127.0.0.1:0", backend, 8 << 20);
            assert!(receiver.receive_buffer() > 100_000, "what every Linux grants");
            assert!(receiver.receive_buffer() <= 8 << 20, "no more than was asked for");
            let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
            let sent: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; 1 + usize::from(n) * 13]).collect();
            for bytes in &sent {
                sender.send(bytes);
            }
            let mut arrived = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(10);
            while arrived.len() < sent.len() {
                assert!(Instant::now() < deadline);
                wait(std::slice::from_ref(&receiver), None, Duration::from_millis(100)).unwrap();
                let batch = receiver.receive().unwrap();
                assert!(batch.len() <= crate::batch::BATCH);
                for (bytes, from) in batch.datagrams() {
                    assert_eq!(from, std::net::IpAddr::from([127, 0, 0, 1]));
                    arrived.push(bytes.to_vec());
                }
            }
            assert_eq!(arrived, sent);
            assert_eq!((sender.sent(), sender.failed()), (100, 0));
            assert!(receiver.receive().unwrap().is_empty(), "nothing is left of the batch before");
            assert!(receiver.received().is_empty());
        }
    }

    #[test]
    fn the_largest_datagram_arrives_whole() {
        for &backend in BACKENDS {
            let mut receiver = open("[::1]:0", backend, 8 << 20);
            let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
            let sent: Vec<u8> = (0..65_507_u32).map(|n| n as u8).collect();
            sender.send(&sent);
            wait(std::slice::from_ref(&receiver), None, Duration::from_secs(10)).unwrap();
            receiver.receive().unwrap();
            let batch = receiver.received();
            assert_eq!((batch.len(), batch.get(1)), (1, None));
            assert_eq!(batch.get(0).unwrap(), (sent.as_slice(), "::1".parse().unwrap()));
        }
    }

    #[test]
    fn a_full_buffer_is_counted_by_the_kernel() {
        for &backend in BACKENDS {
            let mut receiver = open("127.0.0.1:0", backend, 4096);
            let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
            for _ in 0..500 {
                sender.send(&[0; 1400]);
            }
            let mut taken = 0;
            while let batch = receiver.receive().unwrap()
                && !batch.is_empty()
            {
                taken += batch.len() as u64;
            }
            assert_eq!(taken + receiver.drops().unwrap(), 500, "sent = received + dropped");
            assert!(taken < 500);
        }
    }

    /// The count that comes with a datagram is that of the drops before it.
    #[cfg(target_os = "linux")]
    #[test]
    fn drops_are_told_with_the_next_datagram() {
        let mut receiver = open("127.0.0.1:0", Backend::Many, 4096);
        let mut sender = Sender::new(receiver.local_address().unwrap()).unwrap();
        for _ in 0..500 {
            sender.send(&[0; 1400]);
        }
        receiver.receive().unwrap();
        sender.send(b"next");
        receiver.receive().unwrap();
        let Kind::Many(many, _) = &mut receiver.kind else { panic!() };
        let told = many.told();
        assert!(told > 0 && told == many.drops(), "{told}");
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let receivers = [open("127.0.0.1:0", Backend::Auto, 1 << 16)];
        let waker = Waker::new().unwrap();
        let other = waker.clone();
        let began = Instant::now();
        let thread = std::thread::spawn(move || other.wake());
        wait(&receivers, Some(&waker), Duration::from_secs(100)).unwrap();
        assert!(began.elapsed() < Duration::from_secs(50));
        thread.join().unwrap();
    }

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_too() {
        let mut receiver = open("[::]:0", Backend::Auto, 1 << 20);
        let port = receiver.local_address().unwrap().port();
        let mut sender = Sender::new(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        sender.send(b"four");
        wait(std::slice::from_ref(&receiver), None, Duration::from_secs(10)).unwrap();
        let batch = receiver.receive().unwrap();
        assert_eq!(batch.get(0), Some((b"four".as_slice(), std::net::IpAddr::from([127, 0, 0, 1]))));
    }

    #[test]
    fn a_port_in_use_is_refused_and_its_owner_named() {
        for &backend in BACKENDS {
            let options = Options { backend, receivers: 3, receive_buffer: 1 << 16, steering: &[] };
            let first = Group::open("127.0.0.1:0".parse().unwrap(), &options).unwrap();
            assert_eq!(first.receivers.len(), 3);
            let address = first.receivers[0].local_address().unwrap();
            for receiver in &first.receivers {
                assert_eq!(receiver.local_address().unwrap(), address);
            }
            for &backend in BACKENDS {
                let again = Options { backend, ..options.clone() };
                let refusal = Group::open(address, &again).unwrap_err().to_string();
                let named = format!("process {}", std::process::id());
                assert!(refusal.contains("another program has this port"), "{refusal}");
                assert!(cfg!(not(target_os = "linux")) || refusal.contains(&named), "{refusal}");
            }
        }
    }

    /// The first payload byte, modulo the receivers.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_chooses_the_receiver() {
        let step = |code, value| Instruction { code, jump_true: 0, jump_false: 0, value };
        let steering = [step(0x30, 0), step(0x94, 4), step(0x16, 0)];
        for (listen, from) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")] {
            let options = Options {
                backend: Backend::Many,
                receivers: 4,
                receive_buffer: 1 << 20,
                steering: &steering,
            };
            let mut group = Group::open(listen.parse().unwrap(), &options).unwrap();
            assert!(group.steered);
            let port = group.receivers[0].local_address().unwrap().port();
            let mut sender = Sender::new(SocketAddr::new(from.parse().unwrap(), port)).unwrap();
            for n in 0..64 {
                sender.send(&[n; 10]);
            }
            for (n, receiver) in group.receivers.iter_mut().enumerate() {
                wait(std::slice::from_ref(receiver), None, Duration::from_secs(10)).unwrap();
                let batch = receiver.receive().unwrap();
                let numbers: Vec<usize> = batch.datagrams().map(|(bytes, _)| bytes[0].into()).collect();
                assert_eq!(numbers, (0..16).map(|turn| turn * 4 + n).collect::<Vec<_>>());
            }
        }
    }
}
