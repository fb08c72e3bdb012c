//! The same for Prometheus.

use axum::extract::{Path, Query, State};
use tables::question::{Owner, Source};
use tables::select::{Filter, MetricRef};
use tables::{Answer, Program, Question};

use super::metrics::dumped;
use crate::prometheus;
use crate::shared::{Conditions, Reply, Shared, exposition, mismatch};

pub(crate) async fn metrics(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let agents = shared.agents(&agent)?;
    // The host's name is that of a data source which is no port.
    let whole = agents.whole();
    let wanted = dumped(agents, MetricRef::list_or_all(&metrics)?, Filter::from_query(&query)?);
    let names = Question::Dump {
        agents: whole,
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
            let is_flow = |name: &str| program.flows.contains_key(name);
            Ok(prometheus::metrics(&metrics, &names, is_flow, |owner| node(&program, owner)))
        })
        .await?;
    Ok(exposition(text))
}

/// The node of the topology that a data source belongs to.
fn node(program: &Program, owner: &Owner) -> Option<String> {
    let Source::Of(source) = owner.source else { return None };
    program.topology.node_of(owner.agent, source).map(ToString::to_string)
}

pub(crate) async fn analyzer(State(shared): State<Shared>) -> Reply {
    let (http, process) = (shared.http.clone(), shared.process.clone());
    let text = shared
        .aside(move |handle| Ok(prometheus::analyzer(&handle.status()?, &http, &process.read())))
        .await?;
    Ok(exposition(text))
}
