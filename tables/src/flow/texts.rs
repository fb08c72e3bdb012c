//! Texts that keys hold, each once per shard: a key has the number of its text. A text is freed with the last key
//! that holds it, and its number is used again.

use ahash::RandomState;
use hashbrown::HashTable;

use super::atom::cut;

/// What a text costs beside its bytes.
const TEXT_BYTES: usize = 48;

/// A text and how many keys hold it.
#[derive(Debug)]
struct Entry {
    text: Box<str>,
    holders: u32,
}

/// The texts of a shard's keys.
#[derive(Debug)]
pub struct Texts {
    entries: Vec<Entry>,
    by_text: HashTable<u32>,
    free: Vec<u32>,
    hasher: RandomState,
    bytes: usize,
    most_bytes: usize,
    /// Texts that found no room: their packets were left out.
    pub refused: u64,
}

impl Texts {
    /// No texts yet, and room for this many bytes of them.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            entries: Vec::new(),
            by_text: HashTable::new(),
            free: Vec::new(),
            hasher: RandomState::new(),
            bytes: 0,
            most_bytes,
            refused: 0,
        }
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// How many numbers there are, those that are free among them.
    pub(super) fn numbers(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// What they cost, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of a text, if a key holds it.
    pub fn find(&self, text: &str) -> Option<u32> {
        let text = cut(text);
        let found = self.by_text.find(self.hasher.hash_one(text), |id| self.text(*id) == text);
        found.copied()
    }

    /// The number of a text, which one more key holds from now on. `None` when there is no room.
    pub fn take(&mut self, text: &str) -> Option<u32> {
        let text = cut(text);
        if let Some(id) = self.find(text) {
            let entry = self.entries.get_mut(id as usize)?;
            entry.holders += 1;
            return Some(id);
        }
        if self.bytes + text.len() + TEXT_BYTES > self.most_bytes {
            self.refused += 1;
            return None;
        }
        let entry = Entry { text: text.into(), holders: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                *self.entries.get_mut(id as usize)? = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).ok()?
            }
        };
        self.bytes += text.len() + TEXT_BYTES;
        let Self { by_text, entries, hasher, .. } = self;
        let hash_of = |id: &u32| {
            let text: &str = entries.get(*id as usize).map_or("", |entry| &entry.text);
            hasher.hash_one(text)
        };
        by_text.insert_unique(hasher.hash_one(text), id, hash_of);
        Some(id)
    }

    /// One key fewer holds this text.
    pub fn release(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        entry.holders = entry.holders.saturating_sub(1);
        if entry.holders > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        if let Ok(found) = self.by_text.find_entry(self.hasher.hash_one(&*text), |known| *known == id) {
            found.remove();
            self.bytes -= text.len() + TEXT_BYTES;
            self.free.push(id);
        }
    }

    /// The text of a number that a key holds.
    pub fn text(&self, id: u32) -> &str {
        self.entries.get(id as usize).map_or("", |entry| &entry.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_text_lives_as_long_as_its_keys() {
        let mut texts = Texts::new(2 * (TEXT_BYTES + 5));
        let (a, b) = (texts.take("a").unwrap(), texts.take("b").unwrap());
        assert_eq!((texts.take("a"), texts.text(a), texts.text(b)), (Some(a), "a", "b"));
        assert_eq!((texts.take("c"), texts.refused), (None, 1));
        texts.release(a);
        assert_eq!(texts.find("a"), Some(a));
        texts.release(a);
        assert_eq!((texts.find("a"), texts.len()), (None, 1));
        assert_eq!(texts.take("c"), Some(a), "the number is used again");
        texts.release(a);
        texts.release(b);
        assert_eq!((texts.bytes(), texts.is_empty()), (0, true));
    }
}
