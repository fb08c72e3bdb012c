//! The first page, and the events that move it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};

use serde_json::Value as Json;

use crate::collector::{packets, three_hosts};
use crate::support::{Collector, PATIENCE};

/// The events of `/live`, as a browser takes them.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn of(collector: &Collector, path: &str) -> Self {
        let mut stream = TcpStream::connect(collector.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        Self(reader)
    }

    pub(crate) fn next(&mut self) -> Json {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[test]
fn the_live_page_shows_agents_rates_and_flows() {
    let collector = three_hosts(&[]);
    let mut events = Events::of(&collector, "/live");
    let first = events.next();
    assert_eq!(
        (&first["agents"], &first["datagrams"], &first["counters_samples"]),
        (&3.into(), &6.into(), &12.into())
    );
    assert_eq!((&first["flows"], first.get("flow")), (&serde_json::json!([]), None));
    assert_eq!(first["agent_list"].as_array().unwrap().len(), 3);
    assert_eq!((&first["agent_list"][0]["datagrams"], &first["writable"]), (&2.into(), &true.into()));
    // A flow that is defined while the page is open is shown; `flows` goes before others.
    for name in ["a", "flows"] {
        let flow = Some("{keys:'ipsource,ipdestination',value:'bytes',t:600}");
        assert_eq!(collector.request("PUT", &format!("/flow/{name}/json"), flow).0, 204);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packets(1, 6), collector.sflow).unwrap();
    let shown = loop {
        let event = events.next();
        if event["flow"]["top"].as_array().is_some_and(|top| !top.is_empty()) {
            break event["flow"].clone();
        }
    };
    assert_eq!((&shown["name"], &shown["top"][0]["key"]), (&"flows".into(), &"10.0.0.1,192.0.2.7".into()));
    assert_eq!(Events::of(&collector, "/live?flow=a").next()["flow"]["name"], "a");
    let interfaces = Events::of(&collector, "/live").next()["interfaces"].clone();
    assert_eq!(
        (&interfaces[0][0]["metricValue"], &interfaces[0][3]["metricValue"]),
        (&125_000.into(), &"eth\"0".into())
    );
}

/// What is configured of actions is on the page, and where nothing is the page has nothing of it.
#[test]
fn the_live_page_shows_actions_where_there_are_any() {
    assert_eq!(Events::of(&Collector::start(&[]), "/live").next().get("actions"), None);
    let folder = tempfile::tempdir().unwrap();
    let (path, list) = (folder.path().join("finderscope.toml"), folder.path().join("list.txt"));
    std::fs::write(&list, "45.9.148.0/24\n").unwrap();
    let config = "[actions]\nmode = 'act'\n[swarm.main]\nmanagers = ['unix:///nosuch.sock']\n\
                  [autoscale.service.apache]\nmetric = [{ metric = 'vir_cpu_utilization', low = 1, high = 2 }]\n\
                  [[switch]]\nagent = '10.0.0.253'\ndriver = 'dry-run'\n\
                  [capture.listed]\ngroup = 'bad'\nanalyzer = '10.0.0.70'\n[feed.bad]\npath = 'list.txt'\n\
                  [[agents.listed]]\naddress = '10.0.0.0/24'\nsources = '127.0.0.1'\n";
    std::fs::write(&path, config).unwrap();
    let collector = Collector::start(&["--config", path.to_str().unwrap()]);
    let start = "{local: '10.0.0.162', remote: '45.9.148.7', agent: '10.0.0.253', seconds: 60}";
    assert_eq!(collector.request("PUT", "/captures/json", Some(start)).0, 204);
    let mut events = Events::of(&collector, "/live");
    let actions = loop {
        let actions = events.next()["actions"].clone();
        if actions["captures"][0]["state"] == "active"
            && actions["swarmsInTrouble"]["main"].is_string()
            && actions["services"][0]["verdict"] == "engine"
            && actions["feeds"][0]["entries"] == 1
        {
            break actions;
        }
    };
    assert_eq!((&actions["mode"], &actions["servicesAll"]), (&"act".into(), &1.into()));
    assert_eq!(actions["services"][0]["name"], "apache");
    let capture = &actions["captures"][0];
    assert_eq!((&capture["local"], &capture["agent"]), (&"10.0.0.162".into(), &"10.0.0.253".into()));
    assert_eq!((&actions["feeds"][0]["late"], &actions["switches"]), (&false.into(), &1.into()));
    assert_eq!(collector.json("/actions/json")["overview"]["capturesAll"], 1);
}

/// Names come from the network: the page may only ever make text of them.
#[test]
fn the_page_makes_no_markup_of_what_it_is_told() {
    let collector = Collector::start(&[]);
    let (_, script) = collector.get("/page.js");
    for dangerous in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("] {
        assert!(!script.contains(dangerous), "{dangerous}");
    }
    let (_, page) = collector.get("/");
    for outside in ["http://", "https://", "onclick", "onload", "<style", "style="] {
        assert!(!page.contains(outside), "{outside}");
    }
}
