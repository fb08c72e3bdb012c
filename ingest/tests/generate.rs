//! The generator of frames: what it says it sent arrives, once each, with numbers that go on and checksums that hold.
#![cfg(all(target_os = "linux", feature = "xdp"))]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingest::namespace::Namespace;
use ingest::xdp::generate::{Aim, Generator, Template, now_ns, receive_offload};

/// A frame to 192.0.2.1:6343 of as many bytes, that begins with a number; with a checksum when its payload is even.
fn template(payload: usize, first: u32, add: u32, checked: bool) -> Template {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0]);
    bytes.extend((28 + payload as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1]);
    let sum = sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&(!sum).to_be_bytes());
    bytes.extend([0x80, 0, 0x18, 0xc7]);
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(first.to_be_bytes());
    bytes.resize(42 + payload, payload as u8);
    if checked {
        let mut covered = bytes[26..].to_vec();
        covered.extend([0, 17]);
        covered.extend((8 + payload as u16).to_be_bytes());
        let sum = !self::sum(&covered);
        bytes[40..42].copy_from_slice(&sum.to_be_bytes());
    }
    Template { bytes, checksum_at: checked.then_some(40), moving: vec![(42, add)] }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip (package iproute2)");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A socket at 192.0.2.1:6343, and the namespace at the other end of its interface.
fn lab() -> (UdpSocket, Namespace, Namespace) {
    let near = Namespace::new().expect("network namespaces need root");
    let far = Namespace::new().unwrap();
    let to = far.path().display().to_string();
    let socket = near.inside(|| {
        ip("link add near address 02:00:00:00:00:01 type veth peer name far");
        ip(&format!("link set far netns {to}"));
        ip("address add 192.0.2.1/24 dev near");
        ip("link set near up");
        receive_offload("near", true).unwrap();
        UdpSocket::bind("192.0.2.1:6343").unwrap()
    });
    let socket = socket.unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    far.inside(|| ip("link set far up")).unwrap();
    (socket, near, far)
}

#[test]
fn what_it_sends_arrives_with_numbers_that_go_on() {
    let (socket, _near, far) = lab();
    let templates = [
        template(18, 5, 1, true),
        template(1372, 0xffff_fff0, 3, true),
        // A checksum goes through all values in time, 0 among them.
        template(100, 0, 0x0001_0001, true),
        template(700, 100, 7, false),
    ];
    let probe = template(64, 1_000_000, 1, true);
    let sent = far.inside(|| {
        let mut generator = Generator::new(&templates, Some(&probe)).unwrap();
        let interface = rustix::net::netdevice::name_to_index(any_socket(), "far").unwrap();
        let begin_ns = now_ns();
        generator
            .aim(&Aim { interface: Some(interface), most: 3000, probe_every: 10, ..Aim::default() })
            .unwrap();
        while generator.sent().unwrap().frames < 3000 {
            generator.run(100).unwrap();
        }
        generator.run(100).unwrap();
        let times: Vec<u64> = (0..300).map(|n| generator.probe_ns(n).unwrap()).collect();
        assert!(times.is_sorted() && times[0] > begin_ns && times[299] < now_ns());
        generator.sent().unwrap()
    });
    let sent = sent.unwrap();
    assert_eq!((sent.frames, sent.probes, sent.refused), (3000, 300, 0));
    assert_eq!(sent.early, 100, "nothing beyond what was asked for");
    let mut buffer = [0; 2000];
    let mut next: Vec<(u32, u32)> = [18, 1372, 100, 700, 64]
        .iter()
        .zip([5, 0xffff_fff0, 0, 100, 1_000_000].iter().zip([1, 3, 0x0001_0001, 7, 1]))
        .map(|(_, (first, add))| (*first, add))
        .collect();
    let mut count = [0; 5];
    for _ in 0..3000 {
        // The kernel drops what has a wrong checksum.
        let length = socket.recv(&mut buffer).unwrap();
        let which = [18, 1372, 100, 700, 64].iter().position(|known| *known == length).unwrap();
        let number = u32::from_be_bytes(buffer[..4].try_into().unwrap());
        assert_eq!(number, next[which].0, "{length}");
        assert!(buffer[4..length].iter().all(|byte| *byte == length as u8));
        next[which].0 = number.wrapping_add(next[which].1);
        count[which] += 1;
    }
    assert_eq!(count, [675, 675, 675, 675, 300]);
}

#[test]
fn a_rate_is_kept_within_a_call() {
    let (socket, _near, far) = lab();
    let sent = far.inside(|| {
        let mut generator = Generator::new(&[template(200, 0, 1, true)], None).unwrap();
        let interface = rustix::net::netdevice::name_to_index(any_socket(), "far").unwrap();
        let time = Duration::from_millis(200);
        let aim = Aim { interface: Some(interface), per_s: Some(2000.0), time, ..Aim::default() };
        generator.aim(&aim).unwrap();
        generator.send(&AtomicBool::new(false)).unwrap()
    });
    let sent = sent.unwrap();
    // Whoever takes the processor away makes them fewer, never more.
    assert!(sent.frames > 0 && sent.frames <= 401, "{sent:?}");
    // The end is seen by the first frame after it.
    assert!(sent.early > sent.frames && sent.time < Duration::from_secs(2), "{sent:?}");
    let mut buffer = [0; 300];
    for n in 0..sent.frames {
        assert_eq!(socket.recv(&mut buffer).unwrap(), 200);
        assert_eq!(u64::from(u32::from_be_bytes(buffer[..4].try_into().unwrap())), n);
    }
}

/// An hour of frames ends when it is told to.
#[test]
fn it_stops_when_it_is_told_to() {
    let mut generator = Generator::new(&[template(1372, 0, 1, true)], None).unwrap();
    for per_s in [None, Some(1000.0)] {
        generator.aim(&Aim { per_s, time: Duration::from_secs(3600), ..Aim::default() }).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| generator.send(&stop).unwrap());
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
            let deadline = Instant::now() + Duration::from_secs(300);
            while !sending.is_finished() {
                assert!(Instant::now() < deadline);
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(sending.join().unwrap().time < Duration::from_secs(600));
        });
    }
}

/// Without an interface they are only made.
#[test]
fn frames_that_go_nowhere_are_counted() {
    let mut generator = Generator::new(&[template(1372, 0, 1, true)], None).unwrap();
    generator.aim(&Aim::default()).unwrap();
    generator.run(1000).unwrap();
    assert_eq!(generator.sent().unwrap().frames, 1000);
    assert_eq!(generator.sent().unwrap().bytes, 1000 * 1414);
}

#[test]
fn templates_that_are_none_are_refused() {
    for wrong in [
        Template { bytes: vec![0; 59], ..Template::default() },
        Template { bytes: vec![0; 1537], ..Template::default() },
        Template { bytes: vec![0; 100], moving: vec![(0, 1); 25], ..Template::default() },
    ] {
        let error = Generator::new(&[wrong], None).unwrap_err().to_string();
        assert!(error.contains("are possible"), "{error}");
    }
}

/// Any socket: the kernel answers questions about interfaces on it.
fn any_socket() -> UdpSocket {
    UdpSocket::bind("0.0.0.0:0").unwrap()
}
