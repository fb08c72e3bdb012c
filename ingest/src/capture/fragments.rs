//! Reassembly of IP fragments, bounded in memory and in time.

use std::collections::HashMap;
use std::net::IpAddr;

/// Packets under reassembly at once; the oldest gives way.
const MOST_PACKETS: usize = 256;

/// A packet that is not whole after this much capture time is given up, microseconds (RFC 8200, section 4.5).
const PATIENCE_US: u64 = 60_000_000;

/// The largest payload, bytes.
const LARGEST: usize = 65_535;

/// Which packet a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) id: u32,
    pub(super) protocol: u8,
}

struct Partial {
    bytes: Vec<u8>,
    /// Ranges that have arrived, in order and apart from each other.
    have: Vec<(usize, usize)>,
    length: Option<usize>,
    began_us: u64,
}

/// Packets of which some fragments have arrived.
#[derive(Default)]
pub(super) struct Fragments {
    packets: HashMap<Key, Partial>,
    /// Packets given up for time, room, or fragments that contradict each other.
    pub(super) given_up: u64,
}

impl Fragments {
    /// Takes a fragment; the payload when it was the last one missing.
    pub(super) fn add(
        &mut self,
        key: Key,
        offset: usize,
        more: bool,
        bytes: &[u8],
        now_us: u64,
    ) -> Option<Vec<u8>> {
        self.expire(now_us);
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= LARGEST);
        let Some(end) = end else {
            self.given_up += u64::from(self.packets.remove(&key).is_some());
            return None;
        };
        if !self.packets.contains_key(&key) && self.packets.len() >= MOST_PACKETS {
            let oldest = self.packets.iter().min_by_key(|(_, partial)| partial.began_us).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.packets.remove(&oldest);
                self.given_up += 1;
            }
        }
        let partial = self.packets.entry(key).or_insert_with(|| Partial {
            bytes: Vec::new(),
            have: Vec::new(),
            length: None,
            began_us: now_us,
        });
        if !more {
            partial.length = Some(end);
        }
        if partial.bytes.len() < end {
            partial.bytes.resize(end, 0);
        }
        if let Some(place) = partial.bytes.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        partial.have.push((offset, end));
        partial.have.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(partial.have.len());
        for &(start, end) in &partial.have {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        partial.have = merged;
        let whole = partial.length.filter(|length| partial.have == [(0, *length)])?;
        let mut bytes = self.packets.remove(&key)?.bytes;
        bytes.truncate(whole);
        Some(bytes)
    }

    /// Packets of which not all fragments have arrived.
    pub(super) fn waiting(&self) -> u64 {
        self.packets.len() as u64
    }

    fn expire(&mut self, now_us: u64) {
        let before = self.packets.len();
        self.packets.retain(|_, partial| now_us.saturating_sub(partial.began_us) <= PATIENCE_US);
        self.given_up += (before - self.packets.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        let ip = IpAddr::from([10, 0, 0, 1]);
        Key { source: ip, destination: ip, id, protocol: 17 }
    }

    #[test]
    fn any_order_and_overlap() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(key(1), 16, false, b"cc", 0), None);
        assert_eq!(fragments.add(key(1), 0, true, b"aaaaaaaa", 0), None);
        let whole = fragments.add(key(1), 8, true, b"bbbbbbbb", 0);
        assert_eq!(whole.as_deref(), Some(b"aaaaaaaabbbbbbbbcc".as_slice()));
        assert_eq!((fragments.waiting(), fragments.given_up), (0, 0));
    }

    #[test]
    fn bounded_in_number_and_time() {
        let mut fragments = Fragments::default();
        for id in 0..1000 {
            fragments.add(key(id), 0, true, b"aaaaaaaa", u64::from(id));
        }
        assert_eq!((fragments.waiting(), fragments.given_up), (256, 744));
        fragments.add(key(2000), 0, true, b"aaaaaaaa", PATIENCE_US + 5000);
        assert_eq!((fragments.waiting(), fragments.given_up), (1, 1000));
    }

    #[test]
    fn a_fragment_beyond_the_largest_packet_is_refused() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(key(1), 65_528, false, &[0; 100], 0), None);
        assert_eq!(fragments.waiting(), 0);
    }
}
