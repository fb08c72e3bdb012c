//! How others talk to the controller: what it shows, and what persons ask of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::policy::Command;
use crate::row::Row;

/// Commands that may wait.
const WAITING: usize = 64;

/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// The longest capture that a person may ask for, seconds: a week.
const LONGEST_S: u64 = 604_800;

/// How often what is shown is made anew, at most, milliseconds.
const SHOWN_EVERY_MS: u64 = 100;

/// Talks to the controller; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

/// What a person asks to be captured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The host that is ours.
    pub local: IpAddr,
    /// The other one.
    pub remote: IpAddr,
    /// Agent of the switch that is to capture; the best one that has seen it when there is none.
    pub agent: Option<IpAddr>,
    /// For how long, seconds; as long as the policy's captures last without evidence when there is none.
    pub seconds: Option<u64>,
    /// The policy that says the analyzer; the first one when there is none.
    pub policy: Option<String>,
}

/// Why a person's wish was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be done.
    #[error("{0}")]
    Wrong(String),
    /// There is no session of this id.
    #[error("there is no session {0:?}")]
    Unknown(String),
    /// The controller does not answer.
    #[error("the capture controller does not answer: is the collector ending?")]
    Busy,
}

/// A command, and where its answer goes.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<String, String>>,
}

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) json: Json,
    pub(super) rows: Vec<Row>,
}

/// What controller and controls share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    view: Mutex<Arc<View>>,
    /// When it may be made anew, milliseconds; 0 before the first time.
    again_ms: AtomicU64,
}

impl Shared {
    /// Makes anew what is shown, unless that was done just now.
    pub(super) fn show(&self, make: impl FnOnce() -> View, now_ms: u64) {
        if now_ms < self.again_ms.load(Ordering::Relaxed) {
            return;
        }
        self.again_ms.store(now_ms + SHOWN_EVERY_MS, Ordering::Relaxed);
        let view = Arc::new(make());
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn get(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Control {
    pub(super) fn new() -> (Self, mpsc::Receiver<Ask>, Arc<Shared>) {
        let (asks, receiver) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared::default());
        (Self { asks, shared: Arc::clone(&shared) }, receiver, shared)
    }

    /// Sessions, those that have ended, switches and what was counted, as `/captures/json` answers; at most a second old.
    /// `null` before the controller runs.
    pub fn json(&self) -> Json {
        self.shared.get().json.clone()
    }

    /// The session with this id; `None` when there is none.
    pub fn session_json(&self, id: &str) -> Option<Json> {
        let view = self.shared.get();
        let sessions = view.json.get("sessions")?.as_array()?;
        sessions.iter().find(|session| session.get("id").and_then(Json::as_str) == Some(id)).cloned()
    }

    /// What was counted and measured.
    pub fn metrics(&self) -> Vec<Row> {
        self.shared.get().rows.clone()
    }

    /// Captures a pair, and answers with the id of the session. That its rule is there is said by its state later.
    ///
    /// # Errors
    /// It cannot be done, or nobody answers.
    pub async fn start(&self, start: Start) -> Result<String, Refusal> {
        let Start { local, remote, agent, seconds, policy } = start;
        if seconds.is_some_and(|seconds| !(1..=LONGEST_S).contains(&seconds)) {
            return Err(Refusal::Wrong(format!("seconds must be 1 to {LONGEST_S}")));
        }
        let command = Command::Start { local, remote, agent, seconds, policy };
        self.ask(command).await?.map_err(Refusal::Wrong)
    }

    /// Ends the session with this id; its pair is left alone for the time that its policy says.
    ///
    /// # Errors
    /// There is none, or nobody answers.
    pub async fn stop(&self, id: &str) -> Result<(), Refusal> {
        let stopped = self.ask(Command::Stop(id.to_owned())).await?;
        stopped.map(drop).map_err(|_| Refusal::Unknown(crate::text::shown(id)))
    }

    async fn ask(&self, command: Command) -> Result<Result<String, String>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask { command, answer }).map_err(|_| Refusal::Busy)?;
        timeout(ANSWERED_WITHIN, answered).await.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}
