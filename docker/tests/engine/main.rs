//! What comes of an engine's answers, whatever they are. The engine is a stand-in that answers what a test says; the
//! real one is in the tests of the whole program.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

mod answers;
mod events;
mod managers;
mod services;
mod stand_in;
mod tls;

use std::time::Duration;

use docker::Limits;

/// How long a test waits for something that should be there in a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that a test can wait for.
fn short() -> Limits {
    Limits { call: Duration::from_millis(300), body_bytes: 4096, line_bytes: 512, ..Limits::default() }
}

/// Runs a test on one thread, as the agent does.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test ends") })
}
