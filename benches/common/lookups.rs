//! Address groups as there are, and addresses that are looked up in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ip_network::IpNetwork;
use tables::flow::group::GroupSet;

use super::random::Random;

/// Entries of a blacklist.
pub(crate) const LISTED: usize = 50_000;

/// A prefix of an address that may be routed.
fn v4(random: &mut Random, length: u8) -> IpNetwork {
    let address = Ipv4Addr::from_bits((random.next() as u32 % 0xdf00_0000) | 0x0100_0000);
    IpNetwork::new_truncate(address, length).expect("a length that IPv4 has")
}

/// A blacklist: three quarters single addresses, else networks of 256.
pub(crate) fn listed(many: usize) -> Vec<IpNetwork> {
    let mut random = Random(1);
    (0..many).map(|n| v4(&mut random, if n % 4 == 0 { 24 } else { 32 })).collect()
}

/// A full table: lengths as the routers of the Internet have them, most of them /24, many within shorter ones.
pub(crate) fn routes(many: usize) -> Vec<IpNetwork> {
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
pub(crate) fn routes_v6(many: usize) -> Vec<IpNetwork> {
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

/// So many addresses, of which `hits` in 100 are in one of the networks, and the others anywhere.
pub(crate) fn addresses(networks: &[IpNetwork], hits: u64, many: usize) -> Vec<IpAddr> {
    let mut random = Random(4);
    (0..many)
        .map(|_| {
            let at = random.next() as usize % networks.len();
            if random.next() % 100 < hits {
                within(&networks[at], &mut random)
            } else {
                Ipv4Addr::from_bits(random.next() as u32).into()
            }
        })
        .collect()
}

/// A group set of these networks, with as many labels as there are autonomous systems where there are many, or one.
pub(crate) fn set(networks: &[IpNetwork]) -> GroupSet {
    let many = if networks.len() > 100_000 { 80_000 } else { 1 };
    let labels: Vec<Arc<str>> = (0..many).map(|n| Arc::from(n.to_string().as_str())).collect();
    let labelled = networks.iter().enumerate().map(|(n, network)| (*network, Arc::clone(&labels[n % many])));
    GroupSet::from_networks(labelled)
}

/// How many of the addresses are in the set.
pub(crate) fn hits(set: &GroupSet, addresses: &[IpAddr]) -> u64 {
    addresses.iter().map(|address| u64::from(set.group(*address).is_some())).sum()
}
