//! What every handler has at hand, and how it fails.

use std::sync::Arc;

use actions::control::Control;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{AskError, DefineError, Handle, Status};
use script::Scripts;
use serde_json::{Value as Json, json};
use tables::flow::SpecError;
use tables::select::{Agents, SelectError};
use tables::{Answer, Change, ChangeError, Question, lenient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::escape::{JsonAnswer, json_text};
use crate::guard::Guard;
use crate::process::Process;
use crate::serve::{HttpCounters, SLOWEST_CLIENT};

/// Bodies at most, bytes.
const LARGEST_BODY: usize = 1 << 20;

/// Requests that may wait for something new at once: long polls and live pages together.
const WAITING: usize = 256;

/// What handlers share; cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) actions: Control,
    pub(crate) scripts: Scripts,
    pub(crate) guard: Arc<Guard>,
    pub(crate) version: Arc<str>,
    pub(crate) http: Arc<HttpCounters>,
    pub(crate) process: Arc<Process>,
    /// Wakes whoever waits for records and events.
    pub(crate) news: Arc<watch::Sender<()>>,
    waiting: Arc<Semaphore>,
}

/// A request that cannot be answered: status, and a JSON object that says why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// The request is wrong.
    pub(crate) fn wrong(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// There is no such thing.
    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, JsonAnswer(json!({ "error": self.error }))).into_response()
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::NoFlow => Self::not_found(error.to_string()),
            _ => Self::wrong(error.to_string()),
        }
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        Self::wrong(error.to_string())
    }
}

impl From<DefineError> for Failure {
    fn from(error: DefineError) -> Self {
        match error {
            DefineError::Ask(error) => error.into(),
            DefineError::Change(ChangeError::Unknown(_)) => Self::not_found(error.to_string()),
            DefineError::Change(_) => Self::wrong(error.to_string()),
            DefineError::Unsaved => Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// What a handler comes to.
pub(crate) type Reply<T = Response> = Result<T, Failure>;

/// A query as pairs, in their order.
pub(crate) type Conditions = Query<Vec<(String, String)>>;

impl Shared {
    pub(crate) fn new(
        handle: Handle,
        actions: Control,
        scripts: Scripts,
        guard: Guard,
        version: String,
        http: Arc<HttpCounters>,
    ) -> Self {
        let news = Arc::new(watch::Sender::new(()));
        let waker = Arc::clone(&news);
        handle.on_news(Box::new(move |_| {
            waker.send_replace(());
        }));
        Self {
            handle,
            actions,
            scripts,
            news,
            guard: Arc::new(guard),
            version: version.into(),
            http,
            process: Arc::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// A place for somebody who waits for something new.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        place.map_err(|_| {
            self.http.refused();
            let error = format!("{WAITING} requests wait already; ask without a timeout, or later");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)
        })
    }

    /// Does what may wait, or takes long, on a thread for that.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let handle = self.handle.clone();
        tokio::task::spawn_blocking(move || work(&handle)).await.map_err(|_| AskError::Ended)?
    }

    /// Asks; `shape` makes JSON of the answer, and is `None` for an answer to another question.
    pub(crate) async fn answer(
        &self,
        question: Question,
        shape: impl FnOnce(Answer) -> Option<Json> + Send + 'static,
    ) -> Reply {
        let text = self
            .aside(move |handle| {
                let answer = handle.ask(question)?;
                shape(answer).map(|json| json_text(&json)).ok_or_else(mismatch)
            })
            .await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
    }

    /// Asks and gives the answer as it is.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        self.aside(move |handle| Ok(handle.ask(question)?)).await
    }

    /// What the engine has counted.
    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        self.aside(|handle| Ok(handle.status()?)).await
    }

    /// Changes a definition.
    pub(crate) async fn define(&self, change: Change) -> Reply<StatusCode> {
        self.aside(move |handle| Ok(handle.define(change)?)).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// The agents that a path or query means.
    pub(crate) fn agents(&self, text: &str) -> Result<Agents, Failure> {
        Ok(self.handle.program().agents(text)?)
    }

    /// 404 when none of the named agents is known.
    pub(crate) async fn must_know(&self, agents: &Agents) -> Result<(), Failure> {
        match self.ask(Question::Agents(agents.clone())).await? {
            Answer::Agents(known) if known.is_empty() && !matches!(agents, Agents::All | Agents::Listed) => {
                Err(Failure::not_found("no such agent; /agents/json lists them"))
            }
            _ => Ok(()),
        }
    }
}

/// The engine answered another question, which it never does.
pub(crate) fn mismatch() -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer is to another question")
}

/// A body as JSON, whatever its content type says.
pub(crate) async fn json_body(body: Body) -> Result<Json, Failure> {
    json_body_of(body, LARGEST_BODY).await
}

/// The same of a body that may have as many bytes as `largest`.
pub(crate) async fn json_body_of(body: Body, largest: usize) -> Result<Json, Failure> {
    let bytes = bytes_of(body, largest).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Failure::wrong(error.to_string()))?;
    lenient::parse(text).map_err(Failure::wrong)
}

/// A body as it is.
pub(crate) async fn bytes(body: Body) -> Result<Bytes, Failure> {
    bytes_of(body, LARGEST_BODY).await
}

async fn bytes_of(body: Body, largest: usize) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(SLOWEST_CLIENT, axum::body::to_bytes(body, largest)).await;
    let read = read.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took more than 10 s"))?;
    read.map_err(|_| {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {largest} bytes at most here"))
    })
}

/// The last value of a parameter.
pub(crate) fn parameter<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A parameter that is a number.
pub(crate) fn number(query: &[(String, String)], name: &str, otherwise: f64) -> Result<f64, Failure> {
    let Some(text) = parameter(query, name) else { return Ok(otherwise) };
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| Failure::wrong(format!("{name} must be a number, not {text:?}")))
}

/// A text for Prometheus.
pub(crate) fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
