//! Live flows of one definition: how much per second, smoothed with a time constant.
//!
//! Every packet adds `V / t` to its entry, and entries decay with `exp(-dt / t)`. Decay is forward: what is added is
//! scaled up by the time since a landmark, so that entries need no touching as time passes, and a reading is scaled
//! down once. The landmark moves, and all entries with it, before the scale grows out of bounds.
//!
//! Entries hold key and value together, see [`super::entries`]; lanes hold what a definition needs beside. An index of one
//! word per slot finds them, see [`super::index`]. Updates are collected and made 64 at a time: the index is prefetched
//! when an update comes, and all entries are found in it and prefetched before the first is updated, so that the misses of
//! a batch overlap.

use std::sync::Arc;

use ahash::RandomState;

use super::entries::Entries;
use super::hash::WordHash;
use super::index::Index;
use super::lanes::Lanes;
use super::measure::Mode;
use super::owners::Owners;
use super::plan::FlowPlan;
use super::texts::Texts;
use crate::outbox::FlowRecord;

/// Time constants after which the landmark moves: e^300 times any value is far from what a double can hold.
const LONGEST_SCALE: f64 = 300.0;

/// Entries that have decayed to this much per second are forgotten.
const NEGLIGIBLE: f64 = 1e-3;

/// Updates that are made together.
const BATCH: usize = 64;

/// Entries among which the smallest gives way.
const WINDOW: usize = 16;

/// Entries that a tick looks at, at most: it must not keep datagrams waiting.
const SWEEP: usize = 32_768;

/// What a table shares with the others of its shard, and where it says what happened.
#[derive(Debug)]
pub struct Context<'c> {
    /// Texts of keys.
    pub texts: &'c mut Texts,
    /// Owners of entries.
    pub owners: &'c mut Owners,
    /// Flow records.
    pub records: &'c mut Vec<FlowRecord>,
    /// Flows that rose above a limit.
    pub hits: &'c mut Vec<Hit>,
}

/// A limit on the value of every flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Whose it is: the caller's number.
    pub id: u32,
    /// What is above it is a hit.
    pub value: f64,
    /// Whether each flow counts, and not only its owner.
    pub by_flow: bool,
}

/// A flow is above a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Whose limit.
    pub id: u32,
    /// Whose flow.
    pub owner: u32,
    /// The flow: a hash of its key, 0 where the limit is not by flow.
    pub flow: u64,
    /// Its value.
    pub value: f64,
    /// Its further values.
    pub values: Vec<f64>,
    /// Its key in portable form.
    pub key: Box<[u8]>,
}

/// The live flows of one definition.
#[derive(Debug)]
pub struct FlowTable {
    /// The definition.
    pub plan: Arc<FlowPlan>,
    name: Arc<str>,
    t_us: f64,
    landmark_us: u64,
    index: Index,
    entries: Entries,
    lanes: Lanes,
    /// Updates, each the words of an entry with its weight as the value; the first ones are those that wait.
    pending: Vec<u64>,
    /// For each update frames and measures.
    beside: Vec<u64>,
    waiting: usize,
    /// What a packet adds to its entry, and for which moment that holds.
    gain: (u64, f64),
    has_texts: bool,
    hash: WordHash,
    hasher: RandomState,
    most_bytes: usize,
    /// Where the next entry to give way is looked for.
    hand: usize,
    /// Where the next tick goes on looking.
    swept: usize,
    /// Limits on values.
    pub limits: Vec<Limit>,
    /// Entries that gave way to others.
    pub evicted: u64,
}

/// An update that is being made.
#[derive(Debug)]
pub(crate) struct Draft<'d> {
    /// The key.
    pub(crate) key: &'d mut [u64],
    /// The bits of the measures.
    pub(crate) measures: &'d mut [u64],
    head: &'d mut u64,
    weight: &'d mut u64,
    frames: &'d mut u64,
    hash: &'d WordHash,
    lanes: &'d Lanes,
}

impl Draft<'_> {
    /// Says whose packet it is and for how many frames it stands, for [`FlowTable::take`]; key and measures are there.
    #[inline]
    pub(crate) fn finish(self, owner: u32, frames: f64) -> u32 {
        *self.frames = frames.to_bits();
        *self.weight = self.lanes.weight(frames, self.measures).to_bits();
        let owner = u64::from(owner) << 32;
        let hash = self.hash.of(owner, self.key);
        *self.head = owner | u64::from(hash);
        hash
    }
}

impl FlowTable {
    /// An empty table of at most `most_bytes`.
    pub fn new(name: Arc<str>, plan: Arc<FlowPlan>, most_bytes: usize, now_us: u64) -> Self {
        let width = 2 + plan.layout.words();
        Self {
            name,
            t_us: plan.spec.t * 1e6,
            landmark_us: now_us,
            index: Index::new(),
            entries: Entries::new(width),
            lanes: Lanes::new(&plan),
            pending: vec![0; BATCH * width],
            beside: vec![0; BATCH * (1 + plan.measures.len())],
            waiting: 0,
            gain: (u64::MAX, 0.0),
            has_texts: plan.layout.has_texts(),
            hash: WordHash::new(),
            hasher: RandomState::new(),
            most_bytes,
            hand: 0,
            swept: 0,
            limits: Vec::new(),
            evicted: 0,
            plan,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What index and entries take, bytes.
    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.len() * self.entry_bytes() + self.lanes.distinct_bytes()
    }

    fn entry_bytes(&self) -> usize {
        (self.entries.width() + self.lanes.stride()) * 8
    }

    /// The keyed hash of the process, for measures that count different values.
    pub fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Takes the packet of an owner: its key, whose texts are counted on its behalf, for how many frames it stands, and
    /// the bits of its measures. It is in the table after [`FlowTable::flush`] at the latest.
    #[inline(always)]
    pub fn push(
        &mut self,
        owner: u32,
        key: &[u64],
        frames: f64,
        measures: &[u64],
        now_us: u64,
        context: &mut Context<'_>,
    ) {
        let Some(draft) = self.draft() else { return };
        match (&mut *draft.key, key) {
            // Most keys. Words that come in registers are stored one by one: to copy them, as a call would, they had to be
            // in memory, where what was just stored in two parts cannot be loaded as one for a while.
            ([a, b], [first, second]) => (*a, *b) = (*first, *second),
            (place, key) => place.iter_mut().zip(key).for_each(|(place, word)| *place = *word),
        }
        draft.measures.iter_mut().zip(measures).for_each(|(place, bits)| *place = *bits);
        let hash = draft.finish(owner, frames);
        self.take(hash, now_us, context);
    }

    /// Where the next packet is written before [`FlowTable::take`].
    #[inline]
    pub(crate) fn draft(&mut self) -> Option<Draft<'_>> {
        let (width, measures) = (self.entries.width(), self.plan.measures.len());
        let update = self.pending.get_mut(self.waiting * width..(self.waiting + 1) * width)?;
        let (weight, rest) = update.split_last_mut()?;
        let (head, key) = rest.split_first_mut()?;
        let begins = self.waiting * (1 + measures);
        let (frames, measures) = self.beside.get_mut(begins..=begins + measures)?.split_first_mut()?;
        Some(Draft { head, key, weight, frames, measures, hash: &self.hash, lanes: &self.lanes })
    }

    /// Takes the packet that was drafted, which has this hash.
    #[inline]
    pub(crate) fn take(&mut self, hash: u32, now_us: u64, context: &mut Context<'_>) {
        self.index.prefetch(hash);
        self.waiting += 1;
        if self.waiting == BATCH {
            self.flush(now_us, context);
        }
    }

    /// Makes all updates that wait.
    pub fn flush(&mut self, now_us: u64, context: &mut Context<'_>) {
        if self.waiting == 0 {
            return;
        }
        if self.scale(now_us) > LONGEST_SCALE {
            self.move_landmark(now_us);
        }
        if self.gain.0 != now_us {
            self.gain = (now_us, self.scale(now_us).exp() / (self.t_us / 1e6));
        }
        let (pending, beside) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.beside));
        // The widths that most definitions have are known when this is compiled: the loops over words are gone there.
        match self.entries.width() {
            3 => self.make(3, &pending, &beside, now_us, context),
            4 => self.make(4, &pending, &beside, now_us, context),
            5 => self.make(5, &pending, &beside, now_us, context),
            7 => self.make(7, &pending, &beside, now_us, context),
            width => self.make(width, &pending, &beside, now_us, context),
        }
        (self.pending, self.beside) = (pending, beside);
    }

    /// Makes the first `waiting` updates, of `width` words each.
    #[inline(always)]
    fn make(
        &mut self,
        width: usize,
        pending: &[u64],
        beside: &[u64],
        now_us: u64,
        context: &mut Context<'_>,
    ) {
        let waiting = std::mem::take(&mut self.waiting);
        let gain = self.gain.1;
        let plain = !self.has_texts && self.lanes.stride() == 0 && self.limits.is_empty();
        let updates = || pending.get(..waiting * width).unwrap_or_default().chunks_exact(width);
        // The slots of the hashes are near by now; they say where the entries are, in nearly all cases.
        let mut found = [usize::MAX; BATCH];
        for (update, found) in updates().zip(&mut found) {
            let entry = update.first().and_then(|head| self.index.find(*head as u32, |_| true));
            if let Some(entry) = entry {
                self.entries.prefetch(width, entry);
                self.lanes.prefetch(entry);
                *found = entry;
            }
        }
        for (place, (update, found)) in updates().zip(found).enumerate() {
            let weight = update.last().map_or(0.0, |weight| f64::from_bits(*weight));
            let is_there = self.entries.add_if_same(width, found, update, weight * gain);
            if is_there && plain {
                continue;
            }
            let (at, is_there) =
                if is_there { (found, true) } else { self.add(update, weight * gain, context) };
            if !plain {
                let measures = self.plan.measures.len();
                let beside = beside.get(place * (1 + measures)..).unwrap_or_default();
                self.add_beside(at, is_there, update, beside, now_us, context);
            }
        }
    }

    /// Adds to the value of an entry that is to be looked for: where it is, and whether it was there.
    #[inline(never)]
    fn add(&mut self, words: &[u64], more: f64, context: &mut Context<'_>) -> (usize, bool) {
        let entries = &self.entries;
        match self.index.find(hash(words), |at| entries.is_same(at, words)) {
            Some(at) => {
                self.entries.add_if_same(self.entries.width(), at, words, more);
                (at, true)
            }
            None => (self.insert(words, more, context), false),
        }
    }

    /// What an update does beside adding to a value.
    fn add_beside(
        &mut self,
        at: usize,
        was_there: bool,
        words: &[u64],
        beside: &[u64],
        now_us: u64,
        context: &mut Context<'_>,
    ) {
        if was_there && self.has_texts {
            // The key is there already: what this one counted is given back.
            self.plan.layout.release(key(words), context.texts);
        }
        let Some((frames, measures)) = beside.split_first() else { return };
        if self.lanes.stride() > 0 {
            let opened = self.lanes.add(at, f64::from_bits(*frames), self.gain.1, measures, now_us);
            if opened && self.plan.spec.flow_start {
                self.record(at, now_us, context);
            }
        }
        if !self.limits.is_empty() {
            self.check(at, now_us, context);
        }
    }

    fn insert(&mut self, words: &[u64], value: f64, context: &mut Context<'_>) -> usize {
        let needed = self.bytes() + self.entry_bytes();
        let grows = self.index.is_full(self.len()) && needed + self.index.bytes() <= self.most_bytes;
        let fits = needed <= self.most_bytes && (grows || self.len() < self.index.most());
        if !fits && !self.is_empty() {
            self.evict(context);
        } else if grows {
            self.index.grow();
        }
        let at = self.len();
        let most = self.most_bytes / self.entry_bytes() + 1;
        self.entries.push(words, value, most);
        self.lanes.push(most);
        context.owners.hold(owner(words));
        self.index.place(hash(words), at);
        at
    }

    /// The smallest of the next few entries gives way. Values of one table are scaled alike, so they compare as they are.
    fn evict(&mut self, context: &mut Context<'_>) {
        if self.hand >= self.len() {
            self.hand = 0;
        }
        let window = (self.hand..).zip(self.entries.values(self.hand)).take(WINDOW);
        let Some((at, _)) = window.min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return };
        self.hand += WINDOW;
        self.remove(at, context);
        self.evicted += 1;
    }

    /// Takes an entry away; the last one moves to its place. A flow that is being recorded ends with its record.
    fn remove(&mut self, at: usize, context: &mut Context<'_>) {
        if self.lanes.is_open(at) && !self.plan.spec.flow_start {
            self.record(at, 0, context);
        }
        let Some(words) = self.entries.get(at) else { return };
        self.plan.layout.release(key(words), context.texts);
        context.owners.release(owner(words));
        self.index.remove(hash(words), at);
        let last = self.len() - 1;
        if last != at
            && let Some(moved) = self.entries.get(last)
        {
            self.index.renumber(hash(moved), last, at);
        }
        self.entries.swap_remove(at);
        self.lanes.swap_remove(at);
    }

    fn scale(&self, now_us: u64) -> f64 {
        now_us.saturating_sub(self.landmark_us) as f64 / self.t_us
    }

    /// What a stored value is scaled by to be read now.
    pub(crate) fn decay(&self, now_us: u64) -> f64 {
        (-self.scale(now_us)).exp()
    }

    fn move_landmark(&mut self, now_us: u64) {
        let decay = self.decay(now_us);
        self.landmark_us = now_us;
        self.gain.0 = u64::MAX;
        self.entries.rescale(decay);
        self.lanes.rescale(decay);
    }

    /// Forgets what has decayed away and flushes the flows whose time is over: a part of a large table at a time.
    pub fn tick(&mut self, now_us: u64, context: &mut Context<'_>) {
        if self.scale(now_us) > LONGEST_SCALE / 2.0 {
            self.move_landmark(now_us);
        }
        let negligible = NEGLIGIBLE / self.decay(now_us);
        let timeout_us = (self.plan.spec.active_timeout * 1e6) as u64;
        for _ in 0..self.len().min(SWEEP) {
            if self.swept >= self.len() {
                self.swept = 0;
            }
            let at = self.swept;
            if self.lanes.is_over(at, now_us, timeout_us) {
                if !self.plan.spec.flow_start {
                    self.record(at, now_us, context);
                }
                self.lanes.close(at);
            }
            let gone = self.entries.value(at) < negligible;
            // A flow that is being recorded stays until its time is over.
            if gone && !self.lanes.is_open(at) {
                self.remove(at, context);
            } else {
                self.swept += 1;
            }
        }
    }

    /// Ends all flows: those that are being recorded with their records.
    pub fn end(&mut self, context: &mut Context<'_>) {
        while let Some(last) = self.len().checked_sub(1) {
            self.remove(last, context);
        }
    }

    /// Records a flow. `now_us` matters for values that are no totals.
    fn record(&self, at: usize, now_us: u64, context: &mut Context<'_>) {
        let Some((number, key)) = self.entry(at) else { return };
        let Some(owner) = context.owners.owner(number) else { return };
        let (start_us, end_us) = self.lanes.times(at);
        let decay = self.decay(now_us.max(end_us));
        let mut totals = (0..self.plan.measures.len()).map(|measure| match self.lanes.total(at, measure) {
            Some(total) => total,
            None => self.reading(at, measure, decay, now_us.max(end_us)),
        });
        context.records.push(FlowRecord {
            plan: Arc::clone(&self.plan),
            name: Arc::clone(&self.name),
            owner: owner.clone(),
            key: self.plan.layout.portable(key, context.texts),
            value: totals.next().unwrap_or(0.0),
            values: totals.collect(),
            start_us,
            end_us,
        });
    }

    fn check(&self, at: usize, now_us: u64, context: &mut Context<'_>) {
        let value = self.reading(at, 0, self.decay(now_us), now_us);
        let Some((owner, key)) = self.entry(at) else { return };
        for limit in self.limits.iter().filter(|limit| value > limit.value) {
            let flow = if limit.by_flow { self.hasher.hash_one(key) | 1 } else { 0 };
            let known = context
                .hits
                .iter_mut()
                .rev()
                .find(|hit| (hit.id, hit.owner, hit.flow) == (limit.id, owner, flow));
            match known {
                Some(hit) => hit.value = value,
                None => context.hits.push(Hit {
                    id: limit.id,
                    owner,
                    flow,
                    value,
                    values: self.further(at, self.decay(now_us), now_us),
                    key: self.plan.layout.portable(key, context.texts),
                }),
            }
        }
    }

    /// How long a value of the first measure stays above a limit when nothing more comes, microseconds.
    pub fn stays_above_us(&self, value: f64, limit: f64) -> u64 {
        let rate = self.plan.measures.first().is_some_and(|measure| measure.mode == Mode::Rate);
        if rate && limit > 0.0 { (self.t_us * (value / limit).ln()).max(0.0) as u64 } else { 0 }
    }

    /// The owner and key of an entry.
    pub(crate) fn entry(&self, at: usize) -> Option<(u32, &[u64])> {
        let words = self.entries.get(at)?;
        Some((owner(words), key(words)))
    }

    /// The entries. Their values scale alike; they are those of the first measure when it is a rate.
    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The value of a measure of an entry.
    pub(crate) fn reading(&self, at: usize, measure: usize, decay: f64, now_us: u64) -> f64 {
        let value = self.entries.value(at) * decay;
        self.lanes.reading(at, measure, value, decay, now_us)
    }

    /// The values of all measures of an entry but the first.
    pub(crate) fn further(&self, at: usize, decay: f64, now_us: u64) -> Vec<f64> {
        (1..self.plan.measures.len()).map(|measure| self.reading(at, measure, decay, now_us)).collect()
    }

    /// The entry of an owner and a key.
    pub(crate) fn lookup(&self, owner: u32, key: &[u64]) -> Option<usize> {
        let mut words = vec![u64::from(owner) << 32];
        words.extend(key.iter().take(self.plan.layout.words()));
        let (head, key) = words.split_first_mut()?;
        *head |= u64::from(self.hash.of(*head, key));
        self.index.find(hash(&words), |at| self.entries.is_same(at, &words))
    }
}

fn hash(words: &[u64]) -> u32 {
    words.first().map_or(0, |word| *word as u32)
}

fn owner(words: &[u64]) -> u32 {
    words.first().map_or(0, |word| (*word >> 32) as u32)
}

/// The key among the words of an entry.
fn key(words: &[u64]) -> &[u64] {
    words.get(1..words.len() - 1).unwrap_or_default()
}
