//! All that happens to a datagram between the socket and the tables.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use engine::ownership::Ownership;
use engine::process_batch;
use serde_json::json;
use tables::{Change, Options, Outbox, Program, Shard};

use super::random::Random;

/// Datagrams of a batch.
pub(crate) const BATCH: usize = 64;

/// The flow that is updated.
pub(crate) const KEYS: &str = "ipsource,ipdestination,tcpsourceport,tcpdestinationport";

/// 50,000 addresses that no packet has but for a few.
pub(crate) fn blacklist() -> serde_json::Value {
    let mut random = Random(21);
    let addresses: Vec<String> =
        (0..50_000).map(|_| Ipv4Addr::from_bits(random.next() as u32).to_string()).collect();
    json!({ "listed": addresses })
}

/// A shard with the definitions.
fn shard(blacklist: &serde_json::Value, topology: Option<Change>) -> Shard {
    let flow =
        |name: &str, keys: &str| Change::Flow(name.to_owned(), Some(json!({"keys": keys, "value": "bytes"})));
    let program = [
        Change::Group("blacklist".to_owned(), Some(blacklist.clone())),
        flow("tcp", KEYS),
        flow("from", "group:ipsource:blacklist"),
        flow("to", "group:ipdestination:blacklist"),
    ]
    .into_iter()
    .chain(topology)
    .fold(Program::default(), |program, change| program.changed(change).expect("a definition"));
    let mut shard = Shard::new(Options::default());
    shard.adopt(&Arc::new(program), 0, &mut Outbox::default());
    shard
}

/// What a worker does with its batches.
fn pipeline(datagrams: &[Vec<u8>], shard: &mut Shard, ownership: &mut Ownership, now_us: &mut u64) -> u64 {
    let sender = IpAddr::from([10, 0, 0, 1]);
    let mut outbox = Outbox::default();
    let mut own = 0;
    for batch in datagrams.chunks(BATCH) {
        *now_us += 100;
        let batch = batch.iter().map(|datagram| (datagram.as_slice(), sender));
        own += process_batch(batch, *now_us, shard, &mut outbox, ownership);
    }
    own as u64
}

/// A shard that is fed, and the worker's part around it.
pub(crate) struct Whole {
    pub(crate) shard: Shard,
    ownership: Ownership,
    now_us: u64,
}

impl Whole {
    /// With these definitions.
    pub(crate) fn new(blacklist: &serde_json::Value, topology: Option<Change>) -> Self {
        Self { shard: shard(blacklist, topology), ownership: Ownership::alone(), now_us: 0 }
    }

    /// Feeds it all of them, in batches.
    pub(crate) fn pass(&mut self, datagrams: &[Vec<u8>]) -> u64 {
        pipeline(datagrams, &mut self.shard, &mut self.ownership, &mut self.now_us)
    }
}
