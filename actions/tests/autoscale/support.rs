//! A swarm that stands in for one, the load of its services, and the autoscaler between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actions::audit::{Audit, Limits as AuditLimits};
use actions::autoscale::config::Service;
use actions::autoscale::observation::{Replica, Sample, Telemetry};
use actions::autoscale::{Autoscaler, Control, Eyes};
use actions::mode::{Mode, Switch};
use actions::notify::{Config as NotifyConfig, Notices};
use actions::thread::{Actions, Component};
use docker::stand_in::{Config, Pace, Planned, StandIn};
use engine::{Engine, EngineOptions};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// What the replicas of services tell.
pub(crate) type Loads = Arc<Mutex<BTreeMap<String, f64>>>;

/// Changes what one replica tells.
pub(crate) type Alter = Box<dyn Fn(&mut Replica) + Send + Sync>;

/// Everything that runs in a test. It ends with it.
pub(crate) struct Scene {
    pub(crate) swarms: Vec<Arc<StandIn>>,
    pub(crate) loads: Loads,
    pub(crate) control: Control,
    pub(crate) mode: Switch,
    pub(crate) audit: Audit,
    actions: Option<Actions>,
    engine: Option<Engine>,
    _folder: TempDir,
}

/// How a scene begins.
pub(crate) struct Plan {
    /// The services of each swarm and how many replicas they have.
    pub(crate) swarms: Vec<Vec<(&'static str, u64)>>,
    /// The table `[autoscale]`; services are of swarm `s0` unless they say so.
    pub(crate) autoscale: Json,
    /// More keys of each swarm; `SOCKET` is its engine's.
    pub(crate) swarm: Json,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) mode: Mode,
    pub(crate) has_audit: bool,
    pub(crate) alter: Option<Alter>,
    pub(crate) pace: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            swarms: vec![vec![("web", 1)]],
            autoscale: json!({ "service": { "web": target(1, 10) } }),
            swarm: json!({}),
            labels: Vec::new(),
            mode: Mode::Act,
            has_audit: true,
            alter: None,
            pace: Duration::from_millis(20),
        }
    }
}

/// A service whose replicas shall have a load of 1 each.
pub(crate) fn target(min: u64, max: u64) -> Json {
    json!({
        "swarm": "s0", "min": min, "max": max, "rate": 1000, "samples": 0,
        "metric": [{ "metric": "load", "target": 1 }],
    })
}

fn swarm(socket: &Path, services: &[(&str, u64)], plan: &Plan) -> Arc<StandIn> {
    let planned = |(name, replicas): &(&str, u64)| Planned {
        name: (*name).to_owned(),
        replicas: *replicas,
        image: "httpd:2.4".to_owned(),
        labels: plan.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let services = services.iter().map(planned).collect();
    let config = Config { services, nodes: 5, pace: Pace::even(plan.pace) };
    Arc::new(StandIn::start(socket, config).unwrap())
}

/// What telemetry says: each container that runs has its part of the load of its service.
fn eyes(swarms: Vec<Arc<StandIn>>, loads: Loads, alter: Option<Alter>) -> Eyes {
    Arc::new(move |_, name: &str, rules: &Service| {
        let running = swarms.iter().flat_map(|swarm| swarm.running());
        let running: Vec<_> = running.filter(|replica| replica.service == name).collect();
        let load = loads.lock().unwrap().get(name).copied();
        let sample = load
            .map(|load| Sample { value: load / running.len().max(1) as f64, age: Duration::from_millis(10) });
        let sick = rules.sick.as_ref().map_or(0, |sick| sick.metric.len());
        let replica = |running: &docker::stand_in::Replica| {
            let mut replica = Replica {
                task: running.name.rsplit('.').next().unwrap_or_default().to_owned(),
                node: vec![format!("node{}", running.node), format!("10.0.0.{}", running.node)],
                metrics: vec![sample; rules.metric.len()],
                outliers: vec![sample; sick],
            };
            alter.iter().for_each(|alter| alter(&mut replica));
            replica
        };
        Ok(Telemetry {
            replicas: running.iter().map(replica).collect(),
            totals: vec![None; rules.metric.len()],
            datagrams: BTreeMap::new(),
        })
    })
}

impl Scene {
    /// Begins; each service has this load.
    pub(crate) fn begin(mut plan: Plan, load: f64) -> Self {
        let folder = TempDir::new().unwrap();
        let mut tables = serde_json::Map::new();
        let mut swarms = Vec::new();
        for (at, services) in plan.swarms.iter().enumerate() {
            let socket = folder.path().join(format!("s{at}.sock"));
            swarms.push(swarm(&socket, services, &plan));
            let address = format!("unix://{}", socket.display());
            let more = plan.swarm.to_string().replace("SOCKET", &address);
            let mut table: Json = serde_json::from_str(&more).unwrap();
            table["managers"] = json!([address]);
            tables.insert(format!("s{at}"), table);
        }
        plan.autoscale["interval_s"] = json!(0.1);
        let config = serde_json::from_value(json!({ "swarm": tables, "autoscale": plan.autoscale })).unwrap();
        let loads: Loads = Arc::default();
        for name in plan.swarms.iter().flatten().map(|(name, _)| (*name).to_owned()) {
            loads.lock().unwrap().insert(name, load);
        }
        let (scaler, control) = Autoscaler::new(config, &Json::Null).unwrap();
        let scaler = scaler.with_eyes(eyes(swarms.clone(), Arc::clone(&loads), plan.alter.take()));
        let engine = EngineOptions { workers: std::num::NonZero::new(1), ..EngineOptions::default() };
        let engine = Engine::start(&engine).unwrap();
        let audit = if plan.has_audit {
            Audit::open(folder.path(), AuditLimits::default()).unwrap()
        } else {
            Audit::absent()
        };
        let mode = Switch::new(plan.mode);
        let component = Component::new("autoscale", |context| scaler.run(context));
        let notices = Notices::new(&NotifyConfig::default());
        let actions =
            Actions::start(engine.handle(), audit.clone(), mode.clone(), notices, vec![component]).unwrap();
        let (actions, engine) = (Some(actions), Some(engine));
        Self { swarms, loads, control, mode, audit, actions, engine, _folder: folder }
    }

    pub(crate) fn load(&self, service: &str, load: f64) {
        self.loads.lock().unwrap().insert(service.to_owned(), load);
    }

    /// Nobody tells the load of a service any more.
    pub(crate) fn silent(&self, service: &str) {
        self.loads.lock().unwrap().remove(service);
    }

    /// What REST shows of a service.
    pub(crate) fn shown(&self, service: &str) -> Json {
        self.control.service_json(service).unwrap()
    }

    /// Tasks of a service that run.
    pub(crate) fn running(&self, service: &str) -> usize {
        let running = self.swarms.iter().flat_map(|swarm| swarm.running());
        running.filter(|replica| replica.service == service).count()
    }

    /// Changes that were sent to a swarm.
    pub(crate) fn updates(&self, swarm: usize) -> usize {
        self.swarms[swarm].asked().iter().filter(|request| request.contains("/update?")).count()
    }

    /// What came of the actions, the oldest first.
    pub(crate) fn audited(&self) -> Vec<(String, Json)> {
        let mut kept = self.audit.newest(None, 1000);
        kept.reverse();
        kept.iter().map(|kept| (kept.entry.what.clone(), kept.json()["outcome"].clone())).collect()
    }

    /// Waits for a condition.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what}: {:#}", self.control.json());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the services of a swarm be looked at some times more.
    pub(crate) fn looks(&self, swarm: usize, times: usize) {
        let looked = |scene: &Self| {
            scene.swarms[swarm].asked().iter().filter(|request| request.contains("/services?")).count()
        };
        let now = looked(self);
        self.until("it is looked at", |scene| looked(scene) >= now + times);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let ended = self.actions.take().map(Actions::shutdown);
        self.engine.take().into_iter().for_each(Engine::shutdown);
        if !std::thread::panicking() {
            assert_eq!(ended, Some(Ok(())), "it ends in time");
        }
    }
}
