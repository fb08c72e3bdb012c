//! Who may ask, who may write, and what slow and idle clients cost (promise A9).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::{Collector, PATIENCE, finderscope};

/// Sends a head and a body on a connection of its own, and reads until the collector ends it.
pub(crate) fn exchange(collector: &Collector, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(collector.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_web_page_cannot_reach_the_collector_by_a_name_of_its_own() {
    let collector = Collector::start(&["--http-host", "sflow.example.net"]);
    for (host, expected) in
        [("evil.example.com", "403"), ("sflow.example.net", "200"), ("localhost:1", "200")]
    {
        let answer = exchange(&collector, &format!("GET /version HTTP/1.1\r\nHost: {host}\r\n"), "");
        assert_eq!(status(&answer), expected, "{host}: {answer}");
    }
    let two =
        exchange(&collector, "GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\n", "");
    assert!(status(&two).starts_with('4'), "{two}");
    let page = exchange(&collector, "GET / HTTP/1.1\r\nHost: localhost\r\n", "");
    let page = page.to_ascii_lowercase();
    assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{page}");
    assert!(page.contains("x-content-type-options: nosniff"), "{page}");
    assert!(!page.contains("access-control-allow"), "other pages may not read answers");
}

const FLOW: &str = "{value:'bytes'}";

fn put(collector: &Collector, authorization: Option<&str>) -> String {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let head = format!(
        "PUT /flow/f/json HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{authorization}",
        collector.http,
        FLOW.len()
    );
    exchange(collector, &head, FLOW)
}

#[test]
fn a_write_needs_the_token_on_any_address_but_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "0123456789abcdef0123\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let token = path.to_str().unwrap();

    let open = Collector::start(&[]);
    assert_eq!(status(&put(&open, None)), "204", "open on loopback");
    let refusing = Collector::start(&["--http", "0.0.0.0:0"]);
    let answer = put(&refusing, Some("Bearer 0123456789abcdef0123"));
    assert!(status(&answer) == "403" && answer.contains("--http-token-file"), "{answer}");
    assert_eq!(refusing.get("/version").0, 200, "everybody may read");
    let guarded = Collector::start(&["--http", "0.0.0.0:0", "--http-token-file", token]);
    for wrong in [None, Some("Bearer 0123456789abcdef012"), Some("Basic 0123456789abcdef0123")] {
        let answer = put(&guarded, wrong);
        assert_eq!(status(&answer), "401", "{wrong:?}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("www-authenticate: bearer"), "{answer}");
    }
    assert_eq!(guarded.get("/flow/f/json").0, 404);
    assert_eq!(status(&put(&guarded, Some("Bearer 0123456789abcdef0123"))), "204");
    assert_eq!(guarded.request("DELETE", "/flow/f/json", None).0, 401);
    assert_eq!(guarded.get("/flow/f/json").0, 200);
    let read_only = Collector::start(&["--http-readonly", "--http-token-file", token]);
    assert_eq!(status(&put(&read_only, Some("Bearer 0123456789abcdef0123"))), "403");
}

#[test]
fn a_token_that_others_can_read_or_guess_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for (token, mode, why) in [
        ("0123456789abcdef0123", 0o644, "can be read by others"),
        ("short", 0o600, "at least 16"),
        ("with spaces in between", 0o600, "no spaces"),
    ] {
        std::fs::write(&path, token).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let args = ["run", "--sflow", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir", "none"];
        let output = finderscope().args(args).arg("--http-token-file").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
        assert!(!said.contains(token), "the token is a secret: {said}");
    }
}

#[test]
fn bodies_have_a_mebibyte_at_most() {
    let collector = Collector::start(&[]);
    assert_eq!(collector.request("PUT", "/map/m/json", Some(&" ".repeat(2 << 20))).0, 413);
    let full = format!("{{a:['{}']}}", "x".repeat((1 << 20) - 8));
    assert_eq!(full.len(), 1 << 20);
    let (status, answer) = collector.request("PUT", "/map/m/json", Some(&full));
    assert_ne!(status, 413, "{answer}");
}

#[test]
fn a_connection_carries_many_requests() {
    let collector = Collector::start(&[]);
    let mut stream = TcpStream::connect(collector.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        write!(stream, "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(env!("CARGO_PKG_VERSION").as_bytes()) {
            let mut some = [0; 1024];
            let count = stream.read(&mut some).unwrap();
            assert!(count > 0, "the collector ended the connection");
            answer.extend_from_slice(&some[..count]);
        }
    }
    let analyzer = collector.json("/analyzer/json");
    assert_eq!(
        (&analyzer["httpConnectionsTotal"], &analyzer["httpMessagesReceived"]),
        (&2.into(), &4.into())
    );
}

/// Four clients that are slow each in a way of its own are cut off after ten seconds, and not before eight.
#[test]
fn slow_clients_are_cut_off() {
    let collector = Collector::start(&[]);
    let began = Instant::now();
    let connect = || {
        let stream = TcpStream::connect(collector.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        stream
    };
    let silent = connect();
    let mut half_a_head = connect();
    write!(half_a_head, "GET /version HTTP/1.1\r\nHost: local").unwrap();
    let mut half_a_body = connect();
    write!(
        half_a_body,
        "PUT /flow/f/json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{value:"
    )
    .unwrap();
    // More answers than any buffer between here and there holds.
    let mut never_reads = connect();
    let sender = never_reads.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut sender = sender;
        let request = "GET /api-docs HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
        // Until the collector takes no more, because nobody reads what it answers.
        while sender.write_all(request.as_bytes()).is_ok() {}
    });
    for (mut stream, what) in [(silent, "silent"), (half_a_head, "half a head"), (half_a_body, "half a body")]
    {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(8) && took < PATIENCE, "{what}: {took:?}");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.contains(" 408 "), "{what}: {answer}");
    }
    // The answers that were on their way are read; then the connection has ended.
    collector.wait_for("/analyzer/json", |answer| (answer["httpConnectionsCurrent"] == 1).then_some(()));
    let mut rest = Vec::new();
    let _ = never_reads.read_to_end(&mut rest);
    let (_, counters) = collector.get("/metrics");
    let slow = counters.lines().find_map(|line| line.strip_prefix("finderscope_http_slow_total ")).unwrap();
    assert!(slow.parse::<u64>().unwrap() >= 3, "{slow}");
}

/// Ten thousand connections at once, of which 900 have asked something and are kept for a next request, cost less than
/// 50 MiB. Those that ask nothing are cut off after 10 s: on a machine that takes longer for all of them it is tried anew.
#[test]
fn ten_thousand_idle_connections_cost_less_than_fifty_mebibytes() {
    const IDLE: usize = 10_000;
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: own.maximum, maximum: own.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    assert!(
        own.maximum.is_none_or(|most| most > 10_600),
        "this test needs a hard limit of 10,600 descriptors"
    );
    let collector = Collector::start(&[]);
    let used = || collector.json("/analyzer/json")["heapUsed"].as_u64().unwrap();
    let before = used();
    let measure = || {
        let connect = |n: usize| {
            let mut stream = TcpStream::connect(collector.http).unwrap();
            if n.is_multiple_of(10) && n < 9000 {
                write!(stream, "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            }
            stream
        };
        let began = Instant::now();
        let idle: Vec<TcpStream> = (0..IDLE).map(connect).collect();
        // The collector may still be accepting the last ones.
        let mut most = (0, 0);
        while most.0 < IDLE as u64 && began.elapsed() < Duration::from_secs(10) {
            let answer = collector.json("/analyzer/json");
            let current = answer["httpConnectionsCurrent"].as_u64().unwrap();
            most = most.max((current, answer["heapUsed"].as_u64().unwrap().saturating_sub(before)));
        }
        let room = collector.get("/version").0 == 200;
        drop(idle);
        collector.wait_for("/analyzer/json", |answer| {
            (answer["httpConnectionsCurrent"].as_u64().unwrap() < 100).then_some(())
        });
        (most, room)
    };
    let found = (0..5).map(|_| measure()).find(|((current, _), _)| *current >= IDLE as u64);
    let ((current, cost), room) = found.expect("ten thousand connections at once");
    println!("{current} connections cost {} KiB", cost >> 10);
    assert!(cost < 50 << 20, "{current} connections cost {} KiB", cost >> 10);
    assert!(room, "there is room for one more");
}
