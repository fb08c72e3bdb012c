//! P4: updates of decaying rates, against a hash table of the kind one would use otherwise. P9: the largest of a
//! million flows. P13: what a flow takes.
#![allow(missing_docs, reason = "a bench")]

#[path = "common/random.rs"]
mod random;
#[path = "common/ratio.rs"]
mod ratio;

use std::hint::black_box;
use std::sync::Arc;

use ahash::RandomState;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decode::{Address, DataSource};
use hashbrown::HashMap;
use random::Random;
use serde_json::json;
use tables::flow::active::{Asked, FlowAggregation};
use tables::flow::owners::Owners;
use tables::flow::table::{Context, FlowTable, Hit};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};
use tables::outbox::FlowRecord;
use tables::question::Source;

/// Live flows.
const FLOWS: usize = 1_000_000;

/// Updates of a pass.
const UPDATES: usize = 2_000_000;

/// Updates between two flushes: what a batch of datagrams brings.
const BATCH: usize = 448;

/// Source and destination address and both ports.
type Key = [u8; 12];

/// The resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}

/// A key as a table has it.
fn words(key: &Key) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *key;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]).into()]
}

/// A flow table and what it needs around it.
struct Ours {
    table: FlowTable,
    texts: Texts,
    owners: Owners,
    records: Vec<FlowRecord>,
    hits: Vec<Hit>,
    owner: u32,
    now_us: u64,
}

impl Ours {
    fn new() -> Self {
        let keys = "ipsource,ipdestination,tcpsourceport,tcpdestinationport";
        let spec = FlowSpec::from_json(&json!({"keys": keys, "value": "bytes"})).expect("a definition");
        let plan = FlowPlan::compile(spec, &Lookups::default()).expect("keys of the catalogue");
        let mut owners = Owners::default();
        let source = Source::Of(DataSource { class: 0, index: 1 });
        let owner = owners.number(&mut { u32::MAX }, &Address::V4([10, 0, 0, 1].into()), &source, 0);
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

    fn update(&mut self, keys: &[Key]) -> u64 {
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
}

/// What one would write otherwise: hashbrown with ahash, forward decay, memory as the allocator gives it.
struct Plain {
    map: HashMap<(u32, Key), f64, RandomState>,
    now_us: u64,
}

impl Plain {
    fn update(&mut self, keys: &[Key]) -> u64 {
        for batch in keys.chunks(BATCH) {
            self.now_us += 100;
            let gain = (self.now_us as f64 / 2e6).exp() / 2.0;
            for key in batch {
                *self.map.entry((1, *key)).or_default() += 1000.0 * 1000.0 * gain;
            }
        }
        self.map.len() as u64
    }
}

fn keys() -> Vec<Key> {
    let mut random = Random(11);
    (0..FLOWS)
        .map(|_| {
            let mut key = [0; 12];
            key[..8].copy_from_slice(&random.next().to_ne_bytes());
            key[8..].copy_from_slice(&(random.next() as u32).to_ne_bytes());
            key
        })
        .collect()
}

/// The flows of updates: all are as frequent.
fn uniform(keys: &[Key]) -> Vec<Key> {
    let mut random = Random(12);
    (0..UPDATES).map(|_| keys[random.next() as usize % FLOWS]).collect()
}

/// The flows of updates: the nth most frequent one comes 1/n as often as the first.
fn zipf(keys: &[Key]) -> Vec<Key> {
    let mut random = Random(13);
    let all = (FLOWS as f64).ln();
    (0..UPDATES)
        .map(|_| {
            let part = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
            let rank = (part * all).exp() as usize % FLOWS;
            // Frequent flows lie anywhere.
            keys[rank.wrapping_mul(0x9e37_79b1) % FLOWS]
        })
        .collect()
}

/// The largest of the values by the library: a copy, of which the largest are selected.
fn by_selection(values: &[(f64, u32)]) -> u64 {
    let mut copy = values.to_vec();
    let (larger, _, _) = copy.select_nth_unstable_by(100, |a, b| b.0.total_cmp(&a.0));
    larger.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    u64::from(larger[0].1)
}

fn benches(criterion: &mut Criterion) {
    let keys = keys();
    let before = resident();
    let mut ours = Ours::new();
    ours.update(&keys);
    let each = (resident() - before) as f64 / FLOWS as f64;
    println!(
        "P13 resident memory per flow: {each:.1} bytes ({FLOWS} flows, {} counted)",
        ours.table.bytes() / FLOWS
    );
    let mut plain = Plain { map: HashMap::default(), now_us: 0 };
    plain.update(&keys);
    let mut group = criterion.benchmark_group("flows");
    for (name, order) in [("uniform", uniform(&keys)), ("zipf", zipf(&keys))] {
        let ratio = ratio::compare(UPDATES, || ours.update(&order), || plain.update(&order));
        println!(
            "P4 {name}: hashbrown with ahash / ours = {:.1} ({:.1} and {:.1} ns per update)",
            ratio.gain(),
            ratio.other,
            ratio.ours
        );
        group.throughput(Throughput::Elements(UPDATES as u64));
        group.bench_function(format!("update, {name}"), |b| b.iter(|| ours.update(&order)));
    }
    let values: Vec<(f64, u32)> = plain.map.values().copied().zip(0..).collect();
    let asked = Asked { texts: &ours.texts, owners: &ours.owners, now_us: ours.now_us };
    let top = || {
        let partial = ours.table.active(FlowAggregation::Max, 100, None, asked);
        black_box(&partial);
        1
    };
    let ratio = ratio::compare(1, top, || by_selection(&values));
    println!(
        "P9 top 100 of {FLOWS}: select_nth_unstable / ours = {:.1} ({:.2} and {:.2} ms)",
        ratio.gain(),
        ratio.other / 1e6,
        ratio.ours / 1e6
    );
    group.bench_function("top 100 of a million", |b| b.iter(top));
    // Where places are added up, the shard is held for a copy; the rest is done by whoever asks.
    let all = || ours.table.active(FlowAggregation::Sum, 100, None, asked);
    let held = || {
        black_box(&all());
        1
    };
    let asking = || all().largest(100, 0.0, ",").len() as u64;
    let ratio = ratio::compare(1, held, asking);
    println!(
        "sum of {FLOWS}: whole answer / time that the shard is held = {:.1} ({:.1} and {:.1} ms)",
        ratio.gain(),
        ratio.other / 1e6,
        ratio.ours / 1e6
    );
    group.bench_function("all of a million, to be added up", |b| b.iter(held));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
