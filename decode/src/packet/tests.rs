//! Layers written by the builder, or given as bytes, and read back.

use super::*;
use crate::address::Mac;
use std::net::{Ipv4Addr, Ipv6Addr};

const A: Mac = Mac([0, 1, 2, 3, 4, 5]);
const B: Mac = Mac([0x10, 0x11, 0x12, 0x13, 0x14, 0x15]);
const IP_A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const IP_B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn stack(packet: &Packet<'_>) -> String {
    let mut text = String::new();
    packet.write_stack(&mut text).unwrap();
    text
}

fn ip6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

#[test]
fn tagged_tcp_over_ipv4() {
    let mut buffer = [0; 128];
    let packet = PacketBuilder::new(&mut buffer).ethernet(B, A).unwrap().vlan(100, 5).unwrap();
    let packet = packet.ipv4(IP_A, IP_B, 0xb9, 63).unwrap().tcp(40000, 443, 0x12).unwrap();
    let length = packet.finish(1514).unwrap();
    let packet = dissect(1, &buffer[..length]);
    assert_eq!(stack(&packet), "eth.ip.tcp");
    assert_eq!(packet.layers().len(), 4);
    let vlan = packet.vlan(0).unwrap();
    assert_eq!((vlan.id(), vlan.priority()), (Some(100), Some(5)));
    let ip = packet.ipv4(0).unwrap();
    assert_eq!((ip.source(), ip.destination()), (Some(IP_A), Some(IP_B)));
    assert_eq!((ip.tos(), ip.ttl(), ip.total_length()), (Some(0xb9), Some(63), Some(1514 - 18)));
    let header = packet.nth(LayerKind::Ipv4, 0).unwrap();
    let sum: u32 = header[..20].chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum is right");
    let tcp = packet.tcp(0).unwrap();
    assert_eq!(
        (tcp.source_port(), tcp.destination_port(), tcp.flags()),
        (Some(40000), Some(443), Some(0x12))
    );
}

#[test]
fn vxlan_shows_inner_layers_as_second_ones() {
    let mut buffer = [0; 200];
    let outer = PacketBuilder::new(&mut buffer).ethernet(B, A).unwrap().ipv4(IP_A, IP_B, 0, 64).unwrap();
    let inner = outer.udp(50000, 4789).unwrap().vxlan(0x00ab_cdef).unwrap().ethernet(A, B).unwrap();
    let length = inner.ipv6(ip6(1), ip6(2), 7, 64).unwrap().udp(1000, 2000).unwrap().finish(400).unwrap();
    let packet = dissect(1, &buffer[..length]);
    assert_eq!(stack(&packet), "eth.ip.udp.vxlan.eth.ip6.udp");
    assert_eq!(packet.nth(LayerKind::Vxlan, 0).and_then(|b| Vxlan::new(b).vni()), Some(0x00ab_cdef));
    assert_eq!(packet.udp(1).unwrap().ports(), Some((1000, 2000)));
    assert_eq!(packet.udp(0).unwrap().length(), Some(400 - 34));
    assert_eq!(packet.ethernet(1).unwrap().destination(), Some(A));
    assert!(packet.udp(2).is_none());
    assert_eq!(packet.ipv6(0).unwrap().payload_length(), Some(8 + 400 - length as u16));
}

#[test]
fn header_protocols_without_a_link_layer() {
    let mut buffer = [0; 64];
    let built = PacketBuilder::new(&mut buffer).ipv6(ip6(1), ip6(2), 0x12345, 9).unwrap();
    let length = built.icmp(128, 0, 1, 77).unwrap().finish(48).unwrap();
    let packet = dissect(header_protocol::IPV6, &buffer[..length]);
    assert_eq!(stack(&packet), "ip6.icmp6");
    assert_eq!(packet.ipv6(0).unwrap().flow_label(), Some(0x12345));
    assert_eq!(packet.nth(LayerKind::Icmpv6, 0).and_then(|b| Icmp::new(b).sequence()), Some(77));
    assert_eq!(
        dissect(header_protocol::IPV4, &buffer[..length]).layers().len(),
        0,
        "the version is looked at"
    );
    assert_eq!(dissect(999, &buffer[..length]).layers().len(), 0);
}

#[test]
fn stacked_tags_llc_mpls_pppoe_and_arp() {
    let mut qinq = vec![0u8; 12];
    qinq.extend([0x88, 0xa8, 0x20, 0x0a, 0x81, 0x00, 0x40, 0x14, 0x08, 0x06]);
    qinq.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    qinq.extend([1; 6].iter().chain(&[10, 0, 0, 1]).chain(&[2; 6]).chain(&[10, 0, 0, 2]));
    let packet = dissect(1, &qinq);
    assert_eq!((packet.vlan(0).unwrap().id(), packet.vlan(1).unwrap().id()), (Some(10), Some(20)));
    let arp = Arp::new(packet.nth(LayerKind::Arp, 0).unwrap());
    assert_eq!((arp.operation(), arp.sender(), arp.target()), (Some(2), Some(IP_A), Some(IP_B)));

    let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 0];
    let with = |head: &[u8]| [&[0u8; 12][..], head, &ip].concat();
    let snap = with(&[0, 60, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    assert_eq!(stack(&dissect(1, &snap)), "eth.llc.ip.tcp");
    let mpls = with(&[0x88, 0x47, 0, 0x01, 0x00, 64, 0, 0x02, 0x01, 64]);
    let packet = dissect(1, &mpls);
    assert_eq!(stack(&packet), "eth.mpls.mpls.ip.tcp");
    assert_eq!(packet.nth(LayerKind::Mpls, 1).and_then(|b| Mpls::new(b).label()), Some(0x20));
    let pseudowire = [&with(&[0x88, 0x47, 0, 0x02, 0x01, 64, 0, 0, 0, 9])[..22], &with(&[8, 0])].concat();
    assert_eq!(stack(&dissect(1, &pseudowire)), "eth.mpls.eth.ip.tcp");
    let pppoe = with(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 42, 0, 0x21]);
    assert_eq!(stack(&dissect(1, &pppoe)), "eth.pppoe.ip.tcp");
}

#[test]
fn tunnels_over_ip() {
    let ip4 = |protocol| vec![0x45, 0, 0, 99, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let tcp = [0u8, 80, 1, 0, 0, 0, 0, 0];
    let inner_ip = [ip4(6), tcp.to_vec()].concat();
    let ethernet = [vec![0; 12], vec![8, 0], inner_ip.clone()].concat();
    for (name, protocol, between, inner) in [
        ("ip.ip.tcp", 4, vec![], &inner_ip),
        ("ip.gre.ip.tcp", 47, vec![0, 0, 8, 0], &inner_ip),
        ("ip.gre.eth.ip.tcp", 47, vec![0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 0x01], &ethernet),
        ("ip.gre.eth.ip.tcp", 47, vec![0, 0, 0x88, 0xbe], &ethernet),
        (
            "ip.gre.erspan.eth.ip.tcp",
            47,
            [vec![0x10, 0, 0x88, 0xbe, 0, 0, 0, 1], vec![0x10; 8]].concat(),
            &ethernet,
        ),
        (
            "ip.gre.erspan.eth.ip.tcp",
            47,
            [vec![0x10, 0, 0x22, 0xeb, 0, 0, 0, 1], vec![0x20; 12]].concat(),
            &ethernet,
        ),
    ] {
        let bytes = [ip4(protocol), between, inner.clone()].concat();
        let packet = dissect(header_protocol::IPV4, &bytes);
        assert_eq!(stack(&packet), name);
    }
    let nvgre = [ip4(47), vec![0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 0x01], ethernet.clone()].concat();
    let packet = dissect(header_protocol::IPV4, &nvgre);
    assert_eq!(packet.nth(LayerKind::Gre, 0).and_then(|b| Gre::new(b).virtual_subnet()), Some(0x1234));
    let geneve = [0x01, 0, 0x65, 0x58, 0, 0, 0x2a, 0, 9, 9, 9, 9];
    let bytes = [ip4(17), vec![0x80, 0, 0x17, 0xc1, 0, 0, 0, 0], geneve.to_vec(), ethernet].concat();
    let packet = dissect(header_protocol::IPV4, &bytes);
    assert_eq!(stack(&packet), "ip.udp.geneve.eth.ip.tcp");
    assert_eq!(packet.nth(LayerKind::Geneve, 0).and_then(|b| Geneve::new(b).vni()), Some(42));
}

#[test]
fn fragments_and_extension_headers() {
    let mut first = vec![0x45, 0, 0, 99, 0, 0, 0x20, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 2, 0];
    assert_eq!(stack(&dissect(header_protocol::IPV4, &first)), "ip.udp");
    first[7] = 3;
    assert_eq!(stack(&dissect(header_protocol::IPV4, &first)), "ip", "a later fragment has no ports");

    let mut six = vec![0x60, 0, 0, 0, 0, 60, 0, 64];
    six.extend([0; 32]);
    six.extend([44, 0, 0, 0, 0, 0, 0, 0]);
    six.extend([60, 0, 0, 1, 0, 0, 0, 9]);
    six.extend([6, 0, 0, 0, 0, 0, 0, 0, 0, 22, 0, 23]);
    let packet = dissect(header_protocol::IPV6, &six);
    assert_eq!(stack(&packet), "ip6.tcp");
    let options = packet.ipv6(0).unwrap().options().unwrap();
    assert_eq!((options.extensions, options.more_fragments, options.length), (3, Some(true), 64));
    assert_eq!(packet.tcp(0).unwrap().destination_port(), Some(23));
}

#[test]
fn dns_and_roce() {
    let query = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'.', b'w', 2, b'd', b'e', 0, 0, 28, 0, 1];
    let mut buffer = [0; 128];
    let packet = PacketBuilder::new(&mut buffer).ipv4(IP_A, IP_B, 0, 64).unwrap().udp(5353, 53).unwrap();
    let length = packet.payload(&query).unwrap().finish(60).unwrap();
    let packet = dissect(header_protocol::IPV4, &buffer[..length]);
    assert_eq!(stack(&packet), "ip.udp.dns");
    let dns = Dns::new(packet.nth(LayerKind::Dns, 0).unwrap());
    let mut name = String::new();
    dns.write_name(&mut name).unwrap().unwrap();
    assert_eq!((name.as_str(), dns.question_type(), dns.is_response()), ("w\\.w.de.", Some(28), Some(false)));
    assert!(Dns::new(&query[..18]).write_name(&mut name).is_none());

    let bth = [0x0a, 0x80, 0xff, 0xff, 0, 0x12, 0x34, 0x56, 0x80, 0, 0, 1];
    let mut buffer = [0; 128];
    let packet = PacketBuilder::new(&mut buffer).ipv4(IP_A, IP_B, 0, 64).unwrap().udp(5000, 4791).unwrap();
    let packet =
        packet.payload(&bth).unwrap().payload(&[0; 12]).unwrap().payload(&4096u32.to_be_bytes()).unwrap();
    let length = packet.finish(60).unwrap();
    let packet = dissect(header_protocol::IPV4, &buffer[..length]);
    let bth = Bth::new(packet.nth(LayerKind::Bth, 0).unwrap());
    assert_eq!((bth.transport(), bth.operation()), (Some("rc"), Some("rdma_write_only")));
    assert_eq!((bth.destination_queue_pair(), bth.dma_length()), (Some(0x123456), Some(4096)));
    assert_eq!((bth.solicited(), bth.acknowledge_request()), (Some(true), Some(true)));
}

#[test]
fn a_nested_bomb_ends_at_the_depth() {
    let layer = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 4, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
    let bomb: Vec<u8> = layer.iter().copied().cycle().take(20 * 100).collect();
    assert_eq!(dissect(header_protocol::IPV4, &bomb).layers().len(), DEPTH);
    let tags: Vec<u8> = [0; 12].into_iter().chain([0x81, 0, 0, 1].into_iter().cycle().take(4000)).collect();
    assert_eq!(dissect(1, &tags).layers().len(), DEPTH);
}

#[test]
fn every_cut_is_survived_and_keeps_what_is_whole() {
    let mut buffer = [0; 200];
    let outer = PacketBuilder::new(&mut buffer).ethernet(B, A).unwrap().vlan(1, 0).unwrap();
    let outer = outer.ipv4(IP_A, IP_B, 0, 64).unwrap().udp(1, 4789).unwrap().vxlan(5).unwrap();
    let inner = outer.ethernet(A, B).unwrap().ipv6(ip6(1), ip6(2), 0, 1).unwrap().tcp(7, 8, 2).unwrap();
    let length = inner.finish(900).unwrap();
    let mut most = 0;
    for cut in 0..=length {
        let packet = dissect(1, &buffer[..cut]);
        assert!(packet.layers().len() >= most, "a longer sample never shows less");
        most = packet.layers().len();
        if let Some(tcp) = packet.tcp(0) {
            assert_eq!(tcp.destination_port().is_some(), cut >= length - 16);
        }
    }
    assert_eq!(most, 8);
}

/// The common path and the walk are two ways to the same answer.
#[test]
fn the_common_path_notes_what_the_walk_notes() {
    let mut buffer = [0; 80];
    let mut compared = 0;
    for variant in 0..16_u8 {
        let built = PacketBuilder::new(&mut buffer).ethernet(B, A).unwrap();
        let built = if variant & 1 == 0 { built.vlan(7, 1).unwrap() } else { built };
        let built = if variant & 2 == 0 {
            built.ipv4(IP_A, IP_B, 0, 64).unwrap()
        } else {
            built.ipv6(ip6(1), ip6(2), 0, 64).unwrap()
        };
        let port = if variant & 8 == 0 { 443 } else { 53 };
        let built =
            if variant & 4 == 0 { built.tcp(9, port, 0).unwrap() } else { built.udp(9, port).unwrap() };
        built.finish(400).unwrap();
        for cut in 0..=buffer.len() {
            for (at, value) in [(0, 0), (14, 0x44), (14, 0x65), (14, 0x46), (20, 0x20), (23, 47), (18, 0x47)]
            {
                let mut bytes = buffer;
                bytes[at] = value;
                let mut walked = Packet { bytes: &bytes[..cut], ..Packet::default() };
                walked.walk_ethernet(0);
                let packet = dissect(1, &bytes[..cut]);
                assert_eq!(packet.layers(), walked.layers(), "variant {variant}, cut {cut}, byte {at}");
                assert_eq!((packet.outline(), packet.kinds), (walked.outline(), walked.kinds));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 16 * 81 * 7);
}
