//! The running agent: one thread that waits for everything at once. The engine's answers and events, the ends of
//! processes, sampled packets, signals, requests for its own counters, and the time.

mod engine;
mod health;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::container::place::Root;
use crate::container::population::{Capacity, Population};
use crate::export::{DryRun, Exporter, Sink, UdpSink};
use crate::host::{self, Host};
use crate::interfaces::{self, Interface};
use crate::options::Options;
use crate::privileges::{self, Needs};
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::status::Status;
use crate::{address, log};
use engine::Following;

/// How often the agent looks whether it still has its address, at least.
const ADDRESS_CHECK: Duration = Duration::from_secs(10);

/// After the first sample of the host's counters.
const SECOND_SAMPLE: Duration = Duration::from_secs(1);

/// The nice value that the agent takes where it may.
const PRIORITY: i32 = -10;

/// The agent.
struct Agent {
    options: Options,
    settings: Settings,
    exporter: Exporter,
    host: Host,
    /// For the list of the host's interfaces.
    interfaces: std::os::fd::OwnedFd,
    host_due: Option<Instant>,
    /// Samples of the host's counters since the start or a reload.
    host_samples: u64,
    address_due: Instant,
    containers: Option<Following>,
    sampler: Option<AsyncFd<Sampler>>,
    status: Option<Status>,
    started: Instant,
    reloads: u64,
    wakes: u64,
}

/// Runs the agent until it is told to end.
///
/// # Errors
/// Something that the agent cannot do without cannot be had; the text names it.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut agent = Agent::new(options)?;
        let needs = Needs { packets: agent.sampler.is_some(), containers: agent.containers.is_some() };
        privileges::give_up_all_but(needs).context(
            "giving up capabilities that are not needed; does a filter of system calls forbid capset?",
        )?;
        agent.follow(&mut hangup, &mut terminate, &mut interrupt).await;
        agent.exporter.flush(Instant::now());
        tracing::info!("ended");
        Ok(())
    })
}

/// What woke the agent.
enum Woken {
    Ended,
    Engine(engine::News),
    Packets,
    Request(Option<tokio::net::TcpStream>),
    Reload,
    Stop,
    Time,
}

impl Agent {
    fn new(options: Options) -> anyhow::Result<Self> {
        let read = options.read()?;
        read.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let settings = read.settings;
        raise_limit();
        raise_priority();
        let now = Instant::now();
        let socket = interfaces::open()?;
        let list = interfaces::list(&socket)?;
        let address = match address::find(&settings.agent, &list, None) {
            Ok(address) => address,
            // What is only printed needs none.
            Err(_) if options.dry_run => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Err(error) => return Err(error.into()),
        };
        let mut exporter = Exporter::new(address, settings.sub_agent, sink(&options, &settings), now);
        exporter.set_largest_datagram(usize::try_from(settings.datagram_bytes)?, now);
        let host = Host::new(host::Roots::default()).with_uuid(settings.uuid);
        let containers =
            settings.docker.as_ref().map(|docker| Following::new(docker, &settings, &host)).transpose()?;
        let sampler = match settings.pcap.as_slice() {
            [] => None,
            _ => Some(watched(Sampler::open(&settings, &mut exporter, now)?)?),
        };
        let bind =
            |address| Status::bind(address).map_err(|error| anyhow::anyhow!("--status {address}: {error}"));
        let status = settings.status.map(bind).transpose()?;
        let counters = match settings.polling.as_secs() {
            0 => "no counters".to_owned(),
            seconds => format!("counters every {seconds} s"),
        };
        let to = if options.dry_run { "standard output".to_owned() } else { names(&exporter) };
        tracing::info!("agent {address}, {counters}, to {to}");
        let host_due = (!settings.polling.is_zero()).then_some(now);
        Ok(Self {
            options,
            settings,
            exporter,
            host,
            interfaces: socket,
            host_due,
            host_samples: 0,
            address_due: now + ADDRESS_CHECK,
            containers,
            sampler,
            status,
            started: now,
            reloads: 0,
            wakes: 0,
        })
    }

    /// Until it is told to end, or the reader of a dry run is gone.
    async fn follow(&mut self, hangup: &mut Signal, terminate: &mut Signal, interrupt: &mut Signal) {
        loop {
            let until = self.due();
            let woken = {
                let Self { containers, sampler, status, .. } = self;
                let (ended, news) = match containers {
                    Some(containers) => containers.waits(),
                    None => (None, None),
                };
                tokio::select! {
                    // The ends of processes come before what the engine says of them.
                    biased;
                    () = wait(ended) => Woken::Ended,
                    _ = terminate.recv() => Woken::Stop,
                    _ = interrupt.recv() => Woken::Stop,
                    _ = hangup.recv() => Woken::Reload,
                    news = engine::news(news) => Woken::Engine(news),
                    () = tokio::time::sleep_until(until.into()) => Woken::Time,
                    () = readable(sampler.as_ref()) => Woken::Packets,
                    stream = request(status.as_ref()) => Woken::Request(stream),
                }
            };
            self.wakes += 1;
            let now = Instant::now();
            match woken {
                Woken::Stop => return,
                Woken::Reload => self.reload(now),
                Woken::Ended => {}
                Woken::Engine(news) => {
                    if let Some(containers) = &mut self.containers {
                        containers.take(news, &mut self.exporter, now);
                    }
                }
                Woken::Packets => self.packets(now),
                Woken::Request(stream) => self.answer(stream),
                Woken::Time => {}
            }
            self.tick(now);
            if self.exporter.is_over() {
                return;
            }
        }
    }

    /// When something is to be done by the time.
    fn due(&self) -> Instant {
        let containers = self.containers.as_ref().and_then(Following::due);
        let sampler = self.sampler.as_ref().and_then(|sampler| sampler.get_ref().due());
        let due = [self.host_due, self.exporter.due(), containers, sampler, log::due()];
        due.into_iter().flatten().fold(self.address_due, Instant::min)
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) {
        if let Some(containers) = &mut self.containers {
            containers.tick(&mut self.exporter, now);
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.get_mut().tick(&mut self.exporter, now);
        }
        if self.host_due.is_some_and(|due| due <= now) {
            self.poll_host(now);
        }
        if self.address_due <= now {
            self.keep_address(now);
        }
        if self.exporter.due().is_some_and(|due| due <= now) {
            self.exporter.flush(now);
        }
        self.exporter.tick(now);
        if log::due().is_some_and(|due| due <= now) {
            log::tell_left_out();
        }
    }

    /// Sends the host's counters.
    fn poll_host(&mut self, now: Instant) {
        let polling = self.settings.polling;
        let wait = match self.host_samples {
            // So that there are rates at once.
            0 => SECOND_SAMPLE.min(polling),
            // A random phase: agents that were started together do not send together.
            1 => polling / 2 + phase(polling / 2),
            _ => polling,
        };
        self.host_samples += 1;
        self.host_due = Some(now + wait);
        let list = self.keep_address(now);
        let containers = self.containers.as_ref().map_or(0, Following::alive);
        let sample = self.host.read(&list, u32::try_from(containers).unwrap_or(u32::MAX));
        sample.with_records(|records| self.exporter.counters(host::SOURCE, records, now));
    }

    /// Looks whether the agent still has its address; the host's interfaces.
    fn keep_address(&mut self, now: Instant) -> Vec<Interface> {
        self.address_due = now + ADDRESS_CHECK;
        let list = match interfaces::list(&self.interfaces) {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!("the host's interfaces cannot be listed: {error}");
                return Vec::new();
            }
        };
        let current = Some(self.exporter.agent()).filter(|address| !address.is_unspecified());
        match address::find(&self.settings.agent, &list, current) {
            Ok(address) if address != self.exporter.agent() => {
                tracing::info!("the agent's address is {address} from here on");
                self.exporter.set_agent(address, now);
            }
            Ok(_) => {}
            Err(_) if self.options.dry_run => {}
            Err(error) => tracing::warn!("{error}; the agent goes on as {}", self.exporter.agent()),
        }
        list
    }

    fn packets(&mut self, now: Instant) {
        let Some(sampler) = &mut self.sampler else { return };
        let work = match &self.containers {
            Some(containers) => sampler.get_mut().work(containers.population(), &mut self.exporter, now),
            None => sampler.get_mut().work(&(), &mut self.exporter, now),
        };
        if !work.more {
            // Ready or not: it is asked again when the kernel says so.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            if let std::task::Poll::Ready(Ok(mut guard)) = sampler.poll_read_ready(&mut context) {
                guard.clear_ready();
            }
        }
    }

    fn answer(&mut self, stream: Option<tokio::net::TcpStream>) {
        let Some(stream) = stream else { return };
        let text = self.health();
        if let Some(status) = &mut self.status {
            status.answer(stream, text);
        }
    }

    /// Reads the settings anew. Something wrong with them changes nothing.
    fn reload(&mut self, now: Instant) {
        self.reloads += 1;
        let read = match self.options.read() {
            Ok(read) => read,
            Err(wrong) => {
                for line in wrong.lines {
                    tracing::warn!("the configuration was not taken: {line}");
                }
                return;
            }
        };
        read.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let settings = read.settings;
        if settings.collectors != self.settings.collectors {
            self.exporter.set_collectors(&settings.collectors, now);
        }
        if let Ok(bytes) = usize::try_from(settings.datagram_bytes) {
            self.exporter.set_largest_datagram(bytes, now);
        }
        let restart = [
            (settings.docker != self.settings.docker, "docker"),
            (settings.status != self.settings.status, "status"),
            (settings.sub_agent != self.settings.sub_agent, "sub_agent"),
            (settings.uuid != self.settings.uuid, "uuid"),
            // The right to sample was given up at the start.
            (self.sampler.is_none() && !settings.pcap.is_empty(), "pcap, of which there was none,"),
        ];
        for (_, what) in restart.iter().filter(|(changed, _)| *changed) {
            tracing::warn!("{what} has changed, which takes a restart of the agent");
        }
        if settings.polling != self.settings.polling
            && let Some(containers) = &mut self.containers
        {
            containers.set_polling(settings.polling, now);
        }
        let (docker, status) = (self.settings.docker.take(), self.settings.status.take());
        let Settings { sub_agent, uuid, .. } = self.settings;
        self.settings = Settings { docker, status, sub_agent, uuid, ..settings };
        if let Some(sampler) = &mut self.sampler
            && let Err(error) = sampler.get_mut().reload(&self.settings, &mut self.exporter, now)
        {
            tracing::warn!("sampling goes on as it was: {error}");
        }
        self.host_due = (!self.settings.polling.is_zero()).then_some(now);
        self.host_samples = 0;
        self.address_due = now;
        tracing::info!("the configuration was read anew");
    }
}

/// The descriptor of what is watched here is open as long as it is, which tokio cannot know of every type; its other
/// function for that is unsafe.
#[allow(deprecated, reason = "Population and Sampler keep the descriptor that they show")]
fn watched<T: std::os::fd::AsRawFd>(source: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(source, Interest::READABLE)
}

async fn wait(population: Option<&AsyncFd<Population>>) {
    match population {
        Some(population) => {
            // The kernel's list is asked after each wake; what is left makes it ready again.
            if let Ok(mut guard) = population.readable().await {
                guard.clear_ready();
            }
        }
        None => std::future::pending().await,
    }
}

async fn readable(sampler: Option<&AsyncFd<Sampler>>) {
    match sampler {
        Some(sampler) => drop(sampler.readable().await),
        None => std::future::pending().await,
    }
}

async fn request(status: Option<&Status>) -> Option<tokio::net::TcpStream> {
    match status {
        Some(status) => status.next().await,
        None => std::future::pending().await,
    }
}

fn sink(options: &Options, settings: &Settings) -> Box<dyn Sink> {
    match options.dry_run {
        true => Box::new(DryRun::new(Box::new(io::stdout()))),
        false => Box::new(UdpSink::new(&settings.collectors)),
    }
}

fn names(exporter: &Exporter) -> String {
    let names: Vec<String> = exporter.collectors().into_iter().map(|collector| collector.name).collect();
    names.join(", ")
}

/// A random part of the interval.
fn phase(interval: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let part = (RandomState::new().hash_one(0) >> 32) as f64 / f64::from(u32::MAX);
    interval.mul_f64(part)
}

/// Each container keeps up to eight descriptors open.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// The counters of a container that ends are there for some milliseconds more. On a busy host the agent, which needs little,
/// comes before those that keep it busy; where that is not permitted it says nothing and waits its turn.
fn raise_priority() {
    if getpriority_process(None).is_ok_and(|nice| nice > PRIORITY) {
        let _ = setpriority_process(None, PRIORITY);
    }
    // Where the kernel shares the processors out between sessions (sched(7), autogroup), the nice value counts inside of
    // one only. As a service the agent is a session of its own; a terminal's is not the agent's to raise.
    if leads_its_session() {
        let _ = std::fs::write("/proc/self/autogroup", PRIORITY.to_string());
    }
}

/// Whether this process is the leader of its session, as proc(5) tells: getsid(2) gives 0 where the leader is outside of
/// this PID namespace (any process of a container but its first), which `rustix` takes for impossible.
fn leads_its_session() -> bool {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return false };
    // pid (command) state ppid pgrp session ...; the command may have any characters in it.
    let pid = stat.split(' ').next();
    let session = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(3));
    pid == session
}

fn capacity(host: &Host) -> Capacity {
    Capacity { processors: host.processors().unwrap_or(1), memory_bytes: host.memory_bytes() }
}

fn root() -> Root {
    Root::new("/")
}
