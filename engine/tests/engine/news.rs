//! Flow records and threshold events: from the shards to those who ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Engine, EngineOptions};
use serde_json::json;
use tables::Change;

use crate::support::{Agent, accounted, options, send, wait_for};

/// Agents that send two samples each, of a hundred packets of a thousand bytes.
fn round() -> Vec<Vec<u8>> {
    (0..64).map(|n| Agent::new(n).datagram()).collect()
}

#[test]
fn live_flows_end_with_their_records_when_the_engine_does() {
    let engine = Engine::start(&options(4)).unwrap();
    let handle = engine.handle();
    for (name, log) in [("logged", true), ("other", true), ("silent", false)] {
        let flow = json!({"keys": "ipsource", "value": "frames", "log": log});
        handle.define(Change::Flow(name.into(), Some(flow))).unwrap();
    }
    send(engine.addresses()[0], &handle, &round(), 0);
    assert!(handle.records(None, 1000, &[]).is_empty(), "the flows are live");
    engine.shutdown();
    let records = handle.records(None, 1000, &["logged".to_owned()]);
    let packets: f64 = records.iter().map(|record| record.value).sum();
    assert_eq!(packets, 64.0 * 2.0 * 100.0, "all of them, of all workers");
    let all = handle.records(None, 1000, &[]);
    assert_eq!(all.len(), records.len() * 2);
    let ids: Vec<u64> = all.iter().map(|record| record.id).collect();
    assert_eq!(ids, (0..all.len() as u64).rev().collect::<Vec<_>>(), "newest first");
    assert_eq!(handle.records(Some(ids[3]), 1000, &[]).len(), 3);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    for record in &records {
        assert!(record.keys.starts_with("192.0.2."), "{record:?}");
        assert!(record.start_ms <= record.end_ms && now.abs_diff(record.end_ms) < 60_000, "{record:?}");
    }
}

/// A definition that is taken away ends its flows with records, too, and tells those who wait.
#[test]
fn news_call_those_who_wait() {
    let engine = Engine::start(&EngineOptions { flows_max: 5, ..options(2) }).unwrap();
    let handle = engine.handle();
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let given = Arc::new(Mutex::new(Vec::new()));
    let records = Arc::clone(&given);
    handle.on_news(Box::new(move |news| {
        count.fetch_add(1, Ordering::SeqCst);
        records.lock().unwrap().extend(news.records.iter().map(|record| record.id));
    }));
    let flow = json!({"keys": "ipsource", "value": "bytes", "log": true});
    handle.define(Change::Flow("f".into(), Some(flow))).unwrap();
    let threshold = json!({"metric": "ifspeed", "value": 1e6});
    handle.define(Change::Threshold("fast".into(), Some(threshold))).unwrap();
    let status = send(engine.addresses()[0], &handle, &round(), 0);
    wait_for(&handle, |_| handle.events(None, 1000, &[]).len() == 64);
    assert!(calls.load(Ordering::SeqCst) > 0);
    let event = &handle.events(None, 1, &["fast".to_owned()])[0];
    assert_eq!((event.id, event.event.value, event.event.limit), (63, 1e9, 1e6));
    assert!(handle.events(None, 1000, &["slow".to_owned()]).is_empty());
    let before = calls.load(Ordering::SeqCst);
    handle.define(Change::Flow("f".into(), None)).unwrap();
    wait_for(&handle, |_| calls.load(Ordering::SeqCst) > before && !handle.records(None, 9, &[]).is_empty());
    let told = handle.status().unwrap().told;
    assert_eq!((told.events_generated, told.events_lost), (64, 0));
    assert_eq!((told.records_generated, told.records_lost), (status.flows, 0));
    let newest = wait_for_record(&handle, told.records_generated - 1);
    assert_eq!(newest, 5, "no more than the option says are kept");
    wait_for(&handle, |_| given.lock().unwrap().len() as u64 == told.records_generated);
    assert!(
        given.lock().unwrap().iter().copied().eq(0..told.records_generated),
        "all are given, in their order"
    );
    engine.shutdown();
}

/// Waits for the record of this number; how many are kept then.
fn wait_for_record(handle: &engine::Handle, id: u64) -> usize {
    wait_for(handle, |_| handle.records(None, 1, &[]).first().is_some_and(|record| record.id == id));
    handle.records(None, 1000, &[]).len()
}

/// Where the kernel does not steer, what is known of owners is bounded as the agents are, and agents that gave way to
/// others may be owned by any worker when they come again.
#[test]
fn agents_that_gave_way_are_owned_anew() {
    let mut limited = EngineOptions { steer: false, ..options(2) };
    limited.tables.agents = 8;
    let engine = Engine::start(&limited).unwrap();
    let handle = engine.handle();
    let mut agents: Vec<Agent> = (0..64).map(Agent::new).collect();
    let mut sent = 0;
    for _ in 0..6 {
        for agents in agents.chunks_mut(4) {
            let datagrams: Vec<_> = agents.iter_mut().map(Agent::datagram).collect();
            send(engine.addresses()[0], &handle, &datagrams, sent);
            sent += 4;
        }
    }
    let status = wait_for(&handle, |status| accounted(status) == sent);
    assert_eq!(status.counters.datagrams, sent);
    assert!(status.agents <= 8, "{}", status.agents);
    for worker in &status.workers {
        assert!(worker.counters.datagrams > 0, "both workers own agents: {worker:#?}");
    }
    engine.shutdown();
}
