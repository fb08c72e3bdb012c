//! Metrics: names, all of an agent, statistics, tables, dumps.

use axum::extract::{Path, Query, State};
use tables::question::Column;
use tables::select::{Agents, Filter, MetricRef, SelectError};
use tables::{Answer, Question};

use crate::json;
use crate::shared::{Conditions, Failure, Reply, Shared, filter};

pub(crate) async fn names(State(shared): State<Shared>) -> Reply {
    shared
        .answer(Question::MetricNames, |answer| match answer {
            Answer::MetricNames(names) => Some(json::ages(&names)),
            _ => None,
        })
        .await
}

pub(crate) async fn of_agent(State(shared): State<Shared>, Path(agent): Path<String>) -> Reply {
    let agents: Agents = agent.parse()?;
    shared.must_know(&agents).await?;
    shared
        .answer(Question::AgentMetrics(agents), |answer| match answer {
            Answer::Metrics(metrics) => Some(json::flat(&metrics)),
            _ => None,
        })
        .await
}

pub(crate) async fn statistic(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let (agents, metrics, filter) = (agent.parse()?, MetricRef::list(&metrics)?, filter(&query)?);
    shared
        .answer(Question::Metric { agents, metrics, filter }, |answer| match answer {
            Answer::Statistics(statistics) => Some(statistics.iter().map(json::statistic).collect()),
            _ => None,
        })
        .await
}

pub(crate) async fn table(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let columns: Vec<Column> = metrics
        .split(',')
        .map(str::trim)
        .filter(|column| !column.is_empty())
        .map(column)
        .collect::<Result<_, _>>()?;
    if columns.is_empty() {
        return Err(SelectError::NoMetric.into());
    }
    if columns.iter().filter(|column| column.sort.is_some()).count() > 1 {
        return Err(Failure::wrong("a table is sorted by one metric"));
    }
    let question = Question::Table { agents: agent.parse()?, columns, filter: filter(&query)? };
    shared
        .answer(question, |answer| match answer {
            Answer::Table(rows) => Some(rows.iter().map(|row| json::row(row)).collect()),
            _ => None,
        })
        .await
}

/// `METRIC`, `null:METRIC` (may be missing), `sort:METRIC`, `sort:METRIC:10` (the ten smallest), `sort:METRIC:-10` (the
/// ten largest).
fn column(text: &str) -> Result<Column, Failure> {
    let (rest, sort) = match text.strip_prefix("sort:") {
        None => (text, None),
        Some(rest) => match rest.rsplit_once(':').map(|(metric, most)| (metric, most.parse::<i64>())) {
            Some((metric, Ok(most))) => {
                (metric, Some((most < 0, usize::try_from(most.unsigned_abs()).unwrap_or(usize::MAX))))
            }
            Some((_, Err(_))) if !rest.starts_with("null:") || rest.matches(':').count() > 1 => {
                return Err(Failure::wrong(format!(
                    "{text:?} does not sort: sort:METRIC:-10 keeps the ten largest, sort:METRIC:10 the ten smallest"
                )));
            }
            _ => (rest, Some((false, usize::MAX))),
        },
    };
    let (rest, optional) = match rest.strip_prefix("null:") {
        None => (rest, false),
        Some(rest) => (rest, true),
    };
    Ok(Column { metric: rest.parse()?, optional, sort })
}

/// The metrics of a path where `ALL` means all, and `;` separates as `,` does.
pub(super) fn listed(metrics: &str) -> Result<Vec<MetricRef>, SelectError> {
    if metrics == "ALL" { Ok(Vec::new()) } else { MetricRef::list(&metrics.replace(';', ",")) }
}

pub(super) fn dumped(agents: Agents, metrics: Vec<MetricRef>, filter: Filter) -> Question {
    Question::Dump { agents, metrics, filter }
}

pub(crate) async fn dump(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    shared
        .answer(dumped(agent.parse()?, listed(&metrics)?, filter(&query)?), |answer| match answer {
            Answer::Metrics(metrics) => Some(metrics.iter().map(json::metric).collect()),
            _ => None,
        })
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn columns_sort_and_may_be_missing() {
        for (text, name, optional, sort) in [
            ("ifname", "ifname", false, None),
            ("null:ifname", "ifname", true, None),
            ("sort:ifinoctets:-10", "ifinoctets", false, Some((true, 10))),
            ("sort:ifinoctets:3", "ifinoctets", false, Some((false, 3))),
            ("sort:ifinoctets", "ifinoctets", false, Some((false, usize::MAX))),
            ("sort:null:2.1.load_one:-1", "2.1.load_one", true, Some((true, 1))),
        ] {
            let column = column(text).unwrap();
            assert_eq!((column.metric.text.as_str(), column.optional, column.sort), (name, optional, sort));
        }
        assert!(column("sort:").is_err());
        assert!(column("sort:null:load_one").is_ok_and(|column| column.optional));
        for text in ["sort:load_one:x", "sort:load_one:-99999999999999999999", "sort:null:load_one:x"] {
            assert!(column(text).is_err_and(|failure| failure.error.contains("does not sort")), "{text}");
        }
    }
}
