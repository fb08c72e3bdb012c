//! The topology of the fabric, and where its hosts are.

use serde_json::json;

use super::{Known, Says};

const fn ask(name: &'static str, asks: &'static str, is: &'static str) -> Known {
    Known { name, first: "", asks, says: Says::Json(is) }
}

/// The speed of a port, bits per second.
fn speed(scene: &crate::scene::Scene, agent: &str, index: u32) -> f64 {
    let truth = scene.truth();
    let is =
        |port: &&fabric::truth::InterfaceTruth| port.agent.to_string() == agent && port.source.index == index;
    truth.interfaces.iter().find(is).unwrap().speed_bps as f64
}

pub(super) fn known() -> Vec<Known> {
    vec![
        // The others ask for what this one defines.
        Known {
            name: "setTopology",
            first: "var taken = setTopology({\n\
                    nodes: {leaf1: {agent: '10.255.0.1', ports: {swp3: {ifindex: '3'}}},\n\
                    leaf2: {agent: '10.255.0.2', ports: {swp3: {ifindex: '3'}}},\n\
                    spine1: {agent: '10.254.0.1', ports: {swp1: {ifindex: '1'}, swp2: {ifindex: '2'}}}},\n\
                    links: {one: {node1: 'leaf1', port1: 'swp3', node2: 'spine1', port2: 'swp1'},\n\
                    two: {node1: 'leaf2', port1: 'swp3', node2: 'spine1', port2: 'swp2'}}});\n\
                    var wrong = setTopology({links: {three: {node1: 'leaf1'}}});",
            asks: "[taken, wrong]",
            says: Says::Json("[true, false]"),
        },
        ask("getTopology", "Object.keys(getTopology().nodes).sort()", "[\"leaf1\", \"leaf2\", \"spine1\"]"),
        ask("topologyVersion", "topologyVersion()", "1"),
        ask("topologyNodeNames", "topologyNodeNames(true)", "[\"leaf1\", \"leaf2\", \"spine1\"]"),
        ask("topologyLinkNames", "topologyLinkNames()", "[\"one\", \"two\"]"),
        ask("topologyNode", "topologyNode('leaf2').agent", "\"10.255.0.2\""),
        ask("topologyLink", "topologyLink('two').port2", "\"swp2\""),
        ask("topologyInterfaceToLink", "topologyInterfaceToLink('10.254.0.1', '2').remotenode", "\"leaf2\""),
        ask("topologyInterfaceToPort", "topologyInterfaceToPort('10.255.0.1', 3).port", "\"swp3\""),
        ask("topologyLinkToInterfaces", "topologyLinkToInterfaces('two').ifindex2", "\"2\""),
        Known {
            name: "topologyLinkMetric",
            first: "",
            asks: "topologyLinkMetric('one', 'ifspeed,ifindex').map(m => m.metricValue)",
            says: Says::Is(|scene| {
                json!([speed(scene, "10.255.0.1", 3) as u64, 3, speed(scene, "10.254.0.1", 1) as u64, 1])
            }),
        },
        ask("topologyAgentForNode", "topologyAgentForNode('spine1')", "\"10.254.0.1\""),
        ask("topologyNodesForAgent", "topologyNodesForAgent('10.255.0.2')", "[\"leaf2\"]"),
        ask("topologyNodeLinks", "topologyNodeLinks('spine1')", "[\"one\", \"two\"]"),
        ask(
            "topologyLocateHostMac",
            "topologyLocateHostMac('02:02:00:00:00:02').map(at => [at.node, at.ifindex])",
            "[[\"leaf1\", \"2\"]]",
        ),
        ask(
            "topologyLocateHostIP",
            "topologyLocateHostIP('10.0.16.11').map(at => [at.node, at.ifindex, at.mac])",
            "[[\"leaf2\", \"2\", \"020200000003\"]]",
        ),
        ask(
            "topologyLocateHostIP6",
            "topologyLocateHostIP6('2001:db8:1::a').map(at => [at.node, at.ifindex, at.mac])",
            "[[\"leaf1\", \"1\", \"020200000000\"]]",
        ),
        ask("topologyLocatedHostMacs", "topologyLocatedHostMacs('10.255.0.2', '2')", "[\"020200000003\"]"),
        ask("topologyDiameter", "topologyDiameter()", "2"),
        ask("topologyShortestPath", "topologyShortestPath('leaf2', 'leaf1')", "[\"two\", \"one\"]"),
        ask("topologyShortestPaths", "topologyShortestPaths('leaf1', 'spine1', 5)", "[[\"one\"]]"),
        ask("topologyMinimumSpanningTree", "topologyMinimumSpanningTree()", "[\"one\", \"two\"]"),
    ]
}
