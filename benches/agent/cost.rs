//! What following a hundred containers costs: the processor, in the follower and in the engine, and memory.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::followers::{Follower, POLLING_S};
use crate::load;
use crate::support::docker_lab::{Lab, cgroups};
use crate::table::{Table, mib};

/// Containers that run, in five lots.
const CONTAINERS: usize = 100;
const LOT: usize = 20;

/// How long each way is measured.
const MEASURED: Duration = Duration::from_secs(60);

/// Until a follower has settled: each container's first two samples are over.
const SETTLE: Duration = Duration::from_secs(5);

/// What one way took of a processor while it was measured.
#[derive(Clone, Copy, Debug)]
struct Cost {
    own: Duration,
    /// The engine's and its containerd's, with what they use of themselves.
    engine: Duration,
    measured: Duration,
}

impl Cost {
    fn percent(self, time: Duration) -> f64 {
        100.0 * time.as_secs_f64() / self.measured.as_secs_f64()
    }

    /// What is there only because of this way, percent of a processor.
    fn caused(self, idle: Self) -> f64 {
        self.percent(self.own) + (self.percent(self.engine) - idle.percent(idle.engine)).max(0.0)
    }

    fn text(self, idle: Self) -> String {
        let engine = (self.percent(self.engine) - idle.percent(idle.engine)).max(0.0);
        format!("{:.2} % + {engine:.2} %", self.percent(self.own))
    }
}

pub(crate) fn run(lab: &Lab) -> bool {
    let containers: Vec<String> = (0..CONTAINERS / LOT).flat_map(|lot| start(lab, lot)).collect();
    std::thread::sleep(SETTLE);
    let idle = measure(lab, || Duration::ZERO, || ());
    let (ours, our_memory) = follow(lab, &Follower::ours(lab));
    let theirs = Follower::hsflowd(lab).map(|follower| follow(lab, &follower));
    let stats = docker_stats(lab);
    for lot in containers.chunks(LOT) {
        lab.remove(&lot.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let seconds = MEASURED.as_secs();
    let title =
        format!("{CONTAINERS} containers, counters every {POLLING_S} s, {seconds} s each, {}", load());
    let mut table = Table::new(title);
    table.say("engine at rest", format!("{:.2} %", idle.percent(idle.engine)));
    let own = ours.percent(ours.own);
    table.check("processor below 0.5 %", format!("{own:.3} %"), own < 0.5);
    table.check("resident memory below 12 MiB", mib(our_memory), our_memory < 12 << 20);
    table.say("processor, own and what the engine takes for it", ours.text(idle));
    table.say("the same of `docker stats` every 10 s", stats.text(idle));
    table.say("`docker stats` / ours", format!("{:.0}", stats.caused(idle) / ours.caused(idle)));
    if let Some((theirs, memory)) = theirs {
        table.say("processor of hsflowd, own and the engine's", theirs.text(idle));
        table.say("hsflowd / ours", format!("{:.1}", theirs.caused(idle) / ours.caused(idle)));
        table.say("hsflowd's own / ours", format!("{:.1}", theirs.percent(theirs.own) / own));
        table.say("resident memory of hsflowd", mib(memory));
    }
    table.print()
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

fn follow(lab: &Lab, follower: &Follower) -> (Cost, u64) {
    std::thread::sleep(SETTLE);
    let cost = measure(lab, || used(follower.id()), || ());
    let heard: std::collections::HashSet<_> =
        follower.receiver.arrivals().iter().map(|arrival| arrival.uuid).collect();
    println!("{} containers were told of", heard.len());
    (cost, resident(follower.id()))
}

/// The docker client's way to the same numbers as often.
fn docker_stats(lab: &Lab) -> Cost {
    let ask = || {
        let mut client = lab.client();
        client.args(["stats", "--no-stream", "--format", "json"]).stdout(Stdio::null());
        assert!(client.status().unwrap().success(), "docker stats answers");
    };
    measure(lab, used_by_children, ask)
}

/// Waits for the time of measurement, and does something every polling interval.
fn measure(lab: &Lab, own: impl Fn() -> Duration, each_interval: impl Fn()) -> Cost {
    let (began, own_before, engine_before) = (Instant::now(), own(), used_by_engine(lab));
    for interval in 0.. {
        let at = Duration::from_secs(POLLING_S * interval);
        if at >= MEASURED {
            break;
        }
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        each_interval();
    }
    std::thread::sleep((began + MEASURED).saturating_duration_since(Instant::now()));
    Cost {
        own: own() - own_before,
        engine: used_by_engine(lab).saturating_sub(engine_before),
        measured: began.elapsed(),
    }
}

/// The time that the threads of a process have had.
fn used(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let of = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of).sum())
}

/// That of the engine, its containerd and the shims of its containers.
fn used_by_engine(lab: &Lab) -> Duration {
    let processes = cgroups().join(format!("{}-engine", lab.cgroup())).join("cgroup.procs");
    let processes = fs::read_to_string(processes).unwrap();
    processes.lines().map(|pid| used(pid.parse().unwrap())).sum()
}

/// That of programs which this one has started and that have ended.
fn used_by_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |field: &str| field.parse::<u64>().unwrap();
    let each = rustix::param::clock_ticks_per_second();
    Duration::from_millis((ticks(fields[13]) + ticks(fields[14])) * 1_000 / each)
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
