//! AF_XDP sockets on the queues of an interface: opening them, and looking after the interface and the addresses that
//! datagrams come to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ingest::interface;
use ingest::receiver::Receiver;
use ingest::xdp::program::{MOST_SOURCES, Program, Steering};
use ingest::xdp::{self, Options};

use super::listened::{addresses as listened, ports};
use super::{InterfaceOptions, News, Reached, Verdicts};
use crate::options::EngineOptions;

/// What was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Each with its queue.
    pub(crate) receivers: Vec<(u32, Receiver)>,
    pub(crate) reached: Reached,
    pub(crate) watch: Watch,
}

/// Opens the interface of the options for what is sent to these addresses.
///
/// # Errors
/// Why it cannot be, in words.
pub(crate) fn open(options: &EngineOptions, addresses: &[SocketAddr]) -> Result<Opened, String> {
    let wanted = &options.interface;
    let name = wanted.name.as_deref().unwrap_or_default();
    let mut why = Vec::new();
    let mut steering = Steering { ports: ports(addresses), ..Steering::default() };
    let own = wanted.own_addresses && addresses.iter().any(|address| address.ip().is_unspecified());
    steering.addresses = if own { own_addresses()? } else { listened(addresses)? };
    match options.trust.list().senders() {
        Some(senders) if senders.len() > MOST_SOURCES => why.push(format!(
            "{} source prefixes of agents are more than the {MOST_SOURCES} that the program knows: datagrams of others \
             are refused after they were taken",
            senders.len()
        )),
        Some(senders) => steering.sources = senders,
        None => {}
    }
    let identity = interface::identity(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no interface {name}: `ip link` lists those there are"),
        _ => format!("interface {name}: {error}"),
    })?;
    let opened = xdp::open(&request(wanted, steering.clone())).map_err(|error| error.to_string())?;
    let mut reached = reached(&opened.reached);
    reached.why.append(&mut why);
    let watch = Watch {
        name: name.to_owned(),
        index: identity.0,
        own,
        steering: Mutex::new((steering, identity.1)),
        program: Arc::downgrade(&opened.program),
        verdicts: Mutex::default(),
        gone: AtomicBool::new(false),
    };
    let receivers = opened.reached.queues.iter().copied().zip(opened.receivers).collect();
    Ok(Opened { receivers, reached, watch })
}

/// Opens the interface as it would be opened, with a program that steers nothing, and closes it again.
///
/// # Errors
/// Why it cannot be, in words.
pub fn attempt(options: &InterfaceOptions) -> Result<Reached, String> {
    // The port that discards what it is sent, at an address that no network has.
    let steering =
        Steering { ports: vec![9], addresses: vec![[192, 0, 2, 255].into()], ..Steering::default() };
    let opened = xdp::open(&request(options, steering)).map_err(|error| error.to_string())?;
    Ok(reached(&opened.reached))
}

/// The memory that the frames of so many queues take at this MTU, bytes.
pub fn memory_bytes(options: &InterfaceOptions, queues: u32, mtu: u32) -> u64 {
    let frames = u64::from(options.frames.next_power_of_two()) * u64::from(queues);
    frames * u64::from(xdp::frame_bytes(mtu))
}

fn request(wanted: &InterfaceOptions, steering: Steering) -> Options {
    Options {
        queues: wanted.queues.clone(),
        order: wanted.mode,
        busy_poll: wanted.busy_poll,
        verify_checksum: wanted.verify_checksum,
        share_umem: wanted.share_umem,
        frames_per_queue: wanted.frames,
        ..Options::new(wanted.name.as_deref().unwrap_or_default(), steering)
    }
}

fn reached(by: &xdp::Reached) -> Reached {
    Reached {
        interface: Some(by.interface.clone()),
        mode: Some(by.mode.label()),
        queues: by.queues.clone(),
        huge_pages: by.huge_pages,
        multi_buffer: by.multi_buffer,
        busy_poll: by.busy_poll,
        why: by.why.clone(),
        gone: false,
    }
}

fn own_addresses() -> Result<Vec<IpAddr>, String> {
    let found = interface::addresses().map_err(|error| format!("the addresses of this machine: {error}"))?;
    if found.is_empty() {
        return Err(
            "this machine has no address that datagrams could be sent to (ingest.own_addresses)".to_owned()
        );
    }
    Ok(found)
}

/// An interface that is read, for who looks after it.
#[derive(Debug)]
pub(crate) struct Watch {
    name: String,
    /// Another interface may come to have the name.
    index: u32,
    /// Whether datagrams are taken that are for this machine's addresses, whatever these are.
    own: bool,
    /// What the program knows, and the interface's Ethernet address, which is part of that.
    steering: Mutex<(Steering, Option<[u8; 6]>)>,
    /// The sockets keep it: it goes with the last of them.
    program: Weak<Program>,
    /// As they were when the program was last there.
    verdicts: Mutex<Verdicts>,
    gone: AtomicBool,
}

impl Watch {
    /// Looks whether the interface is there, and which addresses this machine has. To be called about once a second, in
    /// the network namespace of the interface.
    pub(crate) fn tend(&self) -> Option<News> {
        if self.is_gone() {
            return None;
        }
        let address = match interface::identity(&self.name) {
            Ok((index, address)) if index == self.index => address,
            // Whoever cannot be asked has not gone.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
            Ok(_) | Err(_) => {
                self.verdicts();
                self.gone.store(true, Ordering::Release);
                return Some(News::Gone(self.name.clone()));
            }
        };
        self.readdress(address).err().map(News::Addresses)
    }

    /// Has the program know the addresses of this machine, where they are not what they were.
    fn readdress(&self, address: Option<[u8; 6]>) -> Result<(), String> {
        let mut known = self.steering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut steering = known.0.clone();
        if self.own {
            steering.addresses = own_addresses()?;
        }
        let next = (steering, address);
        let Some(program) = self.program.upgrade().filter(|_| *known != next) else { return Ok(()) };
        program.steer(&next.0).map_err(|error| error.to_string())?;
        *known = next;
        Ok(())
    }

    /// Whether it went away.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// What became of its frames.
    pub(crate) fn verdicts(&self) -> Verdicts {
        let mut last = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(verdicts)) = self.program.upgrade().map(|program| program.verdicts()) {
            *last = verdicts.frames().to_vec();
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_take_memory_by_the_mtu() {
        let options = InterfaceOptions::default();
        assert_eq!(memory_bytes(&options, 2, 1500), 2 * 8192 * 2048);
        assert_eq!(memory_bytes(&options, 1, 9000), 8192 * 4096);
    }
}
