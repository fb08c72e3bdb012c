//! What is defined, and how all workers come to know it.
//!
//! A change is compiled on the caller's thread into a new program with the next epoch, and published. A worker looks
//! at the epoch between two batches, so that a batch sees exactly one program, and acknowledges what it took. The
//! published program stands: a worker that is too busy to take it within the caller's patience takes it later.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use tables::Program;

use crate::handle::{AskError, DefineError};

/// Keeps a program; whether it could.
pub(crate) type Call = Box<dyn Fn(&Program) -> bool + Send + Sync>;

/// What is published to the workers.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Its number; that of the empty program at the start is 0.
    pub(crate) epoch: u64,
    pub(crate) program: Arc<Program>,
    /// Where a worker says that it took it.
    acknowledge: Option<Sender<()>>,
}

impl Published {
    /// Says that a worker took it; whoever defined it may have given up.
    pub(crate) fn taken(&self) {
        if let Some(acknowledge) = &self.acknowledge {
            let _ = acknowledge.try_send(());
        }
    }
}

/// The definitions of an engine.
pub(crate) struct Definitions {
    epoch: AtomicU64,
    published: Mutex<Published>,
    workers: usize,
    /// One token: whoever has it may define.
    turn: (Sender<()>, Receiver<()>),
    call: OnceLock<Call>,
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The right to define, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'d>(&'d Definitions);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.turn.0.try_send(());
    }
}

impl Definitions {
    pub(crate) fn new(workers: usize) -> Self {
        let turn = bounded(1);
        let _ = turn.0.try_send(());
        let published = Published { epoch: 0, program: Arc::default(), acknowledge: None };
        Self {
            epoch: AtomicU64::new(0),
            published: Mutex::new(published),
            workers,
            turn,
            call: OnceLock::new(),
        }
    }

    /// What is defined.
    pub(crate) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.lock().program)
    }

    /// What was published, when it is newer than `epoch`. It costs a worker one read of memory that rarely changes.
    pub(crate) fn newer(&self, epoch: u64) -> Option<Published> {
        (self.epoch.load(Ordering::Acquire) != epoch).then(|| self.lock().clone())
    }

    /// Sets who is called with each new program; the first one stays.
    pub(crate) fn on_define(&self, call: Call) {
        let _ = self.call.set(call);
    }

    /// Waits for the right to define.
    pub(crate) fn turn(&self, deadline: Instant) -> Result<Turn<'_>, AskError> {
        self.turn.1.recv_deadline(deadline).map_err(|_| AskError::Busy)?;
        Ok(Turn(self))
    }

    /// Replaces the program by one that workers need not take: what differs they do not look at. Those that take a later
    /// program take it along.
    pub(crate) fn amend(&self, _turn: &Turn<'_>, next: impl FnOnce(&Program) -> Program) {
        let next = Arc::new(next(&self.program()));
        self.lock().program = next;
    }

    /// Publishes a program, has it kept, and waits until all workers have taken it.
    pub(crate) fn publish(
        &self,
        _turn: &Turn<'_>,
        program: Arc<Program>,
        wake: impl FnOnce(),
        ended: &AtomicBool,
        deadline: Instant,
    ) -> Result<(), DefineError> {
        let (acknowledge, acknowledged) = bounded(self.workers);
        {
            let mut published = self.lock();
            let epoch = published.epoch + 1;
            *published = Published { epoch, program: Arc::clone(&program), acknowledge: Some(acknowledge) };
            self.epoch.store(epoch, Ordering::Release);
        }
        wake();
        let kept = self.call.get().is_none_or(|call| call(&program));
        for _ in 0..self.workers {
            if acknowledged.recv_deadline(deadline).is_err() {
                let ended = ended.load(Ordering::Acquire);
                return Err(if ended { AskError::Ended } else { AskError::Busy }.into());
            }
        }
        if kept { Ok(()) } else { Err(DefineError::Unsaved) }
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tables::Change;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn with(program: &Program, name: &str) -> Arc<Program> {
        let flow = json!({"keys": "ipsource", "value": "bytes"});
        Arc::new(program.changed(Change::Flow(name.to_owned(), Some(flow))).unwrap())
    }

    #[test]
    fn a_definition_that_is_taken_late_stands() {
        let definitions = Definitions::new(2);
        let ended = AtomicBool::new(false);
        assert!(definitions.newer(0).is_none());
        let first = with(&definitions.program(), "first");
        // One worker is in time, the other one is not.
        let turn = definitions.turn(soon()).unwrap();
        let in_time = || definitions.newer(0).unwrap().taken();
        let error = definitions.publish(&turn, first, in_time, &ended, soon()).unwrap_err();
        assert_eq!(error, AskError::Busy.into());
        assert!(definitions.program().flows.contains_key("first"));
        drop(turn);
        // It takes the next one instead, which has both; what it says of the first one disturbs nobody.
        let late = definitions.newer(0).unwrap();
        let both = with(&definitions.program(), "second");
        let turn = definitions.turn(soon()).unwrap();
        let taken = || {
            late.taken();
            let next = definitions.newer(late.epoch).unwrap();
            assert_eq!((next.epoch, next.program.flows.len()), (2, 2));
            next.taken();
            next.taken();
        };
        definitions.publish(&turn, both, taken, &ended, soon()).unwrap();
        assert!(definitions.newer(2).is_none());
    }

    #[test]
    fn what_workers_do_not_look_at_changes_without_them() {
        let definitions = Definitions::new(1);
        let turn = definitions.turn(soon()).unwrap();
        definitions.amend(&turn, |program| (*with(program, "f")).clone());
        assert!(definitions.newer(0).is_none());
        assert!(definitions.program().flows.contains_key("f"));
    }

    #[test]
    fn one_defines_at_a_time_and_others_give_up() {
        let definitions = Definitions::new(1);
        let turn = definitions.turn(soon()).unwrap();
        assert_eq!(definitions.turn(soon()).unwrap_err(), AskError::Busy);
        drop(turn);
        assert!(definitions.turn(soon()).is_ok());
    }

    #[test]
    fn whoever_defines_hears_that_the_engine_has_ended() {
        let definitions = Definitions::new(1);
        let turn = definitions.turn(soon()).unwrap();
        let next = with(&definitions.program(), "f");
        let ended = AtomicBool::new(true);
        assert_eq!(
            definitions.publish(&turn, next, || (), &ended, soon()).unwrap_err(),
            AskError::Ended.into()
        );
    }
}
