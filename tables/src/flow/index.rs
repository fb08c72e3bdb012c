//! Where a flow table finds its entries: open addressing with linear probing, one word per slot, which has the hash in its
//! upper half and the entry's number plus one in its lower half.

use crate::mem::{self, Array};

/// Slots of the smallest index.
const SMALLEST: usize = 64;

/// An index of fewer slots is kept half empty, because it costs next to nothing: an entry is then found in its first slot or
/// the one behind, where in an index that is nearly full a dozen are looked at.
const ROOMY: usize = 1 << 16;

/// The slots of a table.
#[derive(Debug)]
pub(super) struct Index {
    slots: Array<u64>,
}

impl Index {
    /// The smallest one.
    pub(super) fn new() -> Self {
        Self { slots: slots(SMALLEST) }
    }

    /// What it takes, bytes; as much again when it grows.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    /// Whether so many entries are as many as it should have.
    pub(super) fn is_full(&self, entries: usize) -> bool {
        let slots = self.slots.len();
        entries >= if slots < ROOMY { slots / 2 } else { self.most() }
    }

    /// Entries that it has slots for.
    pub(super) fn most(&self) -> usize {
        self.slots.len() / 8 * 7
    }

    /// Asks for the slots of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        mem::prefetch(&self.slots, hash as usize & (self.slots.len() - 1));
    }

    /// The first entry with this hash that is the wanted one.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut is_wanted: impl FnMut(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let slot = *self.slots.get(place)?;
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash && is_wanted(slot as u32 as usize - 1) {
                return Some(slot as u32 as usize - 1);
            }
            place = (place + 1) & mask;
        }
    }

    /// Puts an entry into the first free slot from that of its hash on; there is one.
    pub(super) fn place(&mut self, hash: u32, at: usize) {
        place(&mut self.slots, hash, at);
    }

    /// Makes twice as many slots.
    pub(super) fn grow(&mut self) {
        let mut larger = slots(self.slots.len() * 2);
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            place(&mut larger, (slot >> 32) as u32, *slot as u32 as usize - 1);
        }
        self.slots = larger;
    }

    /// An entry has another number.
    pub(super) fn renumber(&mut self, hash: u32, from: usize, to: usize) {
        if let Some(slot) = self.slot_of(hash, from).and_then(|slot| self.slots.get_mut(slot)) {
            *slot = of(hash, to);
        }
    }

    /// Empties the slot of an entry, and moves those behind it up that would not be found otherwise.
    pub(super) fn remove(&mut self, hash: u32, at: usize) {
        let mask = self.slots.len() - 1;
        let Some(mut hole) = self.slot_of(hash, at) else { return };
        let mut next = (hole + 1) & mask;
        while let Some(&slot) = self.slots.get(next).filter(|slot| **slot != 0) {
            let home = (slot >> 32) as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                if let Some(place) = self.slots.get_mut(hole) {
                    *place = slot;
                }
                hole = next;
            }
            next = (next + 1) & mask;
        }
        if let Some(place) = self.slots.get_mut(hole) {
            *place = 0;
        }
    }

    fn slot_of(&self, hash: u32, at: usize) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let wanted = of(hash, at);
        let mut place = hash as usize & mask;
        loop {
            match *self.slots.get(place)? {
                0 => return None,
                slot if slot == wanted => return Some(place),
                _ => place = (place + 1) & mask,
            }
        }
    }
}

/// So many empty slots.
fn slots(many: usize) -> Array<u64> {
    let mut slots = Array::with_room(many);
    slots.extend_with(0, many);
    slots
}

/// What the slot of an entry has.
fn of(hash: u32, at: usize) -> u64 {
    u64::from(hash) << 32 | (at as u64 + 1)
}

#[inline]
fn place(slots: &mut [u64], hash: u32, at: usize) {
    let mask = slots.len() - 1;
    let mut place = hash as usize & mask;
    while slots.get(place).is_some_and(|slot| *slot != 0) {
        place = (place + 1) & mask;
    }
    if let Some(slot) = slots.get_mut(place) {
        *slot = of(hash, at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn entries_are_found_until_they_are_removed() {
        // Few different hashes, so that all lie behind one another.
        let hash = |at: usize| (at as u32 % 5) * 0x1357_9bdf;
        let mut index = Index::new();
        let mut there = BTreeSet::new();
        for at in 0..40 {
            index.place(hash(at), at);
            there.insert(at);
        }
        index.grow();
        for at in (0..40).filter(|at| at % 3 == 1) {
            index.remove(hash(at), at);
            there.remove(&at);
        }
        index.renumber(hash(39), 39, 44);
        there.remove(&39);
        there.insert(44);
        for at in 0..50 {
            let found = index.find(hash(at), |found| found == at);
            assert_eq!(found, there.contains(&at).then_some(at), "{at}");
        }
    }
}
