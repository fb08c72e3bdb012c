//! When something is due for whom, and the random part of the first interval.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use docker::Id;

use super::SECOND_SAMPLE;

/// At most one time for each container.
#[derive(Debug)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Id)>,
    of: BTreeMap<Id, Instant>,
    random: u64,
}

impl Timers {
    /// None yet; random phases begin at this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { order: BTreeSet::new(), of: BTreeMap::new(), random: seed }
    }

    pub(super) fn set(&mut self, id: Id, at: Instant) {
        self.clear(id);
        self.of.insert(id, at);
        self.order.insert((at, id));
    }

    pub(super) fn clear(&mut self, id: Id) {
        if let Some(at) = self.of.remove(&id) {
            self.order.remove(&(at, id));
        }
    }

    /// The next one.
    pub(super) fn first(&self) -> Option<(Instant, Id)> {
        self.order.first().copied()
    }

    /// Whose time is later than this.
    pub(super) fn after(&self, at: Instant) -> impl Iterator<Item = Id> {
        self.order.iter().rev().take_while(move |(due, _)| *due > at).map(|(_, id)| *id)
    }

    /// From the second sample to the third: at random, so that containers that were found together are not polled
    /// together; and half of the interval at least, because collectors forget a container that has been silent for three
    /// times as long as it was before.
    pub(super) fn phase(&mut self, polling: Duration) -> Duration {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = ((z ^ (z >> 31)) >> 32) as f64 / f64::from(u32::MAX);
        let shortest = (polling / 2).max(SECOND_SAMPLE).min(polling);
        shortest + (polling - shortest).mul_f64(part)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
