//! Flows: who talks to whom, how fast, and over which hops.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use decode::Mac;

use crate::options::FabricOptions;
use crate::packet::{Carried, Link, Packet, TUNNEL_BYTES, Tunnel};
use crate::random::{Random, mix};
use crate::topology::{Path, Place, Topology};

/// Hosts that ask the service, each over one connection to every container.
pub(crate) const CLIENTS: usize = 8;

/// Frames of the service, bytes.
const REQUEST_BYTES: u32 = 150;
const RESPONSE_BYTES: u32 = 1100;

/// Virtual networks.
const VNIS: [u32; 4] = [10_001, 10_002, 10_003, 10_004];

/// VLANs on host ports: of routed hosts, and of the first virtual network.
const ROUTED_VLAN: u32 = 10;
const OVERLAY_VLAN: u32 = 100;

/// What distinguishes flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: (u16, u16),
    vni: Option<u32>,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug)]
struct End {
    ip: IpAddr,
    mac: Mac,
    place: Place,
    /// Whether it is in its leaf's network, and reaches its neighbours there without a router.
    neighbour: bool,
}

/// Packets of one kind, in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) packet: Packet,
    /// Of every frame, frame check sequence included; without the tunnel.
    pub(crate) frame_length: u32,
    pub(crate) path: Path,
    /// The tunnel that it is in from the first leaf to the last.
    pub(crate) tunnel: Option<Tunnel>,
    /// Ethernet addresses on the first link.
    pub(crate) first_link: Link,
    /// VLAN of the host ports.
    pub(crate) vlan: u32,
    /// Frames per second; of a flow of the service, at its peak and alone.
    pub(crate) pps: f64,
    /// Whether `pps` is a share of the service's load.
    pub(crate) of_service: bool,
    /// Whether nothing is sent: a flow to a container that does not run.
    pub(crate) idle: bool,
    /// Part of a frame that is due.
    pub(crate) due: f64,
    pub(crate) frames: u64,
    /// Samples taken, by hop.
    pub(crate) samples: [u64; 3],
}

impl Flow {
    /// Length of its frames as they enter a hop.
    pub(crate) fn length_into(&self, hop: usize) -> u32 {
        let tunnelled = self.tunnel.is_some() && hop > 0 && hop < self.path.hops().len();
        self.frame_length + if tunnelled { TUNNEL_BYTES } else { 0 }
    }

    /// Length of its frames as they leave a hop.
    pub(crate) fn length_out_of(&self, hop: usize) -> u32 {
        self.length_into(hop + 1)
    }
}

/// All flows.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) flows: Vec<Flow>,
    seen: HashSet<Key>,
    /// How many of the flows are scaled: those between hosts, which come first.
    pub(crate) scaled: usize,
}

impl Traffic {
    /// The flows between hosts and those to listed addresses; those of the service come with its containers.
    pub(crate) fn new(options: &FabricOptions, topology: &Topology, random: &mut Random) -> Self {
        let mut traffic = Self::default();
        while traffic.flows.len() < options.flows {
            traffic.conversation(topology, random, options.flows);
        }
        traffic.scaled = traffic.flows.len();
        let bits: f64 = traffic.flows.iter().map(|flow| flow.pps * 8.0 * f64::from(flow.frame_length)).sum();
        traffic.scale(options.host_bps * options.hosts as f64 / bits.max(f64::MIN_POSITIVE));
        for n in 0..options.suspects {
            traffic.suspect(topology, n, options.sampling);
        }
        for flow in &mut traffic.flows {
            // So that not all of them send their first frame at once.
            flow.due = random.unit() * 0.999;
        }
        traffic
    }

    /// Changes the rate of the flows between hosts.
    pub(crate) fn scale(&mut self, by: f64) {
        self.flows.iter_mut().take(self.scaled).for_each(|flow| flow.pps *= by);
    }

    /// Two hosts that talk, in one direction or, where there is room below `most`, in both.
    fn conversation(&mut self, topology: &Topology, random: &mut Random, most: usize) {
        let (a, b) = (random.below(topology.hosts), random.below(topology.hosts));
        if a == b {
            return;
        }
        let v6 = random.percent(30);
        let across = topology.place(a).leaf != topology.place(b).leaf;
        let vni = (across && random.percent(30)).then(|| random.of(&VNIS));
        let end = |host: usize| End {
            ip: match vni {
                Some(vni) => topology.overlay(host, vni, v6),
                None if v6 => topology.host_v6(host).into(),
                None => topology.host_v4(host).into(),
            },
            mac: topology.host(host).mac,
            place: topology.place(host),
            neighbour: true,
        };
        let client = 32_768 + random.below(28_000) as u16;
        // What goes there and back, the ports, the frames there in shares of the whole, and frames back for each.
        let (there, back, ports, share, answers) = match random.below(100) {
            0..70 => {
                let port = random.of(&[443, 80, 8080, 5432, 3306, 6379, 9092, 2049, 22]);
                let (there, back) = (Carried::Tcp { flags: 0x18 }, Carried::Tcp { flags: 0x10 });
                (there, back, (client, port), 1.0, 0.5)
            }
            70..92 => {
                let port = random.of(&[443, 8125, 51_820, 5004]);
                (Carried::Udp, Carried::Udp, (client, port), 1.0, 0.1)
            }
            92..97 => {
                let dns = Carried::Dns { of_host: random.below(topology.hosts.min(65_535)) as u16 };
                (dns, dns, (client, 53), 0.05, 1.0)
            }
            _ => (Carried::Echo { reply: false }, Carried::Echo { reply: true }, (0, 0), 0.02, 1.0),
        };
        let any = 64 + random.below(1455) as u32;
        let wanted = random.of(&[64, 128, 256, 512, 1024, 1518, 1518, any]);
        let length = wanted.max(there.least_frame(v6));
        // Large flows are few: frames fall with the square root of the rank.
        let pps = share / (1.0 + random.below(most.max(1)) as f64).sqrt();
        let packet = |from: End, to: End, (source_port, destination_port), carried| Packet {
            source: from.ip,
            destination: to.ip,
            source_port,
            destination_port,
            carried,
            ttl: 64,
        };
        let (from, to) = (end(a), end(b));
        if !self.add(topology, (from, to), packet(from, to, ports, there), vni, length, pps) {
            return;
        }
        if self.flows.len() < most {
            let length = match back {
                Carried::Tcp { .. } => 78,
                Carried::Dns { .. } => 220,
                _ => length,
            };
            let length = length.max(back.least_frame(v6));
            let packet = packet(to, from, (ports.1, ports.0), back);
            self.add(topology, (to, from), packet, vni, length, pps * answers);
        }
    }

    /// A host and the listed address that it talks to, at a rate that is sampled once in ten seconds at each hop.
    fn suspect(&mut self, topology: &Topology, n: usize, sampling: u32) {
        let (host, outside) = suspect(topology, n);
        let (ip, pps) = (topology.host_v4(host), (f64::from(sampling) / 10.0).max(1.0));
        let from =
            End { ip: ip.into(), mac: topology.host(host).mac, place: topology.place(host), neighbour: true };
        let router = Mac([2, 0xff, 0, 0, 0, 1]);
        let to = End { ip: outside.into(), mac: router, place: topology.outside(), neighbour: false };
        let port = 42_000 + n as u16;
        let packet = |from: End, to: End, source_port, destination_port, ttl| Packet {
            source: from.ip,
            destination: to.ip,
            source_port,
            destination_port,
            carried: Carried::Tcp { flags: 0x18 },
            ttl,
        };
        self.add(topology, (from, to), packet(from, to, port, 4444, 64), None, 200, pps);
        self.add(topology, (to, from), packet(to, from, 4444, port, 52), None, 120, pps);
    }

    /// The flows between the clients and a container of the service on `host`; places of requests and responses.
    pub(crate) fn container(
        &mut self,
        topology: &Topology,
        host: usize,
        (ip, mac): (Ipv4Addr, Mac),
        slot: usize,
        web_bytes_per_s: f64,
    ) -> (Vec<usize>, Vec<usize>) {
        let container = End { ip: ip.into(), mac, place: topology.place(host), neighbour: false };
        let pps = web_bytes_per_s / f64::from(REQUEST_BYTES + RESPONSE_BYTES);
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        let apart = (topology.hosts / CLIENTS).max(1);
        for n in 0..CLIENTS {
            let mut client = (host + 1 + n * apart) % topology.hosts;
            if client == host {
                client = (client + 1) % topology.hosts;
            }
            let port = 20_000 + (slot * CLIENTS + n) as u16;
            let client = End {
                ip: topology.host_v4(client).into(),
                mac: topology.host(client).mac,
                place: topology.place(client),
                neighbour: false,
            };
            let packet = |from: End, to: End, source_port, destination_port| Packet {
                source: from.ip,
                destination: to.ip,
                source_port,
                destination_port,
                carried: Carried::Tcp { flags: 0x18 },
                ttl: 64,
            };
            for (ends, packet, length, places) in [
                ((client, container), packet(client, container, port, 80), REQUEST_BYTES, &mut requests),
                ((container, client), packet(container, client, 80, port), RESPONSE_BYTES, &mut responses),
            ] {
                if self.add(topology, ends, packet, None, length, pps) {
                    places.push(self.flows.len() - 1);
                    self.flows.last_mut().expect("it was added").of_service = true;
                }
            }
        }
        (requests, responses)
    }

    /// Adds a flow; false when there is one with the same key.
    fn add(
        &mut self,
        topology: &Topology,
        (from, to): (End, End),
        packet: Packet,
        vni: Option<u32>,
        frame_length: u32,
        pps: f64,
    ) -> bool {
        let key = Key {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.carried.protocol(packet.source.is_ipv6()),
            ports: (packet.source_port, packet.destination_port),
            vni,
        };
        if !self.seen.insert(key) {
            return false;
        }
        let hash = hash(&key);
        let leaf = |place: Place| &topology.devices[topology.spines + place.leaf];
        let direct = vni.is_some() || (from.place.leaf == to.place.leaf && from.neighbour && to.neighbour);
        let inner = Link { source: from.mac, destination: to.mac };
        let first_link = if direct { inner } else { Link { destination: leaf(from.place).mac, ..inner } };
        let tunnel = vni.map(|vni| Tunnel {
            from: leaf(from.place).address,
            to: leaf(to.place).address,
            source_port: 49_152 + (hash >> 32) as u16 % 16_384,
            vni,
            inner,
        });
        let vlan = vni.map_or(ROUTED_VLAN, |vni| OVERLAY_VLAN + vni - VNIS[0]);
        let path = topology.path(from.place, to.place, hash);
        self.flows.push(Flow {
            packet,
            frame_length,
            path,
            tunnel,
            first_link,
            vlan,
            pps,
            of_service: false,
            idle: false,
            due: 0.0,
            frames: 0,
            samples: [0; 3],
        });
        true
    }
}

/// The `n`th host that talks to a listed address, and that address; from the documentation's ranges (RFC 5737).
pub(crate) fn suspect(topology: &Topology, n: usize) -> (usize, Ipv4Addr) {
    let last = 1 + (n / 2) as u8;
    let outside = if n.is_multiple_of(2) { [198, 51, 100, last] } else { [203, 0, 113, last] };
    (topology.hosts - 1 - n, outside.into())
}

fn hash(key: &Key) -> u64 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => ip.into(),
    };
    let (source, destination) = (address(key.source), address(key.destination));
    let ports = (u64::from(key.ports.0) << 16) | u64::from(key.ports.1);
    [
        source as u64,
        (source >> 64) as u64,
        destination as u64,
        (destination >> 64) as u64,
        (ports << 8) | u64::from(key.protocol),
        u64::from(key.vni.unwrap_or(0)),
    ]
    .into_iter()
    .fold(0, |hash, word| mix(hash ^ word))
}
