//! What can be chosen about a fabric, and the limits of it.

use thiserror::Error;

/// Containers of the service at most.
pub const HIGHEST_REPLICAS: usize = 100;

/// The choices.
#[derive(Clone, Debug, PartialEq)]
pub struct FabricOptions {
    /// Spine switches, 1 to 64.
    pub spines: usize,
    /// Leaf switches, 1 to 1,024. The first is the border leaf, with the uplink.
    pub leaves: usize,
    /// Hosts in all, 2 to 4,000 per leaf; they are dealt out to the leaves in turn.
    pub hosts: usize,
    /// Flows between hosts, each in one direction, at most 1,000,000; those of the service and to listed addresses
    /// are in addition.
    pub flows: usize,
    /// One packet in this many is sampled, 1 to 2^24.
    pub sampling: u32,
    /// The same seed gives the same fabric.
    pub seed: u64,
    /// Seconds between two samples of the same counters, 1 to 3,600.
    pub polling_s: u64,
    /// Traffic between hosts, bits per second for each host, before `rate` changes it.
    pub host_bps: f64,
    /// Datagrams per second wanted in all: traffic between hosts is scaled to what makes them.
    pub rate: Option<f64>,
    /// Containers of the service `web` at the start.
    pub replicas: usize,
    /// The load of the service over time.
    pub load: Curve,
    /// Traffic of the service at its peak, in both directions, bytes per second.
    pub web_bytes_per_s: f64,
    /// Hosts that talk to a listed address.
    pub suspects: usize,
}

impl Default for FabricOptions {
    fn default() -> Self {
        Self {
            spines: 2,
            leaves: 4,
            hosts: 32,
            flows: 400,
            sampling: 1000,
            seed: 1,
            polling_s: 10,
            host_bps: 1e9,
            rate: None,
            replicas: 2,
            load: Curve::Sine { period_s: 240.0 },
            web_bytes_per_s: 600_000.0,
            suspects: 2,
        }
    }
}

/// A load over time, as a share of its peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// Always the peak.
    Steady,
    /// From a tenth of the peak to the peak and back.
    Sine {
        /// Length of a period, seconds.
        period_s: f64,
    },
    /// The peak for the first half of each period, nothing in the second.
    Step {
        /// Length of a period, seconds.
        period_s: f64,
    },
}

impl Curve {
    /// The share of the peak at a time.
    pub fn at(self, seconds: f64) -> f64 {
        match self {
            Self::Steady => 1.0,
            Self::Sine { period_s } => {
                0.1 + 0.45 * (1.0 - (seconds / period_s * std::f64::consts::TAU).cos())
            }
            Self::Step { period_s } => {
                if (seconds / period_s).fract() < 0.5 {
                    1.0
                } else {
                    0.0
                }
            }
        }
    }
}

/// Why a fabric cannot be made, or changed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FabricError {
    /// A number is outside its limits.
    #[error("{what} is {value}: give {least} to {most}")]
    Limit {
        /// What the number is of.
        what: &'static str,
        /// What was given.
        value: f64,
        /// The smallest that is taken.
        least: f64,
        /// The largest that is taken.
        most: f64,
    },
    /// Counters alone make more datagrams than are wanted.
    #[error(
        "{wanted} datagrams per second are fewer than the counters and the service make, {least:.0}: raise the rate \
         or the polling interval, or take fewer hosts"
    )]
    Rate {
        /// What was asked for.
        wanted: f64,
        /// What there is without any traffic between hosts.
        least: f64,
    },
    /// The fabric has no such service.
    #[error("the fabric has no service {0:?}: its only one is \"web\"")]
    Service(String),
}

pub(crate) fn limit(what: &'static str, value: f64, least: f64, most: f64) -> Result<(), FabricError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(FabricError::Limit { what, value, least, most })
    }
}

impl FabricOptions {
    /// Whether all numbers are within their limits.
    ///
    /// # Errors
    /// The first that is not, by name.
    pub fn check(&self) -> Result<(), FabricError> {
        limit("the number of spines", self.spines as f64, 1.0, 64.0)?;
        limit("the number of leaves", self.leaves as f64, 1.0, 1024.0)?;
        limit("the number of hosts", self.hosts as f64, 2.0, (4000 * self.leaves) as f64)?;
        limit("the number of flows", self.flows as f64, 0.0, 1e6)?;
        limit("sampling, one in", f64::from(self.sampling), 1.0, f64::from(1 << 24))?;
        limit("polling, seconds,", self.polling_s as f64, 1.0, 3600.0)?;
        limit("the traffic of a host, bits per second,", self.host_bps, 0.0, 1e15)?;
        limit("the rate, datagrams per second,", self.rate.unwrap_or(1.0), 0.1, 1e7)?;
        limit("the number of replicas", self.replicas as f64, 0.0, HIGHEST_REPLICAS as f64)?;
        limit("the traffic of the service, bytes per second,", self.web_bytes_per_s, 0.0, 1e12)?;
        limit("the number of suspects", self.suspects as f64, 0.0, self.hosts.min(500) as f64)?;
        if let Curve::Sine { period_s } | Curve::Step { period_s } = self.load {
            limit("the period of the load, seconds,", period_s, 1.0, 1e6)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_limits_is_named() {
        let wrong = FabricOptions { spines: 0, ..FabricOptions::default() }.check();
        assert_eq!(
            wrong.map_err(|e| e.to_string()),
            Err("the number of spines is 0: give 1 to 64".to_owned())
        );
        let wrong = FabricOptions { rate: Some(f64::NAN), ..FabricOptions::default() };
        assert!(wrong.check().is_err());
        assert!(FabricOptions::default().check().is_ok());
    }

    #[test]
    fn curves_have_their_peaks_and_troughs() {
        let sine = Curve::Sine { period_s: 100.0 };
        for (seconds, share) in [(0.0, 0.1), (50.0, 1.0), (25.0, 0.55), (100.0, 0.1)] {
            assert!((sine.at(seconds) - share).abs() < 1e-9, "{seconds}");
        }
        let step = Curve::Step { period_s: 60.0 };
        assert_eq!(
            [step.at(0.0), step.at(29.9), step.at(30.0), step.at(59.9), step.at(60.0)],
            [1.0, 1.0, 0.0, 0.0, 1.0]
        );
    }
}
