//! Live flows of one definition: how much per second, smoothed with a time constant.
//!
//! Every packet adds `V / t` to its entry, and entries decay with `exp(-dt / t)`. Decay is forward: what is added is
//! scaled up by the time since a landmark, so that entries need no touching as time passes, and a reading is scaled
//! down once. The landmark moves, and all entries with it, before the scale grows out of bounds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ahash::RandomState;
use decode::{Address, DataSource};
use hashbrown::HashMap;

use super::atom::key_text;
use super::plan::ActiveFlow;

/// Time constants after which the landmark moves: e^60 is far from what a double can hold.
const LONGEST_SCALE: f64 = 60.0;

/// Entries that have decayed to this share of a unit per second are forgotten.
const NEGLIGIBLE: f64 = 1e-6;

/// What an entry costs beside its key, bytes.
const ENTRY_BYTES: usize = 64;

/// Which data source an entry belongs to.
pub type Owner = (Address, DataSource);

/// How the data sources' values of one key become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowAggregation {
    /// The largest: a flow that crosses three switches is counted once.
    #[default]
    Max,
    /// All together.
    Sum,
}

/// The entries of one definition.
#[derive(Debug)]
pub struct FlowTable {
    t_us: f64,
    landmark_us: u64,
    entries: HashMap<(Owner, Box<[u8]>), f64, RandomState>,
    key_bytes: usize,
    most_bytes: usize,
    /// Entries that gave way to others.
    pub evicted: u64,
}

impl FlowTable {
    /// An empty table with a time constant of `t` seconds, of at most `most_bytes`.
    pub fn new(t: f64, most_bytes: usize, now_us: u64) -> Self {
        Self {
            t_us: t * 1e6,
            landmark_us: now_us,
            entries: HashMap::default(),
            key_bytes: 0,
            most_bytes,
            evicted: 0,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries cost, bytes.
    pub fn bytes(&self) -> usize {
        self.key_bytes + self.entries.len() * ENTRY_BYTES
    }

    /// Adds a packet's volume to the entry of its key.
    pub fn add(&mut self, owner: Owner, key: &[u8], volume: f64, now_us: u64) {
        if !volume.is_finite() {
            return;
        }
        let mut scale = self.scale(now_us);
        if scale > LONGEST_SCALE {
            self.move_landmark(now_us);
            scale = 0.0;
        }
        let added = volume / (self.t_us / 1e6) * scale.exp();
        if let Some(value) = self.entries.get_mut(&KeyRef(owner, key)) {
            *value += added;
            return;
        }
        if self.bytes() + key.len() + ENTRY_BYTES > self.most_bytes {
            self.evict();
        }
        self.key_bytes += key.len();
        self.entries.insert((owner, key.into()), added);
    }

    fn scale(&self, now_us: u64) -> f64 {
        now_us.saturating_sub(self.landmark_us) as f64 / self.t_us
    }

    fn move_landmark(&mut self, now_us: u64) {
        let decay = (-self.scale(now_us)).exp();
        self.landmark_us = now_us;
        let mut freed = 0;
        self.entries.retain(|(_, key), value| {
            *value *= decay;
            let stays = *value >= NEGLIGIBLE;
            freed += if stays { 0 } else { key.len() };
            stays
        });
        self.key_bytes -= freed;
    }

    /// The smallest eighth gives way, so that a full table is not searched for every newcomer.
    fn evict(&mut self) {
        let mut values: Vec<f64> = self.entries.values().copied().collect();
        let Some(place) = (values.len() / 8).checked_sub(1).or((!values.is_empty()).then_some(0)) else {
            return;
        };
        let (_, &mut bound, _) = values.select_nth_unstable_by(place, f64::total_cmp);
        let before = self.entries.len();
        let mut freed = 0;
        // Of equal ones no more than the eighth go: a flood of equal flows must not empty the table.
        let mut left = place + 1;
        self.entries.retain(|(_, key), value| {
            let goes = left > 0 && *value <= bound;
            if goes {
                left -= 1;
                freed += key.len();
            }
            !goes
        });
        self.key_bytes -= freed;
        self.evicted += (before - self.entries.len()) as u64;
    }

    /// Forgets what has decayed away.
    pub fn tick(&mut self, now_us: u64) {
        if self.scale(now_us) > LONGEST_SCALE / 2.0 {
            self.move_landmark(now_us);
        }
    }

    /// The values of each key that its data sources have, for those of `wanted` owners.
    pub fn active(&self, now_us: u64, wanted: impl Fn(Owner) -> bool) -> ActivePartial {
        let decay = (-self.scale(now_us)).exp();
        let mut keys: BTreeMap<Box<[u8]>, KeyValues> = BTreeMap::new();
        for ((owner, key), value) in self.entries.iter().filter(|((owner, _), _)| wanted(*owner)) {
            let value = value * decay;
            if value < NEGLIGIBLE {
                continue;
            }
            let one = KeyValues { sum: value, max: value, owner: *owner };
            match keys.get_mut(key) {
                Some(known) => known.merge(one),
                None => drop(keys.insert(key.clone(), one)),
            }
        }
        ActivePartial { keys }
    }
}

/// A key that is looked up without being owned.
#[derive(Hash)]
struct KeyRef<'k>(Owner, &'k [u8]);

impl hashbrown::Equivalent<(Owner, Box<[u8]>)> for KeyRef<'_> {
    fn equivalent(&self, key: &(Owner, Box<[u8]>)) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq)]
struct KeyValues {
    sum: f64,
    max: f64,
    /// Who has the largest value.
    owner: Owner,
}

impl KeyValues {
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        // Of equal values that of the lower owner, so that the order of merging does not matter.
        let larger = other.max.total_cmp(&self.max).then_with(|| self.owner.cmp(&other.owner));
        if larger == Ordering::Greater {
            self.max = other.max;
            self.owner = other.owner;
        }
    }
}

/// What one shard, or several, know of a definition's flows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivePartial {
    keys: BTreeMap<Box<[u8]>, KeyValues>,
}

impl ActivePartial {
    /// Both together.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (key, values) in other.keys {
            match self.keys.get_mut(&key) {
                Some(known) => known.merge(values),
                None => drop(self.keys.insert(key, values)),
            }
        }
        self
    }

    /// The largest flows, at most `most` of at least `least`, largest first.
    pub fn largest(
        self,
        aggregation: FlowAggregation,
        most: usize,
        least: f64,
        separator: &str,
    ) -> Vec<ActiveFlow> {
        let value = |values: &KeyValues| match aggregation {
            FlowAggregation::Max => values.max,
            FlowAggregation::Sum => values.sum,
        };
        let mut all: Vec<_> = self.keys.into_iter().filter(|(_, values)| value(values) >= least).collect();
        all.sort_by(|(a_key, a), (b_key, b)| value(b).total_cmp(&value(a)).then_with(|| a_key.cmp(b_key)));
        all.truncate(most);
        all.iter()
            .map(|(key, values)| ActiveFlow {
                owner: crate::question::Owner {
                    agent: values.owner.0,
                    source: crate::question::Source::Of(values.owner.1),
                },
                values: Vec::new(),
                key: key_text(key, separator),
                value: value(values),
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const ROOM: usize = 1 << 20;

    fn owner(port: u32) -> Owner {
        (Address::V4([10, 0, 0, 1].into()), DataSource { class: 0, index: port })
    }

    fn value(table: &FlowTable, now_us: u64) -> f64 {
        let flows = table.active(now_us, |_| true).largest(FlowAggregation::Max, 1, 0.0, ",");
        flows.first().map_or(0.0, |flow| flow.value)
    }

    /// Traffic of 1.25 MB/s for 30 s, none for 30 s, over and over; the mean of the readings over whole periods.
    #[test]
    fn a_step_load_is_followed_or_averaged_by_the_time_constant() {
        for (t, on, off) in [(1.0, 1_250_000.0, 0.0), (500.0, 625_000.0, 625_000.0)] {
            let mut table = FlowTable::new(t, ROOM, 0);
            let mut readings = Vec::new();
            for ms in 0..6_000_000_u64 {
                if ms / 30_000 % 2 == 0 && ms % 10 == 0 {
                    table.add(owner(1), b"", 12_500.0, ms * 1000);
                }
                if ms >= 5_940_000 && ms % 30_000 == 29_995 {
                    readings.push(value(&table, ms * 1000));
                }
            }
            for (reading, expected) in readings.iter().zip([on, off]) {
                assert!((reading - expected).abs() < 0.04 * 1_250_000.0, "t={t}: {reading}, not {expected}");
            }
            assert_eq!(readings.len(), 2);
        }
    }

    #[test]
    fn a_curve_is_that_of_the_definition() {
        let mut table = FlowTable::new(2.0, ROOM, 0);
        table.add(owner(1), b"k", 1000.0, SECOND);
        for seconds in [1.0, 2.0, 10.0_f64] {
            let now = SECOND + (seconds * 1e6) as u64;
            let expected = 500.0 * (-seconds / 2.0).exp();
            assert!((value(&table, now) - expected).abs() < 1e-6 * expected);
        }
        // The landmark moves, the curve does not.
        table.add(owner(1), b"k", 0.0, 200 * SECOND);
        assert_eq!(table.landmark_us, 200 * SECOND);
        assert!(table.is_empty() || value(&table, 200 * SECOND) < NEGLIGIBLE);
    }

    #[test]
    fn a_flow_on_three_switches_is_counted_once_or_thrice() {
        let mut table = FlowTable::new(1.0, ROOM, 0);
        for (port, volume) in [(1, 100.0), (2, 120.0), (3, 110.0)] {
            table.add(owner(port), b"k", volume, SECOND);
        }
        let partial = table.active(SECOND, |_| true);
        let max = partial.clone().largest(FlowAggregation::Max, 10, 0.0, ",");
        assert_eq!(
            (max.len(), max[0].value.round(), max[0].owner.source.to_string().as_str()),
            (1, 120.0, "2")
        );
        assert_eq!(partial.largest(FlowAggregation::Sum, 10, 0.0, ",")[0].value.round(), 330.0);
        let one = table.active(SECOND, |(_, source)| source.index == 3);
        assert_eq!(one.largest(FlowAggregation::Sum, 10, 0.0, ",")[0].value.round(), 110.0);
    }

    #[test]
    fn the_smallest_give_way_and_are_counted() {
        let mut table = FlowTable::new(1.0, 100 * (ENTRY_BYTES + 4), 0);
        for n in 0..10_000_u32 {
            table.add(owner(1), &n.to_be_bytes(), f64::from(n), SECOND);
            assert!(table.bytes() <= 100 * (ENTRY_BYTES + 4));
        }
        assert_eq!(table.evicted + table.len() as u64, 10_000);
        let largest = table.active(SECOND, |_| true).largest(FlowAggregation::Max, 3, 0.0, ",");
        assert_eq!(largest[0].value.round(), 9999.0);
    }

    #[test]
    fn any_partition_gives_the_answer_of_one_table() {
        let mut whole = FlowTable::new(1.0, ROOM, 0);
        let mut parts: Vec<_> = (0..4).map(|_| FlowTable::new(1.0, ROOM, 0)).collect();
        for n in 0..500_u32 {
            let (port, key) = (n % 7, (n % 13).to_be_bytes());
            whole.add(owner(port), &key, f64::from(n), SECOND);
            parts[port as usize % 4].add(owner(port), &key, f64::from(n), SECOND);
        }
        let mut partials = parts.iter().map(|part| part.active(SECOND, |_| true));
        let (a, b) = (partials.next().unwrap(), partials.next().unwrap());
        let (c, d) = (partials.next().unwrap(), partials.next().unwrap());
        let left = a.clone().merge(b.clone()).merge(c.clone()).merge(d.clone());
        let right = d.merge(c).merge(b.merge(a));
        for aggregation in [FlowAggregation::Max, FlowAggregation::Sum] {
            let one = whole.active(SECOND, |_| true).largest(aggregation, 100, 0.0, ",");
            assert_eq!(left.clone().largest(aggregation, 100, 0.0, ","), one);
            assert_eq!(right.clone().largest(aggregation, 100, 0.0, ","), one);
        }
    }
}
