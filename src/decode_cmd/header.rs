//! The outermost layers of a sampled packet, as far as the reference decoder looks: Ethernet, VLAN tags, LLC,
//! one IP header, one transport header.

use decode::Address;
use decode::flow::SampledHeader;
use decode::packet::{Ethernet, Icmp, Ipv4, Ipv6, LayerKind, Packet, Snap, dissect, header_protocol};

use super::report::{Dashed, Hex, Ip, Report};

/// What is found in the outermost layers.
pub(super) struct Outer<'a> {
    pub(super) packet: Packet<'a>,
    /// How many VLAN tags stand before the network layer.
    tags: usize,
    /// The type field after tags and SNAP, when the reference decoder would come to it.
    pub(super) ethertype: Option<u16>,
    /// Whether the packet begins with Ethernet; one that a tunnel carries is not an outermost layer.
    begins_with_ethernet: bool,
    /// Where an IP header begins, whole or cut short.
    ip_at: Option<usize>,
    /// Where a whole IP header begins, and which it is.
    pub(super) ip: Option<(usize, Network<'a>)>,
    oui: Option<[u8; 3]>,
}

/// The network layer.
pub(super) enum Network<'a> {
    V4(Ipv4<'a>),
    V6(Ipv6<'a>),
}

/// The transport layer's facts; ICMP's type and code stand for ports.
#[derive(Clone, Copy, Default)]
pub(super) struct Transport {
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) tcp_flags: Option<u8>,
    /// UDP's length field.
    udp_length: Option<u16>,
}

/// The `header_protocol` of IEEE 802.11.
const IEEE80211_MAC: u32 = 15;

/// Headers shorter than this have no more than a link layer.
const SHORTEST_IP: usize = 20;

impl<'a> Outer<'a> {
    pub(super) fn new(header: &SampledHeader<'a>) -> Self {
        let packet = dissect(header.protocol, header.bytes);
        let begins_with_ethernet = header.protocol == header_protocol::ETHERNET;
        let mut outer =
            Self { packet, tags: 0, ethertype: None, begins_with_ethernet, ip_at: None, ip: None, oui: None };
        match header.protocol {
            header_protocol::ETHERNET => outer.find(),
            header_protocol::IPV4 | header_protocol::IPV6 => {
                outer.ip_at = Some(0);
                outer.ip = outer.network(0);
            }
            _ => {}
        }
        outer
    }

    fn find(&mut self) {
        let layers = self.packet.layers();
        self.tags = layers.iter().skip(1).take_while(|layer| layer.kind == LayerKind::Vlan).count();
        let at_type = 12 + 4 * self.tags;
        let ethertype = self.packet.bytes().get(at_type..).and_then(|rest| rest.first_chunk::<2>());
        let Some(mut ethertype) = ethertype.map(|pair| u16::from_be_bytes(*pair)) else { return };
        let mut next = 1 + self.tags;
        if self.packet.bytes().len() < SHORTEST_IP {
            return;
        }
        if layers.get(next).is_some_and(|layer| layer.kind == LayerKind::Llc) {
            let llc = self.packet.nth(LayerKind::Llc, 0).unwrap_or_default();
            match llc {
                [0xaa, 0xaa, 0x03, ..] => {
                    let snap = Snap::new(llc);
                    self.oui = snap.oui().filter(|oui| *oui != [0; 3]);
                    let Some(inner) = snap.ethertype().filter(|_| self.oui.is_none()) else { return };
                    ethertype = inner;
                }
                [0x06, 0x06, control, ..] if control & 1 == 1 => ethertype = 0x0800,
                _ => return,
            }
            next += 1;
        }
        self.ethertype = Some(ethertype);
        if matches!(ethertype, 0x0800 | 0x86dd) {
            self.ip = self.network(next);
            self.ip_at = self.ip.as_ref().map(|(at, _)| *at).or_else(|| self.cut_ipv6(next));
        }
    }

    fn network(&self, place: usize) -> Option<(usize, Network<'a>)> {
        let layer = self.packet.layers().get(place)?;
        let at = usize::from(layer.offset);
        match layer.kind {
            LayerKind::Ipv4 => {
                let ip = self.packet.ipv4(0).filter(|ip| ip.destination().is_some())?;
                ip.header_length()?;
                Some((at, Network::V4(ip)))
            }
            LayerKind::Ipv6 => {
                let ip = self.packet.ipv6(0).filter(|ip| ip.destination().is_some())?;
                Some((at, Network::V6(ip)))
            }
            _ => None,
        }
    }

    /// Where an IPv6 header begins of which not all is there: its first byte says what it is.
    fn cut_ipv6(&self, place: usize) -> Option<usize> {
        let layer = self.packet.layers().get(place).filter(|layer| layer.kind == LayerKind::Ipv6)?;
        let at = usize::from(layer.offset);
        self.packet.bytes().get(at).filter(|first| *first >> 4 == 6).map(|_| at)
    }

    pub(super) fn ethernet(&self) -> Option<Ethernet<'a>> {
        self.packet
            .ethernet(0)
            .filter(|_| self.begins_with_ethernet)
            .filter(|ethernet| ethernet.ethertype().is_some())
    }

    /// VLAN and priority of each tag.
    pub(super) fn tags(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        (0..self.tags).filter_map(|n| {
            let vlan = self.packet.vlan(n)?;
            Some((vlan.id()?, vlan.priority()?)).filter(|_| vlan.ethertype().is_some())
        })
    }

    /// Protocol of the payload, where the header says it.
    pub(super) fn protocol(&self) -> Option<u8> {
        match &self.ip.as_ref()?.1 {
            Network::V4(ip) => ip.protocol(),
            Network::V6(ip) => ip.options().map(|options| options.protocol),
        }
    }

    /// The transport header, when eight bytes of it are there and the packet is no later fragment.
    pub(super) fn transport(&self) -> Option<Transport> {
        let (at, network) = self.ip.as_ref()?;
        let begins = match network {
            Network::V4(ip) => ip.header_length().filter(|_| ip.fragment_offset() == Some(0))?,
            Network::V6(ip) => ip.options()?.length,
        };
        let rest = self.packet.bytes().get(at + begins..)?;
        let [a, b, c, d, e, f, ..] = *rest.first_chunk::<8>()?;
        let ports = Transport {
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
            ..Transport::default()
        };
        match self.protocol()? {
            1 => {
                let icmp = Icmp::new(rest);
                let (kind, code) = (icmp.kind()?, icmp.code()?);
                Some(Transport { source: kind.into(), destination: code.into(), ..Transport::default() })
            }
            6 => Some(Transport { tcp_flags: rest.get(13).copied(), ..ports }),
            17 => Some(Transport { udp_length: Some(u16::from_be_bytes([e, f])), ..ports }),
            _ => None,
        }
    }
}

/// Reports a `sampled_header`.
pub(super) fn report(header: &SampledHeader<'_>, report: &mut Report<'_>) {
    report.pair("flowSampleType", "HEADER");
    report.pair("headerProtocol", header.protocol);
    report.pair("sampledPacketSize", header.frame_length);
    report.pair("strippedBytes", header.stripped);
    report.pair("headerLen", header.bytes.len());
    report.pair("headerBytes", Dashed(header.bytes));
    let outer = Outer::new(header);
    match header.protocol {
        header_protocol::ETHERNET | header_protocol::IPV4 | header_protocol::IPV6 => {}
        IEEE80211_MAC => wireless(header.bytes, report),
        protocol @ (2..=10 | 13..=17) => report.note(format_args!("NO_DECODE headerProtocol={protocol}")),
        protocol => report.note(format_args!("UNKNOWN headerProtocol={protocol}")),
    }
    if let Some(ethernet) = outer.ethernet() {
        report.pair("dstMAC", Hex(&ethernet.destination().unwrap_or_default().0));
        report.pair("srcMAC", Hex(&ethernet.source().unwrap_or_default().0));
    }
    for (depth, (vlan, priority)) in outer.tags().enumerate() {
        let suffix = if depth == 0 { String::new() } else { format!(".{depth}") };
        report.pair(&format!("decodedVLAN{suffix}"), vlan);
        report.pair(&format!("decodedPriority{suffix}"), priority);
    }
    if let Some(oui) = outer.oui {
        report.pair("VSNAP_OUI", Dashed(&oui));
    }
    if let Some(ethertype) = outer.ethertype {
        report.pair("ethernet_type", ethertype);
    }
    let Some(at) = outer.ip_at else { return };
    // The reference decoder shows what is left in a signed word.
    let size = header.frame_length.wrapping_sub(header.stripped).wrapping_sub(at as u32);
    report.pair("IPSize", size.cast_signed());
    let Some((_, network)) = &outer.ip else { return };
    match network {
        Network::V4(ip) => ipv4(ip, report),
        Network::V6(ip) => ipv6(ip, report),
    }
    let (Some(transport), Some(protocol)) = (outer.transport(), outer.protocol()) else { return };
    match protocol {
        1 => {
            report.pair("ICMPType", transport.source);
            report.pair("ICMPCode", transport.destination);
        }
        6 => {
            report.pair("TCPSrcPort", transport.source);
            report.pair("TCPDstPort", transport.destination);
            if let Some(flags) = transport.tcp_flags {
                report.pair("TCPFlags", flags);
            }
        }
        _ => {
            report.pair("UDPSrcPort", transport.source);
            report.pair("UDPDstPort", transport.destination);
            if let Some(length) = transport.udp_length {
                report.pair("UDPBytes", length);
            }
        }
    }
}

/// The stations of an IEEE 802.11 data frame; which address is whose, the to-DS and from-DS bits say.
fn wireless(frame: &[u8], report: &mut Report<'_>) {
    const DATA: u8 = 2;
    let address = |at: usize| frame.get(at..).and_then(|rest| rest.first_chunk::<6>());
    let (Some([control, flags, ..]), true) = (frame.first_chunk::<2>(), frame.len() >= 24) else { return };
    if (control >> 2) & 3 != DATA {
        return;
    }
    let (receiver, transmitter, third, fourth) = (address(4), address(10), address(16), address(24));
    let (source, destination) = match flags & 3 {
        0 => (transmitter, receiver),
        1 => (transmitter, third),
        2 => (third, receiver),
        _ => (fourth, third),
    };
    for (name, mac) in
        [("srcMAC", source), ("dstMAC", destination), ("txMAC", transmitter), ("rxMAC", receiver)]
    {
        if let Some(mac) = mac {
            report.pair(name, Hex(mac));
        }
    }
}

fn ipv4(ip: &Ipv4<'_>, report: &mut Report<'_>) {
    report.pair("ip.tot_len", ip.total_length().unwrap_or(0));
    report.pair("srcIP", Ip(ip.source().map_or(Address::Unknown, Address::V4)));
    report.pair("dstIP", Ip(ip.destination().map_or(Address::Unknown, Address::V4)));
    report.pair("IPProtocol", ip.protocol().unwrap_or(0));
    report.pair("IPTOS", ip.tos().unwrap_or(0));
    report.pair("IPTTL", ip.ttl().unwrap_or(0));
    // The reference decoder does not turn this field into the host's byte order, and it runs on x86.
    report.pair("IPID", ip.id().unwrap_or(0).swap_bytes());
    if let Some(offset) = ip.fragment_offset().filter(|offset| *offset > 0) {
        report.pair("IPFragmentOffset", offset);
    }
}

fn ipv6(ip: &Ipv6<'_>, report: &mut Report<'_>) {
    report.pair("IPTOS", ip.traffic_class().unwrap_or(0));
    report.pair("IP6_label", format_args!("{:#x}", ip.flow_label().unwrap_or(0)));
    match ip.payload_length() {
        None | Some(0) => report.pair("IPV6_payloadLen", "<jumbo>"),
        Some(length) => report.pair("IPV6_payloadLen", length),
    }
    report.pair("IPTTL", ip.hop_limit().unwrap_or(0));
    report.pair("srcIP6", Ip(ip.source().map_or(Address::Unknown, Address::V6)));
    report.pair("dstIP6", Ip(ip.destination().map_or(Address::Unknown, Address::V6)));
    for extension in ip.extensions() {
        report.pair("IP6HeaderExtension", extension);
    }
    if let Some(options) = ip.options() {
        report.pair("IPProtocol", options.protocol);
    }
}
