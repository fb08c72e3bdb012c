//! Log lines: `2016-09-24T00:57:10+0000 INFO: text` on standard error, one line each whatever the text holds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;

/// How long a reason is silent after a line about a client.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest text of a line, characters.
const LONGEST: usize = 1_000;

static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);

/// Says what happened.
pub(crate) fn info(text: &str) {
    write("INFO", text);
}

/// Says what went wrong and concerns the operator.
pub(crate) fn warning(text: &str) {
    write("WARNING", text);
}

/// Says what a client did wrong: of each reason one line in ten seconds, with the number of those that were left out.
pub(crate) fn client(reason: &'static str, text: &str) {
    let left_out =
        LIMITER.lock().unwrap_or_else(PoisonError::into_inner).lets_through(reason, Instant::now());
    match left_out {
        Some(0) => warning(text),
        Some(others) => warning(&format!("{text} (and {others} more of this kind since the last line)")),
        None => {}
    }
}

fn write(level: &str, text: &str) {
    let stamp = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    let now = OffsetDateTime::now_utc().format(&stamp).unwrap_or_default();
    // Nobody can be told that standard error is gone.
    let _ = std::io::stderr().write_all(format!("{now} {level}: {}\n", escape(text)).as_bytes());
}

/// Control characters, and those that turn the direction of text, are escaped; a long text is cut.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            out.push_str("...");
            break;
        }
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Reasons are places in the code, so that their number is bounded.
#[derive(Default)]
struct Limiter {
    told: BTreeMap<&'static str, (Instant, u64)>,
}

impl Limiter {
    /// Whether a line is written now, and then how many were not since the last one.
    fn lets_through(&mut self, reason: &'static str, now: Instant) -> Option<u64> {
        match self.told.get_mut(reason) {
            Some((since, left_out)) if now.duration_since(*since) < SILENCE => {
                *left_out += 1;
                None
            }
            _ => Some(self.told.insert(reason, (now, 0)).map_or(0, |(_, left_out)| left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_reason_one_line_is_written_in_ten_seconds_and_all_are_accounted_for() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.lets_through("a", start), Some(0));
        for _ in 0..1000 {
            assert_eq!(limiter.lets_through("a", start + SILENCE / 2), None);
        }
        assert_eq!(limiter.lets_through("b", start), Some(0));
        assert_eq!(limiter.lets_through("a", start + SILENCE), Some(1000));
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}ü\r"), "a\\nb\\u{1b}[31m\\u{202e}ü\\r");
        assert_eq!(escape(&"x".repeat(4096)), "x".repeat(LONGEST) + "...");
    }
}
