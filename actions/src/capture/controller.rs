//! Captures what the policies want: takes what the collector sees and what the switches have, ticks the policy, and has
//! the switches mended.
//!
//! News of a flow record wake it at once: from the datagram to the first byte of the request at the switch there is no
//! tick and no disk in the way. Once a second it asks for the rates of what is being captured, and who was heard.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::Handle;
use serde_json::json;
use tables::Change as Definition;
use tables::flow::plan::ActiveFlow;
use tables::select::Agents;
use tables::{Answer, Question};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::config::{Config, OnStop};
use super::control::{Ask, Control, Shared};
use super::evidence::Sighting;
use super::pair::{Pair, instance};
use super::policy::{Command, Observation, Policy, SwitchNews, Tell, TellKind};
use super::session::Session;
use super::switches::{self, Came, Remote};
use super::view::{self, View};
use super::wanted::Change;
use super::watch::{self, Followed, PREFIX, Watch};
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
        Ok((Self { config: Arc::new(config), instance, trusted, asks, shared }, control))
    }

    /// Works until the thread ends.
    pub async fn run(self, context: Context) {
        let Self { config, instance, trusted, asks, shared } = self;
        let (remotes, came) = match switches::start(&config, &instance) {
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
        let running = Running {
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

/// What a poll of the engine has found.
struct Polled {
    /// When it was asked.
    at_ms: u64,
    rates: Vec<(Followed, Vec<ActiveFlow>)>,
    /// Agents that were heard lately; `None` when the engine was too busy to say.
    heard: Option<BTreeSet<IpAddr>>,
    /// What keeps our flows from being defined.
    undefined: Option<String>,
}

/// The controller at work.
struct Running {
    config: Arc<Config>,
    instance: String,
    trusted: Trusted,
    shared: Arc<Shared>,
    context: Context,
    watch: Watch,
    /// Names of our flows.
    names: Arc<[String]>,
    policy: Policy,
    remotes: Vec<Remote>,
    polling: Option<JoinHandle<Polled>>,
    /// Where the next poll's turn begins among the flows that are followed.
    turn: usize,
    last_record: Option<u64>,
    next_tick_ms: u64,
    /// Until when rules are taken away because the thread ends.
    stop_ms: Option<u64>,
    /// Switches that have to be looked at.
    touched: BTreeSet<usize>,
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
            if !urgent {
                self.shared.show(|| self.view(now_ms), now_ms);
            }
            if self.stop_ms.is_some_and(|stop_ms| now_ms >= stop_ms || !self.policy.has_rules_in_reach()) {
                return;
            }
        }
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
        let Ask { command, answer } = ask;
        let mut answers = self.step_with(now_ms, &[], &[], &[command]);
        // Whoever asked may have gone.
        let _ = answer.send(answers.pop().unwrap_or_else(|| Err("it was not answered".to_owned())));
    }

    fn polled(&mut self, polled: Option<Polled>, now_ms: u64) {
        self.polling = None;
        let Some(polled) = polled else { return };
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
        let definitions = self.watch.definitions().to_vec();
        let ttl_s = self.config.policies.iter().map(|named| named.policy.ttl_s).min().unwrap_or(HEARD_S.1);
        let heard_s = (ttl_s / 2).clamp(HEARD_S.0, HEARD_S.1);
        let (engine, began) = (self.context.engine.clone(), self.context.began);
        self.polling = Some(spawn_blocking(move || {
            let undefined = define(&engine, &definitions).err();
            let heard = heard(&engine, agents, Duration::from_secs(heard_s));
            let at_ms = began.elapsed().as_millis() as u64;
            let rates = rates(&engine, &definitions, followed);
            Polled { at_ms: at_ms.max(now_ms), rates, heard, undefined }
        }));
    }

    fn step(&mut self, now_ms: u64, sightings: &[Sighting], news: &[SwitchNews], commands: &[Command]) {
        self.step_with(now_ms, sightings, news, commands);
    }

    /// Ticks the policy, and tells what has happened.
    fn step_with(
        &mut self,
        now_ms: u64,
        sightings: &[Sighting],
        news: &[SwitchNews],
        commands: &[Command],
    ) -> Vec<Result<String, String>> {
        let heard = self.heard.take();
        let mode = self.mode();
        let seen = Observation { mode, sightings, heard, news, commands };
        let effects = self.policy.tick(now_ms, seen);
        self.touched.extend(effects.touched);
        for tell in effects.told {
            self.tell(tell);
        }
        effects.answers
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
        for session in self.policy.sessions().filter(|session| switches::waits_for_a_read(session.state())) {
            for switch in session.at.iter().chain(&session.lingering) {
                let commit_ms = self.config.switches.get(*switch).map_or(0, |switch| switch.commit_ms());
                if let Some(remote) = self.remotes.get_mut(*switch) {
                    remote.hurry(commit_ms.max(HURRY_MS));
                }
            }
        }
        let may_put = self.mode() == Mode::Act;
        let mut news = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        for (switch, remote) in self.remotes.iter_mut().enumerate() {
            let due = remote.next_ms().is_some_and(|next_ms| next_ms <= now_ms);
            if !due && !touched.contains(&switch) {
                continue;
            }
            let policy = &self.policy;
            let (config, instance) = (&self.config, &self.instance);
            let why = |change: &Change| reason(policy, config, instance, change);
            news.extend(remote.drive(now_ms, || policy.desired(switch), may_put, &self.context.audit, &why));
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

/// Defines our flows where they are not, and takes those away that are of policies that are gone.
fn define(engine: &Handle, definitions: &[watch::Definition]) -> Result<(), String> {
    let program = engine.program();
    let stale = program.flows.keys().filter(|name| name.starts_with(PREFIX));
    let gone: Vec<String> =
        stale.filter(|name| !definitions.iter().any(|one| one.name == **name)).cloned().collect();
    for name in gone {
        // It may have been taken away meanwhile.
        let _ = engine.define(Definition::Flow(name, None));
    }
    for one in definitions {
        let wanted = tables::flow::FlowSpec::from_json(&one.json);
        let same =
            wanted.is_ok_and(|wanted| program.flows.get(&one.name).is_some_and(|plan| plan.spec == wanted));
        if !same {
            let change = Definition::Flow(one.name.clone(), Some(one.json.clone()));
            engine.define(change).map_err(|error| format!("flow {}: {error}", one.name))?;
        }
    }
    Ok(())
}

/// Those of these agents that were heard lately.
fn heard(engine: &Handle, agents: BTreeSet<String>, within: Duration) -> Option<BTreeSet<IpAddr>> {
    let question = Question::Agents(Agents::Named(agents.into_iter().collect()));
    let Ok(Answer::Agents(agents)) = engine.ask(question) else { return None };
    let lately = agents.into_iter().filter(|agent| u128::from(agent.last_seen_us) <= within.as_micros());
    Some(lately.filter_map(|agent| watch::ip(agent.agent)).collect())
}

/// The rates of flows, wherever they are seen; those that could not be asked for are left out.
fn rates(
    engine: &Handle,
    definitions: &[watch::Definition],
    followed: Vec<Followed>,
) -> Vec<(Followed, Vec<ActiveFlow>)> {
    let mut rates = Vec::new();
    for followed in followed {
        let Some(definition) = definitions.get(followed.definition) else { continue };
        let question = Question::FlowLocations {
            agents: Agents::All,
            flow: definition.name.clone(),
            key: followed.keys.clone(),
            separator: ",".to_owned(),
        };
        if let Ok(Answer::Flows(found)) = engine.ask(question) {
            rates.push((followed, found));
        }
    }
    rates
}
