//! Every key of the catalogue, read from a sample that has it.

use serde_json::json;
use tables::flow::keys::KEYS;

use crate::records;
use crate::specimen::{
    A, B, Specimen, arp, behind_ip, build, custom, evaluate, ip6, key, packet, tcp, tunnel, with_payload,
    without_header,
};

type Expected = Vec<(&'static str, Specimen, &'static str)>;

fn dns() -> Specimen {
    let message = [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 3, b'c', b'o', b'm', 0, 0, 28, 0, 1];
    with_payload(53, &message)
}

fn roce() -> Specimen {
    let mut bth = vec![0x0a, 0x83, 0xff, 0xff, 0, 0x12, 0x34, 0x56, 0x80, 0, 0, 1];
    bth.extend([0; 12]);
    bth.extend(4096_u32.to_be_bytes());
    with_payload(4791, &bth)
}

/// An acknowledgement with this syndrome.
fn roce_ack(syndrome: u8) -> Specimen {
    with_payload(4791, &[0x11, 0x40, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, syndrome, 0, 0, 9])
}

fn geneve() -> Specimen {
    let mut bytes = vec![0x13, 0x88, 0x17, 0xc1, 0, 0, 0, 0, 0, 0, 0x65, 0x58, 0, 0, 0x2a, 0];
    bytes.extend([0; 14]);
    behind_ip(17, &bytes)
}

fn nvgre() -> Specimen {
    behind_ip(47, &[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 1])
}

fn unreachable(code: u8) -> Specimen {
    let mut bytes = vec![3, code, 0, 0, 0, 0, 0, 0];
    bytes.extend([0x45, 0, 0, 99, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 0, 9, 0x1f, 0x90]);
    behind_ip(1, &bytes)
}

fn echo6() -> Specimen {
    build(|p| p.ethernet(B, A)?.ipv6([1; 16].into(), [2; 16].into(), 0, 9)?.icmp(128, 0, 1, 7))
}

fn mpls() -> Specimen {
    let mut bytes = [[2; 6], [4; 6]].concat();
    bytes.extend([0x88, 0x47, 0, 1, 0, 64, 0, 1, 0x11, 64]);
    packet(1, bytes)
}

fn layers() -> Expected {
    vec![
        ("inputifindex", tcp(), "7"),
        ("outputifindex", tcp(), "multiple"),
        ("direction", tcp(), "ingress"),
        ("bytes", tcp(), "1004"),
        ("frames", tcp(), "1"),
        ("stripped", tcp(), "4"),
        ("stack", tunnel(), "eth.ip.udp.vxlan.eth.ip.tcp"),
        ("macsource", tcp(), "0200000000AA"),
        ("macdestination", tcp(), "0400000000BB"),
        ("ethernetprotocol", ip6(), "34525"),
        ("isbroadcast", arp(), "true"),
        ("ismulticast", arp(), "false"),
        ("isunicast", tcp(), "true"),
        ("vlan", tcp(), "30"),
        ("priority", tcp(), "5"),
        ("arpoperation", arp(), "1"),
        ("arpipsender", arp(), "10.0.0.1"),
        ("arpiptarget", arp(), "10.0.0.2"),
        ("ip_offset", tcp(), "18"),
        ("ipsource", tcp(), "10.0.0.1"),
        ("ipdestination", tcp(), "10.0.0.2"),
        ("ipprotocol", tcp(), "6"),
        ("iptos", tcp(), "10111001"),
        ("ipdscp", tcp(), "46"),
        ("ipdscpname", tcp(), "ef(46)"),
        ("ipecn", tcp(), "01"),
        ("ipbytes", tcp(), "982"),
        ("ipid", unreachable(3), "4660"),
        ("ipflags", unreachable(3), "001"),
        ("ipfragoffset", tcp(), "0"),
        ("ipttl", tcp(), "63"),
        ("ip6_offset", ip6(), "14"),
        ("ip6source", ip6(), "FE80::104C:51DF"),
        ("ip6destination", ip6(), "2001:DB8::2"),
        ("ip6nexthdr", ip6(), "17"),
        ("ip6tos", ip6(), "00000000"),
        ("ip6dscp", ip6(), "0"),
        ("ip6dscpname", ip6(), "be(0)"),
        ("ip6ecn", ip6(), "00"),
        ("ip6flowlabel", ip6(), "501244"),
        ("ip6ttl", ip6(), "64"),
        ("ip6bytes", ip6(), "986"),
        ("ip6extensions", ip6(), "0"),
        ("ip6fragoffset", ip6(), "0"),
        ("ip6fragm", ip6(), "false"),
        ("tcpsourceport", tcp(), "40000"),
        ("tcpdestinationport", tcp(), "443"),
        ("tcpflags", tcp(), "000010010"),
        ("udpsourceport", ip6(), "5353"),
        ("udpdestinationport", ip6(), "9999"),
        ("icmptype", unreachable(3), "3"),
        ("icmpcode", unreachable(3), "3"),
        ("icmpseqno", behind_ip(1, &[8, 0, 0, 0, 0, 0, 0, 9]), "9"),
        ("icmpunreachableport", unreachable(3), "8080"),
        ("icmpunreachableprotocol", unreachable(2), "17"),
        ("icmpunreachablehost", unreachable(1), "10.0.0.1"),
        ("icmpunreachablenet", unreachable(0), "10.0.0.1"),
        ("icmp6type", echo6(), "128"),
        ("icmp6code", echo6(), "0"),
        ("icmp6seqno", echo6(), "7"),
        ("mplslabel", mpls(), "16"),
        ("vni", tunnel(), "77"),
        ("vxlanvni", tunnel(), "77"),
        ("genevevni", geneve(), "42"),
        ("grevsid", nvgre(), "4660"),
        ("dnsqname", dns(), "a.com."),
        ("dnsqtypename", dns(), "AAAA"),
        ("dnsqr", dns(), "true"),
        ("ibbt_offset", roce(), "42"),
        ("ibbtopcode", roce(), "10"),
        ("ibbtopname", roce(), "rdma_write_only"),
        ("ibbtoptransport", roce(), "rc"),
        ("ibbttver", roce(), "3"),
        ("ibbtack", roce(), "true"),
        ("ibbtse", roce(), "true"),
        ("ibbtm", roce_ack(0x1f), "true"),
        ("ibbtdestqp", roce(), "1193046"),
        ("ibbtrdmalen", roce(), "4096"),
        ("ibbtaethack", roce_ack(0x1e), "30"),
    ]
}

/// Keys that records beside a packet tell.
const BESIDE: [(&str, &str); 96] = [
    ("vlansource", "31"),
    ("vlandestination", "32"),
    ("prioritysource", "1"),
    ("prioritydestination", "2"),
    ("ipnexthoprouter", "10.0.0.254"),
    ("ipsourcemaskbits", "24"),
    ("ipdestinationmaskbits", "16"),
    ("bgpnexthop", "10.0.0.253"),
    ("bgpas", "61"),
    ("bgpsourceas", "62"),
    ("bgpsourcepeeras", "63"),
    ("bgpdestinationas", "67"),
    ("bgpdestinationpeeras", "65"),
    ("bgpdestinationaspath", "65-66-67"),
    ("bgpcommunities", "65001:100-65001:200"),
    ("bgplocalpref", "100"),
    ("usersource", "alice"),
    ("userdestination", "bob"),
    ("mplsnexthop", "10.0.0.252"),
    ("mplsinputlabels", "16-17"),
    ("mplsoutputlabels", "18"),
    ("mplstunnelname", "lsp"),
    ("mplstunnelid", "71"),
    ("mplstunnelcos", "3"),
    ("mplsvcname", "vc"),
    ("mplsvcid", "72"),
    ("mplsvccos", "4"),
    ("mplsftnname", "ftn"),
    ("mplsftnmask", "73"),
    ("mplsfecprefixlength", "25"),
    ("natsource", "10.0.0.1"),
    ("natdestination", "10.0.0.2"),
    ("natsourceport", "81"),
    ("natdestinationport", "82"),
    ("vlantunnel", "100-200"),
    ("wlancipher", "4"),
    ("wlanrxssid", "net"),
    ("wlanrxbssid", "060000000001"),
    ("wlanrxversion", "3"),
    ("wlanrxchannel", "6"),
    ("wlanrxspeed", "54000000"),
    ("wlanrxrsni", "11"),
    ("wlanrxrcpi", "12"),
    ("wlanrxduration", "13"),
    ("wlantxssid", "net2"),
    ("wlantxbssid", "060000000002"),
    ("wlantxversion", "4"),
    ("wlantxtransmissions", "2"),
    ("wlantxduration", "14"),
    ("wlantxretransduration", "15"),
    ("wlantxchannel", "36"),
    ("wlantxspeed", "6000000"),
    ("wlantxpower", "100"),
    ("inputmacsource", "060000000021"),
    ("inputmacdestination", "060000000022"),
    ("inputipsource", "FD00::3"),
    ("inputipdestination", "FD00::4"),
    ("inputipprotocol", "47"),
    ("inputsourceport", "85"),
    ("inputdestinationport", "86"),
    ("inputvni", "5002"),
    ("inputinneroffset", "54"),
    ("outputmacsource", "060000000011"),
    ("outputmacdestination", "060000000012"),
    ("outputipsource", "10.1.0.1"),
    ("outputipdestination", "10.1.0.2"),
    ("outputipprotocol", "17"),
    ("outputsourceport", "83"),
    ("outputdestinationport", "84"),
    ("outputvni", "5001"),
    ("outputinneroffset", "50"),
    ("queueindex", "3"),
    ("queuedepth", "4096"),
    ("transitdelay", "250"),
    ("reason", "unknown"),
    ("function", "ip_rcv"),
    ("linuxdropreason", "NO_SOCKET"),
    ("hwtrapgroup", "l3_drops"),
    ("hwtrapname", "blackhole"),
    ("aclnumber", "9"),
    ("aclname", "block"),
    ("acldirection", "1"),
    ("timestamp", "1700000000000000001"),
    ("tcprtt", "800"),
    ("tcprttsdev", "9"),
    ("tcprttwait", "100"),
    ("tcprttmin", "700"),
    ("tcpunacked", "4"),
    ("tcplost", "5"),
    ("tcpretrans", "6"),
    ("tcpcwnd", "10"),
    ("tcpreordering", "11"),
    ("tcppathmtu", "1500"),
    ("tcpsendmss", "1448"),
    ("tcpreceivemss", "1460"),
    ("tcpdirection", "1"),
];

/// Keys of sockets and of the entities behind them.
const SOCKETS: [(&str, &str); 12] = [
    ("entitysource", "3.100001"),
    ("entitydestination", "3.100002"),
    ("socketprotocol", "6"),
    ("socketlocalip", "10.1.0.5"),
    ("socketremoteip", "10.1.0.6"),
    ("socketlocalport", "87"),
    ("socketremoteport", "88"),
    ("proxysocketprotocol", "17"),
    ("proxysocketlocalip", "FD00::7"),
    ("proxysocketremoteip", "FD00::8"),
    ("proxysocketlocalport", "89"),
    ("proxysocketremoteport", "90"),
];

fn operations() -> Expected {
    let http = || without_header(records::http(true));
    let app = || without_header(records::app());
    let memcache = || without_header(records::memcache());
    vec![
        ("requests", http(), "1"),
        ("duration", http(), "1500"),
        ("httpurl", http(), "http://a.com/shop/cart?id=1"),
        ("uripath", http(), "/shop/cart"),
        ("httpmethod", http(), "GET"),
        ("httpprotocol", http(), "1001"),
        ("httphost", http(), "a.com"),
        ("httpreferrer", http(), "http://b.com/"),
        ("httpuseragent", http(), "curl/8"),
        ("httpxff", http(), "192.0.2.9"),
        ("httpauthuser", http(), "alice"),
        ("httpmimetype", http(), "text/html"),
        ("httprequestbytes", http(), "300"),
        ("httpresponsebytes", http(), "5000"),
        ("httpstatus", http(), "200"),
        ("urldirection", without_header([records::url(), records::http(true)].concat()), "2"),
        ("proxyuri", http(), "/cart"),
        ("proxyhost", http(), "backend"),
        ("appname", app(), "pay"),
        ("appoperation", app(), "card.auth"),
        ("appattributes", app(), "cc=visa"),
        ("appstatus", app(), "FORBIDDEN"),
        ("appstatusdescr", app(), "no funds"),
        ("apprequestbytes", app(), "120"),
        ("appresponsebytes", app(), "340"),
        ("appparentname", app(), "web"),
        ("appparentoperation", app(), "buy"),
        ("appparentattributes", app(), "id=7"),
        ("appinitiator", app(), "carol"),
        ("apptarget", app(), "bank"),
        ("memcacheprotocol", memcache(), "ASCII"),
        ("memcachecommand", memcache(), "GET"),
        ("memcachekey", memcache(), "user:9"),
        ("memcachenkeys", memcache(), "1"),
        ("memcachevaluebytes", memcache(), "2048"),
        ("memcachestatus", memcache(), "NOT_FOUND"),
    ]
}

#[test]
fn every_key_of_the_catalogue_answers() {
    let beside = BESIDE.iter().chain(&SOCKETS).map(|(name, text)| (*name, tcp(), *text));
    let expected: Expected = layers().into_iter().chain(beside).chain(operations()).collect();
    for (name, specimen, text) in &expected {
        assert_eq!(key(specimen, name).as_deref(), Some(*text), "{name}");
    }
    let tested: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    let untested: Vec<&str> = KEYS.iter().map(|key| key.name).filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
    assert_eq!(tested.len(), KEYS.len(), "a key is listed twice");
}

/// What is not there is null, and not 0: a key that any sample answers says nothing.
#[test]
fn every_key_of_a_record_is_null_without_it() {
    let bare = Specimen { records: Vec::new(), ..tcp() };
    // These need no record, or are of the sample that all specimens have.
    let always = ["reason"];
    for (name, _) in BESIDE.iter().chain(&SOCKETS).filter(|(name, _)| !always.contains(name)) {
        assert_eq!(key(&bare, name), None, "{name}");
    }
    for (name, ..) in operations() {
        assert_eq!(key(&tcp(), name), None, "{name}");
    }
    for (name, ..) in layers() {
        if !["inputifindex", "outputifindex", "direction", "bytes", "frames", "stripped"].contains(&name) {
            let nothing = without_header(Vec::new());
            assert_eq!(key(&nothing, name), None, "{name}");
        }
    }
}

#[test]
fn a_suffix_reads_inner_layers() {
    let keys = "ipsource,ipsource.1,macsource.1,ip_offset.1";
    assert_eq!(key(&tunnel(), keys).as_deref(), Some("192.0.2.1,10.9.0.1,0400000000BB,64"));
    assert_eq!(key(&tunnel(), "ipsource.2"), None);
    assert_eq!(key(&mpls(), "mplslabel.1").as_deref(), Some("17"));
}

#[test]
fn the_virtual_network_is_that_of_any_tunnel_or_of_the_switch() {
    for (specimen, text) in [(geneve(), "42"), (nvgre(), "4660"), (tcp(), "5002")] {
        assert_eq!(key(&specimen, "vni").as_deref(), Some(text));
    }
    assert_eq!(key(&tcp(), "vni.1"), None);
    assert_eq!(key(&Specimen { records: Vec::new(), ..tcp() }, "vni"), None);
}

#[test]
fn icmp_codes_say_what_could_not_be_reached() {
    let name = |code| ["net", "host", "protocol", "port"][code as usize];
    for code in 0..4 {
        for other in 0..4 {
            let found = key(&unreachable(code), &format!("icmpunreachable{}", name(other)));
            assert_eq!(found.is_some(), code == other, "{code} {other}");
        }
    }
}

#[test]
fn a_negative_acknowledgement_has_no_credits() {
    for (syndrome, credits) in [(0x00, Some("0")), (0x1f, Some("31")), (0x20, None), (0x63, None)] {
        assert_eq!(key(&roce_ack(syndrome), "ibbtaethack").as_deref(), credits);
    }
}

#[test]
fn operations_have_requests_and_no_frames() {
    for (records, duration) in [
        (records::http(true), 1500.0),
        (records::http(false), 1500.0),
        (records::app(), 2500.0),
        (records::memcache(), 350.0),
    ] {
        let specimen = without_header(records);
        let value = |value: &str| evaluate(&specimen, json!({"value": value})).map(|(_, value)| value);
        assert_eq!(
            (value("requests"), value("frames"), value("duration"), value("avg:duration"), value("bytes")),
            (Some(1.0), None, Some(duration), Some(duration), Some(0.0))
        );
        assert_eq!(key(&specimen, "stack"), None);
    }
    assert_eq!(evaluate(&tcp(), json!({"value": "requests"})), None);
    let earlier = without_header(records::http(false));
    let keys = "httpurl,httpauthuser,httpresponsebytes,httpstatus";
    assert_eq!(key(&earlier, keys).as_deref(), Some("http://a.com/shop/cart?id=1,alice,5000,200"));
    assert_eq!((key(&earlier, "httpxff"), key(&earlier, "httprequestbytes")), (None, None));
    // A packet with a URL beside it is still a packet.
    let with_url = Specimen { records: records::url(), ..tcp() };
    assert_eq!(key(&with_url, "httpurl,httphost,uripath").as_deref(), Some("http://c.com/x/y,c.com,/x/y"));
    assert_eq!(evaluate(&with_url, json!({"value": "requests"})), None);
}

#[test]
fn records_tell_of_a_packet_whose_header_was_not_sampled() {
    let v4 = |protocol, ports| without_header(records::told_v4(protocol, ports));
    let v6 = |protocol, ports| without_header(records::told_v6(protocol, ports));
    let keys = "macsource,macdestination,ethernetprotocol,isunicast,isbroadcast,ismulticast";
    let frame = "060000000031,060000000032,2048,true,false,false";
    assert_eq!(key(&v4(6, [1, 2]), keys).as_deref(), Some(frame));
    let keys = "stack,ipsource,ipdestination,ipprotocol,ipbytes,iptos,ipdscp,ipdscpname,ipecn";
    let network = "eth.ip.tcp,10.1.0.1,10.1.0.2,6,1500,10111000,46,ef(46),00";
    assert_eq!(key(&v4(6, [1, 2]), keys).as_deref(), Some(network));
    let keys = "tcpsourceport,tcpdestinationport,tcpflags";
    assert_eq!(key(&v4(6, [1, 2]), keys).as_deref(), Some("1,2,000010010"));
    assert_eq!(key(&v6(6, [3, 4]), keys).as_deref(), Some("3,4,000000010"));
    let keys = "stack,ip6source,ip6destination,ip6nexthdr,ip6bytes,udpsourceport,udpdestinationport";
    assert_eq!(key(&v6(17, [3, 4]), keys).as_deref(), Some("ip6.udp,FD00::1,FD00::2,17,1400,3,4"));
    assert_eq!(key(&v4(1, [8, 0]), "stack,icmptype,icmpcode").as_deref(), Some("eth.ip.icmp,8,0"));
    assert_eq!(key(&v6(58, [128, 0]), "stack,icmp6type,icmp6code").as_deref(), Some("ip6.icmp6,128,0"));
    for absent in ["ipttl", "ipid", "udpsourceport", "ipsource.1", "ip6source", "vxlanvni"] {
        assert_eq!(key(&v4(6, [1, 2]), absent), None, "{absent}");
    }
    let bytes = |specimen: &Specimen| evaluate(specimen, json!({"value": "bytes"})).map(|(_, bytes)| bytes);
    assert_eq!((bytes(&v4(6, [1, 2])), bytes(&v6(6, [1, 2]))), (Some(1518.0), Some(1400.0)));
    // Numbers that no header could have are no values.
    assert_eq!(key(&v4(6, [70_000, 2]), "tcpsourceport"), None);
    // Where there is a header, it says how long the frame was.
    let both = Specimen { records: records::told_v4(17, [1, 2]), ..tcp() };
    assert_eq!((bytes(&both), key(&both, "udpsourceport")), (Some(1004.0), None));
}

#[test]
fn a_null_key_or_value_contributes_nothing() {
    assert_eq!(key(&ip6(), "ipsource"), None);
    assert_eq!(evaluate(&ip6(), json!({"value": "ipttl"})), None);
    assert_eq!(evaluate(&tcp(), json!({"value": "ipttl"})), Some((String::new(), 63.0)));
    assert_eq!(key(&custom(&[]), "ipsource"), None);
}

#[test]
fn values_and_the_separator() {
    let spec = |value| json!({"keys": ["ipsource", "ipdestination"], "value": value, "fs": "_SEP_"});
    let expected = [("bytes", 1004.0), ("bps", 8032.0), ("frames", 1.0), ("fps", 1.0), ("ipbytes", 982.0)];
    for (value, number) in expected {
        let (key, measured) = evaluate(&tcp(), spec(value)).unwrap();
        assert_eq!((key.as_str(), measured), ("10.0.0.1_SEP_10.0.0.2", number), "{value}");
    }
}
