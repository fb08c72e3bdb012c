//! What really passed: the numbers that a collector's estimates are compared with.

use std::net::{IpAddr, Ipv4Addr};

use decode::{Address, DataSource};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::service::Service;
use crate::topology::Topology;
use crate::traffic::{Flow, Traffic};

/// All of it, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Simulated time, microseconds.
    pub time_us: u64,
    /// One packet in this many was sampled.
    pub sampling: u32,
    /// Who sends sFlow.
    pub agents: Vec<AgentTruth>,
    /// Every flow that there was.
    pub flows: Vec<FlowTruth>,
    /// Every port of every switch; its traffic is the sum of the flows that use it.
    pub interfaces: Vec<InterfaceTruth>,
    /// Every container that runs.
    pub containers: Vec<ContainerTruth>,
    /// The listed addresses.
    pub listed: Vec<Listed>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentTruth {
    /// Its address.
    pub agent: Address,
    /// Its name.
    pub name: String,
    /// `spine`, `leaf` or `host`.
    pub role: &'static str,
    /// Datagrams sent.
    pub datagrams: u32,
}

/// A flow, in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowTruth {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port; 0 where the protocol has none.
    pub ports: (u16, u16),
    /// Virtual network, of flows in a tunnel.
    pub vni: Option<u32>,
    /// The tunnel's ends, from the second hop on.
    pub tunnel: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Frames that were sent.
    pub frames: u64,
    /// Their bytes on the first link, frame check sequences included.
    pub bytes: u64,
    /// The switches that it crosses.
    pub hops: Vec<HopTruth>,
}

/// A flow at one of its switches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HopTruth {
    /// The switch.
    pub agent: Address,
    /// The ifIndex that it comes in by: the data source.
    pub input: u32,
    /// The ifIndex that it goes out by.
    pub output: u32,
    /// Length of its frames on the way in.
    pub frame_length: u32,
    /// Samples that were taken here.
    pub samples: u64,
}

/// A port of a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceTruth {
    /// The switch.
    pub agent: Address,
    /// The port, which is the data source too.
    pub source: DataSource,
    /// `ifName`
    pub name: String,
    /// Bits per second.
    pub speed_bps: u64,
    /// Bytes in.
    pub in_octets: u64,
    /// Frames in: the sample pool.
    pub in_frames: u64,
    /// Bytes out.
    pub out_octets: u64,
    /// Frames out.
    pub out_frames: u64,
    /// Samples that were taken.
    pub samples: u64,
}

/// A container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerTruth {
    /// The host that it runs on.
    pub agent: Address,
    /// Its data source.
    pub source: DataSource,
    /// `web.<slot>.<task>`
    pub name: String,
    /// Bytes in since it started.
    pub in_octets: u64,
    /// Bytes out since it started.
    pub out_octets: u64,
}

/// A host that talks to an address that is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The listed address.
    pub address: Ipv4Addr,
    /// Who talks to it.
    pub host: Ipv4Addr,
}

impl Truth {
    /// As JSON: an object of arrays, addresses as text, a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = json!({
            "time_us": self.time_us,
            "sampling": self.sampling,
            "agents": list(&self.agents, |a| json!({
                "agent": a.agent.to_string(), "name": a.name, "role": a.role, "datagrams": a.datagrams,
            })),
            "flows": list(&self.flows, FlowTruth::json),
            "interfaces": list(&self.interfaces, |i| json!({
                "agent": i.agent.to_string(), "dataSource": i.source.to_string(), "name": i.name,
                "speed_bps": i.speed_bps, "in_octets": i.in_octets, "in_frames": i.in_frames,
                "out_octets": i.out_octets, "out_frames": i.out_frames, "samples": i.samples,
            })),
            "containers": list(&self.containers, |c| json!({
                "agent": c.agent.to_string(), "dataSource": c.source.to_string(), "name": c.name,
                "in_octets": c.in_octets, "out_octets": c.out_octets,
            })),
            "listed": list(&self.listed, |l| json!({
                "address": l.address.to_string(), "host": l.host.to_string(),
            })),
        })
        .to_string();
        text.push('\n');
        text
    }
}

impl FlowTruth {
    fn json(&self) -> Value {
        json!({
            "source": self.source.to_string(),
            "destination": self.destination.to_string(),
            "protocol": self.protocol,
            "source_port": self.ports.0,
            "destination_port": self.ports.1,
            "vni": self.vni,
            "tunnel": self.tunnel.map(|(from, to)| [from.to_string(), to.to_string()]),
            "frames": self.frames,
            "bytes": self.bytes,
            "hops": list(&self.hops, |hop| json!({
                "agent": hop.agent.to_string(), "input": hop.input, "output": hop.output,
                "frame_length": hop.frame_length, "samples": hop.samples,
            })),
        })
    }
}

fn list<T>(all: &[T], one: impl FnMut(&T) -> Value) -> Value {
    Value::Array(all.iter().map(one).collect())
}

pub(crate) fn agents(topology: &Topology, agents: &[Agent]) -> Vec<AgentTruth> {
    let devices = topology.devices.iter().zip(agents);
    devices
        .map(|(device, agent)| AgentTruth {
            agent: agent.address,
            name: device.name.clone(),
            role: device.role.label(),
            datagrams: agent.sent,
        })
        .collect()
}

pub(crate) fn flows(topology: &Topology, traffic: &Traffic) -> Vec<FlowTruth> {
    traffic.flows.iter().map(|flow| of_flow(topology, flow)).collect()
}

fn of_flow(topology: &Topology, flow: &Flow) -> FlowTruth {
    let hops = flow.path.hops().iter().enumerate().map(|(n, hop)| HopTruth {
        agent: topology.agent_of(hop.input),
        input: topology.ports[hop.input].if_index,
        output: topology.ports[hop.output].if_index,
        frame_length: flow.length_into(n),
        samples: flow.samples[n],
    });
    let packet = &flow.packet;
    FlowTruth {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.carried.protocol(packet.source.is_ipv6()),
        ports: (packet.source_port, packet.destination_port),
        vni: flow.tunnel.map(|tunnel| tunnel.vni),
        tunnel: flow.tunnel.map(|tunnel| (tunnel.from, tunnel.to)),
        frames: flow.frames,
        bytes: flow.frames * u64::from(flow.frame_length),
        hops: hops.collect(),
    }
}

/// Summed over the flows, and not taken from the counters, so that each tests the other.
pub(crate) fn interfaces(topology: &Topology, traffic: &Traffic) -> Vec<InterfaceTruth> {
    let ports = topology.ports.iter().enumerate();
    let mut all: Vec<InterfaceTruth> = ports
        .map(|(place, port)| InterfaceTruth {
            agent: topology.agent_of(place),
            source: DataSource { class: 0, index: port.if_index },
            name: port.name(),
            speed_bps: port.speed_bps,
            in_octets: 0,
            in_frames: 0,
            out_octets: 0,
            out_frames: 0,
            samples: 0,
        })
        .collect();
    for flow in &traffic.flows {
        for (n, hop) in flow.path.hops().iter().enumerate() {
            let input = &mut all[hop.input];
            input.in_frames += flow.frames;
            input.in_octets += flow.frames * u64::from(flow.length_into(n));
            input.samples += flow.samples[n];
            let output = &mut all[hop.output];
            output.out_frames += flow.frames;
            output.out_octets += flow.frames * u64::from(flow.length_out_of(n));
        }
    }
    all
}

pub(crate) fn containers(topology: &Topology, traffic: &Traffic, service: &Service) -> Vec<ContainerTruth> {
    let running = service.slots.iter().filter_map(|slot| Some((slot, slot.running.as_ref()?)));
    running
        .map(|(slot, container)| {
            let (in_, out) = slot.volumes(container, traffic);
            ContainerTruth {
                agent: Address::V4(topology.host(slot.host).address),
                source: DataSource { class: 3, index: container.index },
                name: container.name.clone(),
                in_octets: in_.bytes,
                out_octets: out.bytes,
            }
        })
        .collect()
}
