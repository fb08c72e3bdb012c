//! Filters.

use serde_json::json;

use crate::records;
use crate::specimen::{Specimen, compile, custom, evaluate, ip6, tcp, tunnel, with_payload, without_header};
use decode::rt::FlowValue;

fn passes(specimen: &Specimen, filter: &str) -> bool {
    let of = |value| evaluate(specimen, json!({"value": value, "filter": filter})).is_some();
    of("frames") || of("requests")
}

#[test]
fn comparisons() {
    for (filter, yes) in [
        ("ipprotocol=6", true),
        ("ipprotocol=06", true),
        ("ipprotocol=17", false),
        (" tcpdestinationport = 80 , 443 ", true),
        ("tcpdestinationport!=80,443", false),
        ("ipprotocol=6&tcpdestinationport=443", true),
        ("ipprotocol=17|tcpdestinationport=443", true),
        ("ipprotocol=17|ipprotocol=6&tcpdestinationport=80", false),
        ("tcpdestinationport=80&ipprotocol=6|ipprotocol=6", true),
        ("(ipprotocol=17|ipprotocol=6)&tcpdestinationport=443", true),
        ("((ipprotocol=17)|(ipprotocol=6))&(tcpdestinationport=443)", true),
        ("tcpflags~....1..1.", true),
        ("tcpflags~.......0.", false),
        ("tcpflags!~.......0.", true),
        ("tcpflags=000010010", true),
        ("tcpflags=10010", true),
        ("stack~eth\\.(ip|ip6)\\.tcp", true),
        ("stack~ip", false),
        ("stack~.*udp,.*tcp", true),
        ("stack=eth.ip.tcp", true),
        ("stack=eth.ip.udp,eth.ip.tcp", true),
        ("vxlanvni=null", true),
        ("vxlanvni!=null", false),
        ("vxlanvni=null,77", true),
        ("udpsourceport=53", false),
        ("udpsourceport~.*", false),
        ("udpsourceport!~.*", true),
        ("outputifindex!=discard", true),
        ("outputifindex=multiple", true),
        ("inputifindex=6,7", true),
        ("inputifindex~[5-7]", true),
        ("udpsourceport!=53", true),
        ("ipsource=10.0.0.1", true),
        ("ipsource=10.0.0.10", false),
        ("ipsource~10\\.0\\..*", true),
        ("macsource=0200000000AA", true),
        ("macsource=02:00:00:00:00:aa", true),
        ("macsource=0200000000AB", false),
        ("isunicast=true", true),
        ("isunicast=yes", true),
        ("isunicast=no", false),
        ("dnsqname=\"a.com.,b.com.\"", false),
        ("group:ipsource:sites=berlin", true),
        ("group:ipsource:sites=\"berlin\"", true),
        ("range:tcpdestinationport:0:1023=true", true),
        ("[or:ip6source:ipsource]=10.0.0.1", true),
        ("or:ip6source:ipsource=10.0.0.1", true),
        ("or:ip6source:ipsource!=10.0.0.1", false),
        ("null:vxlanvni:none=none", true),
        ("concat:\\=:ipprotocol:tcpdestinationport=6\\=443", true),
        ("ipdscpname=\"ef(46)\"", true),
        ("ipdscpname=ef(46)", true),
        ("country:ipsource=DE,FR", true),
        ("asn:ipsource=64500", true),
        ("function=ip_rcv", true),
    ] {
        assert_eq!(passes(&tcp(), filter), yes, "{filter}");
    }
}

#[test]
fn addresses_are_compared_however_they_are_written() {
    for (filter, yes) in [
        ("ip6source=FE80::104C:51DF", true),
        ("ip6source=fe80:0:0:0:0:0:104c:51df", true),
        ("ip6source=fe80::1", false),
        ("or:ipsource:ip6source=10.0.0.1,fe80::104c:51df", true),
        ("ip6fragm=no", true),
        ("ip6fragm=yes", false),
        ("vxlanvni=null&ip6nexthdr=17", true),
    ] {
        assert_eq!(passes(&ip6(), filter), yes, "{filter}");
    }
    assert!(passes(&tunnel(), "ipsource.1=10.9.0.1&vxlanvni!=null"));
}

#[test]
fn texts_and_fields_of_custom_flows() {
    let name = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'b', 3, b'c', b'o', b'm', 0, 0, 1, 0, 1];
    for (filter, yes) in [
        ("dnsqname=\"a.com.,b.com.\"", true),
        ("dnsqname=\"a.com.\",\"b.com.\"", true),
        ("dnsqname=a.com.,b.com.", true),
        ("dnsqname=\"a.com.\"", false),
        ("dnsqname!=\"a.com.\"&dnsqr=false", true),
        ("dnsqname~\".*\\.com\\.\"|vlan=9", true),
    ] {
        assert_eq!(passes(&with_payload(53, &name), filter), yes, "{filter}");
    }
    let flow = custom(&[(b"room", FlowValue::Text(b"7")), (b"degrees", FlowValue::Double(21.5))]);
    for (filter, yes) in [("room=7", true), ("room=8", false), ("degrees=21.5,22", true), ("hall=null", true)]
    {
        assert_eq!(passes(&flow, filter), yes, "{filter}");
    }
    assert!(passes(&without_header(records::memcache()), "memcachestatus=NOT_FOUND&memcachekey~user:.*"));
}

#[test]
fn what_is_no_value_of_a_key_is_named() {
    for (filter, named) in [
        ("ipprotocol=tcp", "filter: \"tcp\" is no number"),
        ("ipsource=10.0.0.999", "filter: \"10.0.0.999\" is no IPv4 address"),
        ("ip6source=10.0.0.1", "\"10.0.0.1\" is no IPv6 address"),
        ("macsource=aa", "\"aa\" is no MAC address"),
        ("ip6fragm=maybe", "\"maybe\" is no true or false"),
        ("tcpflags=SYN", "\"SYN\" is no number of zeros and ones"),
        ("inputifindex=eth0", "\"eth0\" is no interface: an index, internal"),
        ("stack=eth.ipv4", "\"eth.ipv4\" is no list of layers"),
        ("vlan=", "\"\" is no number"),
    ] {
        let error = compile(json!({"value": "bytes", "filter": filter})).unwrap_err();
        assert!(error.contains(named), "{filter}: {error}");
    }
}
