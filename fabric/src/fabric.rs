//! Time: traffic, samples and polls, tick by tick.
//!
//! Packets are not simulated one by one. In a tick each flow sends the whole frames that are due, which all of its
//! hops count; random sampling skips over them, so that each packet is sampled with a probability of 1/N and every
//! count is exact.

use std::net::Ipv4Addr;

use decode::build::RecordOut;
use decode::flow::{EXTENDED_SWITCH, SampledHeader};
use decode::layout::Value;
use decode::sample::Interface;
use decode::{Address, DataSource, FlowSample};

use crate::agent::{Agent, Sink};
use crate::counters::{self, HostState, HostView};
use crate::options::{FabricError, FabricOptions, HIGHEST_REPLICAS, limit};
use crate::pace;
use crate::packet::{self, FCS_BYTES, Link, SAMPLED_BYTES};
use crate::random::{Random, Skip};
use crate::service::{Container, Service, Slot, Volume, WEB};
use crate::topology::{Role, Topology};
use crate::traffic::{Flow, Traffic, suspect};
use crate::truth::{self, Listed, Truth};

/// Length of a tick, microseconds.
pub const TICK_US: u64 = 20_000;

/// Speeds of ports, gigabits per second.
const SPEEDS_GBPS: [u64; 8] = [1, 10, 25, 100, 400, 800, 1600, 3200];

/// A packet that was sampled in this tick.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    flow: usize,
    hop: usize,
    pool: u64,
}

/// A simulated fabric.
#[derive(Debug)]
pub struct Fabric {
    options: FabricOptions,
    topology: Topology,
    traffic: Traffic,
    service: Service,
    /// By device.
    agents: Vec<Agent>,
    hosts: Vec<HostState>,
    random: Random,
    skip: Skip,
    now_us: u64,
    sampled: Vec<Sampled>,
    /// Containers that stopped and have not said so yet: their slot, and they.
    stopped: Vec<(usize, Container)>,
}

impl Fabric {
    /// A fabric at time 0, in which nothing was sent yet.
    ///
    /// # Errors
    /// A number of the options is outside its limits, or the rate is less than what the counters alone make.
    pub fn new(options: &FabricOptions) -> Result<Self, FabricError> {
        options.check()?;
        let mut random = Random::new(options.seed);
        let topology = Topology::new(options);
        let mut traffic = Traffic::new(options, &topology, &mut random);
        if let Some(wanted) = options.rate {
            let scale = pace::scale(options, &topology, &traffic, wanted)?;
            traffic.scale(scale);
        }
        let agents = topology
            .devices
            .iter()
            .map(|device| Agent::new(Address::V4(device.address), random.below(1 << 30) as u32))
            .collect();
        let polling_us = options.polling_s * 1_000_000;
        let phase = |random: &mut Random| random.below(polling_us as usize) as u64;
        let hosts =
            (0..options.hosts).map(|_| HostState::new(random.identity(), phase(&mut random))).collect();
        let mut fabric = Self {
            options: options.clone(),
            service: Service::new(options),
            skip: Skip::new(options.sampling),
            topology,
            traffic,
            agents,
            hosts,
            random,
            now_us: 0,
            sampled: Vec::new(),
            stopped: Vec::new(),
        };
        for port in &mut fabric.topology.ports {
            port.skip = fabric.skip.draw(&mut fabric.random);
            port.poll_us = phase(&mut fabric.random);
        }
        fabric.choose_speeds();
        fabric.set_replicas(WEB, options.replicas)?;
        Ok(fabric)
    }

    /// Every port is the slowest that is filled to three fifths at most.
    fn choose_speeds(&mut self) {
        let mut bits = vec![(0.0_f64, 0.0_f64); self.topology.ports.len()];
        for flow in &self.traffic.flows {
            for (n, hop) in flow.path.hops().iter().enumerate() {
                bits[hop.input].0 += flow.pps * 8.0 * f64::from(flow.length_into(n));
                bits[hop.output].1 += flow.pps * 8.0 * f64::from(flow.length_out_of(n));
            }
        }
        for (port, (in_, out)) in self.topology.ports.iter_mut().zip(bits) {
            let needed = in_.max(out) / 0.6e9;
            let speed = SPEEDS_GBPS.iter().find(|speed| **speed as f64 >= needed);
            port.speed_bps = speed.unwrap_or(&SPEEDS_GBPS[SPEEDS_GBPS.len() - 1]) * 1_000_000_000;
        }
    }

    /// Simulated time, microseconds: a whole number of ticks.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Lets time pass until the last whole tick before `now_us`, and gives each datagram and its agent to `sink`. No
    /// sample waits for longer than half a second of simulated time.
    pub fn step(&mut self, now_us: u64, sink: &mut impl FnMut(Address, &[u8])) {
        while self.now_us + TICK_US <= now_us {
            self.tick(sink);
        }
    }

    /// Sends the counters of every data source, and whatever waits: afterwards counters and truth are equal.
    pub fn finish(&mut self, sink: &mut impl FnMut(Address, &[u8])) {
        self.say_stopped(sink);
        self.poll(true, sink);
        for agent in &mut self.agents {
            agent.send(self.now_us, sink);
        }
    }

    /// Changes the number of containers of a service; those that stop say so in the next tick.
    ///
    /// # Errors
    /// There is no such service, or the number is more than [`HIGHEST_REPLICAS`].
    pub fn set_replicas(&mut self, service: &str, replicas: usize) -> Result<(), FabricError> {
        if service != WEB {
            return Err(FabricError::Service(service.to_owned()));
        }
        limit("the number of replicas", replicas as f64, 0.0, HIGHEST_REPLICAS as f64)?;
        while self.service.replicas() < replicas {
            self.service.start(&self.topology, &mut self.traffic, &mut self.random, None, self.now_us);
        }
        while self.service.replicas() > replicas {
            self.stopped.extend(self.service.stop(&mut self.traffic));
        }
        Ok(())
    }

    /// Has a service run the containers of these names and no others: somebody else is its swarm.
    ///
    /// # Errors
    /// There is no such service, or there are more than [`HIGHEST_REPLICAS`].
    pub fn set_containers(&mut self, service: &str, names: &[String]) -> Result<(), FabricError> {
        if service != WEB {
            return Err(FabricError::Service(service.to_owned()));
        }
        limit("the number of replicas", names.len() as f64, 0.0, HIGHEST_REPLICAS as f64)?;
        for place in 0..self.service.slots.len() {
            let running = self.service.slots[place].running.as_ref();
            if running.is_some_and(|container| !names.contains(&container.name)) {
                self.stopped.extend(self.service.stop_at(place, &mut self.traffic));
            }
        }
        for name in names {
            let runs = |slot: &Slot| slot.running.as_ref().is_some_and(|container| container.name == *name);
            if !self.service.slots.iter().any(runs) {
                let (topology, traffic, random) = (&self.topology, &mut self.traffic, &mut self.random);
                self.service.start(topology, traffic, random, Some(name), self.now_us);
            }
        }
        Ok(())
    }

    /// The switches' agents.
    pub fn switches(&self) -> impl Iterator<Item = Ipv4Addr> {
        let switches = self.topology.spines + self.topology.leaves;
        self.topology.devices[..switches].iter().map(|device| device.address)
    }

    /// Containers of a service that run; `None` when there is no such service.
    pub fn replicas(&self, service: &str) -> Option<usize> {
        (service == WEB).then(|| self.service.replicas())
    }

    /// The listed addresses, and the hosts that talk to them.
    pub fn listed(&self) -> Vec<Listed> {
        (0..self.options.suspects)
            .map(|n| {
                let (host, address) = suspect(&self.topology, n);
                Listed { address, host: self.topology.host_v4(host) }
            })
            .collect()
    }

    fn tick(&mut self, sink: &mut Sink<'_>) {
        self.now_us += TICK_US;
        self.say_stopped(sink);
        self.send_frames();
        let sampled = std::mem::take(&mut self.sampled);
        for sample in &sampled {
            self.emit(*sample, sink);
        }
        self.sampled = sampled;
        self.poll(false, sink);
        for agent in &mut self.agents {
            agent.tick(self.now_us, sink);
        }
    }

    /// Every flow sends what is due, and every hop counts and samples it.
    fn send_frames(&mut self) {
        self.sampled.clear();
        let seconds = TICK_US as f64 / 1e6;
        let share = self.service.share(self.now_us as f64 / 1e6);
        for (place, flow) in self.traffic.flows.iter_mut().enumerate().filter(|(_, flow)| !flow.idle) {
            flow.due += flow.pps * seconds * if flow.of_service { share } else { 1.0 };
            let frames = flow.due as u64;
            if frames == 0 {
                continue;
            }
            flow.due -= frames as f64;
            flow.frames += frames;
            for (n, hop) in flow.path.hops().iter().enumerate() {
                let port = &mut self.topology.ports[hop.input];
                let mut passed = 0;
                while port.skip < frames - passed {
                    passed += port.skip + 1;
                    self.sampled.push(Sampled { flow: place, hop: n, pool: port.in_frames + passed });
                    flow.samples[n] += 1;
                    port.skip = self.skip.draw(&mut self.random);
                }
                port.skip -= frames - passed;
                port.in_frames += frames;
                port.in_octets += frames * u64::from(flow.length_into(n));
                let port = &mut self.topology.ports[hop.output];
                port.out_frames += frames;
                port.out_octets += frames * u64::from(flow.length_out_of(n));
            }
        }
    }

    /// A flow sample for a packet.
    fn emit(&mut self, sampled: Sampled, sink: &mut Sink<'_>) {
        let flow = &self.traffic.flows[sampled.flow];
        let hop = flow.path.hops()[sampled.hop];
        let mut buffer = [0; 2 * SAMPLED_BYTES];
        let frame_length = flow.length_into(sampled.hop);
        let length = write_header(flow, sampled.hop, &self.topology, frame_length, &mut buffer);
        let header =
            SampledHeader { protocol: 1, frame_length, stripped: FCS_BYTES, bytes: &buffer[..length] };
        // Ports between switches are routed, and have no VLAN.
        let last = flow.path.hops().len() - 1;
        let vlan = |at_host: bool| Value::U32(if at_host { flow.vlan } else { 0 });
        let switch = [vlan(sampled.hop == 0), Value::U32(0), vlan(sampled.hop == last), Value::U32(0)];
        let (output, device) = {
            let output = &self.topology.ports[hop.output];
            (output.if_index, output.device)
        };
        let port = &mut self.topology.ports[hop.input];
        port.flow_samples = port.flow_samples.wrapping_add(1);
        let sample = FlowSample {
            // Both forms are in the field.
            expanded: self.topology.devices[device].role == Role::Spine,
            sequence: port.flow_samples,
            source: DataSource { class: 0, index: port.if_index },
            sampling_rate: self.options.sampling,
            sample_pool: sampled.pool as u32,
            drops: 0,
            input: Interface::index(port.if_index),
            output: Interface::index(output),
            ..FlowSample::default()
        };
        let records = [RecordOut::Header(header), RecordOut::Fields(&EXTENDED_SWITCH, &switch)];
        self.agents[device].flow_sample(&sample, &records, self.now_us, sink);
    }

    /// Sends the counters that are due, or all of them.
    fn poll(&mut self, all: bool, sink: &mut Sink<'_>) {
        let (now_us, polling_us) = (self.now_us, self.options.polling_s * 1_000_000);
        let due = |poll_us: &mut u64| {
            let due = *poll_us <= now_us;
            if due {
                *poll_us += polling_us;
            }
            due || all
        };
        for port in &mut self.topology.ports {
            if due(&mut port.poll_us) {
                let device = &self.topology.devices[port.device];
                let expanded = device.role == Role::Spine;
                counters::interface(port, &mut self.agents[port.device], expanded, now_us, sink);
            }
        }
        for host in 0..self.hosts.len() {
            if due(&mut self.hosts[host].poll_us) {
                self.poll_host(host, sink);
            }
        }
        for slot in &mut self.service.slots {
            let Some(mut container) = slot.running.take() else { continue };
            if due(&mut container.poll_us) {
                if container.counter_samples == 0 {
                    // The first sample is sent at the start, the second somewhere within an interval.
                    container.poll_us = now_us + self.random.below(polling_us as usize) as u64;
                }
                let volumes = slot.volumes(&container, &self.traffic);
                let agent = &mut self.agents[self.topology.switches() + slot.host];
                counters::container(&mut container, slot.mac, volumes, false, agent, now_us, sink);
            }
            slot.running = Some(container);
        }
    }

    fn poll_host(&mut self, host: usize, sink: &mut Sink<'_>) {
        let device = self.topology.host(host);
        let port = &self.topology.ports[self.topology.place(host).port];
        let slots = || self.service.slots.iter().filter(|slot| slot.host == host);
        let view = HostView {
            name: &device.name,
            mac: device.mac,
            volumes: (
                Volume { frames: port.out_frames, bytes: port.out_octets },
                Volume { frames: port.in_frames, bytes: port.in_octets },
            ),
            containers: slots().filter(|slot| slot.running.is_some()).count(),
            containers_ns: slots().map(|slot| slot.cpu_ns(&self.traffic)).sum(),
        };
        let agent = &mut self.agents[self.topology.switches() + host];
        counters::host(&mut self.hosts[host], &view, agent, self.now_us, sink);
    }

    /// The final samples of containers that stopped.
    fn say_stopped(&mut self, sink: &mut Sink<'_>) {
        for (place, mut container) in std::mem::take(&mut self.stopped) {
            let slot = &self.service.slots[place];
            let volumes = slot.volumes(&container, &self.traffic);
            let agent = &mut self.agents[self.topology.switches() + slot.host];
            counters::container(&mut container, slot.mac, volumes, true, agent, self.now_us, sink);
        }
    }

    /// What has really passed so far.
    pub fn truth(&self) -> Truth {
        Truth {
            time_us: self.now_us,
            sampling: self.options.sampling,
            agents: truth::agents(&self.topology, &self.agents),
            flows: truth::flows(&self.topology, &self.traffic),
            interfaces: truth::interfaces(&self.topology, &self.traffic),
            containers: truth::containers(&self.topology, &self.traffic, &self.service),
            listed: self.listed(),
        }
    }
}

/// Writes the first bytes of a flow's packet as it enters a hop; gives their number.
fn write_header(
    flow: &Flow,
    hop: usize,
    topology: &Topology,
    frame_length: u32,
    buffer: &mut [u8; 2 * SAMPLED_BYTES],
) -> usize {
    let mac = |port: usize| topology.devices[topology.ports[port].device].mac;
    let hops = flow.path.hops();
    let link = match hop.checked_sub(1) {
        None => flow.first_link,
        Some(before) => Link { source: mac(hops[before].input), destination: mac(hops[hop].input) },
    };
    let tunnel = flow.tunnel.as_ref().filter(|_| hop > 0);
    // Of a tunnel the first leaf is the sender, and no router yet.
    let routed = if tunnel.is_some() { hop - 1 } else { hop } as u8;
    packet::write(&flow.packet, link, tunnel, routed, frame_length, buffer)
        .expect("the buffer holds the headers of every packet of the fabric")
}
