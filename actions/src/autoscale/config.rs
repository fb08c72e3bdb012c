//! What the operator says of swarms and services, and whether it can be done.
//!
//! The types are read by serde from the configuration's tables; what serde cannot see is told by [`Config::validate`],
//! all of it, each problem with its key. Labels of services become the same types in `labels.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use docker::Endpoint;
use serde::{Deserialize, Serialize};

use super::expression::Expression;

/// Services that are scaled at most, those found by labels included.
pub const MOST_SERVICES: usize = 1024;

/// Replicas that a service may have at most.
pub const MOST_REPLICAS: u64 = 100_000;

/// Metrics of a service at most.
pub const MOST_METRICS: usize = 16;

/// A week: no window, cooldown or hold is longer.
const LONGEST_S: f64 = 7.0 * 86_400.0;

/// A value of the configuration that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct ConfigError {
    /// Which key, as `autoscale.service.apache.max`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// The tables `[swarm.NAME]` and `[autoscale]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Swarms, by the name that services give.
    pub swarm: BTreeMap<String, Swarm>,
    /// What is scaled.
    pub autoscale: Autoscale,
}

/// A swarm: who manages it, and which nodes it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swarm {
    /// Its managers' engines: `unix:///var/run/docker.sock`, `tcp://10.0.0.134:2376`. One after the other is asked.
    pub managers: Vec<String>,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub certs: Option<PathBuf>,
    /// Whether services are found by their labels.
    pub labels: Option<bool>,
    /// The nodes that an engine of their own is known of.
    pub node: Vec<Node>,
}

/// A node of a swarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its host name, or the address of its sFlow agent.
    pub host: String,
    /// Its own engine.
    pub engine: String,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem`.
    #[serde(default)]
    pub certs: Option<PathBuf>,
    /// Whether a sick container of it may be stopped, so that the swarm replaces it.
    #[serde(default)]
    pub replace: bool,
}

/// The table `[autoscale]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoscale {
    /// Replicas that all services share.
    pub budget: Option<u64>,
    /// Between two looks at the services, seconds.
    pub interval_s: f64,
    /// Changes of all services together, per minute.
    pub changes: u32,
    /// Services, by name.
    pub service: BTreeMap<String, Service>,
}

impl Default for Autoscale {
    fn default() -> Self {
        Self { budget: None, interval_s: 2.0, changes: 60, service: BTreeMap::new() }
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Which swarm it is of; may be left out where there is one.
    pub swarm: Option<String>,
    /// Its name in the swarm, where that is not the name of the table.
    pub service: Option<String>,
    /// Replicas at least.
    pub min: u64,
    /// Replicas at most.
    pub max: u64,
    /// Of services that share a budget those of the higher one have theirs first.
    pub priority: i32,
    /// Whether it is scaled at all.
    pub enabled: bool,
    /// Whether decisions are only told.
    pub dry_run: bool,
    /// Whether a service of 0 replicas is raised to `min`.
    pub from_zero: bool,
    /// What decides.
    pub metric: Vec<Metric>,
    /// How much a metric may differ from its target without an effect, as a share of it.
    pub tolerance: f64,
    /// How it grows.
    pub up: Direction,
    /// How it shrinks.
    pub down: Direction,
    /// Replicas that are started and stopped within `period_s`, at most, in each direction.
    pub rate: u64,
    /// What `rate` is counted over, seconds.
    pub period_s: f64,
    /// Values of each replica that must have come since its number changed: 1 for thresholds, 2 for targets where it is
    /// not given.
    pub samples: Option<u32>,
    /// How old a value may be, seconds.
    pub fresh_s: f64,
    /// The share of the datagrams of a node's agent that may be lost.
    pub most_loss: f64,
    /// What is done while a metric has no value.
    pub missing: Missing,
    /// How long engine and telemetry may differ before that is a warning, seconds.
    pub agreement_s: f64,
    /// How long a number that a person has set stays, seconds.
    pub manual_hold_s: f64,
    /// What a sick replica is.
    pub sick: Option<Sick>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            swarm: None,
            service: None,
            min: 1,
            max: 10,
            priority: 0,
            enabled: true,
            dry_run: false,
            from_zero: false,
            metric: Vec::new(),
            tolerance: 0.1,
            up: Direction::default(),
            down: Direction::default(),
            rate: 10,
            period_s: 60.0,
            samples: None,
            fresh_s: 30.0,
            most_loss: 0.2,
            missing: Missing::Hold,
            agreement_s: 60.0,
            manual_hold_s: 600.0,
            sick: None,
        }
    }
}

/// A metric that decides: two thresholds, or a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// What is measured.
    pub metric: Expression,
    /// Below it on all metrics the service shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Above it on any metric the service grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// What each replica should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Whether it is measured anywhere, and is the service's in all: it is divided by the replicas.
    #[serde(default)]
    pub total: bool,
    /// Of which data sources a total is made, by the patterns of their metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Vec<String>>,
}

/// How a service grows, or shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Direction {
    /// Replicas at once, at most. Without `step` and `percent`: 1 for thresholds, as many as it takes for targets.
    pub step: Option<u64>,
    /// Replicas at once, as percent of those that there are; the larger of both counts.
    pub percent: Option<f64>,
    /// Since the last change, seconds.
    pub cooldown_s: f64,
    /// How long the metrics must have asked for it, seconds. Growing takes the least that was asked for in this time,
    /// shrinking the most.
    pub stabilise_s: f64,
}

/// What is done while a metric has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Nothing.
    #[default]
    Hold,
    /// The metrics that have one may let the service grow, never shrink.
    UpOnly,
}

/// What a sick replica is, and what is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sick {
    /// One of these tells it.
    pub metric: Vec<Outlier>,
    /// For how long, seconds.
    #[serde(default = "default_for_s")]
    pub for_s: f64,
    /// Between two replacements, seconds.
    #[serde(default = "default_cooldown_s")]
    pub cooldown_s: f64,
    /// Whether it is stopped, where its node may be told so.
    #[serde(default)]
    pub replace: bool,
}

fn default_for_s() -> f64 {
    60.0
}

fn default_cooldown_s() -> f64 {
    600.0
}

/// A metric that tells a replica from its peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// What is measured, of each replica.
    pub metric: Expression,
    /// Sick is more than so many times the median of its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Sick is less than so many times the median of its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// For `above` the replica's own value is at least this, for `below` the median of its peers.
    #[serde(default)]
    pub least: f64,
}

impl Config {
    /// All that is wrong.
    pub fn validate(&self) -> Vec<ConfigError> {
        let mut problems = Problems::default();
        for (name, swarm) in &self.swarm {
            swarm.validate(&format!("swarm.{name}"), &mut problems);
        }
        let auto = &self.autoscale;
        problems.seconds("autoscale.interval_s", auto.interval_s, 0.1, 3600.0);
        problems.check(auto.changes > 0, "autoscale.changes", || "must be at least 1 a minute".into());
        problems.check(auto.service.len() <= MOST_SERVICES, "autoscale.service", || {
            format!("{} services, {MOST_SERVICES} at most are scaled", auto.service.len())
        });
        for (name, service) in &auto.service {
            let key = format!("autoscale.service.{name}");
            service.validate(&key, &mut problems);
            problems.check(self.swarm_of(service).is_some(), &format!("{key}.swarm"), || {
                match &service.swarm {
                    Some(swarm) => format!("there is no table [swarm.{swarm}]"),
                    None => "says which swarm it is of, because there is not exactly one".into(),
                }
            });
            problems.check(is_service_name(service.name(name)), &key, || {
                format!("{:?} is no name of a service: letters, digits, '.', '_' and '-'", service.name(name))
            });
        }
        self.check_doubles(&mut problems);
        self.check_budget(&mut problems);
        problems.0
    }

    /// The name of the swarm that a service is of.
    pub fn swarm_of<'c>(&'c self, service: &'c Service) -> Option<&'c str> {
        match &service.swarm {
            Some(name) => self.swarm.contains_key(name).then_some(name),
            None if self.swarm.len() == 1 => self.swarm.keys().next().map(String::as_str),
            None => None,
        }
    }

    /// Two tables that scale the same service would work against each other.
    fn check_doubles(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<(Option<&str>, &str), &str> = BTreeMap::new();
        for (name, service) in &self.autoscale.service {
            if let Some(other) = seen.insert((self.swarm_of(service), service.name(name)), name) {
                let why = format!("is the service of [autoscale.service.{other}] too");
                problems.add(&format!("autoscale.service.{name}.service"), why);
            }
        }
    }

    fn check_budget(&self, problems: &mut Problems) {
        let Some(budget) = self.autoscale.budget else { return };
        let least = self.autoscale.service.values().map(|service| service.min).fold(0, u64::saturating_add);
        problems.check(budget >= least, "autoscale.budget", || {
            format!("{budget} is less than the {least} replicas that the services have at least")
        });
    }
}

impl Swarm {
    /// Whether services are found by their labels; they are, where nothing is said.
    pub fn finds_by_labels(&self) -> bool {
        self.labels.unwrap_or(true)
    }

    /// Where its managers answer.
    ///
    /// # Errors
    /// One of them is no endpoint, or lacks its certificates.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, String> {
        let endpoint =
            |text: &String| Endpoint::parse(text, self.certs.as_deref()).map_err(|why| why.to_string());
        self.managers.iter().map(endpoint).collect()
    }

    fn validate(&self, key: &str, problems: &mut Problems) {
        problems.check(!self.managers.is_empty(), &format!("{key}.managers"), || {
            "names at least one manager, as unix:///var/run/docker.sock or tcp://HOST:2376".into()
        });
        if let Err(why) = self.endpoints() {
            problems.add(&format!("{key}.managers"), why);
        }
        for (at, node) in self.node.iter().enumerate() {
            let key = format!("{key}.node[{at}]");
            problems.check(!node.host.is_empty(), &format!("{key}.host"), || "is empty".into());
            if let Err(why) = node.endpoint(self) {
                problems.add(&format!("{key}.engine"), why);
            }
        }
    }
}

impl Node {
    /// Where its own engine answers; with the swarm's certificates where it has none of its own.
    ///
    /// # Errors
    /// It is no endpoint, or lacks its certificates.
    pub fn endpoint(&self, swarm: &Swarm) -> Result<Endpoint, String> {
        let certs = self.certs.as_deref().or(swarm.certs.as_deref());
        Endpoint::parse(&self.engine, certs).map_err(|why| why.to_string())
    }
}

impl Service {
    /// Its name in the swarm; `table` is the name of its table.
    pub fn name<'s>(&'s self, table: &'s str) -> &'s str {
        self.service.as_deref().unwrap_or(table)
    }

    /// Whether its metrics have targets; thresholds otherwise.
    pub fn has_targets(&self) -> bool {
        self.metric.iter().any(|metric| metric.target.is_some())
    }

    /// Values of each replica that must have come since its number changed.
    pub fn samples(&self) -> u32 {
        self.samples.unwrap_or(if self.has_targets() { 2 } else { 1 })
    }

    /// All that is wrong; keys begin with `key`.
    pub fn problems(&self, key: &str) -> Vec<ConfigError> {
        let mut problems = Problems::default();
        self.validate(key, &mut problems);
        problems.0
    }

    fn validate(&self, key: &str, problems: &mut Problems) {
        let at = |name: &str| format!("{key}.{name}");
        problems.check((1..=self.max).contains(&self.min), &at("min"), || {
            format!("{} must be at least 1, and at most max, {}", self.min, self.max)
        });
        problems.check((1..=MOST_REPLICAS).contains(&self.max), &at("max"), || {
            format!("must be 1 to {MOST_REPLICAS}")
        });
        problems.check(self.rate > 0, &at("rate"), || "must be at least 1".into());
        problems.check((0.0..1.0).contains(&self.tolerance), &at("tolerance"), || {
            "is a share, from 0 to less than 1".into()
        });
        problems.check((0.0..=1.0).contains(&self.most_loss), &at("most_loss"), || {
            "is a share, from 0 to 1".into()
        });
        problems.check(self.samples.is_none_or(|samples| samples <= 100), &at("samples"), || {
            "must be 0 to 100".into()
        });
        for (name, seconds) in
            [("period_s", self.period_s), ("fresh_s", self.fresh_s), ("agreement_s", self.agreement_s)]
        {
            problems.seconds(&at(name), seconds, 0.1, LONGEST_S);
        }
        problems.seconds(&at("manual_hold_s"), self.manual_hold_s, 0.0, LONGEST_S);
        self.up.validate(&at("up"), problems);
        self.down.validate(&at("down"), problems);
        self.validate_metrics(&at("metric"), problems);
        if let Some(sick) = &self.sick {
            sick.validate(&at("sick"), problems);
        }
    }

    fn validate_metrics(&self, key: &str, problems: &mut Problems) {
        problems.check((1..=MOST_METRICS).contains(&self.metric.len()), key, || {
            format!("names 1 to {MOST_METRICS} metrics that decide")
        });
        let targets = self.metric.iter().filter(|metric| metric.target.is_some()).count();
        problems.check(targets == 0 || targets == self.metric.len(), key, || {
            "all have low and high thresholds, or all have a target".into()
        });
        for (at, metric) in self.metric.iter().enumerate() {
            let key = format!("{key}[{at}]");
            problems.check(metric.total || metric.filter.is_empty(), &format!("{key}.filter"), || {
                "is for metrics with total = true: others are of the service's containers".into()
            });
            match (metric.low, metric.high, metric.target) {
                (None, None, Some(target)) => {
                    problems.check(target.is_finite() && target > 0.0, &format!("{key}.target"), || {
                        "must be more than 0".into()
                    });
                }
                (Some(low), Some(high), None) => {
                    problems.check(
                        low.is_finite() && high.is_finite() && low < high,
                        &format!("{key}.low"),
                        || format!("{low} must be less than high, {high}"),
                    );
                }
                _ => problems.add(&key, "has low and high, or a target, and not both".into()),
            }
        }
    }
}

impl Direction {
    /// Replicas that may be started or stopped at once.
    pub fn most(&self, replicas: u64, has_targets: bool) -> u64 {
        let percent = self.percent.map(|percent| (replicas as f64 * percent / 100.0).ceil() as u64);
        match (self.step, percent) {
            (None, None) if has_targets => u64::MAX,
            (None, None) => 1,
            (step, percent) => step.max(percent).unwrap_or(1).max(1),
        }
    }

    /// How long since the last change.
    pub fn cooldown(&self) -> Duration {
        seconds(self.cooldown_s)
    }

    /// How long it must have been asked for.
    pub fn stabilise(&self) -> Duration {
        seconds(self.stabilise_s)
    }

    fn validate(&self, key: &str, problems: &mut Problems) {
        problems.check(self.step != Some(0), &format!("{key}.step"), || "must be at least 1".into());
        problems.check(
            self.percent.is_none_or(|percent| percent > 0.0 && percent <= 1000.0),
            &format!("{key}.percent"),
            || "must be more than 0, and 1000 at most".into(),
        );
        problems.seconds(&format!("{key}.cooldown_s"), self.cooldown_s, 0.0, LONGEST_S);
        problems.seconds(&format!("{key}.stabilise_s"), self.stabilise_s, 0.0, LONGEST_S);
    }
}

impl Sick {
    fn validate(&self, key: &str, problems: &mut Problems) {
        problems.seconds(&format!("{key}.for_s"), self.for_s, 0.0, LONGEST_S);
        problems.seconds(&format!("{key}.cooldown_s"), self.cooldown_s, 1.0, LONGEST_S);
        problems.check((1..=MOST_METRICS).contains(&self.metric.len()), &format!("{key}.metric"), || {
            format!("names 1 to {MOST_METRICS} metrics")
        });
        for (at, outlier) in self.metric.iter().enumerate() {
            let key = format!("{key}.metric[{at}]");
            let valid = match (outlier.above, outlier.below) {
                (Some(above), None) => above.is_finite() && above > 1.0,
                (None, Some(below)) => (0.0..1.0).contains(&below),
                _ => false,
            };
            problems.check(valid, &key, || {
                "has above, more than 1, or below, from 0 to less than 1, and not both".into()
            });
            problems.check(outlier.least.is_finite(), &format!("{key}.least"), || "is no number".into());
        }
    }
}

/// Seconds of the configuration; none where they are none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Docker's rule for names of services.
pub(crate) fn is_service_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// What was found to be wrong.
#[derive(Debug, Default)]
struct Problems(Vec<ConfigError>);

impl Problems {
    fn add(&mut self, key: &str, why: String) {
        self.0.push(ConfigError { key: key.to_owned(), why });
    }

    fn check(&mut self, holds: bool, key: &str, why: impl FnOnce() -> String) {
        if !holds {
            self.add(key, why());
        }
    }

    fn seconds(&mut self, key: &str, seconds: f64, least: f64, most: f64) {
        self.check((least..=most).contains(&seconds), key, || format!("must be {least} to {most} seconds"));
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold => "hold",
            Self::UpOnly => "up_only",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The article's service, and its swarm.
    pub(crate) fn article() -> Value {
        json!({
            "swarm": { "main": { "managers": ["tcp://10.0.0.134:2376"], "certs": "/tls" } },
            "autoscale": { "service": { "apache": {
                "min": 1, "max": 10,
                "metric": [
                    { "metric": "vir_cpu_utilization", "low": 0.5, "high": 1 },
                    { "metric": "vir_bytes_in + vir_bytes_out", "low": 50000, "high": 100_000 },
                ],
            } } },
        })
    }

    fn read(json: Value) -> Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_articles_service_is_read() {
        let config = read(article());
        assert_eq!(config.validate(), []);
        let apache = &config.autoscale.service["apache"];
        assert_eq!(config.swarm_of(apache), Some("main"));
        assert!(apache.enabled && !apache.has_targets());
        assert_eq!((apache.samples(), apache.up.most(5, false)), (1, 1));
        assert!(config.swarm["main"].finds_by_labels());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let config = read(article());
        let again: Config = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        for (pointer, value, key) in [
            ("/autoscale/service/apache/min", json!(11), "autoscale.service.apache.min"),
            ("/autoscale/service/apache/max", json!(0), "autoscale.service.apache.max"),
            ("/autoscale/service/apache/rate", json!(0), "autoscale.service.apache.rate"),
            ("/autoscale/service/apache/period_s", json!(0), "autoscale.service.apache.period_s"),
            ("/autoscale/service/apache/fresh_s", json!(-1), "autoscale.service.apache.fresh_s"),
            ("/autoscale/service/apache/tolerance", json!(1), "autoscale.service.apache.tolerance"),
            ("/autoscale/service/apache/most_loss", json!(2), "autoscale.service.apache.most_loss"),
            ("/autoscale/service/apache/up", json!({"step": 0}), "autoscale.service.apache.up.step"),
            (
                "/autoscale/service/apache/down",
                json!({"percent": -1}),
                "autoscale.service.apache.down.percent",
            ),
            ("/autoscale/service/apache/metric", json!([]), "autoscale.service.apache.metric"),
            ("/autoscale/service/apache/metric/0/low", json!(1), "autoscale.service.apache.metric[0].low"),
            ("/autoscale/service/apache/metric/0/target", json!(1), "autoscale.service.apache.metric"),
            (
                "/autoscale/service/apache/metric/1/filter",
                json!({"a": ["b"]}),
                "autoscale.service.apache.metric[1].filter",
            ),
            (
                "/autoscale/service/apache/sick",
                json!({"metric": [{"metric": "a", "above": 0.5}]}),
                "autoscale.service.apache.sick.metric[0]",
            ),
            ("/autoscale/service/apache/swarm", json!("other"), "autoscale.service.apache.swarm"),
            ("/autoscale/service/apache/service", json!("a*"), "autoscale.service.apache"),
            (
                "/autoscale/service/httpd",
                json!({"service": "apache", "metric": [{"metric": "a", "target": 1}]}),
                "autoscale.service.httpd.service",
            ),
            ("/autoscale/budget", json!(0), "autoscale.budget"),
            ("/autoscale/changes", json!(0), "autoscale.changes"),
            ("/autoscale/interval_s", json!(0), "autoscale.interval_s"),
            ("/swarm/main/managers", json!([]), "swarm.main.managers"),
            ("/swarm/main/managers", json!(["http://10.0.0.134:2375"]), "swarm.main.managers"),
            ("/swarm/main/certs", json!(null), "swarm.main.managers"),
            ("/swarm/main/node", json!([{"host": "a", "engine": "http://x"}]), "swarm.main.node[0].engine"),
            ("/swarm/main/node", json!([{"host": "", "engine": "x"}]), "swarm.main.node[0].host"),
        ] {
            let mut config = article();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value;
            let problems = read(config).validate();
            assert!(problems.iter().any(|problem| problem.key == key), "{pointer}: {problems:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for pointer in [
            "",
            "/autoscale",
            "/autoscale/service/apache",
            "/swarm/main",
            "/autoscale/service/apache/metric/0",
        ] {
            let mut config = article();
            config.pointer_mut(pointer).unwrap()["maxx"] = json!(1);
            let error = serde_json::from_value::<Config>(config).unwrap_err().to_string();
            assert!(error.contains("maxx"), "{error}");
        }
    }

    #[test]
    fn a_step_is_the_larger_of_number_and_percent() {
        let direction = Direction { step: Some(2), percent: Some(50.0), ..Direction::default() };
        assert_eq!((direction.most(2, false), direction.most(9, false)), (2, 5));
        assert_eq!(Direction::default().most(9, true), u64::MAX);
    }
}
