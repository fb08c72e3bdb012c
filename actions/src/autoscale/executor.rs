//! Asks engines and telemetry, and lets the policies decide. What they decide is done in `change.rs`.
//!
//! Each swarm is looked after by a task of its own: one that answers slowly, or not at all, delays no other.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use docker::{Id, Limits, Managers};
use engine::Handle;
use serde_json::Value as Json;
use tokio::task::{JoinHandle, spawn_local};

use super::config::{Config, ConfigError, Service, Swarm, seconds};
use super::control::Control;
use super::decision::Verdict;
use super::observation::{Observation, Pool, Telemetry};
use super::observe;
use super::state::{News, Wanted};
use crate::notify::{Notice, Severity};
use crate::retry::Breaker;
use crate::thread::Context;

/// How long the collector is asked about all services of a swarm; the rest is then held.
const ASKING: Duration = Duration::from_secs(2);

/// Between two looks at least, also where one took longer than the interval.
const REST: Duration = Duration::from_millis(50);

/// Says what telemetry has of a service: its name, and what is measured.
pub type Eyes = Arc<dyn Fn(&Handle, &str, &Service) -> Result<Telemetry, String> + Send + Sync>;

/// The component that scales services.
pub struct Autoscaler {
    control: Control,
    eyes: Eyes,
    limits: Limits,
}

impl fmt::Debug for Autoscaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autoscaler").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Autoscaler {
    /// A scaler that has done nothing yet, and what others see of it. `settings` are the operator's changes as
    /// [`Control::settings_json`] gave them, or null.
    ///
    /// # Errors
    /// All that is wrong with the configuration.
    pub fn new(config: Config, settings: &Json) -> Result<(Self, Control), Vec<ConfigError>> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let control = Control::new(config, settings);
        let scaler =
            Self { control: control.clone(), eyes: Arc::new(observe::telemetry), limits: Limits::default() };
        Ok((scaler, control))
    }

    /// With telemetry from elsewhere than the collector.
    #[must_use]
    pub fn with_eyes(self, eyes: Eyes) -> Self {
        Self { eyes, ..self }
    }

    /// With other limits of calls to engines.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Looks after all swarms until it is asked to end.
    pub async fn run(self, context: Context) {
        let shared = Rc::new(Shared { control: self.control, eyes: self.eyes, limits: self.limits, context });
        let mut tasks: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
        loop {
            let swarms = shared.control.lock().config.swarm.clone();
            tasks.retain(|_, task| !task.is_finished());
            for (name, swarm) in swarms {
                tasks
                    .entry(name.clone())
                    .or_insert_with(|| spawn_local(look_after(Rc::clone(&shared), name, swarm)));
            }
            if !shared.context.sleep(shared.interval()).await {
                break;
            }
        }
        for task in tasks.into_values() {
            let _ = task.await;
        }
    }
}

/// What the tasks of all swarms have.
pub(super) struct Shared {
    pub(super) control: Control,
    eyes: Eyes,
    pub(super) limits: Limits,
    pub(super) context: Context,
}

impl Shared {
    fn interval(&self) -> Duration {
        seconds(self.control.lock().config.autoscale.interval_s)
    }

    pub(super) fn tell(
        &self,
        name: &str,
        what: &'static str,
        text: String,
        detail: Json,
        severity: Severity,
    ) {
        let notice = Notice { kind: "scale", name: name.to_owned(), what, text, detail, severity };
        self.context.notices.tell(notice);
    }

    fn tell_news(&self, name: &str, news: Vec<News>) {
        for News { what, text, warning } in news {
            let severity = if warning { Severity::Warning } else { Severity::Info };
            self.tell(name, what, text, Json::Null, severity);
        }
    }
}

/// Looks after a swarm until its configuration changes or everything ends.
async fn look_after(shared: Rc<Shared>, name: String, swarm: Swarm) {
    let endpoints = match swarm.endpoints() {
        Ok(endpoints) => endpoints,
        Err(why) => {
            // It was checked; files may have gone since, and are looked for again with the next look.
            shared.tell(&name, "failed", format!("swarm {name}: {why}"), Json::Null, Severity::Warning);
            return;
        }
    };
    let mut hands = Hands {
        managers: Managers::new(endpoints, shared.limits),
        breaker: Breaker::default(),
        shared: Rc::clone(&shared),
        name,
        swarm,
    };
    while shared.control.lock().swarm(&hands.name) == Some(&hands.swarm) {
        let began = shared.control.now();
        hands.turn().await;
        let took = shared.control.now().saturating_sub(began);
        if !shared.context.sleep(shared.interval().saturating_sub(took).max(REST)).await {
            return;
        }
    }
}

/// What a swarm is asked and told through.
pub(super) struct Hands {
    pub(super) shared: Rc<Shared>,
    name: String,
    pub(super) swarm: Swarm,
    pub(super) managers: Managers,
    breaker: Breaker,
}

/// What the engine says of a service, with the containers of its tasks.
type Seen = Result<(Pool, BTreeMap<String, Id>), String>;

impl Hands {
    /// Looks at all services of the swarm once, and does what is decided.
    async fn turn(&mut self) {
        let shared = Rc::clone(&self.shared);
        let services = self.services().await;
        if let Ok(services) = &services {
            let news = shared.control.lock().discover(&self.name, services, shared.control.now());
            news.into_iter().for_each(|(service, news)| shared.tell_news(&service, vec![news]));
        }
        let wanted = shared.control.lock().wanted(&self.name);
        if wanted.is_empty() {
            return;
        }
        let mut pools = self.pools(&wanted, services).await;
        let telemetry = self.telemetry(&wanted).await;
        let mut seen = Vec::new();
        for (wanted, telemetry) in wanted.iter().zip(telemetry) {
            let pool = pools.get(&wanted.name).cloned().unwrap_or_else(|| Err("it was not asked".to_owned()));
            seen.push((wanted.name.clone(), Observation { pool: pool.map(|(pool, _)| pool), telemetry }));
        }
        let steps = shared.control.lock().decide(shared.control.now(), &seen);
        for (mut step, (name, observation)) in steps.into_iter().zip(&seen) {
            shared.tell_news(name, std::mem::take(&mut step.news));
            if shared.context.stop.is_asked() {
                return;
            }
            if let Verdict::Set { from, to } = step.decision.verdict {
                self.act(&step, observation, from, to).await;
            } else if step.sick.is_some()
                && let Some(Ok((_, containers))) = pools.remove(name)
            {
                self.replace(&step, &containers);
            }
        }
    }

    /// The services of the swarm; an error for people when no manager answers.
    async fn services(&mut self) -> Result<Vec<docker::Service>, String> {
        let now = self.shared.control.now();
        if let Err(wait) = self.breaker.ask(now) {
            let state = self.shared.control.lock();
            let trouble = state.swarms.get(&self.name).and_then(|swarm| swarm.trouble.clone());
            let trouble = trouble.unwrap_or_else(|| "the managers failed".to_owned());
            return Err(format!("{trouble}; they are asked again in {} s", wait.as_secs()));
        }
        let answer = self.managers.services().await;
        self.answered(answer)
    }

    /// Notes whether the managers answered.
    fn answered<T>(&mut self, answer: Result<T, docker::Error>) -> Result<T, String> {
        let mut state = self.shared.control.lock();
        let swarm = state.swarms.entry(self.name.clone()).or_default();
        match answer {
            Ok(answer) => {
                self.breaker.worked();
                swarm.trouble = None;
                Ok(answer)
            }
            Err(error) => {
                self.breaker.failed(self.shared.control.now());
                *swarm.failures.entry(error.label()).or_default() += 1;
                swarm.trouble = Some(error.to_string());
                Err(error.to_string())
            }
        }
    }

    /// What the engine says of each service that is wanted. After one question without an answer no more are asked.
    async fn pools(
        &mut self,
        wanted: &[Wanted],
        services: Result<Vec<docker::Service>, String>,
    ) -> BTreeMap<String, Seen> {
        let mut pools = BTreeMap::new();
        let mut trouble = services.as_ref().err().cloned();
        let services = services.unwrap_or_default();
        for Wanted { name, service, .. } in wanted {
            let found = services.iter().find(|found| found.name == *service);
            let seen = match (&trouble, found) {
                (Some(why), _) => Err(why.clone()),
                (None, None) => Err(format!("swarm {} has no service {service}", self.name)),
                (None, Some(found)) => {
                    let seen = self.pool(found).await;
                    trouble = seen.as_ref().err().cloned();
                    seen
                }
            };
            pools.insert(name.clone(), seen);
        }
        pools
    }

    async fn pool(&mut self, service: &docker::Service) -> Seen {
        let updating = service.update.is_some_and(docker::UpdateState::is_unfinished);
        if service.replicas.is_none() {
            return Ok((Pool { updating, ..Pool::default() }, BTreeMap::new()));
        }
        let tasks = match self.managers.tasks(&service.id).await {
            // It was removed since it was listed.
            Err(error @ docker::Error::NotFound { .. }) => return Err(error.to_string()),
            answer => self.answered(answer)?,
        };
        let running = || tasks.iter().filter(|task| task.is_running());
        let containers = running().filter_map(|task| Some((task.id.clone(), task.container?))).collect();
        let running = running().map(|task| task.id.clone()).collect();
        Ok((Pool { replicas: service.replicas, running, updating }, containers))
    }

    /// What telemetry says of each.
    async fn telemetry(&self, wanted: &[Wanted]) -> Vec<Result<Telemetry, String>> {
        let (eyes, all) = (Arc::clone(&self.shared.eyes), wanted.to_vec());
        let busy = || Err("the collector is too busy to answer".to_owned());
        let answers = self.shared.context.ask(move |handle| {
            let began = std::time::Instant::now();
            let one = |wanted: &Wanted| {
                if began.elapsed() > ASKING { busy() } else { eyes(handle, &wanted.service, &wanted.rules) }
            };
            all.iter().map(one).collect::<Vec<_>>()
        });
        answers.await.unwrap_or_else(|| vec![busy(); wanted.len()])
    }
}
