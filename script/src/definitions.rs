//! What scripts have defined, and who. A script's definitions are there as long as the script is one that is to run,
//! whether or not its thread has ended: those of one that starts anew stay until it has, and go where it has not made
//! them again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{AskError, DefineError, Handle};
use tables::program::Id;
use tables::{Change, ChangeError};

/// Which script has defined what; of two that define the same, the last one.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    made: Mutex<BTreeMap<Id, Made>>,
}

#[derive(Debug)]
struct Made {
    by: Arc<str>,
    /// Since its last start.
    is_fresh: bool,
}

impl Definitions {
    /// Defines something for a script.
    ///
    /// # Errors
    /// It cannot be defined; see [`Handle::define`].
    pub(crate) fn define(
        &self,
        engine: &Handle,
        script: &Arc<str>,
        change: Change,
    ) -> Result<(), DefineError> {
        let id = change.id();
        let came = match engine.define(Change::Passing(Box::new(change))) {
            // It is in effect, and a script's definitions are not kept over a restart anyway.
            Err(DefineError::Unsaved) => Ok(()),
            // It stands all the same: workers that are late take it before anything that comes later.
            Err(DefineError::Ask(AskError::Busy)) => {
                tracing::warn!(about = &**script, "{script}: {} {:?}: {}", id.0, id.1, AskError::Busy);
                Ok(())
            }
            came => came,
        };
        if !matches!(came, Err(DefineError::Change(_))) {
            self.lock().insert(id, Made { by: Arc::clone(script), is_fresh: true });
        }
        came
    }

    /// Takes a definition away, whoever made it. One that is not there is no error.
    ///
    /// # Errors
    /// Another definition needs it; see [`Handle::define`].
    pub(crate) fn clear(&self, engine: &Handle, change: Change) -> Result<(), DefineError> {
        let id = change.id();
        match engine.define(change) {
            Ok(()) | Err(DefineError::Unsaved | DefineError::Change(ChangeError::Unknown(_))) => {
                self.lock().remove(&id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A script begins.
    pub(crate) fn begin(&self, script: &str) {
        for made in self.lock().values_mut().filter(|made| *made.by == *script) {
            made.is_fresh = false;
        }
    }

    /// It has begun: what it has not made again goes.
    pub(crate) fn settle(&self, engine: &Handle, script: &str) {
        self.withdraw(engine, script, |made| !made.is_fresh);
    }

    /// It will run no more: all of its definitions go.
    pub(crate) fn forget(&self, engine: &Handle, script: &str) {
        self.withdraw(engine, script, |_| true);
    }

    fn withdraw(&self, engine: &Handle, script: &str, goes: impl Fn(&Made) -> bool) {
        let mut gone = Vec::new();
        self.lock().retain(|id, made| {
            let stays = *made.by != *script || !goes(made);
            if !stays {
                gone.push(id.clone());
            }
            stays
        });
        // Flows look groups and maps up, which can only go after them.
        gone.sort_by_key(|(kind, _)| matches!(*kind, "groups" | "maps"));
        for id in gone {
            // Somebody else may have taken it away, or made it his own.
            if !engine.program().passing.contains(&id) {
                continue;
            }
            let Some(change) = Change::away(&id) else { continue };
            match engine.define(change) {
                Ok(()) | Err(DefineError::Unsaved | DefineError::Change(ChangeError::Unknown(_))) => {}
                Err(error) => tracing::warn!("{script}: {} {:?} stays: {error}", id.0, id.1),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
