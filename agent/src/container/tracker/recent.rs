//! Events that were seen lately: after a lost stream the engine tells its last ones again. With them, how far the engine's
//! clock has come.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use docker::{Event, EventTime};

/// How many events are remembered. An engine keeps 256.
const REMEMBERED: usize = 1_024;

/// How far before the last event the next stream begins, nanoseconds: events of two containers may come in another order
/// than they happened.
const OVERLAP_NS: u64 = 1_000_000_000;

/// What is so much earlier than the last event was not late: the clock was set back, nanoseconds. More than the overlap, and
/// than the second to which an engine's own time is cut.
const SET_BACK_NS: u64 = 2_000_000_000;

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

    /// It is this time by the engine's clock, or a little later; gives whether the clock was set back since the last one.
    pub(super) fn is_set_back(&mut self, time: EventTime) -> bool {
        let set_back =
            self.last.is_some_and(|last| last.as_nanos().saturating_sub(time.as_nanos()) > SET_BACK_NS);
        self.last = if set_back { Some(time) } else { self.last.max(Some(time)) };
        set_back
    }

    /// From when on the next stream is to tell.
    pub(super) fn since(&self) -> Option<EventTime> {
        self.last.map(|last| EventTime::from_nanos(last.as_nanos().saturating_sub(OVERLAP_NS)))
    }
}
