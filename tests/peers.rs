//! Not only our decoder reads what we emit: nfdump's `sfcapd` and pmacct's `sfacctd` are sent the same datagrams,
//! and what they add up is compared with our own sum.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decode::{Address, Datagram};
use serde_json::Value;

use crate::support::finderscope;
use crate::support::ledger::{Conversation, Ledger, Volume};
use crate::support::live::{Daemon, Watch, command, enlarge, require, run, temporary_folder, turn};

/// Frames and bytes by conversation, as a peer adds them up.
type Sums = HashMap<Conversation, (u64, u64)>;

/// A UDP port of loopback that nobody uses now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Of the UDP socket that is bound to this port: the bytes that wait in it, and the datagrams it had no room for.
fn socket_of(port: u16) -> Option<(u64, u64)> {
    let sockets = std::fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{port:04X}");
    sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|word| {
        let (_, waiting) = word.get(4)?.split_once(':')?;
        let dropped = word.last()?.parse().ok()?;
        word[1].ends_with(&local).then_some((u64::from_str_radix(waiting, 16).ok()?, dropped))
    })
}

/// Waits until the daemon has read all that was sent to its port, and nothing was lost on the way.
fn drain(daemon: &mut Daemon, port: u16) {
    let dropped = daemon.wait_for("it has read all that was sent", || match socket_of(port) {
        Some((0, dropped)) => Some(dropped),
        _ => None,
    });
    assert_eq!(dropped, 0, "the socket of the peer had no room for some of it");
}

/// nfdump's collector of sFlow, which writes a file.
struct Sfcapd {
    daemon: Daemon,
    folder: PathBuf,
    port: u16,
}

impl Sfcapd {
    fn start(folder: &Path) -> Self {
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
    fn end(mut self) -> (Sums, u64) {
        drain(&mut self.daemon, self.port);
        self.daemon.end("TERM");
        let files: Vec<_> =
            std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("one file is expected: {files:?}; {}", self.daemon.log()) };
        let file = file.to_str().unwrap();
        let by = "proto,srcip,dstip,srcport,dstport";
        let text = run("nfdump", &["-r", file, "-q", "-N", "-A", by, "-o", "csv"]);
        let mut sums = Sums::new();
        for line in text.lines() {
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

/// pmacct's collector of sFlow, which prints when it ends.
struct Sfacctd {
    daemon: Daemon,
    printed: PathBuf,
    port: u16,
}

impl Sfacctd {
    /// Starts it under a name. `scaled`: a sample counts as what it stands for by pmacct's own reckoning, from sample
    /// pools; otherwise as one frame.
    fn start(folder: &Path, name: &str, scaled: bool) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        let (port, printed, file) = (free_port(), folder.join("printed"), folder.join("conf"));
        let configuration = format!(
            "daemonize: false\nsfacctd_ip: 127.0.0.1\nsfacctd_port: {port}\nsfacctd_pipe_size: 8388608\n\
             sfacctd_renormalize: {scaled}\nplugins: print\naggregate: src_host,dst_host,proto,src_port,dst_port\n\
             sfacctd_disable_checks: false\nprint_output: json\nprint_output_file: {}\nprint_refresh_time: 86400\n\
             plugin_buffer_size: 10240\nplugin_pipe_size: 33554432\n",
            printed.display()
        );
        std::fs::write(&file, configuration).unwrap();
        let mut command = command("sfacctd");
        command.arg("-f").arg(&file);
        let mut daemon = Daemon::start(&folder, "sfacctd", command);
        daemon.wait_for("its port", || socket_of(port));
        Self { daemon, printed, port }
    }

    /// Ends it; its sums, the datagrams it found in sequence, and those it did not.
    fn end(mut self) -> (Sums, u64, u64) {
        drain(&mut self.daemon, self.port);
        // It logs its statistics when it has woken twice; these datagrams it discards.
        self.daemon.signal("USR1");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2 {
            socket.send_to(b"none", (Ipv4Addr::LOCALHOST, self.port)).unwrap();
            drain(&mut self.daemon, self.port);
        }
        self.daemon.end("INT");
        let text = std::fs::read_to_string(&self.printed)
            .unwrap_or_else(|e| panic!("{}: {e}; {}", self.printed.display(), self.daemon.log()));
        let mut sums = Sums::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
            let protocol = protocol(&text("ip_proto"));
            let ports = (port(protocol, &text("port_src")), port(protocol, &text("port_dst")));
            let Ok(source) = text("ip_src").parse() else { continue };
            let conversation = (source, text("ip_dst").parse().unwrap(), protocol, ports.0, ports.1);
            add(&mut sums, conversation, row["packets"].as_u64().unwrap(), row["bytes"].as_u64().unwrap());
        }
        // "stats [127.0.0.1:6343] agent=10.0.0.1:0 ... seq_good=1 seq_jmp_fwd=0 seq_jmp_bck=0", one for each agent.
        let log = self.daemon.log();
        let total = |name: &str| -> u64 {
            log.split(name)
                .skip(1)
                .filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .sum()
        };
        (sums, total("seq_good="), total("seq_jmp_fwd=") + total("seq_jmp_bck="))
    }
}

/// An IP protocol, by its number or by what peers call it.
fn protocol(word: &str) -> u8 {
    match word.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "icmp6" | "ipv6-icmp" => 58,
        number => number.parse().unwrap_or_else(|_| panic!("protocol {number}")),
    }
}

/// A port; of a protocol without ports, peers put other things there.
fn port(protocol: u8, word: &str) -> u16 {
    if matches!(protocol, 6 | 17) { word.parse().unwrap() } else { 0 }
}

fn add(sums: &mut Sums, conversation: Conversation, frames: u64, bytes: u64) {
    let sum = sums.entry(conversation).or_default();
    sum.0 += frames;
    sum.1 += bytes;
}

/// Passes datagrams on to the peers, each agent's from an address of its own as in a real network, and adds them up.
struct Relay {
    to: Vec<SocketAddr>,
    agents: HashMap<Address, UdpSocket>,
    ledger: Ledger,
}

impl Relay {
    fn new(ports: &[u16]) -> Self {
        let to = ports.iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).collect();
        Self { to, agents: HashMap::new(), ledger: Ledger::default() }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.ledger.datagram(bytes);
        let agent = Datagram::parse(bytes).unwrap().header.agent;
        let next = u8::try_from(self.agents.len() + 1).expect("few agents");
        let socket = self
            .agents
            .entry(agent)
            .or_insert_with(|| UdpSocket::bind((Ipv4Addr::new(127, 77, 0, next), 0)).unwrap());
        for to in &self.to {
            socket.send_to(bytes, to).unwrap();
        }
    }
}

/// Sends ten seconds of a simulated fabric through the relay.
fn emit(relay: &mut Relay) {
    let inlet = UdpSocket::bind("127.0.0.1:0").unwrap();
    enlarge(&inlet);
    inlet.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut fabric = finderscope()
        .args(["simulate", "--duration", "10", "--seed", "7", "--polling", "2", "--rate", "600", "--to"])
        .arg(inlet.local_addr().unwrap().to_string())
        .process_group(0)
        .spawn()
        .unwrap();
    let _watch = Watch::over(&fabric);
    let mut buffer = vec![0; 1 << 16];
    let ended = loop {
        // Asked before the socket is, so that nothing is in it that was sent before the end.
        let ended = fabric.try_wait().unwrap();
        match (inlet.recv(&mut buffer), ended) {
            (Ok(length), _) => relay.pass(&buffer[..length]),
            (Err(_), Some(ended)) => break ended,
            (Err(_), None) => {}
        }
    };
    assert!(ended.success());
}

#[test]
fn sfcapd_and_sfacctd_read_what_we_emit() {
    require(&["sfcapd", "nfdump", "sfacctd"]);
    let _turn = turn();
    let folder = temporary_folder();
    let sfcapd = Sfcapd::start(folder.path());
    let plain = Sfacctd::start(folder.path(), "plain", false);
    let scaled = Sfacctd::start(folder.path(), "scaled", true);
    let mut relay = Relay::new(&[sfcapd.port, plain.port, scaled.port]);
    emit(&mut relay);
    let agents = relay.agents.len();
    let ledger = relay.ledger;
    assert!(ledger.total.samples > 10_000 && agents >= 4, "too little was emitted: {:?}", ledger.total);
    assert_eq!(ledger.out_of_sequence, 0);

    let of = |pick: fn(&Volume) -> (u64, u64)| -> Sums {
        ledger.conversations.iter().map(|(conversation, volume)| (*conversation, pick(volume))).collect()
    };
    let (sums, missing) = sfcapd.end();
    assert_eq!(missing, 0);
    same("sfcapd", &sums, &of(|volume| (volume.frames, volume.bytes)));
    let (sums, good, missing) = plain.end();
    assert_eq!((good, missing), (ledger.datagrams, 0));
    same("sfacctd", &sums, &of(|volume| (volume.samples, volume.sampled_bytes)));
    let (sums, good, missing) = scaled.end();
    assert_eq!((good, missing), (ledger.datagrams, 0));
    near(&sums, &ledger);
}

/// Compares sums exactly.
fn same(who: &str, said: &Sums, ours: &Sums) {
    for (conversation, sum) in ours {
        assert_eq!(said.get(conversation), Some(sum), "{who} disagrees about {conversation:?}");
    }
    let more: Vec<_> = said.keys().filter(|conversation| !ours.contains_key(conversation)).collect();
    assert!(more.is_empty(), "{who} has seen what was not sent: {more:?}");
    eprintln!("{who} agrees about all of {} conversations", ours.len());
}

/// Compares sums scaled by sample pools with those scaled by sampling rates, within the sampling error of the total.
fn near(said: &Sums, ledger: &Ledger) {
    let (frames, bytes) = said.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let total =
        ledger.conversations.values().fold((0, 0), |sum, one| (sum.0 + one.frames, sum.1 + one.bytes));
    let error = 4.0 / (ledger.total.samples as f64).sqrt();
    let off = |said: u64, ours: u64| said as f64 / ours as f64 - 1.0;
    let (frames, bytes) = (off(frames, total.0), off(bytes, total.1));
    eprintln!("sfacctd, by pools: frames {:+.3} %, bytes {:+.3} %", frames * 100.0, bytes * 100.0);
    assert!(frames.abs() < error && bytes.abs() < error, "{frames} {bytes}, allowed {error}");
}
