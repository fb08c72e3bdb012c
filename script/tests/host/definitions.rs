//! Definitions of scripts, and what becomes of them.

use serde_json::{Value as Json, json};
use tables::Change;

use crate::asking::Console;
use crate::support::{Host, until};

fn definitions(host: &Host) -> Json {
    let program = host.engine.as_ref().unwrap().handle().program();
    json!({
        "flows": program.flows.keys().collect::<Vec<_>>(),
        "thresholds": program.thresholds.keys().collect::<Vec<_>>(),
        "groups": program.lookups.groups.keys().collect::<Vec<_>>(),
        "maps": program.lookups.maps.keys().collect::<Vec<_>>(),
        "forwarding": program.forwarding.keys().collect::<Vec<_>>(),
    })
}

#[test]
fn what_a_script_defines_is_there_when_the_call_returns() {
    let console = Console::new();
    let handle = console.host.engine.as_ref().unwrap().handle();
    console.run("setFlow('f', {keys: ['ipsource', 'stack'], value: 'bytes', n: '7', log: true})");
    let flow = handle.program().flows["f"].spec.to_json();
    assert_eq!(
        (&flow["keys"], &flow["n"], &flow["log"]),
        (&json!("ipsource,stack"), &json!(7), &json!(true))
    );
    console.run(
        "setThreshold('t', {metric: 'f', value: '1e6', byFlow: true, filter: {ifspeed: [1e9]}, timeout: 5})",
    );
    let threshold = handle.program().thresholds["t"].to_json().clone();
    assert_eq!(
        threshold,
        json!({"metric": "f", "value": 1e6, "byFlow": true, "timeout": 5.0, "filter": {"ifspeed": [1_000_000_000]}})
    );
    assert_eq!(console.run("setGroups('g', {a: ['10.0.0.0/8', '192.0.2.1']})"), true);
    let group = |name: &str, address: &str| {
        let program = handle.program();
        program.lookups.groups[name].group(address.parse().unwrap()).map(|label| label.to_string())
    };
    assert_eq!(group("g", "10.1.2.3").as_deref(), Some("a"));
    assert_eq!(console.run("setGroups('g', {b: ['11.0.0.0/8']})"), true);
    assert_eq!(
        (group("g", "10.1.2.3"), group("g", "11.1.2.3").as_deref()),
        (None, Some("b")),
        "the whole set"
    );
    assert_eq!(console.run("setGroups({c: ['12.0.0.0/8']})"), true);
    assert_eq!(group("default", "12.0.0.1").as_deref(), Some("c"), "the old form");
    assert_eq!(console.run("setMap('m', {web: ['80', 443], mail: [25]})"), true);
    let label = |value| handle.program().lookups.maps["m"].label(value).map(|label| label.to_string());
    assert_eq!(
        (label("443").as_deref(), label("25").as_deref(), label("22")),
        (Some("web"), Some("mail"), None)
    );
    console.run("setForward('x', '192.0.2.7'); setForward('y', '192.0.2.8', '7000')");
    let to = |name: &str| handle.program().forwarding[name].to.to_string();
    assert_eq!((to("x").as_str(), to("y").as_str()), ("192.0.2.7:6343", "192.0.2.8:7000"));
    console.run("clearForward('x'); clearForward('y'); clearThreshold('t'); clearFlow('f'); clearFlow('f')");
    let left =
        json!({"flows": [], "thresholds": [], "groups": ["default", "g"], "maps": ["m"], "forwarding": []});
    assert_eq!(definitions(&console.host), left);
}

#[test]
fn what_is_wrong_is_thrown_or_given_as_false() {
    let console = Console::new();
    for (text, error) in [
        ("setFlow('f')", "TypeError: setFlow: argument 2 (spec) is missing"),
        ("setFlow('f', {keys: 'ipsource'})", "Error: setFlow: value is missing"),
        ("setFlow('f', {keys: 'mask:ipsource:200', value: 'bytes'})", "Error: setFlow: keys: "),
        ("setFlow('f', {value: 'bytes', filter: '(ipsource=1'})", "Error: setFlow: filter: "),
        ("setFlow('', {value: 'bytes'})", "Error: setFlow: name: has 1 to 200 bytes"),
        ("setThreshold('t', {metric: 'avg:load_one', value: 1})", "Error: setThreshold: metric: "),
        ("setForward('x', 'nohost')", "Error: setForward: address: must be an IP address"),
        ("setForward('x', '192.0.2.7', 0)", "Error: setForward: port: must be 1 to 65535"),
    ] {
        let thrown = console.throws(text);
        assert!(thrown.starts_with(error), "{text}: {thrown}");
    }
    for text in [
        "setGroups('g', {a: ['10.0.0.0/33']})",
        "setGroups('g', ['10.0.0.0/8'])",
        "setGroups('', {a: []})",
        "setMap('m', 'web')",
    ] {
        assert_eq!(console.run(text), false, "{text}");
    }
    // A set of groups may come after the flow that looks it up.
    assert!(console.run("setFlow('f', {keys: 'group:ipsource:later', value: 'bytes'})").is_null());
    // A group that a flow looks up cannot be one that it does not find; the flow stays what it was.
    console
        .run("setGroups('g', {a: ['10.0.0.0/8']}); setFlow('f', {keys: 'group:ipsource:g', value: 'bytes'})");
    assert_eq!(console.run("setGroups('g', {a: 'x'})"), false);
    assert_eq!(definitions(&console.host)["groups"], json!(["g"]));
}

/// A script's definitions are there as long as the script is one that is to run; they are nobody's to keep.
#[test]
fn definitions_go_with_their_script() {
    let set = "setGroups('sites', {a: ['10.0.0.0/8']});\n\
               setFlow('own', {keys: 'group:ipsource:sites', value: 'bytes'});\n\
               setFlow('common', {keys: 'ipsource', value: 'bytes'});";
    let host =
        Host::inert(&[("set.js", set), ("other.js", "setFlow('other', {value: 'bytes'});")], |config| {
            config.reload = true;
        });
    let handle = host.engine.as_ref().unwrap().handle();
    let common = json!({"keys": "stack", "value": "frames"});
    handle.define(Change::Flow("common".into(), Some(common))).unwrap();
    host.run();
    let flows = || definitions(&host)["flows"].clone();
    until("both have ended", || {
        ["set.js", "other.js"].iter().all(|name| host.status(name)["gracefulExit"] == true)
    });
    assert_eq!(flows(), json!(["common", "other", "own"]), "they are there though the threads have ended");
    // Only what was somebody else's before is kept over a restart.
    let shown = handle.program().to_json();
    let shown_flows: Vec<&str> = shown["flows"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((shown_flows, &shown["groups"]), (vec!["common"], &json!({})));
    assert_eq!(shown["flows"]["common"]["keys"], "ipsource", "it was changed");
    // The script is another one: what it does not define again goes.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(host.file("set.js"), "setFlow('new', {value: 'bytes'});").unwrap();
    until("it has started anew", || flows() == json!(["common", "new", "other"]));
    assert_eq!(definitions(&host)["groups"], json!([]));
    // It is no script any more.
    let config = script::Config { scripts: vec![host.file("other.js")], ..script::Config::default() };
    host.scripts.reload(config);
    until("its flow goes", || flows() == json!(["common", "other"]));
}
