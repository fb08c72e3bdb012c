//! P4: updates of decaying rates, against a hash table of the kind one would use otherwise. P9: the largest of a
//! million flows. P13: what a flow takes.

use std::hint::black_box;

use ahash::RandomState;
use hashbrown::HashMap;
use tables::flow::active::FlowAggregation;

use crate::bench::{Bench, Line, Number, Sides, Target};
use crate::common::random::Random;
use crate::common::updates::{BATCH, FLOWS, Key, Ours, UPDATES, keys, uniform, zipf};

/// The resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
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

/// The largest of the values by the library: a copy, of which the largest are selected.
fn by_selection(values: &[(f64, u32)]) -> u64 {
    let mut copy = values.to_vec();
    let (larger, _, _) = copy.select_nth_unstable_by(100, |a, b| b.0.total_cmp(&a.0));
    larger.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    u64::from(larger[0].1)
}

pub(crate) fn update(bench: &mut Bench) {
    let keys = keys(FLOWS);
    let mut ours = Ours::new();
    let mut plain = Plain { map: HashMap::default(), now_us: 0 };
    assert_eq!(ours.update(&keys), plain.update(&keys), "both have all keys");
    for (what, order, least) in [
        ("update, all keys as frequent / hashbrown with ahash", uniform(&keys, UPDATES), 3.0),
        ("update, zipf / hashbrown with ahash", zipf(&keys, UPDATES), 4.0),
    ] {
        let sides = Sides {
            row: "P4",
            what,
            elements: UPDATES,
            unit: "update",
            kind: Number::Gain,
            target: Target::AtLeast(least),
        };
        bench.compare(&sides, || ours.update(&order), || plain.update(&order));
    }
}

pub(crate) fn top(bench: &mut Bench) {
    let mut ours = Ours::new();
    let keys = keys(FLOWS);
    ours.update(&keys);
    ours.update(&zipf(&keys, UPDATES));
    // Values that a hash table would have: as many, and no two alike.
    let mut random = Random(14);
    let values: Vec<(f64, u32)> = (0..FLOWS as u32).map(|n| (random.next() as f64, n)).collect();
    let largest = || {
        black_box(&ours.largest(FlowAggregation::Max));
        1
    };
    let mut sides = Sides {
        row: "P9",
        what: "top 100 of 1,000,000 flows / select_nth_unstable on a copy",
        elements: 1,
        unit: "question",
        kind: Number::Gain,
        target: Target::AtLeast(4.0),
    };
    let measured = bench.compare(&sides, largest, || by_selection(&values));
    let what = "top 100 of 1,000,000 flows: how long the worker is held";
    bench.line(Line::figure("P9", what, measured.ours / 1e6, "ms", Target::AtMost(1.0)));
    // Where places are added up, the shard is held for a copy; the rest is done by whoever asks.
    let all = || ours.largest(FlowAggregation::Sum);
    let held = || {
        black_box(&all());
        1
    };
    sides.what = "sum of 1,000,000 flows: the worker is held / the whole answer";
    sides.target = Target::None;
    bench.compare(&sides, held, || all().largest(100, 0.0, ",").len() as u64);
}

pub(crate) fn resident_each(bench: &mut Bench) {
    let keys = keys(FLOWS);
    let before = resident();
    let mut ours = Ours::new();
    ours.update(&keys);
    let each = (resident() - before) as f64 / FLOWS as f64;
    let what = "resident memory of a flow: one value, a key of 12 bytes, no log, 1,000,000 flows";
    bench.line(Line::figure("P13", what, each, "bytes", Target::AtMost(72.0)));
    bench.say("P13", format!("the table counts {} bytes for each", ours.table.bytes() / FLOWS));
}
