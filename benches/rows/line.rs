//! P12: `finderscope decode --format line` against `sflowtool -l`, over the same file and with the same lines, where
//! sflowtool is installed or `FINDERSCOPE_SFLOWTOOL` names it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, Line, Number, Target};
use crate::common::captures::Captured;
use crate::common::program::{cpu_time, installed};
use crate::common::ratio;

/// Flow samples in the file at least.
const SAMPLES: usize = 600_000;

/// Passes of each side.
const PASSES: usize = 9;

fn sflowtool() -> Option<PathBuf> {
    match std::env::var_os("FINDERSCOPE_SFLOWTOOL") {
        Some(path) => Some(PathBuf::from(path)),
        None => installed("sflowtool"),
    }
}

pub(crate) fn measure(bench: &mut Bench) {
    let folder = tempfile::tempdir().unwrap();
    let [capture, our_lines, their_lines] =
        ["capture.pcap", "ours", "theirs"].map(|name| folder.path().join(name));
    let captured = Captured::any();
    let samples = captured.write(SAMPLES, &capture);
    let file = capture.to_str().unwrap();
    let finderscope = Path::new(env!("CARGO_BIN_EXE_finderscope"));
    let ours = || cpu_time(finderscope, &["decode", "--format", "line", "--read", file], &our_lines);
    let theirs = sflowtool();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    ratio::pin();
    ours();
    for _ in 0..PASSES {
        first.push(ours());
        if let Some(theirs) = &theirs {
            second.push(cpu_time(theirs, &["-l", "-r", file], &their_lines));
        }
    }
    let each = |times: Vec<Duration>| ratio::median(times).as_nanos() as f64 / samples as f64;
    let a = each(first);
    let text = |ns: f64| format!("{ns:.0} ns/flow sample");
    bench.say("P12", format!("{} repeated to {samples} flow samples", captured.name));
    if theirs.is_none() {
        bench.say(
            "P12",
            format!(
                "**not measured: sflowtool is not installed**, nor does FINDERSCOPE_SFLOWTOOL name it; \
                 finderscope alone took {}",
                text(a)
            ),
        );
        return;
    }
    let b = each(second);
    let (ours, theirs) = (std::fs::read(&our_lines).unwrap(), std::fs::read(&their_lines).unwrap());
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let (our_count, their_count) = (lines(&ours), lines(&theirs));
    if ours != theirs {
        let remark = format!("**not compared: they print different lines**, {our_count} and {their_count}");
        return bench.say("P12", remark);
    }
    bench.say("P12", format!("both print the same {our_count} lines"));
    bench.line(Line {
        row: "P12",
        what: "decode --format line / sflowtool -l, CPU time with the reading of the file".to_owned(),
        a: text(a),
        b: text(b),
        number: b / a,
        kind: Number::Gain,
        target: Target::AtLeast(10.0),
    });
}
