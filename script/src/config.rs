//! What the operator says about scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use actions::capture::scripts::session::Limits as Lasts;

use crate::http::Allow;

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
    /// Hosts that scripts may reach, beside the collector itself.
    pub allow: Vec<Allow>,
    /// At which version of an engine's API service updates of scripts go.
    pub docker_version: DockerVersion,
    /// What becomes of rules that scripts have switches install.
    pub actions: Actions,
    /// Whether `runCmd` runs commands.
    pub run_commands: bool,
}

/// What becomes of rules that scripts have switches install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Whether they become captures of the collector's own, which are checked and which end. Otherwise they go as they are
    /// written, and nobody takes them away.
    pub guarded: bool,
    /// How long such a capture lasts without evidence, seconds.
    pub ttl_s: u64,
    /// How long it lasts at most, seconds.
    pub max_s: u64,
}

impl Default for Actions {
    fn default() -> Self {
        let lasts = Lasts::default();
        Self { guarded: true, ttl_s: lasts.ttl_s, max_s: lasts.max_s }
    }
}

/// At which version of a Docker engine's API the service updates of scripts go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DockerVersion {
    /// The engine's own, with what the script left out of the specification as the engine has it: nothing is lost, and
    /// tasks are started anew only for what the script has changed.
    #[default]
    Engine,
    /// The one that the script wrote, with the script's specification and nothing else.
    AsWritten,
}

/// The text names no choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no choice: engine or as-written")]
pub struct NotDockerVersion(String);

impl FromStr for DockerVersion {
    type Err = NotDockerVersion;

    fn from_str(text: &str) -> Result<Self, NotDockerVersion> {
        match text {
            "engine" => Ok(Self::Engine),
            "as-written" => Ok(Self::AsWritten),
            other => Err(NotDockerVersion(actions::text::shown(other))),
        }
    }
}

impl fmt::Display for DockerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::AsWritten => "as-written",
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [DockerVersion::Engine, DockerVersion::AsWritten] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "1.24".parse::<DockerVersion>().expect_err("it is a version");
        assert_eq!(error.to_string(), "\"1.24\" is no choice: engine or as-written");
    }
}
