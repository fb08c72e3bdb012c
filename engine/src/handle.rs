//! Asks the engine from other threads.
//!
//! A question goes to every worker; each answers with what its shard knows, and the asking thread puts that together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use ingest::wake::Waker;
use tables::flow::SpecError;
use tables::flow::learned::{Hosts, Names};
use tables::flow::reference::References;
use tables::program::TOPOLOGY;
use tables::question::Address;
use tables::topology::{AgentPorts, Located};
use tables::trust::Trust;
use tables::{Answer, Change, ChangeError, Partial, Program, Question};

use crate::definitions::Definitions;
use crate::events::{LoggedEvent, LoggedFlow, Logs, NamesCall, NewsCall};
use crate::forward;
use crate::interface::{self, Reached, Watch};
use crate::status::{Status, WorkerStatus};

/// How long an answer may take.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many questions wait, or the answer took too long.
    #[error("the collector is too busy to answer")]
    Busy,
    /// The engine has ended.
    #[error("the collector has ended")]
    Ended,
}

/// Why a definition was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    /// The change cannot be made; nothing is changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Not all workers took it in time, see [`Handle::define`].
    #[error(transparent)]
    Ask(#[from] AskError),
    /// All workers have taken it, but whoever keeps definitions could not, see [`Handle::on_define`].
    #[error(
        "it is in effect, but could not be saved: it is lost if the collector ends before that succeeds, which is tried \
         every second; the log says why it fails"
    )]
    Unsaved,
}

/// What a worker is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Ask(Arc<Question>, Sender<Partial>),
    Status(Sender<WorkerStatus>),
}

/// The way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) requests: Sender<Request>,
    pub(crate) waker: Waker,
}

/// Asks the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) workers: Arc<[Way]>,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) ended: Arc<AtomicBool>,
    /// Where the engine listens.
    pub(crate) addresses: Arc<[SocketAddr]>,
    pub(crate) began: Instant,
    /// What the operator says of agents.
    pub(crate) trust: Arc<Trust>,
    /// How datagrams come in, as it was found at the start.
    pub(crate) reached: Arc<Reached>,
    /// The interface whose queues are read.
    pub(crate) watch: Option<Arc<Watch>>,
}

impl Handle {
    /// The time that answers are measured by: microseconds since the engine began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// Too many questions wait, the answer takes longer than [`DEADLINE`], or the engine has ended.
    pub fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let question = Arc::new(question);
        let partials = self.request(|answer| Request::Ask(Arc::clone(&question), answer))?;
        let whole = partials.into_iter().reduce(Partial::merge).ok_or(AskError::Ended)?;
        Ok(whole.finish(&question))
    }

    /// What was counted.
    ///
    /// # Errors
    /// Those of [`Handle::ask`].
    pub fn status(&self) -> Result<Status, AskError> {
        let mut status = Status::of(self.request(Request::Status)?, self.began.elapsed());
        status.reached = Reached::clone(&self.reached);
        if let Some(watch) = &self.watch {
            status.reached.gone = watch.is_gone();
            status.verdicts = watch.verdicts();
        }
        Ok(status)
    }

    /// Looks after the interface whose queues are read: whether it is there, and which addresses this machine has. To be
    /// called about once a second; what there is to say of it is said once.
    pub fn tend_interface(&self) -> Option<interface::News> {
        let news = self.watch.as_ref()?.tend();
        if let Some(interface::News::Gone(_)) = news {
            self.workers.iter().for_each(|way| way.waker.wake());
        }
        news
    }

    /// Whether actions may go by what this agent sends, now (promise A1).
    pub fn trusts(&self, agent: Address) -> bool {
        self.trust.trusts(agent, u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Whether the operator has listed any agent: without a list nobody is trusted.
    pub fn lists_agents(&self) -> bool {
        self.trust.lists_any()
    }

    /// What is defined.
    pub fn program(&self) -> Arc<Program> {
        self.definitions.program()
    }

    /// Changes a definition; when this returns all workers have taken it, so that clients read their own writes.
    ///
    /// # Errors
    /// The change cannot be made: nothing is changed. Or not all workers have taken it within [`DEADLINE`]: the
    /// definition stands, the others take it before their next batch, and the same change may be made again. Or it is not
    /// kept: the definition stands too. Or others were defining for that long, or the engine has ended: nothing is changed.
    pub fn define(&self, change: Change) -> Result<(), DefineError> {
        self.change(|program| self.changed(program, change))
    }

    /// Makes many changes, in their order, all or none of them, as one.
    ///
    /// # Errors
    /// Those of [`Handle::define`]; the message names the definition that cannot be made.
    pub fn define_all(&self, changes: Vec<Change>) -> Result<(), DefineError> {
        self.change(|program| self.changed_all(program.clone(), changes))
    }

    /// Calls with the new program after every change, before [`Handle::define`] returns; the call keeps it, and says
    /// whether it could. The first call that was set stays.
    pub fn on_define(&self, call: Box<dyn Fn(&Program) -> bool + Send + Sync>) {
        self.definitions.on_define(call);
    }

    /// Flow records newer than `after`, all that are kept when `None`, newest first, at most `most`; only those of
    /// these definitions, of all when there are none.
    pub fn records(&self, after: Option<u64>, most: usize, names: &[String]) -> Vec<Arc<LoggedFlow>> {
        self.logs.records(after, most, names)
    }

    /// Threshold events newer than `after`, all that are kept when `None`, newest first, at most `most`; only those of
    /// these thresholds, of all when there are none.
    pub fn events(&self, after: Option<u64>, most: usize, thresholds: &[String]) -> Vec<Arc<LoggedEvent>> {
        self.logs.events(after, most, thresholds)
    }

    /// Calls on the events thread with all records and events that have come since the last call, more than are kept if
    /// there are; the call must not wait. All that are set are called.
    pub fn on_news(&self, call: NewsCall) {
        self.logs.on_news(call);
    }

    /// Calls on the events thread, once a second at most, with addresses whose names flow keys want; the call must not
    /// wait. The first one that was set stays; without one nobody looks names up.
    pub fn on_names_wanted(&self, call: NamesCall) {
        self.logs.on_names_wanted(call);
    }

    /// Takes the reference data of the operator's files and makes changes, in their order, all or none of it, as one.
    ///
    /// # Errors
    /// Those of [`Handle::define_all`]; and a flow that stays needs data that is no longer there.
    pub fn redefine(&self, references: References, changes: Vec<Change>) -> Result<(), DefineError> {
        self.change(|program| {
            let next = program
                .with_references(references)
                .map_err(|error| DefineError::Change(ChangeError::Spec(error)))?;
            self.changed_all(next, changes)
        })
    }

    /// Takes what is known of the names of addresses: instead of all that was known before.
    ///
    /// # Errors
    /// Not all workers have taken it within [`DEADLINE`]; they take it later. Or the engine has ended.
    pub fn learn_names(&self, names: Names) -> Result<(), DefineError> {
        self.change(|program| Ok(program.with_names(names)))
    }

    /// Takes what agents of the topology say of their names.
    pub(crate) fn learn_port_names(&self, names: Vec<AgentPorts>) -> Result<(), DefineError> {
        self.change(|program| Ok(program.with_port_names(names)))
    }

    /// Takes where hosts are attached. Workers do not look at that: they are not told.
    pub(crate) fn learn_located(&self, located: Located) -> Result<(), AskError> {
        let turn = self.definitions.turn(Instant::now() + DEADLINE)?;
        self.definitions.amend(&turn, |program| program.with_located(located));
        Ok(())
    }

    /// Takes which hosts own which addresses.
    pub(crate) fn learn_hosts(&self, hosts: Hosts) -> Result<(), DefineError> {
        self.change(|program| Ok(program.with_hosts(hosts)))
    }

    fn changed_all(&self, program: Program, changes: Vec<Change>) -> Result<Program, DefineError> {
        let mut next = program;
        for change in changes {
            let named = name(&change);
            next = self.changed(&next, change).map_err(|error| match error {
                DefineError::Change(error) => spec_error(named, error.to_string()),
                other => other,
            })?;
        }
        Ok(next)
    }

    fn change(&self, make: impl FnOnce(&Program) -> Result<Program, DefineError>) -> Result<(), DefineError> {
        let deadline = Instant::now() + DEADLINE;
        let turn = self.definitions.turn(deadline)?;
        if self.ended.load(Ordering::Acquire) {
            return Err(AskError::Ended.into());
        }
        let next = Arc::new(make(&self.program())?);
        let wake = || self.workers.iter().for_each(|worker| worker.waker.wake());
        self.definitions.publish(&turn, next, wake, &self.ended, deadline)
    }

    fn changed(&self, program: &Program, change: Change) -> Result<Program, DefineError> {
        let (kind, name) = change.id();
        let next = program.changed(change)?;
        if kind == "forwarding"
            && let Some(definition) = next.forwarding.get(&name)
            && forward::comes_back(definition.to, &self.addresses)
        {
            let reason = format!("{} is this collector itself", definition.to);
            return Err(spec_error("address".to_owned(), reason));
        }
        Ok(next)
    }

    /// What all workers answer.
    fn request<T>(&self, request: impl Fn(Sender<T>) -> Request) -> Result<Vec<T>, AskError> {
        let deadline = Instant::now() + DEADLINE;
        let (answer, answers) = bounded(self.workers.len());
        for worker in &*self.workers {
            match worker.requests.try_send(request(answer.clone())) {
                Ok(()) => worker.waker.wake(),
                Err(TrySendError::Full(_)) => return Err(AskError::Busy),
                Err(TrySendError::Disconnected(_)) => return Err(AskError::Ended),
            }
        }
        drop(answer);
        let one = |_| match answers.recv_deadline(deadline) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(AskError::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(AskError::Ended),
        };
        (0..self.workers.len()).map(one).collect()
    }
}

/// Kind and name of what a change is about.
fn name(change: &Change) -> String {
    let (kind, name) = match change {
        Change::Passing(change) => return name(change),
        Change::Flow(name, _) => ("flow", name),
        Change::Group(name, _) => ("group", name),
        Change::List(name, _) => ("group", name),
        Change::Map(name, _) => ("map", name),
        Change::Threshold(name, _) => ("threshold", name),
        Change::Forwarding(name, _) => ("forwarding", name),
        Change::Topology(_) => return TOPOLOGY.to_owned(),
    };
    format!("{kind} {name:?}")
}

fn spec_error(attribute: String, reason: String) -> DefineError {
    DefineError::Change(SpecError::Attribute { attribute, reason }.into())
}
