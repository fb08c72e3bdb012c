//! Metrics: names, all of an agent, statistics, tables, dumps.

use axum::extract::{Path, Query, State};
use tables::question::Column;
use tables::select::{Agents, Filter, MetricRef};
use tables::{Answer, Question};

use crate::shared::{Conditions, Reply, Shared};
use engine::json;

pub(crate) async fn names(State(shared): State<Shared>) -> Reply {
    shared
        .answer(Question::MetricNames, |answer| match answer {
            Answer::MetricNames(names) => Some(json::ages(&names)),
            _ => None,
        })
        .await
}

pub(crate) async fn of_agent(State(shared): State<Shared>, Path(agent): Path<String>) -> Reply {
    let agents = shared.agents(&agent)?;
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
    let (agents, metrics, filter) =
        (shared.agents(&agent)?, MetricRef::list(&metrics)?, Filter::from_query(&query)?);
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
    let columns = Column::list(&metrics)?;
    let question =
        Question::Table { agents: shared.agents(&agent)?, columns, filter: Filter::from_query(&query)? };
    shared
        .answer(question, |answer| match answer {
            Answer::Table(rows) => Some(rows.iter().map(|row| json::row(row)).collect()),
            _ => None,
        })
        .await
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
        .answer(
            dumped(shared.agents(&agent)?, MetricRef::list_or_all(&metrics)?, Filter::from_query(&query)?),
            |answer| match answer {
                Answer::Metrics(metrics) => Some(metrics.iter().map(json::metric).collect()),
                _ => None,
            },
        )
        .await
}
