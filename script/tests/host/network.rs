//! What scripts send, and what they look up.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};

use serde_json::json;

use crate::asking::Console;

#[test]
fn a_message_arrives_at_a_host_that_is_allowed() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let console = Console::with(|config| {
        config.allow = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    });
    let receive = || {
        let mut packet = [0; 4096];
        let length = receiver.recv(&mut packet).unwrap();
        String::from_utf8(packet[..length].to_vec()).unwrap()
    };
    console.run(&format!("syslog('127.0.0.1', {port}, null, null, 'set replicas')"));
    let text = receive();
    assert!(text.starts_with("<133>1 20") && text.ends_with(" console.js - \u{feff}set replicas"), "{text}");
    console.run(&format!("syslog('127.0.0.1', '{port}', 3, 0, {{a: 1, b: ['x']}})"));
    let text = receive();
    assert!(text.starts_with("<24>1 20") && text.ends_with("\u{feff}{\"a\":1,\"b\":[\"x\"]}"), "{text}");
    for (arguments, why) in [
        (format!("'127.0.0.2', {port}, null, null, 'x'"), "--allow 127.0.0.2"),
        ("'127.0.0.1', 1, null, null, 'x'".to_owned(), "--allow 127.0.0.1:1"),
        ("'169.254.169.254', null, null, null, 'x'".to_owned(), "scripts never reach"),
        ("'127.0.0.1', 0, null, null, 'x'".to_owned(), "argument 2 (port) must be 1 to 65535"),
        (format!("'127.0.0.1', {port}, 24, null, 'x'"), "argument 3 (facility) must be 0 to 23"),
        (format!("'127.0.0.1', {port}"), "argument 5 (message) is missing"),
    ] {
        let thrown = console.throws(&format!("syslog({arguments})"));
        assert!(thrown.contains(why), "{arguments}: {thrown}");
    }
}

#[test]
fn metrics_arrive_as_lines_of_plain_text() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let console = Console::with(|config| {
        config.allow = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    });
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        receiver.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    console.run(&format!("graphite('127.0.0.1', {port}, {{'a b\\n.c': 1.5, n: '7', big: 5e9}})"));
    let text = reader.join().unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let shown: Vec<_> = lines.iter().map(|words| (words[0], words[1], words.len())).collect();
    assert_eq!(shown, [("a_b_.c", "1.5", 3), ("n", "7", 3), ("big", "5000000000", 3)]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(lines.iter().all(|words| now.abs_diff(words[2].parse().unwrap()) < 60), "{text}");
    for (arguments, why) in [
        (format!("'127.0.0.1', {port}, {{a: 'x'}}"), "\"a\" is no number"),
        (format!("'127.0.0.1', {port}, {{a: 1}}"), "refused"),
        ("'127.0.0.1', null, {a: 1}".to_owned(), "--allow 127.0.0.1:2003"),
        (format!("'127.0.0.1', {port}"), "argument 3 (metrics) is missing"),
    ] {
        let thrown = console.throws(&format!("graphite({arguments})"));
        assert!(thrown.contains(why), "{arguments}: {thrown}");
    }
}

#[test]
fn names_are_looked_up() {
    let console = Console::new();
    let found = console.run("dnsGetAllByName('localhost')");
    assert!(found.as_array().unwrap().contains(&json!("127.0.0.1")), "{found}");
    assert_eq!(console.run("dnsGetAllByName('192.0.2.1')"), json!(["192.0.2.1"]));
    assert_eq!(console.run("dnsGetAllByName('2001:db8::1')"), json!(["2001:db8::1"]));
    assert_eq!(console.run("dnsGetAllByName('nosuch.invalid')"), json!([]));
}
