//! How others talk to the controller: what it shows, and what persons ask of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::guarding::Answer;
use super::policy::Command;
use super::scripts::place::Place;
use super::scripts::policy::Came;
use super::scripts::rules::Mirror;
use super::scripts::{Put, ScriptRule};
use super::view::View;
use crate::row::Row;

/// Commands that may wait.
const WAITING: usize = 64;

/// How long an answer may take, to a person and to a script, which is answered when the disk has it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
const SCRIPT_ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// The longest capture that a person may ask for, seconds: a week.
const LONGEST_S: u64 = 604_800;

/// How often what is shown is copied anew, at most, milliseconds: while somebody looks at it, and otherwise.
const SHOWN_EVERY_MS: (u64, u64) = (100, 1000);

/// For how long somebody looks who has asked, milliseconds.
const LOOKS_MS: u64 = 2000;

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

/// What is asked of the controller.
#[derive(Debug)]
pub(super) enum Ask {
    Person(PersonAsk),
    Script(ScriptAsk),
}

/// A person's command, and where its answer goes.
#[derive(Debug)]
pub(super) struct PersonAsk {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<String, String>>,
}

/// What a script asks, and where its answer goes.
#[derive(Debug)]
pub(super) struct ScriptAsk {
    pub(super) wish: ScriptWish,
    pub(super) answer: Answer,
}

/// What a script, or whoever looks after scripts, asks.
#[derive(Debug)]
pub(super) enum ScriptWish {
    Put(ScriptRule, Mirror),
    Delete { script: String, name: String, place: Place },
    Scripts(BTreeSet<String>),
}

/// What controller and controls share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    view: Mutex<Option<Arc<View>>>,
    /// Whether somebody has looked at it since it was copied.
    looked_at: AtomicBool,
    /// Until when somebody looks, milliseconds.
    looks_until_ms: AtomicU64,
    /// When it was copied, milliseconds, and one; 0 before the first time.
    copied_ms: AtomicU64,
}

impl Shared {
    /// Copies anew what is shown, unless that was done just now. It takes time in which no capture begins, so that it is
    /// done seldom while nobody looks.
    pub(super) fn show(&self, copy: impl FnOnce() -> View, now_ms: u64) {
        if self.is_due(now_ms) {
            let view = Some(Arc::new(copy()));
            *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
        }
    }

    /// Whether it is time for the next copy, which is made then.
    fn is_due(&self, now_ms: u64) -> bool {
        if self.looked_at.swap(false, Ordering::Relaxed) {
            self.looks_until_ms.store(now_ms + LOOKS_MS, Ordering::Relaxed);
        }
        let looks = now_ms < self.looks_until_ms.load(Ordering::Relaxed);
        let every_ms = if looks { SHOWN_EVERY_MS.0 } else { SHOWN_EVERY_MS.1 };
        let copied_ms = self.copied_ms.load(Ordering::Relaxed);
        let is_due = copied_ms == 0 || now_ms >= copied_ms - 1 + every_ms;
        if is_due {
            self.copied_ms.store(now_ms + 1, Ordering::Relaxed);
        }
        is_due
    }

    /// What is shown; `None` before the controller runs.
    fn view(&self) -> Option<Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same for somebody who may look again soon.
    fn look(&self) -> Option<Arc<View>> {
        self.looked_at.store(true, Ordering::Relaxed);
        self.view()
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
        self.shared.look().map_or(Json::Null, |view| view.json().clone())
    }

    /// The session with this id; `None` when there is none.
    pub fn session_json(&self, id: &str) -> Option<Json> {
        self.shared.look()?.session_json(id)
    }

    /// What was counted and measured.
    pub fn metrics(&self) -> Vec<Row> {
        self.shared.view().map(|view| view.rows.clone()).unwrap_or_default()
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

    /// Has a switch get a rule that a script wants, and keeps it there while there is evidence. The answer comes when it is
    /// wanted for certain, which is on the disk then; that it is there is said by the session's state later. To be called
    /// in a runtime that has time; it takes five seconds at most.
    ///
    /// # Errors
    /// It is no capture of one pair of hosts, is not to be, has no room, or nobody answers.
    pub async fn put_script(&self, rule: ScriptRule) -> Result<Put, Refusal> {
        let mirror = Mirror::read(&rule.lines).map_err(Refusal::Wrong)?;
        check_name(&rule.name)?;
        match self.ask_for_script(ScriptWish::Put(rule, mirror)).await? {
            Came::Placed(session) => Ok(Put { session, refreshed: false }),
            Came::Refreshed(session) => Ok(Put { session, refreshed: true }),
            Came::Ended(_) => Err(Refusal::Busy),
        }
    }

    /// Ends the session of a script's rule; whether there was one.
    ///
    /// # Errors
    /// The name is none, or nobody answers.
    pub async fn delete_script(&self, script: &str, name: &str, switch: Place) -> Result<bool, Refusal> {
        check_name(name)?;
        let wish = ScriptWish::Delete { script: script.to_owned(), name: name.to_owned(), place: switch };
        Ok(self.ask_for_script(wish).await? == Came::Ended(true))
    }

    /// These scripts there are, and may have captures: those of others end, soon.
    ///
    /// # Errors
    /// The controller has too much to do, or has ended.
    pub fn scripts(&self, names: BTreeSet<String>) -> Result<(), Refusal> {
        let (answer, _) = oneshot::channel();
        let ask = Ask::Script(ScriptAsk { wish: ScriptWish::Scripts(names), answer });
        self.asks.try_send(ask).map_err(|_| Refusal::Busy)
    }

    async fn ask_for_script(&self, wish: ScriptWish) -> Result<Came, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask::Script(ScriptAsk { wish, answer })).map_err(|_| Refusal::Busy)?;
        timeout(SCRIPT_ANSWERED_WITHIN, answered)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or(Err(Refusal::Busy))
    }

    async fn ask(&self, command: Command) -> Result<Result<String, String>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Person(PersonAsk { command, answer });
        self.asks.try_send(ask).map_err(|_| Refusal::Busy)?;
        timeout(ANSWERED_WITHIN, answered).await.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    name.parse::<acl::Name>().map(drop).map_err(|error| Refusal::Wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_copied_often_while_somebody_looks_and_seldom_otherwise() {
        let shared = Shared::default();
        let copies = |from: u64, to: u64| (from..to).filter(|now_ms| shared.is_due(*now_ms)).count();
        assert!(shared.is_due(0), "the first one is made at once");
        assert_eq!(copies(1, 10_000), 9);
        assert!(shared.look().is_none());
        assert_eq!(copies(10_000, 12_000), 20);
        assert_eq!(copies(12_000, 20_000), 8, "nobody has asked for a while");
    }
}
