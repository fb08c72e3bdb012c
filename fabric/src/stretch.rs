//! A stretch of datagrams that goes on for ever: what a sender that must be fast sends from memory.
//!
//! Each turn through the stretch moves all sequence numbers, pools and uptimes on by what the stretch has of them, so
//! that a collector sees agents that go on, and none that restarts or repeats itself.

use std::collections::HashMap;
use std::ops::Range;

/// A number of 32 bits in a datagram, and what a turn adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Where it is, bytes from the datagram's begin: a multiple of four.
    pub offset: u32,
    /// What a turn adds to it.
    pub add: u32,
}

/// A stretch of datagrams, and where in it the sender is.
#[derive(Clone, Debug)]
pub struct Stretch {
    datagrams: Vec<Vec<u8>>,
    /// Those of all datagrams, one after another.
    moving: Vec<Moving>,
    /// Where those of a datagram end.
    ends: Vec<usize>,
    next: usize,
    turned: bool,
}

/// First and last of a number that grows over the stretch, and where it is: datagram and offset.
#[derive(Default)]
struct Span {
    first: u32,
    last: u32,
    /// What it grows by when the stretch has it only once.
    step: u32,
    places: Vec<(usize, u32)>,
}

/// Whose number: address and sub-agent, then of what (uptime, datagrams, or kind of sample and number of it) and
/// the data source.
type Whose = (Vec<u8>, u32, [u8; 8]);

/// A number that grows: whose, where, and by how much it grows at least.
type Growing = (Whose, usize, u32);

impl Stretch {
    /// A stretch of these datagrams of sFlow v5. What in them cannot be read does not move.
    pub fn new(datagrams: Vec<Vec<u8>>) -> Self {
        let mut spans: HashMap<Whose, Span> = HashMap::new();
        let mut found = Vec::new();
        for (number, bytes) in datagrams.iter().enumerate() {
            found.clear();
            // A datagram that ends early has the numbers before its end.
            let _ = numbers(bytes, &mut found);
            for (whose, offset, step) in found.drain(..) {
                let Some(value) = word(bytes, offset) else { continue };
                let span = spans.entry(whose).or_default();
                if span.places.is_empty() {
                    (span.first, span.step) = (value, step);
                }
                span.last = value;
                span.places.push((number, offset as u32));
            }
        }
        let mut placed = Vec::new();
        for span in spans.into_values() {
            // The next turn begins one step after the last of this one.
            let whole = span.last.wrapping_sub(span.first);
            let step = u32::try_from(span.places.len() - 1).ok().and_then(|steps| whole.checked_div(steps));
            let add = whole.wrapping_add(step.unwrap_or(span.step).max(1));
            placed.extend(span.places.iter().map(|&(datagram, offset)| (datagram, Moving { offset, add })));
        }
        placed.sort_unstable_by_key(|(datagram, moving)| (*datagram, moving.offset));
        let ends =
            (0..datagrams.len()).map(|n| placed.partition_point(|(datagram, _)| *datagram <= n)).collect();
        let moving = placed.into_iter().map(|(_, moving)| moving).collect();
        Self { datagrams, moving, ends, next: 0, turned: false }
    }

    /// Datagrams in it.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// All datagrams as they stand now, each with what moves in it.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], &[Moving])> {
        self.datagrams.iter().enumerate().map(|(n, bytes)| (bytes.as_slice(), self.moving_of(n)))
    }

    fn moving_of(&self, n: usize) -> &[Moving] {
        self.moving.get(self.range(n)).unwrap_or_default()
    }

    /// Where in `moving` those of a datagram are.
    fn range(&self, n: usize) -> Range<usize> {
        let end_of = |n| self.ends.get(n).copied().unwrap_or(0);
        n.checked_sub(1).map_or(0, end_of)..end_of(n)
    }

    /// Gives the next `count` datagrams, which lie one after another, to `send`: fewer where the stretch ends.
    pub fn next(&mut self, count: usize, send: impl FnOnce(&[&[u8]])) {
        if self.next == self.datagrams.len() {
            (self.next, self.turned) = (0, true);
        }
        let end = (self.next + count).min(self.datagrams.len());
        if self.turned {
            for n in self.next..end {
                self.turn(n);
            }
        }
        let some: Vec<&[u8]> =
            self.datagrams.get(self.next..end).unwrap_or_default().iter().map(Vec::as_slice).collect();
        send(&some);
        self.next = end;
    }

    /// Moves the numbers of a datagram on.
    fn turn(&mut self, n: usize) {
        let range = self.range(n);
        let moving = self.moving.get(range).unwrap_or_default();
        let Some(bytes) = self.datagrams.get_mut(n) else { return };
        for Moving { offset, add } in moving {
            if let Some(place) = bytes.get_mut(*offset as usize..).and_then(|rest| rest.first_chunk_mut()) {
                *place = u32::from_be_bytes(*place).wrapping_add(*add).to_be_bytes();
            }
        }
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// Finds the offsets of all numbers that grow: sequence numbers, pools, uptimes. sFlow v5 is read by hand here, because
/// a decoder gives values and not their places. `None` where the datagram ends before it should.
fn numbers(bytes: &[u8], found: &mut Vec<Growing>) -> Option<()> {
    let address = if word(bytes, 4)? == 1 { 4 } else { 16 };
    let agent = bytes.get(8..8 + address)?.to_vec();
    let mut at = 8 + address;
    let sub_agent = word(bytes, at)?;
    let whose = |of: u8, source: [u8; 7]| {
        let mut what = [of; 8];
        what.get_mut(1..)?.copy_from_slice(&source);
        Some((agent.clone(), sub_agent, what))
    };
    found.push((whose(1, [0; 7])?, at + 4, 1));
    found.push((whose(2, [0; 7])?, at + 8, 1));
    let samples = word(bytes, at + 12)?;
    at += 16;
    for _ in 0..samples {
        let (tag, length, body) = (word(bytes, at)?, word(bytes, at + 4)? as usize, at + 8);
        let expanded = tag == 3 || tag == 4;
        let rest = body + if expanded { 12 } else { 8 };
        // Of an expanded data source the class is small, and its low byte is enough.
        let mut source = [0; 7];
        let low = bytes.get(rest.checked_sub(7)?.max(body + 4)..rest)?;
        source.get_mut(7 - low.len()..)?.copy_from_slice(low);
        let kind = (tag as u8 & 7) * 2 + 4;
        if (1..=4).contains(&tag) {
            found.push((whose(kind, source)?, body, 1));
        }
        if tag == 1 || tag == 3 {
            // The rate stands before the pool, and is what one sample adds to it.
            found.push((whose(kind + 1, source)?, rest + 4, word(bytes, rest)?));
        }
        at = body.checked_add(length)?;
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use decode::{Datagram, Sample};

    use super::*;
    use crate::mix::{Mix, datagrams};

    /// Three turns: every agent counts its datagrams, every data source its samples and its pool.
    #[test]
    fn all_numbers_go_on() {
        let mix = Mix { agents: 4, ports: 3, ..Mix::default() };
        let all = datagrams(&mix, |count, _| count < 50);
        let mut stretch = Stretch::new(all);
        assert_eq!((stretch.len(), stretch.is_empty()), (50, false));
        let mut next: BTreeMap<String, u32> = BTreeMap::new();
        let mut expect = |whose: String, number: u32, step: u32| {
            let expected = next.insert(whose.clone(), number.wrapping_add(step)).unwrap_or(step);
            assert_eq!(number, expected, "{whose}");
        };
        let mut given = 0;
        while given < 150 {
            // A turn ends within a call.
            stretch.next(7, |some| {
                given += some.len();
                for bytes in some {
                    let datagram = Datagram::parse(bytes).unwrap();
                    let agent = datagram.header.agent;
                    expect(format!("{agent:?}"), datagram.header.sequence, 1);
                    for sample in datagram.samples() {
                        let Ok(Sample::Flow(sample)) = sample else { panic!("{sample:?}") };
                        expect(format!("{agent:?} {:?}", sample.source), sample.sequence, 1);
                        expect(format!("{agent:?} {:?} pool", sample.source), sample.sample_pool, 1000);
                    }
                }
            });
        }
        assert_eq!(given, 150);
    }

    #[test]
    fn what_cannot_be_read_does_not_move() {
        let whole = datagrams(&Mix::default(), |count, _| count < 1).pop().unwrap();
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap().to_vec();
            let mut stretch = Stretch::new(vec![cut.clone(), vec![0xff; length]]);
            for _ in 0..3 {
                stretch.next(2, |some| assert_eq!(some.len(), 2));
            }
            let moved = stretch.datagrams().next().unwrap().1.len();
            assert_eq!(moved == 0, length < 20, "{length}");
        }
    }
}
