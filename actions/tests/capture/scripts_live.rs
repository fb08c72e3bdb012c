//! Captures that scripts ask for, with a controller that has nothing else to do, against the real ACL server and a second
//! implementation of its interface.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use actions::capture::config::{Config, Raw};
use actions::capture::control::{Control, Refusal};
use actions::capture::scripts::place::Place;
use actions::capture::scripts::session::Limits;
use actions::capture::scripts::{Put, ScriptRule};
use actions::mode::Mode;
use serde_json::json;

use super::support::acl_server::AclServer;
use super::support::collector::{Capture, Collector};
use super::support::until;
use super::support::wrapper::Wrapper;

const AGENT: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// No policy and no switch: scripts are all there is.
fn nothing(limits: serde_json::Value) -> Config {
    let mut all =
        json!({ "reconcile_ms": 200, "begun_per_minute": 100_000, "begun_per_minute_per_switch": 100_000 });
    all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    serde_json::from_value::<Raw>(json!({ "capture_limits": all })).unwrap().check().unwrap()
}

fn place(server: SocketAddr) -> Place {
    Place::new(false, &server.ip().to_string(), server.port(), "/acl")
}

/// What `emerging.js` sends.
fn lines(local: &str, remote: &str) -> Vec<String> {
    let rule = |from: &str, to: &str| {
        format!(
            "-A FORWARD --in-interface swp+ -s {from} -d {to} -j ERSPAN --src-ip {AGENT} --dst-ip 10.0.0.70"
        )
    };
    let head = ["[iptables]", "# emerging threat capture"].map(str::to_owned);
    head.into_iter().chain([rule(local, remote), rule(remote, local)]).collect()
}

fn put_for(
    control: &Control,
    server: SocketAddr,
    name: &str,
    lines: Vec<String>,
    ttl_s: u64,
) -> Result<Put, Refusal> {
    block_on(control.put_script(ScriptRule {
        script: "emerging.js".to_owned(),
        name: name.to_owned(),
        switch: place(server),
        lines,
        limits: Limits { ttl_s, max_s: 600 },
    }))
}

fn put(capture: &Capture, server: SocketAddr, name: &str, local: &str) -> Result<Put, Refusal> {
    put_for(&capture.control, server, name, lines(local, "192.0.2.1"), 3)
}

#[test]
fn a_scripts_rule_is_there_while_its_traffic_lasts_and_goes_with_it() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    // That actions only observe is no matter: whoever lists a script has said what it may.
    let capture = collector.capture_for(nothing(json!({})), Mode::Observe, None);
    let came = put(&capture, server.address, "emrg0", "10.0.0.162").unwrap();
    assert_eq!(came, Put { session: "emerging.js:emrg0".to_owned(), refreshed: false });
    until("the rule is read back", || capture.state("emerging.js:emrg0") == "active");
    assert_eq!(
        server.text("emrg0").trim_end(),
        "[iptables]\n# finderscope owner=main script=emerging.js\n# emerging threat capture\n\
         -A FORWARD --in-interface swp+ -s 10.0.0.162 -d 192.0.2.1 -j ERSPAN --src-ip 127.0.0.1 --dst-ip 10.0.0.70\n\
         -A FORWARD --in-interface swp+ -s 192.0.2.1 -d 10.0.0.162 -j ERSPAN --src-ip 127.0.0.1 --dst-ip 10.0.0.70"
    );
    let json = capture.control.session_json("emerging.js:emrg0").unwrap();
    assert_eq!(json["owner"], json!({ "script": "emerging.js", "name": "emrg0" }));
    assert_eq!((&json["analyzer"], &json["agent"]), (&json!("10.0.0.70"), &json!("127.0.0.1")));
    // The same again, by the next name, as for a second data source: there is none more.
    let again = put(&capture, server.address, "emrg1", "10.0.0.162").unwrap();
    assert_eq!(again, Put { session: "emerging.js:emrg0".to_owned(), refreshed: true });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        collector.sample(AGENT, "192.0.2.1", "10.0.0.162");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(capture.state("emerging.js:emrg0"), "active");
    }
    assert_eq!(server.names(), ["emrg0"]);
    let seen = capture.control.session_json("emerging.js:emrg0").unwrap()["evidence"].clone();
    assert_eq!((&seen["inward"], &seen["places"][0]["agent"]), (&json!(true), &json!("127.0.0.1")), "{seen}");
    let flows = || -> Vec<String> {
        let program = collector.engine.handle().program();
        program.flows.keys().filter(|name| name.starts_with("fs_")).cloned().collect()
    };
    assert_eq!(flows(), ["fs_capture_.scripts_ip"]);
    let ended = Instant::now();
    until("it goes", || server.names().is_empty() && capture.state("emerging.js:emrg0").is_empty());
    assert!(ended.elapsed() > Duration::from_secs(1), "{:?}", ended.elapsed());
    until("nobody looks any more", || flows().is_empty());
    let kept = capture.audit.newest(None, 10);
    let kinds: Vec<_> = kept.iter().map(|entry| (entry.entry.kind, entry.entry.owner.as_str())).collect();
    assert_eq!(kinds, [("capture.delete", "emerging.js"), ("capture.put", "emerging.js")], "one write each");
    assert!(kept.iter().all(|entry| entry.json()["outcome"] == "done"), "{kept:?}");
    let json = capture.control.json();
    assert_eq!(json["ended"][0]["owner"]["script"], "emerging.js");
    assert_eq!(json["switches"][0]["implied"], true);
    capture.shutdown();
}

/// Waits for the disk: what a killed process has not written is not written later, as it is here.
fn written(collector: &Collector) {
    let next = collector.state.path().join("script-captures.json.next");
    std::thread::sleep(Duration::from_millis(10));
    until("nothing is written any more", || !next.exists());
}

#[test]
fn killed_at_fifty_random_moments_a_scripts_rules_are_what_is_wanted_within_three_intervals() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let config = nothing(json!({ "on_stop": "keep", "sessions_per_switch": 1000, "sessions": 1000 }));
    let interval = Duration::from_millis(200);
    let mut random = 0x51_7cc1_u64;
    let mut taken = 0;
    for round in 0..50u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lives = Duration::from_micros((random >> 33) % 300_000);
        let doomed = collector.capture_for(config.clone(), Mode::Observe, Some(lives));
        // As after each start of the script: it begins with its first name, for whatever it sees first.
        let mut n = 0;
        while !doomed.is_over() {
            let host = 160 + (u64::from(round) + n) % 5;
            let lines = lines(&format!("10.0.0.{host}"), "192.0.2.1");
            taken +=
                u32::from(put_for(&doomed.control, server.address, &format!("emrg{n}"), lines, 2).is_ok());
            n = (n + 1) % 7;
        }
        drop(doomed);
        written(&collector);
        let restarted = Instant::now();
        let again = collector.capture_for(config.clone(), Mode::Observe, None);
        let wanted = || -> BTreeSet<String> {
            let json = again.control.json();
            let sessions = json["sessions"].as_array().cloned().unwrap_or_default();
            let placed = sessions.iter().filter(|session| !session["agent"].is_null());
            placed.map(|session| session["rule"].as_str().unwrap().to_owned()).collect()
        };
        let there = || server.names().into_iter().collect::<BTreeSet<_>>();
        let runs = || !again.control.json().is_null();
        let switches = || runs() && again.switch_states().iter().all(|state| state == "up");
        let settled = || switches() && wanted() == there();
        until("what is there is what is wanted", settled);
        let took = restarted.elapsed();
        assert!(took < 3 * interval, "round {round}: {took:?}");
        again.shutdown();
        written(&collector);
    }
    assert!(taken > 50, "{taken} were taken");
    let last = collector.capture_for(config, Mode::Observe, None);
    until("nothing outlives its evidence", || server.names().is_empty());
    last.shutdown();
}

#[test]
fn a_commit_that_fails_is_told_and_a_foreign_rule_of_the_name_is_left_alone() {
    let wrapper = Wrapper::start(Duration::from_millis(100));
    wrapper.write("emrg5", &["[iptables]", "-A FORWARD -j DROP"]);
    let collector = Collector::start();
    let capture = collector.capture_for(nothing(json!({})), Mode::Observe, None);
    let address = wrapper.server.address;
    put(&capture, address, "emrg5", "10.0.0.5").unwrap();
    let ended = || capture.control.json()["ended"].to_string();
    until("it is told", || ended().contains("its name is taken by a rule that is no script's"));
    assert_eq!(wrapper.lines("emrg5").unwrap().len(), 2);
    wrapper.fail(Some("error: no TCAM"));
    put(&capture, address, "emrg0", "10.0.0.162").unwrap();
    until("the commit fails", || ended().contains("the last commit failed: code 1: error: no TCAM"));
    until("it is taken away", || wrapper.names() == ["emrg5"]);
    let why = put(&capture, address, "emrg0", "10.0.0.162").unwrap_err().to_string();
    assert!(why.contains("the last commit on 127.0.0.1 failed"), "{why}");
    assert!(capture.metric("finderscope_capture_script_events_total") >= 2.0);
    capture.shutdown();
    assert!(wrapper.writes().iter().all(|request| request.path != "/acl/emrg5"));
}

#[test]
fn persons_stop_them_the_kill_switch_takes_all_and_the_end_leaves_nothing() {
    let wrapper = Wrapper::start(Duration::ZERO);
    let collector = Collector::start();
    let capture = collector.capture_for(nothing(json!({ "never": ["10.0.0.99"] })), Mode::Act, None);
    let address = wrapper.server.address;
    for (name, lines, named) in [
        ("emrg0", lines("10.0.0.99", "192.0.2.1"), "never captured"),
        ("EMRG", lines("10.0.0.1", "192.0.2.1"), "is no name"),
        ("emrg0", vec!["[iptables]".to_owned(), "-A FORWARD -j ACCEPT".to_owned()], "line 2"),
        ("emrg0", vec!["[iptables]".to_owned(), "-A FORWARD -j DROP".to_owned()], "ERSPAN is allowed"),
    ] {
        let why = put_for(&capture.control, address, name, lines, 3).unwrap_err().to_string();
        assert!(why.contains(named), "{why}");
    }
    assert!(capture.switch_states().is_empty(), "a switch is implied by what is taken alone");
    let id = put(&capture, address, "emrg0", "10.0.0.1").unwrap().session;
    put(&capture, address, "emrg1", "10.0.0.2").unwrap();
    until("both are there", || wrapper.names() == ["emrg0", "emrg1"]);
    block_on(capture.control.stop(&id)).unwrap();
    until("one is not", || wrapper.names() == ["emrg1"]);
    let why = put(&capture, address, "emrg2", "10.0.0.1").unwrap_err().to_string();
    assert!(why.contains("a person stopped"), "{why}");
    assert!(matches!(block_on(capture.control.stop(&id)), Err(Refusal::Unknown(_))));
    let delete = |script: &str| block_on(capture.control.delete_script(script, "emrg1", place(address)));
    assert_eq!(delete("other.js"), Ok(false));
    assert_eq!(delete("emerging.js"), Ok(true));
    until("it is taken back", || wrapper.names().is_empty());
    put(&capture, address, "emrg3", "10.0.0.3").unwrap();
    until("there is one", || wrapper.names() == ["emrg3"]);
    capture.control.scripts(["other.js".to_owned()].into()).unwrap();
    until("its script is gone", || wrapper.names().is_empty());
    put(&capture, address, "emrg3", "10.0.0.3").unwrap();
    until("there is one", || wrapper.names() == ["emrg3"]);
    capture.mode.set(Mode::Withdraw);
    until("the kill switch takes it", || wrapper.names().is_empty());
    let why = put(&capture, address, "emrg4", "10.0.0.4").unwrap_err().to_string();
    assert!(why.contains("withdraw"), "{why}");
    capture.mode.set(Mode::Act);
    until("again", || put(&capture, address, "emrg4", "10.0.0.4").is_ok());
    until("there is one", || wrapper.names() == ["emrg4"]);
    capture.shutdown();
    assert!(wrapper.names().is_empty(), "withdrawn at the end");
    let kept = std::fs::read_to_string(collector.state.path().join("script-captures.json")).unwrap();
    assert!(kept.contains("\"sessions\":[]"), "{kept}");
}

#[test]
fn rules_stay_at_the_end_when_they_are_to_and_those_that_nobody_knows_of_go() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let keep = nothing(json!({ "on_stop": "keep" }));
    let capture = collector.capture_for(keep.clone(), Mode::Act, None);
    put(&capture, server.address, "emrg0", "10.0.0.1").unwrap();
    until("it is there", || capture.state("emerging.js:emrg0") == "active");
    capture.shutdown();
    assert_eq!(server.names(), ["emrg0"]);
    let again = collector.capture_for(keep.clone(), Mode::Act, None);
    until("it is known", || again.state("emerging.js:emrg0") == "active");
    assert_eq!(again.metric("finderscope_capture_switch_puts_total"), 0.0, "it was there");
    // The script begins anew, with another pair.
    put(&again, server.address, "emrg0", "10.0.0.2").unwrap();
    until("it is another", || server.text("emrg0").contains("10.0.0.2"));
    drop(again);
    // Somebody loses the state.
    std::fs::remove_file(collector.state.path().join("script-captures.json")).unwrap();
    let last = collector.capture_for(keep, Mode::Act, None);
    put(&last, server.address, "other", "10.0.0.3").unwrap();
    until("what has our mark and no owner goes", || server.names() == ["other"]);
    drop(last);
}

#[test]
fn without_a_place_to_keep_them_scripts_have_no_captures() {
    use actions::capture::controller::Controller;
    use actions::notify::Notices;
    use actions::thread::{Actions, Component};
    let wrapper = Wrapper::start(Duration::ZERO);
    let collector = Collector::start();
    let never = std::sync::Arc::new(|_| false);
    let (controller, control) = Controller::new(nothing(json!({})), "main", never).unwrap();
    let component = Component::new("capture", |context| controller.run(context));
    let audit = actions::audit::Audit::absent();
    let mode = actions::mode::Switch::new(Mode::Act);
    let notices = Notices::new(&serde_json::from_value(json!({})).unwrap());
    let engine = collector.engine.handle();
    let actions = Actions::start(engine, audit, mode, notices, vec![component]).unwrap();
    let lines = lines("10.0.0.1", "192.0.2.1");
    let why = put_for(&control, wrapper.server.address, "emrg0", lines, 3).unwrap_err().to_string();
    assert!(why.contains("give the collector a state directory"), "{why}");
    assert!(wrapper.server.requests().is_empty());
    actions.shutdown().unwrap();
}
