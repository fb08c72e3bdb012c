//! Which pairs are captured, where and for how long: a pure function of time and of what was observed.
//!
//! Whatever is observed comes in through [`Policy::tick`]; what is wanted of each switch comes out of
//! [`Policy::desired`]. Nothing is done here: the controller reads the switches and mends them. Choosing a switch is in
//! `placing`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::budget::{Loads, Pace};
use super::config::{self, Config};
use super::evidence::Sighting;
use super::known::Known;
use super::pair::Pair;
use super::session::{Manual, Session, State};
pub use super::tick::{Command, Counts, Effects, Observation, SwitchNews, Tell, TellKind};
use super::wanted::{Desired, Found, Observed, Wanted};
use crate::mode::Mode;

/// Pairs that are kept in mind, sessions among them.
pub const MOST_PAIRS: usize = 4096;

/// Sessions that have ended and are still shown.
pub const MOST_ENDED: usize = 256;

/// Pairs that persons have stopped.
const MOST_STOPPED: usize = 4096;

/// How long a rule that was found at a start may wait for evidence (promise A13).
const ADOPTED_MS: u64 = 60_000;

/// A commit that fails within this time after a rule was wanted may have failed because of it.
const BLAMED_MS: u64 = 30_000;

/// The longest time until what was refused is tried again.
const LONGEST_RETRY_MS: u64 = 600_000;

/// The policies and their sessions.
#[derive(Debug)]
pub struct Policy {
    pub(super) known: Known,
    pub(super) sessions: BTreeMap<Pair, Session>,
    pub(super) ended: VecDeque<Arc<Session>>,
    stopped: BTreeMap<Pair, u64>,
    pub(super) pace: Pace,
    last_ms: u64,
    pub(super) counts: Counts,
}

impl Policy {
    /// No sessions. `instance` marks our rules, see [`super::pair::is_instance`].
    pub fn new(config: Arc<Config>, instance: String) -> Self {
        Self {
            pace: Pace::new(&config.limits),
            known: Known::new(config, instance),
            sessions: BTreeMap::new(),
            ended: VecDeque::new(),
            stopped: BTreeMap::new(),
            last_ms: 0,
            counts: Counts::default(),
        }
    }

    /// Takes what was observed and decides. `now_ms` never falls.
    pub fn tick(&mut self, now_ms: u64, seen: Observation<'_>) -> Effects {
        let mut effects = Effects::default();
        let passed_ms = now_ms.saturating_sub(std::mem::replace(&mut self.last_ms, now_ms));
        let was = std::mem::replace(&mut self.known.mode, seen.mode);
        if let Some(heard) = seen.heard {
            self.known.heard = heard;
        }
        self.stopped.retain(|_, until_ms| *until_ms > now_ms);
        self.age(passed_ms, now_ms, &mut effects);
        for news in seen.news {
            self.switch_news(news, now_ms, &mut effects);
        }
        for sighting in seen.sightings {
            self.sighted(sighting, now_ms);
        }
        for command in seen.commands {
            let answer = self.command(command, now_ms, &mut effects);
            effects.answers.push(answer);
        }
        self.change_mode(was, now_ms, &mut effects);
        self.yield_to_others(now_ms, &mut effects);
        self.shed(now_ms, &mut effects);
        self.move_to_better(now_ms, &mut effects);
        self.place(now_ms, &mut effects);
        self.say_one_way(now_ms, &mut effects);
        self.forget(&mut effects, now_ms);
        effects
    }

    /// What a switch is to have.
    pub fn desired(&self, switch: usize) -> Desired {
        let here = self.sessions.values().filter(|session| session.at == Some(switch));
        here.map(|session| (session.name.clone(), self.known.wanted(session, switch))).collect()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// All sessions, those first whose addresses are lower.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Sessions that have ended, the newest last.
    pub fn ended(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.ended.iter()
    }

    /// All pairs that are kept in mind.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.sessions.keys().copied()
    }

    /// The session of a pair.
    pub fn session(&self, pair: Pair) -> Option<&Session> {
        self.sessions.get(&pair)
    }

    /// Whether a switch that answers may still have a rule of ours.
    pub fn has_rules_in_reach(&self) -> bool {
        let reachable = |switch: &usize| !self.known.down.contains_key(switch);
        let mut places =
            self.sessions.values().flat_map(|session| session.at.iter().chain(&session.lingering));
        places.any(reachable)
            || (0..self.known.observed.len()).any(|at| reachable(&at) && self.rules_at(at) > 0)
    }

    /// Whether a switch was read.
    pub fn is_read(&self, switch: usize) -> bool {
        self.known.observed.get(switch).is_some_and(Option::is_some)
    }

    /// Rules of ours that a switch had when it was read last.
    pub fn rules_at(&self, switch: usize) -> usize {
        let read = self.known.observed.get(switch).and_then(Option::as_ref);
        read.map_or(0, BTreeSet::len)
    }

    /// Whether a person has said that a pair is to be left alone.
    pub(super) fn is_stopped(&self, pair: Pair) -> bool {
        self.stopped.contains_key(&pair)
    }

    /// There is another switch, at the end of the configuration, which only scripts' rules are for.
    pub fn grow(&mut self, config: Arc<Config>) {
        self.known.observed.resize(config.switches.len(), None);
        self.known.config = config;
    }

    /// What captures of scripts take beside these sessions: the budgets are for all.
    pub fn beside(&mut self, loads: Loads) {
        self.known.beside = loads;
    }

    /// Which direction of a session has no frames, in words; `None` when both have, or that cannot be said yet.
    pub fn one_way(&self, session: &Session, now_ms: u64) -> Option<String> {
        self.known.one_way(session, now_ms)
    }

    /// Why a switch does not answer; `None` when it does, or was not asked yet.
    pub fn down(&self, switch: usize) -> Option<&str> {
        self.known.down.get(&switch).map(String::as_str)
    }

    /// What the last commit of a switch failed with; `None` when it worked.
    pub fn failing(&self, switch: usize) -> Option<&str> {
        self.known.failing.get(&switch).map(String::as_str)
    }

    fn age(&mut self, passed_ms: u64, now_ms: u64, effects: &mut Effects) {
        let known = &self.known;
        for session in self.sessions.values_mut().filter(|session| session.ending.is_none()) {
            session.evidence.age(passed_ms, |agent| known.heard.contains(&agent));
            if session.manual.is_some_and(|manual| manual.until_ms > now_ms) {
                continue;
            }
            let asked = session.manual.take().is_some();
            let policy = known.policy(session);
            let (ttl_ms, hold_ms) =
                policy.map_or((0, 0), |policy| (policy.ttl_s * 1000, policy.hold_s * 1000));
            let (quiet, held) = (session.evidence.quiet_ms, session.evidence.held_ms);
            let why = if session.evidence.samples == 0.0 && asked {
                Some("the time that it was asked for is over".to_owned())
            } else if session.adopted && quiet + held >= ttl_ms.min(ADOPTED_MS) {
                Some("it was found at the start, and there was no evidence since".to_owned())
            } else if quiet >= ttl_ms {
                Some(format!("there was no evidence for {} s", quiet / 1000))
            } else if quiet + held >= ttl_ms + hold_ms {
                Some(format!("nothing was heard of its agents for {} s", held / 1000))
            } else {
                None
            };
            if let Some(why) = why {
                end(session, why, now_ms, effects);
            }
        }
    }

    fn switch_news(&mut self, news: &SwitchNews, now_ms: u64, effects: &mut Effects) {
        match news {
            SwitchNews::Read { switch, observed, failing } => {
                self.read(*switch, observed, failing.as_deref(), now_ms, effects);
            }
            SwitchNews::Unreachable(switch, why) => {
                self.known.down.insert(*switch, why.clone());
                let waiting = |session: &&mut Session| session.at == Some(*switch) && !session.confirmed;
                for session in self.sessions.values_mut().filter(waiting) {
                    session.reason = format!("{} does not answer: {why}", self.known.agent(*switch));
                }
            }
            SwitchNews::Refused(switch, name, why) => {
                let Some(session) = self.known.pair(name).and_then(|pair| self.sessions.get_mut(&pair))
                else {
                    return;
                };
                if session.at == Some(*switch) {
                    self.counts.refused += 1;
                    refuse(session, *switch, &self.known, why.clone(), now_ms, effects);
                } else {
                    session.reason = format!("{} does not take it away: {why}", self.known.agent(*switch));
                }
            }
        }
    }

    fn read(
        &mut self,
        switch: usize,
        observed: &Observed,
        failing: Option<&str>,
        now_ms: u64,
        effects: &mut Effects,
    ) {
        effects.touched.insert(switch);
        let known = &mut self.known;
        known.down.remove(&switch);
        match failing {
            Some(why) => drop(known.failing.insert(switch, why.to_owned())),
            None => drop(known.failing.remove(&switch)),
        }
        let commit_ms = known.config.switches.get(switch).map_or(0, config::Switch::commit_ms);
        let ours = observed.iter().filter(|(_, found)| matches!(found, Found::Ours(_) | Found::Changed));
        if let Some(place) = known.observed.get_mut(switch) {
            *place = Some(ours.map(|(name, _)| name.clone()).collect());
        }
        known.others.retain(|_, places| {
            places.retain(|(place, _)| *place != switch);
            !places.is_empty()
        });
        for (name, _) in observed.iter().filter(|(_, found)| matches!(found, Found::Others)) {
            if let Some((instance, pair)) = Pair::of_rule(name) {
                known.others.entry(pair).or_default().insert((switch, instance.to_owned()));
            }
        }
        for session in self.sessions.values_mut().filter(|session| session.may_be_at(switch)) {
            let found = observed.get(&session.name);
            if !matches!(found, Some(Found::Ours(_) | Found::Changed)) {
                session.lingering.retain(|other| *other != switch);
            }
            if session.at != Some(switch) {
                continue;
            }
            let wanted = self.known.wanted(session, switch);
            let age_ms = now_ms.saturating_sub(session.placed_ms.unwrap_or(now_ms));
            match found {
                // The commit that failed was that of this rule, or may have been.
                Some(Found::Ours(_))
                    if let Some(why) = failing
                        && age_ms <= BLAMED_MS
                        && !session.adopted =>
                {
                    self.counts.refused += 1;
                    let why = format!("the last commit failed: {why}");
                    refuse(session, switch, &self.known, why, now_ms, effects);
                }
                // Whether a commit took it over is known only when there was time for one.
                Some(Found::Ours(found)) if *found == wanted => {
                    if failing.is_some() || (age_ms < commit_ms && !session.adopted) {
                        continue;
                    }
                    confirm(session, &self.known, now_ms, effects);
                    self.counts.confirmed += u64::from(effects.confirmed(session));
                }
                Some(Found::Unmarked) => {
                    self.counts.refused += 1;
                    let why = "its name is taken by a rule without our mark".to_owned();
                    refuse(session, switch, &self.known, why, now_ms, effects);
                    session.lingering.retain(|other| *other != switch);
                }
                _ if session.confirmed => {
                    session.confirmed = false;
                    self.counts.mended += 1;
                    session.step(now_ms, "its rule was missing or changed, and is put again".to_owned());
                }
                _ => {}
            }
        }
        for (name, found) in observed {
            if let Found::Ours(found) = found {
                self.adopt(switch, name, found, failing.is_none(), now_ms);
            }
        }
    }

    /// A rule of ours that no session accounts for: it becomes one again, or is left to be taken away.
    fn adopt(&mut self, switch: usize, name: &str, found: &Wanted, works: bool, now_ms: u64) {
        let Some(pair) = self.known.pair(name) else { return };
        let known = self.sessions.get(&pair);
        if known.is_some_and(|session| session.may_be_at(switch)) {
            return;
        }
        let policies = &self.known.config.policies;
        let policy = policies.iter().position(|named| named.name == found.policy);
        let may_stay = self.known.mode != Mode::Withdraw
            && Pair::new(found.local, found.remote) == Some(pair)
            && !self.known.is_excluded(found.local, found.remote)
            && !self.stopped.contains_key(&pair)
            && known.is_none_or(|session| session.at.is_none() && session.ending.is_none());
        let (Some(policy), true) = (policy, may_stay) else {
            if let Some(session) = self.sessions.get_mut(&pair) {
                session.lingering.push(switch);
            }
            return;
        };
        let analyzer = policies.get(policy).map(|named| named.policy.analyzer);
        // What is there already counts in any case: what is asked here is whether there is too much.
        let refused = analyzer.is_none_or(|analyzer| {
            self.placed(now_ms).refusal(&self.known.config, switch, analyzer, 0.0).is_some()
        });
        if refused || (known.is_none() && self.sessions.len() >= MOST_PAIRS) {
            return;
        }
        let session = self.sessions.entry(pair).or_insert_with(|| {
            let hosts = [found.local, found.remote];
            let mut session = Session::new(name.to_owned(), policy, hosts, "".into(), now_ms);
            session.adopted = true;
            session
        });
        session.place(switch, now_ms);
        self.counts.adopted += 1;
        session.step(now_ms, format!("its rule was found on {}", self.known.agent(switch)));
        session.confirmed = works && *found == self.known.wanted(session, switch);
    }

    fn sighted(&mut self, sighting: &Sighting, now_ms: u64) {
        self.counts.sightings += 1;
        let (local, remote) = (sighting.local, sighting.remote);
        let pair = Pair::new(local, remote).filter(|_| !self.known.is_excluded(local, remote));
        let Some(pair) = pair.filter(|_| sighting.policy < self.known.config.policies.len()) else {
            self.counts.excluded += 1;
            return;
        };
        if self.stopped.contains_key(&pair) {
            self.counts.stopped += 1;
            return;
        }
        if !self.sessions.contains_key(&pair) {
            if sighting.samples <= 0.0 {
                return;
            }
            if self.sessions.len() >= MOST_PAIRS {
                self.counts.crowded += 1;
                return;
            }
            let name = pair.rule(&self.known.instance);
            let label = Arc::clone(&sighting.label);
            let session = Session::new(name, sighting.policy, [local, remote], label, now_ms);
            self.sessions.insert(pair, session);
        }
        let Some(session) = self.sessions.get_mut(&pair) else { return };
        if sighting.samples > 0.0 {
            // What it ended for is no longer so.
            session.ending = None;
            session.adopted = false;
            if session.label.is_empty() {
                session.label = Arc::clone(&sighting.label);
            }
        }
        if session.local == local {
            session.leaf = sighting.leaf;
        }
        // Where both hosts are listed, it is seen from either side.
        let outward = sighting.outward == (session.local == local);
        session.evidence.add(&Sighting { outward, ..sighting.clone() }, now_ms);
    }

    fn command(&mut self, command: &Command, now_ms: u64, effects: &mut Effects) -> Result<String, String> {
        match command {
            Command::Start { local, remote, agent, seconds, policy } => {
                self.start((*local, *remote), *agent, *seconds, policy.as_deref(), now_ms)
            }
            Command::Stop(id) => {
                let pair = self.known.pair(id);
                let session = pair.and_then(|pair| Some((pair, self.sessions.get_mut(&pair)?)));
                let Some((pair, session)) = session else {
                    return Err(format!("there is no session {id:?}"));
                };
                let stopped_s = self.known.policy(session).map_or(0, |policy| policy.stopped_s);
                session.manual = None;
                end(session, "a person stopped it".to_owned(), now_ms, effects);
                if self.stopped.len() < MOST_STOPPED {
                    self.stopped.insert(pair, now_ms + stopped_s * 1000);
                }
                Ok(id.clone())
            }
        }
    }

    fn start(
        &mut self,
        (local, remote): (IpAddr, IpAddr),
        agent: Option<IpAddr>,
        seconds: Option<u64>,
        policy: Option<&str>,
        now_ms: u64,
    ) -> Result<String, String> {
        let pair = Pair::new(local, remote)
            .ok_or_else(|| format!("{local} and {remote} are no two hosts of one version of IP"))?;
        if self.known.is_excluded(local, remote) {
            return Err(format!("{local} and {remote}: one of them is never captured"));
        }
        let policies = &self.known.config.policies;
        let policy = match policy {
            None if policies.is_empty() => {
                return Err("there is no capture policy that names an analyzer".to_owned());
            }
            None => 0,
            Some(name) => policies
                .iter()
                .position(|named| named.name == name)
                .ok_or_else(|| format!("there is no capture policy {name:?}"))?,
        };
        let switch = agent.map(|agent| {
            let switch = self.known.switch(agent);
            switch.ok_or_else(|| format!("no switch of the inventory has the agent {agent}"))
        });
        let switch = switch.transpose()?;
        if !self.sessions.contains_key(&pair) && self.sessions.len() >= MOST_PAIRS {
            return Err(format!("there are {MOST_PAIRS} pairs already"));
        }
        self.stopped.remove(&pair);
        let name = pair.rule(&self.known.instance);
        let fresh = || Session::new(name.clone(), policy, [local, remote], "".into(), now_ms);
        let session = self.sessions.entry(pair).or_insert_with(fresh);
        let ttl_s = policies.get(policy).map_or(0, |named| named.policy.ttl_s);
        let until_ms = now_ms.saturating_add(seconds.unwrap_or(ttl_s).saturating_mul(1000));
        session.manual = Some(Manual { until_ms, switch });
        session.ending = None;
        (session.not_before_ms, session.adopted) = (0, false);
        session.step(now_ms, "a person started it".to_owned());
        Ok(name)
    }

    fn change_mode(&mut self, was: Mode, now_ms: u64, effects: &mut Effects) {
        let mode = self.known.mode;
        let leaves = |session: &Session| match mode {
            Mode::Withdraw => true,
            // What was not read back may not have been put yet.
            Mode::Observe => was != mode && !session.confirmed,
            Mode::Act => false,
        };
        for session in self.sessions.values_mut() {
            if mode == Mode::Act {
                session.told.would = false;
            }
            if let Some(switch) = session.at.filter(|_| leaves(session)) {
                effects.touched.insert(switch);
                session.leave();
                session.step(now_ms, format!("its rule is taken away: the mode is {mode}"));
            }
        }
    }

    /// Of two instances only one captures a pair: that whose name is the lower one.
    fn yield_to_others(&mut self, now_ms: u64, effects: &mut Effects) {
        for (pair, places) in &self.known.others {
            let Some(session) = self.sessions.get_mut(pair) else { continue };
            let lower = places.iter().find(|(_, other)| *other < self.known.instance);
            if let (Some(switch), Some((_, other))) = (session.at, lower) {
                effects.touched.insert(switch);
                session.leave();
                session.step(now_ms, format!("the instance {other} captures it: its rule is taken away"));
            }
        }
    }

    fn say_one_way(&mut self, now_ms: u64, effects: &mut Effects) {
        for session in self.sessions.values_mut().filter(|session| session.state() == State::Active) {
            if session.told.one_way {
                continue;
            }
            if let Some(text) = self.known.one_way(session, now_ms) {
                session.told.one_way = true;
                session.step(now_ms, text.clone());
                effects.tell(TellKind::OneWay, session, session.at.map(|at| self.known.agent(at)), text);
            }
        }
    }

    fn forget(&mut self, effects: &mut Effects, now_ms: u64) {
        let over = |session: &Session| {
            session.ending.is_some() && session.at.is_none() && session.lingering.is_empty()
        };
        let gone: Vec<Pair> = self.sessions.iter().filter(|(_, s)| over(s)).map(|(pair, _)| *pair).collect();
        for pair in gone {
            let Some(mut session) = self.sessions.remove(&pair) else { continue };
            // A pair that was never captured is no news.
            if session.placed_ms.is_none() {
                continue;
            }
            let why = session.ending.clone().unwrap_or_default();
            session.step(now_ms, format!("ended: {why}"));
            self.counts.ended += 1;
            effects.tell(
                TellKind::Ended,
                &session,
                None,
                format!("capture of {} ended: {why}", session.local),
            );
            if self.ended.len() >= MOST_ENDED {
                self.ended.pop_front();
            }
            self.ended.push_back(Arc::new(session));
        }
    }

    /// What all sessions take where their rules are wanted.
    fn placed(&self, now_ms: u64) -> Loads {
        let mut loads = self.known.beside.clone();
        self.place_onto(&mut loads, now_ms);
        loads
    }

    /// The same without what scripts take.
    pub(super) fn place_onto(&self, loads: &mut Loads, now_ms: u64) {
        for session in self.sessions.values() {
            if let (Some(switch), Some(policy)) = (session.at, self.known.policy(session)) {
                loads.add(switch, policy.analyzer, session.evidence.bits_per_second(now_ms));
            }
        }
    }
}

fn confirm(session: &mut Session, known: &Known, now_ms: u64, effects: &mut Effects) {
    session.failures = 0;
    if std::mem::replace(&mut session.confirmed, true) {
        return;
    }
    session.reason.clear();
    let Some(agent) = session.at.map(|at| known.agent(at)) else { return };
    session.step(now_ms, format!("its rule was read back on {agent}"));
    let text = format!("capturing {} rule {} on {agent}", session.local, session.name);
    effects.tell(TellKind::Capturing, session, Some(agent), text);
}

fn refuse(
    session: &mut Session,
    switch: usize,
    known: &Known,
    why: String,
    now_ms: u64,
    effects: &mut Effects,
) {
    effects.touched.insert(switch);
    let agent = known.agent(switch);
    session.leave();
    session.refused = true;
    session.failures = session.failures.saturating_add(1);
    let wait_ms = 1000u64.checked_shl(session.failures).unwrap_or(LONGEST_RETRY_MS).min(LONGEST_RETRY_MS);
    session.not_before_ms = now_ms + wait_ms;
    session.reason = format!("{agent} refuses it: {why}");
    session.step(now_ms, session.reason.clone());
    let text = format!("capture of {} failed: rule {} on {agent}: {why}", session.local, session.name);
    effects.tell(TellKind::Failed, session, Some(agent), text);
}

/// A session ends: its rule is not wanted any more.
pub(super) fn end(session: &mut Session, why: String, now_ms: u64, effects: &mut Effects) {
    effects.touched.extend(session.at);
    if session.at.is_some() {
        session.step(now_ms, format!("its rule is taken away: {why}"));
    }
    session.leave();
    session.reason = why.clone();
    session.ending = Some(why);
}
