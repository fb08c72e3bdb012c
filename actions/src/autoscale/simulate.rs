//! What a load would cause: the same policies and the same budget, on a clock of their own, over a curve of loads.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use super::budget::allocate;
use super::config::{Config, ConfigError, Service, seconds};
use super::decision::{Decision, Grant, Verdict};
use super::expression::Expression;
use super::policy::Policy;
use super::world::{Pace, STEP, World};

/// The columns of the curve.
pub const HEADER: &str = "seconds,service,metric,load";

/// Lines of a curve that are read, at most.
const MOST_LINES: usize = 1_000_000;

/// A line of a curve, bytes.
const LONGEST_LINE: usize = 4096;

/// How the simulated services behave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// How long things take.
    pub pace: Pace,
    /// How many replicas each service begins with; its least where nothing is said.
    pub replicas: Option<u64>,
    /// How long the last loads of the curve last; a minute where nothing is said.
    pub tail: Option<Duration>,
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The configuration cannot be.
    #[error("the configuration is wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigError>),
    /// A line of the curve cannot be read.
    #[error("line {line} of the load curve: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The curve cannot be read, or the decisions cannot be written.
    #[error("the load curve cannot be read, or the decisions cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// What came of it, for each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub service: String,
    /// Each number of replicas that was set, with the second.
    pub changes: Vec<(u64, u64)>,
    /// The fewest and the most replicas.
    pub range: (u64, u64),
}

/// Writes the decisions that a curve of loads would cause, a line for each one that is not as the last one was.
///
/// The curve is CSV with the columns [`HEADER`]: from that second on a service has this total load of a metric, in the
/// metric's unit times the replicas. A load of `-` is told by nobody. The metric is one of the service's, or a term of one.
///
/// # Errors
/// The configuration is wrong, or a line of the curve; or reading or writing fails.
pub fn simulate(
    config: &Config,
    curve: impl BufRead,
    options: Options,
    out: &mut impl Write,
) -> Result<Vec<Summary>, SimulateError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(SimulateError::Config(problems));
    }
    let points = read(config, curve)?;
    let last = points.last().map_or(Duration::ZERO, |point| point.at);
    let end = last + options.tail.unwrap_or(Duration::from_secs(60));
    let mut services: Vec<Simulated> =
        config.autoscale.service.iter().map(|(name, rules)| Simulated::new(name, rules, options)).collect();
    let interval = seconds(config.autoscale.interval_s).max(STEP);
    let (mut now, mut next_look) = (Duration::ZERO, interval);
    let mut points = points.into_iter().peekable();
    while now < end {
        while let Some(point) = points.next_if(|point| point.at <= now) {
            for service in services.iter_mut().filter(|service| service.name == point.service) {
                service.set_load(&point);
            }
        }
        now += STEP;
        services.iter_mut().for_each(Simulated::step);
        if now >= next_look {
            next_look += interval;
            look(now, config.autoscale.budget, &mut services, out)?;
        }
    }
    Ok(services.into_iter().map(Simulated::summary).collect())
}

/// All services are looked at, as the executor does.
fn look(
    now: Duration,
    budget: Option<u64>,
    services: &mut [Simulated],
    out: &mut impl Write,
) -> io::Result<()> {
    let outlooks: Vec<_> = services
        .iter_mut()
        .map(|service| service.policy.observe(now, &service.world.observe(&service.measured())))
        .collect();
    let claims: Vec<_> = services
        .iter()
        .zip(&outlooks)
        .map(|(service, outlook)| service.policy.claim(&service.name, outlook))
        .collect();
    let grants: Vec<Grant> = allocate(budget, &claims);
    for ((service, outlook), grant) in services.iter_mut().zip(outlooks).zip(grants) {
        let decision = service.policy.decide(now, outlook, grant);
        service.take(now, &decision, out)?;
    }
    Ok(())
}

/// From when on a service has a load of a metric.
#[derive(Clone, Debug)]
struct Point {
    at: Duration,
    service: String,
    metric: String,
    load: Option<f64>,
}

struct Simulated {
    name: String,
    policy: Policy,
    world: World,
    /// The loads of the curve, by metric.
    loads: BTreeMap<String, Option<f64>>,
    /// What was decided last.
    last: Option<&'static str>,
    changes: Vec<(u64, u64)>,
    range: (u64, u64),
}

impl Simulated {
    fn new(name: &str, rules: &Service, options: Options) -> Self {
        let replicas = options.replicas.unwrap_or(rules.min);
        let rules = Service { enabled: true, dry_run: false, ..rules.clone() };
        Self {
            name: name.to_owned(),
            policy: Policy::new(rules),
            world: World::new(options.pace, replicas),
            loads: BTreeMap::new(),
            last: None,
            changes: Vec::new(),
            range: (replicas, replicas),
        }
    }

    fn set_load(&mut self, point: &Point) {
        self.loads.insert(point.metric.clone(), point.load);
    }

    /// The total load of each metric; `None` where nobody tells it.
    fn measured(&self) -> Vec<Option<f64>> {
        let of = |name: &str| self.loads.get(name).copied();
        let load = |expression: &Expression| match of(&expression.key()) {
            Some(load) => load,
            None => expression.terms.iter().map(|term| of(term).flatten()).sum(),
        };
        self.policy.rules().metric.iter().map(|metric| load(&metric.metric)).collect()
    }

    fn step(&mut self) {
        let loads: Vec<f64> = self.measured().into_iter().map(|load| load.unwrap_or(0.0)).collect();
        self.world.step(&loads);
    }

    fn take(&mut self, now: Duration, decision: &Decision, out: &mut impl Write) -> io::Result<()> {
        let label = decision.verdict.label();
        let is_news = self.last.replace(label) != Some(label);
        let at = format!("{:8.1}", now.as_secs_f64());
        match &decision.verdict {
            Verdict::Set { from, to } => {
                writeln!(out, "{at} {} set replicas={to} ({})", self.name, decision.reason)?;
                self.policy.asking(*to);
                self.world.set(*to);
                self.policy.done(now, *from, *to);
                self.changes.push((now.as_secs(), *to));
                self.range = (self.range.0.min(*to), self.range.1.max(*to));
            }
            _ if is_news => writeln!(out, "{at} {} {label}: {}", self.name, decision.reason)?,
            _ => {}
        }
        Ok(())
    }

    fn summary(self) -> Summary {
        Summary { service: self.name, changes: self.changes, range: self.range }
    }
}

fn read(config: &Config, mut curve: impl BufRead) -> Result<Vec<Point>, SimulateError> {
    let mut points: Vec<Point> = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let limited = &mut io::Read::take(&mut curve, LONGEST_LINE as u64 + 1);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let wrong = |why: String| SimulateError::Line { line, why };
        if bytes.len() > LONGEST_LINE || line > MOST_LINES {
            return Err(wrong(format!(
                "a line has {LONGEST_LINE} bytes at most, and a curve {MOST_LINES} lines"
            )));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".into()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') || (line == 1 && text == HEADER) {
            continue;
        }
        let point = point(config, text).map_err(wrong)?;
        if points.last().is_some_and(|last| last.at > point.at) {
            return Err(wrong("seconds do not fall".into()));
        }
        points.push(point);
    }
    Ok(points)
}

fn point(config: &Config, text: &str) -> Result<Point, String> {
    let columns: Vec<&str> = text.split(',').map(str::trim).collect();
    let [at, service, metric, load] = columns[..] else {
        return Err(format!("has not the columns {HEADER}"));
    };
    let positive = |text: &str| text.parse::<f64>().ok().filter(|number| (0.0..=1e15).contains(number));
    let at = positive(at).and_then(|at| Duration::try_from_secs_f64(at).ok());
    let at = at
        .filter(|at| *at <= Duration::from_secs(366 * 86_400))
        .ok_or("the seconds are 0 to those of a year")?;
    let rules = config.autoscale.service.get(service);
    let rules = rules.ok_or_else(|| format!("{service:?} is no service of the configuration"))?;
    let metric = metric.parse::<Expression>()?.key();
    let is_of = |expression: &Expression| expression.key() == metric || expression.terms.contains(&metric);
    if !rules.metric.iter().any(|rule| is_of(&rule.metric)) {
        return Err(format!("{metric:?} decides nothing of {service}"));
    }
    let load = match load {
        "-" => None,
        load => Some(
            positive(load).ok_or_else(|| format!("{load:?} is no load: 0 or more, or - for none told"))?,
        ),
    };
    Ok(Point { at, service: service.to_owned(), metric, load })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::super::config::tests::article;
    use super::*;

    fn run(config: Value, curve: &str, options: Options) -> (Vec<Summary>, String) {
        let mut out = Vec::new();
        let config = serde_json::from_value(config).unwrap();
        let summary = simulate(&config, curve.as_bytes(), options, &mut out).unwrap();
        (summary, String::from_utf8(out).unwrap())
    }

    /// `ab -rt 60`: a minute and a half of load that needs eight replicas, then nearly nothing.
    const LOAD: &str = "seconds,service,metric,load\n\
        0,apache,vir_cpu_utilization,0.1\n0,apache,vir_bytes_in,1000\n0,apache,vir_bytes_out,4000\n\
        180,apache,vir_cpu_utilization,6\n180,apache,vir_bytes_in,40000\n180,apache,vir_bytes_out,700000\n\
        270,apache,vir_cpu_utilization,0.1\n270,apache,vir_bytes_in,1000\n270,apache,vir_bytes_out,4000\n";

    #[test]
    fn the_articles_log_has_its_shape() {
        // Values from before a change count, as they did for the script.
        for (samples, up, down) in [(0, 4..=12, 2..=8), (1, 6..=12, 6..=12)] {
            let mut config = article();
            config["autoscale"]["service"]["apache"]["samples"] = json!(samples);
            let tail = Some(Duration::from_secs(120));
            let (summary, log) = run(config, LOAD, Options { tail, ..Options::default() });
            let set: Vec<u64> = summary[0].changes.iter().map(|(_, replicas)| *replicas).collect();
            if samples == 1 {
                assert_eq!(set, [2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1], "{log}");
            }
            let waits: Vec<u64> = summary[0].changes.windows(2).map(|two| two[1].0 - two[0].0).collect();
            let turn = set.iter().position(|replicas| Some(replicas) == set.iter().max()).unwrap();
            assert!(waits.iter().take(turn).all(|wait| up.contains(wait)), "{waits:?} {log}");
            assert!(waits.iter().skip(turn + 1).all(|wait| down.contains(wait)), "{waits:?} {log}");
            assert!(log.contains("apache set replicas=4 (vir_cpu_utilization"), "{log}");
        }
    }

    #[test]
    fn services_give_way_at_the_peak_and_get_theirs_back() {
        let service = |min: u64, priority: i32| json!({"min": min, "max": 10, "priority": priority, "metric": [{"metric": "load", "target": 1}]});
        let config = json!({
            "swarm": { "main": { "managers": ["unix:///var/run/docker.sock"] } },
            "autoscale": { "budget": 10, "service": { "batch": service(2, 0), "shop": service(1, 5) } },
        });
        let curve = "0,batch,load,6\n0,shop,load,2\n200,shop,load,7\n500,shop,load,2\n";
        let tail = Some(Duration::from_secs(200));
        let (summary, log) = run(config, curve, Options { tail, ..Options::default() });
        let at = |service: usize, second: u64| {
            summary[service].changes.iter().rev().find(|(at, _)| *at < second).map(|(_, replicas)| *replicas)
        };
        assert_eq!((at(0, 200), at(1, 200)), (Some(6), Some(2)), "{log}");
        assert_eq!((at(0, 500), at(1, 500)), (Some(3), Some(7)), "{log}");
        assert_eq!((at(0, 700), at(1, 700)), (Some(6), Some(2)), "{log}");
        assert!(log.contains("batch set replicas=3 (gives way"), "{log}");
    }

    #[test]
    fn without_data_it_holds() {
        let curve = "0,apache,vir_cpu_utilization,9\n0,apache,vir_bytes_in+vir_bytes_out,1\n\
            20,apache,vir_cpu_utilization,-\n";
        let (summary, log) = run(article(), curve, Options { replicas: Some(5), ..Options::default() });
        assert!(summary[0].changes.iter().all(|(at, _)| *at < 20), "{log}");
        assert!(log.contains("apache missing: vir_cpu_utilization has no fresh value"), "{log}");
    }

    #[test]
    fn lines_that_are_wrong_are_told() {
        let config: Config = serde_json::from_value(article()).unwrap();
        for (line, says) in [
            ("1,apache,vir_cpu_utilization", "columns"),
            ("x,apache,vir_cpu_utilization,1", "seconds"),
            ("-1,apache,vir_cpu_utilization,1", "seconds"),
            ("1e12,apache,vir_cpu_utilization,1", "seconds"),
            ("1,nginx,vir_cpu_utilization,1", "\"nginx\""),
            ("1,apache,load_one,1", "\"load_one\" decides nothing"),
            ("1,apache,vir_cpu_utilization,NaN", "no load"),
            ("0,apache,vir_cpu_utilization,1", "do not fall"),
        ] {
            let curve = format!("{HEADER}\n1,apache,vir_bytes_in,1\n{line}\n");
            let error = simulate(&config, curve.as_bytes(), Options::default(), &mut Vec::new()).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("line 3 ") && text.contains(says), "{line}: {text}");
        }
        let long = "x".repeat(LONGEST_LINE + 1);
        assert!(simulate(&config, long.as_bytes(), Options::default(), &mut Vec::new()).is_err());
    }
}
