//! How much counters have grown, over how long, and how long what was sent is believed.

use decode::layout::Value;

/// Samples closer together than this make no rate, microseconds.
pub(super) const CLOSEST_US: u64 = 500_000;

/// How long the metrics of a data source are believed whose interval is not known yet.
const FIRST_BELIEF_US: u64 = 90_000_000;

/// What stands for a counter that the sender does not know, or did not send.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// When a sample was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When it arrived.
    pub(crate) now_us: u64,
    /// The agent's uptime, milliseconds.
    pub(crate) uptime_ms: u32,
    /// Another one than before when the agent has restarted.
    pub(crate) epoch: u64,
}

impl Moment {
    /// Microseconds since an earlier moment by the agent's own clock, where it can be trusted; `None` across
    /// a restart.
    pub(super) fn since(self, earlier: Self) -> Option<u64> {
        if self.epoch != earlier.epoch {
            return None;
        }
        let arrived = self.now_us.saturating_sub(earlier.now_us);
        let own = u64::from(self.uptime_ms.wrapping_sub(earlier.uptime_ms)) * 1000;
        // A clock that stands still, or runs away, is not used.
        Some(if own > 0 && own < arrived.saturating_mul(100).max(3_600_000_000) { own } else { arrived })
    }
}

/// The last two intervals between samples. One alone says little: Host sFlow sends a container's first sample when
/// it begins and the second at any moment within the interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intervals([Option<u64>; 2]);

impl Intervals {
    pub(super) fn take(&mut self, interval_us: u64) {
        if interval_us >= CLOSEST_US {
            self.0 = [Some(interval_us), self.0[0]];
        }
    }

    /// Their mean, microseconds: of one where there is but one.
    pub(super) fn mean_us(self) -> Option<u64> {
        match self.0 {
            [Some(a), Some(b)] => Some(a.midpoint(b)),
            [a, _] => a,
        }
    }

    /// Three of the longer one, microseconds.
    pub(super) fn believed_us(self) -> u64 {
        match self.0 {
            [Some(a), Some(b)] => a.max(b).saturating_mul(3),
            _ => FIRST_BELIEF_US,
        }
    }
}

/// All ones mean that the sender does not know.
pub(super) fn gauge(value: Value<'_>) -> Option<f64> {
    match value {
        Value::U32(u32::MAX) | Value::U64(u64::MAX) => None,
        Value::F32(number) => number.is_finite().then(|| f64::from(number)),
        other => other.as_u64().map(|number| number as f64),
    }
}

/// A counter as it is kept for the next sample.
pub(super) fn raw(value: Value<'_>) -> u64 {
    match value {
        Value::U32(u32::MAX) => UNKNOWN,
        other => other.as_u64().unwrap_or(UNKNOWN),
    }
}

/// How much a counter has grown; `None` when it fell, or is not known. `wraps` says that a 32-bit one may have come
/// round.
pub(super) fn growth(before: u64, now: Value<'_>, wraps: bool) -> Option<f64> {
    match now {
        Value::U32(u32::MAX) | Value::U64(u64::MAX) => None,
        Value::U32(now) => {
            let before = u32::try_from(before).ok()?;
            // A difference of half the range or more is a fall, not a wrap.
            let grown = Some(now.wrapping_sub(before)).filter(|grown| *grown < 1 << 31);
            grown.filter(|_| wraps || now >= before).map(f64::from)
        }
        Value::U64(now) if before != UNKNOWN => now.checked_sub(before).map(|grown| grown as f64),
        _ => None,
    }
}
