//! The agent without root: a user with access to the engine's socket and one capability. And one that sees no process but
//! its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{endpoint_of, shared};
use crate::support::agent::{self, Agent, Receiver};
use crate::support::live::{command, require, temporary_folder, turn};

/// Lets everybody pass through a folder, until it is dropped.
struct Passable(PathBuf, Permissions);

impl Passable {
    fn make(folder: &Path) -> Self {
        let before = fs::metadata(folder).unwrap().permissions();
        fs::set_permissions(folder, Permissions::from_mode(0o711)).unwrap();
        Self(folder.to_owned(), before)
    }
}

impl Drop for Passable {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, self.1.clone());
    }
}

#[test]
fn without_root_containers_are_followed_and_counted_all_the_same() {
    require(&["setpriv"]);
    let _turn = turn();
    let (lab, receiver, folder) = (shared(), Receiver::start(), temporary_folder());
    let _passable = [folder.path(), lab.socket().parent().unwrap()].map(Passable::make);
    // The checkout may be in a folder that only its owner may enter.
    let program = folder.path().join("finderscope-agent");
    fs::copy(agent::program(), &program).unwrap();
    let mut plain: Command = command("setpriv");
    // The engine's socket is the group's of whoever started it.
    plain.args(["--reuid", "65534", "--regid", "65534", "--groups", "0", "--no-new-privs"]);
    plain.args([
        "--bounding-set",
        "-all,+net_raw",
        "--inh-caps",
        "-all,+net_raw",
        "--ambient-caps",
        "-all,+net_raw",
    ]);
    plain.arg(&program);
    let (endpoint, collector) = (endpoint_of(lab), receiver.to());
    let mut agent =
        Agent::start_by(plain, &["--docker", &endpoint, "--collector", &collector, "--polling", "1"]);
    agent.wait_for_engine();
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    // Nothing is sampled: the capability that it was started with is given up.
    let nothing = "0000000000000000";
    assert_eq!((line("CapEff:"), line("CapPrm:"), line("CapAmb:")), (nothing, nothing, nothing));
    assert_eq!((line("Uid:"), line("NoNewPrivs:")), ("65534\t65534\t65534\t65534", "1"));
    // Where the machine is too busy to read all of it in time, something of a last sample is not known.
    let is_whole = |n: usize| {
        let id = lab.run(&["--name", &format!("plain{n}")], &["sh", "-c", "burn 0.5; sleep 0.2"]);
        let last = receiver.wait_for_state(&id, 5);
        let first = &receiver.of(&id)[0];
        lab.remove(&[&id]);
        let is_known = |name: &&str| last.numbers.get(*name).is_some_and(|value| *value < u32::MAX.into());
        if !["vcpu_cpu_mS", "vmem_memory", "vnio_bytes_in"].iter().all(is_known) {
            return false;
        }
        assert!(last.cpu_ms() > 20 && last.cpu_ms() < 60_000 && last.numbers["vmem_memory"] > 0, "{last:#?}");
        // By the engine's word: its namespace may not be entered.
        assert_eq!(first.macs.len(), 1, "{first:#?}");
        true
    };
    assert_eq!((0..10).filter(|n| is_whole(*n)).take(2).count(), 2, "two whole ones of ten");
    // When it is connected to another network the engine is asked again.
    lab.docker(&["network", "create", "further"]);
    let id = lab.run(&["--name", "connected"], &["sleep", "1000"]);
    receiver.wait_for(&id, "its adapter", |samples| (samples.last()?.macs.len() == 1).then_some(()));
    lab.docker(&["network", "connect", "further", &id]);
    receiver.wait_for(&id, "both adapters", |samples| (samples.last()?.macs.len() == 2).then_some(()));
    lab.remove(&[&id]);
    lab.docker(&["network", "rm", "further"]);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    // What it may not do is said once.
    assert_eq!(agent.lines("CAP_SYS_ADMIN").len(), 1, "{}", agent.log());
    agent.end();
}

/// As in a container without `--pid=host`, or elsewhere than its engine.
#[test]
fn where_no_process_is_to_be_seen_the_engines_word_is_told() {
    require(&["unshare"]);
    let _turn = turn();
    let (lab, receiver) = (shared(), Receiver::start());
    let mut hidden: Command = command("unshare");
    hidden.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(agent::program());
    let (endpoint, collector) = (endpoint_of(lab), receiver.to());
    let arguments = ["--docker", &endpoint, "--collector", &collector, "--polling", "1"];
    let mut agent = Agent::start_by(hidden, &arguments);
    agent.wait_for_engine();
    let ids = ["one", "two"].map(|name| lab.run(&["--name", name, "--cpus", "1"], &["sleep", "1000"]));
    for id in &ids {
        let told = receiver.wait_for(id, "three samples", |samples| Some(samples.get(2)?.clone()));
        // It runs, and what it uses is not known.
        assert_eq!((told.state(), told.cpu_ms()), (1, u64::from(u32::MAX)), "{told:#?}");
        assert_eq!((told.numbers["vcpu_cpuCount"], told.macs.len()), (1, 1), "{told:#?}");
        assert_eq!(told.formats, [2001, 2101, 2002, 2000]);
    }
    lab.remove(&[&ids[0], &ids[1]]);
    for id in &ids {
        receiver.wait_for_state(id, 5);
        let ends = receiver.of(id).iter().filter(|sample| sample.state() == 5).count();
        assert_eq!(ends, 1);
    }
    agent.wait_for_counter("finderscope_agent_containers", 0);
    assert_eq!(agent.lines("--pid=host").len(), 1, "{}", agent.log());
}
