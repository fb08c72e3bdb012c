//! What can go wrong with a call, each error with the address that was asked.

use std::path::PathBuf;
use std::time::Duration;

/// What went wrong. Addresses are without credentials, foreign words are escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The other side cannot be reached or cannot be trusted; nothing was asked.
    #[error("{url}: {why}")]
    Connect {
        /// Who was asked.
        url: String,
        /// Why not.
        why: String,
    },
    /// A file of certificates, keys or secrets cannot be used; nothing was asked.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// What should be asked cannot be; nothing was asked.
    #[error("{url}: {why}")]
    Request {
        /// Who should have been asked.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// There was no whole answer in time.
    #[error("{url}: no whole answer in {} s", limit.as_secs_f32())]
    Time {
        /// Who was asked.
        url: String,
        /// The time that there was.
        limit: Duration,
    },
    /// The connection ended before the answer was whole, or what came over it is no HTTP.
    #[error("{url}: {why}")]
    Lost {
        /// Who was asked.
        url: String,
        /// What happened.
        why: String,
    },
    /// The answer is longer than the limit.
    #[error("{url}: the answer is longer than {limit_bytes} bytes")]
    TooLong {
        /// Who was asked.
        url: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer is compressed, which nobody asked for.
    #[error("{url}: the answer is encoded ({encoding}), which was not asked for")]
    Encoded {
        /// Who was asked.
        url: String,
        /// How.
        encoding: String,
    },
    /// It leads elsewhere, where nobody goes.
    #[error("{url}: {why}")]
    Redirect {
        /// Who was asked.
        url: String,
        /// Where it leads, and why that is not followed.
        why: String,
    },
}

impl Error {
    /// A short name of its kind, for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::File { .. } => "file",
            Self::Request { .. } => "request",
            Self::Time { .. } => "time",
            Self::Lost { .. } => "lost",
            Self::TooLong { .. } => "too_long",
            Self::Encoded { .. } => "encoded",
            Self::Redirect { .. } => "redirect",
        }
    }

    /// Whether the other side may have received the request, and done what it asks for.
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::Connect { .. } | Self::File { .. } | Self::Request { .. })
    }
}
