//! How soon an agent tells that a container was started and that it has ended, and how true its last sample is.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use docker::Id;

use crate::followers::{Follower, Hsflowd};
use crate::receiver::Arrival;
use crate::report::Report;
use crate::support::docker_lab::{IMAGE, Lab};
use crate::watch::{Life, Watch, used_around_ms};
use crate::{load, not_measured};

/// Containers that are started at a time.
const AT_ONCE: usize = 2;

/// How long after the last container its last sample is awaited.
const LAST: Duration = Duration::from_secs(15);

/// Containers of one kind, as many for each follower.
#[derive(Clone, Copy)]
struct Kind {
    /// What their names begin with.
    name: &'static str,
    number: usize,
    script: &'static str,
    /// Whether each has a cgroup around it, whose accounting is the truth; else one is around all, as an engine has them.
    alone: bool,
}

/// A container waits a moment, burns the processor for one that differs from those of others, and ends.
const BURN: Kind = Kind {
    name: "burn",
    number: 220,
    script: "sleep 0.3; n=0; while [ $n -lt $TURNS ]; do n=$((n+1)); done",
    alone: true,
};

/// Containers that stay for a while.
const STAY: Kind = Kind { name: "stay", number: 40, script: "sleep 8", alone: true };

/// Containers that are over at once.
const SHORT: Kind = Kind { name: "short", number: 60, script: "true", alone: false };

/// What was measured of the containers that a follower saw.
#[derive(Default)]
struct Figures {
    containers: usize,
    /// From the start event to the first sample, and from the end to the last one; nanoseconds, in order.
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    /// First samples that came while the container ran.
    alive: usize,
    /// Containers whose end was told.
    told: usize,
    /// Last samples with a time of processors, with that of the cgroup around, and at most a millisecond from it.
    known: usize,
    equal: usize,
    near: usize,
    /// How long after the end the others came, in order.
    unknown: Vec<i64>,
}

impl Figures {
    fn of(&self, n: usize) -> String {
        format!("{n} of {}", self.containers)
    }
}

/// The containers of each kind, as a follower told of them.
struct Told {
    burn: Figures,
    stay: Figures,
    short: Figures,
}

impl Told {
    fn by(lab: &Lab, watch: &Watch, who: &str, follower: &Follower) -> Self {
        let of = |kind| measure(lab, watch, follower, who, kind);
        Self { burn: of(BURN), stay: of(STAY), short: of(SHORT) }
    }
}

pub(crate) fn run(lab: &Lab, other: Result<&Hsflowd, &String>) -> bool {
    let watch = Watch::start(lab);
    let ours = Told::by(lab, &watch, "ours", &Follower::ours(lab));
    let theirs = other.ok().map(|build| Told::by(lab, &watch, "theirs", &Follower::hsflowd(lab, build)));
    let both: Vec<&Told> = std::iter::once(&ours).chain(theirs.as_ref()).collect();
    let mut who = vec!["finderscope-agent"];
    who.extend(other.ok().map(|build| build.title.as_str()));
    let title = format!("Containers, {AT_ONCE} started at a time, {}", load());
    let mut report = Report::new(title, &who);
    let each = |of: &dyn Fn(&Told) -> String| -> Vec<String> { both.iter().map(|told| of(told)).collect() };
    report.say(
        "containers of half a second: start event to first sample, median / 99th percentile / most",
        each(&|told| times(&told.burn.firsts)),
    );
    let soon =
        |times: &[i64], limit_ms: i64| percentile(times, 99).is_some_and(|ns| ns < limit_ms * 1_000_000);
    report.check(
        "the same, 99th percentile of ours below 200 ms",
        each(&|told| ms(percentile(&told.burn.firsts, 99))),
        soon(&ours.burn.firsts, 200),
    );
    report.say("first samples while the container ran", each(&|told| told.burn.of(told.burn.alive)));
    report.say(
        "end of the process to last sample, median / 99th percentile / most",
        each(&|told| times(&told.burn.lasts)),
    );
    report.check(
        "the same, 99th percentile of ours below 100 ms",
        each(&|told| ms(percentile(&told.burn.lasts, 99))),
        soon(&ours.burn.lasts, 100),
    );
    report.check(
        "ends that were told, ours all",
        each(&|told| told.burn.of(told.burn.told)),
        ours.burn.told == ours.burn.containers,
    );
    report.say(
        "last samples with a time of processors that is not zero",
        each(&|told| told.burn.of(told.burn.known)),
    );
    report.say(
        "equal to the cgroup's in milliseconds / at most one from it",
        each(&|told| format!("{} / {}", told.burn.equal, told.burn.of(told.burn.near))),
    );
    report.say("containers of 8 s: start event to first sample", each(&|told| times(&told.stay.firsts)));
    report.say("first samples while the container ran", each(&|told| told.stay.of(told.stay.alive)));
    report.say("end of the process to last sample", each(&|told| times(&told.stay.lasts)));
    report.say(
        "equal to the cgroup's / at most one from it",
        each(&|told| format!("{} / {}", told.stay.equal, told.stay.of(told.stay.near))),
    );
    report.say("containers that only run `true`: last samples", each(&|told| told.short.of(told.short.told)));
    report.say("those with a time of processors, not zero", each(&|told| told.short.of(told.short.known)));
    if !ours.burn.unknown.is_empty() {
        let late: Vec<String> = ours.burn.unknown.iter().map(|ns| ms(Some(*ns))).collect();
        report.note(format!(
            "our last samples without a time of processors came {} after the end",
            late.join(", ")
        ));
    }
    if let Err(why) = other {
        report.note(not_measured(why));
    }
    report.print()
}

fn percentile(times: &[i64], percent: usize) -> Option<i64> {
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
}

fn ms(time: Option<i64>) -> String {
    time.map_or("none".to_owned(), |ns| format!("{:.1} ms", ns as f64 / 1e6))
}

fn times(times: &[i64]) -> String {
    let of = |time| ms(time);
    let (median, high) = (of(percentile(times, 50)), of(percentile(times, 99)));
    format!("{median} / {high} / {} of {}", of(times.last().copied()), times.len())
}

/// Runs the containers of a kind, and compares what was told of them with what happened.
fn measure(lab: &Lab, watch: &Watch, follower: &Follower, who: &str, kind: Kind) -> Figures {
    let prefix = format!("{who}-{}", kind.name);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= kind.number {
                        return;
                    }
                    let name = format!("{prefix}-{n}");
                    let around = if kind.alone { &name } else { &prefix };
                    let parent = format!("--cgroup-parent=/{}/{around}", lab.cgroup());
                    let turns = format!("TURNS={}", 10_000 + n * 7_919 % 40_000);
                    let mut client = lab.client();
                    client.args(["run", "--detach", "--rm", "--name", &name, &parent, "--env", &turns]);
                    let done = client.args([IMAGE, "sh", "-c", kind.script]).stdout(Stdio::null()).status();
                    assert!(done.unwrap().success(), "{name} starts");
                }
            });
        }
    });
    let deadline = Instant::now() + LAST;
    let prefix = format!("{prefix}-");
    loop {
        let (lives, arrivals) = (watch.lives(&prefix), follower.receiver.arrivals());
        let told = |id: &Id| arrivals.iter().any(|arrival| arrival.uuid == id.uuid() && arrival.is_last());
        if Instant::now() > deadline || lives.len() == kind.number && lives.iter().all(|(id, _)| told(id)) {
            return compare(lab, kind, &lives, &arrivals);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn compare(lab: &Lab, kind: Kind, lives: &[(Id, Life)], arrivals: &[Arrival]) -> Figures {
    let mut of: HashMap<[u8; 16], Vec<&Arrival>> = HashMap::new();
    for arrival in arrivals {
        of.entry(arrival.uuid).or_default().push(arrival);
    }
    let mut figures = Figures { containers: lives.len(), ..Figures::default() };
    let after = |at_ns: u64, from_ns: u64| at_ns as i64 - from_ns as i64;
    for (id, life) in lives {
        let samples = of.get(&id.uuid()).map_or(&[][..], Vec::as_slice);
        if let Some(first) = samples.first() {
            figures.firsts.push(after(first.at_ns, life.start_ns));
            figures.alive += usize::from(!first.is_last());
        }
        let Some(last) = samples.iter().find(|sample| sample.is_last()) else { continue };
        figures.told += 1;
        let latency = life.end_ns.map(|end_ns| after(last.at_ns, end_ns));
        figures.lasts.extend(latency);
        // Every program uses some.
        let Some(cpu_ms) = last.cpu_ms.filter(|ms| *ms > 0) else {
            figures.unknown.extend(latency);
            continue;
        };
        figures.known += 1;
        if kind.alone {
            let truth_ms = used_around_ms(lab, &life.name);
            figures.equal += usize::from(cpu_ms == truth_ms);
            figures.near += usize::from(cpu_ms.abs_diff(truth_ms) <= 1);
        }
    }
    figures.unknown.sort_unstable();
    figures.firsts.sort_unstable();
    figures.lasts.sort_unstable();
    figures
}
