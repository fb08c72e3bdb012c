//! Debian's `sfcapd` (nfdump) as a collector beside ours, and what it shares with other peers.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use super::ledger::Conversation;
use super::live::{Daemon, command, run};

/// Frames and bytes by conversation, as a peer adds them up.
pub(crate) type Sums = HashMap<Conversation, (u64, u64)>;

/// A UDP port of loopback that nobody uses now.
pub(crate) fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Of the UDP socket in this thread's network namespace that is bound to this port: the bytes that wait in it, and the datagrams it had no room for.
pub(crate) fn socket_of(port: u16) -> Option<(u64, u64)> {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let local = format!(":{port:04X}");
    sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|word| {
        let (_, waiting) = word.get(4)?.split_once(':')?;
        let dropped = word.last()?.parse().ok()?;
        word[1].ends_with(&local).then_some((u64::from_str_radix(waiting, 16).ok()?, dropped))
    })
}

/// Waits until the daemon has read all that was sent to its port, and nothing was lost on the way.
pub(crate) fn drain(daemon: &mut Daemon, port: u16) {
    let dropped = daemon.wait_for("it has read all that was sent", || match socket_of(port) {
        Some((0, dropped)) => Some(dropped),
        _ => None,
    });
    assert_eq!(dropped, 0, "the socket of the peer had no room for some of it");
}

/// nfdump's collector of sFlow, which writes a file.
pub(crate) struct Sfcapd {
    daemon: Daemon,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Sfcapd {
    /// Starts it in the network namespace of this thread, with its files in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let flows = folder.join("sfcapd");
        std::fs::create_dir(&flows).unwrap();
        let port = free_port();
        let mut command = command("sfcapd");
        // A buffer for all of it, and one file.
        let buffer = (8 << 20).to_string();
        command
            .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-B", &buffer, "-t", "86400", "-w"])
            .arg(&flows);
        let mut daemon = Daemon::start(folder, "sfcapd", command);
        daemon.wait_for("its port", || socket_of(port));
        Self { daemon, folder: flows, port }
    }

    /// Ends it; its sums, and how many datagrams it says are missing or bad.
    pub(crate) fn end(mut self) -> (Sums, u64) {
        drain(&mut self.daemon, self.port);
        self.daemon.end("TERM");
        let files: Vec<_> =
            std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("one file is expected: {files:?}; {}", self.daemon.log()) };
        let file = file.to_str().unwrap();
        let by = "proto,srcip,dstip,srcport,dstport";
        let text = run("nfdump", &["-r", file, "-q", "-N", "-A", by, "-o", "csv"]);
        let mut sums = Sums::new();
        // Where there was none it says that in words.
        for line in text.lines().filter(|line| *line != "No matching flows") {
            let word: Vec<&str> = line.split(',').map(str::trim).collect();
            let protocol = protocol(word[7]);
            let ports = (port(protocol, word[5]), port(protocol, word[6]));
            let conversation =
                (word[3].parse().unwrap(), word[4].parse().unwrap(), protocol, ports.0, ports.1);
            add(&mut sums, conversation, word[11].parse().unwrap(), word[12].parse().unwrap());
        }
        // "Ident: 'none' Flows: 13, Packets: 13, Bytes: 1454, Sequence Errors: 0, Bad Packets: 0"
        let log = self.daemon.log();
        let count = |name: &str| {
            let value = log.split(name).nth(1).and_then(|rest| rest.split([',', '\n']).next());
            value
                .and_then(|value| value.trim().parse::<u64>().ok())
                .unwrap_or_else(|| panic!("no {name}: {log}"))
        };
        (sums, count("Sequence Errors:") + count("Bad Packets:"))
    }
}

/// An IP protocol, by its number or by what peers call it.
pub(crate) fn protocol(word: &str) -> u8 {
    match word.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "icmp6" | "ipv6-icmp" => 58,
        number => number.parse().unwrap_or_else(|_| panic!("protocol {number}")),
    }
}

/// A port; of a protocol without ports, peers put other things there.
pub(crate) fn port(protocol: u8, word: &str) -> u16 {
    if matches!(protocol, 6 | 17) { word.parse().unwrap() } else { 0 }
}

pub(crate) fn add(sums: &mut Sums, conversation: Conversation, frames: u64, bytes: u64) {
    let sum = sums.entry(conversation).or_default();
    sum.0 += frames;
    sum.1 += bytes;
}
