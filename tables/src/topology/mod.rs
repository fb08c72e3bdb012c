//! Which ports connect switches and which are the edge, and who is attached where.
//!
//! | module | owns |
//! |---|---|
//! | [`definition`] | a topology as clients write it |
//! | [`names`] | what agents say of their names, and when to ask them |
//! | [`paths`] | links of nodes, the shortest path, diameter, spanning tree |
//! | [`role`] | whether a port is the edge or the core |
//! | [`shortest`] | further paths, in the order of their lengths |
//! | [`locate`] | hosts where a shard sees them |
//! | [`located`] | hosts where all shards see them |
//!
//! A definition names ports, samples name interfaces by number. What is here is compiled of both whenever either changes, so
//! that a packet costs a look-up by address and number, and none where no topology is defined.

pub mod definition;
pub mod locate;
pub mod located;
pub mod names;
pub mod paths;
pub mod role;
pub mod shortest;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use decode::{Address, DataSource};
use serde_json::{Map, Value as Json, json};

pub use definition::Definition;
use definition::{AgentRef, is_interface};
pub use located::{Located, Place};
pub use names::{AgentPorts, Named};
pub use role::Role;

/// A topology, compiled. The empty one, where nothing is defined, has no ports.
#[derive(Debug, Default)]
pub struct Topology {
    /// Which one it is of those that were defined one after the other.
    version: u64,
    definition: Option<Arc<Definition>>,
    names: Arc<Vec<AgentPorts>>,
    agents: AHashMap<Address, Member>,
    /// The ports that the definition names, by agent and ifIndex.
    ports: AHashMap<(Address, u32), Known>,
    /// The agent of each node.
    of_nodes: Vec<Option<Address>>,
    /// The ifIndex of each end of each link.
    of_links: Vec<[Option<u32>; 2]>,
}

/// An agent of the topology.
#[derive(Debug, Default)]
struct Member {
    /// Its nodes: several where a host has several virtual switches.
    nodes: Vec<u32>,
    /// Ports of links whose interface is not known.
    waiting: usize,
    /// Interfaces whose names are known.
    named: AHashSet<u32>,
}

/// A port that the definition names.
#[derive(Clone, Debug)]
struct Known {
    node: u32,
    name: Arc<str>,
    link: Option<u32>,
}

/// A port, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Its node.
    pub node: Arc<str>,
    /// Its name.
    pub port: Arc<str>,
    /// The node's agent, where it is known.
    pub agent: Option<Address>,
    /// Its interface, where it is known.
    pub ifindex: Option<u32>,
    /// Its link, where it has one.
    pub link: Option<Arc<str>>,
    /// What it is.
    pub role: Role,
}

/// The end of a link, seen from an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEnd {
    /// The link.
    pub link: Arc<str>,
    /// The interface's own node.
    pub local: Arc<str>,
    /// The node at the other end.
    pub remote: Arc<str>,
}

/// An interface at one end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its node.
    pub node: Arc<str>,
    /// Its port.
    pub port: Arc<str>,
    /// Agent and ifIndex, where they are known.
    pub interface: Option<(Address, u32)>,
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition && self.names == other.names
    }
}

impl Eq for Topology {}

impl Topology {
    /// Compiles a definition with what agents say of their names.
    pub fn new(definition: Arc<Definition>, names: Arc<Vec<AgentPorts>>) -> Self {
        let mut topology = Self { names, ..Self::default() };
        let by_host = topology.by_host();
        topology.of_nodes = definition
            .nodes
            .iter()
            .map(|node| match &node.agent {
                AgentRef::Address(address) => Some(*address),
                AgentRef::Named(name) => by_host.get(name).copied(),
            })
            .collect();
        topology.of_links = vec![[None; 2]; definition.links.len()];
        for (number, agent) in (0..).zip(topology.of_nodes.clone()) {
            if let Some(agent) = agent {
                topology.add_node(&definition, number, agent);
            }
        }
        topology.definition = Some(definition);
        topology
    }

    /// The agents by the names of their hosts; of several with one name the lowest address has it.
    fn by_host(&self) -> AHashMap<Arc<str>, Address> {
        let hosts = self.names.iter().rev();
        hosts.filter_map(|agent| Some((Arc::clone(agent.host_name.as_ref()?), agent.agent))).collect()
    }

    fn add_node(&mut self, definition: &Definition, number: u32, agent: Address) {
        let Some(node) = definition.nodes.get(number as usize) else { return };
        let names = Arc::clone(&self.names);
        let found = names.binary_search_by_key(&agent, |known| known.agent).ok().and_then(|at| names.get(at));
        let by_name: AHashMap<&str, u32> =
            found.into_iter().flat_map(|known| &known.ports).map(|(index, name)| (&**name, *index)).collect();
        let member = self.agents.entry(agent).or_default();
        member.nodes.push(number);
        member.named.extend(by_name.values());
        for (name, port) in &node.ports {
            let interface = by_name.get(port.ifname.as_deref().unwrap_or(name)).copied();
            // A number is a name too where the switch calls its ports so.
            let number_alone =
                || name.parse().ok().filter(|index| port.ifname.is_none() && is_interface(*index));
            let Some(ifindex) = port.ifindex.or(interface).or_else(number_alone) else {
                member.waiting += usize::from(port.link.is_some());
                continue;
            };
            let known = Known { node: number, name: Arc::clone(name), link: port.link };
            match self.ports.entry((agent, ifindex)) {
                Entry::Vacant(place) => drop(place.insert(known)),
                // Another port has this interface, by its number where this one has it by name.
                Entry::Occupied(_) => {
                    member.waiting += usize::from(port.link.is_some());
                    continue;
                }
            }
            let ends = port.link.and_then(|link| Some((link, definition.links.get(link as usize)?)));
            let Some((link, ends)) = ends else { continue };
            let end = ends.ends.iter().position(|(of, port)| *of == number && port == name);
            if let (Some(end), Some(interfaces)) = (end, self.of_links.get_mut(link as usize))
                && let Some(interface) = interfaces.get_mut(end)
            {
                *interface = Some(ifindex);
            }
        }
    }

    /// The same definition with what agents say of their names now.
    #[must_use]
    pub fn with_names(&self, names: Vec<AgentPorts>) -> Self {
        match &self.definition {
            Some(definition) => {
                Self { version: self.version, ..Self::new(Arc::clone(definition), Arc::new(names)) }
            }
            None => Self { version: self.version, ..Self::default() },
        }
    }

    /// Another definition; what agents have said of their names stays known.
    #[must_use]
    pub fn redefined(&self, definition: Definition) -> Self {
        let version = self.version + 1;
        Self { version, ..Self::new(Arc::new(definition), Arc::clone(&self.names)) }
    }

    /// None any more.
    #[must_use]
    pub fn undefined(&self) -> Self {
        Self { version: self.version + 1, ..Self::default() }
    }

    /// How often it was defined, changed or taken away since the collector began. Names that agents tell change nothing.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it was compiled from; `None` where no topology is defined.
    pub fn definition(&self) -> Option<&Arc<Definition>> {
        self.definition.as_ref()
    }

    /// Whether a topology is defined.
    pub fn is_defined(&self) -> bool {
        self.definition.is_some()
    }

    /// What agents say of their names.
    pub fn names(&self) -> &Arc<Vec<AgentPorts>> {
        &self.names
    }

    /// Ends of links whose interface is not known.
    pub fn unknown_ends(&self) -> usize {
        self.of_links.iter().flatten().filter(|end| end.is_none()).count()
    }

    /// Whether it is one of the topology's agents.
    pub fn has(&self, agent: Address) -> bool {
        self.agents.contains_key(&agent)
    }

    /// What a data source is.
    pub fn role(&self, agent: Address, source: DataSource) -> Role {
        if source.class == 0 { self.port_role(agent, source.index) } else { Role::Unknown }
    }

    /// What an interface is.
    pub fn port_role(&self, agent: Address, ifindex: u32) -> Role {
        match self.ports.get(&(agent, ifindex)) {
            Some(known) if known.link.is_some() => return Role::Core,
            Some(_) => return Role::Edge,
            None => {}
        }
        match self.agents.get(&agent) {
            // Without a name it may be one of those that are waited for.
            Some(member)
                if is_interface(ifindex) && (member.waiting == 0 || member.named.contains(&ifindex)) =>
            {
                Role::Edge
            }
            _ => Role::Unknown,
        }
    }

    /// The link that an interface belongs to.
    pub fn link_of(&self, agent: Address, ifindex: u32) -> Option<&Arc<str>> {
        let link = self.ports.get(&(agent, ifindex))?.link?;
        Some(&self.definition.as_ref()?.links.get(link as usize)?.name)
    }

    /// The node of a data source: the one that names its port, else the agent's only one.
    pub fn node_of(&self, agent: Address, source: DataSource) -> Option<&Arc<str>> {
        let by_port =
            self.ports.get(&(agent, source.index)).filter(|_| source.class == 0).map(|known| known.node);
        let only = || match self.agents.get(&agent)?.nodes.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        self.name_of(by_port.or_else(only)?)
    }

    /// The agent that a text means: its address, or the name of its host where the topology needs that.
    pub fn agent_named(&self, text: &str) -> Option<Address> {
        match definition::agent(text) {
            AgentRef::Address(address) => Some(address),
            AgentRef::Named(name) => {
                let has_name = |known: &&AgentPorts| known.host_name.as_ref() == Some(&name);
                self.names.iter().find(has_name).map(|known| known.agent)
            }
        }
    }

    /// A node as it was defined; of one that only links name what is known: its agent, its ports and their numbers.
    pub fn node_json(&self, name: &str) -> Option<Json> {
        let definition = self.definition.as_ref()?;
        let number = definition.node(name)?;
        if let Some(json) = definition.node_json(name) {
            return Some(json.clone());
        }
        let node = definition.nodes.get(number as usize)?;
        let agent = self.agent_of(name);
        let mut ports: Map<String, Json> =
            node.ports.keys().map(|port| (port.to_string(), Json::Object(Map::new()))).collect();
        let known = self.ports.iter().filter(|((of, _), known)| Some(*of) == agent && known.node == number);
        for ((_, ifindex), known) in known {
            ports.insert(known.name.to_string(), json!({"ifindex": ifindex.to_string()}));
        }
        let mut json = json!({ "ports": ports });
        if let Some(agent) = agent {
            json["agent"] = agent.to_string().into();
        }
        Some(json)
    }

    /// The nodes of an agent, in the order of their names.
    pub fn nodes_of(&self, agent: Address) -> impl Iterator<Item = &Arc<str>> {
        let nodes = self.agents.get(&agent).map(|member| &member.nodes);
        nodes.into_iter().flatten().filter_map(|node| self.name_of(*node))
    }

    /// The agent of a node, where it is known.
    pub fn agent_of(&self, node: &str) -> Option<Address> {
        let node = self.definition.as_ref()?.node(node)?;
        self.of_nodes.get(node as usize).copied().flatten()
    }

    /// Node and port of an interface: the port's name in the definition, else that of the interface.
    pub fn port_of(&self, agent: Address, ifindex: u32) -> Option<(&Arc<str>, Arc<str>)> {
        if !is_interface(ifindex) {
            return None;
        }
        if let Some(known) = self.ports.get(&(agent, ifindex)) {
            return Some((self.name_of(known.node)?, Arc::clone(&known.name)));
        }
        let node = self.node_of(agent, DataSource { class: 0, index: ifindex })?;
        let name = names::of_port(&self.names, agent, ifindex).cloned();
        Some((node, name.unwrap_or_else(|| ifindex.to_string().into())))
    }

    /// The link of an interface, and the nodes at its ends.
    pub fn link_end(&self, agent: Address, ifindex: u32) -> Option<LinkEnd> {
        let known = self.ports.get(&(agent, ifindex))?;
        let link = self.definition.as_ref()?.links.get(known.link? as usize)?;
        let [(one, port), (other, _)] = &link.ends;
        let remote = if *one == known.node && *port == known.name { *other } else { *one };
        let (local, remote) = (self.name_of(known.node)?, self.name_of(remote)?);
        Some(LinkEnd { link: Arc::clone(&link.name), local: Arc::clone(local), remote: Arc::clone(remote) })
    }

    /// Both ends of a link.
    pub fn ends_of(&self, link: &str) -> Option<[End; 2]> {
        let definition = self.definition.as_ref()?;
        let number = definition.link(link)? as usize;
        let (link, interfaces) = (definition.links.get(number)?, self.of_links.get(number)?);
        let end = |(node, port): &(u32, Arc<str>), ifindex: Option<u32>| {
            let agent = self.of_nodes.get(*node as usize).copied().flatten();
            Some(End {
                node: Arc::clone(self.name_of(*node)?),
                port: Arc::clone(port),
                interface: agent.zip(ifindex),
            })
        };
        let ([one, other], [first, second]) = (&link.ends, interfaces);
        Some([end(one, *first)?, end(other, *second)?])
    }

    /// All ports that the definition names, by node and port.
    pub fn ports(&self) -> Vec<PortState> {
        let Some(definition) = &self.definition else { return Vec::new() };
        let indices: AHashMap<(u32, &str), u32> =
            self.ports.iter().map(|((_, ifindex), known)| ((known.node, &*known.name), *ifindex)).collect();
        let mut found = Vec::new();
        for (number, node) in (0..).zip(&definition.nodes) {
            let agent = self.of_nodes.get(number as usize).copied().flatten();
            for (name, port) in &node.ports {
                let ifindex = indices.get(&(number, &**name)).copied();
                let link = port.link.and_then(|link| definition.links.get(link as usize));
                found.push(PortState {
                    node: Arc::clone(&node.name),
                    port: Arc::clone(name),
                    agent,
                    ifindex,
                    link: link.map(|link| Arc::clone(&link.name)),
                    role: agent
                        .zip(ifindex)
                        .map_or(Role::Unknown, |(agent, index)| self.port_role(agent, index)),
                });
            }
        }
        found
    }

    fn name_of(&self, node: u32) -> Option<&Arc<str>> {
        Some(&self.definition.as_ref()?.nodes.get(node as usize)?.name)
    }
}

/// Which data sources of a topology are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of its agents.
    All,
    /// The ports of this role.
    Ports(Role),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn agent(last: u8) -> Address {
        Address::V4([10, 0, 0, last].into())
    }

    pub(crate) fn names(last: u8, host: Option<&str>, ports: &[(u32, &str)]) -> AgentPorts {
        AgentPorts {
            agent: agent(last),
            host_name: host.map(Into::into),
            ports: ports.iter().map(|(index, name)| (*index, Arc::from(*name))).collect(),
        }
    }

    pub(crate) fn topology(json: &serde_json::Value, names: Vec<AgentPorts>) -> Topology {
        Topology::new(Arc::new(Definition::from_json(json).unwrap()), Arc::new(names))
    }

    fn link(node1: &str, port1: &str, node2: &str, port2: &str) -> serde_json::Value {
        json!({"node1": node1, "port1": port1, "node2": node2, "port2": port2})
    }

    #[test]
    fn ports_are_found_by_number_and_by_the_names_that_come() {
        let json = json!({
            "nodes": {
                "leaf1": {"agent": "10.0.0.1", "ports": {"up": {"ifname": "swp51"}, "h1": {"ifindex": 1}}},
                "leaf2": {"agent": "10.0.0.2"}, "spine1": {"agent": "10.0.0.3"},
            },
            "links": {"l1": link("leaf1", "up", "spine1", "1"), "l2": link("leaf2", "swp51", "spine1", "2")},
        });
        let topology = topology(&json, Vec::new());
        let role = |topology: &Topology, last, ifindex| topology.port_role(agent(last), ifindex);
        assert_eq!(
            (role(&topology, 3, 1), role(&topology, 3, 2), role(&topology, 3, 3)),
            (Role::Core, Role::Core, Role::Edge)
        );
        assert_eq!(role(&topology, 1, 1), Role::Edge, "it is listed, and in no link");
        assert_eq!(role(&topology, 1, 2), Role::Unknown, "it may be the one that a link names");
        assert_eq!((role(&topology, 9, 1), role(&topology, 3, 0)), (Role::Unknown, Role::Unknown));
        assert_eq!(topology.role(agent(3), DataSource { class: 2, index: 1 }), Role::Unknown);
        let known = topology
            .with_names(vec![names(1, None, &[(2, "swp2"), (51, "swp51")]), names(2, None, &[(7, "swp7")])]);
        assert_eq!(
            (role(&known, 1, 51), role(&known, 1, 2), role(&known, 1, 3)),
            (Role::Core, Role::Edge, Role::Edge)
        );
        assert_eq!((role(&known, 2, 7), role(&known, 2, 8)), (Role::Edge, Role::Unknown));
        assert_eq!(known.link_of(agent(1), 51).map(|link| &**link), Some("l1"));
        assert_eq!(known.link_of(agent(1), 2), None);
        // Names that are known stay known when the definition changes.
        let again = known.redefined(Definition::from_json(&json).unwrap());
        assert_eq!((&again, role(&again, 1, 51)), (&known, Role::Core));
        let end = known.link_end(agent(3), 1).unwrap();
        assert_eq!((&*end.link, &*end.local, &*end.remote), ("l1", "spine1", "leaf1"));
        let ends = known.ends_of("l2").unwrap();
        assert_eq!((ends[0].interface, ends[1].interface), (None, Some((agent(3), 2))));
        let waiting: Vec<_> = known.ports().into_iter().filter(|port| port.role == Role::Unknown).collect();
        assert_eq!((topology.unknown_ends(), known.unknown_ends()), (2, 1));
        assert_eq!((waiting.len(), &*waiting[0].node, waiting[0].ifindex), (1, "leaf2", None));
    }

    #[test]
    fn agents_are_found_by_the_names_of_their_hosts() {
        let json = json!({"links": {"l": link("leaf1", "swp1", "spine1", "swp1")}});
        let topology = topology(&json, Vec::new());
        assert!(!topology.has(agent(1)));
        let named = [(1, "swp1")];
        let known = topology.with_names(vec![
            names(1, Some("leaf1"), &named),
            names(2, Some("leaf1"), &named),
            names(3, Some("spine1"), &named),
        ]);
        assert_eq!((known.agent_of("leaf1"), known.agent_of("spine1")), (Some(agent(1)), Some(agent(3))));
        assert_eq!((known.port_role(agent(1), 1), known.port_role(agent(1), 2)), (Role::Core, Role::Edge));
        assert!(!known.has(agent(2)), "of two with one name the lower address has it");
    }

    /// The virtual switches of a host: several nodes with one agent.
    #[test]
    fn nodes_may_share_an_agent() {
        let json = json!({
            "nodes": {
                "s1": {"agent": "10.0.0.1", "ports": {"s1-eth1": {"ifindex": "11"}, "s1-eth2": {"ifindex": "12"}}},
                "s2": {"agent": "10.0.0.1", "ports": {"s2-eth1": {"ifindex": "21"}, "s2-eth2": {"ifindex": "22"}}},
            },
            "links": {"s1-s2": link("s1", "s1-eth2", "s2", "s2-eth2")},
        });
        let topology = topology(&json, Vec::new());
        for (ifindex, role, node) in
            [(11, Role::Edge, "s1"), (12, Role::Core, "s1"), (21, Role::Edge, "s2"), (22, Role::Core, "s2")]
        {
            assert_eq!(topology.port_role(agent(1), ifindex), role);
            let source = DataSource { class: 0, index: ifindex };
            assert_eq!(topology.node_of(agent(1), source).map(|node| &**node), Some(node));
        }
        assert_eq!(topology.nodes_of(agent(1)).map(|node| &**node).collect::<Vec<_>>(), ["s1", "s2"]);
        assert_eq!(topology.node_of(agent(1), DataSource { class: 0, index: 99 }), None);
        let (node, port) = topology.port_of(agent(1), 22).unwrap();
        assert_eq!((&**node, &*port), ("s2", "s2-eth2"));
        let one = self::topology(&json!({"nodes": {"s1": {"agent": "10.0.0.1"}}}), Vec::new());
        let port = |ifindex| one.port_of(agent(1), ifindex).map(|(node, port)| format!("{node} {port}"));
        let none = [0, decode::sample::INTERNAL];
        assert_eq!(
            (port(5).as_deref(), none.map(port)),
            (Some("s1 5"), [None, None]),
            "these are no interfaces"
        );
    }

    #[test]
    fn nodes_and_links_show_as_they_were_defined_and_else_as_what_is_known() {
        let json = json!({
            "nodes": {"s1": {"agent": "10.0.0.1", "dpid": "0001", "ports": {"p": {"ifindex": "11", "ofport": "2"}}}, "s2": {}},
            "links": {"l": {"node1": "s1", "port1": "p", "node2": "s2", "port2": 7, "tags": {"a": 1}}},
        });
        let defined = topology(&json, Vec::new());
        assert_eq!(defined.node_json("s1").as_ref(), Some(&json["nodes"]["s1"]));
        assert_eq!(defined.node_json("s2"), Some(json!({})));
        let definition = defined.definition().unwrap();
        assert_eq!(definition.link_json("l"), Some(&json["links"]["l"]));
        assert_eq!(definition.port_json("s1", "p"), Some(&json!({"ifindex": "11", "ofport": "2"})));
        assert_eq!((definition.port_json("s2", "7"), definition.link_json("m")), (None, None));
        assert_eq!(defined.node_json("s3"), None);
        let named = topology(&json!({"links": {"l": link("leaf1", "swp1", "10.0.0.3", "7")}}), Vec::new());
        let named = named.with_names(vec![names(1, Some("leaf1"), &[(5, "swp1"), (6, "swp2")])]);
        assert_eq!(
            named.node_json("leaf1"),
            Some(json!({"agent": "10.0.0.1", "ports": {"swp1": {"ifindex": "5"}}}))
        );
        assert_eq!(
            named.node_json("10.0.0.3"),
            Some(json!({"agent": "10.0.0.3", "ports": {"7": {"ifindex": "7"}}}))
        );
        let agents = ["leaf1", "10.0.0.9", "swp1"].map(|text| named.agent_named(text));
        assert_eq!(agents, [Some(agent(1)), Some(agent(9)), None]);
    }

    #[test]
    fn versions_rise_with_each_definition_and_not_with_names() {
        let json = json!({"links": {"l": link("leaf1", "1", "leaf2", "1")}});
        let none = Topology::default();
        let one = none.redefined(Definition::from_json(&json).unwrap());
        let named = one.with_names(vec![names(1, Some("leaf1"), &[(1, "1")])]);
        let gone = named.undefined();
        let again = gone.redefined(Definition::from_json(&json).unwrap());
        let versions =
            [&none, &one, &named, &gone, &gone.with_names(Vec::new()), &again].map(Topology::version);
        assert_eq!(versions, [0, 1, 1, 2, 2, 3]);
        assert!(!gone.is_defined() && again.is_defined());
    }
}
