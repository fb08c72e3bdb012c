//! The audit log: what is meant to be done, written before it is asked for, and what came of it.
//!
//! `audit.jsonl` in the state directory has one JSON object a line: an `intent`, and a `result` with the same `id`. The
//! intent is written before the request leaves and brought to the disk beside it, by a thread that does nothing else:
//! an action never waits for a disk. What cannot be written is not done. The newest entries are kept in memory for
//! REST. Whoever makes an entry keeps secrets out of it; addresses of endpoints are shown without credentials.

mod file;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::clock::{now_ms, stamp};
use file::{File, Rotated};

/// Its name in the state directory.
pub const FILE: &str = "audit.jsonl";
/// The name of the one before it.
pub const OLD_FILE: &str = "audit.1.jsonl";

/// Limits of the log.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file that has grown to this size becomes the old one.
    pub file_bytes: u64,
    /// Entries that are kept in memory.
    pub newest: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, newest: 1000 }
    }
}

/// Most bytes of the evidence in a line; more is left out, with its size in its place.
const EVIDENCE_BYTES: usize = 16 << 10;
/// Most characters of any other text in a line.
const TEXT_CHARACTERS: usize = 1000;

/// What is meant to be done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// What kind of action it is: `scale`, `capture.install`.
    pub kind: &'static str,
    /// The policy or the person that wants it.
    pub owner: String,
    /// What it is done to: a service, a session.
    pub name: String,
    /// Who is asked, without credentials.
    pub target: String,
    /// What is done, in words.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What was seen that led to it.
    #[serde(skip_serializing_if = "Json::is_null")]
    pub evidence: Json,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "lowercase")]
pub enum Outcome {
    /// It was done and read back; how it was seen.
    Done(String),
    /// It was not done; why.
    Failed(String),
    /// Nobody knows: there was no answer, or whoever asked was stopped.
    Unknown(String),
    /// It was decided, and not done because finderscope observes.
    Observed,
}

impl Outcome {
    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
            Self::Observed => "observed",
        }
    }
}

/// Why an intent could not be written. The action must not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no state directory to write to.
    #[error("no action is done, because there is no audit log: give the collector a state directory")]
    Absent,
    /// The file cannot be written or synced.
    #[error("no action is done, because {path} cannot be written: {why}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

/// An entry as it is kept in memory.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its number; it is that of its lines.
    pub id: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub entry: Arc<Entry>,
    /// What came of it and when; `None` while that is open.
    pub ended: Option<(u64, Outcome)>,
}

impl Kept {
    /// As REST shows it.
    pub fn json(&self) -> Json {
        let mut json = json!({ "id": self.id, "at_ms": self.at_ms });
        merge(&mut json, &*self.entry);
        match &self.ended {
            Some((at_ms, outcome)) => {
                json["ended_ms"] = (*at_ms).into();
                merge(&mut json, outcome);
            }
            None => json["outcome"] = "open".into(),
        }
        json
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Intents that were written.
    pub intents: u64,
    /// Intents that were refused because they could not be written.
    pub refused: u64,
    /// Results that were read back.
    pub done: u64,
    /// Results that are failures.
    pub failed: u64,
    /// Results that nobody knows.
    pub unknown: u64,
    /// Decisions that were only observed.
    pub observed: u64,
    /// Lines that could not be written, of results and of what was observed.
    pub lines_lost: u64,
}

/// The log; a clone is the same one. The last one to go brings what is written to the disk.
#[derive(Clone, Debug)]
pub struct Audit {
    log: Arc<Log>,
}

#[derive(Debug)]
struct Log {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.bell.notify_one();
        if let Some(syncer) = self.syncer.take() {
            let _ = syncer.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to sync.
    bell: Condvar,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    file: Option<File>,
    /// Files that have lines that may not be on the disk.
    unsynced: Vec<Arc<std::fs::File>>,
    /// Why the disk did not take what was written; the next intent must be synced before its action.
    broken: Option<String>,
    newest: VecDeque<Kept>,
    next: u64,
    counts: Counts,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// Opens the log in a state directory, where it is made if it is missing.
    ///
    /// # Errors
    /// It cannot be opened, or the system has no thread left.
    pub fn open(directory: &Path, limits: Limits) -> io::Result<Self> {
        let (file, last) = File::open(directory)?;
        let mut log = Self::with(Some(file), last.map_or(0, |last| last + 1), limits);
        let shared = Arc::clone(&log.shared);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        log.syncer = Some(thread.spawn(move || keep_synced(&shared))?);
        Ok(Self { log: Arc::new(log) })
    }

    /// A log for a collector without a state directory: every intent is refused, and what is observed is kept in
    /// memory only.
    pub fn absent() -> Self {
        Self { log: Arc::new(Self::with(None, 0, Limits::default())) }
    }

    fn with(file: Option<File>, next: u64, limits: Limits) -> Log {
        let state = State {
            file,
            unsynced: Vec::new(),
            broken: None,
            newest: VecDeque::new(),
            next,
            counts: Counts::default(),
            closed: false,
        };
        let shared = Shared { state: Mutex::new(state), bell: Condvar::new(), limits };
        Log { shared: Arc::new(shared), syncer: None }
    }

    /// Writes what is about to be done. The request may leave when this returns; the disk takes the line beside it.
    ///
    /// # Errors
    /// It cannot be written, or an earlier line did not reach the disk and this one does not either: the action must
    /// not be done.
    pub fn intent(&self, entry: Entry) -> Result<Ticket, Error> {
        let shared = &self.log.shared;
        let entry = Arc::new(cut(entry));
        let mut state = shared.lock();
        let (id, at_ms) = (state.next, now_ms());
        let written = state.write(shared, &line(id, at_ms, "intent", &*entry), true);
        if let Err(error) = written {
            state.counts.refused += 1;
            return Err(error);
        }
        state.next += 1;
        state.counts.intents += 1;
        state.keep(shared, Kept { id, at_ms, entry, ended: None });
        drop(state);
        shared.bell.notify_one();
        Ok(Ticket { audit: self.clone(), id, open: true })
    }

    /// Writes what was decided and is not done, because finderscope observes.
    pub fn observed(&self, entry: Entry) {
        let shared = &self.log.shared;
        let entry = Arc::new(cut(entry));
        let mut state = shared.lock();
        let (id, at_ms) = (state.next, now_ms());
        state.next += 1;
        state.counts.observed += 1;
        let lost = state.write(shared, &line(id, at_ms, "observed", &*entry), false).is_err();
        state.counts.lines_lost += u64::from(lost && state.file.is_some());
        state.keep(shared, Kept { id, at_ms, entry, ended: Some((at_ms, Outcome::Observed)) });
        drop(state);
        shared.bell.notify_one();
    }

    /// The newest entries, newest first, at most `most`; only those newer than `after`.
    pub fn newest(&self, after: Option<u64>, most: usize) -> Vec<Kept> {
        let state = self.log.shared.lock();
        let newer = |kept: &&Kept| after.is_none_or(|after| kept.id > after);
        state.newest.iter().rev().take_while(newer).take(most).cloned().collect()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.log.shared.lock().counts
    }

    /// Why the last intent could not be written; `None` where actions are possible.
    pub fn trouble(&self) -> Option<String> {
        let state = self.log.shared.lock();
        match &state.file {
            None => Some(Error::Absent.to_string()),
            Some(_) => state.broken.clone(),
        }
    }

    fn ended(&self, id: u64, outcome: Outcome) {
        let shared = &self.log.shared;
        let mut state = shared.lock();
        let at_ms = now_ms();
        let lost = state.write(shared, &line(id, at_ms, "result", &outcome), false).is_err();
        state.counts.lines_lost += u64::from(lost);
        match outcome {
            Outcome::Done(_) => state.counts.done += 1,
            Outcome::Failed(_) => state.counts.failed += 1,
            Outcome::Unknown(_) | Outcome::Observed => state.counts.unknown += 1,
        }
        if let Some(kept) = state.newest.iter_mut().rev().find(|kept| kept.id == id) {
            kept.ended = Some((at_ms, outcome));
        }
        drop(state);
        shared.bell.notify_one();
    }
}

/// An action that was written and whose end is open. One that is dropped ends as unknown.
#[derive(Debug)]
#[must_use = "what came of an action is written with `done`"]
pub struct Ticket {
    audit: Audit,
    id: u64,
    open: bool,
}

impl Ticket {
    /// Writes what came of it.
    pub fn done(mut self, outcome: Outcome) {
        self.open = false;
        self.audit.ended(self.id, cut_outcome(outcome));
    }

    /// Its number in the log.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.audit.ended(self.id, Outcome::Unknown("whoever asked was stopped".to_owned()));
        }
    }
}

impl State {
    /// Appends a line. `must` is whether an action waits for it: then earlier trouble has to be over.
    fn write(&mut self, shared: &Shared, line: &str, must: bool) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Err(Error::Absent) };
        let written = file.append(line, shared.limits.file_bytes).and_then(|rotated| {
            if must && self.broken.is_some() {
                file.handle().sync_data()?;
            }
            Ok(rotated)
        });
        let (path, handle) = (file.path().to_owned(), file.handle());
        match written {
            Ok(rotated) => {
                if must {
                    self.broken = None;
                }
                if let Rotated::Away(old) = rotated {
                    self.sync_later(old);
                }
                self.sync_later(handle);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                if self.broken.is_none() {
                    tracing::error!("{}: cannot be written: {why}: no action is done", path.display());
                }
                self.broken = Some(why.clone());
                Err(Error::Unwritable { path, why })
            }
        }
    }

    fn sync_later(&mut self, file: Arc<std::fs::File>) {
        if !self.unsynced.iter().any(|known| Arc::ptr_eq(known, &file)) {
            self.unsynced.push(file);
        }
    }

    fn keep(&mut self, shared: &Shared, kept: Kept) {
        while self.newest.len() >= shared.limits.newest.max(1) {
            self.newest.pop_front();
        }
        self.newest.push_back(kept);
    }
}

/// Brings to the disk what is written, until the log is closed.
fn keep_synced(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let files = std::mem::take(&mut state.unsynced);
        if files.is_empty() {
            if state.closed {
                return;
            }
            state = shared.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(state);
        let failed = files.iter().find_map(|file| file.sync_data().err());
        state = shared.lock();
        if let Some(error) = failed {
            tracing::error!("the audit log did not reach the disk: {error}: no action is done until it does");
            state.broken = Some(error.to_string());
        }
    }
}

/// A line of the log.
fn line(id: u64, at_ms: u64, event: &str, more: &impl Serialize) -> String {
    let mut json = json!({ "id": id, "at": stamp(at_ms), "event": event });
    merge(&mut json, more);
    crate::text::ascii_json(&json) + "\n"
}

fn merge(json: &mut Json, more: &impl Serialize) {
    let Ok(more) = serde_json::to_value(more) else { return };
    match (json.as_object_mut(), more) {
        (Some(object), Json::Object(more)) => object.extend(more),
        // The outcome without a detail.
        (Some(object), Json::String(name)) => {
            object.insert("outcome".to_owned(), name.into());
        }
        _ => {}
    }
}

fn cut(mut entry: Entry) -> Entry {
    for text in [&mut entry.owner, &mut entry.name, &mut entry.target, &mut entry.what, &mut entry.reason] {
        cut_text(text);
    }
    let bytes = entry.evidence.to_string().len();
    if bytes > EVIDENCE_BYTES {
        entry.evidence = json!({ "left_out_bytes": bytes });
    }
    entry
}

fn cut_outcome(outcome: Outcome) -> Outcome {
    let short = |mut text| {
        cut_text(&mut text);
        text
    };
    match outcome {
        Outcome::Done(text) => Outcome::Done(short(text)),
        Outcome::Failed(text) => Outcome::Failed(short(text)),
        Outcome::Unknown(text) => Outcome::Unknown(short(text)),
        Outcome::Observed => Outcome::Observed,
    }
}

fn cut_text(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS) {
        text.truncate(end);
        text.push_str("...");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(name: &str) -> Entry {
        Entry { kind: "scale", name: name.to_owned(), evidence: json!({ "replicas": 2 }), ..Entry::default() }
    }

    fn lines(path: &Path) -> Vec<Json> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_intent_is_in_the_file_before_the_action_and_the_result_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let audit = Audit::open(folder.path(), Limits::default()).unwrap();
        let ticket = audit.intent(entry("apache")).unwrap();
        let before = lines(&path);
        assert_eq!(
            (before.len(), &before[0]["event"], &before[0]["name"]),
            (1, &"intent".into(), &"apache".into())
        );
        assert_eq!(audit.newest(None, 10)[0].json()["outcome"], "open");
        ticket.done(Outcome::Done("3 of 3 run".into()));
        drop(audit.intent(entry("nginx")).unwrap());
        audit.observed(entry("mysql"));
        let after = lines(&path);
        assert_eq!((&after[1]["event"], &after[1]["id"]), (&"result".into(), &before[0]["id"]));
        assert_eq!((&after[1]["outcome"], &after[1]["detail"]), (&"done".into(), &"3 of 3 run".into()));
        assert_eq!(after[3]["outcome"], "unknown", "one that was stopped is not a success");
        assert_eq!((&after[4]["event"], after.len()), (&"observed".into(), 5));
        let shown = audit.newest(Some(0), 10);
        assert_eq!(shown.iter().map(|kept| kept.id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(shown[0].json()["outcome"], "observed");
        let counts = Counts { intents: 2, done: 1, unknown: 1, observed: 1, ..Counts::default() };
        assert_eq!((audit.counts(), audit.trouble()), (counts, None));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_is_one_line_of_ascii_whatever_the_names_are() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path(), Limits::default()).unwrap();
        let name = "a\r\nb\u{1b}[31m\u{202e}\u{2028}\u{7f}\u{85}ü😀\"";
        let ticket = audit.intent(entry(name)).unwrap();
        ticket.done(Outcome::Failed("x".repeat(1 << 20)));
        let huge = Entry { evidence: "y".repeat(1 << 20).into(), ..entry("huge") };
        drop(audit.intent(huge).unwrap());
        let path = folder.path().join(FILE);
        let text = fs::read(&path).unwrap();
        assert!(text.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\n'));
        assert!(text.len() < 10_000);
        let lines = lines(&path);
        assert_eq!(lines[0]["name"], name);
        assert_eq!(lines[2]["evidence"], json!({ "left_out_bytes": (1 << 20) + 2 }));
    }

    #[test]
    fn what_cannot_be_written_is_not_done_and_can_be_again() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { file_bytes: 1, ..Limits::default() };
        let audit = Audit::open(folder.path(), limits).unwrap();
        drop(audit.intent(entry("first")).unwrap());
        // The next line begins a new file; a folder with something in it in the place of the old one forbids that, to root too.
        let old = folder.path().join(OLD_FILE);
        let _ = fs::remove_file(&old);
        fs::create_dir(&old).unwrap();
        fs::write(old.join("x"), "").unwrap();
        let refused = audit.intent(entry("second")).unwrap_err();
        assert!(refused.to_string().starts_with("no action is done, because "), "{refused}");
        assert!(audit.trouble().is_some());
        assert_eq!(audit.counts().refused, 1);
        fs::remove_dir_all(&old).unwrap();
        audit.intent(entry("third")).unwrap().done(Outcome::Done(String::new()));
        assert_eq!(audit.trouble(), None);
        assert!(Audit::absent().intent(entry("x")).is_err());
    }

    #[test]
    fn a_restart_goes_on_after_a_torn_line_and_one_old_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let audit = Audit::open(folder.path(), Limits::default()).unwrap();
        audit.intent(entry("a")).unwrap().done(Outcome::Done(String::new()));
        drop(audit);
        let mut torn = fs::read_to_string(&path).unwrap();
        torn.push_str("{\"id\":1,\"at\":");
        fs::write(&path, torn).unwrap();
        let audit = Audit::open(folder.path(), Limits { file_bytes: 2000, newest: 3 }).unwrap();
        for n in 0..100 {
            let ticket = audit.intent(entry(&format!("b{n}"))).unwrap();
            assert_eq!(ticket.id(), n + 1);
            ticket.done(Outcome::Done(String::new()));
        }
        assert_eq!(audit.newest(None, 10).len(), 3);
        drop(audit);
        let (old, new) = (lines(&folder.path().join(OLD_FILE)), lines(&path));
        assert_eq!(new.last().unwrap()["id"], 100);
        let ids: Vec<u64> = old.iter().chain(&new).map(|line| line["id"].as_u64().unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1), "{ids:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(fs::metadata(&path).unwrap().len() <= 2300);
    }
}
