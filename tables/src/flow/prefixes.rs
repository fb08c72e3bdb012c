//! Longest prefix match as the packet path does it: compiled once from all prefixes, never changed.
//!
//! Prefixes are first laid flat: disjoint ranges, each with the label of its longest prefix. IPv4 is then a bitmap
//! with one bit per /24 that says where the label changes, with running counts, so that a look-up is one word and at
//! most one more for the label; a /24 that has changes of its own points to a bitmap of its 256 addresses. A small set
//! begins with one bit per /16 instead, and stays small. In front of a large set that covers little, a blacklist say,
//! stands a filter with one bit per /22, small enough for a core's own cache: most addresses go no further. IPv6 is an
//! index of the leading bits, one of the bits that follow, and a binary search among the few ranges that begin there.

use std::net::{Ipv4Addr, Ipv6Addr};

use ip_network::IpNetwork;

use crate::mem::{self, Array, Ones};

/// A label's number: 0 is no label.
type Label = u32;

/// A value that is not a label: the place of the words of a slot that has changes of its own.
const SPLIT: u32 = 1 << 31;

/// Labels at most.
pub(crate) const MOST_LABELS: usize = SPLIT as usize - 1;

/// From so many ranges on an IPv4 set begins with one bit per /24, in 4 MiB.
const WIDE_FROM: usize = 8192;

/// Bits of an address below a bit of the filter.
const FILTER_SHIFT: u32 = 10;

/// The filter pays where at most one in so many of its bits is set.
const FILTER_SPARSE: usize = 8;

/// Leading bits of IPv6 addresses by which a large set is indexed first.
const V6_LEADING_BITS: u32 = 16;

/// Sets of prefixes, each with a label.
#[derive(Debug)]
pub(crate) struct Prefixes {
    filter: Filter,
    v4: Bitmap,
    v6: Ranges,
}

impl Prefixes {
    /// Compiles prefixes; of equal ones the last one counts.
    pub(crate) fn new(networks: impl Iterator<Item = (IpNetwork, Label)>) -> Self {
        let (mut v4, mut v6) = (Vec::with_capacity(networks.size_hint().0), Vec::new());
        for (network, label) in networks {
            match network {
                // First address and length in one number: sorting these is most of what a set costs.
                IpNetwork::V4(network) => {
                    let start = u64::from(network.network_address().to_bits());
                    v4.push((start << 8 | u64::from(network.netmask()), label));
                }
                IpNetwork::V6(network) => {
                    v6.push(((network.network_address().to_bits(), network.netmask()), label));
                }
            }
        }
        ordered(&mut v4);
        ordered(&mut v6);
        let v4 = flat(v4.into_iter().map(|(key, label)| (u128::from(key >> 8), key as u8, label)), 32);
        let v6 = flat(v6.into_iter().map(|((start, length), label)| (start, length, label)), 128);
        Self { filter: Filter::new(&v4), v4: Bitmap::new(&v4), v6: Ranges::new(&v6) }
    }

    /// The label of the longest prefix of an IPv4 address; 0 where there is none. Where few addresses have one, the filter
    /// alone says no, in place: a call costs as much as a fourth of that.
    #[inline(always)]
    pub(crate) fn v4(&self, address: Ipv4Addr) -> Label {
        let address = address.to_bits();
        if self.filter.passes(address) { self.v4.label(address) } else { self.filter.otherwise }
    }

    /// The label of the longest prefix of an IPv6 address; 0 where there is none.
    #[inline]
    pub(crate) fn v6(&self, address: Ipv6Addr) -> Label {
        self.v6.label(address.to_bits())
    }

    /// An IPv4 address is looked up soon: brings near what is looked at first.
    #[inline(always)]
    pub(crate) fn bring_near_v4(&self, address: Ipv4Addr) {
        let address = address.to_bits();
        if self.filter.bits.is_empty() {
            mem::prefetch(&self.v4.words, (address >> self.v4.shift) as usize / 64);
        } else {
            mem::prefetch(&self.filter.bits, (address >> FILTER_SHIFT) as usize / 64);
        }
    }

    /// The same of an IPv6 address.
    #[inline]
    pub(crate) fn bring_near_v6(&self, address: Ipv6Addr) {
        mem::prefetch(&self.v6.leading, (address.to_bits() >> (128 - self.v6.bits)) as usize);
    }

    /// What it takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.filter.bits.len() * size_of::<u64>()
            + self.v4.words.bytes()
            + self.v4.values.bytes()
            + self.v6.leading.bytes()
            + self.v6.index.bytes()
            + self.v6.starts.bytes()
            + self.v6.labels.bytes()
    }
}

/// Where a label begins to hold; the first one begins at 0.
type Change = (u128, Label);

/// Puts prefixes in their order, each once: of equal ones the last one stays.
fn ordered<K: Ord>(prefixes: &mut Vec<(K, Label)>) {
    prefixes.sort_by(|(one, _), (other, _)| one.cmp(other));
    prefixes.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
}

/// Lays prefixes (first address, length, label) of addresses of this many bits flat; they are in their order, each once.
fn flat(prefixes: impl Iterator<Item = (u128, u8, Label)>, bits: u8) -> Vec<Change> {
    let mut changes: Vec<Change> = vec![(0, 0)];
    let mut begin = |at: u128, label: Label| {
        if changes.last().is_some_and(|(last, _)| *last == at) {
            changes.pop();
        }
        if changes.last().is_none_or(|(_, last)| *last != label) {
            changes.push((at, label));
        }
    };
    let most = u128::MAX >> (128 - bits);
    // The prefixes that hold the current address, each within the one before: last address and label.
    let mut within: Vec<(u128, Label)> = Vec::new();
    let leave = |within: &mut Vec<(u128, Label)>, begin: &mut dyn FnMut(u128, Label)| {
        if let Some((last, _)) = within.pop()
            && last < most
        {
            begin(last + 1, within.last().map_or(0, |(_, label)| *label));
        }
    };
    for (start, length, label) in prefixes {
        while within.last().is_some_and(|(last, _)| *last < start) {
            leave(&mut within, &mut begin);
        }
        let hosts = most.checked_shr(u32::from(length)).unwrap_or(0);
        within.push((start | hosts, label));
        begin(start, label);
    }
    while !within.is_empty() {
        leave(&mut within, &mut begin);
    }
    changes
}

/// Which addresses need a closer look, in networks of 1024 addresses.
#[derive(Debug, Default)]
struct Filter {
    /// Empty where it would not pay: then all do.
    bits: Vec<u64>,
    /// The label of those that do not.
    otherwise: Label,
}

impl Filter {
    fn new(changes: &[Change]) -> Self {
        if changes.len() < WIDE_FROM {
            return Self::default();
        }
        let otherwise = changes.first().map_or(0, |(_, label)| *label);
        let mut bits = vec![0_u64; 1 << (32 - FILTER_SHIFT - 6)];
        for (place, (at, label)) in changes.iter().enumerate() {
            if *label == otherwise {
                continue;
            }
            let last = changes.get(place + 1).map_or(u128::from(u32::MAX), |(next, _)| next - 1);
            for slot in (*at >> FILTER_SHIFT) as usize..=(last >> FILTER_SHIFT) as usize {
                if let Some(word) = bits.get_mut(slot / 64) {
                    *word |= 1 << (slot % 64);
                }
            }
        }
        let set: usize = bits.iter().map(|word| word.count_ones() as usize).sum();
        if set > bits.len() * 64 / FILTER_SPARSE {
            return Self::default();
        }
        Self { bits, otherwise }
    }

    #[inline]
    fn passes(&self, address: u32) -> bool {
        let slot = address >> FILTER_SHIFT;
        self.bits.get(slot as usize / 64).is_none_or(|word| word >> (slot % 64) & 1 != 0)
    }
}

/// 64 slots: where the value changes, and the place of the value that holds before the first of them; those at changes
/// follow it. Looked up without a branch: on mixed traffic each would be a coin toss that waits for memory.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    changes: u64,
    rank: u32,
}

/// IPv4 labels. A block of words covers slots that are equally long; its slots' values are labels, or lead to a block
/// of four words for the next eight bits.
#[derive(Debug)]
struct Bitmap {
    /// The first block covers all addresses.
    words: Array<Word>,
    /// For each block the value before its first slot, and those at changes.
    values: Array<u32>,
    /// Bits of an address below a slot of the first block.
    shift: u32,
    ones: Ones,
}

/// A block that is still to be filled.
struct Todo<'c> {
    /// Its first word.
    word: usize,
    /// How many words it has.
    words: usize,
    /// Its first address.
    start: u64,
    /// Bits of an address below one of its slots.
    shift: u32,
    /// Its changes.
    changes: &'c [Change],
    /// The label before the first of them.
    before: Label,
}

impl Bitmap {
    fn new(changes: &[Change]) -> Self {
        let shift = if changes.len() >= WIDE_FROM { 8 } else { 16 };
        let words = 1 << (32 - shift - 6);
        let (values, ones) = (Array::new(), Ones::default());
        let mut bitmap = Self { words: Array::with_room(words), values, shift, ones };
        bitmap.words.extend_with(Word::default(), words);
        let mut todo = vec![Todo { word: 0, words, start: 0, shift, changes, before: 0 }];
        while let Some(block) = todo.pop() {
            bitmap.fill(&block, &mut todo);
        }
        bitmap
    }

    /// Fills a block; the blocks of slots that have changes of their own are left `todo`.
    fn fill<'c>(&mut self, block: &Todo<'c>, todo: &mut Vec<Todo<'c>>) {
        let (mut changes, mut label) = (block.changes, block.before);
        let mut begun = block.word;
        let mut done = 0;
        self.push(label);
        while let Some((at, next)) = changes.first().copied() {
            let slot = (at as u64 - block.start) >> block.shift;
            let begins = block.start + (slot << block.shift);
            let ends = begins + (1 << block.shift);
            let inside = changes.iter().take_while(|(at, _)| (*at as u64) < ends).count();
            let (own, rest) = changes.split_at(inside);
            changes = rest;
            if slot > done {
                self.set(&mut begun, block.word, done, label);
            }
            if own.len() == 1 && at as u64 == begins {
                self.set(&mut begun, block.word, slot, next);
            } else {
                let word = self.words.len();
                self.words.extend_with(Word::default(), 4);
                let (start, shift) = (begins, block.shift - 8);
                todo.push(Todo { word, words: 4, start, shift, changes: own, before: label });
                self.set(&mut begun, block.word, slot, SPLIT | word as u32);
            }
            label = own.last().map_or(label, |(_, label)| *label);
            done = slot + 1;
        }
        if done < block.words as u64 * 64 {
            self.set(&mut begun, block.word, done, label);
        }
        self.begin(&mut begun, block.word + block.words);
    }

    fn push(&mut self, value: u32) {
        self.values.push(value);
    }

    /// From this slot of a block on the value holds.
    fn set(&mut self, begun: &mut usize, first: usize, slot: u64, value: u32) {
        if self.values.last() == Some(&value) {
            return;
        }
        let word = first + slot as usize / 64;
        self.begin(begun, word + 1);
        if let Some(word) = self.words.get_mut(word) {
            word.changes |= 1 << (slot % 64);
            self.push(value);
        }
    }

    /// Begins the words before this one.
    fn begin(&mut self, begun: &mut usize, end: usize) {
        let rank = self.values.len() as u32 - 1;
        self.words.get_mut(*begun..end).unwrap_or_default().fill(Word { changes: 0, rank });
        *begun = end.max(*begun);
    }

    #[inline(never)]
    fn label(&self, address: u32) -> Label {
        let value = self.value(0, address >> self.shift);
        if value & SPLIT == 0 { value } else { self.label_within(address, value) }
    }

    /// The label of an address whose slot of the first block has this value, which leads further. Apart, because most
    /// slots have a label, and this needs more registers than a call has free.
    #[inline(never)]
    fn label_within(&self, address: u32, mut value: u32) -> Label {
        let mut shift = self.shift;
        while value & SPLIT != 0 {
            shift -= 8;
            value = self.value((value & !SPLIT) as usize, (address >> shift) & 0xff);
        }
        value
    }

    /// The value of a slot of a block.
    #[inline]
    fn value(&self, first: usize, slot: u32) -> u32 {
        let Some(word) = self.words.get(first + slot as usize / 64) else { return 0 };
        let changes = self.ones.of(word.changes << (63 - slot % 64));
        self.values.get((word.rank + changes) as usize).copied().unwrap_or(0)
    }
}

/// IPv6 labels: ranges, and for each value of the leading bits an index of those that begin there, by as many of the
/// bits that follow as there are ranges for.
#[derive(Debug)]
struct Ranges {
    leading: Array<Leading>,
    /// The last range that begins before addresses with these bits, or with the first of them.
    index: Array<u32>,
    starts: Array<u128>,
    labels: Array<Label>,
    /// Leading bits.
    bits: u32,
}

/// Where the index of some leading bits is, and by how many further bits it goes.
#[derive(Clone, Copy, Debug)]
struct Leading {
    index: u32,
    bits: u32,
}

impl Ranges {
    fn new(changes: &[Change]) -> Self {
        let bits = if changes.len() < 1024 { 8 } else { V6_LEADING_BITS };
        let mut ranges = Self {
            leading: Array::with_room(1 << bits),
            index: Array::new(),
            starts: changes.iter().map(|(start, _)| *start).collect(),
            labels: changes.iter().map(|(_, label)| *label).collect(),
            bits,
        };
        let mut at = 0;
        for top in 0..1_u128 << bits {
            let begins = top << (128 - bits);
            let ends = begins | u128::MAX >> bits;
            let rest = changes.get(at..).unwrap_or_default();
            let here = rest.iter().take_while(|(start, _)| *start <= ends).count();
            let further = (here + 1).ilog2();
            ranges.leading.push(Leading { index: ranges.index.len() as u32, bits: further });
            for step in 0..=1_u128 << further {
                // The last step is the first address of the next leading bits: all ranges here begin before it.
                let from = (step < 1 << further).then(|| begins | step << (128 - bits - further));
                while changes.get(at).is_some_and(|(start, _)| *start <= from.unwrap_or(ends)) {
                    at += 1;
                }
                ranges.index.push(at.saturating_sub(1) as u32);
            }
        }
        ranges
    }

    #[inline(never)]
    fn label(&self, address: u128) -> Label {
        let Some(leading) = self.leading.get((address >> (128 - self.bits)) as usize) else { return 0 };
        let further = (address << self.bits >> 64) as u64;
        let at = leading.index as usize + further.checked_shr(64 - leading.bits).unwrap_or(0) as usize;
        let Some([first, last]) = self.index.get(at..).and_then(|index| index.first_chunk::<2>()) else {
            return 0;
        };
        let (first, last) = (*first as usize, *last as usize);
        // The range at `first` begins at or before all addresses with these bits.
        let others = self.starts.get(first + 1..=last).unwrap_or_default();
        let at = first + others.partition_point(|start| *start <= address);
        self.labels.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::IpAddr;

    use ip_network_table::IpNetworkTable;
    use proptest::prelude::*;

    use super::*;

    /// Both answer alike for these addresses, and for the first, the last and the neighbours of each prefix.
    fn agree(networks: &[IpNetwork], addresses: impl Iterator<Item = IpAddr>) {
        let mut trie = IpNetworkTable::new();
        for (at, network) in networks.iter().enumerate() {
            trie.insert(*network, at as u32 % 7 + 1);
        }
        let compiled =
            Prefixes::new(networks.iter().enumerate().map(|(at, network)| (*network, at as u32 % 7 + 1)));
        let edges = networks.iter().flat_map(|network| match network {
            IpNetwork::V4(network) => {
                let (first, last) =
                    (network.network_address().to_bits(), network.broadcast_address().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                    .map(|address| IpAddr::V4(Ipv4Addr::from_bits(address)))
            }
            IpNetwork::V6(network) => {
                let first = network.network_address().to_bits();
                let last = first | u128::MAX.checked_shr(u32::from(network.netmask())).unwrap_or(0);
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                    .map(|address| IpAddr::V6(Ipv6Addr::from_bits(address)))
            }
        });
        for address in edges.chain(addresses) {
            let expected = trie.longest_match(address).map_or(0, |(_, label)| *label);
            let found = match address {
                IpAddr::V4(address) => compiled.v4(address),
                IpAddr::V6(address) => compiled.v6(address),
            };
            assert_eq!(found, expected, "{address} in {networks:?}");
        }
    }

    fn v4() -> impl Strategy<Value = IpNetwork> {
        // Few different leading bits, so that prefixes nest and touch.
        (
            prop_oneof![any::<u32>(), (0..64_u32).prop_map(|n| 0x0a00_0000 | (n * 0x55)), Just(u32::MAX)],
            0..=32_u8,
        )
            .prop_map(|(address, length)| {
                IpNetwork::new_truncate(Ipv4Addr::from_bits(address), length).unwrap()
            })
    }

    fn v6() -> impl Strategy<Value = IpNetwork> {
        let near = (0..64_u128).prop_map(|n| (0x2001_0db8 << 96) | (n << 60) | n);
        (prop_oneof![any::<u128>(), near, Just(u128::MAX)], 0..=128_u8).prop_map(|(address, length)| {
            IpNetwork::new_truncate(Ipv6Addr::from_bits(address), length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn compiled_prefixes_answer_as_the_trie_does(
            networks in proptest::collection::vec(prop_oneof![v4(), v6()], 0..120),
            four in proptest::collection::vec(any::<u32>(), 100),
            six in proptest::collection::vec(any::<u128>(), 100),
        ) {
            let addresses = four.into_iter().map(|address| IpAddr::V4(Ipv4Addr::from_bits(address)));
            agree(&networks, addresses.chain(six.into_iter().map(|address| IpAddr::V6(Ipv6Addr::from_bits(address)))));
        }
    }

    /// The form of large sets, which no short list reaches.
    #[test]
    fn large_sets_answer_as_the_trie_does() {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let random = |n: u32| hasher.hash_one(n) as u32;
        let mut networks: Vec<IpNetwork> = (0..20_000)
            .map(|n| {
                let length = if n % 3 == 0 { 32 } else { 8 + (random(n) % 25) as u8 };
                // Half of them lie close together.
                let address =
                    if n % 2 == 0 { random(n + 1_000_000) } else { 0x0a00_0000 | (random(n) >> 14) };
                IpNetwork::new_truncate(Ipv4Addr::from_bits(address), length).unwrap()
            })
            .collect();
        let addresses = || (0..200_000).map(|n| IpAddr::V4(Ipv4Addr::from_bits(random(n + 2_000_000))));
        agree(&networks, addresses());
        networks.push(IpNetwork::new_truncate(Ipv4Addr::UNSPECIFIED, 0).unwrap());
        agree(&networks, addresses());
        // So few addresses that a filter stands in front.
        networks.retain(|network| matches!(network, IpNetwork::V4(network) if network.netmask() >= 24));
        agree(&networks, addresses());
        let set = Prefixes::new(networks.iter().map(|network| (*network, 1)));
        assert!(!set.filter.bits.is_empty());
    }

    #[test]
    fn small_sets_are_small() {
        let five = ["10.0.0.0/8", "192.168.0.0/16", "192.168.1.7/32", "172.16.0.0/12", "0.0.0.0/0"];
        let networks = five.iter().map(|text| (text.parse().unwrap(), 1));
        assert!(Prefixes::new(networks).bytes() < 32 << 10);
    }
}
