//! What the policy decides, case by case.

use actions::capture::evidence::{Role, Sighting};
use actions::capture::policy::{Command, SwitchNews};
use actions::capture::wanted::Found;
use actions::mode::Mode;
use serde_json::json;

use super::world::{World, agent, config, ip, seen};

const RULE: &str = "fs_main_10_0_0_162_192_0_2_1";

fn pair(switch: u8) -> Sighting {
    seen("10.0.0.162", "192.0.2.1", switch)
}

#[test]
fn the_first_sample_of_a_listed_host_leads_to_one_rule_which_goes_with_the_evidence() {
    let mut world = World::with(2);
    let effects = world.tick(&[pair(1)], &[], &[]);
    assert!(effects.touched.contains(&1), "at once, without a tick of any clock");
    assert_eq!(world.policy.desired(1).keys().collect::<Vec<_>>(), [RULE]);
    assert_eq!(world.only().0, "installing");
    world.round();
    assert_eq!((world.only().0, world.rules(1)), ("active", vec![RULE]));
    assert_eq!(world.told, [format!("capturing 10.0.0.162 rule {RULE} on 10.0.1.1")]);
    let wanted = &world.policy.desired(1)[RULE];
    assert_eq!((wanted.local, wanted.remote), (ip("10.0.0.162"), ip("192.0.2.1")));
    assert_eq!((wanted.erspan_source, wanted.analyzer), ([10, 0, 1, 1].into(), [10, 0, 0, 70].into()));
    world.pass(50);
    world.tick(&[pair(1)], &[], &[]);
    world.pass(59);
    assert_eq!(world.only().0, "active", "the evidence lasts");
    assert_eq!(world.writes, 1, "the same desired state causes no second write");
    world.pass(2);
    assert!(world.rules(1).is_empty() && world.policy.sessions().next().is_none());
    assert_eq!(world.told[2..], ["capture of 10.0.0.162 ended: there was no evidence for 60 s"]);
    let history: Vec<_> =
        world.policy.ended().next().unwrap().history.iter().map(|s| s.what.as_str()).collect();
    assert_eq!(history.len(), 5, "{history:?}");
}

#[test]
fn the_same_pair_at_several_data_sources_is_one_session() {
    let mut world = World::with(3);
    let mirror = Sighting { local: ip("192.0.2.1"), remote: ip("10.0.0.162"), outward: false, ..pair(2) };
    world.tick(&[pair(0), Sighting { source: "4".into(), ..pair(0) }, pair(1), pair(2), mirror], &[], &[]);
    world.round();
    assert_eq!((world.writes, world.rules(0)), (1, vec![RULE]));
}

#[test]
fn a_better_switch_within_the_settling_time_takes_it_over_once() {
    let mut world = World::with(4);
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    world.now_ms += 1000;
    // The other direction too, at another switch.
    world.tick(&[pair(1), Sighting { outward: false, ..pair(1) }], &[], &[]);
    world.round();
    assert_eq!((world.rules(0), world.rules(1)), (vec![], vec![RULE]));
    world.now_ms += 500;
    world.tick(&[Sighting { role: Role::Edge, ..pair(2) }], &[], &[]);
    world.round();
    assert_eq!(world.rules(1), [RULE], "it moves once");
    let mut late = World::with(2);
    late.tick(&[pair(0)], &[], &[]);
    late.pass(3);
    late.tick(&[pair(1), Sighting { outward: false, ..pair(1) }], &[], &[]);
    late.round();
    assert_eq!(late.rules(0), [RULE], "what comes after the settling time is too late");
}

#[test]
fn with_topology_the_leaf_of_the_local_host_captures() {
    let mut world = World::with(3);
    world.tick(&[Sighting { role: Role::Core, leaf: Some(agent(2)), ..pair(0) }], &[], &[]);
    world.round();
    assert_eq!(world.rules(2), [RULE], "at once, though a spine has seen it first");
    let mut roles = World::with(3);
    let inward = Sighting { outward: false, role: Role::Edge, ..pair(0) };
    roles.tick(&[inward, Sighting { role: Role::Edge, ..pair(1) }], &[], &[]);
    roles.round();
    assert_eq!(roles.rules(1), [RULE], "where what leaves comes in from the host");
}

#[test]
fn less_than_the_minimum_is_no_evidence() {
    let mut world = World::new(config(1, json!({}), json!({"samples": 3, "frames": 1000})));
    world.tick(&[pair(0), pair(0)], &[], &[]);
    assert_eq!(world.only(), ("pending", "2 of 3 samples were seen".to_owned()));
    world.tick(&[Sighting { frames: 1.0, ..pair(0) }], &[], &[]);
    assert_eq!(world.only(), ("pending", "801 of 1000 frames were seen".to_owned()));
    world.tick(&[pair(0)], &[], &[]);
    assert_eq!(world.only().0, "installing");
}

#[test]
fn some_hosts_are_never_captured() {
    let mut world = World::new(config(1, json!({"never": ["10.9.0.0/16", "2001:db8:9::/48"]}), json!({})));
    for (local, remote) in [
        ("10.9.1.1", "192.0.2.1"),
        ("192.0.2.1", "10.9.1.1"),
        ("10.0.0.70", "192.0.2.1"),
        ("10.0.1.0", "10.0.0.70"),
        ("127.0.0.1", "192.0.2.1"),
        ("10.0.0.1", "224.0.0.5"),
        ("10.0.0.1", "255.255.255.255"),
        ("0.0.0.0", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1"),
        ("2001:db8:9::1", "2001:db8::1"),
    ] {
        world.tick(&[seen(local, remote, 0)], &[], &[]);
        let start =
            Command::Start { local: ip(local), remote: ip(remote), agent: None, seconds: None, policy: None };
        assert!(world.tick(&[], &[], &[start]).answers[0].is_err(), "{local} {remote}");
    }
    assert!(world.policy.sessions().next().is_none());
    assert_eq!(world.policy.counts().excluded, 11);
}

#[test]
fn only_switches_that_can_are_asked_for_ipv6() {
    let mut world = World::with(1);
    world.tick(&[seen("2001:db8::1", "2001:db8::2", 0)], &[], &[]);
    assert_eq!(world.only(), ("pending", "no switch of the inventory has seen it".to_owned()));
    let mut config = (*world.config).clone();
    config.switches[0].ipv6 = true;
    let mut world = World::new(config.into());
    world.tick(&[seen("2001:db8::1", "2001:db8::2", 0)], &[], &[]);
    world.round();
    assert_eq!(world.only().0, "active");
}

#[test]
fn only_switches_of_the_inventory_are_asked() {
    let mut world = World::with(1);
    world.tick(&[pair(7)], &[], &[]);
    assert_eq!(world.only(), ("pending", "no switch of the inventory has seen it".to_owned()));
}

#[test]
fn over_budget_it_waits_and_says_for_what() {
    let limits = json!({"sessions_per_switch": 1, "bits_per_second_per_analyzer": 1e6});
    let mut world = World::new(config(2, limits, json!({})));
    world.tick(&[pair(0), seen("10.0.0.163", "192.0.2.1", 0)], &[], &[]);
    world.round();
    let waits = |world: &World| {
        let mut waiting = world.policy.sessions().filter(|s| s.state().name() == "pending");
        waiting.next().map(|session| session.reason.clone())
    };
    assert_eq!(waits(&world).unwrap(), "over budget: switch 10.0.1.0 has 1 of 1 sessions");
    // Another switch has seen it and has room, but the flow would flood the analyzer.
    world.tick(&[Sighting { bits_per_second: 2e6, ..seen("10.0.0.163", "192.0.2.1", 1) }], &[], &[]);
    let why = waits(&world).unwrap();
    assert_eq!(why, "over budget: analyzer 10.0.0.70 would have 2001000 of 1000000 bits per second");
    world.tick(&[seen("10.0.0.163", "192.0.2.1", 1)], &[], &[]);
    world.round();
    assert_eq!((waits(&world), world.rules(1).len()), (None, 1));
    // What grows beyond the budget later gives way.
    world.tick(&[Sighting { bits_per_second: 3e6, ..pair(0) }], &[], &[]);
    world.round();
    assert!(world.rules(0).is_empty() && waits(&world).unwrap().contains("would have 3001000 of 1000000"));
    assert_eq!(world.policy.counts().shed, 1);
}

#[test]
fn a_new_installation_observes_and_the_kill_switch_withdraws() {
    let mut world = World::with(1);
    world.mode = Mode::Observe;
    world.tick(&[pair(0)], &[], &[]);
    world.pass(3);
    assert_eq!(world.writes, 0);
    assert_eq!(
        world.told,
        [format!("would capture 10.0.0.162 rule {RULE} on 10.0.1.0: the mode is observe")]
    );
    assert_eq!(world.only(), ("pending", "the mode is observe: it would be captured on 10.0.1.0".to_owned()));
    world.mode = Mode::Act;
    world.round();
    assert_eq!(world.rules(0), [RULE]);
    world.mode = Mode::Withdraw;
    world.round();
    assert!(world.rules(0).is_empty());
    assert_eq!(world.only(), ("pending", "the mode is withdraw".to_owned()));
    world.mode = Mode::Act;
    world.round();
    assert_eq!(world.rules(0), [RULE]);
    // What is there already stays while its evidence lasts, and goes with it.
    world.mode = Mode::Observe;
    world.pass(30);
    assert_eq!(world.rules(0), [RULE]);
    world.pass(32);
    assert!(world.rules(0).is_empty());
}

#[test]
fn without_news_of_its_agents_a_session_is_held() {
    let mut world = World::new(config(1, json!({}), json!({"hold_s": 100})));
    world.tick(&[pair(0)], &[], &[]);
    world.pass(30);
    world.heard = false;
    world.pass(120);
    assert_eq!(world.only().0, "active", "no data is no reason to act");
    world.heard = true;
    world.pass(5);
    assert_eq!(world.only().0, "active", "when the agent is back its evidence has time to come");
    world.heard = false;
    world.pass(7);
    assert!(world.rules(0).is_empty(), "but not for ever");
}

#[test]
fn a_person_starts_and_stops() {
    let mut world = World::with(2);
    let start = |agent, seconds| Command::Start {
        local: ip("10.0.0.162"),
        remote: ip("192.0.2.1"),
        agent,
        seconds,
        policy: None,
    };
    let answers =
        world.tick(&[], &[], &[start(Some(agent(1)), Some(20)), start(Some(ip("10.9.9.9")), None)]).answers;
    assert_eq!(answers[0], Ok(RULE.to_owned()));
    assert_eq!(answers[1], Err("no switch of the inventory has the agent 10.9.9.9".to_owned()));
    world.round();
    assert_eq!(world.rules(1), [RULE]);
    world.pass(21);
    assert!(world.rules(1).is_empty());
    assert!(world.told.last().unwrap().ends_with("the time that it was asked for is over"));
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    assert_eq!(world.rules(0), [RULE]);
    let stop = Command::Stop(RULE.to_owned());
    assert_eq!(
        world.tick(&[], &[], &[stop, Command::Stop("emrg0\n".to_owned())]).answers[0],
        Ok(RULE.to_owned())
    );
    world.round();
    world.tick(&[pair(0)], &[], &[]);
    world.pass(590);
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    assert!(world.rules(0).is_empty(), "what a person stopped is left alone for a while");
    world.pass(11);
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    assert_eq!(world.rules(0), [RULE]);
}

#[test]
fn a_refused_rule_is_taken_away_and_tried_again_later() {
    let mut world = World::with(1);
    world.tick(&[pair(0)], &[], &[]);
    world.mend(0, 1);
    let refused = SwitchNews::Refused(0, RULE.to_owned(), "the last commit failed: no TCAM".to_owned());
    world.tick(&[], &[refused], &[]);
    assert!(world.policy.desired(0).is_empty());
    world.round();
    assert!(world.rules(0).is_empty());
    assert_eq!(world.only(), ("failed", "10.0.1.0 refuses it: the last commit failed: no TCAM".to_owned()));
    world.pass(3);
    assert_eq!(world.only().0, "active");
}

#[test]
fn a_rule_that_was_lost_or_changed_is_mended_and_a_foreign_one_is_left_alone() {
    let mut world = World::with(1);
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    world.switches[0].clear();
    world.round();
    assert_eq!(world.rules(0), [RULE]);
    world.switches[0].insert(RULE.to_owned(), Found::Changed);
    world.round();
    assert!(matches!(world.switches[0][RULE], Found::Ours(_)));
    assert_eq!(world.policy.counts().mended, 2);
    world.switches[0].insert(RULE.to_owned(), Found::Unmarked);
    world.pass(3);
    assert_eq!(world.switches[0][RULE], Found::Unmarked);
    assert_eq!(world.only().0, "failed");
}

#[test]
fn after_a_restart_rules_are_adopted_and_what_nobody_wants_is_taken_away() {
    let mut world = World::with(2);
    world.tick(&[pair(0), seen("10.0.0.163", "192.0.2.1", 1)], &[], &[]);
    world.round();
    // A move was under way when the collector was killed.
    let rule = world.switches[0][RULE].clone();
    world.switches[1].insert(RULE.to_owned(), rule.clone());
    world.switches[1].insert("fs_main_10_9_9_9_192_0_2_1".to_owned(), rule);
    world.restart();
    world.round();
    assert_eq!((world.rules(0), world.rules(1)), (vec![RULE], vec!["fs_main_10_0_0_163_192_0_2_1"]));
    assert_eq!(world.policy.counts().adopted, 2);
    world.pass(30);
    world.tick(&[pair(0)], &[], &[]);
    world.pass(31);
    assert_eq!(
        (world.rules(0), world.rules(1).len()),
        (vec![RULE], 0),
        "one has evidence again, the other has not"
    );
}

#[test]
fn of_two_instances_one_captures() {
    let mut world = World::with(1);
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    world.switches[0].insert("fs_zeta_10_0_0_162_192_0_2_1".to_owned(), Found::Others);
    world.round();
    assert_eq!(world.rules(0).len(), 2, "the other one yields");
    world.switches[0].insert("fs_alpha_10_0_0_162_192_0_2_1".to_owned(), Found::Others);
    world.pass(2);
    assert_eq!(world.rules(0), ["fs_alpha_10_0_0_162_192_0_2_1", "fs_zeta_10_0_0_162_192_0_2_1"]);
    assert_eq!(world.only(), ("pending", "the instance alpha captures it on 10.0.1.0".to_owned()));
}

#[test]
fn a_switch_that_does_not_answer_is_passed_over_and_heals() {
    let mut world = World::with(2);
    world.tick(&[pair(0), pair(1)], &[], &[]);
    // Placed at the first one, which then turns out to be dead.
    world.down[0] = true;
    world.read();
    world.round();
    assert_eq!(world.rules(1), [RULE]);
    world.tick(&[seen("10.0.0.163", "192.0.2.1", 0)], &[], &[]);
    let waiting = world.policy.sessions().find(|session| session.at.is_none()).map(|s| s.reason.clone());
    assert_eq!(waiting.unwrap(), "10.0.1.0 does not answer: no connection in 2 s");
    world.pass(30);
    world.down[0] = false;
    world.round();
    assert_eq!(world.rules(0), ["fs_main_10_0_0_163_192_0_2_1"]);
}

#[test]
fn a_direction_without_frames_is_said() {
    let mut world = World::with(1);
    world.tick(&[pair(0)], &[], &[]);
    world.pass(12);
    assert_eq!(world.told.last().unwrap(), "no frames from 192.0.2.1 to 10.0.0.162 were seen");
    let told = world.told.len();
    world.pass(12);
    assert_eq!(world.told.len(), told, "once");
}

#[test]
fn captures_begin_at_a_limited_pace() {
    let mut world = World::new(config(1, json!({"begun_per_minute_per_switch": 2}), json!({})));
    let many: Vec<_> = (1..=5).map(|n| seen(&format!("10.0.0.{n}"), "192.0.2.1", 0)).collect();
    world.tick(&many, &[], &[]);
    world.round();
    assert_eq!(world.rules(0).len(), 2);
    world.pass(31);
    assert_eq!(world.rules(0).len(), 3);
}

#[test]
fn a_commit_that_fails_is_no_capture_and_the_rule_goes() {
    let mut world = World::with(1);
    world.tick(&[seen("10.0.0.163", "192.0.2.1", 0)], &[], &[]);
    world.pass(31);
    world.tick(&[pair(0)], &[], &[]);
    world.failing = Some("no TCAM".to_owned());
    world.round();
    let states: Vec<_> = world.policy.sessions().map(|session| session.state().name()).collect();
    assert_eq!(states, ["removing", "active"], "the older one was installed by a commit that worked");
    world.round();
    assert_eq!(world.rules(0), ["fs_main_10_0_0_163_192_0_2_1"]);
    world.pass(10);
    let session = world.policy.sessions().next().unwrap();
    assert_eq!(session.reason, "the last commit on 10.0.1.0 failed: no TCAM", "it waits until one works");
    assert!(!world.told.iter().any(|told| told.contains("capturing 10.0.0.162 ")));
    world.failing = None;
    world.round();
    assert_eq!(world.rules(0).len(), 2);
    assert!(world.told.iter().any(|told| told.contains("capturing 10.0.0.162 ")));
}

#[test]
fn a_rule_counts_when_there_was_time_for_its_commit() {
    let mut config = (*config(1, json!({}), json!({}))).clone();
    config.switches[0].driver = actions::capture::config::DriverKind::CumulusAcl;
    let mut world = World::new(config.into());
    world.tick(&[pair(0)], &[], &[]);
    world.round();
    assert_eq!((world.only().0, world.rules(0)), ("installing", vec![RULE]));
    world.pass(1);
    assert_eq!(world.only().0, "active");
}
