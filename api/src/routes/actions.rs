//! Actions: the mode, the audit log, services that are scaled, captures, feeds.

use ::actions::autoscale::ControlError;
use ::actions::capture::control::{Refusal, Start};
use ::actions::control::Unsaved;
use ::actions::feeds::RefreshError;
use ::actions::mode::Mode;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use serde_json::Value as Json;

use crate::escape::JsonAnswer;
use crate::shared::{Conditions, Failure, Reply, Shared, json_body, number};

/// Entries of the audit log that are shown where nobody says.
const ENTRIES: f64 = 100.0;

impl From<Unsaved> for Failure {
    fn from(error: Unsaved) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(_) => Self::not_found(error.to_string()),
            ControlError::Wrong(_) => Self::wrong(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(error: Refusal) -> Self {
        match error {
            Refusal::Wrong(_) => Self::wrong(error.to_string()),
            Refusal::Unknown(_) => Self::not_found(error.to_string()),
            Refusal::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        let status = match &error {
            RefreshError::Unknown(_) => StatusCode::NOT_FOUND,
            RefreshError::Busy | RefreshError::Ended => StatusCode::SERVICE_UNAVAILABLE,
            RefreshError::Failed(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

pub(crate) async fn all(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.actions.json())
}

pub(crate) async fn put_mode(State(shared): State<Shared>, body: Body) -> Reply<StatusCode> {
    let change = json_body(body).await?;
    let known = change.as_object().filter(|keys| keys.keys().all(|key| key == "mode"));
    let text = known.and_then(|keys| keys.get("mode")).and_then(Json::as_str);
    let wrong = "one attribute is needed: mode, which is observe, act or withdraw";
    let mode: Mode = text.ok_or_else(|| Failure::wrong(wrong))?.parse().map_err(Failure::wrong)?;
    let actions = shared.actions.clone();
    shared.aside(move |_| Ok(actions.set_mode(mode)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn audit(State(shared): State<Shared>, Query(query): Conditions) -> Reply<JsonAnswer> {
    let after = number(&query, "id", -1.0)?;
    let most = number(&query, "maxEntries", ENTRIES)?.max(0.0) as usize;
    // Negative numbers are before all.
    let after = (after >= 0.0).then_some(after as u64);
    Ok(JsonAnswer(shared.actions.audit_json(after, most)))
}

pub(crate) async fn autoscale(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.actions.autoscale.json())
}

pub(crate) async fn service(State(shared): State<Shared>, Path(name): Path<String>) -> Reply<JsonAnswer> {
    let found = shared.actions.autoscale.service_json(&name);
    found.map(JsonAnswer).ok_or_else(|| ControlError::NotFound(name).into())
}

pub(crate) async fn put_service(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Body,
) -> Reply<StatusCode> {
    let change = json_body(body).await?;
    let actions = shared.actions.clone();
    shared.aside(move |_| Ok(actions.put_service(&name, &change)??)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn captures(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.actions.captures.json())
}

pub(crate) async fn capture(State(shared): State<Shared>, Path(id): Path<String>) -> Reply<JsonAnswer> {
    let found = shared.actions.captures.session_json(&id);
    found.map(JsonAnswer).ok_or_else(|| Refusal::Unknown(id).into())
}

pub(crate) async fn start_capture(
    State(shared): State<Shared>,
    body: Body,
) -> Reply<(StatusCode, [(HeaderName, String); 1])> {
    let start: Start =
        serde_json::from_value(json_body(body).await?).map_err(|error| Failure::wrong(error.to_string()))?;
    let id = shared.actions.captures.start(start).await?;
    Ok((StatusCode::NO_CONTENT, [(header::LOCATION, format!("/capture/{id}/json"))]))
}

pub(crate) async fn stop_capture(State(shared): State<Shared>, Path(id): Path<String>) -> Reply<StatusCode> {
    shared.actions.captures.stop(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn feeds(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.actions.feeds.json())
}

pub(crate) async fn feed(State(shared): State<Shared>, Path(name): Path<String>) -> Reply<JsonAnswer> {
    let found = shared.actions.feeds.feed_json(&name);
    found.map(JsonAnswer).ok_or_else(|| RefreshError::Unknown(name).into())
}

pub(crate) async fn refresh_feed(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Body,
) -> Reply<StatusCode> {
    let asked = json_body(body).await?;
    let known = asked.as_object().filter(|keys| keys.keys().all(|key| key == "acceptChange"));
    let accept = known.and_then(|keys| keys.get("acceptChange").map_or(Some(false), Json::as_bool));
    let wrong = "an object with one attribute at most: acceptChange, which is true or false";
    shared.actions.feeds.refresh(&name, accept.ok_or_else(|| Failure::wrong(wrong))?).await?;
    Ok(StatusCode::NO_CONTENT)
}
