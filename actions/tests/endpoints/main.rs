//! What asks endpoints, against servers of its own.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod feeds;
mod http;
mod reach;
mod server;
mod thread;
mod tls;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file that nobody else reads.
fn private(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
