//! The autoscaler as others see it: its state for REST, changes by the operator, and its counters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::config::{Config, ConfigError};
use super::decision::{Grant, Verdict};
use super::entry::Entry;
use super::policy::Pause;
use super::settings::Settings;
use super::state::State;
use crate::row::Row;
use crate::text::shown;

/// The autoscaler; a clone shows the same one.
#[derive(Clone, Debug)]
pub struct Control {
    state: Arc<Mutex<State>>,
    began: Instant,
}

/// Why a change by the operator was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such service.
    #[error("no service {0:?} is scaled; /autoscale/json lists those that are")]
    NotFound(String),
    /// It is not understood, or does not fit the service.
    #[error("{0}")]
    Wrong(String),
}

/// All services on one screen.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Name, bounds, replicas, verdict and reason of each.
    pub services: Vec<Json>,
    /// How many there are.
    pub all: usize,
    /// Swarms that are looked after.
    pub swarms: usize,
    /// Those of them that do not answer, and why.
    pub troubles: BTreeMap<String, String>,
}

impl Control {
    /// For a configuration that was checked, with the operator's changes as [`Control::settings_json`] gave them. What
    /// cannot be read of these is left out.
    pub(super) fn new(config: Config, settings: &Json) -> Self {
        let read = |(name, settings): (&String, &Json)| {
            Some((name.clone(), serde_json::from_value::<Settings>(settings.clone()).ok()?))
        };
        let settings = settings.as_object().map(|all| all.iter().filter_map(read).collect());
        let state = State::new(config, settings.unwrap_or_default(), Duration::ZERO);
        Self { state: Arc::new(Mutex::new(state)), began: Instant::now() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The monotonic time that policies go by.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Goes by another configuration; services that stay keep what is known of them.
    ///
    /// # Errors
    /// All that is wrong with it; nothing is changed.
    pub fn set_config(&self, config: Config) -> Result<(), Vec<ConfigError>> {
        let problems = config.validate();
        if problems.is_empty() {
            self.lock().set_config(config, self.now());
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// What the operator has changed, to be kept over a restart.
    pub fn settings_json(&self) -> Json {
        json!(self.lock().settings(self.now()))
    }

    /// Changes a service: `{"enabled": true}`, `{"paused": 600}`, `{"max": 20}`; what is absent stays. The answer is the
    /// service as [`Control::service_json`] has it.
    ///
    /// # Errors
    /// There is no such service, or the change is not understood or does not fit it; nothing is changed.
    pub fn put(&self, name: &str, change: &Json) -> Result<Json, ControlError> {
        {
            let mut state = self.lock();
            if !state.services.contains_key(name) {
                return Err(ControlError::NotFound(shown(name)));
            }
            let settings = Settings::read(change).map_err(ControlError::Wrong)?;
            state.change(name, settings, self.now()).map_err(ControlError::Wrong)?;
        }
        self.service_json(name).ok_or_else(|| ControlError::NotFound(shown(name)))
    }

    /// A service with the newest decisions first; `None` when there is none of this name.
    pub fn service_json(&self, name: &str) -> Option<Json> {
        let state = self.lock();
        state.services.get(name).map(|entry| service(entry, self.now()))
    }

    /// All services and swarms.
    pub fn json(&self) -> Json {
        let (state, now) = (self.lock(), self.now());
        let services: BTreeMap<&String, Json> =
            state.services.iter().map(|(name, entry)| (name, service(entry, now))).collect();
        let swarms: BTreeMap<&String, Json> = state
            .swarms
            .iter()
            .map(|(name, swarm)| {
                let json = json!({
                    "trouble": swarm.trouble, "failures": swarm.failures, "labelsRefused": swarm.refused,
                });
                (name, json)
            })
            .collect();
        let replicas: u64 = state.services.values().filter_map(replicas).fold(0, u64::saturating_add);
        json!({
            "budget": state.config.autoscale.budget,
            "replicas": replicas,
            "services": services,
            "swarms": swarms,
        })
    }

    /// Services in a few words, at most so many.
    pub fn brief(&self, most: usize) -> Brief {
        let state = self.lock();
        let one = |(name, entry): (&String, &Entry)| {
            let (last, rules) = (entry.last.as_ref(), entry.policy.rules());
            json!({
                "name": name, "min": rules.min, "max": rules.max,
                "replicas": last.and_then(|decision| decision.outlook.replicas),
                "running": last.map(|decision| decision.outlook.running),
                "seen": last.map(|decision| decision.outlook.seen),
                "verdict": last.map(|decision| decision.verdict.label()),
                "reason": last.map(|decision| &decision.reason),
            })
        };
        let troubles = state.swarms.iter();
        Brief {
            services: state.services.iter().take(most).map(one).collect(),
            all: state.services.len(),
            swarms: state.swarms.len(),
            troubles: troubles
                .filter_map(|(name, swarm)| Some((name.clone(), swarm.trouble.clone()?)))
                .collect(),
        }
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> Vec<Row> {
        let state = self.lock();
        let mut rows = Vec::new();
        for (name, entry) in &state.services {
            service_rows(name, entry, &mut rows);
        }
        for (name, swarm) in &state.swarms {
            for (reason, count) in &swarm.failures {
                rows.push(Row {
                    name: "finderscope_autoscale_engine_failures_total",
                    help: "Rounds of questions that the managers of a swarm did not answer, by reason",
                    labels: vec![("swarm", name.clone()), ("reason", (*reason).to_owned())],
                    value: *count as f64,
                });
            }
            rows.push(Row {
                name: "finderscope_autoscale_labels_refused",
                help: "Services whose labels are wrong, and ignored",
                labels: vec![("swarm", name.clone())],
                value: swarm.refused.len() as f64,
            });
        }
        // Families stand together in the text.
        rows.sort_by_key(|row| row.name);
        rows
    }
}

fn replicas(entry: &Entry) -> Option<u64> {
    entry.last.as_ref().and_then(|decision| decision.outlook.replicas)
}

fn service(entry: &Entry, now: Duration) -> Json {
    let rules = entry.policy.rules();
    let paused = match entry.policy.pause() {
        Pause::Open => json!(true),
        Pause::Until(until) if until > now => json!((until - now).as_secs_f64()),
        _ => json!(false),
    };
    let last = entry.last.as_ref();
    let outlook = last.map(|decision| &decision.outlook);
    let want = outlook.and_then(|outlook| outlook.wish.as_ref().ok()).map(|wish| wish.to);
    let hold = last.and_then(|decision| match &decision.verdict {
        Verdict::Hold(hold) => Some(hold.label()),
        _ => None,
    });
    let sick: Vec<Json> = entry
        .findings
        .iter()
        .map(|finding| {
            json!({
                "task": finding.task, "node": finding.node, "sinceSeconds": finding.since.as_secs(),
                "sick": finding.sick, "evidence": finding.evidence,
            })
        })
        .collect();
    json!({
        "swarm": entry.swarm, "service": entry.service, "foundBy": entry.found,
        "enabled": rules.enabled, "paused": paused, "dryRun": rules.dry_run,
        "min": rules.min, "max": rules.max, "priority": rules.priority, "metric": rules.metric,
        "replicas": outlook.and_then(|outlook| outlook.replicas),
        "running": outlook.map(|outlook| outlook.running),
        "seen": outlook.map(|outlook| outlook.seen),
        "want": want,
        "share": (entry.grant != Grant::ALL).then_some(entry.grant.share),
        "values": outlook.map(|outlook| &outlook.values),
        "verdict": last.map(|decision| decision.verdict.label()),
        "hold": hold,
        "reason": last.map(|decision| &decision.reason),
        "trouble": entry.trouble,
        "sick": sick,
        "replacing": entry.replacing_task(),
        "decisions": entry.log.iter().rev().collect::<Vec<_>>(),
    })
}

fn service_rows(name: &str, entry: &Entry, rows: &mut Vec<Row>) {
    let mut put = |family, help, more: Option<(&'static str, &str)>, value: f64| {
        let service = ("service", name.to_owned());
        let more = more.map(|(label, value)| (label, value.to_owned()));
        rows.push(Row { name: family, help, labels: [service].into_iter().chain(more).collect(), value });
    };
    let rules = entry.policy.rules();
    put(
        "finderscope_autoscale_enabled",
        "Whether a service is scaled",
        None,
        f64::from(u8::from(rules.enabled)),
    );
    put("finderscope_autoscale_min", "Replicas at least", None, rules.min as f64);
    put("finderscope_autoscale_max", "Replicas at most", None, rules.max as f64);
    if let Some(decision) = &entry.last {
        let outlook = &decision.outlook;
        if let Some(replicas) = outlook.replicas {
            put("finderscope_autoscale_replicas", "Replicas that are asked for", None, replicas as f64);
        }
        put(
            "finderscope_autoscale_running",
            "Tasks that run, as the engine says",
            None,
            outlook.running as f64,
        );
        put("finderscope_autoscale_seen", "Containers that telemetry sees", None, outlook.seen as f64);
        if let Ok(wish) = &outlook.wish {
            put("finderscope_autoscale_want", "Replicas that the metrics ask for", None, wish.to as f64);
        }
        for shown in &outlook.values {
            if let Some(value) = shown.value {
                let metric = Some(("metric", shown.metric.as_str()));
                put("finderscope_autoscale_value", "The value of a metric that decides", metric, value);
            }
        }
        if let Verdict::Hold(hold) = &decision.verdict {
            let reason = Some(("reason", hold.label()));
            put("finderscope_autoscale_held", "1 while a service is held, with the reason", reason, 1.0);
        }
    }
    if entry.grant != Grant::ALL {
        put("finderscope_autoscale_share", "Its share of the budget", None, entry.grant.share as f64);
    }
    let sick = entry.findings.iter().filter(|finding| finding.sick).count();
    put("finderscope_autoscale_sick", "Replicas that are sick", None, sick as f64);
    for (verdict, count) in &entry.verdicts {
        let verdict = Some(("verdict", *verdict));
        put(
            "finderscope_autoscale_decisions_total",
            "Decisions, by what they came to",
            verdict,
            *count as f64,
        );
    }
    for (outcome, count) in &entry.outcomes {
        let outcome = Some(("outcome", *outcome));
        put(
            "finderscope_autoscale_actions_total",
            "Changes and replacements, by what came of them",
            outcome,
            *count as f64,
        );
    }
}
