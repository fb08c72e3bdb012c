//! Triggered capture with real processes: the collector with its configuration, a feed from a file and listed agents; the
//! real `finderscope-acl` for a switch; sFlow over UDP.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::acl_server::AclServer;
use crate::support::live::{turn, wait_until};
use crate::support::sampler::Sampler;
use crate::support::{Collector, PATIENCE, finderscope};
use crate::trust::counted;

/// The agent of the switch, and where it sends from.
const AGENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);
const SOURCE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A host that is listed, and the rule of its conversation with 10.0.0.162.
const LISTED: &str = "45.9.148.7";
const RULE: &str = "fs_main_10_0_0_162_45_9_148_7";

/// What a collector that acts needs: configuration, state, and a switch.
struct Setup {
    folder: tempfile::TempDir,
    acl: AclServer,
}

impl Setup {
    /// `policy` and `limits` are further lines of `[capture.emerging]` and `[capture_limits]`.
    fn new(policy: &str, limits: &str) -> Self {
        let (folder, acl) = (tempfile::tempdir().unwrap(), AclServer::start());
        fs::write(folder.path().join("list.txt"), "# listed\n45.9.148.0/24\n").unwrap();
        let text = format!(
            "[actions]\nmode = 'act'\nowner = 'main'\n\
             [[agents.listed]]\naddress = '{AGENT}'\nsources = ['{SOURCE}']\n\
             [feed.bad]\npath = 'list.txt'\nset = 'emerging'\n\
             [[switch]]\nagent = '{AGENT}'\nurl = '{}'\ncommit_ms = 100\n\
             [capture.emerging]\ngroup = 'emerging'\nanalyzer = '10.0.0.70'\n{policy}\n\
             [capture_limits]\nreconcile_ms = {INTERVAL_MS}\n{limits}\n",
            acl.url()
        );
        fs::write(folder.path().join("finderscope.toml"), text).unwrap();
        Self { folder, acl }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the collector, with the state that the last one left.
    fn start(&self) -> Collector {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (config, state) = (text(&self.path("finderscope.toml")), text(&self.path("state")));
        Collector::start(&["--config", &config, "--state-dir", &state, "--workers", "1"])
    }

    /// The same, when it has defined its flows and read the switch.
    fn start_ready(&self) -> Collector {
        let collector = self.start();
        collector.wait_for("/captures/json", |captures| {
            let up = captures["switches"][0]["state"] == "up";
            (up && collector.json("/flow/json")["fs_capture_emerging_0"].is_object()).then_some(())
        });
        collector
    }
}

/// How often the switch is read.
const INTERVAL_MS: u64 = 200;
const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS);

fn capture(collector: &Collector, arguments: &[&str]) -> Output {
    let url = format!("http://{}", collector.http);
    finderscope().args(["capture", "--url", &url]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The session of a rule, `null` where there is none.
fn session(collector: &Collector, rule: &str) -> Json {
    let sessions = collector.json("/captures/json")["sessions"].as_array().cloned().unwrap_or_default();
    sessions.into_iter().find(|session| session["id"] == rule).unwrap_or_default()
}

fn wait_for_state(collector: &Collector, rule: &str, state: &str) {
    wait_until(&format!("{rule} is {state}"), || (session(collector, rule)["state"] == state).then_some(()));
}

#[test]
fn a_listed_address_in_the_telemetry_is_captured_while_its_traffic_lasts() {
    let setup = Setup::new("ttl_s = 2", "");
    let collector = setup.start_ready();
    let mut sampler = Sampler::new(collector.sflow, SOURCE, AGENT);
    let listed = capture(&collector, &["list"]);
    assert_eq!(said(&listed), (Some(0), "no captures\n".to_owned(), String::new()));
    sampler.packet("10.0.0.162", "198.51.100.1");
    sampler.packet("10.0.0.162", LISTED);
    collector.wait_for_log(&format!("capturing 10.0.0.162 rule {RULE} on 10.0.0.253"));
    assert_eq!(
        setup.acl.text(RULE).trim_end(),
        "[iptables]\n# finderscope owner=main policy=emerging\n\
         -A FORWARD --in-interface swp+ -s 10.0.0.162 -d 45.9.148.7 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70\n\
         -A FORWARD --in-interface swp+ -s 45.9.148.7 -d 10.0.0.162 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70"
    );
    assert_eq!((setup.acl.names(), setup.acl.commits()), (vec![RULE.to_owned()], 1));
    // What is shown may be a moment old.
    wait_for_state(&collector, RULE, "active");
    // Twice its time to live, with packets of the other direction.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        sampler.packet(LISTED, "10.0.0.162");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(session(&collector, RULE)["state"], "active");
    }
    let (code, out, _) = said(&capture(&collector, &["list"]));
    let line = format!("{RULE}  active  10.0.0.162 <-> {LISTED}  on 10.0.0.253  until ");
    assert!(code == Some(0) && out.starts_with(&line), "{out}");
    let (code, out, _) = said(&capture(&collector, &["list", "--json"]));
    let shown: Json = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &shown["sessions"][0]["label"]), (Some(0), &json!("bad")));
    // The agent is there and sees none of them any more.
    wait_until("the rule goes", || {
        sampler.counters("switch");
        (setup.acl.names().is_empty() && session(&collector, RULE).is_null()).then_some(())
    });
    assert_eq!(setup.acl.commits(), 2, "one commit for each change");
    let audit = fs::read_to_string(setup.path("state").join("audit.jsonl")).unwrap();
    let lines: Vec<Json> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&Json> =
        lines.iter().filter(|line| line["event"] == "intent").map(|l| &l["kind"]).collect();
    assert_eq!(kinds, ["capture.put", "capture.delete"]);
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn persons_start_and_stop_captures_on_the_command_line() {
    let setup = Setup::new("", "");
    let collector = setup.start_ready();
    let start = ["start", "10.0.0.9", "203.0.113.9", "--agent", "10.0.0.253", "--seconds", "600"];
    let started = capture(&collector, &start);
    let (code, out, err) = said(&started);
    assert_eq!((code, out.trim_end()), (Some(0), "fs_main_10_0_0_9_203_0_113_9"), "{err}");
    let id = out.trim_end();
    wait_for_state(&collector, id, "active");
    assert_eq!(setup.acl.names(), [id]);
    assert_eq!(said(&capture(&collector, &["stop", id])), (Some(0), String::new(), String::new()));
    wait_until("its rule goes", || setup.acl.names().is_empty().then_some(()));
    wait_until("it ends", || session(&collector, id).is_null().then_some(()));
    let refused: [(&[&str], i32, &str); 10] = [
        (&["stop", id], 1, "there is no capture"),
        (&["stop", "a\nb/../x"], 1, "there is no capture"),
        (&["start", "127.0.0.1", "203.0.113.9"], 1, "127.0.0.1"),
        (&["start", "10.0.0.9", "203.0.113.9", "--policy", "none"], 1, "none"),
        (&["start", "10.0.0.9", "203.0.113.9", "--agent", "10.0.0.1"], 1, "10.0.0.1"),
        (&["start", "10.0.0.9", "203.0.113.9", "--seconds", "0"], 1, "seconds must be 1 to"),
        (&["start", "10.0.0.9"], 2, "<REMOTE>"),
        (&["start", "10.0.0.9", "somebody"], 2, "somebody"),
        (&["list", "--url", "http://127.0.0.1:1"], 1, "no collector answers at http://127.0.0.1:1"),
        (&["list", "--url", "127.0.0.1"], 1, "--url"),
    ];
    for (arguments, code, words) in refused {
        let arguments = [&["capture"][..], arguments].concat();
        let mut command = finderscope();
        command.args(&arguments);
        if !arguments.contains(&"--url") {
            command.args(["--url", &format!("http://{}", collector.http)]);
        }
        let (was, out, err) = said(&command.output().unwrap());
        assert_eq!((was, out.as_str()), (Some(code), ""), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
    assert!(setup.acl.names().is_empty(), "what was refused leads to nothing");
}

#[test]
fn a_relays_forged_datagrams_neither_cause_nor_stop_nor_keep_a_capture() {
    let setup = Setup::new(
        "ttl_s = 2\nflow = [{ keys = 'ipsource,ipdestination,usersource,group:ipdestination:emerging' }]",
        "",
    );
    let collector = setup.start_ready();
    let relay = Ipv4Addr::new(127, 0, 0, 2);
    let mut forger = Sampler::new(collector.sflow, relay, AGENT);
    let mut stranger = Sampler::new(collector.sflow, SOURCE, [10, 0, 0, 66].into());
    let mut sampler = Sampler::new(collector.sflow, SOURCE, AGENT);
    // Names that would be addresses, keys or rules if they were taken for them.
    let names = [
        "x,45.9.148.9,block",
        "\n-A FORWARD -j DROP",
        "a\r\n10.0.0.163,45.9.148.9,x,bad",
        "fs_main_10_0_0_163_45_9_148_9",
        "../../x\0",
        ",",
    ];
    for name in names {
        sampler.counters(name);
        sampler.packet_of("10.0.0.163", "198.51.100.1", name);
    }
    for _ in 0..100 {
        forger.packet_of("10.0.0.164", LISTED, "u");
        stranger.packet_of("10.0.0.165", LISTED, "u");
    }
    let refused = "refused_datagrams reason=\"foreign\"";
    wait_until("the forged ones are counted", || (counted(&collector, refused) >= 100.0).then_some(()));
    let untrusted = "finderscope_capture_ignored_total reason=\"untrusted\"";
    wait_until("so are the stranger's", || (counted(&collector, untrusted) >= 1.0).then_some(()));
    // What comes after all of them leads to a capture: whatever else would have, has by now.
    sampler.packet_of("10.0.0.162", LISTED, "a,45.9.148.8\n-A FORWARD -j DROP");
    wait_for_state(&collector, RULE, "active");
    assert_eq!(setup.acl.names(), [RULE]);
    assert!(!setup.acl.text(RULE).contains("DROP") && setup.acl.text(RULE).lines().count() == 4);
    assert_eq!(collector.json("/captures/json")["sessions"].as_array().unwrap().len(), 1);

    // An agent that begins anew, again and again, and has seen nothing of it.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        sampler.packet_of("10.0.0.162", LISTED, "a");
        let mut forger = Sampler::new(collector.sflow, relay, AGENT);
        forger.counters("switch");
        forger.packet("10.0.0.162", "198.51.100.1");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(session(&collector, RULE)["state"], "active");
    }
    // Its own evidence has ended.
    wait_until("the rule goes all the same", || {
        forger.packet_of("10.0.0.162", LISTED, "a");
        sampler.counters("switch");
        setup.acl.names().is_empty().then_some(())
    });
    assert!(counted(&collector, refused) > 100.0);
}

/// Hosts that talk to a listed one in [`killed_at_fifty_random_moments`].
const HOSTS: u8 = 5;

/// The rules of the hosts that talk, by a set of bits.
fn rules(talking: u8) -> Vec<String> {
    let hosts = (0..HOSTS).filter(|host| talking & (1 << host) != 0);
    hosts.map(|host| format!("fs_main_10_0_0_{}_45_9_148_7", 160 + host)).collect()
}

/// Numbers without a pattern, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn a_collector_killed_at_fifty_random_moments_leaves_what_is_wanted_within_three_intervals_of_its_restart() {
    // Others that measure would make the times longer.
    let _turn = turn();
    let setup = Setup::new(
        "ttl_s = 1\nhold_s = 0",
        "begun_per_minute = 100000\nbegun_per_minute_per_switch = 100000",
    );
    let mut collector = setup.start_ready();
    let sampler = RefCell::new(Sampler::new(collector.sflow, SOURCE, AGENT));
    // All hosts that talk send a packet; the agent is heard whether any does or not.
    let talk = |talking: u8| {
        let mut sampler = sampler.borrow_mut();
        sampler.counters("switch");
        for host in (0..HOSTS).filter(|host| talking & (1 << host) != 0) {
            sampler.packet(&format!("10.0.0.{}", 160 + host), LISTED);
        }
    };
    let mut random = Random(0x9e37_79b9);
    let mut took = Vec::new();
    for round in 0..50 {
        // Some begin at once and some end after their second, and somewhere within that it is killed.
        let talking = random.below(1 << HOSTS) as u8;
        let most_us = if round % 3 == 0 { 1_600_000 } else { 400_000 };
        let moment = Instant::now() + Duration::from_micros(random.below(most_us));
        while Instant::now() < moment {
            talk(talking);
            std::thread::sleep(Duration::from_millis(5));
        }
        collector.signal("KILL");
        drop(collector);
        // While nobody looks some more of them change.
        let talking = if random.below(2) == 0 { talking } else { random.below(1 << HOSTS) as u8 };
        collector = setup.start();
        let restarted = Instant::now();
        sampler.borrow_mut().turn_to(collector.sflow);
        let wanted = rules(talking);
        let placed = || -> Option<Vec<String>> {
            let captures = collector.json("/captures/json");
            let sessions = captures["sessions"].as_array()?;
            let placed = sessions.iter().filter(|session| {
                ["installing", "active"].contains(&session["state"].as_str().unwrap_or_default())
            });
            (captures["switches"][0]["state"] == "up")
                .then(|| placed.map(|session| session["id"].as_str().unwrap().to_owned()).collect())
        };
        // What it wants now: what has evidence, and for a second what it found, which may have some yet.
        let settled = wait_until(&format!("round {round}: what is there is what is wanted"), || {
            talk(talking);
            let names = setup.acl.names();
            (placed()? == names && wanted.iter().all(|name| names.contains(name)))
                .then(|| restarted.elapsed())
        });
        took.push(settled);
        if round % 7 == 0 {
            wait_until(&format!("round {round}: what has no evidence goes"), || {
                talk(talking);
                (setup.acl.names() == wanted).then_some(())
            });
        }
    }
    took.sort();
    println!("{INTERVAL:?} an interval: settled after {:?}, the slowest after {:?}", took[25], took[49]);
    let late = took.iter().filter(|took| **took > 3 * INTERVAL).count();
    assert!(late <= 5, "three intervals are {:?}, {late} of 50 took longer: {took:?}", 3 * INTERVAL);
    assert!(took[49] < PATIENCE / 4, "{took:?}");
    let mut ends = BTreeSet::new();
    wait_until("nothing outlives its evidence", || {
        talk(0);
        ends.extend(setup.acl.names());
        setup.acl.names().is_empty().then_some(())
    });
    assert!(ends.iter().all(|name| name.starts_with("fs_main_10_0_0_16")), "{ends:?}");
}
