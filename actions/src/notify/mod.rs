//! Events and actions told to others: a log line, webhooks and syslog.
//!
//! Telling never waits. Each destination has a queue with an end and a task of its own on the actions thread, so that a
//! dead one delays neither the others nor any action; what finds no place or cannot be delivered is lost and counted.

mod config;
mod syslog;
mod thresholds;
mod webhook;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::clock::{now_ms, stamp};
use crate::stop::Stop;
pub use config::{Config, Syslog, Webhook};
pub(crate) use thresholds::watch;

/// Notices of one destination that may wait.
const WAITING: usize = 1024;

/// How much it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What happened as it should.
    #[default]
    Info,
    /// Somebody should look at it.
    Warning,
    /// Something that was wanted is not done.
    Error,
}

/// What is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Notice {
    /// What it is about: `threshold`, `scale`, `capture`, `feed`, `mode`, `actions`.
    pub kind: &'static str,
    /// The name of that: of a threshold, service, session, feed.
    pub name: String,
    /// What happened, a word: `raised`, `scaled`, `active`, `failed`.
    pub what: &'static str,
    /// The same as a line for people.
    pub text: String,
    /// The same for programs.
    pub detail: Json,
    /// How much it matters.
    pub severity: Severity,
}

/// A notice with its number and time, made once for all destinations.
#[derive(Debug)]
struct Stamped {
    /// Unique: a receiver that sees it twice was told twice.
    id: String,
    at_ms: u64,
    notice: Notice,
}

impl Stamped {
    fn json(&self, host: &str) -> Json {
        let mut json = json!({
            "id": self.id, "at": stamp(self.at_ms), "host": host, "version": env!("CARGO_PKG_VERSION"),
        });
        if let (Some(object), Ok(Json::Object(notice))) =
            (json.as_object_mut(), serde_json::to_value(&self.notice))
        {
            object.extend(notice);
        }
        json
    }
}

/// What happened to the notices of a destination.
#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed_tries: AtomicU64,
    lost_queue_full: AtomicU64,
    lost_refused: AtomicU64,
    lost_too_old: AtomicU64,
    lost_at_end: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was counted of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// `webhook` or `syslog`.
    pub kind: &'static str,
    /// Its name in the configuration.
    pub name: String,
    /// Notices that it took; by syslog, that were sent.
    pub delivered: u64,
    /// Tries that failed and were made again or given up.
    pub failed_tries: u64,
    /// Notices that were lost, by reason.
    pub lost: BTreeMap<&'static str, u64>,
}

/// What a destination is told of.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// All where there are none.
    kinds: Vec<String>,
    severity: Severity,
}

impl Wanted {
    fn wants(&self, notice: &Notice) -> bool {
        notice.severity >= self.severity
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == notice.kind))
    }
}

#[derive(Debug)]
struct Outlet {
    kind: &'static str,
    name: String,
    wanted: Wanted,
    queue: Sender<Arc<Stamped>>,
    counters: Arc<Counters>,
}

/// Tells everybody who wants to know; a clone tells the same ones.
#[derive(Clone, Debug)]
pub struct Notices {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outlets: Vec<Outlet>,
    /// Who delivers; taken away by the thread that lets them run.
    couriers: Mutex<Vec<Courier>>,
    began_ms: u64,
    told: AtomicU64,
}

/// Delivers what waits for one destination.
#[derive(Debug)]
pub(crate) struct Courier {
    waiting: Receiver<Arc<Stamped>>,
    counters: Arc<Counters>,
    to: To,
    host: String,
}

#[derive(Debug)]
enum To {
    Webhook(Webhook),
    Syslog(Syslog),
}

impl Notices {
    /// For the destinations of a configuration that was checked; nothing is sent before the actions thread runs.
    pub fn new(config: &Config) -> Self {
        let mut shared = Shared {
            outlets: Vec::new(),
            couriers: Mutex::default(),
            began_ms: now_ms(),
            told: AtomicU64::new(0),
        };
        let host = host();
        let mut add = |kind, name: &str, kinds: &[String], severity, to| {
            let (queue, waiting) = channel(WAITING);
            let counters = Arc::new(Counters::default());
            let wanted = Wanted { kinds: kinds.to_vec(), severity };
            let courier = Courier { waiting, counters: Arc::clone(&counters), to, host: host.clone() };
            shared.outlets.push(Outlet { kind, name: name.to_owned(), wanted, queue, counters });
            shared.couriers.get_mut().unwrap_or_else(PoisonError::into_inner).push(courier);
        };
        for (name, webhook) in &config.webhook {
            add("webhook", name, &webhook.kinds, webhook.severity, To::Webhook(webhook.clone()));
        }
        for (name, syslog) in &config.syslog {
            add("syslog", name, &syslog.kinds, syslog.severity, To::Syslog(syslog.clone()));
        }
        Self { shared: Arc::new(shared) }
    }

    /// Tells it, and writes it to the log. Threshold events have a log of their own, `/events/json`.
    pub fn tell(&self, notice: Notice) {
        let (kind, name, text) = (notice.kind, &notice.name, &notice.text);
        match notice.severity {
            _ if kind == thresholds::KIND => tracing::debug!("{text}"),
            Severity::Info => tracing::info!("{text}"),
            // Lines are limited for each agent: here, for each that is told about.
            Severity::Warning => tracing::warn!(about = %format_args!("{kind} {name}"), "{text}"),
            Severity::Error => tracing::error!(about = %format_args!("{kind} {name}"), "{text}"),
        }
        let number = self.shared.told.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{number}", self.shared.began_ms);
        let stamped = Arc::new(Stamped { id, at_ms: now_ms(), notice });
        for outlet in self.shared.outlets.iter().filter(|outlet| outlet.wanted.wants(&stamped.notice)) {
            if outlet.queue.try_send(Arc::clone(&stamped)).is_err() {
                Counters::add(&outlet.counters.lost_queue_full);
            }
        }
    }

    /// Notices so far.
    pub fn told(&self) -> u64 {
        self.shared.told.load(Ordering::Relaxed)
    }

    /// What was counted of each destination.
    pub fn destinations(&self) -> Vec<Destination> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let one = |outlet: &Outlet| Destination {
            kind: outlet.kind,
            name: outlet.name.clone(),
            delivered: read(&outlet.counters.delivered),
            failed_tries: read(&outlet.counters.failed_tries),
            lost: BTreeMap::from([
                ("queue_full", read(&outlet.counters.lost_queue_full)),
                ("refused", read(&outlet.counters.lost_refused)),
                ("too_old", read(&outlet.counters.lost_too_old)),
                ("at_end", read(&outlet.counters.lost_at_end)),
            ]),
        };
        self.shared.outlets.iter().map(one).collect()
    }

    /// Those who deliver; the second call has none.
    pub(crate) fn couriers(&self) -> Vec<Courier> {
        std::mem::take(&mut *self.shared.couriers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Courier {
    /// Delivers until it is stopped; what then waits is tried once more.
    pub(crate) async fn run(self, stop: Stop) {
        match &self.to {
            To::Webhook(to) => {
                let to = to.clone();
                webhook::run(self, &to, stop).await;
            }
            To::Syslog(to) => {
                let to = to.clone();
                syslog::run(self, &to, stop).await;
            }
        }
    }

    /// The next one; `None` when it is stopped and nothing waits.
    async fn next(&mut self, stop: &mut Stop) -> Option<Arc<Stamped>> {
        tokio::select! {
            biased;
            next = self.waiting.recv() => next,
            () = stop.asked() => None,
        }
    }
}

/// The name of this host.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}
