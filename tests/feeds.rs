//! Feeds of the running collector (promises A11 and A12): the configuration, REST, metrics, and a restart.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::{Collector, finderscope};

const CONFIG: &str = "[feeds]\nown = ['45.9.149.0/24']\n[feed.bad]\npath = 'list.txt'\nset = 'emerging'\n\
    [flows.blacklisted]\nkeys = 'ipsource,group:ipdestination:emerging'\nvalue = 'bytes'\n";

fn start(folder: &Path) -> Collector {
    let config = folder.join("finderscope.toml");
    fs::write(&config, CONFIG).unwrap();
    let state = folder.join("state");
    Collector::start(&["--config", config.to_str().unwrap(), "--state-dir", state.to_str().unwrap()])
}

fn entries(collector: &Collector, many: u64) {
    collector.wait_for("/feed/bad/json", |feed| (feed["entries"] == many).then_some(()));
}

#[test]
fn a_feed_is_a_set_that_flows_look_up_and_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    fs::write(&list, "# bad\r\n45.9.148.0/24\r\n45.9.149.7\r\n").unwrap();
    let collector = start(folder.path());
    entries(&collector, 1);
    let set = json!({ "bad": ["45.9.148.0/24"] });
    collector.wait_for("/group/emerging/json", |shown| (*shown == set).then_some(()));
    assert!(collector.json("/flow/json")["blacklisted"].is_object());
    let feed = &collector.json("/feeds/json")["bad"];
    assert_eq!(
        (&feed["rejected"], &feed["coveredIPv4"], &feed["late"]),
        (&json!({ "own": 1 }), &256.into(), &false.into())
    );
    let metrics = collector.get("/metrics").1;
    let row = metrics.lines().find(|line| line.starts_with("finderscope_feed_entries{")).unwrap();
    assert!(
        row.contains("feed=\"bad\"") && row.contains("set=\"emerging\"") && row.trim_end().ends_with(" 1.0"),
        "{row}"
    );

    let put = |body| collector.request("PUT", "/feed/bad/json", Some(body));
    assert_eq!(put("{}").0, 204);
    assert_eq!(put("{\"accept\": true}").0, 400);
    assert_eq!(collector.request("PUT", "/feed/none/json", Some("{}")).0, 404);
    let (status, why) = collector.request("PUT", "/group/emerging/json", Some("{\"a\": []}"));
    assert!(status == 400 && why.contains("made of feeds"), "{status} {why}");
    // A set that is no definition of a client's is in nobody's way when definitions are kept.
    assert_eq!(collector.request("PUT", "/map/m/json", Some("{\"a\": [\"b\"]}")).0, 204);
    // Another list altogether is refused until a person says that it is right.
    fs::write(&list, "45.9.150.0/24\n").unwrap();
    let (status, why) = put("{}");
    assert!(status == 502 && why.contains("accept the change"), "{status} {why}");
    assert_eq!(collector.json("/group/emerging/json"), set);
    assert_eq!(put("{\"acceptChange\": true}").0, 204);
    let set = json!({ "bad": ["45.9.150.0/24"] });
    assert_eq!(collector.json("/group/emerging/json"), set);
    collector.signal("HUP");
    collector.wait_for_log("are in effect");
    assert_eq!(collector.json("/group/emerging/json"), set, "a reload leaves it");
    drop(collector);

    fs::remove_file(&list).unwrap();
    let collector = start(folder.path());
    assert_eq!(collector.json("/group/emerging/json"), set, "from the state directory");
    let keys = |path: &str| -> Vec<String> {
        let all: Json = collector.json(path);
        all.as_object().unwrap().keys().cloned().collect()
    };
    assert!(keys("/flow/json").contains(&"blacklisted".to_owned()));
    assert_eq!(collector.json("/map/m/json"), json!({ "a": ["b"] }));
    collector.wait_for("/feed/bad/json", |feed| (feed["last"]["status"] == "file").then_some(()));
    entries(&collector, 1);
}

#[test]
fn what_is_wrong_with_feeds_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("finderscope.toml");
    let text = "[feed.a]\nurl = 'lists.example.net'\n[feed.b]\npath = 'x'\nrefresh_s = 1\n[groups.b]\na = ['10.0.0.1']\n";
    fs::write(&path, text).unwrap();
    let output = finderscope().args(["run", "--check-config", "--config"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(output.status.code() == Some(1) && lines.len() == 3, "{said}");
    for (line, (place, what)) in lines.iter().zip([
        (":2:", "feed.a.url: "),
        (":5:", "feed.b.refresh_s: must be 10 to 2592000"),
        (":6:", "\"b\" is made of feeds"),
    ]) {
        assert!(line.contains(place) && line.contains(what), "{line}");
    }
}
