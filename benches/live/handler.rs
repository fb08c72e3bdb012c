//! P15: from the datagram with the first packet of a flow to the call of a script's handler, of the real program when it is
//! idle. The script notes when it is called, by the clock that this bench reads too.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::act::within;
use super::floor::Floor;
use super::table::Table;
use crate::bench::{Bench, Line, Target};
use crate::support::Collector;
use crate::support::sampler::Sampler;

/// Flows of a measurement.
const FLOWS: usize = 1200;

/// The shortest pause between two of them, and what chance adds to it at most: no tick keeps time with them.
const PAUSE_US: (u64, u64) = (4_000, 8_000);

/// The target for 99 of 100 flows, milliseconds.
const P99_MS: f64 = 1.0;

/// `performance` counts from the start of the script, by the clock of `CLOCK_MONOTONIC`.
const SCRIPT: &str = "\
var came = {};
setFlow('probes', {keys: 'ipsource', value: 'frames', log: true, flowStart: true});
setFlowHandler(function(rec) { came[rec.flowKeys] = performance.timeOrigin + performance.now(); }, ['probes']);
setHttpHandler(function() { return came; });
";

/// The clock that the script reads, milliseconds.
fn now_ms() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

pub(crate) fn measure(bench: &mut Bench) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("probes.js");
    std::fs::write(&script, SCRIPT).unwrap();
    let collector = Collector::start(&["--workers", "1", "--script", script.to_str().unwrap()]);
    let came = || collector.json("/script/probes.js/json");
    // It answers when its first run is over: the flow is defined before the handler is set.
    collector.wait_for("/script/probes.js/json", |called| called.is_object().then_some(()));
    let mut sampler = Sampler::new(collector.sflow, Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1));
    let bare = Floor::start();
    let mut random = 0x9e37_79b9_u64;
    let mut pause = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(PAUSE_US.0 + (random >> 33) % PAUSE_US.1));
    };
    let (mut sent, mut floor) = (Vec::new(), Vec::new());
    for n in 0..FLOWS {
        let from = Ipv4Addr::new(192, 168, (n / 250) as u8, (n % 250) as u8 + 1);
        let bytes = sampler.packet_bytes(from.into(), Ipv4Addr::new(198, 51, 100, 1).into(), "");
        sent.push((from.to_string(), now_ms()));
        sampler.send(&bytes);
        pause();
        floor.push(bare.once());
        pause();
    }
    let called = collector.wait_for("/script/probes.js/json", |called| {
        (called.as_object()?.len() == FLOWS).then(|| called.clone())
    });
    let took = |(from, sent): &(String, f64)| {
        let ms = called[from].as_f64().unwrap() - sent;
        assert!(ms > 0.0, "the clocks are not the same: {ms} ms for {from}");
        Duration::from_secs_f64(ms / 1e3)
    };
    let mut times: Vec<Duration> = sent.iter().map(took).collect();
    times.sort_unstable();
    floor.sort_unstable();
    assert_eq!(came().as_object().unwrap().len(), FLOWS, "each is called for once");
    tell(bench, &times, &floor);
    assert_eq!(collector.end(), Some(0), "an orderly end");
}

fn tell(bench: &mut Bench, times: &[Duration], floor: &[Duration]) {
    let [a, b] = [times, floor].map(|times| within(times, 0.99).as_secs_f64() * 1e3);
    let what =
        "p99 of a flow's first datagram to the call of a script's handler, idle / the bare way meanwhile";
    bench.line(Line {
        a: format!("{a:.2} ms"),
        b: format!("{b:.2} ms"),
        ..Line::figure("P15", what, a, "ms", Target::AtMost(P99_MS))
    });
    let mut table = Table::new(format!(
        "P15: from a flow's first datagram to the call of a script's handler: {FLOWS} flows"
    ));
    let row = |times: &[Duration]| {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| within(times, share).as_secs_f64() * 1e3);
        format!("p50 {half:.2} ms, p99 {most:.2} ms, slowest {all:.1} ms")
    };
    table.say("idle", row(times));
    table.say("the bare way through four threads between them", row(floor));
    bench.table("P15", table.markdown());
}
