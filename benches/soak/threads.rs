//! All threads of an engine at work at once, for a sanitizer to look at: four workers, datagrams that come to a worker that
//! does not own their agent, agents that give way to others, definitions that change, questions, names, records and
//! events; and its end in the midst of it, over and over. `benches/soak/run.sh` builds it with ThreadSanitizer.
//!
//! A plain program, because a test's own threads are not what is looked at: `threads SECONDS`. It prints what was done,
//! and ends with 1 when a datagram is missing or a part of it was never reached.
#![allow(missing_docs, clippy::unwrap_used, reason = "it says what broke by panicking")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{AskError, DefineError, Engine, EngineOptions, Handle, Status};
use fabric::{Fabric, FabricOptions};
use ingest::send::Sender;
use serde_json::{Value as Json, json};
use tables::flow::active::FlowAggregation;
use tables::flow::group::GroupSet;
use tables::flow::reference::References;
use tables::select::{Agents, Filter, MetricRef};
use tables::{Change, Question};

/// How long an engine lives: several seconds for what is done once a second.
const LIFE: Duration = Duration::from_secs(8);

/// Workers, and sockets that send: the kernel chooses a worker by the socket, so that agents come to all of them.
const WORKERS: usize = 4;
const SOCKETS: usize = 4;

/// Datagrams that may be on their way: the receive buffers hold them, so that none may be missing.
const UNDERWAY: u64 = 256;

/// Threads that ask.
const ASKERS: usize = 3;

/// How long datagrams may take to be accounted for.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> FabricOptions {
    FabricOptions {
        leaves: 8,
        hosts: 64,
        flows: 2000,
        rate: Some(2000.0),
        polling_s: 2,
        ..FabricOptions::default()
    }
}

/// What was done, of all engines together.
#[derive(Default)]
struct Done {
    engines: AtomicU64,
    sent: AtomicU64,
    handed_over: AtomicU64,
    forwarded: AtomicU64,
    defined: AtomicU64,
    answered: AtomicU64,
    busy: AtomicU64,
    records: AtomicU64,
    events: AtomicU64,
    names: AtomicU64,
}

fn main() -> ExitCode {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse::<f64>().ok()).unwrap_or(30.0);
    let began = Instant::now();
    let done = Arc::new(Done::default());
    let mut fabric = Fabric::new(&options()).unwrap();
    while began.elapsed().as_secs_f64() < seconds {
        // In every second life agents give way to one another, so that they are let go of and owned anew.
        live(&mut fabric, &done, done.engines.load(Ordering::Relaxed) % 2 == 1);
        done.engines.fetch_add(1, Ordering::Relaxed);
    }
    tell(&done, began.elapsed())
}

/// The life of one engine.
fn live(fabric: &mut Fabric, done: &Arc<Done>, crowded: bool) {
    let mut engine_options = EngineOptions {
        sflow: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        receive_buffer: 8 << 20,
        workers: NonZero::new(WORKERS),
        steer: false,
        ..EngineOptions::default()
    };
    if crowded {
        engine_options.tables.agents = 12 * WORKERS;
    }
    let engine = Engine::start(&engine_options).unwrap();
    let handle = engine.handle();
    listen(&handle, done);
    let ended = AtomicBool::new(false);
    // What is forwarded goes to a socket that nobody reads.
    let to = UdpSocket::bind("127.0.0.1:0").unwrap();
    std::thread::scope(|scope| {
        let mut threads = vec![scope.spawn(|| define(&handle, to.local_addr().unwrap(), done, &ended))];
        for first in 0..ASKERS {
            let handle = &handle;
            threads.push(scope.spawn(move || ask(handle, first, done)));
        }
        let status = send(fabric, engine.addresses()[0], &handle, done);
        done.handed_over.fetch_add(status.hand_over.handed_over, Ordering::Relaxed);
        let forwarded: u64 = status.forwarded.iter().map(|one| one.forwarded).sum();
        done.forwarded.fetch_add(forwarded, Ordering::Relaxed);
        done.records.fetch_add(status.told.records_generated, Ordering::Relaxed);
        done.events.fetch_add(status.told.events_generated, Ordering::Relaxed);
        // It ends while datagrams come, definitions change and questions are asked.
        let mut late = Sender::new(engine.addresses()[0]).unwrap();
        fabric.step(fabric.now_us() + 200_000, &mut |_, bytes| late.send(bytes));
        engine.shutdown();
        ended.store(true, Ordering::Relaxed);
        // Who joins comes after who ended; the end of a scope alone is the library's own, and unseen.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Calls of the events thread: names are learned on a thread of their own, as the collector does it.
fn listen(handle: &Handle, done: &Arc<Done>) {
    let reader = handle.clone();
    let last = Mutex::new((None, None));
    handle.on_news(Box::new(move |news| {
        let mut last = last.lock().unwrap();
        if let Some(newest) = news.records.last() {
            assert!(reader.records(last.0, 100, &[]).iter().any(|kept| kept.id == newest.id));
            last.0 = Some(newest.id);
        }
        if let Some(newest) = news.events.last() {
            assert!(reader.events(last.1, 100, &[]).iter().any(|kept| kept.id == newest.id));
            last.1 = Some(newest.id);
        }
    }));
    let done = Arc::clone(done);
    let learner = handle.clone();
    handle.on_names_wanted(Box::new(move |addresses| {
        done.names.fetch_add(addresses.len() as u64, Ordering::Relaxed);
        let names =
            addresses.iter().map(|address| (*address, Arc::from(format!("host-{address}")))).collect();
        let learner = learner.clone();
        std::thread::spawn(move || learner.learn_names(names));
    }));
    handle.on_define(Box::new(|program| !program.to_json().is_null()));
    handle.redefine(References { dns: true, ..References::default() }, Vec::new()).unwrap();
}

/// Sends the fabric's datagrams, each from the next socket, for the life of an engine; the status when all of them are
/// accounted for.
fn send(fabric: &mut Fabric, to: SocketAddr, handle: &Handle, done: &Done) -> Status {
    let mut senders: Vec<Sender> = (0..SOCKETS).map(|_| Sender::new(to).unwrap()).collect();
    let (began, mut sent) = (Instant::now(), 0_u64);
    while began.elapsed() < LIFE {
        fabric.step(fabric.now_us() + 20_000, &mut |_, bytes| {
            senders[sent as usize % SOCKETS].send(bytes);
            sent += 1;
            if sent.is_multiple_of(UNDERWAY / 4) {
                wait_for(handle, sent - UNDERWAY.min(sent));
            }
        });
    }
    done.sent.fetch_add(sent, Ordering::Relaxed);
    wait_for(handle, sent)
}

/// Waits until so many datagrams are accounted for.
fn wait_for(handle: &Handle, wanted: u64) -> Status {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A sanitizer makes everything slow: workers that are too busy are asked again.
        if let Ok(status) = handle.status() {
            let errors: u64 = status.counters.datagram_errors.iter().sum();
            let dropped = status.hand_over.handover_full + status.kernel_drops.unwrap();
            if status.counters.datagrams + errors + dropped >= wanted {
                return status;
            }
            assert!(Instant::now() < deadline, "{wanted} were sent, and these came: {status:#?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Changes definitions until the end: everything that can be defined is defined, changed, and taken away.
fn define(handle: &Handle, forward: SocketAddr, done: &Done, ended: &AtomicBool) {
    let mut turn = 0_u32;
    while !ended.load(Ordering::Relaxed) {
        for change in changes(turn, forward) {
            match handle.define(change) {
                Ok(()) => done.defined.fetch_add(1, Ordering::Relaxed),
                Err(DefineError::Ask(AskError::Busy)) => done.busy.fetch_add(1, Ordering::Relaxed),
                Err(DefineError::Ask(AskError::Ended)) => return,
                Err(error) => panic!("{error}"),
            };
            std::thread::sleep(Duration::from_millis(20));
        }
        turn += 1;
    }
}

fn changes(turn: u32, forward: SocketAddr) -> Vec<Change> {
    let flow = |name: &str, json: Json| Change::Flow(name.to_owned(), Some(json));
    let sites = json!({"leaf": ["10.0.0.0/16"], "other": [format!("10.{turn}.0.0/16")]});
    let listed = [("192.0.2.0/24", "bad"), ("10.0.16.0/20", "odd")];
    let listed = listed.map(|(network, label)| (network.parse().unwrap(), Arc::from(label)));
    let mut changes = vec![
        Change::Group("sites".into(), Some(sites)),
        Change::List("listed".into(), Some(Arc::new(GroupSet::from_lists(listed)))),
        Change::Map("ports".into(), Some(json!({"web": ["80", "443"], "turn": [turn.to_string()]}))),
        flow("sources", json!({"keys": "ipsource", "value": "bytes", "t": 2 + turn % 3})),
        flow("named", json!({"keys": "dns:ipsource,group:ipdestination:sites", "value": "frames"})),
        flow(
            "log",
            json!({"keys": "ipsource,ipdestination,tcpsourceport", "value": "bytes", "log": true, "t": 1,
            "activeTimeout": 1}),
        ),
        flow(
            "hosts",
            json!({"keys": "host:macsource:vir_host_name,group:ipsource:listed", "value": "bytes"}),
        ),
        flow("edge", json!({"keys": "ipsource", "value": "bytes", "aggMode": "edge"})),
        Change::Threshold("fast".into(), Some(json!({"metric": "ifinoctets", "value": 1.0, "timeout": 1}))),
        Change::Threshold(
            "flows".into(),
            Some(json!({"metric": "sources", "value": 1000.0, "byFlow": true, "timeout": 1})),
        ),
        Change::Forwarding(
            "copy".into(),
            Some(json!({"address": forward.ip().to_string(), "port": forward.port()})),
        ),
        Change::Topology(Some(options().topology().unwrap())),
    ];
    if turn % 2 == 1 {
        let taken = [
            Change::Topology(None),
            Change::Threshold("flows".into(), None),
            Change::Threshold("fast".into(), None),
            Change::Flow("log".into(), None),
            Change::Flow("hosts".into(), None),
            Change::Flow("edge".into(), None),
            Change::Flow("sources".into(), None),
        ];
        changes.extend(taken);
    }
    changes
}

/// Asks questions until the engine has ended, beginning with one of them.
fn ask(handle: &Handle, first: usize, done: &Done) {
    for question in questions().iter().cycle().skip(first) {
        match handle.ask(question.clone()) {
            Ok(answer) => drop(answer),
            Err(AskError::Busy) => {
                done.busy.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(AskError::Ended) => break,
        }
        done.answered.fetch_add(1, Ordering::Relaxed);
        let _ = (handle.program(), handle.records(None, 10, &[]), handle.events(None, 10, &[]));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(handle.ask(Question::MetricNames) == Err(AskError::Ended), "an engine that has ended says so");
}

fn questions() -> Vec<Question> {
    let metrics = || MetricRef::list("max:ifinoctets,sum:ifoutoctets").unwrap();
    let flows = |flow: &str, aggregation| Question::ActiveFlows {
        agents: Agents::All,
        flow: flow.to_owned(),
        aggregation,
        most: 100,
        least: 0.0,
        separator: ",".to_owned(),
    };
    vec![
        Question::Agents(Agents::All),
        Question::MetricNames,
        Question::Metric { agents: Agents::All, metrics: metrics(), filter: Filter::default() },
        Question::Dump { agents: Agents::All, metrics: Vec::new(), filter: Filter::default() },
        flows("sources", FlowAggregation::Max),
        flows("named", FlowAggregation::Sum),
        Question::FlowKeys,
        Question::AgentMetrics(Agents::All),
        Question::FlowValue { agents: Agents::All, source: None, flow: "sources".to_owned(), key: None },
        Question::Adapters,
    ]
}

/// Prints what was done; whether each part was.
fn tell(done: &Done, took: Duration) -> ExitCode {
    let rows = [
        ("engines that were started and ended", &done.engines),
        ("datagrams, none missing", &done.sent),
        ("handed over to the worker that owns their agent", &done.handed_over),
        ("forwarded", &done.forwarded),
        ("changes of definitions", &done.defined),
        ("questions answered", &done.answered),
        ("records of flows", &done.records),
        ("events of thresholds", &done.events),
        ("names that were wanted", &done.names),
    ];
    println!("| in {:.0} s | |\n|---|---|", took.as_secs_f64());
    let mut reached = true;
    for (what, count) in rows {
        let count = count.load(Ordering::Relaxed);
        println!("| {what} | {count} |");
        reached &= count > 0;
    }
    println!("| refused because the workers were busy | {} |", done.busy.load(Ordering::Relaxed));
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
