//! The XDP program that steers: the interface it is attached to, the sockets it steers to, and its counters.
//!
//! What it does with a frame is in `steer.bpf.c`, whose verdicts and maps these are; what it is told is in `steering`. It
//! is attached by a link, which goes with the process, however it ends: nothing of it is left on the interface.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use libxdp_sys as bpf;
use thiserror::Error;

use super::holder::holder;
use super::object::{LoadError, Object, done};
use super::steering::Maps;
pub use super::steering::{MOST_ADDRESSES, MOST_SOURCES, SteerError, Steering};
use crate::interface::{self, Interface};

/// The program as clang has written it.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));

/// Queues that may have a socket: those below this number.
pub const MOST_QUEUES: u32 = 1024;

/// Of the kernel's `if_link.h`: how a program is attached.
const GENERIC: u32 = 1 << 1;
const NATIVE: u32 = 1 << 2;

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
