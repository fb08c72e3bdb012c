//! What the bench is at: a line on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::sending;

/// The line.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let bar = sending::progress("{spinner} {elapsed} {msg}", None)?;
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Ok(Self(bar))
    }

    /// What it is at now.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
