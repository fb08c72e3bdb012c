//! What flows look up that no packet says: the hosts that own addresses, names of addresses, the topology.
//!
//! All are made off the packet path and come with the program. An address that has no name yet is asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use decode::Mac;

use crate::owner::Owner;
use crate::topology::Topology;

/// Names of addresses.
pub type Names = HashMap<IpAddr, Arc<str>, RandomState>;

/// The attributes of a host that keys may ask for.
pub const ATTRIBUTES: [&str; 6] =
    ["host_name", "machine_type", "os_name", "uuid", "os_release", "vir_host_name"];

/// The values of [`ATTRIBUTES`], in that order.
pub type Attributes = [Option<Arc<str>>; ATTRIBUTES.len()];

/// MAC addresses of one data source that are remembered, at most.
pub const MOST_MACS: usize = 64;

/// What a data source says of itself as a host: its addresses and attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAdapters {
    /// The data source.
    pub owner: Owner,
    /// The MAC addresses of its adapters, at most [`MOST_MACS`].
    pub macs: Vec<Mac>,
    /// The address of its agent, where it is the agent's own host.
    pub address: Option<IpAddr>,
    /// What it says of itself.
    pub attributes: Attributes,
}

/// Hosts by the addresses that they own.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    macs: HashMap<Mac, Arc<Attributes>, RandomState>,
    addresses: HashMap<IpAddr, Arc<Attributes>, RandomState>,
}

impl Hosts {
    /// Hosts by their addresses. Where several data sources have one MAC address the most specific has it: a container
    /// or virtual machine before its host, then the one with the lowest number.
    pub fn new(adapters: &[HostAdapters]) -> Self {
        let mut sorted: Vec<&HostAdapters> = adapters.iter().collect();
        let class = |host: &HostAdapters| match host.owner.source {
            crate::owner::Source::Of(source) => source.class,
            _ => 0,
        };
        // The last one that is inserted stays.
        sorted.sort_by(|a, b| class(a).cmp(&class(b)).then_with(|| b.owner.cmp(&a.owner)));
        let mut hosts = Self::default();
        for host in sorted {
            let attributes = Arc::new(host.attributes.clone());
            hosts.macs.extend(host.macs.iter().map(|mac| (*mac, Arc::clone(&attributes))));
            hosts.addresses.extend(host.address.map(|address| (address, attributes)));
        }
        hosts
    }

    /// The attributes of the host that owns a MAC address.
    pub fn by_mac(&self, mac: Mac) -> Option<&Attributes> {
        self.macs.get(&mac).map(|attributes| &**attributes)
    }

    /// The attributes of the host that owns an address.
    pub fn by_address(&self, address: IpAddr) -> Option<&Attributes> {
        self.addresses.get(&address).map(|attributes| &**attributes)
    }
}

/// An address is not asked for again within this time, microseconds.
const PAUSE_US: u64 = 60_000_000;

/// Addresses that were asked for and are remembered, at most; beyond, further ones wait, and are counted.
const MOST_ASKED: usize = 100_000;

/// Addresses that one batch asks for at most.
const MOST_WANTED: usize = 1000;

/// What was learned, and what one shard would like to know.
#[derive(Debug, Default)]
pub struct Learned {
    hosts: Arc<Hosts>,
    names: Arc<Names>,
    topology: Arc<Topology>,
    /// Addresses without a name that keys of this sample wanted.
    missed: RefCell<Vec<IpAddr>>,
    /// When they were asked for, microseconds.
    asked: HashMap<IpAddr, u64, RandomState>,
    swept_us: u64,
    /// Addresses that could not be asked for because too many were already.
    pub refused: u64,
}

impl Learned {
    /// Takes what is known now.
    pub fn adopt(&mut self, hosts: &Arc<Hosts>, names: &Arc<Names>, topology: &Arc<Topology>) {
        self.hosts = Arc::clone(hosts);
        self.names = Arc::clone(names);
        self.topology = Arc::clone(topology);
    }

    /// Links and roles of ports.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The name of an address. One that has none is wanted.
    pub fn name(&self, address: IpAddr) -> Option<&Arc<str>> {
        let found = self.names.get(&address);
        if found.is_none()
            && let Ok(mut missed) = self.missed.try_borrow_mut()
        {
            missed.push(address);
        }
        // An empty name says that the address is known to have none.
        found.filter(|name| !name.is_empty())
    }

    /// Adds to `wanted` the addresses whose names the last sample wanted.
    #[inline]
    pub(crate) fn ask(&mut self, now_us: u64, wanted: &mut Vec<IpAddr>) {
        if !self.missed.get_mut().is_empty() {
            self.ask_for_missed(now_us, wanted);
        }
    }

    #[cold]
    fn ask_for_missed(&mut self, now_us: u64, wanted: &mut Vec<IpAddr>) {
        if now_us >= self.swept_us + PAUSE_US {
            self.swept_us = now_us;
            self.asked.retain(|_, asked_us| *asked_us + PAUSE_US > now_us);
        }
        for address in self.missed.get_mut().drain(..) {
            if self.asked.get(&address).is_some_and(|asked_us| *asked_us + PAUSE_US > now_us) {
                continue;
            }
            if wanted.len() >= MOST_WANTED || self.asked.len() >= MOST_ASKED {
                self.refused += 1;
                continue;
            }
            self.asked.insert(address, now_us);
            wanted.push(address);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::owner::Source;
    use decode::{Address, DataSource};

    fn host(class: u32, index: u32, mac: u8, name: &str) -> HostAdapters {
        let mut attributes = Attributes::default();
        attributes[0] = Some(name.into());
        HostAdapters {
            owner: Owner { agent: Address::Unknown, source: Source::Of(DataSource { class, index }) },
            macs: vec![Mac([mac; 6])],
            address: (class == 2).then(|| [10, 0, 0, 1].into()),
            attributes,
        }
    }

    #[test]
    fn the_most_specific_host_has_an_address() {
        let mut adapters = [host(2, 1, 1, "h"), host(3, 9, 1, "c9"), host(3, 8, 1, "c8"), host(2, 1, 2, "h")];
        for _ in 0..2 {
            let hosts = Hosts::new(&adapters);
            let name = |mac| hosts.by_mac(Mac([mac; 6])).and_then(|of| of[0].as_deref());
            assert_eq!((name(1), name(2), name(3)), (Some("c8"), Some("h"), None));
            assert_eq!(hosts.by_address([10, 0, 0, 1].into()).unwrap()[0].as_deref(), Some("h"));
            adapters.reverse();
        }
    }

    #[test]
    fn a_name_is_wanted_once_in_a_while_and_not_without_bound() {
        let (mut learned, mut names) = (Learned::default(), Vec::new());
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        for (now_us, wanted) in [(0, 1), (1_000_000, 1), (PAUSE_US, 2)] {
            assert_eq!(learned.name(address(1)), None);
            learned.ask(now_us, &mut names);
            assert_eq!(names.len(), wanted);
        }
        names.clear();
        for n in 2..200_002 {
            assert_eq!(learned.name(address(n)), None);
            learned.ask(PAUSE_US, &mut names);
            if n % 500 == 0 {
                names.clear();
            }
        }
        assert_eq!((learned.asked.len(), learned.refused), (MOST_ASKED, 200_001 - MOST_ASKED as u64));
        let names: Names = [(address(1), "a.example.".into()), (address(2), "".into())].into_iter().collect();
        learned.adopt(&Arc::default(), &Arc::new(names), &Arc::default());
        assert_eq!(learned.name(address(1)).map(|name| &**name), Some("a.example."));
        assert_eq!(learned.name(address(2)), None, "it is known to have none");
        assert!(learned.missed.get_mut().is_empty());
    }
}
