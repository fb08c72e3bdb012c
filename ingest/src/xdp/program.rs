//! The XDP program that steers: what it is told by its maps, the interface it is attached to, and its counters.
//!
//! What it does with a frame is in `steer.bpf.c`; the numbers, sizes and names here are those of that file. The program
//! is attached by a link, which goes with the process, however it ends: nothing of it is left on the interface.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use libxdp_sys as bpf;
use thiserror::Error;

use super::holder::holder;
use super::object::{LoadError, Map, Object, done};
use crate::interface::{self, Interface};

/// The program as clang has written it.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// Addresses that [`Steering`] has at most.
pub const MOST_ADDRESSES: usize = 1024;

/// Source prefixes that [`Steering`] has at most, of both versions of IP together.
pub const MOST_SOURCES: usize = 65_536;

/// Queues that may have a socket: those below this number.
pub const MOST_QUEUES: u32 = 1024;

/// Ports that share a word of the map of ports.
const PORTS_PER_WORD: u16 = 64;

/// Of the kernel's `if_link.h`: how a program is attached.
const GENERIC: u32 = 1 << 1;
const NATIVE: u32 = 1 << 2;

/// Which frames are ours: UDP over IPv4 and IPv6, whole, to the interface's Ethernet address, and as follows. All else
/// is left to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// To one of these ports.
    pub ports: Vec<u16>,
    /// And to one of these addresses; to any where there is none. A host that routes datagrams of these ports for
    /// others has to name its own.
    pub addresses: Vec<IpAddr>,
    /// And from within one of these prefixes; from anywhere where there is none. Datagrams from elsewhere that are
    /// ours otherwise are dropped: no socket gets them.
    pub sources: Vec<(IpAddr, u8)>,
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// In the driver, before the kernel makes anything of a frame.
    Native,
    /// In the kernel's stack: slower, and for every driver.
    Generic,
}

impl Attach {
    /// As messages name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Why a [`Steering`] cannot be.
#[derive(Debug, Error)]
pub enum SteerError {
    /// No port, or port 0.
    #[error("no UDP port to steer, or port 0")]
    NoPort,
    /// More than there is room for.
    #[error("{count} {what} to steer by; {most} are allowed")]
    TooMany {
        /// `addresses` or `source prefixes`.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// [`MOST_ADDRESSES`] or [`MOST_SOURCES`].
        most: usize,
    },
    /// An address that no datagram is sent to.
    #[error("{0} is no address that datagrams are sent to")]
    Unspecified(IpAddr),
    /// More bits than an address has.
    #[error("{0}/{1} is no prefix")]
    Prefix(IpAddr, u8),
    /// The kernel refuses a change of a map.
    #[error("the map {map} of the XDP program: {error}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// Why a program could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no such interface.
    #[error("interface {interface}: {error}; `ip link` lists those that there are")]
    Interface {
        /// The name that was asked for.
        interface: String,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// Its frames are not Ethernet's.
    #[error("interface {interface} has no Ethernet header, which AF_XDP's program needs")]
    NotEthernet {
        /// The interface.
        interface: String,
    },
    /// What is to be steered cannot be.
    #[error(transparent)]
    Steering(#[from] SteerError),
    /// The program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Another program is attached.
    #[error(
        "{holder} has interface {interface}, and there can be one: end it (`ip link set dev {interface} xdp off` \
         takes away one that nobody holds), or receive by UDP sockets"
    )]
    Busy {
        /// The interface.
        interface: String,
        /// Which program, and whose, as far as the kernel tells.
        holder: String,
    },
    /// An MTU that needs several buffers.
    #[error(
        "interface {interface}: its MTU of {mtu} bytes, or its peer's, does not fit one buffer of its driver's, and \
         the program was not to take more"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU, bytes.
        mtu: u32,
    },
    /// The kernel or the driver refuses.
    #[error("interface {interface}: {} XDP: {error}", mode.label())]
    Refused {
        /// The interface.
        interface: String,
        /// What was asked for.
        mode: Attach,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// Frames of an interface by what became of them. Their sum is all that came in while the program was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Ours, to the AF_XDP socket of their queue; what that one had no room for is in its own counters.
    pub steered: u64,
    /// Ours, of a queue that has no AF_XDP socket: to the kernel, and its UDP socket.
    pub no_socket: u64,
    /// Neither IPv4 nor IPv6, or beneath more than two tags: to the kernel, as all that follow.
    pub not_ip: u64,
    /// Another protocol than UDP.
    pub not_udp: u64,
    /// IP, not to the interface's Ethernet address: another host's, broadcast, multicast.
    pub other_host: u64,
    /// UDP to another port.
    pub other_port: u64,
    /// UDP to one of the ports, at another address.
    pub other_address: u64,
    /// A fragment of a UDP datagram, the first one too.
    pub fragment: u64,
    /// Lengths that do not fit the frame or one another.
    pub truncated: u64,
    /// UDP or not: IPv6 with more than four extension headers, authentication, or a route that goes on.
    pub extension_headers: u64,
    /// UDP from an address that no host has in a network, such as 127.0.0.1.
    pub martian_source: u64,
    /// Ours but for the source, which is not among the allowed: dropped.
    pub refused_source: u64,
    /// Bytes of the frames that were steered.
    pub steered_bytes: u64,
    /// Bytes of the frames whose source was refused.
    pub refused_source_bytes: u64,
}

impl Verdicts {
    /// The frames of each verdict, with its name.
    pub fn frames(&self) -> [(&'static str, u64); VERDICTS] {
        [
            ("steered", self.steered),
            ("no_socket", self.no_socket),
            ("not_ip", self.not_ip),
            ("not_udp", self.not_udp),
            ("other_host", self.other_host),
            ("other_port", self.other_port),
            ("other_address", self.other_address),
            ("fragment", self.fragment),
            ("truncated", self.truncated),
            ("extension_headers", self.extension_headers),
            ("martian_source", self.martian_source),
            ("refused_source", self.refused_source),
        ]
    }
}

/// How many verdicts there are.
pub const VERDICTS: usize = 12;

/// The program on an interface. It is detached when this is dropped, or the process ends.
#[derive(Debug)]
pub struct Program {
    object: Object,
    /// Which of the object's programs it is.
    name: &'static str,
    interface: Interface,
    mode: Attach,
    /// The interface's use of the program; held, not read.
    _link: OwnedFd,
    /// One change of the maps at a time.
    change: Mutex<()>,
}

impl Program {
    /// Attaches the program to an interface of the calling thread's network namespace. A program for several buffers
    /// takes jumbo frames where the driver does (Linux 5.18); one for single buffers is refused an MTU beyond them.
    ///
    /// # Errors
    /// There is no such interface, another program has it, its driver or the kernel does not offer the mode, what is
    /// to be steered cannot be, or the process may not do it.
    pub fn attach(
        interface: &str,
        steering: &Steering,
        mode: Attach,
        multi_buffer: bool,
    ) -> Result<Self, AttachError> {
        steering.check()?;
        let (interface, address) = find(interface)?;
        let name = if multi_buffer { "steer_frags" } else { "steer" };
        let object = Object::load_program(OBJECT, name)?;
        // Told before it sees its first frame.
        steering.write(&Maps::of(&object)?, address)?;
        let link = link(object.program(name)?, interface.index, mode)
            .map_err(|error| refused(error, &interface, mode))?;
        Ok(Self { object, name, interface, mode, _link: link, change: Mutex::new(()) })
    }

    /// The interface, as it was when the program was attached.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Where it runs.
    pub fn mode(&self) -> Attach {
        self.mode
    }

    /// Gives a queue's frames to an AF_XDP socket that is bound to it. The kernel takes a socket out when it is closed.
    ///
    /// # Errors
    /// The queue is [`MOST_QUEUES`] or beyond, or it is no such socket.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let sockets = self.object.map("sockets").map_err(io::Error::other)?;
        sockets.update(&queue.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }

    /// Changes what is steered, while frames come: each is judged by what was, by what is to be, or by some of both.
    /// Reads the interface's Ethernet address anew.
    ///
    /// # Errors
    /// What is to be steered cannot be: nothing is changed; or the kernel refuses a change.
    pub fn steer(&self, steering: &Steering) -> Result<(), AttachError> {
        steering.check()?;
        let (_, address) = find(&self.interface.name)?;
        // The lock guards no value that a panic could have left half done.
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(steering.write(&Maps::of(&self.object)?, address)?)
    }

    /// What became of the frames so far.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Verdicts> {
        let counts = self.object.map("counts").map_err(io::Error::other)?;
        let mut all = [[0_u64; 2]; VERDICTS];
        for (verdict, count) in (0_u32..).zip(&mut all) {
            *count = counts.sums(&verdict.to_ne_bytes())?;
        }
        let [
            [steered, steered_bytes],
            [no_socket, _],
            [not_ip, _],
            [not_udp, _],
            [other_host, _],
            [other_port, _],
            [other_address, _],
            [fragment, _],
            [truncated, _],
            [extension_headers, _],
            [martian_source, _],
            [refused_source, refused_source_bytes],
        ] = all;
        Ok(Verdicts {
            steered,
            no_socket,
            not_ip,
            not_udp,
            other_host,
            other_port,
            other_address,
            fragment,
            truncated,
            extension_headers,
            martian_source,
            refused_source,
            steered_bytes,
            refused_source_bytes,
        })
    }

    /// Judges a frame that has not come from the interface, and counts it as if it had; what the program would have
    /// the kernel do, a number of `enum xdp_action`. Nothing is done with it.
    ///
    /// # Errors
    /// The frame is shorter than an Ethernet header, or longer than the kernel takes.
    pub fn judge(&self, frame: &[u8]) -> io::Result<u32> {
        let program = self.object.program(self.name).map_err(io::Error::other)?;
        // SAFETY: all-zero bytes are a value of the structure: numbers and null pointers.
        let mut run: bpf::bpf_test_run_opts = unsafe { zeroed() };
        run.sz = size_of::<bpf::bpf_test_run_opts>() as _;
        run.data_in = frame.as_ptr().cast();
        run.data_size_in = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        run.repeat = 1;
        // SAFETY: the structure is as long as it says; the frame that it points to has the length beside the pointer,
        // is only read, and lives until the call returns.
        done(unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut run) })?;
        Ok(run.retval)
    }
}

/// The maps that tell the program what is ours.
struct Maps<'a> {
    settings: Map<'a>,
    ports: Map<'a>,
    addresses: Map<'a>,
    sources: Map<'a>,
}

impl<'a> Maps<'a> {
    fn of(object: &'a Object) -> Result<Self, LoadError> {
        Ok(Self {
            settings: object.map("settings")?,
            ports: object.map("ports")?,
            addresses: object.map("addresses")?,
            sources: object.map("sources")?,
        })
    }
}

impl Steering {
    /// Whether the program can be told so.
    fn check(&self) -> Result<(), SteerError> {
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(SteerError::NoPort);
        }
        for (what, count, most) in [
            ("addresses", self.addresses.len(), MOST_ADDRESSES),
            ("source prefixes", self.sources.len(), MOST_SOURCES),
        ] {
            if count > most {
                return Err(SteerError::TooMany { what, count, most });
            }
        }
        if let Some(address) = self.addresses.iter().find(|address| address.is_unspecified()) {
            return Err(SteerError::Unspecified(*address));
        }
        let bits = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
        match self.sources.iter().find(|(address, length)| *length > bits(address)) {
            Some((address, length)) => Err(SteerError::Prefix(*address, *length)),
            None => Ok(()),
        }
    }

    /// Tells the program: first what is added, then which lists count, then what is taken away. So no frame that is
    /// ours before and after is judged otherwise between.
    fn write(&self, maps: &Maps<'_>, own: [u8; 6]) -> Result<(), SteerError> {
        let addresses = self.addresses.iter().map(|address| key(*address).to_vec()).collect::<Vec<_>>();
        let sources =
            self.sources.iter().map(|(address, length)| prefix(*address, *length)).collect::<Vec<_>>();
        let words = self.words();
        let named = |map| move |error| SteerError::Map { map, error };
        for (word, bits) in &words {
            let old = word_of_ports(&maps.ports, *word).map_err(named("ports"))?;
            maps.ports.update(&word.to_ne_bytes(), &(bits | old).to_ne_bytes()).map_err(named("ports"))?;
        }
        let add = |map: &Map<'_>, keys: &[Vec<u8>]| keys.iter().try_for_each(|key| map.update(key, &[1]));
        add(&maps.addresses, &addresses).map_err(named("addresses"))?;
        add(&maps.sources, &sources).map_err(named("sources"))?;

        let [a, b, c, d, e, f] = own;
        let lists = [u8::from(!addresses.is_empty()), u8::from(!sources.is_empty())];
        let settings = [a, b, c, d, e, f, lists[0], lists[1]];
        maps.settings.update(&0_u32.to_ne_bytes(), &settings).map_err(named("settings"))?;

        keep(&maps.addresses, addresses).map_err(named("addresses"))?;
        keep(&maps.sources, sources).map_err(named("sources"))?;
        for word in 0..u32::from(u16::MAX / PORTS_PER_WORD) + 1 {
            let bits = words.iter().find(|(of, _)| *of == word).map_or(0, |(_, bits)| *bits);
            maps.ports.update(&word.to_ne_bytes(), &bits.to_ne_bytes()).map_err(named("ports"))?;
        }
        Ok(())
    }

    /// The words of the map of ports that are not zero, by their index.
    fn words(&self) -> Vec<(u32, u64)> {
        let mut words: Vec<(u32, u64)> = Vec::new();
        for port in &self.ports {
            let (word, bit) = (u32::from(port / PORTS_PER_WORD), 1 << (port % PORTS_PER_WORD));
            match words.iter_mut().find(|(of, _)| *of == word) {
                Some((_, bits)) => *bits |= bit,
                None => words.push((word, bit)),
            }
        }
        words
    }
}

/// The ports of a word that the program has now.
fn word_of_ports(map: &Map<'_>, word: u32) -> io::Result<u64> {
    let bits = map.lookup(&word.to_ne_bytes())?.and_then(|bits| bits.try_into().ok());
    Ok(bits.map_or(0, u64::from_ne_bytes))
}

/// Takes away all entries but these.
fn keep(map: &Map<'_>, mut wanted: Vec<Vec<u8>>) -> io::Result<()> {
    wanted.sort_unstable();
    for key in map.keys()? {
        if wanted.binary_search(&key).is_err() {
            map.remove(&key)?;
        }
    }
    Ok(())
}

/// An address as the program has it: of both versions alike.
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A prefix as the program has it: its length, and the address without host bits.
fn prefix(address: IpAddr, length: u8) -> Vec<u8> {
    let length = u32::from(length) + if address.is_ipv4() { 96 } else { 0 };
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
    let network = u128::from_be_bytes(key(address)) & mask;
    [&length.to_ne_bytes()[..], &network.to_be_bytes()].concat()
}

/// An interface, and its Ethernet address.
fn find(name: &str) -> Result<(Interface, [u8; 6]), AttachError> {
    let interface = interface::read(name)
        .map_err(|error| AttachError::Interface { interface: name.to_owned(), error })?;
    let address =
        interface.ethernet.ok_or_else(|| AttachError::NotEthernet { interface: name.to_owned() })?;
    Ok((interface, address))
}

/// Attaches a program to an interface by a link, which is gone with its descriptor.
fn link(program: BorrowedFd<'_>, interface: u32, mode: Attach) -> io::Result<OwnedFd> {
    let index = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: all-zero bytes are a value of the structure: numbers and null pointers.
    let mut options: bpf::bpf_link_create_opts = unsafe { zeroed() };
    options.sz = size_of::<bpf::bpf_link_create_opts>() as _;
    options.flags = match mode {
        Attach::Native => NATIVE,
        Attach::Generic => GENERIC,
    };
    // SAFETY: the structure is as long as it says and alive until the call returns.
    let fd = unsafe {
        bpf::bpf_link_create(program.as_raw_fd(), index, bpf::bpf_attach_type_BPF_XDP, &raw const options)
    };
    done(fd)?;
    // SAFETY: the kernel has just opened the descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel's refusal to attach means.
fn refused(error: io::Error, interface: &Interface, mode: Attach) -> AttachError {
    let name = interface.name.clone();
    match error.raw_os_error() {
        // The second is told where the other program runs in another mode.
        Some(libc::EBUSY | libc::EEXIST) => AttachError::Busy { interface: name, holder: holder(interface) },
        Some(libc::ERANGE) => AttachError::Mtu { interface: name, mtu: interface.mtu },
        Some(libc::EPERM) => AttachError::Load(LoadError::privileges(error)),
        _ => AttachError::Refused { interface: name, mode, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_cannot_be_steered() {
        let one = Steering { ports: vec![6343], ..Steering::default() };
        assert!(one.check().is_ok());
        let bad = [
            (Steering::default(), "no UDP port to steer, or port 0"),
            (Steering { ports: vec![6343, 0], ..one.clone() }, "no UDP port to steer, or port 0"),
            (
                Steering { addresses: vec![address("::1"); MOST_ADDRESSES + 1], ..one.clone() },
                "1025 addresses to steer by; 1024 are allowed",
            ),
            (
                Steering { sources: vec![(address("::1"), 128); MOST_SOURCES + 1], ..one.clone() },
                "65537 source prefixes to steer by; 65536 are allowed",
            ),
            (
                Steering { addresses: vec![address("0.0.0.0")], ..one.clone() },
                "0.0.0.0 is no address that datagrams are sent to",
            ),
            (
                Steering { sources: vec![(address("10.0.0.0"), 33)], ..one.clone() },
                "10.0.0.0/33 is no prefix",
            ),
            (Steering { sources: vec![(address("::"), 129)], ..one.clone() }, "::/129 is no prefix"),
        ];
        for (steering, why) in bad {
            assert_eq!(steering.check().expect_err(why).to_string(), why);
        }
    }

    #[test]
    fn prefixes_lose_their_host_bits() {
        let of = |length: u32, octets: [u8; 16]| [&length.to_ne_bytes()[..], &octets].concat();
        let mapped = |a, b, c, d| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, a, b, c, d];
        assert_eq!(prefix(address("10.1.2.3"), 24), of(120, mapped(10, 1, 2, 0)));
        assert_eq!(prefix(address("10.1.2.3"), 32), of(128, mapped(10, 1, 2, 3)));
        assert_eq!(prefix(address("10.1.2.3"), 0), of(96, mapped(0, 0, 0, 0)));
        assert_eq!(prefix(address("2001:db8::1"), 0), of(0, [0; 16]));
        let mut net = [0; 16];
        net[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        assert_eq!(prefix(address("2001:db8:ffff::1"), 32), of(32, net));
    }

    #[test]
    fn ports_are_bits() {
        let steering = Steering { ports: vec![6343, 6344, 65_535, 6343], ..Steering::default() };
        assert_eq!(steering.words(), [(99, 0b11 << 7), (1023, 1 << 63)]);
    }
}
