//! P11: from the datagram of a listed host on the wire to the first byte of the `PUT` at its switch, over a connection
//! that is there, with a minimum of evidence of one sample; idle, and at 80 % of the highest rate without loss. And the
//! second half of P10: a list of 50,000 is swapped at that rate, and no sample is lost.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::floor::Floor;
use super::overload::{Load, define};
use super::pace::{keep_to_last_processor, offer_gently};
use super::switches::{self, Switches};
use super::table::Table;
use crate::bench::{Bench, Line, Target};
use crate::support::Collector;
use crate::support::observer::Account;
use crate::support::sampler::Sampler;
use crate::support::traffic::Traffic;

/// Captures of a measurement.
const CAPTURES: usize = 1200;

/// Switches that take turns, so that none is asked for two things at once.
const SWITCHES: usize = 64;

/// The shortest pause between two captures, and what chance adds to it at most: no tick keeps time with them.
const PAUSE_US: (u64, u64) = (4_000, 8_000);

/// Entries of the list.
const ENTRIES: u32 = 50_000;

/// The part of the highest rate without loss that is offered.
const SHARE: f64 = 0.8;

/// How long lists are swapped for, and how often.
const SWAPPING: Duration = Duration::from_secs(10);
const SWAP_EVERY: Duration = Duration::from_millis(500);

/// A listed host; the others are in 45.10.0.0 and on.
const LISTED: &str = "45.9.148.7";

/// The target for 99 of 100 captures on an idle machine.
const P99: Duration = Duration::from_millis(1);

/// A measurement: the times of all captures, those of the bare way between them, and how many were live at its end.
struct Measured {
    times: Vec<Duration>,
    floor: Vec<Duration>,
    live: usize,
}

/// The time within which this share came, of sorted ones.
pub(super) fn within(times: &[Duration], share: f64) -> Duration {
    times[((times.len() as f64 * share).ceil() as usize).saturating_sub(1)]
}

/// Has `CAPTURES` captures begin, of hosts that nobody has seen: `turn` says which.
fn captures(collector: &Collector, switches: &Switches, samplers: &mut [Sampler], turn: u8) -> Measured {
    let mut random = 0x9e37_79b9_u64;
    let mut pause = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(PAUSE_US.0 + (random >> 33) % PAUSE_US.1));
    };
    let bare = Floor::start();
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    for n in 0..CAPTURES {
        let local = Ipv4Addr::new(192, 168 + turn, (n / 250) as u8, (n % 250) as u8 + 1);
        let sampler = &mut samplers[n % SWITCHES];
        let bytes = sampler.packet_bytes(local.into(), LISTED.parse().unwrap(), "");
        let [a, b, c, d] = local.octets();
        let (name, other) =
            (format!("fs_main_{a}_{b}_{c}_{d}_45_9_148_7"), format!("fs_main_45_9_148_7_{a}_{b}_{c}_{d}"));
        let sent = Instant::now();
        sampler.send(&bytes);
        let at = loop {
            let (put, at) = switches.puts.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| {
                let metrics = collector.get("/metrics").1;
                let ours =
                    |line: &&str| line.starts_with("finderscope_capture_") && !line.contains("switch_");
                let said: Vec<&str> = metrics.lines().filter(ours).collect();
                panic!("capture {n} does not begin: {said:#?}")
            });
            if put == name || put == other {
                break at;
            }
        };
        times.push(at - sent);
        pause();
        floor.push(bare.once());
        pause();
    }
    times.sort_unstable();
    floor.sort_unstable();
    let live = collector.json("/captures/json")["sessions"].as_array().unwrap().len();
    Measured { times, floor, live }
}

/// P11, idle and under load; and the second half of P10, which needs the same collector and its highest rate.
pub(crate) fn measure(bench: &mut Bench) {
    let (folder, switches) = (tempfile::tempdir().unwrap(), Switches::start());
    switches::configure(folder.path(), &switches, SWITCHES, ENTRIES);
    let config = folder.path().join("finderscope.toml");
    let options = [
        "--workers",
        "1",
        "--defaults",
        "--receive-buffer",
        "67108864",
        "--config",
        config.to_str().unwrap(),
    ];
    let collector = Collector::start(&options);
    collector.wait_for("/captures/json", |captures| {
        let up = captures["switches"].as_array()?.iter().all(|switch| switch["state"] == "up");
        (up && collector.json("/flow/json")["fs_capture_emerging_1"].is_object()).then_some(())
    });
    let loopback = Ipv4Addr::LOCALHOST;
    let mut samplers: Vec<Sampler> = (0..SWITCHES)
        .map(|switch| Sampler::new(collector.sflow, loopback, switches::agent(switch)))
        .collect();
    let idle = captures(&collector, &switches, &mut samplers, 0);
    define(&collector);
    let sent = Account::read(&collector).all();
    let mut load = Load { collector: &collector, traffic: Traffic::of_fabric(65_536), sent };
    // The sender of the search keeps to one processor; this thread does not.
    let sustainable = std::thread::scope(|scope| {
        let search = scope.spawn(|| {
            keep_to_last_processor();
            let (fastest, ..) = load.offer(f64::INFINITY, Duration::from_secs(3));
            load.sustainable(fastest.per_s())
        });
        search.join().unwrap()
    });
    let per_s = sustainable * SHARE;
    let Load { traffic, .. } = &mut load;
    let busy = under_load(traffic, &collector, per_s, CAPTURES as u64, || {
        captures(&collector, &switches, &mut samplers, 1)
    });
    let swapped = under_load(traffic, &collector, per_s, 0, || swap(&collector, folder.path()));
    tell(bench, &idle, &busy, &swapped, sustainable);
    assert_eq!(collector.end(), Some(0), "an orderly end");
}

/// What was done while a rate was offered: what it gave, how many datagrams were sent, and the account before and after.
struct Under<T> {
    gave: T,
    sent: u64,
    per_s: f64,
    before: Account,
    after: Account,
}

/// Does work that itself sends `others` datagrams, while a rate is offered.
fn under_load<T>(
    traffic: &mut Traffic,
    collector: &Collector,
    per_s: f64,
    others: u64,
    work: impl FnOnce() -> T,
) -> Under<T> {
    let before = Account::read(collector);
    let ended = AtomicBool::new(false);
    let (gave, offered) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| offer_gently(collector.sflow, traffic, per_s, &ended));
        // The load is there when the first is measured.
        std::thread::sleep(Duration::from_millis(500));
        let gave = work();
        ended.store(true, Ordering::Relaxed);
        (gave, sender.join().unwrap())
    });
    let sent = offered.sent + others;
    let after = Account::wait_for(collector, before.all() + sent);
    Under { gave, sent, per_s: offered.per_s(), before, after }
}

/// Swaps lists; how often.
fn swap(collector: &Collector, folder: &Path) -> u32 {
    let began = Instant::now();
    let mut swaps = 0;
    while began.elapsed() < SWAPPING {
        swaps += 1;
        fs::write(folder.join("list.new"), switches::list(swaps, ENTRIES)).unwrap();
        fs::rename(folder.join("list.new"), folder.join("list.txt")).unwrap();
        let (status, said) = collector.request("PUT", "/feed/bad/json", Some("{\"acceptChange\": true}"));
        assert_eq!(status, 204, "{said}");
        std::thread::sleep((SWAP_EVERY * swaps).saturating_sub(began.elapsed()));
    }
    let set = collector.json("/group/emerging/json");
    assert_eq!(set["bad"].as_array().unwrap().len(), ENTRIES as usize);
    swaps
}

fn tell(bench: &mut Bench, idle: &Measured, busy: &Under<Measured>, swapped: &Under<u32>, sustainable: f64) {
    let p99_ms = |times: &[Duration]| within(times, 0.99).as_secs_f64() * 1e3;
    for (what, measured, target) in [
        (
            "p99 of a datagram to the first byte of the PUT, idle",
            idle,
            Target::AtMost(P99.as_secs_f64() * 1e3),
        ),
        ("the same at 80 % of the sustainable rate", &busy.gave, Target::None),
    ] {
        let (a, b) = (p99_ms(&measured.times), p99_ms(&measured.floor));
        bench.line(Line {
            a: format!("{a:.2} ms"),
            b: format!("{b:.2} ms"),
            ..Line::figure("P11", format!("{what} / the bare way meanwhile"), a, "ms", target)
        });
    }
    let all = swapped.after.all() - swapped.before.all();
    let dropped = swapped.after.dropped - swapped.before.dropped;
    let lost = (i128::from(swapped.sent) - i128::from(all)).unsigned_abs() as u64 + dropped;
    let what = format!(
        "lost of {} datagrams while a list of {ENTRIES} is swapped {} times at 80 % of the sustainable rate",
        swapped.sent, swapped.gave
    );
    bench.line(Line::figure("P10", what, lost as f64, "datagrams", Target::AtMost(0.0)));
    let mut table = Table::new(format!(
        "P11: from a listed host's datagram to the first byte of the PUT: {CAPTURES} captures, {SWITCHES} switches, a list of {ENTRIES}"
    ));
    let row = |times: &[Duration]| {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| within(times, share).as_secs_f64() * 1e3);
        let slow = times.iter().filter(|time| **time > P99).count();
        format!("p50 {half:.2} ms, p99 {most:.2} ms, slowest {all:.1} ms; {slow} above {P99:?}")
    };
    table.say("idle", row(&idle.times));
    table.say("the bare way through four threads between them", row(&idle.floor));
    table.say("captures live at the end", idle.live);
    table.say("highest rate without loss, 16 flow definitions more", format!("{sustainable:.0} datagrams/s"));
    table.say(&format!("at 80 % of it ({:.0} datagrams/s)", busy.per_s), row(&busy.gave.times));
    table.say("the bare way meanwhile", row(&busy.gave.floor));
    table.say("dropped meanwhile", busy.after.dropped - busy.before.dropped);
    bench.table("P11", table.markdown());
}
