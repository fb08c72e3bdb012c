//! Lines that a script writes into the collector's log: so many in a second, the others counted, and each so long.

use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Lines of a script in a second at most.
const MOST: u32 = 100;

/// Bytes of a line, and of what is said of an exception, at most.
const LONGEST: usize = 16 << 10;

/// The levels of the log that scripts write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Severe,
}

/// How many lines were written in this second.
#[derive(Debug)]
pub(crate) struct Lines {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// Whether a line is written, and what has to be said before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) is_written: bool,
    /// Lines that were left out in the second that is over.
    pub(crate) left_out: u64,
}

impl Lines {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, written: 0, left_out: 0 }
    }

    /// Takes a line.
    pub(crate) fn take(&mut self, now: Instant) -> Passes {
        let mut left_out = 0;
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            left_out = std::mem::take(&mut self.left_out);
            (self.since, self.written) = (now, 0);
        }
        let is_written = self.written < MOST;
        if is_written {
            self.written += 1;
        } else {
            self.left_out += 1;
        }
        Passes { is_written, left_out }
    }
}

/// A text as long as a line may be; one that was longer ends in three points.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}...", text.get(..end).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let begin = Instant::now();
        let mut lines = Lines::new(begin);
        let written = (0..1000).filter(|_| lines.take(begin).is_written).count();
        assert_eq!(written, MOST as usize);
        let next = lines.take(begin + Duration::from_secs(1));
        assert_eq!(next, Passes { is_written: true, left_out: 900 });
        assert_eq!(lines.take(begin + Duration::from_secs(3)).left_out, 0);
    }

    #[test]
    fn a_line_has_an_end() {
        let (whole, longer) = ("x".repeat(LONGEST), "xü".repeat(LONGEST));
        assert_eq!(cut(&whole), whole);
        let cut = cut(&longer);
        assert!(cut.ends_with("üx...") && cut.len() <= LONGEST + 3, "{}", cut.len());
    }
}
