//! Replicas that are not as their peers are: told after a time, and chosen for replacement one at a time.
//!
//! A pure function of time and observations. Who stops the container, and whether its node may be told so, is the
//! executor's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::{Outlier, Sick, seconds};
use super::expression::median;
use super::observation::{Observation, Replica};

/// Fewer replicas have no peers to speak of: of two nobody knows which one is wrong.
const FEWEST: usize = 3;

/// A replica that is not as its peers are.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Its task.
    pub task: String,
    /// The host name and the agent's address of its node.
    pub node: Vec<String>,
    /// For how long.
    pub since: Duration,
    /// Whether that is long enough to call it sick.
    pub sick: bool,
    /// What it has and what its peers have, for people.
    pub evidence: String,
}

/// Watches the replicas of a service.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Since when a task is an outlier.
    since: BTreeMap<String, Duration>,
    /// When a replica was replaced last.
    replaced: Option<Duration>,
}

impl Watch {
    /// The replicas that are outliers now. Without an answer of engine or telemetry nobody is one, and what was known stays:
    /// a replica must be one in every observation in between.
    pub fn tick(&mut self, now: Duration, rules: &Sick, fresh: Duration, seen: &Observation) -> Vec<Finding> {
        let (Ok(pool), Ok(telemetry)) = (&seen.pool, &seen.telemetry) else { return Vec::new() };
        let replicas: Vec<&Replica> =
            telemetry.replicas.iter().filter(|replica| pool.running.contains(&replica.task)).collect();
        let evidence = |at: usize| {
            rules
                .metric
                .iter()
                .enumerate()
                .find_map(|(metric, rule)| outlying(rule, metric, at, &replicas, fresh))
        };
        let mut findings = Vec::new();
        let mut since = BTreeMap::new();
        for (at, replica) in replicas.iter().enumerate() {
            let Some(evidence) = evidence(at) else { continue };
            let began = *self.since.get(&replica.task).unwrap_or(&now);
            since.insert(replica.task.clone(), began);
            let lasted = now.saturating_sub(began);
            findings.push(Finding {
                task: replica.task.clone(),
                node: replica.node.clone(),
                since: lasted,
                sick: lasted >= seconds(rules.for_s),
                evidence,
            });
        }
        self.since = since;
        findings
    }

    /// The sick replica that should be replaced now, if one should: the one that has been sick for longest, when all of
    /// the service's replicas run, one less is still its least, and the last replacement is long ago.
    pub fn replace<'f>(
        &self,
        now: Duration,
        rules: &Sick,
        min: u64,
        seen: &Observation,
        findings: &'f [Finding],
    ) -> Option<&'f Finding> {
        let pool = seen.pool.as_ref().ok()?;
        let replicas = pool.replicas?;
        let running = pool.running.len() as u64;
        let cooled = self.replaced.is_none_or(|last| now.saturating_sub(last) >= seconds(rules.cooldown_s));
        let may = rules.replace && cooled && !pool.updating && running == replicas && running > min;
        let sick = findings.iter().filter(|finding| finding.sick);
        if may { sick.max_by_key(|finding| finding.since) } else { None }
    }

    /// A replica is being replaced.
    pub fn replaced(&mut self, now: Duration) {
        self.replaced = Some(now);
    }
}

/// Why the replica at a place is an outlier by a rule, if it is one.
fn outlying(
    rule: &Outlier,
    metric: usize,
    at: usize,
    replicas: &[&Replica],
    fresh: Duration,
) -> Option<String> {
    let value = |replica: &&Replica| {
        let sample = replica.outliers.get(metric).copied().flatten()?;
        (sample.age <= fresh && sample.value.is_finite()).then_some(sample.value)
    };
    let own = value(replicas.get(at)?)?;
    let peers: Vec<f64> = replicas
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != at)
        .filter_map(|(_, peer)| value(peer))
        .collect();
    if peers.len() + 1 < FEWEST {
        return None;
    }
    let middle = median(&peers)?;
    let is = match (rule.above, rule.below) {
        (Some(above), _) => own > above * middle && own >= rule.least,
        (_, Some(below)) => middle > 0.0 && middle >= rule.least && own < below * middle,
        _ => false,
    };
    is.then(|| format!("{} is {own:.3}, the median of its {} peers {middle:.3}", rule.metric, peers.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::super::observation::{Pool, Sample, Telemetry};
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn rules() -> Sick {
        serde_json::from_value(json!({
            "metric": [
                { "metric": "cpu_steal", "above": 3, "least": 10 },
                { "metric": "vir_bytes_in", "below": 0.1, "least": 1000 },
            ],
            "for_s": 60, "cooldown_s": 600, "replace": true,
        }))
        .unwrap()
    }

    fn seen(replicas: &[(f64, f64)]) -> Observation {
        let sample = |value| Some(Sample { value, age: S });
        let replicas: Vec<Replica> = replicas
            .iter()
            .enumerate()
            .map(|(at, (steal, bytes))| Replica {
                task: format!("t{at}"),
                outliers: vec![sample(*steal), sample(*bytes)],
                ..Replica::default()
            })
            .collect();
        let running = replicas.iter().map(|replica| replica.task.clone()).collect();
        Observation {
            pool: Ok(Pool { replicas: Some(replicas.len() as u64), running, updating: false }),
            telemetry: Ok(Telemetry { replicas, ..Telemetry::default() }),
        }
    }

    fn at(watch: &mut Watch, now: u32, replicas: &[(f64, f64)]) -> Vec<(String, bool)> {
        let findings = watch.tick(S * now, &rules(), S * 30, &seen(replicas));
        findings.into_iter().map(|finding| (finding.task, finding.sick)).collect()
    }

    #[test]
    fn an_outlier_is_sick_after_its_time() {
        let well = [(1.0, 5000.0), (2.0, 5100.0), (1.5, 4900.0)];
        let mut stolen = well;
        stolen[1].0 = 40.0;
        let mut watch = Watch::default();
        assert_eq!(at(&mut watch, 0, &well), []);
        assert_eq!(at(&mut watch, 10, &stolen), [("t1".into(), false)]);
        assert_eq!(at(&mut watch, 69, &stolen), [("t1".into(), false)]);
        assert_eq!(at(&mut watch, 70, &stolen), [("t1".into(), true)]);
        // Well for a moment: its time begins anew.
        assert_eq!(at(&mut watch, 71, &well), []);
        assert_eq!(at(&mut watch, 72, &stolen), [("t1".into(), false)]);
    }

    #[test]
    fn no_traffic_while_the_others_have_it() {
        let mut watch = Watch::default();
        assert_eq!(at(&mut watch, 0, &[(1.0, 0.0), (1.0, 5000.0), (1.0, 5000.0)]), [("t0".into(), false)]);
        // Nobody has any: the service is idle.
        assert_eq!(at(&mut watch, 1, &[(1.0, 0.0), (1.0, 500.0), (1.0, 500.0)]), []);
        // Of two nobody knows which one is wrong.
        assert_eq!(at(&mut watch, 2, &[(1.0, 0.0), (1.0, 5000.0)]), []);
        let findings =
            watch.tick(S * 3, &rules(), S * 30, &seen(&[(1.0, 0.0), (1.0, 5000.0), (1.0, 5200.0)]));
        assert_eq!(findings[0].evidence, "vir_bytes_in is 0.000, the median of its 2 peers 5100.000");
    }

    #[test]
    fn old_values_and_strangers_are_no_evidence() {
        let mut watch = Watch::default();
        let mut observation = seen(&[(40.0, 5000.0), (1.0, 5000.0), (1.0, 5000.0)]);
        observation.telemetry.as_mut().unwrap().replicas[0].outliers[0] =
            Some(Sample { value: 40.0, age: S * 31 });
        assert_eq!(watch.tick(S, &rules(), S * 30, &observation), []);
        let mut observation = seen(&[(40.0, 5000.0), (1.0, 5000.0), (1.0, 5000.0)]);
        observation.telemetry.as_mut().unwrap().replicas[0].task = "forged".into();
        assert_eq!(watch.tick(S, &rules(), S * 30, &observation), []);
    }

    #[test]
    fn one_is_replaced_at_a_time_and_never_below_the_least() {
        let observation =
            seen(&[(40.0, 5000.0), (1.0, 5000.0), (1.0, 5000.0), (1.0, 5000.0), (50.0, 5000.0)]);
        let mut watch = Watch::default();
        let findings = |watch: &mut Watch, now: u32| watch.tick(S * now, &rules(), S * 30, &observation);
        findings(&mut watch, 0);
        let found = findings(&mut watch, 60);
        assert_eq!(found.len(), 2);
        let mut choose = |now: u32, min: u64, observation: &Observation| {
            let chosen = watch.replace(S * now, &rules(), min, observation, &found).cloned();
            if chosen.is_some() {
                watch.replaced(S * now);
            }
            chosen.map(|finding| finding.task)
        };
        assert_eq!(choose(60, 5, &observation), None, "one less is below the least");
        let mut starting = observation.clone();
        starting.pool.as_mut().unwrap().replicas = Some(6);
        assert_eq!(choose(60, 1, &starting), None, "another one is being replaced");
        assert!(choose(60, 1, &observation).is_some());
        assert_eq!(choose(659, 1, &observation), None, "the last one is not long ago");
        assert!(choose(660, 1, &observation).is_some());
        let rules = Sick { replace: false, ..rules() };
        assert_eq!(Watch::default().replace(S * 660, &rules, 1, &observation, &found), None);
    }
}
