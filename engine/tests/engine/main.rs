//! Tests of whole engines: sockets, threads and all, on loopback.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

#[cfg(target_os = "linux")]
mod fragments;
mod news;
mod support;
mod workers;
