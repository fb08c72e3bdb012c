//! Agents: who sends, and what was lost on the way.

use axum::extract::{Query, State};
use tables::select::Agents;
use tables::{Answer, Question};

use crate::shared::{Conditions, Reply, Shared};
use engine::json;

pub(crate) async fn agents(State(shared): State<Shared>, Query(query): Conditions) -> Reply {
    let named: Vec<String> =
        query.into_iter().filter(|(name, _)| name == "agent").map(|(_, agent)| agent).collect();
    let agents = if named.is_empty() { Agents::All } else { shared.agents(&named.join(";"))? };
    shared
        .answer(Question::Agents(agents), |answer| match answer {
            Answer::Agents(agents) => Some(json::agents(&agents)),
            _ => None,
        })
        .await
}
