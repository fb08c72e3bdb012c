//! The thread of actions with an engine, and notices on their way out.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actions::audit::Audit;
use actions::mode::{Mode, Switch};
use actions::notify::{Config, Notice, Notices, Severity};
use actions::thread::{Actions, Component, Context};
use engine::{Engine, EngineOptions};
use fabric::{Fabric, FabricOptions};
use serde_json::{Value as Json, json};
use tables::Change;

use crate::server::{Piece, Server, answer};

fn engine() -> Engine {
    Engine::start(&EngineOptions { workers: std::num::NonZero::new(1), ..EngineOptions::default() }).unwrap()
}

fn start(engine: &Engine, notices: &Notices, components: Vec<Component>) -> Actions {
    let mode = Switch::new(Mode::Observe);
    Actions::start(engine.handle(), Audit::absent(), mode, notices.clone(), components).unwrap()
}

fn notices(config: Json) -> Notices {
    let config: Config = serde_json::from_value(config).unwrap();
    assert!(config.problems().is_empty());
    Notices::new(&config)
}

fn notice(name: &str) -> Notice {
    Notice {
        kind: "scale",
        name: name.to_owned(),
        what: "scaled",
        detail: json!({ "replicas": 4 }),
        ..Notice::default()
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_that_panics_is_told_and_the_others_go_on_and_end() {
    let (engine, notices) = (engine(), notices(json!({})));
    let (asked, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flags = (Arc::clone(&asked), Arc::clone(&ended));
    let good = Component::new("good", move |context: Context| async move {
        let workers = context.ask(|engine| engine.status().unwrap().workers).await.unwrap();
        flags.0.store(workers.len() == 1, Ordering::SeqCst);
        while context.sleep(Duration::from_secs(3600)).await {}
        flags.1.store(true, Ordering::SeqCst);
    });
    let bad = Component::new("bad", |_| async { panic!("as it is meant to") });
    let actions = start(&engine, &notices, vec![bad, good]);
    until("the good one asks", || asked.load(Ordering::SeqCst));
    until("the bad one is told", || notices.told() == 1);
    let broken = actions.broken();
    assert!(broken.len() == 1 && broken[0].0 == "bad" && broken[0].1.contains("panic"), "{broken:?}");
    let began = Instant::now();
    actions.shutdown().unwrap();
    assert!(ended.load(Ordering::SeqCst) && began.elapsed() < Duration::from_secs(2));
    engine.shutdown();
}

#[test]
fn one_that_does_not_end_is_not_waited_for_longer_than_ten_seconds() {
    let (engine, notices) = (engine(), notices(json!({})));
    let stubborn = Component::new("stubborn", |_| std::future::pending());
    let actions = start(&engine, &notices, vec![stubborn]);
    let began = Instant::now();
    assert_eq!(actions.shutdown(), Err(vec!["stubborn"]));
    assert!(began.elapsed() < Duration::from_secs(10));
    engine.shutdown();
}

#[test]
fn a_webhook_and_syslog_are_told_in_order_once_they_can_be() {
    let failing = answer(503, "", "");
    let hook = Server::alone(vec![
        failing.clone(),
        failing,
        answer(204, "", ""),
        answer(400, "", "no"),
        answer(204, "", ""),
    ]);
    let dead = Server::alone(vec![vec![Piece::Pause(Duration::from_secs(3600))]]);
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let notices = notices(json!({
        "webhook": {
            "dead": { "url": format!("http://{}/x", dead.address) },
            "hook": { "url": format!("http://{}/x", hook.address), "kinds": ["scale"] },
        },
        "syslog": { "log": { "address": log.local_addr().unwrap().to_string(), "severity": "error" } },
    }));
    let engine = engine();
    let actions = start(&engine, &notices, Vec::new());
    for name in ["one", "two", "three\n"] {
        notices.tell(notice(name));
    }
    notices.tell(Notice { kind: "feed", severity: Severity::Error, ..notice("four") });
    until("all were told", || hook.asked().len() == 5);
    let bodies: Vec<Json> = hook
        .asked()
        .iter()
        .map(|request| serde_json::from_str(request.rsplit("\r\n").next().unwrap()).unwrap())
        .collect();
    let names: Vec<&str> = bodies.iter().map(|body| body["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "one", "one", "two", "three\n"], "tried again until it is taken or refused");
    assert_eq!(bodies[0]["id"], bodies[2]["id"]);
    assert_eq!(
        (&bodies[0]["kind"], &bodies[0]["severity"], &bodies[0]["detail"]["replicas"]),
        (&"scale".into(), &"info".into(), &4.into())
    );
    let mut datagram = [0; 4096];
    let length = log.recv(&mut datagram).unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(
        text.starts_with("<27>1 ") && text.contains(" finderscope ") && text.contains("four scaled: "),
        "{text}"
    );
    until("they are counted", || notices.destinations()[1].delivered == 2);
    let counted = notices.destinations();
    assert_eq!(
        (counted[1].name.as_str(), counted[1].failed_tries, counted[1].lost["refused"]),
        ("hook", 2, 1)
    );
    assert_eq!((counted[2].kind, counted[2].delivered), ("syslog", 1));
    // What finds no place in a queue of 1,024 is lost, and telling does not wait for that.
    (0..2000).for_each(|n| notices.tell(Notice { kind: "feed", ..notice(&n.to_string()) }));
    assert!(notices.destinations()[0].lost["queue_full"] >= 2000 - 1024);
    assert_eq!(notices.destinations()[1].lost["queue_full"], 0);
    let began = Instant::now();
    actions.shutdown().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    engine.shutdown();
}

#[test]
fn threshold_events_are_told_each_once() {
    let options = EngineOptions {
        sflow: vec!["127.0.0.1:0".parse().unwrap()],
        workers: std::num::NonZero::new(1),
        ..EngineOptions::default()
    };
    let engine = Engine::start(&options).unwrap();
    let handle = engine.handle();
    let threshold = json!({ "metric": "ifspeed", "value": 1e6 });
    handle.define(Change::Threshold("fast".into(), Some(threshold))).unwrap();
    let notices = notices(json!({}));
    let actions = start(&engine, &notices, Vec::new());
    let small =
        FabricOptions { spines: 1, leaves: 2, hosts: 2, flows: 1, polling_s: 1, ..FabricOptions::default() };
    let mut fabric = Fabric::new(&small).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    fabric.step(3_000_000, &mut |_, datagram| {
        socket.send_to(datagram, engine.addresses()[0]).unwrap();
    });
    until("there are events", || !handle.events(None, 1, &[]).is_empty());
    until("all of them are told", || notices.told() == handle.events(None, 1, &[])[0].id + 1);
    actions.shutdown().unwrap();
    engine.shutdown();
}
