//! All runs over one way by which datagrams can come: what receiving alone reaches and costs, the whole pipeline by workers,
//! the highest rate without loss, overload, a run without a pause, and how long a flow's news take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tables::Change;

use super::collector::{Collector, Counts, Entry, Listener, Receives};
use super::cpu;
use super::definitions;
use super::input::SAMPLES;
use super::latency::{Ear, Latency};
use super::offer::{Load, Offer};
use super::plan::Plan;
use super::progress::Progress;
use super::search::{self, Found};
use super::trial::{Account, Trial, trial};

/// Datagrams per second while tables fill, and for what one costs when there is time to sleep after each.
const CALM: f64 = 60_000.0;

/// So much more is offered than is wanted without a pause: a sender that had to wait for its processor is late for good.
const SPARE: f64 = 1.01;

/// Tries to send all datagrams of the stretch once without a loss.
const SETTLINGS: usize = 3;

/// A rate in the middle of what small machines reach, for probes on an idle collector.
const IDLE_PROBES: f64 = 500.0;

/// What a datagram costs, nanoseconds of processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// On the threads that receive.
    pub(crate) worker_ns: f64,
    /// In the kernel, until it is at a socket or in a ring, on the sender's processor: what the sender takes beyond making
    /// datagrams. `None` where the two cannot be told apart.
    pub(crate) kernel_ns: Option<f64>,
}

impl Cost {
    /// Both.
    pub(crate) fn all_ns(&self) -> f64 {
        self.worker_ns + self.kernel_ns.unwrap_or(0.0)
    }
}

/// Receiving alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveOnly {
    /// The most that was offered, and received of it, per second.
    pub(crate) offered_per_s: f64,
    pub(crate) received_per_s: f64,
    /// Of that run.
    pub(crate) cost: Cost,
    /// What the receiving thread takes for one of few, when it goes to sleep after each.
    pub(crate) calm_ns: f64,
}

/// The whole pipeline, with as many workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    pub(crate) workers: usize,
    /// The most that the sender can offer, the highest rate without loss, and what a datagram costs at that rate.
    pub(crate) offered_per_s: f64,
    pub(crate) sustainable: Found,
    pub(crate) cost: Cost,
}

/// Twice what can be sustained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    pub(crate) flows: usize,
    pub(crate) sustainable: Found,
    pub(crate) offered_per_s: f64,
    pub(crate) accepted_per_s: f64,
    pub(crate) account: Account,
    /// What the worker takes for a datagram at the sustainable rate and in the overload.
    pub(crate) calm_ns: f64,
    pub(crate) busy_ns: f64,
    /// How much of the overload the worker ran, and waited for a processor.
    pub(crate) ran: f64,
    pub(crate) waited: f64,
    /// Memory after the overload's first half and at its end, bytes.
    pub(crate) memory: [u64; 2],
}

/// The run without a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sustained {
    pub(crate) workers: usize,
    pub(crate) wanted_per_s: f64,
    pub(crate) offered_per_s: f64,
    pub(crate) seconds: f64,
    pub(crate) account: Account,
    /// What workers and sender took of a processor, and workers waited for one, as parts of the time.
    pub(crate) ran: f64,
    pub(crate) waited: f64,
    pub(crate) memory: [u64; 2],
}

impl Sustained {
    /// Whether the wanted rate was offered, and nothing of it lost.
    pub(crate) fn holds(&self) -> bool {
        self.account.is_whole() && self.offered_per_s >= self.wanted_per_s
    }
}

/// What a sender elsewhere has sent: nothing is known of it but what came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromElsewhere {
    pub(crate) workers: usize,
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    pub(crate) worker_ns: f64,
    /// What all workers took of a processor, as part of the time.
    pub(crate) ran: f64,
}

/// Offered and received, datagrams per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) offered: f64,
    pub(crate) received: f64,
}

/// All of one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// What was reached of what was asked for.
    pub(crate) reached: &'static str,
    /// What was refused on the way there.
    pub(crate) why: Vec<String>,
    pub(crate) receive_only: Option<ReceiveOnly>,
    pub(crate) pipeline: Vec<Pipeline>,
    pub(crate) overload: Option<Overload>,
    pub(crate) sustained: Option<Sustained>,
    /// Idle, and at four fifths of the sustainable rate.
    pub(crate) latency: Option<[Latency; 2]>,
    pub(crate) elsewhere: Option<FromElsewhere>,
    pub(crate) curve: Vec<Point>,
    /// Runs whose datagrams were counted, and those of which not each was found once.
    pub(crate) accounts: usize,
    pub(crate) unaccounted: Vec<Account>,
}

/// Everything that the runs of one way need.
pub(crate) struct Runs<'r> {
    pub(crate) plan: &'r Plan,
    pub(crate) progress: &'r Progress,
    pub(crate) stop: &'r AtomicBool,
    pub(crate) report: Report,
    /// Whether the last run lost something.
    pub(crate) lost: bool,
}

/// How much of it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All.
    Whole,
    /// Receiving alone and the pipeline.
    #[cfg_attr(
        not(all(target_os = "linux", feature = "xdp")),
        expect(dead_code, reason = "of ways over a network")
    )]
    Costs,
    /// Receiving alone.
    Receive,
    /// The pipeline.
    Pipeline,
}

impl Runs<'_> {
    /// All runs of this extent.
    pub(crate) fn all(&mut self, entry: &Entry, offer: &mut dyn Offer, extent: Extent) -> anyhow::Result<()> {
        if extent != Extent::Pipeline {
            self.receive_only(entry, offer)?;
        }
        if extent != Extent::Receive {
            self.pipeline(entry, offer, extent != Extent::Pipeline)?;
        }
        if extent == Extent::Whole {
            self.sustained(entry, offer)?;
            self.overload(entry, offer)?;
            self.latency(entry, offer)?;
        }
        Ok(())
    }

    /// The whole pipeline for what a sender elsewhere sends.
    pub(crate) fn of_elsewhere(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let time = self.plan.sustained;
        self.begin(&format!("{} s of what comes to {}", time.as_secs_f64(), entry.address));
        let collector = Collector::start(entry, definitions::pipeline())?;
        let reached = collector.reached()?;
        (self.report.reached, self.report.why) = (reached.label(), reached.why);
        let (before, ran, began) = (collector.counts(true)?, collector.time(), Instant::now());
        while began.elapsed() < time {
            ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
            std::thread::sleep(Duration::from_millis(50).min(time.saturating_sub(began.elapsed())));
        }
        let (counts, seconds) = (collector.counts(true)?.since(&before), began.elapsed().as_secs_f64());
        let ran = collector.time().since(ran).ran;
        collector.end();
        self.report.elsewhere = Some(FromElsewhere {
            workers: entry.workers,
            seconds,
            counts,
            worker_ns: ran.as_nanos() as f64 / counts.decoded.max(1) as f64,
            ran: ran.as_secs_f64() / seconds,
        });
        Ok(())
    }

    /// A run, whose account is noted. What was lost at the end of the one before shows in sequence numbers only when the next
    /// datagrams come: those are sent first.
    fn trial(
        &mut self,
        receives: &impl Receives,
        offer: &mut dyn Offer,
        load: &Load,
    ) -> anyhow::Result<Trial> {
        for _ in 0..SETTLINGS {
            if !std::mem::take(&mut self.lost) {
                break;
            }
            let all = Duration::from_secs_f64(self.plan.stretch as f64 / CALM);
            self.noted(receives, offer, &Load::even(CALM, all))?;
        }
        self.noted(receives, offer, load)
    }

    fn noted(
        &mut self,
        receives: &impl Receives,
        offer: &mut dyn Offer,
        load: &Load,
    ) -> anyhow::Result<Trial> {
        let trial = trial(receives, offer, load, self.stop)?;
        self.report.accounts += 1;
        if trial.account.missing() != 0 {
            self.report.unaccounted.push(trial.account);
        }
        self.lost = trial.account.dropped() > 0;
        Ok(trial)
    }

    /// Another collector: it has missed nothing.
    fn begin(&mut self, what: &str) {
        self.lost = false;
        self.progress.say(&format!("{}: {what}", self.report.name));
    }

    /// Receiving alone: what it costs, and what comes of as much as can be sent.
    fn receive_only(&mut self, entry: &Entry, offer: &mut dyn Offer) -> anyhow::Result<()> {
        self.begin("receiving alone");
        let listener = Listener::start(entry)?;
        self.report.reached = listener.reached();
        let calm = self.trial(&listener, offer, &Load::even(CALM, self.plan.cost))?;
        let alone_ns = offer.alone_ns()?;
        // A sender that never waits takes as much of its processor as its datagrams do, and a receiver has no time to sleep.
        let most = self.trial(&listener, offer, &Load::most(self.plan.cost))?;
        let each = |time: Duration| time.as_nanos() as f64 / most.offered.sent.max(1) as f64;
        let kernel_ns = alone_ns.map(|alone| (each(most.offered.took) + each(most.put_off) - alone).max(0.0));
        self.report.receive_only = Some(ReceiveOnly {
            offered_per_s: most.offered.per_s(),
            received_per_s: most.received_per_s(),
            cost: Cost { worker_ns: most.worker_ns(), kernel_ns },
            calm_ns: calm.worker_ns(),
        });
        Ok(())
    }

    /// The highest rate without loss; the plot gets what was seen on the way when `plotted`.
    fn sustainable(
        &mut self,
        receives: &impl Receives,
        offer: &mut dyn Offer,
        highest: f64,
        plotted: bool,
    ) -> anyhow::Result<Found> {
        let (steps, time) = (self.plan.steps, self.plan.trial);
        search::highest(highest, steps, |per_s| {
            let trial = self.trial(receives, offer, &Load::even(per_s, time))?;
            if plotted {
                self.plot(&trial);
            }
            Ok(trial.ran())
        })
    }

    fn plot(&mut self, trial: &Trial) {
        let point = Point { offered: trial.offered.per_s(), received: trial.received_per_s() };
        self.report.curve.push(point);
    }

    /// The whole pipeline; of its runs the plot is made when `plotted`.
    fn pipeline(&mut self, entry: &Entry, offer: &mut dyn Offer, plotted: bool) -> anyhow::Result<()> {
        self.begin(&format!("the pipeline, workers: {}", entry.workers));
        let collector = Collector::start(entry, definitions::pipeline())?;
        let reached = collector.reached()?;
        (self.report.reached, self.report.why) = (reached.label(), reached.why);
        // The tables fill.
        self.trial(&collector, offer, &Load::even(CALM, self.plan.trial))?;
        let most = self.trial(&collector, offer, &Load::most(self.plan.trial))?;
        let offered_per_s = most.offered.per_s();
        let sustainable = self.sustainable(&collector, offer, offered_per_s, plotted)?;
        let cost = self.trial(&collector, offer, &Load::even(sustainable.per_s.max(1.0), self.plan.cost))?;
        // What the kernel does before does not depend on who receives.
        let kernel_ns = self.report.receive_only.and_then(|alone| alone.cost.kernel_ns);
        let cost = Cost { worker_ns: cost.worker_ns(), kernel_ns };
        if plotted {
            self.plot(&most);
            for part in self.plan.curve {
                let per_s = sustainable.per_s * part;
                if per_s > 0.0 && per_s < offered_per_s {
                    let trial = self.trial(&collector, offer, &Load::even(per_s, self.plan.trial))?;
                    self.plot(&trial);
                }
            }
        }
        collector.end();
        self.report.pipeline.push(Pipeline { workers: entry.workers, cost, offered_per_s, sustainable });
        Ok(())
    }

    /// The best rate that was sustained so far.
    fn best(&self) -> f64 {
        self.report.pipeline.iter().map(|one| one.sustainable.per_s).fold(0.0, f64::max)
    }

    /// Twice the sustainable rate, of a collector in full use: one sender is hardly faster than a worker with few definitions.
    fn overload(&mut self, entry: &Entry, offer: &mut dyn Offer) -> anyhow::Result<()> {
        self.begin("overload");
        let full: Vec<Change> = definitions::full();
        let flows = definitions::flows(&full);
        let collector = Collector::start(entry, full)?;
        self.trial(&collector, offer, &Load::even(CALM / 4.0, self.plan.trial))?;
        let most = self.trial(&collector, offer, &Load::most(self.plan.trial))?;
        let sustainable = self.sustainable(&collector, offer, most.offered.per_s(), false)?;
        let twice = Load::even(sustainable.per_s.max(1.0) * 2.0, self.plan.overload / 2);
        self.trial(&collector, offer, &twice)?;
        let warm = cpu::resident();
        let busy = self.trial(&collector, offer, &twice)?;
        let memory = [warm, cpu::resident()];
        let calm = self.trial(&collector, offer, &Load::even(sustainable.per_s.max(1.0), self.plan.trial))?;
        collector.end();
        let part = |time: Duration| time.as_secs_f64() / busy.offered.seconds.max(1e-9);
        self.report.overload = Some(Overload {
            flows,
            sustainable,
            offered_per_s: busy.offered.per_s(),
            accepted_per_s: busy.received_per_s(),
            account: busy.account,
            calm_ns: calm.worker_ns(),
            busy_ns: busy.worker_ns(),
            ran: part(busy.time.ran),
            waited: part(busy.time.waited),
            memory,
        });
        Ok(())
    }

    /// The wanted rate without a pause.
    fn sustained(&mut self, entry: &Entry, offer: &mut dyn Offer) -> anyhow::Result<()> {
        let seconds = self.plan.sustained.as_secs_f64();
        self.begin(&format!("{seconds} s without a pause"));
        let collector = Collector::start(entry, definitions::pipeline())?;
        let wanted_per_s = self.plan.samples_per_s / SAMPLES as f64;
        // The tables fill; then not a datagram may be lost.
        self.trial(&collector, offer, &Load::even(wanted_per_s, self.plan.trial))?;
        let warm = cpu::resident();
        let trial = self.trial(&collector, offer, &Load::even(wanted_per_s * SPARE, self.plan.sustained))?;
        collector.end();
        let part = |time: Duration| time.as_secs_f64() / trial.offered.seconds.max(1e-9);
        self.report.sustained = Some(Sustained {
            workers: entry.workers,
            wanted_per_s,
            offered_per_s: trial.offered.per_s(),
            seconds: trial.offered.seconds,
            account: trial.account,
            ran: part(trial.time.ran),
            waited: part(trial.time.waited),
            memory: [warm, cpu::resident()],
        });
        Ok(())
    }

    /// How long the news of a flow take, idle and at four fifths of the sustainable rate.
    fn latency(&mut self, entry: &Entry, offer: &mut dyn Offer) -> anyhow::Result<()> {
        self.begin("latency");
        let collector = Collector::start(entry, definitions::with_probes())?;
        let ear = Ear::on(&collector);
        let time = self.plan.latency;
        let idle = Load { probe_every: 1, singly: true, ..Load::even(IDLE_PROBES, time) };
        let idle = ear.measure(&collector, offer, &idle, self.stop)?;
        let per_s = (self.best() * 0.8).max(IDLE_PROBES);
        // The tables fill first.
        self.trial(&collector, offer, &Load::even(per_s, self.plan.trial))?;
        let probe_every = (per_s / IDLE_PROBES) as u32;
        let busy = Load { probe_every, singly: true, ..Load::even(per_s, time) };
        let busy = ear.measure(&collector, offer, &busy, self.stop)?;
        collector.end();
        self.report.latency = Some([idle, busy]);
        Ok(())
    }
}
