//! Which containers are to be inspected: a few at once, the others wait in order, each at most once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use docker::Id;

/// Questions about containers.
#[derive(Debug)]
pub(super) struct Inspects {
    at_once: usize,
    order: VecDeque<Id>,
    waiting: BTreeSet<Id>,
    /// With the number of inputs that the tracker had had when it asked.
    asked: BTreeMap<Id, u64>,
}

impl Inspects {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, order: VecDeque::new(), waiting: BTreeSet::new(), asked: BTreeMap::new() }
    }

    /// Wants an answer that is newer than this moment.
    pub(super) fn want(&mut self, id: Id) {
        if self.waiting.insert(id) {
            self.order.push_back(id);
        }
    }

    /// The next one to be asked, when there is room. One that is being asked already waits for that answer first.
    pub(super) fn next(&mut self, inputs: u64) -> Option<Id> {
        if self.asked.len() >= self.at_once {
            return None;
        }
        let at = self.order.iter().position(|id| !self.asked.contains_key(id))?;
        let id = self.order.remove(at)?;
        self.waiting.remove(&id);
        self.asked.insert(id, inputs);
        Some(id)
    }

    /// The answer has come: how many inputs there had been when it was asked for.
    pub(super) fn answered(&mut self, id: &Id) -> Option<u64> {
        self.asked.remove(id)
    }

    /// Whether it is being asked, since before so many inputs.
    pub(super) fn is_asked_before(&self, id: &Id, inputs: u64) -> bool {
        self.asked.get(id).is_some_and(|asked_at| *asked_at < inputs)
    }

    /// Whether it waits to be asked.
    pub(super) fn is_wanted(&self, id: &Id) -> bool {
        self.waiting.contains(id)
    }
}
