//! Workers over ports of DPDK: two capture files, and what the engine counts of them. A process starts DPDK once, so that
//! there is one test here.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::net::UdpSocket;
use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::interface::Ingest;
use engine::{Engine, EngineOptions};
use ingest::capture::{Writer, link};

/// A datagram of sFlow without a sample, in a frame to `port`. UDP over IPv4 may do without a checksum.
fn frame(agent: u8, sequence: u32, port: u16) -> Vec<u8> {
    let words = [5, 1, u32::from_be_bytes([192, 0, 2, agent]), 0, sequence, 1000 * sequence, 0];
    let datagram: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    let length = |around: usize| u16::try_from(around + datagram.len()).unwrap().to_be_bytes();
    let mut ip =
        [&[0x45, 0][..], &length(28), &[0, 0, 0x40, 0, 64, 17, 0, 0], &[192, 0, 2, agent, 192, 0, 2, 1]]
            .concat();
    let sum: u32 = ip.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !(((sum >> 16) + (sum & 0xffff)) as u16);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [&40_000_u16.to_be_bytes()[..], &port.to_be_bytes(), &length(8), &[0, 0], &datagram].concat();
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, agent, 8, 0][..], &ip, &udp].concat()
}

fn capture(folder: &Path, name: &str, frames: &[Vec<u8>]) -> String {
    let path = folder.join(name);
    let mut writer = Writer::new(File::create(&path).unwrap(), link::ETHERNET).unwrap();
    for frame in frames {
        writer.frame(0, frame, u32::try_from(frame.len()).unwrap()).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn workers_take_the_queues_of_ports() {
    let folder = tempfile::tempdir().unwrap();
    // A port that nobody has; the sockets beside are to have it, and nothing comes there.
    let port = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    // An agent on both queues is one agent.
    let mut first: Vec<Vec<u8>> =
        (1..=1000_u32).map(|n| frame(2 + (n % 5) as u8, n.div_ceil(5), port)).collect();
    first.push(frame(2, 1, port + 1));
    let mut spoilt = frame(2, 9, port);
    spoilt[25] ^= 1;
    first.push(spoilt);
    let second: Vec<Vec<u8>> = (201..=400).map(|n| frame(2, n, port)).collect();
    let files = [capture(folder.path(), "a.pcap", &first), capture(folder.path(), "b.pcap", &second)];
    let files = files.map(|file| format!(",rx_pcap={file}")).concat();
    let engine = Engine::start(&EngineOptions {
        sflow: vec![([0, 0, 0, 0], port).into()],
        workers: NonZero::new(2),
        ingest: Ingest::Dpdk,
        dpdk: Some(format!("--no-huge -m 128 --no-pci --vdev=net_pcap0{files}")),
        ..EngineOptions::default()
    })
    .unwrap();
    let reached = engine.reached();
    assert_eq!((reached.label(), reached.interface.as_deref()), ("dpdk", Some("net_pcap0 (net_pcap)")));
    assert_eq!(reached.queues, [0, 1]);

    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        let status = engine.handle().status().unwrap();
        let frames: u64 = status.verdicts.iter().map(|(_, frames)| frames).sum();
        if frames == 1202 && status.counters.datagrams == 1200 {
            break status;
        }
        assert!(Instant::now() < deadline, "{:?}", (status.verdicts, status.counters));
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.agents, 5);
    let verdict = |name: &str| status.verdicts.iter().find(|(known, _)| *known == name).unwrap().1;
    assert_eq!((verdict("steered"), verdict("other_port")), (1201, 1));
    assert_eq!((status.queue_drops, status.kernel_drops), (1, Some(1)), "a wrong checksum");
    let queues: Vec<(usize, u32, u64)> = status
        .workers
        .iter()
        .flat_map(|worker| {
            worker.queues.iter().map(|queue| (worker.worker, queue.queue, queue.checksum_wrong))
        })
        .collect();
    assert_eq!(queues, [(0, 0, 1), (1, 1, 0)], "a queue for each worker");
    engine.shutdown();
}
