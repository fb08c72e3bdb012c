//! What is counted of a script, and how it stands.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value as Json, json};

use crate::http;

/// Counters of a script, over all its starts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) flows: Taken,
    pub(crate) events: Taken,
    pub(crate) requests: Taken,
    /// Exceptions that nobody caught.
    pub(crate) exceptions: AtomicU64,
    /// Calls that took too long and were interrupted.
    pub(crate) interrupted: AtomicU64,
    /// Times that it was started.
    pub(crate) starts: AtomicU64,
    /// Processor time, milliseconds.
    pub(crate) cpu_ms: AtomicU64,
    /// Memory of its values, bytes.
    pub(crate) memory_bytes: AtomicU64,
    /// What it asked over HTTP.
    pub(crate) http: http::Counts,
    alive: AtomicBool,
    graceful: AtomicBool,
    error: Mutex<Option<String>>,
    header: Mutex<Json>,
}

/// What came for a script, and what found no place.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) received: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl Taken {
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Counters {
    /// It begins.
    pub(crate) fn begin(&self) {
        self.starts.fetch_add(1, Relaxed);
        self.alive.store(true, Relaxed);
        self.graceful.store(false, Relaxed);
        *self.lock() = None;
    }

    /// It has ended: orderly, or for this reason.
    pub(crate) fn end(&self, why: Result<(), String>) {
        self.graceful.store(why.is_ok(), Relaxed);
        self.alive.store(false, Relaxed);
        if let Err(why) = why {
            *self.lock() = Some(why);
        }
    }

    /// What its header comments say, an object of texts.
    pub(crate) fn says(&self, header: Json) {
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = header;
    }

    /// An exception that nobody caught.
    pub(crate) fn exception(&self, text: &str) {
        self.exceptions.fetch_add(1, Relaxed);
        *self.lock() = Some(text.to_owned());
    }

    /// Whether its thread runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }

    /// Whether it has done what it was to do, or goes on doing it.
    pub(crate) fn is_ok(&self) -> bool {
        self.is_alive() || self.graceful.load(Relaxed)
    }

    /// As `/scripts/json` has it.
    pub(crate) fn json(&self) -> Json {
        json!({
            "alive": self.is_alive(),
            "gracefulExit": self.graceful.load(Relaxed),
            "error": *self.lock(),
            "cpuMs": self.cpu_ms.load(Relaxed),
            "flowsReceived": self.flows.received(),
            "flowsLost": self.flows.lost(),
            "eventsReceived": self.events.received(),
            "eventsLost": self.events.lost(),
            "requestsReceived": self.requests.received(),
            "requestsLost": self.requests.lost(),
            "exceptions": self.exceptions.load(Relaxed),
            "interrupted": self.interrupted.load(Relaxed),
            "starts": self.starts.load(Relaxed),
            "memoryBytes": self.memory_bytes.load(Relaxed),
            "header": *self.header.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
