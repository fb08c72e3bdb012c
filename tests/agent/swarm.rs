//! The article's measure: a service of a swarm under load, 1 -> 4 -> 1, and what the collector answers about it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use docker::{Action, Endpoint, Engine, Id, Limits};

use super::cgroup::Cpu;
use super::{agent_of, shared};
use crate::support::agent::{Counters, Receiver};
use crate::support::docker_lab::{IMAGE, Lab};
use crate::support::live::{require, temporary_folder, turn, wait_until};
use crate::support::sfcapd::Sfcapd;
use crate::support::{Collector, PATIENCE};

/// The article's question, of a service called web.
const QUESTION: &str = "/metric/ALL/avg:vir_cpu_utilization,avg:vir_bytes_in,avg:vir_bytes_out/json\
                        ?vir_host_name=web%5C..*&vir_cpu_state=running";

/// What the kernel has counted of a container at a moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    cpu_ns: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// One of the counts.
type Pick = fn(&Reading) -> u64;

/// A container of the service, read every few milliseconds as long as it runs.
struct Watched {
    cpu: Cpu,
    network: File,
    readings: Vec<Reading>,
}

impl Watched {
    fn read(&mut self) {
        self.readings.extend(self.now());
    }

    fn now(&self) -> Option<Reading> {
        let mut buffer = [0; 4096];
        let length = self.network.read_at(&mut buffer, 0).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let numbers =
            text.lines().filter_map(|line| line.trim().split_once(':')).filter(|(name, _)| *name != "lo");
        let (mut bytes_in, mut bytes_out) = (0, 0);
        for (_, numbers) in numbers {
            let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            bytes_in += numbers.first()?;
            bytes_out += numbers.get(8)?;
        }
        Some(Reading { at: Instant::now(), cpu_ns: self.cpu.ns()?, bytes_in, bytes_out })
    }

    /// What `pick` was at this moment, between two readings.
    fn at(&self, at: Instant, pick: Pick) -> f64 {
        let next = self.readings.partition_point(|reading| reading.at < at).clamp(1, self.readings.len() - 1);
        let (before, after) = (&self.readings[next - 1], &self.readings[next]);
        let part = at.saturating_duration_since(before.at).as_secs_f64()
            / (after.at - before.at).as_secs_f64().max(1e-9);
        pick(before) as f64 + (pick(after) - pick(before)) as f64 * part.min(1.0)
    }

    /// Growth per second between two moments, and by how much it may be off because a sample travels for up to 60 ms
    /// between its reading and its arrival.
    fn rate(&self, from: Instant, to: Instant, pick: Pick) -> (f64, f64) {
        let travel = Duration::from_millis(60);
        let doubt = |at: Instant| self.at(at, pick) - self.at(at - travel, pick);
        let seconds = (to - from).as_secs_f64();
        let grown = self.at(to, pick) - self.at(from, pick);
        (grown / seconds, doubt(from).max(doubt(to)) / seconds)
    }
}

/// What happens to the service, and who is in it.
#[derive(Default)]
struct Service {
    /// The containers that run now, and when that changed.
    running: BTreeMap<Id, String>,
    changed: Option<Instant>,
    all: Vec<Id>,
    watched: BTreeMap<Id, Watched>,
}

/// Follows the service by the engine's events, which come before anything is asked about them.
fn follow(lab: &Lab, service: &Mutex<Service>, ended: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut engine = Engine::new(Endpoint::Unix(lab.socket()), Limits::default());
        let mut events = engine.events(None).await.unwrap();
        while !ended.load(Ordering::Relaxed) {
            let next = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
            let Ok(event) = next.map(|event| event.unwrap().unwrap()) else { continue };
            let at = Instant::now();
            match event.action {
                Action::Start if event.name.starts_with("web.") => {
                    let pid = engine.inspect(&event.id).await.unwrap().pid.unwrap();
                    let network = File::open(format!("/proc/{pid}/net/dev")).unwrap();
                    let cpu = Cpu::open(&format!("{}/{}", lab.cgroup(), event.id));
                    let mut service = service.lock().unwrap();
                    service.all.push(event.id);
                    service.watched.insert(event.id, Watched { cpu, network, readings: Vec::new() });
                    service.running.insert(event.id, event.name);
                    service.changed = Some(at);
                }
                Action::Die => {
                    let mut service = service.lock().unwrap();
                    if service.running.remove(&event.id).is_some() {
                        service.changed = Some(at);
                    }
                }
                _ => {}
            }
        }
    });
}

/// Reads all that run, every few milliseconds.
fn record(service: &Mutex<Service>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        // One that has just ended has nothing to read.
        service.lock().unwrap().watched.values_mut().for_each(Watched::read);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks a page of the container again and again, now and then one that costs processor time, while it answers.
fn load(address: SocketAddr, ended: &AtomicBool) {
    let get = |path: &str| -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        std::io::copy(&mut stream.take(1 << 20), &mut std::io::sink()).map(drop)
    };
    let mut refused = 0;
    for n in 0_u32.. {
        if ended.load(Ordering::Relaxed) || refused > 20 {
            return;
        }
        let path = if n % 50 == 49 { "/cgi-bin/burn" } else { "/" };
        refused = if get(path).is_ok() { 0 } else { refused + 1 };
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// Tells threads to end, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The three statistics: how many contribute, and their mean.
fn ask(collector: &Collector) -> [(u64, f64); 3] {
    let answer = collector.json(QUESTION);
    [0, 1, 2].map(|at| {
        (answer[at]["metricN"].as_u64().unwrap_or(0), answer[at]["metricValue"].as_f64().unwrap_or(f64::NAN))
    })
}

#[test]
fn a_service_under_load_is_counted_and_measured_as_it_is_scaled() {
    require(&["sfcapd", "nfdump"]);
    let _turn = turn();
    let (lab, receiver, collector) = (shared(), Receiver::start(), Collector::start(&[]));
    let folder = temporary_folder();
    let sfcapd = Sfcapd::start(folder.path());
    let collectors = [collector.sflow.to_string(), format!("127.0.0.1:{}", sfcapd.port)];
    let also = ["--collector", &collectors[0], "--collector", &collectors[1]];
    let mut agent = agent_of(lab, &receiver, &[&also[..], &["--polling", "10"]].concat());
    let service = [
        "service",
        "create",
        "--no-resolve-image",
        "--detach",
        "--stop-grace-period",
        "1s",
        "--replicas",
        "0",
    ];
    lab.docker(&[&service[..], &["--name", "web", "--publish", "mode=host,target=80", IMAGE]].concat());
    let (state, ended) = (Mutex::<Service>::default(), AtomicBool::new(false));
    let all = std::thread::scope(|scope| {
        let _ending = Ending(&ended);
        scope.spawn(|| follow(lab, &state, &ended));
        scope.spawn(|| record(&state, &ended));
        let mut loaded = Vec::new();
        for replicas in [1, 4, 1, 0] {
            lab.docker(&["service", "scale", "--detach", &format!("web={replicas}")]);
            let changed = wait_until("the replicas", || {
                let state = state.lock().unwrap();
                state.changed.filter(|_| state.running.len() == replicas)
            });
            wait_until("metricN of all that run, and of no others", || {
                ask(&collector).iter().all(|(n, _)| *n == replicas as u64).then_some(())
            });
            eprintln!("metricN is {replicas} {:.3} s after the change", changed.elapsed().as_secs_f64());
            for id in
                state.lock().unwrap().running.keys().filter(|id| !loaded.contains(*id)).collect::<Vec<_>>()
            {
                let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
                let addresses = lab.docker(&["inspect", "--format", template, &id.to_string()]);
                let address =
                    addresses.split_whitespace().next().unwrap().parse::<std::net::IpAddr>().unwrap();
                let ended = &ended;
                scope.spawn(move || lab.network().enter_and(|| load((address, 80).into(), ended)));
                loaded.push(*id);
            }
            if replicas == 4 {
                compare(&receiver, &collector, &state);
            }
        }
        let state = state.lock().unwrap();
        state.all.clone()
    });
    assert_eq!(all.len(), 4);
    agent.wait_for_counter("finderscope_agent_containers", 0);
    lab.docker(&["service", "rm", "web"]);
    for id in &all {
        let samples = receiver.of(&id.to_string());
        let states: Vec<u64> = samples.iter().map(Counters::state).collect();
        let running = states.len() - 1;
        assert!(states.len() >= 3 && states[..running].iter().all(|state| *state == 1), "{states:?}");
        assert_eq!(states[running], 5);
        assert!(samples.iter().all(|sample| sample.name.starts_with("web.")));
        // The second one is not that of the interval, of which half has to go by: there are rates after a second.
        let second = samples[1].at - samples[0].at;
        assert!((800..4_500).contains(&second.as_millis()), "the second sample after {second:.3?}");
    }
    agent.end();
    // To it none of the counters was bad or missing, and none a packet.
    let (sums, missing) = sfcapd.end();
    assert!(sums.is_empty() && missing == 0, "{missing} missing, {sums:?}");
}

/// Compares the answer with what the kernel has counted between the last two samples of each container.
fn compare(receiver: &Receiver, collector: &Collector, state: &Mutex<Service>) {
    let running: Vec<Id> = state.lock().unwrap().running.keys().copied().collect();
    let last_two = |id: &Id| -> Option<[Instant; 2]> {
        let samples = receiver.of(&id.to_string());
        let [.., before, last] = &samples[..] else { return None };
        // The first interval is that of the second before there was any load.
        (samples.len() >= 4).then_some([before.at, last.at])
    };
    let deadline = Instant::now() + 3 * PATIENCE;
    let (intervals, answer) = loop {
        let snapshot = || running.iter().map(last_two).collect::<Option<Vec<_>>>();
        let before = snapshot();
        let settled =
            |all: &Vec<[Instant; 2]>| all.iter().all(|[_, last]| last.elapsed() > Duration::from_millis(300));
        if let Some(all) = before.filter(settled) {
            let answer = ask(collector);
            if snapshot().as_ref() == Some(&all) {
                break (all, answer);
            }
        }
        assert!(Instant::now() < deadline, "containers were not polled");
        std::thread::sleep(Duration::from_millis(50));
    };
    let state = state.lock().unwrap();
    // Percent of a processor, and bytes per second.
    let of: [(&str, f64, Pick); 3] = [
        ("cpu", 1e-7, |reading| reading.cpu_ns),
        ("bytes in", 1.0, |reading| reading.bytes_in),
        ("bytes out", 1.0, |reading| reading.bytes_out),
    ];
    for ((name, unit, pick), (n, said)) in of.into_iter().zip(answer) {
        let rates =
            running.iter().zip(&intervals).map(|(id, [from, to])| state.watched[id].rate(*from, *to, pick));
        let (sum, doubt) = rates.fold((0.0, 0.0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1));
        let (mean, doubt) = (sum * unit / running.len() as f64, doubt / sum);
        let off = said / mean - 1.0;
        eprintln!(
            "{name}: {said:.2} by REST, {mean:.2} by the kernel ({:+.2} %, 2 % and {:.2} % allowed)",
            off * 100.0,
            doubt * 100.0
        );
        assert_eq!(n, 4, "{name}");
        assert!(mean > 1.0 && off.abs() < 0.02 + doubt, "{name}: {said} by REST, {mean} by the kernel");
    }
}
