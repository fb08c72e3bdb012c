//! Log lines: `2016-09-24T00:57:10+0000 INFO: text`, one line each, on standard error.
//!
//! Names from the network reach the log through `Debug` or [`escape`], so that a log line stays one line.

use std::fmt;

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let stamp = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
        let now = OffsetDateTime::now_utc().format(&stamp).map_err(|_| fmt::Error)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "SEVERE",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "FINE",
        };
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        writeln!(out, "{now} {level}: {}", escape(&text))
    }
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        use fmt::Write;
        let _ = if field.name() == "message" {
            self.0.write_str(value)
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

/// The text with control characters and bidirectional overrides written as `\u{..}`.
pub fn escape(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Starts logging at `level` (`error`, `warn`, `info`, `debug`, or a filter of tracing-subscriber's syntax).
///
/// # Errors
/// The filter cannot be parsed.
pub fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level).map_err(|e| anyhow::anyhow!("--log {level:?}: {e}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(Line).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_with_a_newline_stays_on_its_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}é"), "a\\u{a}b\\u{1b}[31m\\u{202e}é");
    }
}
