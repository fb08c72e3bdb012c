//! What the live tests stand on: servers, a collector with a controller, and datagrams.

pub(crate) mod acl_server;
pub(crate) mod collector;
pub(crate) mod datagram;
pub(crate) mod http;
pub(crate) mod nvue;
pub(crate) mod wrapper;

use std::time::{Duration, Instant};

/// How long a condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
