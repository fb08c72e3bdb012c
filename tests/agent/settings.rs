//! The agent's configuration, its reload and its end, by the real program.

use std::net::UdpSocket;
use std::process::Stdio;

use super::{endpoint_of, shared};
use crate::support::agent::{Agent, Flow, Receiver, finish, program};
use crate::support::live::{command, require, require_root, temporary_folder, turn, wait_until};
use crate::support::netns::Namespace;

/// The article's, as it stands there.
const ARTICLE: &str = "sflow {\n  sampling = 400\n  polling = 10\n  collector { ip = 10.0.0.162 } \n  docker { }\n  \
                       pcap { dev = docker0 }\n  pcap { dev = docker_gwbridge }\n}\n";

#[test]
fn the_articles_file_is_right_and_an_unknown_module_is_told_by_its_line() {
    let folder = temporary_folder();
    let file = folder.path().join("hsflowd.conf");
    let path = file.to_str().unwrap();
    std::fs::write(&file, ARTICLE).unwrap();
    let check = |more: &[&str]| {
        let output = finish(&[&["--config", path, "--check-config"], more].concat());
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    };
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&file, ARTICLE.replace("  docker { }\n", "  docker { }\n  nvml { }\n")).unwrap();
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with(&format!("{path}:6:3: ")) && said.contains("\"nvml\""), "{said}");
    let (code, said) = check(&["--ignore-unknown-modules"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nvml"), "{said}");
}

#[test]
fn a_dry_run_prints_what_it_would_send_and_sends_nothing() {
    let _turn = turn();
    let (lab, receiver, folder) = (shared(), Receiver::start(), temporary_folder());
    let printed = folder.path().join("printed");
    let (endpoint, collector) = (endpoint_of(lab), receiver.to());
    let mut agent = program_to(&printed);
    agent.args(["--dry-run", "--docker", &endpoint, "--collector", &collector, "--agent", "192.0.2.1"]);
    let mut agent = Ended(agent.spawn().unwrap());
    let text = || std::fs::read_to_string(&printed).unwrap();
    wait_until("the host's counters", || text().contains(" host_cpu ").then_some(()));
    // From now on it follows the engine, or finds the container in its list.
    let id = lab.run(&["--name", "printed"], &["sleep", "1000"]);
    wait_until("the container's name", || text().contains("hostname=\"printed\"").then_some(()));
    lab.remove(&[&id]);
    wait_until("the container's end", || text().contains("vcpu_state=5").then_some(()));
    let text = text();
    assert!(text.starts_with("datagram agent=192.0.2.1 sub_agent="), "{text}");
    let uuid = &id[..32];
    assert!(text.contains(&format!("UUID={uuid}")), "{text}");
    assert_eq!(receiver.datagrams(), 0);
    agent.0.kill().unwrap();
}

#[test]
fn the_hosts_counters_come_again_after_a_second_whatever_the_interval() {
    let folder = temporary_folder();
    let printed = folder.path().join("printed");
    let mut agent = program_to(&printed);
    agent.args(["--dry-run", "--polling", "3600", "--collector", "192.0.2.1"]);
    let mut agent = Ended(agent.spawn().unwrap());
    let uptimes = wait_until("two samples of the host", || {
        let text = std::fs::read_to_string(&printed).unwrap();
        let datagrams = text.split("datagram ").filter(|datagram| datagram.contains(" host_cpu "));
        let uptime = |datagram: &str| {
            let (_, after) = datagram.split_once(" uptime_ms=")?;
            after.split(' ').next()?.parse::<u64>().ok()
        };
        let uptimes: Vec<u64> = datagrams.filter_map(uptime).collect();
        (uptimes.len() > 1).then_some(uptimes)
    });
    assert!(uptimes[1] - uptimes[0] >= 900, "{uptimes:?}");
    agent.0.kill().unwrap();
}

/// The agent with its output in a file.
fn program_to(file: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(program());
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(std::fs::File::create(file).unwrap());
    command
}

/// Ends a process with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_starts_where_its_session_was_begun_outside_of_its_pid_namespace() {
    require(&["unshare"]);
    let receiver = Receiver::start();
    let mut inside = command("unshare");
    inside.args(["--pid", "--fork", "--kill-child"]).arg(program());
    let collector = receiver.to();
    let mut agent = Agent::start_by(inside, &["--collector", &collector, "--polling", "1"]);
    agent.wait_for_counter_of("finderscope_agent_datagrams_total", |sent| sent > 0);
}

#[test]
fn a_reload_takes_all_or_nothing() {
    let folder = temporary_folder();
    let file = folder.path().join("agent.conf");
    let (first, second) = (Receiver::start(), Receiver::start());
    let write = |receiver: &Receiver, polling: u32, more: &str| {
        let port = receiver.address.port();
        let text = format!(
            "sflow {{\n polling = {polling}\n collector {{ ip = 127.0.0.1 UDPPort = {port} }}\n {more}\n}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(&first, 1, "");
    let mut agent = Agent::start(&["--config", file.to_str().unwrap()]);
    wait_until("samples", || (first.counters().len() >= 2).then_some(()));
    // What is wrong changes nothing.
    write(&second, 1, "sampling = 0");
    agent.signal("HUP");
    let lines = agent.wait_for_log("the configuration was not taken");
    assert!(lines[0].contains(":4:"), "{lines:?}");
    let before = first.counters().len();
    wait_until("further samples", || (first.counters().len() > before + 1).then_some(()));
    assert_eq!(second.datagrams(), 0);
    // What is right holds at once.
    write(&second, 60, "");
    agent.signal("HUP");
    agent.wait_for_log("the configuration was read anew");
    wait_until("samples at the new collector", || (!second.counters().is_empty()).then_some(()));
    let before = first.datagrams();
    agent.end();
    assert_eq!(first.datagrams(), before, "the old collector gets nothing any more");
}

#[test]
fn what_waits_is_sent_at_the_end() {
    require_root("agent");
    let namespace = Namespace::new("end");
    namespace.hide();
    namespace.inside(|| {
        let receiver = Receiver::start();
        // Counters come at the start and not again; each packet of loopback is seen twice.
        let sampled = ["--polling", "3600", "--pcap", "lo", "--pcap", "lo1", "--sampling", "1"];
        let mut agent = Agent::start(&[&["--collector", &receiver.to()], &sampled[..]].concat());
        wait_until("the first counters", || (receiver.counters().len() >= 2).then_some(()));
        assert_eq!(agent.lines("lo1 is not there").len(), 1, "{}", agent.log());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to, port) = (socket.local_addr().unwrap(), socket.local_addr().unwrap().port());
        socket.send_to(b"waits", to).unwrap();
        let mine = |flow: &Flow| flow.conversation.is_some_and(|conversation| conversation.4 == port);
        // Less than a second later.
        agent.wait_for_counter_of("finderscope_agent_packet_samples_total", |samples| samples >= 2);
        agent.end();
        wait_until("what waited", || {
            (receiver.flows().iter().filter(|flow| mine(flow)).count() == 2).then_some(())
        });
    });
}
