//! The switch's command: one at a time, for many changes, failing, hanging, and after a crash.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::running::{Place, RULE, lives, until};

#[test]
fn changes_come_at_once_and_commits_one_at_a_time() {
    let place = Place::new("slow");
    let server = place.start(&[]);
    let names: Vec<String> = (0..40).map(|n| format!("/acl/emrg{n}")).collect();
    let server = &server;
    std::thread::scope(|scope| {
        for names in names.chunks(10) {
            scope.spawn(move || {
                for name in names {
                    assert_eq!(server.put(name, &["[iptables]", RULE]).status, 202);
                }
            });
        }
    });
    until("a commit of all", || place.commits().contains(&"end 40".to_owned()).then_some(()));
    let commits = place.commits();
    assert!(!commits.contains(&"overlap".to_owned()), "{commits:?}");
    let begun = commits.iter().filter(|line| line.starts_with("begin")).count();
    assert!(begun <= 10, "40 changes took {begun} commits of 0.3 s: {commits:?}");
    let counted = || server.metric("finderscope_acl_commits_total{result=\"done\"}");
    until("the count", || (counted() == begun as u64).then_some(()));
}

#[test]
fn a_commit_that_fails_is_told_until_one_works() {
    let place = Place::new("fail");
    let server = place.start(&[]);
    assert!(!server.ask("GET", "/acl").warns());
    let answer = server.put("/acl/x", &["[iptables]", RULE]);
    assert_eq!((answer.status, answer.warns()), (202, false), "before anything is installed");
    let told = until("the failure", || {
        Some(server.ask("GET", "/acl/lasterror")).filter(|answer| answer.status == 200)
    });
    assert_eq!(told.json(), json!({ "lines": ["Reading rule file ...", "error: no TCAM"], "returncode": 3 }));
    for (method, path) in [
        ("GET", "/acl"),
        ("GET", "/acl/nothing"),
        ("DELETE", "/acl/nothing"),
        ("POST", "/acl"),
        ("GET", "/A"),
    ] {
        let answer = server.ask(method, path);
        assert!(answer.warns(), "{method} {path}: {}", answer.head);
    }
    assert_eq!(server.metric("finderscope_acl_failing"), 1);
    // Tried again by itself, with nothing changed.
    place.mode("work");
    until("a commit that works", || {
        Some(server.ask("GET", "/lasterror")).filter(|answer| answer.status == 204)
    });
    assert!(!server.ask("GET", "/acl").warns());
    assert!(
        server.log().contains("has not taken the rules over (code 3): error: no TCAM"),
        "{}",
        server.log()
    );
}

#[test]
fn a_change_after_a_failure_is_committed_at_once() {
    let place = Place::new("fail");
    let server = place.start(&[]);
    server.put("/acl/x", &["[iptables]", RULE]);
    // The third failure waits for two seconds and more.
    until("failures", || (place.commits().len() >= 3).then_some(()));
    place.mode("work");
    let began = Instant::now();
    server.ask("DELETE", "/acl/x");
    until("a commit that works", || place.commits().contains(&"end 0".to_owned()).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_commit_that_hangs_is_ended_with_all_that_it_started() {
    let place = Place::new("hang");
    let server = place.start(&["--commit-timeout", "1"]);
    server.put("/acl/x", &["[iptables]", RULE]);
    let sleeper = until("the sleeper", || {
        fs::read_to_string(place.path("sleeper")).ok().filter(|id| id.ends_with('\n'))
    });
    assert_eq!(server.ask("GET", "/acl").json(), json!(["x"]), "answers do not wait for a commit");
    let told =
        until("the failure", || Some(server.ask("GET", "/lasterror")).filter(|answer| answer.status == 200));
    assert_eq!(
        told.json(),
        json!({ "lines": ["/bin/sh ran longer than 1 s and was ended"], "returncode": 124 })
    );
    assert!(!lives(&sleeper), "what the command has started is gone");
}

#[test]
fn what_a_commit_leaves_behind_holds_up_nothing() {
    let place = Place::new("orphan");
    let server = place.start(&[]);
    let began = Instant::now();
    server.put("/acl/x", &["[iptables]", RULE]);
    let told =
        until("the failure", || Some(server.ask("GET", "/lasterror")).filter(|answer| answer.status == 200));
    assert_eq!(told.json()["returncode"], 1);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let sleeper = fs::read_to_string(place.path("sleeper")).unwrap();
    assert!(std::process::Command::new("kill").arg(sleeper.trim()).status().unwrap().success());
}

#[test]
fn of_a_megabyte_that_a_commit_says_the_end_is_kept() {
    let place = Place::new("chatter");
    let server = place.start(&[]);
    server.put("/acl/x", &["[iptables]", RULE]);
    let told =
        until("the failure", || Some(server.ask("GET", "/lasterror")).filter(|answer| answer.status == 200));
    assert!(told.text.len() < 64 << 10, "{}", told.text.len());
    let told = told.json();
    let lines = told["lines"].as_array().unwrap();
    assert_eq!(lines.last().unwrap(), "the end");
    assert!(lines[0].as_str().unwrap().ends_with("bytes before this are left out)"), "{}", lines[0]);
}

#[test]
fn a_command_that_is_not_there_is_told() {
    let place = Place::new("work");
    let server = place.start(&["--commit-command", "/nonexistent/tool -i"]);
    server.put("/acl/x", &["[iptables]", RULE]);
    let told =
        until("the failure", || Some(server.ask("GET", "/lasterror")).filter(|answer| answer.status == 200))
            .json();
    assert_eq!(told["returncode"], 127);
    assert!(
        told["lines"][0].as_str().unwrap().starts_with("/nonexistent/tool cannot be started: "),
        "{told}"
    );
}

#[test]
fn what_was_written_before_a_crash_is_committed_after_it() {
    let place = Place::new("hang");
    let mut server = place.start(&[]);
    assert_eq!(server.put("/acl/x", &["[iptables]", RULE]).status, 202);
    let sleeper = until("the sleeper", || {
        fs::read_to_string(place.path("sleeper")).ok().filter(|id| id.ends_with('\n'))
    });
    assert_eq!(server.put("/acl/y", &["[iptables]", RULE]).status, 202, "while the commit of the first runs");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    std::process::Command::new("kill").arg(sleeper.trim()).status().unwrap();
    until("the former command's end", || (!place.path("running").exists()).then_some(()));
    fs::write(place.path("policy.d/50rest-half.bld"), "[iptab").unwrap();
    place.mode("work");
    fs::write(place.path("commits"), "").unwrap();

    let mut server = place.start(&[]);
    until("the commit at the start", || place.commits().contains(&"end 2".to_owned()).then_some(()));
    assert!(!place.path("policy.d/50rest-half.bld").exists());
    assert_eq!(server.ask("GET", "/acl").json(), json!(["x", "y"]));
    until("the record", || place.path("policy.d/.finderscope-acl.installed").exists().then_some(()));
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));

    // Nothing has changed since: nothing is committed before the next change.
    let mut server = place.start(&[]);
    server.ask("DELETE", "/acl/y");
    until("the commit of the change", || place.commits().contains(&"end 1".to_owned()).then_some(()));
    assert_eq!(place.commits(), ["begin 2", "end 2", "begin 1", "end 1"]);
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));

    // Somebody has taken a file away meanwhile.
    fs::remove_file(place.path("policy.d/50rest-x.rules")).unwrap();
    let _server = place.start(&[]);
    until("the commit at the start", || place.commits().contains(&"end 0".to_owned()).then_some(()));
}

#[test]
fn the_end_waits_for_a_commit_that_runs() {
    let place = Place::new("slow");
    let mut server = place.start(&[]);
    server.put("/acl/x", &["[iptables]", RULE]);
    until("the commit's begin", || place.commits().contains(&"begin 1".to_owned()).then_some(()));
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
    assert_eq!(place.commits(), ["begin 1", "end 1"]);
    assert!(place.path("policy.d/.finderscope-acl.installed").exists(), "{}", server.log());
}
