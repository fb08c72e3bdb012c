//! The real program on hosts whose addresses change: network namespaces of the tests' own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use decode::Datagram;

use netns::Namespace;

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod netns;

/// What the namespaces need of the root package's support.
#[path = "../../tests/support/alone.rs"]
mod live;

const PATIENCE: Duration = Duration::from_secs(20);

fn ip(line: &str) {
    live::run("ip", &line.split_whitespace().collect::<Vec<_>>());
}

/// A host with a card `e0`, and a namespace behind it with a collector at 10.9.0.2.
struct Lab {
    host: Namespace,
    _far: Namespace,
    collector: UdpSocket,
}

impl Lab {
    fn new(role: &str) -> Self {
        let (host, far) = (Namespace::new(&format!("{role}-h")), Namespace::new(&format!("{role}-f")));
        let inside = far.name();
        host.inside(|| {
            ip(&format!("link add e0 type veth peer name e1 netns {inside}"));
            ip("link set e0 up");
            ip(&format!("-n {inside} addr add 10.9.0.2/24 dev e1"));
            ip(&format!("-n {inside} link set e1 up"));
            // The second address of a network is to outlive the first.
            std::fs::write("/proc/sys/net/ipv4/conf/e0/promote_secondaries", "1").unwrap();
        });
        host.hide();
        far.hide();
        let collector = far.inside(|| UdpSocket::bind("10.9.0.2:6343").unwrap());
        collector.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { host, _far: far, collector }
    }

    fn start(&self, arguments: &[&str]) -> Running {
        self.host.inside(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_finderscope-agent"));
            command.args(["--polling", "1"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
            Running(command.spawn().unwrap())
        })
    }
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent and the number of the next datagram.
fn next(collector: &UdpSocket) -> (IpAddr, u32) {
    let mut buffer = [0; 2000];
    let length = collector.recv(&mut buffer).unwrap();
    let header = Datagram::parse(&buffer[..length]).unwrap().header;
    (header.agent.to_string().parse().unwrap(), header.sequence)
}

/// The number of the first datagram of this agent; all before it are of `before`, and none is missing from `first` on.
fn until_agent_is(collector: &UdpSocket, address: &str, before: &str, first: u32) -> u32 {
    let (address, before): (IpAddr, IpAddr) = (address.parse().unwrap(), before.parse().unwrap());
    let deadline = Instant::now() + PATIENCE;
    for expected in first.. {
        let (agent, sequence) = next(collector);
        assert_eq!(sequence, expected, "none is lost");
        if agent == address {
            return sequence;
        }
        assert_eq!(agent, before);
        assert!(Instant::now() < deadline, "the agent is {agent} still");
    }
    unreachable!("numbers end after the deadline")
}

/// As when a host starts: there is nothing but the loopback, and the card's address comes later.
#[test]
fn an_agent_that_starts_before_its_address_takes_it_when_it_comes() {
    let lab = Lab::new("early");
    let near = lab.host.inside(|| UdpSocket::bind("127.0.0.1:6343").unwrap());
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    let _agent = lab.start(&["--collector", "127.0.0.1"]);
    let (agent, sequence) = next(&near);
    assert_eq!((agent, sequence), (IpAddr::from([127, 0, 0, 1]), 1));
    lab.host.inside(|| ip("addr add 10.9.0.1/24 dev e0"));
    until_agent_is(&near, "10.9.0.1", "127.0.0.1", 2);
}

/// A connected socket keeps the source address that it had, which the host has no longer.
#[test]
fn a_host_that_gets_another_address_loses_no_datagram() {
    let lab = Lab::new("moved");
    lab.host.inside(|| ip("addr add 10.9.0.1/24 dev e0"));
    let _agent = lab.start(&["--collector", "10.9.0.2"]);
    assert_eq!(next(&lab.collector), (IpAddr::from([10, 9, 0, 1]), 1));
    lab.host.inside(|| {
        ip("addr add 10.9.0.7/24 dev e0");
        ip("addr del 10.9.0.1/24 dev e0");
    });
    let sequence = until_agent_is(&lab.collector, "10.9.0.7", "10.9.0.1", 2);
    assert_eq!(next(&lab.collector), (IpAddr::from([10, 9, 0, 7]), sequence + 1));
}
