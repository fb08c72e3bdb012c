//! Live flows: keys seen, the largest, one value, where it is seen.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use tables::flow::FlowPlan;
use tables::flow::active::FlowAggregation;
use tables::flow::spec::Per;
use tables::question::DataSource;
use tables::topology::{Role, Which};
use tables::{Answer, Question};

use crate::json;
use crate::shared::{Conditions, Failure, Reply, Shared, mismatch, number, parameter};

pub(crate) async fn keys(State(shared): State<Shared>) -> Reply {
    shared
        .answer(Question::FlowKeys, |answer| match answer {
            Answer::FlowKeys(keys) => Some(json::ages(&keys)),
            _ => None,
        })
        .await
}

/// The definition of this name.
fn plan(shared: &Shared, name: &str) -> Result<Arc<FlowPlan>, Failure> {
    let program = shared.handle.program();
    program.flows.get(name).cloned().ok_or_else(|| Failure::not_found("no such flow; /flow/json lists them"))
}

pub(crate) async fn active(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let mut agents = shared.agents(&agent)?;
    let plan = plan(&shared, &name)?;
    let mode = parameter(&query, "aggMode").map(str::to_ascii_lowercase);
    let (aggregation, role) = match mode.as_deref() {
        None | Some("max") => (FlowAggregation::Max, None),
        Some("sum") => (FlowAggregation::Sum, None),
        Some("edge") => (FlowAggregation::Sum, Some(Role::Edge)),
        Some("core") => (FlowAggregation::Sum, Some(Role::Core)),
        Some(mode) => return Err(Failure::wrong(format!("aggMode {mode:?} is not max, sum, edge or core"))),
    };
    if let Some(role) = role {
        if plan.spec.per == Per::Agent {
            let why =
                format!("aggMode {} needs tables of data sources: {name:?} has aggMode AGENT", role.label());
            return Err(Failure::wrong(why));
        }
        let called = format!("aggMode {}", role.label());
        agents = agents.at(&called, &shared.handle.program().topology, Which::Ports(role))?;
    }
    let question = Question::ActiveFlows {
        agents,
        flow: name,
        aggregation,
        most: number(&query, "maxFlows", 100.0)?.max(0.0) as usize,
        least: number(&query, "minValue", 0.0)?,
        separator: plan.spec.fs.clone(),
    };
    shared.answer(question, flow_list).await
}

fn flow_list(answer: Answer) -> Option<serde_json::Value> {
    match answer {
        Answer::Flows(flows) => Some(flows.iter().map(json::flow).collect()),
        _ => None,
    }
}

pub(crate) async fn value(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply<axum::Json<serde_json::Value>> {
    let agents = shared.agents(&agent)?;
    let (source, flow) = located(&name, |name| shared.handle.program().flows.contains_key(name));
    plan(&shared, flow)?;
    let key = parameter(&query, "key").map(str::to_owned);
    let question = Question::FlowValue { agents, source, flow: flow.to_owned(), key };
    match shared.ask(question).await? {
        Answer::FlowValue(Some(value)) => Ok(axum::Json(json::number(value))),
        Answer::FlowValue(None) => Err(Failure::not_found("no data source sees such a flow")),
        _ => Err(mismatch()),
    }
}

/// A flow's name, before which a data source may stand: `22.tcp`, `2.1.tcp`. A name that is defined as a whole is one.
fn located(text: &str, defined: impl Fn(&str) -> bool) -> (Option<DataSource>, &str) {
    let split = || {
        text.match_indices('.').find_map(|(dot, _)| {
            let (source, flow) = (text.get(..dot)?, text.get(dot + 1..)?);
            let source = source.parse().ok()?;
            defined(flow).then_some((Some(source), flow))
        })
    };
    if defined(text) { (None, text) } else { split().unwrap_or((None, text)) }
}

pub(crate) async fn locations(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let agents = shared.agents(&agent)?;
    let separator = plan(&shared, &name)?.spec.fs.clone();
    let key = parameter(&query, "key").unwrap_or_default().to_owned();
    shared.answer(Question::FlowLocations { agents, flow: name, key, separator }, flow_list).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_source_may_stand_before_the_name() {
        let defined = |name: &str| ["tcp", "2.1.x", "a.b"].contains(&name);
        for (text, source, flow) in [
            ("tcp", None, "tcp"),
            ("22.tcp", Some((0, 22)), "tcp"),
            ("2.1.tcp", Some((2, 1)), "tcp"),
            ("3.100000.a.b", Some((3, 100_000)), "a.b"),
            ("2.1.x", None, "2.1.x"),
            ("nosuch", None, "nosuch"),
            ("22.nosuch", None, "22.nosuch"),
        ] {
            let source = source.map(|(class, index)| DataSource { class, index });
            assert_eq!(located(text, defined), (source, flow), "{text}");
        }
    }
}
