//! Makes the changes that were decided: written to the audit log, asked for, and read back.

use std::collections::BTreeMap;
use std::rc::Rc;

use docker::{Id, ServiceSpec};
use serde_json::{Value as Json, json};
use tokio::task::spawn_local;

use super::config::Node;
use super::decision::{Decision, Verdict};
use super::executor::{Hands, Shared};
use super::observation::Observation;
use super::state::{Step, Wanted};
use crate::audit::{Entry, Outcome, Ticket};
use crate::mode::Mode;
use crate::notify::Severity;
use crate::text::shown;

/// How often a change is decided again because the service had changed since it was read.
const MOST_ATTEMPTS: u32 = 5;

/// A change on its way.
struct Goal {
    decision: Decision,
    from: u64,
    to: u64,
    /// What was seen, with what was read since.
    seen: Observation,
}

/// What came of an attempt.
enum Attempt {
    /// There is nothing more to do.
    Over,
    /// The service had changed since it was read.
    Stale(String),
}

impl Hands {
    /// Does what was decided, or tells what would be done.
    pub(super) async fn act(&mut self, step: &Step, seen: &Observation, from: u64, to: u64) {
        let shared = Rc::clone(&self.shared);
        let Wanted { name, rules, .. } = &step.wanted;
        match shared.context.mode.get() {
            Mode::Withdraw => {}
            Mode::Act if !rules.dry_run => self.change(step, seen.clone(), from, to).await,
            _ if step.is_news => {
                shared.context.audit.observed(self.entry(name, &step.decision, from, to));
                shared.outcome(name, "observed", "observed: it is not done".to_owned());
                let text = format!("{name} would set replicas={to}: {}", step.decision.reason);
                shared.tell(name, "observed", text, detail(&step.decision, from, to), Severity::Info);
            }
            _ => {}
        }
    }

    /// Makes a change: read, written, read back. When the service has changed since, it is decided again.
    async fn change(&mut self, step: &Step, seen: Observation, from: u64, to: u64) {
        let shared = Rc::clone(&self.shared);
        let mut goal = Goal { decision: step.decision.clone(), from, to, seen };
        let mut last = None;
        for _ in 0..MOST_ATTEMPTS {
            match self.attempt(&step.wanted, &mut goal, last.is_some()).await {
                Attempt::Over => return,
                Attempt::Stale(why) => last = Some(why),
            }
        }
        let why = format!("after {MOST_ATTEMPTS} attempts: {}", last.unwrap_or_default());
        shared.failed(&step.wanted.name, goal.to, "failed", &why);
    }

    /// One attempt; `again` when the last one met a service that had changed.
    async fn attempt(&mut self, wanted: &Wanted, goal: &mut Goal, again: bool) -> Attempt {
        let shared = Rc::clone(&self.shared);
        let (control, context) = (&shared.control, &shared.context);
        let name = &wanted.name;
        if context.stop.is_asked() || context.mode.get() != Mode::Act {
            return Attempt::Over;
        }
        let read = match self.managers.service(&wanted.service).await {
            Ok(read) => read,
            Err(error) => {
                shared.failed(name, goal.to, "failed", &error.to_string());
                return Attempt::Over;
            }
        };
        if !is_as_seen(&read, &mut goal.seen) || again {
            let decided = control.lock().decide_again(control.now(), name, &goal.seen);
            let Some(decision) = decided else { return Attempt::Over };
            let Verdict::Set { from, to } = decision.verdict else { return Attempt::Over };
            (goal.decision, goal.from, goal.to) = (decision, from, to);
        }
        // Reading takes time, in which the mode may have changed.
        if context.mode.get() != Mode::Act {
            return Attempt::Over;
        }
        if let Err(why) = control.lock().may_change(control.now(), name, goal.to) {
            tracing::debug!("{name}: replicas={} waits: {why}", goal.to);
            return Attempt::Over;
        }
        match context.audit.intent(self.entry(name, &goal.decision, goal.from, goal.to)) {
            Ok(ticket) => self.write(wanted, goal, &read, ticket).await,
            Err(error) => {
                shared.failed(name, goal.to, "failed", &error.to_string());
                Attempt::Over
            }
        }
    }

    /// Asks for the change on the service as it was read, and reads it back.
    async fn write(&mut self, wanted: &Wanted, goal: &Goal, read: &ServiceSpec, ticket: Ticket) -> Attempt {
        let (shared, name) = (Rc::clone(&self.shared), &wanted.name);
        match self.managers.set_replicas(read, goal.to).await {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("{name}: the engine warns: {}", shown(&warning));
                }
            }
            Err(error @ docker::Error::OutOfSequence { .. }) => {
                ticket.done(Outcome::Failed(error.to_string()));
                shared.stale(name);
                return Attempt::Stale(error.to_string());
            }
            // It may have been done all the same: that is read back.
            Err(docker::Error::Undecided { .. }) => {}
            Err(error) => {
                ticket.done(Outcome::Failed(error.to_string()));
                shared.failed(name, goal.to, "failed", &error.to_string());
                return Attempt::Over;
            }
        }
        match self.managers.service(&wanted.service).await {
            Ok(back) if back.service.replicas == Some(goal.to) => {
                ticket.done(Outcome::Done(format!("{} replicas were read back", goal.to)));
                self.done(name, &goal.decision, goal.from, goal.to);
            }
            Ok(back) => {
                let replicas = back.service.replicas.map_or("no".to_owned(), |replicas| replicas.to_string());
                let why = format!("{replicas} replicas were read back");
                ticket.done(Outcome::Failed(why.clone()));
                shared.failed(name, goal.to, "failed", &why);
            }
            Err(error) => {
                ticket.done(Outcome::Unknown(error.to_string()));
                let why = format!("it may be set, and cannot be read back: {error}");
                shared.failed(name, goal.to, "unknown", &why);
            }
        }
        Attempt::Over
    }

    /// A change was read back.
    fn done(&self, name: &str, decision: &Decision, from: u64, to: u64) {
        let shared = &self.shared;
        let now = shared.control.now();
        if let Some(entry) = shared.control.lock().services.get_mut(name) {
            entry.policy.done(now, from, to);
            entry.outcome(now, "done", format!("{to} replicas were read back"));
        }
        let text = format!("{name} set replicas={to}");
        shared.tell(name, "scaled", text, detail(decision, from, to), Severity::Info);
    }

    fn entry(&self, name: &str, decision: &Decision, from: u64, to: u64) -> Entry {
        Entry {
            kind: "scale",
            owner: format!("autoscale {name}"),
            name: name.to_owned(),
            target: self.managers.current().map(ToString::to_string).unwrap_or_default(),
            what: format!("set replicas={to}, from {from}"),
            reason: decision.reason.clone(),
            evidence: detail(decision, from, to),
        }
    }

    /// Stops the container of a sick replica on its own node, where the inventory allows it.
    pub(super) fn replace(&self, step: &Step, containers: &BTreeMap<String, Id>) {
        let (shared, name) = (&self.shared, &step.wanted.name);
        let Some(finding) = &step.sick else { return };
        let is_its = |node: &&Node| node.replace && finding.node.contains(&node.host);
        let node = self.swarm.node.iter().find(is_its);
        let (Some(node), Some(id)) = (node, containers.get(&finding.task).copied()) else { return };
        let Ok(endpoint) = node.endpoint(&self.swarm) else { return };
        let entry = Entry {
            kind: "replace",
            owner: format!("autoscale {name}"),
            name: name.clone(),
            target: endpoint.to_string(),
            what: format!("stop container {} of task {}", id.short(), finding.task),
            reason: finding.evidence.clone(),
            evidence: json!({
                "task": finding.task, "node": node.host, "sinceSeconds": finding.since.as_secs(),
            }),
        };
        match shared.context.mode.get() {
            Mode::Withdraw => {}
            Mode::Act if shared.control.lock().acts(name) => {
                self.stop(name, &finding.task, endpoint, id, entry)
            }
            _ => {
                shared.context.audit.observed(entry);
                let (task, why) = (&finding.task, &finding.evidence);
                let text = format!("{name} would replace task {task} on {}: {why}", node.host);
                shared.tell(name, "observed", text, Json::Null, Severity::Info);
                if let Some(entry) = shared.control.lock().services.get_mut(name) {
                    entry.would_replace(shared.control.now());
                }
            }
        }
    }

    /// Stops a container, beside all else: it may take its grace period.
    fn stop(&self, name: &str, task: &str, endpoint: docker::Endpoint, id: Id, entry: Entry) {
        let shared = &self.shared;
        let ticket = match shared.context.audit.intent(entry) {
            Ok(ticket) => ticket,
            Err(error) => return shared.outcome(name, "failed", error.to_string()),
        };
        if let Some(entry) = shared.control.lock().services.get_mut(name) {
            entry.replacing(shared.control.now(), task.to_owned(), ticket);
        }
        let (control, limits) = (shared.control.clone(), shared.limits);
        let (name, task) = (name.to_owned(), task.to_owned());
        spawn_local(async move {
            let stopped = docker::Engine::new(endpoint, limits).stop_container(&id).await;
            let stopped = stopped
                .map_err(|error| (error.to_string(), matches!(error, docker::Error::Undecided { .. })));
            if let Some(entry) = control.lock().services.get_mut(&name) {
                entry.stopped(&task, stopped);
            }
        });
    }
}

impl Shared {
    /// Notes what came of a decision.
    fn outcome(&self, name: &str, label: &'static str, text: String) {
        if let Some(entry) = self.control.lock().services.get_mut(name) {
            entry.outcome(self.control.now(), label, text);
        }
    }

    /// What was to be done was not: noted, and told.
    fn failed(&self, name: &str, to: u64, label: &'static str, why: &str) {
        self.outcome(name, label, why.to_owned());
        let detail = json!({ "to": to, "why": why });
        let text = format!("{name}: replicas={to} was not set: {why}");
        self.tell(name, "failed", text, detail, Severity::Warning);
    }

    /// Counts an attempt that met a changed service.
    fn stale(&self, name: &str) {
        if let Some(entry) = self.control.lock().services.get_mut(name) {
            *entry.outcomes.entry("out_of_sequence").or_default() += 1;
        }
    }
}

/// Whether the service as it was read just now is as the decision saw it; what has changed is noted.
fn is_as_seen(read: &ServiceSpec, seen: &mut Observation) -> bool {
    let Ok(pool) = &mut seen.pool else { return false };
    let updating = read.service.update.is_some_and(docker::UpdateState::is_unfinished);
    let is = (pool.replicas, pool.updating) == (read.service.replicas, updating);
    (pool.replicas, pool.updating) = (read.service.replicas, updating);
    is
}

/// A decision for programs.
fn detail(decision: &Decision, from: u64, to: u64) -> Json {
    let outlook = &decision.outlook;
    json!({
        "from": from, "to": to, "reason": decision.reason, "values": outlook.values,
        "running": outlook.running, "seen": outlook.seen,
    })
}
