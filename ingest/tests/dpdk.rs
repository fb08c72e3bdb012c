//! Ports of DPDK without a card: capture files by `net_pcap`, one end of a veth by `net_af_packet`. A process can
//! start the environment once, so that each test runs in one of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ingest::capture::{Writer, link};
use ingest::dpdk::{self, Counts, DESCRIPTORS, OpenError, Opened, Options, Refused, Wanted};
use ingest::receiver::Receiver;
use ingest::wake::{Waker, wait};

use rustix::thread::sched_getaffinity;

use frames::{Frame, SERVICE_TAG, TAG, TCP};
use namespace::Namespace;

#[path = "xdp/frames.rs"]
#[allow(dead_code, reason = "shared with the tests of AF_XDP")]
mod frames;

/// The addresses that frames are given.
mod netns {
    pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
}

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod namespace;

/// What the namespaces need of the root package's support.
#[path = "../../tests/support/alone.rs"]
mod live;

/// What is waited for comes in less, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small enough for any machine, and no huge pages.
const MEMORY: &str = "--no-huge -m 128 --no-pci";

/// Set in the process of one test's own.
const ALONE: &str = "FINDERSCOPE_DPDK_TEST";

/// Runs `body` in a process of its own, which is this program with one test; gives what it said when it fails.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn options(ports: &str) -> Options {
    Options {
        eal: format!("{MEMORY} {ports}"),
        queues: 2,
        descriptors: DESCRIPTORS,
        wanted: Wanted { ports: [6343].into(), addresses: [].into() },
        verify_checksum: true,
    }
}

/// A capture file of these frames.
fn capture(folder: &Path, name: &str, frames: &[Vec<u8>]) -> PathBuf {
    let path = folder.join(name);
    let mut writer = Writer::new(BufWriter::new(File::create(&path).unwrap()), link::ETHERNET).unwrap();
    for (n, frame) in frames.iter().enumerate() {
        writer.frame(n as u64, frame, u32::try_from(frame.len()).unwrap()).unwrap();
    }
    writer.flush().unwrap();
    path
}

/// Takes datagrams until so many frames have come, given or not.
fn take(receiver: &mut Receiver, frames: u64) -> Vec<(Vec<u8>, IpAddr)> {
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while receiver.port_counts().unwrap().frames < frames {
        assert!(Instant::now() < deadline, "{:?}", receiver.port_counts());
        let received = receiver.receive().unwrap();
        assert!(received.len() <= ingest::batch::BATCH);
        taken.extend(received.datagrams().map(|(bytes, from)| (bytes.to_vec(), from)));
        // What was lent stays until the next call.
        let again: Vec<_> =
            receiver.received().datagrams().map(|(bytes, from)| (bytes.to_vec(), from)).collect();
        assert_eq!(taken[taken.len() - again.len()..], again);
    }
    taken
}

fn payload(n: usize) -> Vec<u8> {
    (0..100 + n % 1300).map(|at| (at * 7 + n) as u8).collect()
}

#[test]
fn a_capture_file_is_a_port() {
    alone("a_capture_file_is_a_port", || {
        let folder = tempfile::tempdir().unwrap();
        let ours = |n: usize| {
            let frame = if n.is_multiple_of(2) { Frame::v4(payload(n)) } else { Frame::v6(payload(n)) };
            match n % 5 {
                0 => Frame { tags: vec![(TAG, 20)], ..frame },
                1 => Frame { tags: vec![(SERVICE_TAG, 20), (TAG, 30)], ..frame },
                2 => Frame { padding: 17, ..frame },
                _ => frame,
            }
        };
        // Many more than there are buffers: each goes back. One is longer than a buffer.
        let mut frames: Vec<Vec<u8>> = (0..20_000).map(|n| ours(n).bytes()).collect();
        let large: Vec<u8> = (0..8900_u32).map(|n| (n % 251) as u8).collect();
        frames.push(Frame::v4(large.clone()).bytes());
        // A record of no bytes at all, and frames that are not ours.
        let mut spoilt = Frame::v4(payload(1)).bytes();
        *spoilt.last_mut().unwrap() ^= 1;
        let refused = [
            vec![0; 3],
            Frame { protocol: TCP, ..Frame::v4(payload(1)) }.bytes(),
            Frame { fragment: 0x2000, ..Frame::v4(payload(1)) }.bytes(),
            Frame { udp_length: 9, ..Frame::v4(payload(1)) }.bytes(),
            Frame { port: 6344, ..Frame::v6(payload(1)) }.bytes(),
            spoilt,
        ];
        frames.extend(refused.iter().cloned());
        frames.push(ours(20_000).bytes());
        let path = capture(folder.path(), "one.pcap", &frames);

        let vdev = format!("--vdev=net_pcap0,rx_pcap={}", path.display());
        let processors = sched_getaffinity(None).unwrap();
        let Opened { mut receivers, reached } = dpdk::open(&options(&vdev)).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap(), processors, "threads of ours are not tied to a core");
        assert_eq!(receivers.len(), 1, "a file is a queue");
        assert_eq!((reached[0].port.as_str(), reached[0].driver.as_str()), ("net_pcap0", "net_pcap"));
        let taken = take(&mut receivers[0], frames.len() as u64);
        let sender = |n: usize| -> IpAddr {
            if n.is_multiple_of(2) { "192.0.2.9" } else { "2001:db8::9" }.parse().unwrap()
        };
        let mut expected: Vec<(Vec<u8>, IpAddr)> = (0..20_000).map(|n| (payload(n), sender(n))).collect();
        expected.push((large, sender(0)));
        expected.push((payload(20_000), sender(20_000)));
        assert_eq!(taken.len(), expected.len());
        for (n, (taken, expected)) in taken.iter().zip(&expected).enumerate() {
            assert_eq!(taken, expected, "the {n}th");
        }
        let refused =
            Refused { not_udp: 2, fragment: 1, malformed: 1, other_port: 1, other_address: 0, checksum: 1 };
        let counts = receivers[0].port_counts().unwrap();
        let (frames, given) = (frames.len() as u64, expected.len() as u64);
        let descriptors = reached[0].descriptors;
        assert_eq!(counts, Counts { descriptors, frames, given, refused, ..Counts::default() });
        assert_eq!(receivers[0].drops(), Some(1), "a wrong checksum is a drop");
        assert!(receivers[0].receive().unwrap().is_empty(), "the file has ended");
    });
}

#[test]
fn only_our_addresses_are_ours_and_checksums_may_be_left_alone() {
    alone("only_our_addresses_are_ours_and_checksums_may_be_left_alone", || {
        let folder = tempfile::tempdir().unwrap();
        let mut spoilt = Frame::v4(payload(1)).bytes();
        *spoilt.last_mut().unwrap() ^= 1;
        let elsewhere = Frame::between("192.0.2.9", "192.0.2.2", payload(2)).bytes();
        let first = capture(folder.path(), "a.pcap", &[spoilt, elsewhere, Frame::v6(payload(3)).bytes()]);
        let second = capture(folder.path(), "b.pcap", &[Frame::v4(payload(4)).bytes()]);
        let [first, second] = [first, second].map(|path| path.display().to_string());
        let mut options = options(&format!("--vdev=net_pcap0,rx_pcap={first},rx_pcap={second}"));
        options.verify_checksum = false;
        options.wanted.addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).into();
        let mut opened = dpdk::open(&options).unwrap();
        assert_eq!((opened.receivers.len(), opened.reached[0].queues), (2, 2));
        let lengths: Vec<Vec<usize>> = [3, 1]
            .iter()
            .zip(&mut opened.receivers)
            .map(|(frames, receiver)| take(receiver, *frames).iter().map(|(bytes, _)| bytes.len()).collect())
            .collect();
        assert_eq!(lengths, [vec![101, 103], vec![104]], "each file is a queue");
        let counts = opened.receivers[0].port_counts().unwrap();
        assert_eq!(counts.refused, Refused { other_address: 1, ..Refused::default() });
        assert_eq!(opened.receivers[0].drops(), Some(0));
    });
}

#[test]
fn the_end_of_a_veth_is_a_port() {
    alone("the_end_of_a_veth_is_a_port", || {
        let (near, far) = (Namespace::new("near"), Namespace::new("far"));
        let ip = |line: &str| {
            live::run("ip", &line.split_whitespace().collect::<Vec<_>>());
        };
        near.inside(|| {
            ip(&format!("link add near type veth peer name far netns {}", far.name()));
            ip("link set near address 02:00:00:00:00:01 up");
        });
        far.inside(|| {
            ip("link set far up");
            ip("addr add 192.0.2.9/24 dev far");
            ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev far nud permanent");
        });
        near.hide();
        far.hide();
        let sender = far.inside(|| UdpSocket::bind("192.0.2.9:5000").unwrap());
        let vdev = "--vdev=net_af_packet0,iface=near --vdev=net_pcap0,rx_iface_in=near";
        let mut opened = near.inside(|| dpdk::open(&options(vdev)).unwrap());
        let drivers: Vec<&str> = opened.reached.iter().map(|port| port.driver.as_str()).collect();
        assert_eq!(drivers, ["net_af_packet", "net_pcap"]);
        let [receiver, overrun] = opened.receivers.as_mut_slice() else { panic!() };

        let mut arrived = Vec::new();
        let waker = Waker::new().unwrap();
        // Fewer than the 512 frames that this driver's ring holds.
        for n in 0..200 {
            sender.send_to(&payload(n), "192.0.2.1:6343").unwrap();
            sender.send_to(b"not sFlow", "192.0.2.1:53").unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while arrived.len() < 200 {
            assert!(Instant::now() < deadline, "{:?}", receiver.port_counts());
            wait(std::slice::from_ref(receiver), Some(&waker), Duration::from_secs(10)).unwrap();
            let received = receiver.receive().unwrap();
            assert!(received.datagrams().all(|(_, from)| from == IpAddr::from([192, 0, 2, 9])));
            arrived.extend(received.datagrams().map(|(bytes, _)| bytes.to_vec()));
        }
        assert_eq!(arrived, (0..200).map(payload).collect::<Vec<_>>());
        take(receiver, 400);
        let calm = receiver.port_counts().unwrap();
        assert_eq!((calm.given, calm.refused.other_port, calm.missed), (200, 200, 0), "{calm:?}");

        // Nobody takes them: the buffer is full, and what it has no room for is counted. Both ports see the same, but
        // net_af_packet of 22.11 does not tell what the kernel had no room for.
        let sent = 400 + 20_000;
        for n in 400..sent {
            sender.send_to(&payload(n), "192.0.2.1:6343").unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            overrun.receive().unwrap();
            let counts = overrun.port_counts().unwrap();
            if counts.frames + counts.missed + counts.failed == sent as u64 {
                break;
            }
            assert!(Instant::now() < deadline, "sent = received + dropped: {counts:?}");
        }
        let counts = overrun.port_counts().unwrap();
        assert_eq!(counts.refused, Refused { other_port: 200, ..Refused::default() });
        assert!(counts.missed > 0 && counts.given > 200, "{counts:?}");
        assert_eq!(overrun.drops(), Some(counts.missed));
    });
}

#[test]
fn what_cannot_be_is_refused() {
    alone("what_cannot_be_is_refused", || {
        let failed = dpdk::open(&options("--no-such-argument")).unwrap_err();
        assert!(matches!(failed, OpenError::Environment(_)), "{failed}");
        let again = dpdk::open(&options("")).unwrap_err();
        assert!(matches!(again, OpenError::Again), "{again}");
    });
}

#[test]
fn no_port_is_told() {
    alone("no_port_is_told", || {
        let failed = dpdk::open(&options("")).unwrap_err();
        assert!(matches!(failed, OpenError::NoPort), "{failed}");
        assert!(failed.to_string().contains("--vdev"), "{failed}");
    });
}
