//! The controller with an engine, against the real ACL server and a second implementation of its interface.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use actions::capture::control::{Refusal, Start};
use actions::mode::Mode;
use serde_json::json;

use super::support::acl_server::AclServer;
use super::support::collector::{Collector, config};
use super::support::until;
use super::support::wrapper::Wrapper;

const AGENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);
const RULE: &str = "fs_main_10_0_0_162_192_0_2_1";

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_listed_address_leads_to_the_two_rules_which_go_when_the_evidence_ends() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": server.url(), "commit_ms": 300}]);
    let capture = collector.capture(config(switch, json!({"ttl_s": 3}), json!({})));
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("the rule is read back", || capture.state(RULE) == "active");
    assert_eq!(
        server.text(RULE).trim_end(),
        "[iptables]\n# finderscope owner=main policy=emerging\n\
         -A FORWARD --in-interface swp+ -s 10.0.0.162 -d 192.0.2.1 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70\n\
         -A FORWARD --in-interface swp+ -s 192.0.2.1 -d 10.0.0.162 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70"
    );
    // The evidence lasts for longer than the time to live, with the other direction alone.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        collector.sample(AGENT, "192.0.2.1", "10.0.0.162");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(capture.state(RULE), "active");
    }
    let ended = Instant::now();
    until("it goes", || server.names().is_empty() && capture.state(RULE).is_empty());
    assert!(ended.elapsed() > Duration::from_secs(1), "{:?}", ended.elapsed());
    let kept = capture.audit.newest(None, 10);
    let kinds: Vec<_> = kept.iter().map(|entry| entry.entry.kind).collect();
    assert_eq!(kinds, ["capture.delete", "capture.put"], "one write each");
    assert!(kept.iter().all(|entry| entry.json()["outcome"] == "done"), "{kept:?}");
    assert!(
        kept[1].entry.reason.contains("1 samples, 400 frames with 192.0.2.1 (block) were seen"),
        "{kept:?}"
    );
    let json = capture.control.json();
    let ended = &json["ended"][0];
    assert_eq!((&ended["label"], &ended["evidence"]["inward"]), (&json!("block"), &json!(true)));
    capture.shutdown();
}

#[test]
fn a_put_that_is_answered_is_no_success_before_it_is_there_and_its_commit_worked() {
    let wrapper = Wrapper::start(Duration::from_millis(400));
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": wrapper.url(), "commit_ms": 800}]);
    let capture = collector.capture(config(switch, json!({}), json!({})));
    wrapper.fail(Some("error: no TCAM"));
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("the commit fails", || capture.state(RULE) == "failed" || capture.state(RULE) == "removing");
    assert_eq!(capture.metric("finderscope_capture_confirmed_total"), 0.0);
    until("it is taken away", || wrapper.names().is_empty());
    let told = |capture: &super::support::collector::Capture| {
        capture.sessions().iter().any(|(_, _, reason)| reason.contains("no TCAM"))
    };
    assert!(told(&capture), "{:?}", capture.sessions());
    let failed = capture.audit.newest(None, 10);
    assert!(failed.iter().any(|entry| entry.json()["outcome"] == "failed"), "{failed:?}");
    wrapper.fail(None);
    // A commit that works: somebody's own rule is written.
    until("the switch takes it at last", || {
        // The wrapper commits only when it is told something.
        if capture.switch_states() == ["failing"] {
            let _ = std::net::TcpStream::connect(wrapper.server.address).map(|mut stream| {
                use std::io::Write as _;
                stream.write_all(b"DELETE /acl/nothing HTTP/1.1\r\n\r\n").unwrap();
                std::thread::sleep(Duration::from_millis(500));
            });
        }
        capture.state(RULE) == "active"
    });
    assert_eq!(wrapper.names(), [RULE]);
    capture.shutdown();
    assert!(wrapper.names().is_empty(), "withdrawn at the end");
}

#[test]
fn ten_dead_switches_delay_the_eleventh_by_nothing() {
    let wrapper = Wrapper::start(Duration::ZERO);
    // They take connections and never answer.
    let dead: Vec<TcpListener> = (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut switches: Vec<_> = (0..10u8)
        .zip(&dead)
        .map(|(n, dead)| {
            json!({"agent": format!("10.0.1.{n}"), "url": format!("http://{}/acl", dead.local_addr().unwrap())})
        })
        .collect();
    switches.push(json!({"agent": AGENT.to_string(), "url": wrapper.url(), "commit_ms": 50}));
    let collector = Collector::start();
    let capture = collector.capture(config(
        json!(switches),
        json!({}),
        json!({"sessions": 4000, "sessions_per_switch": 1000, "sessions_per_analyzer": 4000}),
    ));
    let mut took = Vec::new();
    for n in 1..=100u8 {
        let sent = Instant::now();
        for switch in 0..10 {
            collector.sample([10, 0, 1, switch].into(), &format!("10.0.2.{n}"), &format!("192.0.2.{n}"));
        }
        collector.sample(AGENT, &format!("10.0.3.{n}"), &format!("192.0.2.{n}"));
        let path = format!("/acl/fs_main_10_0_3_{n}_192_0_2_{n}");
        until("its rule comes", || wrapper.writes().iter().any(|request| request.path == path));
        let at = wrapper.writes().into_iter().find(|request| request.path == path).unwrap().at;
        took.push(at - sent);
    }
    took.sort();
    println!(
        "from the datagram to the first byte of the PUT: median {:?}, slowest of 100 {:?}",
        took[50], took[99]
    );
    assert!(took[99] < Duration::from_millis(500), "a dead switch is waited for at least 2 s: {took:?}");
    assert_eq!(capture.switch_states(), [vec!["down"; 10], vec!["up"]].concat());
    drop(dead);
    capture.shutdown();
}

#[test]
fn a_switch_that_is_cut_off_for_a_while_heals() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": server.url(), "commit_ms": 100}]);
    let capture = collector.capture(config(switch, json!({}), json!({})));
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("the first is captured", || capture.state(RULE) == "active");
    std::thread::scope(|scope| {
        scope.spawn(|| server.pause(Duration::from_secs(7)));
        until("it is missed", || capture.switch_states() == ["down"]);
        collector.sample(AGENT, "10.0.0.163", "192.0.2.1");
        until("it waits", || capture.state("fs_main_10_0_0_163_192_0_2_1") == "pending");
        assert_eq!(capture.state(RULE), "active", "it is held");
    });
    until("it is captured too", || capture.state("fs_main_10_0_0_163_192_0_2_1") == "active");
    capture.shutdown();
}

#[test]
fn killed_at_fifty_random_moments_what_is_there_is_what_is_wanted_within_three_intervals() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": server.url(), "commit_ms": 50}]);
    let config = config(switch, json!({"ttl_s": 2, "hold_s": 0}), json!({"on_stop": "keep"}));
    let interval = Duration::from_millis(200);
    let mut random = 0x9e37_79b9_u64;
    for round in 0..50u32 {
        // Other hosts every round, so that rules come and go while it is killed.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lives = Duration::from_micros((random >> 33) % 400_000);
        let doomed = collector.capture_for(config.clone(), Mode::Act, Some(lives));
        let mut n = 0;
        while !doomed.is_over() {
            let host = (u64::from(round) + n) % 5;
            collector.sample(AGENT, &format!("10.0.0.{}", 160 + host), "192.0.2.1");
            n += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(doomed);
        let restarted = Instant::now();
        let again = collector.capture_for(config.clone(), Mode::Act, None);
        let wanted = || -> Vec<String> {
            let json = again.control.json();
            let sessions = json["sessions"].as_array().unwrap();
            let placed = sessions.iter().filter(|session| !session["agent"].is_null());
            placed.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
        };
        let settled = || again.switch_states() == ["up"] && wanted() == server.names();
        until("what is there is what is wanted", settled);
        let took = restarted.elapsed();
        assert!(took < 3 * interval, "round {round}: {took:?}");
        std::thread::sleep((3 * interval).saturating_sub(took));
        assert!(settled(), "and stays so");
        // Killed too, so that the next one finds what this one had.
        drop(again);
    }
    let last = collector.capture(config);
    until("nothing outlives its evidence", || server.names().is_empty());
    last.shutdown();
}

#[test]
fn forged_agents_and_odd_names_lead_to_nothing() {
    let wrapper = Wrapper::start(Duration::ZERO);
    let collector = Collector::start();
    let groups = json!({ "a,10.9.9.9\n-A FORWARD -j DROP": ["192.0.2.0/24"], "b": ["2001:db8:bad::/48"] });
    collector.engine.handle().define(tables::Change::Group("emerging".into(), Some(groups))).unwrap();
    let switch = json!([{"agent": AGENT.to_string(), "url": wrapper.url(), "commit_ms": 50}]);
    let capture = collector.capture(config(switch, json!({}), json!({"never": ["10.0.0.99"]})));
    // Agents that nobody listed, hosts that are never captured, IPv6 where the switch cannot.
    for n in 0..200u8 {
        collector.sample([10, 66, 0, n].into(), "10.0.0.162", "192.0.2.66");
    }
    collector.sample(AGENT, "10.0.0.99", "192.0.2.1");
    collector.sample(AGENT, "10.0.0.70", "192.0.2.1");
    collector.sample(AGENT, "2001:db8::1", "2001:db8:bad::1");
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("only the one is captured", || capture.state(RULE) == "active");
    until("the forged ones are counted", || capture.metric("finderscope_capture_ignored_total") >= 202.0);
    assert_eq!(wrapper.names(), [RULE]);
    let lines = wrapper.lines(RULE).unwrap();
    assert!(
        lines.len() == 4 && lines.iter().all(|line| !line.contains('\n') && !line.contains("DROP")),
        "{lines:?}"
    );
    assert_eq!(capture.sessions().len(), 1);
    let label = capture.control.session_json(RULE).unwrap()["label"].as_str().unwrap().to_owned();
    assert!(label == "a%2C10.9.9.9\\n-A FORWARD -j DROP", "it stays a name, on its line: {label}");
    capture.shutdown();
}

#[test]
fn foreign_rules_are_left_alone_and_ours_are_mended() {
    let wrapper = Wrapper::start(Duration::ZERO);
    wrapper.write("capture1", &["[iptables]", "-A FORWARD -j DROP"]);
    wrapper.write("fs_main_10_0_0_5_192_0_2_5", &["[iptables]", "# a person's", "-A FORWARD -j DROP"]);
    wrapper.write("fs_main_10_0_0_6_192_0_2_6", &["[iptables]", "# finderscope owner=main policy=gone"]);
    wrapper
        .write("fs_other_10_0_0_7_192_0_2_7", &["[iptables]", "# finderscope owner=other policy=emerging"]);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": wrapper.url(), "commit_ms": 50}]);
    let capture = collector.capture(config(switch, json!({}), json!({})));
    until("ours without a reason goes", || wrapper.names().len() == 3);
    for host in [5, 7] {
        collector.sample(AGENT, &format!("10.0.0.{host}"), &format!("192.0.2.{host}"));
    }
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("one is captured", || capture.state(RULE) == "active");
    wrapper.write(RULE, &["[iptables]", "# finderscope owner=main policy=emerging"]);
    until("it is mended", || wrapper.lines(RULE).unwrap().len() == 4);
    until("the others say why not", || {
        let reasons: Vec<String> = capture.sessions().into_iter().map(|(_, _, reason)| reason).collect();
        reasons.iter().any(|reason| reason.contains("its name is taken by a rule without our mark"))
            && reasons.iter().any(|reason| reason == "the instance other captures it on 10.0.0.253")
    });
    assert!(wrapper.writes().iter().all(|request| {
        request.path.ends_with(RULE)
            || request.path.ends_with("10_0_0_6_192_0_2_6")
            || request.path.ends_with("10_0_0_5_192_0_2_5")
    }));
    capture.shutdown();
    assert_eq!(wrapper.names(), ["capture1", "fs_main_10_0_0_5_192_0_2_5", "fs_other_10_0_0_7_192_0_2_7"]);
}

#[test]
fn persons_start_and_stop_and_nothing_is_done_while_observing() {
    let wrapper = Wrapper::start(Duration::ZERO);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": wrapper.url(), "commit_ms": 50}]);
    let capture = collector.capture_for(config(switch, json!({}), json!({})), Mode::Observe, None);
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("it is decided", || capture.state(RULE) == "pending");
    let observed = capture.audit.newest(None, 1);
    assert_eq!(observed[0].json()["outcome"], "observed");
    assert!(wrapper.writes().is_empty());
    capture.mode.set(Mode::Act);
    until("it is done", || capture.state(RULE) == "active");
    let start = |local: &str, seconds| Start {
        local: local.parse().unwrap(),
        remote: "192.0.2.9".parse().unwrap(),
        agent: Some(AGENT.into()),
        seconds,
        policy: None,
    };
    let id = block_on(capture.control.start(start("10.0.0.9", Some(60)))).unwrap();
    until("a person's too", || capture.state(&id) == "active");
    let refused = block_on(capture.control.start(start("127.0.0.1", None))).unwrap_err();
    assert!(matches!(refused, Refusal::Wrong(_)), "{refused}");
    assert!(block_on(capture.control.start(start("10.0.0.9", Some(0)))).is_err());
    block_on(capture.control.stop(&id)).unwrap();
    until("it ends", || capture.state(&id).is_empty() && wrapper.names() == [RULE]);
    assert!(matches!(block_on(capture.control.stop(&id)), Err(Refusal::Unknown(_))));
    capture.mode.set(Mode::Withdraw);
    until("the kill switch takes all", || wrapper.names().is_empty() && capture.state(RULE) == "pending");
    capture.shutdown();
}

#[test]
fn at_the_end_rules_stay_when_they_are_to() {
    let server = AclServer::start(&["--open"]);
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": server.url(), "commit_ms": 50}]);
    let keep = config(switch, json!({"ttl_s": 3}), json!({"on_stop": "keep"}));
    let capture = collector.capture(keep.clone());
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("it is captured", || capture.state(RULE) == "active");
    capture.shutdown();
    assert_eq!(server.names(), [RULE]);
    let again = collector.capture(keep);
    until("it is adopted", || again.metric("finderscope_capture_adopted_total") == 1.0);
    until("and goes without new evidence", || server.names().is_empty());
    again.shutdown();
}

#[test]
fn a_failing_command_of_the_real_server_is_told() {
    let server = AclServer::start(&["--open"]);
    server.mode("fail");
    let collector = Collector::start();
    let switch = json!([{"agent": AGENT.to_string(), "url": server.url(), "commit_ms": 500}]);
    let capture = collector.capture(config(switch, json!({}), json!({})));
    collector.sample(AGENT, "10.0.0.162", "192.0.2.1");
    until("it fails", || capture.sessions().iter().any(|(_, _, reason)| reason.contains("no TCAM")));
    assert_eq!(capture.metric("finderscope_capture_confirmed_total"), 0.0);
    server.mode("work");
    until("it works when the switch does", || capture.state(RULE) == "active");
    capture.shutdown();
}

#[test]
fn with_a_topology_the_leaf_captures_what_only_a_spine_has_seen() {
    let (leaf, spine) = (Wrapper::start(Duration::ZERO), Wrapper::start(Duration::ZERO));
    let collector = Collector::start();
    let topology = json!({
        "nodes": {
            "leaf": {"agent": "10.0.0.253", "ports": {"swp3": {"ifindex": "3"}, "swp5": {"ifindex": "5"}}},
            "spine": {"agent": "10.0.0.254", "ports": {"swp3": {"ifindex": "3"}}},
        },
        "links": {"l": {"node1": "leaf", "port1": "swp5", "node2": "spine", "port2": "swp3"}},
    });
    let handle = collector.engine.handle();
    handle.define(tables::Change::Topology(Some(topology))).unwrap();
    let switches = json!([
        {"agent": "10.0.0.254", "url": spine.url(), "commit_ms": 50},
        {"agent": "10.0.0.253", "url": leaf.url(), "commit_ms": 50},
    ]);
    let capture = collector.capture(config(switches, json!({}), json!({})));
    // An ordinary packet that comes in at the leaf's port tells where the host is.
    until("the host is located", || {
        collector.sample(AGENT, "10.0.0.162", "198.51.100.1");
        std::thread::sleep(Duration::from_millis(50));
        !handle.program().located.is_empty()
    });
    collector.sample([10, 0, 0, 254].into(), "10.0.0.162", "192.0.2.1");
    until("it is captured", || capture.state(RULE) == "active");
    assert_eq!((leaf.names(), spine.names().len()), (vec![RULE.to_owned()], 0));
    let session = capture.control.session_json(RULE).unwrap();
    assert_eq!(
        (&session["agent"], &session["evidence"]["places"][0]["role"]),
        (&json!("10.0.0.253"), &json!("core"))
    );
    capture.shutdown();
}
