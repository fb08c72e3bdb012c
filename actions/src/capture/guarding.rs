//! The controller's part for captures of scripts: takes what they ask, keeps it on the disk before anything is put, and
//! answers then.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::config::Config;
use super::control::{Refusal, ScriptAsk, ScriptWish};
use super::controller::Running;
use super::evidence::Sighting;
use super::pair::Pair;
use super::poll::Polled;
use super::scripts::kept::{Kept, Store};
use super::scripts::place::{Meant, Place};
use super::scripts::policy::{Came, Command, Restored, Scripts};
use super::scripts::session::Scripted;
use super::scripts::traffic::Traffic;
use super::switches::Remote;
use super::wanted::Change;
use crate::audit;
use crate::clock;

/// How long after a version could not be written the next is tried.
const AGAIN_MS: u64 = 1000;

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<Came, Refusal>>;

/// Captures of scripts, and what of them is on the disk.
pub(super) struct Guard {
    pub(super) scripts: Scripts,
    pub(super) traffic: Traffic,
    /// Pairs that are looked at.
    pub(super) watched: BTreeSet<Pair>,
    store: Option<Store>,
    /// The version that is being written.
    saving: Option<(u64, JoinHandle<io::Result<()>>)>,
    saved: u64,
    not_before_ms: u64,
    /// Answers that are given when a version is on the disk.
    waiting: Vec<(u64, Answer, Came)>,
}

impl Guard {
    /// Nothing of scripts yet.
    pub(super) fn new(instance: String, store: Option<Store>) -> Self {
        Self {
            scripts: Scripts::new(instance),
            traffic: Traffic::default(),
            watched: BTreeSet::new(),
            store,
            saving: None,
            saved: 0,
            not_before_ms: 0,
            waiting: Vec::new(),
        }
    }

    /// What is restored from a state directory, whose implied switches are in the configuration then.
    pub(super) fn load(state: Option<&Path>, config: &mut Config) -> (Option<Store>, Vec<Restored>) {
        let Some(store) = state.map(Store::new) else { return (None, Vec::new()) };
        let (restored, lost) = store.load().restored(config, clock::now_ms());
        for lost in lost {
            tracing::error!(
                "nobody looks after {lost}: its switch is in no inventory any more; delete it there"
            );
        }
        (Some(store), restored)
    }

    /// Waits until a version is written; for ever when none is.
    pub(super) async fn written(&mut self) -> (u64, io::Result<()>) {
        let Some((version, saving)) = &mut self.saving else { return std::future::pending().await };
        let result = saving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        (*version, result)
    }

    /// Whether all is on the disk.
    pub(super) fn is_kept(&self) -> bool {
        self.store.is_none() || self.saved == self.scripts.version()
    }

    /// Begins to write what has changed, unless that is under way.
    pub(super) fn keep(&mut self, config: &Config, now_ms: u64) {
        let version = self.scripts.version();
        if self.saving.is_some() || self.saved == version || now_ms < self.not_before_ms {
            return;
        }
        let Some(store) = self.store.clone() else { return };
        let kept = Kept::of(&self.scripts, config, now_ms, clock::now_ms());
        self.saving = Some((version, spawn_blocking(move || store.save(&kept))));
    }
}

impl Running {
    /// A version was written, or could not be.
    pub(super) fn written(&mut self, version: u64, result: io::Result<()>, now_ms: u64) {
        self.guard.saving = None;
        let waiting = std::mem::take(&mut self.guard.waiting);
        match result {
            Ok(()) => {
                self.guard.saved = version;
                self.guard.scripts.saved(version);
                self.touched.extend(self.guard.scripts.sessions().filter_map(|one| one.session.at));
                let (done, waiting) = waiting.into_iter().partition(|(needs, ..)| *needs <= version);
                self.guard.waiting = waiting;
                for (_, answer, came) in done {
                    // Whoever asked may have gone.
                    let _ = answer.send(Ok(came));
                }
            }
            Err(error) => {
                tracing::error!("captures of scripts cannot be kept in the state directory: {error}");
                self.guard.not_before_ms = now_ms + AGAIN_MS;
                let effects = self.guard.scripts.unsaved(&error.to_string(), now_ms);
                self.policy.beside(self.guard.scripts.loads(now_ms));
                self.done(effects);
                for (_, answer, _) in waiting {
                    let why =
                        format!("it is not done, because it cannot be kept in the state directory: {error}");
                    let _ = answer.send(Err(Refusal::Wrong(why)));
                }
            }
        }
    }

    /// A script asks for something.
    pub(super) fn asked_by_script(&mut self, ask: ScriptAsk, now_ms: u64) {
        let ScriptAsk { wish, answer } = ask;
        let came = match wish {
            ScriptWish::Put(rule, mirror) => {
                let (script, name, limits) = (rule.script, rule.name, rule.limits);
                self.put(&rule.switch, now_ms, |switch| Command::Put { script, name, switch, mirror, limits })
            }
            ScriptWish::Delete { script, name, place } => match place.meant(&self.config) {
                Ok(Meant::Known(switch)) => self.command(Command::Delete { script, name, switch }, now_ms),
                // Where nothing is known of a switch no script has a rule there.
                _ => Ok(Came::Ended(false)),
            },
            ScriptWish::Scripts(scripts) => self.command(Command::Scripts(scripts), now_ms),
        };
        match came {
            Ok(came) if self.guard.is_kept() => drop(answer.send(Ok(came))),
            Ok(came) => self.guard.waiting.push((self.guard.scripts.version(), answer, came)),
            Err(why) => drop(answer.send(Err(Refusal::Wrong(why)))),
        }
    }

    /// A rule at a switch, which is new if it is in no inventory.
    fn put(
        &mut self,
        place: &Place,
        now_ms: u64,
        command: impl FnOnce(usize) -> Command,
    ) -> Result<Came, String> {
        if self.guard.store.is_none() {
            return Err(audit::Error::Absent.to_string());
        }
        if let Some(why) = self.context.audit.trouble() {
            return Err(why);
        }
        let switch = match place.meant(&self.config)? {
            Meant::Known(at) => return self.command(command(at), now_ms),
            Meant::New(switch) => *switch,
        };
        // It is there for good only if the rule is taken.
        let (before, at) = (Arc::clone(&self.config), self.config.switches.len());
        let mut config = Config::clone(&before);
        config.switches.push(switch.clone());
        self.grow(Arc::new(config));
        let came = Remote::start(at, &switch, &self.instance, &self.came)
            .and_then(|remote| self.command(command(at), now_ms).map(|came| (remote, came)));
        match came {
            Ok((remote, came)) => {
                tracing::info!(
                    "{} takes rules of scripts, which may call it; it is in no inventory",
                    place.url()
                );
                self.remotes.push(remote);
                Ok(came)
            }
            Err(why) => {
                self.grow(before);
                Err(why)
            }
        }
    }

    fn grow(&mut self, config: Arc<Config>) {
        self.policy.grow(Arc::clone(&config));
        self.config = config;
    }

    fn command(&mut self, command: Command, now_ms: u64) -> Result<Came, String> {
        let mut answers = self.step_scripts(now_ms, &[], &[], &[command]);
        answers.pop().unwrap_or_else(|| Err("it was not answered".to_owned()))
    }

    /// A person ends a script's session.
    pub(super) fn stop_scripted(&mut self, id: String, now_ms: u64) -> Result<String, String> {
        self.command(Command::Stop(id.clone()), now_ms).map(|_| id)
    }

    /// What the rates say of the pairs of scripts. The operator's list of agents says whose word counts; where there is
    /// none that of the switches does which scripts may call.
    pub(super) fn sightings_of_scripts(&mut self, polled: &Polled) -> Vec<Sighting> {
        let program = self.context.engine.program();
        let mut sightings = Vec::new();
        for (flow, found) in &polled.of_scripts {
            sightings.extend(self.guard.traffic.rates(*flow, found, &program, polled.at_ms));
        }
        let lists = self.context.engine.lists_agents();
        sightings.retain(|sighting| {
            let agent = sighting.agent;
            let is_ours = || self.config.switches.iter().any(|switch| switch.agent == agent);
            (self.trusted)(agent) || (!lists && is_ours())
        });
        sightings
    }
}

/// Who wants a change of a script's rule at a switch, and why; `None` when it is none.
pub(super) fn reason(scripts: &Scripts, switch: usize, change: &Change) -> Option<(String, String)> {
    let one: &Scripted = scripts.at(switch, change.name())?;
    let why = match change {
        Change::Delete(_) => one.session.reason.clone(),
        Change::Put(..) | Change::PutLines(..) => {
            let seen = &one.session.evidence;
            format!("the script asked for it; {:.0} frames were seen since", seen.frames)
        }
    };
    Some((one.script.clone(), why))
}
