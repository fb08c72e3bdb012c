//! Requests and their answers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Name;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WARNING, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::access::Access;
use super::commit::{Commits, Shared};
use super::counters::Counters;
use super::log;
use super::options::Options;
use super::serve::SLOWEST_CLIENT;
use super::store::{MOST_FILES, Put, Store};

/// Longest body, bytes.
const BODY_BYTES: usize = 256 << 10;

type Answer = Response<Full<Bytes>>;

/// What answers need.
pub(crate) struct Server {
    store: Arc<Store>,
    commits: Arc<Shared>,
    access: Mutex<Arc<Access>>,
    /// What was done and refused.
    pub(crate) counters: Arc<Counters>,
}

/// What a path names, the same with `/acl` before it and without.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    All,
    LastError,
    Metrics,
    One(Name),
    None,
}

impl Place {
    fn of(path: &str) -> Self {
        let path = match path.strip_prefix("/acl") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        match path.strip_prefix('/').unwrap_or(path) {
            "" => Self::All,
            "lasterror" => Self::LastError,
            // No name has this character.
            "-/metrics" => Self::Metrics,
            name => name.parse().map_or(Self::None, Self::One),
        }
    }
}

impl Server {
    /// What answers need, and the task that commits.
    ///
    /// # Errors
    /// The folder cannot be read, or no command is named.
    pub(crate) fn new(
        store: Arc<Store>,
        access: Access,
        options: &Options,
    ) -> Result<(Arc<Self>, Commits), String> {
        let counters = Arc::new(Counters::default());
        let limit = Duration::from_secs(options.commit_timeout);
        let commits =
            Commits::new(Arc::clone(&store), Arc::clone(&counters), &options.commit_command, limit)?;
        let access = Mutex::new(Arc::new(access));
        Ok((Arc::new(Self { store, commits: commits.shared(), access, counters }), commits))
    }

    /// What a client must have.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads token and certificates again; what cannot be read changes nothing.
    pub(crate) fn reload(&self, options: &Options) {
        match Access::read(options) {
            Ok(access) => {
                *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
                log::info("read token and certificates again");
            }
            Err(why) => log::warning(&format!("token and certificates stay as they are: {why}")),
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// None.
    pub(crate) async fn answer(
        self: Arc<Self>,
        from: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Infallible> {
        let mut answer = if self.access().lets_in(request.headers()) {
            self.of_place(from, request).await
        } else {
            self.counters.strangers.fetch_add(1, Relaxed);
            log::client("stranger", &format!("{from} has not shown the token"));
            let mut answer =
                error(StatusCode::UNAUTHORIZED, "the request needs the header Authorization: Bearer TOKEN");
            for scheme in ["Bearer", "Basic realm=\"finderscope-acl\""] {
                answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
            answer
        };
        if self.commits.failing() {
            answer.headers_mut().insert(WARNING, HeaderValue::from_static("199 - \"check lasterror\""));
        }
        self.counters.answered(answer.status().as_u16());
        Ok(answer)
    }

    async fn of_place(self: &Arc<Self>, from: SocketAddr, request: Request<Incoming>) -> Answer {
        let place = Place::of(request.uri().path());
        let method = request.method().clone();
        match (place, method) {
            (Place::None, _) => {
                let what = "there is no such place: names are small letters, digits and _";
                error(StatusCode::NOT_FOUND, what)
            }
            (Place::LastError, Method::GET | Method::HEAD) => self.last_error(),
            (Place::LastError, Method::PUT | Method::DELETE) => {
                error(StatusCode::FORBIDDEN, "lasterror can only be read")
            }
            (Place::Metrics, Method::GET | Method::HEAD) => self.metrics().await,
            (Place::All, Method::GET | Method::HEAD) => match self.on_disk(|store| store.names()).await {
                Ok(names) => {
                    answer(StatusCode::OK, &json!(names.iter().map(Name::as_str).collect::<Vec<_>>()))
                }
                Err(failed) => failed,
            },
            (Place::All, Method::DELETE) => {
                let removed = self.on_disk(|store| store.remove_all()).await;
                removed.map_or_else(|failed| failed, |files| self.removed(from, "all rules", files))
            }
            (Place::One(name), Method::GET | Method::HEAD) => {
                let wanted = name.clone();
                match self.on_disk(move |store| store.lines(&wanted)).await {
                    Ok(Some(lines)) => answer(StatusCode::OK, &json!(lines)),
                    Ok(None) => error(StatusCode::NOT_FOUND, &format!("there are no rules {name}")),
                    Err(failed) => failed,
                }
            }
            (Place::One(name), Method::DELETE) => {
                let wanted = name.clone();
                let removed = self.on_disk(move |store| store.remove(&wanted)).await;
                removed
                    .map_or_else(|failed| failed, |had| self.removed(from, name.as_str(), usize::from(had)))
            }
            (Place::One(name), Method::PUT) => match self.rules(from, &name, request).await {
                Ok(rules) => self.put(from, name, rules).await,
                Err(refused) => refused,
            },
            (place, _) => {
                let allowed = match place {
                    Place::All => "GET, HEAD, DELETE",
                    Place::One(_) => "GET, HEAD, PUT, DELETE",
                    _ => "GET, HEAD",
                };
                let mut refused =
                    error(StatusCode::METHOD_NOT_ALLOWED, &format!("{allowed} are allowed here"));
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                refused
            }
        }
    }

    fn last_error(&self) -> Answer {
        match self.commits.failure() {
            Some(failure) => {
                answer(StatusCode::OK, &json!({ "lines": failure.lines, "returncode": failure.code }))
            }
            None => empty(StatusCode::NO_CONTENT),
        }
    }

    async fn metrics(self: &Arc<Self>) -> Answer {
        let files = match self.on_disk(|store| store.names()).await {
            Ok(names) => names.len(),
            Err(failed) => return failed,
        };
        let mut answer = Response::new(Full::from(self.counters.text(files, self.commits.failing())));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
        answer
    }

    /// The rules that a request holds.
    async fn rules(
        &self,
        from: SocketAddr,
        name: &Name,
        request: Request<Incoming>,
    ) -> Result<crate::File, Answer> {
        if !is_json(request.headers()) {
            let what = "the rules are sent as application/json";
            return Err(error(StatusCode::NOT_ACCEPTABLE, what));
        }
        let body = self.body(request).await?;
        let refused = |why: String| {
            self.counters.not_rules.fetch_add(1, Relaxed);
            log::client("not_rules", &format!("{from} sent no rules for {name}: {why}"));
            error(StatusCode::BAD_REQUEST, &why)
        };
        let lines: Vec<String> = serde_json::from_slice(&body)
            .map_err(|why| refused(format!("a JSON array of strings is needed: {why}")))?;
        crate::File::parse(&lines).map_err(|wrong| refused(wrong.to_string()))
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Answer> {
        let too_long = || {
            self.counters.too_long.fetch_add(1, Relaxed);
            error(StatusCode::PAYLOAD_TOO_LARGE, &format!("a body has {BODY_BYTES} bytes at most"))
        };
        if request.body().size_hint().lower() > BODY_BYTES as u64 {
            return Err(too_long());
        }
        let body = Limited::new(request.into_body(), BODY_BYTES);
        match timeout(SLOWEST_CLIENT, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(why)) if why.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(why)) => Err(error(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {why}"))),
            Err(_) => {
                self.counters.slow.fetch_add(1, Relaxed);
                Err(error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))
            }
        }
    }

    async fn put(self: &Arc<Self>, from: SocketAddr, name: Name, rules: crate::File) -> Answer {
        let wanted = name.clone();
        match self.on_disk(move |store| store.put(&wanted, &rules)).await {
            Ok(Put::Changed) => {
                log::info(&format!("{from} has put the rules {name}"));
                self.changed(1);
                empty(StatusCode::ACCEPTED)
            }
            Ok(Put::Unchanged) => empty(StatusCode::ACCEPTED),
            Ok(Put::Full) => {
                self.counters.full.fetch_add(1, Relaxed);
                log::client("full", &format!("{from} found no place for the rules {name}"));
                let what = format!("there are {MOST_FILES} files of rules: delete some");
                error(StatusCode::INSUFFICIENT_STORAGE, &what)
            }
            Err(failed) => failed,
        }
    }

    fn removed(&self, from: SocketAddr, what: &str, files: usize) -> Answer {
        if files > 0 {
            log::info(&format!("{from} has deleted {what}"));
            self.changed(files as u64);
        }
        empty(StatusCode::NO_CONTENT)
    }

    fn changed(&self, files: u64) {
        self.counters.changes.fetch_add(files, Relaxed);
        self.commits.changed();
    }

    /// Does something with the folder on a thread that may wait for the disk.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Answer> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || what(&store)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|why| {
            self.counters.disk.fetch_add(1, Relaxed);
            log::client("disk", &format!("the folder of the rules: {why}"));
            error(StatusCode::INTERNAL_SERVER_ERROR, &format!("the folder of the rules: {why}"))
        })
    }
}

/// Whether a body is said to be JSON; parameters behind it do not matter.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn error(status: StatusCode, why: &str) -> Answer {
    answer(status, &json!({ "error": why }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_places() {
        for prefix in ["", "/acl"] {
            assert_eq!(Place::of(&format!("{prefix}/")), Place::All);
            assert_eq!(Place::of(&format!("{prefix}/lasterror")), Place::LastError);
            assert_eq!(Place::of(&format!("{prefix}/-/metrics")), Place::Metrics);
            assert_eq!(Place::of(&format!("{prefix}/emrg0")), Place::One("emrg0".parse().unwrap()));
            for none in ["/a/b", "/../x", "/a/", "/A", "/a%62", "//", "/-"] {
                assert_eq!(Place::of(&format!("{prefix}{none}")), Place::None, "{none}");
            }
        }
        assert_eq!(Place::of("/acl"), Place::All);
        assert_eq!(Place::of("/acls"), Place::One("acls".parse().unwrap()));
        assert_eq!(Place::of("/acl/acl"), Place::None);
    }
}
