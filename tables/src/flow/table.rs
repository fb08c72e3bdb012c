//! Live flows of one definition: how much per second, smoothed with a time constant.
//!
//! Every packet adds `V / t` to its entry, and entries decay with `exp(-dt / t)`. Decay is forward: what is added is
//! scaled up by the time since a landmark, so that entries need no touching as time passes, and a reading is scaled
//! down once. The landmark moves, and all entries with it, before the scale grows out of bounds.
//!
//! Entries are dense columns: words (owner, hash and key), values, and lanes for what a definition needs beside its
//! value. An index of one word per slot, open addressing with linear probing, finds them. Updates are collected and
//! made 64 at a time: the index is prefetched when an update comes, its entry before the updates are made, so that
//! the misses of a batch overlap. Values in a column of their own make the largest of a million flows a scan of
//! eight megabytes.

use std::sync::Arc;

use ahash::RandomState;

use super::hash::WordHash;
use super::lanes::Lanes;
use super::measure::Mode;
use super::owners::Owners;
use super::plan::FlowPlan;
use super::texts::Texts;
use crate::mem;
use crate::outbox::FlowRecord;

/// Time constants after which the landmark moves: e^300 times any value is far from what a double can hold.
const LONGEST_SCALE: f64 = 300.0;

/// Entries that have decayed to this much per second are forgotten.
const NEGLIGIBLE: f64 = 1e-3;

/// Updates that are made together.
const BATCH: usize = 64;

/// Entries among which the smallest gives way: two cache lines of values.
const WINDOW: usize = 16;

/// Entries that a tick looks at, at most: it must not keep datagrams waiting.
const SWEEP: usize = 32_768;

/// Slots of the smallest index.
const SMALLEST_INDEX: usize = 64;

/// An index of fewer slots is kept half empty, because it costs next to nothing: an entry is then found in its first slot or
/// the one behind, where in an index that is nearly full a dozen are looked at.
const ROOMY_INDEX: usize = 1 << 16;

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
    /// Words of an entry: owner and hash, then the key.
    stride: usize,
    /// Words of an update: those of an entry, frames, the measures.
    width: usize,
    index: Vec<u64>,
    words: Vec<u64>,
    values: Vec<f64>,
    lanes: Lanes,
    /// Updates, each the words of an entry, frames, the measures; the first ones are those that wait.
    pending: Vec<u64>,
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
    hash: &'d WordHash,
}

impl Draft<'_> {
    /// Says whose packet it is and for how many frames it stands, for [`FlowTable::take`]; key and measures are there.
    #[inline]
    pub(crate) fn finish(self, owner: u32, frames: f64) -> u32 {
        *self.weight = frames.to_bits();
        let owner = u64::from(owner) << 32;
        let hash = self.hash.of(owner, self.key);
        *self.head = owner | u64::from(hash);
        hash
    }
}

impl FlowTable {
    /// An empty table of at most `most_bytes`.
    pub fn new(name: Arc<str>, plan: Arc<FlowPlan>, most_bytes: usize, now_us: u64) -> Self {
        Self {
            name,
            t_us: plan.spec.t * 1e6,
            landmark_us: now_us,
            stride: 1 + plan.layout.words(),
            width: 2 + plan.layout.words() + plan.measures.len(),
            index: vec![0; SMALLEST_INDEX],
            words: Vec::new(),
            values: Vec::new(),
            lanes: Lanes::new(&plan),
            pending: vec![0; BATCH * (2 + plan.layout.words() + plan.measures.len())],
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
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What index and entries take, bytes.
    pub fn bytes(&self) -> usize {
        self.index.len() * 8 + self.len() * self.entry_bytes() + self.lanes.distinct_bytes()
    }

    fn entry_bytes(&self) -> usize {
        (self.stride + 1 + self.lanes.stride()) * 8
    }

    /// The keyed hash of the process, for measures that count different values.
    pub fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Takes the packet of an owner: its key, whose texts are counted on its behalf, for how many frames it stands, and
    /// the bits of its measures. It is in the table after [`FlowTable::flush`] at the latest.
    #[inline]
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
        draft.key.iter_mut().zip(key).for_each(|(place, word)| *place = *word);
        draft.measures.iter_mut().zip(measures).for_each(|(place, bits)| *place = *bits);
        let hash = draft.finish(owner, frames);
        self.take(hash, now_us, context);
    }

    /// Where the next packet is written before [`FlowTable::take`].
    #[inline]
    pub(crate) fn draft(&mut self) -> Option<Draft<'_>> {
        let begins = self.waiting * self.width;
        let (head, rest) = self.pending.get_mut(begins..begins + self.width)?.split_first_mut()?;
        let (key, rest) = rest.split_at_mut_checked(self.stride - 1)?;
        let (weight, measures) = rest.split_first_mut()?;
        Some(Draft { head, key, weight, measures, hash: &self.hash })
    }

    /// Takes the packet that was drafted, which has this hash.
    #[inline]
    pub(crate) fn take(&mut self, hash: u32, now_us: u64, context: &mut Context<'_>) {
        mem::prefetch(&self.index, hash as usize & (self.index.len() - 1));
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
        let gain = self.gain.1;
        let pending = std::mem::take(&mut self.pending);
        let width = self.width;
        let updates = || pending.chunks_exact(width).take(self.waiting);
        for head in updates().filter_map(|update| update.first()) {
            // The slot of the hash is near by now; it says where the entry is, in nearly all cases.
            let slot = self.index.get(*head as u32 as usize & (self.index.len() - 1));
            if let Some(entry) = slot.and_then(|slot| (*slot as u32 as usize).checked_sub(1)) {
                mem::prefetch(&self.words, entry * self.stride);
                // An entry may reach into another cache line.
                mem::prefetch(&self.words, (entry + 1) * self.stride - 1);
                mem::prefetch(&self.values, entry);
                self.lanes.prefetch(entry);
            }
        }
        for update in pending.chunks_exact(width).take(std::mem::take(&mut self.waiting)) {
            let (entry, rest) = update.split_at(self.stride);
            self.update(entry, rest, gain, now_us, context);
        }
        self.pending = pending;
    }

    #[inline]
    fn update(&mut self, words: &[u64], rest: &[u64], gain: f64, now_us: u64, context: &mut Context<'_>) {
        let at = match self.find(words) {
            Some(at) => {
                // The key is there already: what this one counted is given back.
                if self.has_texts {
                    self.plan.layout.release(words.get(1..).unwrap_or_default(), context.texts);
                }
                at
            }
            None => self.insert(words, context),
        };
        let Some((frames, measures)) = rest.split_first() else { return };
        let frames = f64::from_bits(*frames);
        let first = self.lanes.weight(frames, measures);
        if let Some(value) = self.values.get_mut(at) {
            *value += first * gain;
        }
        if self.lanes.stride() > 0 {
            let opened = self.lanes.add(at, frames, gain, measures, now_us);
            if opened && self.plan.spec.flow_start {
                self.record(at, now_us, context);
            }
        }
        if !self.limits.is_empty() {
            self.check(at, now_us, context);
        }
    }

    /// The entry with these words.
    #[inline]
    fn find(&self, words: &[u64]) -> Option<usize> {
        let hash = *words.first()? as u32;
        let mask = self.index.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let slot = *self.index.get(place)?;
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let at = slot as u32 as usize - 1;
                let entry = self.words.get(at * self.stride..(at + 1) * self.stride).unwrap_or_default();
                // All words are compared: few entries with the same hash are others, and a call would cost more.
                let differs = words.iter().zip(entry).fold(0, |differs, (a, b)| differs | (a ^ b));
                if differs == 0 && entry.len() == words.len() {
                    return Some(at);
                }
            }
            place = (place + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, words: &[u64], context: &mut Context<'_>) -> usize {
        let slots = self.index.len();
        let most = slots / 8 * 7;
        let needed = self.bytes() + self.entry_bytes();
        let grows = self.len() >= if slots < ROOMY_INDEX { slots / 2 } else { most }
            && needed + slots * size_of::<u64>() <= self.most_bytes;
        let fits = needed <= self.most_bytes && (grows || self.len() < most);
        if !fits && !self.is_empty() {
            self.evict(context);
        } else if grows {
            self.grow_index();
        }
        let at = self.len();
        let most = self.most_bytes / self.entry_bytes() + 1;
        mem::grow(&mut self.words, self.stride, most * self.stride);
        self.words.extend_from_slice(words);
        mem::grow(&mut self.values, 1, most);
        self.values.push(0.0);
        self.lanes.push(most);
        context.owners.hold(owner(words));
        place(&mut self.index, word(words), at);
        at
    }

    fn grow_index(&mut self) {
        let length = self.index.len() * 2;
        let mut larger = mem::roomy(length);
        larger.resize(length, 0);
        for slot in self.index.iter().filter(|slot| **slot != 0) {
            place(&mut larger, slot >> 32, *slot as u32 as usize - 1);
        }
        self.index = larger;
    }

    /// The smallest of the next few entries gives way. Values of one table are scaled alike, so they compare as they are.
    fn evict(&mut self, context: &mut Context<'_>) {
        if self.hand >= self.len() {
            self.hand = 0;
        }
        let window = self.values.iter().enumerate().skip(self.hand).take(WINDOW);
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
        let Some(words) = self.words.get(at * self.stride..(at + 1) * self.stride) else { return };
        self.plan.layout.release(words.get(1..).unwrap_or_default(), context.texts);
        context.owners.release(owner(words));
        let hash = word(words) as u32;
        let last = self.len() - 1;
        self.unplace(hash, at);
        if last != at {
            let moved = self.words.get(last * self.stride).map_or(0, |word| *word as u32);
            if let Some(slot) = self.slot_of(moved, last)
                && let Some(slot) = self.index.get_mut(slot)
            {
                *slot = u64::from(moved) << 32 | (at as u64 + 1);
            }
            self.words.copy_within(last * self.stride.., at * self.stride);
        }
        self.words.truncate(last * self.stride);
        self.values.swap_remove(at);
        self.lanes.swap_remove(at);
    }

    fn slot_of(&self, hash: u32, at: usize) -> Option<usize> {
        let mask = self.index.len() - 1;
        let wanted = u64::from(hash) << 32 | (at as u64 + 1);
        let mut place = hash as usize & mask;
        loop {
            match *self.index.get(place)? {
                0 => return None,
                slot if slot == wanted => return Some(place),
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Empties the slot of an entry, and moves those behind it up that would not be found otherwise.
    fn unplace(&mut self, hash: u32, at: usize) {
        let mask = self.index.len() - 1;
        let Some(mut hole) = self.slot_of(hash, at) else { return };
        let mut next = (hole + 1) & mask;
        while let Some(&slot) = self.index.get(next).filter(|slot| **slot != 0) {
            let home = (slot >> 32) as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                if let Some(place) = self.index.get_mut(hole) {
                    *place = slot;
                }
                hole = next;
            }
            next = (next + 1) & mask;
        }
        if let Some(place) = self.index.get_mut(hole) {
            *place = 0;
        }
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
        self.values.iter_mut().for_each(|value| *value *= decay);
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
            let gone = self.values.get(at).is_none_or(|value| *value < negligible);
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
        let words = self.words.get(at * self.stride..(at + 1) * self.stride)?;
        Some((owner(words), words.get(1..)?))
    }

    /// The words of all entries, and how many an entry has: owner and hash, then the key.
    pub(super) fn words(&self) -> (&[u64], usize) {
        (&self.words, self.stride)
    }

    /// The value of a measure of an entry.
    pub(crate) fn reading(&self, at: usize, measure: usize, decay: f64, now_us: u64) -> f64 {
        let value = self.values.get(at).copied().unwrap_or(0.0) * decay;
        self.lanes.reading(at, measure, value, decay, now_us)
    }

    /// The values of all measures of an entry but the first.
    pub(crate) fn further(&self, at: usize, decay: f64, now_us: u64) -> Vec<f64> {
        (1..self.plan.measures.len()).map(|measure| self.reading(at, measure, decay, now_us)).collect()
    }

    /// The stored values, which scale alike; they are those of the first measure when it is a rate.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// The entry of an owner and a key.
    pub(crate) fn lookup(&self, owner: u32, key: &[u64]) -> Option<usize> {
        let mut words = vec![u64::from(owner) << 32];
        words.extend(key.iter().take(self.stride - 1));
        let (head, key) = words.split_first_mut()?;
        *head |= u64::from(self.hash.of(*head, key));
        self.find(&words)
    }
}

fn word(words: &[u64]) -> u64 {
    words.first().map_or(0, |word| *word & u64::from(u32::MAX))
}

fn owner(words: &[u64]) -> u32 {
    words.first().map_or(0, |word| (*word >> 32) as u32)
}

/// Puts an entry into the first free slot from that of its hash on; there is one.
#[inline]
fn place(index: &mut [u64], hash: u64, at: usize) {
    let mask = index.len() - 1;
    let mut place = hash as usize & mask;
    while index.get(place).is_some_and(|slot| *slot != 0) {
        place = (place + 1) & mask;
    }
    if let Some(slot) = index.get_mut(place) {
        *slot = hash << 32 | (at as u64 + 1);
    }
}
