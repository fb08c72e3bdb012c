//! Captures that scripts ask for, beside those of policies: what holds in every order, with a disk that is written late and
//! crashes at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actions::capture::config::Config;
use actions::capture::evidence::Sighting;
use actions::capture::policy::{Observation, Policy, SwitchNews};
use actions::capture::reconcile::{plan, plan_lines};
use actions::capture::scripts::kept::Kept;
use actions::capture::scripts::policy::{Came, Command, Scripts, Seen};
use actions::capture::scripts::rules::Mirror;
use actions::capture::scripts::session::Limits;
use actions::capture::wanted::{Change, Found, Observed};
use actions::mode::Mode;
use proptest::prelude::*;
use serde_json::json;

use super::world::{agent, config, seen};

const SWITCHES: u8 = 3;
const LIMITS: Limits = Limits { ttl_s: 5, max_s: 30 };

/// Captures of policies and of scripts, switches that do at once what they are told, and a disk.
struct World {
    config: Arc<Config>,
    native: Policy,
    scripts: Scripts,
    disk: Kept,
    now_ms: u64,
    mode: Mode,
    switches: Vec<Observed>,
    told: Vec<String>,
}

fn mirror(local: &str, remote: &str, switch: usize) -> Mirror {
    let source = agent(switch as u8);
    let rule = |from: &str, to: &str| {
        format!(
            "-A FORWARD --in-interface swp+ -s {from} -d {to} -j ERSPAN --src-ip {source} --dst-ip 10.0.0.71"
        )
    };
    Mirror::read(&["[iptables]".to_owned(), rule(local, remote), rule(remote, local)]).unwrap()
}

impl World {
    fn new(limits: serde_json::Value) -> Self {
        let config = config(SWITCHES, limits, json!({"ttl_s": 5, "hold_s": 4, "settle_s": 0}));
        let native = Policy::new(Arc::clone(&config), "main".to_owned());
        let mut world = Self {
            config,
            native,
            scripts: Scripts::new("main".to_owned()),
            disk: Kept::default(),
            now_ms: 0,
            mode: Mode::Act,
            switches: vec![Observed::new(); usize::from(SWITCHES)],
            told: Vec::new(),
        };
        world.round();
        world
    }

    fn tick(
        &mut self,
        sightings: &[Sighting],
        news: &[SwitchNews],
        commands: &[Command],
    ) -> Vec<Result<Came, String>> {
        let seen = Seen { mode: self.mode, sightings, news, commands };
        let (effects, answers) = self.scripts.tick(self.now_ms, seen, &mut self.native);
        self.told.extend(effects.told.into_iter().map(|tell| tell.text));
        let heard = Some((0..SWITCHES).map(agent).collect());
        let seen = Observation { mode: self.mode, sightings, heard, news, commands: &[] };
        self.native.tick(self.now_ms, seen);
        let effects = self.scripts.settle(&mut self.native, self.now_ms);
        self.told.extend(effects.told.into_iter().map(|tell| tell.text));
        answers
    }

    fn command(&mut self, command: Command) -> Result<Came, String> {
        self.tick(&[], &[], &[command]).pop().unwrap()
    }

    fn put(&mut self, script: &str, name: &str, switch: usize, mirror: Mirror) -> Result<Came, String> {
        let (script, name) = (script.to_owned(), name.to_owned());
        self.command(Command::Put { script, name, switch, mirror, limits: LIMITS })
    }

    fn delete(&mut self, script: &str, name: &str, switch: usize) -> Result<Came, String> {
        self.command(Command::Delete { script: script.to_owned(), name: name.to_owned(), switch })
    }

    /// What there is reaches the disk.
    fn save(&mut self) {
        self.disk = Kept::of(&self.scripts, &self.config, self.now_ms, self.now_ms);
        self.scripts.saved(self.scripts.version());
    }

    /// The collector is killed and starts again, with what is on the disk.
    fn crash(&mut self) {
        self.native = Policy::new(Arc::clone(&self.config), "main".to_owned());
        self.scripts = Scripts::new("main".to_owned());
        let mut config = Config::clone(&self.config);
        let (restored, lost) = self.disk.clone().restored(&mut config, self.now_ms);
        assert!(lost.is_empty() && config == *self.config);
        self.scripts.restore(restored, self.now_ms);
    }

    /// Makes some of the changes that a switch needs.
    fn mend(&mut self, switch: usize, most: usize) {
        let lines = self.scripts.desired(switch);
        // As a driver reads it: of rules whose names nobody has told only the names are known.
        let observed = self.observed(switch);
        let mut changes = plan(&self.native.desired(switch), &observed, self.mode == Mode::Act);
        changes.extend(plan_lines(&lines, &observed, self.mode != Mode::Withdraw));
        changes.sort_by_key(|change| !matches!(change, Change::Delete(_)));
        for change in changes.into_iter().take(most) {
            let there = &mut self.switches[switch];
            match change {
                Change::Put(name, wanted) => drop(there.insert(name, Found::Ours(wanted))),
                Change::PutLines(name, lines) => drop(there.insert(name, Found::Script(lines))),
                Change::Delete(name) => drop(there.remove(&name)),
            }
        }
    }

    fn observed(&self, switch: usize) -> Observed {
        let known = self.scripts.names_at(switch);
        let read = |(name, found): (&String, &Found)| match found {
            Found::Script(_) | Found::Unmarked if !known.contains(name) => (name.clone(), Found::Unread),
            found => (name.clone(), found.clone()),
        };
        self.switches[switch].iter().map(read).collect()
    }

    fn read(&mut self) {
        let news: Vec<SwitchNews> = (0..self.switches.len())
            .map(|switch| SwitchNews::Read { switch, observed: self.observed(switch), failing: None })
            .collect();
        self.tick(&[], &news, &[]);
    }

    fn round(&mut self) {
        self.save();
        self.read();
        (0..self.switches.len()).for_each(|switch| self.mend(switch, usize::MAX));
        self.read();
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_ms += 1000;
            self.round();
        }
    }

    fn rules(&self, switch: usize) -> Vec<&str> {
        self.switches[switch].keys().map(String::as_str).collect()
    }
}

fn spacious() -> serde_json::Value {
    json!({"begun_per_minute": 1000, "begun_per_minute_per_switch": 1000, "never": ["10.0.0.6"]})
}

#[test]
fn a_rule_lasts_while_there_is_evidence_and_goes_with_its_time_to_live() {
    let mut world = World::new(spacious());
    let pair = || mirror("10.0.0.1", "192.0.2.1", 0);
    let came = world.put("emerging.js", "emrg0", 0, pair());
    assert_eq!(came, Ok(Came::Placed("emerging.js:emrg0".to_owned())));
    world.mend(0, 9);
    assert!(world.rules(0).is_empty(), "nothing is put that is not on the disk");
    world.round();
    assert_eq!(world.rules(0), ["emrg0"]);
    let Found::Script(lines) = &world.switches[0]["emrg0"] else { panic!() };
    assert_eq!(lines[1], "# finderscope owner=main script=emerging.js");
    assert_eq!(world.told, ["capturing 10.0.0.1 rule emrg0 on 10.0.1.0"]);
    for _ in 0..10 {
        world.pass(1);
        world.tick(&[Sighting { policy: usize::MAX, ..seen("192.0.2.1", "10.0.0.1", 1) }], &[], &[]);
    }
    assert_eq!(world.rules(0), ["emrg0"], "seen by whomever, in whatever direction");
    world.pass(3);
    assert_eq!(world.rules(0), ["emrg0"]);
    // The same again is evidence too.
    let came = world.put("emerging.js", "emrg7", 0, pair());
    assert_eq!(came, Ok(Came::Refreshed("emerging.js:emrg0".to_owned())));
    world.pass(4);
    assert_eq!(world.rules(0), ["emrg0"]);
    world.pass(1);
    assert!(world.rules(0).is_empty());
    assert_eq!(world.told.last().unwrap(), "capture of 10.0.0.1 ended: there was no evidence for 5 s");
    assert_eq!(world.scripts.sessions().count(), 0);
}

#[test]
fn it_ends_after_its_longest_time_whatever_is_seen() {
    let mut world = World::new(spacious());
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    for second in 0..31 {
        assert_eq!(world.scripts.sessions().count(), 1, "{second}");
        world.pass(1);
        world.tick(&[Sighting { policy: usize::MAX, ..seen("10.0.0.1", "192.0.2.1", 0) }], &[], &[]);
        if second == 29 {
            break;
        }
    }
    world.pass(1);
    assert!(world.rules(0).is_empty());
    assert!(world.told.last().unwrap().contains("it has lasted for the 30 s"), "{:?}", world.told);
}

#[test]
fn a_name_has_one_session_and_a_restarted_script_begins_at_its_first_again() {
    let mut world = World::new(spacious());
    for n in 1..=3 {
        world
            .put("e.js", &format!("emrg{}", n - 1), 0, mirror("10.0.0.1", &format!("192.0.2.{n}"), 0))
            .unwrap();
    }
    world.round();
    assert_eq!(world.rules(0), ["emrg0", "emrg1", "emrg2"]);
    // It begins anew, and sees the third pair first: that has a rule, which stays as it is.
    let came = world.put("e.js", "emrg0", 0, mirror("192.0.2.3", "10.0.0.1", 0));
    assert_eq!(came, Ok(Came::Refreshed("e.js:emrg2".to_owned())), "the same in another order");
    world.round();
    assert_eq!(world.rules(0), ["emrg1", "emrg2"], "its first pair has no name any more");
    // Then another pair, by a name that is taken.
    world.put("e.js", "emrg1", 0, mirror("10.0.0.1", "192.0.2.4", 0)).unwrap();
    world.round();
    assert_eq!(world.rules(0), ["emrg1", "emrg2"]);
    // And one by the name that the rule of the third has on the switch, which gets its newer name.
    world.put("e.js", "emrg2", 0, mirror("10.0.0.1", "192.0.2.5", 0)).unwrap();
    world.round();
    assert_eq!(world.rules(0), ["emrg0", "emrg1", "emrg2"]);
    let pairs: BTreeMap<&str, String> = world
        .scripts
        .sessions()
        .map(|one| (one.rule.as_str(), one.mirror.local().max(one.mirror.remote()).to_string()))
        .collect();
    let wanted = [("emrg0", "192.0.2.3"), ("emrg1", "192.0.2.4"), ("emrg2", "192.0.2.5")];
    assert_eq!(pairs, wanted.map(|(rule, host)| (rule, host.to_owned())).into());
    // At another switch the name is the same one of the script.
    world.put("e.js", "emrg1", 1, mirror("10.0.0.1", "192.0.2.4", 1)).unwrap();
    world.round();
    assert_eq!((world.rules(0), world.rules(1)), (vec!["emrg0", "emrg2"], vec!["emrg1"]));
    // What a script takes back goes, when it has no other name for it; nothing is no error.
    assert_eq!(world.delete("other.js", "emrg0", 0), Ok(Came::Ended(false)));
    assert_eq!(world.delete("e.js", "emrg0", 1), Ok(Came::Ended(false)));
    assert_eq!(world.delete("e.js", "emrg0", 0), Ok(Came::Ended(true)));
    world.round();
    assert_eq!(world.rules(0), ["emrg2"]);
}

#[test]
fn two_scripts_do_not_take_each_others_names_nor_those_of_persons() {
    let mut world = World::new(spacious());
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    let why = world.put("b.js", "x", 0, mirror("10.0.0.1", "192.0.2.2", 0)).unwrap_err();
    assert_eq!(why, "the rule x on 10.0.1.0 is that of the script a.js");
    assert!(world.put("b.js", "x", 1, mirror("10.0.0.1", "192.0.2.2", 1)).is_ok());
    world.switches[0].insert("person".to_owned(), Found::Unmarked);
    world.put("a.js", "person", 0, mirror("10.0.0.1", "192.0.2.3", 0)).unwrap();
    world.round();
    world.round();
    assert_eq!(world.switches[0]["person"], Found::Unmarked);
    assert!(world.told.iter().any(|text| text.contains("its name is taken by a rule")), "{:?}", world.told);
    assert_eq!(world.rules(0), ["person", "x"]);
    let why = world.put("a.js", "fs_main_x", 0, mirror("10.0.0.1", "192.0.2.3", 0)).unwrap_err();
    assert!(why.contains("names captures of policies"), "{why}");
    // A script that the operator has taken away leaves nothing.
    world.command(Command::Scripts(["b.js".to_owned()].into())).unwrap();
    world.round();
    assert_eq!((world.rules(0), world.rules(1)), (vec!["person"], vec!["x"]));
}

#[test]
fn what_is_never_captured_is_refused_and_says_why() {
    let mut world = World::new(spacious());
    for (local, remote, named) in [
        ("10.0.0.6", "192.0.2.1", "never captured"),
        ("192.0.2.1", "10.0.0.6", "never captured"),
        ("10.0.0.1", "10.0.0.70", "never captured"),
        ("10.0.0.1", "10.0.0.71", "never captured"),
    ] {
        let why = world.put("a.js", "x", 0, mirror(local, remote, 0)).unwrap_err();
        assert!(why.contains(named), "{why}");
    }
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    // The analyzer of a script is left alone by policies too.
    world.tick(&[seen("10.0.0.71", "192.0.2.1", 0)], &[], &[]);
    assert_eq!(world.native.sessions().count(), 0);
    let rule = "-A FORWARD -i swp+ -s 10.0.0.2 -d 192.0.2.2 -j ERSPAN --src-ip 10.0.1.0 --dst-ip 192.0.2.1";
    let why = world.put("a.js", "y", 0, Mirror::read(&["[iptables]", rule]).unwrap()).unwrap_err();
    assert!(why.contains("the analyzer 192.0.2.1 is a host that is captured"), "{why}");
    let six =
        "-A FORWARD -i swp+ -s 2001:db8::1 -d 2001:db8::2 -j ERSPAN --src-ip 10.0.1.0 --dst-ip 10.0.0.71";
    let why = world.put("a.js", "y", 0, Mirror::read(&["[ip6tables]", six]).unwrap()).unwrap_err();
    assert!(why.contains("mirrors no IPv6"), "{why}");
}

#[test]
fn budgets_are_shared_with_policies_whose_captures_stay_when_there_is_too_much() {
    let limits = json!({
        "sessions_per_switch": 2, "bits_per_second_per_switch": 1e6, "begun_per_minute_per_switch": 3,
    });
    let mut world = World::new(limits);
    world.tick(&[seen("10.0.0.9", "192.0.2.9", 0)], &[], &[]);
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    let why = world.put("a.js", "y", 0, mirror("10.0.0.2", "192.0.2.1", 0)).unwrap_err();
    assert_eq!(why, "over budget: switch 10.0.1.0 has 2 of 2 sessions");
    // Another in the place of the first is no more.
    world.put("a.js", "x", 0, mirror("10.0.0.2", "192.0.2.1", 0)).unwrap();
    world.tick(&[seen("10.0.0.8", "192.0.2.8", 0)], &[], &[]);
    assert!(
        world.native.sessions().any(|one| one.reason.contains("has 2 of 2 sessions")),
        "policies wait too"
    );
    let why = world.put("a.js", "x", 0, mirror("10.0.0.3", "192.0.2.1", 0)).unwrap_err();
    assert!(why.contains("3 have begun at this switch in a minute"), "{why}");
    world.round();
    let much = |policy, local: &str, remote: &str, bits_per_second| Sighting {
        policy,
        bits_per_second,
        ..seen(local, remote, 0)
    };
    let sightings = [much(0, "10.0.0.9", "192.0.2.9", 9e5), much(usize::MAX, "10.0.0.2", "192.0.2.1", 2e5)];
    world.tick(&sightings, &[], &[]);
    world.round();
    assert!(
        world.rules(0).contains(&"fs_main_10_0_0_9_192_0_2_9"),
        "the policy's stays: {:?}",
        world.rules(0)
    );
    assert!(!world.rules(0).contains(&"x"));
    let why = world.put("a.js", "x", 0, mirror("10.0.0.2", "192.0.2.1", 0)).unwrap_err();
    assert!(why.contains("gave way: it is left alone for 30 s"), "{why}");
}

#[test]
fn persons_and_the_kill_switch_have_the_last_word_and_observing_does_not_matter() {
    let mut world = World::new(spacious());
    world.mode = Mode::Observe;
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    world.round();
    assert_eq!(world.rules(0), ["x"], "whoever lists a script has said that it may");
    assert!(world.command(Command::Stop("a.js:y".to_owned())).is_err());
    assert_eq!(world.command(Command::Stop("a.js:x".to_owned())), Ok(Came::Ended(true)));
    world.round();
    assert!(world.rules(0).is_empty());
    let why = world.put("a.js", "z", 1, mirror("192.0.2.1", "10.0.0.1", 1)).unwrap_err();
    assert!(why.contains("a person stopped the capture"), "{why}");
    world.put("a.js", "z", 1, mirror("10.0.0.2", "192.0.2.1", 1)).unwrap();
    world.round();
    world.mode = Mode::Withdraw;
    world.round();
    assert!(world.rules(1).is_empty());
    let why = world.put("a.js", "z", 1, mirror("10.0.0.2", "192.0.2.1", 1)).unwrap_err();
    assert!(why.contains("withdraw"), "{why}");
}

#[test]
fn what_a_disk_does_not_take_is_not_done() {
    let mut world = World::new(spacious());
    world.put("a.js", "x", 0, mirror("10.0.0.1", "192.0.2.1", 0)).unwrap();
    world.round();
    world.put("a.js", "y", 0, mirror("10.0.0.2", "192.0.2.1", 0)).unwrap();
    world.scripts.unsaved("no space left", world.now_ms);
    world.round();
    assert_eq!(world.rules(0), ["x"]);
    let ended: Vec<_> = world.scripts.ended().map(|one| one.session.ending.clone().unwrap()).collect();
    assert_eq!(ended, ["it cannot be kept: no space left"]);
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Put { script: u8, name: u8, switch: usize, local: u8, remote: u8 },
    Delete { script: u8, name: u8, switch: usize },
    Stop { script: u8, name: u8 },
    Seen { local: u8, remote: u8, switch: u8, bits: u32 },
    Passes(u16),
    Mode(u8),
    Save,
    Mend { switch: usize, changes: usize },
    Crash,
    Round,
}

fn event() -> impl Strategy<Value = Event> {
    let switch = || 0..usize::from(SWITCHES);
    prop_oneof![
        8 => (0u8..2, 0u8..5, switch(), 1u8..7, 1u8..4).prop_map(
            |(script, name, switch, local, remote)| Event::Put { script, name, switch, local, remote }
        ),
        2 => (0u8..2, 0u8..5, switch()).prop_map(|(script, name, switch)| Event::Delete { script, name, switch }),
        1 => (0u8..2, 0u8..5).prop_map(|(script, name)| Event::Stop { script, name }),
        4 => (1u8..7, 1u8..4, 0..SWITCHES, 0u32..900_000).prop_map(
            |(local, remote, switch, bits)| Event::Seen { local, remote, switch, bits }
        ),
        3 => (1u16..3000).prop_map(Event::Passes),
        1 => (0u8..8).prop_map(Event::Mode),
        4 => Just(Event::Save),
        4 => (switch(), 0usize..4).prop_map(|(switch, changes)| Event::Mend { switch, changes }),
        1 => Just(Event::Crash),
        4 => Just(Event::Round),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let script = |n: u8| format!("s{n}.js");
    match *event {
        Event::Put { script: s, name, switch, local, remote } => {
            let mirror = mirror(&format!("10.0.0.{local}"), &format!("192.0.2.{remote}"), switch);
            let _ = world.put(&script(s), &format!("n{name}"), switch, mirror);
        }
        Event::Delete { script: s, name, switch } => {
            world.delete(&script(s), &format!("n{name}"), switch).unwrap();
        }
        Event::Stop { script: s, name } => {
            let _ = world.command(Command::Stop(format!("{}:n{name}", script(s))));
        }
        Event::Seen { local, remote, switch, bits } => {
            let sighting = Sighting {
                bits_per_second: f64::from(bits),
                ..seen(&format!("10.0.0.{local}"), &format!("192.0.2.{remote}"), switch)
            };
            world.tick(&[sighting], &[], &[]);
        }
        Event::Passes(ms) => {
            world.now_ms += u64::from(ms);
            world.tick(&[], &[], &[]);
        }
        Event::Mode(mode) => {
            world.mode = match mode {
                0 => Mode::Withdraw,
                1..4 => Mode::Observe,
                _ => Mode::Act,
            };
            world.tick(&[], &[], &[]);
        }
        Event::Save => world.save(),
        Event::Mend { switch, changes } => world.mend(switch, changes),
        Event::Crash => world.crash(),
        Event::Round => world.round(),
    }
}

fn check(world: &World) -> Result<(), TestCaseError> {
    let mut bits = 0.0;
    let on_disk = serde_json::to_value(&world.disk).unwrap();
    let on_disk: BTreeSet<(String, String)> = on_disk["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["agent"].as_str().unwrap().to_owned(), one["rule"].as_str().unwrap().to_owned()))
        .collect();
    let mut rules = BTreeSet::new();
    let mut names = BTreeSet::new();
    for one in world.scripts.sessions().filter(|one| one.is_live()) {
        let at = one.session.at.unwrap();
        prop_assert!(rules.insert((at, one.rule.clone())), "a rule has one session");
        for name in &one.names {
            prop_assert!(names.insert((one.script.clone(), name.clone())), "a name has one session");
        }
        prop_assert!(one.session.evidence.quiet_ms < 5000, "it outlives its evidence");
        bits += one.session.evidence.bits_per_second(world.now_ms);
    }
    for session in world.native.sessions().filter(|session| session.at.is_some()) {
        bits += session.evidence.bits_per_second(world.now_ms);
    }
    prop_assert!(bits <= 2e6, "{bits} bit/s");
    let mut wanted = 0;
    for switch in 0..world.switches.len() {
        let both = world.scripts.desired(switch).wanted.len() + world.native.desired(switch).len();
        prop_assert!(both <= 3, "{both} are wanted on switch {switch}");
        wanted += both;
        let there = &world.switches[switch];
        prop_assert!(there.len() <= 3, "{:?} are on switch {switch}", there.keys());
        for (name, found) in there {
            let Found::Script(lines) = found else { continue };
            let known = on_disk.contains(&(agent(switch as u8).to_string(), name.clone()));
            prop_assert!(known, "{name} on switch {switch} is not on the disk");
            prop_assert!(lines.iter().all(|line| !line.contains("10.0.0.6 ")), "it is never captured");
        }
    }
    prop_assert!(wanted <= 6, "{wanted} are wanted in all");
    Ok(())
}

fn tight() -> World {
    World::new(json!({
        "sessions": 6, "sessions_per_switch": 3, "bits_per_second_per_switch": 1e12, "bits_per_second": 2e6,
        "bits_per_second_per_analyzer": 1e12, "never": ["10.0.0.6"],
        "begun_per_minute": 1000, "begun_per_minute_per_switch": 1000,
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn scripts_never_pass_a_budget_and_whatever_is_on_a_switch_is_on_the_disk(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = tight();
        for event in &events {
            happen(&mut world, event);
            check(&world)?;
        }
        for _ in 0..3 {
            world.round();
        }
        for switch in 0..world.switches.len() {
            let lines = world.scripts.desired(switch);
            prop_assert!(plan_lines(&lines, &world.switches[switch], world.mode != Mode::Withdraw).is_empty());
        }
        world.pass(10);
        let left = world.switches.iter().flat_map(BTreeMap::values);
        prop_assert_eq!(left.filter(|found| matches!(found, Found::Script(_))).count(), 0, "none outlives its evidence");
        prop_assert_eq!(world.scripts.sessions().count(), 0);
    }

    #[test]
    fn after_a_crash_at_any_moment_the_rules_of_scripts_are_what_is_wanted(
        events in prop::collection::vec(event(), 1..60), switch in 0..usize::from(SWITCHES), changes in 0usize..4,
    ) {
        let mut world = tight();
        for event in &events {
            happen(&mut world, event);
        }
        world.mend(switch, changes);
        world.crash();
        for _ in 0..3 {
            world.round();
        }
        for (switch, there) in world.switches.iter().enumerate() {
            let ours = there.iter().filter_map(|(name, found)| match found {
                Found::Script(lines) => Some((name.clone(), lines.clone())),
                _ => None,
            });
            let wanted = world.scripts.desired(switch).wanted;
            prop_assert_eq!(ours.collect::<BTreeMap<_, _>>(), wanted, "observed = desired");
        }
    }
}
