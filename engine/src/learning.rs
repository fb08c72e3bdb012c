//! The learning thread: what every shard must know and only one has seen. Once a second it asks the shards, and publishes
//! the program anew when that has changed: which hosts own which addresses, while a flow asks for hosts; what agents of
//! the topology call their ports; where hosts are attached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use tables::flow::learned::Hosts;
use tables::topology::Definition;
use tables::topology::located::Gathered;
use tables::{Answer, Program, Question};

use crate::handle::Handle;

/// How often the shards are asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long they are asked every second for names of ports after a topology was defined or a name has changed; and how
/// often otherwise: that looks at every data source of its agents.
const EAGER: Duration = Duration::from_secs(60);
const NAMES_EVERY: Duration = Duration::from_secs(10);

/// How often locations are published that are the same but younger.
const YOUNGER_EVERY: Duration = Duration::from_secs(30);

/// Learns until the sender of `end` is gone.
pub(crate) fn run(handle: &Handle, end: &Receiver<()>) {
    let (mut names, mut locations) = (PortNames::default(), Locations::default());
    while end.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        // A collector that is too busy to answer, or to take what was learned, is asked again in a second.
        let program = handle.program();
        hosts(handle, &program);
        names.learn(handle, &program);
        locations.learn(handle, &program);
    }
}

/// Learns which hosts own which addresses.
fn hosts(handle: &Handle, program: &Program) {
    if !program.asks_for_hosts() {
        return;
    }
    let Ok(Answer::Adapters(adapters)) = handle.ask(Question::Adapters) else { return };
    let hosts = Hosts::new(&adapters);
    if hosts != *program.hosts {
        let _ = handle.learn_hosts(hosts);
    }
}

/// When names of ports are asked for.
#[derive(Default)]
struct PortNames {
    definition: Option<Arc<Definition>>,
    eager_until: Option<Instant>,
    asked: Option<Instant>,
}

impl PortNames {
    fn learn(&mut self, handle: &Handle, program: &Program) {
        let (topology, now) = (&program.topology, Instant::now());
        let definition = topology.definition();
        let same = match (&self.definition, definition) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.definition = definition.cloned();
            self.eager_until = Some(now + EAGER);
        }
        let is_eager = self.eager_until.is_some_and(|until| now < until);
        let is_due = is_eager || self.asked.is_none_or(|asked| now >= asked + NAMES_EVERY);
        let needed = topology.needs_names();
        if !is_due || needed.is_empty() {
            return;
        }
        self.asked = Some(now);
        let Ok(Answer::PortNames(mut names)) = handle.ask(Question::PortNames(Arc::new(needed))) else {
            return;
        };
        // Of an agent that is gone for now the names are still right.
        let is_new = |agent| names.binary_search_by_key(&agent, |known| known.agent).is_ok();
        let kept = topology.names().iter().filter(|known| topology.has(known.agent) && !is_new(known.agent));
        let kept: Vec<_> = kept.cloned().collect();
        names.extend(kept);
        names.sort_by_key(|known| known.agent);
        if names != **topology.names() {
            self.eager_until = Some(now + EAGER);
            let _ = handle.learn_port_names(names);
        }
    }
}

/// Where hosts are attached.
#[derive(Default)]
struct Locations {
    gathered: Gathered,
    /// What was told before is known, microseconds.
    since_us: u64,
    published: Option<Instant>,
}

impl Locations {
    fn learn(&mut self, handle: &Handle, program: &Program) {
        if !program.topology.is_defined() && program.located.is_empty() {
            return;
        }
        let (now_us, now) = (handle.now_us(), Instant::now());
        let Ok(Answer::Sightings(sightings)) = handle.ask(Question::Sightings(self.since_us)) else { return };
        self.since_us = now_us;
        let changed = self.gathered.take(&sightings) | self.gathered.forget(&program.topology, now_us);
        let is_old = self.published.is_none_or(|at| now >= at + YOUNGER_EVERY);
        if changed || (is_old && !sightings.is_empty()) {
            self.published = Some(now);
            let _ = handle.learn_located(self.gathered.located());
        }
    }
}
