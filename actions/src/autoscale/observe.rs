//! What telemetry says of a service: the engine is asked for the service's containers and the metrics that decide.
//!
//! A container is one of a service by its whole name, `SERVICE.SLOT.TASK`; whether its task is one that the swarm
//! knows is for the policy to see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::Handle;
use tables::agent::AgentSummary;
use tables::question::{Column, Metric as Cell};
use tables::select::{Agents, Filter, MetricRef};
use tables::sequence::Sequence;
use tables::{Answer, Question};

use super::config::{Metric, Service};
use super::expression::Expression;
use super::loss::Datagrams;
use super::observation::{Replica, Sample, Telemetry};

/// Letters of a task's id.
const TASK_LETTERS: usize = 25;

/// What says which container it is, and on which node it runs.
const NAME: &str = "vir_host_name";
const NODE: &str = "host_name";

/// What telemetry says of the service with this name. It waits for the engine, [`engine::DEADLINE`] for each question.
///
/// # Errors
/// The engine does not answer; or the rules name what cannot be asked for.
pub(super) fn telemetry(handle: &Handle, name: &str, rules: &Service) -> Result<Telemetry, String> {
    let columns = Columns::of(rules);
    let question =
        Question::Table { agents: Agents::Listed, columns: columns.asked()?, filter: filter(name)? };
    let Answer::Table(rows) = handle.ask(question).map_err(|why| why.to_string())? else {
        return Err("the collector gave another answer than a table".to_owned());
    };
    let replicas: Vec<Replica> = rows.iter().filter_map(|row| columns.replica(name, rules, row)).collect();
    let tellers: BTreeSet<String> =
        replicas.iter().filter_map(|replica| replica.node.last().cloned()).collect();
    let total = |metric: &Metric| {
        if metric.total { total(handle, metric) } else { Ok(None) }
    };
    let totals = rules.metric.iter().map(total).collect::<Result<_, String>>()?;
    let datagrams = datagrams(handle, &tellers)?;
    Ok(Telemetry { replicas, totals, datagrams })
}

/// What came and what was lost of these agents.
fn datagrams(handle: &Handle, agents: &BTreeSet<String>) -> Result<BTreeMap<String, Datagrams>, String> {
    if agents.is_empty() {
        return Ok(BTreeMap::new());
    }
    let question = Question::Agents(Agents::Listed);
    let Answer::Agents(summaries) = handle.ask(question).map_err(|why| why.to_string())? else {
        return Err("the collector gave another answer than agents".to_owned());
    };
    let counted = |summary: &AgentSummary| {
        let Sequence { received, lost, .. } = summary.datagrams;
        (summary.agent.to_string(), Datagrams { received, lost })
    };
    Ok(summaries.iter().map(counted).filter(|(agent, _)| agents.contains(agent)).collect())
}

/// The containers whose names begin as those of the service's tasks do, and that run.
fn filter(name: &str) -> Result<Filter, String> {
    let tasks = format!("{}\\.*", regex::escape(name));
    let conditions = [(NAME, vec![tasks]), ("vir_cpu_state", vec!["running".to_owned()])];
    Filter::new(conditions).map_err(|why| why.to_string())
}

/// The task of a container of this service; `None` of any other name. A second container of the same name has
/// something behind the task.
fn task<'n>(service: &str, name: &'n str) -> Option<&'n str> {
    let mut parts = name.strip_prefix(service)?.strip_prefix('.')?.splitn(3, '.');
    let (slot, task, _) = (parts.next()?, parts.next()?, parts.next());
    let is_slot = !slot.is_empty() && slot.bytes().all(|byte| byte.is_ascii_digit());
    let is_task = task.len() == TASK_LETTERS && task.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_slot && is_task).then_some(task)
}

/// The columns of the table that is asked for: name, node, then each metric once.
struct Columns<'r> {
    metrics: Vec<&'r str>,
}

impl<'r> Columns<'r> {
    fn of(rules: &'r Service) -> Self {
        let deciding = rules.metric.iter().filter(|metric| !metric.total).map(|metric| &metric.metric);
        let telling = rules.sick.iter().flat_map(|sick| &sick.metric).map(|outlier| &outlier.metric);
        let mut metrics: Vec<&str> =
            deciding.chain(telling).flat_map(|expression| &expression.terms).map(String::as_str).collect();
        metrics.sort_unstable();
        metrics.dedup();
        Self { metrics }
    }

    fn asked(&self) -> Result<Vec<Column>, String> {
        let column = |name: &str, optional| {
            let metric = name.parse::<MetricRef>().map_err(|why| format!("{name}: {why}"))?;
            Ok::<_, String>(Column { metric, optional, sort: None })
        };
        let mut columns = vec![column(NAME, false)?, column(NODE, true)?];
        for metric in &self.metrics {
            columns.push(column(metric, true)?);
        }
        Ok(columns)
    }

    fn replica(&self, name: &str, rules: &Service, row: &[Option<Cell>]) -> Option<Replica> {
        let text = |cell: &Cell| match &cell.value {
            tables::metric::MetricValue::Text(text) => Some(text.to_string()),
            tables::metric::MetricValue::Number(_) => None,
        };
        let cell = |at: usize| row.get(at).and_then(Option::as_ref);
        let named = cell(0)?;
        let full = text(named)?;
        let task = task(name, &full)?.to_owned();
        let node = cell(1).and_then(text).into_iter().chain([named.owner.agent.to_string()]).collect();
        let value = |term: &String| {
            let at = self.metrics.iter().position(|metric| metric == term)?;
            let cell = cell(at + 2)?;
            Some(Sample { value: cell.value.number()?, age: Duration::from_micros(cell.age_us) })
        };
        let sum = |expression: &Expression| added(expression.terms.iter().map(value));
        let own = |metric: &Metric| if metric.total { None } else { sum(&metric.metric) };
        Some(Replica {
            task,
            node,
            metrics: rules.metric.iter().map(own).collect(),
            outliers: rules
                .sick
                .iter()
                .flat_map(|sick| &sick.metric)
                .map(|outlier| sum(&outlier.metric))
                .collect(),
        })
    }
}

/// The sum of values that are all there, as old as the oldest.
fn added(samples: impl Iterator<Item = Option<Sample>>) -> Option<Sample> {
    samples.into_iter().try_fold(None, |sum: Option<Sample>, sample| {
        let sample = sample?;
        Some(Some(match sum {
            None => sample,
            Some(sum) => Sample { value: sum.value + sample.value, age: sum.age.max(sample.age) },
        }))
    })?
}

/// A metric over all data sources that its filter lets through.
fn total(handle: &Handle, metric: &Metric) -> Result<Option<Sample>, String> {
    let fold = metric.metric.fold_of_total().name();
    let metrics = metric.metric.terms.iter().map(|term| format!("{fold}:{term}").parse());
    let metrics = metrics.collect::<Result<Vec<MetricRef>, _>>().map_err(|why| why.to_string())?;
    let conditions = metric.filter.iter().map(|(name, patterns)| (name.as_str(), patterns.clone()));
    let filter = Filter::new(conditions).map_err(|why| format!("the filter of {}: {why}", metric.metric))?;
    let question = Question::Metric { agents: Agents::Listed, metrics, filter };
    let Answer::Statistics(statistics) = handle.ask(question).map_err(|why| why.to_string())? else {
        return Err("the collector gave another answer than statistics".to_owned());
    };
    Ok(added(statistics.iter().map(|statistic| {
        let value = statistic.value.as_ref()?.number()?;
        Some(Sample { value, age: Duration::from_micros(statistic.oldest_us.unwrap_or(0)) })
    })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_one_of_a_service_by_its_whole_name() {
        let id = "u3mz0fk2abcd1234efgh5678i";
        for (service, name, is) in [
            ("apache", format!("apache.1.{id}"), true),
            ("apache", format!("apache.12.{id}"), true),
            ("apache", format!("apache.1.{id}.0123456789ab"), true),
            ("apache", format!("apache2.1.{id}"), false),
            ("apache", format!("apache.foo.1.{id}"), false),
            ("apache.foo", format!("apache.foo.1.{id}"), true),
            ("apache", format!("apache.1x.{id}"), false),
            ("apache", format!("apache..{id}"), false),
            ("apache", "apache.1.short".to_owned(), false),
            ("apache", "apache".to_owned(), false),
            ("apache", format!("xapache.1.{id}"), false),
        ] {
            assert_eq!(task(service, &name).is_some(), is, "{service} {name}");
        }
        assert_eq!(task("a", &format!("a.1.{id}")), Some(id));
    }

    #[test]
    fn sums_are_whole_or_not_at_all() {
        let sample = |value, seconds| Some(Sample { value, age: Duration::from_secs(seconds) });
        assert_eq!(added([sample(1.0, 5), sample(2.0, 3)].into_iter()), sample(3.0, 5));
        assert_eq!(added([sample(1.0, 5), None].into_iter()), None);
        assert_eq!(added(std::iter::empty()), None);
    }
}
