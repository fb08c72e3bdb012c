//! How scripts begin, go on and end.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine::{LoggedEvent, LoggedFlow, News};
use script::{Request, RequestError};
use serde_json::json;
use tables::outbox::ThresholdEvent;
use tables::question::{Address, Owner, Source};

use crate::support::{Host, get, until};

#[test]
fn a_handler_answers_and_keeps_what_it_knows() {
    let host = Host::start(&[(
        "elb.js",
        "var enabled = false;\n\
         setHttpHandler(function(req) {\n\
           enabled = req.query && req.query.state && req.query.state[0] === 'enabled';\n\
           if (req.path[0] === 'missing') throw 'not_found';\n\
           if (req.path[0] === 'object') return {n: [1, 2.5, null], body: req.body, method: req.method};\n\
           return enabled ? 'enabled' : 'disabled';\n\
         });",
    )]);
    assert_eq!(host.get("elb.js"), json!("disabled"));
    let ask = |path: &[&str], query: &[(&str, &str)], body: &str| {
        let request = Request {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.into(),
            ..get()
        };
        let reply = host.ask("elb.js", request).unwrap();
        (reply.status, String::from_utf8(reply.body).unwrap())
    };
    assert_eq!(ask(&[], &[("state", "enabled")], ""), (200, "enabled".to_owned()));
    assert_eq!(ask(&["missing"], &[], "").0, 404);
    let object = ask(&["object"], &[], "{\"a\": 1}");
    assert_eq!(object, (200, "{\"n\":[1,2.5,null],\"body\":{\"a\":1},\"method\":\"GET\"}".to_owned()));
    assert_eq!(host.ask("other.js", get()), Err(RequestError::NoScript));
    let status = host.status("elb.js");
    assert_eq!((&status["alive"], &status["error"]), (&json!(true), &json!(null)));
    assert!(status["requestsReceived"].as_u64() >= Some(4), "{status}");
}

#[test]
fn a_text_is_json_for_whom_wants_that() {
    let texts = "setHttpHandler(function(req) { return req.path[0]; });";
    let host = Host::start(&[("texts.js", texts)]);
    let answer = |text: &str, wants_json: bool, format: &str| {
        let request = Request { path: vec![text.to_owned()], wants_json, format: format.to_owned(), ..get() };
        String::from_utf8(host.ask("texts.js", request).unwrap().body).unwrap()
    };
    until("it answers", || host.ask("texts.js", get()).is_ok());
    for (text, for_anybody, for_json) in
        [("enabled", "enabled", "\"enabled\""), ("0.1.0", "0.1.0", "\"0.1.0\""), ("[1]", "[1]", "[1]")]
    {
        assert_eq!(answer(text, false, "json"), for_anybody);
        assert_eq!(answer(text, true, "json"), for_json);
        assert_eq!(answer(text, true, "txt"), for_anybody);
    }
}

#[test]
fn one_that_cannot_start_stops_no_other_one() {
    let host = Host::start(&[
        ("bad.js", "let a = ;"),
        ("gone.js", "nosuch();"),
        ("done.js", "logInfo('hello');"),
        ("good.js", "setHttpHandler(function() { return 'good'; });"),
    ]);
    assert_eq!(host.get("good.js"), json!("good"));
    until("the others end", || ["bad.js", "gone.js", "done.js"].iter().all(|name| !host.is_alive(name)));
    let error = |name| host.status(name)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error("bad.js").starts_with("bad.js:1:9 SyntaxError"), "{}", error("bad.js"));
    assert!(error("gone.js").starts_with("gone.js:1:1 ReferenceError: nosuch"), "{}", error("gone.js"));
    assert_eq!(host.status("done.js")["gracefulExit"], true);
    assert_eq!(host.ask("bad.js", get()), Err(RequestError::Ended));
}

#[test]
fn the_clock_calls_and_an_exception_ends_nothing() {
    let host = Host::start(&[(
        "clock.js",
        "var n = 0, late = null, now = 0;\n\
         setIntervalHandler(function(ms) { n++; now = ms; if (n % 2) throw new Error('odd ' + n); }, 0.02);\n\
         setTimeout(function(a, b) { late = a + b; }, 10, 1, 2);\n\
         clearTimeout(setTimeout(function() { late = 'no'; }, 20));\n\
         setHttpHandler(function() { return {n: n, late: late, now: now}; });",
    )]);
    until("it is called", || host.get("clock.js")["n"].as_u64() > Some(5));
    let seen = host.get("clock.js");
    assert_eq!(seen["late"], 3);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(u128::from(seen["now"].as_u64().unwrap())) < 20_000, "{seen}");
    let status = host.status("clock.js");
    assert!(status["exceptions"].as_u64() > Some(2), "{status}");
    assert!(status["error"].as_str().unwrap().contains("clock.js:2:"), "{status}");
    assert_eq!(status["alive"], true);
}

#[test]
fn one_without_end_is_interrupted_and_goes_on() {
    let host = Host::with(
        &[(
            "loop.js",
            "setHttpHandler(function(req) { if (req.path[0] === 'loop') while (true) {} return 'still here'; });",
        )],
        |config| config.limits.call = Duration::from_secs(1),
    );
    assert_eq!(host.get("loop.js"), json!("still here"));
    let reply = host.ask("loop.js", Request { path: vec!["loop".into()], ..get() }).unwrap();
    assert_eq!(reply.status, 500);
    assert!(String::from_utf8_lossy(&reply.body).contains("took longer than 1000 ms"));
    assert_eq!(host.get("loop.js"), json!("still here"));
    assert_eq!(host.status("loop.js")["interrupted"], 1);
}

#[test]
fn a_clock_that_is_always_due_keeps_nobody_waiting() {
    // A timer that sets the next one, and an interval that is shorter than its handler.
    let host = Host::start(&[(
        "late.js",
        "var intervals = 0, timers = 0;\n\
         function again() { timers++; setTimeout(again, 0); }\n\
         again();\n\
         setIntervalHandler(function() { intervals++; var end = Date.now() + 50; while (Date.now() < end) {} }, 0.02);\n\
         setHttpHandler(function() { return {intervals: intervals, timers: timers}; });",
    )]);
    let first = host.get("late.js");
    until("both go on", || {
        let seen = host.get("late.js");
        ["intervals", "timers"].iter().all(|of| seen[of].as_u64() >= first[of].as_u64().map(|n| n + 3))
    });
}

#[test]
fn every_record_and_event_comes_once_and_in_its_order() {
    const EACH: u64 = 1000;
    let host = Host::start(&[(
        "order.js",
        "var seen = {flows: 0, events: 0, wrong: 0};\n\
         setFlowHandler(function(rec) { if (rec.flowID !== seen.flows++) seen.wrong++; }, ['pairs']);\n\
         setEventHandler(function(evt) { if (evt.eventID !== seen.events++) seen.wrong++; }, ['busy']);\n\
         setHttpHandler(function() { return seen; });",
    )]);
    assert_eq!(host.get("order.js")["flows"], 0);
    let records: Vec<_> = (0..EACH).map(|id| record(id, "pairs")).collect();
    let events: Vec<_> = (0..EACH).map(|id| event(id, "busy")).collect();
    host.scripts.take(&News { records: &records, events: &events });
    until("all have come", || {
        let seen = host.get("order.js");
        assert_eq!(seen["wrong"], 0, "{seen}");
        seen["flows"] == EACH && seen["events"] == EACH
    });
    let status = host.status("order.js");
    assert_eq!((&status["flowsReceived"], &status["flowsLost"]), (&json!(EACH), &json!(0)));
    assert_eq!((&status["eventsReceived"], &status["eventsLost"]), (&json!(EACH), &json!(0)));
}

#[test]
fn a_flood_of_everything_keeps_nobody_waiting() {
    // What is due by the clock, records, events and requests all wait at once, and whichever comes first in a turn is not
    // always the same.
    let host = Host::start(&[(
        "flood.js",
        "var seen = {timers: 0, flows: 0, events: 0, intervals: 0};\n\
         function again() { seen.timers++; setTimeout(again, 0); }\n\
         again();\n\
         setIntervalHandler(function() { seen.intervals++; }, 0.01);\n\
         setFlowHandler(function(rec) { seen.flows++; }, ['pairs']);\n\
         setEventHandler(function(evt) { seen.events++; }, ['busy']);\n\
         setHttpHandler(function() { return seen; });",
    )]);
    // Twice as many at once as there is place for.
    let (records, events) = (vec![record(0, "pairs"); 2000], vec![event(0, "busy"); 2000]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                host.scripts.take(&News { records: &records, events: &events });
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        let seen = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let first = host.get("flood.js");
            until("all go on", || {
                let seen = host.get("flood.js");
                ["timers", "flows", "events", "intervals"]
                    .iter()
                    .all(|of| seen[of].as_u64() >= first[of].as_u64().map(|n| n + 3))
            });
        }));
        is_over.store(true, Relaxed);
        seen.unwrap();
    });
    let status = host.status("flood.js");
    assert!(status["flowsLost"].as_u64() > Some(0) && status["eventsLost"].as_u64() > Some(0), "{status}");
}

#[test]
fn one_that_never_ends_does_not_hold_up_the_end() {
    let host = Host::start(&[("forever.js", "while (true) {}")]);
    until("it runs", || host.is_alive("forever.js"));
    let began = std::time::Instant::now();
    host.scripts.shutdown();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn one_that_waits_for_others_does_not_hold_up_the_end() {
    // Whom it asks says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let asks = format!("http('http://{}/')", listener.local_addr().unwrap());
    let runs = "runCmd(['sh', '-c', 'echo $$ > part && mv part pid && exec sleep 60'])";
    let host = Host::with(&[("asks.js", &asks), ("runs.js", runs)], |config| {
        config.allow = vec!["127.0.0.1".parse().unwrap()];
        config.run_commands = true;
    });
    let (mut asked, _) = listener.accept().unwrap();
    until("the command runs", || host.file("pid").exists());
    let command = format!("/proc/{}", std::fs::read_to_string(host.file("pid")).unwrap().trim());
    assert!(Path::new(&command).exists());
    host.scripts.shutdown();
    assert!(!Path::new(&command).exists(), "the command runs on");
    asked.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(asked.read_to_end(&mut Vec::new()).is_ok(), "the call goes on");
}

#[test]
fn one_whose_file_has_changed_starts_anew() {
    let host =
        Host::with(&[("v.js", "setHttpHandler(function() { return 1; });")], |config| config.reload = true);
    assert_eq!(host.get("v.js"), json!(1));
    // A file system may tell times by the tick of the clock only.
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(host.file("v.js"), "setHttpHandler(function() { return 2; });").unwrap();
    until("the new one answers", || {
        host.is_alive("v.js") && host.ask("v.js", get()).is_ok_and(|reply| reply.body == b"2")
    });
    assert_eq!(host.status("v.js")["starts"], 2);
}

const OWNER: Owner = Owner { agent: Address::V4(Ipv4Addr::LOCALHOST), source: Source::Agent };

fn record(id: u64, name: &str) -> Arc<LoggedFlow> {
    Arc::new(LoggedFlow {
        id,
        name: name.into(),
        owner: OWNER,
        keys: "10.0.0.1".to_owned(),
        value: 1.0,
        values: Vec::new(),
        start_ms: 0,
        end_ms: 0,
    })
}

fn event(id: u64, threshold: &str) -> Arc<LoggedEvent> {
    let event = ThresholdEvent {
        threshold: threshold.into(),
        owner: OWNER,
        metric: "ifinutilization".to_owned(),
        limit: 80.0,
        value: 90.0,
        flow_key: None,
        values: Vec::new(),
        at_us: 0,
    };
    Arc::new(LoggedEvent { id, at_ms: 0, event })
}
