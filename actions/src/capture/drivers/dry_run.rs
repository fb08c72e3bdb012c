//! Rules that are kept in memory and go nowhere.

use super::super::wanted::{Change, Found, Observed};
use super::{Done, Reading};

/// A switch that is none.
#[derive(Debug, Default)]
pub struct DryRun {
    rules: Observed,
}

impl DryRun {
    pub(super) fn read(&self) -> Reading {
        Reading { observed: self.rules.clone(), failing: None }
    }

    pub(super) fn apply(&mut self, changes: &[Change]) -> Done {
        for change in changes {
            match change {
                Change::Put(name, wanted) => {
                    drop(self.rules.insert(name.clone(), Found::Ours(wanted.clone())))
                }
                Change::PutLines(name, lines) => {
                    drop(self.rules.insert(name.clone(), Found::Script(lines.clone())))
                }
                Change::Delete(name) => drop(self.rules.remove(name)),
            }
        }
        vec![Ok(()); changes.len()]
    }
}
