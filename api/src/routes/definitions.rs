//! Definitions: flows, groups, maps, thresholds, forwarding. A PUT has been taken by every worker when it is answered.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value as Json};
use tables::{Change, wording};

use crate::escape::JsonAnswer;
use crate::shared::{Failure, Reply, Shared, json_body};

type Shown = Reply<JsonAnswer>;
type Defined = Reply<StatusCode>;

/// A definition of this name, or 404.
fn shown(found: Option<Json>, kind: &str) -> Shown {
    let missing = || Failure::not_found(format!("no such {kind}; /{kind}/json lists them"));
    found.map(JsonAnswer).ok_or_else(missing)
}

fn by_name<'d, D: 'd>(
    definitions: impl IntoIterator<Item = (&'d String, &'d D)>,
    json: impl Fn(&D) -> Json,
) -> JsonAnswer {
    let object: Map<String, Json> =
        definitions.into_iter().map(|(name, one)| (name.clone(), json(one))).collect();
    JsonAnswer(object.into())
}

async fn put(
    shared: &Shared,
    name: String,
    body: Body,
    change: fn(String, Option<Json>) -> Change,
) -> Defined {
    wording::check_name(&name)?;
    let json = json_body(body).await?;
    shared.define(change(name, Some(json))).await
}

pub(crate) async fn flows(State(shared): State<Shared>) -> JsonAnswer {
    by_name(&shared.handle.program().flows, |plan| plan.spec.to_json())
}

pub(crate) async fn flow(State(shared): State<Shared>, Path(name): Path<String>) -> Shown {
    shown(shared.handle.program().flows.get(&name).map(|plan| plan.spec.to_json()), "flow")
}

pub(crate) async fn put_flow(State(shared): State<Shared>, Path(name): Path<String>, body: Body) -> Defined {
    put(&shared, name, body, Change::Flow).await
}

pub(crate) async fn delete_flow(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Flow(name, None)).await
}

pub(crate) async fn groups(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.handle.program().lookups.groups.keys().cloned().collect())
}

pub(crate) async fn group(State(shared): State<Shared>, Path(name): Path<String>) -> Shown {
    shown(shared.handle.program().lookups.groups.get(&name).map(|set| set.to_json().into_owned()), "group")
}

pub(crate) async fn put_group(State(shared): State<Shared>, Path(name): Path<String>, body: Body) -> Defined {
    put(&shared, name, body, Change::Group).await
}

/// Of the set that clients mean who name none.
pub(crate) async fn put_default_group(State(shared): State<Shared>, body: Body) -> Defined {
    put(&shared, "default".to_owned(), body, Change::Group).await
}

pub(crate) async fn delete_group(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Group(name, None)).await
}

pub(crate) async fn maps(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.handle.program().lookups.maps.keys().cloned().collect())
}

pub(crate) async fn map(State(shared): State<Shared>, Path(name): Path<String>) -> Shown {
    shown(shared.handle.program().lookups.maps.get(&name).map(|map| map.to_json().clone()), "map")
}

pub(crate) async fn put_map(State(shared): State<Shared>, Path(name): Path<String>, body: Body) -> Defined {
    put(&shared, name, body, Change::Map).await
}

pub(crate) async fn delete_map(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Map(name, None)).await
}

pub(crate) async fn thresholds(State(shared): State<Shared>) -> JsonAnswer {
    by_name(&shared.handle.program().thresholds, |threshold| threshold.to_json().clone())
}

pub(crate) async fn threshold(State(shared): State<Shared>, Path(name): Path<String>) -> Shown {
    shown(shared.handle.program().thresholds.get(&name).map(|one| one.to_json().clone()), "threshold")
}

pub(crate) async fn put_threshold(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Body,
) -> Defined {
    put(&shared, name, body, Change::Threshold).await
}

pub(crate) async fn delete_threshold(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Threshold(name, None)).await
}

pub(crate) async fn forwardings(State(shared): State<Shared>) -> JsonAnswer {
    by_name(&shared.handle.program().forwarding, |forwarding| forwarding.to_json())
}

pub(crate) async fn forwarding(State(shared): State<Shared>, Path(name): Path<String>) -> Shown {
    shown(shared.handle.program().forwarding.get(&name).map(|one| one.to_json()), "forwarding")
}

pub(crate) async fn put_forwarding(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Body,
) -> Defined {
    put(&shared, name, body, Change::Forwarding).await
}

pub(crate) async fn delete_forwarding(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Forwarding(name, None)).await
}
