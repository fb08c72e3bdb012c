//! What following a hundred containers costs: the processor, in the follower and in the engine, and memory.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::followers::{Follower, Hsflowd, POLLING_S};
use crate::report::Report;
use crate::support::docker_lab::Lab;
use crate::{load, not_measured};

/// Containers that run, in five lots.
const CONTAINERS: usize = 100;
const LOT: usize = 20;

/// Each way is measured so often, for so long, by turns.
const ROUNDS: usize = 2;
const MEASURED: Duration = Duration::from_secs(40);

/// Until a follower has settled: the containers that it found have had their first samples. hsflowd asks about fifteen at a
/// time, and has an answer after one or two seconds.
const SETTLE: Duration = Duration::from_secs(20);

/// Until the engine has forgotten the one before.
const CALM: Duration = Duration::from_secs(2);

/// What one way took of a processor while it was measured.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    own: Duration,
    /// The engine's and its containerd's, with what they use of themselves.
    engine: Duration,
    measured: Duration,
    /// Samples of containers meanwhile.
    samples: usize,
    /// The most that was resident at the end of a round, bytes.
    memory: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.own += other.own;
        self.engine += other.engine;
        self.measured += other.measured;
        self.samples += other.samples;
        self.memory = self.memory.max(other.memory);
    }

    /// Percent of a processor.
    fn own(self) -> f64 {
        100.0 * self.own.as_secs_f64() / self.measured.as_secs_f64()
    }

    /// What the engine took more than at rest, percent of a processor.
    fn engine(self, rest: Self) -> f64 {
        let of = |cost: Self| 100.0 * cost.engine.as_secs_f64() / cost.measured.as_secs_f64();
        (of(self) - of(rest)).max(0.0)
    }
}

/// A way to the counters of containers.
#[derive(Clone, Copy)]
enum Way<'a> {
    Rest,
    Ours,
    Theirs(&'a Hsflowd),
    /// The docker client, once in a polling interval.
    Stats,
}

pub(crate) fn run(lab: &Lab, other: Result<&Hsflowd, &String>) -> bool {
    let containers: Vec<String> = (0..CONTAINERS / LOT).flat_map(|lot| start(lab, lot)).collect();
    let engine = Account::of_engine(lab);
    std::thread::sleep(SETTLE);
    let theirs = other.ok().map(Way::Theirs);
    let ways: Vec<Way<'_>> = [Way::Rest, Way::Ours].into_iter().chain(theirs).chain([Way::Stats]).collect();
    let mut costs = vec![Cost::default(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, cost) in ways.iter().zip(&mut costs) {
            cost.add(measure(lab, &engine, *way));
        }
    }
    for lot in containers.chunks(LOT) {
        lab.remove(&lot.iter().map(String::as_str).collect::<Vec<_>>());
    }
    report(&costs, other)
}

fn report(costs: &[Cost], other: Result<&Hsflowd, &String>) -> bool {
    let [rest, ours, others @ ..] = costs else { panic!("two ways at least") };
    let (rest, ours) = (*rest, *ours);
    let seconds = MEASURED.as_secs() * ROUNDS as u64;
    let mut who = vec!["finderscope-agent"];
    who.extend(other.ok().map(|build| build.title.as_str()));
    who.push("`docker stats`");
    let title = format!(
        "{CONTAINERS} containers, counters every {POLLING_S} s, {seconds} s each in {ROUNDS} turns, {}",
        load()
    );
    let mut report = Report::new(title, &who);
    let all = |of: &dyn Fn(Cost) -> String| -> Vec<String> {
        std::iter::once(&ours).chain(others).map(|cost| of(*cost)).collect()
    };
    report.check(
        "its own share of a processor, ours below 0.5 %",
        all(&|cost| format!("{:.3} %", cost.own())),
        ours.own() < 0.5,
    );
    report.say("what the engine takes more than at rest", all(&|cost| format!("{:.2} %", cost.engine(rest))));
    let both = |cost: Cost| cost.own() + cost.engine(rest);
    report.say("both", all(&|cost| format!("{:.2} %", both(cost))));
    report.say(
        "times as much as ours: own / both",
        all(&|cost| format!("{:.1} / {:.1}", cost.own() / ours.own(), both(cost) / both(ours))),
    );
    let agents = &all(&|cost| format!("{:.1} MiB", cost.memory as f64 / f64::from(1 << 20)))[..who.len() - 1];
    report.check("resident memory, ours below 12 MiB", agents.to_vec(), ours.memory < 12 << 20);
    let expected = CONTAINERS * (seconds / POLLING_S) as usize;
    let samples = &all(&|cost| format!("{} of {expected}", cost.samples))[..who.len() - 1];
    // A sample at either end of a turn can fall on the other side.
    let told = ours.samples + ROUNDS * CONTAINERS / 10 >= expected;
    report.check("samples of containers in that time", samples.to_vec(), told);
    let at_rest = 100.0 * rest.engine.as_secs_f64() / rest.measured.as_secs_f64();
    report.note(format!("the engine at rest takes {at_rest:.2} %"));
    if let Err(why) = other {
        report.note(not_measured(why));
    }
    report.print()
}

/// Starts a lot of containers at once; their names.
fn start(lab: &Lab, lot: usize) -> Vec<String> {
    let names: Vec<String> = (0..LOT).map(|n| format!("cost-{lot}-{n}")).collect();
    for pair in names.chunks(2) {
        std::thread::scope(|scope| {
            for name in pair {
                scope.spawn(|| lab.run(&["--name", name], &["sleep", "1000000"]));
            }
        });
    }
    names
}

/// Measures a turn of one way.
fn measure(lab: &Lab, engine: &Account, way: Way<'_>) -> Cost {
    let follower = match way {
        Way::Ours => Some(Follower::ours(lab)),
        Way::Theirs(build) => Some(Follower::hsflowd(lab, build)),
        Way::Rest | Way::Stats => None,
    };
    std::thread::sleep(if follower.is_some() { SETTLE } else { CALM });
    let own = || follower.as_ref().map_or_else(used_by_children, |follower| follower.account.used());
    let heard = || follower.as_ref().map_or(0, |follower| follower.receiver.arrivals().len());
    let (began, own_before, engine_before, heard_before) = (Instant::now(), own(), engine.used(), heard());
    for interval in 0.. {
        let at = Duration::from_secs(POLLING_S * interval);
        if at >= MEASURED {
            break;
        }
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        if matches!(way, Way::Stats) {
            ask_for_stats(lab);
        }
    }
    std::thread::sleep((began + MEASURED).saturating_duration_since(Instant::now()));
    Cost {
        own: own().saturating_sub(own_before),
        engine: engine.used() - engine_before,
        measured: began.elapsed(),
        samples: heard() - heard_before,
        memory: follower.as_ref().map_or(0, Follower::resident),
    }
}

/// The docker client's way to the same numbers.
fn ask_for_stats(lab: &Lab) {
    let mut client = lab.client();
    client.args(["stats", "--no-stream", "--format", "json"]).stdout(Stdio::null());
    assert!(client.status().unwrap().success(), "docker stats answers");
}

/// The time of programs which this one has started and that have ended.
fn used_by_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |field: &str| field.parse::<u64>().unwrap();
    let each = rustix::param::clock_ticks_per_second();
    Duration::from_millis((ticks(fields[13]) + ticks(fields[14])) * 1_000 / each)
}
