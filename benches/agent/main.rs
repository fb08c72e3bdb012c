//! The agent on a real Docker engine: how soon its samples come, how true the last ones are, and what it costs, beside
//! `docker stats` and, where FINDERSCOPE_HSFLOWD names the folder of a build of hsflowd (with its modules), beside that.
//!
//! `cargo bench -p agent`, as root; further arguments name parts: `lives`, `cost`. Ends with 1 when a promise does not
//! hold.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

mod cost;
mod followers;
mod lives;
mod receiver;
#[allow(dead_code, reason = "tests use the rest of it")]
mod support;
#[allow(dead_code, reason = "the bench of the collector's load uses the rest of it")]
#[path = "../live/table.rs"]
mod table;
mod watch;

use std::process::ExitCode;

use support::docker_lab::Lab;

fn main() -> ExitCode {
    // Cargo gives --bench; what else there is names parts.
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let lab = Lab::own(&[]);
    let mut holds = true;
    if wanted("lives") {
        holds &= lives::run(&lab);
    }
    if wanted("cost") {
        holds &= cost::run(&lab);
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How busy the machine is, for the table's title.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    let processors = std::thread::available_parallelism().unwrap();
    format!("load {} on {processors} processors", text.split(' ').next().unwrap())
}
