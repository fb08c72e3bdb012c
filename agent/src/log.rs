//! Log lines: `2016-09-24T00:57:10+0000 INFO: text` on standard error, one line each whatever the text holds.
//!
//! Of each reason (a place in the code) the same line is written once in ten seconds, five that differ at most, and then
//! one with the number of those that were left out. While a line says nothing new it comes less and less often, once in
//! an hour at last: what lasts for a night does not fill the journal.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// How long a reason is silent after its lines.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest that it is silent, and how much longer than before, while it has the same to say.
const LONGEST_SILENCE: Duration = Duration::from_secs(3_600);
const LONGER: u32 = 6;

/// What was not so for this long is news again.
const QUIET: Duration = Duration::from_secs(60);

/// Different lines of one reason before it is silent: some are about one container each.
const LINES: u32 = 5;

/// Longest text of a line, characters; names can be of any length.
const LONGEST: usize = 1_000;

static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);

/// Writes what is logged from here on; once in a program's life.
pub fn start() {
    // The second call changes nothing, which is what it is for.
    let _ = tracing::subscriber::set_global_default(Lines);
}

/// Says how many lines were left out of those whose time is over. To be called when [`due`] says.
pub fn tell_left_out() {
    let told = LIMITER.lock().unwrap_or_else(PoisonError::into_inner).tell(Instant::now());
    for (level, text) in told {
        write_line(level, &text);
    }
}

/// When something is to be told by [`tell_left_out`].
pub fn due() -> Option<Instant> {
    LIMITER.lock().unwrap_or_else(PoisonError::into_inner).due()
}

struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => "SEVERE",
            Level::WARN => "WARNING",
            _ => "INFO",
        };
        let mut limiter = LIMITER.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.lets_through(event.metadata().name(), level, &text.0, Instant::now()) {
            drop(limiter);
            write_line(level, &text.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn write_line(level: &str, text: &str) {
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

/// The message, then the other fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text never fails.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

struct Told {
    since: Instant,
    last: Instant,
    silence: Duration,
    /// Whether nothing else was said since.
    same: bool,
    written: u32,
    left_out: u64,
    level: &'static str,
    text: String,
}

/// Reasons are places in the code, so that their number is bounded.
#[derive(Default)]
struct Limiter {
    told: BTreeMap<&'static str, Told>,
}

impl Limiter {
    fn lets_through(&mut self, reason: &'static str, level: &'static str, text: &str, now: Instant) -> bool {
        match self.told.get_mut(reason) {
            Some(told) if now.duration_since(told.since) < told.silence || told.left_out > 0 => {
                let same = told.text == text && now.duration_since(told.last) < QUIET;
                if !same && told.silence > SILENCE {
                    // What has lasted is over.
                    (told.since, told.silence, told.written) = (now, SILENCE, 0);
                }
                told.last = now;
                // The same again is no news.
                let is_news = !same && told.written < LINES;
                told.written += u32::from(is_news);
                told.left_out += u64::from(!is_news);
                told.same &= same;
                told.level = level;
                text.clone_into(&mut told.text);
                is_news
            }
            _ => {
                let text = text.to_owned();
                let (since, last, silence) = (now, now, SILENCE);
                let told = Told { since, last, silence, same: true, written: 1, left_out: 0, level, text };
                self.told.insert(reason, told);
                true
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.told.values().filter(|told| told.left_out > 0).map(|told| told.since + told.silence).min()
    }

    /// The last line of each reason whose silence is over, with the number of lines that it stands for.
    fn tell(&mut self, now: Instant) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        for told in self.told.values_mut() {
            if told.left_out == 0 || now.duration_since(told.since) < told.silence {
                continue;
            }
            let others = told.left_out - 1;
            let more =
                if others > 0 { format!(" (and {others} more since the last line)") } else { String::new() };
            lines.push((told.level, format!("{}{more}", told.text)));
            told.silence = if told.same { (told.silence * LONGER).min(LONGEST_SILENCE) } else { SILENCE };
            (told.since, told.same, told.written, told.left_out) = (now, true, LINES, 0);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_lines_of_one_reason_are_few_and_all_are_accounted_for() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let (mut written, mut stood_for) = (0, 0);
        for n in 0..1_000_000_u64 {
            let now = start + Duration::from_micros(n * 100);
            if limiter.due().is_some_and(|due| due <= now) {
                for (_, text) in limiter.tell(now) {
                    written += text.len();
                    let others = text.split("(and ").nth(1).and_then(|rest| rest.split(' ').next());
                    stood_for += 1 + others.map_or(0, |others| others.parse::<u64>().unwrap_or(0));
                }
            }
            if limiter.lets_through("place", "WARNING", "no sFlow", now) {
                written += 8;
                stood_for += 1;
            }
        }
        let left: u64 = limiter.told.values().map(|told| told.left_out).sum();
        assert_eq!(stood_for + left, 1_000_000);
        assert!(written < 1000, "{written}");
        assert!(limiter.lets_through("another place", "INFO", "x", start));
    }

    #[test]
    fn the_same_is_said_once_and_what_differs_a_few_times() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let lines = ["a", "a", "b", "b", "b", "c"];
        let passed = lines.map(|line| limiter.lets_through("place", "WARNING", line, now));
        assert_eq!(passed, [true, false, true, false, false, true]);
        assert_eq!(
            limiter.tell(now + SILENCE),
            [("WARNING", "c (and 2 more since the last line)".to_owned())]
        );
    }

    #[test]
    fn what_lasts_is_told_less_and_less_often_until_something_else_is_to_be_told() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..20_000 {
            let now = start + Duration::from_secs(second);
            if limiter.lets_through("place", "WARNING", "no engine", now) || !limiter.tell(now).is_empty() {
                told.push(second);
            }
        }
        assert_eq!(told, [0, 10, 70, 430, 2_590, 6_190, 9_790, 13_390, 16_990]);
        // The engine is back for a while, and then something else is wrong.
        let now = start + Duration::from_secs(20_000) + QUIET;
        assert!(limiter.lets_through("place", "WARNING", "no engine", now));
        assert!(limiter.lets_through("place", "WARNING", "no permission", now));
        assert!(!limiter.lets_through("place", "WARNING", "no permission", now));
        assert_eq!(limiter.tell(now + SILENCE).len(), 1);
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}ü\r"), "a\\nb\\u{1b}[31m\\u{202e}ü\\r");
        assert_eq!(escape(&"x".repeat(4096)), "x".repeat(LONGEST) + "...");
    }
}
