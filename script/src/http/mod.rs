//! What a script asks over HTTP: whom it may ask, how long and how much, and how many calls at once. The connections
//! are those of `actions::http`; what a request may do is seen to in `guard`.
//!
//! A call ends within 10 s, its answer has 16 MiB at most, and four of a script are under way at once. Each has a
//! connection of its own, because nobody would notice the end of one that is kept while a script does nothing.

mod allow;
mod gate;
mod outgoing;
mod reply;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actions::http::{Client, Error, Options, Reach, Tls, Url};
use tokio::time::timeout;

pub use allow::{Allow, NotAllow};
pub(crate) use allow::{check_address, check_url};
pub(crate) use gate::Place;
pub(crate) use outgoing::{Outgoing, OwnAddress};
pub(crate) use reply::Reply;

use crate::guard::Guards;
use crate::status::Counters;

/// Limits of a script's calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long connecting may take.
    pub(crate) connect: Duration,
    /// How long a whole call may take.
    pub(crate) call: Duration,
    /// Most bytes of an answer's body.
    pub(crate) body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), call: Duration::from_secs(10), body_bytes: 16 << 20 }
    }
}

/// Why there is no answer. Addresses are shown without what may be secret in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The operator does not let scripts reach it; nothing was asked.
    #[error("{0}")]
    NotAllowed(String),
    /// There is no whole answer.
    #[error("{0}")]
    Asked(#[from] Error),
    /// Too many calls wait already, or four took too long; nothing was asked.
    #[error("{0}")]
    Full(String),
    /// There was no whole answer in time.
    #[error("{url}: no whole answer in {} s", limit.as_secs_f32())]
    Late {
        /// Who was asked.
        url: String,
        /// The time that there was.
        limit: Duration,
    },
    /// A guard lets it not go; nothing was changed.
    #[error("{0}")]
    Guarded(String),
}

impl Failure {
    /// A short name of its kind, for counters.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "not_allowed",
            Self::Asked(error) => error.label(),
            Self::Full(_) => "full",
            Self::Late { .. } => "time",
            Self::Guarded(_) => "guarded",
        }
    }
}

/// The client of one script; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    allowed: Arc<[Allow]>,
    limits: Limits,
    guards: Guards,
    gate: gate::Gate,
    counters: Arc<Counters>,
}

/// How many calls came to what: `answered`, or what the failure is labelled as.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    fn add(&self, label: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default() += 1;
    }

    /// All that were met so far.
    pub(crate) fn get(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Http {
    /// A client that reaches these hosts, and asks nobody yet.
    pub(crate) fn new(allowed: &[Allow], limits: Limits, guards: Guards, counters: Arc<Counters>) -> Self {
        let shared = Shared { allowed: allowed.into(), limits, guards, gate: gate::Gate::new(), counters };
        Self { shared: Arc::new(shared) }
    }

    /// Asks, with the script waiting for it.
    ///
    /// # Errors
    /// There is no answer. One of any status is no error.
    pub(crate) async fn call(&self, outgoing: Outgoing) -> Result<Reply, Failure> {
        let limit = self.shared.limits.call;
        let url = outgoing.url.to_string();
        let mut began = false;
        let called = timeout(limit, async {
            let _place = self.shared.gate.place().await;
            began = true;
            self.send(outgoing).await
        });
        let reply = called.await.unwrap_or_else(|_| {
            let at_once = gate::AT_ONCE;
            Err(match began {
                true => Failure::Late { url, limit },
                false => {
                    let s = limit.as_secs_f32();
                    Failure::Full(format!("{url}: {at_once} calls of this script took more than {s} s"))
                }
            })
        });
        self.count(label(&reply));
        reply
    }

    /// Lets a call into the queue that the script does not wait for. The place that the future gives is to be kept
    /// until its answer was taken, so that no more than four answers lie about.
    ///
    /// # Errors
    /// The queue is full.
    pub(crate) fn queue(
        &self,
        outgoing: Outgoing,
    ) -> Result<impl Future<Output = (Result<Reply, Failure>, Place)> + use<>, Failure> {
        let queued = self.shared.gate.queue(outgoing.size()).map_err(|why| {
            let failure = Failure::Full(format!("{}: {why}", outgoing.url));
            self.count(failure.label());
            failure
        })?;
        let http = self.clone();
        Ok(async move {
            let place = http.shared.gate.place_of(queued).await;
            let limit = http.shared.limits.call;
            let url = outgoing.url.to_string();
            let called = timeout(limit, http.send(outgoing)).await;
            let reply = called.unwrap_or(Err(Failure::Late { url, limit }));
            http.count(label(&reply));
            (reply, place)
        })
    }

    /// Sends a request, which is the one place where guards look at it.
    async fn send(&self, outgoing: Outgoing) -> Result<Reply, Failure> {
        if !outgoing.own {
            check_url(&self.shared.allowed, &outgoing.url).map_err(Failure::NotAllowed)?;
        }
        let answer = match self.shared.guards.route(&outgoing) {
            Some(guarded) => guarded.send(self, &outgoing).await?,
            None => self.exchange(&outgoing).await?,
        };
        Ok(Reply::of(answer))
    }

    /// Asks for what a script wrote, as it wrote it.
    pub(crate) async fn exchange(&self, outgoing: &Outgoing) -> Result<actions::http::Answer, Failure> {
        let client = self.client(outgoing)?;
        let headers = headers(outgoing);
        let asked =
            client.request(outgoing.method.clone(), outgoing.url.path(), &headers, outgoing.body.clone());
        Ok(asked.await?)
    }

    /// A client for who is asked, with the same certificates and credentials.
    pub(crate) fn client(&self, outgoing: &Outgoing) -> Result<Client, Failure> {
        let Shared { allowed, limits, .. } = &*self.shared;
        let tls = match &outgoing.certs {
            Some(folder) if outgoing.url.is_secure() => Tls::of_folder(folder)?,
            _ => Tls::default(),
        };
        let options = Options {
            tls,
            credentials: outgoing.credentials.clone(),
            connect: limits.connect.min(limits.call),
            call: limits.call,
            body_bytes: limits.body_bytes,
            path_is_secret: false,
            reach: Some(reach(Arc::clone(allowed), outgoing.own.then(|| outgoing.url.origin()))),
        };
        Ok(Client::new(outgoing.url.clone(), options))
    }

    fn count(&self, label: &'static str) {
        self.shared.counters.http.add(label);
    }

    /// Calls that wait now.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.gate.waiting()
    }
}

fn label(reply: &Result<Reply, Failure>) -> &'static str {
    reply.as_ref().map_or_else(Failure::label, |_| "answered")
}

/// Where a call goes: to what the operator allows, and to `own`, which is the collector itself.
fn reach(allowed: Arc<[Allow]>, own: Option<String>) -> Reach {
    Reach::new(move |url: &Url, address| {
        if own.as_ref().is_some_and(|own| *own == url.origin()) {
            return Ok(());
        }
        match address {
            None => check_url(&allowed, url),
            Some(address) => check_address(&allowed, url, address),
        }
    })
}

/// The headers of a request as the client takes them.
pub(crate) fn headers(outgoing: &Outgoing) -> Vec<(&str, &str)> {
    outgoing.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
