//! How a feed stands: its list, its age, and what became of its readings. Times are arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ip_network::IpNetwork;
use serde_json::{Value as Json, json};

use super::accept::{Change, Reject};
use crate::clock::stamp;

/// How many periods old a list may be before that is told.
const LATE_AFTER: u32 = 3;

/// How a feed stands; monotonic times are since one fixed moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// The list in use, in its order, each prefix once.
    pub(super) networks: Arc<Vec<IpNetwork>>,
    /// Addresses of IPv4, networks of 64 bits of IPv6.
    pub(super) covered: (u64, f64),
    /// Entries of the list in use that were not taken, by reason.
    pub(super) rejected: BTreeMap<Reject, usize>,
    pub(super) duplicates: usize,
    pub(super) host_bits: usize,
    pub(super) unparsed: usize,
    pub(super) change: Change,
    /// When the list was last seen to be what the feed gives, and how old it was then; `None` without a list.
    pub(super) confirmed: Option<(Duration, Duration)>,
    /// The same moment, milliseconds since 1970.
    pub(super) confirmed_ms: Option<u64>,
    /// Readings by what became of them: `taken`, `unchanged`, or why not.
    pub(super) readings: BTreeMap<&'static str, u64>,
    /// What became of the last one, in words, and when, milliseconds since 1970.
    pub(super) last: Option<(&'static str, String, u64)>,
    /// When it is read next.
    pub(super) next: Duration,
    /// Whether it was told that the list is old.
    pub(super) late: bool,
    /// Times that the list could not be written to the disk.
    pub(super) unsaved: u64,
    /// What building the set took when it was last swapped.
    pub(super) built_in: Duration,
}

/// What there is to tell about a list's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    AsBefore,
    BecameLate,
    FreshAgain,
}

impl Standing {
    /// How old the list is; without one, how long one has been waited for.
    pub(super) fn age(&self, now: Duration) -> Duration {
        self.confirmed.map_or(now, |(at, age)| age + now.saturating_sub(at))
    }

    /// Notes that the feed gave what is in use.
    pub(super) fn confirm(&mut self, now: Duration, now_ms: u64) {
        self.confirmed = Some((now, Duration::ZERO));
        self.confirmed_ms = Some(now_ms);
    }

    /// Counts a reading.
    pub(super) fn read(&mut self, label: &'static str, words: String, now_ms: u64) {
        *self.readings.entry(label).or_default() += 1;
        self.last = Some((label, words, now_ms));
    }

    /// Whether the last reading was no good.
    pub(super) fn failing(&self) -> bool {
        self.last.as_ref().is_some_and(|(label, ..)| !matches!(*label, "taken" | "unchanged"))
    }

    /// Whether the list has become old, or fresh again.
    pub(super) fn look(&mut self, now: Duration, period: Duration) -> Age {
        let late = self.age(now) >= period * LATE_AFTER;
        match (std::mem::replace(&mut self.late, late), late) {
            (false, true) => Age::BecameLate,
            (true, false) => Age::FreshAgain,
            _ => Age::AsBefore,
        }
    }

    /// As REST shows it.
    pub(super) fn json(&self, now: Duration) -> Json {
        let rejected: BTreeMap<&str, usize> =
            self.rejected.iter().map(|(reason, many)| (reason.label(), *many)).collect();
        let last = self
            .last
            .as_ref()
            .map(|(label, words, at_ms)| json!({ "status": label, "words": words, "at": stamp(*at_ms) }));
        json!({
            "entries": self.networks.len(),
            "coveredIPv4": self.covered.0,
            "coveredIPv6Of64": self.covered.1,
            "rejected": rejected,
            "duplicates": self.duplicates,
            "hostBits": self.host_bits,
            "unparsed": self.unparsed,
            "added": self.change.added,
            "removed": self.change.removed,
            "ageSeconds": self.confirmed.map(|_| self.age(now).as_secs()),
            "confirmed": self.confirmed_ms.map(stamp),
            "late": self.late,
            "readings": self.readings,
            "last": last,
            "nextSeconds": self.next.saturating_sub(now).as_secs(),
            "unsaved": self.unsaved,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_list_is_late_at_three_periods_and_that_is_told_once() {
        let mut standing = Standing::default();
        assert_eq!(standing.look(s(29), s(10)), Age::AsBefore);
        assert_eq!(standing.look(s(30), s(10)), Age::BecameLate, "one that never came is late too");
        assert_eq!(standing.look(s(31), s(10)), Age::AsBefore);
        standing.confirm(s(32), 0);
        assert_eq!(standing.look(s(32), s(10)), Age::FreshAgain);
        assert_eq!(standing.age(s(40)), s(8));
        // One from the disk was old already.
        standing.confirmed = Some((s(0), s(25)));
        assert_eq!(
            (standing.look(s(4), s(10)), standing.look(s(5), s(10))),
            (Age::AsBefore, Age::BecameLate)
        );
    }
}
