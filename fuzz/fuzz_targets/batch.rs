//! Any bytes as a batch of datagrams, each behind two bytes of length: they go where production sends them, flows and a
//! threshold are defined, and every question is asked afterwards.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use engine::ownership::Ownership;
use engine::process_batch;
use serde_json::json;
use tables::select::{Agents, Filter};
use tables::{Change, Options, Outbox, Program, Question, Shard};

static PROGRAM: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let changes = json!({
        "groups": {"sites": {"a": ["10.0.0.0/8"], "b": ["2001:db8::/32"]}},
        "flows": {
            "hosts": {"keys": "ipsource,ipdestination,or:tcpsourceport:udpsourceport", "value": "bytes", "log": true},
            "sites": {"keys": "group:ipsource:sites,if:vlan:null:ip6source:ipsource", "value": "frames"},
            "inner": {"keys": "macsource,stack,ipsource.1", "value": "bytes", "filter": "ipprotocol=6"},
        },
        "thresholds": {"fast": {"metric": "hosts", "value": 1000, "byFlow": true}},
    });
    let changes = Change::all(&changes).expect("an object of definitions");
    let program = changes.into_iter().try_fold(Program::default(), |program, change| program.changed(change));
    Arc::new(program.expect("definitions that are right"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut datagrams = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (datagram, after) = after.split_at(after.len().min(u16::from_be_bytes(*length).into()));
        datagrams.push((datagram, IpAddr::V4(Ipv4Addr::LOCALHOST)));
        rest = after;
    }
    let (mut shard, mut outbox) = (Shard::new(Options::default()), Outbox::default());
    shard.adopt(&PROGRAM, 0, &mut outbox);
    let count = datagrams.len();
    let own = process_batch(datagrams, 1_000_000, &mut shard, &mut outbox, &mut Ownership::alone());
    let counters = shard.counters();
    assert_eq!(own, count);
    assert_eq!(
        counters.datagrams + counters.datagram_errors.iter().sum::<u64>(),
        count as u64,
        "accounted for"
    );
    shard.tick(2_000_000, &mut outbox);
    for question in [
        Question::Agents(Agents::All),
        Question::MetricNames,
        Question::FlowKeys,
        Question::Dump { agents: Agents::All, metrics: Vec::new(), filter: Filter::default() },
    ] {
        shard.ask(&question, 2_000_000).finish(&question);
    }
    shard.end(3_000_000, &mut outbox);
    for record in &outbox.records {
        record.keys();
    }
});
