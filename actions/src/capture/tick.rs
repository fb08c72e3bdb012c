//! What goes into a tick of the policy, and what comes out of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::evidence::Sighting;
use super::session::Session;
use super::wanted::Observed;
use crate::mode::Mode;

/// What was observed since the last tick.
#[derive(Debug, Default)]
pub struct Observation<'o> {
    /// Whether anything is done at all.
    pub mode: Mode,
    /// Packets of listed hosts, of trusted agents only.
    pub sightings: &'o [Sighting],
    /// Trusted agents of which something was heard lately; as before when `None`.
    pub heard: Option<BTreeSet<IpAddr>>,
    /// What was read from switches, and what failed there.
    pub news: &'o [SwitchNews],
    /// What persons ask for.
    pub commands: &'o [Command],
}

/// What is new of a switch, by its place in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum SwitchNews {
    /// All its rules were read.
    Read {
        /// Which.
        switch: usize,
        /// What it has.
        observed: Observed,
        /// What its last commit failed with: it does not have what it was told last.
        failing: Option<String>,
    },
    /// It does not answer, or its answer makes no sense.
    Unreachable(usize, String),
    /// It refuses the rule of this name.
    Refused(usize, String, String),
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Capture a pair.
    Start {
        /// The host that is ours.
        local: IpAddr,
        /// The other one.
        remote: IpAddr,
        /// Agent of the switch that is to capture; the best one when `None`.
        agent: Option<IpAddr>,
        /// For how long, seconds; as long as the policy's captures last without evidence when `None`.
        seconds: Option<u64>,
        /// The policy that says the analyzer; the first one when `None`.
        policy: Option<String>,
    },
    /// End the session with this id, and leave its pair alone for a while.
    Stop(String),
}

/// What has happened that others should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// What.
    pub kind: TellKind,
    /// Id of the session.
    pub session: String,
    /// Its host.
    pub local: IpAddr,
    /// The listed host.
    pub remote: IpAddr,
    /// The switch that it is about.
    pub agent: Option<IpAddr>,
    /// The same in words.
    pub text: String,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TellKind {
    /// A rule was read back.
    Capturing,
    /// A rule would be wanted if more was done than observing.
    Would,
    /// A session has changed its switch.
    Moved,
    /// A rule was refused.
    Failed,
    /// A session gives way.
    Shed,
    /// One direction has no frames.
    OneWay,
    /// A session has ended.
    Ended,
}

/// What a tick has decided.
#[derive(Debug, Default)]
pub struct Effects {
    /// Switches that have to be looked at.
    pub touched: BTreeSet<usize>,
    /// What has happened.
    pub told: Vec<Tell>,
    /// An answer for each command: the id of the session, or why not.
    pub answers: Vec<Result<String, String>>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sightings.
    pub sightings: u64,
    /// Sightings of hosts that are never captured.
    pub excluded: u64,
    /// Sightings of pairs that a person has stopped.
    pub stopped: u64,
    /// Sightings of pairs for which there was no room.
    pub crowded: u64,
    /// Rules that were wanted.
    pub begun: u64,
    /// Rules that were read back.
    pub confirmed: u64,
    /// Sessions that have changed their switch.
    pub moved: u64,
    /// Sessions that gave way because of a budget.
    pub shed: u64,
    /// Rules that were refused.
    pub refused: u64,
    /// Rules that were found at a start and kept.
    pub adopted: u64,
    /// Rules that were missing or changed, and were put again.
    pub mended: u64,
    /// Sessions that have ended.
    pub ended: u64,
}

impl Effects {
    pub(super) fn tell(&mut self, kind: TellKind, session: &Session, agent: Option<IpAddr>, text: String) {
        let (local, remote) = (session.local, session.remote);
        self.told.push(Tell { kind, session: session.name.clone(), local, remote, agent, text });
    }

    /// Whether it was told in this tick that a session's rule was read back.
    pub(super) fn confirmed(&self, session: &Session) -> bool {
        let last = self.told.last();
        last.is_some_and(|told| told.kind == TellKind::Capturing && told.session == session.name)
    }
}
