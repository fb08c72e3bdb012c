//! A collector's machine and a sender's: two network namespaces and a cable of several queues between them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::live::{require, require_root, run};
use crate::support::netns::Namespace;
use crate::support::{Collector, PATIENCE, finderscope};

/// The collector's interface, and its address.
pub(crate) const NEAR: &str = "near";
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The sender's interface.
pub(crate) const FAR: &str = "far";

/// The options of a collector that listens on all addresses.
pub(crate) const SFLOW: [&str; 2] = ["--sflow", "0.0.0.0:6343"];

/// Where sFlow goes.
pub(crate) fn to() -> SocketAddr {
    SocketAddr::from((ADDRESS, 6343))
}

/// Both machines.
pub(crate) struct Lab {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Lab {
    /// With as many queues each way.
    pub(crate) fn new(role: &str, queues: u32) -> Self {
        require_root("xdp");
        require(&["ip", "ethtool", "setpriv"]);
        let (near, far) = (Namespace::new(&format!("{role}-near")), Namespace::new(&format!("{role}-far")));
        let words = |text: &str| drop(run("ip", &text.split_whitespace().collect::<Vec<_>>()));
        near.inside(|| {
            words(&format!(
                "link add name {NEAR} address 02:00:00:00:00:01 numtxqueues {queues} numrxqueues {queues} type veth \
                 peer name {FAR} address 02:00:00:00:00:02 numtxqueues {queues} numrxqueues {queues} netns {}",
                far.name()
            ));
            words(&format!("addr add {ADDRESS}/24 dev {NEAR}"));
            words(&format!("link set {NEAR} up"));
        });
        far.inside(|| {
            // The second one is that of nobody who is listed.
            for address in ["192.0.2.2/24", "192.0.2.3/24"] {
                words(&format!("addr add {address} dev {FAR}"));
            }
            words(&format!("link set {FAR} up"));
            words(&format!("neigh replace {ADDRESS} lladdr 02:00:00:00:00:01 dev {FAR} nud permanent"));
        });
        near.hide();
        far.hide();
        Self { near, far }
    }

    /// A collector that reads the interface, with these options beside.
    pub(crate) fn collector(more: &[&str]) -> Collector {
        let mut options = vec!["--interface", NEAR];
        options.extend(more);
        if !more.contains(&"--sflow") {
            options.extend(SFLOW);
        }
        Collector::start(&options)
    }

    /// Runs the test on the collector's machine.
    pub(crate) fn on_near(&self, body: impl FnOnce() + Send) {
        self.near.inside(body);
    }

    /// Sockets of the sender, each from a port of its own, so that the kernel spreads them over the queues.
    pub(crate) fn senders(&self, from: [u8; 4], count: usize) -> Vec<UdpSocket> {
        self.far.inside(|| (0..count).map(|_| UdpSocket::bind((IpAddr::from(from), 0)).unwrap()).collect())
    }

    /// Datagrams that the sender's interface could not get rid of: the other end had no room for them.
    pub(crate) fn lost_on_the_cable(&self) -> u64 {
        self.far.inside(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let line = text.lines().find_map(|line| line.trim().strip_prefix("far:")).unwrap();
            // Bytes, packets, errors, drops: eight numbers of what came, then of what went.
            line.split_whitespace().nth(11).unwrap().parse().unwrap()
        })
    }
}

/// Sends datagrams by these sockets in turn, of each agent one at a time: what comes to several queues would else come in
/// any order.
pub(crate) fn send(collector: &Collector, sockets: &[UdpSocket], to: SocketAddr, datagrams: &[Vec<u8>]) {
    let mut sent = taken(collector);
    let mut on_their_way = HashSet::new();
    for (n, datagram) in datagrams.iter().enumerate() {
        // Agents of the fabric have IPv4 addresses.
        if !on_their_way.insert(datagram[8..12].to_vec()) {
            wait_for_taken(collector, sent);
            on_their_way = HashSet::from([datagram[8..12].to_vec()]);
        }
        sockets[n % sockets.len()].send_to(datagram, to).unwrap();
        sent += 1;
    }
    wait_for_taken(collector, sent);
}

/// Datagrams whose header was read.
pub(crate) fn taken(collector: &Collector) -> u64 {
    collector.json("/analyzer/json")["sFlowDatagramsReceived"].as_u64().unwrap()
}

pub(crate) fn wait_for_taken(collector: &Collector, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = taken(collector);
        if found >= count {
            assert_eq!(found, count);
            return;
        }
        let ingest = ingest(collector);
        assert!(Instant::now() < deadline, "{found} datagrams were taken of {count}: {ingest:#}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How datagrams come in, as `/analyzer/json` says.
pub(crate) fn ingest(collector: &Collector) -> Json {
    collector.json("/analyzer/json")["ingest"].clone()
}

/// Frames of one verdict.
pub(crate) fn frames(collector: &Collector, verdict: &str) -> u64 {
    let ingest = ingest(collector);
    ingest["frames"][verdict].as_u64().unwrap_or_else(|| panic!("{verdict}: {ingest:#}"))
}

/// Whether an XDP program is on the collector's interface.
pub(crate) fn attached() -> bool {
    run("ip", &["-details", "link", "show", "dev", NEAR]).contains("prog/xdp")
}

/// `finderscope` with these arguments, without any capability but these: what `setpriv` takes as its bounding set.
pub(crate) fn with_only(capabilities: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--bounding-set={capabilities}"), "--inh-caps=-all", "--ambient-caps=-all"]);
    command.arg(finderscope().get_program()).args(arguments);
    command
}

/// What `finderscope check` says: its exit code, and its findings.
pub(crate) fn check(mut command: Command) -> (Option<i32>, Json) {
    let output = command.args(["--format", "json"]).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let json = serde_json::from_slice(&stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&stderr)));
    (status.code(), json)
}
