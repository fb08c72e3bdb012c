//! Log lines: `2016-09-24T00:57:10+0000 INFO: text` on standard error, one line each whatever the text holds.
//!
//! Warnings and errors are limited: of each reason (the place in the code) and agent (the field `agent`) one line is
//! written in ten seconds, and then a line with the number of those that were left out. A line whose text says whom it is
//! about has the field `about` instead, which is not written.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::escape::escape;

/// How long a reason is silent after its line.
const SILENCE: Duration = Duration::from_secs(10);

/// Reasons and agents that are told apart at once; further ones share a place, whose line says how many they were.
const REASONS: usize = 10_000;

/// The target of lines that scripts write, which limit themselves: their reasons are in their text.
const SCRIPTS: &str = "script";

/// The place that further reasons share.
const FURTHER: Reason = ("further reasons", None);

static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);

/// Writes what is logged from here on; once in a program's life.
pub fn start() {
    // The second call changes nothing, which is what it is for.
    let _ = tracing::subscriber::set_global_default(Lines);
}

/// Says how many lines were left out of those whose time is over. To be called about once a second.
pub fn tell_left_out() {
    let told = LIMITER.lock().unwrap_or_else(PoisonError::into_inner).tell(Instant::now());
    for (level, text) in told {
        write_line(level, &text);
    }
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
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "SEVERE",
            Level::WARN => "WARNING",
            _ => "INFO",
        };
        if *metadata.level() <= Level::WARN && metadata.target() != SCRIPTS {
            let reason = (metadata.name(), text.agent.take());
            let mut limiter = LIMITER.lock().unwrap_or_else(PoisonError::into_inner);
            if !limiter.lets_through(reason, level, &text.line, Instant::now()) {
                return;
            }
        }
        write_line(level, &text.line);
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

/// The message, then the other fields.
#[derive(Default)]
struct Text {
    line: String,
    agent: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text never fails.
        let _ = match field.name() {
            "message" => write!(self.line, "{value:?}"),
            "about" => {
                self.agent = Some(format!("{value:?}"));
                Ok(())
            }
            name => {
                if name == "agent" {
                    self.agent = Some(format!("{value:?}"));
                }
                write!(self.line, " {name}={value:?}")
            }
        };
    }
}

/// The place in the code, and the agent that the line is about.
type Reason = (&'static str, Option<String>);

struct Told {
    at: Instant,
    left_out: u64,
    level: &'static str,
    text: String,
}

#[derive(Default)]
struct Limiter {
    told: HashMap<Reason, Told>,
}

impl Limiter {
    fn lets_through(&mut self, reason: Reason, level: &'static str, text: &str, now: Instant) -> bool {
        if self.told.len() >= REASONS && !self.told.contains_key(&reason) {
            self.told.retain(|_, told| told.left_out > 0 || now.duration_since(told.at) < SILENCE);
        }
        let reason =
            if self.told.len() >= REASONS && !self.told.contains_key(&reason) { FURTHER } else { reason };
        match self.told.get_mut(&reason) {
            Some(told) if now.duration_since(told.at) < SILENCE || told.left_out > 0 => {
                told.left_out += 1;
                told.level = level;
                text.clone_into(&mut told.text);
                false
            }
            _ => {
                self.told.insert(reason, Told { at: now, left_out: 0, level, text: text.to_owned() });
                true
            }
        }
    }

    /// The last line of each reason whose silence is over, with the number of lines that it stands for.
    fn tell(&mut self, now: Instant) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        self.told.retain(|reason, told| {
            if now.duration_since(told.at) < SILENCE {
                return true;
            }
            if told.left_out == 0 {
                return false;
            }
            let others = told.left_out - 1;
            let more = match others {
                0 => String::new(),
                _ if *reason == FURTHER => format!(" (and {others} more, of further reasons and agents)"),
                _ => format!(" (and {others} more since the last line)"),
            };
            lines.push((told.level, format!("{}{more}", told.text)));
            told.left_out = 0;
            told.at = now;
            true
        });
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
        let mut written = 0;
        let mut stood_for = 0;
        for n in 0..1_000_000_u64 {
            let now = start + Duration::from_micros(n * 100);
            if n % 10_000 == 0 {
                for (_, text) in limiter.tell(now) {
                    written += text.len();
                    let others = text.split("(and ").nth(1).and_then(|rest| rest.split(' ').next());
                    stood_for += 1 + others.map_or(0, |others| others.parse::<u64>().unwrap_or(0));
                }
            }
            if limiter.lets_through(("place", None), "WARNING", "no sFlow", now) {
                written += 8;
                stood_for += 1;
            }
        }
        let left: u64 = limiter.told.values().map(|told| told.left_out).sum();
        assert_eq!(stood_for + left, 1_000_000);
        assert!(written < 1000, "{written}");
    }

    #[test]
    fn reasons_and_agents_have_their_own_lines_and_are_bounded() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        assert!(limiter.lets_through(("a", None), "WARNING", "x", now));
        assert!(limiter.lets_through(("b", None), "WARNING", "x", now));
        assert!(limiter.lets_through(("a", Some("10.0.0.1".into())), "WARNING", "x", now));
        assert!(!limiter.lets_through(("a", Some("10.0.0.1".into())), "WARNING", "x", now));
        assert!(limiter.tell(now).is_empty());
        assert_eq!(limiter.tell(now + SILENCE), [("WARNING", "x".to_owned())]);
        let mut later = now + SILENCE;
        let through = (0..2 * REASONS)
            .filter(|n| limiter.lets_through(("a", Some(n.to_string())), "WARNING", "x", later))
            .count();
        assert!(limiter.told.len() <= REASONS + 1);
        // How often the limit was reached is told in the end.
        later += SILENCE;
        let others = 2 * REASONS - through - 1;
        let told = format!("x (and {others} more, of further reasons and agents)");
        assert!(limiter.tell(later).iter().any(|(_, text)| *text == told), "{told}");
    }
}
