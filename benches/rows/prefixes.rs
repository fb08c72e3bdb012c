//! P2, P3: longest prefix match of address groups against the trie they are gathered in. P10: how long it takes to
//! build a large set.

use std::net::IpAddr;
use std::sync::Arc;

use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;
use tables::flow::group::GroupSet;

use crate::bench::{Bench, Line, Number, Sides, Target};
use crate::common::lookups::{LISTED, addresses, hits, listed, routes, routes_v6, set};

/// Addresses that are looked up, all different.
const ADDRESSES: usize = 1 << 16;

/// How often a pass looks all of them up: what one side takes from the caches of the other matters little then.
const ROUNDS: usize = 16;

/// Addresses against a set of networks, by both.
struct Case {
    set: GroupSet,
    trie: IpNetworkTable<u32>,
    addresses: Vec<IpAddr>,
}

impl Case {
    /// Addresses of which `hits` in 100 are in a network of the set, and the others anywhere.
    fn new(networks: &[IpNetwork], hits: u64) -> Self {
        let mut trie = IpNetworkTable::new();
        for network in networks {
            trie.insert(*network, 1);
        }
        Self { set: set(networks), trie, addresses: addresses(networks, hits, ADDRESSES) }
    }

    fn ours(&self) -> u64 {
        hits(&self.set, &self.addresses)
    }

    fn theirs(&self) -> u64 {
        self.addresses.iter().map(|address| u64::from(self.trie.longest_match(*address).is_some())).sum()
    }

    fn measure(&self, bench: &mut Bench, row: &'static str, what: &str, target: Target) {
        assert_eq!(self.ours(), self.theirs(), "both find the same");
        let rounds = |pass: &dyn Fn() -> u64| (0..ROUNDS).map(|_| pass()).sum();
        let sides = Sides {
            row,
            what,
            elements: self.addresses.len() * ROUNDS,
            unit: "lookup",
            kind: Number::Gain,
            target,
        };
        bench.compare(&sides, || rounds(&|| self.ours()), || rounds(&|| self.theirs()));
        let (hits, all, kib) = (self.ours(), self.addresses.len(), self.set.bytes() >> 10);
        bench.say(row, format!("{what}: {hits} of {all} addresses hit, the set takes {kib} KiB"));
    }
}

pub(crate) fn blacklist(bench: &mut Bench) {
    let what = "blacklist of 50,000, 98 % misses / ip_network_table";
    Case::new(&listed(LISTED), 2).measure(bench, "P2", what, Target::AtLeast(8.0));
    let what = "five prefixes, half of the addresses hit / ip_network_table";
    Case::new(&listed(5), 50).measure(bench, "P2", what, Target::None);
}

pub(crate) fn full_table(bench: &mut Bench) {
    let what = "table of 1,000,000 IPv4 prefixes, 80,000 labels / ip_network_table";
    Case::new(&routes(1_000_000), 90).measure(bench, "P3", what, Target::AtLeast(8.0));
    let what = "table of 200,000 IPv6 prefixes / ip_network_table";
    Case::new(&routes_v6(200_000), 100).measure(bench, "P3", what, Target::None);
}

pub(crate) fn rebuild(bench: &mut Bench) {
    let list = listed(LISTED);
    let label: Arc<str> = Arc::from("listed");
    let build = || GroupSet::from_networks(list.iter().map(|network| (*network, Arc::clone(&label))));
    let trie = || {
        let mut trie = IpNetworkTable::new();
        list.iter().for_each(|network| {
            trie.insert(*network, 1_u32);
        });
        trie.len().0 as u64
    };
    let sides = Sides {
        row: "P10",
        what: "a set of 50,000 is built / the same inserted into ip_network_table",
        elements: 1,
        unit: "set",
        kind: Number::Cost,
        target: Target::None,
    };
    let measured = bench.compare(&sides, || build().bytes() as u64, trie);
    let what = "a set of 50,000 is built, aside";
    bench.line(Line::figure("P10", what, measured.ours / 1e6, "ms", Target::AtMost(20.0)));
}
