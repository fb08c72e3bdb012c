//! Feeds from servers that mean well and others, into an engine.

use std::fs;
use std::net::IpAddr;
use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use actions::audit::Audit;
use actions::feeds::config::Config;
use actions::feeds::{Control, Feeds, RefreshError};
use actions::mode::{Mode, Switch};
use actions::notify::Notices;
use actions::thread::{Actions, Component};
use engine::{Engine, EngineOptions};
use serde_json::{Value as Json, json};

use crate::server::{Piece, Script, Server, answer};

/// A collector with feeds.
struct Running {
    engine: Engine,
    actions: Actions,
    control: Control,
    notices: Notices,
}

impl Running {
    fn start(config: Json, state: &Path) -> Self {
        let config: Config = serde_json::from_value(config).unwrap();
        let engine =
            Engine::start(&EngineOptions { workers: NonZero::new(1), ..EngineOptions::default() }).unwrap();
        let feeds = Feeds::new(&config, &[], Some(state));
        engine.handle().define_all(feeds.initial()).unwrap();
        let (control, notices) = (feeds.control(), Notices::new(&actions::notify::Config::default()));
        let component = Component::new("feeds", |context| feeds.run(context));
        let mode = Switch::new(Mode::Observe);
        let actions =
            Actions::start(engine.handle(), Audit::absent(), mode, notices.clone(), vec![component]).unwrap();
        Self { engine, actions, control, notices }
    }

    fn stop(self) {
        assert_eq!(self.actions.broken(), []);
        self.actions.shutdown().unwrap();
        self.engine.shutdown();
    }

    fn group(&self, set: &str, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().unwrap();
        self.engine.handle().program().lookups.groups[set].group(address).map(ToString::to_string)
    }

    fn refresh(&self, feed: &str, accept_change: bool) -> Result<String, RefreshError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.control.refresh(feed, accept_change))
    }

    /// Waits until a feed was read so often with this result.
    fn until(&self, feed: &str, label: &str, many: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.control.json()[feed]["readings"][label] != many {
            assert!(Instant::now() < deadline, "{feed} {label} {many}: {}", self.control.json()[feed]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A hundred addresses.
fn good() -> String {
    (0..100).map(|n| format!("45.9.148.{n}\n")).collect()
}

fn ok(body: &str) -> Vec<Piece> {
    answer(200, "content-type: text/plain\r\n", body)
}

fn raw(text: String) -> Vec<Piece> {
    vec![Piece::Bytes(text.into_bytes()), Piece::Close]
}

/// An answer whose body is no text.
fn binary(headers: &str, body: &[u8]) -> Vec<Piece> {
    let mut bytes = format!("HTTP/1.1 200 X\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    vec![Piece::Bytes(bytes)]
}

fn bad_feeds() -> Vec<(&'static str, Vec<Piece>)> {
    let list = good();
    let chunk = format!("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{list}\r\n", list.len());
    let mut drip = vec![Piece::Bytes(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())];
    for _ in 0..1000 {
        drip.extend([Piece::Bytes(b"a\r\n45.9.149.1\r\n".to_vec()), Piece::Pause(Duration::from_millis(20))]);
    }
    let page = "<!DOCTYPE html>\n<html><body>45.9.149.1</body></html>\n";
    let utf16: Vec<u8> = "\u{feff}45.9.149.1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("page", answer(200, "content-type: text/html; charset=utf-8\r\n", &list)),
        ("page", ok(page)),
        ("empty", ok("")),
        ("empty", ok("\u{feff}# maintenance\r\n; come back later\r\n")),
        ("all_rejected", ok("0.0.0.0/0\n::/0\n")),
        ("all_rejected", ok("93.184.216.0/24\n93.0.0.0/8\n")),
        ("all_rejected", ok("10.0.0.1\n127.0.0.1\n224.0.0.5\n255.255.255.255\n2001:db8::1\n")),
        (
            "lost",
            raw(format!(
                "HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{}",
                list.len(),
                &list[..list.len() / 2]
            )),
        ),
        ("lost", raw(chunk)),
        ("unframed", raw(format!("HTTP/1.1 200 X\r\nconnection: close\r\n\r\n{list}"))),
        ("encoded", binary("content-encoding: gzip\r\n", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01")),
        ("no_text", binary("", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01")),
        ("no_text", binary("", &utf16)),
        ("no_text", binary("", b"45.9.149.1\n\0\0\0\0")),
        ("time", drip),
        ("too_long", ok(&"45.9.149.1\n".repeat(2000))),
        ("too_many", ok(&"45.9.1.1\n".repeat(501))),
        ("unparsed", ok(&(list.clone() + &"999.1.1.1\n1.1.1.0/99\n".repeat(3)))),
        ("unparsed", ok("{\"error\":\"rate limit\"}\n")),
        ("changed", ok(&list.replace("45.9.148.", "45.9.149."))),
        ("changed", ok("45.9.148.1\n")),
        ("status", answer(404, "", "45.9.149.1\n")),
        ("status", answer(503, "retry-after: 1\r\n", "")),
        ("status", answer(304, "", "")),
        ("redirect", answer(302, "location: /again\r\n", "")),
        ("redirect", answer(302, "location: file:///etc/passwd\r\n", "")),
        ("connect", answer(302, "location: http://169.254.169.254/latest/meta-data/\r\n", "")),
        ("lost", raw(String::new())),
    ]
}

#[test]
fn whatever_a_bad_feed_gives_the_last_good_list_stays() {
    let state = tempfile::tempdir().unwrap();
    let bad = bad_feeds();
    assert!(bad.len() >= 20);
    let mut config = json!({ "feeds": { "own": ["93.184.216.0/24"] }, "feed": {} });
    let servers: Vec<Server> =
        bad.iter().map(|(_, pieces)| Server::alone(vec![ok(&good()), pieces.clone()])).collect();
    for (n, server) in servers.iter().enumerate() {
        config["feed"][format!("f{n}")] = json!({
            "url": format!("http://{}/list", server.address), "timeout_s": 1, "size_bytes": 20_000, "entries_most": 500,
        });
    }
    let running = Running::start(config, state.path());
    (0..bad.len()).for_each(|n| running.until(&format!("f{n}"), "taken", 1));
    let file = |n: usize| state.path().join(format!("feeds/f{n}.list"));
    let kept: Vec<String> = (0..bad.len()).map(|n| fs::read_to_string(file(n)).unwrap()).collect();
    // A list is swapped a moment after it was taken.
    let began = Instant::now();
    while (0..bad.len()).any(|n| running.group(&format!("f{n}"), "45.9.148.99").is_none()) {
        assert!(began.elapsed() < Duration::from_secs(20), "the lists were not swapped");
        std::thread::sleep(Duration::from_millis(10));
    }
    let program = running.engine.handle().program();
    for (n, (label, _)) in bad.iter().enumerate() {
        let name = format!("f{n}");
        let error = running.refresh(&name, false).unwrap_err();
        assert!(
            matches!(&error, RefreshError::Failed(why) if !why.contains('\n')),
            "{name} {label}: {error:?}"
        );
        let json = &running.control.json()[&name];
        let seen = (json["last"]["status"].as_str(), json["entries"].as_u64());
        assert_eq!(seen, (Some(*label), Some(100)), "{name}: {error}");
        assert_eq!(running.group(&name, "45.9.148.99").as_deref(), Some(&*name));
        assert_eq!(running.group(&name, "45.9.149.1"), None);
        assert_eq!(fs::read_to_string(file(n)).unwrap(), kept[n]);
    }
    assert!(std::sync::Arc::ptr_eq(&program, &running.engine.handle().program()), "nothing was swapped");
    // Each trouble was told once.
    assert_eq!(running.notices.told(), 2 * bad.len() as u64);
    running.stop();
    // None of the servers gives anything now, and the collector begins with what it kept.
    let mut config = json!({ "feed": {} });
    for (n, server) in servers.iter().enumerate() {
        config["feed"][format!("f{n}")] = json!({ "url": format!("http://{}/list", server.address), "timeout_s": 1, "size_bytes": 20_000, "entries_most": 500 });
    }
    let running = Running::start(config, state.path());
    for n in 0..bad.len() {
        assert_eq!(running.group(&format!("f{n}"), "45.9.148.99"), Some(format!("f{n}")));
    }
    running.stop();
}

#[test]
fn odd_forms_of_a_good_list_are_the_same_list() {
    let list = good();
    let ndjson: String =
        (0..100).map(|n| format!("{{\"cidr\":\"45.9.148.{n}\",\"sblid\":\"SBL{n}\"}}\n")).collect::<String>()
            + "{\"type\":\"metadata\"}\n";
    let forms = [
        list.replace('\n', "\r\n"),
        format!("\u{feff}{list}"),
        format!("# list\n;\n{}", list.replace('\n', " ; why\n")),
        list.repeat(3),
        list.replace('\n', "/32 # x\n"),
        ndjson,
        list.clone() + "999.1.1.1\n1.1.1.0/99\n",
        list + "10.0.0.0/8\n93.0.0.0/7\n",
    ];
    let state = tempfile::tempdir().unwrap();
    let mut config = json!({ "feed": {} });
    for (n, form) in forms.iter().enumerate() {
        let server = Server::alone(vec![ok(form)]);
        config["feed"][format!("f{n}")] = json!({ "url": format!("http://{}/", server.address) });
    }
    let running = Running::start(config, state.path());
    for n in 0..forms.len() {
        running.until(&format!("f{n}"), "taken", 1);
    }
    for metrics in running.control.metrics() {
        assert_eq!((metrics.entries, metrics.covered_ipv4), (100, 100), "{metrics:?}");
    }
    let json = running.control.json();
    assert_eq!((&json["f3"]["duplicates"], &json["f6"]["unparsed"]), (&200.into(), &2.into()));
    assert_eq!(json["f7"]["rejected"], json!({ "short": 1, "reserved": 1 }));
    running.stop();
}

#[test]
fn feeds_are_labels_of_one_set_and_are_asked_whether_they_changed() {
    let changed = answer(
        200,
        "etag: \"2\"\r\nlast-modified: Sat, 24 Sep 2016 00:57:10 GMT\r\n",
        "45.9.150.0/24\n45.9.150.7\n2a00:1450::/32\n",
    );
    let script: Script = vec![
        answer(200, "etag: \"1\"\r\n", "45.9.148.0/24\n"),
        answer(304, "", ""),
        changed,
        answer(304, "", ""),
    ];
    let server = Server::alone(script);
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("local.txt");
    fs::write(&path, "45.9.148.7\n45.9.151.0/24\n").unwrap();
    let config = json!({ "feed": {
        "remote": { "url": format!("http://{}/list?key=geheim", server.address), "set": "emerging", "label": "bad" },
        "local": { "path": path, "set": "emerging" },
    } });
    let running = Running::start(config, state.path());
    running.until("remote", "taken", 1);
    running.until("local", "taken", 1);
    let group = |address| running.group("emerging", address);
    let deadline = Instant::now() + Duration::from_secs(20);
    while (group("45.9.148.1"), group("45.9.151.1")) != (Some("bad".into()), Some("local".into())) {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(group("45.9.148.7").as_deref(), Some("local"), "the longest prefix");
    assert_eq!(running.refresh("remote", false).unwrap(), "unchanged, 1 prefixes");
    let refused = running.refresh("remote", false).unwrap_err().to_string();
    assert!(refused.contains("accept the change"), "{refused}");
    assert_eq!(group("45.9.150.1"), None);
    // The server says 304 to the marks of the list in use, which are those of the first answer.
    assert_eq!(running.refresh("remote", true).unwrap(), "unchanged, 1 prefixes");
    let asked = server.asked();
    assert!(
        !asked[0].contains("if-none-match")
            && asked[1..].iter().all(|request| request.contains("if-none-match: \"1\"\r\n"))
    );
    assert!(!running.control.json().to_string().contains("geheim"));
    // A file that was written anew.
    let next = state.path().join("next");
    fs::write(&next, "45.9.152.0/24\n45.9.151.0/24\n").unwrap();
    fs::rename(&next, &path).unwrap();
    assert_eq!(running.refresh("local", false).unwrap(), "taken, 2 prefixes");
    assert_eq!(
        (group("45.9.152.1").as_deref(), group("45.9.148.7").as_deref()),
        (Some("local"), Some("bad"))
    );
    assert_eq!(running.refresh("local", false).unwrap(), "unchanged, 2 prefixes");
    assert!(
        matches!(running.refresh("none\n", false), Err(RefreshError::Unknown(name)) if name == "none\\n")
    );
    running.stop();
}

#[test]
fn a_change_is_taken_when_a_person_says_so() {
    let server = Server::alone(vec![ok("45.9.148.1\n"), ok("45.9.149.1\n")]);
    let state = tempfile::tempdir().unwrap();
    let config = json!({ "feed": { "a": { "url": format!("http://{}/", server.address) } } });
    let running = Running::start(config, state.path());
    running.until("a", "taken", 1);
    assert!(running.refresh("a", false).is_err());
    assert_eq!(running.refresh("a", true).unwrap(), "taken, 1 prefixes");
    assert_eq!(
        (running.group("a", "45.9.149.1").as_deref(), running.group("a", "45.9.148.1")),
        (Some("a"), None)
    );
    running.stop();
}

#[test]
fn a_list_that_is_late_is_told_and_one_that_drips_delays_no_other() {
    let dead = Server::alone(vec![ok("45.9.148.1\n"), vec![Piece::Pause(Duration::from_secs(3600))]]);
    let live = Server::alone(vec![ok("45.9.148.1\n")]);
    let state = tempfile::tempdir().unwrap();
    // Periods so short are refused in a configuration.
    let config = json!({ "feed": {
        "dead": { "url": format!("http://{}/", dead.address), "refresh_s": 1 },
        "live": { "url": format!("http://{}/", live.address), "refresh_s": 1 },
    } });
    let running = Running::start(config, state.path());
    running.until("live", "unchanged", 3);
    let deadline = Instant::now() + Duration::from_secs(20);
    while running.control.json()["dead"]["late"] != true {
        assert!(Instant::now() < deadline, "{}", running.control.json());
        std::thread::sleep(Duration::from_millis(5));
    }
    let json = running.control.json();
    assert_eq!((&json["live"]["late"], &json["dead"]["entries"]), (&false.into(), &1.into()));
    assert_eq!(running.group("dead", "45.9.148.1").as_deref(), Some("dead"), "it stays in use");
    running.stop();
}
