//! What only load and time show, of the real program over loopback: `cargo bench --bench load` measures overload, many
//! keys and how soon a capture begins, `cargo bench --bench load -- soak` runs for `SOAK_S` seconds (default 600) at
//! `SOAK_RATE` datagrams a second (default 2,000), which is `make soak`. Ends with 1 when a promise does not hold.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

mod act;
mod cardinality;
mod floor;
mod overload;
mod pace;
#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod support;
#[path = "../live/switches.rs"]
mod switches;
#[path = "../live/table.rs"]
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo gives --bench; what else there is names parts.
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| {
        if parts.is_empty() { part != "soak" } else { parts.iter().any(|wanted| wanted == part) }
    };
    let mut holds = true;
    if wanted("overload") {
        holds &= overload::run();
    }
    if wanted("cardinality") {
        holds &= cardinality::run();
    }
    if wanted("act") {
        holds &= act::run();
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
