//! `make soak`: the collector and the simulated fabric for a time, at a rate that it takes with ease.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::observer::{Account, Answers, QUESTIONS, memory};
use crate::support::{Collector, finderscope};
use crate::table::{Table, mib, ms};

/// Warnings that a collector under no strain may give: the receive buffer may be smaller than was asked for.
const WARNINGS: usize = 1;

/// How fast REST has to answer, in 99 of 100 cases.
const P99: Duration = Duration::from_millis(100);

/// How soon it has to end.
const SOON: Duration = Duration::from_secs(5);

/// How far memory may rise from the second quarter to the last: a run of less than two minutes is still warming up.
fn most_rise(seconds: f64) -> f64 {
    if seconds < 120.0 { 1.15 } else { 1.05 }
}

/// A number from the environment.
fn number(name: &str, otherwise: f64) -> f64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    match text.parse() {
        Ok(number) if number > 0.0 => number,
        _ => panic!("{name}={text}: a number above 0 is needed"),
    }
}

/// Runs; whether all holds.
pub(crate) fn run() -> bool {
    let (seconds, rate) = (number("SOAK_S", 600.0), number("SOAK_RATE", 2000.0));
    let collector = Collector::start(&["--defaults"]);
    let to = collector.sflow.to_string();
    let sender = finderscope()
        .args(["simulate", "--to", &to, "--hosts", "256", "--leaves", "16", "--flows", "10000"])
        .args(["--polling", "5", "--rate", &rate.to_string(), "--duration", &seconds.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sender = Sender(Some(sender));
    let began = Instant::now();
    let mut answers = Answers::default();
    let mut levels: Vec<u64> = Vec::new();
    // Once a second a question of each kind, and memory beside it.
    while sender.runs() {
        for question in QUESTIONS {
            answers.add(Answers::of(&collector, question));
        }
        levels.push(memory(collector.id()).0);
        let next = Duration::from_secs(levels.len() as u64);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
    let sent = sender.sent();
    let account = Account::wait_for(&collector, sent);
    let warnings =
        collector.log().iter().filter(|line| !line.contains(" INFO: ")).cloned().collect::<Vec<_>>();
    let ending = Instant::now();
    let code = collector.end();
    let ended = ending.elapsed();

    let mut table = Table::new(format!("{seconds} s of the simulated fabric at {rate} datagrams/s"));
    let missing = i128::from(sent) - i128::from(account.all());
    table.check("sent, less decoded, errors and drops", format!("{missing} of {sent}"), missing == 0);
    let lost = (account.errors, account.dropped);
    table.check("errors and drops", format!("{} and {}", lost.0, lost.1), lost == (0, 0));
    // The second quarter is warm; the last one must not be above it.
    let quarter = |n: usize| levels.iter().skip(levels.len() * n / 4).take(levels.len().div_ceil(4)).max();
    let (warm, last) = (*quarter(1).unwrap(), *quarter(3).unwrap());
    let ratio = last as f64 / warm as f64;
    table.check(
        "memory, last quarter / second quarter",
        format!("{ratio:.3} ({})", mib(last)),
        ratio <= most_rise(seconds),
    );
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
    warnings.iter().for_each(|line| println!("{line}"));
    holds
}

/// The simulated fabric; it ends with the bench.
struct Sender(Option<std::process::Child>);

impl Sender {
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

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
