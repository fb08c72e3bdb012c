//! What agents say of their names: the host's, and those of their interfaces, which come with counters. The engine asks
//! the shards for them, see [`Named`].

use std::sync::Arc;

use ahash::AHashSet;
use decode::Address;

use super::Topology;
use super::definition::{AgentRef, Definition};

/// What an agent says of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPorts {
    /// Who.
    pub agent: Address,
    /// Its host's name.
    pub host_name: Option<Arc<str>>,
    /// Its interfaces and their names, by ifIndex.
    pub ports: Vec<(u32, Arc<str>)>,
}

/// Whose names a topology needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Agents whose ports a definition names.
    pub(crate) agents: AHashSet<Address>,
    /// Names of hosts that nodes have.
    pub(crate) hosts: AHashSet<Arc<str>>,
}

impl Named {
    /// Whether there is nothing to ask for.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.hosts.is_empty()
    }

    fn of(definition: &Definition) -> Self {
        let mut named = Self::default();
        for node in &definition.nodes {
            match &node.agent {
                AgentRef::Named(host) => drop(named.hosts.insert(Arc::clone(host))),
                AgentRef::Address(agent) if node.ports.values().any(|port| port.ifindex.is_none()) => {
                    named.agents.insert(*agent);
                }
                AgentRef::Address(_) => {}
            }
        }
        named
    }
}

impl Topology {
    /// Whose names it needs; nobody's where every agent is an address and every port a number.
    pub fn needs_names(&self) -> Named {
        self.definition.as_ref().map(|definition| Named::of(definition)).unwrap_or_default()
    }
}

/// The name of an interface, among what agents say, which is sorted by agent and ifIndex.
pub(super) fn of_port(names: &[AgentPorts], agent: Address, ifindex: u32) -> Option<&Arc<str>> {
    let at = names.binary_search_by_key(&agent, |known| known.agent).ok()?;
    let ports = &names.get(at)?.ports;
    let at = ports.binary_search_by_key(&ifindex, |(index, _)| *index).ok()?;
    ports.get(at).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{agent, topology};
    use super::*;
    use serde_json::json;

    #[test]
    fn only_those_are_asked_who_must_say_something() {
        let topology = topology(
            &json!({"nodes": {
                "a": {"agent": "10.0.0.1", "ports": {"p": {"ifindex": 1}}},
                "b": {"agent": "10.0.0.2", "ports": {"p": {}}},
                "c": {"agent": "switch3"},
            }}),
            Vec::new(),
        );
        let named = topology.needs_names();
        assert_eq!(named.agents, AHashSet::from_iter([agent(2)]));
        assert_eq!(named.hosts, AHashSet::from_iter([Arc::from("switch3")]));
        assert!(Topology::default().needs_names().is_empty());
    }
}
