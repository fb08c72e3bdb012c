//! Asking about feeds and reading them at once, from other threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};

use super::config::{Feed, Source};
use super::standing::Standing;
use crate::row::Row;

/// A feed, shared by its task and those who ask about it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) label: Arc<str>,
    pub(super) set: String,
    pub(super) feed: Feed,
    pub(super) source: Source,
    pub(super) standing: Mutex<Standing>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Shared {
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it is read.
    pub(super) fn period(&self) -> Duration {
        Duration::from_secs(self.feed.refresh_s)
    }
}

/// Reads a feed at once.
#[derive(Debug)]
pub(super) struct Order {
    /// Whatever it changes is right.
    pub(super) accept_change: bool,
    pub(super) answer: oneshot::Sender<Result<String, String>>,
}

/// Why a feed was not read at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// There is no such feed.
    #[error("there is no feed {0:?}")]
    Unknown(String),
    /// Others wait for the same.
    #[error("others have asked for the same and wait: ask again later")]
    Busy,
    /// The collector ends.
    #[error("the collector ends")]
    Ended,
    /// It was read and is not used; the list before stays.
    #[error("{0}")]
    Failed(String),
}

/// What is counted and measured of a feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Its name.
    pub feed: String,
    /// Its group set.
    pub set: String,
    /// Age of the list in use, seconds; `None` without a list.
    pub age_s: Option<f64>,
    /// Whether it is older than three periods.
    pub late: bool,
    /// Whether the last reading was no good.
    pub failing: bool,
    /// Prefixes in use.
    pub entries: usize,
    /// Addresses of IPv4 that they cover.
    pub covered_ipv4: u64,
    /// Networks of 64 bits of IPv6 that they cover.
    pub covered_ipv6_64: f64,
    /// Entries of the list in use that were not taken, by reason.
    pub rejected: BTreeMap<&'static str, usize>,
    /// Readings by what became of them.
    pub readings: BTreeMap<&'static str, u64>,
    /// Times that the list could not be written to the disk.
    pub unsaved: u64,
    /// What building the set took when it was last swapped, seconds.
    pub built_in_s: f64,
}

/// Asks about feeds and reads them at once; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) feeds: Arc<[Arc<Shared>]>,
    pub(super) began: Instant,
}

impl Control {
    /// All feeds by name, for `/feeds/json`.
    pub fn json(&self) -> Json {
        let all = self.feeds.iter().map(|shared| (shared.name.clone(), self.one(shared)));
        Json::Object(all.collect())
    }

    /// Each feed in a few words.
    pub fn brief(&self) -> Vec<Json> {
        let one = |shared: &Arc<Shared>| {
            let standing = shared.standing();
            json!({
                "name": shared.name, "set": shared.set, "entries": standing.networks.len(), "late": standing.late,
                "failing": standing.failing(), "last": standing.last.as_ref().map(|(_, words, _)| words),
            })
        };
        self.feeds.iter().map(one).collect()
    }

    /// A feed, for `/feed/NAME/json`.
    pub fn feed_json(&self, name: &str) -> Option<Json> {
        self.feeds.iter().find(|shared| shared.name == name).map(|shared| self.one(shared))
    }

    fn one(&self, shared: &Shared) -> Json {
        let mut json = shared.standing().json(self.began.elapsed());
        json["set"] = shared.set.clone().into();
        json["label"] = (*shared.label).into();
        json["source"] = shared.source.named().into();
        json["refreshSeconds"] = shared.feed.refresh_s.into();
        json
    }

    /// What is counted and measured, by feed.
    pub fn metrics(&self) -> Vec<Metrics> {
        let now = self.began.elapsed();
        let one = |shared: &Arc<Shared>| {
            let standing = shared.standing();
            Metrics {
                feed: shared.name.clone(),
                set: shared.set.clone(),
                age_s: standing.confirmed.map(|_| standing.age(now).as_secs_f64()),
                late: standing.late,
                failing: standing.failing(),
                entries: standing.networks.len(),
                covered_ipv4: standing.covered.0,
                covered_ipv6_64: standing.covered.1,
                rejected: standing.rejected.iter().map(|(reason, many)| (reason.label(), *many)).collect(),
                readings: standing.readings.clone(),
                unsaved: standing.unsaved,
                built_in_s: standing.built_in.as_secs_f64(),
            }
        };
        self.feeds.iter().map(one).collect()
    }

    /// The same as rows of `/metrics`, families together.
    pub fn rows(&self) -> Vec<Row> {
        let all = self.metrics();
        let mut rows = Vec::new();
        let mut family = |name, help, value: &dyn Fn(&Metrics) -> Option<f64>| {
            for feed in &all {
                let row = value(feed).map(|value| Row::new(name, help, value));
                rows.extend(row.map(|row| row.with("feed", &*feed.feed).with("set", &*feed.set)));
            }
        };
        let flag = |is: bool| Some(f64::from(u8::from(is)));
        family("finderscope_feed_age_seconds", "Age of the list that is in use", &|feed| feed.age_s);
        family("finderscope_feed_late", "1 where the list is older than three periods", &|feed| {
            flag(feed.late)
        });
        family("finderscope_feed_failing", "1 where the last reading was no good", &|feed| {
            flag(feed.failing)
        });
        family("finderscope_feed_entries", "Prefixes in use", &|feed| Some(feed.entries as f64));
        let help = "Addresses of IPv4 that the list covers";
        family("finderscope_feed_covered_ipv4", help, &|feed| Some(feed.covered_ipv4 as f64));
        let help = "Networks of 64 bits of IPv6 that the list covers";
        family("finderscope_feed_covered_ipv6_64", help, &|feed| Some(feed.covered_ipv6_64));
        let help = "Lists that could not be written to the state directory";
        family("finderscope_feed_unsaved_total", help, &|feed| Some(feed.unsaved as f64));
        let help = "Seconds that building the set took when it was last swapped";
        family("finderscope_feed_built_in_seconds", help, &|feed| Some(feed.built_in_s));
        for feed in &all {
            for (reason, many) in &feed.rejected {
                let help = "Entries of the list in use that are not taken, by reason";
                let row = Row::new("finderscope_feed_rejected", help, *many as f64);
                rows.push(row.with("feed", &*feed.feed).with("set", &*feed.set).with("reason", *reason));
            }
        }
        for feed in &all {
            for (result, many) in &feed.readings {
                let help = "Readings of the feed by what became of them";
                let row = Row::new("finderscope_feed_readings_total", help, *many as f64);
                rows.push(row.with("feed", &*feed.feed).with("set", &*feed.set).with("result", *result));
            }
        }
        rows
    }

    /// Reads a feed now; with `accept_change` whatever it changes is right. What became of it, in words.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, name: &str, accept_change: bool) -> Result<String, RefreshError> {
        let shared = self.feeds.iter().find(|shared| shared.name == name);
        let shared = shared.ok_or_else(|| RefreshError::Unknown(crate::text::shown(name)))?;
        let (answer, answered) = oneshot::channel();
        shared.orders.try_send(Order { accept_change, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RefreshError::Busy,
            mpsc::error::TrySendError::Closed(_) => RefreshError::Ended,
        })?;
        answered.await.map_err(|_| RefreshError::Ended)?.map_err(RefreshError::Failed)
    }
}
