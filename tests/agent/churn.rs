//! Many containers that come and go at once: none is missed, and nothing is left behind.

use std::collections::BTreeMap;

use super::{agent_of, next_second, shared};
use crate::support::agent::{Counters, Receiver};
use crate::support::live::{turn, wait_until};

const AT_ONCE: usize = 10;
const EACH: usize = 10;
/// Of how many of them the machine may be too busy to read something in time.
const LATE: usize = 25;
/// All ones.
const NOT_KNOWN: u64 = u32::MAX as u64;

#[test]
fn of_a_hundred_churning_containers_none_is_missed_and_none_left_behind() {
    let _turn = turn();
    let (lab, receiver) = (shared(), Receiver::start());
    // Or it would be told the ends of an earlier test's containers.
    next_second();
    let mut agent = agent_of(lab, &receiver, &["--polling", "1"]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap().count();
    let before = descriptors();
    let began = std::time::Instant::now();
    let ids: Vec<(String, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|thread| {
                scope.spawn(move || {
                    let one = |n: usize| {
                        let name = format!("churn-{thread}-{n}");
                        // From a fifth of a second to a second; every fifth has a network, which takes longer.
                        let seconds = format!("{:.1}", 0.2 + ((thread + n) % 9) as f64 / 10.0);
                        let network = if (thread + n).is_multiple_of(5) { "bridge" } else { "none" };
                        let options = ["--rm", "--name", &name, "--network", network];
                        let id = lab.run(&options, &["sleep", &seconds]);
                        (id, name)
                    };
                    (0..EACH).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("{} containers in {:.1} s", ids.len(), began.elapsed().as_secs_f64());
    wait_until("the last samples", || {
        let ended = receiver.containers().iter().filter(|sample| sample.state() == 5).count();
        (ended >= ids.len()).then_some(())
    });
    let samples = receiver.containers();
    let (mut sources, mut unknown, mut unopened) = (BTreeMap::new(), 0, 0);
    for (id, name) in &ids {
        let own = receiver.of(id);
        let states: Vec<u64> = own.iter().map(Counters::state).collect();
        let running = states.len().saturating_sub(1);
        assert!(running > 0 && states[..running].iter().all(|state| *state == 1), "{name}: {states:?}");
        assert_eq!(states[running], 5, "{name}: {states:?}");
        assert!(own.iter().all(|sample| sample.name == *name && sample.source == own[0].source), "{own:#?}");
        // Where the machine was too busy to read them in time, values are unknown, and not others: the last ones, or those
        // of the beginning, when it was over before its counters were open.
        let times: Vec<u64> = own.iter().map(Counters::cpu_ms).collect();
        let known: Vec<u64> = times.iter().copied().filter(|time| *time != NOT_KNOWN).collect();
        assert!(known.is_sorted() && known.iter().all(|time| *time < 60_000), "{name}: {own:#?}");
        unknown += usize::from(times[running] == NOT_KNOWN);
        unopened += usize::from(times[0] == NOT_KNOWN);
        assert_eq!(sources.insert(own[0].source, name), None, "two containers with one data source");
    }
    eprintln!(
        "the last processor time of {unknown} of them is unknown; {unopened} were over before they were opened"
    );
    assert!(unknown <= LATE && unopened <= LATE, "{unknown}, {unopened}");
    let of_others: Vec<_> = samples.iter().filter(|sample| !sources.contains_key(&sample.source)).collect();
    assert!(of_others.is_empty(), "{of_others:#?}");
    agent.wait_for_counter("finderscope_agent_containers", 0);
    for (name, wanted) in [
        ("containers_open", 0),
        ("containers_started_total", 100),
        ("containers_ended_total", 100),
        ("containers_refused_total", 0),
        ("reconnects_total", 0),
    ] {
        assert_eq!(agent.counter(&format!("finderscope_agent_{name}")), wanted, "{name}");
    }
    assert!(agent.counter("finderscope_agent_containers_unopened_total") <= unopened as u64);
    // Beside connections to the engine that are kept for the next question.
    let after = std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap().count();
    assert!(after <= before + 8, "{before} descriptors before, {after} after");
    agent.end();
}
