//! Packet sockets in network namespaces of the tests' own, against what was sent.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use ingest::packets::{BATCH, Direction, Options, PacketSocket, RECEIVE_BUFFER};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use netns::{Namespace, link};

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod netns;

/// What the namespaces need of the root package's support.
#[path = "../../tests/support/alone.rs"]
mod live;

/// A namespace with a pair `left` (192.0.2.1), `right` whose neighbour 192.0.2.2 is known though nobody is there, and
/// a second pair `other` (198.51.100.1), `further`.
fn pairs(role: &str) -> Namespace {
    let namespace = Namespace::new(role);
    namespace.inside(|| {
        for (one, two, address, neighbour) in [
            ("left", "right", "192.0.2.1/24", "192.0.2.2"),
            ("other", "further", "198.51.100.1/24", "198.51.100.2"),
        ] {
            live::run("ip", &["link", "add", one, "type", "veth", "peer", "name", two]);
            live::run("ip", &["addr", "add", address, "dev", one]);
            for name in [one, two] {
                live::run("ip", &["link", "set", name, "up"]);
            }
            let unknown = "02:00:00:00:00:99";
            live::run("ip", &["neigh", "add", neighbour, "lladdr", unknown, "dev", one, "nud", "permanent"]);
        }
    });
    namespace.hide();
    namespace
}

fn index(name: &str) -> u32 {
    // In the thread's own namespace, unlike `/sys`.
    let text = live::run("ip", &["-o", "link", "show", "dev", name]);
    text.split(':').next().unwrap().trim().parse().unwrap()
}

fn options(name: &str, sampling_rate: u32) -> Options {
    Options {
        ifindex: index(name),
        sampling_rate,
        header_bytes: 128,
        promiscuous: false,
        receive_buffer: RECEIVE_BUFFER,
    }
}

/// Whether a sample waits.
fn readable(socket: &PacketSocket, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).unwrap();
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

/// Owned: bytes, length, tag, direction, ethertype.
type Seen = (Vec<u8>, u32, Option<u16>, Direction, u16);

/// All that waits.
fn drain(socket: &mut PacketSocket) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let taken = socket
            .receive(|s| seen.push((s.bytes.to_vec(), s.frame_length, s.vlan, s.direction, s.ethertype)))
            .unwrap();
        if taken < BATCH {
            return seen;
        }
    }
}

fn sender() -> UdpSocket {
    UdpSocket::bind("192.0.2.1:5000").unwrap()
}

#[test]
fn every_packet_is_seen_in_both_directions_when_one_in_one_is_sampled() {
    pairs("every").inside(|| {
        let mut left = PacketSocket::open(&options("left", 1)).unwrap();
        let mut right = PacketSocket::open(&options("right", 1)).unwrap();
        let mut open = PacketSocket::open(&Options { promiscuous: true, ..options("right", 1) }).unwrap();
        let sender = sender();
        for n in 0..100_u8 {
            sender.send_to(&vec![n; 10 * usize::from(n)], "192.0.2.2:6000").unwrap();
        }
        for (socket, direction) in [
            (&mut left, Direction::Sent),
            (&mut right, Direction::OtherHost),
            (&mut open, Direction::OtherHost),
        ] {
            assert!(readable(socket, Duration::from_secs(20)));
            let seen = drain(socket);
            assert_eq!(seen.len(), 100);
            for (n, (bytes, length, vlan, towards, ethertype)) in seen.iter().enumerate() {
                let whole = 14 + 20 + 8 + 10 * n;
                assert_eq!((*length as usize, bytes.len()), (whole, whole.min(128)));
                assert_eq!((*vlan, *towards, *ethertype), (None, direction, 0x0800));
                assert_eq!(bytes[..6], [2, 0, 0, 0, 0, 0x99]);
                assert_eq!(bytes[12..14], [8, 0]);
                assert_eq!(bytes[26..34], [192, 0, 2, 1, 192, 0, 2, 2]);
                assert!(bytes[42..].iter().all(|byte| *byte == n as u8));
            }
            assert_eq!(socket.drops(), 0);
            assert_eq!(socket.receive(|_| panic!("nothing is left")).unwrap(), 0);
        }
    });
}

#[test]
fn one_in_so_many_is_taken_at_random() {
    pairs("random").inside(|| {
        let sender = sender();
        for rate in [2_u32, 10, 400] {
            let mut socket = PacketSocket::open(&options("left", rate)).unwrap();
            let before = link("left");
            let (mut taken, packets) = (0, 40_000_u32);
            for _ in 0..packets / 100 {
                for _ in 0..100 {
                    sender.send_to(&[0; 100], "192.0.2.2:6000").unwrap();
                }
                taken += drain(&mut socket).len();
            }
            assert_eq!(link("left").out_frames - before.out_frames, u64::from(packets));
            assert_eq!(socket.drops(), 0);
            let (n, p) = (f64::from(packets), 1.0 / f64::from(rate));
            let sigma = (n * p * (1.0 - p)).sqrt();
            let off = (taken as f64 - n * p) / sigma;
            assert!(off.abs() < 5.0, "one in {rate}: {taken} of {packets}, {off:.1} sigma");
        }
    });
}

/// The kernel takes the tag out of what it receives; what was sent and what is given are the same all the same.
#[test]
fn the_vlan_tag_is_back_in_place() {
    pairs("vlan").inside(|| {
        let mut left = PacketSocket::open(&options("left", 1)).unwrap();
        let mut right = PacketSocket::open(&options("right", 1)).unwrap();
        // A socket does not see what it has sent itself.
        let sender = PacketSocket::open(&options("left", 1)).unwrap();
        let addresses = [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1];
        let mut sent = Vec::new();
        for tags in [&[0x81, 0, 0x60, 42][..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 42]] {
            for length in [46, 1000] {
                let frame = [&addresses, tags, &[0x88, 0xb5], &vec![7; length][..]].concat();
                rustix::net::send(&sender, &frame, rustix::net::SendFlags::empty()).unwrap();
                sent.push(frame);
            }
        }
        for (socket, tags) in
            [(&mut left, [None; 4]), (&mut right, [Some(0x602a), Some(0x602a), Some(7), Some(7)])]
        {
            assert!(readable(socket, Duration::from_secs(20)));
            let seen = drain(socket);
            assert_eq!(seen.len(), 4);
            for (((bytes, length, vlan, ..), frame), tag) in seen.iter().zip(&sent).zip(tags) {
                assert_eq!(*vlan, tag);
                assert_eq!(*length as usize, frame.len());
                assert_eq!(bytes[..], frame[..frame.len().min(128)]);
            }
        }
    });
}

#[test]
fn what_a_sleeping_reader_loses_is_counted() {
    pairs("drops").inside(|| {
        let mut socket = PacketSocket::open(&Options { receive_buffer: 4096, ..options("left", 1) }).unwrap();
        let sender = sender();
        for _ in 0..1000 {
            sender.send_to(&[0; 1000], "192.0.2.2:6000").unwrap();
        }
        let taken = drain(&mut socket).len() as u64;
        let drops = socket.drops();
        assert_eq!(taken + drops, 1000);
        assert!(taken > 0 && drops > 0, "{taken} {drops}");
        // The count goes on where it was.
        for _ in 0..1000 {
            sender.send_to(&[0; 1000], "192.0.2.2:6000").unwrap();
        }
        let more = drain(&mut socket).len() as u64;
        assert_eq!(taken + more + socket.drops(), 2000);
        assert!(socket.drops() > drops);
    });
}

/// A packet on another interface does not wake the reader, let alone reach it; nor does one that is not sampled.
#[test]
fn a_flood_elsewhere_costs_nothing() {
    pairs("flood").inside(|| {
        let mut socket = PacketSocket::open(&options("left", 1)).unwrap();
        let mut rare = PacketSocket::open(&options("other", u32::MAX)).unwrap();
        let before = link("other");
        let flood = UdpSocket::bind("198.51.100.1:5000").unwrap();
        for _ in 0..20_000 {
            flood.send_to(&[0; 100], "198.51.100.2:6000").unwrap();
        }
        assert_eq!(link("other").out_frames - before.out_frames, 20_000);
        for socket in [&mut socket, &mut rare] {
            assert!(!readable(socket, Duration::ZERO));
            assert!(drain(socket).is_empty());
            assert_eq!(socket.drops(), 0);
        }
        // It is not deaf.
        sender().send_to(b"hear", "192.0.2.2:6000").unwrap();
        assert!(readable(&socket, Duration::from_secs(20)));
        assert_eq!(drain(&mut socket).len(), 1);
    });
}

/// An interface that is taken down and up again goes on being sampled; one that is gone never errs.
#[test]
fn an_interface_that_goes_down_is_silent_and_comes_back() {
    pairs("down").inside(|| {
        let mut socket = PacketSocket::open(&options("left", 1)).unwrap();
        live::run("ip", &["link", "set", "left", "down"]);
        assert!(drain(&mut socket).is_empty());
        live::run("ip", &["link", "set", "left", "up"]);
        let unknown = "02:00:00:00:00:99";
        live::run(
            "ip",
            &["neigh", "replace", "192.0.2.2", "lladdr", unknown, "dev", "left", "nud", "permanent"],
        );
        let sender = sender();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // The carrier comes a moment after the interface.
            let _ = sender.send_to(b"again", "192.0.2.2:6000");
            if readable(&socket, Duration::from_millis(20)) && !drain(&mut socket).is_empty() {
                break;
            }
            assert!(Instant::now() < deadline);
        }
        live::run("ip", &["link", "del", "left"]);
        drain(&mut socket);
        assert!(drain(&mut socket).is_empty());
        let error = PacketSocket::open(&Options { ifindex: 4_000_000, ..options("other", 1) }).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(19), "no such device: {error}");
    });
}
