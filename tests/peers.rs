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
use crate::support::ledger::{Ledger, Volume};
use crate::support::live::{Daemon, Watch, command, enlarge, require, temporary_folder, turn};
use crate::support::sfcapd::{Sfcapd, Sums, add, drain, free_port, port, protocol, socket_of};

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
