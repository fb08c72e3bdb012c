//! Which switch captures a pair, and whether there is room for it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::budget::Loads;
use super::known::Known;
use super::pair::Pair;
use super::policy::{Effects, Policy, TellKind};
use super::session::{Session, State};
use crate::mode::Mode;

/// What the switch that the host is attached to is worth more than any evidence.
const LEAF: u32 = 16;

/// How long a session that gave way waits before it is tried again.
const SHED_MS: u64 = 30_000;

impl Policy {
    /// Sessions give way, the largest first, until what is mirrored is within the budgets again. Where scripts mirror too,
    /// theirs give way after that.
    pub(super) fn shed(&mut self, now_ms: u64, effects: &mut Effects) {
        loop {
            let mut loads = Loads::default();
            self.place_onto(&mut loads, now_ms);
            let known = &self.known;
            let too_much = self.sessions.iter().filter_map(|(pair, session)| {
                let why = loads.excess(&known.config, session.at?, known.policy(session)?.analyzer)?;
                Some((*pair, session.evidence.bits_per_second(now_ms), why))
            });
            let Some((pair, _, why)) = too_much.max_by(|a, b| a.1.total_cmp(&b.1)) else { return };
            let Some(session) = self.sessions.get_mut(&pair) else { return };
            let agent = session.at.map(|at| known.agent(at));
            effects.touched.extend(session.at);
            session.leave();
            session.not_before_ms = now_ms + SHED_MS;
            session.reason = format!("over budget: {why}");
            session.step(now_ms, format!("it gives way: {why}"));
            self.counts.shed += 1;
            let text = format!("capture of {} gives way: {why}", session.local);
            effects.tell(TellKind::Shed, session, agent, text);
        }
    }

    /// A session moves once: soon after it was placed to a better switch, or at any time from one that never had its
    /// rule and does not answer.
    pub(super) fn move_to_better(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.known.mode != Mode::Act {
            return;
        }
        let mut loads = self.loads(now_ms);
        let Self { known, sessions, counts, pace, .. } = self;
        for session in sessions.values_mut() {
            let Some(at) = session.at.filter(|_| !session.moved) else { continue };
            let Some(policy) = known.policy(session) else { continue };
            if session.manual.is_some_and(|manual| manual.switch.is_some()) {
                continue;
            }
            let settling = session.placed_ms.is_some_and(|placed| now_ms - placed <= policy.settle_s * 1000);
            let lost = !session.confirmed && known.down.contains_key(&at);
            if !settling && !lost {
                continue;
            }
            let here = if lost { None } else { known.score(session, at) };
            let better = known.candidates(session).into_iter().find(|(switch, score)| {
                *switch != at && (lost || Some(*score) > here) && known.waits_for(*switch).is_none()
            });
            let Some((switch, _)) = better else { continue };
            let bits = session.evidence.bits_per_second(now_ms);
            let room = loads.refusal(&known.config, switch, policy.analyzer, bits).is_none();
            if !room || pace.take(&known.config.limits, switch, now_ms).is_err() {
                continue;
            }
            loads.add(switch, policy.analyzer, bits);
            effects.touched.extend([at, switch]);
            session.place(switch, now_ms);
            session.moved = true;
            counts.moved += 1;
            let why = if lost { "does not answer" } else { "is not the best place" };
            let text = format!(
                "capture of {} moves to {}: {} {why}",
                session.local,
                known.agent(switch),
                known.agent(at)
            );
            session.step(now_ms, text.clone());
            effects.tell(TellKind::Moved, session, Some(known.agent(switch)), text);
        }
    }

    /// Sessions that wait are placed where there is room; the others say what they wait for.
    pub(super) fn place(&mut self, now_ms: u64, effects: &mut Effects) {
        let waits = |session: &Session| {
            let idle = matches!(session.state(), State::Pending | State::Failed);
            idle && session.ending.is_none() && session.not_before_ms <= now_ms
        };
        let waiting = self.sessions.iter().filter(|(_, session)| waits(session));
        let mut waiting: Vec<(bool, u64, Pair)> =
            waiting.map(|(pair, session)| (session.manual.is_none(), session.began_ms, *pair)).collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort_unstable();
        let mut loads = self.loads(now_ms);
        for (_, _, pair) in waiting {
            let Some(mut session) = self.sessions.remove(&pair) else { continue };
            match self.room(&session, pair, &mut loads, now_ms) {
                Ok(switch) => {
                    effects.touched.insert(switch);
                    session.place(switch, now_ms);
                    self.counts.begun += 1;
                    session.step(now_ms, format!("its rule is wanted on {}", self.known.agent(switch)));
                }
                Err(Waits { why, would }) => {
                    session.reason = why;
                    if let Some(switch) = would.filter(|_| !session.told.would) {
                        session.told.would = true;
                        let agent = self.known.agent(switch);
                        session.step(now_ms, format!("it would be captured on {agent}"));
                        let text = format!(
                            "would capture {} rule {} on {agent}: the mode is observe",
                            session.local, session.name
                        );
                        effects.tell(TellKind::Would, &session, Some(agent), text);
                    }
                }
            }
            self.sessions.insert(pair, session);
        }
    }

    /// The switch that a session is placed at, whose budgets and pace have then been charged; or what it waits for.
    fn room(
        &mut self,
        session: &Session,
        pair: Pair,
        loads: &mut Loads,
        now_ms: u64,
    ) -> Result<usize, Waits> {
        let known = &self.known;
        let policy = known.policy(session).ok_or_else(|| Waits::new("its policy is gone"))?;
        let evidence = &session.evidence;
        if known.mode == Mode::Withdraw {
            return Err(Waits::new("the mode is withdraw"));
        }
        if session.manual.is_none() && evidence.samples < f64::from(policy.samples) {
            return Err(Waits::new(format!(
                "{:.0} of {} samples were seen",
                evidence.samples, policy.samples
            )));
        }
        if session.manual.is_none() && evidence.frames < policy.frames {
            return Err(Waits::new(format!(
                "{:.0} of {:.0} frames were seen",
                evidence.frames, policy.frames
            )));
        }
        if let Some((switch, other)) = known.others.get(&pair).and_then(BTreeSet::first) {
            let agent = known.agent(*switch);
            return Err(Waits::new(format!("the instance {other} captures it on {agent}")));
        }
        let bits = evidence.bits_per_second(now_ms);
        let mut why = Waits::new("no switch of the inventory has seen it");
        for (switch, _) in known.candidates(session) {
            if let Some(reason) = known.waits_for(switch) {
                why = Waits::new(reason);
                continue;
            }
            if let Some(reason) = loads.refusal(&known.config, switch, policy.analyzer, bits) {
                why = Waits::new(format!("over budget: {reason}"));
                continue;
            }
            if known.mode == Mode::Observe {
                let why = format!("the mode is observe: it would be captured on {}", known.agent(switch));
                return Err(Waits { why, would: Some(switch) });
            }
            if let Err(reason) = self.pace.take(&known.config.limits, switch, now_ms) {
                why = Waits::new(reason);
                continue;
            }
            loads.add(switch, policy.analyzer, bits);
            return Ok(switch);
        }
        Err(why)
    }

    /// What all rules take that may be on switches: those that are wanted, those that may linger, and those that were
    /// found and belong to no session.
    pub(super) fn loads(&self, now_ms: u64) -> Loads {
        let mut loads = self.known.beside.clone();
        self.load_onto(&mut loads, now_ms);
        loads
    }

    /// The same without what scripts take.
    pub(super) fn load_onto(&self, loads: &mut Loads, now_ms: u64) {
        for session in self.sessions.values() {
            let Some(policy) = self.known.policy(session) else { continue };
            let bits = session.evidence.bits_per_second(now_ms);
            for switch in session.at.iter().chain(&session.lingering) {
                loads.add(*switch, policy.analyzer, bits);
            }
        }
        let read = self.known.observed.iter().enumerate();
        for (switch, names) in read.filter_map(|(switch, names)| Some((switch, names.as_ref()?))) {
            for name in names {
                let pair = Pair::of_rule(name).map(|(_, pair)| pair);
                let session = pair.and_then(|pair| self.sessions.get(&pair));
                if !session.is_some_and(|session| session.may_be_at(switch)) {
                    loads.add_orphan(switch);
                }
            }
        }
    }
}

/// What a session waits for.
struct Waits {
    why: String,
    /// Where it would be captured if more was done than observing.
    would: Option<usize>,
}

impl Waits {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), would: None }
    }
}

impl Known {
    /// Why nothing can be placed at a switch now.
    fn waits_for(&self, switch: usize) -> Option<String> {
        let agent = self.agent(switch);
        if let Some(why) = self.down.get(&switch) {
            return Some(format!("{agent} does not answer: {why}"));
        }
        if let Some(why) = self.failing.get(&switch) {
            return Some(format!("the last commit on {agent} failed: {why}"));
        }
        let read = self.observed.get(switch).is_some_and(Option::is_some);
        (!read).then(|| format!("{agent} was not read yet"))
    }

    /// How good a switch is for a session; `None` when it cannot capture it.
    fn score(&self, session: &Session, switch: usize) -> Option<u32> {
        let own = self.config.switches.get(switch)?;
        if session.local.is_ipv6() && !own.ipv6 {
            return None;
        }
        let leaf = session.leaf == Some(own.agent);
        match session.evidence.score(own.agent) {
            Some(score) => Some(score + LEAF * u32::from(leaf)),
            None => leaf.then_some(LEAF),
        }
    }

    /// Switches that can capture a session and how good they are, the best first; of equal ones that which saw it first.
    fn candidates(&self, session: &Session) -> Vec<(usize, u32)> {
        if let Some(switch) = session.manual.and_then(|manual| manual.switch) {
            return vec![(switch, 0)];
        }
        let seen = session.evidence.places.iter().map(|place| place.agent);
        let mut found: Vec<(usize, u32)> = Vec::new();
        for switch in seen.chain(session.leaf).filter_map(|agent| self.switch(agent)) {
            if found.iter().any(|(known, _)| *known == switch) {
                continue;
            }
            found.extend(self.score(session, switch).map(|score| (switch, score)));
        }
        found.sort_by_key(|(_, score)| Reverse(*score));
        found
    }
}
