//! Records beside a sampled header, each field with a value of its own.

use decode::flow as wire;
use decode::layout::{AsPath, Value, Words};
use decode::{Address, Mac};

use crate::specimen::Fields;

fn words(list: &[u32]) -> Vec<Value<'static>> {
    list.iter().map(|word| Value::U32(*word)).collect()
}

fn v4(last: u8) -> Value<'static> {
    Value::Ip4([10, 1, 0, last].into())
}

fn v6(last: u8) -> Value<'static> {
    let mut octets = [0; 16];
    (octets[0], octets[15]) = (0xfd, last);
    Value::Ip6(octets.into())
}

fn address(last: u8) -> Value<'static> {
    Value::Address(Address::V4([10, 0, 0, last].into()))
}

fn mac(last: u8) -> Value<'static> {
    Value::Mac(Mac([6, 0, 0, 0, 0, last]))
}

fn text(text: &'static str) -> Value<'static> {
    Value::Text(text.as_bytes())
}

fn stack(bytes: &'static [u8]) -> Value<'static> {
    Value::Words(Words::from_bytes(bytes))
}

fn ethernet(length: u32, first: u8, ethertype: u32) -> Vec<Value<'static>> {
    vec![Value::U32(length), mac(first), mac(first + 1), Value::U32(ethertype)]
}

/// Length, protocol, addresses, ports, flags and type of service.
fn ip(source: Value<'static>, destination: Value<'static>, rest: [u32; 6]) -> Vec<Value<'static>> {
    let [length, protocol, ports @ ..] = rest.map(Value::U32);
    [vec![length, protocol, source, destination], ports.to_vec()].concat()
}

const PATH: [u8; 24] = [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 65, 0, 0, 0, 66, 0, 0, 0, 1, 0, 0, 0, 1];
const PATH_END: [u8; 4] = [0, 0, 0, 67];

fn path() -> Value<'static> {
    Value::AsPath(AsPath::from_bytes(2, [PATH.as_slice(), &PATH_END].concat().leak()))
}

/// What a switch may say of a packet.
pub(crate) fn all() -> Vec<Fields> {
    let communities = stack(&[0xfd, 0xe9, 0, 100, 0xfd, 0xe9, 0, 200]);
    vec![
        (&wire::EXTENDED_SWITCH, words(&[31, 1, 32, 2])),
        (&wire::EXTENDED_ROUTER, vec![address(254), Value::U32(24), Value::U32(16)]),
        (
            &wire::EXTENDED_GATEWAY,
            [vec![address(253)], words(&[61, 62, 63]), vec![path(), communities, Value::U32(100)]].concat(),
        ),
        (&wire::EXTENDED_USER, vec![Value::U32(106), text("alice"), Value::U32(106), text("bob")]),
        (
            &wire::EXTENDED_MPLS,
            vec![address(252), stack(&[0, 1, 0, 64, 0, 1, 0x11, 64]), stack(&[0, 1, 0x21, 64])],
        ),
        (&wire::EXTENDED_NAT, vec![address(1), address(2)]),
        (&wire::EXTENDED_MPLS_TUNNEL, [vec![text("lsp")], words(&[71, 3])].concat()),
        (&wire::EXTENDED_MPLS_VC, [vec![text("vc")], words(&[72, 4])].concat()),
        (&wire::EXTENDED_MPLS_FTN, vec![text("ftn"), Value::U32(73)]),
        (&wire::EXTENDED_MPLS_LDP_FEC, words(&[25])),
        (&wire::EXTENDED_VLAN_TUNNEL, vec![stack(&[0x81, 0, 0x20, 100, 0x81, 0, 0, 200])]),
        (&wire::EXTENDED_80211_PAYLOAD, vec![Value::U32(4), text("x")]),
        (
            &wire::EXTENDED_80211_RX,
            [vec![text("net"), mac(1)], words(&[3, 6]), vec![Value::U64(54_000_000)], words(&[11, 12, 13])]
                .concat(),
        ),
        (
            &wire::EXTENDED_80211_TX,
            [
                vec![text("net2"), mac(2)],
                words(&[4, 2, 14, 15, 36]),
                vec![Value::U64(6_000_000), Value::U32(100)],
            ]
            .concat(),
        ),
        (&wire::EXTENDED_NAT_PORT, words(&[81, 82])),
        (&wire::EXTENDED_L2_TUNNEL_EGRESS, ethernet(1, 0x11, 0x800)),
        (&wire::EXTENDED_L2_TUNNEL_INGRESS, ethernet(1, 0x21, 0x800)),
        (&wire::EXTENDED_IPV4_TUNNEL_EGRESS, ip(v4(1), v4(2), [1, 17, 83, 84, 0, 0])),
        (&wire::EXTENDED_IPV6_TUNNEL_INGRESS, ip(v6(3), v6(4), [1, 47, 85, 86, 0, 0])),
        (&wire::EXTENDED_DECAPSULATE_EGRESS, words(&[50])),
        (&wire::EXTENDED_DECAPSULATE_INGRESS, words(&[54])),
        (&wire::EXTENDED_VNI_EGRESS, words(&[5001])),
        (&wire::EXTENDED_VNI_INGRESS, words(&[5002])),
        (&wire::EXTENDED_EGRESS_QUEUE, words(&[3])),
        (&wire::EXTENDED_ACL, vec![Value::U32(9), text("block"), Value::U32(1)]),
        (&wire::EXTENDED_FUNCTION, vec![text("ip_rcv")]),
        (&wire::EXTENDED_TRANSIT, words(&[250])),
        (&wire::EXTENDED_QUEUE, words(&[4096])),
        (&wire::EXTENDED_HW_TRAP, vec![text("l3_drops"), text("blackhole")]),
        (&wire::EXTENDED_LINUX_REASON, vec![text("NO_SOCKET")]),
        (&wire::EXTENDED_TIMESTAMP, vec![Value::U64(1_700_000_000_000_000_001)]),
        (&wire::EXTENDED_SOCKET_IPV4, vec![Value::U32(6), v4(5), v4(6), Value::U32(87), Value::U32(88)]),
        (
            &wire::EXTENDED_PROXY_SOCKET_IPV6,
            vec![Value::U32(17), v6(7), v6(8), Value::U32(89), Value::U32(90)],
        ),
        (&wire::EXTENDED_TCP_INFO, words(&[1, 1448, 1460, 4, 5, 6, 1500, 800, 9, 10, 11, 700])),
        (&wire::EXTENDED_ENTITIES, words(&[3, 100_001, 3, 100_002])),
    ]
}

/// An HTTP request in the later or the earlier version.
pub(crate) fn http(later: bool) -> Vec<Fields> {
    let mut values = words(&[2, 1001]);
    values.extend([text("/shop/cart?id=1"), text("a.com"), text("http://b.com/"), text("curl/8")]);
    if later {
        values.push(text("192.0.2.9"));
    }
    values.extend([text("alice"), text("text/html")]);
    if later {
        values.push(Value::U64(300));
    }
    values.extend([Value::U64(5000), Value::U32(1500), Value::U32(200)]);
    let layout = if later { &wire::HTTP_REQUEST } else { &wire::HTTP_REQUEST_V1 };
    vec![(layout, values), (&wire::EXTENDED_PROXY_REQUEST, vec![text("/cart"), text("backend")])]
}

/// A URL that a switch saw.
pub(crate) fn url() -> Vec<Fields> {
    vec![(&wire::EXTENDED_URL, vec![Value::U32(2), text("/x/y"), text("c.com")])]
}

/// An operation of an application.
pub(crate) fn app() -> Vec<Fields> {
    let mut operation = vec![text("pay"), text("card.auth"), text("cc=visa"), text("no funds")];
    operation.extend([Value::U64(120), Value::U64(340), Value::U32(2500), Value::U32(5)]);
    vec![
        (&wire::APP_OPERATION, operation),
        (&wire::APP_PARENT_CONTEXT, vec![text("web"), text("buy"), text("id=7")]),
        (&wire::APP_INITIATOR, vec![text("carol")]),
        (&wire::APP_TARGET, vec![text("bank")]),
    ]
}

/// A memcache operation.
pub(crate) fn memcache() -> Vec<Fields> {
    let rest = words(&[1, 2048, 350, 8]);
    vec![(&wire::MEMCACHE_OPERATION, [words(&[1, 7]), vec![text("user:9")], rest].concat())]
}

/// A TCP packet over IPv4 of which no header was sampled.
pub(crate) fn told_v4(protocol: u32, ports: [u32; 2]) -> Vec<Fields> {
    let [a, b] = ports;
    vec![
        (&wire::SAMPLED_ETHERNET, ethernet(1518, 0x31, 0x800)),
        (&wire::SAMPLED_IPV4, ip(v4(1), v4(2), [1500, protocol, a, b, 0x12, 0xb8])),
    ]
}

/// A packet over IPv6 of which no header was sampled.
pub(crate) fn told_v6(protocol: u32, ports: [u32; 2]) -> Vec<Fields> {
    let [a, b] = ports;
    vec![(&wire::SAMPLED_IPV6, ip(v6(1), v6(2), [1400, protocol, a, b, 2, 0]))]
}
