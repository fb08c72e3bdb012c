//! The switches: a task for each, which does one thing at a time, and what is known of each of them. One that does not
//! answer keeps nobody waiting but itself.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_local;

use super::config::{Config, Switch};
use super::drivers::{Done, Driver, Reading};
use super::policy::SwitchNews;
use super::reconcile::{plan, plan_lines};
use super::session::State;
use super::wanted::{Change, Desired, Found, Interest, Lines, Observed, Wanted};
use crate::audit::{Audit, Entry, Outcome, Ticket};
use crate::retry::Breaker;

/// Changes of a switch that go together at most.
const MOST_CHANGES: usize = 64;

/// The shortest time between two reads of a switch whose rules are waited for.
const SOONEST_MS: u64 = 20;

/// What a switch's task is to do.
#[derive(Debug)]
enum Job {
    Read(Interest),
    Apply(Vec<Change>),
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) switch: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Read(Interest, Result<Reading, String>),
    Applied(Vec<Change>, Done),
}

/// A change that was asked for and not read back yet.
#[derive(Debug)]
struct Open {
    change: Change,
    ticket: Ticket,
    /// When it was asked for.
    at_ms: u64,
}

/// What was counted of a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Times that it was read.
    pub reads: u64,
    /// Rules that were put, and taken away.
    pub puts: u64,
    /// Rules that were taken away.
    pub deletes: u64,
    /// Times that it did not answer.
    pub failures: u64,
    /// Changes that it refused.
    pub refusals: u64,
}

/// What is known of a switch.
#[derive(Debug)]
pub(super) struct Remote {
    switch: usize,
    /// How its address is shown.
    target: String,
    jobs: Sender<Job>,
    busy: bool,
    /// What it has, as far as is known; `None` when it has to be read first.
    observed: Option<Observed>,
    /// Whether scripts may have rules there that nobody knows of.
    implied: bool,
    /// Whether all its rules were looked at for those of scripts, and whether the last read told the names of all.
    scanned: bool,
    tells_names: bool,
    next_read_ms: u64,
    /// When its last job was done.
    last_ms: u64,
    breaker: Breaker,
    open: Vec<Open>,
    pub(super) counts: Counts,
}

/// All switches, and where more of them report to.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) remotes: Vec<Remote>,
    pub(super) came: Sender<Came>,
}

/// Starts a task for each switch; what comes of their jobs is received.
///
/// # Errors
/// The URL of a switch cannot be asked; the message names the key.
pub(super) fn start(config: &Config, instance: &str) -> Result<(Started, Receiver<Came>), String> {
    // Each has one job at a time, so that there is always room for what comes of it; those that come later may wait.
    let (came, receiver) = channel(config.switches.len().max(16));
    let mut remotes = Vec::new();
    for (at, switch) in config.switches.iter().enumerate() {
        let remote = Remote::start(at, switch, instance, &came);
        remotes.push(remote.map_err(|why| format!("switch[{at}].url: {why}"))?);
    }
    Ok((Started { remotes, came }, receiver))
}

/// Whether the URL of every switch can be asked.
///
/// # Errors
/// The message names the key of one that cannot.
pub(super) fn check(config: &Config) -> Result<(), String> {
    for (at, switch) in config.switches.iter().enumerate() {
        Driver::new(switch, "check").map_err(|why| format!("switch[{at}].url: {why}"))?;
    }
    Ok(())
}

/// The task of a switch. It ends when nobody is left who gives it jobs.
async fn serve(switch: usize, mut driver: Driver, mut jobs: Receiver<Job>, came: Sender<Came>) {
    while let Some(job) = jobs.recv().await {
        let what = match job {
            Job::Read(interest) => {
                let reading = driver.read(&interest).await;
                What::Read(interest, reading)
            }
            Job::Apply(changes) => {
                let done = driver.apply(&changes).await;
                What::Applied(changes, done)
            }
        };
        if came.send(Came { switch, what }).await.is_err() {
            return;
        }
    }
}

/// Who wants a change, and why, for the audit log.
pub(super) type Reason<'a> = &'a dyn Fn(&Change) -> (String, String);

/// What a switch is to have, and what may be done about it.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) desired: Desired,
    pub(super) may_put: bool,
    /// The same of scripts.
    pub(super) lines: Lines,
    pub(super) may_put_lines: bool,
    /// Rules of scripts that may be there.
    pub(super) names: BTreeSet<String>,
}

impl Remote {
    /// Starts the task of a switch.
    ///
    /// # Errors
    /// Its URL cannot be asked.
    pub(super) fn start(
        at: usize,
        switch: &Switch,
        instance: &str,
        came: &Sender<Came>,
    ) -> Result<Self, String> {
        let driver = Driver::new(switch, instance)?;
        let (jobs, next) = channel(1);
        spawn_local(serve(at, driver, next, came.clone()));
        Ok(Self {
            switch: at,
            target: switch.url.clone().unwrap_or_else(|| switch.driver.name().to_owned()),
            jobs,
            busy: false,
            observed: None,
            implied: switch.implied,
            scanned: false,
            tells_names: false,
            next_read_ms: 0,
            last_ms: 0,
            breaker: Breaker::default(),
            open: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Gives the task its next job, if it is idle and there is one: changes first. Returns what could not be asked for
    /// because it could not be written down.
    pub(super) fn drive(
        &mut self,
        now_ms: u64,
        wants: impl FnOnce() -> Wants,
        audit: &Audit,
        reason: Reason<'_>,
    ) -> Vec<SwitchNews> {
        let mut news = Vec::new();
        if self.busy {
            return news;
        }
        let Wants { desired, may_put, lines, may_put_lines, names } = wants();
        if let Some(observed) = &self.observed {
            let mut changes = plan(&desired, observed, may_put);
            if self.tells_names {
                changes.extend(plan_lines(&lines, observed, may_put_lines));
                // What goes is first, whoever wants it.
                changes.sort_by_key(|change| !matches!(change, Change::Delete(_)));
            }
            let unread = |name: &String| matches!(observed.get(name), Some(Found::Unread));
            if (!self.tells_names && !lines.wanted.is_empty()) || lines.wanted.keys().any(unread) {
                self.next_read_ms = self.next_read_ms.min(now_ms);
            }
            changes.truncate(MOST_CHANGES);
            let Self { open, target, switch, .. } = self;
            changes.retain(|change| match audit.intent(entry(target, change, reason(change))) {
                Ok(ticket) => {
                    // The same may be tried again before the first try was read back.
                    open.retain(|open| open.change.name() != change.name());
                    open.push(Open { change: change.clone(), ticket, at_ms: now_ms });
                    true
                }
                Err(error) => {
                    if !matches!(change, Change::Delete(_)) {
                        news.push(SwitchNews::Refused(*switch, change.name().to_owned(), error.to_string()));
                    }
                    false
                }
            });
            if !changes.is_empty() {
                self.give(Job::Apply(changes), now_ms);
                return news;
            }
        }
        if now_ms >= self.next_read_ms && self.breaker.ask(Duration::from_millis(now_ms)).is_ok() {
            let interest = self.interest(names);
            self.give(Job::Read(interest), now_ms);
        }
        news
    }

    /// What is looked at when it is read: rules of scripts that may be there, and once after every time in which it did
    /// not answer all others too, because a state file may be lost.
    fn interest(&self, mut names: BTreeSet<String>) -> Interest {
        let known = self.observed.iter().flatten().filter(|(_, found)| matches!(found, Found::Script(_)));
        names.extend(known.map(|(name, _)| name.clone()));
        let all = !self.scanned && (self.implied || !names.is_empty());
        Interest { names, all }
    }

    fn give(&mut self, job: Job, now_ms: u64) {
        self.busy = self.jobs.try_send(job).is_ok();
        if !self.busy {
            // Its task is gone, which only a mistake of ours can be the reason of.
            self.next_read_ms = now_ms + 60_000;
        }
    }

    /// Takes what came of a job; what the policy should know of it. `every_ms` is how often it is read, `commit_ms` how
    /// long after a change.
    pub(super) fn take(&mut self, came: Came, now_ms: u64, every_ms: u64, commit_ms: u64) -> Vec<SwitchNews> {
        self.busy = false;
        self.last_ms = now_ms;
        match came.what {
            What::Read(interest, Ok(reading)) => {
                self.scanned |= interest.all;
                self.tells_names = !interest.is_none();
                self.counts.reads += 1;
                self.breaker.worked();
                self.observed = Some(reading.observed.clone());
                self.next_read_ms = now_ms + every_ms;
                self.close(&reading, now_ms, commit_ms);
                let Reading { observed, failing } = reading;
                vec![SwitchNews::Read { switch: self.switch, observed, failing }]
            }
            What::Read(_, Err(why)) => vec![self.lost(why, now_ms)],
            What::Applied(changes, done) => self.applied(changes, done, now_ms, commit_ms),
        }
    }

    /// When it has to be looked at next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (!self.busy).then_some(self.next_read_ms)
    }

    /// It is read this soon after the last job, because a rule of it is waited for.
    pub(super) fn hurry(&mut self, after_ms: u64) {
        if self.breaker.failures() == 0 {
            self.next_read_ms = self.next_read_ms.min(self.last_ms + after_ms);
        }
    }

    fn applied(&mut self, changes: Vec<Change>, done: Done, now_ms: u64, commit_ms: u64) -> Vec<SwitchNews> {
        use super::drivers::Trouble;
        let mut news = Vec::new();
        for (change, result) in changes.into_iter().zip(done) {
            match result {
                Ok(()) => {
                    let Some(observed) = &mut self.observed else { continue };
                    match change {
                        Change::Put(name, wanted) => {
                            self.counts.puts += 1;
                            observed.insert(name, Found::Ours(wanted));
                        }
                        Change::PutLines(name, lines) => {
                            self.counts.puts += 1;
                            observed.insert(name, Found::Script(lines));
                        }
                        Change::Delete(name) => {
                            self.counts.deletes += 1;
                            observed.remove(&name);
                        }
                    }
                }
                Err(Trouble::Refused(why)) => {
                    self.counts.refusals += 1;
                    let name = change.name().to_owned();
                    let (failed, open) =
                        std::mem::take(&mut self.open).into_iter().partition(|o| o.change == change);
                    self.open = open;
                    for Open { ticket, .. } in failed {
                        ticket.done(Outcome::Failed(why.clone()));
                    }
                    news.push(SwitchNews::Refused(self.switch, name, why));
                }
                Err(Trouble::Unreachable(why)) => {
                    news.push(self.lost(why, now_ms));
                    return news;
                }
            }
        }
        self.breaker.worked();
        self.next_read_ms = self.next_read_ms.min(now_ms + commit_ms.max(SOONEST_MS));
        news
    }

    /// It does not answer: what it has is not known any more.
    fn lost(&mut self, why: String, now_ms: u64) -> SwitchNews {
        self.counts.failures += 1;
        self.observed = None;
        self.scanned = false;
        for Open { ticket, .. } in self.open.drain(..) {
            ticket.done(Outcome::Unknown(why.clone()));
        }
        let wait = self.breaker.failed(Duration::from_millis(now_ms));
        self.next_read_ms = now_ms + wait.as_millis() as u64;
        SwitchNews::Unreachable(self.switch, why)
    }

    /// What was read says what came of the changes that were asked for: at once that one is gone, or that a commit
    /// failed, and anything else when there was time for a commit.
    fn close(&mut self, reading: &Reading, now_ms: u64, commit_ms: u64) {
        let (early, due): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|open| {
            let gone = matches!(open.change, Change::Delete(_))
                && !reading.observed.contains_key(open.change.name());
            !gone && reading.failing.is_none() && now_ms < open.at_ms + commit_ms
        });
        self.open = early;
        for Open { change, ticket, .. } in due {
            let found = reading.observed.get(change.name());
            ticket.done(match (&change, found, &reading.failing) {
                (Change::Put(..), Some(Found::Ours(_)), Some(why))
                | (Change::PutLines(..), Some(Found::Script(_)), Some(why)) => {
                    Outcome::Failed(format!("the last commit failed: {why}"))
                }
                (Change::Put(_, wanted), Some(Found::Ours(found)), None) if found == wanted => {
                    Outcome::Done("it was read back".to_owned())
                }
                (Change::PutLines(_, wanted), Some(Found::Script(found)), None) if found == wanted => {
                    Outcome::Done("it was read back".to_owned())
                }
                (Change::Delete(_), None, _) => Outcome::Done("it is gone".to_owned()),
                _ => Outcome::Failed("it was read, and is not so".to_owned()),
            });
        }
    }

    /// How its breaker stands.
    pub(super) fn standing(&self, now_ms: u64) -> &'static str {
        self.breaker.standing(Duration::from_millis(now_ms)).label()
    }
}

/// An entry of the audit log about a change.
fn entry(target: &str, change: &Change, (owner, reason): (String, String)) -> Entry {
    let (kind, what) = match change {
        Change::Put(name, wanted) => ("capture.put", format!("put the rule {name}: {}", in_words(wanted))),
        Change::PutLines(name, lines) => {
            ("capture.put", format!("put the rule {name} of a script: {}", lines.join("; ")))
        }
        Change::Delete(name) => ("capture.delete", format!("delete the rule {name}")),
    };
    let (name, target) = (change.name().to_owned(), target.to_owned());
    Entry { kind, owner, name, target, what, reason, ..Entry::default() }
}

fn in_words(wanted: &Wanted) -> String {
    let Wanted { local, remote, erspan_source, analyzer, .. } = wanted;
    format!("{local} and {remote} by ERSPAN from {erspan_source} to {analyzer}")
}

/// Whether a session waits for its switch to be read.
pub(super) fn waits_for_a_read(state: State) -> bool {
    matches!(state, State::Installing | State::Removing)
}
