//! Definitions that cannot be understood say why.

use serde_json::json;
use tables::flow::Lookups;

use crate::specimen::{compile, compile_with, lookups};

#[test]
fn what_is_not_understood_is_named() {
    for (spec, named) in [
        (
            json!({"keys": "ipsorce", "value": "bytes"}),
            "keys: \"ipsorce\" is no key; did you mean \"ipsource\"?",
        ),
        (json!({"keys": "ipsource,,", "value": "bytes"}), "is no key"),
        (json!({"keys": "ipsource.16", "value": "bytes"}), "is no key: layers are .0 to .15"),
        (json!({"keys": "group:ipsource:nosuch", "value": "bytes"}), "no group set \"nosuch\""),
        (json!({"keys": "group:ipsource", "value": "bytes"}), "needs the name of a group set"),
        (json!({"keys": "map:ipsource:nosuch", "value": "bytes"}), "no map \"nosuch\""),
        (json!({"keys": "frobnicate:ipsource", "value": "bytes"}), "no key function"),
        (
            json!({"keys": "link:ipsource", "value": "bytes"}),
            "keys: link: needs an interface, such as inputifindex",
        ),
        (json!({"keys": "link:inputifindex:x", "value": "bytes"}), "keys: link: has more than 1 arguments"),
        (json!({"keys": "country:ipsource:city", "value": "bytes"}), "\"city\" is none of code, name, both"),
        (json!({"keys": "asn:ipsource:name", "value": "bytes"}), "\"name\" is none of number, descr, both"),
        (json!({"keys": "oui:macsource:vendor", "value": "bytes"}), "\"vendor\" is none of number, name"),
        (json!({"keys": "host:macsource", "value": "bytes"}), "host: needs more arguments"),
        (json!({"keys": "host:macsource:color", "value": "bytes"}), "is none of host_name, machine_type"),
        (json!({"keys": "uri:httpurl:verb", "value": "bytes"}), "is none of scheme, user, host"),
        (json!({"keys": "eq:ipsource:ipdestination:vlan", "value": "bytes"}), "more than 2 arguments"),
        (json!({"keys": "concat:x", "value": "bytes"}), "concat: needs more arguments"),
        (json!({"keys": "first:stack:.", "value": "bytes"}), "first: needs more arguments"),
        (json!({"keys": "mask:ipsource:129", "value": "bytes"}), "at most 128 bits"),
        (json!({"keys": "prefix:[stack", "value": "bytes"}), "bracket is not closed"),
        (json!({"keys": "prefix:stack:.:x", "value": "bytes"}), "needs a number"),
        (json!({"keys": "prefix:stack::1", "value": "bytes"}), "prefix: the delimiter is empty"),
        (json!({"value": "byte"}), "value: \"byte\" is no key; did you mean \"bytes\"?"),
        (json!({"value": "avg:byte"}), "value: \"byte\" is no key"),
        (json!({"value": "ipsource"}), "value: \"ipsource\" is no number; count:ipsource"),
        (json!({"value": "bytes", "values": "avg:stack"}), "values: \"stack\" is no number"),
        (json!({"value": "bytes", "values": "bytes,"}), "values: is empty"),
        (json!({"value": "bytes", "values": "bytes,".repeat(9) + "bytes"}), "values: more than 7"),
        (json!({"value": "bytes", "keys": "ip6source,".repeat(33) + "ip6source"}), "more than 512 bytes"),
        (json!({"value": "bytes", "filter": "ipprotocol"}), "filter: a comparison has no"),
        (json!({"value": "bytes", "filter": "ipprotocol!6"}), "neither = nor ~"),
        (json!({"value": "bytes", "filter": "(ipprotocol=6"}), "bracket is not closed"),
        (json!({"value": "bytes", "filter": "stack~("}), "filter: "),
        (json!({"value": "bytes", "filter": "dnsqname=\"a"}), "a quote is not closed"),
        (json!({"value": "bytes", "filter": "ipprotocol=6)"}), "is not understood"),
        (
            json!({"keys": format!("{}ipsource{}", "[".repeat(50), "]".repeat(50)), "value": "bytes"}),
            "nested",
        ),
        (json!({"value": "bytes", "filter": "(".repeat(2000)}), "nested"),
        (json!({"keys": "ipsource,".repeat(2000), "value": "bytes"}), "longer than"),
        (json!({"keys": "x".repeat(65), "value": "bytes"}), "is no key"),
    ] {
        let error = compile(spec.clone()).unwrap_err();
        assert!(error.contains(named), "{spec}: {error}");
    }
}

#[test]
fn a_function_without_its_data_names_the_option() {
    let bare = Lookups { groups: lookups().groups, ..Lookups::default() };
    for (keys, named) in [
        ("country:ipsource", Some("keys: country: needs the option geo.country")),
        ("asn:ipsource", Some("asn: needs the option geo.asn")),
        ("oui:macsource:name", Some("oui: needs the option oui.file")),
        ("dns:ipsource", Some("dns: needs the option dns.enabled")),
        ("oui:macsource", None),
        ("sourcegroup", None),
    ] {
        let error = compile_with(json!({"keys": keys, "value": "bytes"}), &bare).err();
        assert_eq!(error.is_some(), named.is_some(), "{keys}: {error:?}");
        assert!(named.is_none_or(|named| error.unwrap().contains(named)), "{keys}");
    }
    let error = compile_with(json!({"keys": "sourcegroup", "value": "bytes"}), &Lookups::default());
    assert!(error.unwrap_err().contains("no group set \"default\""));
}
