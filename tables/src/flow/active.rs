//! The largest flows of a definition: what one shard knows of them, and how several shards' knowledge becomes one.
//!
//! Where a flow counts with the largest value that any data source has, each shard's largest flows are enough: the
//! largest of all are among them. Where its values are added up, every flow matters: the shard copies its columns, and
//! the asking thread adds them up.

use std::cmp::Ordering;

use ahash::{AHashMap, AHashSet};

use super::atom::key_text;
use super::copied::{self, Copied};
use super::entries::BLOCK;
use super::measure::Mode;
use super::owners::Owners;
use super::plan::ActiveFlow;
use super::table::FlowTable;
use super::texts::Texts;
use crate::owner::Owner;

/// How the data sources' values of one key become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowAggregation {
    /// The largest: a flow that crosses three switches is counted once.
    #[default]
    Max,
    /// All together.
    Sum,
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq)]
struct KeyValues {
    /// Whose value is the largest.
    owner: Owner,
    /// Its values.
    shown: Vec<f64>,
}

impl KeyValues {
    /// The larger of both.
    fn merge(&mut self, other: Self) {
        // Of equal values that of the lower owner, so that the order of merging does not matter.
        let larger = other.value().total_cmp(&self.value()).then_with(|| self.owner.cmp(&other.owner));
        if larger == Ordering::Greater {
            *self = other;
        }
    }

    /// The first value that is shown.
    fn value(&self) -> f64 {
        self.shown.first().copied().unwrap_or(0.0)
    }
}

/// What one shard, or several, know of a definition's flows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivePartial {
    /// The flows that are the largest somewhere.
    keys: AHashMap<Box<[u8]>, KeyValues>,
    /// All flows of tables whose values are to be added up.
    copies: Vec<Copied>,
    /// Where one flow is seen.
    places: Vec<Place>,
}

/// A flow where it was seen.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    owner: Owner,
    key: Box<[u8]>,
    value: f64,
    values: Vec<f64>,
}

impl ActivePartial {
    /// Takes the values of one data source.
    fn add(&mut self, key: Box<[u8]>, one: KeyValues) {
        match self.keys.get_mut(&key) {
            Some(known) => known.merge(one),
            None => drop(self.keys.insert(key, one)),
        }
    }

    /// Both together.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.places.extend(other.places);
        self.copies.extend(other.copies);
        for (key, values) in other.keys {
            self.add(key, values);
        }
        self
    }

    /// Every place, the largest value first.
    pub fn places(mut self, separator: &str) -> Vec<ActiveFlow> {
        self.places.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.owner.cmp(&b.owner)));
        self.places
            .into_iter()
            .map(|place| ActiveFlow {
                owner: place.owner,
                key: key_text(&place.key, separator),
                value: place.value,
                values: place.values,
            })
            .collect()
    }

    /// The largest flows, at most `most` of at least `least`, largest first.
    pub fn largest(self, most: usize, least: f64, separator: &str) -> Vec<ActiveFlow> {
        if !self.copies.is_empty() {
            return copied::largest(&self.copies, most, least, separator);
        }
        let mut all: Vec<_> = self.keys.into_iter().filter(|(_, values)| values.value() >= least).collect();
        let order = |(a_key, a): &(Box<[u8]>, KeyValues), (b_key, b): &(Box<[u8]>, KeyValues)| {
            b.value().total_cmp(&a.value()).then_with(|| a_key.cmp(b_key))
        };
        if all.len() > most && most > 0 {
            all.select_nth_unstable_by(most - 1, order);
        }
        all.truncate(most);
        all.sort_by(order);
        all.into_iter()
            .map(|(key, values)| {
                let mut shown = values.shown.into_iter();
                ActiveFlow {
                    owner: values.owner,
                    key: key_text(&key, separator),
                    value: shown.next().unwrap_or(0.0),
                    values: shown.collect(),
                }
            })
            .collect()
    }
}

/// Readings below this are nothing.
pub(super) const NOTHING: f64 = 1e-3;

/// What a table's shard shares with it, for questions.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'s> {
    /// Texts of keys.
    pub texts: &'s Texts,
    /// Owners of entries.
    pub owners: &'s Owners,
    /// When.
    pub now_us: u64,
}

impl FlowTable {
    /// The flows that matter for the `most` largest ones, of the owners that are `wanted` (by number; all when `None`).
    pub fn active(
        &self,
        aggregation: FlowAggregation,
        most: usize,
        wanted: Option<&[bool]>,
        asked: Asked<'_>,
    ) -> ActivePartial {
        let mut partial = ActivePartial::default();
        if aggregation == FlowAggregation::Sum {
            partial.copies.push(self.copied(wanted, asked));
            return partial;
        }
        let decay = self.decay(asked.now_us);
        for at in self.top(most, wanted, asked.now_us) {
            let Some((owner, key)) = self.entry(at) else { continue };
            let Some(owner) = asked.owners.owner(owner) else { continue };
            let mut shown = vec![self.reading(at, 0, decay, asked.now_us)];
            if shown.first().is_some_and(|value| *value < NOTHING) {
                continue;
            }
            shown.extend(self.further(at, decay, asked.now_us));
            let one = KeyValues { owner: owner.clone(), shown };
            partial.add(self.plan.layout.portable(key, asked.texts), one);
        }
        partial
    }

    /// Where a flow is seen: each owner that has it is a flow of the answer.
    pub(crate) fn locations(
        &self,
        key: &str,
        owners: impl Iterator<Item = u32>,
        asked: Asked<'_>,
    ) -> ActivePartial {
        let decay = self.decay(asked.now_us);
        let mut found = Vec::new();
        if let Some(packed) = self.plan.layout.parse(key, &self.plan.spec.fs, asked.texts) {
            found.extend(owners.filter_map(|owner| self.lookup(owner, packed.as_slice())));
        }
        let mut partial = ActivePartial::default();
        for at in found {
            let Some((number, key)) = self.entry(at) else { continue };
            let Some(owner) = asked.owners.owner(number) else { continue };
            let value = self.reading(at, 0, decay, asked.now_us);
            if value >= NOTHING {
                partial.places.push(Place {
                    owner: owner.clone(),
                    key: self.plan.layout.portable(key, asked.texts),
                    value,
                    values: self.further(at, decay, asked.now_us),
                });
            }
        }
        partial
    }

    pub(super) fn is_wanted(&self, at: usize, wanted: Option<&[bool]>) -> bool {
        let Some(wanted) = wanted else { return true };
        self.entry(at).is_some_and(|(owner, _)| wanted.get(owner as usize).copied().unwrap_or(false))
    }

    /// The entries that have the `most` largest keys, each with the largest value that any owner has of it.
    fn top(&self, most: usize, wanted: Option<&[bool]>, now_us: u64) -> Vec<usize> {
        if most == 0 {
            return Vec::new();
        }
        let decay = self.decay(now_us);
        let rate = self.plan.measures.first().is_some_and(|measure| measure.mode == Mode::Rate);
        let mut room = most.saturating_mul(2).max(64);
        loop {
            let mut largest = Largest::of(room);
            if rate {
                // Stored rates scale alike: the largest readings are the largest stored values.
                self.offer_stored(&mut largest, wanted);
            } else {
                for at in 0..self.len() {
                    largest.offer(self.reading(at, 0, decay, now_us), at, |at| self.is_wanted(at, wanted));
                }
            }
            let found = largest.found();
            let keys: AHashSet<&[u64]> =
                found.iter().filter_map(|at| self.entry(*at)).map(|(_, key)| key).collect();
            if keys.len() >= most || found.len() < room {
                return found;
            }
            room = room.saturating_mul(4);
        }
    }

    /// Offers the stored values of entries that are `wanted`, of blocks that may have large ones.
    fn offer_stored(&self, largest: &mut Largest, wanted: Option<&[bool]>) {
        let bounds = self.entries().bounds();
        let mut first = Largest::of(largest.room);
        bounds.iter().enumerate().for_each(|(block, bound)| first.offer(*bound, block, |_| true));
        let mut offer = |block: usize| {
            let values = (block * BLOCK..).zip(self.entries().values(block * BLOCK)).take(BLOCK);
            values.for_each(|(at, value)| largest.offer(value, at, |at| self.is_wanted(at, wanted)));
            largest.least
        };
        // With those first that have the highest bounds nearly all others are passed over.
        let mut is_done = vec![false; bounds.len()];
        let mut least = f64::NEG_INFINITY;
        for block in first.found() {
            least = offer(block);
            if let Some(is_done) = is_done.get_mut(block) {
                *is_done = true;
            }
        }
        for (block, bound) in bounds.iter().enumerate() {
            if *bound > least && !is_done.get(block).is_some_and(|done| *done) {
                least = offer(block);
            }
        }
    }

    /// For each owner that has flows: its number and the places of its `n` largest ones, largest first.
    pub(crate) fn by_owner(&self, n: usize, wanted: &[bool], now_us: u64) -> Vec<(u32, Vec<(usize, f64)>)> {
        let decay = self.decay(now_us);
        let mut tops: Vec<Vec<(usize, f64)>> = vec![Vec::new(); wanted.len()];
        for at in 0..self.len() {
            let Some((owner, _)) = self.entry(at) else { continue };
            if !wanted.get(owner as usize).copied().unwrap_or(false) {
                continue;
            }
            let value = self.reading(at, 0, decay, now_us);
            let Some(top) = tops.get_mut(owner as usize).filter(|_| value >= NOTHING) else { continue };
            if top.len() < n || top.last().is_some_and(|(_, smallest)| value > *smallest) {
                let place = top.partition_point(|(_, larger)| *larger >= value);
                top.insert(place, (at, value));
                top.truncate(n);
            }
        }
        (0..).zip(tops).filter(|(_, top)| !top.is_empty()).collect()
    }
}

/// The places of the `room` largest values that were offered.
struct Largest {
    room: usize,
    found: Vec<(f64, usize)>,
    /// What is not above it is not among them.
    least: f64,
}

impl Largest {
    fn of(room: usize) -> Self {
        Self { room, found: Vec::new(), least: f64::NEG_INFINITY }
    }

    #[inline]
    fn offer(&mut self, value: f64, at: usize, counts: impl Fn(usize) -> bool) {
        if value > self.least && counts(at) {
            self.found.push((value, at));
            if self.found.len() >= self.room.saturating_mul(2) {
                self.prune();
            }
        }
    }

    #[cold]
    fn prune(&mut self) {
        self.found.select_nth_unstable_by(self.room - 1, by_value);
        self.found.truncate(self.room);
        self.least = self.found.last().map_or(self.least, |(value, _)| *value);
    }

    /// The places, that of the largest first.
    fn found(mut self) -> Vec<usize> {
        self.found.sort_unstable_by(by_value);
        self.found.truncate(self.room);
        self.found.into_iter().map(|(_, at)| at).collect()
    }
}

fn by_value(a: &(f64, usize), b: &(f64, usize)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
