//! Hosts where a shard sees them: which Ethernet and IP addresses packets have that come in at an edge port.
//!
//! Whoever sends from an address is believed to have it there: a location is a hint, and a sender may lie. What a shard
//! learns is told as it changes, and again once a minute while it lasts; the engine asks for what is new.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use decode::flow::ExtendedSwitch;
use decode::packet::Packet;
use decode::{Address, Interface, InterfaceKind, Mac};
use hashbrown::HashMap;

use super::Topology;
use super::role::Role;

/// Locations of one shard that are remembered, at most.
pub const MOST_LOCATIONS: usize = 100_000;

/// Locations at one port that are remembered, at most: whoever sends from addresses without number cannot crowd out those
/// who are elsewhere.
pub const MOST_AT_PORT: u32 = 10_000;

/// IP addresses behind one Ethernet address of one port that are remembered, at most: one that has more is a router's.
pub const MOST_ADDRESSES: u16 = 256;

/// A location is forgotten when nothing was seen of it for this long, microseconds.
pub const TIMEOUT_US: u64 = 900_000_000;

/// A location that lasts is told again after this long, microseconds.
pub const AGAIN_US: u64 = 60_000_000;

/// What was told and may still be asked for, at most.
const MOST_TOLD: usize = 131_072;

/// How long it may be asked for, microseconds.
const TOLD_US: u64 = 30_000_000;

/// Packets that are looked at within [`TURN_US`], at most. One packet a minute is enough to know where a host is; looking at
/// all of a million a second would cost a tenth of a processor.
const PACKETS_OF_TURN: u32 = 5_000;
const TURN_US: u64 = 100_000;

/// How often what is old is looked for, microseconds.
const SWEEP_US: u64 = 60_000_000;

/// Who is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The switch's agent.
    pub agent: Address,
    /// Its edge port.
    pub ifindex: u32,
    /// Whose packets come in there.
    pub mac: Mac,
    /// The IP address that they come from; `None` for the Ethernet address alone.
    pub address: Option<IpAddr>,
}

/// Somebody was seen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who and where.
    pub location: Location,
    /// The VLAN of the packet, where it is known.
    pub vlan: Option<u16>,
    /// When, microseconds.
    pub seen_us: u64,
}

#[derive(Debug)]
struct Entry {
    seen_us: u64,
    told_us: u64,
    /// IP addresses behind it, where it is an Ethernet address alone.
    addresses: u16,
}

/// The locations that a shard has learned.
#[derive(Debug, Default)]
pub(crate) struct Locator {
    topology: Arc<Topology>,
    known: HashMap<Location, Entry, RandomState>,
    /// How many there are at each port.
    at_ports: HashMap<(Address, u32), u32, RandomState>,
    told: VecDeque<(u64, Sighting)>,
    swept_us: u64,
    is_on: bool,
    /// When the next turn begins, and packets that may still be looked at in this one.
    next_turn_us: u64,
    left: u32,
    /// Locations beyond those that are remembered.
    pub(crate) refused: u64,
}

impl Locator {
    /// Takes a topology; what is at no edge port of it is forgotten.
    pub(crate) fn adopt(&mut self, topology: &Arc<Topology>) {
        if Arc::ptr_eq(&self.topology, topology) {
            return;
        }
        self.topology = Arc::clone(topology);
        self.is_on = topology.is_defined();
        let topology = &self.topology;
        let at_edge = |at: &Location| topology.port_role(at.agent, at.ifindex) == Role::Edge;
        self.known.retain(|location, _| at_edge(location));
        self.at_ports.retain(|(agent, ifindex), _| topology.port_role(*agent, *ifindex) == Role::Edge);
        self.told.retain(|(_, sighting)| at_edge(&sighting.location));
    }

    /// Whether this packet is to be looked at.
    #[inline]
    pub(crate) fn looks(&mut self, now_us: u64) -> bool {
        self.is_on && self.has_turn(now_us)
    }

    fn has_turn(&mut self, now_us: u64) -> bool {
        if now_us >= self.next_turn_us {
            (self.next_turn_us, self.left) = (now_us + TURN_US, PACKETS_OF_TURN);
        }
        let fewer = self.left.checked_sub(1);
        self.left = fewer.unwrap_or(0);
        fewer.is_some()
    }

    /// Takes a packet that came in at an interface of an agent, and what its switch says of it (`extended_switch`).
    pub(crate) fn packet(
        &mut self,
        agent: Address,
        input: Interface,
        packet: &Packet<'_>,
        switch: Option<&[u8]>,
        now_us: u64,
    ) {
        let InterfaceKind::Index(ifindex) = input.kind() else { return };
        let Some(mac) = packet.ethernet(0).and_then(|ethernet| ethernet.source()) else { return };
        let location = Location { agent, ifindex, mac, address: source_of(packet) };
        let tell = |told: &mut VecDeque<(u64, Sighting)>| {
            if told.len() >= MOST_TOLD {
                told.pop_front();
            }
            let tag = packet.vlan(0).and_then(|tag| tag.id());
            let said = switch.map(|switch| ExtendedSwitch::parse(switch).source_vlan);
            let vlan =
                tag.or_else(|| said.and_then(|vlan| u16::try_from(vlan).ok()).filter(|vlan| *vlan < 4096));
            told.push_back((now_us, Sighting { location, vlan, seen_us: now_us }));
        };
        if let Some(entry) = self.known.get_mut(&location) {
            entry.seen_us = now_us;
            if now_us.saturating_sub(entry.told_us) >= AGAIN_US {
                entry.told_us = now_us;
                tell(&mut self.told);
            }
            return;
        }
        // Addresses of groups and of nobody send nothing.
        let nobody = mac == Mac::default() || mac.0[0] & 1 == 1;
        if nobody || self.topology.port_role(agent, ifindex) != Role::Edge {
            return;
        }
        let here = self.at_ports.entry((agent, ifindex)).or_insert(0);
        if self.known.len() + 1 >= MOST_LOCATIONS || *here + 1 >= MOST_AT_PORT {
            self.refused += 1;
            return;
        }
        let before = self.known.len();
        let alone = Location { address: None, ..location };
        let fresh = || Entry { seen_us: now_us, told_us: now_us, addresses: 0 };
        let owner = self.known.entry(alone).or_insert_with(fresh);
        owner.seen_us = now_us;
        if location.address.is_some() {
            if owner.addresses >= MOST_ADDRESSES {
                return;
            }
            owner.addresses += 1;
            self.known.insert(location, fresh());
        }
        *here += (self.known.len() - before) as u32;
        tell(&mut self.told);
    }

    /// Forgets what is old.
    pub(crate) fn tick(&mut self, now_us: u64) {
        while self.told.front().is_some_and(|(at_us, _)| at_us + TOLD_US < now_us) {
            self.told.pop_front();
        }
        if now_us < self.swept_us + SWEEP_US {
            return;
        }
        self.swept_us = now_us;
        let since_us = now_us.saturating_sub(TIMEOUT_US);
        let gone = self.known.extract_if(|_, entry| entry.seen_us < since_us).map(|(location, _)| location);
        let gone: Vec<Location> = gone.collect();
        for location in gone {
            if let Some(here) = self.at_ports.get_mut(&(location.agent, location.ifindex)) {
                *here = here.saturating_sub(1);
            }
            if location.address.is_some()
                && let Some(owner) = self.known.get_mut(&Location { address: None, ..location })
            {
                owner.addresses = owner.addresses.saturating_sub(1);
            }
        }
        self.at_ports.retain(|_, here| *here > 0);
    }

    /// What was told since, at most half a minute ago.
    pub(crate) fn told_since(&self, since_us: u64) -> Vec<Sighting> {
        let newer = self.told.iter().rev().take_while(|(at_us, _)| *at_us >= since_us);
        newer.map(|(_, sighting)| *sighting).collect()
    }
}

/// The IP address that a packet comes from, where it is one that a host may have.
fn source_of(packet: &Packet<'_>) -> Option<IpAddr> {
    let v4 = packet.ipv4(0).and_then(|ip| ip.source()).map(IpAddr::from);
    let address = v4.or_else(|| packet.ipv6(0).and_then(|ip| ip.source()).map(IpAddr::from))?;
    (!address.is_unspecified() && !address.is_multicast() && !address.is_loopback()).then_some(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::{agent, topology};
    use super::*;
    use decode::packet::{PacketBuilder, dissect};
    use serde_json::json;

    fn fabric() -> Arc<Topology> {
        let json = json!({
            "nodes": {"a": {"agent": "10.0.0.1"}, "b": {"agent": "10.0.0.2"}},
            "links": {"l": {"node1": "a", "port1": 9, "node2": "b", "port2": 9}},
        });
        Arc::new(topology(&json, Vec::new()))
    }

    fn see(locator: &mut Locator, port: u32, mac: u8, address: [u8; 4], now_us: u64) {
        let mut buffer = [0; 128];
        let builder = PacketBuilder::new(&mut buffer).ethernet(Mac([2; 6]), Mac([mac; 6])).unwrap();
        let builder = builder.vlan(7, 0).unwrap().ipv4(address.into(), [192, 0, 2, 1].into(), 0, 64).unwrap();
        let length = builder.udp(1, 2).unwrap().finish(100).unwrap();
        locator.packet(agent(1), Interface::index(port), &dissect(1, &buffer[..length]), None, now_us);
    }

    #[test]
    fn what_comes_in_at_an_edge_port_is_told_once_a_minute_and_forgotten() {
        let mut locator = Locator::default();
        assert!(!locator.looks(0));
        locator.adopt(&fabric());
        let looked = |locator: &mut Locator, at_us| (0..10_000).filter(|_| locator.looks(at_us)).count();
        assert_eq!(
            [0, 99_999, 100_000, 100_000].map(|at_us| looked(&mut locator, at_us)),
            [5000, 0, 5000, 0]
        );
        see(&mut locator, 9, 4, [10, 1, 1, 1], 0);
        assert!(locator.told_since(0).is_empty(), "it came over a link");
        see(&mut locator, 3, 5, [10, 1, 1, 1], 0);
        assert!(locator.told_since(0).is_empty(), "no host sends as a group");
        for second in 0..100 {
            see(&mut locator, 3, 4, [10, 1, 1, 1], second * 1_000_000);
        }
        let told = locator.told_since(0);
        assert_eq!(told.len(), 2);
        let expected =
            Location { agent: agent(1), ifindex: 3, mac: Mac([4; 6]), address: Some([10, 1, 1, 1].into()) };
        assert_eq!((told[0].location, told[0].vlan, told[0].seen_us), (expected, Some(7), 60_000_000));
        assert_eq!(locator.told_since(60_000_001), []);
        locator.tick(100_000_000);
        assert_eq!(
            (locator.told.len(), locator.known.len()),
            (0, 2),
            "whoever did not ask hears it again later"
        );
        locator.tick(99_000_001 + TIMEOUT_US);
        assert_eq!(locator.known.len(), 0);
        see(&mut locator, 3, 4, [10, 1, 1, 1], 1 << 40);
        locator.adopt(&Arc::default());
        assert!(locator.known.is_empty() && locator.told.is_empty());
    }

    #[test]
    fn a_router_has_addresses_without_number_and_locations_are_bounded() {
        let mut locator = Locator::default();
        locator.adopt(&fabric());
        for n in 0..100_000_u32 {
            let [_, b, c, d] = n.to_be_bytes();
            see(&mut locator, 3, 4, [11, b, c, d], 0);
        }
        assert_eq!((locator.known.len(), locator.refused), (usize::from(MOST_ADDRESSES) + 1, 0));
        for n in 0..120_000_u32 {
            let [_, b, c, d] = n.to_be_bytes();
            see(&mut locator, 100 + n / 200, 4, [12, b, c, d], 0);
        }
        assert!(locator.known.len() <= MOST_LOCATIONS && locator.known.len() > MOST_LOCATIONS - 3);
        assert!(locator.refused > 20_000 && locator.told.len() <= MOST_TOLD);
        locator.tick(TIMEOUT_US + 1);
        assert!(locator.known.is_empty() && locator.at_ports.is_empty());
        // Many stations at one port, one at another.
        for n in 0..100 {
            (0..200).for_each(|host| see(&mut locator, 3, 4 + 2 * n, [12, 0, 0, host], TIMEOUT_US + 2));
        }
        see(&mut locator, 5, 4, [12, 0, 0, 1], TIMEOUT_US + 2);
        assert_eq!(locator.at_ports[&(agent(1), 3)], MOST_AT_PORT - 1);
        assert_eq!((locator.at_ports[&(agent(1), 5)], locator.known.len() as u32), (2, MOST_AT_PORT + 1));
    }
}
