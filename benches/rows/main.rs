//! One row per target of speed (P1 to P15), and per promise that only load shows (A4). `cargo bench --bench rows` measures
//! all of them, `cargo bench --bench rows -- P4 P9` some; `--write FILE` writes the table for `benches/results.md`, which
//! `make bench` makes. benches/README.md says how each is measured.
//!
//! Both sides of a ratio alternate in one run on one core, in the thread's own CPU time (`common/ratio.rs`): machines are
//! shared and noisy, and an absolute time says little. Criterion times each side beside it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

mod bench;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other benches use the rest of it")]
mod common;
mod decode;
mod flows;
mod handlers;
mod line;
#[path = "../live/mod.rs"]
mod live;
mod pipeline;
mod prefixes;
#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod support;
mod wire;

use std::process::ExitCode;

use bench::Bench;

/// A row, or rows that one run measures.
struct Row {
    names: &'static [&'static str],
    measure: fn(&mut Bench),
}

/// All rows, in the order in which they are measured: memory while nothing else has used any, what needs the whole machine
/// last.
const ROWS: [Row; 15] = [
    Row { names: &["P13"], measure: flows::resident_each },
    Row { names: &["P1"], measure: decode::measure },
    Row { names: &["P2"], measure: prefixes::blacklist },
    Row { names: &["P3"], measure: prefixes::full_table },
    Row { names: &["P4"], measure: flows::update },
    Row { names: &["P5"], measure: pipeline::measure },
    Row { names: &["P9"], measure: flows::top },
    Row { names: &["P10"], measure: prefixes::rebuild },
    Row { names: &["P12"], measure: line::measure },
    Row { names: &["P14"], measure: handlers::measure },
    Row { names: &["P6", "P7"], measure: wire::measure },
    Row { names: &["P8"], measure: live::overload::measure },
    Row { names: &["A4"], measure: live::cardinality::measure },
    Row { names: &["P11", "P10"], measure: live::act::measure },
    Row { names: &["P15"], measure: live::handler::measure },
];

fn main() -> ExitCode {
    let mut wanted: Vec<String> = Vec::new();
    let mut write = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo gives it.
            "--bench" => {}
            "--write" => write = args.next(),
            name if is_row(name) => wanted.push(name.to_uppercase()),
            other => {
                let names: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
                eprintln!("rows: {other:?} is no row: there are {}, and --write FILE", names.join(", "));
                return ExitCode::FAILURE;
            }
        }
    }
    let mut bench = Bench::new();
    for row in &ROWS {
        if wanted.is_empty() || row.names.iter().any(|name| wanted.iter().any(|wanted| wanted == name)) {
            (row.measure)(&mut bench);
        }
    }
    let markdown = bench.markdown();
    println!("\n{markdown}");
    if let Some(path) = write {
        std::fs::write(&path, markdown).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    ExitCode::SUCCESS
}

fn is_row(name: &str) -> bool {
    ROWS.iter().flat_map(|row| row.names).any(|known| known.eq_ignore_ascii_case(name))
}
