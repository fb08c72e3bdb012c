//! Datagrams that IP cuts into fragments reach the worker of their agent whole, like all others.
//!
//! Needs the privilege to make a network namespace, because loopback's MTU is beyond any datagram's size.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use crate::support::{Agent, answers, assert_same, define, options, send};
use engine::{Engine, EngineOptions};

/// A network namespace with a loopback interface of its own; dropping it removes it.
struct Namespace(String);

impl Namespace {
    /// Makes one and moves this thread, and those that it starts from now on, into it.
    fn enter() -> Self {
        let name = format!("fs-fragments-{}", std::process::id());
        let own = Self(name.clone());
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "mtu", "1500", "up"]);
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        rustix::thread::move_into_link_name_space(
            file.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .expect("the privilege to enter a network namespace (CAP_SYS_ADMIN)");
        own
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).status().expect("`ip` of iproute2 is installed");
    assert!(done.success(), "ip {arguments:?} failed: the privilege CAP_NET_ADMIN is needed");
}

/// A counter of the namespace's IP statistics.
fn statistic(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split_whitespace().position(|one| one == name).unwrap();
    values.split_whitespace().nth(place).unwrap().parse().unwrap()
}

#[test]
fn fragments_decode_the_same() {
    // A thread of its own: the namespace is that of a thread.
    std::thread::spawn(|| {
        let _namespace = Namespace::enter();
        // 24 to 39 packet samples make 4 to 9 kB.
        let mut agents: Vec<Agent> = (0..16).map(Agent::new).collect();
        for (agent, samples) in agents.iter_mut().zip(24..) {
            agent.samples = samples;
        }
        let datagrams: Vec<_> =
            (0..5).flat_map(|_| agents.iter_mut().map(Agent::datagram).collect::<Vec<_>>()).collect();
        assert!(datagrams.iter().all(|datagram| datagram.len() > 4000 && datagram.len() < 9000));
        let replay = |options: &EngineOptions| {
            let engine = Engine::start(options).unwrap();
            define(&engine.handle());
            let status = send(engine.addresses()[0], &engine.handle(), &datagrams, 0);
            assert_eq!(status.counters.datagrams, 80);
            assert_eq!(status.hand_over.handed_over, 0);
            let answers = answers(&engine);
            engine.shutdown();
            answers
        };
        let one = replay(&options(1));
        let before = statistic("ReasmOKs");
        let four = replay(&options(4));
        assert_eq!(statistic("ReasmOKs") - before, 80, "every datagram came in fragments");
        assert_same(&four, &one, "in fragments");
        // IPv6 has its own way of cutting, and of finding the socket.
        let six = EngineOptions { sflow: vec!["[::1]:0".parse().unwrap()], ..options(4) };
        assert_same(&replay(&six).replace("::1", "127.0.0.1"), &one.replace("::1", "127.0.0.1"), "over IPv6");
    })
    .join()
    .unwrap();
}
