//! Senders: what is offered to the receiver, at which rate, and what that took of the sender's processor.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use fabric::Stretch;
use fabric::stretch::Moving;
use ingest::send::Sender;

use super::cpu;
use super::input;

/// Datagrams between two looks at the clock.
const BURST: usize = 32;

/// A sender that is later than this does not hurry after it.
const LATE: Duration = Duration::from_millis(1);

/// What is to be offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Datagrams per second, evenly; as fast as it can when `None`.
    pub(crate) per_s: Option<f64>,
    pub(crate) time: Duration,
    /// Every so many datagrams one is a probe; none when 0.
    pub(crate) probe_every: u32,
    /// Whether each leaves by itself as soon as it is due, for who asks how long it was on its way; else a few may leave
    /// together.
    pub(crate) singly: bool,
}

impl Load {
    /// Evenly.
    pub(crate) fn even(per_s: f64, time: Duration) -> Self {
        Self { per_s: Some(per_s), time, probe_every: 0, singly: false }
    }

    /// As fast as it can.
    pub(crate) fn most(time: Duration) -> Self {
        Self { per_s: None, time, probe_every: 0, singly: false }
    }
}

/// What was offered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offered {
    /// Datagrams, probes among them.
    pub(crate) sent: u64,
    pub(crate) seconds: f64,
    /// What the sending threads took; where the kernel receives on the sender's processor, that too.
    pub(crate) took: Duration,
    /// When the probes were sent, nanoseconds of the monotonic clock.
    pub(crate) probes_ns: Vec<u64>,
    /// Probes that were sent before these.
    pub(crate) probes_before: usize,
}

impl Offered {
    pub(crate) fn per_s(&self) -> f64 {
        self.sent as f64 / self.seconds.max(1e-9)
    }
}

/// Who sends.
pub(crate) trait Offer {
    /// Offers a load to the collector at this address, until it is over or `stop` is raised.
    fn offer(&mut self, to: SocketAddr, load: &Load, stop: &AtomicBool) -> anyhow::Result<Offered>;

    /// What making a datagram costs by itself, nanoseconds, where that can be told from what the kernel does to receive
    /// on the same processor.
    fn alone_ns(&mut self) -> anyhow::Result<Option<f64>>;

    /// How many are lost between the sender and the receiver so far.
    fn lost_between(&self) -> u64;
}

/// Sends over a UDP socket.
pub(crate) struct Datagrams {
    stretch: Stretch,
    probe: (Vec<u8>, Vec<Moving>),
    probes: usize,
}

impl Datagrams {
    pub(crate) fn new(count: usize) -> Self {
        Self { stretch: input::stretch(count, 0), probe: input::probe(), probes: 0 }
    }

    fn send(&mut self, to: SocketAddr, load: &Load, stop: &AtomicBool) -> anyhow::Result<Offered> {
        cpu::keep_to(cpu::processors().last().copied());
        let mut sender = Sender::new(to).context("a socket to send from")?;
        let mut probes_ns = Vec::new();
        let mut since_probe = 0;
        // A low rate comes in small pieces.
        let burst = load.per_s.map_or(BURST, |per_s| BURST.min((per_s / 100.0) as usize).max(1));
        let burst = if load.singly { 1 } else { burst };
        let (began, ran) = (Instant::now(), cpu::of_this_thread());
        // When the next is due, from the begin.
        let mut due = Duration::ZERO;
        while began.elapsed() < load.time && !stop.load(Ordering::Relaxed) {
            let now = began.elapsed();
            if now < due {
                std::hint::spin_loop();
                continue;
            }
            let before = sender.sent();
            if load.probe_every > 0 && since_probe + 1 >= load.probe_every {
                probes_ns.push(now_ns());
                sender.send(&self.probe.0);
                input::move_on(&mut self.probe.0, &self.probe.1);
                self.probes += 1;
                since_probe = 0;
            } else {
                let most = if load.probe_every > 0 { load.probe_every - since_probe - 1 } else { u32::MAX };
                let count = (burst as u32).min(most);
                self.send_all(&mut sender, count as usize);
                since_probe += count;
            }
            let sent = sender.sent() - before;
            let apart = load.per_s.map_or(0.0, |per_s| sent as f64 / per_s);
            due = due.max(now.saturating_sub(LATE)) + Duration::from_secs_f64(apart);
        }
        anyhow::ensure!(sender.failed() == 0, "the kernel refused {} datagrams to {to}", sender.failed());
        Ok(Offered {
            sent: sender.sent(),
            seconds: began.elapsed().as_secs_f64(),
            took: cpu::of_this_thread().saturating_sub(ran),
            probes_before: self.probes - probes_ns.len(),
            probes_ns,
        })
    }

    /// The stretch ends somewhere within.
    fn send_all(&mut self, sender: &mut Sender, count: usize) {
        let mut left = count;
        while left > 0 {
            self.stretch.next(left, |some| {
                left = left.saturating_sub(some.len().max(1));
                sender.send_all(some);
            });
        }
    }
}

impl Offer for Datagrams {
    fn offer(&mut self, to: SocketAddr, load: &Load, stop: &AtomicBool) -> anyhow::Result<Offered> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("sender".to_owned());
            let thread =
                thread.spawn_scoped(scope, || self.send(to, load, stop)).context("the sender's thread")?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn alone_ns(&mut self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }

    fn lost_between(&self) -> u64 {
        0
    }
}

/// The monotonic clock, nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.unsigned_abs())
}
