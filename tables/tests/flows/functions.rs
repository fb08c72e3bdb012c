//! Every key function.

use crate::records;
use crate::specimen::{Specimen, compile, ip6, key, tcp, tunnel, without_header};
use serde_json::json;

#[test]
fn every_function_answers() {
    let http = || without_header(records::http(true));
    let cases: Vec<(&str, Specimen, Option<&str>)> = vec![
        ("group:ipsource:sites", tcp(), Some("berlin")),
        ("group:ip6source:sites:other", ip6(), Some("local")),
        ("group:ip6source:sites", ip6(), None),
        ("map:tcpdestinationport:services", tcp(), Some("web")),
        ("map:tcpsourceport:services", tcp(), None),
        ("country:ipsource", tcp(), Some("DE")),
        ("country:ipsource:code", tcp(), Some("DE")),
        ("country:ipsource:name", tcp(), Some("Germany")),
        ("country:ipsource:both", tcp(), Some("DE Germany")),
        ("country:ipsource.1", tunnel(), None),
        ("asn:ipsource", tcp(), Some("64500")),
        ("asn:ipsource:number", tcp(), Some("64500")),
        ("asn:ipsource:descr", tcp(), Some("Example Networks")),
        ("asn:ipsource:both", tcp(), Some("64500 Example Networks")),
        ("asn:ipsource.1", tunnel(), Some("64501")),
        ("asn:ipsource.1:descr", tunnel(), None),
        ("asn:ip6source", ip6(), None),
        ("oui:macsource", tcp(), Some("020000")),
        ("oui:macsource:number", tcp(), Some("020000")),
        ("oui:macsource:name", tcp(), Some("Example Networks%2C Inc")),
        ("oui:macdestination:name", tcp(), None),
        ("host:macsource:vir_host_name", tcp(), Some("web.1")),
        ("host:macsource:host_name", tcp(), Some("h1")),
        ("host:macsource:machine_type", tcp(), Some("x86_64")),
        ("host:macsource:os_name", tcp(), Some("linux")),
        ("host:macsource:uuid", tcp(), Some("u-2")),
        ("host:macsource:os_release", tcp(), None),
        ("host:macdestination:os_release", tcp(), Some("6.12")),
        ("host:ipsource:uuid", tcp(), Some("u-1")),
        ("host:ipdestination:uuid", tcp(), None),
        ("link:inputifindex", tcp(), Some("uplink")),
        ("link:outputifindex", tcp(), None),
        ("dns:ipdestination", tcp(), Some("b.example.")),
        ("dns:ipsource", tcp(), None),
        ("uri:httpurl:scheme", http(), Some("http")),
        ("uri:httpurl:host", http(), Some("a.com")),
        ("uri:httpurl:path", http(), Some("/shop/cart")),
        ("uri:httpurl:file", http(), Some("cart")),
        ("uri:httpurl:query", http(), Some("id=1")),
        ("uri:httpurl:fragment", http(), None),
        ("prefix:[uri:httpurl:path]:/:2", http(), Some("/shop")),
        ("prefix:stack:.:1", tcp(), Some("eth")),
        ("prefix:stack:.:9", tcp(), Some("eth.ip.tcp")),
        ("suffix:stack:.:2", tcp(), Some("ip.tcp")),
        ("mask:ipsource:8", tcp(), Some("10.0.0.0/8")),
        ("mask:ip6destination:32", ip6(), Some("2001:DB8::/32")),
        ("range:tcpsourceport:1024", tcp(), Some("true")),
        ("range:tcpsourceport:0:1023", tcp(), Some("false")),
        ("eq:ipsource:ipdestination", tcp(), Some("false")),
        ("eq:ipsource:ipsource", tcp(), Some("true")),
        ("null:vxlanvni:none", tcp(), Some("none")),
        ("null:vxlanvni", tcp(), Some("null")),
        ("null:vxlanvni:none", tunnel(), Some("77")),
        ("or:ipsource:ip6source", ip6(), Some("FE80::104C:51DF")),
        ("if:[first:stack:.:ip:ip6]:ip:ipsource:ip6source", tcp(), Some("10.0.0.1")),
        ("if:[first:stack:.:ip:ip6]:ip:ipsource:ip6source", ip6(), Some("FE80::104C:51DF")),
        ("first:stack:.:udp:ip", tcp(), Some("ip")),
        ("concat:\\::ipprotocol:[or:tcpdestinationport:udpdestinationport]", tcp(), Some("6:443")),
        ("bits:ip6flowlabel:261884", ip6(), Some("238844")),
        ("sourcegroup", tcp(), Some("private")),
        ("destinationgroup", ip6(), Some("external")),
        ("sourcegroup", ip6(), Some("link")),
    ];
    for (expression, specimen, text) in cases {
        assert_eq!(key(&specimen, expression).as_deref(), text, "{expression}");
    }
}

/// A record of one label serves several prefixes.
#[test]
fn countries_of_shared_records() {
    for (address, both) in [("10.0.0.9", "DE Germany"), ("10.0.1.9", "FR"), ("10.0.2.255", "DE Germany")] {
        let set = crate::specimen::lookups().references.country.unwrap();
        assert_eq!(set.group(address.parse().unwrap()).map(|label| &**label), Some(both));
        assert_eq!(set.group("10.0.3.1".parse().unwrap()), None);
    }
}

#[test]
fn a_key_made_of_functions_is_no_longer_than_the_key_of_a_table() {
    let many = vec!["or:ipsource:ip6source"; 31].join(",");
    let error = compile(json!({"keys": many, "value": "bytes"})).unwrap_err();
    assert!(error.contains("more than 512 bytes"), "{error}");
}
