//! P2, P3: longest prefix match of address groups against the trie they are gathered in. P10: how long it takes to
//! build a large set.
#![allow(missing_docs, reason = "a bench")]

#[path = "common/random.rs"]
mod random;
#[path = "common/ratio.rs"]
mod ratio;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;
use random::Random;
use tables::flow::group::GroupSet;

/// Addresses that are looked up, all different.
const ADDRESSES: usize = 1 << 16;

/// How often a pass looks all of them up: what one side takes from the caches of the other matters little then.
const ROUNDS: usize = 16;

/// A prefix of an address that may be routed.
fn v4(random: &mut Random, length: u8) -> IpNetwork {
    let address = Ipv4Addr::from_bits((random.next() as u32 % 0xdf00_0000) | 0x0100_0000);
    IpNetwork::new_truncate(address, length).expect("a length that IPv4 has")
}

/// A blacklist: three quarters single addresses, else networks of 256.
fn blacklist(many: usize) -> Vec<IpNetwork> {
    let mut random = Random(1);
    (0..many).map(|n| v4(&mut random, if n % 4 == 0 { 24 } else { 32 })).collect()
}

/// A full table: lengths as the routers of the Internet have them, most of them /24, many within shorter ones.
fn full_table(many: usize) -> Vec<IpNetwork> {
    let mut random = Random(2);
    let mut networks = Vec::with_capacity(many);
    while networks.len() < many {
        let length = match random.next() % 100 {
            0..60 => 24,
            60..72 => 22 + (random.next() % 2) as u8,
            72..90 => 19 + (random.next() % 3) as u8,
            90..98 => 16 + (random.next() % 3) as u8,
            _ => 8 + (random.next() % 8) as u8,
        };
        networks.push(v4(&mut random, length));
    }
    networks
}

/// The IPv6 table: prefixes of 29 to 48 bits in what registries give out.
fn full_table_v6(many: usize) -> Vec<IpNetwork> {
    let mut random = Random(3);
    (0..many)
        .map(|_| {
            let first = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][(random.next() % 6) as usize];
            let address =
                (u128::from(first | (random.next() % 16)) << 112) | (u128::from(random.next()) << 48);
            let length = if random.next().is_multiple_of(2) { 48 } else { 29 + (random.next() % 8) as u8 };
            IpNetwork::new_truncate(Ipv6Addr::from_bits(address), length).expect("a length that IPv6 has")
        })
        .collect()
}

/// An address of a network.
fn within(network: &IpNetwork, random: &mut Random) -> IpAddr {
    match network {
        IpNetwork::V4(network) => {
            let hosts = u32::MAX.checked_shr(u32::from(network.netmask())).unwrap_or(0);
            Ipv4Addr::from_bits(network.network_address().to_bits() | (random.next() as u32 & hosts)).into()
        }
        IpNetwork::V6(network) => {
            let hosts = u128::MAX.checked_shr(u32::from(network.netmask())).unwrap_or(0);
            Ipv6Addr::from_bits(network.network_address().to_bits() | (u128::from(random.next()) & hosts))
                .into()
        }
    }
}

struct Case {
    name: &'static str,
    set: GroupSet,
    trie: IpNetworkTable<u32>,
    addresses: Vec<IpAddr>,
}

impl Case {
    /// Addresses of which `hits` in 100 are in a network of the set, and the others anywhere.
    fn new(name: &'static str, networks: &[IpNetwork], hits: u64) -> Self {
        let mut trie = IpNetworkTable::new();
        for network in networks {
            trie.insert(*network, 1);
        }
        // As many labels as there are autonomous systems, or one.
        let many = if networks.len() > 100_000 { 80_000 } else { 1 };
        let labels: Vec<Arc<str>> = (0..many).map(|n| Arc::from(n.to_string().as_str())).collect();
        let mut random = Random(4);
        let addresses = (0..ADDRESSES)
            .map(|_| {
                let at = random.next() as usize % networks.len();
                if random.next() % 100 < hits {
                    within(&networks[at], &mut random)
                } else {
                    Ipv4Addr::from_bits(random.next() as u32).into()
                }
            })
            .collect();
        let labelled =
            networks.iter().enumerate().map(|(n, network)| (*network, Arc::clone(&labels[n % many])));
        let set = GroupSet::from_networks(labelled);
        Self { name, set, trie, addresses }
    }

    fn ours(&self) -> u64 {
        self.addresses.iter().map(|address| u64::from(self.set.group(*address).is_some())).sum()
    }

    fn theirs(&self) -> u64 {
        self.addresses.iter().map(|address| u64::from(self.trie.longest_match(*address).is_some())).sum()
    }

    fn print(&self) {
        assert_eq!(self.ours(), self.theirs(), "both find the same");
        let rounds = |pass: &dyn Fn() -> u64| (0..ROUNDS).map(|_| pass()).sum();
        let (ours, theirs) = (|| self.ours(), || self.theirs());
        let ratio = ratio::compare(self.addresses.len() * ROUNDS, || rounds(&ours), || rounds(&theirs));
        println!(
            "{}: ip_network_table / ours = {:.1} ({:.1} and {:.1} ns; {} of {} addresses hit; {} KiB)",
            self.name,
            ratio.gain(),
            ratio.other,
            ratio.ours,
            self.ours(),
            self.addresses.len(),
            self.set.bytes() >> 10,
        );
    }
}

fn benches(criterion: &mut Criterion) {
    let list = blacklist(50_000);
    let cases = [
        Case::new("P2 blacklist of 50,000", &list, 2),
        Case::new("P3 full table of 1,000,000", &full_table(1_000_000), 90),
        Case::new("IPv6 table of 200,000", &full_table_v6(200_000), 100),
        Case::new("five prefixes", &blacklist(5), 50),
    ];
    let label: Arc<str> = Arc::from("listed");
    let build = || GroupSet::from_networks(list.iter().map(|network| (*network, Arc::clone(&label))));
    let trie = || {
        let mut trie = IpNetworkTable::new();
        list.iter().for_each(|network| {
            trie.insert(*network, 1_u32);
        });
        trie.len().0 as u64
    };
    let ratio = ratio::compare(list.len(), || build().bytes() as u64, trie);
    println!(
        "P10 building a set of 50,000: ours / inserting into ip_network_table = {:.1} ({:.1} ms)",
        ratio.cost(),
        ratio.ours * list.len() as f64 / 1e6,
    );
    let mut group = criterion.benchmark_group("prefixes");
    group.throughput(Throughput::Elements(ADDRESSES as u64));
    for case in &cases {
        case.print();
        group.bench_function(case.name, |b| b.iter(|| case.ours()));
        group.bench_function(format!("{}, ip_network_table", case.name), |b| b.iter(|| case.theirs()));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
