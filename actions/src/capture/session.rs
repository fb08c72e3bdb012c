//! A session: a pair of hosts that is to be captured, and how far that has come.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::evidence::Evidence;

/// Steps of its history that a session keeps.
pub const MOST_STEPS: usize = 32;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has no rule anywhere; the reason says what is waited for.
    Pending,
    /// Its rule is wanted on a switch, and was not read back yet.
    Installing,
    /// Its rule was read back.
    Active,
    /// Its rule is not wanted any more, and may still be there.
    Removing,
    /// Its rule was refused; it is tried again later.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Installing, Self::Active, Self::Removing, Self::Failed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Installing => "installing",
            Self::Active => "active",
            Self::Removing => "removing",
            Self::Failed => "failed",
        }
    }
}

/// What a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manual {
    /// Until when, milliseconds.
    pub until_ms: u64,
    /// At which switch, by its place in the configuration; at the best one when `None`.
    pub switch: Option<usize>,
}

/// A step of a session's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub what: String,
}

/// A session. What it does with its time is decided by the policy.
#[derive(Clone, Debug)]
pub struct Session {
    /// Name of its rule, and its id.
    pub name: String,
    /// Whose it is: the policy's place in the configuration.
    pub policy: usize,
    /// The host that is ours.
    pub local: IpAddr,
    /// The host that is listed.
    pub remote: IpAddr,
    /// The group that the listed host is in.
    pub label: Arc<str>,
    /// When it was first seen.
    pub began_ms: u64,
    /// Why it is there.
    pub evidence: Evidence,
    /// The agent that its host is attached to, where that is known.
    pub leaf: Option<IpAddr>,
    /// What a person asked for.
    pub manual: Option<Manual>,
    /// Whether it was found on a switch at a start, and evidence is still waited for.
    pub adopted: bool,
    /// Where its rule is wanted, by the switch's place in the configuration.
    pub at: Option<usize>,
    /// Whether the rule there was read back.
    pub confirmed: bool,
    /// When the rule was wanted where it is, or was last; `None` when it never was anywhere.
    pub placed_ms: Option<u64>,
    /// Whether it has changed its switch.
    pub moved: bool,
    /// Switches that may still have its rule.
    pub lingering: Vec<usize>,
    /// Why it is where it is.
    pub reason: String,
    /// Why it ends; it is forgotten as soon as no switch may have its rule.
    pub ending: Option<String>,
    /// Not before this it is tried again.
    pub not_before_ms: u64,
    /// How often it was refused in a row.
    pub failures: u32,
    /// Whether its reason is a refusal.
    pub refused: bool,
    /// What was told of it once already.
    pub told: Told,
    /// What happened to it, the newest last.
    pub history: VecDeque<Step>,
}

/// What was told of a session once already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// That it would be captured, in a mode that only observes.
    pub would: bool,
    /// That one direction has no frames.
    pub one_way: bool,
}

impl Session {
    /// A session that waits for evidence.
    pub fn new(
        name: String,
        policy: usize,
        [local, remote]: [IpAddr; 2],
        label: Arc<str>,
        now_ms: u64,
    ) -> Self {
        Self {
            name,
            policy,
            local,
            remote,
            label,
            began_ms: now_ms,
            evidence: Evidence { last_ms: now_ms, ..Evidence::default() },
            leaf: None,
            manual: None,
            adopted: false,
            at: None,
            confirmed: false,
            placed_ms: None,
            moved: false,
            lingering: Vec::new(),
            reason: "no evidence yet".to_owned(),
            ending: None,
            not_before_ms: 0,
            failures: 0,
            refused: false,
            told: Told::default(),
            history: VecDeque::new(),
        }
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        match self.at {
            Some(_) if self.confirmed => State::Active,
            Some(_) => State::Installing,
            None if !self.lingering.is_empty() => State::Removing,
            None if self.refused => State::Failed,
            None => State::Pending,
        }
    }

    /// Whether a switch may have its rule.
    pub fn may_be_at(&self, switch: usize) -> bool {
        self.at == Some(switch) || self.lingering.contains(&switch)
    }

    /// Its rule is wanted at a switch.
    pub fn place(&mut self, switch: usize, now_ms: u64) {
        self.leave();
        self.lingering.retain(|other| *other != switch);
        (self.at, self.confirmed, self.placed_ms) = (Some(switch), false, Some(now_ms));
        (self.refused, self.reason) = (false, String::new());
    }

    /// Its rule is not wanted any more where it was.
    pub fn leave(&mut self) {
        if let Some(switch) = self.at.take()
            && !self.lingering.contains(&switch)
        {
            self.lingering.push(switch);
        }
        self.confirmed = false;
    }

    /// Writes its history on.
    pub fn step(&mut self, at_ms: u64, what: String) {
        if self.history.len() >= MOST_STEPS {
            self.history.pop_front();
        }
        self.history.push_back(Step { at_ms, what });
    }
}
