//! The collector for a time, at a rate that it takes with ease, while everything about it comes and goes: agents, flows,
//! definitions, lists of a feed, captures, clients. `SOAK_S` seconds (default 600) at `SOAK_RATE` datagrams a second of the
//! simulated fabric (default 2,000). Nothing may be lost, and memory, descriptors and threads must not grow.
//!
//! `make soak` runs it, and what a sanitizer looks at (`threads.rs`). It ends with 1 when a promise does not hold.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench says what broke by panicking")]

mod churn;
#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod support;
#[allow(dead_code, reason = "the bench of how soon a capture begins looks at when")]
#[path = "../live/switches.rs"]
mod switches;
#[path = "../live/table.rs"]
mod table;

use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use churn::Churn;
use support::observer::{Account, Answers, QUESTIONS, memory};
use support::{Collector, finderscope};
use table::{Table, mib, ms};

/// Warnings that a collector under no strain may give: the receive buffer may be smaller than was asked for.
const WARNINGS: usize = 1;

/// How fast REST has to answer, in 99 of 100 cases.
const P99: Duration = Duration::from_millis(100);

/// How soon it has to end.
const SOON: Duration = Duration::from_secs(5);

/// Descriptors and threads that may be there at the end beyond what was there in the second quarter: connections, and
/// threads that wait for answers, are as many as happen to be needed at a moment.
const MORE: u64 = 8;

/// How far memory may rise from the second quarter to the last: a run of less than two minutes is still warming up.
fn most_rise(seconds: f64) -> f64 {
    if seconds < 120.0 { 1.15 } else { 1.05 }
}

/// What the process had of each at a moment.
#[derive(Clone, Copy, Debug)]
struct Level {
    memory: u64,
    descriptors: u64,
    threads: u64,
}

impl Level {
    fn of(process: u32) -> Self {
        let entries =
            |folder: &str| std::fs::read_dir(format!("/proc/{process}/{folder}")).unwrap().count() as u64;
        Self { memory: memory(process).0, descriptors: entries("fd"), threads: entries("task") }
    }
}

/// A number from the environment.
fn number(name: &str, otherwise: f64) -> f64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    match text.parse() {
        Ok(number) if number > 0.0 => number,
        _ => panic!("{name}={text}: a number above 0 is needed"),
    }
}

fn main() -> ExitCode {
    if run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs; whether all holds.
fn run() -> bool {
    let (seconds, rate) = (number("SOAK_S", 600.0), number("SOAK_RATE", 2000.0));
    let folder = tempfile::tempdir().unwrap();
    let churn = Churn::configure(folder.path());
    let config = folder.path().join("finderscope.toml");
    let timeout = churn::AGENT_TIMEOUT_S.to_string();
    let options = ["--defaults", "--agent-timeout", &timeout, "--config", config.to_str().unwrap()];
    let collector = Collector::start(&options);
    let mut fabric = Fabric::start(&collector, rate, seconds);
    let (mut answers, mut levels) = (Answers::default(), Vec::new());
    let ended = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let churn = scope.spawn(|| churn.run(&collector, &ended));
        let began = Instant::now();
        // Once a second a question of each kind, and beside it what the process has.
        while fabric.runs() {
            for question in QUESTIONS {
                answers.add(Answers::of(&collector, question));
            }
            levels.push(Level::of(collector.id()));
            let next = Duration::from_secs(levels.len() as u64);
            std::thread::sleep(next.saturating_sub(began.elapsed()));
        }
        ended.store(true, Ordering::Relaxed);
        churn.join().unwrap()
    });
    let sent = fabric.sent() + done.sent;
    let account = Account::wait_for(&collector, sent);
    let warnings =
        collector.log().iter().filter(|line| !line.contains(" INFO: ")).cloned().collect::<Vec<_>>();
    let ending = Instant::now();
    let code = collector.end();
    let ended = ending.elapsed();

    let mut table = Table::new(format!("{seconds} s of the simulated fabric at {rate} datagrams/s"));
    done.tell(&mut table);
    let missing = i128::from(sent) - i128::from(account.all());
    table.check("sent, less decoded, errors and drops", format!("{missing} of {sent}"), missing == 0);
    let lost = (account.errors, account.dropped);
    table.check("errors and drops", format!("{} and {}", lost.0, lost.1), lost == (0, 0));
    tell_levels(&mut table, &levels, seconds);
    let p99 = answers.within(0.99);
    let all = answers.times.len();
    table.check("p99 of REST", format!("{} of {all} answers", ms(p99)), p99 < P99);
    let (question, slowest) = answers.slowest();
    table.say("median, slowest", format!("{}, {} ({question})", ms(answers.within(0.5)), ms(slowest)));
    let failed = answers.failed.first().cloned().unwrap_or_default();
    table.check(
        "answers that failed",
        format!("{} {failed}", answers.failed.len()),
        answers.failed.is_empty(),
    );
    table.check("warnings", format!("{}", warnings.len()), warnings.len() <= WARNINGS);
    table.check(
        "orderly end on SIGTERM",
        format!("{code:?} after {}", ms(ended)),
        code == Some(0) && ended < SOON,
    );
    let holds = table.print();
    warnings.iter().take(20).for_each(|line| eprintln!("{line}"));
    holds
}

/// The second quarter is warm; the last one must not be above it.
fn tell_levels(table: &mut Table, levels: &[Level], seconds: f64) {
    let most = |quarter: usize, of: fn(&Level) -> u64| {
        let some = levels.iter().skip(levels.len() * quarter / 4).take(levels.len().div_ceil(4));
        some.map(of).max().unwrap()
    };
    let (warm, last) = (most(1, |level| level.memory), most(3, |level| level.memory));
    let ratio = last as f64 / warm as f64;
    table.check(
        "memory, last quarter / second quarter",
        format!("{ratio:.3} ({})", mib(last)),
        ratio <= most_rise(seconds),
    );
    let descriptors = (most(1, |level| level.descriptors), most(3, |level| level.descriptors));
    let threads = (most(1, |level| level.threads), most(3, |level| level.threads));
    for (what, (warm, last)) in [("descriptors", descriptors), ("threads", threads)] {
        table.check(
            &format!("{what}, most in the second quarter and in the last"),
            format!("{warm} and {last}"),
            last <= warm + MORE,
        );
    }
}

/// The simulated fabric; it ends with the bench.
struct Fabric(Option<std::process::Child>);

impl Fabric {
    fn start(collector: &Collector, rate: f64, seconds: f64) -> Self {
        let to = collector.sflow.to_string();
        let sender = finderscope()
            .args(["simulate", "--to", &to, "--hosts", "256", "--leaves", "16", "--flows", "10000"])
            .args(["--polling", "5", "--rate", &rate.to_string(), "--duration", &seconds.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(Some(sender))
    }

    fn runs(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// How many datagrams it has sent, when it has ended.
    fn sent(&mut self) -> u64 {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "finderscope simulate: {}: {said}", output.status);
        let words = said.lines().find_map(|line| line.strip_prefix("sent "));
        words.and_then(|words| words.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
