//! What a sampled interface costs for each packet: CPU time of a thread that sends UDP over a pair of interfaces, in
//! which the kernel also receives at the other end, with a tap on one of them and without.
//!
//! Needs root, for a network namespace of its own.
#![allow(missing_docs, reason = "a bench")]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::net::UdpSocket;

use ingest::packets::{BATCH, Options, PacketSocket, RECEIVE_BUFFER};
use netns::Namespace;

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod netns;
#[path = "../../benches/common/ratio.rs"]
mod ratio;

/// What the namespace needs of the root package's support.
mod live {
    use std::process::Command;

    pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(output.status.success(), "{program} {}: is this root?", arguments.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Packets of a pass.
const PACKETS: usize = 50_000;

fn main() {
    let namespace = Namespace::new("taps");
    namespace.inside(|| {
        live::run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
        live::run("ip", &["addr", "add", "192.0.2.1/24", "dev", "left"]);
        live::run("ip", &["link", "set", "left", "up"]);
        live::run("ip", &["link", "set", "right", "up"]);
        let nobody = "02:00:00:00:00:99";
        live::run("ip", &["neigh", "add", "192.0.2.2", "lladdr", nobody, "dev", "left", "nud", "permanent"]);
    });
    namespace.hide();
    namespace.inside(measure);
}

fn measure() {
    let sender = UdpSocket::bind("192.0.2.1:5000").unwrap();
    sender.connect("192.0.2.2:6000").unwrap();
    println!("| tap | one packet in | with it | without | ratio | sampled of a pass |");
    println!("|---|---|---|---|---|---|");
    for (name, sampling_rate) in
        [("left", u32::MAX), ("left", 400), ("left", 1), ("right", u32::MAX), ("right", 400), ("right", 1)]
    {
        let text = live::run("ip", &["-o", "link", "show", "dev", name]);
        let ifindex = text.split(':').next().unwrap().trim().parse().unwrap();
        let options = Options {
            ifindex,
            sampling_rate,
            header_bytes: 128,
            promiscuous: false,
            receive_buffer: RECEIVE_BUFFER,
        };
        let mut sampled = 0;
        let send = |tap: Option<&mut PacketSocket>| {
            let (mut tap, mut taken) = (tap, 0_u64);
            for n in 0..PACKETS {
                sender.send(&[0; 100]).unwrap();
                // Where there are more than the socket holds they are taken as they come, else at the end.
                if sampling_rate == 1
                    && n % 16 == 0
                    && let Some(tap) = &mut tap
                {
                    tap.receive(|_| taken += 1).unwrap();
                }
            }
            while let Some(tap) = &mut tap
                && tap.receive(|_| taken += 1).unwrap() == BATCH
            {}
            taken
        };
        let with = || {
            let mut tap = PacketSocket::open(&options).unwrap();
            sampled = send(Some(&mut tap));
            sampled
        };
        let measured = ratio::compare(PACKETS, with, || send(None));
        println!(
            "| {} | {sampling_rate} | {:.0} ns | {:.0} ns | {:.3} | {sampled} |",
            if name == "left" { "sending" } else { "receiving" },
            measured.ours,
            measured.other,
            measured.cost()
        );
    }
}
