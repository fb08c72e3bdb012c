//! What a client and the kernel see of a running collector: its counts, its memory, how fast it answers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Collector, PATIENCE};

/// What clients ask again and again.
pub(crate) const QUESTIONS: [&str; 7] = [
    "/metrics",
    "/agents/json",
    "/analyzer/json",
    "/activeflows/ALL/flows/json?maxFlows=100",
    "/metric/ALL/max:ifinoctets,sum:ifoutoctets/json",
    "/dump/ALL/ifinoctets,ifoutoctets/json",
    "/flowkeys/json",
];

/// Where every datagram is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) decoded: u64,
    pub(crate) errors: u64,
    /// Dropped by the kernel, at the rings of a queue, or on the way to another worker.
    pub(crate) dropped: u64,
    pub(crate) evicted_flows: u64,
    pub(crate) live_flows: u64,
}

impl Account {
    /// As the collector says now.
    pub(crate) fn read(collector: &Collector) -> Self {
        let (status, text) = collector.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let sum = |name: &str| {
            let of = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
            let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
            text.lines().filter(of).map(value).sum::<f64>() as u64
        };
        Self {
            decoded: sum("finderscope_datagrams_total"),
            errors: sum("finderscope_datagram_errors_total"),
            dropped: sum("finderscope_kernel_drops_total")
                + sum("finderscope_queue_drops_total")
                + sum("finderscope_handover_full_total"),
            evicted_flows: sum("finderscope_evicted_flows_total"),
            live_flows: sum("finderscope_live_flows"),
        }
    }

    /// All datagrams that it accounts for.
    pub(crate) fn all(&self) -> u64 {
        self.decoded + self.errors + self.dropped
    }

    /// The account when this many are in it, or, when they never are, the last one.
    pub(crate) fn wait_for(collector: &Collector, all: u64) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let account = Self::read(collector);
            if account.all() >= all || Instant::now() > deadline {
                return account;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Memory of a process, from the kernel, in bytes: now, and at most so far.
pub(crate) fn memory(process: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// How long answers took, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) times: Vec<(&'static str, Duration)>,
    pub(crate) failed: Vec<String>,
}

impl Answers {
    /// The answer to one question.
    pub(crate) fn of(collector: &Collector, question: &'static str) -> Self {
        let began = Instant::now();
        let (status, body) = collector.get(question);
        let times = vec![(question, began.elapsed())];
        let failed = if status == 200 { Vec::new() } else { vec![format!("{question}: {status} {body}")] };
        Self { times, failed }
    }

    /// Takes others too.
    pub(crate) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed.extend(other.failed);
    }

    /// The time within which this share of them came.
    pub(crate) fn within(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.times.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        let place = (times.len() as f64 * share).ceil() as usize;
        times.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The slowest of them, and what was asked.
    pub(crate) fn slowest(&self) -> (&'static str, Duration) {
        self.times.iter().max_by_key(|(_, time)| *time).copied().unwrap_or_default()
    }
}

/// Asks all questions over and over, with a pause between two, until told to end.
pub(crate) fn ask_until(
    answers: &Mutex<Answers>,
    collector: &Collector,
    ended: &AtomicBool,
    pause: Duration,
) {
    while !ended.load(Ordering::Relaxed) {
        for question in QUESTIONS {
            let one = Answers::of(collector, question);
            answers.lock().unwrap().add(one);
            std::thread::sleep(pause);
        }
    }
}
