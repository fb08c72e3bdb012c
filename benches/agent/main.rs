//! The agent on a real Docker engine: how soon its samples come, how true the last ones are, and what it costs, beside
//! `docker stats` and, where there is a build of it (FINDERSCOPE_HSFLOWD, or installed), beside hsflowd.
//!
//! `cargo bench -p agent --bench agent`, as root; further arguments name parts: `lives`, `cost`. Ends with 1 when a promise
//! does not hold.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

mod account;
mod cost;
mod followers;
mod lives;
mod receiver;
mod report;
#[allow(dead_code, reason = "tests use the rest of it")]
mod support;
mod watch;

use std::process::ExitCode;

use followers::Hsflowd;
use support::docker_lab::Lab;

fn main() -> ExitCode {
    // Cargo gives --bench; what else there is names parts.
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let other = Hsflowd::find();
    match &other {
        Ok(build) => eprintln!("agent: {} is measured beside", build.title),
        Err(why) => eprintln!("agent: hsflowd is not measured: {why}"),
    }
    let lab = Lab::own(&[]);
    let mut holds = true;
    if wanted("lives") {
        holds &= lives::run(&lab, other.as_ref());
    }
    if wanted("cost") {
        holds &= cost::run(&lab, other.as_ref());
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a table says where there is no hsflowd.
fn not_measured(why: &str) -> String {
    format!("hsflowd was not measured: {why}")
}

/// How busy the machine is, for the table's title.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    let processors = std::thread::available_parallelism().unwrap();
    format!("load {} on {processors} processors", text.split(' ').next().unwrap())
}
