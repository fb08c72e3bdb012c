//! What can go wrong with an engine, each error with the endpoint and what was asked.

use std::path::PathBuf;
use std::time::Duration;

/// What went wrong. What the engine or a file said is in it escaped and cut short, so that a line stays a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine cannot be reached, or it cannot be trusted.
    #[error("{endpoint}: {why}")]
    Connect {
        /// Who was asked.
        endpoint: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A certificate or a key is missing, unreadable, or open to others.
    #[error("{path}: {why}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// It did not answer in time.
    #[error("{endpoint}: {call}: no answer in {} s", limit.as_secs_f32())]
    Time {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// The time that there was.
        limit: Duration,
    },
    /// The connection ended, or what came over it is no HTTP.
    #[error("{endpoint}: {call}: {why}")]
    Lost {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// What happened.
        why: String,
    },
    /// There is no such container or service.
    #[error("{endpoint}: {call}: 404: {message}")]
    NotFound {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// The engine's words.
        message: String,
    },
    /// The engine refused or failed.
    #[error("{endpoint}: {call}: {status}: {message}")]
    Status {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// A service was changed since it was read, or the engine was: nothing was done, and what was decided is to be
    /// decided again on what the service is now.
    #[error("{endpoint}: {call}: read the service again: {message}")]
    OutOfSequence {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// What has changed.
        message: String,
    },
    /// The engine manages no swarm, or not now.
    #[error("{endpoint}: {call}: no manager of a swarm: {message}")]
    NotAManager {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// The engine's words.
        message: String,
    },
    /// None of several managers answers.
    #[error("no manager answers: {why}")]
    NoManager {
        /// What came of asking each.
        why: String,
    },
    /// A change was sent and no answer came: whether it was done is not known before its object is read again. It is
    /// never sent a second time.
    #[error("{endpoint}: {call}: it may be done or not, read again: {why}")]
    Undecided {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// Why there is no answer.
        why: String,
    },
    /// It makes no sense, so nobody was asked.
    #[error("{what}: {why}")]
    NotAsked {
        /// What it is about.
        what: String,
        /// Why not.
        why: String,
    },
    /// The answer is longer than the limit.
    #[error("{endpoint}: {call}: the answer is longer than {limit_bytes} bytes")]
    TooLong {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer is not what was asked for.
    #[error("{endpoint}: {call}: the answer is not understood: {why}")]
    Answer {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// One line of the event stream was left out; the stream goes on.
    #[error("{endpoint}: an event was left out: {why}")]
    Line {
        /// Whose stream it is.
        endpoint: String,
        /// What is wrong with the line.
        why: String,
    },
}

impl Error {
    /// Whether it is about one line, and the stream goes on after it.
    pub fn is_line(&self) -> bool {
        matches!(self, Self::Line { .. })
    }

    /// A short name of its kind, for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Certificates { .. } => "certificates",
            Self::Time { .. } => "time",
            Self::Lost { .. } => "lost",
            Self::NotFound { .. } => "not_found",
            Self::Status { .. } => "status",
            Self::OutOfSequence { .. } => "out_of_sequence",
            Self::NotAManager { .. } => "not_a_manager",
            Self::NoManager { .. } => "no_manager",
            Self::Undecided { .. } => "undecided",
            Self::NotAsked { .. } => "not_asked",
            Self::TooLong { .. } => "too_long",
            Self::Answer { .. } => "answer",
            Self::Line { .. } => "line",
        }
    }
}

/// Most characters of somebody else's text in an error.
const SHOWN: usize = 300;

/// Somebody else's text as part of a line: what is not printable is escaped, what is long is cut.
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == SHOWN {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line_and_is_cut() {
        assert_eq!(shown("No such container: \"a\"\n"), "No such container: \"a\"\\n");
        assert_eq!(shown("\u{1b}[31m\u{202e}x\u{2028}ü"), "\\u{1b}[31m\\u{202e}x\\u{2028}ü");
        assert_eq!(shown(&"x".repeat(4096)), "x".repeat(300) + "...");
    }
}
