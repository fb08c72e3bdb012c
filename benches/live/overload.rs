//! Promise I7: the highest rate without loss, then twice that: as much is accepted, what is dropped is counted, memory is
//! flat, and REST answers.
//!
//! A processor's sender is hardly faster than a worker with one definition: the kernel's way through loopback costs it
//! more than the worker has to do. So the worker has more to do here, with the definitions of a collector in full use.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::pace::{Offered, keep_to_last_processor, offer};
use super::table::{Table, mib, ms};
use crate::bench::{Bench, Line, Number, Target};
use crate::support::Collector;
use crate::support::observer::{Account, Answers, ask_until, memory};
use crate::support::traffic::Traffic;

/// Different datagrams that are sent.
const STRETCH: usize = 65_536;

/// How long each trial of a rate takes.
const TRIAL: Duration = Duration::from_secs(3);

/// How long the overload lasts, after as much of it to warm up.
const OVERLOAD: Duration = Duration::from_secs(10);

/// Room for what comes while the worker's processor does something else.
const RECEIVE_BUFFER: &str = "67108864";

/// Flow definitions beside the one that is built in: each of these keys, by frames and by bytes.
const DEFINED: [&str; 8] = [
    "ipsource",
    "ipsource,ipdestination",
    "macsource,macdestination",
    "ipsource,ipdestination,ipprotocol",
    "ipsource,ipdestination,tcpsourceport,tcpdestinationport",
    "ipsource,ipdestination,udpsourceport,udpdestinationport",
    "group:ipsource:default,group:ipdestination:default",
    "or:tcpsourceport:udpsourceport,or:tcpdestinationport:udpdestinationport",
];

/// A client's pause between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// The collector under load, and what sends to it.
pub(crate) struct Load<'c> {
    pub(crate) collector: &'c Collector,
    pub(crate) traffic: Traffic,
    /// Sent so far.
    pub(crate) sent: u64,
}

impl Load<'_> {
    /// Offers a rate for a time; what was offered, and the account before and after, when all of it is in it.
    pub(crate) fn offer(&mut self, per_s: f64, time: Duration) -> (Offered, Account, Account) {
        let before = Account::wait_for(self.collector, self.sent);
        let offered = offer(self.collector.sflow, &mut self.traffic, per_s, time);
        self.sent += offered.sent;
        (offered, before, Account::wait_for(self.collector, self.sent))
    }

    /// Whether none is lost at this rate.
    fn holds(&mut self, per_s: f64) -> bool {
        let (offered, before, after) = self.offer(per_s, TRIAL);
        let dropped = after.dropped - before.dropped;
        eprintln!(
            "overload: {:.0} datagrams/s offered, {dropped} of {} dropped",
            offered.per_s(),
            offered.sent
        );
        // A sender that cannot keep the rate has not tried it.
        dropped == 0 && offered.per_s() > per_s * 0.99
    }

    /// The highest rate without loss: halving between a rate that has losses and one that has none.
    pub(crate) fn sustainable(&mut self, highest: f64) -> f64 {
        let (mut low, mut high) = (0.0, highest);
        for _ in 0..6 {
            let middle = (low + high) / 2.0;
            if self.holds(middle) { low = middle } else { high = middle }
        }
        // Neighbours on the machine come and go: the rate has to hold once more.
        while low > 0.0 && !self.holds(low) {
            low *= 0.95;
        }
        low
    }
}

/// What the overload was measured to be.
struct Measured {
    /// The sender's highest rate, and the collector's without loss, datagrams per second.
    fastest: f64,
    sustainable: f64,
    offered: Offered,
    before: Account,
    after: Account,
    answers: Answers,
    /// Whether the highest rate still had no losses after the overload, and the worker's time per datagram then and in
    /// the overload, seconds.
    still: bool,
    costs: [f64; 2],
    /// How long the worker ran in the overload, and waited for its processor, of all of it.
    shares: [f64; 2],
    /// The account at the end.
    end: Account,
    /// Memory before the overload, in its middle, and at its end, bytes.
    memory: [u64; 3],
}

pub(crate) fn measure(bench: &mut Bench) {
    // The worker has the first processor, the sender the last one; REST and its client take what they get.
    let options = ["--workers", "1", "--pin", "--defaults", "--receive-buffer", RECEIVE_BUFFER];
    let collector = Collector::start(&options);
    define(&collector);
    let mut load = Load { collector: &collector, traffic: Traffic::of_fabric(STRETCH), sent: 0 };
    let (answers, ended) = (Mutex::<Answers>::default(), AtomicBool::new(false));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| ask_until(&answers, &collector, &ended, PAUSE));
        let measured = scope.spawn(|| overloaded(&mut load, &answers)).join();
        ended.store(true, Ordering::Relaxed);
        measured.unwrap()
    });
    tell(bench, &measured, load.sent);
    assert_eq!(collector.end(), Some(0), "an orderly end");
}

/// Defines what a collector in full use has.
pub(crate) fn define(collector: &Collector) {
    for (n, keys) in DEFINED.iter().enumerate() {
        for value in ["frames", "bytes"] {
            let flow = format!(r#"{{"keys":"{keys}","value":"{value}"}}"#);
            let (status, said) = collector.request("PUT", &format!("/flow/{value}{n}/json"), Some(&flow));
            assert!(status < 300, "{status} {said}");
        }
    }
}

fn overloaded(load: &mut Load<'_>, answers: &Mutex<Answers>) -> Measured {
    keep_to_last_processor();
    let memory = |load: &Load<'_>| memory(load.collector.id()).0;
    let (fastest, ..) = load.offer(f64::INFINITY, TRIAL);
    let sustainable = load.sustainable(fastest.per_s());
    let idle = memory(load);
    load.offer(sustainable * 2.0, OVERLOAD);
    let warm = memory(load);
    drop(std::mem::take(&mut *answers.lock().unwrap()));
    let worker = |load: &Load<'_>| processor_time(load.collector.id(), "rx-0");
    let begins = worker(load);
    let (offered, before, after) = load.offer(sustainable * 2.0, OVERLOAD);
    let ends = worker(load);
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    let memory = [idle, warm, memory(load)];
    let (calm, calm_before, calm_after) = load.offer(sustainable, TRIAL);
    let calm_ends = worker(load);
    let cost =
        |ran: Duration, of: &Account, to: &Account| ran.as_secs_f64() / (to.decoded - of.decoded) as f64;
    let costs =
        [cost(calm_ends.0 - ends.0, &calm_before, &calm_after), cost(ends.0 - begins.0, &before, &after)];
    Measured {
        fastest: fastest.per_s(),
        sustainable,
        offered,
        before,
        after,
        answers,
        still: calm_after.dropped == calm_before.dropped && calm.sent > 0,
        costs,
        shares: [ends.0 - begins.0, ends.1 - begins.1].map(|time| time.as_secs_f64() / offered.seconds),
        end: calm_after,
        memory,
    }
}

fn tell(bench: &mut Bench, measured: &Measured, sent: u64) {
    let Measured { fastest, sustainable, offered, before, after, answers, .. } = measured;
    let [idle, warm, now] = &measured.memory;
    let accepted = (after.decoded - before.decoded) as f64 / offered.seconds;
    // Neighbours on the machine take processors away for seconds: what holds or not is told by the worker's own time.
    let ([calm, overload], [ran, waited]) = (measured.costs, measured.shares);
    let line = |what: &str, number: f64, unit, target| Line::figure("P8", what, number, unit, target);
    // A sender that others keep from its processor does not reach twice the rate: the row says what it did reach.
    let ratio = offered.per_s() / sustainable;
    let what = format!(
        "accepted at {ratio:.1} x the sustainable rate / at that rate, per second of the worker's processor time"
    );
    bench.line(Line {
        a: format!("{:.0} datagrams/s", 1.0 / overload),
        b: format!("{:.0} datagrams/s", 1.0 / calm),
        kind: Number::Cost,
        ..line(&what, calm / overload, "", Target::AtLeast(0.95))
    });
    let missing = (i128::from(sent) - i128::from(measured.end.all())).unsigned_abs() as f64;
    bench.line(line(
        "sent, less decoded, errors and counted drops",
        missing,
        "datagrams",
        Target::AtMost(0.0),
    ));
    bench.line(Line {
        a: mib(*now),
        b: mib(*warm),
        kind: Number::Cost,
        ..line(
            "memory at the end / in the middle of it",
            *now as f64 / *warm as f64,
            "",
            Target::AtMost(1.02),
        )
    });
    let mut table = Table::new(format!(
        "P8: one worker with {} flow definitions and one sender, on a processor each",
        DEFINED.len() * 2 + 1
    ));
    table.say("the sender's highest rate", format!("{fastest:.0} datagrams/s"));
    table.say("highest rate without loss", format!("{sustainable:.0} datagrams/s"));
    table.check("offered / highest rate without loss", format!("{ratio:.2}"), ratio >= 1.9);
    table.say("accepted / highest rate without loss, by the clock", format!("{:.2}", accepted / sustainable));
    table.say("the highest rate has no losses after the overload either", measured.still);
    table.check(
        "the worker ran, or waited for its processor",
        format!("{:.0} % and {:.0} % of the time", ran * 100.0, waited * 100.0),
        ran + waited >= 0.95,
    );
    table.say("dropped by the kernel", format!("{} of {}", after.dropped - before.dropped, offered.sent));
    table.say("memory before the overload", mib(*idle));
    let p99 = answers.within(0.99);
    table.check(
        "p99 of REST meanwhile",
        format!("{} of {} answers", ms(p99), answers.times.len()),
        p99 < Duration::from_millis(100) && answers.failed.is_empty(),
    );
    let (question, slowest) = answers.slowest();
    table.say("median, slowest", format!("{}, {} ({question})", ms(answers.within(0.5)), ms(slowest)));
    if let Some(failed) = answers.failed.first() {
        table.say("answers that failed", format!("{}: {failed}", answers.failed.len()));
    }
    bench.table("P8", table.markdown());
}

/// What the scheduler says of a process's threads of this name: how long they ran, and how long they waited for a
/// processor that others had.
fn processor_time(process: u32, name: &str) -> (Duration, Duration) {
    let (mut ran, mut waited) = (0, 0);
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let thread = thread.unwrap().path();
        if std::fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name) {
            let text = std::fs::read_to_string(thread.join("schedstat")).unwrap();
            let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().unwrap());
            ran += numbers.next().unwrap();
            waited += numbers.next().unwrap();
        }
    }
    (Duration::from_nanos(ran), Duration::from_nanos(waited))
}
