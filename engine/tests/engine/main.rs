//! Tests of whole engines, sockets, threads and all, on loopback; and of the function through which datagrams go.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

#[cfg(target_os = "linux")]
mod fragments;
mod news;
mod process;
mod support;
mod workers;
