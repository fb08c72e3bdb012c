//! Flow records and threshold events on their way from the workers to those who ask for them.
//!
//! A worker puts what its shard has to tell into bounded rings of its own and never waits: what finds no place is
//! lost and counted. The thread `events` empties the rings, numbers what it finds, keeps the newest, and gives all of
//! it to whoever waits for news.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tables::Outbox;
use tables::outbox::{FlowRecord, ThresholdEvent};
use tables::question::Owner;

/// Records, events and wanted names of one worker that may wait.
const RECORDS: usize = 8192;
const EVENTS: usize = 1024;
const NAMES: usize = 1024;

/// How often wanted names are passed on, and how many of them at most.
const NAMES_EVERY: Duration = Duration::from_secs(1);
const NAMES_AT_ONCE: usize = 4096;

/// A record of the flow log.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedFlow {
    /// Its number: the first one's is 0, each has one more than that before it.
    pub id: u64,
    /// Name of the definition.
    pub name: Arc<str>,
    /// Who saw it.
    pub owner: Owner,
    /// The keys as text, joined by the definition's separator.
    pub keys: String,
    /// How much there was from start to end: a total, not a rate.
    pub value: f64,
    /// The same for the definition's further values.
    pub values: Vec<f64>,
    /// When its first sample came, milliseconds since 1970.
    pub start_ms: u64,
    /// When its last sample came, milliseconds since 1970.
    pub end_ms: u64,
}

/// A metric has risen above its threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// Its number: the first one's is 0, each has one more than that before it.
    pub id: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What rose.
    pub event: ThresholdEvent,
}

/// What a worker had to tell, and what found no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Flow records.
    pub records_generated: u64,
    /// Flow records that were lost because too many waited.
    pub records_lost: u64,
    /// Threshold events.
    pub events_generated: u64,
    /// Threshold events that were lost because too many waited.
    pub events_lost: u64,
    /// Wanted names that were not asked for because too many waited.
    pub names_lost: u64,
}

impl Told {
    /// Adds what another worker had to tell.
    pub(crate) fn add(&mut self, other: Self) {
        self.records_generated += other.records_generated;
        self.records_lost += other.records_lost;
        self.events_generated += other.events_generated;
        self.events_lost += other.events_lost;
        self.names_lost += other.names_lost;
    }
}

/// A worker's end of its rings.
#[derive(Debug)]
pub(crate) struct Teller {
    records: Sender<FlowRecord>,
    events: Sender<ThresholdEvent>,
    names: Sender<IpAddr>,
    bell: Sender<()>,
    told: Told,
}

impl Teller {
    /// Takes what the shard has to tell.
    pub(crate) fn tell(&mut self, outbox: &mut Outbox) {
        if outbox.records.is_empty() && outbox.events.is_empty() && outbox.names_wanted.is_empty() {
            return;
        }
        for record in outbox.records.drain(..) {
            self.told.records_generated += 1;
            self.told.records_lost += u64::from(self.records.try_send(record).is_err());
        }
        for event in outbox.events.drain(..) {
            self.told.events_generated += 1;
            self.told.events_lost += u64::from(self.events.try_send(event).is_err());
        }
        for name in outbox.names_wanted.drain(..) {
            self.told.names_lost += u64::from(self.names.try_send(name).is_err());
        }
        // Where it has rung already the thread will come anyway.
        let _ = self.bell.try_send(());
    }

    /// What was told so far.
    pub(crate) fn told(&self) -> Told {
        self.told
    }
}

/// The thread's ends of a worker's rings.
#[derive(Debug)]
struct Rings {
    records: Receiver<FlowRecord>,
    events: Receiver<ThresholdEvent>,
    names: Receiver<IpAddr>,
}

/// Numbered things, the newest of them kept.
#[derive(Debug)]
struct Log<T> {
    kept: VecDeque<Arc<T>>,
    next: u64,
    most: usize,
}

impl<T> Log<T> {
    fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), next: 0, most }
    }

    /// Numbers what came and keeps the newest; all that came, oldest first.
    fn extend<S>(&mut self, came: Vec<S>, make: impl Fn(u64, S) -> T) -> Vec<Arc<T>> {
        let made: Vec<Arc<T>> = (self.next..).zip(came).map(|(id, one)| Arc::new(make(id, one))).collect();
        self.next += made.len() as u64;
        self.kept.extend(made.iter().skip(made.len().saturating_sub(self.most)).cloned());
        self.kept.drain(..self.kept.len().saturating_sub(self.most));
        made
    }

    /// Newer ones than `after`, newest first, that are wanted.
    fn newest(
        &self,
        after: Option<u64>,
        most: usize,
        id: impl Fn(&T) -> u64,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<Arc<T>> {
        let newer = |one: &&Arc<T>| after.is_none_or(|after| id(one) > after);
        self.kept.iter().rev().take_while(newer).filter(|one| wanted(one)).take(most).cloned().collect()
    }
}

/// What has just come.
#[derive(Clone, Copy, Debug)]
pub struct News<'n> {
    /// Flow records, oldest first.
    pub records: &'n [Arc<LoggedFlow>],
    /// Threshold events, oldest first.
    pub events: &'n [Arc<LoggedEvent>],
}

/// Called with all that has come since the last call.
pub type NewsCall = Box<dyn Fn(&News<'_>) + Send + Sync>;
/// Called with addresses whose names are wanted.
pub type NamesCall = Box<dyn Fn(&[IpAddr]) + Send + Sync>;

/// What has been told, for those who ask.
pub(crate) struct Logs {
    records: Mutex<Log<LoggedFlow>>,
    events: Mutex<Log<LoggedEvent>>,
    calls: Mutex<Vec<NewsCall>>,
    names_call: OnceLock<NamesCall>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("records", &self.records).field("events", &self.events).finish()
    }
}

impl Logs {
    pub(crate) fn new(flows_max: usize, events_max: usize) -> Self {
        Self {
            records: Mutex::new(Log::new(flows_max)),
            events: Mutex::new(Log::new(events_max)),
            calls: Mutex::default(),
            names_call: OnceLock::new(),
        }
    }

    pub(crate) fn records(&self, after: Option<u64>, most: usize, names: &[String]) -> Vec<Arc<LoggedFlow>> {
        let wanted = |one: &LoggedFlow| names.is_empty() || names.iter().any(|name| **name == *one.name);
        lock(&self.records).newest(after, most, |one| one.id, wanted)
    }

    pub(crate) fn events(&self, after: Option<u64>, most: usize, names: &[String]) -> Vec<Arc<LoggedEvent>> {
        let wanted =
            |one: &LoggedEvent| names.is_empty() || names.iter().any(|name| **name == *one.event.threshold);
        lock(&self.events).newest(after, most, |one| one.id, wanted)
    }

    pub(crate) fn on_news(&self, call: NewsCall) {
        lock(&self.calls).push(call);
    }

    pub(crate) fn on_names_wanted(&self, call: NamesCall) {
        // The first one stays: see `Handle::on_names_wanted`.
        let _ = self.names_call.set(call);
    }
}

/// What the thread `events` works on.
#[derive(Debug)]
pub(crate) struct EventsThread {
    rings: Vec<Rings>,
    bell: Receiver<()>,
    logs: Arc<Logs>,
    began: Instant,
    names: BTreeSet<IpAddr>,
}

impl EventsThread {
    /// The thread's work, and the tellers of this many workers. Their times are microseconds since `began`.
    pub(crate) fn new(workers: usize, logs: Arc<Logs>, began: Instant) -> (Self, Vec<Teller>) {
        let (bell, rung) = bounded(1);
        let (tellers, rings) = (0..workers)
            .map(|_| {
                let (records, records_come) = bounded(RECORDS);
                let (events, events_come) = bounded(EVENTS);
                let (names, names_come) = bounded(NAMES);
                let teller = Teller { records, events, names, bell: bell.clone(), told: Told::default() };
                (teller, Rings { records: records_come, events: events_come, names: names_come })
            })
            .unzip();
        (Self { rings, bell: rung, logs, began, names: BTreeSet::new() }, tellers)
    }

    /// Works until all tellers are gone and nothing is left in their rings.
    pub(crate) fn run(mut self) {
        let mut next_names = Instant::now() + NAMES_EVERY;
        loop {
            let ended = match self.bell.recv_deadline(next_names) {
                Err(RecvTimeoutError::Disconnected) => true,
                Ok(()) | Err(RecvTimeoutError::Timeout) => false,
            };
            self.empty();
            let now = Instant::now();
            if ended || now >= next_names {
                self.pass_names_on();
                next_names = now + NAMES_EVERY;
            }
            if ended {
                return;
            }
        }
    }

    /// Takes all that waits in the rings.
    fn empty(&mut self) {
        let mut records = Vec::new();
        let mut events = Vec::new();
        for rings in &self.rings {
            // No more than a ring holds, so that a worker that goes on telling cannot keep this here.
            records.extend(rings.records.try_iter().take(RECORDS));
            events.extend(rings.events.try_iter().take(EVENTS));
            for name in rings.names.try_iter().take(NAMES) {
                if self.names.len() < NAMES_AT_ONCE {
                    self.names.insert(name);
                }
            }
        }
        if records.is_empty() && events.is_empty() {
            return;
        }
        // Wall-clock time appears only here, so that a step of the clock moves no window or deadline.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = since_1970.saturating_sub(self.began.elapsed());
        let epoch_ms =
            |us: u64| u64::try_from((began + Duration::from_micros(us)).as_millis()).unwrap_or(u64::MAX);
        let records = lock(&self.logs.records).extend(records, |id, record| LoggedFlow {
            id,
            keys: record.keys(),
            name: record.name,
            owner: record.owner,
            value: record.value,
            values: record.values,
            start_ms: epoch_ms(record.start_us),
            end_ms: epoch_ms(record.end_us),
        });
        let events = lock(&self.logs.events).extend(events, |id, event| LoggedEvent {
            id,
            at_ms: epoch_ms(event.at_us),
            event,
        });
        let news = News { records: &records, events: &events };
        for call in &*lock(&self.logs.calls) {
            call(&news);
        }
    }

    fn pass_names_on(&mut self) {
        let names: Vec<IpAddr> = std::mem::take(&mut self.names).into_iter().collect();
        if let (false, Some(call)) = (names.is_empty(), self.logs.names_call.get()) {
            call(&names);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use decode::Address;
    use tables::question::Source;

    use super::*;

    fn outbox(events: std::ops::Range<usize>) -> Outbox {
        let event = |n| ThresholdEvent {
            threshold: if n % 2 == 0 { "even".into() } else { "odd".into() },
            owner: Owner { agent: Address::Unknown, source: Source::Agent },
            metric: "m".to_owned(),
            limit: 1.0,
            value: n as f64,
            flow_key: None,
            values: Vec::new(),
            at_us: 5_000_000,
        };
        Outbox { events: events.map(event).collect(), ..Outbox::default() }
    }

    #[test]
    fn events_are_numbered_and_the_newest_kept() {
        let logs = Arc::new(Logs::new(10, 10));
        let began = Instant::now();
        let (thread, mut tellers) = EventsThread::new(1, Arc::clone(&logs), began);
        let given = Arc::<Mutex<Vec<Vec<u64>>>>::default();
        for _ in 0..2 {
            let given = Arc::clone(&given);
            logs.on_news(Box::new(move |news| {
                assert!(news.records.is_empty());
                lock(&given).push(news.events.iter().map(|event| event.id).collect());
            }));
        }
        let mut box_of_25 = outbox(0..25);
        tellers[0].tell(&mut box_of_25);
        assert!(box_of_25.is_empty());
        drop(tellers);
        thread.run();
        let all: Vec<u64> = (0..25).collect();
        assert_eq!(*lock(&given), [all.clone(), all], "each is given all that came, once: more than is kept");
        let ids = |after, most, names: &[String]| -> Vec<u64> {
            let found = logs.events(after, most, names);
            assert!(found.iter().all(|event| event.event.value == event.id as f64));
            found.iter().map(|event| event.id).collect()
        };
        assert_eq!(ids(None, 1000, &[]), (15..25).rev().collect::<Vec<_>>());
        assert_eq!(ids(Some(20), 1000, &[]), [24, 23, 22, 21]);
        assert_eq!(ids(Some(20), 2, &[]), [24, 23]);
        assert_eq!(ids(Some(20), 1000, &["even".to_owned()]), [24, 22]);
        assert!(ids(Some(24), 1000, &[]).is_empty());
        // The clock of the wall, five seconds after the start.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().saturating_sub(began.elapsed());
        let at = logs.events(None, 1, &[])[0].at_ms;
        assert!(at.abs_diff(now.as_millis() as u64 + 5000) < 1000, "{at}");
    }

    #[test]
    fn what_finds_no_place_is_lost_and_counted() {
        let logs = Arc::new(Logs::new(10, 10_000));
        let (thread, mut tellers) = EventsThread::new(2, Arc::clone(&logs), Instant::now());
        let mut too_many = outbox(0..EVENTS + 7);
        too_many.names_wanted = (0..NAMES + 3).map(|n| IpAddr::from((n as u32).to_be_bytes())).collect();
        tellers[0].tell(&mut too_many);
        tellers[1].tell(&mut outbox(0..1));
        let told = tellers[0].told();
        assert_eq!((told.events_generated, told.events_lost), (EVENTS as u64 + 7, 7));
        assert_eq!((told.names_lost, told.records_generated, told.records_lost), (3, 0, 0));
        let names = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&names);
        logs.on_names_wanted(Box::new(move |wanted| {
            seen.fetch_add(wanted.len() as u64, Ordering::SeqCst);
        }));
        drop(tellers);
        thread.run();
        assert_eq!(logs.events(None, 10_000, &[]).len(), EVENTS + 1, "a full ring is not another one's");
        assert_eq!(names.load(Ordering::SeqCst), NAMES as u64);
    }
}
