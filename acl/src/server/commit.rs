//! The one task that has the switch take the rules over: one command at a time, for all that has changed meanwhile.
//!
//! A commit that failed is tried again, later and later, or as soon as a file changes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::counters::Counters;
use super::log;
use super::store::Store;

/// Most bytes of what a command says that are kept, its last ones.
const OUTPUT_BYTES: usize = 32 << 10;

/// How long a command's output is waited for when it has ended, should something that it has started still hold it.
const AFTER_THE_END: Duration = Duration::from_millis(500);

/// How long after a failure the first repetition waits, which is doubled with each up to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What a commit that failed said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its last lines.
    pub(crate) lines: Vec<String>,
    /// The status that it ended with, or the signal as a negative number; 124 when it ran too long, 127 when it could not
    /// be started.
    pub(crate) code: i32,
}

/// What the task and those who answer requests share.
pub(crate) struct Shared {
    /// How often files have changed.
    changes: watch::Sender<u64>,
    failing: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Shared {
    /// Has what the folder holds taken over.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Whether the last commit failed.
    pub(crate) fn failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    /// What it said.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failure: Option<Failure>) {
        self.failing.store(failure.is_some(), Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// The task.
pub(crate) struct Commits {
    store: Arc<Store>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    program: String,
    arguments: Vec<String>,
    limit: Duration,
}

impl Commits {
    /// The task that runs this command, for at most `limit`.
    ///
    /// # Errors
    /// The command is empty, or the folder cannot be read.
    pub(crate) fn new(
        store: Arc<Store>,
        counters: Arc<Counters>,
        command: &str,
        limit: Duration,
    ) -> Result<Self, String> {
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or("--commit-command names no program")?;
        let contents = store.contents().map_err(|error| format!("the rules cannot be read: {error}"))?;
        // A folder without rules that was never committed needs no commit.
        let due = store.installed().unwrap_or_default() != contents;
        if due {
            log::info("the rules have changed since the last commit that is known to have worked");
        }
        let shared = Shared {
            changes: watch::Sender::new(u64::from(due)),
            failing: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        Ok(Self { store, shared: Arc::new(shared), counters, program, arguments: words.collect(), limit })
    }

    /// What those who answer requests need of it.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Commits whenever something has changed. A commit that runs at the end is waited for, and nothing else is begun.
    pub(crate) async fn run(self, mut ended: watch::Receiver<bool>) {
        let mut changes = self.shared.changes.subscribe();
        let (mut done, mut wait) = (0, RETRY.0);
        let mut again: Option<Instant> = None;
        loop {
            if *ended.borrow() {
                return;
            }
            let seen = *changes.borrow_and_update();
            if seen == done && again.is_none_or(|at| Instant::now() < at) {
                let retry = async {
                    match again {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = ended.changed() => return,
                    _ = changes.changed() => {}
                    () = retry => {}
                }
                continue;
            }
            done = seen;
            let failure = self.commit().await;
            again = failure.is_some().then(|| Instant::now() + wait);
            wait = if failure.is_some() { (wait * 2).min(RETRY.1) } else { RETRY.0 };
            self.shared.set(failure);
        }
    }

    /// Runs the command once.
    async fn commit(&self) -> Option<Failure> {
        let began = Instant::now();
        // What the folder holds now is what this command takes over for certain. Until it is known to have done so, a
        // process that starts after us must not believe what was noted before.
        let before = self.with_store(|store| store.note(None).and_then(|()| store.contents())).await;
        let failure = self.execute().await.err();
        let took = began.elapsed().as_secs_f64();
        match &failure {
            None => {
                self.counters.commits_done.fetch_add(1, Relaxed);
                log::info(&format!("the switch has taken the rules over in {took:.1} s"));
                let noted = match before {
                    Ok(before) => self.with_store(move |store| store.note(Some(&before))).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = noted {
                    log::warning(&format!(
                        "what is installed cannot be noted ({error}): the next start commits again"
                    ));
                }
            }
            Some(failure) => {
                self.counters.commits_failed.fetch_add(1, Relaxed);
                let last = failure.lines.last().map_or("it said nothing", String::as_str);
                let text = format!("the switch has not taken the rules over (code {}): {last}", failure.code);
                log::client("commit", &text);
            }
        }
        failure
    }

    async fn with_store<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || what(&store)).await {
            Ok(done) => done,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn execute(&self) -> Result<(), Failure> {
        let unstarted = |error: io::Error| {
            let line = format!("{} cannot be started: {error}", self.program);
            Failure { lines: vec![line], code: 127 }
        };
        let (mut child, mut output) = self.start().map_err(unstarted)?;
        let mut tail = Tail::default();
        let (ended, late) = match timeout(self.limit, reading(&mut output, &mut tail, child.wait())).await {
            Ok(ended) => (ended, false),
            Err(_) => {
                // With all that it has started: it leads a group of its own.
                let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
                let killed = group.map(|group| kill_process_group(group, Signal::KILL));
                if killed.is_none_or(|killed| killed.is_err()) {
                    // It may have ended by itself in this moment.
                    let _ = child.start_kill();
                }
                (child.wait().await, true)
            }
        };
        // What it has said last; none of that is worth more time.
        let _ = timeout(AFTER_THE_END, rest(&mut output, &mut tail)).await;
        self.counters.output_lost.fetch_add(tail.lost, Relaxed);
        match ended {
            Ok(status) if status.success() && !late => Ok(()),
            Ok(status) => Err(tail.failure(&self.program, status, late.then_some(self.limit))),
            Err(error) => Err(unstarted(error)),
        }
    }

    /// The command, and one pipe for all that it says.
    fn start(&self) -> io::Result<(tokio::process::Child, pipe::Receiver)> {
        let (output, input) = io::pipe()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let child = command.process_group(0).spawn()?;
        Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
    }
}

/// Reads until `end`; what `end` gave.
async fn reading<T>(output: &mut pipe::Receiver, tail: &mut Tail, end: impl Future<Output = T>) -> T {
    let mut end = std::pin::pin!(end);
    tokio::select! {
        ended = &mut end => ended,
        () = rest(output, tail) => end.await,
    }
}

/// Reads until there is nothing more.
async fn rest(output: &mut pipe::Receiver, tail: &mut Tail) {
    let mut buffer = vec![0; 4096];
    while let Ok(bytes @ 1..) = output.read(&mut buffer).await {
        tail.take(buffer.get(..bytes).unwrap_or_default());
    }
}

/// The last of what a command says.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    lost: u64,
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(OUTPUT_BYTES);
        self.bytes.drain(..over);
        self.lost += over as u64;
    }

    fn failure(self, program: &str, status: ExitStatus, limit: Option<Duration>) -> Failure {
        let bytes = Vec::from(self.bytes);
        let mut lines: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        if self.lost > 0 {
            lines.insert(0, format!("({} bytes before this are left out)", self.lost));
        }
        let code = match limit {
            Some(limit) => {
                lines.push(format!("{program} ran longer than {} s and was ended", limit.as_secs()));
                124
            }
            None => status.code().unwrap_or_else(|| -status.signal().unwrap_or(1)),
        };
        Failure { lines, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_said_the_last_is_kept() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.take(&[b'x'; 1000]);
        }
        tail.take(b"\nlast\xff\n");
        let failure = tail.failure("p", ExitStatus::from_raw(9), None);
        assert_eq!(failure.code, -9);
        assert_eq!(failure.lines.last().map(String::as_str), Some("last\u{fffd}"));
        assert_eq!(
            failure.lines.first().map(String::as_str),
            Some("(967239 bytes before this are left out)")
        );
        let late = Tail::default().failure("p", ExitStatus::from_raw(9), Some(Duration::from_secs(60)));
        assert_eq!((late.code, late.lines), (124, vec!["p ran longer than 60 s and was ended".to_owned()]));
    }
}
