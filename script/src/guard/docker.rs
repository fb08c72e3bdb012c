//! Updates of a swarm's services as scripts send them.
//!
//! An engine takes what a specification lacks for what was taken away, and a path of an old version of the API takes
//! away all that this version did not know: all tasks are then started anew, without their limits. So an update goes at
//! the engine's own version, with what the script wrote laid over what the engine has. Its answer is the engine's.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actions::audit::{Audit, Entry, Outcome, Ticket};
use actions::http::hyper::Method;
use actions::http::{Answer, Client, Error};
use actions::mode::{Mode, Switch};
use actions::text::shown;
use docker::{ApiVersion, ServiceSpec, Version};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::overlay::overlay;
use super::unescaped;
use crate::http::{Failure, Http, Outgoing, headers};

/// How long the version of an engine is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// Engines whose versions are known; the one that was asked the longest ago is forgotten.
const ENGINES: usize = 64;
/// How long an update may be read back.
const READ_BACK: Duration = Duration::from_secs(2);
/// Members that the audit log names.
const NAMED: usize = 20;
/// What is changed by the article's script, and by most.
const REPLICAS: &str = "Mode.Replicated.Replicas";

/// Sees to the updates of one script.
#[derive(Debug)]
pub(crate) struct Docker {
    script: String,
    audit: Audit,
    mode: Switch,
    engines: Mutex<Vec<Known>>,
}

/// What is known of who answers somewhere.
#[derive(Debug)]
struct Known {
    place: Place,
    asked: Instant,
    /// Its version of the API; `None` where it is no engine.
    api: Option<ApiVersion>,
    /// Whether it was told that updates go at another version than they are written.
    told: bool,
}

/// Where an engine answers, and with which certificates.
type Place = (String, Option<PathBuf>);

/// What a request asks of which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// The version of the API that the script wrote.
    written: Option<String>,
    service: String,
    query: String,
}

impl Update {
    /// Reads a request; `None` where it is no update of a service.
    pub(super) fn of(outgoing: &Outgoing) -> Option<Self> {
        if outgoing.own || outgoing.method != Method::POST {
            return None;
        }
        let (path, query) = outgoing.url.path().split_once('?')?;
        // An engine reads escapes before it looks at a path.
        let path = unescaped(path);
        let mut parts: Vec<&str> = path.split('/').skip(1).collect();
        let written = parts.first().and_then(|part| part.strip_prefix('v')).map(str::to_owned);
        let written = written.filter(|version| version.parse::<ApiVersion>().is_ok());
        if written.is_some() {
            parts.remove(0);
        }
        let ["services", service, "update"] = parts.as_slice() else { return None };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !service.is_empty() && service.bytes().all(letter);
        let has_version = query.split('&').any(|pair| pair.starts_with("version="));
        (is_name && has_version).then(|| Self {
            written,
            service: (*service).to_owned(),
            query: query.to_owned(),
        })
    }
}

/// What goes to the engine.
struct Composed {
    read: ServiceSpec,
    body: Vec<u8>,
    changed: Vec<String>,
}

impl Docker {
    /// For the updates of this script.
    pub(crate) fn new(script: &str, audit: Audit, mode: Switch) -> Self {
        Self { script: script.to_owned(), audit, mode, engines: Mutex::default() }
    }

    /// Sends an update; the answer is the engine's, to the update or to what was asked about its service before.
    pub(super) async fn send(
        &self,
        http: &Http,
        outgoing: &Outgoing,
        update: &Update,
    ) -> Result<Answer, Failure> {
        let client = http.client(outgoing)?;
        let (api, answer) = loop {
            let (api, is_fresh) = self.api(&client, outgoing).await?;
            let Some(api) = api else { return http.exchange(outgoing).await };
            let path = format!("/v{api}/services/{}", update.service);
            let answer = client.request(Method::GET, &path, &questions(outgoing), Vec::new()).await?;
            // The engine may have been replaced by another version since it was asked for it.
            if answer.status != 400 || is_fresh {
                break (api, answer);
            }
            self.forget(outgoing);
        };
        if answer.status != 200 {
            return Ok(answer);
        }
        let named = format!("{}/services/{}", outgoing.url.origin(), update.service);
        let refused = |why: String| Failure::Guarded(format!("{named}: {why}; nothing was changed"));
        if self.mode.get() == Mode::Withdraw {
            let why = "actions are withdrawn, so that no service is updated until their mode is another one";
            return Err(refused(why.to_owned()));
        }
        let composed = compose(&answer.body, api, &outgoing.body).map_err(refused)?;
        self.tell_once(outgoing, update, api);
        let ticket = self.audit.intent(self.entry(outgoing, update, api, &composed));
        let ticket = ticket.map_err(|error| refused(error.to_string()))?;
        self.post(http, outgoing, update, api, &composed, ticket).await
    }

    /// Sends what was composed, once, and notes what came of it.
    async fn post(
        &self,
        http: &Http,
        outgoing: &Outgoing,
        update: &Update,
        api: ApiVersion,
        composed: &Composed,
        ticket: Ticket,
    ) -> Result<Answer, Failure> {
        // A connection of its own: one that was kept may be closed by the other side while the update is written.
        let client = http.client(outgoing)?;
        let service = format!("/v{api}/services/{}", update.service);
        let path = format!("{service}/update?{}", update.query);
        let posted = client.request(Method::POST, &path, &headers(outgoing), composed.body.clone()).await;
        match &posted {
            Ok(answer) if answer.status == 200 => {
                let headers = questions(outgoing);
                let reading = client.request(Method::GET, &service, &headers, Vec::new());
                let read = timeout(READ_BACK, reading).await.ok();
                ticket.done(read_back(read, api, &composed.body));
            }
            Ok(answer) => ticket.done(Outcome::Failed(format!("{}: {}", answer.status, answer.words()))),
            Err(error) if error.may_have_arrived() => ticket.done(Outcome::Unknown(error.to_string())),
            Err(error) => ticket.done(Outcome::Failed(error.to_string())),
        }
        Ok(posted?)
    }

    /// The version of the API that is spoken there, and whether it was asked for just now; `None` where no engine
    /// answers.
    async fn api(&self, client: &Client, outgoing: &Outgoing) -> Result<(Option<ApiVersion>, bool), Failure> {
        let place = place(outgoing);
        if let Some(known) = self.engines().iter().find(|known| known.place == place)
            && known.asked.elapsed() < BELIEVED
        {
            return Ok((known.api, false));
        }
        let answer = client.request(Method::GET, "/version", &questions(outgoing), Vec::new()).await?;
        let api = match answer.status {
            // What fails just now may be an engine all the same.
            500.. => {
                let why = format!("GET /version: {}: {}", answer.status, answer.words());
                return Err(Failure::Guarded(format!(
                    "{}: it does not tell its version ({why}); nothing was changed",
                    outgoing.url.origin()
                )));
            }
            200 => Version::read(&answer.body).ok().map(|version| version.api),
            _ => None,
        };
        let mut engines = self.engines();
        let known = Known { place: place.clone(), asked: Instant::now(), api, told: false };
        match engines.iter_mut().find(|known| known.place == place) {
            Some(old) => *old = Known { told: old.told, ..known },
            None => {
                if engines.len() == ENGINES {
                    engines.remove(0);
                }
                engines.push(known);
            }
        }
        Ok((api, true))
    }

    fn forget(&self, outgoing: &Outgoing) {
        let place = place(outgoing);
        self.engines().retain(|known| known.place != place);
    }

    fn engines(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once of each engine that updates go at another version than they are written.
    fn tell_once(&self, outgoing: &Outgoing, update: &Update, api: ApiVersion) {
        let Some(written) = update.written.as_ref().filter(|written| **written != api.to_string()) else {
            return;
        };
        let place = place(outgoing);
        let mut engines = self.engines();
        if let Some(known) = engines.iter_mut().find(|known| known.place == place && !known.told) {
            known.told = true;
            tracing::info!(
                "{}: updates of services at {} go at its own version {api} of the API, not at {written} as the script has it",
                shown(&self.script),
                outgoing.url.origin(),
            );
        }
    }

    fn entry(&self, outgoing: &Outgoing, update: &Update, api: ApiVersion, composed: &Composed) -> Entry {
        let Composed { read, changed, body } = composed;
        let named: Vec<&str> = changed.iter().take(NAMED).map(String::as_str).collect();
        let replicas = replicas(body);
        let what = match (named.as_slice(), read.service.replicas, replicas) {
            ([], _, _) => "update it without a change".to_owned(),
            ([REPLICAS], Some(from), Some(to)) => format!("set replicas={to}, from {from}"),
            _ => format!("change {}", named.join(", ")),
        };
        let written = update.written.as_ref().map(|version| format!("/v{version}")).unwrap_or_default();
        Entry {
            kind: "script.update",
            owner: format!("script {}", self.script),
            name: read.service.name.clone(),
            target: outgoing.url.origin(),
            what,
            reason: "the script asks for it".to_owned(),
            evidence: json!({
                "asked": format!("{written}/services/{}/update", update.service),
                "api": api.to_string(), "versionIndex": read.service.version_index,
                "changed": named, "changedInAll": changed.len(),
            }),
        }
    }
}

fn place(outgoing: &Outgoing) -> Place {
    (outgoing.url.origin(), outgoing.certs.clone())
}

/// The headers of questions beside an update: those of the script that are not about its body.
fn questions(outgoing: &Outgoing) -> Vec<(&str, &str)> {
    let mut headers = headers(outgoing);
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    headers
}

/// What the script wrote over what the engine has; where only the number of replicas differs, that number in the
/// engine's own text.
fn compose(answer: &[u8], api: ApiVersion, written: &[u8]) -> Result<Composed, String> {
    let read =
        ServiceSpec::read(answer, api).map_err(|why| format!("it answers what is no service: {why}"))?;
    let laid = overlay(read.raw(), written);
    let laid = laid.map_err(|why| format!("the specification that is to be set cannot be read: {why}"))?;
    let merged = laid.text.into_bytes();
    let exact = match laid.changed.as_slice() {
        [only] if only == REPLICAS => {
            replicas(&merged).and_then(|replicas| read.with_replicas(replicas).ok())
        }
        _ => None,
    };
    Ok(Composed { body: exact.unwrap_or(merged), changed: laid.changed, read })
}

/// The number of replicas that a specification asks for.
fn replicas(specification: &[u8]) -> Option<u64> {
    let specification: Json = serde_json::from_slice(specification).ok()?;
    specification.pointer("/Mode/Replicated/Replicas")?.as_u64()
}

/// What came of an update that the engine took, by what is there after it.
fn read_back(read: Option<Result<Answer, Error>>, api: ApiVersion, sent: &[u8]) -> Outcome {
    let unseen =
        |why: String| Outcome::Unknown(format!("the engine took it, and it cannot be read back: {why}"));
    let answer = match read {
        None => return unseen(format!("no answer in {} s", READ_BACK.as_secs())),
        Some(Err(error)) => return unseen(error.to_string()),
        Some(Ok(answer)) => answer,
    };
    let back = match answer.status {
        200 => ServiceSpec::read(&answer.body, api),
        status => Err(format!("{status}: {}", answer.words())),
    };
    match back.and_then(|back| overlay(back.raw(), sent)) {
        Ok(laid) if laid.changed.is_empty() => Outcome::Done("it was read back".to_owned()),
        Ok(laid) => {
            let named: Vec<&str> = laid.changed.iter().take(NAMED).map(String::as_str).collect();
            Outcome::Unknown(format!(
                "the engine took it, and other values were read back: {}",
                named.join(", ")
            ))
        }
        Err(why) => unseen(why),
    }
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
