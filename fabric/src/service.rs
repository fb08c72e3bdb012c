//! The swarm service `web`: its containers, and the load that they share.
//!
//! Each slot of the service has its host, address and connections; a container that starts in it is new in name,
//! identity and counters, so that scaling up and down for ever needs no more memory than the highest number once.

use std::net::Ipv4Addr;

use decode::Mac;

use crate::options::{Curve, FabricOptions};
use crate::random::Random;
use crate::topology::Topology;
use crate::traffic::{CLIENTS, Traffic};

/// The only service.
pub const WEB: &str = "web";

/// Index of an agent's first container within class 3, as Host sFlow counts them.
const FIRST_INDEX: u32 = 100_000;

/// Processor time that a byte of a container's traffic costs, nanoseconds.
pub(crate) const CPU_NS_PER_BYTE: u64 = 100;

/// Frames and bytes of some flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Volume {
    /// What these flows have carried.
    pub(crate) fn of(flows: &[usize], traffic: &Traffic) -> Self {
        let mut volume = Self::default();
        for flow in flows.iter().map(|flow| &traffic.flows[*flow]) {
            volume.frames += flow.frames;
            volume.bytes += flow.frames * u64::from(flow.frame_length);
        }
        volume
    }

    fn since(self, start: Self) -> Self {
        Self { frames: self.frames - start.frames, bytes: self.bytes - start.bytes }
    }
}

/// A place for a container of the service.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) host: usize,
    pub(crate) mac: Mac,
    pub(crate) requests: Vec<usize>,
    pub(crate) responses: Vec<usize>,
    pub(crate) running: Option<Container>,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// `web.<slot>.<task>`
    pub(crate) name: String,
    pub(crate) uuid: [u8; 16],
    /// Index of its data source.
    pub(crate) index: u32,
    pub(crate) counter_samples: u32,
    pub(crate) poll_us: u64,
    /// What the slot's connections had carried when it started.
    start: (Volume, Volume),
}

impl Slot {
    /// Traffic of the container that runs, in and out.
    pub(crate) fn volumes(&self, container: &Container, traffic: &Traffic) -> (Volume, Volume) {
        let (start_in, start_out) = container.start;
        (
            Volume::of(&self.requests, traffic).since(start_in),
            Volume::of(&self.responses, traffic).since(start_out),
        )
    }

    /// Processor time of all containers that ever ran here, nanoseconds.
    pub(crate) fn cpu_ns(&self, traffic: &Traffic) -> u64 {
        let (in_, out) = (Volume::of(&self.requests, traffic), Volume::of(&self.responses, traffic));
        (in_.bytes + out.bytes) * CPU_NS_PER_BYTE
    }
}

/// The service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) load: Curve,
    web_bytes_per_s: f64,
    pub(crate) slots: Vec<Slot>,
    /// Containers that every host has had.
    had: Vec<u32>,
}

impl Service {
    pub(crate) fn new(options: &FabricOptions) -> Self {
        Self {
            load: options.load,
            web_bytes_per_s: options.web_bytes_per_s,
            slots: Vec::new(),
            had: vec![0; options.hosts],
        }
    }

    /// Containers that run.
    pub(crate) fn replicas(&self) -> usize {
        self.slots.iter().filter(|slot| slot.running.is_some()).count()
    }

    /// What a connection carries of the service's peak now.
    pub(crate) fn share(&self, seconds: f64) -> f64 {
        match self.replicas() {
            0 => 0.0,
            replicas => self.load.at(seconds) / (replicas * CLIENTS) as f64,
        }
    }

    /// Starts a container in a slot that is free, or in a new one; its first sample is due at once. Without a name it has
    /// one as a swarm gives them.
    pub(crate) fn start(
        &mut self,
        topology: &Topology,
        traffic: &mut Traffic,
        random: &mut Random,
        name: Option<&str>,
        now_us: u64,
    ) {
        let place = match self.slots.iter().position(|slot| slot.running.is_none()) {
            Some(place) => place,
            None => self.add_slot(topology, traffic),
        };
        let slot = &mut self.slots[place];
        let start = (Volume::of(&slot.requests, traffic), Volume::of(&slot.responses, traffic));
        let task: String =
            (0..25).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[random.below(36)])).collect();
        let uuid = random.identity();
        let index = FIRST_INDEX + self.had[slot.host];
        self.had[slot.host] += 1;
        let name = name.map_or_else(|| format!("{WEB}.{}.{task}", place + 1), str::to_owned);
        slot.running = Some(Container { name, uuid, index, counter_samples: 0, poll_us: now_us, start });
        slot.set_idle(traffic, false);
    }

    /// Stops the container of the highest slot; the slot and the container as it was.
    pub(crate) fn stop(&mut self, traffic: &mut Traffic) -> Option<(usize, Container)> {
        let place = self.slots.iter().rposition(|slot| slot.running.is_some())?;
        self.stop_at(place, traffic)
    }

    /// Stops the container of a slot; the slot and the container as it was.
    pub(crate) fn stop_at(&mut self, place: usize, traffic: &mut Traffic) -> Option<(usize, Container)> {
        let slot = &mut self.slots[place];
        let container = slot.running.take()?;
        slot.set_idle(traffic, true);
        Some((place, container))
    }

    fn add_slot(&mut self, topology: &Topology, traffic: &mut Traffic) -> usize {
        let place = self.slots.len();
        let host = place % topology.hosts;
        let ip = Ipv4Addr::new(10, 200, 0, 10 + place as u8);
        let [a, b, c, d] = ip.octets();
        let mac = Mac([2, 0x42, a, b, c, d]);
        let (requests, responses) = traffic.container(topology, host, (ip, mac), place, self.web_bytes_per_s);
        self.slots.push(Slot { host, mac, requests, responses, running: None });
        place
    }
}

impl Slot {
    fn set_idle(&self, traffic: &mut Traffic, idle: bool) {
        for flow in self.requests.iter().chain(&self.responses) {
            traffic.flows[*flow].idle = idle;
        }
    }
}
