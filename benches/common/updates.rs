//! A flow table, keys, and updates of them.

use std::sync::Arc;

use decode::{Address, DataSource};
use serde_json::json;
use tables::flow::active::{ActivePartial, Asked, FlowAggregation};
use tables::flow::owners::{Known, Owners};
use tables::flow::table::{Context, FlowTable, Hit};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};
use tables::outbox::FlowRecord;
use tables::question::Source;

use super::random::Random;

/// Live flows.
pub(crate) const FLOWS: usize = 1_000_000;

/// Updates of a pass.
pub(crate) const UPDATES: usize = 2_000_000;

/// Updates between two flushes: what a batch of datagrams brings.
pub(crate) const BATCH: usize = 448;

/// Source and destination address and both ports.
pub(crate) type Key = [u8; 12];

/// A key as a table has it.
fn words(key: &Key) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *key;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]).into()]
}

/// A flow table and what it needs around it.
pub(crate) struct Ours {
    pub(crate) table: FlowTable,
    texts: Texts,
    owners: Owners,
    records: Vec<FlowRecord>,
    hits: Vec<Hit>,
    owner: u32,
    now_us: u64,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let keys = "ipsource,ipdestination,tcpsourceport,tcpdestinationport";
        let spec = FlowSpec::from_json(&json!({"keys": keys, "value": "bytes"})).expect("a definition");
        let plan = FlowPlan::compile(spec, &Lookups::default()).expect("keys of the catalogue");
        let mut owners = Owners::default();
        let source = Source::Of(DataSource { class: 0, index: 1 });
        let owner = owners.number(&mut Known::default(), &Address::V4([10, 0, 0, 1].into()), &source, 0);
        Self {
            table: FlowTable::new(Arc::from("tcp"), Arc::new(plan), 256 << 20, 0),
            texts: Texts::new(1 << 20),
            owners,
            records: Vec::new(),
            hits: Vec::new(),
            owner,
            now_us: 0,
        }
    }

    /// Updates the flows of these keys; how many flows there are then.
    pub(crate) fn update(&mut self, keys: &[Key]) -> u64 {
        let mut context = Context {
            texts: &mut self.texts,
            owners: &mut self.owners,
            records: &mut self.records,
            hits: &mut self.hits,
        };
        for batch in keys.chunks(BATCH) {
            self.now_us += 100;
            for key in batch {
                let measures = [1000_f64.to_bits()];
                self.table.push(self.owner, &words(key), 1000.0, &measures, self.now_us, &mut context);
            }
            self.table.flush(self.now_us, &mut context);
        }
        self.table.len() as u64
    }
    /// The 100 largest flows, as a shard gives them.
    pub(crate) fn largest(&self, aggregation: FlowAggregation) -> ActivePartial {
        let asked = Asked { texts: &self.texts, owners: &self.owners, now_us: self.now_us };
        self.table.active(aggregation, 100, None, asked)
    }
}

/// As many different keys.
pub(crate) fn keys(flows: usize) -> Vec<Key> {
    let mut random = Random(11);
    (0..flows)
        .map(|_| {
            let mut key = [0; 12];
            key[..8].copy_from_slice(&random.next().to_ne_bytes());
            key[8..].copy_from_slice(&(random.next() as u32).to_ne_bytes());
            key
        })
        .collect()
}

/// The flows of updates: all are as frequent.
pub(crate) fn uniform(keys: &[Key], updates: usize) -> Vec<Key> {
    let mut random = Random(12);
    (0..updates).map(|_| keys[random.next() as usize % keys.len()]).collect()
}

/// The flows of updates: the nth most frequent one comes 1/n as often as the first.
pub(crate) fn zipf(keys: &[Key], updates: usize) -> Vec<Key> {
    let mut random = Random(13);
    let all = (keys.len() as f64).ln();
    (0..updates)
        .map(|_| {
            let part = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
            let rank = (part * all).exp() as usize % keys.len();
            // Frequent flows lie anywhere.
            keys[rank.wrapping_mul(0x9e37_79b1) % keys.len()]
        })
        .collect()
}
