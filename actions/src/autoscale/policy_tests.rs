//! The policy on a fake clock.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::loss::Datagrams;
use super::super::world::{Pace, STEP, World};
use super::*;

const S: Duration = Duration::from_secs(1);

/// A service with one metric and what a test sets.
fn service(metric: Value, more: Value) -> Service {
    let mut json = json!({ "metric": [metric] });
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let service: Service = serde_json::from_value(json).unwrap();
    assert_eq!(service.problems("test"), []);
    service
}

fn thresholds(more: Value) -> Service {
    service(json!({"metric": "load", "low": 0.5, "high": 1}), more)
}

fn target(more: Value) -> Service {
    service(json!({"metric": "load", "target": 1}), more)
}

/// What engine and telemetry say of `values.len()` replicas that have just told these.
fn seen(values: &[f64]) -> Observation {
    let sample = |value: f64| Some(Sample { value, age: STEP });
    let replica = |(at, value): (usize, &f64)| Replica {
        task: format!("t{at}"),
        metrics: vec![sample(*value)],
        ..Replica::default()
    };
    let replicas: Vec<Replica> = values.iter().enumerate().map(replica).collect();
    Observation {
        pool: Ok(Pool {
            replicas: Some(values.len() as u64),
            running: replicas.iter().map(|replica| replica.task.clone()).collect(),
            updating: false,
        }),
        telemetry: Ok(Telemetry { replicas, totals: vec![None], ..Telemetry::default() }),
    }
}

/// A policy that has seen enough to decide, at 100 s; samples do not hold it up.
fn ready(mut rules: Service) -> Policy {
    rules.samples = Some(0);
    Policy::new(rules)
}

fn hold_of(decision: &Decision) -> &'static str {
    decision.verdict.label()
}

/// Runs a policy over a load of time in seconds; the changes with their times in seconds.
fn run(rules: Service, replicas: u64, seconds: u32, load: impl Fn(f64) -> f64) -> Vec<(f64, u64)> {
    let mut world = World::new(Pace::default(), replicas);
    let mut policy = Policy::new(rules);
    let mut changes = Vec::new();
    for step in 1..=seconds * 10 {
        let now = STEP * step;
        world.step(&[load(now.as_secs_f64())]);
        if step % 20 == 0
            && let Verdict::Set { from, to } = policy.tick(now, &world.observe(&[Some(0.0)])).verdict
        {
            policy.asking(to);
            world.set(to);
            policy.done(now, from, to);
            changes.push((now.as_secs_f64(), to));
        }
    }
    changes
}

#[test]
fn up_on_any_and_down_on_all() {
    let both = json!([{"metric": "cpu", "low": 0.5, "high": 1}, {"metric": "bytes", "low": 50, "high": 100}]);
    let rules: Service = serde_json::from_value(json!({ "metric": both, "samples": 0 })).unwrap();
    for (cpu, bytes, verdict) in [
        (1.1, 10.0, Verdict::Set { from: 2, to: 3 }),
        (0.1, 101.0, Verdict::Set { from: 2, to: 3 }),
        (0.1, 60.0, Verdict::Stay),
        (1.0, 100.0, Verdict::Stay),
        (0.4, 40.0, Verdict::Set { from: 2, to: 1 }),
    ] {
        let mut observation = seen(&[0.0, 0.0]);
        for replica in &mut observation.telemetry.as_mut().unwrap().replicas {
            replica.metrics = [cpu, bytes].map(|value| Some(Sample { value, age: S })).to_vec();
        }
        let decision = Policy::new(rules.clone()).tick(S * 100, &observation);
        assert_eq!(decision.verdict, verdict, "{cpu} {bytes}: {}", decision.reason);
    }
}

#[test]
fn targets_take_what_they_need_beyond_the_tolerance() {
    for (values, to) in [(&[2.5, 2.5][..], 5), (&[1.05, 1.05], 2), (&[1.2, 1.2], 3), (&[0.4, 0.4, 0.4], 2)] {
        let decision = ready(target(json!({}))).tick(S * 100, &seen(values));
        let from = values.len() as u64;
        let verdict = if to == from { Verdict::Stay } else { Verdict::Set { from, to } };
        assert_eq!(decision.verdict, verdict, "{}", decision.reason);
    }
}

#[test]
fn bounds_hold_whatever_is_measured() {
    let rules = json!({"min": 2, "max": 4, "rate": 100});
    assert_eq!(
        ready(target(rules.clone())).tick(S, &seen(&[9.0; 3])).verdict,
        Verdict::Set { from: 3, to: 4 }
    );
    assert_eq!(
        ready(target(rules.clone())).tick(S, &seen(&[0.0; 3])).verdict,
        Verdict::Set { from: 3, to: 2 }
    );
    // A number outside of them is brought back, as data allow.
    assert_eq!(
        ready(target(rules.clone())).tick(S, &seen(&[9.0; 6])).verdict,
        Verdict::Set { from: 6, to: 4 }
    );
    let one = ready(thresholds(rules)).tick(S, &seen(&[0.7]));
    assert_eq!(one.verdict, Verdict::Set { from: 1, to: 2 });
    assert!(one.reason.contains("2 is the least"), "{}", one.reason);
}

#[test]
fn nothing_is_done_without_data() {
    let mut policy = ready(thresholds(json!({})));
    let mut check = |change: &dyn Fn(&mut Observation), label: &str| {
        let mut observation = seen(&[0.1, 0.1, 0.1]);
        change(&mut observation);
        let decision = policy.tick(S * 100, &observation);
        assert_eq!(hold_of(&decision), label, "{}", decision.reason);
    };
    check(&|seen| seen.pool = Err("no answer".into()), "engine");
    check(&|seen| seen.telemetry = Err("busy".into()), "telemetry");
    check(&|seen| seen.telemetry = Ok(Telemetry::default()), "differ");
    let first = |seen: &mut Observation, sample| {
        seen.telemetry.as_mut().unwrap().replicas[0].metrics = vec![sample];
    };
    check(&|seen| first(seen, None), "missing");
    check(&|seen| first(seen, Some(Sample { value: 0.1, age: S * 31 })), "missing");
    check(&|seen| first(seen, Some(Sample { value: f64::NAN, age: S })), "missing");
    check(&|seen| seen.pool.as_mut().unwrap().updating = true, "updating");
    check(&|seen| seen.pool.as_mut().unwrap().replicas = None, "global");
}

#[test]
fn heavy_loss_is_no_ground_to_decide_on() {
    let mut policy = ready(thresholds(json!({})));
    for (at, received, lost, label) in
        [(100, 0, 0, "up"), (101, 90, 10, "up"), (102, 100, 50, "loss"), (140, 1000, 50, "up")]
    {
        let mut observation = seen(&[9.0]);
        let datagrams = [("10.0.0.1".to_owned(), Datagrams { received, lost })];
        observation.telemetry.as_mut().unwrap().datagrams = datagrams.into();
        let decision = policy.tick(S * at, &observation);
        assert_eq!(hold_of(&decision), label, "{}", decision.reason);
    }
}

#[test]
fn what_the_engine_does_not_know_is_no_replica() {
    let mut policy = ready(thresholds(json!({})));
    let mut observation = seen(&[9.0, 9.0]);
    observation.telemetry.as_mut().unwrap().replicas[0].task = "forged".into();
    for (at, since) in [(100, 0), (109, 9), (110, 10)] {
        let Verdict::Hold(hold) = policy.tick(S * at, &observation).verdict else { panic!("it acted") };
        assert!(hold.is_lack() && hold.to_string().contains(&format!("for {since} s")), "{hold}");
        assert!(hold.to_string().contains("1 of those seen are no tasks"), "{hold}");
    }
    // The same container seen twice is not two.
    let mut observation = seen(&[9.0, 9.0]);
    observation.telemetry.as_mut().unwrap().replicas[1].task = "t0".into();
    assert_eq!(hold_of(&policy.tick(S * 111, &observation)), "differ");
    assert_eq!(hold_of(&policy.tick(S * 112, &seen(&[9.0, 9.0]))), "up");
}

#[test]
fn metrics_that_are_there_may_raise_where_that_is_wished() {
    let both = json!([{"metric": "cpu", "low": 0.5, "high": 1}, {"metric": "bytes", "low": 50, "high": 100}]);
    let rules: Service =
        serde_json::from_value(json!({ "metric": both, "samples": 0, "missing": "up_only" })).unwrap();
    for (cpu, label) in [(1.1, "up"), (0.7, "missing"), (0.1, "missing")] {
        let mut observation = seen(&[0.0, 0.0]);
        for replica in &mut observation.telemetry.as_mut().unwrap().replicas {
            replica.metrics = vec![Some(Sample { value: cpu, age: S }), None];
        }
        assert_eq!(hold_of(&Policy::new(rules.clone()).tick(S * 100, &observation)), label);
    }
}

#[test]
fn services_of_no_replicas_are_left_alone() {
    let nobody = seen(&[]);
    assert_eq!(hold_of(&ready(thresholds(json!({}))).tick(S, &nobody)), "zero");
    let decision = ready(thresholds(json!({"from_zero": true}))).tick(S, &nobody);
    assert_eq!(decision.verdict, Verdict::Set { from: 0, to: 1 });
}

#[test]
fn a_persons_number_stays_for_its_time() {
    let mut policy = ready(thresholds(json!({"manual_hold_s": 60})));
    assert_eq!(hold_of(&policy.tick(S, &seen(&[0.7, 0.7]))), "stay");
    for (at, label) in [(2, "manual"), (61, "manual"), (62, "down")] {
        assert_eq!(hold_of(&policy.tick(S * at, &seen(&[0.1; 5]))), label, "{at}");
    }
    // What was asked for, and is seen only later, is no person's.
    policy.asking(4);
    assert_eq!(hold_of(&policy.tick(S * 63, &seen(&[0.1; 4]))), "down");
    policy.done(S * 64, 4, 3);
    assert_eq!(hold_of(&policy.tick(S * 65, &seen(&[0.1; 3]))), "down");
}

#[test]
fn disabled_paused_and_resumed() {
    let mut policy = ready(thresholds(json!({"enabled": false})));
    assert_eq!(hold_of(&policy.tick(S, &seen(&[9.0]))), "disabled");
    policy.set_rules(ready(thresholds(json!({}))).rules().clone());
    policy.set_pause(Pause::Open);
    assert_eq!(hold_of(&policy.tick(S, &seen(&[9.0]))), "paused");
    policy.set_pause(Pause::Until(S * 10));
    assert_eq!(hold_of(&policy.tick(S * 9, &seen(&[9.0]))), "paused");
    assert_eq!(hold_of(&policy.tick(S * 10, &seen(&[9.0]))), "up");
}

#[test]
fn values_from_before_a_change_decide_nothing() {
    let mut policy = Policy::new(thresholds(json!({"samples": 2})));
    let at = |policy: &mut Policy, now: u32, age: u32| {
        let mut observation = seen(&[9.0]);
        let replica = &mut observation.telemetry.as_mut().unwrap().replicas[0];
        replica.metrics = vec![Some(Sample { value: 9.0, age: S * age })];
        hold_of(&policy.tick(S * now, &observation))
    };
    // The task is seen at 100 s; values of 98 s, 101 s (twice) and 111 s.
    for (now, age, label) in
        [(100, 2, "settling"), (102, 1, "settling"), (104, 3, "settling"), (112, 1, "up")]
    {
        assert_eq!(at(&mut policy, now, age), label, "{now}");
    }
}

#[test]
fn a_window_takes_the_most_before_it_shrinks_and_the_least_before_it_grows() {
    let rules = json!({"up": {"stabilise_s": 10}, "down": {"stabilise_s": 20}, "rate": 100});
    let mut policy = ready(target(rules));
    let mut at = |now: u32, load: f64| {
        let decision = policy.tick(S * now, &seen(&[load / 4.0; 4]));
        if let Verdict::Set { to, .. } = decision.verdict {
            to.to_string()
        } else {
            hold_of(&decision).into()
        }
    };
    assert_eq!(at(100, 8.0), "stabilising");
    assert_eq!(at(105, 6.0), "stabilising");
    assert_eq!(at(110, 9.0), "6");
    assert_eq!(at(112, 2.0), "stabilising");
    assert_eq!(at(132, 1.0), "2", "the most of the last 20 s");
    // A gap in the data says nothing of the load meanwhile.
    policy.tick(S * 133, &Observation { telemetry: Err("busy".into()), ..seen(&[0.0; 4]) });
    assert_eq!(hold_of(&policy.tick(S * 134, &seen(&[0.1; 4]))), "stabilising");
}

#[test]
fn cooldown_and_rate_hold() {
    let mut policy = ready(thresholds(json!({"up": {"cooldown_s": 10}, "rate": 2, "period_s": 60})));
    for (at, label) in [(100, "up"), (105, "cooldown"), (110, "up"), (130, "rate"), (160, "up")] {
        let decision = policy.tick(S * at, &seen(&[9.0; 2]));
        assert_eq!(hold_of(&decision), label, "{at}: {}", decision.reason);
        if label == "up" {
            policy.done(S * at, 1, 2);
        }
    }
}

#[test]
fn who_gives_way_does_so_by_steps_and_never_without_data() {
    let mut policy = ready(thresholds(json!({"min": 2, "priority": 1})));
    let mut observation = seen(&[0.7; 5]);
    let outlook = policy.observe(S * 100, &observation);
    let claim = policy.claim("batch", &outlook);
    assert_eq!((claim.least, claim.current, claim.want, claim.priority), (2, 5, 5, 1));
    let decision = policy.decide(S * 100, outlook, Grant { share: 3, now: 3 });
    assert_eq!(decision.verdict, Verdict::Set { from: 5, to: 4 });
    assert!(decision.reason.contains("gives way"), "{}", decision.reason);
    observation.telemetry.as_mut().unwrap().replicas[0].metrics = vec![None];
    let outlook = policy.observe(S * 101, &observation);
    assert_eq!(policy.claim("batch", &outlook).least, 5);
    assert_eq!(hold_of(&policy.decide(S * 101, outlook, Grant { share: 3, now: 3 })), "missing");
    // Who wants more than there is waits.
    let outlook = policy.observe(S * 102, &seen(&[2.0; 5]));
    assert_eq!(hold_of(&policy.decide(S * 102, outlook, Grant { share: 6, now: 5 })), "budget");
}

#[test]
fn a_total_is_divided_by_the_replicas() {
    let rules =
        service(json!({"metric": "http_requests", "target": 100, "total": true}), json!({"rate": 100}));
    let mut observation = seen(&[0.0, 0.0]);
    let telemetry = observation.telemetry.as_mut().unwrap();
    telemetry.totals = vec![Some(Sample { value: 450.0, age: S })];
    telemetry.replicas.iter_mut().for_each(|replica| replica.metrics = vec![None]);
    let decision = Policy::new(rules).tick(S, &observation);
    assert_eq!(decision.verdict, Verdict::Set { from: 2, to: 5 });
    assert_eq!(decision.outlook.values[0].value, Some(225.0));
}

#[test]
fn constant_load_settles_and_never_changes_again() {
    for load in [0.0, 0.3, 0.9, 1.0, 2.49, 3.7, 6.0, 7.3, 30.0] {
        for start in [1, 4, 10] {
            for rules in [
                thresholds(json!({})),
                // With a low threshold near the high one the article's rule alone would never settle.
                service(json!({"metric": "load", "low": 0.95, "high": 1}), json!({})),
                thresholds(json!({"up": {"percent": 100}, "down": {"step": 3}})),
                target(json!({})),
                target(json!({"tolerance": 0, "samples": 1})),
                target(json!({"down": {"stabilise_s": 60}})),
            ] {
                let changes = run(rules.clone(), start, 900, |_| load);
                let last = changes.last().map_or(0.0, |(at, _)| *at);
                assert!(last < 450.0, "load {load} from {start}: {changes:?} with {rules:?}");
                let replicas = changes.last().map_or(start, |(_, replicas)| *replicas);
                assert!(replicas as f64 >= load.min(10.0) * 0.9, "load {load}: {replicas} with {rules:?}");
            }
        }
    }
}

#[test]
fn a_square_wave_causes_two_changes_per_edge_at_most() {
    const HALF: f64 = 120.0;
    let high_at = |now: f64| (now / HALF) as u64 % 2 == 1;
    for (low, high) in [(1.0_f64, 5.0), (2.0, 6.0), (0.8, 9.5), (3.0, 4.0)] {
        for rules in [
            target(json!({"rate": 100})),
            target(json!({"rate": 100, "down": {"stabilise_s": 30}})),
            target(json!({"rate": 100, "tolerance": 0.2, "up": {"stabilise_s": 10}})),
        ] {
            let start = low.ceil() as u64;
            let changes = run(rules.clone(), start, 960, |now| if high_at(now) { high } else { low });
            for edge in 0..8 {
                let within = |(at, _): &&(f64, u64)| (*at / HALF) as u64 == edge;
                let number = changes.iter().filter(within).count();
                assert!(number <= 2, "{low}..{high}, edge {edge}: {changes:?} with {rules:?}");
            }
            assert!(changes.len() >= 7, "it follows the wave: {changes:?}");
        }
    }
    // By thresholds and steps of one, where one step is enough.
    let changes = run(thresholds(json!({})), 1, 960, |now| if high_at(now) { 1.5 } else { 0.4 });
    assert_eq!(changes.len(), 7, "{changes:?}");
}

/// What may happen to a service between two looks.
#[derive(Clone, Debug)]
struct Turn {
    value: f64,
    age: u8,
    told: bool,
    answers: bool,
    applied: bool,
    pass: u8,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let one = (
        0.0..4.0_f64,
        0..50_u8,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.9),
        any::<bool>(),
        0..20_u8,
    );
    let turn = |(value, age, told, answers, applied, pass)| Turn { value, age, told, answers, applied, pass };
    proptest::collection::vec(one.prop_map(turn), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn bounds_data_and_rate_are_kept_whatever_comes(
        turns in turns(),
        targets in any::<bool>(),
        (min, over, rate, samples) in (1..4_u64, 0..6_u64, 1..5_u64, 0..2_u32),
        start in 1..10_u64,
    ) {
        let more = json!({"min": min, "max": min + over, "rate": rate, "period_s": 30, "samples": samples,
            "up": {"percent": 80}, "down": {"step": 2}, "fresh_s": 30});
        let rules = if targets { target(more) } else { thresholds(more) };
        let mut policy = Policy::new(rules);
        let mut replicas = start;
        let mut made: Vec<(Duration, i64)> = Vec::new();
        let mut now = S * 100;
        for turn in turns {
            now += S * u32::from(turn.pass);
            let mut observation = seen(&vec![turn.value; replicas as usize]);
            if let Ok(telemetry) = &mut observation.telemetry {
                for replica in &mut telemetry.replicas {
                    replica.metrics = vec![Some(Sample { value: turn.value, age: S * u32::from(turn.age) })];
                }
                if !turn.told {
                    telemetry.replicas[0].metrics = vec![None];
                }
            }
            if !turn.answers {
                observation.pool = Err("no answer".into());
            }
            let whole = turn.told && turn.answers && turn.age <= 30;
            let Verdict::Set { from, to } = policy.tick(now, &observation).verdict else { continue };
            prop_assert!(whole, "it acted without data");
            prop_assert_eq!(from, replicas);
            prop_assert!(to != from);
            prop_assert!((min..=min + over).contains(&to) || to.abs_diff(min) < from.abs_diff(min)
                || to.abs_diff(min + over) < from.abs_diff(min + over), "{} to {}", from, to);
            prop_assert!(to >= from || to >= min);
            prop_assert!(to <= from || to <= min + over);
            policy.asking(to);
            made.push((now, to as i64 - from as i64));
            for up in [true, false] {
                let recent = made.iter().filter(|(at, by)| now - *at < S * 30 && (*by > 0) == up);
                prop_assert!(recent.map(|(_, by)| by.unsigned_abs()).sum::<u64>() <= rate);
            }
            replicas = to;
            // The answer may be lost after the change was made: it is seen with the next look.
            if turn.applied {
                policy.done(now, from, to);
            }
        }
    }
}
