//! What a topology tells: totals of the edge and between switches, against the truth of a simulated fabric; and the same
//! answers of any partition of agents over shards.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use decode::{Address, DataSource};
use fabric::{Fabric, FabricOptions, Truth};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tables::flow::active::FlowAggregation;
use tables::question::Source;
use tables::select::{Agents, Filter, MetricRef};
use tables::topology::located::Gathered;
use tables::topology::{AgentPorts, Definition, Named, Role, Topology, Which};
use tables::{Answer, Change, Options, Outbox, Partial, Program, Question, Shard};

const SECOND: u64 = 1_000_000;
const SENDER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Shards that have heard a fabric, each some of its agents.
struct Heard {
    shards: Vec<Shard>,
    program: Arc<Program>,
    truth: Truth,
    now_us: u64,
}

/// Names of links' ports, without numbers: what the fabric's counters say has to tell them.
fn without_numbers(mut topology: Json) -> Json {
    for node in topology["nodes"].as_object_mut().unwrap().values_mut() {
        node.as_object_mut().unwrap().remove("ports");
    }
    topology
}

fn program(topology: &Json, t: u64) -> Program {
    let mut changes = vec![Change::Topology(Some(topology.clone()))];
    for (name, definition) in [
        ("total", json!({"value": "bytes", "t": t})),
        ("pairs", json!({"keys": "ipsource,ipdestination", "value": "bytes", "t": t})),
        ("edge", json!({"value": "bytes", "t": t, "aggMode": "edge"})),
        ("core", json!({"value": "bytes", "t": t, "aggMode": "core"})),
        ("links", json!({"keys": "link:inputifindex", "value": "bytes", "t": t})),
        (
            "outside",
            json!({"keys": "inputifindex", "value": "bytes", "t": t, "filter": "link:inputifindex=null"}),
        ),
    ] {
        changes.push(Change::Flow(name.to_owned(), Some(definition)));
    }
    changes.into_iter().fold(Program::default(), |program, change| program.changed(change).unwrap())
}

/// Hears a fabric for some seconds. `of` says which shard has an agent.
fn hear(options: &FabricOptions, seconds: u64, t: u64, of: &dyn Fn(usize) -> usize) -> Heard {
    let mut fabric = Fabric::new(options).unwrap();
    let program = Arc::new(program(&options.topology().unwrap(), t));
    let mut outbox = Outbox::default();
    let mut shards: Vec<Shard> = (0..4).map(|_| Shard::new(Options::default())).collect();
    shards.iter_mut().for_each(|shard| shard.adopt(&program, 0, &mut outbox));
    let agents: BTreeMap<Address, usize> =
        fabric.truth().agents.iter().enumerate().map(|(n, agent)| (agent.agent, of(n) % 4)).collect();
    for now_us in (0..=seconds * SECOND).step_by(50_000) {
        let mut take = |agent: Address, bytes: &[u8]| {
            shards[agents[&agent]].datagram(bytes, SENDER, now_us, &mut outbox);
        };
        fabric.step(now_us, &mut take);
        if now_us == seconds * SECOND {
            fabric.finish(&mut take);
        }
        for shard in &mut shards {
            shard.flush(now_us, &mut outbox);
            shard.tick(now_us, &mut outbox);
        }
    }
    Heard { shards, program, truth: fabric.truth(), now_us: seconds * SECOND }
}

impl Heard {
    fn ask(&self, question: &Question) -> Answer {
        let partials = self.shards.iter().map(|shard| shard.ask(question, self.now_us));
        partials.reduce(Partial::merge).unwrap().finish(question)
    }

    fn agents(&self, text: &str) -> Agents {
        Agents::of(text, &self.program.topology).unwrap()
    }

    fn flows(&self, agents: Agents, flow: &str) -> BTreeMap<String, f64> {
        let question = Question::ActiveFlows {
            agents,
            flow: flow.to_owned(),
            aggregation: FlowAggregation::Sum,
            most: 100_000,
            least: 0.0,
            separator: ",".to_owned(),
        };
        let Answer::Flows(flows) = self.ask(&question) else { panic!() };
        flows.into_iter().map(|flow| (flow.key, flow.value)).collect()
    }

    fn total(&self, agents: Agents, flow: &str) -> f64 {
        self.flows(agents, flow).get("").copied().unwrap_or(0.0)
    }
}

fn near(found: f64, truth: f64, of: f64, what: &str) {
    assert!((found - truth).abs() < of * truth, "{what}: {found} is not about {truth}");
}

/// A flow over three switches is one at the edge, and crosses two links between switches.
#[test]
fn the_edge_has_every_packet_once_and_the_core_each_link_of_its_way() {
    let options = FabricOptions {
        spines: 2,
        leaves: 3,
        hosts: 9,
        flows: 400,
        sampling: 100,
        host_bps: 2e8,
        replicas: 0,
        ..FabricOptions::default()
    };
    let (t, seconds) = (30, 240);
    let heard = hear(&options, seconds, t, &|n| n);
    let bytes = |hops: fn(usize) -> bool| {
        let of = |flow: &fabric::truth::FlowTruth| {
            let hops = flow.hops.iter().enumerate().filter(|(n, _)| hops(*n));
            hops.map(|(_, hop)| flow.frames as f64 * f64::from(hop.frame_length)).sum::<f64>()
        };
        heard.truth.flows.iter().map(of).sum::<f64>() / seconds as f64
    };
    let (edge, core) = (bytes(|hop| hop == 0), bytes(|hop| hop > 0));
    assert!(core > 0.5 * edge && edge > 1e6, "{edge} {core}");
    near(heard.total(Agents::All, "total"), edge + core, 0.01, "everything, over and over");
    for (agents, flow, truth) in [
        ("EDGE", "total", edge),
        ("ALL", "edge", edge),
        ("CORE", "total", core),
        ("ALL", "core", core),
        ("TOPOLOGY", "total", edge + core),
    ] {
        near(heard.total(heard.agents(agents), flow), truth, 0.01, &format!("{flow} of {agents}"));
    }
    assert!(heard.total(heard.agents("EDGE"), "core") == 0.0, "no port is both");
    let within = Agents::Named(vec!["10.255.0.1".to_owned()]);
    let at = within.at("edge", &heard.program.topology, Which::Ports(Role::Edge)).unwrap();
    let leaf = heard.total(at, "total");
    assert!(leaf > 0.0 && leaf < 0.8 * edge, "of one leaf {leaf} of {edge}");
    // A link is named at the end where packets come in; what has none came in at the edge.
    let links = heard.flows(Agents::All, "links");
    assert_eq!(links.len(), 6, "{links:?}");
    near(links.values().sum(), core, 0.01, "links");
    near(heard.flows(Agents::All, "outside").values().sum(), edge, 0.01, "outside of links");
    // The same of metrics.
    let metrics = MetricRef::list("sum:ifinoctets").unwrap();
    let ports = |agents: &str| {
        let question = Question::Metric {
            agents: heard.agents(agents),
            metrics: metrics.clone(),
            filter: Filter::default(),
        };
        let Answer::Statistics(found) = heard.ask(&question) else { panic!() };
        found[0].n
    };
    assert_eq!(
        (ports("EDGE"), ports("CORE"), ports("TOPOLOGY")),
        (10, 12, 22),
        "nine hosts, the uplink, six links"
    );
    let question = Question::Agents(heard.agents("TOPOLOGY"));
    let Answer::Agents(agents) = heard.ask(&question) else { panic!() };
    assert_eq!(agents.len(), 5, "hosts are no switches");
}

/// Hosts are where packets from them come in, and nowhere between switches.
#[test]
fn hosts_are_located_at_their_ports() {
    let options = FabricOptions { replicas: 0, sampling: 20, ..FabricOptions::default() };
    let heard = hear(&options, 20, 2, &|n| n / 3);
    let Answer::Sightings(sightings) = heard.ask(&Question::Sightings(0)) else { panic!() };
    let mut gathered = Gathered::default();
    assert!(gathered.take(&sightings));
    let (located, topology) = (gathered.located(), &heard.program.topology);
    let mut found = 0;
    for flow in heard.truth.flows.iter().filter(|flow| flow.vni.is_none() && flow.hops[0].samples > 0) {
        let first = flow.hops[0];
        let mut places = located.by_address(topology, flow.source).map(|place| place.location);
        assert!(places.all(|at| topology.port_role(at.agent, at.ifindex) == Role::Edge));
        let mut places = located.by_address(topology, flow.source).map(|place| place.location);
        // What is outside has addresses without number behind the router of the uplink.
        found += u32::from(places.any(|at| (at.agent, at.ifindex) == (first.agent, first.input)));
    }
    assert!(found > 50, "{found}");
    let host = heard.truth.listed[0].host;
    let place = located.by_address(topology, host.into()).next().unwrap().location;
    let (node, port) = topology.port_of(place.agent, place.ifindex).unwrap();
    assert!(node.starts_with("leaf") && port.parse() == Ok(place.ifindex), "{node} {port}");
    assert_eq!(located.by_mac(topology, place.mac).count(), 1);
    assert!(located.addresses_of(&place).any(|address| address == IpAddr::from(host)));
}

/// Where only names are defined, the roles are there when the counters have told which interfaces they are.
#[test]
fn names_of_ports_come_with_counters() {
    let options = FabricOptions { polling_s: 1, replicas: 0, hosts: 16, ..FabricOptions::default() };
    let heard = hear(&options, 3, 2, &|n| n);
    let numbered = &heard.program.topology;
    let named = heard
        .program
        .changed(Change::Topology(Some(without_numbers(numbered.definition().unwrap().to_json().clone()))));
    let named = named.unwrap().topology;
    let needed: Named = named.needs_names();
    let Answer::PortNames(names) = heard.ask(&Question::PortNames(Arc::new(needed))) else { panic!() };
    let known: Topology = named.with_names(names);
    let (mut roles, mut edge) = (0, 0);
    for port in &heard.truth.interfaces {
        let role = |topology: &Topology| topology.role(port.agent, port.source);
        assert_eq!(role(&known), role(numbered), "{} {}", port.agent, port.name);
        assert_eq!(role(&named), Role::Unknown);
        assert_eq!(
            known.link_of(port.agent, port.source.index),
            numbered.link_of(port.agent, port.source.index)
        );
        roles += 1;
        edge += u32::from(role(&known) == Role::Edge);
        let called = known.port_of(port.agent, port.source.index).map(|(_, port)| port.to_string());
        assert_eq!(called.as_deref(), Some(port.name.as_str()));
    }
    assert_eq!((roles, edge), (2 * 4 + 4 * 2 + 16 + 1, 17));
    assert!(known.ports().iter().all(|port| port.role == Role::Core));
}

/// Definitions of few names, so that many of them are wrong, with names for some ports.
fn definitions() -> impl Strategy<Value = (Json, Vec<AgentPorts>)> {
    let good = prop::sample::select(vec!["a", "b", "10.0.0.1", "10.0.0.2", "1", "2"]);
    let name = prop_oneof![100 => good, 1 => prop::sample::select(vec!["", "x\n"])];
    let port = prop_oneof![
        Just(json!({})),
        Just(Json::Null),
        (0_u32..4).prop_map(|n| json!({"ifindex": n.to_string()})),
        prop::sample::select(vec!["a", "1"]).prop_map(|name| json!({"ifname": name})),
    ];
    let ports = prop::collection::btree_map(name.clone(), port, 0..3);
    let node = (prop::option::of(name.clone()), ports)
        .prop_map(|(agent, ports)| json!({"agent": agent, "ports": ports}));
    let nodes = prop::option::of(prop::collection::btree_map(name.clone(), node, 0..4));
    let link = prop::array::uniform4(name.clone())
        .prop_map(|[a, b, c, d]| json!({"node1": a, "port1": b, "node2": c, "port2": d}));
    let links = prop::collection::btree_map(name.clone(), link, 0..4);
    let names = prop::collection::btree_map(1_u32..4, prop::sample::select(vec!["a", "b", "1", "2"]), 0..3);
    let agents = prop::collection::vec((prop::option::of(prop::sample::select(vec!["a", "b"])), names), 0..3);
    (nodes, links, agents).prop_map(|(nodes, links, agents)| {
        let agent = |(n, (host, ports)): (u8, (Option<&str>, BTreeMap<u32, &str>))| AgentPorts {
            agent: Address::V4([10, 0, 0, n].into()),
            host_name: host.map(Into::into),
            ports: ports.into_iter().map(|(index, name)| (index, name.into())).collect(),
        };
        (json!({"nodes": nodes, "links": links}), (1..).zip(agents).map(agent).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is accepted hangs together: an interface at the end of a link is a port of that link and of no other.
    #[test]
    fn what_is_accepted_hangs_together((json, names) in definitions()) {
        let Ok(definition) = Definition::from_json(&json) else { return Ok(()) };
        let topology = Topology::new(Arc::new(definition), Arc::default()).with_names(names);
        for link in json["links"].as_object().unwrap().keys() {
            for end in topology.ends_of(link).unwrap() {
                let Some((agent, ifindex)) = end.interface else { continue };
                prop_assert_eq!(topology.port_role(agent, ifindex), Role::Core);
                prop_assert_eq!(topology.link_of(agent, ifindex).map(|link| &**link), Some(link.as_str()));
                let (node, port) = topology.port_of(agent, ifindex).unwrap();
                prop_assert_eq!((node, port), (&end.node, end.port.clone()));
                prop_assert_eq!(topology.agent_of(&end.node), Some(agent));
                prop_assert_eq!(topology.link_end(agent, ifindex).unwrap().local, end.node.clone());
                prop_assert!(topology.links_of(&end.node).unwrap().iter().any(|of| **of == **link));
                prop_assert!(topology.nodes_of(agent).any(|node| *node == end.node));
            }
        }
        let cores = topology.ports().iter().filter(|port| port.role == Role::Core).count();
        let ends = 2 * json["links"].as_object().unwrap().len();
        prop_assert_eq!(cores, ends - topology.unknown_ends());
        topology.diameter();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever shard an agent is on, and in whatever order they answer.
    #[test]
    fn any_partition_gives_the_same_answers(places in prop::collection::vec(0_usize..4, 22), seed in 0_u64..1000) {
        let options = FabricOptions { seed, flows: 100, sampling: 100, host_bps: 1e8, ..FabricOptions::default() };
        let one = hear(&options, 2, 2, &|_| 0);
        let mut many = hear(&options, 2, 2, &|n| places[n % 22]);
        many.shards.reverse();
        let round = |flows: BTreeMap<String, f64>| -> Vec<(String, i64)> {
            flows.into_iter().map(|(key, value)| (key, (value * 10.0).round() as i64)).collect()
        };
        for agents in ["EDGE", "CORE", "TOPOLOGY", "ALL"] {
            for flow in ["total", "pairs", "edge", "core", "links"] {
                let (one, many) = (one.flows(one.agents(agents), flow), many.flows(many.agents(agents), flow));
                prop_assert_eq!(round(one), round(many), "{} {}", agents, flow);
            }
            let metrics = MetricRef::list("sum:ifinoctets,med:ifspeed,any:ifname").unwrap();
            let statistics = |heard: &Heard| {
                let agents = heard.agents(agents);
                heard.ask(&Question::Metric { agents, metrics: metrics.clone(), filter: Filter::default() })
            };
            prop_assert_eq!(statistics(&one), statistics(&many));
            let dump = |heard: &Heard| {
                let agents = heard.agents(agents);
                heard.ask(&Question::Dump { agents, metrics: Vec::new(), filter: Filter::default() })
            };
            let Answer::Metrics(found) = dump(&many) else { panic!() };
            let topology = &many.program.topology;
            for metric in &found {
                let role = match metric.owner.source {
                    Source::Of(source) => topology.role(metric.owner.agent, source),
                    _ => Role::Unknown,
                };
                let fits = match agents {
                    "EDGE" => role == Role::Edge,
                    "CORE" => role == Role::Core,
                    "TOPOLOGY" => topology.has(metric.owner.agent),
                    _ => true,
                };
                prop_assert!(fits, "{} {:?}", agents, metric);
            }
            let Answer::Metrics(same) = dump(&one) else { panic!() };
            prop_assert_eq!(same.len(), found.len());
        }
        let located = |heard: &Heard| {
            let Answer::Sightings(mut sightings) = heard.ask(&Question::Sightings(0)) else { panic!() };
            sightings.sort_by_key(|sighting| (sighting.location, sighting.seen_us));
            sightings
        };
        prop_assert_eq!(located(&one), located(&many));
        let names = |heard: &Heard| heard.ask(&Question::PortNames(Arc::new(Topology::needs_names(&topology_by_name(heard)))));
        prop_assert_eq!(names(&one), names(&many));
        prop_assert_eq!(one.program.topology.role(Address::Unknown, DataSource::default()), Role::Unknown);
    }
}

fn topology_by_name(heard: &Heard) -> Topology {
    let json = without_numbers(heard.program.topology.definition().unwrap().to_json().clone());
    let definition = Definition::from_json(&json).unwrap();
    Topology::new(Arc::new(definition), Arc::default())
}
