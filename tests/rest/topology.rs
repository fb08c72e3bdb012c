//! A topology as published clients define it, and what it makes of questions about flows and metrics.

use serde_json::{Value as Json, json};

use crate::support::{Collector, finderscope};

/// What the scripts for a network of virtual switches send: one agent has all of them, ports are numbered.
const VIRTUAL: &str = "{nodes:{s1:{agent:'10.0.0.50',ports:{'s1-eth1':{ifindex:'3'},'s1-eth2':{ifindex:'4'}}},\
    s2:{agent:'10.0.0.50',ports:{'s2-eth1':{ifindex:'5'},'s2-eth2':{ifindex:'6'}}}},\
    links:{'s1-s2':{node1:s1,node2:s2,port1:'s1-eth2',port2:'s2-eth2'}}}";

fn put(collector: &Collector, path: &str, body: &str) {
    assert_eq!(collector.request("PUT", path, Some(body)), (204, String::new()), "{path} {body}");
}

#[test]
fn virtual_switches_of_one_agent_have_edge_and_core() {
    let collector = Collector::start(&[]);
    put(&collector, "/topology/json", VIRTUAL);
    let topology = collector.json("/topology/json");
    assert_eq!(topology["nodes"]["s2"]["ports"]["s2-eth1"], json!({"ifindex": "5"}));
    assert_eq!(topology["links"]["s1-s2"]["port2"], "s2-eth2");
    for (name, more) in [("all", ""), ("edge", ",aggMode:edge"), ("core", ",aggMode:'CORE'")] {
        put(
            &collector,
            &format!("/flow/{name}/json"),
            &format!("{{keys:'ipsource',value:'bytes',t:600{more}}}"),
        );
    }
    put(&collector, "/flow/agents/json", "{value:'bytes',aggMode:AGENT}");
    // Sampled packets come in at port 3.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&crate::collector::packets(1, 6), collector.sflow).unwrap();
    collector.wait_for("/activeflows/ALL/all/json", |flows| flows[0].is_object().then_some(()));
    let seen = |path: &str| collector.json(path).as_array().unwrap().len();
    for (path, many) in [
        ("/activeflows/EDGE/all/json", 1),
        ("/activeflows/CORE/all/json", 0),
        ("/activeflows/TOPOLOGY/all/json", 1),
        ("/activeflows/ALL/all/json?aggMode=edge", 1),
        ("/activeflows/ALL/all/json?aggMode=CORE", 0),
        ("/activeflows/10.0.0.50/all/json?aggMode=edge", 1),
        ("/activeflows/10.0.0.51/all/json?aggMode=edge", 0),
        ("/activeflows/ALL/edge/json", 1),
        ("/activeflows/ALL/core/json", 0),
        ("/flowlocations/EDGE/all/json?key=10.0.0.1", 1),
        ("/flowlocations/CORE/all/json?key=10.0.0.1", 0),
        ("/dump/EDGE/all/json", 1),
        ("/dump/CORE/all/json", 0),
        ("/table/EDGE/all/json", 1),
        ("/table/CORE/all/json", 0),
    ] {
        assert_eq!(seen(path), many, "{path}");
    }
    assert_eq!(collector.get("/flowvalue/EDGE/3.all/json?key=10.0.0.1").0, 200);
    assert_eq!(collector.get("/flowvalue/CORE/3.all/json?key=10.0.0.1").0, 404);
    let agents = collector.json("/agents/json?agent=TOPOLOGY");
    assert_eq!(agents.as_object().unwrap().keys().collect::<Vec<_>>(), ["10.0.0.50"]);
    let (status, why) = collector.get("/activeflows/ALL/agents/json?aggMode=edge");
    assert!(status == 400 && why.contains("needs tables of data sources"), "{why}");
    assert_eq!(collector.json("/flow/core/json")["aggMode"], "core");
    // With the other end of the link there the port is in the core; tables begin anew with nothing.
    let other = VIRTUAL.replace("port1:'s1-eth2'", "port1:'s1-eth1'");
    put(&collector, "/topology/json", &other);
    assert_eq!((seen("/activeflows/EDGE/all/json"), seen("/activeflows/CORE/all/json")), (0, 1));
    assert_eq!(collector.request("DELETE", "/topology/json", None).0, 204);
    let (status, why) = collector.get("/activeflows/EDGE/all/json");
    assert!(status == 400 && why.contains("EDGE needs topology"), "{why}");
    let (status, why) = collector.get("/activeflows/ALL/all/json?aggMode=edge");
    assert!(status == 400 && why.contains("aggMode edge needs topology"), "{why}");
}

/// A fabric whose links are given by names alone, as `lldp` tells them: the counters say which interfaces they are.
#[test]
fn a_fabric_is_counted_once_at_its_edge() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.json");
    let collector = Collector::start(&["--workers", "2"]);
    put(&collector, "/flow/total/json", "{value:'bytes',t:5}");
    put(&collector, "/flow/links/json", "{keys:'link:inputifindex',value:'bytes',t:5}");
    let mut fabric = finderscope();
    fabric.args(["simulate", "--to", &collector.sflow.to_string(), "--polling", "1", "--sampling", "50"]);
    fabric.args(["--rate", "200", "--hosts", "8", "--replicas", "0", "--topology"]).arg(&file);
    let child = fabric.stderr(std::process::Stdio::null()).spawn().unwrap();
    let fabric = Ended(child);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let text = loop {
        match std::fs::read_to_string(&file) {
            Ok(text) if text.ends_with("}\n") => break text,
            other => assert!(std::time::Instant::now() < deadline, "{other:?}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let mut topology: Json = serde_json::from_str(&text).unwrap();
    for node in topology["nodes"].as_object_mut().unwrap().values_mut() {
        node.as_object_mut().unwrap().remove("ports");
    }
    put(&collector, "/topology/json", &topology.to_string());
    let links = topology["links"].as_object().unwrap().len();
    collector.wait_for("/topology/ports/json", |ports| {
        let ports = ports.as_array().unwrap();
        (ports.len() == 2 * links && ports.iter().all(|port| port["role"] == "core")).then_some(())
    });
    // Everything has come in at the edge, or over a link.
    let total = |path: &str| collector.json(path)[0]["value"].as_f64().unwrap_or(0.0);
    collector.wait_for("/activeflows/ALL/links/json", |flows| {
        let flows = flows.as_array().unwrap();
        // More than half of the conversations are between leaves, and each of them crosses two links.
        let [edge, core, all] =
            ["edge", "core", "sum"].map(|mode| total(&format!("/activeflows/ALL/total/json?aggMode={mode}")));
        let close = (edge + core - all).abs() < 0.05 * all;
        (flows.len() == links && edge > 1e5 && core > 0.5 * edge && close).then_some(())
    });
    // Hosts of the fabric are behind ports of leaves.
    let host = collector.wait_for("/topology/hosts/json?address=10.0.0.10", |found| {
        found[0].is_object().then(|| found[0].clone())
    });
    assert_eq!((&host["node"], &host["port"]), (&"leaf1".into(), &"swp1".into()), "{host}");
    // Its switches say no names of hosts: those of the nodes stand for them.
    let (_, labelled) = collector.get("/prometheus/metrics/EDGE/ifinoctets/txt");
    assert!(
        labelled.contains("agent=\"10.255.0.1\",datasource=\"1\",host=\"leaf1\",ifname=\"swp1\""),
        "{labelled}"
    );
    drop(fabric);
}

#[test]
fn a_large_topology_is_taken_and_a_larger_one_is_refused() {
    let collector = Collector::start(&[]);
    let link = |n: usize| {
        let leaf = json!({"node1": format!("leaf{}", n / 64), "port1": format!("swp{}", n % 64),
            "node2": format!("spine{}", n % 64), "port2": format!("swp{}", n / 64)});
        (format!("link{n}"), leaf)
    };
    let links: serde_json::Map<String, Json> = (0..30_000).map(link).collect();
    let body = json!({ "links": links }).to_string();
    assert!(body.len() > 2 << 20);
    put(&collector, "/topology/json", &body);
    assert_eq!(collector.json("/topology/json")["links"].as_object().unwrap().len(), 30_000);
    let (status, why) = collector.request("PUT", "/topology/json", Some(&" ".repeat((16 << 20) + 1)));
    assert!(status == 413 && why.contains("16777216 bytes at most"), "{status} {why}");
}

/// A child that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_topology_is_kept_over_a_restart_and_lies_over_that_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (state, config) = (folder.path().join("state"), folder.path().join("f.toml"));
    let link = "node1 = 'a'\nport1 = 'swp1'\nnode2 = 'b'\nport2 = 'swp1'\n";
    std::fs::write(&config, format!("[topology.links.l]\n{link}")).unwrap();
    let args = ["--state-dir", state.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let collector = Collector::start(&args);
    let configured = json!({"links": {"l": {"node1": "a", "port1": "swp1", "node2": "b", "port2": "swp1"}}});
    assert_eq!(collector.json("/topology/json"), configured);
    put(&collector, "/topology/json", VIRTUAL);
    let virtual_one = collector.json("/topology/json");
    drop(collector);
    let collector = Collector::start(&args);
    assert_eq!(collector.json("/topology/json"), virtual_one);
    // What the client took away stays away, until it makes it as the configuration has it.
    assert_eq!(collector.request("DELETE", "/topology/json", None).0, 204);
    drop(collector);
    let collector = Collector::start(&args);
    assert_eq!(collector.get("/topology/json").0, 404);
    put(&collector, "/topology/json", &configured.to_string());
    std::fs::write(&config, format!("[topology.nodes.a]\n[topology.nodes.b]\n[topology.links.m]\n{link}"))
        .unwrap();
    collector.signal("HUP");
    let found =
        collector.wait_for("/topology/json", |found| found["nodes"].is_object().then(|| found.clone()));
    assert_eq!(found["links"].as_object().unwrap().keys().collect::<Vec<_>>(), ["m"]);
}
