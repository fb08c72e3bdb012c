//! A container's network adapters, as they are in its network namespace.
//!
//! A thread of its own enters the namespace for the moment that the list takes, because a thread that has entered one
//! cannot always return. That takes CAP_SYS_ADMIN; without it the engine's word for the addresses has to do.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::place::Root;
use crate::interfaces::{self, Interface, Kind};

/// Adapters that are kept of a container.
const MOST_ADAPTERS: usize = 32;

/// The thread needs no more: it makes one list.
const STACK_BYTES: usize = 256 * 1024;

/// A network adapter of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its ifIndex in the container; 0 where that is not known.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The ifIndex of its other half on the host.
    pub peer: Option<u32>,
}

/// The adapters in the network namespace of a process.
///
/// # Errors
/// The namespace may not be entered, or the process is gone.
pub fn of_process(root: &Root, pid: u32) -> io::Result<Vec<Adapter>> {
    let namespace = File::open(root.of_process(pid, "ns/net"))?;
    let inside = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        interfaces::list(interfaces::open()?)
    };
    let thread = thread::Builder::new().name("adapters".to_owned()).stack_size(STACK_BYTES).spawn(inside)?;
    let listed =
        thread.join().map_err(|_| io::Error::other("the list of interfaces could not be made"))??;
    Ok(listed.iter().filter_map(adapter).take(MOST_ADAPTERS).collect())
}

fn adapter(interface: &Interface) -> Option<Adapter> {
    if interface.kind == Kind::Loopback {
        return None;
    }
    let peer = interface.link.filter(|_| interface.kind == Kind::Veth);
    Some(Adapter { index: interface.index, mac: interface.mac?.0, peer })
}
