//! What scripts are told of the topology: of one made by hand, and of hosts and links that send.

use std::net::{SocketAddr, UdpSocket};

use script::catalogue;
use serde_json::{Value as Json, json};

use crate::support::{Host, until};

/// Two leaves, two spines; `leaf2` is known by its ports' names alone, which nobody tells.
const FABRIC: &str = "
    setTopology({
      nodes: {
        leaf1: {agent: '10.0.0.1', dpid: '00a1', ports: {
          up1: {ifindex: '51', ofport: '1'}, up2: {ifindex: 52, ofport: '2', dpid: '00a2', tags: {rack: 7}}, h1: {ifindex: '5'}}},
        leaf2: {agent: '10.0.0.2', ports: {up1: {ifname: 'swp51'}, up2: {ifname: 'swp52'}}},
        spine1: {agent: '10.0.0.3', ports: {p1: {ifindex: '1'}, p2: {ifindex: '2'}}},
        spine2: {agent: '10.0.0.4'}},
      links: {
        l1: {node1: 'leaf1', port1: 'up1', node2: 'spine1', port2: 'p1'},
        l2: {node1: 'leaf1', port1: 'up2', node2: 'spine2', port2: '1', tags: {a: 1}},
        l3: {node1: 'leaf2', port1: 'up1', node2: 'spine1', port2: 'p2'},
        l4: {node1: 'leaf2', port1: 'up2', node2: 'spine2', port2: '2'}}});";

/// A script that answers with what these expressions are, and with the text of what they throw.
fn asking(before: &str, expressions: &[&str], is_once: bool) -> String {
    let asked: Vec<String> =
        expressions.iter().map(|text| format!("function() {{ return {text}; }}")).collect();
    let answer = if is_once {
        "var first = answer(); setHttpHandler(() => first);"
    } else {
        "setHttpHandler(answer);"
    };
    format!(
        "{before}
         function answer() {{
           return [{}].map(ask => {{ try {{ return ask(); }} catch (error) {{ return String(error); }} }});
         }}
         {answer}",
        asked.join(",\n")
    )
}

/// What the expressions are, after this.
fn are(before: &str, expected: &[(&str, Json)]) {
    let expressions: Vec<&str> = expected.iter().map(|(text, _)| *text).collect();
    let host = Host::start(&[("t.js", &asking(before, &expressions, true))]);
    let found = host.get("t.js");
    for ((text, expected), found) in
        expected.iter().zip(found.as_array().unwrap_or_else(|| panic!("{found}")))
    {
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn nodes_ports_and_links_are_as_they_were_defined() {
    are(
        FABRIC,
        &[
            ("getTopology().links.l2.tags.a", json!(1)),
            ("topologyVersion()", json!(1)),
            ("topologyNodeNames()", json!(["leaf1", "leaf2", "spine1", "spine2"])),
            ("topologyLinkNames(true)", json!(["l1", "l2", "l3", "l4"])),
            (
                "topologyNode('spine1')",
                json!({"agent": "10.0.0.3", "ports": {"p1": {"ifindex": "1"}, "p2": {"ifindex": "2"}}}),
            ),
            ("topologyNode('spine3')", Json::Null),
            (
                "topologyLink('l2')",
                json!({"node1": "leaf1", "port1": "up2", "node2": "spine2", "port2": "1", "tags": {"a": 1}}),
            ),
            ("topologyLink('l9')", Json::Null),
            (
                "topologyInterfaceToLink('10.0.0.1', 51)",
                json!({"linkname": "l1", "link": "l1", "localnode": "leaf1", "localport": "up1", "localagent": "10.0.0.1",
                    "localifindex": "51", "remotenode": "spine1", "remoteport": "p1", "remoteagent": "10.0.0.3", "remoteifindex": "1"}),
            ),
            ("topologyInterfaceToLink('10.0.0.3', '2').remotenode", json!("leaf2")),
            ("'remoteifindex' in topologyInterfaceToLink('10.0.0.3', '2')", json!(false)),
            (
                "[topologyInterfaceToLink('10.0.0.1', '5'), topologyInterfaceToLink('10.0.0.1', '2.1'),\
                 topologyInterfaceToLink('10.0.0.9', '51'), topologyInterfaceToLink('10.0.0.1', 'internal')]",
                json!([null, null, null, null]),
            ),
            (
                "topologyInterfaceToPort('10.0.0.1', '51')",
                json!({"node": "leaf1", "port": "up1", "agent": "10.0.0.1", "ifindex": "51", "ofport": "1", "dpid": "00a1"}),
            ),
            ("topologyInterfaceToPort('10.0.0.1', '52').dpid", json!("00a2")),
            ("topologyInterfaceToPort('10.0.0.1', '52').tags.rack", json!(7)),
            (
                "topologyInterfaceToPort('10.0.0.1', '77')",
                json!({"node": "leaf1", "port": "77", "agent": "10.0.0.1", "ifindex": "77", "dpid": "00a1"}),
            ),
            (
                "['0', 'internal', '3.1'].map(ds => topologyInterfaceToPort('10.0.0.1', ds))",
                json!([null, null, null]),
            ),
            (
                "topologyLinkToInterfaces('l3')",
                json!({"linkname": "l3", "node1": "leaf2", "port1": "up1", "node2": "spine1", "port2": "p2",
                    "agent2": "10.0.0.3", "ifindex2": "2"}),
            ),
            ("topologyLinkToInterfaces('l9')", Json::Null),
            ("topologyAgentForNode('spine2')", json!("10.0.0.4")),
            ("topologyAgentForNode('spine3')", Json::Null),
            ("topologyNodesForAgent('10.0.0.4')", json!(["spine2"])),
            ("topologyNodesForAgent('10.0.0.4', '17')", json!(["spine2"])),
            ("topologyNodesForAgent('10.0.0.9')", json!([])),
            ("topologyNodeLinks('leaf1')", json!(["l1", "l2"])),
            ("topologyNodeLinks('leaf3')", Json::Null),
            ("topologyNode()", json!("TypeError: topologyNode: argument 1 (node) is missing")),
        ],
    );
}

#[test]
fn ways_are_found_and_what_is_asked_too_much_is_said() {
    are(
        FABRIC,
        &[
            ("topologyDiameter()", json!(2)),
            ("topologyShortestPath('leaf1', 'leaf2')", json!(["l1", "l3"])),
            ("topologyShortestPath('leaf1', 'leaf1')", json!([])),
            ("topologyShortestPath('leaf1', 'leaf3')", Json::Null),
            ("topologyShortestPaths('leaf1', 'leaf2', 9)", json!([["l1", "l3"], ["l2", "l4"]])),
            ("topologyShortestPaths('leaf1', 'spine1', '9')", json!([["l1"], ["l2", "l4", "l3"]])),
            ("topologyShortestPaths('leaf1', 'spine1', 9, 2)", json!([["l1"]])),
            ("topologyShortestPaths('leaf1', 'spine1', 1)", json!([["l1"]])),
            ("topologyShortestPaths('leaf1', 'leaf3', 1)", json!([])),
            (
                "topologyShortestPaths('leaf1', 'leaf2', 0)",
                json!("Error: topologyShortestPaths: 0 paths cannot be asked for: 1 to 1000"),
            ),
            (
                "topologyShortestPaths('leaf1', 'leaf2')",
                json!("TypeError: topologyShortestPaths: argument 3 (k) is missing"),
            ),
            ("topologyMinimumSpanningTree()", json!(["l1", "l2", "l3"])),
        ],
    );
}

#[test]
fn a_topology_is_set_and_changed_and_a_wrong_one_is_not() {
    are(
        "",
        &[
            ("getTopology()", Json::Null),
            ("[topologyVersion(), topologyDiameter()]", json!([0, 0])),
            ("topologyNodeNames().concat(topologyLinkNames(), topologyMinimumSpanningTree())", json!([])),
            ("topologyInterfaceToPort('10.0.0.1', '1')", Json::Null),
            ("[topologyLocateHostIP('10.1.1.1'), topologyLocatedHostMacs()]", json!([[], []])),
            ("setTopology({links: {z: {node1: 'b', port1: 1, node2: 'a', port2: 1}}})", json!(true)),
            (
                "[topologyNodeNames(), topologyNodeNames(true), topologyVersion()]",
                json!([["b", "a"], ["a", "b"], 1]),
            ),
            ("topologyNode('b')", json!({"ports": {"1": {}}})),
            ("setTopology({links: {z: {node1: 'b'}}})", json!(false)),
            ("setTopology('x')", json!(false)),
            ("[setTopology(getTopology()), topologyVersion()]", json!([true, 1])),
            ("[setTopology({}), topologyVersion(), getTopology()]", json!([true, 2, {}])),
            (
                "[setTopology(null), setTopology(), topologyVersion(), getTopology()]",
                json!([false, false, 2, {}]),
            ),
        ],
    );
}

/// What an agent sends, as words of the wire.
struct Sender {
    socket: UdpSocket,
    to: SocketAddr,
    sequence: u32,
}

impl Sender {
    fn new(host: &Host) -> Self {
        let to = host.engine.as_ref().unwrap().addresses()[0];
        Self { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), to, sequence: 0 }
    }

    fn send(&mut self, agent: u8, tag: u32, sample: &[u32]) {
        self.sequence += 1;
        let head = [5, 1, 0x0a00_0000 + u32::from(agent), 0, self.sequence, self.sequence * 1000, 1];
        let body = [tag, sample.len() as u32 * 4, self.sequence];
        let bytes: Vec<u8> = head
            .iter()
            .chain(&body[..2])
            .chain(&[self.sequence])
            .chain(&sample[1..])
            .flat_map(|word| word.to_be_bytes())
            .collect();
        self.socket.send_to(&bytes, self.to).unwrap();
    }

    /// A counters sample with one record; the first word is where its number goes.
    fn counters(&mut self, agent: u8, port: u32, format: u32, record: &[u32]) {
        let mut sample = vec![0, port, 1, format, record.len() as u32 * 4];
        sample.extend(record);
        self.send(agent, 2, &sample);
    }

    /// Counters of an interface of this speed, bits per second.
    fn interface(&mut self, agent: u8, port: u32, speed: u32) {
        let mut record = [0; 22];
        (record[0], record[1], record[3], record[5]) = (port, 6, speed, 3);
        self.counters(agent, port, 1, &record);
    }

    /// A sampled frame of 60 bytes that came in at a port.
    fn frame(&mut self, agent: u8, port: u32, frame: &[u8]) {
        let mut bytes = frame.to_vec();
        bytes.resize(60, 0);
        let words: Vec<u32> =
            bytes.chunks(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect();
        let mut sample = vec![0, port, 100, 100 * self.sequence, 0, port, 9, 1, 1, 76, 1, 64, 4, 60];
        sample.extend(words);
        self.send(agent, 1, &sample);
    }
}

/// A UDP packet over IPv4 with a tag of VLAN 7, or over IPv6 without one, from the host 00-50-56-A1-B2-C3.
fn packet(v6: bool) -> Vec<u8> {
    let mut frame = vec![2, 2, 2, 2, 2, 2, 0x00, 0x50, 0x56, 0xa1, 0xb2, 0xc3];
    if v6 {
        frame.extend([
            0x86, 0xdd, 0x60, 0, 0, 0, 0, 6, 59, 64, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            1,
        ]);
        frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    } else {
        frame.extend([
            0x81, 0, 0, 7, 0x08, 0, 0x45, 0, 0, 42, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 10, 9, 9, 9,
        ]);
    }
    frame
}

#[test]
fn hosts_are_where_they_send_from() {
    let asked = [
        "topologyLocateHostMac('00:50:56:a1:b2:c3')",
        "topologyLocateHostIP('10.1.2.3')",
        "topologyLocateHostIP6('2001:DB8::1')",
        "[topologyLocatedHostMacs(), topologyLocatedHostMacs('10.0.0.1'), topologyLocatedHostMacs('10.0.0.1', '5'),\
          topologyLocatedHostMacs('10.0.0.1', '6'), topologyLocatedHostMacs('10.0.0.3')]",
        "topologyLocateHostMac('FFEEDDCCBBAA')",
        "topologyLocateHostMac('no address')",
    ];
    let host = Host::start(&[("t.js", &asking(FABRIC, &asked, false))]);
    let mut sender = Sender::new(&host);
    let mut lacp = [0; 14];
    lacp[..5].copy_from_slice(&[0x0200_0000, 0x0001_0000, 0x0200_0000, 0x0002_0000, 1005]);
    host.get("t.js");
    let mut found = Json::Null;
    let sent = std::cell::RefCell::new((&mut sender, &mut found));
    until("the host is found", || {
        let (sender, found) = &mut *sent.borrow_mut();
        sender.frame(1, 5, &packet(false));
        sender.frame(1, 5, &packet(true));
        // It comes over a link too, where it is not attached.
        sender.frame(3, 1, &packet(false));
        sender.counters(1, 5, 7, &lacp);
        **found = host.get("t.js");
        // What is known of places may change between two questions of one call.
        (0..3).all(|question| found[question][0]["agg_attachedaggid"] == 1005)
    });
    let place = &found[0][0];
    for (name, value) in [
        ("mac", json!("005056A1B2C3")),
        ("node", json!("leaf1")),
        ("port", json!("h1")),
        ("agent", json!("10.0.0.1")),
        ("ifindex", json!("5")),
        ("ipaddress", json!("10.1.2.3")),
        ("ip6address", json!("2001:DB8::1")),
        ("agg_attachedaggid", json!(1005)),
        ("agg_partneropersystemid", json!("020000000002")),
    ] {
        assert_eq!(place[name], value, "{name} of {place}");
    }
    assert_eq!(found[0].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!((&found[1][0]["mac"], &found[1][0]["vlan"]), (&json!("005056A1B2C3"), &json!(7)));
    assert_eq!(found[2][0]["ip6address"], "2001:DB8::1");
    let all = json!(["005056A1B2C3"]);
    assert_eq!(found[3], json!([all, all, all, [], []]));
    assert_eq!((&found[4], &found[5]), (&json!([]), &json!([])));
}

#[test]
fn links_have_the_metrics_of_both_ends() {
    let asked = [
        "topologyLinkMetric('l1', 'ifspeed,min:ifoperstatus')",
        "topologyLinkMetric('l1', ['ifspeed'], 'spine1')",
        "topologyLinkMetric('l3', 'ifspeed')",
        "topologyLinkMetric('l9', 'ifspeed')",
        "topologyLinkMetric('l1', 'ifspeed', 'leaf2')",
        "topologyLinkMetric('l1', '')",
    ];
    let host = Host::start(&[("t.js", &asking(FABRIC, &asked, false))]);
    let mut sender = Sender::new(&host);
    host.get("t.js");
    let mut found = Json::Null;
    let sent = std::cell::RefCell::new((&mut sender, &mut found));
    until("both ends are known", || {
        let (sender, found) = &mut *sent.borrow_mut();
        // The speeds differ, so that each end is told by its own.
        for (agent, port, speed) in
            [(1, 51, 1_000_000), (3, 1, 2_000_000), (3, 2, 3_000_000), (1, 5, 4_000_000)]
        {
            sender.interface(agent, port, speed);
        }
        **found = host.get("t.js");
        found[0][0]["agent"] == "10.0.0.1" && found[2][1]["agent"] == "10.0.0.3"
    });
    let shown = |at: usize| -> Vec<String> {
        let one =
            |m: &Json| format!("{} {} {}", m["agent"], m["metricName"], m["metricValue"]).replace('"', "");
        found[at].as_array().unwrap_or_else(|| panic!("{found}")).iter().map(one).collect()
    };
    assert_eq!(
        shown(0),
        [
            "10.0.0.1 ifspeed 1000000",
            "10.0.0.1 min:ifoperstatus up",
            "10.0.0.3 ifspeed 2000000",
            "10.0.0.3 min:ifoperstatus up"
        ]
    );
    assert_eq!(shown(1), ["10.0.0.3 ifspeed 2000000", "10.0.0.1 ifspeed 1000000"]);
    assert_eq!(
        shown(2),
        ["null ifspeed null", "10.0.0.3 ifspeed 3000000"],
        "nobody tells which port of leaf2 it is"
    );
    assert_eq!(found[3], Json::Null);
    assert_eq!(
        found[4],
        "TypeError: topologyLinkMetric: argument 3 (node) must be one of the link's nodes: leaf1, spine1"
    );
    assert!(
        found[5]
            .as_str()
            .is_some_and(|said| said.starts_with("TypeError: topologyLinkMetric: argument 2 (metrics)"))
    );
}

/// Each function's own example runs, in scripts of their own.
#[test]
fn examples_run() {
    let family = catalogue::FAMILIES.iter().find(|family| family.title == "Topology").unwrap();
    assert_eq!(family.functions.len(), 22);
    let text = |example: &str| format!("{example}\nsetHttpHandler(function() {{ return 'ran'; }});");
    let scripts: Vec<(String, String)> =
        family.functions.iter().map(|one| (format!("{}.js", one.name), text(one.example))).collect();
    let named: Vec<(&str, &str)> = scripts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let host = Host::start(&named);
    for (name, _) in named {
        assert_eq!(host.get(name), "ran", "{name}");
        assert_eq!(host.status(name)["error"], Json::Null, "{name}");
    }
}
