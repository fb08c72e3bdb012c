//! What others put before a script: flow records, threshold events, requests. Each has a queue with a limit; what finds
//! it full is lost and counted, and nobody waits.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actions::capture::watch::PREFIX;
use crossbeam::queue::ArrayQueue;
use engine::{LoggedEvent, LoggedFlow};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, oneshot, watch};

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
pub(crate) struct Subscription(Mutex<Option<Of>>);

/// Definitions, by name.
#[derive(Debug)]
pub(crate) enum Of {
    /// These.
    Named(BTreeSet<String>),
    /// All but these, and but those that capture policies make for themselves: whoever asks for no name means what
    /// scripts and clients have defined.
    AllBut(BTreeSet<String>),
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
        *self.lock() = Some(of);
    }

    /// From here on of nothing: when this returns, nothing more comes.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Of>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Things of one kind that wait for a script, so many at most.
#[derive(Debug)]
struct Queue<T>(ArrayQueue<Arc<T>>);

/// What waits for a script and nobody waits for.
#[derive(Debug)]
struct Waiting {
    flows: Queue<LoggedFlow>,
    events: Queue<LoggedEvent>,
    /// Whether anything has come since the script last looked.
    came: Notify,
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    waiting: Arc<Waiting>,
    requests: Sender<Asked>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) counters: Arc<Counters>,
    end: Arc<watch::Sender<bool>>,
}

/// The script's side.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: Arc<Waiting>,
    wanted: Arc<Wanted>,
    requests: Receiver<Asked>,
    end: watch::Receiver<bool>,
}

/// Queues of this many each.
pub(crate) fn mailbox(queue: usize, counters: Arc<Counters>) -> (Mailbox, Inbox) {
    let queue = queue.max(1);
    let (flows, events) = (Queue(ArrayQueue::new(queue)), Queue(ArrayQueue::new(queue)));
    let waiting = Arc::new(Waiting { flows, events, came: Notify::new() });
    let (requests, requests_come) = channel(queue);
    let (end, ended) = watch::channel(false);
    let wanted = Arc::<Wanted>::default();
    let inbox = Inbox {
        waiting: Arc::clone(&waiting),
        wanted: Arc::clone(&wanted),
        requests: requests_come,
        end: ended,
    };
    (Mailbox { waiting, requests, wanted, counters, end: Arc::new(end) }, inbox)
}

impl Mailbox {
    /// Takes what just came of flows and events.
    pub(crate) fn take(&self, records: &[Arc<LoggedFlow>], events: &[Arc<LoggedEvent>]) {
        let Self { waiting, wanted, counters, .. } = self;
        let flows = waiting.flows.put(records, &wanted.flows, |record| &record.name, &counters.flows);
        let events =
            waiting.events.put(events, &wanted.events, |event| &event.event.threshold, &counters.events);
        if flows || events {
            waiting.came.notify_one();
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

impl<T> Queue<T> {
    /// Puts those of them that are wanted; whether there is one.
    fn put(&self, all: &[Arc<T>], wanted: &Subscription, name: impl Fn(&T) -> &str, counted: &Taken) -> bool {
        if all.is_empty() {
            return false;
        }
        let of = wanted.lock();
        let Some(of) = &*of else { return false };
        let mut is_any = false;
        for one in all.iter().filter(|one| of.has(name(one))) {
            let count = match self.0.push(Arc::clone(one)) {
                Ok(()) => &counted.received,
                Err(_) => &counted.lost,
            };
            count.fetch_add(1, Relaxed);
            is_any = true;
        }
        is_any
    }
}

impl Inbox {
    /// Whether the script is to end: whoever could say so has said so, or has gone.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.end.has_changed(), Ok(false))
    }

    /// The flow record that has waited longest.
    pub(crate) fn flow(&self) -> Option<Arc<LoggedFlow>> {
        self.waiting.flows.0.pop()
    }

    /// The event that has waited longest.
    pub(crate) fn event(&self) -> Option<Arc<LoggedEvent>> {
        self.waiting.events.0.pop()
    }

    /// What to wait for; what has come before is to be looked for first.
    pub(crate) fn comes(&mut self) -> Comes<'_> {
        Comes { news: &self.waiting.came, requests: &mut self.requests, end: &mut self.end }
    }

    /// Says when the script is to end, to whoever runs it.
    pub(crate) fn end(&self) -> watch::Receiver<bool> {
        self.end.clone()
    }

    /// A request; `None` while no other is there, or when nobody is left who could ask.
    pub(crate) fn request(&mut self) -> Option<Asked> {
        self.requests.try_recv().ok()
    }
}

/// What an [`Inbox`] is waited for by.
pub(crate) struct Comes<'i> {
    /// Flow records or events.
    pub(crate) news: &'i Notify,
    pub(crate) requests: &'i mut Receiver<Asked>,
    /// The end.
    pub(crate) end: &'i mut watch::Receiver<bool>,
}

impl Drop for Inbox {
    /// A script that has ended is told nothing more, and what waits for it is let go.
    fn drop(&mut self) {
        self.wanted.flows.clear();
        self.wanted.events.clear();
        while self.flow().is_some() {}
        while self.event().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tables::question::{Address, Owner, Source};

    use super::*;

    fn record(name: &str) -> Arc<LoggedFlow> {
        Arc::new(LoggedFlow {
            id: 0,
            name: name.into(),
            owner: Owner { agent: Address::V4(Ipv4Addr::LOCALHOST), source: Source::Agent },
            keys: String::new(),
            value: 1.0,
            values: Vec::new(),
            start_ms: 0,
            end_ms: 0,
        })
    }

    #[test]
    fn who_names_nothing_is_not_told_what_nobody_asked_for() {
        let all = Of::AllBut(BTreeSet::from(["flows".to_owned()]));
        let has = |of: &Of| ["pairs", "flows", "fs_capture_block_0"].map(|name| of.has(name));
        assert_eq!(has(&all), [true, false, false]);
        assert_eq!(has(&Of::Named(BTreeSet::from(["flows".to_owned()]))), [false, true, false]);
    }

    #[test]
    fn what_finds_a_queue_full_is_lost_and_counted() {
        let (mailbox, inbox) = mailbox(3, Arc::default());
        let (pair, other) = (record("pairs"), record("flows"));
        let put = |count| mailbox.take(&vec![Arc::clone(&pair); count], &[]);
        let counted = || (mailbox.counters.flows.received(), mailbox.counters.flows.lost());
        put(1);
        assert_eq!(counted(), (0, 0), "nobody has asked for it");
        mailbox.wanted.flows.set(Of::Named(BTreeSet::from(["pairs".to_owned()])));
        mailbox.take(&[Arc::clone(&other)], &[]);
        put(5);
        assert_eq!(counted(), (3, 2));
        assert!(inbox.flow().is_some());
        put(2);
        assert_eq!(counted(), (4, 3));
        drop(inbox);
        // What waited is let go, and what comes for nobody is not said to have found no place.
        put(1);
        assert_eq!((counted(), Arc::strong_count(&pair)), ((4, 3), 1));
    }
}
