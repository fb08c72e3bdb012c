//! Events that were seen lately: after a lost stream the engine tells its last ones again.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use docker::{Event, EventTime};

/// How many events are remembered. An engine keeps 256.
const REMEMBERED: usize = 1_024;

/// How far before the last event the next stream begins, nanoseconds: events of two containers may come in another order
/// than they happened.
const OVERLAP_NS: u64 = 1_000_000_000;

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<u64>,
    seen: HashSet<u64>,
    last: Option<EventTime>,
}

impl Recent {
    /// Remembers an event; false when it was there already.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        self.at_least(event.time);
        let mut hasher = DefaultHasher::new();
        event.id.hash(&mut hasher);
        event.time.hash(&mut hasher);
        std::mem::discriminant(&event.action).hash(&mut hasher);
        let key = hasher.finish();
        if !self.seen.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// A time up to which nothing is wanted again.
    pub(super) fn at_least(&mut self, time: EventTime) {
        self.last = self.last.max(Some(time));
    }

    /// From when on the next stream is to tell.
    pub(super) fn since(&self) -> Option<EventTime> {
        self.last.map(|last| EventTime::from_nanos(last.as_nanos().saturating_sub(OVERLAP_NS)))
    }
}
