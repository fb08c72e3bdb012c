//! Engines that are killed and come back, and an agent that was away: what happened meanwhile is told.

use super::cgroup::Cpu;
use super::{agent_of, next_second, shared};
use crate::support::agent::{Counters, Receiver};
use crate::support::docker_lab::{Lab, inside};
use crate::support::live::{turn, wait_until};

fn states(samples: &[Counters]) -> Vec<u64> {
    let mut states: Vec<u64> = samples.iter().map(Counters::state).collect();
    states.dedup();
    states
}

fn pid(lab: &Lab, id: &str) -> u32 {
    lab.docker(&["inspect", "--format", "{{.State.Pid}}", id]).parse().unwrap()
}

#[test]
fn nothing_is_missed_of_what_happens_while_an_engine_with_live_restore_is_away() {
    let _turn = turn();
    let receiver = Receiver::start();
    let mut lab = Lab::own(&["--live-restore"]);
    let mut agent = agent_of(&lab, &receiver, &["--polling", "1"]);
    let survivor = lab.run(&["--name", "survivor"], &["sleep", "1000"]);
    let waiting = ["sh", "-c", "burn 0.3; while [ ! -e /end ]; do sleep 0.02; done"];
    let ending = lab.run(&["--name", "ending"], &waiting);
    receiver.wait_for_state(&survivor, 1);
    receiver.wait_for_state(&ending, 1);
    let end = inside(pid(&lab, &ending), "end");
    let cgroup = Cpu::open(&format!("{}/{ending}", lab.cgroup()));
    lab.kill_engine();
    agent.wait_for_counter("finderscope_agent_engine_connected", 0);
    // The end is seen and told without the engine, exactly; the last process leaves its processor a moment later.
    std::fs::write(end, "").unwrap();
    let last = receiver.wait_for_state(&ending, 5);
    let exact_ms = cgroup.ns().expect("nobody takes the cgroup away") / 1_000_000;
    assert!(
        exact_ms > 20 && (last.cpu_ms()..=last.cpu_ms() + 1).contains(&exact_ms),
        "{exact_ms}: {last:#?}"
    );
    // The one that goes on is polled as before.
    let polled = receiver.of(&survivor).len();
    receiver.wait_for(&survivor, "more samples", |samples| (samples.len() > polled + 1).then_some(()));
    // Both begin, and one ends, before the agent can notice that the engine is back: it is told when it asks for what was
    // since the last event. Without that it would be told what was in the second that has begun.
    agent.signal("STOP");
    lab.start_engine();
    let missed = lab.run(&["--rm", "--name", "missed"], &["sh", "-c", "exit 9"]);
    wait_until("its removal", || {
        lab.docker(&["ps", "--all", "--quiet", "--filter", "name=missed"]).is_empty().then_some(())
    });
    let found = lab.run(&["--name", "found"], &["sleep", "1000"]);
    next_second();
    agent.signal("CONT");
    agent.wait_for_engine();
    receiver.wait_for_state(&missed, 5);
    assert_eq!(states(&receiver.of(&missed)), [1, 5]);
    receiver.wait_for_state(&found, 1);
    assert_eq!(states(&receiver.of(&survivor)), [1], "it has never ended");
    lab.remove(&[&survivor, &found]);
    receiver.wait_for_state(&survivor, 5);
    receiver.wait_for_state(&found, 5);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    assert_eq!(states(&receiver.of(&ending)), [1, 5], "its end is told once");
    assert_eq!(agent.counter("finderscope_agent_containers_ended_total"), 4);
    assert_eq!(agent.counter("finderscope_agent_containers_open"), 0);
    let log = agent.end();
    assert!(log.contains("containers that start or end meanwhile are told when the engine is back"), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

#[test]
fn containers_that_die_with_their_engine_are_told_and_those_it_starts_anew_too() {
    let _turn = turn();
    let receiver = Receiver::start();
    let mut lab = Lab::own(&[]);
    let mut agent = agent_of(&lab, &receiver, &["--polling", "1"]);
    let always = lab.run(&["--stop-timeout", "1", "--restart", "always"], &["sleep", "1000"]);
    let never = lab.run(&["--stop-timeout", "1"], &["sleep", "1000"]);
    for id in [&always, &never] {
        receiver.wait_for_state(id, 1);
    }
    let before = pid(&lab, &always);
    lab.kill_engine();
    lab.start_engine();
    let again = wait_until("the container's next run", || Some(pid(&lab, &always)).filter(|pid| *pid > 0));
    assert_ne!(again, before);
    agent.wait_for_engine();
    receiver.wait_for(&always, "its two runs", |samples| (states(samples) == [1, 5, 1]).then_some(()));
    receiver.wait_for_state(&never, 5);
    assert_eq!(states(&receiver.of(&never)), [1, 5]);
    agent.wait_for_counter("finderscope_agent_containers", 1);
    lab.remove(&[&always, &never]);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    assert_eq!(states(&receiver.of(&always)), [1, 5, 1, 5]);
    agent.end();
}

#[test]
fn an_agent_that_was_away_tells_what_it_finds() {
    let _turn = turn();
    let (lab, receiver) = (shared(), Receiver::start());
    let stays = lab.run(&["--name", "stays"], &["sleep", "1000"]);
    let agent = agent_of(lab, &receiver, &[]);
    receiver.wait_for(&stays, "its first sample", |samples| (!samples.is_empty()).then_some(()));
    agent.end();
    assert_eq!(states(&receiver.of(&stays)), [1], "an agent that ends does not say that containers do");
    // Now one has come, one is paused, and one has gone.
    let comes = lab.run(&["--name", "comes"], &["sleep", "1000"]);
    let paused = lab.run(&["--name", "paused"], &["sleep", "1000"]);
    lab.docker(&["pause", &paused]);
    lab.remove(&[&stays]);
    next_second();
    let receiver = Receiver::start();
    let mut agent = agent_of(lab, &receiver, &["--polling", "1"]);
    receiver.wait_for_state(&comes, 1);
    receiver.wait_for_state(&paused, 3);
    lab.remove(&[&comes, &paused]);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    assert!(receiver.of(&stays).is_empty(), "nothing is known of it: {:#?}", receiver.of(&stays));
    let samples = (states(&receiver.of(&comes)), states(&receiver.of(&paused)));
    assert_eq!(samples, (vec![1, 5], vec![3, 5]));
    agent.end();
}
