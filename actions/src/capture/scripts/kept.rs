//! What is kept of scripts' captures in the state directory, so that after a crash at any moment it is known which rules are
//! on which switches, and whose they are.
//!
//! One JSON file, replaced by rename after an fsync. What a script asks for is in it before its rule is put, and stays
//! until the rule was read to be gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::config::{Config, Switch, is_host};
use super::policy::{Restored, Scripts};
use super::rules::Mirror;
use super::session::{Limits, Scripted};

/// Its name in the state directory.
pub const FILE: &str = "script-captures.json";

/// The largest file that is read, bytes: more than all sessions take that there may be.
const LARGEST: u64 = 64 << 20;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    version: u32,
    /// When it was written, milliseconds since 1970.
    saved_ms: u64,
    sessions: Vec<One>,
}

/// A session, once for each switch that may have its rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct One {
    script: String,
    names: Vec<String>,
    rule: String,
    agent: std::net::IpAddr,
    url: Option<String>,
    implied: bool,
    lines: Vec<String>,
    ttl_s: u64,
    max_s: u64,
    left_ms: u64,
    ending: Option<String>,
}

impl Kept {
    /// What has to be kept at this moment.
    pub fn of(scripts: &Scripts, config: &Config, now_ms: u64, wall_ms: u64) -> Self {
        let mut sessions = Vec::new();
        for one in scripts.sessions() {
            for at in one.session.at.iter().chain(&one.session.lingering) {
                sessions.extend(config.switches.get(*at).map(|switch| of(one, switch, now_ms)));
            }
        }
        Self { version: 1, saved_ms: wall_ms, sessions }
    }

    /// What is restored of it. Switches that are in no inventory are put at the end of the configuration again; rules on
    /// one that was taken out of the inventory are told, because nobody looks after them any more.
    pub fn restored(self, config: &mut Config, wall_ms: u64) -> (Vec<Restored>, Vec<String>) {
        let passed_ms = wall_ms.saturating_sub(self.saved_ms);
        let (mut restored, mut lost) = (Vec::new(), Vec::new());
        for one in self.sessions {
            let mirror = Mirror::read(&one.lines);
            let (Some(switch), Ok(mirror)) = (one.switch(config), mirror) else {
                let place = one.url.unwrap_or_else(|| one.agent.to_string());
                lost.push(format!("the rule {} of the script {} on {place}", one.rule, one.script));
                continue;
            };
            restored.push(Restored {
                script: one.script,
                names: one.names,
                rule: one.rule,
                switch,
                mirror,
                limits: Limits { ttl_s: one.ttl_s, max_s: one.max_s },
                left_ms: one.left_ms.min(one.max_s.saturating_mul(1000)).saturating_sub(passed_ms),
                ending: one.ending,
            });
        }
        (restored, lost)
    }
}

fn of(one: &Scripted, switch: &Switch, now_ms: u64) -> One {
    One {
        script: one.script.clone(),
        names: one.names.iter().cloned().collect(),
        rule: one.rule.clone(),
        agent: switch.agent,
        url: switch.url.clone(),
        implied: switch.implied,
        lines: one.mirror.lines(),
        ttl_s: one.limits.ttl_s,
        max_s: one.limits.max_s,
        left_ms: one.until_ms.saturating_sub(now_ms),
        ending: one.session.ending.clone(),
    }
}

impl One {
    /// Its switch, by its place in the configuration.
    fn switch(&self, config: &mut Config) -> Option<usize> {
        let same = |switch: &Switch| switch.url == self.url && switch.agent == self.agent;
        if let Some(at) = config.switches.iter().position(same) {
            return Some(at);
        }
        // It was listed meanwhile, or has got another address.
        let listed = |switch: &Switch| !switch.implied && switch.agent == self.agent;
        if let Some(at) = config.switches.iter().position(listed) {
            return Some(at);
        }
        let url =
            self.url.clone().filter(|_| self.implied && (self.agent.is_loopback() || is_host(self.agent)))?;
        config.switches.push(Switch::implied(self.agent, url));
        Some(config.switches.len() - 1)
    }
}

/// The file in a state directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// In this directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// What was kept; nothing where there is no file. One that cannot be read is set aside: rules that it told of are
    /// found again by their marks where the switches are known.
    pub fn load(&self) -> Kept {
        let file = self.file();
        let read = || -> io::Result<Kept> {
            if fs::metadata(&file)?.len() > LARGEST {
                return Err(io::Error::other("it is too large"));
            }
            Ok(serde_json::from_slice(&fs::read(&file)?)?)
        };
        match read() {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                let aside = self.directory.join(format!("{FILE}.broken"));
                tracing::error!(
                    "{}: cannot be read, and is now {}: {error}; look for rules of scripts on the switches",
                    file.display(),
                    aside.display()
                );
                // If that fails too, the next version replaces it.
                let _ = fs::rename(&file, &aside);
                Kept::default()
            }
        }
    }

    /// Replaces it; returns when it is on the disk.
    ///
    /// # Errors
    /// It cannot be written: the old one is as it was.
    pub fn save(&self, kept: &Kept) -> io::Result<()> {
        let next = self.directory.join(format!("{FILE}.next"));
        let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
        out.write_all(&serde_json::to_vec(kept)?)?;
        out.sync_all()?;
        fs::rename(&next, self.file())?;
        File::open(&self.directory)?.sync_all()
    }
}
