//! Loss, duplicates and order from sequence numbers (promise I3).
//!
//! A window of 64 numbers behind the highest one remembers which have arrived, so that a late datagram takes back
//! the loss that its gap had counted, and a duplicate is counted once. A jump of more than 2^20 in either direction
//! is a new beginning, as is a restart that the caller knows of.

/// Numbers behind the highest one that are remembered.
const WINDOW: u32 = 64;

/// A larger jump is no loss but another stream.
const LARGEST_GAP: u32 = 1 << 20;

/// What has become of a stream of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Numbers that arrived, duplicates not among them.
    pub received: u64,
    /// Numbers that did not arrive.
    pub lost: u64,
    /// Numbers that arrived again.
    pub duplicates: u64,
    /// Numbers that arrived after a higher one.
    pub out_of_order: u64,
    /// Times that the stream began anew.
    pub resets: u64,
    highest: u32,
    /// Bit n says that `highest - n` has arrived.
    seen: u64,
    began: bool,
}

/// What a number means for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The stream begins, or begins anew.
    First,
    /// The next, or a later one.
    Next,
    /// One that was missing.
    Late,
    /// One that has arrived before.
    Duplicate,
}

impl Sequence {
    /// Takes the next number of the stream.
    #[inline]
    pub fn take(&mut self, number: u32) -> Arrival {
        if !self.began {
            self.begin(number);
            return Arrival::First;
        }
        let ahead = number.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(number);
        if ahead == 0 {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        if ahead <= LARGEST_GAP {
            self.lost += u64::from(ahead - 1);
            self.seen = if ahead < WINDOW { (self.seen << ahead) | 1 } else { 1 };
            self.highest = number;
            self.received += 1;
            return Arrival::Next;
        }
        if behind < WINDOW {
            let bit = 1_u64 << behind;
            if self.seen & bit != 0 {
                self.duplicates += 1;
                return Arrival::Duplicate;
            }
            self.seen |= bit;
            self.received += 1;
            self.out_of_order += 1;
            self.lost = self.lost.saturating_sub(1);
            return Arrival::Late;
        }
        self.resets += 1;
        self.begin(number);
        Arrival::First
    }

    /// The sender has begun anew: the next number is a first one.
    pub fn restart(&mut self) {
        if std::mem::take(&mut self.began) {
            self.resets += 1;
        }
    }

    fn begin(&mut self, number: u32) {
        self.began = true;
        self.highest = number;
        // What came before the first number is not known to be missing.
        self.seen = u64::MAX;
        self.received += 1;
    }

    /// Adds what another stream has counted.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.resets += other.resets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = u32>) -> Sequence {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.take(number);
        }
        sequence
    }

    #[test]
    fn gaps_are_lost_and_late_ones_found() {
        let sequence = after([10, 11, 14, 15]);
        assert_eq!((sequence.received, sequence.lost), (4, 2));
        let sequence = after([10, 11, 14, 15, 12]);
        assert_eq!((sequence.received, sequence.lost, sequence.out_of_order), (5, 1, 1));
    }

    #[test]
    fn duplicates_are_counted_once_and_change_nothing_else() {
        let sequence = after([1, 2, 2, 3, 1, 3]);
        assert_eq!((sequence.received, sequence.lost, sequence.duplicates), (3, 0, 3));
    }

    #[test]
    fn the_number_wraps() {
        let sequence = after([u32::MAX - 1, u32::MAX, 0, 2]);
        assert_eq!((sequence.received, sequence.lost, sequence.resets), (4, 1, 0));
    }

    #[test]
    fn a_fall_and_a_jump_are_new_beginnings() {
        let sequence = after([1000, 1001, 1, 2]);
        assert_eq!((sequence.received, sequence.lost, sequence.resets), (4, 0, 1));
        let sequence = after([5, 5 + LARGEST_GAP + 1]);
        assert_eq!((sequence.lost, sequence.resets), (0, 1));
        assert_eq!(after([5, 5 + LARGEST_GAP]).lost, u64::from(LARGEST_GAP) - 1);
    }

    #[test]
    fn a_known_restart_loses_nothing() {
        let mut sequence = after([7, 8]);
        sequence.restart();
        assert_eq!(sequence.take(20), Arrival::First);
        assert_eq!((sequence.lost, sequence.resets), (0, 1));
    }

    #[test]
    fn a_tenth_lost_at_random_is_counted_exactly() {
        let mut state = 1_u64;
        let mut sent = Vec::new();
        for number in 0..10_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if state >> 60 != 0 || number == 9_999 || number == 0 {
                sent.push(number);
            }
        }
        let sequence = after(sent.iter().copied());
        assert_eq!((sequence.received, sequence.lost), (sent.len() as u64, 10_000 - sent.len() as u64));
    }
}
