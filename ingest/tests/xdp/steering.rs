//! The steering matrix: what becomes of each kind of frame, by the program's counters and by what sockets get.

use std::net::UdpSocket;

use ingest::queue::Mode;
use ingest::receiver::Receiver;
use ingest::xdp::Options;
use ingest::xdp::program::{Attach, Program, Steering, Verdicts};

use super::frames::{
    AUTHENTICATION, DESTINATION, FRAGMENT, Frame, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, SERVICE_TAG, TAG, TCP,
};
use super::live::run;
use super::netns::{Cable, FAR_MAC, NEAR_MAC, wait_for};
use super::sockets::{open, options, receive};

/// A port that is not steered, and has a socket of the kernel.
const OTHER_PORT: u16 = 6342;

/// What the kernel is to do, of `enum xdp_action`.
const DROP: u32 = 1;
const PASS: u32 = 2;

/// A kind of frame, and what is to become of it where no queue has an AF_XDP socket.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    /// The payload that a socket gets, when it gets it: of a fragment the whole one.
    payload: Vec<u8>,
    verdict: &'static str,
    /// Whether the kernel gives it to a socket of its own, once this frame has come.
    delivered: bool,
}

fn case(name: &'static str, frame: Vec<u8>, verdict: &'static str, delivered: bool) -> Case {
    Case { name, frame, payload: name.into(), verdict, delivered }
}

/// As it is with the program on `near`: two ports, its two addresses, and sources of its two networks.
pub(crate) fn steering() -> Steering {
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
        let payload = name.as_bytes()[..name.len() - 2].to_vec();
        cases.push(Case { payload, ..case(name, frame.bytes(), "no_socket", true) });
    }
    for (name, frame) in [("v4, no payload", Frame::v4("")), ("v6, no payload", Frame::v6(""))] {
        cases.push(Case { payload: Vec::new(), ..case(name, frame.bytes(), "no_socket", true) });
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

pub(crate) fn matrix() -> Vec<Case> {
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
pub(crate) fn counted(name: &str, before: &Verdicts, after: &Verdicts) -> &'static str {
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
pub(crate) fn cable(role: &str) -> Cable {
    let cable = Cable::new(role, 1, 1500);
    cable.near.inside(|| {
        run("ip", &["addr", "add", "192.0.2.2/24", "dev", "near"]);
        run("ip", &["addr", "add", "2001:db8::2/64", "dev", "near", "nodad"]);
    });
    cable.wait_for_address("2001:db8::2");
    cable
}

/// As a packet socket sees a frame that was left to the kernel: the kernel has taken the outer tag off.
fn left_to_the_kernel(frame: &[u8]) -> Option<Vec<u8>> {
    match [TAG, SERVICE_TAG].contains(&u16::from_be_bytes([frame[12], frame[13]])) {
        // It drops what has not even that.
        true if frame.len() < 18 => None,
        true => Some([&frame[..12], &frame[16..]].concat()),
        false => Some(frame.to_vec()),
    }
}

fn text(all: &[Vec<u8>]) -> Vec<String> {
    all.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

/// Sends each kind of frame, and compares what was counted, what was left to the kernel, and what its sockets got. With
/// sockets on the queue, what is ours is theirs.
fn passes_the_matrix(cable: &Cable, program: &Program, receivers: &mut [Receiver]) {
    let (sender, tap) = (cable.sender(), cable.tap());
    let sockets = [6343, 6344, OTHER_PORT].map(|port| (port, cable.udp(port)));
    let cases = matrix();
    let (ours, others): (Vec<&Case>, Vec<&Case>) =
        cases.iter().partition(|case| case.verdict == "no_socket" && !receivers.is_empty());
    for case in &cases {
        let before = program.verdicts().unwrap();
        sender.send(&case.frame);
        let after = wait_for(case.name, || {
            let now = program.verdicts().unwrap();
            (total(&now) > total(&before)).then_some(now)
        });
        let ours = ours.iter().any(|ours| ours.name == case.name);
        let verdict = if ours { "steered" } else { case.verdict };
        assert_eq!(counted(case.name, &before, &after), verdict, "{}", case.name);
    }
    // The queue is one: what comes after the last is after all of them. These are never ours.
    let end = |port| Frame { port, ..Frame::between("192.0.2.9", "192.0.2.2", "end") }.bytes();
    let ends = sockets.each_ref().map(|(port, _)| end(*port));
    ends.iter().for_each(|end| sender.send(end));
    let mut delivered: Vec<_> = sockets.iter().flat_map(|(_, socket)| received(socket, b"end")).collect();
    let mut wanted: Vec<_> =
        others.iter().filter(|case| case.delivered).map(|case| case.payload.clone()).collect();
    delivered.sort();
    wanted.sort();
    assert_eq!(text(&delivered), text(&wanted));

    let seen = tap.seen();
    let left = others.iter().filter(|case| case.verdict != "refused_source");
    let left = left.filter_map(|case| left_to_the_kernel(&case.frame).map(|frame| (case.name, frame)));
    let left: Vec<_> = left.chain(ends.map(|end| ("end", end))).collect();
    for ((name, left), seen) in left.iter().zip(&seen) {
        assert_eq!(seen, left, "{name}");
    }
    assert_eq!(seen.len(), left.len());

    let steered: Vec<_> = receive(receivers, ours.len()).into_iter().map(|(payload, _)| payload).collect();
    let wanted: Vec<_> = ours.iter().map(|case| case.payload.clone()).collect();
    assert_eq!(text(&steered), text(&wanted));
    for rings in receivers.iter_mut().filter_map(Receiver::rings) {
        assert_eq!((rings.malformed, rings.checksum_wrong, rings.drops()), (0, 0, 0), "{rings:?}");
    }

    let verdicts = program.verdicts().unwrap();
    let bytes = |cases: &[&Case]| cases.iter().map(|case| case.frame.len() as u64).sum::<u64>();
    let refused: Vec<_> = others.into_iter().filter(|case| case.verdict == "refused_source").collect();
    assert_eq!(verdicts.refused_source_bytes, bytes(&refused));
    assert_eq!((verdicts.steered, verdicts.steered_bytes), (ours.len() as u64, bytes(&ours)));
}

#[test]
fn each_kind_of_frame_has_its_verdict_in_the_driver() {
    let cable = cable("matrix-native");
    for multi_buffer in [false, true] {
        let program = cable.attach(&steering(), Attach::Native, multi_buffer).unwrap();
        passes_the_matrix(&cable, &program, &mut []);
    }
}

#[test]
fn each_kind_of_frame_has_its_verdict_in_the_stack() {
    let cable = cable("matrix-generic");
    for multi_buffer in [false, true] {
        let program = cable.attach(&steering(), Attach::Generic, multi_buffer).unwrap();
        passes_the_matrix(&cable, &program, &mut []);
    }
}

#[test]
fn what_is_ours_comes_out_of_the_sockets_and_nothing_else() {
    let cable = cable("matrix-sockets");
    for order in [Mode::Copy, Mode::Generic] {
        let options = Options { order, steering: steering(), ..options() };
        let mut opened = open(&cable, &options);
        assert_eq!(opened.reached.mode, order);
        passes_the_matrix(&cable, &opened.program, &mut opened.receivers);
    }
}

#[test]
fn a_queue_without_a_socket_is_the_kernels() {
    let cable = Cable::new("matrix-queues", 2, 1500);
    for order in [Mode::Copy, Mode::Generic] {
        let mut opened = open(&cable, &Options { order, queues: vec![1], ..options() });
        let (sender, udp) = (cable.sender(), cable.udp(6343));
        // The senders' addresses spread them over the queues.
        for n in 10..74 {
            sender.send(&Frame::between(&format!("192.0.2.{n}"), "192.0.2.1", [n]).bytes());
        }
        let verdicts = wait_for("verdict on each frame", || {
            let now = opened.program.verdicts().unwrap();
            (total(&now) == 64).then_some(now)
        });
        let (steered, left) = (verdicts.steered as usize, verdicts.no_socket as usize);
        assert!(left > 0 && steered + left == 64, "{verdicts:?}");
        // The stack has all of a veth's frames in queue 0.
        assert_eq!(steered > 0, order == Mode::Copy, "{verdicts:?}");
        let mut got: Vec<_> =
            receive(&mut opened.receivers, steered).into_iter().map(|(one, _)| one[0]).collect();
        for _ in 0..left {
            let mut one = [0];
            assert_eq!(udp.recv(&mut one).unwrap(), 1);
            got.push(one[0]);
        }
        got.sort();
        assert_eq!(got, (10..74).collect::<Vec<u8>>(), "{order}");
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
