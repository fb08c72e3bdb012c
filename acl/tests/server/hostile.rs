//! What a client may send on purpose.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::running::{Place, RULE, answer, exchange};

#[test]
fn no_body_does_more_than_be_refused() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let many = format!("[{}\"\"]", "\"\",".repeat(80_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"[".repeat(200_000),
        b"[\"[iptables]\",\"-A FORWARD -j DROP\\n-A INPUT -i eth0 -j DROP\"]".to_vec(),
        b"[\"[iptables]\\n[ip6tables]\"]".to_vec(),
        b"[\"[iptables]\",\"-A FORWARD -j DROP\\u0000\"]".to_vec(),
        b"[\"[iptables]\",\"-A FORWARD -j DROP\\r\"]".to_vec(),
        b"[\"[iptables]\",\"-A FORWARD -j DROP\\u2028\"]".to_vec(),
        b"[\"\\ud800\"]".to_vec(),
        b"[\"\xff\xfe\"]".to_vec(),
        b"[\"[iptables]\",\"# $(reboot) `reboot`\"]".to_vec(),
        b"[\"INGRESS = swp1\",\"[iptables]\"]".to_vec(),
        format!("[\"[iptables]\",\"# {}\"]", "x".repeat(100_000)).into_bytes(),
        many.replacen("\"\"", "\"x\"", 1).into_bytes(),
        vec![0; 1000],
    ];
    for body in &bodies {
        let answer = server.put_body("/acl/x", body);
        assert_eq!(
            answer.status,
            400,
            "{:?}: {}",
            String::from_utf8_lossy(&body[..body.len().min(60)]),
            answer.text
        );
        assert!(answer.text.len() < 1000);
    }
    let too_long = server.put_body("/acl/x", &vec![b' '; (256 << 10) + 1]);
    assert_eq!(too_long.status, 413);
    assert_eq!(server.metric("finderscope_acl_refused_total{reason=\"too_long\"}"), 1);
    assert_eq!(server.put("/acl/x", &["[iptables]", RULE]).status, 202);
    let files = std::fs::read_dir(place.path("policy.d")).unwrap().flatten();
    assert!(
        files
            .filter(|file| file.file_name() != "50rest-x.rules")
            .all(|file| { file.file_name().to_string_lossy().starts_with(".finderscope-acl.installed") })
    );
    for line in server.log().lines() {
        assert!(line.len() < 1200 && !line.contains('\u{2028}'), "{line}");
    }
}

#[test]
fn chunks_without_an_end_are_refused_at_the_limit() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let mut stream = server.connect();
    stream
        .write_all(b"PUT /acl/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..5 {
        stream.write_all(chunk.as_bytes()).unwrap();
    }
    let mut head = [0; 64];
    let read = stream.read(&mut head).unwrap();
    assert!(String::from_utf8_lossy(&head[..read]).starts_with("HTTP/1.1 413 "));
}

#[test]
fn half_a_body_installs_nothing() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let mut stream = server.connect();
    let body = format!("[\"[iptables]\",\"{RULE}\"]");
    let head = format!(
        "PUT /acl/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(server.ask("GET", "/acl/x").status, 404);
}

#[test]
fn a_head_that_is_too_long_and_no_http_at_all_are_refused() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let long = format!("X-Long: {}\r\n", "x".repeat(40_000));
    let refused = exchange(&mut server.connect(), "GET", "/acl", &long, b"");
    assert_eq!(refused.status, 431);
    let mut stream = server.connect();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).status, 400);
    assert_eq!(server.ask("GET", "/acl").status, 200);
}

#[test]
fn idle_connections_give_their_places_back_within_ten_seconds() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let began = Instant::now();
    let idle: Vec<_> = (0..70)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /acl HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.put("/acl/x", &["[iptables]", RULE]).status, 202);
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(15), "{waited:?}");
    assert!(server.metric("finderscope_acl_connections_refused_total{reason=\"full\"}") >= 1);
    // Each has a deadline of its own; the last of them were let in when the first had given their places back.
    let slow = || server.metric("finderscope_acl_connections_refused_total{reason=\"slow\"}");
    while slow() < 70 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} of 70 were cut off", slow());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(idle);
}
