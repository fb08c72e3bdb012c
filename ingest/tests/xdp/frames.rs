//! Frames by their parts, whole or spoilt.

use std::net::IpAddr;

use super::netns::{FAR_MAC, NEAR_MAC};

/// The tags' types.
pub(crate) const TAG: u16 = 0x8100;
pub(crate) const SERVICE_TAG: u16 = 0x88a8;

/// Protocols and extension headers.
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const DESTINATION: u8 = 60;

/// A frame to be; with nothing said it is a UDP datagram for port 6343 of `near`.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) to_mac: [u8; 6],
    /// Types and VLANs, the outer one first.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// Of IPv4: whole words.
    pub(crate) options: Vec<u8>,
    /// Of IPv6: the types of extension headers and what is in them after their first two bytes.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) protocol: u8,
    /// Of IPv4: flags and offset of a fragment.
    pub(crate) fragment: u16,
    /// What IP carries; `None` for UDP with `port` and `payload`.
    pub(crate) carried: Option<Vec<u8>>,
    pub(crate) port: u16,
    pub(crate) payload: Vec<u8>,
    /// What is added to the length that UDP says.
    pub(crate) udp_length: i32,
    /// What is added to the length that IP says.
    pub(crate) ip_length: i32,
    /// Bytes after the packet.
    pub(crate) padding: usize,
}

impl Frame {
    pub(crate) fn v4(payload: impl Into<Vec<u8>>) -> Self {
        Self::between("192.0.2.9", "192.0.2.1", payload)
    }

    pub(crate) fn v6(payload: impl Into<Vec<u8>>) -> Self {
        Self::between("2001:db8::9", "2001:db8::1", payload)
    }

    pub(crate) fn between(from: &str, to: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            to_mac: NEAR_MAC,
            tags: Vec::new(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            options: Vec::new(),
            extensions: Vec::new(),
            protocol: UDP,
            fragment: 0,
            carried: None,
            port: 6343,
            payload: payload.into(),
            udp_length: 0,
            ip_length: 0,
            padding: 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.to_mac, FAR_MAC].concat();
        for (kind, vlan) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        let carried = self.carried.clone().unwrap_or_else(|| self.udp());
        let packet = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend(0x0800_u16.to_be_bytes());
                let addresses = [from.octets(), to.octets()].concat();
                self.v4_packet(&addresses, &carried)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend(0x86dd_u16.to_be_bytes());
                let addresses = [from.octets(), to.octets()].concat();
                self.v6_packet(&addresses, &carried)
            }
            other => panic!("{other:?}"),
        };
        frame.extend(packet);
        frame.resize(frame.len() + self.padding, 0xaa);
        frame
    }

    /// The UDP datagram, with its checksum.
    pub(crate) fn udp(&self) -> Vec<u8> {
        let length = spoilt(8 + self.payload.len(), self.udp_length);
        let mut udp = [&[0x12, 0x34][..], &self.port.to_be_bytes(), &length, &[0, 0], &self.payload].concat();
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // What the kernel takes to be the payload: less than there is where the length says so.
        let covered = usize::from(u16::from_be_bytes(length)).min(udp.len());
        let pseudo = [&octets(self.from)[..], &octets(self.to), &[0, UDP], &length].concat();
        let sum = checksum(&[pseudo.as_slice(), &udp[..covered]]);
        udp[6..8].copy_from_slice(&(if sum == 0 { 0xffff } else { sum }).to_be_bytes());
        udp
    }

    fn v4_packet(&self, addresses: &[u8], carried: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = spoilt(header + carried.len(), self.ip_length);
        let [high, low] = self.fragment.to_be_bytes();
        let first = [0x40 | u8::try_from(header / 4).unwrap(), 0];
        let rest = [0x77, 0x77, high, low, 64, self.protocol, 0, 0];
        let mut packet = [&first[..], &length, &rest, addresses, &self.options].concat();
        let sum = checksum(&[packet.as_slice()]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        [packet.as_slice(), carried].concat()
    }

    fn v6_packet(&self, addresses: &[u8], carried: &[u8]) -> Vec<u8> {
        let kinds = self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]);
        let following = kinds.clone().skip(1);
        let mut headers = Vec::new();
        for ((kind, rest), next) in self.extensions.iter().zip(following) {
            let words = (2 + rest.len()) / 8;
            // A fragment's header has no length, authentication's counts words of 32 bits and starts at two.
            let words = match *kind {
                FRAGMENT => 0,
                AUTHENTICATION => words * 2 - 2,
                _ => words - 1,
            };
            headers.extend([next, u8::try_from(words).unwrap()]);
            headers.extend(rest);
        }
        let length = spoilt(headers.len() + carried.len(), self.ip_length);
        let first = [&[0x60, 0, 0, 0][..], &length, &[kinds.clone().next().unwrap(), 64], addresses].concat();
        [first.as_slice(), &headers, carried].concat()
    }
}

fn spoilt(length: usize, by: i32) -> [u8; 2] {
    u16::try_from(i32::try_from(length).unwrap() + by).unwrap().to_be_bytes()
}

/// The internet's checksum.
fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    let sum = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    !u16::try_from(sum).unwrap()
}
