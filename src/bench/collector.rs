//! What receives: the engine with all that it does, or its receivers alone. Both are production's; here is only the loop of
//! the latter, and where each says what it counted.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use engine::interface::{Ingest, InterfaceOptions, Reached};
use engine::{Engine, EngineOptions, Handle};
use ingest::receiver::{Backend, Group, Receiver};
use ingest::wake::{Waker, wait};
use tables::select::Agents;
use tables::{Answer, Change, Question};

use super::cpu;

/// Receive buffer asked for, bytes: as for a collector of a large fabric.
pub(crate) const RECEIVE_BUFFER: usize = 32 << 20;

/// What a receiver has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Datagrams that were read.
    pub(crate) decoded: u64,
    /// Datagrams that could not be read.
    pub(crate) errors: u64,
    /// Flow samples in them.
    pub(crate) samples: u64,
    /// Dropped by the kernel because a socket's buffer was full.
    pub(crate) socket: u64,
    /// Dropped because the ring of an AF_XDP socket was.
    pub(crate) ring: u64,
    /// Dropped on the way from one worker to another.
    pub(crate) hand_over: u64,
    /// Datagrams, and samples, that are missing by their sequence numbers.
    pub(crate) lost_datagrams: u64,
    pub(crate) lost_samples: u64,
}

impl Counts {
    /// What it accounts for.
    pub(crate) fn all(&self) -> u64 {
        self.decoded + self.errors + self.socket + self.ring + self.hand_over
    }

    /// What was counted after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            decoded: self.decoded.saturating_sub(before.decoded),
            errors: self.errors.saturating_sub(before.errors),
            samples: self.samples.saturating_sub(before.samples),
            socket: self.socket.saturating_sub(before.socket),
            ring: self.ring.saturating_sub(before.ring),
            hand_over: self.hand_over.saturating_sub(before.hand_over),
            lost_datagrams: self.lost_datagrams.saturating_sub(before.lost_datagrams),
            lost_samples: self.lost_samples.saturating_sub(before.lost_samples),
        }
    }
}

/// Something that receives.
pub(crate) trait Receives {
    /// Where.
    fn address(&self) -> SocketAddr;

    /// What it has counted; sequence numbers too when `sequences`, which takes longer.
    fn counts(&self, sequences: bool) -> anyhow::Result<Counts>;

    /// What the threads that receive took.
    fn time(&self) -> cpu::Time {
        cpu::of_threads("rx-")
    }
}

/// How datagrams are to come to what receives.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) address: SocketAddr,
    pub(crate) workers: usize,
    /// Past the kernel's network stack; by UDP sockets alone when `None`.
    pub(crate) interface: Option<InterfaceOptions>,
}

impl Entry {
    fn options(&self) -> EngineOptions {
        EngineOptions {
            sflow: vec![self.address],
            receive_buffer: RECEIVE_BUFFER,
            workers: NonZero::new(self.workers),
            // On one processor there is nothing to choose.
            pin: cpu::processors().len() > 1,
            ingest: if self.interface.is_some() { Ingest::Xdp } else { Ingest::Udp },
            interface: self.interface.clone().unwrap_or_default(),
            flows_max: 65_536,
            ..EngineOptions::default()
        }
    }
}

/// A whole collector.
pub(crate) struct Collector {
    engine: Engine,
    address: SocketAddr,
}

impl Collector {
    /// Starts one with these definitions.
    pub(crate) fn start(entry: &Entry, definitions: Vec<Change>) -> anyhow::Result<Self> {
        let engine = Engine::start(&entry.options()).context("the collector cannot start")?;
        engine.handle().define_all(definitions).context("the collector's definitions")?;
        let address = engine.addresses().first().copied().context("the collector listens nowhere")?;
        Ok(Self { engine, address })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// How datagrams come in, and what was refused on the way there.
    pub(crate) fn reached(&self) -> anyhow::Result<Reached> {
        Ok(self.engine.handle().status()?.reached)
    }

    pub(crate) fn end(self) {
        self.engine.shutdown();
    }
}

impl Receives for Collector {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn counts(&self, sequences: bool) -> anyhow::Result<Counts> {
        let handle = self.engine.handle();
        let status = handle.status()?;
        let (mut lost_datagrams, mut lost_samples) = (0, 0);
        if sequences && let Answer::Agents(agents) = handle.ask(Question::Agents(Agents::All))? {
            lost_datagrams = agents.iter().map(|agent| agent.datagrams.lost).sum();
            lost_samples = agents.iter().map(|agent| agent.flow_samples.lost).sum();
        }
        Ok(Counts {
            decoded: status.counters.datagrams,
            errors: status.counters.datagram_errors.iter().sum(),
            samples: status.counters.flow_samples,
            socket: status.kernel_drops.unwrap_or(0).saturating_sub(status.queue_drops),
            ring: status.queue_drops,
            hand_over: status.hand_over.handover_full,
            lost_datagrams,
            lost_samples,
        })
    }
}

/// Receivers whose datagrams nobody looks into.
pub(crate) struct Listener {
    address: SocketAddr,
    reached: &'static str,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct Shared {
    taken: AtomicU64,
    socket: AtomicU64,
    ring: AtomicU64,
    ended: AtomicBool,
}

/// How often the kernel's count of drops is read.
const DROPS: Duration = Duration::from_millis(20);

impl Listener {
    /// One thread, named as a worker is.
    pub(crate) fn start(entry: &Entry) -> anyhow::Result<Self> {
        let options = ingest::receiver::Options {
            backend: Backend::Auto,
            receivers: 1,
            receive_buffer: RECEIVE_BUFFER,
            steering: &[],
        };
        // A collector has both: what is not for its queue still comes to its socket.
        let mut receivers = Group::open(entry.address, &options)?.receivers;
        let address = receivers.first().context("no receiver")?.local_address()?;
        let mut reached = "udp";
        if let Some(interface) = &entry.interface {
            let opened;
            (opened, reached) = queues(interface, address)?;
            receivers.extend(opened);
        }
        let (shared, waker) = (Arc::<Shared>::default(), Waker::new()?);
        let (told, ear) = (Arc::clone(&shared), waker.clone());
        let body = move || {
            cpu::keep_to(cpu::processors().first().copied());
            listen(receivers, &told, &ear);
        };
        let thread = std::thread::Builder::new().name("rx-0".to_owned()).spawn(body);
        Ok(Self { address, reached, shared, waker, thread: Some(thread.context("the receiving thread")?) })
    }
}

/// Receivers of the queues of an interface, and the mode that was reached.
#[cfg(all(target_os = "linux", feature = "xdp"))]
fn queues(
    interface: &InterfaceOptions,
    address: SocketAddr,
) -> anyhow::Result<(Vec<Receiver>, &'static str)> {
    use ingest::xdp::program::Steering;
    use ingest::xdp::{Options, open};
    let steering = Steering { ports: vec![address.port()], ..Steering::default() };
    let options = Options {
        order: interface.mode,
        verify_checksum: interface.verify_checksum,
        frames_per_queue: interface.frames,
        ..Options::new(interface.name.as_deref().unwrap_or_default(), steering)
    };
    let opened = open(&options)?;
    Ok((opened.receivers, opened.reached.mode.label()))
}

#[cfg(not(all(target_os = "linux", feature = "xdp")))]
fn queues(_: &InterfaceOptions, _: SocketAddr) -> anyhow::Result<(Vec<Receiver>, &'static str)> {
    anyhow::bail!("this build has no AF_XDP")
}

#[cfg(all(target_os = "linux", feature = "xdp"))]
fn is_queue(receiver: &mut Receiver) -> bool {
    receiver.rings().is_some()
}

#[cfg(not(all(target_os = "linux", feature = "xdp")))]
fn is_queue(_: &mut Receiver) -> bool {
    false
}

impl Listener {
    /// How datagrams come in.
    pub(crate) fn reached(&self) -> &'static str {
        self.reached
    }
}

/// Takes what comes, until told to end.
fn listen(mut receivers: Vec<Receiver>, told: &Shared, waker: &Waker) {
    let mut looked = std::time::Instant::now();
    while !told.ended.load(Ordering::Acquire) {
        let mut taken = 0;
        for receiver in &mut receivers {
            taken += receiver.receive().map_or(0, |received| received.len());
        }
        told.taken.fetch_add(taken as u64, Ordering::Release);
        if looked.elapsed() > DROPS {
            let (mut socket, mut ring) = (0, 0);
            for receiver in &mut receivers {
                let drops = receiver.drops().unwrap_or(0);
                let sum = if is_queue(receiver) { &mut ring } else { &mut socket };
                *sum += drops;
            }
            told.socket.store(socket, Ordering::Release);
            told.ring.store(ring, Ordering::Release);
            looked = std::time::Instant::now();
        }
        if taken == 0 && wait(&receivers, Some(waker), DROPS).is_err() {
            std::thread::sleep(DROPS);
        }
    }
}

impl Receives for Listener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn counts(&self, _sequences: bool) -> anyhow::Result<Counts> {
        let [decoded, socket, ring] = [&self.shared.taken, &self.shared.socket, &self.shared.ring]
            .map(|count| count.load(Ordering::Acquire));
        Ok(Counts { decoded, socket, ring, ..Counts::default() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.waker.wake();
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
