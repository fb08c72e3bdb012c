//! Engines that answer badly: the agent lives, says so in few lines, and goes on with the rest.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::stand_in::{Answering, CLOSE, StandIn, Then};
use crate::support::agent::{Agent, Receiver};
use crate::support::docker_lab::{END, cgroups};
use crate::support::live::{require_root, wait_until};
use crate::support::netns::own_name;

/// Processes that stand for those of containers, in cgroups that are named as an engine would. All of it ends with the
/// test, and by `end.sh` when that is killed.
struct Processes {
    children: Vec<Child>,
    end: Child,
}

impl Processes {
    fn start(number: usize) -> Self {
        let name = own_name("stand-in");
        let cgroup = cgroups().join(&name);
        let mut end = Command::new("sh");
        end.args(["-c", END, "lab", &name, "/nonexistent"]).process_group(0);
        let end = end.stdin(Stdio::piped()).spawn().unwrap();
        let start = |at: usize| {
            let own = cgroup.join(id(at));
            std::fs::create_dir_all(&own).unwrap();
            let script = "echo $$ >\"$0/cgroup.procs\" && exec sleep 1000";
            let child = Command::new("sh").args(["-c", script]).arg(&own).spawn().unwrap();
            let moved =
                || std::fs::read_to_string(own.join("cgroup.procs")).unwrap() == format!("{}\n", child.id());
            wait_until("a process in its cgroup", || moved().then_some(()));
            child
        };
        Self { children: (0..number).map(start).collect(), end }
    }

    fn end(&mut self, at: usize) {
        self.children[at].kill().unwrap();
        self.children[at].wait().unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Waiting closes its stdin first.
        let _ = self.end.wait();
    }
}

/// The id of the container with this number.
fn id(number: usize) -> String {
    format!("{:064x}", number).chars().rev().collect()
}

const VERSION: &str = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}"#;

fn inspected(number: usize, name: &str, pid: u32) -> String {
    let name = serde_json::to_string(&format!("/{name}")).unwrap();
    format!(
        r#"{{"Id":"{}","Name":{name},"Created":"2016-09-24T00:57:10Z","State":{{"Status":"running","Running":true,
        "Paused":false,"Pid":{pid},"StartedAt":"2016-09-24T00:57:10.5Z"}},"Image":"sha256:0","Config":{{"Hostname":"h",
        "Image":"x","Labels":{{}}}},"HostConfig":{{"NetworkMode":"bridge","NanoCpus":0,"CpuQuota":0,"CpuPeriod":0,
        "CpusetCpus":"","Memory":0,"CgroupParent":""}},"NetworkSettings":{{"Networks":{{}}}}}}"#,
        id(number)
    )
    .replace('\n', " ")
}

fn event(number: usize, action: &str, name: &str) -> String {
    let name = serde_json::to_string(name).unwrap();
    let id = id(number);
    format!(
        r#"{{"status":"{action}","id":"{id}","Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"name":{name}}}}},"time":1474678630,"timeNano":1474678630{:09}}}"#,
        500_000_000 + number
    )
}

/// Four thousand bytes, with lines and what turns a terminal's text.
fn long_name() -> String {
    "evil\n\u{1b}[2J\u{202e}".repeat(400)[..].chars().take(3_500).collect()
}

#[test]
fn whatever_the_engine_answers_the_agent_goes_on_with_the_rest() {
    require_root("agent");
    let mut processes = Processes::start(4);
    let pids: Vec<u32> = processes.children.iter().map(Child::id).collect();
    let half = event(3, "start", "late");
    let script = move |path: &str, before: usize, to: &mut Answering| -> Then {
        if path.ends_with("/version") {
            return match before {
                0 => to.answer(500, r#"{"message":"not\nnow"}"#),
                1 => to.answer(200, "<html>nonsense</html>"),
                2 => {
                    to.raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Version\":\"20")?;
                    CLOSE
                }
                3 => {
                    to.raw("\u{7f}\u{0}\u{1} nonsense\r\n\r\n")?;
                    CLOSE
                }
                _ => to.answer(200, VERSION),
            };
        }
        if path.contains("/events") {
            to.begin_chunks()?;
            to.chunk(&format!("{}\n", event(0, "start", "good")))?;
            for _ in 0..2_000 {
                to.chunk("{\"half\": \n")?;
            }
            to.chunk(&format!("{}\n", event(1, "start", &long_name())))?;
            to.chunk(&format!("{}\n{}\n", event(2, "start", "refused"), event(9, "start", "hanging")))?;
            // One event in two pieces, and then the stream breaks in the middle of another one, the first time.
            let (first, second) = half.split_at(half.len() / 2);
            to.chunk(first)?;
            to.chunk(&format!("{second}\n"))?;
            if path.contains("since") {
                return to.hang();
            }
            to.chunk(first)?;
            return CLOSE;
        }
        let number = (0..10).find(|number| path.contains(&id(*number)));
        match number {
            Some(0) => to.answer(200, &inspected(0, "good", pids[0])),
            Some(1) => to.answer(200, &inspected(1, &long_name(), pids[1])),
            Some(2) if before < 3 => to.answer(500, "{\"message\":\"try again\"}"),
            Some(2) => to.answer(200, &inspected(2, "refused", pids[2])),
            Some(3) => to.answer(200, &inspected(3, "late", pids[3])),
            Some(_) => to.hang(),
            // No list has what began after it was asked for.
            None => to.answer(200, "[]"),
        }
    };
    let (engine, receiver, began) = (StandIn::start(script), Receiver::start(), Instant::now());
    let endpoint = engine.endpoint();
    let mut agent = Agent::start(&["--collector", &receiver.to(), "--docker", &endpoint, "--polling", "1"]);
    for number in 0..4 {
        receiver.wait_for_state(&id(number), 1);
    }
    let name = receiver.of(&id(1))[0].name.clone();
    assert!(long_name().starts_with(&name) && name.len() > 30, "{name:?}");
    // The end of a process needs no engine.
    processes.end(0);
    receiver.wait_for_state(&id(0), 5);
    assert!(receiver.counters().iter().any(|sample| sample.source.class == 2), "the host's counters");
    assert!(agent.counter("finderscope_agent_events_bad_total") >= 2_000);
    assert!(agent.counter("finderscope_agent_reconnects_total") >= 5);
    agent.wait_for_log("not\\nnow");
    let log = agent.log();
    assert!(log.lines().all(|line| line.len() < 2_000), "{log}");
    // Of the same there is one line, and in ten seconds one more that says how often it came.
    let mut said = BTreeMap::<&str, u64>::new();
    for line in log.lines() {
        *said.entry(line.split_once(' ').map_or(line, |(_, text)| text)).or_default() += 1;
    }
    let most = 1 + began.elapsed().as_secs() / 10;
    assert!(said.values().all(|times| *times <= most), "more than {most} times the same: {log}");
    assert!(said.len() < 40, "{} lines: {log}", said.len());
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'), "{log}");
    assert!(engine.asked().iter().any(|path| path.starts_with("/v1.41/")), "{:?}", engine.asked());
    agent.end();
}

#[test]
fn an_engine_that_hangs_costs_nothing_but_its_containers() {
    let engine = StandIn::start(|_, _, to| to.hang());
    let receiver = Receiver::start();
    let endpoint = engine.endpoint();
    let mut agent = Agent::start(&["--collector", &receiver.to(), "--docker", &endpoint, "--polling", "1"]);
    let lines = agent.wait_for_log("told when the engine is back");
    assert!(lines[0].contains(&endpoint), "{lines:?}");
    let host = receiver.counters().iter().filter(|sample| sample.source.class == 2).count();
    assert!(host >= 2, "the host is polled while the engine hangs: {host}");
    assert_eq!(receiver.containers().len(), 0);
    assert_eq!(agent.counter("finderscope_agent_engine_connected"), 0);
    agent.end();
}
