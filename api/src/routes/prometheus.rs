//! The same for Prometheus.

use axum::extract::{Path, Query, State};
use tables::select::{Filter, MetricRef};
use tables::{Answer, Question};

use super::metrics::{dumped, listed};
use crate::prometheus;
use crate::shared::{Conditions, Reply, Shared, exposition, filter, mismatch};

pub(crate) async fn metrics(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let agents = shared.agents(&agent)?;
    let wanted = dumped(agents.clone(), listed(&metrics)?, filter(&query)?);
    let names = Question::Dump {
        agents,
        metrics: MetricRef::list(&prometheus::NAMES.map(|(metric, _)| metric).join(","))?,
        filter: Filter::default(),
    };
    let text = shared
        .aside(move |handle| {
            let program = handle.program();
            let (Answer::Metrics(metrics), Answer::Metrics(names)) =
                (handle.ask(wanted)?, handle.ask(names)?)
            else {
                return Err(mismatch());
            };
            Ok(prometheus::metrics(&metrics, &names, |name| program.flows.contains_key(name)))
        })
        .await?;
    Ok(exposition(text))
}

pub(crate) async fn analyzer(State(shared): State<Shared>) -> Reply {
    let (http, process) = (shared.http.clone(), shared.process.clone());
    let text = shared
        .aside(move |handle| Ok(prometheus::analyzer(&handle.status()?, &http, &process.read())))
        .await?;
    Ok(exposition(text))
}
