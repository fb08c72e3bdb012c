//! What a policy remembers: which numbers were wished for, and which changes were made. Both are bounded.

use std::collections::VecDeque;
use std::time::Duration;

/// Wishes that are remembered at most; with more in a window the oldest count as one with the next.
const MOST_WISHES: usize = 4096;

/// Changes that are remembered at most; more within a period than that are refused.
const MOST_CHANGES: usize = 4096;

/// The numbers of replicas that were wished for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// When, and how many, the oldest first.
    wishes: VecDeque<(Duration, u64)>,
    /// When the first one was noted since the last gap.
    began: Option<Duration>,
}

impl Wishes {
    /// Notes a wish, and forgets those that are older than `window`.
    pub(crate) fn note(&mut self, now: Duration, wish: u64, window: Duration) {
        self.began.get_or_insert(now);
        while self.wishes.front().is_some_and(|(at, _)| now.saturating_sub(*at) > window) {
            self.wishes.pop_front();
        }
        if self.wishes.len() == MOST_WISHES {
            self.wishes.pop_front();
        }
        self.wishes.push_back((now, wish));
    }

    /// The least and the most that was wished for within the window, and whether the window is full.
    pub(crate) fn within(&self, now: Duration, window: Duration) -> Option<(u64, u64, bool)> {
        let inside =
            || self.wishes.iter().filter(|(at, _)| now.saturating_sub(*at) <= window).map(|(_, wish)| *wish);
        let full = self.began.is_some_and(|began| now.saturating_sub(began) >= window);
        Some((inside().min()?, inside().max()?, full))
    }

    /// There was no data: what was wished for before says nothing of what came between.
    pub(crate) fn gap(&mut self) {
        self.wishes.clear();
        self.began = None;
    }
}

/// The changes that were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// When, and by how many, the oldest first.
    changes: VecDeque<(Duration, i64)>,
    /// When the last one was.
    last: Option<Duration>,
}

impl Changes {
    /// Notes a change.
    pub(crate) fn note(&mut self, now: Duration, from: u64, to: u64) {
        self.last = Some(now);
        if self.changes.len() == MOST_CHANGES {
            self.changes.pop_front();
        }
        let by = i128::from(to) - i128::from(from);
        self.changes.push_back((now, by.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64));
    }

    /// Since the last change; `None` when there was none.
    pub(crate) fn since_last(&self, now: Duration) -> Option<Duration> {
        self.last.map(|last| now.saturating_sub(last))
    }

    /// How many replicas may still be started (`up`) or stopped within the period.
    pub(crate) fn room(&mut self, now: Duration, up: bool, rate: u64, period: Duration) -> u64 {
        while self.changes.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= period) {
            self.changes.pop_front();
        }
        if self.changes.len() == MOST_CHANGES {
            return 0;
        }
        let used = self.changes.iter().filter(|(_, by)| (*by > 0) == up).map(|(_, by)| by.unsigned_abs());
        rate.saturating_sub(used.fold(0, u64::saturating_add))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_has_least_and_most_and_is_full_in_time() {
        let mut wishes = Wishes::default();
        for (at, wish) in [(0, 5), (10, 2), (20, 9)] {
            wishes.note(S * at, wish, S * 30);
        }
        assert_eq!(wishes.within(S * 20, S * 30), Some((2, 9, false)));
        assert_eq!(wishes.within(S * 20, S * 10), Some((2, 9, true)));
        assert_eq!(wishes.within(S * 20, Duration::ZERO), Some((9, 9, true)));
        wishes.gap();
        assert_eq!(wishes.within(S * 20, S * 30), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut wishes, mut changes) = (Wishes::default(), Changes::default());
        for at in 0..3 * MOST_WISHES as u32 {
            wishes.note(S * at, 1, Duration::MAX);
            changes.note(S * at, 1, 2);
        }
        assert_eq!(wishes.wishes.len(), MOST_WISHES);
        assert_eq!(changes.changes.len(), MOST_CHANGES);
        assert_eq!(changes.room(S * 3 * MOST_WISHES as u32, true, u64::MAX, Duration::MAX), 0);
    }

    #[test]
    fn room_comes_back_with_time() {
        let mut changes = Changes::default();
        changes.note(S, 1, 4);
        changes.note(S * 2, 4, 2);
        assert_eq!(changes.room(S * 3, true, 5, S * 60), 2);
        assert_eq!(changes.room(S * 3, false, 5, S * 60), 3);
        assert_eq!(changes.room(S * 61, true, 5, S * 60), 5);
        assert_eq!(changes.since_last(S * 5), Some(S * 3));
    }
}
