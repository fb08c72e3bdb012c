//! What the autoscaler knows of each service: its policy, what was decided and what came of it. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::budget::{Claim, allocate};
use super::config::{Config, MOST_SERVICES, Service, Swarm, is_service_name, seconds};
use super::decision::{Decision, Grant, Hold, Shown, Verdict};
use super::labels;
use super::observation::Observation;
use super::policy::{Pause, Policy};
use super::settings::{Paused, Settings};
use super::sick::{Finding, Watch};
use crate::audit::{Outcome, Ticket};
use crate::clock::now_ms;
use crate::retry::Backoff;
use crate::text::shown;

/// Decisions that are kept of each service.
const MOST_DECISIONS: usize = 64;

/// What changes of all services together are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// How long a stopped container may still be listed as running.
pub(super) const STOPPING: Duration = Duration::from_secs(60);

/// How a service was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    Configuration,
    Labels,
}

/// A decision as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Logged {
    /// Milliseconds since 1970.
    at_ms: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    reason: String,
    values: Vec<Shown>,
    /// What came of it, where something was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

/// A container that is being stopped.
#[derive(Debug)]
pub(super) struct Replacing {
    pub(super) task: String,
    began: Duration,
    /// Whether the engine says that it has stopped.
    stopped: bool,
    ticket: Option<Ticket>,
}

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) swarm: String,
    /// Its name in the swarm.
    pub(super) service: String,
    pub(super) found: Found,
    /// Without what the operator has changed since.
    base: Service,
    pub(super) policy: Policy,
    watch: Watch,
    claim: Option<Claim>,
    pub(super) grant: Grant,
    pub(super) last: Option<Decision>,
    pub(super) log: VecDeque<Logged>,
    pub(super) findings: Vec<Finding>,
    told_sick: BTreeSet<String>,
    replacing: Option<Replacing>,
    /// Why the last action failed.
    pub(super) trouble: Option<String>,
    backoff: Backoff,
    /// No action before this.
    not_before: Duration,
    /// Since when it is held, why, and whether that was told.
    held: Option<(&'static str, Duration, bool)>,
    /// Decisions by verdict, and actions by what came of them.
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
}

/// What is known of a swarm.
#[derive(Debug, Default)]
pub(super) struct SwarmState {
    /// Why its managers do not answer.
    pub(super) trouble: Option<String>,
    /// Failures by kind.
    pub(super) failures: BTreeMap<&'static str, u64>,
    /// Why the labels of services are not taken, by service.
    pub(super) refused: BTreeMap<String, String>,
}

/// Something that somebody should be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    pub(super) what: &'static str,
    pub(super) text: String,
    pub(super) warning: bool,
}

/// What is to be looked at in a swarm.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its name here.
    pub(super) name: String,
    /// Its name in the swarm.
    pub(super) service: String,
    pub(super) rules: Service,
}

/// A decision with what it is about.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) wanted: Wanted,
    pub(super) decision: Decision,
    /// Whether the decision differs from the last one.
    pub(super) is_news: bool,
    pub(super) news: Vec<News>,
    pub(super) sick: Option<Finding>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) services: BTreeMap<String, Entry>,
    pub(super) swarms: BTreeMap<String, SwarmState>,
    /// What the operator has changed, also of services that are not there now.
    pub(super) settings: BTreeMap<String, Settings>,
    /// The changes of the last minute.
    recent: VecDeque<Duration>,
}

impl State {
    pub(super) fn new(config: Config, settings: BTreeMap<String, Settings>, now: Duration) -> Self {
        let mut state = Self {
            config: Config::default(),
            services: BTreeMap::new(),
            swarms: BTreeMap::new(),
            settings,
            recent: VecDeque::new(),
        };
        state.set_config(config, now);
        state
    }

    /// Goes by another configuration. What is known of services that stay is kept.
    pub(super) fn set_config(&mut self, config: Config, now: Duration) {
        self.swarms.retain(|name, _| config.swarm.contains_key(name));
        for name in config.swarm.keys() {
            self.swarms.entry(name.clone()).or_default();
        }
        let stays = |name: &str, entry: &Entry| match entry.found {
            Found::Labels => {
                config.swarm.contains_key(&entry.swarm) && !config.autoscale.service.contains_key(name)
            }
            Found::Configuration => config.autoscale.service.get(name).is_some_and(|service| {
                config.swarm_of(service) == Some(&entry.swarm) && service.name(name) == entry.service
            }),
        };
        self.services.retain(|name, entry| stays(name, entry));
        for (name, service) in &config.autoscale.service {
            let Some(swarm) = config.swarm_of(service) else { continue };
            self.put(name, swarm, service.name(name), service.clone(), Found::Configuration, now);
        }
        self.config = config;
    }

    /// The swarm with this name, as it is configured now.
    pub(super) fn swarm(&self, name: &str) -> Option<&Swarm> {
        self.config.swarm.get(name)
    }

    /// Takes a service as it is described now.
    fn put(&mut self, name: &str, swarm: &str, service: &str, rules: Service, found: Found, now: Duration) {
        match self.services.get_mut(name) {
            Some(entry) => entry.base = rules,
            None => {
                let entry = Entry::new(swarm, service, rules, found);
                self.services.insert(name.to_owned(), entry);
            }
        }
        // Settings that do not fit a changed configuration any more are left out.
        let _ = self.apply(name, now);
    }

    /// Lays the operator's changes over a service.
    fn apply(&mut self, name: &str, now: Duration) -> Result<(), String> {
        let Some(entry) = self.services.get_mut(name) else { return Ok(()) };
        let Some(settings) = self.settings.get(name) else {
            entry.policy.set_rules(entry.base.clone());
            return Ok(());
        };
        let rules = settings.apply(&entry.base);
        entry.policy.set_rules(rules.as_ref().unwrap_or(&entry.base).clone());
        if entry.policy.pause() == Pause::No {
            entry.policy.set_pause(pause(settings.paused, now));
        }
        rules.map(drop)
    }

    /// What the operator changes of a service.
    ///
    /// # Errors
    /// The changes do not fit it; nothing is changed.
    pub(super) fn change(&mut self, name: &str, newer: Settings, now: Duration) -> Result<(), String> {
        let Some(entry) = self.services.get_mut(name) else {
            return Err(format!("no service {:?} is scaled", shown(name)));
        };
        let mut settings = self.settings.get(name).cloned().unwrap_or_default();
        let paused = newer.paused;
        settings.update(newer);
        settings.apply(&entry.base)?;
        if paused.is_some() {
            entry.policy.set_pause(pause(paused, now));
        }
        self.settings.insert(name.to_owned(), settings);
        self.apply(name, now)
    }

    /// The operator's changes, with the time that is left of each pause.
    pub(super) fn settings(&self, now: Duration) -> BTreeMap<String, Settings> {
        let mut all = self.settings.clone();
        for (name, settings) in &mut all {
            if let (Some(Paused::For(_)), Some(entry)) = (settings.paused, self.services.get(name)) {
                settings.paused = match entry.policy.pause() {
                    Pause::Until(until) if until > now => Some(Paused::For((until - now).as_secs_f64())),
                    _ => None,
                };
            }
        }
        all
    }

    /// Takes the services that labels describe; what is new about labels that are wrong.
    pub(super) fn discover(
        &mut self,
        swarm: &str,
        services: &[docker::Service],
        now: Duration,
    ) -> Vec<(String, News)> {
        let by_labels = self.config.swarm.get(swarm).is_some_and(Swarm::finds_by_labels);
        let mut found: BTreeMap<&str, Service> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for service in services.iter().filter(|_| by_labels) {
            let pairs = service.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let Some(read) = labels::read(pairs) else { continue };
            match read.and_then(|rules| self.may_be_found(swarm, &service.name).map(|is| (rules, is))) {
                Ok((rules, true)) => {
                    found.insert(&service.name, rules);
                }
                Ok((_, false)) => {}
                Err(why) => {
                    refused.insert(shown(&service.name), shown(&why));
                }
            }
        }
        let gone = |name: &str, entry: &Entry| {
            entry.found == Found::Labels && entry.swarm == swarm && !found.contains_key(name)
        };
        self.services.retain(|name, entry| !gone(name, entry));
        for (name, rules) in found {
            if self.services.contains_key(name) || self.services.len() < MOST_SERVICES {
                self.put(name, swarm, name, rules, Found::Labels, now);
            } else {
                refused.insert(name.to_owned(), format!("{MOST_SERVICES} services are scaled at most"));
            }
        }
        let Some(state) = self.swarms.get_mut(swarm) else { return Vec::new() };
        let is_new = |(service, why): &(&String, &String)| state.refused.get(*service) != Some(*why);
        let news = refused.iter().filter(is_new).map(|(service, why)| {
            let text = format!("the labels of {service} are ignored: {why}");
            (service.clone(), News { what: "labels", text, warning: true })
        });
        let news = news.collect();
        state.refused = refused;
        news
    }

    /// Whether labels may describe a service: not when the configuration does.
    fn may_be_found(&self, swarm: &str, name: &str) -> Result<bool, String> {
        if !is_service_name(name) {
            return Err("its name is none that Docker allows".to_owned());
        }
        let configured = self.services.values().any(|entry| {
            entry.found == Found::Configuration && entry.swarm == swarm && entry.service == name
        });
        if configured {
            return Ok(false);
        }
        match self.services.get(name) {
            Some(other) if other.swarm != swarm || other.found == Found::Configuration => {
                Err(format!("another service is scaled under this name, of swarm {}", other.swarm))
            }
            _ => Ok(true),
        }
    }

    /// What is to be looked at in a swarm.
    pub(super) fn wanted(&self, swarm: &str) -> Vec<Wanted> {
        let of = self.services.iter().filter(|(_, entry)| entry.swarm == swarm);
        of.map(|(name, entry)| entry.wanted(name)).collect()
    }

    /// Decides for the services of a swarm, together with all others.
    pub(super) fn decide(&mut self, now: Duration, seen: &[(String, Observation)]) -> Vec<Step> {
        let mut outlooks = Vec::new();
        for (name, observation) in seen {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let outlook = entry.policy.observe(now, observation);
            entry.claim = Some(entry.policy.claim(name, &outlook));
            outlooks.push((name, observation, outlook));
        }
        self.grant();
        let mut steps = Vec::new();
        for (name, observation, outlook) in outlooks {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let decision = entry.policy.decide(now, outlook, entry.grant);
            steps.push(entry.step(name, now, observation, decision));
        }
        steps
    }

    /// Decides again, on what a service is now.
    pub(super) fn decide_again(&mut self, now: Duration, name: &str, seen: &Observation) -> Option<Decision> {
        let entry = self.services.get_mut(name)?;
        let outlook = entry.policy.observe(now, seen);
        entry.claim = Some(entry.policy.claim(name, &outlook));
        self.grant();
        let entry = self.services.get_mut(name)?;
        let decision = entry.policy.decide(now, outlook, entry.grant);
        entry.remember(&decision);
        Some(decision)
    }

    /// Shares out what all services have.
    fn grant(&mut self) {
        let claims: Vec<Claim> = self
            .services
            .iter()
            .map(|(name, entry)| entry.claim.clone().unwrap_or_else(|| entry.unseen(name)))
            .collect();
        let grants = allocate(self.config.autoscale.budget, &claims);
        for (entry, grant) in self.services.values_mut().zip(grants) {
            entry.grant = grant;
        }
    }

    /// Whether a service may be changed now; then nobody else is given what it is about to have.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_change(&mut self, now: Duration, name: &str, to: u64) -> Result<(), String> {
        while self.recent.front().is_some_and(|at| now.saturating_sub(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        let most = self.config.autoscale.changes;
        let entry = self.services.get_mut(name).ok_or("it is not scaled any more")?;
        if now < entry.not_before {
            return Err(format!(
                "the last attempt failed, {} s are waited",
                (entry.not_before - now).as_secs()
            ));
        }
        if self.recent.len() >= most as usize {
            return Err(format!("{most} changes a minute are the most of all services together"));
        }
        self.recent.push_back(now);
        entry.policy.asking(to);
        if let Some(claim) = &mut entry.claim {
            claim.current = claim.current.max(to);
        }
        Ok(())
    }
}

impl Entry {
    fn new(swarm: &str, service: &str, rules: Service, found: Found) -> Self {
        Self {
            swarm: swarm.to_owned(),
            service: service.to_owned(),
            found,
            policy: Policy::new(rules.clone()),
            base: rules,
            watch: Watch::default(),
            claim: None,
            grant: Grant::ALL,
            last: None,
            log: VecDeque::new(),
            findings: Vec::new(),
            told_sick: BTreeSet::new(),
            replacing: None,
            trouble: None,
            backoff: Backoff::default(),
            not_before: Duration::ZERO,
            held: None,
            verdicts: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    fn wanted(&self, name: &str) -> Wanted {
        Wanted { name: name.to_owned(), service: self.service.clone(), rules: self.policy.rules().clone() }
    }

    /// What is claimed for a service that nobody has seen yet.
    fn unseen(&self, name: &str) -> Claim {
        let rules = self.policy.rules();
        let (least, priority) = (rules.min, rules.priority);
        Claim { name: name.to_owned(), priority, least, current: least, want: least }
    }

    fn step(&mut self, name: &str, now: Duration, seen: &Observation, decision: Decision) -> Step {
        let is_news = self.remember(&decision);
        *self.verdicts.entry(decision.verdict.label()).or_default() += 1;
        let mut news: Vec<News> = self.held(name, now, &decision).into_iter().collect();
        news.extend(self.replaced(name, now, seen));
        let sick = self.sick(name, now, seen, &mut news);
        Step { wanted: self.wanted(name), decision, is_news, news, sick }
    }

    /// Keeps a decision that is not as the last one was; whether it is one.
    fn remember(&mut self, decision: &Decision) -> bool {
        let label = |decision: &Decision| (decision.verdict.label(), change(&decision.verdict));
        let is_news = self.last.as_ref().map(label) != Some(label(decision));
        if is_news {
            if self.log.len() == MOST_DECISIONS {
                self.log.pop_front();
            }
            let (from, to) = change(&decision.verdict).unzip();
            self.log.push_back(Logged {
                at_ms: now_ms(),
                verdict: decision.verdict.label(),
                from,
                to,
                reason: decision.reason.clone(),
                values: decision.outlook.values.clone(),
                outcome: None,
            });
        }
        self.last = Some(decision.clone());
        is_news
    }

    /// Tells of a hold that lasts, and of its end.
    fn held(&mut self, name: &str, now: Duration, decision: &Decision) -> Option<News> {
        let label = match &decision.verdict {
            Verdict::Hold(
                hold @ (Hold::Engine(_) | Hold::Telemetry(_) | Hold::Missing { .. } | Hold::Differ { .. }),
            ) => hold.label(),
            _ => {
                let (_, _, told) = self.held.take()?;
                let text = format!("{name} is looked after again");
                return told.then_some(News { what: "resumed", text, warning: false });
            }
        };
        let (since, told) = match self.held {
            Some((held, since, told)) if held == label => (since, told),
            _ => (now, false),
        };
        let long = now.saturating_sub(since) >= seconds(self.policy.rules().agreement_s);
        self.held = Some((label, since, told || long));
        let text = format!("{name} is left as it is: {}", decision.reason);
        (long && !told).then_some(News { what: "held", text, warning: true })
    }

    /// Looks after the sick; the one that should be replaced now.
    fn sick(
        &mut self,
        name: &str,
        now: Duration,
        seen: &Observation,
        news: &mut Vec<News>,
    ) -> Option<Finding> {
        let rules = self.policy.rules();
        let sick = rules.sick.clone()?;
        let (min, fresh) = (rules.min, seconds(rules.fresh_s));
        self.findings = self.watch.tick(now, &sick, fresh, seen);
        let ill: BTreeSet<String> =
            self.findings.iter().filter(|finding| finding.sick).map(|finding| finding.task.clone()).collect();
        for finding in self.findings.iter().filter(|finding| finding.sick) {
            if !self.told_sick.contains(&finding.task) {
                let node = finding.node.first().map_or("unknown", String::as_str);
                let (task, since) = (&finding.task, finding.since.as_secs());
                let text = format!(
                    "task {task} of {name} on {} is sick for {since} s: {}",
                    shown(node),
                    finding.evidence
                );
                news.push(News { what: "sick", text, warning: true });
            }
        }
        self.told_sick = ill;
        let free = self.replacing.is_none() && now >= self.not_before && self.policy.rules().enabled;
        let acts = matches!(&self.last, Some(Decision { verdict: Verdict::Stay, .. }));
        if free && acts { self.watch.replace(now, &sick, min, seen, &self.findings).cloned() } else { None }
    }

    /// A container is about to be stopped.
    pub(super) fn replacing(&mut self, now: Duration, task: String, ticket: Ticket) {
        self.watch.replaced(now);
        self.replacing = Some(Replacing { task, began: now, stopped: false, ticket: Some(ticket) });
    }

    /// A container would be stopped, if that were allowed.
    pub(super) fn would_replace(&mut self, now: Duration) {
        self.watch.replaced(now);
    }

    /// What the engine says of stopping it.
    pub(super) fn stopped(&mut self, task: &str, result: Result<(), (String, bool)>) {
        let Some(replacing) = self.replacing.as_mut().filter(|replacing| replacing.task == task) else {
            return;
        };
        match result {
            Ok(()) => replacing.stopped = true,
            Err((why, undecided)) => {
                let outcome =
                    if undecided { Outcome::Unknown(why.clone()) } else { Outcome::Failed(why.clone()) };
                if let Some(ticket) = replacing.ticket.take() {
                    self.outcomes.entry(outcome.label()).and_modify(|count| *count += 1).or_insert(1);
                    ticket.done(outcome);
                }
                self.replacing = None;
                self.trouble = Some(why);
            }
        }
    }

    /// Whether the swarm says that a stopped container does not run any more.
    fn replaced(&mut self, name: &str, now: Duration, seen: &Observation) -> Option<News> {
        let pool = seen.pool.as_ref().ok()?;
        let replacing = self.replacing.as_mut()?;
        let gone = replacing.stopped && !pool.running.contains(&replacing.task);
        let late = now.saturating_sub(replacing.began) >= STOPPING;
        if !gone && !late {
            return None;
        }
        let task = &replacing.task;
        let (outcome, news) = if gone {
            let text = format!("{name}: task {task} was stopped, the swarm replaces it");
            let news = News { what: "replaced", text, warning: false };
            (Outcome::Done(format!("task {task} does not run any more")), news)
        } else {
            let text =
                format!("{name}: task {task} still runs {} s after it was to be stopped", STOPPING.as_secs());
            (Outcome::Failed(text.clone()), News { what: "failed", text, warning: true })
        };
        *self.outcomes.entry(outcome.label()).or_default() += 1;
        if let Some(ticket) = replacing.ticket.take() {
            ticket.done(outcome);
        }
        self.replacing = None;
        Some(news)
    }

    /// What came of the last decision.
    pub(super) fn outcome(&mut self, now: Duration, label: &'static str, text: String) {
        *self.outcomes.entry(label).or_default() += 1;
        if let Some(logged) = self.log.back_mut() {
            logged.outcome = Some(text.clone());
        }
        match label {
            "done" | "observed" => {
                self.trouble = None;
                self.backoff.worked();
            }
            _ => {
                self.trouble = Some(text);
                self.not_before = now + self.backoff.failed();
            }
        }
    }

    /// The task that is being replaced.
    pub(super) fn replacing_task(&self) -> Option<&str> {
        self.replacing.as_ref().map(|replacing| replacing.task.as_str())
    }
}

/// The change of a verdict.
fn change(verdict: &Verdict) -> Option<(u64, u64)> {
    if let Verdict::Set { from, to } = verdict { Some((*from, *to)) } else { None }
}

fn pause(paused: Option<Paused>, now: Duration) -> Pause {
    match paused {
        None | Some(Paused::Is(false)) => Pause::No,
        Some(Paused::Is(true)) => Pause::Open,
        Some(Paused::For(time)) => Pause::Until(now + seconds(time)),
    }
}
