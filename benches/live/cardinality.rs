//! Promise A4: ten million different keys into one flow definition leave the memory within the table's cap and a tenth
//! more, and every key is live or was counted as evicted.

use std::time::{Duration, Instant};

use ingest::send::Sender;

use super::table::{Table, mib, ms};
use crate::bench::{Bench, Line, Number, Target};
use crate::support::Collector;
use crate::support::keys::{KEYS_EACH, Keys};
use crate::support::observer::{Account, Answers, QUESTIONS, memory};

/// Different keys.
const KEYS: u64 = 10_000_000;

/// The cap of a table where nothing else is said, bytes.
const CAP: u64 = 256 << 20;

/// Datagrams that may be on their way: the receive buffer holds them.
const UNDERWAY: u64 = 1000;

pub(crate) fn measure(bench: &mut Bench) {
    let collector = Collector::start(&["--workers", "1"]);
    let flow = r#"{"keys":"ipsource,ipdestination","value":"frames","t":3600}"#;
    assert!(collector.request("PUT", "/flow/flows/json", Some(flow)).0 < 300);
    let mut keys = Keys::default();
    let mut sender = Sender::new(collector.sflow).unwrap();
    // What a collector takes that has seen traffic at all.
    sender.send_all(&keys.next(64).iter().map(Vec::as_slice).collect::<Vec<_>>());
    Account::wait_for(&collector, 64);
    let idle = memory(collector.id()).0;
    let began = Instant::now();
    while keys.made() < KEYS {
        let some = keys.next(64);
        sender.send_all(&some.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if keys.made() / KEYS_EACH as u64 % UNDERWAY < 64 {
            Account::wait_for(&collector, sender.sent());
        }
    }
    let account = Account::wait_for(&collector, sender.sent());
    let seconds = began.elapsed().as_secs_f64();
    let mut answers = Answers::default();
    QUESTIONS.iter().for_each(|question| answers.add(Answers::of(&collector, question)));
    let (now, most) = memory(collector.id());
    let mut table =
        Table::new(format!("{} different keys into one flow definition of {}", keys.made(), mib(CAP)));
    table.say("took", format!("{seconds:.0} s"));
    table.check("dropped", account.dropped, account.dropped == 0);
    let (live, evicted) = (account.live_flows, account.evicted_flows);
    table.check(
        "keys, less live and evicted ones",
        format!("{} ({live} live, {evicted} evicted)", i128::from(keys.made()) - i128::from(live + evicted)),
        live + evicted == keys.made() && evicted > 0,
    );
    let of_cap = |bytes: u64| bytes as f64 / CAP as f64;
    let ratio = |bytes: u64| format!("{:.2} ({})", of_cap(bytes), mib(bytes));
    table.say("memory before / cap", ratio(idle));
    table.say("memory / cap", ratio(now));
    table.say("highest memory / cap", ratio(most));
    let (question, slowest) = answers.slowest();
    table.check(
        "slowest answer of REST afterwards",
        format!("{} ({question})", ms(slowest)),
        slowest < Duration::from_secs(1) && answers.failed.is_empty(),
    );
    bench.line(Line {
        row: "A4",
        what: format!("resident memory after {} different keys / cap of the table", keys.made()),
        a: mib(now),
        b: mib(CAP),
        number: of_cap(now),
        kind: Number::Cost,
        target: Target::AtMost(1.1),
    });
    bench.table("A4", table.markdown());
    assert_eq!(collector.end(), Some(0), "an orderly end");
}
