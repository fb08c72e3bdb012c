//! Says in the log what the collector could not take: datagrams and samples that could not be read, and datagrams that
//! the kernel dropped. `/metrics` has the numbers; these lines are for those who look nowhere else.

use std::time::{Duration, Instant};

use engine::{Handle, Status};

/// Between two looks at the counters. Longer than the log keeps silent about one reason.
const INTERVAL: Duration = Duration::from_secs(11);

/// The counters as they were told last.
pub(super) struct Losses {
    handle: Handle,
    told: Status,
    looked: Option<Instant>,
}

impl Losses {
    /// Nothing is told yet.
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, told: Status::default(), looked: None }
    }

    /// Tells what has been lost since the last time, when it is time to look.
    pub(super) fn tell(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < INTERVAL) {
            return;
        }
        // A collector that is too busy to answer is asked again.
        let Ok(status) = self.handle.status() else { return };
        let (before, after) = (&self.told.counters, &status.counters);
        let datagrams = grown(before.datagram_errors(), after.datagram_errors());
        let samples = grown(before.sample_errors(), after.sample_errors());
        let dropped = status.kernel_drops.unwrap_or(0).saturating_sub(self.told.kernel_drops.unwrap_or(0));
        if let Some(reasons) = &datagrams {
            tracing::warn!("Datagrams that could not be read: {reasons}; sFlow version 5 is expected");
        }
        if let Some(reasons) = &samples {
            tracing::warn!("Samples that could not be read: {reasons}");
        }
        if dropped > 0 {
            tracing::warn!("{dropped} datagrams dropped, the receive buffer was full: see --receive-buffer");
        }
        // Where nothing was lost the next loss is told within a second.
        let lost = datagrams.is_some() || samples.is_some() || dropped > 0;
        self.looked = lost.then_some(now);
        self.told = status;
    }
}

/// The reasons whose numbers have grown, and by how much.
fn grown<'a>(
    before: impl Iterator<Item = (&'a str, u64)>,
    after: impl Iterator<Item = (&'a str, u64)>,
) -> Option<String> {
    let more = before.zip(after).filter_map(|((_, old), (reason, new))| {
        let more = new.saturating_sub(old);
        (more > 0).then(|| format!("{more} {reason}"))
    });
    let lines: Vec<String> = more.collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_grown_is_told() {
        let before = [("version", 3), ("truncated", 1), ("address", 0)];
        let after = [("version", 5), ("truncated", 1), ("address", 1)];
        assert_eq!(grown(before.into_iter(), after.into_iter()).as_deref(), Some("2 version, 1 address"));
        assert_eq!(grown(after.into_iter(), after.into_iter()), None);
    }
}
