//! The server as it is run: its answers, its folder, its commits, and what it withstands.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod commits;
mod hostile;
mod running;
mod strangers;
