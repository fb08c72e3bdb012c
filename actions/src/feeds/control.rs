//! Asking about feeds and reading them at once, from other threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};

use super::config::{Feed, Source};
use super::standing::Standing;

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
        let now = self.began.elapsed();
        let one = |shared: &Arc<Shared>| {
            let mut json = shared.standing().json(now);
            json["set"] = shared.set.clone().into();
            json["label"] = (*shared.label).into();
            json["source"] = shared.source.named().into();
            json["refresh_s"] = shared.feed.refresh_s.into();
            (shared.name.clone(), json)
        };
        json!(self.feeds.iter().map(one).collect::<serde_json::Map<_, _>>())
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
