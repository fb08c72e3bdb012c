//! The keys that recent packets had.
//!
//! Evaluating the whole catalogue for every packet would cost more than all else. Packets with the same layers and the
//! same records have the same keys, nearly: so one packet in a while of each such kind is looked at.

use std::collections::BTreeMap;

use decode::rt::RtFlow;

use super::keys::{self, KEYS, Named, Sampled};
use super::layout::Form;

/// A packet of one kind is looked at once in this long, microseconds.
const PAUSE_US: u64 = 1_000_000;

/// Kinds of packets that are told apart.
const KINDS: usize = 256;

/// Two kinds that share a place take turns no faster than this, microseconds: looking costs as much as ten packets.
const TURN_US: u64 = 50_000;

/// Layers of one kind whose keys are listed: `ipsource`, `ipsource.1`, `ipsource.2`.
const DEEPEST: usize = 3;

/// Keys of packets that are older than this are no longer recent, microseconds.
const RECENT_US: u64 = 3_600_000_000;

/// The keys that recent packets had.
#[derive(Debug)]
pub(crate) struct Seen {
    /// By the hash of a kind: the kind, and when one was looked at.
    kinds: Vec<(u64, u64)>,
    /// For each key and layer the moment after which it was last there, 0 for never.
    keys: Vec<[u64; DEEPEST]>,
    /// The same for fields of custom flows whose names are no keys of the catalogue.
    custom: BTreeMap<Box<str>, u64>,
}

/// Names of fields of custom flows that are listed, at most.
const MOST_CUSTOM: usize = 256;

impl Default for Seen {
    fn default() -> Self {
        Self { kinds: vec![(0, 0); KINDS], keys: vec![[0; DEEPEST]; KEYS.len()], custom: BTreeMap::new() }
    }
}

impl Seen {
    /// Whether a packet with these layers is to be looked at; `records` is the kind of its records.
    #[inline(always)]
    pub(crate) fn wants(&mut self, path: u64, records: u64, now_us: u64) -> bool {
        let kind = (path ^ records).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.is_due(kind, TURN_US, now_us)
    }

    /// Takes a custom flow.
    pub(crate) fn custom(&mut self, sample: &RtFlow<'_>, now_us: u64) {
        let mut kind = 0xcbf2_9ce4_8422_2325_u64;
        for (name, _) in sample.fields() {
            for byte in name {
                kind = (kind ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        // Looking costs no more than naming the kind did: turns need no pause.
        if self.is_due(kind, 0, now_us) {
            self.look_at_custom(sample, now_us);
        }
    }

    #[cold]
    fn look_at_custom(&mut self, sample: &RtFlow<'_>, now_us: u64) {
        for (name, _) in sample.fields() {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let of_catalogue = KEYS.iter().position(|key| key.name == name);
            if let Some(moment) = of_catalogue.and_then(|place| self.keys.get_mut(place)?.first_mut()) {
                *moment = now_us + 1;
            } else if let Some(moment) = self.custom.get_mut(name) {
                *moment = now_us + 1;
            } else if matches!(keys::find(name), Ok(Named::Custom(_))) {
                if self.custom.len() >= MOST_CUSTOM {
                    self.custom.retain(|_, moment| now_us < *moment + RECENT_US);
                }
                if self.custom.len() < MOST_CUSTOM {
                    self.custom.insert(name.into(), now_us + 1);
                }
            }
        }
    }

    /// Whether a packet of this kind is to be looked at; another kind than the last one in its place after `turn_us`.
    #[inline]
    fn is_due(&mut self, kind: u64, turn_us: u64, now_us: u64) -> bool {
        let Some(known) = self.kinds.get_mut((kind >> 32) as usize % KINDS) else { return false };
        let pause_us = match known.0 {
            0 => 0,
            other if other == kind => PAUSE_US,
            _ => turn_us,
        };
        let due = now_us >= known.1 + pause_us;
        if due {
            *known = (kind, now_us);
        }
        due
    }

    /// Looks at a packet.
    #[cold]
    pub(crate) fn look(&mut self, sampled: &Sampled<'_>, now_us: u64) {
        for (key, moments) in KEYS.iter().zip(&mut self.keys) {
            for (layer, moment) in moments.iter_mut().enumerate() {
                if (key.get)(sampled, layer).is_none() {
                    break;
                }
                *moment = now_us + 1;
                if !is_layered(sampled, key) {
                    break;
                }
            }
        }
    }

    /// The keys, with the age of the youngest packet of each, microseconds.
    pub(crate) fn keys(&self, now_us: u64) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        for (key, moments) in KEYS.iter().zip(&self.keys) {
            for (layer, moment) in moments.iter().enumerate().filter(|(_, moment)| **moment > 0) {
                let age_us = (now_us + 1).saturating_sub(*moment);
                if age_us > RECENT_US {
                    continue;
                }
                let name = if layer == 0 { key.name.to_owned() } else { format!("{}.{layer}", key.name) };
                found.insert(name, age_us);
            }
        }
        for (name, moment) in &self.custom {
            let age_us = (now_us + 1).saturating_sub(*moment);
            if age_us <= RECENT_US {
                found.insert(name.to_string(), age_us);
            }
        }
        found
    }
}

/// Whether a key reads another value in a layer further in: one that is of the sample reads the same in all.
fn is_layered(sampled: &Sampled<'_>, key: &keys::Key) -> bool {
    key.form != Form::Stack && (key.get)(sampled, decode::packet::DEPTH).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_share_a_place_take_turns_slowly() {
        let mut seen = Seen::default();
        assert!(seen.is_due(1, TURN_US, 0));
        assert!(!seen.is_due(1, TURN_US, PAUSE_US - 1));
        assert!(seen.is_due(1, TURN_US, PAUSE_US));
        let looked = (0..1000).filter(|n| seen.is_due(1 + n % 2, TURN_US, PAUSE_US + n * 1000)).count();
        assert!((10..=20).contains(&looked), "{looked} in a second");
    }
}
