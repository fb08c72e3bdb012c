//! Many workers do what one does: nothing is lost between them, and their answers are those of one.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Agent, accounted, answers, assert_same, define, options, send, wait_for};
use engine::{AskError, DefineError, Engine, EngineOptions, Status};
use ingest::receiver::Backend;
use serde_json::json;
use tables::select::Agents;
use tables::{Answer, Change, Question};

/// What a relay passes on: rounds of datagrams of 64 agents, which it sends from one socket.
fn relay(rounds: usize) -> Vec<Vec<u8>> {
    let mut agents: Vec<Agent> = (0..64).map(Agent::new).collect();
    (0..rounds).flat_map(|_| agents.iter_mut().map(Agent::datagram).collect::<Vec<_>>()).collect()
}

#[test]
fn every_datagram_is_accounted_for() {
    let engine = Engine::start(&options(4)).unwrap();
    let handle = engine.handle();
    let mut sender = ingest::send::Sender::new(engine.addresses()[0]).unwrap();
    for datagram in relay(20) {
        sender.send(&datagram);
        sender.send(b"no sFlow");
        sender.send(&datagram[..datagram.len() / 2]);
    }
    let status = wait_for(&handle, |status| accounted(status) == sender.sent());
    assert_eq!(status.agents, 64);
    assert_eq!(status.workers.len(), 4);
    engine.shutdown();
    assert_eq!(handle.ask(Question::MetricNames).unwrap_err(), AskError::Ended);
    assert_eq!(handle.status().unwrap_err(), AskError::Ended);
    let change = Change::Flow("f".into(), Some(json!({"keys": "ipsource", "value": "bytes"})));
    assert_eq!(handle.define(change).unwrap_err(), DefineError::Ask(AskError::Ended));
}

/// The status and answers after a replay: all at once, or a round of all agents at a time, each round from a port of
/// its own.
fn replay(options: &EngineOptions, datagrams: &[Vec<u8>], at_once: usize) -> (Status, String) {
    let engine = Engine::start(options).unwrap();
    define(&engine.handle());
    let mut status = engine.handle().status().unwrap();
    for (n, datagrams) in datagrams.chunks(at_once).enumerate() {
        status = send(engine.addresses()[0], &engine.handle(), datagrams, (n * at_once) as u64);
    }
    assert_eq!(status.counters.datagrams, datagrams.len() as u64, "nothing was dropped");
    let answers = answers(&engine);
    engine.shutdown();
    (status, answers)
}

/// A relay that sends 64 agents from one socket: with steering each worker gets its share from the kernel, without it
/// the kernel chooses by the sender, and one worker gets all. The tables are those of one worker.
#[test]
fn a_relay_is_spread_and_answers_are_those_of_one_worker() {
    let datagrams = relay(10);
    let (one, expected) = replay(&options(1), &datagrams, 640);
    assert!(expected.lines().count() > 64 * 3 + 20, "{expected}");
    let (four, found) = replay(&options(4), &datagrams, 640);
    assert_same(&found, &expected, "four workers");
    assert_eq!(four.counters, one.counters);
    assert_eq!(four.hand_over.handed_over, 0, "the kernel and the workers agree whose an agent is");
    for worker in &four.workers {
        assert!((8..=24).contains(&worker.agents), "64 agents are spread evenly: {worker:#?}");
        assert_eq!(worker.counters.datagrams, worker.agents * 10);
    }
    let (_, found) = replay(&EngineOptions { steer: false, ..options(4) }, &datagrams, 640);
    assert_same(&found, &expected, "without steering");
}

/// Without steering the kernel chooses by the sender, or workers that share a socket take what they can get: most
/// datagrams come to a worker that does not own their agent.
#[test]
fn what_comes_to_another_worker_is_handed_to_the_owner() {
    let datagrams = relay(16);
    let (one, expected) = replay(&options(1), &datagrams, 64);
    for options in [
        EngineOptions { steer: false, ..options(4) },
        EngineOptions { backend: Backend::Plain, ..options(4) },
    ] {
        let (four, found) = replay(&options, &datagrams, 64);
        assert_same(&found, &expected, &format!("{:?}", options.backend));
        assert_eq!(four.counters, one.counters);
        assert_eq!(four.agents, 64, "no agent has two owners");
        assert!(four.hand_over.handed_over > 64, "{:#?}", four.hand_over);
        assert_eq!(four.hand_over.handover_full, 0);
    }
}

#[test]
fn an_agent_that_restarts_on_a_new_port_stays_on_its_worker() {
    for steer in [true, false] {
        let engine = Engine::start(&EngineOptions { steer, ..options(4) }).unwrap();
        let handle = engine.handle();
        let mut agent = Agent::new(1);
        for turn in 0..16 {
            agent.restart();
            let datagrams: Vec<_> = (0..3).map(|_| agent.datagram()).collect();
            // Each call sends from a port of its own.
            send(engine.addresses()[0], &handle, &datagrams, turn * 3);
        }
        let status = handle.status().unwrap();
        let owners: Vec<u64> = status.workers.iter().map(|worker| worker.agents).collect();
        assert_eq!(owners.iter().sum::<u64>(), 1, "{owners:?}");
        assert_eq!(status.counters.datagrams, 48);
        let Answer::Agents(agents) = handle.ask(Question::Agents(Agents::All)).unwrap() else { panic!() };
        assert_eq!(agents[0].datagrams.received, 48);
        assert_eq!(agents[0].datagrams.lost, 0, "a restart is no loss");
        engine.shutdown();
    }
}

#[test]
fn several_addresses_have_one_set_of_tables() {
    let sflow = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let engine = Engine::start(&EngineOptions { sflow, ..options(4) }).unwrap();
    let handle = engine.handle();
    let datagrams = relay(4);
    for (n, round) in datagrams.chunks(64).enumerate() {
        send(engine.addresses()[n % 2], &handle, round, n as u64 * 64);
    }
    let status = handle.status().unwrap();
    assert_eq!((status.agents, status.counters.datagrams), (64, 256));
    assert_eq!(status.workers[0].sockets.len(), 2);
    engine.shutdown();
}

/// What was defined before a datagram was sent is there when the datagram is counted, and what is asked after a
/// definition knows it.
#[test]
fn definitions_are_read_by_all_workers_when_define_returns() {
    let engine = Engine::start(&options(4)).unwrap();
    let handle = engine.handle();
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    handle.on_define(Box::new(move |program| {
        count.store(program.flows.len() as u64, Ordering::SeqCst);
        true
    }));
    let mut agents: Vec<Agent> = (0..64).map(Agent::new).collect();
    let mut sent = 0;
    for n in 1..=20_u64 {
        let flow = json!({"keys": "ipsource", "value": "frames", "t": 600});
        handle.define(Change::Flow(format!("f{n}"), Some(flow))).unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), n);
        let round: Vec<_> = agents.iter_mut().map(Agent::datagram).collect();
        send(engine.addresses()[0], &handle, &round, sent);
        sent += 64;
        let question = Question::ActiveFlows {
            agents: Agents::All,
            flow: format!("f{n}"),
            aggregation: tables::flow::active::FlowAggregation::Sum,
            most: 1000,
            least: 0.0,
            separator: ",".into(),
        };
        let Answer::Flows(flows) = handle.ask(question).unwrap() else { panic!() };
        let frames: f64 = flows.iter().map(|flow| flow.value).sum::<f64>() * 600.0;
        assert!((frames / (128.0 * 100.0) - 1.0).abs() < 0.02, "every sample of round {n}: {frames}");
    }
    engine.shutdown();
}

#[test]
fn many_changes_are_made_together_or_not_at_all() {
    let engine = Engine::start(&options(2)).unwrap();
    let handle = engine.handle();
    let flow = |keys: &str| Some(json!({"keys": keys, "value": "bytes"}));
    let group = Change::Group("sites".into(), Some(json!({"a": ["10.0.0.0/8"]})));
    let good = Change::Flow("good".into(), flow("group:ipsource:sites"));
    handle.define_all(vec![group.clone(), good]).unwrap();
    assert_eq!(handle.program().flows.len(), 1);
    let bad = vec![Change::Flow("good".into(), None), Change::Flow("bad".into(), flow("ipsorce"))];
    let error = handle.define_all(bad).unwrap_err().to_string();
    assert!(error.starts_with("flow \"bad\": ") && error.contains("ipsorce"), "{error}");
    assert!(handle.program().flows.contains_key("good"), "nothing was changed");
    engine.shutdown();
}

#[test]
fn a_second_collector_is_refused_with_the_name_of_the_first() {
    let first = Engine::start(&options(4)).unwrap();
    let second = EngineOptions { sflow: first.addresses().to_vec(), ..options(4) };
    let refusal = Engine::start(&second).unwrap_err().to_string();
    assert!(refusal.contains("another program has this port"), "{refusal}");
    assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
    let addresses = vec!["127.0.0.1:0".parse().unwrap(); 17];
    let refusal = Engine::start(&EngineOptions { sflow: addresses, ..options(4) }).unwrap_err().to_string();
    assert!(refusal.contains("17 addresses"), "{refusal}");
    first.shutdown();
}

/// A receive buffer that is far too small, and datagrams faster than they are taken: what is missing is counted.
#[test]
fn overload_is_dropped_by_the_kernel_and_counted() {
    let engine = Engine::start(&EngineOptions { receive_buffer: 4096, ..options(2) }).unwrap();
    let handle = engine.handle();
    let datagrams = relay(1);
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut sender = ingest::send::Sender::new(engine.addresses()[0]).unwrap();
                for _ in 0..100 {
                    datagrams.iter().for_each(|datagram| sender.send(datagram));
                }
                sent.fetch_add(sender.sent(), Ordering::SeqCst);
            });
        }
    });
    let sent = sent.load(Ordering::SeqCst);
    let status = wait_for(&handle, |status| accounted(status) == sent);
    assert!(status.kernel_drops.unwrap() > 0);
    assert_eq!(status.workers.iter().flat_map(|w| &w.sockets).count(), 2);
    engine.shutdown();
}

#[test]
fn datagrams_are_sent_on_whole() {
    let engine = Engine::start(&options(4)).unwrap();
    let handle = engine.handle();
    let (all, one) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for (name, to, agents) in [("all", &all, json!([])), ("one", &one, json!(["10.0.0.2"]))] {
        let port = to.local_addr().unwrap().port();
        let forwarding = json!({"address": "127.0.0.1", "port": port, "agents": agents});
        handle.define(Change::Forwarding(name.into(), Some(forwarding))).unwrap();
        to.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    }
    let itself = json!({"address": "127.0.0.1", "port": engine.addresses()[0].port()});
    let error = handle.define(Change::Forwarding("loop".into(), Some(itself))).unwrap_err().to_string();
    assert!(error.contains("is this collector itself"), "{error}");
    let mut datagrams = relay(1);
    datagrams.push(b"no sFlow".to_vec());
    let status = send(engine.addresses()[0], &handle, &datagrams, 0);
    let counts: Vec<_> =
        status.forwarded.iter().map(|one| (&*one.name, one.forwarded, one.forward_failed)).collect();
    assert_eq!(counts, [("all", 65, 0), ("one", 1, 0)]);
    let mut buffer = vec![0; 65_535];
    let mut arrived: Vec<Vec<u8>> = (0..65)
        .map(|_| {
            let length = all.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
        .collect();
    arrived.sort();
    let mut expected = datagrams.clone();
    expected.sort();
    assert_eq!(arrived, expected);
    let length = one.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], datagrams[2]);
    handle.define(Change::Forwarding("all".into(), None)).unwrap();
    assert_eq!(handle.status().unwrap().forwarded.len(), 1);
    engine.shutdown();
}

/// The end waits for no question and no datagram, and leaves no thread.
#[test]
fn shutdown_joins_all_threads_soon() {
    let engine = Engine::start(&EngineOptions { pin: true, ..options(3) }).unwrap();
    let handle = engine.handle();
    define(&handle);
    let status = handle.status().unwrap();
    for worker in &status.workers {
        assert_eq!(worker.pinned_to.is_some(), cfg!(target_os = "linux"));
    }
    let address = engine.addresses()[0];
    let began = Instant::now();
    engine.shutdown();
    assert!(began.elapsed() < Duration::from_secs(2));
    // The port is free again: no thread holds a socket.
    let again = EngineOptions { sflow: vec![address], ..options(3) };
    Engine::start(&again).unwrap().shutdown();
}
