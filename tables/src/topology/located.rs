//! Hosts where all shards see them: their sightings merged, and what is published of them.

use std::net::IpAddr;

use ahash::RandomState;
use decode::Mac;
use hashbrown::HashMap;

use super::Topology;
use super::locate::{Location, Sighting, TIMEOUT_US};
use super::role::Role;

/// Locations that are published, at most.
pub const MOST_LOCATED: usize = 400_000;

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who and where.
    pub location: Location,
    /// The VLAN of the last packet that was told, where it is known.
    pub vlan: Option<u16>,
    /// When that came, microseconds; while more come this is a minute old at most.
    pub seen_us: u64,
}

/// Where hosts are, by their addresses.
#[derive(Debug, Default)]
pub struct Located {
    /// Newest first.
    places: Vec<Place>,
    macs: HashMap<Mac, Vec<u32>, RandomState>,
    addresses: HashMap<IpAddr, Vec<u32>, RandomState>,
    /// Sightings so far that were beyond [`MOST_LOCATED`].
    pub refused: u64,
}

impl Located {
    /// Where an IP address is, the newest place first: only at ports that are the edge of the topology.
    pub fn by_address<'l>(
        &'l self,
        topology: &'l Topology,
        address: IpAddr,
    ) -> impl Iterator<Item = &'l Place> {
        self.at_edge(topology, self.addresses.get(&address))
    }

    /// Where an Ethernet address is, without its IP addresses; the newest place first.
    pub fn by_mac<'l>(&'l self, topology: &'l Topology, mac: Mac) -> impl Iterator<Item = &'l Place> {
        self.at_edge(topology, self.macs.get(&mac)).filter(|place| place.location.address.is_none())
    }

    /// The IP addresses of an Ethernet address at a port.
    pub fn addresses_of(&self, at: &Location) -> impl Iterator<Item = IpAddr> {
        let places =
            self.macs.get(&at.mac).into_iter().flatten().filter_map(|place| self.places.get(*place as usize));
        let here =
            move |place: &&Place| (place.location.agent, place.location.ifindex) == (at.agent, at.ifindex);
        places.filter(here).filter_map(|place| place.location.address)
    }

    /// All Ethernet addresses, those that were seen last first.
    pub fn all<'l>(&'l self, topology: &'l Topology) -> impl Iterator<Item = &'l Place> {
        self.places.iter().filter(|place| place.location.address.is_none() && is_at_edge(topology, place))
    }

    /// How many locations there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody is anywhere.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn at_edge<'l>(
        &'l self,
        topology: &'l Topology,
        places: Option<&'l Vec<u32>>,
    ) -> impl Iterator<Item = &'l Place> {
        let places = places.into_iter().flatten().filter_map(|place| self.places.get(*place as usize));
        places.filter(|place| is_at_edge(topology, place))
    }
}

fn is_at_edge(topology: &Topology, place: &Place) -> bool {
    topology.port_role(place.location.agent, place.location.ifindex) == Role::Edge
}

/// Sightings of all shards, gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    places: HashMap<Location, (Option<u16>, u64), RandomState>,
    refused: u64,
}

impl Gathered {
    /// Takes sightings; whether somebody is somewhere who was not. The order of shards does not matter.
    pub fn take(&mut self, sightings: &[Sighting]) -> bool {
        let mut new = false;
        for sighting in sightings {
            // Whoever has an IP address somewhere has its Ethernet address there too.
            let alone = Location { address: None, ..sighting.location };
            new |= self.see(alone, sighting);
            if sighting.location.address.is_some() {
                new |= self.see(sighting.location, sighting);
            }
        }
        new
    }

    fn see(&mut self, location: Location, sighting: &Sighting) -> bool {
        if let Some((vlan, seen_us)) = self.places.get_mut(&location) {
            if (sighting.seen_us, sighting.vlan) > (*seen_us, *vlan) {
                (*vlan, *seen_us) = (sighting.vlan, sighting.seen_us);
            }
            return false;
        }
        if self.places.len() >= MOST_LOCATED {
            self.refused += 1;
            return false;
        }
        self.places.insert(location, (sighting.vlan, sighting.seen_us));
        true
    }

    /// Forgets what is old, and those at ports that `topology` does not call the edge; whether there was any.
    pub fn forget(&mut self, topology: &Topology, now_us: u64) -> bool {
        let (before, since_us) = (self.places.len(), now_us.saturating_sub(TIMEOUT_US));
        self.places.retain(|location, (_, seen_us)| {
            *seen_us >= since_us && topology.port_role(location.agent, location.ifindex) == Role::Edge
        });
        self.places.len() < before
    }

    /// What is known now.
    pub fn located(&self) -> Located {
        let places = self.places.iter();
        let mut places: Vec<Place> = places
            .map(|(location, (vlan, seen_us))| Place { location: *location, vlan: *vlan, seen_us: *seen_us })
            .collect();
        places.sort_unstable_by(|a, b| b.seen_us.cmp(&a.seen_us).then_with(|| a.location.cmp(&b.location)));
        let mut located = Located { refused: self.refused, ..Located::default() };
        for (number, place) in (0..).zip(&places) {
            located.macs.entry(place.location.mac).or_default().push(number);
            if let Some(address) = place.location.address {
                located.addresses.entry(address).or_default().push(number);
            }
        }
        located.places = places;
        located
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::{agent, topology};
    use super::*;
    use serde_json::json;

    fn sighting(ifindex: u32, mac: u8, address: Option<[u8; 4]>, seen_us: u64) -> Sighting {
        let location =
            Location { agent: agent(1), ifindex, mac: Mac([mac; 6]), address: address.map(IpAddr::from) };
        Sighting { location, vlan: None, seen_us }
    }

    #[test]
    fn a_host_that_moves_is_first_where_it_was_seen_last() {
        let topology = topology(&json!({"nodes": {"a": {"agent": "10.0.0.1"}}}), Vec::new());
        let host = Some([10, 1, 1, 1]);
        let mut sightings = vec![
            sighting(3, 4, None, 10),
            sighting(3, 4, host, 10),
            sighting(5, 4, None, 20),
            sighting(5, 4, host, 20),
            sighting(3, 4, host, 15),
            sighting(7, 6, None, 30),
        ];
        for _ in 0..2 {
            let mut gathered = Gathered::default();
            assert!(gathered.take(&sightings));
            assert!(!gathered.take(&sightings), "nothing is new");
            let located = gathered.located();
            let ports = |places: Vec<&Place>| {
                places.iter().map(|place| (place.location.ifindex, place.seen_us)).collect::<Vec<_>>()
            };
            assert_eq!(
                ports(located.by_address(&topology, [10, 1, 1, 1].into()).collect()),
                [(5, 20), (3, 15)]
            );
            assert_eq!(ports(located.by_mac(&topology, Mac([4; 6])).collect()), [(5, 20), (3, 15)]);
            assert_eq!(ports(located.all(&topology).collect()), [(7, 30), (5, 20), (3, 15)]);
            let here = located.by_mac(&topology, Mac([4; 6])).next().unwrap().location;
            assert_eq!(located.addresses_of(&here).collect::<Vec<_>>(), [IpAddr::from([10, 1, 1, 1])]);
            assert!(located.by_address(&Topology::default(), [10, 1, 1, 1].into()).next().is_none());
            assert!(!gathered.forget(&topology, 900_000_000));
            assert!(gathered.forget(&topology, 900_000_016));
            assert_eq!(gathered.located().len(), 3);
            assert!(gathered.forget(&Topology::default(), 0) && gathered.located().is_empty());
            sightings.reverse();
        }
    }
}
