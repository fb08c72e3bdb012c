//! What a topology shows to scripts, as JSON. It knows nothing of scripts.

use std::net::IpAddr;

use engine::json;
use serde_json::{Map, Value as Json};
use tables::question::{Address, DataSource, Mac, Metric, Source};
use tables::select::{Agents, Filter, MetricRef};
use tables::topology::{End, Place, Topology};
use tables::{Answer, Program, Question};

/// Places of one host that are given, at most: whoever sends from the address of another is there too.
const MOST_PLACES: usize = 1000;

/// What is told of the aggregation that a port belongs to.
const AGGREGATION: [&str; 2] = ["agg_attachedaggid", "agg_partneropersystemid"];

/// An interface of an agent of the topology; `None` where there is no such agent, or the data source is no interface.
pub(super) fn interface(topology: &Topology, agent: &str, source: &str) -> Option<(Address, u32)> {
    let source: DataSource = source.parse().ok().filter(|source: &DataSource| source.class == 0)?;
    let agent = topology.agent_named(agent).filter(|agent| topology.has(*agent))?;
    Some((agent, source.index))
}

/// The link of an interface: its name, and what is known of both of its ends.
pub(super) fn link_of(topology: &Topology, (agent, ifindex): (Address, u32)) -> Option<Json> {
    let end = topology.link_end(agent, ifindex)?;
    let [one, other] = topology.ends_of(&end.link)?;
    let (local, remote) = if one.interface == Some((agent, ifindex)) { (one, other) } else { (other, one) };
    let mut object = Map::new();
    // Older scripts read `link`.
    object.insert("linkname".into(), (*end.link).into());
    object.insert("link".into(), (*end.link).into());
    add_end(&mut object, &local, |what| format!("local{what}"));
    add_end(&mut object, &remote, |what| format!("remote{what}"));
    Some(object.into())
}

/// The interfaces at both ends of a link, with names as those of the link's definition: `node1`, `port1`, and where they are
/// known `agent1` and `ifindex1`.
pub(super) fn interfaces_of(topology: &Topology, link: &str) -> Option<Json> {
    let mut object = Map::new();
    object.insert("linkname".into(), link.into());
    for (number, end) in (1..).zip(topology.ends_of(link)?) {
        add_end(&mut object, &end, |what| format!("{what}{number}"));
    }
    Some(object.into())
}

fn add_end(object: &mut Map<String, Json>, end: &End, named: impl Fn(&str) -> String) {
    object.insert(named("node"), (*end.node).into());
    object.insert(named("port"), (*end.port).into());
    if let Some((agent, ifindex)) = end.interface {
        object.insert(named("agent"), agent.to_string().into());
        object.insert(named("ifindex"), ifindex.to_string().into());
    }
}

/// Node and port of an interface, and what the definition has of the port: `ofport`, `dpid`, `tags`. The `dpid` of the node
/// counts where the port has none.
pub(super) fn port_of(topology: &Topology, (agent, ifindex): (Address, u32)) -> Option<Json> {
    let (node, port) = topology.port_of(agent, ifindex)?;
    let defined = topology.definition();
    let of_port = defined.and_then(|definition| definition.port_json(node, &port));
    let mut object = of_port.and_then(Json::as_object).cloned().unwrap_or_default();
    let dpid = defined.and_then(|definition| definition.node_json(node)?.get("dpid"));
    if let (Some(dpid), None) = (dpid, object.get("dpid")) {
        object.insert("dpid".into(), dpid.clone());
    }
    object.insert("node".into(), (**node).into());
    object.insert("port".into(), (*port).into());
    object.insert("agent".into(), agent.to_string().into());
    object.insert("ifindex".into(), ifindex.to_string().into());
    Some(object.into())
}

/// The nodes of an agent: all, or the one that a data source belongs to.
pub(super) fn nodes_of(topology: &Topology, agent: &str, source: Option<&str>) -> Vec<String> {
    let Some(agent) = topology.agent_named(agent) else { return Vec::new() };
    match source.map(str::parse) {
        None => topology.nodes_of(agent).map(ToString::to_string).collect(),
        Some(Ok(source)) => topology.node_of(agent, source).map(ToString::to_string).into_iter().collect(),
        Some(Err(_)) => Vec::new(),
    }
}

/// An Ethernet address, with or without separators.
pub(super) fn mac(text: &str) -> Option<Mac> {
    let plain: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    plain.parse().ok()
}

/// Where somebody is whose packets come in at the edge, the newest place first.
pub(super) enum Whom {
    Mac(Mac),
    Address(IpAddr),
}

impl Whom {
    pub(super) fn places<'p>(&self, program: &'p Program) -> Vec<&'p Place> {
        match self {
            Self::Mac(mac) => program.located.by_mac(&program.topology, *mac).take(MOST_PLACES).collect(),
            Self::Address(address) => program.locate(*address).take(MOST_PLACES).collect(),
        }
    }
}

/// What to ask for the aggregations that the ports of some places belong to; `None` where there is no place.
pub(super) fn aggregations(places: &[&Place]) -> Option<Question> {
    let mut agents: Vec<Address> = places.iter().map(|place| place.location.agent).collect();
    agents.sort_unstable();
    agents.dedup();
    let metrics = AGGREGATION.iter().filter_map(|name| name.parse::<MetricRef>().ok()).collect();
    let agents = agents.iter().map(ToString::to_string).collect();
    let question = Question::Dump { agents: Agents::Named(agents), metrics, filter: Filter::default() };
    (!places.is_empty()).then_some(question)
}

/// Places as scripts see them.
pub(super) fn places(
    program: &Program,
    places: &[&Place],
    aggregations: Option<Answer>,
    now_us: u64,
) -> Json {
    let aggregations = match aggregations {
        Some(Answer::Metrics(metrics)) => metrics,
        _ => Vec::new(),
    };
    let is_of = |metric: &&Metric, place: &Place| {
        let port = Source::Of(DataSource { class: 0, index: place.location.ifindex });
        metric.owner.agent == place.location.agent && metric.owner.source == port
    };
    let shown = |place: &&Place| {
        let mut host = json::host(program, place, now_us);
        for metric in aggregations.iter().filter(|metric| is_of(metric, place)) {
            host[&metric.name] = json::value(&metric.value);
        }
        host
    };
    places.iter().map(shown).collect()
}

/// The Ethernet addresses at the edge, those that were seen last first: all, those at an agent, or at one interface of it.
pub(super) fn macs(program: &Program, agent: Option<&str>, source: Option<&str>) -> Vec<String> {
    let topology = &program.topology;
    let at = agent.map(|agent| topology.agent_named(agent));
    let ifindex = source.map(|source| source.parse::<DataSource>().ok().filter(|source| source.class == 0));
    let is_meant = |place: &&Place| {
        at.is_none_or(|at| at == Some(place.location.agent))
            && ifindex.is_none_or(|port| port.is_some_and(|port| port.index == place.location.ifindex))
    };
    let mut seen = std::collections::HashSet::new();
    let macs = program.located.all(topology).filter(is_meant).map(|place| place.location.mac);
    macs.filter(|mac| seen.insert(*mac)).map(|mac| mac.to_string()).collect()
}
