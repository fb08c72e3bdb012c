//! Traffic of the simulated fabric that goes on for ever from memory: what a sender that must be fast sends.
//!
//! The fabric makes a stretch of it once. Each turn through the stretch moves all sequence numbers, pools and uptimes on
//! by what the stretch has of them, so that a collector sees agents that go on, and none that restarts or repeats
//! itself.

use std::collections::HashMap;

use fabric::{Fabric, FabricOptions};

/// A number in a datagram, and what a turn adds to it.
#[derive(Clone, Copy, Debug)]
struct Moving {
    datagram: u32,
    offset: u32,
    add: u32,
}

/// A stretch of datagrams, and where in it the sender is.
pub(crate) struct Traffic {
    datagrams: Vec<Vec<u8>>,
    /// By datagram.
    moving: Vec<Moving>,
    next: usize,
    /// The first number of the next datagram.
    next_moving: usize,
    turned: bool,
}

/// First and last of a number that grows over the stretch, how often it is there, and where.
#[derive(Default)]
struct Span {
    first: u32,
    last: u32,
    places: Vec<(u32, u32)>,
}

/// Whose number: address and sub-agent, then of what (uptime, datagrams, or kind of sample and number of it) and
/// the data source.
type Whose = (Vec<u8>, u32, [u8; 8]);

impl Traffic {
    /// A stretch of `count` datagrams of a fabric whose agents send full ones.
    pub(crate) fn of_fabric(count: usize) -> Self {
        let options = FabricOptions {
            spines: 4,
            leaves: 16,
            hosts: 256,
            flows: 20_000,
            rate: Some(20_000.0),
            ..FabricOptions::default()
        };
        let mut fabric = Fabric::new(&options).unwrap();
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        while datagrams.len() < count {
            fabric.step(fabric.now_us() + 100_000, &mut |_, bytes| datagrams.push(bytes.to_vec()));
        }
        datagrams.truncate(count);
        Self::new(datagrams)
    }

    fn new(datagrams: Vec<Vec<u8>>) -> Self {
        let mut spans: HashMap<Whose, Span> = HashMap::new();
        for (number, bytes) in datagrams.iter().enumerate() {
            for (whose, offset) in numbers(bytes) {
                let value = word(bytes, offset);
                let span = spans.entry(whose).or_default();
                if span.places.is_empty() {
                    span.first = value;
                }
                span.last = value;
                span.places.push((number as u32, offset as u32));
            }
        }
        let mut moving = Vec::new();
        for span in spans.into_values() {
            // The next turn begins one step after the last of this one.
            let steps = span.places.len() as u32;
            let whole = span.last.wrapping_sub(span.first);
            let add = whole + (whole / (steps - 1).max(1)).max(1);
            moving.extend(span.places.iter().map(|&(datagram, offset)| Moving { datagram, offset, add }));
        }
        moving.sort_by_key(|moving| moving.datagram);
        Self { datagrams, moving, next: 0, next_moving: 0, turned: false }
    }

    /// Gives the next `count` datagrams, which lie one after another, to `send`: fewer where the stretch ends.
    pub(crate) fn next(&mut self, count: usize, send: impl FnOnce(&[&[u8]])) {
        if self.next == self.datagrams.len() {
            (self.next, self.next_moving, self.turned) = (0, 0, true);
        }
        let end = (self.next + count).min(self.datagrams.len());
        while let Some(moving) = self.moving.get(self.next_moving).filter(|m| (m.datagram as usize) < end) {
            self.next_moving += 1;
            if self.turned {
                let bytes = &mut self.datagrams[moving.datagram as usize];
                let moved = word(bytes, moving.offset as usize).wrapping_add(moving.add);
                bytes[moving.offset as usize..][..4].copy_from_slice(&moved.to_be_bytes());
            }
        }
        let some: Vec<&[u8]> = self.datagrams[self.next..end].iter().map(Vec::as_slice).collect();
        send(&some);
        self.next = end;
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// The offsets of all numbers that grow: sequence numbers, pools, uptimes. sFlow v5 is read by hand here, because a
/// decoder gives values and not their places.
fn numbers(bytes: &[u8]) -> Vec<(Whose, usize)> {
    let address = if word(bytes, 4) == 1 { 4 } else { 16 };
    let agent = bytes[8..8 + address].to_vec();
    let mut at = 8 + address;
    let sub_agent = word(bytes, at);
    let whose = |of: u8, source: &[u8]| {
        let mut what = [0; 8];
        what[0] = of;
        // Of an expanded data source the class is small, and its low byte is enough.
        what[8 - source.len().min(7)..].copy_from_slice(&source[source.len().saturating_sub(7)..]);
        (agent.clone(), sub_agent, what)
    };
    let mut found = vec![(whose(1, &[]), at + 4), (whose(2, &[]), at + 8)];
    let samples = word(bytes, at + 12);
    at += 16;
    for _ in 0..samples {
        let (tag, length, body) = (word(bytes, at), word(bytes, at + 4) as usize, at + 8);
        let expanded = tag == 3 || tag == 4;
        let rest = body + if expanded { 12 } else { 8 };
        let kind = 4 + (tag as u8) * 2;
        if (1..=4).contains(&tag) {
            found.push((whose(kind, &bytes[body + 4..rest]), body));
        }
        if tag == 1 || tag == 3 {
            // The rate stands before the pool.
            found.push((whose(kind + 1, &bytes[body + 4..rest]), rest + 4));
        }
        at = body + length;
    }
    found
}
