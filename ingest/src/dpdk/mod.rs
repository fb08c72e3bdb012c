//! Ports of DPDK: frames taken from a card by its driver in this process, past the kernel.
//!
//! The environment (EAL) is started once with the operator's arguments, and every port that it finds is opened. No
//! frame of such a port reaches the kernel, so that what is not ours is counted and dropped here ([`Refused`]), and
//! nobody answers for the port's addresses.
//!
//! | module | owns |
//! |---|---|
//! | `port` | the environment, ports and buffers as types, over the C shim |
//! | `queue` | a queue's frames, and the datagrams in them that are ours |

mod port;
mod queue;

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustix::thread::{CpuSet, sched_getaffinity};

use self::port::{Burst, Port};
pub(crate) use self::queue::PortQueue;
pub use self::queue::{Counts, Refused};
use crate::receiver::Receiver;

/// Frames that a queue's ring holds, where the driver has no other limit.
pub const DESCRIPTORS: u16 = 4096;

/// What is to be opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Arguments of the environment as one would write them in a shell without quotes: which cards
    /// (`-a 0000:03:00.0`) or virtual ports (`--vdev net_pcap0,rx_pcap=FILE`), and which memory.
    pub eal: String,
    /// Queues wanted of each port; those that have fewer give what they have.
    pub queues: u16,
    /// Frames that a queue's ring is to hold.
    pub descriptors: u16,
    /// Which frames are ours.
    pub wanted: Wanted,
    /// Whether checksums are looked at, of IPv4 headers and of UDP.
    pub verify_checksum: bool,
}

/// Which frames are ours: UDP over IPv4 or IPv6, whole, and as follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// To one of these ports.
    pub ports: HashSet<u16>,
    /// And to one of these addresses; to any where there is none.
    pub addresses: HashSet<IpAddr>,
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// One per queue, those of a port together.
    pub receivers: Vec<Receiver>,
    /// The ports, in the same order.
    pub reached: Vec<Reached>,
}

/// A port that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name to the environment, such as `0000:03:00.0` or `net_pcap0`.
    pub port: String,
    /// Its driver.
    pub driver: String,
    /// Queues that it receives on.
    pub queues: u16,
    /// Frames that the ring of each holds.
    pub descriptors: u16,
    /// The largest packet, bytes.
    pub mtu: u16,
}

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An argument that no program can be given.
    #[error("an argument of DPDK's environment has a zero byte")]
    Argument,
    /// It was started before.
    #[error("DPDK was started before, which a process can do once")]
    Again,
    /// The environment did not start; what it says stands on standard error.
    #[error(
        "DPDK's environment does not start: {0}; its own lines above say more (without huge pages: --no-huge -m 512)"
    )]
    Environment(#[source] io::Error),
    /// It found no port.
    #[error(
        "DPDK has no port: bind a card to a driver of its own (dpdk-devbind.py) and allow it (-a ADDRESS), or name a \
         virtual one (--vdev)"
    )]
    NoPort,
    /// A port cannot be opened.
    #[error("DPDK's port {port}: {source}")]
    Port {
        /// Its name.
        port: String,
        /// Why.
        source: io::Error,
    },
}

/// Starts the environment and opens all of its ports. The environment's own lines go to standard error.
///
/// # Errors
/// The environment does not start or was started before, it has no port, or a port cannot be opened.
pub fn open(options: &Options) -> Result<Opened, OpenError> {
    let wanted = Arc::new(options.wanted.clone());
    let mut opened = Opened { receivers: Vec::new(), reached: Vec::new() };
    for number in port::start(arguments(&options.eal)?)? {
        let port = Port::open(number, options.queues, options.descriptors)?;
        opened.reached.push(Reached {
            port: port.name.clone(),
            driver: port.driver.clone(),
            queues: port.queues,
            descriptors: port.descriptors,
            mtu: port.mtu,
        });
        for burst in Burst::of(port) {
            let number = u32::try_from(opened.receivers.len()).unwrap_or(u32::MAX);
            let queue = PortQueue::new(number, burst, wanted.clone(), options.verify_checksum);
            opened.receivers.push(Receiver::port(queue));
        }
    }
    if opened.receivers.is_empty() { Err(OpenError::NoPort) } else { Ok(opened) }
}

/// Ours, and those of the operator behind them. Nothing is shared with other processes and none is to ask this one; one
/// core is enough, since workers are threads of ours.
fn arguments(eal: &str) -> Result<Vec<CString>, OpenError> {
    let theirs: Vec<&str> = eal.split_whitespace().collect();
    let has = |names: &[&str]| theirs.iter().any(|told| names.iter().any(|name| told.starts_with(name)));
    // Huge pages are nobody else's; where there are none the environment refuses to be told so.
    let private = if has(&["--no-huge", "--legacy-mem"]) { "--no-shconf" } else { "--in-memory" };
    let first = first_processor().to_string();
    let mut arguments = vec!["finderscope", private, "--no-telemetry"];
    if !has(&["-l", "-c", "-s", "--lcores"]) {
        arguments.extend(["-l", &first]);
    }
    arguments.extend(theirs);
    arguments.into_iter().map(|argument| CString::new(argument).map_err(|_| OpenError::Argument)).collect()
}

/// The first one that this process may use.
fn first_processor() -> usize {
    let allowed = sched_getaffinity(None).ok();
    allowed.and_then(|set| (0..CpuSet::MAX_CPU).find(|cpu| set.is_set(*cpu))).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn told(eal: &str) -> Vec<String> {
        arguments(eal).unwrap().into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn the_operators_arguments_stand_behind_ours() {
        let first = first_processor().to_string();
        let ours = ["finderscope", "--in-memory", "--no-telemetry", "-l", first.as_str()];
        assert_eq!(told("")[..], ours);
        assert_eq!(told(" -a  0000:03:00.0\n")[..5], ours);
        assert_eq!(told(" -a  0000:03:00.0\n")[5..], ["-a", "0000:03:00.0"]);
        let small = told("--no-huge -m 256");
        assert_eq!(
            (small[1].as_str(), small.len()),
            ("--no-shconf", 8),
            "the two would contradict each other"
        );
        for cores in ["-l 1,2", "-l1", "-c 3", "--lcores 0@1", "--lcores=0@1"] {
            let told = told(cores);
            assert_eq!(
                told[3..],
                cores.split(' ').collect::<Vec<_>>()[..],
                "the operator's choice of cores stands"
            );
        }
        assert!(matches!(arguments("--vdev=a\0b"), Err(OpenError::Argument)));
    }
}
