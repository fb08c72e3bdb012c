//! The topology: its definition, what ports and links are, where hosts are, ways through it.

mod shown;

use std::rc::Rc;
use std::sync::Arc;

use engine::DefineError;
use engine::json;
use rquickjs::Value;
use serde_json::Value as Json;
use tables::question::Address;
use tables::select::MetricRef;
use tables::topology::Topology;
use tables::{Answer, Change};

use crate::call::Call;
use crate::catalogue::Function;
use crate::lines::Level;
use crate::script::Script;
use shown::Whom;

/// A topology for examples: two leaves, two spines.
macro_rules! fabric {
    ($rest:literal) => {
        concat!(
            "setTopology({\n",
            "  nodes: {leaf1: {agent: '10.0.0.1', ports: {swp1: {ifindex: '3'}, swp2: {ifindex: '4'}}},\n",
            "          leaf2: {agent: '10.0.0.2'}, spine1: {agent: '10.0.0.3'}, spine2: {agent: '10.0.0.4'}},\n",
            "  links: {l1: {node1: 'leaf1', port1: 'swp1', node2: 'spine1', port2: '1'},\n",
            "          l2: {node1: 'leaf1', port1: 'swp2', node2: 'spine2', port2: '1'},\n",
            "          l3: {node1: 'leaf2', port1: '51', node2: 'spine1', port2: '2'},\n",
            "          l4: {node1: 'leaf2', port1: '52', node2: 'spine2', port2: '2'}}});\n",
            $rest
        )
    };
}

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "setTopology",
        parameters: "topology",
        what: "Replaces the topology: nodes, their ports, and the links between them, as `/topology/json` has them. \
         Gives true; false where the topology is wrong or there is none, and the log says what is.",
        example: fabric!("logInfo(setTopology({links: []}));\n"),
        call: set_topology,
    },
    Function {
        name: "getTopology",
        parameters: "",
        what: "The topology as it was defined; null where there is none.",
        example: fabric!("logInfo(getTopology().links.l1.node2);\n"),
        call: |script, call| {
            let program = script.world.engine.program();
            call.give(&program.topology.definition().map_or(Json::Null, |one| one.to_json().clone()))
        },
    },
    Function {
        name: "topologyVersion",
        parameters: "",
        what: "A number that rises whenever the definition of the topology changes: 0 before the first one. It begins anew when \
         the collector does.",
        example: fabric!("logInfo(topologyVersion());\n"),
        call: |script, call| call.give(&script.world.engine.program().topology.version().into()),
    },
    Function {
        name: "topologyNodeNames",
        parameters: "[sorted]",
        what: "The names of all nodes, as an array: in their order in the definition, or by name where `sorted` is true. Empty \
         where no topology is defined.",
        example: fabric!("logInfo(topologyNodeNames(true).join());\n"),
        call: |script, call| {
            let mut names = script.world.engine.program().topology.node_names();
            if call.value(0).is_some_and(|sorted| sorted.as_bool() != Some(false)) {
                names.sort();
            }
            call.give(&texts(&names))
        },
    },
    Function {
        name: "topologyLinkNames",
        parameters: "[sorted]",
        what: "The names of all links, as an array, by name whatever `sorted` says. Empty where no topology is defined.",
        example: fabric!("logInfo(topologyLinkNames(true).join());\n"),
        call: |script, call| call.give(&texts(&script.world.engine.program().topology.link_names())),
    },
    Function {
        name: "topologyNode",
        parameters: "node",
        what: "A node as it was defined. Of one that only links name, what is known: `agent`, and `ports` with their `ifindex`. \
         null where there is no such node.",
        example: fabric!("logInfo(topologyNode('leaf1').agent);\n"),
        call: |script, call| {
            let node = script.world.engine.program().topology.node_json(&call.text(0)?);
            call.give(&node.unwrap_or_default())
        },
    },
    Function {
        name: "topologyLink",
        parameters: "link",
        what: "A link as it was defined: `node1`, `port1`, `node2`, `port2` and what else it was given. null where there is no \
         such link.",
        example: fabric!("logInfo(topologyLink('l1').port1);\n"),
        call: |script, call| {
            let (name, program) = (call.text(0)?, script.world.engine.program());
            let link = program.topology.definition().and_then(|defined| defined.link_json(&name));
            call.give(link.unwrap_or(&Json::Null))
        },
    },
    Function {
        name: "topologyInterfaceToLink",
        parameters: "agent, dataSource",
        what: "The link that an interface of an agent belongs to: `linkname`, `localnode`, `localport`, `remotenode`, `remoteport` \
         and, where they are known, `localagent`, `localifindex`, `remoteagent`, `remoteifindex`. null where it belongs to \
         none: at the edge, or while a port's number is not known.",
        example: fabric!("logInfo(topologyInterfaceToLink('10.0.0.1', '3').remotenode);\n"),
        call: |script, call| of_interface(script, &call, shown::link_of),
    },
    Function {
        name: "topologyInterfaceToPort",
        parameters: "agent, dataSource",
        what: "Node and port of an interface of an agent: `node`, `port`, `agent`, `ifindex`, and what the definition has of the \
         port, such as `ofport`, `dpid` and `tags`. A port that is not defined has its interface's name, or its number. \
         null where the agent is not of the topology.",
        example: fabric!(
            "var at = topologyInterfaceToPort('10.0.0.1', '3');\nlogInfo(at.node + ' ' + at.port);\n"
        ),
        call: |script, call| of_interface(script, &call, shown::port_of),
    },
    Function {
        name: "topologyLinkToInterfaces",
        parameters: "link",
        what: "Both ends of a link: `linkname`, `node1`, `port1`, `node2`, `port2` and, where they are known, `agent1`, `ifindex1`, \
         `agent2`, `ifindex2`. null where there is no such link.",
        example: fabric!(
            "var ends = topologyLinkToInterfaces('l1');\nlogInfo(ends.agent1 + ' ' + ends.ifindex1);\n"
        ),
        call: |script, call| {
            let (name, program) = (call.text(0)?, script.world.engine.program());
            call.give(&shown::interfaces_of(&program.topology, &name).unwrap_or_default())
        },
    },
    Function {
        name: "topologyLinkMetric",
        parameters: "link, metrics[, node]",
        what: "Metrics of both ends of a link, as an array of what `metric` gives: all metrics of its first end, then all of its \
         second one. With `node` the end at that node comes first. An element has `agent` where its end is known and sends \
         the metric. null where there is no such link; an error where the node is at no end of it.",
        example: fabric!(
            "topologyLinkMetric('l1', 'ifinoctets,ifoutoctets').forEach(m => logInfo(m.metricName));\n"
        ),
        call: link_metric,
    },
    Function {
        name: "topologyAgentForNode",
        parameters: "node",
        what: "The address of a node's agent; null where it is not known, or there is no such node.",
        example: fabric!("logInfo(topologyAgentForNode('spine2'));\n"),
        call: |script, call| {
            let agent = script.world.engine.program().topology.agent_of(&call.text(0)?);
            call.give(&agent.map_or(Json::Null, |agent| agent.to_string().into()))
        },
    },
    Function {
        name: "topologyNodesForAgent",
        parameters: "agent[, dataSource]",
        what: "The names of an agent's nodes, as an array: several where virtual switches share one. With a data source, the one \
         that it belongs to. Empty where there is none.",
        example: fabric!("logInfo(topologyNodesForAgent('10.0.0.3')[0]);\n"),
        call: |script, call| {
            let (agent, source) = (call.text(0)?, call.optional_text(1)?);
            let program = script.world.engine.program();
            call.give(&shown::nodes_of(&program.topology, &agent, source.as_deref()).into())
        },
    },
    Function {
        name: "topologyNodeLinks",
        parameters: "node",
        what: "The names of a node's links, as an array, by name. null where there is no such node.",
        example: fabric!("logInfo(topologyNodeLinks('leaf1').join());\n"),
        call: |script, call| {
            let links = script.world.engine.program().topology.links_of(&call.text(0)?);
            call.give(&links.map_or(Json::Null, |links| texts(&links)))
        },
    },
    Function {
        name: "topologyLocateHostMac",
        parameters: "mac",
        what: "Where the host with an Ethernet address is attached, as an array, the place where it was seen last first: `mac`, \
         `agent`, `ifindex` and, where they are known, `node`, `port`, `vlan`, `ouiname`, `ipaddress`, `ip6address`, \
         `addresses`, and of a port in an aggregation `agg_attachedaggid` and `agg_partneropersystemid`. `lastSeen` is an \
         age, ms. Hosts are found by packets that come in at ports that are the edge of the topology; whoever sends from an \
         address is believed. At most 1,000 places; empty where it was not seen, or the text is no address.",
        example: fabric!(
            "topologyLocateHostMac('005056A1B2C3').forEach(at => logInfo(at.node + ' ' + at.port));\n"
        ),
        call: |script, call| locate(script, &call, |text| shown::mac(text).map(Whom::Mac)),
    },
    Function {
        name: "topologyLocateHostIP",
        parameters: "address",
        what: "Where the host with an IPv4 address is attached: as `topologyLocateHostMac`.",
        example: fabric!(
            "topologyLocateHostIP('10.1.2.3').forEach(at => logInfo(at.node + ' ' + at.port));\n"
        ),
        call: |script, call| locate(script, &call, |text| text.parse().ok().map(Whom::Address)),
    },
    Function {
        name: "topologyLocateHostIP6",
        parameters: "address",
        what: "Where the host with an IPv6 address is attached: as `topologyLocateHostMac`.",
        example: fabric!(
            "topologyLocateHostIP6('2001:DB8::1').forEach(at => logInfo(at.node + ' ' + at.port));\n"
        ),
        call: |script, call| locate(script, &call, |text| text.parse().ok().map(Whom::Address)),
    },
    Function {
        name: "topologyLocatedHostMacs",
        parameters: "[agent, dataSource]",
        what: "The Ethernet addresses that were seen at the edge in the last 15 minutes, as an array, those that were seen last \
         first: all, those at an agent, or at one interface of it.",
        example: fabric!("logInfo(topologyLocatedHostMacs('10.0.0.1', '5').length);\n"),
        call: |script, call| {
            let (agent, source) = (call.optional_text(0)?, call.optional_text(1)?);
            let program = script.world.engine.program();
            call.give(&shown::macs(&program, agent.as_deref(), source.as_deref()).into())
        },
    },
    Function {
        name: "topologyDiameter",
        parameters: "",
        what: "The number of links of the longest of all shortest paths; 0 where no topology is defined.",
        example: fabric!("logInfo(topologyDiameter());\n"),
        call: |script, call| call.give(&script.world.engine.program().topology.diameter().into()),
    },
    Function {
        name: "topologyShortestPath",
        parameters: "node1, node2",
        what: "The names of the links of a shortest path between two nodes, as an array: of several paths the one whose links come \
         first by name. null where there is none.",
        example: fabric!("logInfo(topologyShortestPath('leaf1', 'leaf2').join());\n"),
        call: |script, call| {
            let path = script.world.engine.program().topology.path(&call.text(0)?, &call.text(1)?);
            call.give(&path.map_or(Json::Null, |path| texts(&path)))
        },
    },
    Function {
        name: "topologyShortestPaths",
        parameters: "node1, node2, k[, n]",
        what: "Up to k paths between two nodes that visit no node twice, as an array of arrays of names of links: shortest first, \
         and of equally long ones those first whose links come first by name. `n` is the number of links that a path may \
         have. Empty where there is none; an error where k is not 1 to 1000, or where it would take more than about a \
         second, which chains of thousands of nodes do.",
        example: fabric!(
            "topologyShortestPaths('leaf1', 'leaf2', 10, 2).forEach(path => logInfo(path.join()));\n"
        ),
        call: shortest_paths,
    },
    Function {
        name: "topologyMinimumSpanningTree",
        parameters: "",
        what: "The names of the links of a minimum spanning tree, as an array, by name: of several trees the one whose links come \
         first. Where not all nodes are connected, a tree for each part.",
        example: fabric!("logInfo(topologyMinimumSpanningTree().join());\n"),
        call: |script, call| call.give(&texts(&script.world.engine.program().topology.spanning_tree())),
    },
];

/// Names as an array.
fn texts(names: &[Arc<str>]) -> Json {
    names.iter().map(|name| Json::from(&**name)).collect()
}

fn set_topology<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    // What a script has kept and does not find any more must not take away what somebody else has defined.
    let Some(topology) = call.optional_json(0)? else {
        script.log(Level::Warning, "setTopology: there is no topology to set; {} is one without nodes");
        return call.give(&false.into());
    };
    let is_set = match script.world.engine.define(Change::Topology(Some(topology))) {
        Ok(()) => true,
        Err(DefineError::Change(error)) => {
            script.log(Level::Warning, &format!("setTopology: {error}"));
            false
        }
        Err(error) => return Err(call.fail(error)),
    };
    call.give(&is_set.into())
}

/// What is shown of an interface, its agent and data source being the arguments; `null` where there is nothing.
fn of_interface<'js>(
    script: &Rc<Script>,
    call: &Call<'js>,
    shown: fn(&Topology, (Address, u32)) -> Option<Json>,
) -> rquickjs::Result<Value<'js>> {
    let (agent, source) = (call.text(0)?, call.text(1)?);
    let program = script.world.engine.program();
    let interface = shown::interface(&program.topology, &agent, &source);
    call.give(&interface.and_then(|interface| shown(&program.topology, interface)).unwrap_or_default())
}

fn link_metric<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let (link, metrics, node) = (call.text(0)?, call.texts(1)?, call.optional_text(2)?);
    let metrics =
        MetricRef::list(&metrics.join(",")).map_err(|error| call.wrong(1, &format!("is wrong: {error}")))?;
    let program = script.world.engine.program();
    let Some(ends) = program.topology.ends_of(&link) else { return call.null() };
    let Some(mut questions) = program.link_metrics(&link, &metrics) else { return call.null() };
    let at = node.map(|node| ends.iter().position(|end| *end.node == *node));
    match at {
        None | Some(Some(0)) => {}
        Some(Some(_)) => questions.reverse(),
        Some(None) => {
            let [one, other] = ends.map(|end| end.node);
            return Err(call.wrong(2, &format!("must be one of the link's nodes: {one}, {other}")));
        }
    }
    let mut found = Vec::new();
    for question in questions {
        let answer = script.world.engine.ask(question).map_err(|error| call.fail(error))?;
        let Answer::Statistics(statistics) = answer else { return Err(call.fail("there is no answer")) };
        found.extend(statistics.iter().map(json::statistic));
    }
    call.give(&found.into())
}

/// Where somebody is; `whom` is what the argument means.
fn locate<'js>(
    script: &Rc<Script>,
    call: &Call<'js>,
    whom: fn(&str) -> Option<Whom>,
) -> rquickjs::Result<Value<'js>> {
    let (engine, whom) = (&script.world.engine, whom(&call.text(0)?));
    let program = engine.program();
    let places = whom.map(|whom| whom.places(&program)).unwrap_or_default();
    let question = shown::aggregations(&places);
    let answer =
        question.map(|question| engine.ask(question)).transpose().map_err(|error| call.fail(error))?;
    call.give(&shown::places(&program, &places, answer, engine.now_us()))
}

fn shortest_paths<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let (from, to, most) = (call.text(0)?, call.text(1)?, call.number(2)?);
    let longest = call.optional_number(3)?.map(|longest| longest.max(0.0) as usize);
    let paths = script.world.engine.program().topology.paths(&from, &to, most.max(0.0) as usize, longest);
    let paths = paths.map_err(|error| call.fail(error))?;
    call.give(&paths.iter().map(|path| texts(path)).collect())
}
