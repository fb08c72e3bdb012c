//! Instructions, counted by valgrind: what a decoded sample, an update, a lookup and a whole sample take. They are the same
//! on a busy machine and on an idle one, so that a change is seen where times tell nothing; what a cache that misses costs
//! they do not tell.
//!
//! `cargo bench -p engine --bench counts` prints the table; `-- --check` compares it with the committed
//! `benches/results.md` and ends with 1 when one has grown by more than a tenth. Where that was made by another compiler
//! it only says so.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

#[allow(dead_code, reason = "other benches use the rest of it")]
mod common;

use std::fs;
use std::process::{Command, ExitCode};

use common::{lookups, reading, updates, whole};
use engine::process::ahead;
use fabric::mix::{self, Mix, SAMPLES};
use tables::flow::active::FlowAggregation;

/// How much more than before is told as grown.
const TOLERANCE: f64 = 0.1;

/// The committed counts.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/results.md");

/// What is counted in it alone.
const COUNTED: &str = "*::counted";

/// Datagrams, keys of a flow table, updates, and addresses: as many as matter, and as few as valgrind takes seconds for.
const DATAGRAMS: usize = 8192;
const FLOWS: usize = 200_000;
const UPDATES: usize = 400_000;
const ADDRESSES: usize = 1 << 16;

/// Something that is counted.
struct Part {
    name: &'static str,
    /// What the count is divided by.
    unit: &'static str,
    /// Prepares, has it counted, and tells how many of the unit there were.
    count: fn() -> usize,
}

const PARTS: [Part; 9] = [
    Part { name: "decode and dissect", unit: "sample", count: decode },
    Part { name: "the whole pipeline", unit: "sample", count: pipeline },
    Part { name: "update, all keys as frequent", unit: "update", count: || update(updates::uniform) },
    Part { name: "update, zipf", unit: "update", count: || update(updates::zipf) },
    Part { name: "new flow", unit: "flow", count: insert },
    Part {
        name: "lookup, blacklist of 50,000, 98 % misses",
        unit: "lookup",
        count: || lookup(&lookups::listed(lookups::LISTED), 2),
    },
    Part {
        name: "lookup, 200,000 IPv4 prefixes",
        unit: "lookup",
        count: || lookup(&lookups::routes(200_000), 90),
    },
    Part {
        name: "lookup, 50,000 IPv6 prefixes",
        unit: "lookup",
        count: || lookup(&lookups::routes_v6(50_000), 100),
    },
    Part { name: "top 100 of 200,000 flows", unit: "flow", count: top },
];

/// The one function in which instructions are counted: valgrind knows it by its name.
#[inline(never)]
fn counted(call: &mut dyn FnMut() -> u64) {
    assert!(call() > 0, "something was done");
}

fn datagrams(mix: &Mix) -> Vec<Vec<u8>> {
    mix::datagrams(mix, |datagrams, _| datagrams < DATAGRAMS)
}

fn decode() -> usize {
    let datagrams = datagrams(&Mix::default());
    counted(&mut || reading::read(ahead(&datagrams, |datagram| datagram)));
    datagrams.len() * SAMPLES
}

fn pipeline() -> usize {
    // So few flows that the second half finds most of them; new ones are counted below.
    let datagrams = datagrams(&Mix { agents: 4, ports: 4, conversations: 500, ..Mix::default() });
    let mut whole = whole::Whole::new(&whole::blacklist(), None);
    let (first, second) = datagrams.split_at(datagrams.len() / 2);
    whole.pass(first);
    counted(&mut || whole.pass(second));
    second.len() * SAMPLES
}

fn update(order: fn(&[updates::Key], usize) -> Vec<updates::Key>) -> usize {
    let keys = updates::keys(FLOWS);
    let order = order(&keys, UPDATES);
    let mut ours = updates::Ours::new();
    ours.update(&keys);
    counted(&mut || ours.update(&order));
    order.len()
}

fn insert() -> usize {
    let keys = updates::keys(FLOWS);
    let mut ours = updates::Ours::new();
    counted(&mut || ours.update(&keys));
    keys.len()
}

fn top() -> usize {
    let keys = updates::keys(FLOWS);
    let mut ours = updates::Ours::new();
    ours.update(&keys);
    ours.update(&updates::zipf(&keys, UPDATES));
    counted(&mut || {
        std::hint::black_box(ours.largest(FlowAggregation::Max));
        1
    });
    FLOWS
}

fn lookup(networks: &[ip_network::IpNetwork], hits: u64) -> usize {
    let set = lookups::set(networks);
    let addresses = lookups::addresses(networks, hits, ADDRESSES);
    counted(&mut || lookups::hits(&set, &addresses));
    addresses.len()
}

fn main() -> ExitCode {
    let mut check = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo gives it.
            "--bench" => {}
            "--check" => check = true,
            // Under valgrind, to do one of them.
            "--part" => {
                let number: usize = args.next().and_then(|number| number.parse().ok()).unwrap();
                println!("{}", (PARTS[number].count)());
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("counts: {other:?} is not --check");
                return ExitCode::FAILURE;
            }
        }
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("counts: valgrind is not installed: apt-get install valgrind, or tools/deps.sh bench");
        return ExitCode::FAILURE;
    }
    let committed = if check { Committed::read() } else { Committed::default() };
    println!("| what | instructions | of each |{}", if check { " before | change |" } else { "" });
    println!("|---|---|---|{}", if check { "---|---|" } else { "" });
    let mut grown = Vec::new();
    for (number, part) in PARTS.iter().enumerate() {
        let count = under_valgrind(number);
        let before = committed.count(part.name);
        let compared = match before {
            _ if !check => String::new(),
            None => " | |".to_owned(),
            Some(before) => format!(" {before:.1} | {:+.1} % |", (count / before - 1.0) * 100.0),
        };
        println!("| {} | {count:.1} | {} |{compared}", part.name, part.unit);
        if before.is_some_and(|before| count > before * (1.0 + TOLERANCE)) {
            grown.push(part.name);
        }
    }
    if check { committed.tell(&grown) } else { ExitCode::SUCCESS }
}

/// Instructions per unit of a part.
fn under_valgrind(number: usize) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--part", &number.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    // "==12345== Collected : 6789"
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, number)| number.trim());
    match (collected.and_then(|number| number.parse::<f64>().ok()), told.trim().parse::<f64>()) {
        (Some(collected), Ok(units)) if output.status.success() && collected > 0.0 => collected / units,
        _ => panic!("valgrind: {}: {said}", output.status),
    }
}

/// What is committed.
#[derive(Default)]
struct Committed {
    text: String,
}

impl Committed {
    fn read() -> Self {
        Self { text: fs::read_to_string(COMMITTED).unwrap_or_else(|error| panic!("{COMMITTED}: {error}")) }
    }

    fn count(&self, name: &str) -> Option<f64> {
        let row = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("| ")?.strip_prefix(name)?.strip_prefix(" | "));
        row?.split(" | ").next()?.parse().ok()
    }

    /// The compiler that made what is committed: "rustc 1.95.0 (...)".
    fn compiler(&self) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix("- compiler: "));
        line.and_then(|line| line.split(", profile").next()).unwrap_or("another compiler")
    }

    /// Says which have grown; whether that is a failure.
    fn tell(&self, grown: &[&str]) -> ExitCode {
        let output = Command::new("rustc").arg("--version").output().unwrap();
        let ours = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if grown.is_empty() {
            println!("\nNone has grown by more than {:.0} %.", TOLERANCE * 100.0);
            return ExitCode::SUCCESS;
        }
        println!("\nGrown by more than {:.0} %: {}.", TOLERANCE * 100.0, grown.join("; "));
        if ours != self.compiler() {
            println!(
                "This is {ours}; what is committed was counted with {}: not a failure.",
                self.compiler()
            );
            return ExitCode::SUCCESS;
        }
        ExitCode::FAILURE
    }
}
