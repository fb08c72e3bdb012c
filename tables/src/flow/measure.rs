//! What a definition measures of each packet, and how the measures of many packets become one value.

use ahash::RandomState;

use super::expression::{self, Expression, Lookups};
use super::keys::{self, Sampled};
use super::layout::Form;
use crate::spec_error::{SpecError, wrong};

/// How the measures of a flow's packets become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// So much per second, smoothed.
    Rate,
    /// The mean over packets, smoothed likewise.
    Avg,
    /// The smallest of the last one to two smoothing times.
    Min,
    /// The largest of the last one to two smoothing times.
    Max,
    /// How many different values there were in the last one to two smoothing times.
    Count,
}

impl Mode {
    /// The names that stand before a measure.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("rate", Self::Rate),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("count", Self::Count),
    ];

    /// Both together, where a flow is seen in two places and places are added up. A count is then an upper bound:
    /// both places may have seen the same.
    pub(crate) fn add(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Rate | Self::Count => a + b,
            Self::Min => a.min(b),
            // The mean of places that do not say how many packets they have seen is not known: the larger one.
            Self::Avg | Self::Max => a.max(b),
        }
    }
}

/// What is measured of a packet.
#[derive(Clone, Debug)]
enum What {
    /// Bytes of the frame.
    Bytes,
    /// Bits of the frame.
    Bits,
    /// The frame itself.
    Frames,
    /// A key, or a function of keys, that is a number.
    Key(Expression),
}

/// A measure.
#[derive(Clone, Debug)]
pub struct Measure {
    what: What,
    /// How many become one.
    pub mode: Mode,
}

/// Measures of a definition at most.
pub const MOST: usize = 8;

impl Measure {
    /// Reads `bytes`, `avg:tcprtt`, `count:ipsource`.
    fn compile(attribute: &str, text: &str, lookups: &Lookups) -> Result<Self, SpecError> {
        let named = text
            .split_once(':')
            .and_then(|(prefix, rest)| Some((Mode::NAMES.iter().find(|(name, _)| *name == prefix)?.1, rest)));
        let (mode, name) = named.unwrap_or((Mode::Rate, text));
        let what = match name.trim() {
            "bytes" => What::Bytes,
            "bps" => What::Bits,
            "frames" | "fps" => What::Frames,
            "" => return Err(wrong(attribute, "is empty")),
            name if name.contains(':') => {
                let mut list = expression::list(attribute, name, lookups)?;
                match (list.pop(), list.is_empty()) {
                    (Some(one), true) => What::Key(one),
                    _ => return Err(wrong(attribute, format!("{name:?} is more than one measure"))),
                }
            }
            name => What::Key(keys::find(name).map_err(|reason| wrong(attribute, reason))?.into()),
        };
        // Of these no value is ever a number: a flow of them would be empty for ever.
        let is_no_number = |key: &Expression| {
            matches!(key.form(), Form::Bool | Form::Mac | Form::V4 | Form::V6 | Form::Stack)
        };
        if let What::Key(key) = &what
            && mode != Mode::Count
            && is_no_number(key)
        {
            let reason = format!("{name:?} is no number; count:{name} counts how many there are");
            return Err(wrong(attribute, reason));
        }
        Ok(Self { what, mode })
    }

    /// The first measure of a definition and its further ones.
    pub(crate) fn list(value: &str, values: Option<&str>, lookups: &Lookups) -> Result<Vec<Self>, SpecError> {
        let mut measures = vec![Self::compile("value", value.trim(), lookups)?];
        if let Some(values) = values {
            for part in expression::split(values, ',').map_err(|reason| wrong("values", reason))? {
                measures.push(Self::compile("values", part.trim(), lookups)?);
            }
        }
        if measures.len() > MOST {
            return Err(wrong("values", format!("more than {} of them", MOST - 1)));
        }
        Ok(measures)
    }

    /// What a packet counts for. For [`Mode::Count`] it is a hash of the value, as the bits of a number. `None` where
    /// it is null, or no number.
    #[inline]
    pub(crate) fn of(&self, sampled: &Sampled<'_>, hasher: &RandomState) -> Option<u64> {
        match self.what {
            What::Bytes if self.mode != Mode::Count && sampled.custom.is_none() => {
                Some(f64::from(sampled.frame_length).to_bits())
            }
            _ => self.of_any(sampled, hasher),
        }
    }

    fn of_any(&self, sampled: &Sampled<'_>, hasher: &RandomState) -> Option<u64> {
        let number = match &self.what {
            What::Key(key) if self.mode == Mode::Count => return Some(key.evaluate(sampled)?.hash(hasher)),
            What::Bytes => bytes(sampled)?,
            What::Bits => bytes(sampled)? * 8.0,
            What::Frames => frames(sampled)?,
            What::Key(key) => key.evaluate(sampled)?.number().filter(|number| number.is_finite())?,
        };
        Some(if self.mode == Mode::Count { hasher.hash_one(number.to_bits()) } else { number.to_bits() })
    }
}

/// Bytes of the frame, or what a custom flow has under that name.
#[inline]
fn bytes(sampled: &Sampled<'_>) -> Option<f64> {
    if sampled.custom.is_some() {
        return sampled.custom_field("bytes", Form::Any)?.number().filter(|number| number.is_finite());
    }
    Some(f64::from(sampled.frame_length))
}

/// One for a packet or a custom flow, unless that has a number of its own; none for an operation.
#[inline]
fn frames(sampled: &Sampled<'_>) -> Option<f64> {
    if sampled.custom.is_some() {
        return match sampled.custom_field("frames", Form::Any) {
            Some(told) => told.number().filter(|number| number.is_finite()),
            None => Some(1.0),
        };
    }
    (!sampled.packet.layers().is_empty() || !sampled.is_operation()).then_some(1.0)
}

/// Distinct values up to this many are counted exactly.
const EXACT: usize = 256;

/// Registers of the estimate beyond: its standard error is 1.04 / sqrt(1024), 3.3 %.
const REGISTERS: usize = 1024;

/// How many different hashes there were.
#[derive(Clone, Debug)]
enum Hashes {
    Exact(Vec<u64>),
    /// The longest run of zeros of each register's hashes (HyperLogLog).
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Hashes {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Hashes {
    fn add(&mut self, hash: u64) {
        match self {
            Self::Exact(known) => {
                if known.contains(&hash) {
                    return;
                }
                if known.len() < EXACT {
                    known.push(hash);
                    return;
                }
                let mut registers = Self::Registers(Box::new([0; REGISTERS]));
                known.iter().for_each(|hash| registers.add(*hash));
                registers.add(hash);
                *self = registers;
            }
            Self::Registers(registers) => {
                let run = (hash >> 10).trailing_zeros().min(53) as u8 + 1;
                if let Some(register) = registers.get_mut(hash as usize % REGISTERS) {
                    *register = run.max(*register);
                }
            }
        }
    }

    fn with(&self, other: &Self) -> f64 {
        let mut both = self.clone();
        match other {
            Self::Exact(hashes) => hashes.iter().for_each(|hash| both.add(*hash)),
            Self::Registers(theirs) => {
                if let Self::Exact(hashes) = &both {
                    let hashes = hashes.clone();
                    both = other.clone();
                    hashes.iter().for_each(|hash| both.add(*hash));
                } else if let Self::Registers(ours) = &mut both {
                    ours.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a = (*a).max(*b));
                }
            }
        }
        both.count()
    }

    fn count(&self) -> f64 {
        match self {
            Self::Exact(known) => known.len() as f64,
            Self::Registers(registers) => {
                let m = REGISTERS as f64;
                let sum: f64 = registers.iter().map(|run| (-f64::from(*run)).exp2()).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                let empty = registers.iter().filter(|run| **run == 0).count() as f64;
                // Few values are better estimated by the registers that none has met.
                (if estimate <= 2.5 * m && empty > 0.0 { m * (m / empty).ln() } else { estimate }).round()
            }
        }
    }
}

/// The different values of this window of time and of the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distinct {
    window: u64,
    now: Hashes,
    before: Hashes,
}

impl Distinct {
    pub(crate) fn add(&mut self, hash: u64, window: u64) {
        if window != self.window {
            let now = std::mem::take(&mut self.now);
            self.before = if window == self.window + 1 { now } else { Hashes::default() };
            self.window = window;
        }
        self.now.add(hash);
    }

    pub(crate) fn count(&self, window: u64) -> f64 {
        match window.wrapping_sub(self.window) {
            0 => self.now.with(&self.before),
            1 => self.now.count(),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_and_many_are_estimated() {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        for many in [1_u64, 10, 256, 1000, 20_000, 300_000] {
            let mut distinct = Distinct::default();
            for n in 0..many * 2 {
                distinct.add(hasher.hash_one(n % many), 5);
            }
            let counted = distinct.count(5);
            let off = (counted - many as f64).abs() / many as f64;
            assert!(off < if many <= 256 { f64::EPSILON } else { 0.13 }, "{counted}, not {many}");
            assert_eq!((distinct.count(6), distinct.count(7)), (counted, 0.0));
        }
    }

    #[test]
    fn the_window_before_counts_too() {
        let mut distinct = Distinct::default();
        [1, 2, 3].iter().for_each(|hash| distinct.add(*hash, 1));
        [3, 4].iter().for_each(|hash| distinct.add(*hash, 2));
        assert_eq!((distinct.count(2), distinct.count(3)), (4.0, 2.0));
        distinct.add(9, 3);
        assert_eq!(distinct.count(3), 3.0);
    }
}
