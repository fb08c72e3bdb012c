//! The steering matrix: what becomes of each kind of frame, by the program's counters and by what sockets get.

use std::net::UdpSocket;

use ingest::xdp::program::{Attach, Program, Steering, Verdicts};

use super::frames::{
    AUTHENTICATION, DESTINATION, FRAGMENT, Frame, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, SERVICE_TAG, TAG, TCP,
};
use super::live::run;
use super::netns::{Cable, FAR_MAC, NEAR_MAC, wait_for};

/// A port that is not steered, and has a socket of the kernel.
const OTHER_PORT: u16 = 6342;

/// What the kernel is to do, of `enum xdp_action`.
const DROP: u32 = 1;
const PASS: u32 = 2;

/// A kind of frame, and what is to become of it.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    verdict: &'static str,
    /// The payload that a socket gets, once this frame has come.
    delivered: Option<Vec<u8>>,
}

fn case(name: &'static str, frame: Vec<u8>, verdict: &'static str, delivered: bool) -> Case {
    Case { name, frame, verdict, delivered: delivered.then(|| name.as_bytes().to_vec()) }
}

/// As it is with the program on `near`: two ports, its two addresses, and sources of its two networks.
fn steering() -> Steering {
    Steering {
        ports: vec![6343, 6344],
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        sources: vec![("192.0.2.0".parse().unwrap(), 24), ("2001:db8::".parse().unwrap(), 32)],
    }
}

/// The frames of both versions of IP that differ in nothing else.
fn of_both_versions(
    cases: &mut Vec<Case>,
    names: [&'static str; 2],
    change: impl Fn(&mut Frame),
    told: (&'static str, bool),
) {
    for (name, mut frame) in names.into_iter().zip([Frame::v4(names[0]), Frame::v6(names[1])]) {
        change(&mut frame);
        cases.push(case(name, frame.bytes(), told.0, told.1));
    }
}

/// UDP in whole, and beneath tags.
fn datagrams(cases: &mut Vec<Case>) {
    let ours = ("no_socket", true);
    of_both_versions(cases, ["v4", "v6"], |_| (), ours);
    of_both_versions(cases, ["v4, second port", "v6, second port"], |f| f.port = 6344, ours);
    of_both_versions(cases, ["v4, padded", "v6, padded"], |f| f.padding = 5, ours);
    of_both_versions(cases, ["v4, priority", "v6, priority"], |f| f.tags = vec![(TAG, 0xe000)], ours);
    // There is no interface for these VLANs: with no AF_XDP socket, nobody gets them.
    let lost = ("no_socket", false);
    of_both_versions(cases, ["v4, tagged", "v6, tagged"], |f| f.tags = vec![(TAG, 20)], lost);
    let two = vec![(SERVICE_TAG, 20), (TAG, 30)];
    of_both_versions(cases, ["v4, QinQ", "v6, QinQ"], |f| f.tags.clone_from(&two), lost);
    let old = vec![(TAG, 20), (TAG, 30)];
    of_both_versions(cases, ["v4, two old tags", "v6, two old tags"], |f| f.tags.clone_from(&old), lost);
    let three = vec![(SERVICE_TAG, 20), (TAG, 30), (TAG, 40)];
    of_both_versions(
        cases,
        ["v4, three tags", "v6, three tags"],
        |f| f.tags.clone_from(&three),
        ("not_ip", false),
    );
    for (name, mut frame) in
        [("v4, payload ends early", Frame::v4("")), ("v6, payload ends early", Frame::v6(""))]
    {
        frame.payload = name.into();
        frame.udp_length = -2;
        let delivered = Some(name.as_bytes()[..name.len() - 2].to_vec());
        cases.push(Case { name, frame: frame.bytes(), verdict: "no_socket", delivered });
    }
    let empty = |frame: Frame| (frame.bytes(), Some(Vec::new()));
    for (name, (frame, delivered)) in
        [("v4, no payload", empty(Frame::v4(""))), ("v6, no payload", empty(Frame::v6("")))]
    {
        cases.push(Case { name, frame, verdict: "no_socket", delivered });
    }
}

/// What is for somebody else.
fn others(cases: &mut Vec<Case>) {
    of_both_versions(
        cases,
        ["v4, other port", "v6, other port"],
        |f| f.port = OTHER_PORT,
        ("other_port", true),
    );
    of_both_versions(
        cases,
        ["v4, other host", "v6, other host"],
        |f| f.to_mac = FAR_MAC,
        ("other_host", false),
    );
    for (name, from, to, verdict, delivered) in [
        ("v4, other address", "192.0.2.9", "192.0.2.2", "other_address", true),
        ("v6, other address", "2001:db8::9", "2001:db8::2", "other_address", true),
        ("v4, refused source", "198.51.100.9", "192.0.2.1", "refused_source", false),
        ("v6, refused source", "2001:db9::9", "2001:db8::1", "refused_source", false),
        ("v4, refused source, other address", "198.51.100.9", "192.0.2.2", "other_address", true),
        ("v4, loopback source", "127.0.0.1", "192.0.2.1", "martian_source", false),
        ("v4, group's source", "224.0.0.9", "192.0.2.1", "martian_source", false),
        ("v6, loopback source", "::1", "2001:db8::1", "martian_source", false),
        // The kernel takes it; that its socket shows it as 192.0.2.9 is its business.
        ("v6, mapped source", "::ffff:192.0.2.9", "2001:db8::1", "martian_source", true),
        ("v6, group's source", "ff02::9", "2001:db8::1", "martian_source", false),
    ] {
        cases.push(case(name, Frame::between(from, to, name).bytes(), verdict, delivered));
    }
    let mut broadcast = Frame::between("192.0.2.9", "192.0.2.255", "v4, broadcast");
    broadcast.to_mac = [0xff; 6];
    cases.push(case("v4, broadcast", broadcast.bytes(), "other_host", true));
    let mut group = Frame::between("192.0.2.9", "239.1.2.3", "v4, group");
    group.to_mac = [1, 0, 0x5e, 1, 2, 3];
    cases.push(case("v4, group", group.bytes(), "other_host", false));

    let carrying = |mut frame: Frame, protocol| {
        // As many bytes as UDP has, so that a port stands where UDP's does.
        frame.carried = Some([frame.udp(), vec![0; 20]].concat());
        frame.protocol = protocol;
        frame.bytes()
    };
    for (name, frame) in [
        ("v4, TCP", carrying(Frame::v4(""), TCP)),
        ("v6, TCP", carrying(Frame::v6(""), TCP)),
        ("v4, ICMP", carrying(Frame::v4(""), ICMP)),
        ("v6, ICMP", carrying(Frame::v6(""), ICMPV6)),
        ("v4, UDP-Lite", carrying(Frame::v4(""), 136)),
    ] {
        cases.push(case(name, frame, "not_udp", false));
    }
    let arp = [&NEAR_MAC[..], &FAR_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &FAR_MAC, &[192, 0, 2, 9], &[0; 6]];
    cases.push(case("ARP", [arp.concat().as_slice(), &[192, 0, 2, 1]].concat(), "not_ip", false));
    cases.push(case("LLC", [&NEAR_MAC[..], &FAR_MAC, &[0, 46], &[0x42; 46]].concat(), "not_ip", false));
}

/// What stands between IP's header and UDP's.
fn headers(cases: &mut Vec<Case>) {
    let pad = || vec![1, 4, 0, 0, 0, 0];
    let route = |left| vec![0, left, 0, 0, 0, 0];
    for (name, options) in [("v4, an option", 4), ("v4, all options", 40)] {
        let frame = Frame { options: vec![1; options], ..Frame::v4(name) };
        cases.push(case(name, frame.bytes(), "no_socket", true));
    }
    let long = [vec![1, 250], vec![0; 252]].concat();
    let five = vec![
        (HOP_BY_HOP, pad()),
        (DESTINATION, pad()),
        (ROUTING, route(0)),
        (DESTINATION, pad()),
        (DESTINATION, pad()),
    ];
    for (name, extensions, verdict, delivered) in [
        ("v6, hop-by-hop", vec![(HOP_BY_HOP, pad())], "no_socket", true),
        ("v6, destination", vec![(DESTINATION, pad())], "no_socket", true),
        // The kernel takes no more than seven bytes of padding.
        ("v6, long hop-by-hop", vec![(HOP_BY_HOP, long)], "no_socket", false),
        ("v6, route that ends", vec![(ROUTING, route(0))], "no_socket", true),
        ("v6, four headers", five[..4].to_vec(), "no_socket", true),
        ("v6, five headers", five, "extension_headers", true),
        ("v6, route that goes on", vec![(ROUTING, route(1))], "extension_headers", false),
        ("v6, authentication", vec![(AUTHENTICATION, vec![0; 14])], "extension_headers", false),
        ("v6, fragment of all", vec![(FRAGMENT, vec![0, 0, 0, 0, 0, 7])], "fragment", true),
        (
            "v6, hop-by-hop, fragment",
            vec![(HOP_BY_HOP, pad()), (FRAGMENT, vec![0, 0, 0, 0, 0, 8])],
            "fragment",
            true,
        ),
    ] {
        let frame = Frame { extensions, ..Frame::v6(name) };
        cases.push(case(name, frame.bytes(), verdict, delivered));
    }
    let mut tagged = Frame { extensions: vec![(HOP_BY_HOP, pad())], ..Frame::v6("v6, tagged, hop-by-hop") };
    tagged.tags = vec![(TAG, 20)];
    cases.push(case("v6, tagged, hop-by-hop", tagged.bytes(), "no_socket", false));
    let tcp = Frame { extensions: vec![(FRAGMENT, vec![0, 0, 0, 0, 0, 9])], protocol: TCP, ..Frame::v6("") };
    cases.push(case("v6, fragment of TCP", tcp.bytes(), "not_udp", false));
}

/// Datagrams in two fragments each, which the kernel puts together.
fn fragments(cases: &mut Vec<Case>) {
    let name = "v4, later fragment";
    let (whole, mut part) = (Frame::v4(name).udp(), Frame::v4(""));
    for (name, carried, fragment, delivered) in
        [("v4, first fragment", &whole[..16], 0x2000, false), (name, &whole[16..], 0x0002, true)]
    {
        part.carried = Some(carried.to_vec());
        part.fragment = fragment;
        cases.push(case(name, part.bytes(), "fragment", delivered));
    }
    let unbroken = Frame { fragment: 0x4000, ..Frame::v4("v4, not to be fragmented") };
    cases.push(case("v4, not to be fragmented", unbroken.bytes(), "no_socket", true));
    let name = "v6, later fragment";
    let (whole, mut part) = (Frame::v6(name).udp(), Frame::v6(""));
    for (name, carried, offset, delivered) in
        [("v6, first fragment", &whole[..16], 1, false), (name, &whole[16..], 16, true)]
    {
        part.carried = Some(carried.to_vec());
        part.extensions = vec![(FRAGMENT, vec![0, offset, 0, 0, 0, 6])];
        cases.push(case(name, part.bytes(), "fragment", delivered));
    }
}

/// Frames that end too early, and lengths that lie.
fn spoilt(cases: &mut Vec<Case>) {
    let lost = ("truncated", false);
    of_both_versions(cases, ["v4, IP says more", "v6, IP says more"], |f| f.ip_length = 1, lost);
    of_both_versions(cases, ["v4, UDP says more", "v6, UDP says more"], |f| f.udp_length = 1, lost);
    // The name is the payload.
    of_both_versions(cases, ["v4, UDP says 7", "v6, UDP says 7"], |f| f.udp_length = -15, lost);
    of_both_versions(cases, ["v4, half of UDP", "v6, half of UDP"], |f| f.carried = Some(vec![0; 4]), lost);
    of_both_versions(
        cases,
        ["v4, less than a header", "v6, less than a header"],
        |f| {
            f.ip_length = if f.from.is_ipv4() { -(8 + 22 + 1) } else { -(8 + 22) };
        },
        lost,
    );
    let whole = [Frame::v4("").bytes(), Frame::v6("").bytes()];
    for (name, of, bytes) in [
        ("v4, no packet", 0, 14),
        ("v4, half of IP", 0, 24),
        ("v6, no packet", 1, 14),
        ("v6, half of IP", 1, 44),
    ] {
        cases.push(case(name, whole[of][..bytes].to_vec(), lost.0, lost.1));
    }
    let tag = [&NEAR_MAC[..], &FAR_MAC, &TAG.to_be_bytes(), &[0, 20]].concat();
    cases.push(case("half of a tag", tag, lost.0, lost.1));
    let at = |frame: &[u8], place: usize, byte| {
        let mut frame = frame.to_vec();
        frame[place] = byte;
        frame
    };
    cases.push(case("v4 in v6's words", at(&whole[0], 14, 0x65), lost.0, lost.1));
    cases.push(case("v6 in v4's words", at(&whole[1], 14, 0x45), lost.0, lost.1));
    cases.push(case("v4, header of 16", at(&whole[0], 14, 0x44), lost.0, lost.1));
    cases.push(case("v4, header of 60", at(&whole[0], 14, 0x4f), lost.0, lost.1));
    let extended = Frame { extensions: vec![(HOP_BY_HOP, vec![1, 4, 0, 0, 0, 0])], ..Frame::v6("") }.bytes();
    cases.push(case("v6, hop-by-hop of 2048", at(&extended, 55, 0xff), lost.0, lost.1));
}

fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    datagrams(&mut cases);
    others(&mut cases);
    headers(&mut cases);
    fragments(&mut cases);
    spoilt(&mut cases);
    cases
}

/// All verdicts' frames.
fn total(verdicts: &Verdicts) -> u64 {
    verdicts.frames().iter().map(|(_, frames)| frames).sum()
}

/// The one verdict that counted a frame between the two.
fn counted(name: &str, before: &Verdicts, after: &Verdicts) -> &'static str {
    let changed = before.frames().into_iter().zip(after.frames()).filter(|(old, new)| old != new);
    let changed: Vec<_> = changed.map(|((label, old), (_, new))| (label, new - old)).collect();
    let [(label, 1)] = changed[..] else { panic!("{name}: counted as {changed:?}") };
    label
}

/// What the sockets have got until now; the last datagram to come is `end`.
fn received(socket: &UdpSocket, end: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        if &buffer[..length] == end {
            return all;
        }
        all.push(buffer[..length].to_vec());
    }
}

/// A cable whose near end has a second address of each version.
fn cable(role: &str) -> Cable {
    let cable = Cable::new(role, 1, 1500);
    cable.near.inside(|| {
        run("ip", &["addr", "add", "192.0.2.2/24", "dev", "near"]);
        run("ip", &["addr", "add", "2001:db8::2/64", "dev", "near", "nodad"]);
    });
    cable
}

/// As a packet socket sees a frame that was left to the kernel: the kernel has taken the outer tag off.
fn left_to_the_kernel(case: &Case) -> Option<Vec<u8>> {
    let tag = [TAG, SERVICE_TAG].contains(&u16::from_be_bytes([case.frame[12], case.frame[13]]));
    match (case.verdict, tag) {
        ("refused_source", _) => None,
        // It drops what has not even that.
        (_, true) if case.frame.len() < 18 => None,
        (_, true) => Some([&case.frame[..12], &case.frame[16..]].concat()),
        (_, false) => Some(case.frame.clone()),
    }
}

/// Sends each kind of frame, and compares what was counted, what was left to the kernel, and what its sockets got.
fn passes_the_matrix(cable: &Cable, program: &Program) {
    let (sender, tap) = (cable.sender(), cable.tap());
    let sockets = [6343, 6344, OTHER_PORT].map(|port| (port, cable.udp(port)));
    let cases = matrix();
    for case in &cases {
        let before = program.verdicts().unwrap();
        sender.send(&case.frame);
        let after = wait_for(case.name, || {
            let now = program.verdicts().unwrap();
            (total(&now) > total(&before)).then_some(now)
        });
        assert_eq!(counted(case.name, &before, &after), case.verdict, "{}", case.name);
    }
    // The queue is one: what comes after the last is after all of them.
    let ends = sockets.each_ref().map(|(port, _)| Frame { port: *port, ..Frame::v4("end") }.bytes());
    ends.iter().for_each(|end| sender.send(end));
    let mut delivered: Vec<_> = sockets.iter().flat_map(|(_, socket)| received(socket, b"end")).collect();
    let mut wanted: Vec<_> = cases.iter().filter_map(|case| case.delivered.clone()).collect();
    delivered.sort();
    wanted.sort();
    let text =
        |all: &[Vec<u8>]| all.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect::<Vec<_>>();
    assert_eq!(text(&delivered), text(&wanted));

    let seen = tap.seen();
    let left = cases.iter().filter_map(|case| left_to_the_kernel(case).map(|frame| (case.name, frame)));
    let left: Vec<_> = left.chain(ends.map(|end| ("end", end))).collect();
    for ((name, left), seen) in left.iter().zip(&seen) {
        assert_eq!(seen, left, "{name}");
    }
    assert_eq!(seen.len(), left.len());

    let verdicts = program.verdicts().unwrap();
    let refused = cases.iter().filter(|case| case.verdict == "refused_source");
    assert_eq!(verdicts.refused_source_bytes, refused.map(|case| case.frame.len() as u64).sum::<u64>());
    assert_eq!((verdicts.steered, verdicts.steered_bytes), (0, 0), "there is no AF_XDP socket");
}

#[test]
fn each_kind_of_frame_has_its_verdict_in_the_driver() {
    let cable = cable("matrix-native");
    for multi_buffer in [false, true] {
        passes_the_matrix(&cable, &cable.attach(&steering(), Attach::Native, multi_buffer).unwrap());
    }
}

#[test]
fn each_kind_of_frame_has_its_verdict_in_the_stack() {
    let cable = cable("matrix-generic");
    for multi_buffer in [false, true] {
        passes_the_matrix(&cable, &cable.attach(&steering(), Attach::Generic, multi_buffer).unwrap());
    }
}

#[test]
fn judging_a_frame_is_what_is_done_with_it() {
    let cable = cable("judged");
    for multi_buffer in [false, true] {
        let program = cable.attach(&steering(), Attach::Native, multi_buffer).unwrap();
        for case in matrix() {
            let before = program.verdicts().unwrap();
            let action = program.judge(&case.frame).unwrap();
            assert_eq!(action, if case.verdict == "refused_source" { DROP } else { PASS }, "{}", case.name);
            assert_eq!(
                counted(case.name, &before, &program.verdicts().unwrap()),
                case.verdict,
                "{}",
                case.name
            );
        }
    }
}
