//! The life of a container as the agent tells it, however short.

use std::time::Duration;

use super::cgroup::{self, Cpu};
use super::{agent_of, endpoint_of, shared};
use crate::support::Collector;
use crate::support::agent::{self, Agent, Counters, Receiver};
use crate::support::docker_lab::{Lab, inside};

use crate::support::live::{turn, wait_until};

/// All ones.
const NOT_KNOWN: u64 = u32::MAX as u64;

/// Bytes in and out of `eth0` in the text of `/proc/net/dev`.
fn bytes_of(text: &str) -> (u64, u64) {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let line = line.unwrap_or_else(|| panic!("no eth0 in {text:?}"));
    let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (numbers[0], numbers[8])
}

/// What a sample says of bytes in and out, where it does.
fn traffic(sample: &Counters) -> Option<(u64, u64)> {
    let number = |name| sample.numbers.get(name).copied();
    Some((number("vnio_bytes_in")?, number("vnio_bytes_out")?))
}

#[test]
fn a_container_of_a_third_of_a_second_has_its_first_and_its_exact_last_sample() {
    let _turn = turn();
    let (lab, receiver) = (shared(), Receiver::start());
    let agent = agent_of(lab, &receiver, &["--polling", "10"]);
    moments(lab, &receiver, agent, &[2001, 2103, 2102, 2101, 2104, 2002, 2000]);
}

/// On hosts with both versions the one that the engine uses here has neither memory nor block devices: these are absent.
#[test]
fn where_there_is_version_2_alone_short_containers_are_exact_too() {
    let _turn = turn();
    let (lab, receiver) = (Lab::own_with_version_2(), Receiver::start());
    assert_eq!(lab.docker(&["info", "--format", "{{.CgroupVersion}}"]), "2");
    let mut program = lab.at_home();
    program.arg(agent::program());
    let (endpoint, collector) = (endpoint_of(&lab), receiver.to());
    let arguments = ["--docker", &endpoint, "--collector", &collector, "--polling", "10"];
    let mut agent = Agent::start_by(program, &arguments);
    agent.wait_for_engine();
    let controllers =
        std::fs::read_to_string(inside(agent.id(), "sys/fs/cgroup/cgroup.controllers")).unwrap();
    let has = |controller: &str| controllers.split_whitespace().any(|one| one == controller);
    let needed = [(2103, "io"), (2102, "memory")];
    let absent = |format: &u32| needed.iter().any(|(of, controller)| of == format && !has(controller));
    let formats = [2001, 2103, 2102, 2101, 2104, 2002, 2000];
    let formats: Vec<u32> = formats.into_iter().filter(|format| !absent(format)).collect();
    moments(&lab, &receiver, agent, &formats);
}

/// Containers of a moment, until of three the last processor time is known.
fn moments(lab: &Lab, receiver: &Receiver, mut agent: Agent, formats: &[u32]) {
    // It exchanges packets with the host, burns, and says what its interface has counted.
    let script = "ping -c 1 -q $(ip route | cut -d' ' -f3 | head -1) >/dev/null; burn 0.3; cat /proc/net/dev";
    let mut exact = 0;
    for n in 0.. {
        let name = format!("moment{n}");
        // The processor time of a cgroup's children stays in it when they are gone.
        let parent = format!("{}/{name}", lab.cgroup());
        let options = ["--name", &name, "--cgroup-parent", &format!("/{parent}")];
        let id = lab.run(&options, &["sh", "-c", script]);
        let last = receiver.wait_for_state(&id, 5);
        assert_eq!(lab.docker(&["wait", &id]), "0");
        let samples = receiver.of(&id);
        let states: Vec<u64> = samples.iter().map(Counters::state).collect();
        // On a busy machine it may live for a second, and then has its second sample; the first may have travelled longer.
        let is_long = last.at - samples[0].at > Duration::from_millis(800);
        assert!(states == [1, 5] || is_long && states == [1, 1, 5], "{samples:#?}");
        let first = &samples[0];
        assert_eq!((&first.name, first.source), (&name, last.source));
        assert!(n < 10, "{exact} of {n} were told at once and exactly");
        if first.cpu_ms() == NOT_KNOWN {
            // So busy is the machine that it was over before it could be opened.
            assert_eq!(states, [1, 5], "{samples:#?}");
            lab.remove(&[&id]);
            continue;
        }
        assert_eq!(first.formats, formats);
        assert_eq!((first.numbers["parent_dsClass"], first.numbers["parent_dsIndex"]), (2, 1));
        // It was told at once, which a busy machine may hinder.
        let is_prompt = last.at - first.at > Duration::from_millis(250);

        let cgroup = Cpu::open(&parent).ns().unwrap();
        let (cpu_ms, exact_ms) = (last.cpu_ms(), cgroup / 1_000_000);
        let text = lab.docker(&["logs", &id]);
        eprintln!("{name}: cpu {cpu_ms} ms, by the cgroup {:.3}; {:?}", cgroup as f64 / 1e6, traffic(&last));
        // Leaving the processor for good takes its last process some microseconds after its end is seen.
        // Where the machine is too busy to read it before the engine removes the cgroup, it is unknown, and never wrong.
        let is_exact = cpu_ms == exact_ms || cpu_ms + 1 == exact_ms;
        assert!(is_exact || cpu_ms == NOT_KNOWN, "{cpu_ms} ms, by the cgroup {cgroup} ns");
        assert!(first.cpu_ms() < cpu_ms && exact_ms > 20, "{samples:#?}");
        let bytes = bytes_of(&text);
        assert!(bytes.0 > 100 && bytes.1 > 100, "{text}");
        // As the cgroup, the interface may be gone before they are read.
        let told = traffic(&last);
        assert!(told.is_none_or(|told| told == bytes), "{told:?}: {text}");
        lab.remove(&[&id]);
        exact += u32::from(is_exact && is_prompt && told.is_some());
        if exact == 3 {
            break;
        }
    }
    agent.wait_for_counter("finderscope_agent_containers", 0);
    agent.end();
}

#[test]
fn the_final_sample_closes_the_last_interval_at_the_collector() {
    let _turn = turn();
    let (lab, receiver, collector) = (shared(), Receiver::start(), Collector::start(&[]));
    let agent = agent_of(lab, &receiver, &["--collector", &collector.sflow.to_string(), "--polling", "10"]);
    let name = |n: usize| format!("closing{n}");
    let close = |n: usize| {
        // It is idle until its second sample has been taken, and ends before it is polled again, most times.
        let burning = ["sh", "-c", "sleep 1.6; burn 1.2; cat /proc/net/dev"];
        let id = lab.run(&["--rm", "--name", &name(n)], &burning);
        let last = receiver.wait_for_state(&id, 5);
        let samples = receiver.of(&id);
        let before = &samples[samples.len() - 2];
        let seconds = (last.at - before.at).as_secs_f64();
        let path =
            format!("/dump/127.0.0.1/vir_cpu_utilization,vir_cpu_state/json?vir_host_name={}", name(n));
        let said = collector.wait_for(&path, |answer| {
            let of = |name| answer.as_array()?.iter().find(|one| one["metricName"] == name);
            let ended = of("vir_cpu_state")?["metricValue"] == "shutoff";
            ended.then(|| of("vir_cpu_utilization").and_then(|value| value["metricValue"].as_f64()))
        });
        if last.cpu_ms() == NOT_KNOWN || samples.len() < 3 {
            // The machine was too busy.
            return false;
        }
        let percent = (last.cpu_ms() - before.cpu_ms()) as f64 / seconds / 10.0;
        let said = said.unwrap_or_else(|| panic!("no utilization by REST; {samples:#?}"));
        eprintln!("the last {seconds:.3} s: {said:.2} % by REST, {percent:.2} % by the samples");
        // It burns for a part of this time; how far that is off says when both have taken the datagram.
        assert!(percent > 2.0 && (said / percent - 1.0).abs() < 0.25, "{samples:#?}");
        (said / percent - 1.0).abs() < 0.02
    };
    assert!((0..5).any(close), "no interval was closed within 2 %");
    agent.end();
}

/// States and names in their order, each change once.
fn story(samples: &[Counters]) -> Vec<(String, u64)> {
    let mut story: Vec<_> = samples.iter().map(|sample| (sample.name.clone(), sample.state())).collect();
    story.dedup();
    story
}

#[test]
fn pause_rename_and_restart_are_told_truly() {
    let _turn = turn();
    let (lab, receiver) = (shared(), Receiver::start());
    let mut agent = agent_of(lab, &receiver, &["--polling", "1"]);
    let burning = ["sh", "-c", "trap 'exit 3' TERM; while :; do :; done"];
    let id = lab.run(&["--name", "first", "--cpus", "0.5"], &burning);
    receiver.wait_for_state(&id, 1);
    lab.docker(&["pause", &id]);
    receiver.wait_for_state(&id, 3);
    // Paused, it uses nothing.
    let paused = receiver.wait_for(&id, "three samples while it is paused", |samples| {
        let paused: Vec<_> = samples.iter().filter(|sample| sample.state() == 3).cloned().collect();
        (paused.len() == 3).then_some(paused)
    });
    assert_eq!(paused[1].cpu_ms(), paused[2].cpu_ms());
    lab.docker(&["unpause", &id]);
    receiver.wait_for_state(&id, 1);
    lab.docker(&["rename", &id, "second"]);
    receiver.wait_for(&id, "its name", |samples| (samples.last()?.name == "second").then_some(()));
    let wanted = |rest: &[(&str, u64)]| -> Vec<(String, u64)> {
        let begun = [("first", 1), ("first", 3), ("first", 1), ("second", 1)];
        begun.iter().chain(rest).map(|(name, state)| ((*name).to_owned(), *state)).collect()
    };
    lab.docker(&["restart", &id]);
    let restarted = wanted(&[("second", 5), ("second", 1)]);
    receiver.wait_for(&id, "a restart", |samples| (story(samples) == restarted).then_some(()));
    lab.docker(&["stop", &id]);
    receiver.wait_for_state(&id, 5);
    lab.remove(&[&id]);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    let samples = receiver.of(&id);
    assert_eq!(story(&samples), wanted(&[("second", 5), ("second", 1), ("second", 5)]));
    assert!(samples.iter().all(|sample| sample.source == samples[0].source), "{samples:#?}");
    let ends: Vec<usize> = (0..samples.len()).filter(|at| samples[*at].state() == 5).collect();
    let [end, _] = ends[..] else { panic!("{samples:#?}") };
    assert!(samples[end + 1].cpu_ms() < samples[end].cpu_ms(), "a new run begins at nothing: {samples:#?}");
    let run = &samples[..=end];
    assert!(run.is_sorted_by_key(Counters::cpu_ms), "{run:#?}");
    agent.end();
}

#[test]
fn what_a_container_is_and_uses_is_what_docker_and_the_kernel_say() {
    let _turn = turn();
    let lab = shared();
    // Where the ports of the engine's bridge are, as on a host.
    lab.network().inside(|| is_and_uses(lab));
}

fn is_and_uses(lab: &Lab) {
    let receiver = Receiver::start();
    // They are there before the agent is.
    let options = ["--cpus", "0.5", "--memory", "64m", "--name", "limited"];
    let limited =
        lab.run(&options, &["sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=8 2>&1; sleep 1000"]);
    let hosts = lab.run(&["--name", "hosts", "--network", "host"], &["sleep", "1000"]);
    let joins = lab.run(&["--name", "joins", "--network", "container:hosts"], &["sleep", "1000"]);
    let path = |id: &str| format!("{}/{id}", lab.cgroup());
    wait_until("the container's file", || {
        lab.docker(&["logs", &limited]).contains("8+0 records out").then_some(())
    });
    let agent = agent_of(lab, &receiver, &["--polling", "1"]);
    let inspect = |template: &str| lab.docker(&["inspect", "--format", template, &limited]);
    let mac = inspect("{{(index .NetworkSettings.Networks \"bridge\").MacAddress}}").replace(':', "");
    let sample = receiver.wait_for_state(&limited, 1);
    assert_eq!((sample.name.as_str(), sample.macs), ("limited", vec![mac]));
    let port = lab.docker(&["exec", &limited, "cat", "/sys/class/net/eth0/iflink"]);
    assert_eq!(sample.ports, [port.parse::<u32>().unwrap()], "the bridge's port, as packet samples name it");
    assert_eq!((sample.numbers["vcpu_cpuCount"], sample.numbers["vmem_maxMemory"]), (1, 64 << 20));
    // Nothing goes on in it, so that there is a time in which nothing changes.
    let same = receiver.wait_for(&limited, "the cgroup's numbers in a sample", |samples| {
        let (last, path) = (samples.last()?, path(&limited));
        let cgroup = (Cpu::open(&path).ns().unwrap() / 1_000_000, cgroup::memory_bytes(&path));
        let said = (last.cpu_ms(), last.numbers["vmem_memory"]);
        (said == cgroup).then_some(said)
    });
    assert!(same.0 > 0 && same.1 > 0, "{same:?}");
    let all = std::thread::available_parallelism().unwrap().get();
    let update = format!("update --cpus {all} --memory 128m --memory-swap 128m {limited}");
    lab.docker(&update.split(' ').collect::<Vec<_>>());
    receiver.wait_for(&limited, "its other limits", |samples| {
        let limits = &samples.last()?.numbers;
        (limits["vcpu_cpuCount"] == all as u64 && limits["vmem_maxMemory"] == 128 << 20).then_some(())
    });
    let sample = receiver.wait_for_state(&hosts, 1);
    // Its traffic is the host's, and cannot be told from it.
    assert!(!sample.formats.contains(&2104), "{sample:?}");
    receiver.wait_for(&joins, "a sample without the host's traffic", |samples| {
        (!samples.last()?.formats.contains(&2104)).then_some(())
    });
    assert_eq!(sample.numbers["vcpu_cpuCount"], all as u64);
    lab.remove(&[&limited, &joins, &hosts]);
    receiver.wait_for_state(&limited, 5);
    receiver.wait_for_state(&hosts, 5);
    agent.end();
}
