//! The hash by which a table finds its entries.
//!
//! Keys are the sender's to choose, so the hash is keyed, by process and table. A hash that takes one word after another
//! waits for a multiplication per word; here those of all pairs of words are independent, and are added up (NH, of
//! UMAC, RFC 4418 section 5.2, in 64-bit words): two keys collide with a probability that the sender cannot change.

use ahash::RandomState;

use super::layout::MOST_WORDS;

/// A keyed hash of some words, at most one for the owner and those of a key.
#[derive(Debug)]
pub(crate) struct WordHash {
    /// For the end, for the first word with the one that has no other, and for each pair of words.
    keys: Box<[[u64; 2]; PAIRS + 1]>,
}

/// Pairs of words at most.
const PAIRS: usize = MOST_WORDS / 2 + 1;

impl WordHash {
    /// A hash with a key of its own.
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let mut keys = Box::new([[0; 2]; PAIRS + 1]);
        keys.iter_mut().flatten().enumerate().for_each(|(place, key)| *key = random.hash_one(place));
        Self { keys }
    }

    /// The hash of a first word and those that follow.
    #[inline]
    pub(crate) fn of(&self, first: u64, words: &[u64]) -> u32 {
        let [[k, l], [m, n], keys @ ..] = &*self.keys;
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let (pairs, odd) = words.as_chunks::<2>();
        let last = odd.first().copied().unwrap_or_default();
        let mut sum = product(first.wrapping_add(*m), last.wrapping_add(*n));
        for ([a, b], [k, l]) in pairs.iter().zip(keys) {
            sum = sum.wrapping_add(product(a.wrapping_add(*k), b.wrapping_add(*l)));
        }
        let end = product(sum as u64 ^ k, (sum >> 64) as u64 ^ l);
        ((end as u64 ^ (end >> 64) as u64) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_a_little_are_spread_evenly() {
        let hash = WordHash::new();
        for length in [1, 2, 3, 9] {
            for place in 0..length {
                let mut counts = [0_u32; 256];
                for n in 0..65_536_u64 {
                    let mut words = vec![7; length];
                    words[place] = n << 16;
                    counts[hash.of(words[0], &words[1..]) as usize % 256] += 1;
                }
                // 256 in each on average, with a standard deviation of 16.
                assert!(
                    counts.iter().all(|count| (160..360).contains(count)),
                    "{length} {place}: {counts:?}"
                );
            }
        }
    }
}
