//! What is known of one service: its policy, what was decided, and what came of it. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::budget::Claim;
use super::config::{Service, seconds};
use super::decision::{Decision, Grant, Shown, Verdict};
use super::observation::Observation;
use super::policy::Policy;
use super::sick::{Finding, Watch};
use super::state::{News, Step, Wanted};
use crate::audit::{Outcome, Ticket};
use crate::clock::now_ms;
use crate::retry::Backoff;
use crate::text::shown;

/// Decisions that are kept of each service.
const MOST_DECISIONS: usize = 64;

/// How long a stopped container may still be listed as running.
const STOPPING: Duration = Duration::from_secs(60);

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
    pub(super) base: Service,
    pub(super) policy: Policy,
    watch: Watch,
    pub(super) claim: Option<Claim>,
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
    pub(super) not_before: Duration,
    /// Since when it is held, why, and whether that was told.
    held: Option<(&'static str, Duration, bool)>,
    /// Decisions by verdict, and actions by what came of them.
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
}

impl Entry {
    pub(super) fn new(swarm: &str, service: &str, rules: Service, found: Found) -> Self {
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

    pub(super) fn wanted(&self, name: &str) -> Wanted {
        Wanted { name: name.to_owned(), service: self.service.clone(), rules: self.policy.rules().clone() }
    }

    /// What is claimed for a service that nobody has seen yet.
    pub(super) fn unseen(&self, name: &str) -> Claim {
        let rules = self.policy.rules();
        let (least, priority) = (rules.min, rules.priority);
        Claim { name: name.to_owned(), priority, least, current: least, want: least }
    }

    pub(super) fn step(&mut self, name: &str, now: Duration, seen: &Observation, decision: Decision) -> Step {
        let is_news = self.remember(&decision);
        *self.verdicts.entry(decision.verdict.label()).or_default() += 1;
        let mut news: Vec<News> = self.held(name, now, &decision).into_iter().collect();
        news.extend(self.replaced(name, now, seen));
        let sick = self.sick(name, now, seen, &mut news);
        Step { wanted: self.wanted(name), decision, is_news, news, sick }
    }

    /// Keeps a decision that is not as the last one was; whether it is one.
    pub(super) fn remember(&mut self, decision: &Decision) -> bool {
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
            Verdict::Hold(hold) if hold.is_lack() => hold.label(),
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
