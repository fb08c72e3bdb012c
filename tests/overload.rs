//! More than the collector can take, and for longer than its tables have room: what is dropped or gives way is counted,
//! memory stays within its limits, and REST answers. `benches/live` measures the same at length.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use ingest::send::Sender;

use crate::support::Collector;
use crate::support::keys::Keys;
use crate::support::observer::{Account, Answers, QUESTIONS, ask_until, memory};
use crate::support::traffic::Traffic;

/// Ten times what `benches/live` promises: the test shares its processors with others.
const SLOWEST: Duration = Duration::from_secs(1);

/// Three senders without a pause, and room for three datagrams.
#[test]
fn under_overload_every_datagram_is_accounted_for_and_rest_answers() {
    let collector = Collector::start(&["--defaults", "--workers", "2", "--receive-buffer", "4096"]);
    let (answers, ended, sent) = (Mutex::<Answers>::default(), AtomicBool::new(false), AtomicU64::new(0));
    // Nobody asks before there is traffic.
    let ready = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut traffic = Traffic::of_fabric(2000);
                let mut sender = Sender::new(collector.sflow).unwrap();
                traffic.next(64, |datagrams| sender.send_all(datagrams));
                ready.wait();
                // Until each question has been answered several times.
                while answers.lock().unwrap().times.len() < QUESTIONS.len() * 5 {
                    traffic.next(64, |datagrams| sender.send_all(datagrams));
                }
                ended.store(true, Ordering::Relaxed);
                sent.fetch_add(sender.sent(), Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            ready.wait();
            ask_until(&answers, &collector, &ended, Duration::ZERO);
        });
    });
    let sent = sent.into_inner();
    let account = Account::wait_for(&collector, sent);
    assert_eq!(account.all(), sent, "{account:?}");
    assert_eq!(account.errors, 0);
    assert!(account.decoded > 0 && account.dropped > 0, "{account:?}");
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.failed, Vec::<String>::new());
    assert!(answers.within(0.99) < SLOWEST, "{:?}", answers.slowest());
    assert_eq!(collector.end(), Some(0));
}

/// Two million keys where a quarter of them has room.
#[test]
fn more_keys_than_have_room_leave_memory_within_the_cap_and_are_counted() {
    const CAP: u64 = 16 << 20;
    /// What the allocator keeps of the smaller tables that came before, whatever the cap is.
    const BESIDE: u64 = 24 << 20;
    let collector = Collector::start(&["--workers", "1", "--flow-bytes", &CAP.to_string()]);
    // Nothing decays away within the test.
    let flow = r#"{"keys":"ipsource,ipdestination","value":"frames","t":3600}"#;
    assert!(collector.request("PUT", "/flow/flows/json", Some(flow)).0 < 300);
    let mut keys = Keys::default();
    let mut sender = Sender::new(collector.sflow).unwrap();
    let mut send = |keys: &mut Keys, count: usize| {
        let some = keys.next(count);
        sender.send_all(&some.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Account::wait_for(&collector, sender.sent());
    };
    send(&mut keys, 64);
    let idle = memory(collector.id()).0;
    while keys.made() < 2_000_000 {
        send(&mut keys, 1000);
    }
    let account = Account::read(&collector);
    assert_eq!((account.dropped, account.errors), (0, 0));
    assert_eq!(account.live_flows + account.evicted_flows, keys.made(), "{account:?}");
    assert!(account.evicted_flows > 1_500_000, "{account:?}");
    // Without the cap they would take 96 MiB.
    let grown = memory(collector.id()).0.saturating_sub(idle);
    let most = CAP * 11 / 10 + BESIDE;
    assert!(grown <= most, "{grown} bytes, at most {most}, for a table of at most {CAP}");
}

/// What comes while a signal is answered is taken all the same, or it is said that it was not.
#[test]
fn a_reload_under_load_loses_nothing_and_the_end_is_soon() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("finderscope.toml");
    std::fs::write(&config, "[flows.talkers]\nkeys = \"ipsource\"\nvalue = \"bytes\"\n").unwrap();
    let collector = Collector::start(&["--config", config.to_str().unwrap()]);
    let mut sender = Sender::new(collector.sflow).unwrap();
    let mut traffic = Traffic::of_fabric(4000);
    for round in 0..10 {
        for _ in 0..10 {
            traffic.next(64, |datagrams| sender.send_all(datagrams));
        }
        std::fs::write(&config, format!("[flows.talkers{round}]\nkeys = \"ipsource\"\nvalue = \"bytes\"\n"))
            .unwrap();
        collector.signal("HUP");
        traffic.next(64, |datagrams| sender.send_all(datagrams));
        Account::wait_for(&collector, sender.sent());
    }
    let account = Account::read(&collector);
    assert_eq!((account.decoded, account.dropped, account.errors), (sender.sent(), 0, 0));
    collector.wait_for("/flow/json", |flows| flows.get("talkers9").map(|_| ()));
    // Without a pause until it ends.
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                traffic.next(64, |datagrams| sender.send_all(datagrams));
            }
        });
        let began = Instant::now();
        let code = collector.end();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}
