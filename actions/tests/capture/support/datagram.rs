//! sFlow datagrams with one packet sample each.

use std::net::{IpAddr, Ipv4Addr};

/// The datagram of an agent that has sampled, one in `rate`, a packet from one host to another at its port `source`.
pub(crate) fn datagram(
    agent: Ipv4Addr,
    sequence: u32,
    port: u32,
    rate: u32,
    from: IpAddr,
    to: IpAddr,
) -> Vec<u8> {
    let header = packet(from, to);
    let padded = header.len().next_multiple_of(4);
    let mut words: Vec<u32> = vec![5, 1, agent.to_bits(), 0, sequence, 1000 * sequence, 1];
    // flow_sample: its length, sequence, data source, rate, pool, drops, input, output, records.
    words.extend([1, 32 + 8 + 16 + padded as u32, sequence, port, rate, rate * sequence, 0, port, 9, 1]);
    // sampled_header: its length, Ethernet, frame length, stripped, bytes.
    words.extend([1, 16 + padded as u32, 1, 1000, 4, header.len() as u32]);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(&header);
    bytes.resize(bytes.len() + padded - header.len(), 0);
    bytes
}

fn packet(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x08, 0x00, 0x45, 0, 0x03, 0xd2, 0, 0, 0, 0, 64, 17, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0x03, 0xaa, 17, 64]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => panic!("{from} and {to}"),
    }
    // UDP from 1000 to 2000.
    bytes.extend([0x03, 0xe8, 0x07, 0xd0, 0x03, 0xbe, 0, 0]);
    bytes
}
