//! Questions, what one shard knows towards an answer, and answers.
//!
//! A partial merges with another in any order and grouping: any partition of the agents over shards gives the
//! answer of one shard.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use decode::{Address, DataSource, Mac};

use crate::agent::AgentSummary;
use crate::flow::active::{ActivePartial, FlowAggregation};
use crate::flow::learned::HostAdapters;
use crate::flow::plan::ActiveFlow;
use crate::metric::MetricValue;
pub use crate::owner::{Owner, Source};
use crate::select::{Agents, Aggregation, Filter, MetricRef};
pub use crate::source::SourceSummary;
use crate::table;
use crate::topology::locate::Sighting;
use crate::topology::{AgentPorts, Named};

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Who sends, and what was lost on the way.
    Agents(Agents),
    /// How data sources are measured: at which rate they sample, how often they send counters.
    Sources {
        /// Of which agents.
        agents: Agents,
        /// This one; all of them when `None`.
        source: Option<DataSource>,
    },
    /// Which metrics there are.
    MetricNames,
    /// All metrics of agents.
    AgentMetrics(Agents),
    /// One value per metric, over all data sources that the filter lets through.
    Metric {
        /// Of which agents.
        agents: Agents,
        /// Which metrics, in the order of the answer.
        metrics: Vec<MetricRef>,
        /// Of which data sources.
        filter: Filter,
    },
    /// The values of all data sources.
    Dump {
        /// Of which agents.
        agents: Agents,
        /// Which metrics; all of them when empty.
        metrics: Vec<MetricRef>,
        /// Of which data sources.
        filter: Filter,
    },
    /// The largest flows of a definition.
    ActiveFlows {
        /// Seen by which agents.
        agents: Agents,
        /// Name of the definition.
        flow: String,
        /// How the values that several data sources have become one.
        aggregation: FlowAggregation,
        /// How many at most.
        most: usize,
        /// How large at least, per second.
        least: f64,
        /// What separates keys in text.
        separator: String,
    },
    /// The keys that recent packets had.
    FlowKeys,
    /// Which hosts own which addresses.
    Adapters,
    /// What agents say of their names.
    PortNames(Arc<Named>),
    /// Who was seen where since a time, microseconds, at most half a minute ago.
    Sightings(u64),
    /// The value that one data source has of a flow.
    FlowValue {
        /// Seen by which agents.
        agents: Agents,
        /// At which data source; at any when `None`.
        source: Option<DataSource>,
        /// Name of the definition.
        flow: String,
        /// The flow's keys as text; the largest flow when `None`.
        key: Option<String>,
    },
    /// Every data source that has seen a flow.
    FlowLocations {
        /// Seen by which agents.
        agents: Agents,
        /// Name of the definition.
        flow: String,
        /// The flow's keys as text.
        key: String,
        /// What separates keys in text.
        separator: String,
    },
    /// Metrics joined by data source, a row for each that has all of them.
    Table {
        /// Of which agents.
        agents: Agents,
        /// In the order of the answer.
        columns: Vec<Column>,
        /// Of which data sources.
        filter: Filter,
    },
    /// Whether a metric is above its threshold, or has not been below it for long enough.
    Triggered {
        /// Of which agents.
        agents: Agents,
        /// Name of the threshold.
        threshold: String,
        /// The metric, before which its data source may stand, as events name them: `4.load_one`. Of any data source
        /// without one.
        metric: String,
        /// The flow's keys as text, of a threshold by flow; any flow when `None`.
        flow_key: Option<String>,
    },
}

/// A column of [`Question::Table`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its metric.
    pub metric: MetricRef,
    /// Whether a row may lack it.
    pub optional: bool,
    /// Sorts the rows, largest first when `true`, and keeps this many.
    pub sort: Option<(bool, usize)>,
}

/// One value of one data source.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Whose.
    pub owner: Owner,
    /// Its name as it was asked for.
    pub name: String,
    /// Its value.
    pub value: MetricValue,
    /// Microseconds since it arrived.
    pub age_us: u64,
    /// The largest flows and their values, largest first, where the metric is that of flows.
    pub top_keys: Vec<(String, f64)>,
}

/// One value made of those of many data sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// The metric as it was asked for.
    pub name: String,
    /// Whose value it is, for `max`, `min` and `any`.
    pub owner: Option<Owner>,
    /// The value; `None` when no data source has one.
    pub value: Option<MetricValue>,
    /// How many data sources it is made of.
    pub n: u64,
    /// Age of the owner's value, microseconds.
    pub age_us: Option<u64>,
    /// Age of the youngest value, microseconds.
    pub youngest_us: Option<u64>,
    /// Age of the oldest value, microseconds.
    pub oldest_us: Option<u64>,
    /// Minimum, quartiles and maximum, for `med`, `q1`, `q3` and `iqr`.
    pub quartiles: Option<[f64; 5]>,
    /// The largest flows and their values, largest first, where the metric is that of flows.
    pub top_keys: Vec<(String, f64)>,
}

/// What one shard, or several, know towards an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// To [`Question::Agents`].
    Agents(Vec<AgentSummary>),
    /// To [`Question::Sources`].
    Sources(Vec<SourceSummary>),
    /// To [`Question::MetricNames`]: age of the youngest value.
    MetricNames(BTreeMap<String, u64>),
    /// To [`Question::AgentMetrics`] and [`Question::Dump`].
    Metrics(Vec<Metric>),
    /// To [`Question::Metric`]: for each metric, all its values.
    Values(Vec<Vec<Metric>>),
    /// To [`Question::ActiveFlows`] and [`Question::FlowLocations`].
    Flows(ActivePartial),
    /// To [`Question::FlowKeys`]: age of the youngest packet, microseconds.
    FlowKeys(BTreeMap<String, u64>),
    /// To [`Question::Adapters`].
    Adapters(Vec<HostAdapters>),
    /// To [`Question::PortNames`].
    PortNames(Vec<AgentPorts>),
    /// To [`Question::Sightings`].
    Sightings(Vec<Sighting>),
    /// To [`Question::FlowValue`].
    FlowValue(Option<f64>),
    /// To [`Question::Table`]: rows.
    Table(Vec<Vec<Option<Metric>>>),
    /// To [`Question::Triggered`].
    Triggered(bool),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Agents`], by address.
    Agents(Vec<AgentSummary>),
    /// To [`Question::Sources`], by agent and data source.
    Sources(Vec<SourceSummary>),
    /// To [`Question::MetricNames`]: age of the youngest value, microseconds.
    MetricNames(BTreeMap<String, u64>),
    /// To [`Question::AgentMetrics`] and [`Question::Dump`], by agent, data source and name.
    Metrics(Vec<Metric>),
    /// To [`Question::Metric`], in the order asked.
    Statistics(Vec<Statistic>),
    /// To [`Question::ActiveFlows`] and [`Question::FlowLocations`], largest first.
    Flows(Vec<ActiveFlow>),
    /// To [`Question::FlowKeys`]: age of the youngest packet, microseconds.
    FlowKeys(BTreeMap<String, u64>),
    /// To [`Question::Adapters`], by agent and data source.
    Adapters(Vec<HostAdapters>),
    /// To [`Question::PortNames`], by agent and ifIndex.
    PortNames(Vec<AgentPorts>),
    /// To [`Question::Sightings`], in no order.
    Sightings(Vec<Sighting>),
    /// To [`Question::FlowValue`]: per second; `None` when there is no such flow.
    FlowValue(Option<f64>),
    /// To [`Question::Table`]: rows of as many cells as there are columns; an optional one may be `None`.
    Table(Vec<Vec<Option<Metric>>>),
    /// To [`Question::Triggered`].
    Triggered(bool),
}

impl Partial {
    /// Both together. Partials of different questions do not belong together: the first is kept.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Agents(mut a), Self::Agents(b)) => {
                a.extend(b);
                Self::Agents(a)
            }
            (Self::Sources(mut a), Self::Sources(b)) => {
                a.extend(b);
                Self::Sources(a)
            }
            (Self::MetricNames(mut a), Self::MetricNames(b)) => {
                for (name, age) in b {
                    let youngest = a.entry(name).or_insert(age);
                    *youngest = age.min(*youngest);
                }
                Self::MetricNames(a)
            }
            (Self::Metrics(mut a), Self::Metrics(b)) => {
                a.extend(b);
                Self::Metrics(a)
            }
            (Self::Values(mut a), Self::Values(b)) => {
                for (a, b) in a.iter_mut().zip(b) {
                    a.extend(b);
                }
                Self::Values(a)
            }
            (Self::Flows(a), Self::Flows(b)) => Self::Flows(a.merge(b)),
            (Self::FlowKeys(mut a), Self::FlowKeys(b)) => {
                for (name, age) in b {
                    let youngest = a.entry(name).or_insert(age);
                    *youngest = age.min(*youngest);
                }
                Self::FlowKeys(a)
            }
            (Self::Adapters(mut a), Self::Adapters(b)) => {
                a.extend(b);
                Self::Adapters(a)
            }
            (Self::PortNames(mut a), Self::PortNames(b)) => {
                a.extend(b);
                Self::PortNames(a)
            }
            (Self::Sightings(mut a), Self::Sightings(b)) => {
                a.extend(b);
                Self::Sightings(a)
            }
            // The largest that any data source has.
            (Self::FlowValue(a), Self::FlowValue(b)) => Self::FlowValue(match (a, b) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            }),
            (Self::Table(mut a), Self::Table(b)) => {
                a.extend(b);
                Self::Table(a)
            }
            (Self::Triggered(a), Self::Triggered(b)) => Self::Triggered(a || b),
            (first, _) => first,
        }
    }

    /// The answer that the partials of all shards make.
    pub fn finish(self, question: &Question) -> Answer {
        match self {
            Self::Agents(mut agents) => {
                agents.sort_by_key(|summary| summary.agent);
                Answer::Agents(agents)
            }
            Self::Sources(mut sources) => {
                sources.sort_by(|a, b| a.owner.cmp(&b.owner));
                Answer::Sources(sources)
            }
            Self::MetricNames(names) => Answer::MetricNames(names),
            Self::Metrics(mut metrics) => {
                metrics.sort_by(|a, b| (&a.owner, &a.name).cmp(&(&b.owner, &b.name)));
                Answer::Metrics(metrics)
            }
            Self::FlowKeys(keys) => Answer::FlowKeys(keys),
            Self::FlowValue(value) => Answer::FlowValue(value),
            Self::Triggered(triggered) => Answer::Triggered(triggered),
            Self::Adapters(mut adapters) => {
                adapters.sort_by(|a, b| a.owner.cmp(&b.owner));
                Answer::Adapters(adapters)
            }
            Self::PortNames(mut names) => {
                names.sort_by_key(|known| known.agent);
                Answer::PortNames(names)
            }
            Self::Sightings(sightings) => Answer::Sightings(sightings),
            Self::Table(rows) => {
                let Question::Table { columns, .. } = question else { return Answer::Table(Vec::new()) };
                Answer::Table(table::sorted(rows, columns))
            }
            Self::Flows(flows) => Answer::Flows(match question {
                Question::ActiveFlows { most, least, separator, .. } => {
                    flows.largest(*most, *least, separator)
                }
                Question::FlowLocations { separator, .. } => flows.places(separator),
                _ => Vec::new(),
            }),
            Self::Values(values) => {
                let Question::Metric { metrics, .. } = question else {
                    return Answer::Statistics(Vec::new());
                };
                let statistics =
                    metrics.iter().zip(values).map(|(metric, values)| statistic(metric, values)).collect();
                Answer::Statistics(statistics)
            }
        }
    }
}

/// One value made of many. Their order is that of agent and data source, so that sums do not depend on which
/// shard had them.
fn statistic(metric: &MetricRef, mut values: Vec<Metric>) -> Statistic {
    values.sort_by(|a, b| a.owner.cmp(&b.owner));
    let numbers: Vec<f64> = values.iter().filter_map(|value| value.value.number()).collect();
    let by_number = |a: &&Metric, b: &&Metric| {
        let number = |metric: &Metric| metric.value.number().unwrap_or(f64::NAN);
        number(a).total_cmp(&number(b))
    };
    let with_number = || values.iter().filter(|value| value.value.number().is_some());
    let owner = match metric.aggregation {
        // Of equal values the first one: `max_by` alone would give the last.
        Aggregation::Max => with_number().rev().max_by(by_number).or_else(|| values.first()),
        Aggregation::Min => with_number().min_by(by_number).or_else(|| values.first()),
        Aggregation::Any => values.first(),
        _ => None,
    };
    let n = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let variance = || {
        let mean = sum / n;
        numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / n
    };
    let mut sorted = numbers.clone();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| quantile(&sorted, q);
    let quartiles =
        matches!(metric.aggregation, Aggregation::Med | Aggregation::Q1 | Aggregation::Q3 | Aggregation::Iqr)
            && !sorted.is_empty();
    let made = match metric.aggregation {
        Aggregation::Max | Aggregation::Min | Aggregation::Any => None,
        _ if numbers.is_empty() => None,
        Aggregation::Sum => Some(sum),
        Aggregation::Avg => Some(sum / n),
        Aggregation::Var => Some(variance()),
        Aggregation::Sdev => Some(variance().sqrt()),
        Aggregation::Med => Some(quantile(0.5)),
        Aggregation::Q1 => Some(quantile(0.25)),
        Aggregation::Q3 => Some(quantile(0.75)),
        Aggregation::Iqr => Some(quantile(0.75) - quantile(0.25)),
    };
    let value = made.map(MetricValue::Number).or_else(|| owner.map(|owner| owner.value.clone()));
    Statistic {
        name: metric.text.clone(),
        owner: owner.map(|owner| owner.owner.clone()),
        top_keys: owner.map(|owner| owner.top_keys.clone()).unwrap_or_default(),
        n: if value.is_some() { values.len() as u64 } else { 0 },
        age_us: owner.map(|owner| owner.age_us),
        youngest_us: values.iter().map(|value| value.age_us).min(),
        oldest_us: values.iter().map(|value| value.age_us).max(),
        quartiles: quartiles.then(|| [0.0, 0.25, 0.5, 0.75, 1.0].map(quantile)),
        value,
    }
}

/// A quantile of sorted numbers, linear between the two nearest.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    let below = place.floor() as usize;
    let (a, b) = (sorted.get(below), sorted.get((below + 1).min(last)));
    match (a, b) {
        (Some(a), Some(b)) => a + (b - a) * (place - below as f64),
        _ => f64::NAN,
    }
}
