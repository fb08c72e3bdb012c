//! Switches, their ports, hosts, and the path between two of them.
//!
//! Every leaf has a port for each of its hosts, one to each spine, and the first leaf an uplink; every spine has
//! one to each leaf. A port's ifIndex is its number on the switch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use decode::{Address, Mac};
use serde_json::{Value, json};

use crate::options::{FabricError, FabricOptions};

/// A device that sends sFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A switch that connects leaves.
    Spine,
    /// A switch that connects hosts.
    Leaf,
    /// A host.
    Host,
}

impl Role {
    /// Its name in the truth.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Spine => "spine",
            Self::Leaf => "leaf",
            Self::Host => "host",
        }
    }
}

/// Who an agent is.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: Mac,
}

/// A port of a switch: a data source. Frames in are its sample pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Port {
    /// Place of its switch among the devices.
    pub(crate) device: usize,
    pub(crate) if_index: u32,
    pub(crate) speed_bps: u64,
    pub(crate) in_octets: u64,
    pub(crate) in_frames: u64,
    pub(crate) out_octets: u64,
    pub(crate) out_frames: u64,
    /// Frames that pass before the next one that is sampled.
    pub(crate) skip: u64,
    pub(crate) flow_samples: u32,
    pub(crate) counter_samples: u32,
    pub(crate) poll_us: u64,
}

impl Port {
    /// `ifName`.
    pub(crate) fn name(&self) -> String {
        format!("swp{}", self.if_index)
    }
}

/// Where somebody is attached to the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) leaf: usize,
    /// Place of the port among all ports.
    pub(crate) port: usize,
}

/// In by one port and out by another, of the same switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) input: usize,
    pub(crate) output: usize,
}

/// The hops of a flow, one or three.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    hops: [Hop; 3],
    count: usize,
}

impl Path {
    pub(crate) fn hops(&self) -> &[Hop] {
        &self.hops[..self.count]
    }
}

/// The fabric's devices and ports. Spines come first among the devices, then leaves, then hosts.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) spines: usize,
    pub(crate) leaves: usize,
    pub(crate) hosts: usize,
    pub(crate) devices: Vec<Device>,
    pub(crate) ports: Vec<Port>,
    /// The first port of each switch.
    first_port: Vec<usize>,
}

fn mac(kind: u8, index: usize) -> Mac {
    let [a, b, c, d] = (index as u32).to_be_bytes();
    Mac([2, kind, a, b, c, d])
}

fn v4(base: [u8; 4], index: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::from(base)).wrapping_add(index as u32))
}

impl FabricOptions {
    /// The switches of the fabric that they make, and the links between them, as `PUT /topology/json` of the collector takes
    /// them.
    ///
    /// # Errors
    /// They make no fabric.
    pub fn topology(&self) -> Result<Value, FabricError> {
        self.check()?;
        Ok(Topology::new(self).to_json())
    }
}

impl Topology {
    pub(crate) fn new(options: &FabricOptions) -> Self {
        let (spines, leaves, hosts) = (options.spines, options.leaves, options.hosts);
        let mut topology =
            Self { spines, leaves, hosts, devices: Vec::new(), ports: Vec::new(), first_port: Vec::new() };
        for spine in 0..spines {
            let address = v4([10, 254, 0, 1], spine);
            topology.switch(Role::Spine, format!("spine{}", spine + 1), address, leaves);
        }
        for leaf in 0..leaves {
            let ports = topology.hosts_of(leaf) + spines + usize::from(leaf == 0);
            topology.switch(Role::Leaf, format!("leaf{}", leaf + 1), v4([10, 255, 0, 1], leaf), ports);
        }
        for host in 0..hosts {
            topology.devices.push(Device {
                role: Role::Host,
                name: format!("host{}", host + 1),
                address: topology.host_v4(host),
                mac: mac(2, host),
            });
        }
        topology
    }

    fn switch(&mut self, role: Role, name: String, address: Ipv4Addr, ports: usize) {
        let device = self.devices.len();
        self.devices.push(Device { role, name, address, mac: mac(1, device) });
        self.first_port.push(self.ports.len());
        self.ports.extend((1..=ports as u32).map(|if_index| Port { device, if_index, ..Port::default() }));
    }

    /// Switches; what follows them among the devices are hosts.
    pub(crate) fn switches(&self) -> usize {
        self.spines + self.leaves
    }

    fn hosts_of(&self, leaf: usize) -> usize {
        (self.hosts + self.leaves - 1 - leaf) / self.leaves
    }

    /// The device of a host.
    pub(crate) fn host(&self, host: usize) -> &Device {
        &self.devices[self.switches() + host]
    }

    /// Where a host is attached.
    pub(crate) fn place(&self, host: usize) -> Place {
        let leaf = host % self.leaves;
        Place { leaf, port: self.first_port[self.spines + leaf] + host / self.leaves }
    }

    /// Where everything outside is reached: the uplink of the first leaf, its last port.
    pub(crate) fn outside(&self) -> Place {
        Place { leaf: 0, port: self.first_port[self.spines] + self.hosts_of(0) + self.spines }
    }

    fn leaf_to_spine(&self, leaf: usize, spine: usize) -> usize {
        self.first_port[self.spines + leaf] + self.hosts_of(leaf) + spine
    }

    /// A leaf of 4,096 addresses each.
    pub(crate) fn host_v4(&self, host: usize) -> Ipv4Addr {
        v4([10, 0, 0, 10], host % self.leaves * 4096 + host / self.leaves)
    }

    /// A network of its own for each leaf.
    pub(crate) fn host_v6(&self, host: usize) -> Ipv6Addr {
        let (leaf, place) = (host % self.leaves, host / self.leaves);
        Ipv6Addr::new(0x2001, 0xdb8, leaf as u16 + 1, 0, 0, 0, 0, place as u16 + 10)
    }

    /// A host's address inside a virtual network; all networks use the same IPv4 addresses.
    pub(crate) fn overlay(&self, host: usize, vni: u32, v6: bool) -> IpAddr {
        if v6 {
            Ipv6Addr::new(0xfd00, vni as u16, 0, 0, 0, 0, (host >> 16) as u16, host as u16).into()
        } else {
            v4([172, 16, 0, 10], host).into()
        }
    }

    /// The path between two places. `hash` of the flow chooses the spine, so that a flow keeps its order.
    pub(crate) fn path(&self, from: Place, to: Place, hash: u64) -> Path {
        if from.leaf == to.leaf {
            let hop = Hop { input: from.port, output: to.port };
            return Path { hops: [hop; 3], count: 1 };
        }
        let spine = (hash % self.spines as u64) as usize;
        let across = self.first_port[spine];
        let hops = [
            Hop { input: from.port, output: self.leaf_to_spine(from.leaf, spine) },
            Hop { input: across + from.leaf, output: across + to.leaf },
            Hop { input: self.leaf_to_spine(to.leaf, spine), output: to.port },
        ];
        Path { hops, count: 3 }
    }

    /// Switches and the links between them, as `PUT /topology/json` takes them. The ports of links are named and numbered.
    pub(crate) fn to_json(&self) -> Value {
        let (mut nodes, mut links) = (json!({}), json!({}));
        for device in &self.devices[..self.switches()] {
            nodes[&device.name] = json!({"agent": device.address.to_string(), "ports": {}});
        }
        for (leaf, spine) in
            (0..self.leaves).flat_map(|leaf| (0..self.spines).map(move |spine| (leaf, spine)))
        {
            let ends = [self.leaf_to_spine(leaf, spine), self.first_port[spine] + leaf]
                .map(|port| &self.ports[port]);
            let [from, to] = ends.map(|port| self.devices[port.device].name.as_str());
            for port in ends {
                let node = &mut nodes[&self.devices[port.device].name];
                node["ports"][port.name()] = json!({"ifindex": port.if_index.to_string()});
            }
            let [from_port, to_port] = ends.map(Port::name);
            links[format!("{from}-{to}")] =
                json!({"node1": from, "port1": from_port, "node2": to, "port2": to_port});
        }
        json!({"nodes": nodes, "links": links})
    }

    /// The agent of a port's switch.
    pub(crate) fn agent_of(&self, port: usize) -> Address {
        Address::V4(self.devices[self.ports[port].device].address)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn topology(spines: usize, leaves: usize, hosts: usize) -> Topology {
        Topology::new(&FabricOptions { spines, leaves, hosts, ..FabricOptions::default() })
    }

    #[test]
    fn every_port_has_one_place() {
        let fabric = topology(2, 3, 8);
        // Spines 2 x 3, leaves 3 + 3 + 2 hosts with 2 spines each, and the uplink.
        assert_eq!(fabric.ports.len(), 6 + 8 + 6 + 1);
        let mut taken: Vec<usize> = (0..8).map(|host| fabric.place(host).port).collect();
        taken.push(fabric.outside().port);
        for leaf in 0..3 {
            taken.extend((0..2).map(|spine| fabric.leaf_to_spine(leaf, spine)));
        }
        taken.sort_unstable();
        assert_eq!(taken, (6..21).collect::<Vec<_>>());
        assert_eq!(fabric.devices.len(), 2 + 3 + 8);
    }

    #[test]
    fn every_port_of_a_spine_is_in_one_link() {
        let json = topology(2, 3, 8).to_json();
        let links = json["links"].as_object().unwrap();
        assert_eq!(links.len(), 6);
        let expected = json!({"node1": "leaf3", "port1": "swp4", "node2": "spine2", "port2": "swp3"});
        assert_eq!(links["leaf3-spine2"], expected);
        assert_eq!(json["nodes"].as_object().unwrap().len(), 5);
        assert_eq!(json["nodes"]["leaf3"]["agent"], "10.255.0.3");
        // Leaf 3 has two hosts.
        assert_eq!(
            json["nodes"]["leaf3"]["ports"],
            json!({"swp3": {"ifindex": "3"}, "swp4": {"ifindex": "4"}})
        );
        assert_eq!(json["nodes"]["spine1"]["ports"].as_object().unwrap().len(), 3);
    }

    #[test]
    fn a_path_stays_on_its_switches() {
        let fabric = topology(4, 4, 16);
        for (from, to, hops) in [(0, 4, 1), (0, 1, 3), (6, 3, 3)] {
            let (from, to) = (fabric.place(from), fabric.place(to));
            for hash in 0..4 {
                let path = fabric.path(from, to, hash);
                assert_eq!(path.hops().len(), hops);
                assert_eq!((path.hops()[0].input, path.hops()[hops - 1].output), (from.port, to.port));
                for hop in path.hops() {
                    assert_eq!(fabric.ports[hop.input].device, fabric.ports[hop.output].device);
                    assert_ne!(hop.input, hop.output);
                }
                if hops == 3 {
                    assert_eq!(fabric.ports[path.hops()[1].input].device, hash as usize);
                }
            }
        }
    }
}
