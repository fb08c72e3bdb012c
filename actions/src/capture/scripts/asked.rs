//! What scripts and persons ask of the captures of scripts, and whether that is possible.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::super::budget::Loads;
use super::super::pair;
use super::super::policy::{MOST_PAIRS, Policy};
use super::super::session::Session;
use super::super::tick::Effects;
use super::policy::{Came, Command, Scripts};
use super::rules::Mirror;
use super::session::{Limits, NO_POLICY, Scripted};
use crate::mode::Mode;

/// Characters at most of a name that another one is made of.
const LONGEST_BEGINNING: usize = 100;

/// A rule that is wanted.
struct Wish<'c> {
    script: &'c str,
    name: &'c str,
    switch: usize,
    mirror: &'c Mirror,
    limits: Limits,
}

impl Scripts {
    pub(super) fn command(
        &mut self,
        command: &Command,
        mode: Mode,
        native: &mut Policy,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Came, String> {
        match command {
            Command::Put { script, name, switch, mirror, limits } => {
                let wish = Wish { script, name, switch: *switch, mirror, limits: *limits };
                let came = self.put(&wish, mode, native, now_ms, effects);
                match &came {
                    Ok(Came::Refreshed(_)) => self.counts.refreshed += 1,
                    Ok(_) => self.counts.placed += 1,
                    Err(_) => self.counts.refused += 1,
                }
                came
            }
            Command::Delete { script, name, switch } => {
                Ok(Came::Ended(self.delete(script, name, *switch, now_ms, effects)))
            }
            Command::Stop(id) => self.stop(id, now_ms, effects),
            Command::Scripts(scripts) => {
                let is_over = |one: &Scripted| !scripts.contains(&one.script);
                self.end_where(is_over, "its script is gone", now_ms, effects);
                Ok(Came::Ended(true))
            }
        }
    }

    fn put(
        &mut self,
        wish: &Wish<'_>,
        mode: Mode,
        native: &mut Policy,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Came, String> {
        self.allowed(wish, mode, native, now_ms)?;
        if let Some(id) = self.same(wish) {
            return Ok(Came::Refreshed(self.refresh(id, wish, now_ms, effects)));
        }
        self.room(wish, native, now_ms)?;
        let lines = wish.mirror.marked(&self.instance, wish.script)?;
        let since = self.changed();
        self.free(wish, since, now_ms, effects);
        let hosts = [wish.mirror.local(), wish.mirror.remote()];
        let id = Scripted::id(wish.script, wish.name);
        let mut session = Session::new(id.clone(), NO_POLICY, hosts, "".into(), now_ms);
        session.place(wish.switch, now_ms);
        let agent = native.known.agent(wish.switch);
        session.step(now_ms, format!("the script wants its rule on {agent}"));
        effects.touched.insert(wish.switch);
        let one = Scripted {
            script: wish.script.to_owned(),
            names: VecDeque::from([wish.name.to_owned()]),
            rule: wish.name.to_owned(),
            mirror: wish.mirror.clone(),
            lines,
            limits: wish.limits,
            until_ms: now_ms.saturating_add(wish.limits.max_s * 1000),
            since,
            session,
        };
        self.sessions.insert(self.next, one);
        self.next += 1;
        Ok(Came::Placed(id))
    }

    /// Whether a rule may be wanted at all.
    fn allowed(&self, wish: &Wish<'_>, mode: Mode, native: &Policy, now_ms: u64) -> Result<(), String> {
        let (known, mirror) = (&native.known, wish.mirror);
        let (local, remote, analyzer) = (mirror.local(), mirror.remote(), IpAddr::from(mirror.analyzer()));
        if mode == Mode::Withdraw {
            return Err("the mode of actions is withdraw: nothing is captured".to_owned());
        }
        wish.limits.check()?;
        if wish.name.starts_with(pair::PREFIX) {
            let prefix = pair::PREFIX;
            return Err(format!(
                "the name {:?}: what begins with {prefix} names captures of policies",
                wish.name
            ));
        }
        let analyzes = |host: IpAddr| {
            let mut analyzers = self.sessions.values().map(|one| one.mirror.analyzer());
            host == analyzer || analyzers.any(|other| IpAddr::from(other) == host)
        };
        if known.is_excluded(local, remote) || analyzes(local) || analyzes(remote) {
            return Err(format!("{local} and {remote}: one of them is never captured"));
        }
        let hosts = self.sessions.values().map(|one| one.mirror.pair());
        if native.pairs().chain(hosts).any(|pair| pair.hosts().contains(&analyzer)) {
            return Err(format!("the analyzer {analyzer} is a host that is captured itself"));
        }
        let pair = mirror.pair();
        if self.stopped.contains_key(&pair) || native.is_stopped(pair) {
            return Err(format!("a person stopped the capture of {local} and {remote}: it is left alone"));
        }
        if let Some(until_ms) = self.gave_way.get(&(wish.switch, pair)) {
            let left_s = until_ms.saturating_sub(now_ms).div_ceil(1000);
            return Err(format!(
                "the capture of {local} and {remote} gave way: it is left alone for {left_s} s"
            ));
        }
        let others = |one: &&Scripted| one.rule == wish.name && one.session.may_be_at(wish.switch);
        if let Some(other) = self.sessions.values().filter(others).find(|one| one.script != wish.script) {
            let agent = known.agent(wish.switch);
            return Err(format!("the rule {} on {agent} is that of the script {}", wish.name, other.script));
        }
        Ok(())
    }

    /// The session of a script that has the same rules at the switch already.
    fn same(&self, wish: &Wish<'_>) -> Option<u64> {
        let same = |one: &Scripted| {
            let here = one.is_live() && one.script == wish.script && one.session.at == Some(wish.switch);
            here && one.mirror.is_same(wish.mirror)
        };
        self.sessions.iter().find(|(_, one)| same(one)).map(|(id, _)| *id)
    }

    /// The session is wanted again, maybe by another name; its id.
    fn refresh(&mut self, id: u64, wish: &Wish<'_>, now_ms: u64, effects: &mut Effects) -> String {
        self.take_name(wish, Some(id), now_ms, effects);
        let Some(one) = self.sessions.get_mut(&id) else { return String::new() };
        one.session.evidence.quiet_ms = 0;
        one.session.adopted = false;
        one.limits = wish.limits;
        let is_new = one.call(wish.name);
        let name = one.session.name.clone();
        if is_new {
            self.changed();
        }
        name
    }

    /// Whether there is room for one more, with what the rule takes the place of left out.
    fn room(&self, wish: &Wish<'_>, native: &mut Policy, now_ms: u64) -> Result<(), String> {
        let config = std::sync::Arc::clone(&native.known.config);
        let agent = native.known.agent(wish.switch);
        let ipv6 = config.switches.get(wish.switch).is_some_and(|switch| switch.ipv6);
        if wish.mirror.pair().is_ipv6() && !ipv6 {
            return Err(format!("{agent} mirrors no IPv6: ipv6 = true in its [[switch]] says that it does"));
        }
        if let Some(why) = native.failing(wish.switch) {
            return Err(format!("the last commit on {agent} failed: {why}"));
        }
        if self.sessions.len() >= MOST_PAIRS {
            return Err(format!("there are {MOST_PAIRS} captures of scripts already"));
        }
        let replaced = |one: &Scripted, at: usize| {
            let is_over = !one.is_live() || one.names.iter().all(|name| name == wish.name);
            at == wish.switch && one.rule == wish.name && is_over
        };
        let mut loads: Loads = self.loads_but(now_ms, replaced);
        native.load_onto(&mut loads, now_ms);
        if let Some(why) = loads.refusal(&config, wish.switch, wish.mirror.analyzer(), 0.0) {
            return Err(format!("over budget: {why}"));
        }
        native.pace.take(&config.limits, wish.switch, now_ms).map_err(|why| format!("over budget: {why}"))
    }

    /// Makes the name free, as that of the script and as that of a rule on the switch.
    fn free(&mut self, wish: &Wish<'_>, since: u64, now_ms: u64, effects: &mut Effects) {
        self.take_name(wish, None, now_ms, effects);
        let other = self.other_rule(wish.switch, wish.name);
        for one in self.sessions.values_mut().filter(|one| one.session.may_be_at(wish.switch)) {
            // What is put in the place of a rule takes it away.
            if one.rule == wish.name || (!one.is_live() && other.as_ref() == Some(&one.rule)) {
                one.session.lingering.retain(|other| *other != wish.switch);
            }
            if one.rule == wish.name && one.session.at == Some(wish.switch) {
                let Some(other) = other.clone() else { continue };
                let session = &mut one.session;
                (session.confirmed, session.placed_ms) = (false, Some(now_ms));
                session.step(now_ms, format!("its rule is called {other} now"));
                one.since = since;
                one.rename(other);
            }
        }
    }

    /// What the live session is called from now on whose rule has this name at a switch: another of its names that no
    /// rule has there, or one that is made.
    fn other_rule(&self, switch: usize, rule: &str) -> Option<String> {
        let here = || self.sessions.values().filter(|one| one.session.at == Some(switch));
        let one = here().find(|one| one.rule == rule)?;
        let is_free = |name: &&String| *name != rule && here().all(|other| other.rule != **name);
        let made = || {
            let begin: String = rule.chars().take(LONGEST_BEGINNING).collect();
            format!("{begin}_{}", self.next)
        };
        Some(one.names.iter().rev().find(is_free).cloned().unwrap_or_else(made))
    }

    /// A name means something else for a script from now on. What has no other name ends.
    fn take_name(&mut self, wish: &Wish<'_>, but: Option<u64>, now_ms: u64, effects: &mut Effects) {
        let mut over = Vec::new();
        for (id, one) in self.sessions.iter_mut() {
            if but == Some(*id) || !one.is_live() || one.script != wish.script {
                continue;
            }
            let before = one.names.len();
            one.names.retain(|name| name != wish.name);
            if one.names.is_empty() && before > 0 {
                over.push(*id);
            }
        }
        for id in over {
            self.end(id, format!("the script uses the name {} for another one", wish.name), now_ms, effects);
        }
    }

    /// Whether a script had a rule of this name at the switch, which it has no more.
    fn delete(
        &mut self,
        script: &str,
        name: &str,
        switch: usize,
        now_ms: u64,
        effects: &mut Effects,
    ) -> bool {
        let mine = |one: &Scripted| {
            let here = one.is_live() && one.script == script && one.session.at == Some(switch);
            here && one.names.iter().any(|known| known == name)
        };
        let found = self.sessions.iter_mut().find(|(_, one)| mine(one));
        let Some((id, one)) = found.map(|(id, one)| (*id, one)) else { return false };
        one.names.retain(|known| known != name);
        let is_over = one.names.is_empty();
        self.counts.deleted += 1;
        self.changed();
        if is_over {
            self.end(id, "the script took it back".to_owned(), now_ms, effects);
        }
        true
    }
}
