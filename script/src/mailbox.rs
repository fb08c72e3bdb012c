//! What others put before a script: flow records, threshold events, requests. Each has a queue with a limit; what finds
//! it full is lost and counted, and nobody waits.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use actions::capture::watch::PREFIX;
use engine::{LoggedEvent, LoggedFlow};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};

use crate::request::{Reply, Request, RequestError};
use crate::status::{Counters, Taken};

/// A request, and where its answer goes.
pub(crate) type Asked = (Request, oneshot::Sender<Result<Reply, RequestError>>);

/// Of which definitions a script wants to be told.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) flows: Subscription,
    pub(crate) events: Subscription,
    /// Whether it has a handler of requests. Until its first run is over it may get one, and who asks waits.
    pub(crate) requests: AtomicBool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            flows: Subscription::default(),
            events: Subscription::default(),
            requests: AtomicBool::new(true),
        }
    }
}

/// Whether and of what one is told.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    is_on: AtomicBool,
    of: Mutex<Of>,
}

/// Definitions, by name.
#[derive(Debug)]
pub(crate) enum Of {
    /// These.
    Named(BTreeSet<String>),
    /// All but these, and but those that capture policies make for themselves: whoever asks for no name means what
    /// scripts and clients have defined.
    AllBut(BTreeSet<String>),
}

impl Default for Of {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl Of {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::AllBut(names) => !names.contains(name) && !name.starts_with(PREFIX),
        }
    }
}

impl Subscription {
    /// From here on of these.
    pub(crate) fn set(&self, of: Of) {
        *self.of.lock().unwrap_or_else(PoisonError::into_inner) = of;
        self.is_on.store(true, Relaxed);
    }

    /// From here on of nothing.
    pub(crate) fn clear(&self) {
        self.is_on.store(false, Relaxed);
    }

    fn wants(&self, name: &str) -> bool {
        self.is_on.load(Relaxed) && self.of.lock().unwrap_or_else(PoisonError::into_inner).has(name)
    }
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    flows: Sender<Arc<LoggedFlow>>,
    events: Sender<Arc<LoggedEvent>>,
    requests: Sender<Asked>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) counters: Arc<Counters>,
    end: Arc<watch::Sender<bool>>,
}

/// The script's side.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) flows: Receiver<Arc<LoggedFlow>>,
    pub(crate) events: Receiver<Arc<LoggedEvent>>,
    pub(crate) requests: Receiver<Asked>,
    pub(crate) end: watch::Receiver<bool>,
}

/// Queues of this many each.
pub(crate) fn mailbox(queue: usize, counters: Arc<Counters>) -> (Mailbox, Inbox) {
    let queue = queue.max(1);
    let (flows, flows_come) = channel(queue);
    let (events, events_come) = channel(queue);
    let (requests, requests_come) = channel(queue);
    let (end, ended) = watch::channel(false);
    let mailbox = Mailbox { flows, events, requests, wanted: Arc::default(), counters, end: Arc::new(end) };
    (mailbox, Inbox { flows: flows_come, events: events_come, requests: requests_come, end: ended })
}

impl Mailbox {
    /// Takes what just came of flows and events.
    pub(crate) fn take(&self, records: &[Arc<LoggedFlow>], events: &[Arc<LoggedEvent>]) {
        for record in records.iter().filter(|record| self.wanted.flows.wants(&record.name)) {
            put(&self.flows, Arc::clone(record), &self.counters.flows);
        }
        for event in events.iter().filter(|event| self.wanted.events.wants(&event.event.threshold)) {
            put(&self.events, Arc::clone(event), &self.counters.events);
        }
    }

    /// Puts a request before the script, which answers it when it comes to it.
    ///
    /// # Errors
    /// Its handler is not set, too many requests wait, or it has ended.
    pub(crate) fn ask(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Reply, RequestError>>, RequestError> {
        if !self.wanted.requests.load(Relaxed) {
            return Err(RequestError::NoHandler);
        }
        let (answer, answered) = oneshot::channel();
        self.requests.try_send((request, answer)).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.counters.requests.lost.fetch_add(1, Relaxed);
                RequestError::Full
            }
            TrySendError::Closed(_) => RequestError::Ended,
        })?;
        self.counters.requests.received.fetch_add(1, Relaxed);
        Ok(answered)
    }

    /// Asks the script to end.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}

fn put<T>(queue: &Sender<T>, one: T, counted: &Taken) {
    match queue.try_send(one) {
        Ok(()) => counted.received.fetch_add(1, Relaxed),
        Err(_) => counted.lost.fetch_add(1, Relaxed),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_nothing_is_not_told_what_nobody_asked_for() {
        let told = Subscription::default();
        assert!(!told.wants("pairs"));
        told.set(Of::AllBut(BTreeSet::from(["flows".to_owned()])));
        let wanted = |names: &[&str]| names.iter().map(|name| told.wants(name)).collect::<Vec<_>>();
        assert_eq!(wanted(&["pairs", "flows", "fs_capture_block_0"]), [true, false, false]);
        told.set(Of::Named(BTreeSet::from(["flows".to_owned()])));
        assert_eq!(wanted(&["pairs", "flows", "fs_capture_block_0"]), [false, true, false]);
        told.clear();
        assert!(!told.wants("flows"));
    }
}
