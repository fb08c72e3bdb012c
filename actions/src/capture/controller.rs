//! Captures what the policies want: takes what the collector sees and what the switches have, ticks the policy, and has
//! the switches mended.
//!
//! News of a flow record wake it at once: from the datagram to the first byte of the request at the switch there is no
//! tick and no disk in the way. Once a second it asks for the rates of what is being captured, and who was heard.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::config::{Config, OnStop};
use super::control::{Ask, Control, PersonAsk, Shared};
use super::evidence::Sighting;
use super::guarding::{self, Guard};
use super::pair::{Pair, instance};
use super::policy::{Command, Effects, Observation, Policy, SwitchNews, Tell, TellKind};
use super::poll::{Asked, Polled, poll};
use super::scripts;
use super::scripts::session::Scripted;
use super::scripts::traffic::{self, Traffic};
use super::session::Session;
use super::switches::{self, Came, Remote, Wants};
use super::view::{self, View};
use super::wanted::Change;
use super::watch::{self, Watch};
use crate::audit::Entry;
use crate::mode::Mode;
use crate::notify::{Notice, Severity};
use crate::thread::Context;

/// How often rates are asked for, and the time of the policy passes.
const TICK_MS: u64 = 1000;

/// How long rules are taken away at the end, at most.
const STOP_MS: u64 = 7000;

/// The shortest time between two reads of a switch whose rules are waited for.
const HURRY_MS: u64 = 200;

/// Flow records that are taken at once, at most.
const MOST_RECORDS: usize = 10_000;

/// Rates that are asked for in a second, at most: the others have their turn in the next ones.
const MOST_RATES: usize = 512;

/// How old the last datagram of an agent may be, at least and at most, for it to count as heard. Agents that see nothing
/// send their counters every 20 or 30 s.
const HEARD_S: (u64, u64) = (5, 35);

/// Whether actions may go by what an agent sends (promise A1).
pub type Trusted = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The controller of all captures; [`Controller::run`] does the work.
pub struct Controller {
    config: Arc<Config>,
    instance: String,
    trusted: Trusted,
    asks: mpsc::Receiver<Ask>,
    shared: Arc<Shared>,
    state: Option<PathBuf>,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Controller {
    /// A controller and what talks to it. `owner` tells the rules of several collectors apart, see [`instance`].
    ///
    /// # Errors
    /// The URL of a switch cannot be asked; the message names the key.
    pub fn new(config: Config, owner: &str, trusted: Trusted) -> Result<(Self, Control), String> {
        switches::check(&config)?;
        let (control, asks, shared) = Control::new();
        let instance = instance(owner);
        let controller = Self { config: Arc::new(config), instance, trusted, asks, shared, state: None };
        Ok((controller, control))
    }

    /// Keeps captures of scripts in this state directory, without which there are none.
    #[must_use]
    pub fn keeping(self, state: Option<&Path>) -> Self {
        Self { state: state.map(Path::to_owned), ..self }
    }

    /// Works until the thread ends.
    pub async fn run(self, context: Context) {
        let Self { config, instance, trusted, asks, shared, state } = self;
        let mut config = Arc::unwrap_or_clone(config);
        let (store, restored) = Guard::load(state.as_deref(), &mut config);
        let config = Arc::new(config);
        let (switches::Started { remotes, came: sender }, came) = match switches::start(&config, &instance) {
            Ok(started) => started,
            // It was checked before: this says it if it should not hold after all.
            Err(why) => return tracing::error!("capture does not begin: {why}"),
        };
        let news = Arc::new(Notify::new());
        let bell = Arc::clone(&news);
        context.engine.on_news(Box::new(move |_| bell.notify_one()));
        let watch = Watch::new(watch::definitions(&config));
        let names = watch.definitions().iter().map(|definition| definition.name.clone()).collect();
        let policy = Policy::new(Arc::clone(&config), instance.clone());
        let mut guard = Guard::new(instance.clone(), store);
        guard.scripts.restore(restored, context.now().as_millis() as u64);
        let running = Running {
            guard,
            came: sender,
            polling: None,
            turn: 0,
            last_record: None,
            next_tick_ms: 0,
            stop_ms: None,
            touched: (0..remotes.len()).collect(),
            heard: None,
            untrusted: 0,
            undefined: None,
            config,
            instance,
            trusted,
            shared,
            context,
            watch,
            names,
            policy,
            remotes,
        };
        running.run(news, came, asks).await;
    }
}

/// The controller at work.
pub(super) struct Running {
    pub(super) config: Arc<Config>,
    pub(super) instance: String,
    pub(super) trusted: Trusted,
    shared: Arc<Shared>,
    pub(super) context: Context,
    watch: Watch,
    /// Names of our flows.
    names: Arc<[String]>,
    pub(super) policy: Policy,
    pub(super) guard: Guard,
    pub(super) remotes: Vec<Remote>,
    /// Where tasks of switches report to.
    pub(super) came: mpsc::Sender<Came>,
    polling: Option<JoinHandle<Polled>>,
    /// Where the next poll's turn begins among the flows that are followed.
    turn: usize,
    last_record: Option<u64>,
    next_tick_ms: u64,
    /// Until when rules are taken away because the thread ends.
    stop_ms: Option<u64>,
    /// Switches that have to be looked at.
    pub(super) touched: BTreeSet<usize>,
    heard: Option<BTreeSet<IpAddr>>,
    /// Records of agents that are not trusted.
    untrusted: u64,
    undefined: Option<String>,
}

/// What has woken the controller.
enum Woken {
    Records,
    Came(Came),
    Asked(Option<Ask>),
    Polled(Option<Polled>),
    Written(u64, io::Result<()>),
    Mode,
    Stop,
    Time,
}

impl Running {
    async fn run(mut self, news: Arc<Notify>, mut came: mpsc::Receiver<Came>, mut asks: mpsc::Receiver<Ask>) {
        let mut mode = self.context.mode.clone();
        let mut stop = self.context.stop.clone();
        let mut asking = true;
        loop {
            let woken = {
                let until = self.context.began + Duration::from_millis(self.next_ms());
                let polling = async {
                    match &mut self.polling {
                        Some(polling) => polling.await.ok(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = news.notified() => Woken::Records,
                    Some(came) = came.recv() => Woken::Came(came),
                    ask = asks.recv(), if asking => Woken::Asked(ask),
                    polled = polling => Woken::Polled(polled),
                    (version, result) = self.guard.written() => Woken::Written(version, result),
                    _ = mode.changed() => Woken::Mode,
                    () = stop.asked(), if self.stop_ms.is_none() => Woken::Stop,
                    () = sleep_until(Instant::from_std(until)) => Woken::Time,
                }
            };
            let now_ms = self.now_ms();
            // What was decided because of a packet is on its way first: what it came to is shown when it comes back.
            let urgent = matches!(woken, Woken::Records);
            match woken {
                Woken::Records => self.records(now_ms),
                Woken::Came(came) => self.came(came, now_ms),
                Woken::Asked(Some(ask)) => self.asked(ask, now_ms),
                Woken::Asked(None) => asking = false,
                Woken::Polled(polled) => self.polled(polled, now_ms),
                Woken::Written(version, result) => self.written(version, result, now_ms),
                Woken::Mode => self.step(now_ms, &[], &[], &[]),
                Woken::Stop => {
                    if self.config.limits.on_stop == OnStop::Keep {
                        return;
                    }
                    self.stop_ms = Some(now_ms + STOP_MS);
                    self.step(now_ms, &[], &[], &[]);
                }
                Woken::Time => self.time(now_ms),
            }
            self.drive(now_ms);
            self.guard.keep(&self.config, now_ms);
            if !urgent {
                self.shared.show(|| self.view(now_ms), now_ms);
            }
            if self.stop_ms.is_some_and(|stop_ms| now_ms >= stop_ms || self.is_withdrawn()) {
                return;
            }
        }
    }

    /// Whether no switch that answers has a rule of ours any more.
    fn is_withdrawn(&self) -> bool {
        let scripts = self.guard.scripts.has_rules_in_reach(&self.policy);
        !self.policy.has_rules_in_reach() && !scripts && self.guard.is_kept()
    }

    fn now_ms(&self) -> u64 {
        self.context.now().as_millis() as u64
    }

    /// When there is something to do without being woken.
    fn next_ms(&self) -> u64 {
        let reads = self.remotes.iter().filter_map(Remote::next_ms).min();
        self.next_tick_ms.min(reads.unwrap_or(u64::MAX)).max(self.now_ms())
    }

    /// What may be done.
    fn mode(&self) -> Mode {
        if self.stop_ms.is_some() { Mode::Withdraw } else { self.context.mode.get() }
    }

    fn records(&mut self, now_ms: u64) {
        if self.names.is_empty() {
            return;
        }
        let records = self.context.engine.records(self.last_record, MOST_RECORDS, &self.names);
        let program = self.context.engine.program();
        let mut sightings = Vec::new();
        // Newest first is how they come.
        for record in records.iter().rev() {
            self.last_record = Some(record.id);
            let Some(agent) = watch::ip(record.owner.agent) else { continue };
            if (self.trusted)(agent) {
                sightings.extend(self.watch.record(record, &program, now_ms));
            } else {
                self.untrusted += 1;
            }
        }
        if !sightings.is_empty() {
            self.step(now_ms, &sightings, &[], &[]);
        }
    }

    fn came(&mut self, came: Came, now_ms: u64) {
        let switch = came.switch;
        let commit_ms = self.config.switches.get(switch).map_or(0, |switch| switch.commit_ms());
        let Some(remote) = self.remotes.get_mut(switch) else { return };
        let news = remote.take(came, now_ms, self.config.limits.reconcile_ms, commit_ms);
        self.touched.insert(switch);
        self.step(now_ms, &[], &news, &[]);
    }

    fn asked(&mut self, ask: Ask, now_ms: u64) {
        let PersonAsk { command, answer } = match ask {
            Ask::Person(ask) => ask,
            Ask::Script(ask) => return self.asked_by_script(ask, now_ms),
        };
        let came = match command {
            Command::Stop(id) if Scripted::is_id(&id) => self.stop_scripted(id, now_ms),
            command => {
                let mut answers = self.step_with(now_ms, &[], &[], &[command]);
                answers.pop().unwrap_or_else(|| Err("it was not answered".to_owned()))
            }
        };
        // Whoever asked may have gone.
        let _ = answer.send(came);
    }

    fn polled(&mut self, polled: Option<Polled>, now_ms: u64) {
        self.polling = None;
        let Some(polled) = polled else { return };
        let of_scripts = self.sightings_of_scripts(&polled);
        if let Some(pairs) = polled.pairs {
            self.guard.watched = pairs;
        }
        if polled.undefined != self.undefined {
            if let Some(why) = &polled.undefined {
                tracing::warn!("capture waits: {why}");
            }
            self.undefined = polled.undefined;
        }
        // Nothing is known when the engine did not say: that is no silence of the flows.
        self.heard = Some(polled.heard.unwrap_or_default());
        let program = self.context.engine.program();
        let mut sightings = Vec::new();
        for (followed, found) in &polled.rates {
            sightings.extend(self.watch.rates(followed, found, &program, polled.at_ms));
        }
        sightings.retain(|sighting: &Sighting| (self.trusted)(sighting.agent));
        self.step_scripts(now_ms, &of_scripts, &[], &[]);
        self.step(now_ms, &sightings, &[], &[]);
    }

    fn time(&mut self, now_ms: u64) {
        if now_ms < self.next_tick_ms {
            return;
        }
        self.next_tick_ms = now_ms + TICK_MS;
        if self.polling.is_none() {
            self.poll(now_ms);
        }
        self.step(now_ms, &[], &[], &[]);
    }

    /// Asks the engine on a thread that may wait.
    fn poll(&mut self, now_ms: u64) {
        let known: BTreeSet<Pair> = self.policy.pairs().collect();
        let mut followed = self.watch.follow(|pair| known.contains(&pair));
        if followed.len() > MOST_RATES {
            self.turn %= followed.len();
            followed.rotate_left(self.turn);
            followed.truncate(MOST_RATES);
            self.turn += MOST_RATES;
        }
        let ours = self.config.switches.iter().map(|switch| switch.agent);
        let seen =
            self.policy.sessions().flat_map(|session| &session.evidence.places).map(|place| place.agent);
        let agents: BTreeSet<String> = ours.chain(seen).map(|agent| agent.to_string()).collect();
        let pairs = Traffic::pairs(&self.guard.scripts);
        let mut of_scripts = self.guard.traffic.follow(&pairs);
        if of_scripts.len() > MOST_RATES {
            let turn = self.turn % of_scripts.len();
            of_scripts.rotate_left(turn);
            of_scripts.truncate(MOST_RATES);
            self.turn += MOST_RATES;
        }
        let mut definitions = self.watch.definitions().to_vec();
        definitions.extend(traffic::definitions(&pairs));
        let ttl_s = self.config.policies.iter().map(|named| named.policy.ttl_s).min().unwrap_or(HEARD_S.1);
        let heard_s = (ttl_s / 2).clamp(HEARD_S.0, HEARD_S.1);
        let asked = Asked {
            definitions,
            pairs: Some(pairs).filter(|pairs| *pairs != self.guard.watched),
            agents,
            heard_within: Duration::from_secs(heard_s),
            followed,
            of_scripts,
        };
        let (engine, began) = (self.context.engine.clone(), self.context.began);
        self.polling = Some(spawn_blocking(move || {
            let polled = poll(&engine, began, asked);
            Polled { at_ms: polled.at_ms.max(now_ms), ..polled }
        }));
    }

    fn step(&mut self, now_ms: u64, sightings: &[Sighting], news: &[SwitchNews], commands: &[Command]) {
        self.step_with(now_ms, sightings, news, commands);
    }

    /// Ticks the captures of scripts, and tells what has happened.
    pub(super) fn step_scripts(
        &mut self,
        now_ms: u64,
        sightings: &[Sighting],
        news: &[SwitchNews],
        commands: &[scripts::policy::Command],
    ) -> Vec<Result<scripts::policy::Came, String>> {
        let seen = scripts::policy::Seen { mode: self.mode(), sightings, news, commands };
        let (effects, answers) = self.guard.scripts.tick(now_ms, seen, &mut self.policy);
        self.done(effects);
        answers
    }

    /// Tells what has happened.
    pub(super) fn done(&mut self, effects: Effects) {
        self.touched.extend(effects.touched);
        for tell in effects.told {
            self.tell(tell);
        }
    }

    /// Ticks the policy, and tells what has happened.
    fn step_with(
        &mut self,
        now_ms: u64,
        sightings: &[Sighting],
        news: &[SwitchNews],
        commands: &[Command],
    ) -> Vec<Result<String, String>> {
        self.step_scripts(now_ms, &[], news, &[]);
        let heard = self.heard.take();
        let mode = self.mode();
        let seen = Observation { mode, sightings, heard, news, commands };
        let mut effects = self.policy.tick(now_ms, seen);
        let answers = std::mem::take(&mut effects.answers);
        self.done(effects);
        let effects = self.guard.scripts.settle(&mut self.policy, now_ms);
        self.done(effects);
        answers
    }

    fn tell(&self, tell: Tell) {
        let Tell { kind, session, local, remote, agent, text } = tell;
        let (what, severity) = match kind {
            TellKind::Capturing => ("active", Severity::Warning),
            TellKind::Would => ("would", Severity::Warning),
            TellKind::Moved => ("moved", Severity::Info),
            TellKind::Failed => ("failed", Severity::Error),
            TellKind::Shed => ("over_budget", Severity::Warning),
            TellKind::OneWay => ("one_way", Severity::Warning),
            TellKind::Ended => ("ended", Severity::Info),
        };
        if kind == TellKind::Would {
            let (owner, name) = (self.instance.clone(), session.clone());
            let target = agent.map(|agent| agent.to_string()).unwrap_or_default();
            let what = text.clone();
            let kind = "capture.put";
            self.context.audit.observed(Entry { kind, owner, name, target, what, ..Entry::default() });
        }
        let detail = json!({ "local": local, "remote": remote, "agent": agent });
        self.context.notices.tell(Notice { kind: "capture", name: session, what, text, detail, severity });
    }

    /// Gives switches that were touched, or whose time has come, their next job.
    fn drive(&mut self, now_ms: u64) {
        let of_scripts = self.guard.scripts.sessions().map(|one| &one.session);
        let all = self.policy.sessions().chain(of_scripts);
        for session in all.filter(|session| switches::waits_for_a_read(session.state())) {
            for switch in session.at.iter().chain(&session.lingering) {
                let commit_ms = self.config.switches.get(*switch).map_or(0, |switch| switch.commit_ms());
                if let Some(remote) = self.remotes.get_mut(*switch) {
                    remote.hurry(commit_ms.max(HURRY_MS));
                }
            }
        }
        let (may_put, may_put_lines) = (self.mode() == Mode::Act, self.mode() != Mode::Withdraw);
        let mut news = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        for (switch, remote) in self.remotes.iter_mut().enumerate() {
            let due = remote.next_ms().is_some_and(|next_ms| next_ms <= now_ms);
            if !due && !touched.contains(&switch) {
                continue;
            }
            let (policy, scripts) = (&self.policy, &self.guard.scripts);
            let (config, instance) = (&self.config, &self.instance);
            let why = |change: &Change| {
                let of_script = guarding::reason(scripts, switch, change);
                of_script.unwrap_or_else(|| reason(policy, config, instance, change))
            };
            let wants = || Wants {
                desired: policy.desired(switch),
                may_put,
                lines: scripts.desired(switch),
                may_put_lines,
                names: scripts.names_at(switch),
            };
            news.extend(remote.drive(now_ms, wants, &self.context.audit, &why));
        }
        if !news.is_empty() {
            self.step(now_ms, &[], &news, &[]);
        }
    }

    fn view(&self, now_ms: u64) -> View {
        view::view(&view::Shown {
            config: &self.config,
            instance: &self.instance,
            mode: self.mode(),
            policy: &self.policy,
            scripts: &self.guard.scripts,
            remotes: &self.remotes,
            untrusted: self.untrusted,
            unreadable: self.watch.unreadable,
            undefined: self.undefined.as_deref(),
            now_ms,
        })
    }
}

/// Who wants a change, and why.
fn reason(policy: &Policy, config: &Config, instance: &str, change: &Change) -> (String, String) {
    let pair = Pair::of_rule(change.name()).map(|(_, pair)| pair);
    let Some(session) = pair.and_then(|pair| policy.session(pair)) else {
        return (instance.to_owned(), "no session wants it".to_owned());
    };
    let owner = config.policies.get(session.policy).map_or(instance, |named| &named.name).to_owned();
    (owner, evidence(session, change))
}

fn evidence(session: &Session, change: &Change) -> String {
    let seen = &session.evidence;
    match change {
        Change::PutLines(..) => "a script asked for it".to_owned(),
        Change::Put(..) if seen.samples == 0.0 => "a person asked for it, or it was there".to_owned(),
        Change::Put(..) => format!(
            "{:.0} samples, {:.0} frames with {} ({}) were seen",
            seen.samples,
            seen.frames,
            session.remote,
            crate::text::shown(&session.label)
        ),
        Change::Delete(_) => session.reason.clone(),
    }
}
