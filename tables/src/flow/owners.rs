//! Who an entry of a flow table belongs to: each owner once per shard, entries have its number. An owner is forgotten
//! when no entry has had it for a while.

use ahash::{AHashSet, RandomState};
use decode::Address;
use hashbrown::HashMap;

use crate::mem;
use crate::question::{Owner, Source};

#[derive(Debug)]
struct Entry {
    owner: Option<Owner>,
    holders: u32,
    seen_us: u64,
}

/// The owners of a shard.
#[derive(Debug, Default)]
pub struct Owners {
    entries: Vec<Entry>,
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
    pub fn number(&mut self, known: &mut u32, agent: &Address, source: &Source, now_us: u64) -> u32 {
        if let Some(entry) = self.entries.get_mut(*known as usize)
            && let Some(owner) = &entry.owner
            && owner.agent == *agent
            && owner.source == *source
        {
            entry.seen_us = now_us;
        } else {
            *known = self.find(agent, source, now_us);
        }
        *known
    }

    /// A packet of this one comes soon, perhaps.
    #[inline]
    pub(crate) fn bring_near(&self, number: u32) {
        mem::prefetch(&self.entries, number as usize);
    }

    #[cold]
    fn find(&mut self, agent: &Address, source: &Source, now_us: u64) -> u32 {
        let owner = Owner { agent: *agent, source: source.clone() };
        if let Some(&number) = self.by_owner.get(&owner) {
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.seen_us = now_us;
            }
            return number;
        }
        let entry = Entry { owner: Some(owner.clone()), holders: 0, seen_us: now_us };
        let number = self.free.pop().unwrap_or(self.entries.len() as u32);
        match self.entries.get_mut(number as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
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
                && entry.seen_us < since_us
                && !kept.contains(&(self.swept as u32))
                && let Some(owner) = entry.owner.take()
            {
                self.by_owner.remove(&owner);
                self.free.push(self.swept as u32);
            }
            self.swept += 1;
        }
    }

    /// When its last packet came.
    pub fn seen_us(&self, number: u32) -> u64 {
        self.entries.get(number as usize).map_or(0, |entry| entry.seen_us)
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
        let (mut a, mut b) = (u32::MAX, u32::MAX);
        assert_ne!(owners.number(&mut a, &agent, &port(1), 5), owners.number(&mut b, &agent, &port(2), 6));
        let mut wrong = b;
        assert_eq!(owners.number(&mut wrong, &agent, &port(1), 7), a, "what is remembered wrongly is found");
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
        let mut c = 0;
        assert_eq!(owners.number(&mut c, &agent, &port(3), 9), a, "the number is used again");
    }
}
