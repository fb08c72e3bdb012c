//! Agents that the configuration lists (promise A1): what comes from elsewhere is refused, counted and told.

use serde_json::Value as Json;

use crate::collector::Host;
use crate::support::Collector;

fn file(folder: &tempfile::TempDir, more: &str) -> String {
    let text = format!(
        "[[agents.listed]]\naddress = '10.0.0.1'\nsources = ['127.0.0.1']\n\
         [[agents.listed]]\naddress = '10.0.0.2'\n{more}"
    );
    let path = folder.path().join("finderscope.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A counter of the collector, of all workers together.
pub(crate) fn counted(collector: &Collector, name: &str) -> f64 {
    let text = collector.get("/metrics").1;
    let lines =
        text.lines().filter(|line| name.split(' ').all(|part| line.contains(part)) && !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn of<'a>(agents: &'a Json, address: &str, key: &str) -> &'a Json {
    &agents[address][key]
}

#[test]
fn what_comes_from_elsewhere_is_refused_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "");
    let collector = Collector::start(&["--config", &path, "--workers", "2"]);
    for last in [1, 2, 3] {
        let mut host = Host::new(&collector, last);
        (0..3).for_each(|n| host.send("host", 1.0, 1000 * n));
    }
    let agents = collector.wait_for("/agents/json", |agents| {
        let received = |address| of(agents, address, "sFlowDatagramsReceived") == 3;
        (received("10.0.0.1") && received("10.0.0.3")).then(|| agents.clone())
    });
    let standing =
        |address| (of(&agents, address, "listed") == true, of(&agents, address, "trusted") == true);
    assert_eq!((standing("10.0.0.1"), standing("10.0.0.3")), ((true, true), (false, false)));
    collector.wait_for_log("Datagrams refused: 3 from elsewhere than their agent is listed with");
    assert!(agents.get("10.0.0.2").is_none(), "it sends from its own address alone: {agents}");
    assert_eq!(counted(&collector, "refused_datagrams reason=\"foreign\""), 3.0);
    let dumped = collector.json("/dump/LISTED/load_one/json");
    let owners: Vec<&Json> = dumped.as_array().unwrap().iter().map(|metric| &metric["agent"]).collect();
    assert_eq!(owners, ["10.0.0.1"]);

    file(&folder, "[[agents.listed]]\naddress = '10.0.0.3'\n");
    collector.signal("HUP");
    collector.wait_for_log("A restart is needed for agents.listed");
}

#[test]
fn strangers_can_be_refused_and_relays_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "[agents]\nunlisted = 'refuse'\n");
    let collector = Collector::start(&["--config", &path, "--foreign-datagrams", "flag"]);
    for last in [3, 2] {
        Host::new(&collector, last).send("host", 1.0, 1000);
    }
    let agents = collector.wait_for("/agents/json", |agents| agents.get("10.0.0.2").map(|_| agents.clone()));
    let agent = &agents["10.0.0.2"];
    assert_eq!((&agent["listed"], &agent["trusted"]), (&Json::from(true), &Json::from(false)));
    assert_eq!(agent["sFlowForeignDatagrams"], 1);
    collector.wait_for_log("Datagrams refused: 1 of agents that are not listed");
    assert!(collector.json("/agents/json").get("10.0.0.3").is_none());
    assert_eq!(collector.json("/dump/LISTED/load_one/json"), serde_json::json!([]));
}
