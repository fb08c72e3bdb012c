//! Thresholds at work: which metrics are above theirs, since when, and when they may be an event again.
//!
//! A metric that rises above its threshold is an event. It is an event again only after it has been at or below the
//! threshold for the time that the definition says. How long a flow stays above is known when it is seen there, because
//! flows decay by a law; a counter's metric stays where it is until the next sample.

use std::sync::Arc;

use ahash::{AHashSet, RandomState};
use hashbrown::HashMap;

use crate::program::Program;
use crate::threshold::Threshold;

/// Metrics above their thresholds at most; further ones are counted and make no event.
const MOST: usize = 100_000;

/// How long a data source that a filter leaves out is not asked again, microseconds.
const LEFT_OUT_US: u64 = 1_000_000;

/// A metric that was above its threshold and is not heard of for so long is forgotten, microseconds: longer than
/// counters are polled at.
const SILENT_US: u64 = 3_600_000_000;

/// Which metric: the number of the threshold, that of the owner, and a hash of the flow (0 for none).
pub(crate) type Watched = (u32, u32, u64);

/// How a metric stands to its threshold.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It was above at this moment, microseconds, and stays there until something says otherwise.
    Above(u64),
    /// It is above until this moment, microseconds.
    Until(u64),
    /// The filter leaves it out; ask again at this moment.
    LeftOut(u64),
}

/// What is known of a metric that is, or was, above its threshold.
#[derive(Clone, Copy, Debug)]
struct Known {
    state: State,
    /// A hash of the flow's key as text: what clients name it by, whether it is still in its table or not.
    key: u64,
}

/// A threshold of the program with the number that its states carry.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) threshold: Arc<Threshold>,
    /// Whether its metric is a flow, and is held against it as the flow grows.
    pub(crate) on_flow: bool,
}

/// The thresholds of a shard.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) thresholds: Vec<Numbered>,
    next: u32,
    states: HashMap<Watched, Known, RandomState>,
    /// Metrics that rose above a threshold when there was no room for more.
    pub(crate) refused: u64,
}

impl Watch {
    /// Takes the thresholds of a new program. An unchanged one keeps its number, and so what is known of it.
    pub(crate) fn adopt(&mut self, program: &Program) {
        let old = std::mem::take(&mut self.thresholds);
        for (name, threshold) in &program.thresholds {
            let kept = old.iter().find(|old| *old.name == **name && old.threshold == *threshold);
            let id = kept.map_or_else(
                || {
                    self.next += 1;
                    self.next
                },
                |kept| kept.id,
            );
            let on_flow = program.flows.contains_key(threshold.metric.name());
            let (name, threshold) = (name.as_str().into(), Arc::clone(threshold));
            self.thresholds.push(Numbered { id, name, threshold, on_flow });
        }
        let known: Vec<u32> = self.thresholds.iter().map(|numbered| numbered.id).collect();
        self.states.retain(|(id, ..), _| known.contains(id));
    }

    /// Whether a threshold is held against what counters and custom metrics say.
    pub(crate) fn is_on_counters(&self) -> bool {
        self.thresholds.iter().any(|numbered| !numbered.on_flow)
    }

    /// The threshold of a number.
    pub(crate) fn numbered(&self, id: u32) -> Option<&Numbered> {
        self.thresholds.iter().find(|numbered| numbered.id == id)
    }

    /// A metric is above its threshold: until `until_us`, or until further notice. Whether it has risen there; `passes`
    /// says whether the filter lets it through and is asked only then.
    pub(crate) fn above(
        &mut self,
        watched: Watched,
        until_us: Option<u64>,
        now_us: u64,
        passes: impl FnOnce() -> bool,
    ) -> bool {
        let state = until_us.map_or(State::Above(now_us), State::Until);
        if let Some(known) = self.states.get_mut(&watched) {
            match known.state {
                State::LeftOut(again_us) if now_us < again_us => return false,
                State::LeftOut(_) => {}
                State::Above(_) | State::Until(_) => {
                    known.state = state;
                    return false;
                }
            }
        }
        if self.states.len() >= MOST && !self.states.contains_key(&watched) {
            self.refused += 1;
            return false;
        }
        let rose = passes();
        let state = if rose { state } else { State::LeftOut(now_us + LEFT_OUT_US) };
        self.states.insert(watched, Known { state, key: 0 });
        rose
    }

    /// Notes the key of a flow that has risen.
    pub(crate) fn note_key(&mut self, watched: Watched, key: &str) {
        let hash = self.states.hasher().hash_one(key);
        if let Some(known) = self.states.get_mut(&watched) {
            known.key = hash;
        }
    }

    /// A metric is at or below its threshold.
    pub(crate) fn below(&mut self, watched: Watched, now_us: u64) {
        if let Some(Known { state: state @ State::Above(_), .. }) = self.states.get_mut(&watched) {
            *state = State::Until(now_us);
        }
    }

    /// Forgets those that have been below for long enough.
    pub(crate) fn tick(&mut self, now_us: u64) {
        let Self { thresholds, states, .. } = self;
        states.retain(|(id, ..), known| match &known.state {
            State::Above(seen_us) => now_us.saturating_sub(*seen_us) < SILENT_US,
            State::LeftOut(again_us) => now_us < *again_us,
            State::Until(until_us) => {
                let threshold = thresholds.iter().find(|numbered| numbered.id == *id);
                threshold.is_some_and(|t| now_us.saturating_sub(*until_us) < t.threshold.timeout_us.max(1))
            }
        });
    }

    /// The owners of whose metrics something is known: their numbers must stay theirs.
    pub(crate) fn owners(&self) -> AHashSet<u32> {
        self.states.keys().map(|(_, owner, _)| *owner).collect()
    }

    /// The threshold of this name whose metric a text names, and the data source that stands before the metric.
    pub(crate) fn named<'t>(&self, threshold: &str, text: &'t str) -> Option<(&Numbered, Option<&'t str>)> {
        let numbered = self.thresholds.iter().find(|numbered| *numbered.name == *threshold)?;
        let source = text.strip_suffix(numbered.threshold.metric.name())?;
        if source.is_empty() {
            Some((numbered, None))
        } else {
            Some((numbered, Some(source.strip_suffix('.')?)))
        }
    }

    /// Whether a metric of one of these owners is above its threshold, or has not been below it for long enough; of a
    /// threshold by flow the flow of this key, any flow when `None`.
    pub(crate) fn is_triggered(
        &self,
        numbered: &Numbered,
        mut owners: impl Iterator<Item = u32>,
        key: Option<&str>,
    ) -> bool {
        let is_up = |known: &Known| !matches!(known.state, State::LeftOut(_));
        if !numbered.threshold.by_flow {
            return owners.any(|owner| self.states.get(&(numbered.id, owner, 0)).is_some_and(is_up));
        }
        let owners: AHashSet<u32> = owners.collect();
        let key = key.map(|key| self.states.hasher().hash_one(key));
        self.states.iter().any(|((id, owner, _), known)| {
            *id == numbered.id
                && key.is_none_or(|key| key == known.key)
                && is_up(known)
                && owners.contains(owner)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::program::Change;
    use serde_json::json;

    fn watch(timeout: f64) -> Watch {
        let threshold = json!({"metric": "load_one", "value": 1, "timeout": timeout});
        let mut watch = Watch::default();
        let change = Change::Threshold("t".to_owned(), Some(threshold));
        watch.adopt(&Program::default().changed(change).unwrap());
        watch
    }

    #[test]
    fn an_event_again_only_after_the_time_below() {
        let mut watch = watch(5.0);
        let metric = (watch.thresholds[0].id, 7, 0);
        assert!(watch.above(metric, None, 1, || true));
        assert!(!watch.above(metric, None, 2, || true), "it is above already");
        watch.below(metric, 3_000_000);
        watch.tick(7_999_999);
        assert!(!watch.above(metric, None, 7_999_999, || true), "not long enough below");
        watch.below(metric, 8_000_000);
        watch.tick(13_000_000);
        assert!(!watch.is_triggered(&watch.thresholds[0], std::iter::once(7), None));
        assert!(watch.above(metric, Some(14_000_000), 13_000_000, || true));
        watch.tick(18_999_999);
        assert!(watch.is_triggered(&watch.thresholds[0], std::iter::once(7), None));
        watch.tick(19_000_000);
        assert!(!watch.is_triggered(&watch.thresholds[0], std::iter::once(7), None), "it fell by itself");
    }

    #[test]
    fn what_a_filter_leaves_out_is_asked_again_later() {
        let mut watch = watch(1.0);
        let metric = (watch.thresholds[0].id, 7, 0);
        assert!(!watch.above(metric, None, 0, || false));
        assert!(!watch.above(metric, None, LEFT_OUT_US - 1, || panic!("asked too soon")));
        assert!(watch.above(metric, None, LEFT_OUT_US, || true));
        assert!(watch.owners().contains(&7));
        watch.tick(LEFT_OUT_US + SILENT_US);
        assert!(watch.owners().is_empty(), "it is not heard of any more");
    }
}
