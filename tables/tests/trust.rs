//! Agents that the operator has listed (promises A1, A4): what comes from elsewhere for them changes nothing, and what
//! comes from nobody does not push them out.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::sync::Arc;

use common::{Sender, dump, feed, us, values};
use decode::{Address, DataSource, counter};
use fabric::{Fabric, FabricOptions};
use serde_json::json;
use tables::agent::AgentSummary;
use tables::flow::active::FlowAggregation;
use tables::select::{Agents, Filter};
use tables::trust::{FLAGGED_US, Foreign, List, Listed, Trust, Unlisted};
use tables::{Answer, Change, Options, Outbox, Program, Question, Shard};

const SECOND: u64 = 1_000_000;

/// Where the fabric's agents send from, and where a relay does.
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const RELAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

fn trusting(options: Options, agents: &str, unlisted: Unlisted, foreign: Foreign) -> Shard {
    let listed = vec![Listed::new(agents, &["192.0.2.0/24", "127.0.0.1"]).unwrap()];
    Shard::new(options).trusting(Arc::new(Trust::new(List { listed, unlisted, foreign })))
}

fn ask(shard: &Shard, question: Question, now_us: u64) -> Answer {
    shard.ask(&question, now_us).finish(&question)
}

fn agents(shard: &Shard, which: Agents, now_us: u64) -> Vec<AgentSummary> {
    match ask(shard, Question::Agents(which), now_us) {
        Answer::Agents(agents) => agents,
        other => panic!("{other:?}"),
    }
}

/// All that is known of flows and metrics.
fn all(shard: &Shard, now_us: u64) -> Vec<Answer> {
    let flows = Question::ActiveFlows {
        agents: Agents::All,
        flow: "pairs".to_owned(),
        aggregation: FlowAggregation::Sum,
        most: 100_000,
        least: 0.0,
        separator: ",".to_owned(),
    };
    let metrics = Question::Dump { agents: Agents::All, metrics: Vec::new(), filter: Filter::default() };
    vec![ask(shard, flows, now_us), ask(shard, metrics, now_us), ask(shard, Question::Adapters, now_us)]
}

/// What somebody can make of a datagram that he has seen: as it was, with another number, uptime or sub-agent, with
/// other values in it, cut.
fn forge(datagram: &[u8], dice: u64) -> Vec<u8> {
    let mut forged = datagram.to_vec();
    let at =
        |dice: u64, from: usize| from + (dice >> 8) as usize % datagram.len().saturating_sub(from).max(1);
    match dice % 6 {
        0 => {}
        1 => forged[16..20].copy_from_slice(&(dice as u32).to_be_bytes()),
        2 => forged[20..24].copy_from_slice(&1000_u32.to_be_bytes()),
        3 => forged[12..16].copy_from_slice(&(dice as u32 % 7).to_be_bytes()),
        4 => (0..8).for_each(|n| forged[at(dice.rotate_left(8 * n), 28)] = dice as u8),
        _ => forged.truncate(at(dice, 28)),
    }
    forged
}

/// Two shards hear the same fabric, and one a relay's forgeries too.
#[test]
fn what_a_relay_forges_for_a_listed_agent_changes_nothing() {
    let mut shards =
        [(); 2].map(|()| trusting(Options::default(), "0.0.0.0/0", Unlisted::Take, Foreign::Refuse));
    let mut outboxes = [Outbox::default(), Outbox::default()];
    let flow = json!({"keys": "ipsource,ipdestination", "value": "bytes", "log": true, "flowStart": true});
    let threshold = json!({"metric": "pairs", "value": 1e5, "byFlow": true});
    let program = Program::default().changed(Change::Flow("pairs".into(), Some(flow))).unwrap();
    let program = Arc::new(program.changed(Change::Threshold("busy".into(), Some(threshold))).unwrap());
    for (shard, outbox) in shards.iter_mut().zip(&mut outboxes) {
        shard.adopt(&program, 0, outbox);
    }
    let mut fabric = Fabric::new(&FabricOptions { polling_s: 2, ..FabricOptions::default() }).unwrap();
    let (mut dice, mut forged) = (7_u64, 0);
    for now_us in (0..=10 * SECOND).step_by(50_000) {
        let mut heard: Vec<Vec<u8>> = Vec::new();
        fabric.step(now_us, &mut |_: Address, bytes: &[u8]| heard.push(bytes.to_vec()));
        for datagram in &heard {
            for (shard, outbox) in shards.iter_mut().zip(&mut outboxes) {
                shard.datagram(datagram, HOME, now_us, outbox);
            }
            for _ in 0..2 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let forgery = forge(datagram, dice >> 20);
                shards[1].datagram(&forgery, RELAY, now_us, &mut outboxes[1]);
                forged += 1;
            }
        }
        for (shard, outbox) in shards.iter_mut().zip(&mut outboxes) {
            shard.flush(now_us, outbox);
            shard.tick(now_us, outbox);
        }
    }
    let now_us = 10 * SECOND;
    let [clean, attacked] = &shards;
    assert!(forged > 1000, "{forged}");
    assert_eq!(attacked.counters().foreign_refused, forged);
    assert_eq!(attacked.counters().flow_samples, clean.counters().flow_samples);
    let answers = all(clean, now_us);
    assert_eq!(all(attacked, now_us), answers);
    assert!(
        matches!(&answers[0], Answer::Flows(flows) if flows.len() > 100),
        "there was something to change"
    );
    let told = |outbox: &Outbox| {
        let records: Vec<_> = outbox.records.iter().map(|record| (record.keys(), record.start_us)).collect();
        (records, outbox.events.clone())
    };
    assert_eq!(told(&outboxes[1]), told(&outboxes[0]));
    assert!(!outboxes[0].records.is_empty() && !outboxes[0].events.is_empty());
    let mut summaries = agents(attacked, Agents::All, now_us);
    // Forgeries came after what they were made of, so that every agent was known by then.
    assert_eq!(summaries.iter().map(|agent| agent.foreign).sum::<u64>(), forged);
    assert!(summaries.iter().all(|agent| agent.listed && agent.trusted && agent.senders == [HOME]));
    summaries.iter_mut().for_each(|agent| agent.foreign = 0);
    assert_eq!(summaries, agents(clean, Agents::All, now_us));
}

#[test]
fn a_forged_first_datagram_makes_no_agent() {
    let mut shard = trusting(Options::default(), "10.0.0.7", Unlisted::Take, Foreign::Refuse);
    let datagram = interface(7, 1, 1);
    let mut outbox = Outbox::default();
    shard.datagram(&datagram, RELAY, us(0.0), &mut outbox);
    assert_eq!((shard.agents(), shard.counters().foreign_refused), (0, 1));
    assert_eq!(outbox.released, [Address::V4([10, 0, 0, 7].into())], "no worker owns it by that");
    assert!(dump(&shard, "ALL", 0.0).is_empty());
}

#[test]
fn a_flagged_agent_is_not_trusted_until_it_was_quiet_elsewhere_for_ten_minutes() {
    let mut shard = trusting(Options::default(), "10.0.0.7", Unlisted::Take, Foreign::Flag);
    feed(&mut shard, &interface(7, 1, 1), 0.0);
    feed(&mut shard, &interface(8, 1, 1), 0.0);
    let trusted = |shard: &Shard, now_us| {
        let found = agents(shard, Agents::Listed, now_us);
        found.iter().map(|agent| agent.agent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(trusted(&shard, us(0.0)), ["10.0.0.7"], "the other one is not listed");
    shard.datagram(&interface(7, 2, 2), RELAY, us(1.0), &mut Outbox::default());
    assert_eq!(shard.counters().foreign_flagged, 1);
    let summary = &agents(&shard, Agents::Named(vec!["10.0.0.7".into()]), us(1.0))[0];
    assert_eq!((summary.listed, summary.trusted, summary.foreign), (true, false, 1));
    assert_eq!(summary.datagrams.received, 2, "it is taken");
    assert!(trusted(&shard, us(1.0) + FLAGGED_US - 1).is_empty());
    assert_eq!(trusted(&shard, us(1.0) + FLAGGED_US), ["10.0.0.7"]);
}

#[test]
fn questions_can_be_about_listed_agents_alone() {
    let mut shard = trusting(Options::default(), "10.0.0.7", Unlisted::Take, Foreign::Refuse);
    for last in [6, 7, 8] {
        feed(&mut shard, &interface(last, 1, 1), 0.0);
    }
    let question = |agents| Question::Dump { agents, metrics: Vec::new(), filter: Filter::default() };
    let Answer::Metrics(metrics) =
        ask(&shard, question(Agents::of("LISTED", &Arc::default()).unwrap()), us(0.0))
    else {
        panic!()
    };
    assert!(!metrics.is_empty());
    assert!(metrics.iter().all(|metric| metric.owner.agent == Address::V4([10, 0, 0, 7].into())));
    // Where nobody is listed, that is nobody.
    let mut open = Shard::new(Options::default());
    feed(&mut open, &interface(7, 1, 1), 0.0);
    assert_eq!(ask(&open, question(Agents::Listed), us(0.0)), Answer::Metrics(Vec::new()));
}

#[test]
fn agents_that_are_not_listed_can_be_refused() {
    let mut shard = trusting(Options::default(), "10.0.0.7", Unlisted::Refuse, Foreign::Refuse);
    for last in [6, 7, 8] {
        feed(&mut shard, &interface(last, 1, 1), 0.0);
    }
    assert_eq!((shard.agents(), shard.counters().unlisted_refused), (1, 2));
    assert_eq!(shard.counters().datagrams, 3, "all are accounted for");
}

/// Promise A4.
#[test]
fn a_hundred_thousand_forged_agents_push_out_no_listed_one() {
    let options = Options { agents: 1000, ..Options::default() };
    let mut shard = trusting(options, "10.0.0.0/24", Unlisted::Take, Foreign::Refuse);
    for last in 0..100 {
        feed(&mut shard, &interface(last, 1, 1), 0.0);
    }
    let mut datagram = interface(0, 1, 1);
    for (n, at_s) in (0..100_000_u32).map(|n| (n, f64::from(n) / 1000.0)) {
        datagram[8..12].copy_from_slice(&(0x0b00_0000 + n / 2).to_be_bytes());
        feed(&mut shard, &datagram, at_s);
    }
    assert_eq!((shard.agents(), agents(&shard, Agents::Listed, us(100.0)).len()), (1000, 100));
    // Where listed ones have all the room, others find none, and listed ones give way to one another.
    let options = Options { agents: 50, ..Options::default() };
    let mut shard = trusting(options, "10.0.0.0/24", Unlisted::Take, Foreign::Refuse);
    for last in 0..100 {
        feed(&mut shard, &interface(last, 1, 1), f64::from(last));
    }
    datagram[8..12].copy_from_slice(&[11, 0, 0, 1]);
    feed(&mut shard, &datagram, 200.0);
    let counters = shard.counters();
    assert_eq!((shard.agents(), counters.agents_evicted, counters.agents_refused), (50, 50, 1));
    assert!(agents(&shard, Agents::All, us(200.0)).iter().all(|agent| agent.listed));
}

/// A datagram with the counters of an interface of the agent 10.0.0.`last`.
fn interface(last: u8, sequence: u32, step: u64) -> Vec<u8> {
    let mut sender = Sender::new(last);
    (sender.sequence, sender.sample) = (sequence - 1, sequence - 1);
    let values = values(&counter::IF_COUNTERS, 0, step);
    let source = DataSource { class: 0, index: 1 };
    sender.datagram(source, f64::from(sequence), &[(&counter::IF_COUNTERS, &values)])
}
