//! What holds whatever happens: random packets, commands, dead switches and crashes.

use std::collections::{BTreeMap, BTreeSet};

use actions::capture::evidence::Sighting;
use actions::capture::pair::Pair;
use actions::capture::policy::Command;
use actions::capture::reconcile::plan;
use actions::capture::wanted::Found;
use actions::mode::Mode;
use proptest::prelude::*;
use serde_json::json;

use super::world::{World, config, ip, seen};

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Seen {
        local: u8,
        remote: u8,
        switch: u8,
        outward: bool,
        bits: u32,
        samples: u8,
    },
    Passes(u16),
    Fails(u8, bool),
    Silent(bool),
    Mode(u8),
    Start(u8, u8),
    Stop(u8, u8),
    /// Some changes are made at a switch, and then the collector is killed.
    Crash {
        switch: u8,
        changes: u8,
    },
    /// Some changes are made, and nobody looks.
    Mend {
        switch: u8,
        changes: u8,
    },
    Round,
}

const SWITCHES: u8 = 3;

fn event() -> impl Strategy<Value = Event> {
    let switch = || 0..SWITCHES;
    prop_oneof![
        8 => (1u8..7, 1u8..4, 0..SWITCHES + 1, any::<bool>(), 0u32..1_500_000, 0u8..2).prop_map(
            |(local, remote, switch, outward, bits, samples)| Event::Seen { local, remote, switch, outward, bits, samples }
        ),
        3 => (1u16..4000).prop_map(Event::Passes),
        1 => (switch(), any::<bool>()).prop_map(|(switch, down)| Event::Fails(switch, down)),
        1 => any::<bool>().prop_map(Event::Silent),
        1 => (0u8..6).prop_map(Event::Mode),
        1 => (1u8..7, 1u8..4).prop_map(|(local, remote)| Event::Start(local, remote)),
        1 => (1u8..7, 1u8..4).prop_map(|(local, remote)| Event::Stop(local, remote)),
        1 => (switch(), 0u8..4).prop_map(|(switch, changes)| Event::Crash { switch, changes }),
        2 => (switch(), 0u8..4).prop_map(|(switch, changes)| Event::Mend { switch, changes }),
        4 => Just(Event::Round),
    ]
}

fn local(n: u8) -> String {
    format!("10.0.0.{n}")
}

fn remote(n: u8) -> String {
    format!("192.0.2.{n}")
}

fn happen(world: &mut World, event: &Event) {
    match *event {
        Event::Seen { local: l, remote: r, switch, outward, bits, samples } => {
            let sighting = Sighting {
                outward,
                bits_per_second: f64::from(bits),
                samples: f64::from(samples),
                ..seen(&local(l), &remote(r), switch)
            };
            world.tick(&[sighting], &[], &[]);
        }
        Event::Passes(ms) => {
            world.now_ms += u64::from(ms);
            world.tick(&[], &[], &[]);
        }
        Event::Fails(switch, down) => world.down[usize::from(switch)] = down,
        Event::Silent(silent) => world.heard = !silent,
        Event::Mode(mode) => {
            world.mode = match mode {
                0 => Mode::Observe,
                1 => Mode::Withdraw,
                _ => Mode::Act,
            };
        }
        Event::Start(l, r) => {
            let start = Command::Start {
                local: ip(&local(l)),
                remote: ip(&remote(r)),
                agent: None,
                seconds: Some(3),
                policy: None,
            };
            world.tick(&[], &[], &[start]);
        }
        Event::Stop(l, r) => {
            let pair = Pair::new(ip(&local(l)), ip(&remote(r))).unwrap();
            world.tick(&[], &[], &[Command::Stop(pair.rule("main"))]);
        }
        Event::Crash { switch, changes } => {
            world.mend(usize::from(switch), usize::from(changes));
            world.restart();
        }
        Event::Mend { switch, changes } => world.mend(usize::from(switch), usize::from(changes)),
        Event::Round => world.round(),
    }
}

/// At most two sessions of a switch, five in all, 2 Mbit/s; one host is never captured; 5 s without evidence end it.
fn world() -> World {
    let limits = json!({
        "sessions": 5, "sessions_per_switch": 2, "bits_per_second_per_analyzer": 2e6, "never": ["10.0.0.6"],
        "begun_per_minute": 1000, "begun_per_minute_per_switch": 1000,
    });
    World::new(config(SWITCHES, limits, json!({"ttl_s": 5, "hold_s": 4, "settle_s": 2})))
}

fn check(world: &World) -> Result<(), TestCaseError> {
    let mut wanted_in_all = 0;
    let mut bits = 0.0;
    for switch in 0..world.switches.len() {
        let desired = world.policy.desired(switch);
        prop_assert!(desired.len() <= 2, "{} are wanted on switch {switch}", desired.len());
        wanted_in_all += desired.len();
        // What is there may have been put before a crash; never more than was wanted at a time.
        let there = &world.switches[switch];
        prop_assert!(there.len() <= 2, "{:?} are on switch {switch}", there.keys());
        for found in there.values() {
            let Found::Ours(rule) = found else { panic!() };
            prop_assert!(rule.local != ip("10.0.0.6"), "it is never captured");
        }
    }
    let mut at = BTreeSet::new();
    for session in world.policy.sessions() {
        prop_assert!(at.insert(&session.name), "a pair has one session");
        let moves = session.history.iter().filter(|step| step.what.contains(" moves to ")).count();
        prop_assert!(moves <= 1, "it moved {moves} times");
        if session.at.is_some() {
            bits += session.evidence.bits_per_second(world.now_ms);
        }
        let idle = session.evidence.quiet_ms + session.evidence.held_ms;
        if session.manual.is_none() {
            prop_assert!(session.at.is_none() || idle < 9_000, "a rule without evidence for {idle} ms");
        }
    }
    prop_assert!(wanted_in_all <= 5 && bits <= 2e6, "{wanted_in_all} sessions, {bits} bit/s");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn never_beyond_budgets_never_an_excluded_host_at_most_one_move(events in prop::collection::vec(event(), 1..120)) {
        let mut world = world();
        for event in &events {
            happen(&mut world, event);
            check(&world)?;
        }
        // The end of it all: every switch answers, and nothing is seen any more.
        world.down.fill(false);
        for _ in 0..3 {
            world.round();
        }
        for switch in 0..world.switches.len() {
            let puts = world.mode == Mode::Act;
            prop_assert!(plan(&world.policy.desired(switch), &world.switches[switch], puts).is_empty(), "observed = desired");
        }
        // 60 s may pass for what was adopted, 9 s for the rest; a person's three seconds are shorter.
        let mut left = BTreeMap::new();
        for second in 0..75 {
            world.pass(1);
            check(&world)?;
            let rules: usize = world.switches.iter().map(BTreeMap::len).sum();
            left.insert(second, rules);
        }
        prop_assert_eq!(left[&74], 0, "no rule outlives its evidence");
    }

    #[test]
    fn after_a_crash_at_any_moment_three_rounds_suffice(
        events in prop::collection::vec(event(), 1..60), switch in 0..SWITCHES, changes in 0u8..4,
    ) {
        let mut world = world();
        for event in &events {
            happen(&mut world, event);
        }
        world.down.fill(false);
        world.mode = Mode::Act;
        happen(&mut world, &Event::Crash { switch, changes });
        for _ in 0..3 {
            world.round();
        }
        let mut pairs = BTreeSet::new();
        for switch in 0..world.switches.len() {
            let desired = world.policy.desired(switch);
            prop_assert_eq!(world.switches[switch].keys().collect::<Vec<_>>(), desired.keys().collect::<Vec<_>>());
            prop_assert!(plan(&desired, &world.switches[switch], true).is_empty());
            for name in desired.into_keys() {
                prop_assert!(pairs.insert(name), "a pair is captured once");
            }
        }
    }
}
