//! How long the captures of scripts last, and what each switch is to have of them: a pure function of time, of what was
//! observed, and of what scripts ask for. Taking a script's wish is in `asked`.
//!
//! What has to survive a crash has versions: a rule is put when the version that it came with is on the disk, so that
//! whatever is on a switch is known at the next start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::budget::Loads;
use super::super::config;
use super::super::evidence::Sighting;
use super::super::pair::Pair;
use super::super::policy::{Policy, end};
use super::super::session::{Session, State};
use super::super::tick::{Effects, SwitchNews, TellKind};
use super::super::wanted::{Found, Lines, Observed};
use super::rules::Mirror;
use super::session::{Limits, NO_POLICY, Scripted};
use crate::mode::Mode;

/// Sessions that have ended and are still shown.
const MOST_ENDED: usize = 256;

/// Pairs that are left alone for a while, at most.
pub(super) const MOST_LEFT_ALONE: usize = 4096;

/// How long a capture that was restored at a start may wait for evidence (promise A13).
const ADOPTED_MS: u64 = 60_000;

/// A longer time between two ticks was none in which anything could be heard.
const LONGEST_TICK_MS: u64 = 5_000;

/// A commit that fails within this time after a rule was wanted may have failed because of it.
const BLAMED_MS: u64 = 30_000;

/// How long a pair is left alone after its capture gave way, and after a person has stopped it.
const GAVE_WAY_MS: u64 = 30_000;
const STOPPED_MS: u64 = 600_000;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// A script wants a rule.
    Put {
        /// Which script.
        script: String,
        /// What it calls the rule.
        name: String,
        /// At which switch, by its place in the configuration.
        switch: usize,
        /// What it mirrors.
        mirror: Mirror,
        /// How long it lasts.
        limits: Limits,
    },
    /// A script wants a rule no more.
    Delete {
        /// Which script.
        script: String,
        /// What it calls the rule.
        name: String,
        /// At which switch.
        switch: usize,
    },
    /// A person ends the session with this id; its pair is left alone for a while.
    Stop(String),
    /// These scripts there are: what others wanted ends.
    Scripts(BTreeSet<String>),
}

/// What was observed since the last tick.
#[derive(Debug, Default)]
pub struct Seen<'o> {
    /// Whether anything may be there at all: only [`Mode::Withdraw`] matters.
    pub mode: Mode,
    /// Packets of pairs that are captured, of agents that count.
    pub sightings: &'o [Sighting],
    /// What was read from switches, and what failed there.
    pub news: &'o [SwitchNews],
    /// What is asked.
    pub commands: &'o [Command],
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A session is wanted, by its id.
    Placed(String),
    /// The session was there already.
    Refreshed(String),
    /// Whether there was what is ended.
    Ended(bool),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rules that became sessions.
    pub placed: u64,
    /// Rules that were wanted there already.
    pub refreshed: u64,
    /// Rules that were refused before anything was done.
    pub refused: u64,
    /// Rules that scripts took back.
    pub deleted: u64,
    /// Rules that were read back.
    pub confirmed: u64,
    /// Rules that a switch did not take.
    pub failed: u64,
    /// Rules that were missing or changed, and were put again.
    pub mended: u64,
    /// Sessions that gave way because of a budget.
    pub shed: u64,
    /// Sessions that have ended.
    pub ended: u64,
    /// Sessions that were restored at the start.
    pub restored: u64,
}

/// A session as it is restored at a start.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Whose it is.
    pub script: String,
    /// What the script calls it.
    pub names: Vec<String>,
    /// The name of its rule.
    pub rule: String,
    /// At which switch.
    pub switch: usize,
    /// What it mirrors.
    pub mirror: Mirror,
    /// How long it lasts.
    pub limits: Limits,
    /// What is left of its time, milliseconds.
    pub left_ms: u64,
    /// Why it was ending already.
    pub ending: Option<String>,
}

/// The captures of all scripts.
#[derive(Debug)]
pub struct Scripts {
    pub(super) instance: String,
    pub(super) sessions: BTreeMap<u64, Scripted>,
    pub(super) next: u64,
    ended: VecDeque<Arc<Scripted>>,
    /// Rules with our mark that belong to no session, at each switch.
    orphans: BTreeMap<usize, BTreeSet<String>>,
    /// Pairs that persons have stopped, and those that gave way at a switch: until when.
    pub(super) stopped: BTreeMap<Pair, u64>,
    pub(super) gave_way: BTreeMap<(usize, Pair), u64>,
    last_ms: u64,
    version: u64,
    saved: u64,
    pub(super) counts: Counts,
}

impl Scripts {
    /// No sessions. `instance` marks our rules.
    pub fn new(instance: String) -> Self {
        Self {
            instance,
            sessions: BTreeMap::new(),
            next: 0,
            ended: VecDeque::new(),
            orphans: BTreeMap::new(),
            stopped: BTreeMap::new(),
            gave_way: BTreeMap::new(),
            last_ms: 0,
            version: 0,
            saved: 0,
            counts: Counts::default(),
        }
    }

    /// Takes what was kept over a restart. It is on the disk.
    pub fn restore(&mut self, restored: Vec<Restored>, now_ms: u64) {
        for Restored { script, names, rule, switch, mirror, limits, left_ms, ending } in restored {
            let Ok(lines) = mirror.marked(&self.instance, &script) else { continue };
            let hosts = [mirror.local(), mirror.remote()];
            let mut session = Session::new(Scripted::id(&script, &rule), NO_POLICY, hosts, "".into(), now_ms);
            session.place(switch, now_ms);
            session.adopted = true;
            session.step(now_ms, "it was kept over a restart".to_owned());
            if let Some(why) = ending {
                session.leave();
                (session.reason, session.ending) = (why.clone(), Some(why));
            }
            let until_ms = now_ms.saturating_add(left_ms);
            let names = names.into();
            self.sessions.insert(
                self.next,
                Scripted { script, names, rule, mirror, lines, limits, until_ms, since: 0, session },
            );
            self.next += 1;
            self.counts.restored += 1;
        }
    }

    /// Takes what was observed and decides; `native` are the captures of policies, with which budgets are shared.
    pub fn tick(
        &mut self,
        now_ms: u64,
        seen: Seen<'_>,
        native: &mut Policy,
    ) -> (Effects, Vec<Result<Came, String>>) {
        let mut effects = Effects::default();
        let passed_ms = now_ms.saturating_sub(std::mem::replace(&mut self.last_ms, now_ms));
        self.stopped.retain(|_, until_ms| *until_ms > now_ms);
        self.gave_way.retain(|_, until_ms| *until_ms > now_ms);
        for sighting in seen.sightings {
            self.sighted(sighting, now_ms);
        }
        self.age(passed_ms.min(LONGEST_TICK_MS), now_ms, &mut effects);
        if seen.mode == Mode::Withdraw {
            self.end_where(|_| true, "the mode is withdraw", now_ms, &mut effects);
        }
        for news in seen.news {
            self.switch_news(news, native, now_ms, &mut effects);
        }
        self.shed(native, now_ms, &mut effects);
        let mut answers = Vec::new();
        for command in seen.commands {
            answers.push(self.command(command, seen.mode, native, now_ms, &mut effects));
        }
        self.forget(now_ms, &mut effects);
        native.beside(self.loads(now_ms));
        (effects, answers)
    }

    /// To be called when the captures of policies have changed: those of scripts give way to them.
    pub fn settle(&mut self, native: &mut Policy, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        self.shed(native, now_ms, &mut effects);
        native.beside(self.loads(now_ms));
        effects
    }

    /// What a switch is to have.
    pub fn desired(&self, switch: usize) -> Lines {
        let mut lines = Lines::default();
        for one in self.sessions.values().filter(|one| one.session.at == Some(switch)) {
            lines.wanted.insert(one.rule.clone(), one.lines.clone());
            if one.since > self.saved {
                lines.held.insert(one.rule.clone());
            }
        }
        lines
    }

    /// Names of the rules that may be at a switch.
    pub fn names_at(&self, switch: usize) -> BTreeSet<String> {
        let here = self.sessions.values().filter(|one| one.session.may_be_at(switch));
        here.map(|one| one.rule.clone()).collect()
    }

    /// All sessions, the oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = &Scripted> {
        self.sessions.values()
    }

    /// Sessions that have ended, the newest last.
    pub fn ended(&self) -> impl Iterator<Item = &Arc<Scripted>> {
        self.ended.iter()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The session that wants or may have a rule at a switch.
    pub fn at(&self, switch: usize, rule: &str) -> Option<&Scripted> {
        let here = |one: &&Scripted| one.rule == rule && one.session.may_be_at(switch);
        let mut all = self.sessions.values().filter(here);
        let first = all.next()?;
        Some(all.find(|one| one.is_live()).unwrap_or(first))
    }

    /// The version of what has to be kept.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What there was at this version is on the disk.
    pub fn saved(&mut self, version: u64) {
        self.saved = self.saved.max(version);
    }

    /// What there is cannot be kept: what is not on the disk ends, before anything of it was put.
    pub fn unsaved(&mut self, why: &str, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        let saved = self.saved;
        self.end_where(|one| one.since > saved, &format!("it cannot be kept: {why}"), now_ms, &mut effects);
        self.forget(now_ms, &mut effects);
        effects
    }

    /// Whether a switch that answers may still have a rule of a script.
    pub fn has_rules_in_reach(&self, native: &Policy) -> bool {
        let reachable = |switch: usize| native.down(switch).is_none();
        let mut places =
            self.sessions.values().flat_map(|one| one.session.at.iter().chain(&one.session.lingering));
        places.any(|switch| reachable(*switch)) || self.orphans.keys().any(|switch| reachable(*switch))
    }

    /// What all rules take that may be on switches.
    pub fn loads(&self, now_ms: u64) -> Loads {
        self.loads_but(now_ms, |_, _| false)
    }

    /// The same without some: whether a session's rule at a switch is left out.
    pub(super) fn loads_but(&self, now_ms: u64, is_left_out: impl Fn(&Scripted, usize) -> bool) -> Loads {
        let mut loads = Loads::default();
        for one in self.sessions.values() {
            let bits = one.session.evidence.bits_per_second(now_ms);
            for switch in one.session.at.iter().chain(&one.session.lingering) {
                if !is_left_out(one, *switch) {
                    loads.add(*switch, one.mirror.analyzer(), bits);
                }
            }
        }
        for (switch, names) in &self.orphans {
            names.iter().for_each(|_| loads.add_orphan(*switch));
        }
        loads
    }

    /// Another version has to be kept.
    pub(super) fn changed(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn sighted(&mut self, sighting: &Sighting, now_ms: u64) {
        let Some(pair) = Pair::new(sighting.local, sighting.remote) else { return };
        for one in self.sessions.values_mut().filter(|one| one.is_live() && one.mirror.pair() == pair) {
            let session = &mut one.session;
            session.adopted &= sighting.samples <= 0.0;
            let outward = sighting.outward == (session.local == sighting.local);
            session.evidence.add(&Sighting { outward, ..sighting.clone() }, now_ms);
        }
    }

    /// Time passes. What a script asked for lasts for its time to live whether or not anything is heard of agents.
    fn age(&mut self, passed_ms: u64, now_ms: u64, effects: &mut Effects) {
        let mut over = Vec::new();
        for (id, one) in self.sessions.iter_mut().filter(|(_, one)| one.is_live()) {
            let seen = &mut one.session.evidence;
            seen.quiet_ms += passed_ms;
            let ttl_ms = one.limits.ttl_s * 1000;
            let why = if now_ms >= one.until_ms {
                format!("it has lasted for the {} s that it may", one.limits.max_s)
            } else if one.session.adopted && seen.quiet_ms >= ttl_ms.min(ADOPTED_MS) {
                "it was kept over a restart, and there was no evidence since".to_owned()
            } else if seen.quiet_ms >= ttl_ms {
                format!("there was no evidence for {} s", seen.quiet_ms / 1000)
            } else {
                continue;
            };
            over.push((*id, why));
        }
        for (id, why) in over {
            self.end(id, why, now_ms, effects);
        }
    }

    fn switch_news(&mut self, news: &SwitchNews, native: &Policy, now_ms: u64, effects: &mut Effects) {
        match news {
            SwitchNews::Read { switch, observed, failing } => {
                self.read(*switch, observed, failing.as_deref(), native, now_ms, effects);
            }
            SwitchNews::Unreachable(switch, why) => {
                let agent = native.known.agent(*switch);
                for one in self.sessions.values_mut() {
                    if one.session.at == Some(*switch) && !one.session.confirmed {
                        one.session.reason = format!("{agent} does not answer: {why}");
                    }
                }
            }
            SwitchNews::Refused(switch, name, why) => {
                let here = |one: &Scripted| one.rule == *name && one.session.at == Some(*switch);
                let id = self.sessions.iter().find(|(_, one)| here(one)).map(|(id, _)| *id);
                if let Some(id) = id {
                    self.fail(id, native, why, now_ms, effects);
                }
            }
        }
    }

    fn read(
        &mut self,
        switch: usize,
        observed: &Observed,
        failing: Option<&str>,
        native: &Policy,
        now_ms: u64,
        effects: &mut Effects,
    ) {
        effects.touched.insert(switch);
        let commit_ms = native.known.config.switches.get(switch).map_or(0, config::Switch::commit_ms);
        let agent = native.known.agent(switch);
        let mut failed = Vec::new();
        for (id, one) in self.sessions.iter_mut().filter(|(_, one)| one.session.may_be_at(switch)) {
            let session = &mut one.session;
            let found = observed.get(&one.rule);
            if !matches!(found, Some(Found::Script(_))) {
                session.lingering.retain(|other| *other != switch);
            }
            if session.at != Some(switch) {
                continue;
            }
            let age_ms = now_ms.saturating_sub(session.placed_ms.unwrap_or(now_ms));
            match found {
                // The commit that failed was that of this rule, or may have been.
                Some(Found::Script(_))
                    if let Some(why) = failing
                        && age_ms <= BLAMED_MS
                        && !session.adopted =>
                {
                    failed.push((*id, format!("the last commit failed: {why}")));
                }
                Some(Found::Script(lines)) if *lines == one.lines => {
                    // Whether a commit took it over is known only when there was time for one.
                    if failing.is_some() || (age_ms < commit_ms && !session.adopted) || session.confirmed {
                        continue;
                    }
                    session.confirmed = true;
                    session.reason.clear();
                    self.counts.confirmed += 1;
                    session.step(now_ms, format!("its rule was read back on {agent}"));
                    let text = format!("capturing {} rule {} on {agent}", session.local, one.rule);
                    effects.tell(TellKind::Capturing, session, Some(agent), text);
                }
                Some(Found::Unmarked | Found::Ours(_) | Found::Changed | Found::Others) => {
                    session.lingering.retain(|other| *other != switch);
                    failed.push((*id, "its name is taken by a rule that is no script's".to_owned()));
                }
                _ if session.confirmed => {
                    session.confirmed = false;
                    self.counts.mended += 1;
                    session.step(now_ms, "its rule was missing or changed, and is put again".to_owned());
                }
                _ => {}
            }
        }
        for (id, why) in failed {
            self.fail(id, native, &why, now_ms, effects);
        }
        let ours = observed.iter().filter(|(_, found)| matches!(found, Found::Script(_)));
        let orphans: BTreeSet<String> =
            ours.filter(|(name, _)| self.at(switch, name).is_none()).map(|(name, _)| name.clone()).collect();
        match orphans.is_empty() {
            true => drop(self.orphans.remove(&switch)),
            false => drop(self.orphans.insert(switch, orphans)),
        }
    }

    /// A switch does not take a rule: its session ends. Its script may ask for it again.
    fn fail(&mut self, id: u64, native: &Policy, why: &str, now_ms: u64, effects: &mut Effects) {
        let Some(one) = self.sessions.get(&id) else { return };
        let agent = one.session.at.map(|at| native.known.agent(at));
        let place = agent.map_or_else(|| "it".to_owned(), |agent| agent.to_string());
        let text = format!("capture of {} failed: rule {} on {place}: {why}", one.session.local, one.rule);
        effects.tell(TellKind::Failed, &one.session, agent, text);
        self.counts.failed += 1;
        self.end(id, format!("{place} refuses it: {why}"), now_ms, effects);
    }

    /// Sessions give way, the largest first, until what is mirrored is within the budgets again. Those of scripts do so
    /// before those of the operator's own policies.
    fn shed(&mut self, native: &Policy, now_ms: u64, effects: &mut Effects) {
        loop {
            let mut loads = Loads::default();
            native.place_onto(&mut loads, now_ms);
            for one in self.sessions.values() {
                let bits = one.session.evidence.bits_per_second(now_ms);
                one.session.at.into_iter().for_each(|at| loads.add(at, one.mirror.analyzer(), bits));
            }
            let config = &native.known.config;
            let too_much = self.sessions.iter().filter_map(|(id, one)| {
                let why = loads.excess(config, one.session.at?, one.mirror.analyzer())?;
                Some((*id, one.session.evidence.bits_per_second(now_ms), why))
            });
            let Some((id, _, why)) = too_much.max_by(|a, b| a.1.total_cmp(&b.1)) else { return };
            let Some(one) = self.sessions.get(&id) else { return };
            let Some(at) = one.session.at else { return };
            let text = format!("capture of {} gives way: {why}", one.session.local);
            effects.tell(TellKind::Shed, &one.session, Some(native.known.agent(at)), text);
            if self.gave_way.len() < MOST_LEFT_ALONE {
                self.gave_way.insert((at, one.mirror.pair()), now_ms + GAVE_WAY_MS);
            }
            self.counts.shed += 1;
            self.end(id, format!("over budget: {why}"), now_ms, effects);
        }
    }

    /// A person ends a session.
    pub(super) fn stop(&mut self, name: &str, now_ms: u64, effects: &mut Effects) -> Result<Came, String> {
        let found = self.sessions.iter().find(|(_, one)| one.is_live() && one.session.name == name);
        let Some((id, one)) = found else { return Err(format!("there is no session {name:?}")) };
        let (id, pair) = (*id, one.mirror.pair());
        if self.stopped.len() < MOST_LEFT_ALONE {
            self.stopped.insert(pair, now_ms + STOPPED_MS);
        }
        self.end(id, "a person stopped it".to_owned(), now_ms, effects);
        Ok(Came::Ended(true))
    }

    /// Whether a session ends, and why.
    pub(super) fn end(&mut self, id: u64, why: String, now_ms: u64, effects: &mut Effects) {
        if let Some(one) = self.sessions.get_mut(&id).filter(|one| one.is_live()) {
            end(&mut one.session, why, now_ms, effects);
            self.changed();
        }
    }

    pub(super) fn end_where(
        &mut self,
        is_over: impl Fn(&Scripted) -> bool,
        why: &str,
        now_ms: u64,
        effects: &mut Effects,
    ) {
        let over = self.sessions.iter().filter(|(_, one)| one.is_live() && is_over(one));
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.end(id, why.to_owned(), now_ms, effects);
        }
    }

    fn forget(&mut self, now_ms: u64, effects: &mut Effects) {
        let over = |one: &Scripted| !one.is_live() && one.session.state() == State::Pending;
        let gone: Vec<u64> = self.sessions.iter().filter(|(_, one)| over(one)).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(mut one) = self.sessions.remove(&id) else { continue };
            let why = one.session.ending.clone().unwrap_or_default();
            one.session.step(now_ms, format!("ended: {why}"));
            self.counts.ended += 1;
            let text = format!("capture of {} ended: {why}", one.session.local);
            effects.tell(TellKind::Ended, &one.session, None, text);
            if self.ended.len() >= MOST_ENDED {
                self.ended.pop_front();
            }
            self.ended.push_back(Arc::new(one));
            self.changed();
        }
    }
}
