//! Ports of DPDK: opening them, and what was counted there in the terms of an interface's queues.

use std::net::SocketAddr;

use ingest::receiver::Receiver;

use super::{QueueStatus, Reached, Verdicts};
use crate::options::EngineOptions;

/// What was opened.
pub(crate) struct Opened {
    /// In the order of their numbers.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) reached: Reached,
}

/// Starts DPDK's environment and opens the ports that it finds, with as many queues as there are workers, for what is
/// sent to these addresses.
///
/// # Errors
/// Why it cannot be, in words.
#[cfg(all(target_os = "linux", feature = "dpdk"))]
pub(crate) fn open(
    options: &EngineOptions,
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<Opened, String> {
    use super::listened;
    use ingest::dpdk;

    let queues = u16::try_from(workers).unwrap_or(u16::MAX);
    let asked = dpdk::Options {
        eal: options.dpdk.clone().unwrap_or_default(),
        queues,
        // A ring has no more, whatever the card.
        descriptors: options.interface.frames.min(1 << 15) as u16,
        wanted: dpdk::Wanted {
            ports: listened::ports(addresses).into_iter().collect(),
            addresses: listened::addresses(addresses)?.into_iter().collect(),
        },
        verify_checksum: options.interface.verify_checksum,
    };
    let opened = dpdk::open(&asked).map_err(|error| error.to_string())?;
    let names: Vec<String> =
        opened.reached.iter().map(|port| format!("{} ({})", port.port, port.driver)).collect();
    let reached = Reached {
        interface: Some(names.join(", ")),
        mode: Some("dpdk"),
        queues: (0..).take(opened.receivers.len()).collect(),
        ..Reached::default()
    };
    Ok(Opened { receivers: opened.receivers, reached })
}

/// Says why not.
#[cfg(not(all(target_os = "linux", feature = "dpdk")))]
pub(crate) fn open(
    _options: &EngineOptions,
    _addresses: &[SocketAddr],
    _workers: usize,
) -> Result<Opened, String> {
    Err("this program was built without it (feature dpdk)".to_owned())
}

/// What a queue of a port has counted, and what became of its frames; `None` for any other receiver.
#[cfg(all(target_os = "linux", feature = "dpdk"))]
pub(crate) fn status(receiver: &mut Receiver) -> Option<(QueueStatus, Verdicts)> {
    use ingest::dpdk::{Counts, Refused};

    let Counts { queue, descriptors, frames: _, given, missed, failed, no_buffer, refused } =
        receiver.port_counts()?;
    let Refused { not_udp, fragment, malformed, other_port, other_address, checksum } = refused;
    let status = QueueStatus {
        queue,
        bound: true,
        frames: descriptors.into(),
        rx_dropped: missed,
        rx_fill_ring_empty_descs: no_buffer,
        checksum_wrong: checksum,
        malformed: failed,
        ..QueueStatus::default()
    };
    let verdicts = vec![
        ("steered", given + checksum),
        ("not_udp", not_udp),
        ("other_port", other_port),
        ("other_address", other_address),
        ("fragment", fragment),
        ("truncated", malformed),
    ];
    Some((status, verdicts))
}

/// Queues that no receiver is of.
#[cfg(not(all(target_os = "linux", feature = "dpdk")))]
pub(crate) fn status(_receiver: &mut Receiver) -> Option<(QueueStatus, Verdicts)> {
    None
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::interface::Ingest;
    use crate::{Engine, EngineOptions};

    #[test]
    fn ports_that_cannot_be_are_an_error() {
        let options = EngineOptions {
            sflow: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            ingest: Ingest::Dpdk,
            ..EngineOptions::default()
        };
        let why = Engine::start(&options).err().map(|error| error.to_string()).unwrap_or_default();
        let reason = if cfg!(feature = "dpdk") { "loopback addresses alone" } else { "built without it" };
        assert!(why.starts_with("DPDK is asked for") && why.contains(reason), "{why}");
    }
}
