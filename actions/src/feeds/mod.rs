//! Feeds of blacklists: read on a schedule, checked, and swapped into group sets whole (SPECIFICATION, A11 and A12).
//!
//! Each feed has a task of its own, so that one that drips delays no other. What it gives is parsed and checked on a thread
//! that may take its time, written to the disk, and built into a set aside; the engine takes the whole set between two
//! batches. Whatever goes wrong, the last good list stays. Feeds are read in every mode: they change what is seen, and what
//! is done about it is for others to decide.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what feeds there are |
//! | `source` | bytes, from a server or a file |
//! | [`parse`] | bytes to prefixes |
//! | [`accept`] | which prefixes are taken, and whether the list is |
//! | `disk` | the last good list on disk |
//! | `standing` | how a feed stands |
//! | `control` | asking and ordering from other threads |

pub mod accept;
pub mod config;
mod control;
mod disk;
pub mod parse;
mod source;
mod standing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{AskError, DefineError, Handle};
use ip_network::IpNetwork;
use tables::Change;
use tables::flow::group::GroupSet;
use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

use crate::clock::now_ms;
use crate::notify::{Notice, Severity};
use crate::retry::Backoff;
use crate::thread::Context;
use accept::{Accepted, Rules};
use config::Config;
pub use control::{Control, Metrics, RefreshError};
use control::{Order, Shared};
use disk::Kept;
use source::{Failure, Fetched, Marks};
use standing::{Age, Standing};

/// The kind of its notices.
const KIND: &str = "feed";

/// How much a period varies, so that not all collectors of the world ask at the full hour.
const JITTER: f64 = 0.1;
/// How long a list that was refused is left alone at most: the same one is asked for in full each time.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// How often lists are looked at whether they have become old.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Orders of one feed that may wait.
const ORDERS: usize = 4;
/// How long the engine is asked to take a set.
const PUBLISH_TRIES: usize = 30;

/// All feeds, before they run.
#[derive(Debug)]
pub struct Feeds {
    control: Control,
    orders: Vec<mpsc::Receiver<Order>>,
    rules: Arc<Rules>,
    state: Option<PathBuf>,
}

impl Feeds {
    /// Loads the last good lists of a checked configuration from the state directory; `never` is what is never captured,
    /// beside what the feeds' own section says. What cannot be loaded is left out, with a line in the log.
    pub fn new(config: &Config, never: &[IpNetwork], state: Option<&Path>) -> Self {
        let mut rules = config.rules();
        rules.never.extend_from_slice(never);
        let (mut feeds, mut orders) = (Vec::new(), Vec::new());
        for (name, feed) in &config.feed {
            // It was checked when the configuration was read.
            let Ok(source) = feed.source() else { continue };
            let (order, ordered) = mpsc::channel(ORDERS);
            let standing =
                state.map_or_else(Standing::default, |state| loaded(state, name, &source.named(), &rules));
            feeds.push(Arc::new(Shared {
                name: name.clone(),
                label: feed.label(name).into(),
                set: feed.set(name).to_owned(),
                feed: feed.clone(),
                source,
                standing: Mutex::new(standing),
                orders: order,
            }));
            orders.push(ordered);
        }
        let control = Control { feeds: feeds.into(), began: Instant::now() };
        Self { control, orders, rules: Arc::new(rules), state: state.map(Path::to_owned) }
    }

    /// The group sets of the lists that were loaded, empty where there was none: to be defined before the flows that look
    /// them up.
    pub fn initial(&self) -> Vec<Change> {
        let mut sets: Vec<&str> = self.control.feeds.iter().map(|shared| &*shared.set).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.into_iter()
            .map(|set| Change::List(set.to_owned(), Some(Arc::new(build(&self.control.feeds, set)))))
            .collect()
    }

    /// The same sets by name, empty, of a configuration: for whoever only checks what looks them up.
    pub fn empty_sets(config: &Config) -> BTreeMap<String, Arc<GroupSet>> {
        let empty = Arc::new(GroupSet::from_lists([]));
        config.sets().into_iter().map(|set| (set.to_owned(), Arc::clone(&empty))).collect()
    }

    /// For other threads.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Reads feeds until it is stopped.
    pub async fn run(self, context: Context) {
        // Sets are swapped one after the other, so that the last one is built of the newest lists.
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let tasks: Vec<_> = self
            .control
            .feeds
            .iter()
            .zip(self.orders)
            .map(|(shared, orders)| {
                let task = Task {
                    shared: Arc::clone(shared),
                    all: Arc::clone(&self.control.feeds),
                    began: self.control.began,
                    rules: Arc::clone(&self.rules),
                    state: self.state.clone(),
                    turn: Arc::clone(&turn),
                    context: context.clone(),
                    marks: Marks::default(),
                    backoff: Backoff::default(),
                };
                spawn_local(task.run(orders))
            })
            .chain([spawn_local(watch_ages(
                Arc::clone(&self.control.feeds),
                self.control.began,
                context.clone(),
            ))])
            .collect();
        for task in tasks {
            // One that panics must not end quietly: whoever watches the component says so.
            if let Err(error) = task.await
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// How a feed stands whose list was kept.
fn loaded(state: &Path, name: &str, source: &str, rules: &Rules) -> Standing {
    let kept = disk::load(state, name, source).unwrap_or_else(|why| {
        tracing::warn!("{why}");
        None
    });
    let Some(Kept { networks, fetched_ms }) = kept else { return Standing::default() };
    // The operator's networks may be others than when it came.
    let Accepted { networks, rejected, .. } = accept::select(networks, rules);
    let age = Duration::from_millis(now_ms().saturating_sub(fetched_ms));
    Standing {
        covered: accept::covered(&networks),
        networks: Arc::new(networks),
        rejected,
        confirmed: Some((Duration::ZERO, age)),
        confirmed_ms: Some(fetched_ms),
        ..Standing::default()
    }
}

/// The set of this name as the lists in use make it.
fn build(feeds: &[Arc<Shared>], set: &str) -> GroupSet {
    let lists = feeds.iter().filter(|shared| shared.set == set);
    let lists: Vec<_> =
        lists.map(|shared| (Arc::clone(&shared.standing().networks), Arc::clone(&shared.label))).collect();
    let all = lists
        .iter()
        .flat_map(|(networks, label)| networks.iter().map(move |network| (*network, Arc::clone(label))));
    GroupSet::from_lists(all)
}

/// Reads one feed.
struct Task {
    shared: Arc<Shared>,
    all: Arc<[Arc<Shared>]>,
    began: Instant,
    rules: Arc<Rules>,
    state: Option<PathBuf>,
    turn: Arc<tokio::sync::Mutex<()>>,
    context: Context,
    /// How to ask whether the feed has changed since the list in use.
    marks: Marks,
    backoff: Backoff,
}

/// What became of a reading.
enum Read {
    Unchanged,
    Taken(Accepted),
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut stop = self.context.stop.clone();
        let mut order = None;
        while !stop.is_asked() {
            let accept_change = order.as_ref().is_some_and(|order: &Order| order.accept_change);
            let (wait, told) = tokio::select! {
                done = self.read(accept_change) => done,
                () = stop.asked() => return,
            };
            if let Some(Order { answer, .. }) = order.take() {
                // Whoever asked may have gone.
                let _ = answer.send(told);
            }
            let due = self.began.elapsed() + wait;
            self.shared.standing().next = due;
            order = tokio::select! {
                () = sleep(wait) => None,
                order = orders.recv() => order,
                () = stop.asked() => return,
            };
        }
    }

    /// Reads once; how long to wait, and what became of it in words.
    async fn read(&mut self, accept_change: bool) -> (Duration, Result<String, String>) {
        let period = self.shared.period();
        let read = self.once(accept_change).await;
        let (now, now_ms) = (self.began.elapsed(), now_ms());
        match read {
            Ok(read) => {
                self.backoff.worked();
                let was_failing = self.shared.standing().failing();
                let words = match read {
                    Read::Unchanged => self.confirmed("unchanged", now, now_ms),
                    Read::Taken(accepted) => self.swap(accepted, now, now_ms).await,
                };
                if was_failing {
                    self.tell(
                        "well",
                        format!("feed {}: it can be read again", self.shared.name),
                        Severity::Info,
                    );
                }
                (self.backoff.spread(period, JITTER), Ok(words))
            }
            Err(failure) => {
                let wait = if failure.soon { self.backoff.failed() } else { REFUSED_FOR };
                let before = {
                    let mut standing = self.shared.standing();
                    let before = standing.last.as_ref().map(|(label, ..)| *label);
                    standing.read(failure.label, failure.why.clone(), now_ms);
                    before
                };
                if before != Some(failure.label) {
                    let text =
                        format!("feed {}: {}; the last good list stays", self.shared.name, failure.why);
                    self.tell("failed", text, Severity::Warning);
                }
                (wait.min(period), Err(failure.why))
            }
        }
    }

    async fn once(&mut self, accept_change: bool) -> Result<Read, Failure> {
        let feed = &self.shared.feed;
        let (bytes, marks) = match source::fetch(&self.shared.source, feed.size_bytes, &self.marks).await? {
            Fetched::NotModified => return Ok(Read::Unchanged),
            Fetched::Body(bytes, marks) => (bytes, marks),
        };
        let mut limits = feed.limits();
        if accept_change {
            limits.change_most = 1.0;
        }
        let before = {
            let standing = self.shared.standing();
            standing.confirmed.map(|_| Arc::clone(&standing.networks))
        };
        let (rules, most) = (Arc::clone(&self.rules), feed.entries_most);
        let checked = spawn_blocking(move || {
            let parsed = parse::parse(&bytes, most).map_err(|no_list| {
                let label = match no_list {
                    parse::NoList::Page => "page",
                    parse::NoList::NoText => "no_text",
                    parse::NoList::TooMany(_) => "too_many",
                };
                Failure { label, why: no_list.to_string(), soon: false }
            })?;
            let (host_bits, unparsed) = (parsed.host_bits, parsed.unparsed);
            // A list of which nothing was left by the operator's own networks is no measure of change.
            let before = before.as_deref().map(Vec::as_slice).filter(|before| !before.is_empty());
            let accepted = accept::accept(parsed, &rules, &limits, before);
            let accepted = accepted.map_err(|refusal| Failure {
                label: refusal.label(),
                why: refusal.to_string(),
                soon: false,
            })?;
            Ok((accepted, host_bits, unparsed))
        });
        let (accepted, host_bits, unparsed) = checked.await.map_err(|error| Failure {
            label: "broken",
            why: error.to_string(),
            soon: false,
        })??;
        self.marks = marks;
        let mut standing = self.shared.standing();
        (standing.host_bits, standing.unparsed) = (host_bits, unparsed);
        standing.rejected.clone_from(&accepted.rejected);
        standing.duplicates = accepted.duplicates;
        Ok(Read::Taken(accepted))
    }

    fn confirmed(&self, label: &'static str, now: Duration, now_ms: u64) -> String {
        let mut standing = self.shared.standing();
        standing.confirm(now, now_ms);
        let words = format!("{label}, {} prefixes", standing.networks.len());
        standing.read(label, words.clone(), now_ms);
        words
    }

    /// Keeps a list and puts it in use.
    async fn swap(&self, accepted: Accepted, now: Duration, now_ms: u64) -> String {
        let rejected: usize = accepted.rejected.values().sum();
        let (change, networks) = (accepted.change, accepted.networks);
        let same = *self.shared.standing().networks == networks;
        let first = self.shared.standing().confirmed.is_none();
        self.keep(networks.clone(), now_ms).await;
        {
            let mut standing = self.shared.standing();
            standing.covered = accept::covered(&networks);
            standing.networks = Arc::new(networks);
            standing.change = change;
        }
        let words = self.confirmed(if same && !first { "unchanged" } else { "taken" }, now, now_ms);
        if !same || first {
            self.publish().await;
            let text = format!(
                "feed {}: {words} in {}, {} added, {} removed, {rejected} entries rejected",
                self.shared.name, self.shared.set, change.added, change.removed
            );
            self.tell("taken", text, Severity::Info);
        }
        words
    }

    /// Writes the list to the disk.
    async fn keep(&self, networks: Vec<IpNetwork>, fetched_ms: u64) {
        let Some(state) = self.state.clone() else { return };
        let (name, source) = (self.shared.name.clone(), self.shared.source.named());
        let kept = Kept { networks, fetched_ms };
        let stored = spawn_blocking(move || disk::store(&state, &name, &source, &kept)).await;
        if let Ok(Err(error)) = stored {
            self.shared.standing().unsaved += 1;
            tracing::error!(
                "feed {}: its list cannot be kept in the state directory: {error}: after a restart it is the one before",
                self.shared.name
            );
        }
    }

    /// Builds the set aside and has the engine take it.
    async fn publish(&self) {
        let _turn = self.turn.lock().await;
        let (all, set) = (Arc::clone(&self.all), self.shared.set.clone());
        let built = spawn_blocking(move || {
            let began = Instant::now();
            let built = Arc::new(build(&all, &set));
            (built, began.elapsed())
        });
        let Ok((built, took)) = built.await else { return };
        self.shared.standing().built_in = took;
        let mut backoff = Backoff::default();
        for _ in 0..PUBLISH_TRIES {
            let (name, set) = (self.shared.set.clone(), Arc::clone(&built));
            let define = move |engine: &Handle| engine.define(Change::List(name, Some(set)));
            match self.context.ask(define).await {
                None | Some(Ok(()) | Err(DefineError::Unsaved)) => return,
                // Whether it was taken is not known; the same set may be given again.
                Some(Err(DefineError::Ask(AskError::Busy))) => {}
                Some(Err(DefineError::Ask(AskError::Ended))) => return,
                Some(Err(error)) => {
                    let text = format!("feed {}: its set cannot be used: {error}", self.shared.name);
                    return self.tell("unused", text, Severity::Error);
                }
            }
            if !self.context.sleep(backoff.failed()).await {
                return;
            }
        }
        let text = format!("feed {}: the engine is too busy to take its set", self.shared.name);
        self.tell("unused", text, Severity::Error);
    }

    fn tell(&self, what: &'static str, text: String, severity: Severity) {
        tell(&self.context, &self.shared, self.began.elapsed(), what, text, severity);
    }
}

/// Tells of lists that have become old, or are fresh again, also while they are being read.
async fn watch_ages(feeds: Arc<[Arc<Shared>]>, began: Instant, context: Context) {
    loop {
        for shared in &*feeds {
            let now = began.elapsed();
            let (age, seen) = {
                let mut standing = shared.standing();
                (standing.look(now, shared.period()), standing.age(now))
            };
            let name = &shared.name;
            let (what, text, severity) = match age {
                Age::AsBefore => continue,
                Age::FreshAgain => ("fresh", format!("feed {name}: its list is fresh again"), Severity::Info),
                Age::BecameLate => {
                    let seen = seen.as_secs();
                    let text = format!(
                        "feed {name}: its list was last confirmed {seen} s ago, three periods and more; it stays in use"
                    );
                    ("late", text, Severity::Warning)
                }
            };
            tell(&context, shared, now, what, text, severity);
        }
        if !context.sleep(LOOK_EVERY).await {
            return;
        }
    }
}

fn tell(
    context: &Context,
    shared: &Shared,
    now: Duration,
    what: &'static str,
    text: String,
    severity: Severity,
) {
    let detail = shared.standing().json(now);
    context.notices.tell(Notice { kind: KIND, name: shared.name.clone(), what, text, detail, severity });
}
