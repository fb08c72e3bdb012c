//! Who an entry of a flow table belongs to: each owner once per shard, entries have its number. An owner is forgotten
//! when no entry has had it for a while.

use ahash::{AHashSet, RandomState};
use decode::Address;
use hashbrown::HashMap;

use crate::owner::{Owner, Source};

#[derive(Debug)]
struct Entry {
    owner: Option<Owner>,
    holders: u32,
}

/// The number of an owner, as whoever asked for it remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    number: u32,
    /// How many owners had been forgotten then.
    forgotten: u32,
}

impl Default for Known {
    fn default() -> Self {
        Self { number: u32::MAX, forgotten: u32::MAX }
    }
}

/// The owners of a shard.
#[derive(Debug, Default)]
pub struct Owners {
    entries: Vec<Entry>,
    /// When the last packet of each came, apart: no more than this is touched for each packet.
    seen_us: Vec<u64>,
    /// How many were forgotten so far, round and round: while none is, what is remembered is right.
    forgotten: u32,
    by_owner: HashMap<Owner, u32, RandomState>,
    free: Vec<u32>,
    swept: usize,
}

/// Owners that are looked at in one call of [`Owners::forget_before`], at most.
const SWEEP: usize = 4096;

impl Owners {
    /// The number of a data source, of which a packet came now. `known` is what the caller remembers of an earlier call:
    /// while it is right nothing is looked up.
    #[inline]
    pub fn number(&mut self, known: &mut Known, agent: &Address, source: &Source, now_us: u64) -> u32 {
        match self.seen_us.get_mut(known.number as usize) {
            Some(seen_us) if known.forgotten == self.forgotten => *seen_us = now_us,
            _ => self.remind(known, agent, source, now_us),
        }
        known.number
    }

    /// Looks whether what is remembered is still right, and finds the owner where it is not.
    #[cold]
    fn remind(&mut self, known: &mut Known, agent: &Address, source: &Source, now_us: u64) {
        let is_it = |owner: &Owner| owner.agent == *agent && owner.source == *source;
        if !self.owner(known.number).is_some_and(is_it) {
            known.number = self.find(agent, source);
        }
        known.forgotten = self.forgotten;
        if let Some(seen_us) = self.seen_us.get_mut(known.number as usize) {
            *seen_us = now_us;
        }
    }

    fn find(&mut self, agent: &Address, source: &Source) -> u32 {
        let owner = Owner { agent: *agent, source: source.clone() };
        if let Some(&number) = self.by_owner.get(&owner) {
            return number;
        }
        let entry = Entry { owner: Some(owner.clone()), holders: 0 };
        let number = self.free.pop().unwrap_or(self.entries.len() as u32);
        match self.entries.get_mut(number as usize) {
            Some(place) => *place = entry,
            None => {
                self.entries.push(entry);
                self.seen_us.push(0);
            }
        }
        self.by_owner.insert(owner, number);
        number
    }

    /// One more entry has it.
    pub fn hold(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.holders += 1;
        }
    }

    /// One entry fewer has it.
    pub fn release(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.holders = entry.holders.saturating_sub(1);
        }
    }

    /// Forgets those that no entry has, of which no packet came since, and whose number is not among `kept`. A call looks
    /// at a part of them.
    pub fn forget_before(&mut self, since_us: u64, kept: &AHashSet<u32>) {
        for _ in 0..self.entries.len().min(SWEEP) {
            if self.swept >= self.entries.len() {
                self.swept = 0;
            }
            if let Some(entry) = self.entries.get_mut(self.swept)
                && entry.holders == 0
                && self.seen_us.get(self.swept).is_some_and(|seen_us| *seen_us < since_us)
                && !kept.contains(&(self.swept as u32))
                && let Some(owner) = entry.owner.take()
            {
                self.by_owner.remove(&owner);
                self.free.push(self.swept as u32);
                self.forgotten = self.forgotten.wrapping_add(1);
            }
            self.swept += 1;
        }
    }

    /// When its last packet came.
    pub fn seen_us(&self, number: u32) -> u64 {
        self.seen_us.get(number as usize).copied().unwrap_or(0)
    }

    /// Who it is.
    pub fn owner(&self, number: u32) -> Option<&Owner> {
        self.entries.get(number as usize)?.owner.as_ref()
    }

    /// All numbers and their owners.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Owner)> {
        self.by_owner.iter().map(|(owner, number)| (*number, owner))
    }

    /// Those that entries have, by number.
    pub(super) fn copied(&self) -> Vec<Option<Owner>> {
        let held = |entry: &Entry| entry.owner.clone().filter(|_| entry.holders > 0);
        self.entries.iter().map(held).collect()
    }

    /// How many numbers there are, those that are free among them.
    pub fn numbers(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_it_is_held() {
        let agent = Address::V4([10, 0, 0, 1].into());
        let port = |index| Source::Of(decode::DataSource { class: 0, index });
        let mut owners = Owners::default();
        let (mut known_a, mut known_b) = (Known::default(), Known::default());
        let a = owners.number(&mut known_a, &agent, &port(1), 5);
        let b = owners.number(&mut known_b, &agent, &port(2), 6);
        assert_ne!(a, b);
        assert_eq!(owners.number(&mut Known::default(), &agent, &port(1), 7), a, "it is found again");
        assert_eq!((owners.seen_us(a), owners.seen_us(b)), (7, 6));
        owners.hold(a);
        owners.forget_before(100, &AHashSet::from_iter([b]));
        assert!(owners.owner(b).is_some(), "its number is kept");
        owners.forget_before(100, &AHashSet::default());
        assert_eq!((owners.owner(b), owners.all().count(), owners.numbers()), (None, 1, 2));
        owners.release(a);
        owners.forget_before(7, &AHashSet::default());
        assert!(owners.owner(a).is_some(), "its last packet is too young");
        owners.forget_before(8, &AHashSet::default());
        assert_eq!(owners.owner(a), None);
        assert_eq!(owners.number(&mut known_a, &agent, &port(3), 9), a, "the number is used again");
        let mut stale = known_b;
        assert_eq!(
            owners.number(&mut stale, &agent, &port(2), 10),
            b,
            "what is remembered of before is not believed"
        );
        assert_ne!(owners.number(&mut known_a, &agent, &port(3), 11), b);
        assert_eq!((owners.seen_us(a), owners.seen_us(b)), (11, 10));
    }
}
