//! Switches that do at once what they are told, and a clock that stands still.

use std::net::IpAddr;
use std::sync::Arc;

use actions::capture::config::{Config, Raw};
use actions::capture::evidence::{Role, Sighting};
use actions::capture::policy::{Command, Effects, Observation, Policy, SwitchNews};
use actions::capture::reconcile::plan;
use actions::capture::wanted::{Change, Found, Observed};
use actions::mode::Mode;

/// Policies, switches and the time.
pub(crate) struct World {
    pub(crate) config: Arc<Config>,
    pub(crate) policy: Policy,
    pub(crate) now_ms: u64,
    pub(crate) mode: Mode,
    /// What the switches have.
    pub(crate) switches: Vec<Observed>,
    /// Those that do not answer.
    pub(crate) down: Vec<bool>,
    /// What the last commit of all switches failed with.
    pub(crate) failing: Option<String>,
    /// Whether agents are heard.
    pub(crate) heard: bool,
    /// Everything that was told.
    pub(crate) told: Vec<String>,
    /// Writes so far.
    pub(crate) writes: usize,
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The agent of a switch.
pub(crate) fn agent(switch: u8) -> IpAddr {
    [10, 0, 1, switch].into()
}

/// A packet towards the listed host at a port of which nothing is known.
pub(crate) fn seen(local: &str, remote: &str, switch: u8) -> Sighting {
    Sighting {
        policy: 0,
        local: ip(local),
        remote: ip(remote),
        outward: true,
        label: "block".into(),
        agent: agent(switch),
        source: "3".into(),
        role: Role::Unknown,
        leaf: None,
        samples: 1.0,
        frames: 400.0,
        bits_per_second: 1000.0,
    }
}

/// Configuration with `switches` switches, and what else is said in JSON.
pub(crate) fn config(switches: u8, limits: serde_json::Value, policy: serde_json::Value) -> Arc<Config> {
    let switch = |n: u8| serde_json::json!({"agent": agent(n).to_string(), "driver": "dry-run"});
    let mut emerging = serde_json::json!({"group": "emerging", "analyzer": "10.0.0.70"});
    emerging.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    let json = serde_json::json!({
        "switch": (0..switches).map(switch).collect::<Vec<_>>(),
        "capture": {"emerging": emerging},
        "capture_limits": limits,
    });
    Arc::new(serde_json::from_value::<Raw>(json).unwrap().check().unwrap())
}

impl World {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let count = config.switches.len();
        let mut world = Self {
            policy: Policy::new(Arc::clone(&config), "main".to_owned()),
            config,
            now_ms: 0,
            mode: Mode::Act,
            switches: vec![Observed::new(); count],
            down: vec![false; count],
            failing: None,
            heard: true,
            told: Vec::new(),
            writes: 0,
        };
        world.round();
        world
    }

    /// Like [`World::new`] with this many switches and nothing else said.
    pub(crate) fn with(switches: u8) -> Self {
        Self::new(config(switches, serde_json::json!({}), serde_json::json!({})))
    }

    /// The collector is killed and starts again; switches stay as they are.
    pub(crate) fn restart(&mut self) {
        self.policy = Policy::new(Arc::clone(&self.config), "main".to_owned());
    }

    pub(crate) fn tick(
        &mut self,
        sightings: &[Sighting],
        news: &[SwitchNews],
        commands: &[Command],
    ) -> Effects {
        let agents = (0..self.switches.len() as u8).map(agent);
        let effects = self.policy.tick(
            self.now_ms,
            Observation {
                mode: self.mode,
                sightings,
                heard: Some(agents.filter(|_| self.heard).collect()),
                news,
                commands,
            },
        );
        self.told.extend(effects.told.iter().map(|tell| tell.text.clone()));
        effects
    }

    /// Makes some of the changes that a switch needs, all when `most` is large.
    pub(crate) fn mend(&mut self, switch: usize, most: usize) {
        if self.down[switch] {
            return;
        }
        let desired = self.policy.desired(switch);
        let changes = plan(&desired, &self.switches[switch], self.mode == Mode::Act);
        for change in changes.into_iter().take(most) {
            self.writes += 1;
            match change {
                Change::Put(name, wanted) => drop(self.switches[switch].insert(name, Found::Ours(wanted))),
                Change::PutLines(name, lines) => {
                    drop(self.switches[switch].insert(name, Found::Script(lines)));
                }
                Change::Delete(name) => drop(self.switches[switch].remove(&name)),
            }
        }
    }

    /// Every switch is read, mended and read again.
    pub(crate) fn round(&mut self) {
        self.read();
        for switch in 0..self.switches.len() {
            self.mend(switch, usize::MAX);
        }
        self.read();
    }

    /// Every switch is read.
    pub(crate) fn read(&mut self) {
        let news: Vec<SwitchNews> = (0..self.switches.len())
            .map(|switch| match self.down[switch] {
                true => SwitchNews::Unreachable(switch, "no connection in 2 s".to_owned()),
                false => SwitchNews::Read {
                    switch,
                    observed: self.switches[switch].clone(),
                    failing: self.failing.clone(),
                },
            })
            .collect();
        self.tick(&[], &news, &[]);
    }

    /// Time passes, a second at a time, with a round in each.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_ms += 1000;
            self.round();
        }
    }

    /// Names of the rules of a switch.
    pub(crate) fn rules(&self, switch: usize) -> Vec<&str> {
        self.switches[switch].keys().map(String::as_str).collect()
    }

    /// State and reason of the only session.
    pub(crate) fn only(&self) -> (&'static str, String) {
        let sessions: Vec<_> = self.policy.sessions().collect();
        let [session] = sessions[..] else { panic!("{} sessions", sessions.len()) };
        (session.state().name(), session.reason.clone())
    }
}
