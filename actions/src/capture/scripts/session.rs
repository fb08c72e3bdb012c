//! A session that a script has asked for.

use std::collections::VecDeque;

use super::super::session::Session;
use super::rules::Mirror;

/// Names at most that a script has for one session; of more the oldest is forgotten.
pub const MOST_NAMES: usize = 64;

/// The place of no policy of the configuration, which sessions of scripts have in its stead.
pub const NO_POLICY: usize = usize::MAX;

/// How long a script's capture lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Without new evidence, seconds.
    pub ttl_s: u64,
    /// In all, seconds.
    pub max_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ttl_s: 60, max_s: 86_400 }
    }
}

impl Limits {
    /// Whether both are within their bounds.
    ///
    /// # Errors
    /// One is not; the message names it.
    pub fn check(self) -> Result<(), String> {
        for (key, value, most) in [("ttl_s", self.ttl_s, 86_400), ("max_s", self.max_s, 604_800)] {
            if !(1..=most).contains(&value) {
                return Err(format!("scripts.actions.{key}: must be 1 to {most}"));
            }
        }
        Ok(())
    }
}

/// A session of a script.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// Whose it is.
    pub script: String,
    /// What the script calls it, the newest name last: it asks for the same again by another name.
    pub names: VecDeque<String>,
    /// The name of its rule on the switch.
    pub rule: String,
    /// What it mirrors.
    pub mirror: Mirror,
    /// The lines of its rule, with our mark.
    pub lines: Vec<String>,
    /// How long it lasts.
    pub limits: Limits,
    /// Until when at most, milliseconds.
    pub until_ms: u64,
    /// Since which version of what is kept it is as it is: its rule is not put before that is on the disk.
    pub since: u64,
    /// How far it has come; its name is that of the session.
    pub session: Session,
}

impl Scripted {
    /// Whether it is to be captured.
    pub fn is_live(&self) -> bool {
        self.session.ending.is_none()
    }

    /// The id of the session of a script's rule.
    pub fn id(script: &str, rule: &str) -> String {
        format!("{script}:{rule}")
    }

    /// Whether an id is one of these; those of others have no colon.
    pub fn is_id(id: &str) -> bool {
        id.contains(':')
    }

    /// Another name for the same; whether it is new.
    pub fn call(&mut self, name: &str) -> bool {
        if self.names.back().is_some_and(|last| last == name) {
            return false;
        }
        let before = self.names.len();
        self.names.retain(|known| known != name);
        let is_new = self.names.len() == before;
        if self.names.len() >= MOST_NAMES {
            self.names.pop_front();
        }
        self.names.push_back(name.to_owned());
        is_new
    }

    /// Its rule has another name from now on.
    pub fn rename(&mut self, rule: String) {
        self.session.name = Self::id(&self.script, &rule);
        self.rule = rule;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let why = Limits { ttl_s: 0, max_s: 1 }.check();
        assert_eq!(why, Err("scripts.actions.ttl_s: must be 1 to 86400".to_owned()));
        let why = Limits { ttl_s: 1, max_s: 604_801 }.check();
        assert_eq!(why, Err("scripts.actions.max_s: must be 1 to 604800".to_owned()));
    }
}
