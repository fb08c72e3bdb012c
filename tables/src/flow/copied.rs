//! All flows of a table, copied: a shard is asked to add up what its data sources have of each flow, and that takes
//! longer than datagrams can wait. It copies its columns; the asking thread finds equal keys, adds up, and makes text.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use super::active::{Asked, NOTHING};
use super::atom::key_text;
use super::measure::Mode;
use super::plan::{ActiveFlow, FlowPlan};
use super::table::FlowTable;
use super::texts::Texts;
use crate::mem::Array;
use crate::owner::Owner;

/// The flows of one table as they stood at one moment.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    plan: Arc<FlowPlan>,
    /// Of each flow: the owner's number in the upper half of a word, then the words of its key, and its stored value.
    words: Array<u64>,
    /// Of each flow the value of every measure; nothing where the stored values are these.
    values: Array<f64>,
    /// What stored values are to be multiplied by.
    scale: f64,
    /// The owners by number.
    owners: Vec<Option<Owner>>,
    texts: CopiedTexts,
}

/// The texts that copied keys hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct CopiedTexts {
    /// One behind the other.
    all: String,
    /// Where each is, by number: begin and length.
    places: Vec<(u32, u8)>,
}

impl CopiedTexts {
    /// Copies the text of a number, unless it is there already.
    fn take(&mut self, id: u32, texts: &Texts) {
        if let Some(place @ (_, 0)) = self.places.get_mut(id as usize) {
            let text = texts.text(id);
            // The texts of a shard are bounded far below 4 GiB, and each is at most 255 bytes.
            *place = (self.all.len() as u32, text.len() as u8);
            self.all.push_str(text);
        }
    }

    /// The text of a number.
    fn text(&self, id: u32) -> &str {
        let (begins, length) = self.places.get(id as usize).copied().unwrap_or_default();
        self.all.get(begins as usize..begins as usize + usize::from(length)).unwrap_or_default()
    }
}

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        self.plan.spec == other.plan.spec
            && (&*self.words, &*self.values, self.scale) == (&*other.words, &*other.values, other.scale)
            && (&self.owners, &self.texts) == (&other.owners, &other.texts)
    }
}

impl FlowTable {
    /// The flows of the owners that are `wanted` (by number; all when `None`).
    pub(super) fn copied(&self, wanted: Option<&[bool]>, asked: Asked<'_>) -> Copied {
        let decay = self.decay(asked.now_us);
        let measures = self.plan.measures.len();
        let plain = measures == 1 && self.plan.measures.first().is_some_and(|m| m.mode == Mode::Rate);
        let (all, width) = (self.entries().words(), self.entries().width());
        let (mut words, mut values);
        if wanted.is_none() && plain {
            words = Array::with_room(all.len());
            words.extend_from_slice(all);
            values = Array::new();
        } else {
            let is_wanted = |at: &usize| self.is_wanted(*at, wanted);
            let flows = if wanted.is_none() { self.len() } else { (0..self.len()).filter(is_wanted).count() };
            words = Array::with_room(flows * width);
            values = Array::with_room(flows * measures);
            for at in (0..self.len()).filter(is_wanted) {
                words.extend_from_slice(self.entries().get(at).unwrap_or_default());
                let reading = |measure| self.reading(at, measure, decay, asked.now_us);
                (0..measures).map(reading).for_each(|value| values.push(value));
            }
        }
        let mut texts = CopiedTexts::default();
        if self.plan.layout.has_texts() {
            texts.places = vec![(0, 0); asked.texts.numbers()];
            for entry in words.chunks_exact(width) {
                let key = entry.get(1..width - 1).unwrap_or_default();
                self.plan.layout.texts(key, |id| texts.take(id, asked.texts));
            }
        }
        Copied {
            plan: Arc::clone(&self.plan),
            words,
            values,
            scale: decay,
            owners: asked.owners.copied(),
            texts,
        }
    }
}

/// One flow, added up.
#[derive(Debug)]
struct Row<'c> {
    /// Where its key is.
    key: std::ops::Range<usize>,
    /// Whose value is the largest.
    owner: &'c Owner,
    /// That value.
    largest: f64,
}

/// Flows by key.
#[derive(Debug, Default)]
struct Rows<'c> {
    rows: Vec<Row<'c>>,
    /// Of each row the values of all measures.
    values: Vec<f64>,
    /// The keys in portable form, one behind the other.
    keys: Vec<u8>,
    by_key: HashTable<u32>,
    hasher: RandomState,
}

impl<'c> Rows<'c> {
    /// Adds what one data source has of a flow, whose key is what `keys` has from `begins` on.
    fn add(&mut self, begins: usize, owner: &'c Owner, values: &[f64], modes: &[Mode]) {
        let Self { rows, values: sums, keys, by_key, hasher } = self;
        let first = values.first().copied().unwrap_or(0.0);
        let key_of = |row: u32| rows.get(row as usize).and_then(|row| keys.get(row.key.clone()));
        let key = keys.get(begins..);
        let hash = key.map_or(0, |key| hasher.hash_one(key));
        let Some(&found) = by_key.find(hash, |row| key_of(*row) == key) else {
            let Ok(number) = u32::try_from(rows.len()) else { return };
            rows.push(Row { key: begins..keys.len(), owner, largest: first });
            sums.extend_from_slice(values);
            let hash_of = |row: &u32| {
                let key = rows.get(*row as usize).and_then(|row| keys.get(row.key.clone()));
                key.map_or(0, |key| hasher.hash_one(key))
            };
            by_key.insert_unique(hash, number, hash_of);
            return;
        };
        keys.truncate(begins);
        let mine = sums.get_mut(found as usize * modes.len()..).unwrap_or_default();
        for ((mine, theirs), mode) in mine.iter_mut().zip(values).zip(modes) {
            *mine = mode.add(*mine, *theirs);
        }
        let Some(row) = rows.get_mut(found as usize) else { return };
        // Of equal values that of the lower owner, so that the order of shards does not matter.
        if first.total_cmp(&row.largest).then_with(|| row.owner.cmp(owner)).is_gt() {
            (row.largest, row.owner) = (first, owner);
        }
    }
}

/// The largest flows of several shards, at most `most` of at least `least`, largest first.
pub(super) fn largest(copies: &[Copied], most: usize, least: f64, separator: &str) -> Vec<ActiveFlow> {
    let Some(plan) = copies.first().map(|copied| &copied.plan) else { return Vec::new() };
    let modes: Vec<Mode> = plan.measures.iter().map(|measure| measure.mode).collect();
    let mut rows = Rows::default();
    let mut values = Vec::with_capacity(modes.len());
    // Shards may be between two definitions for a moment: what is measured in another way cannot be added.
    for copied in copies.iter().filter(|copied| copied.plan.spec == plan.spec) {
        let mut of_flows = copied.values.chunks_exact(modes.len().max(1));
        for words in copied.words.chunks_exact(2 + copied.plan.layout.words()) {
            let [head, key @ .., stored] = words else { continue };
            values.clear();
            match of_flows.next() {
                Some(of_flow) => values.extend_from_slice(of_flow),
                None => values.push(f64::from_bits(*stored) * copied.scale),
            }
            let owner = copied.owners.get((head >> 32) as usize).and_then(Option::as_ref);
            let Some(owner) = owner.filter(|_| values.first().is_some_and(|value| *value >= NOTHING)) else {
                continue;
            };
            let begins = rows.keys.len();
            copied.plan.layout.append_portable(key, |id| copied.texts.text(id), &mut rows.keys);
            rows.add(begins, owner, &values, &modes);
        }
    }
    let Rows { rows, values, keys, .. } = rows;
    let value = |row: usize| values.get(row * modes.len()).copied().unwrap_or(0.0);
    let mut found: Vec<usize> = (0..rows.len()).filter(|row| value(*row) >= least).collect();
    let key_of = |row: usize| rows.get(row).and_then(|row| keys.get(row.key.clone())).unwrap_or_default();
    let order =
        |a: &usize, b: &usize| value(*b).total_cmp(&value(*a)).then_with(|| key_of(*a).cmp(key_of(*b)));
    if found.len() > most && most > 0 {
        found.select_nth_unstable_by(most - 1, order);
    }
    found.truncate(most);
    found.sort_unstable_by(order);
    let flow = |at: usize| {
        let further = values.get(at * modes.len()..(at + 1) * modes.len())?.get(1..)?.to_vec();
        let (row, key) = (rows.get(at)?, key_text(key_of(at), separator));
        Some(ActiveFlow { owner: row.owner.clone(), key, value: value(at), values: further })
    };
    found.into_iter().filter_map(flow).collect()
}
