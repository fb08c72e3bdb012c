//! The first bytes of a flow's packet, as one of its hops sees it.

use std::net::{IpAddr, Ipv4Addr};

use decode::Mac;
use decode::packet::PacketBuilder;
use decode::xdr::Full;

/// Bytes of a packet that a switch samples.
pub(crate) const SAMPLED_BYTES: usize = 128;

/// What a tunnel adds to a frame: Ethernet, IPv4, UDP and VXLAN headers.
pub(crate) const TUNNEL_BYTES: u32 = 14 + 20 + 8 + 8;

/// The frame check sequence, which is counted in a frame's length and not sampled.
pub(crate) const FCS_BYTES: u32 = 4;

/// What is carried above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carried {
    /// TCP, with its flags.
    Tcp { flags: u16 },
    /// UDP.
    Udp,
    /// UDP with a question for a host's name.
    Dns { of_host: u16 },
    /// An echo, by its place in the conversation: request or reply.
    Echo { reply: bool },
}

impl Carried {
    /// IP protocol after an address of this family.
    pub(crate) fn protocol(self, v6: bool) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp | Self::Dns { .. } => 17,
            Self::Echo { .. } if v6 => 58,
            Self::Echo { .. } => 1,
        }
    }

    /// The shortest frame that holds its headers behind IP of this family, frame check sequence included.
    pub(crate) fn least_frame(self, v6: bool) -> u32 {
        let ip = if v6 { 40 } else { 20 };
        let rest = match self {
            Self::Tcp { .. } => 20,
            Self::Udp | Self::Echo { .. } => 8,
            Self::Dns { .. } => 8 + 12 + 40,
        };
        (14 + ip + rest + FCS_BYTES).max(64)
    }
}

/// What all packets of a flow have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) carried: Carried,
    pub(crate) ttl: u8,
}

/// The tunnel around a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    /// Source port, a hash of what is inside (RFC 7348, section 5).
    pub(crate) source_port: u16,
    pub(crate) vni: u32,
    /// Inner Ethernet addresses.
    pub(crate) inner: Link,
}

/// Ethernet addresses on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) source: Mac,
    pub(crate) destination: Mac,
}

/// Writes what is sampled of a frame of `frame_length` bytes (frame check sequence included) after `routed` routers;
/// gives its length.
///
/// # Errors
/// The buffer is smaller than the headers.
pub(crate) fn write(
    packet: &Packet,
    link: Link,
    tunnel: Option<&Tunnel>,
    routed: u8,
    frame_length: u32,
    buffer: &mut [u8; 2 * SAMPLED_BYTES],
) -> Result<usize, Full> {
    let builder = PacketBuilder::new(buffer).ethernet(link.destination, link.source)?;
    let (builder, routed) = match tunnel {
        Some(tunnel) => (
            builder
                .ipv4(tunnel.from, tunnel.to, 0, 64 - routed)?
                .udp(tunnel.source_port, 4789)?
                .vxlan(tunnel.vni)?
                .ethernet(tunnel.inner.destination, tunnel.inner.source)?,
            // The routers see the tunnel only.
            0,
        ),
        None => (builder, routed),
    };
    let ttl = packet.ttl - routed;
    let builder = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => builder.ipv4(source, destination, 0, ttl)?,
        (IpAddr::V6(source), IpAddr::V6(destination)) => builder.ipv6(source, destination, 0, ttl)?,
        // Both ends of a flow are of one family: see where flows are made.
        _ => return Err(Full),
    };
    let (from, to) = (packet.source_port, packet.destination_port);
    let v6 = packet.source.is_ipv6();
    let builder = match packet.carried {
        Carried::Tcp { flags } => builder.tcp(from, to, flags)?,
        Carried::Udp => builder.udp(from, to)?,
        Carried::Dns { of_host } => builder.udp(from, to)?.payload(&question(of_host, from == 53, v6))?,
        Carried::Echo { reply } => {
            let kind = match (v6, reply) {
                (false, false) => 8,
                (false, true) => 0,
                (true, false) => 128,
                (true, true) => 129,
            };
            builder.icmp(kind, 0, 1, 1)?
        }
    };
    let whole = (frame_length - FCS_BYTES) as usize;
    let written = builder.finish(whole)?;
    // The payload is zeros, which the buffer may not be.
    let sampled = SAMPLED_BYTES.min(whole);
    if let Some(payload) = buffer.get_mut(written..sampled) {
        payload.fill(0);
    }
    Ok(sampled)
}

/// A DNS message that asks for, or answers, the address of a host: 12 bytes, a name, its type and class.
fn question(of_host: u16, response: bool, v6: bool) -> Vec<u8> {
    let mut message = vec![0, 7, if response { 0x81 } else { 1 }, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = format!("host{of_host}");
    for label in [name.as_str(), "example", "net"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, if v6 { 28 } else { 1 }, 0, 1]);
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::packet::dissect;

    use super::*;

    fn stack(packet: &Packet, tunnel: Option<&Tunnel>, frame_length: u32) -> String {
        let mut buffer = [0xaa; 256];
        let link = Link { source: Mac([2; 6]), destination: Mac([4; 6]) };
        let length = write(packet, link, tunnel, 1, frame_length, &mut buffer).unwrap();
        assert!(length <= SAMPLED_BYTES && length == SAMPLED_BYTES.min(frame_length as usize - 4));
        let packet = dissect(1, &buffer[..length]);
        packet.layers().iter().map(|layer| layer.kind.token()).collect::<Vec<_>>().join(".")
    }

    #[test]
    fn each_kind_of_packet_in_its_shortest_frame() {
        let tunnel = Tunnel {
            from: [10, 0, 0, 1].into(),
            to: [10, 0, 0, 2].into(),
            source_port: 50_000,
            vni: 7,
            inner: Link { source: Mac([6; 6]), destination: Mac([8; 6]) },
        };
        let addresses: [(IpAddr, &str); 2] =
            [([10, 1, 0, 1].into(), "ip"), ("2001:db8::1".parse().unwrap(), "ip6")];
        for (address, ip) in addresses {
            let icmp = if ip == "ip" { "icmp" } else { "icmp6" };
            for (carried, above, port) in [
                (Carried::Tcp { flags: 0x10 }, "tcp", 443),
                (Carried::Udp, "udp", 123),
                (Carried::Dns { of_host: 4_000 }, "udp.dns", 53),
                (Carried::Echo { reply: false }, icmp, 0),
            ] {
                let packet = Packet {
                    source: address,
                    destination: address,
                    source_port: 40_000,
                    destination_port: port,
                    carried,
                    ttl: 64,
                };
                let least = carried.least_frame(address.is_ipv6());
                assert_eq!(stack(&packet, None, least), format!("eth.{ip}.{above}"));
                let outer = stack(&packet, Some(&tunnel), least + TUNNEL_BYTES);
                assert_eq!(outer, format!("eth.ip.udp.vxlan.eth.{ip}.{above}"));
            }
        }
    }
}
