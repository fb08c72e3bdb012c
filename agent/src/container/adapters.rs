//! A container's network adapters, as they are in its network namespace.
//!
//! A thread of its own enters the namespace for the moment that the list takes, because a thread that has entered one
//! cannot always return. That takes CAP_SYS_ADMIN; without it the engine's word for the addresses has to do.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::place::Root;
use crate::interfaces::{self, Interface, Kind};

/// Adapters that are kept of a container.
const MOST_ADAPTERS: usize = 32;

/// The thread needs no more: it makes one list.
const STACK_BYTES: usize = 256 * 1024;

/// While the list is awaited, the caller is heard so often. The kernel makes none while an engine sets up a network or
/// takes it away, which can be tens of milliseconds.
const TURN: Duration = Duration::from_millis(1);

/// A network adapter of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The ifIndex of its other half, if that is on the host.
    pub peer: Option<u32>,
}

/// The adapters in the network namespace of a process; `meanwhile` is called every millisecond until they are known.
///
/// # Errors
/// The namespace may not be entered, or the process is gone.
pub fn of_process(root: &Root, pid: u32, mut meanwhile: impl FnMut()) -> io::Result<Vec<Adapter>> {
    let namespace = File::open(root.of_process(pid, "ns/net"))?;
    // A socket stays in the namespace that it was opened in.
    let host = interfaces::open()?;
    let list = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let inside = interfaces::list(interfaces::open()?)?;
        Ok(inside.iter().filter_map(|interface| adapter(interface, &host)).take(MOST_ADAPTERS).collect())
    };
    let (tell, told) = mpsc::channel();
    let thread = thread::Builder::new().name("adapters".to_owned()).stack_size(STACK_BYTES);
    // Whoever asked may be gone, which is as well.
    thread.spawn(move || drop(tell.send(list())))?;
    loop {
        match told.recv_timeout(TURN) {
            Ok(listed) => return listed,
            Err(RecvTimeoutError::Timeout) => meanwhile(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the list of interfaces could not be made"));
            }
        }
    }
}

fn adapter(interface: &Interface, host: impl AsFd) -> Option<Adapter> {
    if interface.kind == Kind::Loopback {
        return None;
    }
    // In an overlay network of a swarm the other half is in a namespace of that network, and what has its index on the
    // host is something else.
    let is_half = |index: &u32| {
        let there = interfaces::get(&host, *index);
        there.is_ok_and(|there| there.kind == Kind::Veth && there.link == Some(interface.index))
    };
    let peer = interface.link.filter(|_| interface.kind == Kind::Veth).filter(is_half);
    Some(Adapter { mac: interface.mac?.0, peer })
}
