//! AF_XDP in network namespaces of the tests' own: what the program steers, and to whom.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;
mod allocations;
mod attaching;
mod frames;
mod netns;
mod sockets;
mod steering;

#[path = "../../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod namespace;

/// What the namespaces need of the root package's support.
#[path = "../../../tests/support/alone.rs"]
mod live;
