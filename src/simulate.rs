//! `finderscope simulate`: a simulated fabric that sends its sFlow in real time; also the demo's fabric.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use fabric::{Curve, Fabric, FabricError, FabricOptions};
use ingest::send::Sender;

use crate::sending::{self, host_and_port, positive};

/// Options of `finderscope simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
The same options and seed give the same traffic. Ends after --duration, or on SIGINT and SIGTERM, and then sends the \
last counters of everything and writes the truth.\n\n\
Exit codes: 0 all datagrams were sent; 1 the fabric cannot be made, a file or the socket failed, or the kernel refused \
datagrams; 2 the command line is wrong.")]
pub struct SimulateArgs {
    /// The collector
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    to: String,
    /// Spine switches
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().spines)]
    spines: usize,
    /// Leaf switches
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().leaves)]
    leaves: usize,
    /// Hosts in all
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().hosts)]
    hosts: usize,
    /// Flows between hosts
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().flows)]
    flows: usize,
    /// Sample one packet in N
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().sampling)]
    sampling: u32,
    /// Seconds between two samples of the same counters
    #[arg(long, value_name = "SECONDS", default_value_t = FabricOptions::default().polling_s)]
    polling: u64,
    /// Which fabric: the same seed gives the same one
    #[arg(long, value_name = "S", default_value_t = FabricOptions::default().seed)]
    seed: u64,
    /// Datagrams per second wanted in all: the traffic between hosts is scaled to make them [default: 1 Gbit/s of
    /// traffic for each host]
    #[arg(long, value_name = "DATAGRAMS_PER_S", value_parser = positive)]
    rate: Option<f64>,
    /// Containers of the service web
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().replicas)]
    replicas: usize,
    /// Hosts that talk to a listed address
    #[arg(long, value_name = "N", default_value_t = FabricOptions::default().suspects)]
    suspects: usize,
    /// Seconds after which it ends [default: when it is told to]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    duration: Option<f64>,
    /// Write what has really passed to a file (JSON), at the end
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write the fabric's topology to a file (JSON) before anything is sent, for PUT /topology/json
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
}

impl SimulateArgs {
    fn options(&self) -> FabricOptions {
        FabricOptions {
            spines: self.spines,
            leaves: self.leaves,
            hosts: self.hosts,
            flows: self.flows,
            sampling: self.sampling,
            seed: self.seed,
            polling_s: self.polling,
            rate: self.rate,
            replicas: self.replicas,
            suspects: self.suspects,
            ..FabricOptions::default()
        }
    }
}

/// How long the sender sleeps between two looks at the clock.
const PAUSE: Duration = Duration::from_millis(10);

/// Simulated time follows real time; when it is later than this (the machine slept, or is too slow) it does not hurry
/// after it.
const LATEST_US: u64 = 2_000_000;

/// Simulated time for real time.
#[derive(Debug)]
struct Clock {
    began: Instant,
    lost_us: u64,
}

impl Clock {
    fn new() -> Self {
        Self { began: Instant::now(), lost_us: 0 }
    }

    /// The time until which the fabric, which is at `simulated_us`, has to step.
    fn now_us(&mut self, simulated_us: u64) -> u64 {
        self.follow(self.began.elapsed().as_micros() as u64, simulated_us)
    }

    fn follow(&mut self, real_us: u64, simulated_us: u64) -> u64 {
        let now_us = real_us.saturating_sub(self.lost_us);
        let late_us = now_us.saturating_sub(simulated_us).saturating_sub(LATEST_US);
        self.lost_us += late_us;
        now_us - late_us
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The fabric cannot be made, the collector's address cannot be found, or the truth cannot be written.
pub fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut fabric = Fabric::new(&args.options())?;
    let (mut sender, to) = sending::sender(&args.to)?;
    // Opened before anything is sent, so that a long run does not end with a path that cannot be written.
    let truth = args.truth.as_deref().map(|path| create("--truth", path)).transpose()?;
    if let Some(path) = args.topology.as_deref() {
        let (mut file, path) = create("--topology", path)?;
        writeln!(file, "{:#}", args.options().topology()?)
            .with_context(|| format!("--topology {}: it cannot be written", path.display()))?;
    }
    let interrupted = sending::interrupted()?;
    let template = if args.duration.is_some() { "{bar:40} {pos}/{len} s, {msg}" } else { "{pos} s, {msg}" };
    let progress = sending::progress(template, args.duration.map(|seconds| seconds as u64))?;
    let mut clock = Clock::new();
    let end_us = args.duration.map_or(u64::MAX, |seconds| (seconds * 1e6) as u64);
    while !interrupted.load(Ordering::Relaxed) && fabric.now_us() + fabric::fabric::TICK_US <= end_us {
        let now_us = clock.now_us(fabric.now_us()).min(end_us);
        fabric.step(now_us, &mut |_, datagram| sender.send(datagram));
        progress.set_position(fabric.now_us() / 1_000_000);
        progress.set_message(format!("{} datagrams", sender.sent()));
        std::thread::sleep(PAUSE);
    }
    fabric.finish(&mut |_, datagram| sender.send(datagram));
    progress.finish_and_clear();
    if let Some((mut file, path)) = truth {
        file.write_all(fabric.truth().to_json().as_bytes())
            .with_context(|| format!("--truth {}: it cannot be written", path.display()))?;
    }
    sending::tell(&sender, to, Duration::from_micros(fabric.now_us()));
    if clock.lost_us > 0 {
        let lost = clock.lost_us as f64 / 1e6;
        eprintln!("this machine was too slow, or slept, by {lost:.1} s: simulated time fell behind as much");
    }
    sending::outcome(&sender, to)
}

fn create<'p>(option: &str, path: &'p Path) -> anyhow::Result<(std::fs::File, &'p Path)> {
    let file = std::fs::File::create(path)
        .with_context(|| format!("{option} {}: it cannot be written", path.display()))?;
    Ok((file, path))
}

/// A fabric that runs in a thread of its own, and sends to a collector.
#[derive(Debug)]
pub struct Simulation {
    fabric: Arc<Mutex<Fabric>>,
    ending: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Simulation {
    /// The fabric of the demo: small, about 150 datagrams a second, counters every two seconds, and a service whose
    /// load rises and falls within four minutes.
    pub fn demo() -> FabricOptions {
        FabricOptions {
            spines: 2,
            leaves: 4,
            hosts: 16,
            flows: 300,
            sampling: 1000,
            polling_s: 2,
            rate: Some(150.0),
            load: Curve::Sine { period_s: 240.0 },
            ..FabricOptions::default()
        }
    }

    /// Starts a fabric that sends to `to`.
    ///
    /// # Errors
    /// The fabric cannot be made, or no socket or thread can be had.
    pub fn start(options: &FabricOptions, to: SocketAddr) -> anyhow::Result<Self> {
        let fabric = Arc::new(Mutex::new(Fabric::new(options)?));
        let mut sender = Sender::new(to).with_context(|| format!("sending to {to}"))?;
        let ending = Arc::new(AtomicBool::new(false));
        let (shared, told) = (Arc::clone(&fabric), Arc::clone(&ending));
        let thread = std::thread::Builder::new().name("fabric".to_owned()).spawn(move || {
            let mut clock = Clock::new();
            while !told.load(Ordering::Relaxed) {
                {
                    let mut fabric = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let now_us = clock.now_us(fabric.now_us());
                    fabric.step(now_us, &mut |_, datagram| sender.send(datagram));
                }
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Self { fabric, ending, thread: Mutex::new(Some(thread.context("the fabric's thread")?)) })
    }

    /// Asks the fabric, or changes it; it stands still meanwhile.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Fabric) -> T) -> T {
        ask(&mut self.fabric.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the number of containers of a service.
    ///
    /// # Errors
    /// There is no such service, or the number is too large.
    pub fn set_replicas(&self, service: &str, replicas: usize) -> Result<(), FabricError> {
        self.with(|fabric| fabric.set_replicas(service, replicas))
    }

    /// Ends it, and waits until its thread has ended.
    pub fn shutdown(&self) {
        self.ending.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so already.
        thread.map(JoinHandle::join);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_machine_that_slept_does_not_hurry_after_the_time() {
        let mut clock = Clock::new();
        assert_eq!(clock.follow(1_500_000, 0), 1_500_000);
        assert_eq!(clock.follow(3_602_000_000, 2_000_000), 4_000_000, "an hour of sleep");
        assert_eq!(clock.follow(3_602_100_000, 4_000_000), 4_100_000, "and on from there");
    }

    #[test]
    fn the_demo_runs_until_it_is_told_to_end() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let demo = Simulation::start(&Simulation::demo(), collector.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 2000];
        for _ in 0..50 {
            let length = collector.recv(&mut buffer).unwrap();
            decode::Datagram::parse(&buffer[..length]).unwrap();
        }
        demo.set_replicas("web", 3).unwrap();
        assert_eq!(demo.with(|fabric| fabric.replicas("web")), Some(3));
        assert_eq!(demo.with(|fabric| fabric.listed().len()), 2);
        demo.shutdown();
    }
}
