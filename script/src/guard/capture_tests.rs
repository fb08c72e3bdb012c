//! Which requests are rules, and what becomes of them, with a controller and a server that answers as a switch's does.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actions::control::{Control as Actions, Start, start};
use actions::feeds::Feeds;
use actions::mode::Mode;
use engine::{Engine, EngineOptions};
use serde_json::json;

use super::*;
use crate::guard::Guards;
use crate::http::server::{Asked, Says, Server, says};
use crate::http::{Allow, Http, Limits as HttpLimits, OwnAddress, Reply};

const RULE: &str = "-A FORWARD --in-interface swp+ -s 10.0.0.162 -d 192.0.2.1 -j ERSPAN --src-ip 127.0.0.1 --dst-ip 10.0.0.70";

fn outgoing(method: &str, url: &str, body: &str) -> Outgoing {
    let request = json!({ "url": url, "method": method, "body": body, "headers": { "Content-Type": "application/json" } });
    Outgoing::of_request(&request, OwnAddress(Some("127.0.0.1:8008".parse().unwrap()))).unwrap()
}

#[test]
fn rules_are_known_by_their_place_or_by_what_they_say() {
    let place = |base: &str| Place::new(false, "10.0.0.253", 8080, base);
    let of = |method: &str, url: &str, body: &str| Rule::of(&outgoing(method, url, body));
    let put = |base: &str, name: &str| Some(Rule::Put(place(base), name.to_owned()));
    assert_eq!(of("PUT", "http://10.0.0.253:8080/acl/emrg0", "[]"), put("/acl", "emrg0"));
    assert_eq!(of("PUT", "http://10.0.0.253:8080//%61cl/emrg%30?x", "?"), put("/acl", "emrg0"));
    let secure = Place::new(true, "10.0.0.253", 443, "/acl");
    let delete = of("DELETE", "https://10.0.0.253/acl/emrg0", "");
    assert_eq!(delete, Some(Rule::Delete(secure, "emrg0".to_owned())));
    // The server behind a proxy has its rules without the list's name; and whatever a proxy calls them.
    let rules = json!(["[iptables]", RULE]).to_string();
    assert_eq!(of("PUT", "http://10.0.0.253:8080/emrg0", &rules), put("", "emrg0"));
    assert_eq!(of("PUT", "http://10.0.0.253:8080/a/b/emrg0", &rules), put("/a/b", "emrg0"));
    let one = json!([format!("# x\n[iptables]\n{RULE}")]).to_string();
    assert_eq!(of("PUT", "http://10.0.0.253:8080/a/emrg0", &one), put("/a", "emrg0"));
    for (method, url, body) in [
        ("DELETE", "http://10.0.0.253:8080/acl", ""),
        ("DELETE", "http://10.0.0.253:8080/acl/", ""),
        ("PUT", "http://10.0.0.253:8080/acl/a/b", "[]"),
        ("POST", "http://10.0.0.253:8080/acl/a", "[]"),
        ("PATCH", "http://10.0.0.253:8080/ACL/a", "[]"),
        ("POST", "http://10.0.0.253:8080/x", &rules),
        ("PUT", "http://10.0.0.253:8080/", &rules),
        ("PATCH", "https://10.0.0.253:8765/nvue_v1/acl?rev=1", "{}"),
    ] {
        assert!(matches!(of(method, url, body), Some(Rule::Other(_))), "{method} {url}");
    }
    for (method, url, body) in [
        ("GET", "http://10.0.0.253:8080/acl/emrg0", ""),
        ("PUT", "/acl/emrg0", "[]"),
        ("PUT", "http://10.0.0.253:8080/api/acl/x", "[]"),
        ("POST", "http://10.0.0.253:8080/x", "[1, \"[iptables\"]"),
        ("POST", "http://10.0.0.253:8080/x", "{\"a\": \"[iptables]\"}"),
        ("GET", "https://10.0.0.253:8765/nvue_v1/acl", ""),
    ] {
        assert_eq!(of(method, url, body), None, "{method} {url}");
    }
}

/// What a switch has, by name.
type Files = Arc<Mutex<BTreeMap<String, String>>>;

fn answer(files: &Files, asked: &Asked) -> Says {
    let (method, path) = asked.line.split_once(' ').unwrap();
    let name = path.split(' ').next().unwrap().trim_start_matches("/acl").trim_start_matches('/').to_owned();
    let mut files = files.lock().unwrap();
    match (method, name.as_str()) {
        ("GET", "lasterror") => says(204, ""),
        ("GET", "") => says(200, &json!(files.keys().collect::<Vec<_>>()).to_string()),
        ("GET", _) => files.get(&name).map_or_else(|| says(404, ""), |lines| says(200, lines)),
        ("PUT", _) => {
            files.insert(name, asked.body.clone());
            says(202, "")
        }
        _ => {
            files.remove(&name);
            says(204, "")
        }
    }
}

/// A collector without a configuration, and a script that may ask this host.
struct Desk {
    http: Http,
    actions: Actions,
    thread: Option<actions::thread::Actions>,
    _engine: Engine,
    _state: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let options = EngineOptions {
            sflow: vec!["127.0.0.1:0".parse().unwrap()],
            workers: NonZero::new(1),
            ..EngineOptions::default()
        };
        let engine = Engine::start(&options).unwrap();
        let state = tempfile::tempdir().unwrap();
        let config = actions::config::Config::default();
        let (thread, actions) = start(
            config.clone(),
            Start {
                engine: engine.handle(),
                state: Some(state.path()),
                changed: Json::Null,
                keep: Arc::new(|_| true),
                feeds: Feeds::new(&config.feeds, &[], None),
                owner: "main".to_owned(),
            },
        )
        .unwrap();
        let capture = Capture::new("emerging.js", actions.captures.clone(), Limits::default());
        let allowed: Allow = "127.0.0.1".parse().unwrap();
        let guards = Guards { docker: None, capture: Some(capture) };
        let http = Http::new(&[allowed], HttpLimits::default(), guards, Arc::default());
        Self { http, actions, thread: Some(thread), _engine: engine, _state: state }
    }

    async fn ask(&self, method: &str, url: &str, body: &str) -> Result<Reply, Failure> {
        self.http.call(outgoing(method, url, body)).await
    }

    fn sessions(&self) -> Vec<Json> {
        self.actions.captures.json()["sessions"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.thread.take().map(actions::thread::Actions::shutdown);
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_script_puts_is_a_capture_of_the_collectors_own() {
    let files = Files::default();
    let shared = Arc::clone(&files);
    let server = Server::plain(move |asked| answer(&shared, asked)).await;
    let desk = Desk::new();
    assert_eq!(desk.actions.mode(), Mode::Observe, "listing a script is enough");
    let url = format!("http://{}/acl/emrg0", server.address);
    let rules = json!(["[iptables]", "# emerging threat capture", RULE]).to_string();
    let reply = desk.ask("PUT", &url, &rules).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    until("it is there", || files.lock().unwrap().contains_key("emrg0")).await;
    let lines: Vec<String> = serde_json::from_str(&files.lock().unwrap()["emrg0"]).unwrap();
    let mark = "# finderscope owner=main script=emerging.js";
    assert_eq!(lines, ["[iptables]", mark, "# emerging threat capture", RULE]);
    until("it is shown", || !desk.sessions().is_empty()).await;
    let session = &desk.sessions()[0];
    assert_eq!(session["owner"], json!({ "script": "emerging.js", "name": "emrg0" }));
    // What only reads goes as it is.
    assert_eq!(desk.ask("GET", &url, "").await.unwrap().body, files.lock().unwrap()["emrg0"]);
    for (method, url, body, named) in [
        ("PUT", url.as_str(), "[\"[iptables]\", \"-A FORWARD -j DROP\"]", "-j ERSPAN is allowed"),
        ("PUT", &url, "{}", "no JSON array of lines"),
        ("POST", &url, &rules, "this is a POST"),
        ("DELETE", &format!("http://{}/acl", server.address), "", "one by one"),
        ("PUT", "http://127.0.0.1:1/nvue_v1/acl", "{}", "NVUE"),
    ] {
        let why = desk.ask(method, url, body).await.unwrap_err();
        assert!(matches!(why, Failure::Guarded(_)), "{why:?}");
        let why = why.to_string();
        assert!(why.contains(named) && why.ends_with("; nothing was changed"), "{why}");
    }
    let elsewhere = desk.ask("PUT", "http://10.0.0.1:8080/acl/x", &rules).await.unwrap_err();
    assert!(matches!(elsewhere, Failure::NotAllowed(_)), "{elsewhere}");
    assert_eq!(desk.ask("DELETE", &url, "").await.unwrap().status, 204);
    until("it is gone", || files.lock().unwrap().is_empty()).await;
    assert_eq!(desk.ask("DELETE", &url, "").await.unwrap().status, 204, "as a switch answers");
}
