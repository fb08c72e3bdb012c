//! Live flows: keys seen, the largest, one value, where it is seen.

use axum::extract::{Path, Query, State};
use engine::json;
use tables::{Answer, Question, wording};

use crate::shared::{Conditions, Failure, Reply, Shared, mismatch, number, parameter};

pub(crate) async fn keys(State(shared): State<Shared>) -> Reply {
    shared
        .answer(Question::FlowKeys, |answer| match answer {
            Answer::FlowKeys(keys) => Some(json::ages(&keys)),
            _ => None,
        })
        .await
}

pub(crate) async fn active(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let most = number(&query, "maxFlows", wording::MOST_FLOWS)?;
    let least = number(&query, "minValue", 0.0)?;
    let program = shared.handle.program();
    let mode = parameter(&query, "aggMode");
    shared.answer(program.active_flows(&agent, &name, most, least, mode)?, flow_list).await
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
    let question = shared.handle.program().flow_value(&agent, &name, parameter(&query, "key"))?;
    match shared.ask(question).await? {
        Answer::FlowValue(Some(value)) => Ok(axum::Json(json::number(value))),
        Answer::FlowValue(None) => Err(Failure::not_found("no data source sees such a flow")),
        _ => Err(mismatch()),
    }
}

pub(crate) async fn locations(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let key = parameter(&query, "key").unwrap_or_default();
    shared.answer(shared.handle.program().flow_locations(&agent, &name, key)?, flow_list).await
}
