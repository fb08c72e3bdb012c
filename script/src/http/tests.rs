//! The client of scripts against servers of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Says, Server, acceptor, authority, folder_of, issued, private, says};
use super::*;

const UNGUARDED: Guards = Guards { docker: None, capture: None };

fn http(allowed: &[&str], limits: Limits) -> Http {
    let allowed: Vec<Allow> = allowed.iter().map(|text| text.parse().unwrap()).collect();
    Http::new(&allowed, limits, UNGUARDED, Arc::default())
}

fn get(url: &str) -> Outgoing {
    Outgoing::of_http(&[json!(url)], OwnAddress(None)).unwrap()
}

fn counted(http: &Http) -> Vec<(&'static str, u64)> {
    http.shared.counters.http.get().into_iter().collect()
}

/// A number as text of this length, which is the length's own.
fn of_length(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test]
async fn scripts_reach_what_is_allowed_and_an_error_names_the_flag() {
    let server = Server::plain(|asked| says(if asked.line == "GET /x" { 200 } else { 404 }, "a\u{fc}")).await;
    let url = format!("http://{}/x", server.address);
    let http = http(&[&server.address.to_string(), "a.invalid"], Limits::default());
    let reply = http.call(get(&url)).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "aü"));
    assert_eq!(http.call(get(&format!("http://{}/y", server.address))).await.unwrap().status, 404);
    let error = http.call(get("https://rules.emergingthreats.net/x")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rules.emergingthreats.net:443 is not allowed; --allow rules.emergingthreats.net lets scripts reach it"
    );
    let error = http.call(get("http://169.254.169.254/latest/meta-data/")).await.unwrap_err().to_string();
    assert!(error.ends_with("scripts never reach it"), "{error}");
    assert_eq!(http.call(get("http://a.invalid/?key=geheim")).await.unwrap_err().label(), "connect");
    assert_eq!(counted(&http), [("answered", 2), ("connect", 1), ("not_allowed", 2)]);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_name_that_leads_to_this_host_is_not_enough() {
    let server = Server::plain(|_| says(200, "here")).await;
    let port = server.address.port();
    // The network holds every address but this host's own; the name is what an operator would have written.
    let entries = [format!("0.0.0.0/0:{port}"), "*.localhost".to_owned()];
    let http = http(&entries.each_ref().map(String::as_str), Limits::default());
    let error = http.call(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert_eq!(error.label(), "not_allowed");
    let error = http.call(get(&format!("http://x.localhost:{port}/"))).await.unwrap_err();
    assert_eq!(error.label(), "connect", "{error}");
    assert_eq!(server.asked().len(), 0);
    let named = self::http(&["localhost"], Limits::default());
    assert_eq!(named.call(get(&format!("http://localhost:{port}/"))).await.unwrap().body, "here");
}

#[tokio::test]
async fn redirects_lead_only_to_what_is_allowed() {
    let other = Server::plain(|_| says(200, "there")).await;
    let location = format!("location: http://{}/\r\n", other.address);
    let server = Server::plain(move |asked| match asked.line.as_str() {
        "GET /own" => Says::This(302, "location: /here\r\n".to_owned(), String::new()),
        "GET /here" => says(200, "here"),
        "GET /metadata" => Says::This(302, "location: http://169.254.169.254/\r\n".to_owned(), String::new()),
        _ => Says::This(302, location.clone(), "moved".to_owned()),
    })
    .await;
    let own = server.address.to_string();
    let at = |path: &str| get(&format!("http://{own}/{path}"));
    let http = http(&[&own], Limits::default());
    assert_eq!(http.call(at("own")).await.unwrap().body, "here");
    for path in ["other", "metadata"] {
        assert_eq!(http.call(at(path)).await.unwrap_err().label(), "redirect");
    }
    let put = json!([format!("http://{own}/other"), "put", "text/plain", "x"]);
    let put = Outgoing::of_http(put.as_array().unwrap(), OwnAddress(None)).unwrap();
    let reply = http.call(put).await.unwrap();
    assert_eq!((reply.status, reply.headers[0].0.as_str()), (302, "location"));
    assert_eq!(other.asked().len(), 0);
    let both = self::http(&[&own, &other.address.to_string()], Limits::default());
    assert_eq!(both.call(at("other")).await.unwrap().body, "there");
}

#[tokio::test]
async fn the_collector_itself_is_reached_without_a_flag_and_only_so() {
    let other = Server::plain(|_| says(200, "there")).await;
    let location = format!("location: http://{}/\r\n", other.address);
    let own = Server::plain(move |asked| match asked.line.as_str() {
        "GET /away" => Says::This(302, location.clone(), String::new()),
        _ => says(200, "own"),
    })
    .await;
    let http = http(&[], Limits::default());
    let relative = |path: &str| Outgoing::of_http(&[json!(path)], OwnAddress(Some(own.address))).unwrap();
    assert_eq!(http.call(relative("/version")).await.unwrap().body, "own");
    assert_eq!(http.call(relative("/away")).await.unwrap_err().label(), "redirect");
    let error = http.call(get(&format!("http://{}/version", own.address))).await.unwrap_err();
    assert_eq!(error.label(), "not_allowed");
    assert_eq!(
        (own.lines(), other.asked().len()),
        (vec!["GET /version".to_owned(), "GET /away".to_owned()], 0)
    );
}

#[tokio::test]
async fn a_call_has_an_end_in_bytes_and_in_time() {
    let limits =
        Limits { connect: Duration::from_secs(1), call: Duration::from_millis(300), body_bytes: 1000 };
    let server = Server::plain(|asked| match asked.line.as_str() {
        "GET /whole" => says(200, &of_length(1000)),
        "GET /long" => says(200, &of_length(1001)),
        _ => Says::Late(Duration::from_secs(60), 200, String::new()),
    })
    .await;
    let http = http(&["127.0.0.1"], limits);
    let at = |path: &str| get(&format!("http://{}/{path}?key=geheim", server.address));
    let plain = |path: &str| get(&format!("http://{}/{path}", server.address));
    assert_eq!(http.call(plain("whole")).await.unwrap().body.len(), 1000);
    assert_eq!(http.call(plain("long")).await.unwrap_err().label(), "too_long");
    let began = Instant::now();
    let error = http.call(at("slow")).await.unwrap_err();
    assert!(error.label() == "time" && began.elapsed() < Duration::from_secs(5), "{error}");
    assert!(error.to_string().ends_with("/slow?...: no whole answer in 0.3 s"), "{error}");
}

#[tokio::test]
async fn four_calls_are_under_way_at_once_and_the_rest_waits_in_order() {
    let server = Server::plain(|_| Says::Late(Duration::from_millis(30), 200, String::new())).await;
    let http = http(&["127.0.0.1"], Limits::default());
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let call = http.queue(get(&format!("http://{}/{n}", server.address))).unwrap();
            tokio::spawn(async move { call.await.0.unwrap().status })
        })
        .collect();
    let waited_for = http.call(get(&format!("http://{}/now", server.address))).await.unwrap();
    let before = server.lines().len();
    assert!(waited_for.status == 200 && before < 16, "it did not pass the queue: {before}");
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!((server.at_once(), server.asked().len(), http.waiting()), (gate::AT_ONCE, 21, 0));
    let waiting: Vec<_> = (0..gate::WAITING).map(|_| http.queue(get("http://127.0.0.1/")).unwrap()).collect();
    let Err(error) = http.queue(get("http://127.0.0.1/")) else { panic!("the queue has no end") };
    assert!(error.to_string().contains("256 calls with"), "{error}");
    drop(waiting);
    assert_eq!((counted(&http), http.waiting()), (vec![("answered", 21), ("full", 1)], 0));
}

#[tokio::test]
async fn an_answer_that_was_not_taken_keeps_its_place() {
    let server = Server::plain(|_| says(200, "")).await;
    let limits = Limits { call: Duration::from_millis(200), ..Limits::default() };
    let http = http(&["127.0.0.1"], limits);
    let url = format!("http://{}/", server.address);
    let mut kept = Vec::new();
    for _ in 0..gate::AT_ONCE {
        kept.push(http.queue(get(&url)).unwrap().await);
    }
    let error = http.call(get(&url)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{url}: 4 calls of this script took more than 0.2 s"));
    kept.pop();
    assert_eq!(http.call(get(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn only_the_right_authority_name_and_time_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (authority("right"), authority("wrong"));
    folder_of(folder.path(), &right, &issued(&right, "script", false));
    let http = http(&["127.0.0.1"], Limits::default());
    let ask = |server: &Server, certs: Option<&str>| {
        let url = format!("https://{}/services/apache", server.address);
        Outgoing::of_request(&json!({ "url": url, "certs": certs }), OwnAddress(None)).unwrap()
    };
    let certs = folder.path().to_str().unwrap();
    for (certificate, refused) in [
        (issued(&right, "127.0.0.1", false), None),
        (issued(&wrong, "127.0.0.1", false), Some("its certificate is not signed by an authority")),
        (issued(&right, "127.0.0.1", true), Some("its certificate has expired")),
        (issued(&right, "engine.example.net", false), Some("not for 127.0.0.1")),
    ] {
        let server = Server::start(Some(acceptor(&certificate, Some(&right))), |_| says(200, "{}")).await;
        let replied = http.call(ask(&server, Some(certs))).await;
        match refused {
            None => assert_eq!(replied.unwrap().body, "{}"),
            Some(why) => {
                let error = replied.unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
        }
        let error = http.call(ask(&server, None)).await.unwrap_err();
        assert_eq!(error.label(), "connect", "{error}");
        assert_eq!(server.asked().len(), usize::from(refused.is_none()));
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority("ca");
    let client = issued(&ca, "script", false);
    folder_of(folder.path(), &ca, &client);
    let server =
        Server::start(Some(acceptor(&issued(&ca, "127.0.0.1", false), Some(&ca))), |_| says(200, "")).await;
    let http = http(&["127.0.0.1"], Limits::default());
    let ask = || {
        let url = format!("https://{}/", server.address);
        let certs = folder.path().to_str().unwrap();
        Outgoing::of_request(&json!({ "url": url, "certs": certs }), OwnAddress(None)).unwrap()
    };
    assert_eq!(http.call(ask()).await.unwrap().status, 200);
    private(&folder.path().join("key.pem"), &client.1.serialize_pem(), 0o644);
    let error = http.call(ask()).await.unwrap_err();
    assert!(error.label() == "file" && error.to_string().contains("chmod 0600"), "{error}");
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let error = http.call(ask()).await.unwrap_err().to_string();
    assert!(error.contains("key.pem: there is no such file"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_password_is_sent_and_shown_nowhere() {
    let server = Server::plain(|_| Says::Nothing).await;
    let http = http(&["127.0.0.1"], Limits::default());
    let put = json!([format!("http://{}/acl", server.address), "put", "text/plain", "x", "me", "geheim"]);
    let put = Outgoing::of_http(put.as_array().unwrap(), OwnAddress(None)).unwrap();
    let shown = format!("{put:?} {http:?}");
    let error = http.call(put).await.unwrap_err();
    assert_eq!(error.label(), "lost");
    assert!(server.asked()[0].head.contains("authorization: Basic bWU6Z2VoZWlt\r\n"));
    for text in [shown, error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("geheim") && !text.contains("bWU6Z2VoZWlt"), "{text}");
    }
}
