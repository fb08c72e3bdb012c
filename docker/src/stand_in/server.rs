//! The stand-in's side of HTTP: which request is which question, and what is answered.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;

use super::swarm::Refusal;
use super::{Call, Fault, Shared};
use crate::version::ApiVersion;

/// The version of the API that is spoken: that of engine 20.10.
const API: ApiVersion = ApiVersion { major: 1, minor: 41 };
const OLDEST_API: ApiVersion = ApiVersion { major: 1, minor: 12 };

/// Most clients at once; more are closed as they come.
const CLIENTS: usize = 64;
/// Most bytes that may be posted.
const BODY_BYTES: usize = 1 << 20;

/// Answers all who connect.
pub(super) async fn serve(listener: StdUnixListener, shared: Arc<Shared>) -> io::Result<Infallible> {
    let listener = UnixListener::from_std(listener)?;
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Nothing is left to accept with; it may be later.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&clients).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answering = service_fn(|request| respond(request, &shared));
            // How it ended is the client's to know.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await;
            drop(place);
        });
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("it was to end")]
struct Dropped;

async fn respond(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    shared.remember(format!("{} {target}", parts.method));
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
        return Ok(refused((413, format!("more than {BODY_BYTES} bytes"))));
    };
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let question = match question(&parts.method, parts.uri.path(), &query) {
        Ok(question) => question,
        Err(refusal) => return Ok(refused(refusal)),
    };
    let call = question.call();
    let fault = call.and_then(|call| shared.fault(call));
    match &fault {
        Some(Fault::Refuse(status, message)) => return Ok(refused((*status, message.clone()))),
        Some(Fault::Say(text)) => return Ok(answered(200, text.clone())),
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Drop) => return Err(Dropped),
        Some(Fault::DropAfter) | None => {}
    }
    let answer = answer(&question, &body.to_bytes(), shared);
    if matches!(fault, Some(Fault::DropAfter)) {
        return Err(Dropped);
    }
    Ok(match answer {
        Ok((status, text)) => answered(status, text),
        Err(refusal) => refused(refusal),
    })
}

/// What is asked.
enum Question {
    Ping,
    Version,
    Services { status: bool },
    Service(String),
    Update { service: String, version: u64 },
    Tasks { services: Vec<String>, desired: Vec<String> },
    Containers,
    Container(String),
    Stop(String),
}

impl Question {
    fn call(&self) -> Option<Call> {
        Some(match self {
            Self::Ping => return None,
            Self::Version => Call::Version,
            Self::Services { .. } => Call::Services,
            Self::Service(_) => Call::Service,
            Self::Update { .. } => Call::Update,
            Self::Tasks { .. } => Call::Tasks,
            Self::Containers | Self::Container(_) => Call::Containers,
            Self::Stop(_) => Call::Stop,
        })
    }
}

fn question(method: &Method, path: &str, query: &Query) -> Result<Question, Refusal> {
    let path = unversioned(path)?;
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (get, post) = (method == Method::GET, method == Method::POST);
    Ok(match parts.as_slice() {
        ["_ping"] => Question::Ping,
        ["version"] if get => Question::Version,
        ["services"] if get => {
            query.filters(&[])?;
            Question::Services { status: query.get("status").is_some_and(|value| value != "false") }
        }
        ["services", name] if get => Question::Service((*name).to_owned()),
        ["services", name, "update"] if post => {
            let version = query.get("version").and_then(|version| version.parse().ok());
            let version = version.ok_or((400, "invalid service version".to_owned()))?;
            Question::Update { service: (*name).to_owned(), version }
        }
        ["tasks"] if get => {
            let mut filters = query.filters(&["service", "desired-state"])?;
            let mut of = |name: &str| filters.remove(name).unwrap_or_default();
            Question::Tasks { services: of("service"), desired: of("desired-state") }
        }
        ["containers", "json"] if get => {
            query.filters(&[])?;
            Question::Containers
        }
        ["containers", id, "json"] if get => Question::Container((*id).to_owned()),
        ["containers", id, "stop"] if post => Question::Stop((*id).to_owned()),
        _ => return Err((404, "page not found".to_owned())),
    })
}

/// The path without the version of the API, which must be one that is spoken.
fn unversioned(path: &str) -> Result<&str, Refusal> {
    let versioned = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    let Some((version, _)) = versioned else { return Ok(path) };
    let Ok(version) = version.parse::<ApiVersion>() else { return Ok(path) };
    if version > API {
        let why = format!("client version {version} is too new. Maximum supported API version is {API}");
        return Err((400, why));
    }
    if version < OLDEST_API {
        let why =
            format!("client version {version} is too old. Minimum supported API version is {OLDEST_API}");
        return Err((400, why));
    }
    Ok(path.strip_prefix("/v").and_then(|rest| rest.find('/').and_then(|at| rest.get(at..))).unwrap_or(path))
}

fn answer(question: &Question, body: &[u8], shared: &Shared) -> Result<(u16, String), Refusal> {
    let mut swarm = shared.swarm();
    let now = Instant::now();
    let found = |text: String| Ok((200, text));
    match question {
        Question::Ping => found("OK".to_owned()),
        Question::Version => found(version().to_string()),
        Question::Services { status } => found(swarm.services(*status, now)),
        Question::Service(name) => swarm.service(name, now).and_then(found),
        Question::Update { service, version } => {
            swarm.update(service, *version, body, now)?;
            found(json!({ "Warnings": null }).to_string())
        }
        Question::Tasks { services, desired } => found(swarm.tasks(services, desired, now).to_string()),
        Question::Containers => found(swarm.containers(now).to_string()),
        Question::Container(id) => found(swarm.container(id, now)?.to_string()),
        Question::Stop(id) => swarm.stop(id, now).map(|()| (204, String::new())),
    }
}

fn version() -> Value {
    json!({
        "Platform": { "Name": "finderscope's stand-in" },
        "Version": "20.10.24",
        "ApiVersion": API.to_string(),
        "MinAPIVersion": OLDEST_API.to_string(),
        "Os": "linux",
        "Arch": std::env::consts::ARCH,
    })
}

fn refused((status, message): Refusal) -> Response<Full<Bytes>> {
    answered(status, json!({ "message": message }).to_string())
}

fn answered(status: u16, text: String) -> Response<Full<Bytes>> {
    let builder = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header("Api-Version", API.to_string())
        .header("Ostype", "linux");
    // The status is one of those above, or of a fault: one that is none is the server's failure.
    builder.body(Full::from(text)).unwrap_or_else(|_| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// What comes after the question mark.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        Self(text.split('&').map(pair).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The filters, each a list of values, or as older clients write it an object of them.
    fn filters(&self, known: &[&str]) -> Result<std::collections::BTreeMap<String, Vec<String>>, Refusal> {
        let Some(text) = self.get("filters").filter(|text| !text.is_empty()) else {
            return Ok(std::collections::BTreeMap::new());
        };
        let filters: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| (400, error.to_string()))?;
        let read = |(name, values): (String, Value)| {
            if !known.contains(&name.as_str()) {
                return Err((400, format!("invalid filter '{name}'")));
            }
            let values = match values {
                Value::Array(values) => {
                    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
                }
                Value::Object(values) => values.into_iter().map(|(value, _)| value).collect(),
                _ => return Err((400, format!("invalid filter '{name}'"))),
            };
            Ok((name, values))
        };
        filters.into_iter().map(read).collect()
    }
}

/// A text with its escapes replaced by what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, after) {
            (b'%', [high, low, after @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                let value = digit(high).unwrap_or(0) * 16 + digit(low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            (b'+', after) => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
