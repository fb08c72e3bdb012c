//! What the agent is told: the settings, whichever of the three forms they come in (hsflowd.conf, TOML, options).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::interfaces::Kind;

mod file;
mod hsflowd;
pub mod keys;
mod toml_form;

pub use file::{Read, Wrong, parse, read};

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often counters are sent; zero sends none.
    pub polling: Duration,
    /// One packet in so many is sampled where nothing more particular is said; where this is not said either, the rate of
    /// an interface follows its speed.
    pub sampling: Option<u32>,
    /// Sampling by speed: bits per second, one in so many.
    pub sampling_by_speed: BTreeMap<u64, u32>,
    /// The speed, in bits per second, at which every packet is sampled and in proportion to which the rate grows; 0 has no
    /// rate follow a speed.
    pub bps_ratio: Option<u64>,
    /// Bytes of a sampled packet that are sent.
    pub header_bytes: u32,
    /// Largest datagram, bytes.
    pub datagram_bytes: u32,
    /// Where the samples go.
    pub collectors: Vec<Collector>,
    /// How the agent's address is found.
    pub agent: AgentAddress,
    /// Sub-agent id of the datagrams.
    pub sub_agent: u32,
    /// The host's identity, in place of its firmware's.
    pub uuid: Option<[u8; 16]>,
    /// Whether and how containers are followed.
    pub docker: Option<DockerSettings>,
    /// Interfaces whose packets are sampled.
    pub pcap: Vec<PcapSettings>,
    /// Where the agent's own health is answered.
    pub status: Option<SocketAddr>,
}

/// Where samples go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// A name or an address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The interface that its datagrams leave by (`SO_BINDTODEVICE`).
    pub device: Option<String>,
}

impl Default for Collector {
    fn default() -> Self {
        Self { host: String::new(), port: 6343, device: None }
    }
}

/// How the agent's address is found: the address itself, else one of the device, by the networks and the rule of
/// [`crate::address`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAddress {
    /// The address itself.
    pub address: Option<IpAddr>,
    /// The interface whose address it is.
    pub device: Option<String>,
    /// Networks that are preferred, the first one most, or avoided.
    pub networks: Vec<Network>,
}

/// An address and the length of its prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of it.
    pub ip: IpAddr,
    /// Length of the prefix, bits.
    pub prefix: u8,
    /// Whether its addresses are taken only where there are no others.
    pub avoided: bool,
}

/// How containers are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// The engine: `unix:///PATH`, or `tcp://HOST:PORT` (TLS) or `https://HOST:PORT`.
    pub endpoint: String,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem`, for TLS.
    pub certificates: Option<PathBuf>,
    /// Whether a container's host name is the name that its processes see in place of the container's name.
    pub hostname: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self { endpoint: "unix:///var/run/docker.sock".to_owned(), certificates: None, hostname: false }
    }
}

/// Interfaces whose packets are sampled: all that fit both `device` and `speed`. Without a `device` network cards alone are
/// meant: what passes them passes bonds, VLANs, bridges and containers' pairs too, which have speeds of their own, and would
/// count twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcapSettings {
    /// Names that fit.
    pub device: Option<Pattern>,
    /// Speeds that fit.
    pub speed: Option<Speeds>,
    /// Whether packets for others are taken too; without it, on bridges only.
    pub promiscuous: Option<bool>,
    /// One packet in so many, for these interfaces.
    pub sampling: Option<u32>,
}

/// A name with `*` for any characters and `?` for any one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether the name fits.
    pub fn fits(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }

    /// The name, if it is one and not a pattern.
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(self.0.as_str())
    }
}

/// Walks both texts once, and goes back to the last `*` when what follows it does not fit.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut back = None;
    loop {
        match (pattern.get(at), name.get(place)) {
            (Some(b'*'), _) => {
                back = Some((at, place));
                at += 1;
            }
            (Some(wanted), Some(found)) if *wanted == b'?' || wanted == found => {
                at += 1;
                place += 1;
            }
            (None, None) => return true,
            _ => match back {
                Some((star, from)) if from < name.len() => {
                    back = Some((star, from + 1));
                    at = star + 1;
                    place = from + 1;
                }
                _ => return false,
            },
        }
    }
}

/// One packet in so many where no rate is to follow a speed, and none was said.
const DEFAULT_SAMPLING: u32 = 400;
/// Bits per second for each packet in one of which one is sampled, by the 10^6 rule.
const DEFAULT_RATIO_BPS: u64 = 1_000_000;
/// The least rate of that rule: taps of virtual machines say 10 Mbit/s and carry a thousand times as much.
const LEAST_BY_SPEED: u32 = 100;
/// What an interface is taken for whose driver tells no speed.
const UNKNOWN_SPEED_BPS: u64 = 10_000_000_000;

/// The rate of a speed by a ratio; none by 0.
fn in_proportion(speed_bps: u64, ratio_bps: u64) -> Option<u32> {
    Some(u32::try_from(speed_bps.checked_div(ratio_bps)?).unwrap_or(u32::MAX).max(1))
}

/// A range of speeds, bits per second, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speeds {
    /// The least.
    pub least_bps: u64,
    /// The most; `u64::MAX` without an end.
    pub most_bps: u64,
}

impl Speeds {
    /// Whether the speed is among them; one that is not known never is.
    pub fn fit(&self, speed_bps: Option<u64>) -> bool {
        speed_bps.is_some_and(|bps| (self.least_bps..=self.most_bps).contains(&bps))
    }
}

impl PcapSettings {
    /// Whether an interface of this name and kind is meant, if its speed is right.
    pub fn may_fit(&self, name: &str, kind: Kind) -> bool {
        match &self.device {
            Some(pattern) => pattern.fits(name),
            None => self.speed.is_some() && kind == Kind::Physical,
        }
    }

    /// Whether an interface of this name, kind and speed is meant.
    pub fn fit(&self, name: &str, kind: Kind, speed_bps: Option<u64>) -> bool {
        self.may_fit(name, kind) && self.speed.is_none_or(|speeds| speeds.fit(speed_bps))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            polling: Duration::from_secs(30),
            sampling: None,
            sampling_by_speed: BTreeMap::new(),
            bps_ratio: None,
            header_bytes: 128,
            datagram_bytes: 1400,
            collectors: Vec::new(),
            agent: AgentAddress::default(),
            // Not 0, which a virtual switch with this host's address has.
            sub_agent: 100_000,
            uuid: None,
            docker: None,
            pcap: Vec::new(),
            status: None,
        }
    }
}

impl Settings {
    /// One in how many packets is sampled on an interface: what its `pcap` says, else what its speed says in
    /// `sampling.SPEED` or by `sampling.bps_ratio`, else `sampling`, else the speed by the 10^6 rule (1 Gbit/s: 1000; as if
    /// 10 Gbit/s where it is not known), at least 100.
    pub fn rate(&self, pcap: &PcapSettings, speed_bps: Option<u64>) -> u32 {
        pcap.sampling
            .or_else(|| speed_bps.and_then(|bps| self.sampling_by_speed.get(&bps).copied()))
            .or_else(|| speed_bps.zip(self.bps_ratio).and_then(|(bps, ratio)| in_proportion(bps, ratio)))
            .or(self.sampling)
            .or((self.bps_ratio == Some(0)).then_some(DEFAULT_SAMPLING))
            .unwrap_or_else(|| {
                let by_speed = in_proportion(speed_bps.unwrap_or(UNKNOWN_SPEED_BPS), DEFAULT_RATIO_BPS);
                by_speed.unwrap_or(DEFAULT_SAMPLING).max(LEAST_BY_SPEED)
            })
    }

    /// What an agent cannot run without, and has not been told.
    pub fn missing(&self) -> Option<String> {
        self.collectors.is_empty().then(|| {
            "no collector is named: use --collector HOST, or a collector section in the configuration"
                .to_owned()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
