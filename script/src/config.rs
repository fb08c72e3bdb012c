//! What the operator says about scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Scripts, and what they may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Files of scripts, each started by itself.
    pub scripts: Vec<PathBuf>,
    /// A folder of applications: `NAME/scripts/*.js` are started too, `NAME/html/` is served.
    pub apps: Option<PathBuf>,
    /// What `getSystemProperty` answers.
    pub properties: BTreeMap<String, String>,
    /// Flows whose records a handler that names none is not given: those that neither a script nor a client has defined.
    pub unasked: BTreeSet<String>,
    /// Limits of each script.
    pub limits: Limits,
    /// Whether a script starts anew when its file, or one that it includes, has changed.
    pub reload: bool,
    /// Where `storeSet` keeps values; `None` keeps them for this run only.
    pub store: Option<PathBuf>,
    /// Whether `runCmd` runs commands.
    pub run_commands: bool,
}

/// How much a script may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of its values, bytes.
    pub memory_bytes: usize,
    /// How long a call of it may take, its first run included; then it is interrupted, and the script goes on with
    /// what comes next.
    pub call: Duration,
    /// Flow records, events and requests that may wait for it, each.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, call: Duration::from_secs(30), queue: 1000 }
    }
}
