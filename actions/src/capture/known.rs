//! What the policy knows beside its sessions: the configuration, and what was last observed of switches and agents.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::budget::Loads;
use super::config::{self, Config, End};
use super::pair::Pair;
use super::session::Session;
use super::wanted::Wanted;
use crate::mode::Mode;

/// How long a direction may have no frames before that is said.
const ONE_WAY_MS: u64 = 10_000;

/// What is known beside the sessions.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) config: Arc<Config>,
    pub(super) instance: String,
    pub(super) mode: Mode,
    by_agent: BTreeMap<IpAddr, usize>,
    /// Whether a policy's flows show both directions.
    both_ways: Vec<bool>,
    /// Names of our rules at each switch; `None` before it was read.
    pub(super) observed: Vec<Option<BTreeSet<String>>>,
    /// Switches whose last commit failed, and what it said.
    pub(super) failing: BTreeMap<usize, String>,
    /// Switches that do not answer, and why.
    pub(super) down: BTreeMap<usize, String>,
    /// Pairs that other instances capture: which, and where.
    pub(super) others: BTreeMap<Pair, BTreeSet<(usize, String)>>,
    pub(super) heard: BTreeSet<IpAddr>,
    /// What captures of scripts take.
    pub(super) beside: Loads,
}

impl Known {
    /// Nothing was observed yet.
    pub(super) fn new(config: Arc<Config>, instance: String) -> Self {
        let by_agent = (0..)
            .zip(&config.switches)
            .filter(|(_, switch)| !switch.implied)
            .map(|(at, switch)| (switch.agent, at))
            .collect();
        let ipv6 = config.has_ipv6();
        let both = |policy: &config::Policy| {
            let flows = policy.flows(ipv6);
            [End::Source, End::Destination].iter().all(|end| flows.iter().any(|flow| flow.local == *end))
        };
        Self {
            instance,
            mode: Mode::Observe,
            by_agent,
            both_ways: config.policies.iter().map(|named| both(&named.policy)).collect(),
            observed: vec![None; config.switches.len()],
            failing: BTreeMap::new(),
            down: BTreeMap::new(),
            others: BTreeMap::new(),
            heard: BTreeSet::new(),
            beside: Loads::default(),
            config,
        }
    }

    /// What a session says.
    pub(super) fn policy(&self, session: &Session) -> Option<&config::Policy> {
        self.config.policies.get(session.policy).map(|named| &named.policy)
    }

    /// The agent of a switch.
    pub(super) fn agent(&self, switch: usize) -> IpAddr {
        let none = IpAddr::from([0; 4]);
        self.config.switches.get(switch).map_or(none, |switch| switch.agent)
    }

    /// The switch of an agent.
    pub(super) fn switch(&self, agent: IpAddr) -> Option<usize> {
        self.by_agent.get(&agent).copied()
    }

    /// The pair of a rule of ours.
    pub(super) fn pair(&self, name: &str) -> Option<Pair> {
        let (instance, pair) = Pair::of_rule(name)?;
        (instance == self.instance).then_some(pair)
    }

    /// The rule that a session wants at a switch.
    pub(super) fn wanted(&self, session: &Session, switch: usize) -> Wanted {
        let own = self.config.switches.get(switch);
        let named = self.config.policies.get(session.policy);
        let nowhere = Ipv4Addr::UNSPECIFIED;
        Wanted {
            local: session.local,
            remote: session.remote,
            erspan_source: own.and_then(config::Switch::erspan_source).unwrap_or(nowhere),
            analyzer: named.map_or(nowhere, |named| named.policy.analyzer),
            interfaces: own.map(config::Switch::rule_interfaces).unwrap_or_default(),
            policy: named.map(|named| named.name.clone()).unwrap_or_default(),
        }
    }

    /// Whether the traffic of one of two hosts is never captured: it is no host, the operator says so, or what is
    /// mirrored would be mirrored again.
    pub(super) fn is_excluded(&self, local: IpAddr, remote: IpAddr) -> bool {
        let config = &self.config;
        [local, remote].into_iter().any(|host| {
            !config::is_host(host)
                || config.limits.never.iter().any(|prefix| prefix.0.contains(host))
                || config.policies.iter().any(|named| IpAddr::from(named.policy.analyzer) == host)
                || self.beside.analyzers.keys().any(|analyzer| IpAddr::from(*analyzer) == host)
        })
    }

    /// Which direction has no frames, in words.
    pub(super) fn one_way(&self, session: &Session, now_ms: u64) -> Option<String> {
        let long = session.placed_ms.is_some_and(|placed| now_ms.saturating_sub(placed) >= ONE_WAY_MS);
        let both = self.both_ways.get(session.policy).copied().unwrap_or(false);
        let missing = match session.evidence.ways_seen() {
            [true, false] if long && both => (session.remote, session.local),
            [false, true] if long && both => (session.local, session.remote),
            _ => return None,
        };
        Some(format!("no frames from {} to {} were seen", missing.0, missing.1))
    }
}
