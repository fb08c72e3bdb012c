//! The entries of a flow table, one behind the other: each is a word with owner and hash, the words of its key, and its
//! value, so that an update needs one cache line of it where a key has up to twelve bytes.
//!
//! Values lie among keys, and yet the largest of a million flows are found without reading a million entries: for each
//! block of entries there is a bound that none of its values is above. Values that are removed leave it as it is: what is
//! added later is scaled up, and soon all of that is above what has gone.

use crate::mem::{self, Array};

/// Entries that have a bound together.
pub(super) const BLOCK: usize = 64;

/// A table's entries.
#[derive(Debug)]
pub(super) struct Entries {
    words: Array<u64>,
    /// Words of each.
    width: usize,
    len: usize,
    /// For each block what no value of it is above.
    bounds: Vec<f64>,
}

impl Entries {
    /// None yet, of so many words each.
    pub(super) fn new(width: usize) -> Self {
        Self { words: Array::new(), width, len: 0, bounds: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Words of each.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// All of them, one behind the other.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words of one.
    pub(super) fn get(&self, at: usize) -> Option<&[u64]> {
        self.words.get(at * self.width..(at + 1) * self.width)
    }

    /// Asks for the lines of an entry.
    #[inline(always)]
    pub(super) fn prefetch(&self, width: usize, at: usize) {
        mem::prefetch(&self.words, at * width);
        // It may reach into another cache line.
        mem::prefetch(&self.words, (at + 1) * width - 1);
    }

    /// Adds to the value of an entry if it has these words, of which the last one is not looked at; whether it has.
    /// `width` is that of all entries: where the caller knows it when it is compiled, nothing is left of the loop.
    #[inline(always)]
    pub(super) fn add_if_same(&mut self, width: usize, at: usize, words: &[u64], more: f64) -> bool {
        let begins = at.wrapping_mul(width);
        let Some(entry) = self.words.get_mut(begins..begins.wrapping_add(width)) else { return false };
        let (Some((value, own)), Some((_, words))) = (entry.split_last_mut(), words.split_last()) else {
            return false;
        };
        // All words are compared: few entries with the same hash are others, and a call would cost more.
        let differs = own.iter().zip(words).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 {
            return false;
        }
        let sum = f64::from_bits(*value) + more;
        *value = sum.to_bits();
        self.raise(at, sum);
        true
    }

    /// Whether an entry has these words; its value is not looked at.
    #[inline]
    pub(super) fn is_same(&self, at: usize, words: &[u64]) -> bool {
        self.get(at).is_some_and(|own| own.iter().zip(words).take(self.width - 1).all(|(a, b)| a == b))
    }

    /// A value of a block's is this now.
    #[inline]
    fn raise(&mut self, at: usize, value: f64) {
        if let Some(bound) = self.bounds.get_mut(at / BLOCK) {
            *bound = if value > *bound { value } else { *bound };
        }
    }

    /// Adds an entry with these words, of which the last one is not looked at, and this value. Room for more than `most`
    /// is made in small steps.
    pub(super) fn push(&mut self, words: &[u64], value: f64, most: usize) {
        self.words.grow(words.len(), most * self.width);
        self.words.extend_from_slice(words);
        if let Some(place) = self.words.last_mut() {
            *place = value.to_bits();
        }
        if self.len.is_multiple_of(BLOCK) {
            self.bounds.push(f64::MIN);
        }
        self.raise(self.len, value);
        self.len += 1;
    }

    /// Takes an entry away; the last one has its number then.
    pub(super) fn swap_remove(&mut self, at: usize) {
        let Some(last) = self.len.checked_sub(1) else { return };
        self.raise(at, self.value(last));
        self.words.copy_within(last * self.width.., at * self.width);
        self.words.truncate(last * self.width);
        self.len = last;
        self.bounds.truncate(last.div_ceil(BLOCK));
    }

    /// The stored value of an entry.
    #[inline]
    pub(super) fn value(&self, at: usize) -> f64 {
        self.words.get((at + 1) * self.width - 1).map_or(0.0, |value| f64::from_bits(*value))
    }

    /// The stored values from an entry on.
    pub(super) fn values(&self, from: usize) -> impl Iterator<Item = f64> + '_ {
        let words = self.words.get(from * self.width..).unwrap_or_default();
        words.chunks_exact(self.width).filter_map(<[u64]>::last).map(|value| f64::from_bits(*value))
    }

    /// Multiplies all values.
    pub(super) fn rescale(&mut self, by: f64) {
        for value in self.words.chunks_exact_mut(self.width).filter_map(<[u64]>::last_mut) {
            *value = (f64::from_bits(*value) * by).to_bits();
        }
        self.bounds.iter_mut().for_each(|bound| *bound *= by);
    }

    /// For each block what no value of it is above.
    pub(super) fn bounds(&self) -> &[f64] {
        &self.bounds
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to entries.
    #[derive(Clone, Debug)]
    enum Step {
        Push(f64),
        Add(prop::sample::Index, f64),
        Remove(prop::sample::Index),
        Rescale(f64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            6 => (-1e3..1e6).prop_map(Step::Push),
            6 => (at(), -1e3..1e6).prop_map(|(at, more)| Step::Add(at, more)),
            2 => at().prop_map(Step::Remove),
            1 => prop_oneof![Just(0.0), 1e-9..1.0].prop_map(Step::Rescale),
        ]
    }

    proptest! {
        #[test]
        fn entries_keep_words_and_values_and_no_value_is_above_its_bound(steps in prop::collection::vec(step(), 0..600)) {
            let mut entries = Entries::new(3);
            let mut known: Vec<([u64; 2], f64)> = Vec::new();
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Push(value) => {
                        entries.push(&[number, !number, 7], value, 100);
                        known.push(([number, !number], value));
                    }
                    Step::Add(at, more) if !known.is_empty() => {
                        let at = at.index(known.len());
                        let [head, key] = known[at].0;
                        prop_assert!(!entries.add_if_same(3, at, &[head, key ^ 1, 7], 1e9));
                        prop_assert!(entries.add_if_same(3, at, &[head, key, 7], more));
                        known[at].1 += more;
                    }
                    Step::Remove(at) if !known.is_empty() => {
                        let at = at.index(known.len());
                        entries.swap_remove(at);
                        known.swap_remove(at);
                    }
                    Step::Rescale(by) => {
                        entries.rescale(by);
                        known.iter_mut().for_each(|(_, value)| *value *= by);
                    }
                    Step::Add(..) | Step::Remove(_) => {}
                }
            }
            prop_assert_eq!(entries.len(), known.len());
            prop_assert_eq!(entries.bounds().len(), known.len().div_ceil(BLOCK));
            for (at, (words, value)) in known.iter().enumerate() {
                prop_assert!(entries.is_same(at, &[words[0], words[1], 8]));
                prop_assert_eq!(entries.value(at), *value);
                prop_assert!(entries.bounds()[at / BLOCK] >= *value);
            }
            let values: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
            prop_assert_eq!(entries.values(0).collect::<Vec<_>>(), values);
        }
    }
}
