//! How soon an agent tells that a container was started and that it has ended, and how true its last sample is.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use docker::Id;

use crate::followers::Follower;
use crate::load;
use crate::receiver::Arrival;
use crate::support::docker_lab::{IMAGE, Lab};
use crate::table::Table;
use crate::watch::{Life, Watch, used_around_ms};

/// Containers that our agent follows.
const OURS: usize = 220;

/// Containers that another one follows.
const THEIRS: usize = 100;

/// Containers that are over at once. Their cgroups are in one, as an engine has them.
const SHORT: usize = 60;
const SHORT_ONES: &str = "short";

/// Containers that are started at a time.
const AT_ONCE: usize = 2;

/// How long after the last container its last sample is awaited.
const LAST: Duration = Duration::from_secs(5);

/// A container waits a moment, burns the processor for one that differs from those of others, and ends.
const BURN: &str = "sleep 0.3; n=0; while [ $n -lt $TURNS ]; do n=$((n+1)); done";

/// What was measured of the containers that a follower saw.
struct Figures {
    containers: usize,
    /// From the start event to the first sample, and from the end to the last one; nanoseconds, in order.
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    /// Containers whose end was told.
    told: usize,
    /// Last samples with a time of processors, with that of the cgroup around, and at most a millisecond from it.
    known: usize,
    /// How long after the end the others came, in order.
    unknown: Vec<i64>,
    equal: usize,
    near: usize,
}

pub(crate) fn run(lab: &Lab) -> bool {
    let watch = Watch::start(lab);
    let ours = {
        let follower = Follower::ours(lab);
        let long = measure(lab, &watch, &follower, "ours", OURS, BURN);
        let short = measure(lab, &watch, &follower, SHORT_ONES, SHORT, "true");
        (long, short)
    };
    let theirs =
        Follower::hsflowd(lab).map(|follower| measure(lab, &watch, &follower, "theirs", THEIRS, BURN));
    let (long, short) = ours;
    let mut table = Table::new(format!("{} containers, two started at a time, {}", long.containers, load()));
    say(&mut table, "", &long, true);
    if let Some(theirs) = theirs {
        say(&mut table, &format!("hsflowd, {} containers: ", theirs.containers), &theirs, false);
    }
    let of = |n: usize| format!("{n} of {}", short.containers);
    table.say("containers that only run `true`: last samples", of(short.told));
    table.say("those with a time of processors", of(short.known));
    table.print()
}

fn say(table: &mut Table, who: &str, figures: &Figures, promised: bool) {
    let mut latency = |what: &str, times: &[i64], limit_ms: i64| {
        let of = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let ms =
            |time: Option<&i64>| time.map_or("none".to_owned(), |ns| format!("{:.1} ms", *ns as f64 / 1e6));
        let value = format!("{} / {} / {} of {}", ms(of(50)), ms(of(99)), ms(times.last()), times.len());
        let holds = of(99).is_some_and(|ns| *ns < limit_ms * 1_000_000);
        if promised {
            table.check(&format!("{what}, 99th percentile below {limit_ms} ms"), value, holds);
        } else {
            table.say(&format!("{who}{what}"), value);
        }
    };
    latency("start event to first sample: median / 99th percentile / most", &figures.firsts, 200);
    latency("end of the process to last sample: median / 99th percentile / most", &figures.lasts, 100);
    let of = |n: usize| format!("{n} of {}", figures.containers);
    table.say(&format!("{who}ends that were told"), of(figures.told));
    table.say(&format!("{who}last samples with a time of processors"), of(figures.known));
    if !figures.unknown.is_empty() {
        let late: Vec<String> =
            figures.unknown.iter().map(|ns| format!("{:.1} ms", *ns as f64 / 1e6)).collect();
        table.say(&format!("{who}those without came after"), late.join(", "));
    }
    table.say(
        &format!("{who}equal to the cgroup's in milliseconds / at most one from it"),
        format!("{} / {}", figures.equal, of(figures.near)),
    );
}

/// Runs so many containers, and compares what was told of them with what happened.
fn measure(
    lab: &Lab,
    watch: &Watch,
    follower: &Follower,
    prefix: &str,
    number: usize,
    script: &str,
) -> Figures {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= number {
                        return;
                    }
                    let name = format!("{prefix}-{n}");
                    let around = if prefix == SHORT_ONES { prefix } else { &name };
                    let parent = format!("--cgroup-parent=/{}/{around}", lab.cgroup());
                    let turns = format!("TURNS={}", 10_000 + n * 7_919 % 40_000);
                    let mut client = lab.client();
                    client.args(["run", "--detach", "--rm", "--name", &name, &parent, "--env", &turns]);
                    let done = client.args([IMAGE, "sh", "-c", script]).stdout(Stdio::null()).status();
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
        if Instant::now() > deadline || lives.len() == number && lives.iter().all(|(id, _)| told(id)) {
            return compare(lab, &lives, &arrivals);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn compare(lab: &Lab, lives: &[(Id, Life)], arrivals: &[Arrival]) -> Figures {
    let mut of: HashMap<[u8; 16], Vec<&Arrival>> = HashMap::new();
    for arrival in arrivals {
        of.entry(arrival.uuid).or_default().push(arrival);
    }
    let mut figures = Figures {
        containers: lives.len(),
        firsts: Vec::new(),
        lasts: Vec::new(),
        told: 0,
        known: 0,
        unknown: Vec::new(),
        equal: 0,
        near: 0,
    };
    let after = |at_ns: u64, from_ns: u64| at_ns as i64 - from_ns as i64;
    for (id, life) in lives {
        let samples = of.get(&id.uuid()).map_or(&[][..], Vec::as_slice);
        figures.firsts.extend(samples.first().map(|first| after(first.at_ns, life.start_ns)));
        let Some(last) = samples.iter().find(|sample| sample.is_last()) else { continue };
        figures.told += 1;
        let latency = life.end_ns.map(|end_ns| after(last.at_ns, end_ns));
        figures.lasts.extend(latency);
        let Some(cpu_ms) = last.cpu_ms else {
            figures.unknown.extend(latency);
            continue;
        };
        figures.known += 1;
        if life.name.starts_with(SHORT_ONES) {
            continue;
        }
        let truth_ms = used_around_ms(lab, &life.name);
        figures.equal += usize::from(cpu_ms == truth_ms);
        figures.near += usize::from(cpu_ms.abs_diff(truth_ms) <= 1);
    }
    figures.unknown.sort_unstable();
    figures.firsts.sort_unstable();
    figures.lasts.sort_unstable();
    figures
}
