//! How much traffic makes a wanted number of datagrams per second.
//!
//! An agent sends a datagram when it is full, or when its first sample has waited for long enough; with `s` samples
//! of `b` bytes a second in all that are about `max(b / 1372, s / (1 + s * wait))` datagrams.

use crate::agent::{HEADER_BYTES, LARGEST_DATAGRAM, LONGEST_WAIT_US};
use crate::options::{FabricError, FabricOptions};
use crate::topology::Topology;
use crate::traffic::Traffic;

/// A flow sample with 128 bytes of header and an `extended_switch`, bytes.
const FLOW_SAMPLE_BYTES: f64 = 216.0;

/// Counters samples of an interface and of a host, bytes.
const INTERFACE_BYTES: f64 = 204.0;

/// Samples per second that an agent makes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Flow samples of traffic between hosts.
    scaled: f64,
    /// Other flow samples.
    fixed: f64,
    /// Counters samples.
    counters: f64,
}

impl Load {
    fn datagrams(&self, scale: f64) -> f64 {
        let flow = self.scaled * scale + self.fixed;
        let samples = flow + self.counters;
        let bytes = flow * FLOW_SAMPLE_BYTES + self.counters * INTERFACE_BYTES;
        let full = bytes / (LARGEST_DATAGRAM - HEADER_BYTES) as f64;
        let waited = samples / (1.0 + samples * LONGEST_WAIT_US as f64 / 1e6);
        full.max(waited)
    }
}

/// By what to scale the traffic between hosts, so that all agents together send `wanted` datagrams per second.
///
/// # Errors
/// Without any there would be more.
pub(crate) fn scale(
    options: &FabricOptions,
    topology: &Topology,
    traffic: &Traffic,
    wanted: f64,
) -> Result<f64, FabricError> {
    let per_poll = 1.0 / options.polling_s as f64;
    let mut loads = vec![Load::default(); topology.switches()];
    for port in &topology.ports {
        loads[port.device].counters += per_poll;
    }
    for (place, flow) in traffic.flows.iter().enumerate() {
        for hop in flow.path.hops() {
            let load = &mut loads[topology.ports[hop.input].device];
            let samples = flow.pps / f64::from(options.sampling);
            if place < traffic.scaled {
                load.scaled += samples;
            } else if !flow.of_service {
                load.fixed += samples;
            }
        }
    }
    // A host sends one sample at a time.
    let hosts = (options.hosts + options.replicas) as f64 * per_poll;
    let datagrams = |scale: f64| hosts + loads.iter().map(|load| load.datagrams(scale)).sum::<f64>();
    let least = datagrams(0.0);
    if least > wanted {
        return Err(FabricError::Rate { wanted, least });
    }
    if traffic.scaled == 0 {
        return Ok(1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while datagrams(high) < wanted {
        low = high;
        high *= 2.0;
        if high > 1e15 {
            // All samples together are too few: every packet is sampled already, or nothing is sent.
            return Ok(low);
        }
    }
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if datagrams(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}
