//! A topology as clients write it: nodes, their ports, and the links between them. Nothing here knows which interface a
//! port is.
//!
//! `{"nodes": {"leaf1": {"agent": "10.0.0.1", "ports": {"swp1": {"ifindex": "3"}}}}, "links": {"l1": {"node1": "leaf1",
//! "port1": "swp1", "node2": "spine1", "port2": "swp5"}}}`. Nodes may be left out: then they are those of the links, and
//! their agents are found by name. Attributes that are not known (`dpid`, `tags`) are kept and not looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use decode::Address;
use serde_json::{Map, Value as Json};

use crate::spec_error::{SpecError, wrong};

/// Nodes at most.
pub const MOST_NODES: usize = 10_000;

/// Links at most.
pub const MOST_LINKS: usize = 50_000;

/// Ports at most, of all nodes together.
pub const MOST_PORTS: usize = 200_000;

/// Bytes of a name at most: names are in keys, logs and answers.
pub const LONGEST_NAME: usize = 200;

/// Attributes of a topology.
pub const ATTRIBUTES: [&str; 2] = ["nodes", "links"];

/// A definition, checked. Nodes, ports and links are numbered in the order of their names; nodes that only links name, in
/// that of these.
#[derive(Debug, Default)]
pub struct Definition {
    pub(super) nodes: Vec<Node>,
    pub(super) links: Vec<Link>,
    by_node: AHashMap<Arc<str>, u32>,
    by_link: AHashMap<Arc<str>, u32>,
    json: Json,
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Definition {}

/// A switch.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) agent: AgentRef,
    /// Its ports by name: those that are listed, and those of links.
    pub(super) ports: BTreeMap<Arc<str>, Port>,
}

/// Who a node's agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AgentRef {
    /// The one with this address.
    Address(Address),
    /// The one whose host has this name.
    Named(Arc<str>),
}

/// A port of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Port {
    /// Its ifIndex, where that is given.
    pub(super) ifindex: Option<u32>,
    /// The name of its interface, where that is another than the port's.
    pub(super) ifname: Option<Arc<str>>,
    /// The link that it belongs to.
    pub(super) link: Option<u32>,
}

/// A link between two switches.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: Arc<str>,
    /// Numbers of the nodes and names of their ports.
    pub(super) ends: [(u32, Arc<str>); 2],
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// It has another shape, a link names a node that is not there, two things have the same port, or there is too much
    /// of something; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object = json
            .as_object()
            .ok_or_else(|| wrong("topology", "must be an object with the attributes nodes and links"))?;
        if let Some(name) = object.keys().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
            return Err(wrong(name, "is no attribute of a topology: nodes, links"));
        }
        let mut definition = Self { json: json.clone(), ..Self::default() };
        let nodes = part(object, "nodes")?;
        for (name, node) in nodes.into_iter().flatten() {
            definition.add_node(name, node)?;
        }
        let given = nodes.is_some_and(|nodes| !nodes.is_empty());
        for (name, link) in part(object, "links")?.into_iter().flatten() {
            definition.add_link(name, link, given)?;
        }
        definition.check()?;
        Ok(definition)
    }

    /// As it was defined.
    pub fn to_json(&self) -> &Json {
        &self.json
    }

    /// A node as it was defined; `None` where it is not among the nodes.
    pub fn node_json(&self, node: &str) -> Option<&Json> {
        self.json.get("nodes")?.get(node)
    }

    /// A port as it was defined; `None` where it is not among those of a node.
    pub fn port_json(&self, node: &str, port: &str) -> Option<&Json> {
        self.node_json(node)?.get("ports")?.get(port)
    }

    /// A link as it was defined.
    pub fn link_json(&self, link: &str) -> Option<&Json> {
        self.json.get("links")?.get(link)
    }

    pub(super) fn node(&self, name: &str) -> Option<u32> {
        self.by_node.get(name).copied()
    }

    pub(super) fn link(&self, name: &str) -> Option<u32> {
        self.by_link.get(name).copied()
    }

    fn add_node(&mut self, name: &str, json: &Json) -> Result<(), SpecError> {
        let at = format!("nodes.{name}");
        check_name(&at, name)?;
        let node = json
            .as_object()
            .ok_or_else(|| wrong(&at, "must be an object, such as {\"agent\": \"10.0.0.1\"}"))?;
        let agent = match node.get("agent") {
            None | Some(Json::Null) => agent(name),
            Some(Json::String(text)) if !text.trim().is_empty() => agent(text.trim()),
            Some(_) => return Err(wrong(&format!("{at}.agent"), "must be an address or the name of a host")),
        };
        let mut ports = BTreeMap::new();
        for (port, json) in
            part(node, "ports").map_err(|_| wrong(&format!("{at}.ports"), OBJECT))?.into_iter().flatten()
        {
            let at = format!("{at}.ports.{port}");
            check_name(&at, port)?;
            ports.insert(Arc::from(port.as_str()), listed_port(&at, json)?);
        }
        self.push_node(&at, name, agent, ports)
    }

    fn push_node(
        &mut self,
        at: &str,
        name: &str,
        agent: AgentRef,
        ports: BTreeMap<Arc<str>, Port>,
    ) -> Result<(), SpecError> {
        if self.nodes.len() >= MOST_NODES {
            return Err(wrong(at, format!("a topology has {MOST_NODES} nodes at most")));
        }
        let name: Arc<str> = Arc::from(name);
        self.by_node.insert(Arc::clone(&name), self.nodes.len() as u32);
        self.nodes.push(Node { name, agent, ports });
        Ok(())
    }

    /// Adds a link; its nodes must be there when they are `given`, and come with it otherwise.
    fn add_link(&mut self, name: &str, json: &Json, given: bool) -> Result<(), SpecError> {
        let at = format!("links.{name}");
        check_name(&at, name)?;
        if self.links.len() >= MOST_LINKS {
            return Err(wrong(&at, format!("a topology has {MOST_LINKS} links at most")));
        }
        let link = json
            .as_object()
            .ok_or_else(|| wrong(&at, "must be an object with node1, port1, node2 and port2"))?;
        let number = self.links.len() as u32;
        let mut end = |node: &str, port: &str| -> Result<(u32, Arc<str>), SpecError> {
            let named = |attribute: &str| {
                let at = format!("{at}.{attribute}");
                let text = name_of(link.get(attribute)).ok_or_else(|| wrong(&at, "must be a name"))?;
                check_name(&at, &text).map(|()| (at, text))
            };
            let (at_node, node) = named(node)?;
            let (at_port, port) = named(port)?;
            if self.node(&node).is_none() {
                if given {
                    let why = format!("{node:?} is not among the nodes: add it to nodes, or leave nodes out");
                    return Err(wrong(&at_node, why));
                }
                self.push_node(&at_node, &node, agent(&node), BTreeMap::new())?;
            }
            let place = self.node(&node).unwrap_or_default();
            let port: Arc<str> = Arc::from(port);
            let Some(known) = self.nodes.get_mut(place as usize) else { return Ok((place, port)) };
            let of_node = known.ports.entry(Arc::clone(&port)).or_default();
            if let Some(other) = of_node.link.replace(number) {
                let other = self.links.get(other as usize).map_or(name, |link| &*link.name);
                let why = format!(
                    "port {port:?} of node {node:?} is in link {other:?} already: a port has one link"
                );
                return Err(wrong(&at_port, why));
            }
            Ok((place, port))
        };
        let ends = [end("node1", "port1")?, end("node2", "port2")?];
        let name: Arc<str> = Arc::from(name);
        self.by_link.insert(Arc::clone(&name), number);
        self.links.push(Link { name, ends });
        Ok(())
    }

    /// Looks for too many ports, and for interfaces that two ports have.
    fn check(&self) -> Result<(), SpecError> {
        let ports = self.nodes.iter().map(|node| node.ports.len()).sum::<usize>();
        if ports > MOST_PORTS {
            return Err(wrong("nodes", format!("have {ports} ports: a topology has {MOST_PORTS} at most")));
        }
        // Nodes may share an agent, such as the virtual switches of a host: interfaces are told apart by agent.
        let mut taken: AHashMap<(AgentKey<'_>, Interface<'_>), (&str, &str)> = AHashMap::new();
        for node in &self.nodes {
            for (name, port) in &node.ports {
                let interface = match (port.ifindex, &port.ifname) {
                    (Some(ifindex), _) => Interface::Index(ifindex),
                    (None, Some(ifname)) => Interface::Name(ifname),
                    (None, None) => Interface::Name(name),
                };
                let Some((other, of)) = taken.insert((node.agent.key(), interface), (name, &node.name))
                else {
                    continue;
                };
                let at = format!("nodes.{}.ports.{name}", node.name);
                return Err(wrong(
                    &at,
                    format!("is the same interface of the same agent as port {other:?} of node {of:?}"),
                ));
            }
        }
        Ok(())
    }
}

/// An agent and an interface of it, as far as a definition tells.
type AgentKey<'d> = (Address, &'d str);

#[derive(PartialEq, Eq, Hash)]
enum Interface<'d> {
    Index(u32),
    Name(&'d str),
}

impl AgentRef {
    fn key(&self) -> AgentKey<'_> {
        match self {
            Self::Address(address) => (*address, ""),
            Self::Named(name) => (Address::Unknown, name),
        }
    }
}

const OBJECT: &str = "must be an object, with what it holds by name";

/// A part of an object that is an object, where it is there.
fn part<'j>(object: &'j Map<String, Json>, name: &str) -> Result<Option<&'j Map<String, Json>>, SpecError> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(part)) => Ok(Some(part)),
        Some(_) => Err(wrong(name, OBJECT)),
    }
}

/// The agent that a text means: an address, or the name of its host.
pub(super) fn agent(text: &str) -> AgentRef {
    text.parse::<IpAddr>().map_or_else(|_| AgentRef::Named(text.into()), |ip| AgentRef::Address(ip.into()))
}

/// A name; numbers are names too, because clients write them without quotes.
fn name_of(json: Option<&Json>) -> Option<String> {
    match json? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn check_name(at: &str, name: &str) -> Result<(), SpecError> {
    if name.trim().is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
        return Err(wrong(at, format!("a name has 1 to {LONGEST_NAME} bytes and no control characters")));
    }
    Ok(())
}

/// A port that a node lists.
fn listed_port(at: &str, json: &Json) -> Result<Port, SpecError> {
    let port = match json {
        Json::Null => return Ok(Port::default()),
        json => {
            json.as_object().ok_or_else(|| wrong(at, "must be an object, such as {\"ifindex\": \"3\"}"))?
        }
    };
    let ifindex = match port.get("ifindex") {
        None | Some(Json::Null) => None,
        given => {
            let ifindex =
                name_of(given).and_then(|text| text.trim().parse().ok()).filter(|index| is_interface(*index));
            Some(
                ifindex.ok_or_else(|| {
                    wrong(&format!("{at}.ifindex"), "must be a number from 1 to 1073741822")
                })?,
            )
        }
    };
    let ifname = match port.get("ifname") {
        None | Some(Json::Null) => None,
        given => {
            let at = format!("{at}.ifname");
            let name = name_of(given).ok_or_else(|| wrong(&at, "must be a name"))?;
            check_name(&at, &name)?;
            Some(Arc::from(name))
        }
    };
    Ok(Port { ifindex, ifname, link: None })
}

/// Whether a number is that of an interface: 0 is none, and the largest one means the device itself.
pub(super) fn is_interface(index: u32) -> bool {
    (1..decode::sample::INTERNAL).contains(&index)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_may_be_left_out_and_unknown_attributes_are_kept() {
        let json = json!({"links": {"l": {"node1": "a", "port1": "swp1", "node2": "10.0.0.2", "port2": 7, "tags": {"x": 1}}}});
        let definition = Definition::from_json(&json).unwrap();
        assert_eq!(definition.to_json(), &json);
        let agents: Vec<&AgentRef> = definition.nodes.iter().map(|node| &node.agent).collect();
        assert_eq!(
            agents,
            [&AgentRef::Named("a".into()), &AgentRef::Address(Address::V4([10, 0, 0, 2].into()))]
        );
        assert!(definition.nodes[1].ports["7"].link.is_some());
        for empty in [json!({}), json!({"nodes": {}, "links": {}}), json!({"nodes": null})] {
            assert!(Definition::from_json(&empty).unwrap().nodes.is_empty());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let link = |node1: &str, port1: Json, node2: &str, port2: Json| json!({"node1": node1, "port1": port1, "node2": node2, "port2": port2});
        let two =
            json!({"a": {"agent": "10.0.0.1", "ports": {"p": {"ifindex": 1}}}, "b": {"agent": "10.0.0.2"}});
        for (json, said) in [
            (json!([]), "topology: must be an object"),
            (json!({"link": {}}), "link: is no attribute of a topology"),
            (json!({"links": []}), "links: must be an object"),
            (json!({"nodes": {"a": 1}}), "nodes.a: must be an object"),
            (json!({"nodes": {"a": {"agent": 7}}}), "nodes.a.agent: must be an address"),
            (json!({"nodes": {"a": {"ports": []}}}), "nodes.a.ports: must be an object"),
            (
                json!({"nodes": {"a": {"ports": {"p": {"ifindex": "x"}}}}}),
                "nodes.a.ports.p.ifindex: must be a number",
            ),
            (
                json!({"nodes": {"a": {"ports": {"p": {"ifindex": 0}}}}}),
                "nodes.a.ports.p.ifindex: must be a number",
            ),
            (json!({"nodes": {"": {}}}), "a name has 1 to 200 bytes"),
            (json!({"nodes": {"a\n": {}}}), "no control characters"),
            (json!({"links": {"l": 1}}), "links.l: must be an object with node1"),
            (json!({"links": {"l": {"node1": "a"}}}), "links.l.port1: must be a name"),
            (
                json!({"nodes": two, "links": {"l": link("a", "p".into(), "c", "q".into())}}),
                "links.l.node2: \"c\" is not among the nodes",
            ),
            (
                json!({"links": {"l": link("a", "p".into(), "a", "p".into())}}),
                "links.l.port2: port \"p\" of node \"a\" is in link \"l\" already",
            ),
            (
                json!({"links": {"l": link("a", "p".into(), "b", "p".into()), "m": link("b", "p".into(), "c", "p".into())}}),
                "links.m.port1: port \"p\" of node \"b\" is in link \"l\" already",
            ),
            (
                json!({"nodes": {"a": {"agent": "10.0.0.1", "ports": {"p": {"ifindex": 1}}},
                    "b": {"agent": "10.0.0.1", "ports": {"q": {"ifindex": "1"}}}}}),
                "nodes.b.ports.q: is the same interface of the same agent as port \"p\" of node \"a\"",
            ),
        ] {
            let error = Definition::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
    }

    #[test]
    fn limits_are_held() {
        let nodes: Map<String, Json> = (0..=MOST_NODES).map(|n| (n.to_string(), json!({}))).collect();
        let error = Definition::from_json(&json!({ "nodes": nodes })).unwrap_err().to_string();
        assert!(error.contains("10000 nodes at most"), "{error}");
        let link =
            |n: usize| json!({"node1": "a", "port1": n.to_string(), "node2": "b", "port2": n.to_string()});
        let links: Map<String, Json> = (0..=MOST_LINKS).map(|n| (n.to_string(), link(n))).collect();
        let error = Definition::from_json(&json!({ "links": links })).unwrap_err().to_string();
        assert!(error.contains("50000 links at most"), "{error}");
        let ports: Map<String, Json> = (0..=MOST_PORTS).map(|n| (n.to_string(), Json::Null)).collect();
        let error =
            Definition::from_json(&json!({"nodes": {"a": {"ports": ports}}})).unwrap_err().to_string();
        assert!(error.contains("200001 ports: a topology has 200000 at most"), "{error}");
    }
}
