//! An engine, and the questions that can be asked of it.

use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::{Response, header};
use tokio::time::timeout;

use crate::container::{Container, Listed};
use crate::endpoint::Endpoint;
use crate::error::{Error, shown};
use crate::event::{ACTIONS, EventTime, Events};
use crate::id::Id;
use crate::transport::{Connection, Failed};
use crate::version::{ApiVersion, Version};

/// How long and how large anything may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connecting, with TLS.
    pub connect: Duration,
    /// A question and its answer on a connection.
    pub call: Duration,
    /// Stopping a container: an engine answers when it has ended, which may take its grace period.
    pub stop: Duration,
    /// An answer.
    pub body_bytes: usize,
    /// A line of the event stream; longer ones are left out.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            call: Duration::from_secs(5),
            stop: Duration::from_secs(15),
            body_bytes: 16 << 20,
            line_bytes: 1 << 20,
        }
    }
}

/// An engine. Its questions share a connection, one after another, which is made when it is needed; each stream of
/// events has one of its own.
///
/// A question whose future is dropped closes the connection; the next one makes another.
#[derive(Debug)]
pub struct Engine {
    endpoint: Endpoint,
    limits: Limits,
    /// The connection, and the version that was read on it.
    idle: Option<(Connection, ApiVersion)>,
}

impl Engine {
    /// An engine that nobody has asked yet.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self { endpoint, limits, idle: None }
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Which engine it is, and what it speaks.
    ///
    /// # Errors
    /// There is no answer, or it is not one of an engine that is spoken to here.
    pub async fn version(&mut self) -> Result<Version, Error> {
        loop {
            let kept = self.idle.take();
            let again = kept.is_some();
            let mut connection = match kept {
                Some((connection, _)) => connection,
                None => Connection::open(&self.endpoint, self.limits).await?,
            };
            match self.negotiate(&mut connection).await {
                Err(Error::Lost { .. }) if again => {}
                Err(error) => return Err(error),
                Ok(greeting) => {
                    self.idle = Some((connection, greeting.version.api));
                    return Ok(greeting.version);
                }
            }
        }
    }

    /// The containers that run or are paused. An engine's list is a moment behind its events: a container whose `Die` was
    /// told may still be in it. [`Engine::inspect`] is not behind.
    ///
    /// # Errors
    /// There is no answer, or it is not a list of containers.
    pub async fn containers(&mut self) -> Result<Vec<Listed>, Error> {
        let call = "GET /containers/json";
        let body = self.get("/containers/json", call).await?;
        Listed::read(&body).map_err(|why| self.not_understood(call, why))
    }

    /// A container, running or not.
    ///
    /// # Errors
    /// There is no such container ([`Error::NotFound`]), no answer, or it is not about a container.
    pub async fn inspect(&mut self, id: &Id) -> Result<Container, Error> {
        let call = format!("GET /containers/{}/json", id.short());
        let body = self.get(&format!("/containers/{id}/json"), &call).await?;
        Container::read(&body).map_err(|why| self.not_understood(&call, why))
    }

    /// Registers for the events of containers, and answers when the engine has registered.
    ///
    /// Events at or after `since` that the engine still has come first, in order; engines keep 256, of all kinds, and
    /// forget them when they end. Without `since` those of the second before the call may come first: an engine
    /// answers a moment before it registers, and what happens in that moment would be lost otherwise.
    ///
    /// After a lost stream the list is needed as well: of a container that ended while an engine with `live-restore` was
    /// away, no event is ever told.
    ///
    /// # Errors
    /// There is no answer, or the engine refuses.
    pub async fn events(&mut self, since: Option<EventTime>) -> Result<Events, Error> {
        let call = "GET /events";
        let mut connection = Connection::open(&self.endpoint, self.limits).await?;
        let greeting = self.negotiate(&mut connection).await?;
        let path = events_path(greeting.version.api, beginning(since, greeting.date));
        let answer = self.in_time(call, connection.get(&path, call)).await?;
        Ok(Events::new(self.endpoint.clone(), answer.into_body(), connection, greeting.date))
    }

    /// Stops a container: its signal, and after its grace period the kill. One that does not run is stopped already.
    /// What a swarm wants to run it starts again, on any node.
    ///
    /// # Errors
    /// There is no such container ([`Error::NotFound`]), or no answer: [`Error::Undecided`] when it was sent.
    pub async fn stop_container(&mut self, id: &Id) -> Result<(), Error> {
        let post = Post {
            path: format!("/containers/{id}/stop"),
            body: Vec::new(),
            api: None,
            done: &[204, 304],
            limit: self.limits.stop,
            call: format!("POST /containers/{}/stop", id.short()),
        };
        self.post(post).await.map(drop)
    }

    /// The body of the answer to `GET path`, on the kept connection or, where that turns out to be closed, a new one.
    async fn get(&mut self, path: &str, call: &str) -> Result<Vec<u8>, Error> {
        self.get_as(|_| path.to_owned(), call).await.map(|(_, body)| body)
    }

    /// As [`Engine::get`], of a path that depends on the version of the API; with the version.
    pub(crate) async fn get_as(
        &mut self,
        path: impl Fn(ApiVersion) -> String,
        call: &str,
    ) -> Result<(ApiVersion, Vec<u8>), Error> {
        loop {
            let (mut connection, api, again) = self.connected().await?;
            let versioned = format!("/v{api}{}", path(api));
            match self.in_time(call, ask(&mut connection, &versioned, call)).await {
                // The engine may have ended since: it answers on a new connection, perhaps as another version.
                Err(Error::Lost { .. }) if again => {}
                // Its connection is in order.
                Err(error @ (Error::NotFound { .. } | Error::Status { .. })) => {
                    self.idle = Some((connection, api));
                    return Err(error);
                }
                Err(error) => return Err(error),
                Ok((_, body)) => {
                    self.idle = Some((connection, api));
                    return Ok((api, body));
                }
            }
        }
    }

    /// Posts, and answers with the body of the answer. It is sent once: again only when no byte of it was written.
    pub(crate) async fn post(&mut self, post: Post) -> Result<Vec<u8>, Error> {
        let (endpoint, call) = (self.endpoint.to_string(), post.call.clone());
        loop {
            let (mut connection, api, again) = self.connected().await?;
            if let Some(read) = post.api.filter(|read| *read != api) {
                self.idle = Some((connection, api));
                let message =
                    format!("it was read in version {read} of the API, and the engine speaks {api}");
                return Err(Error::OutOfSequence { endpoint, call, message });
            }
            let path = format!("/v{api}{}", post.path);
            let asking = async {
                let answer = connection.post(&path, post.body.clone(), post.done, &call).await?;
                let body = connection.body(answer, &call, self.limits.body_bytes).await;
                body.map_err(|error| Failed { error, sent: true })
            };
            match timeout(post.limit, asking).await {
                Ok(Ok(body)) => {
                    self.idle = Some((connection, api));
                    return Ok(body);
                }
                Ok(Err(Failed {
                    error: error @ (Error::NotFound { .. } | Error::Status { .. }), ..
                })) => {
                    self.idle = Some((connection, api));
                    return Err(error);
                }
                Ok(Err(Failed { sent: false, .. })) if again => {}
                Ok(Err(Failed { sent: false, error })) => return Err(error),
                Ok(Err(Failed { sent: true, error })) => {
                    let why = match error {
                        Error::Lost { why, .. } => why,
                        Error::TooLong { limit_bytes, .. } => {
                            format!("the answer is longer than {limit_bytes} bytes")
                        }
                        other => other.to_string(),
                    };
                    return Err(Error::Undecided { endpoint, call, why });
                }
                Err(_) => {
                    let why = format!("no answer in {} s", post.limit.as_secs_f32());
                    return Err(Error::Undecided { endpoint, call, why });
                }
            }
        }
    }

    /// Makes the connection that the next question would make.
    pub(crate) async fn reach(&mut self) -> Result<(), Error> {
        let (connection, api, _) = self.connected().await?;
        self.idle = Some((connection, api));
        Ok(())
    }

    /// A connection, the version that is spoken on it, and whether it is the kept one, which may have ended unseen.
    async fn connected(&mut self) -> Result<(Connection, ApiVersion, bool), Error> {
        if let Some((connection, api)) = self.idle.take().filter(|(connection, _)| !connection.is_closed()) {
            return Ok((connection, api, true));
        }
        let mut connection = Connection::open(&self.endpoint, self.limits).await?;
        let greeting = self.negotiate(&mut connection).await?;
        Ok((connection, greeting.version.api, false))
    }

    /// Asks for the version, which every engine tells without one.
    async fn negotiate(&self, connection: &mut Connection) -> Result<Greeting, Error> {
        let call = "GET /version";
        let (date, body) = self.in_time(call, ask(connection, "/version", call)).await?;
        let version = Version::read(&body).map_err(|why| self.not_understood(call, why))?;
        if version.api < ApiVersion::OLDEST {
            let why = format!(
                "the engine speaks version {} of the API, and {} or later is needed",
                version.api,
                ApiVersion::OLDEST
            );
            return Err(Error::Connect { endpoint: self.endpoint.to_string(), why });
        }
        Ok(Greeting { version, date })
    }

    async fn in_time<T>(
        &self,
        call: &str,
        asking: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.limits.call;
        let late = |_| Error::Time { endpoint: self.endpoint.to_string(), call: call.to_owned(), limit };
        timeout(limit, asking).await.map_err(late)?
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn not_understood(&self, call: &str, why: String) -> Error {
        Error::Answer { endpoint: self.endpoint.to_string(), call: call.to_owned(), why: shown(&why) }
    }
}

/// A change that is asked for.
pub(crate) struct Post {
    /// Its path, without the version of the API.
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// The version that the body is in; absent when it is the same in all.
    pub(crate) api: Option<ApiVersion>,
    /// The statuses that say that it is done.
    pub(crate) done: &'static [u16],
    pub(crate) limit: Duration,
    /// How errors name it.
    pub(crate) call: String,
}

/// What a new connection begins with.
struct Greeting {
    version: Version,
    /// The engine's time, in whole seconds.
    date: Option<EventTime>,
}

/// One question: the engine's time and the body of its answer.
async fn ask(
    connection: &mut Connection,
    path: &str,
    call: &str,
) -> Result<(Option<EventTime>, Vec<u8>), Error> {
    let answer = connection.get(path, call).await?;
    let date = date(&answer);
    let limit = connection.limits().body_bytes;
    Ok((date, connection.body(answer, call, limit).await?))
}

fn date(answer: &Response<Incoming>) -> Option<EventTime> {
    let text = answer.headers().get(header::DATE)?.to_str().ok()?;
    let time: SystemTime = httpdate::parse_http_date(text).ok()?;
    EventTime::of_system(time)
}

/// Where a stream is to begin. An engine whose clock was set back has not come as far as what is wanted: there it is where the
/// clock stands.
fn beginning(since: Option<EventTime>, date: Option<EventTime>) -> Option<EventTime> {
    match (since, date) {
        // Its time is in whole seconds.
        (Some(since), Some(date)) if since.as_nanos() >= date.as_nanos().saturating_add(1_000_000_000) => {
            Some(date)
        }
        _ => since.or(date),
    }
}

/// The path that registers for events, with the filters that the engine is to use.
fn events_path(api: ApiVersion, since: Option<EventTime>) -> String {
    let quoted = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("%22{text}%22")).collect();
        texts.join(",")
    };
    let (kinds, actions) = (quoted(&["container"]), quoted(&ACTIONS));
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    format!("/v{api}/events?filters=%7B%22type%22:%5B{kinds}%5D,%22event%22:%5B{actions}%5D%7D{since}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_asked_for_by_kind_action_and_time() {
        let api = ApiVersion { major: 1, minor: 41 };
        let path = events_path(api, Some(EventTime::from_nanos(1_772_360_430_000_000_789)));
        assert!(
            path.starts_with("/v1.41/events?filters=%7B%22type%22:%5B%22container%22%5D,%22event%22:%5B")
        );
        assert!(path.contains("%22die%22,%22kill%22"));
        assert!(path.ends_with("%5D%7D&since=1772360430.000000789"), "{path}");
        assert!(events_path(api, None).ends_with("%22destroy%22%5D%7D"));
    }
}
