//! Agents: who sends, from where, and what was lost on the way.

use std::net::IpAddr;

use ahash::RandomState;
use decode::{Address, DataSource, Header};
use hashbrown::HashMap;

use crate::metric::store::Metrics;
use crate::sequence::Sequence;

/// Senders remembered per agent; a spoofer chooses as many as it likes.
const MOST_SENDERS: usize = 8;

/// A map whose hash is keyed per process, because its keys are the sender's to choose.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// What is known of one agent.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) first_seen_us: u64,
    pub(crate) last_seen_us: u64,
    pub(crate) uptime_ms: u32,
    /// Changes when the agent restarts: its counters have then begun anew.
    pub(crate) epoch: u64,
    pub(crate) senders: Vec<IpAddr>,
    pub(crate) sub_agents: Map<u32, SubAgent>,
    pub(crate) sources: Map<DataSource, Source>,
}

/// One stream of an agent's datagrams.
#[derive(Debug, Default)]
pub(crate) struct SubAgent {
    pub(crate) datagrams: Sequence,
    uptime_ms: u32,
}

/// One data source of an agent.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) flow_samples: Sequence,
    pub(crate) counter_samples: Sequence,
    /// Samples that the device dropped, as it says.
    pub(crate) drops: Dropped,
    pub(crate) estimate: Estimate,
    pub(crate) metrics: Metrics,
}

/// A count that a sender keeps, and that may begin anew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    last: Option<u32>,
    pub(crate) total: u64,
}

impl Dropped {
    pub(crate) fn take(&mut self, count: u32) {
        if let Some(last) = self.last {
            let more = count.wrapping_sub(last);
            // A count that falls has begun anew.
            self.total += if more < 1 << 31 { u64::from(more) } else { 0 };
        }
        self.last = Some(count);
    }
}

/// How many packets a sample stands for (promise I4): what was really sampled where the pool tells it, else what is
/// configured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate {
    /// The pool at the start of the window, and the samples received since.
    window: Option<(u32, u32, u64)>,
    weight: Option<f64>,
}

/// Samples, and microseconds, of a window.
const WINDOW_SAMPLES: u32 = 100;
const WINDOW_US: u64 = 1_000_000;

impl Estimate {
    /// Takes a sample; the packets that it stands for, and whether the pool could not be believed.
    pub(crate) fn take(&mut self, pool: u32, rate: u32, now_us: u64) -> (f64, bool) {
        let rate = f64::from(rate);
        let mut disbelieved = false;
        match &mut self.window {
            None => self.window = Some((pool, 0, now_us)),
            Some((first, received, since_us)) => {
                *received += 1;
                if *received >= WINDOW_SAMPLES || now_us.saturating_sub(*since_us) >= WINDOW_US {
                    let weight = f64::from(pool.wrapping_sub(*first)) / f64::from(*received);
                    // Real switches send frozen and bogus pools.
                    let believed = weight >= 0.5 * rate && weight <= 8.0 * rate;
                    disbelieved = !believed;
                    self.weight = believed.then_some(weight);
                    self.window = Some((pool, 0, now_us));
                }
            }
        }
        (self.weight.unwrap_or(rate), disbelieved)
    }

    /// The sender has begun anew.
    pub(crate) fn restart(&mut self) {
        self.window = None;
    }
}

/// What a datagram's header says about its stream.
pub(crate) enum Taken {
    /// Its samples are to be taken too.
    New,
    /// The same after the agent restarted: counters have begun anew.
    Restarted,
    /// It has arrived before.
    Duplicate,
}

impl Agent {
    pub(crate) fn new(now_us: u64) -> Self {
        Self { first_seen_us: now_us, ..Self::default() }
    }

    /// Takes a datagram's header.
    pub(crate) fn datagram(&mut self, header: &Header, sender: IpAddr, now_us: u64) -> Taken {
        self.last_seen_us = now_us;
        self.uptime_ms = header.uptime_ms;
        if !self.senders.contains(&sender) && self.senders.len() < MOST_SENDERS {
            self.senders.push(sender);
        }
        let stream = self.sub_agents.entry(header.sub_agent).or_default();
        // A datagram that was overtaken shows a slightly lower uptime; a restart, one that is lower by far more.
        let fell = stream.uptime_ms.wrapping_sub(header.uptime_ms);
        let restarted = fell > 10_000 && fell < 1 << 31 && header.uptime_ms < stream.uptime_ms;
        if restarted {
            stream.datagrams.restart();
        }
        if restarted || stream.uptime_ms.wrapping_sub(header.uptime_ms) > 1 << 31 || stream.uptime_ms == 0 {
            stream.uptime_ms = header.uptime_ms;
        }
        match stream.datagrams.take(header.sequence) {
            crate::sequence::Arrival::Duplicate => Taken::Duplicate,
            _ if restarted => Taken::Restarted,
            _ => Taken::New,
        }
    }
}

/// An agent's answer to "who sends, and what was lost".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSummary {
    /// Who.
    pub agent: Address,
    /// From which addresses its datagrams come; at most eight are remembered.
    pub senders: Vec<IpAddr>,
    /// Microseconds since its first datagram.
    pub first_seen_us: u64,
    /// Microseconds since its last datagram.
    pub last_seen_us: u64,
    /// Its own uptime, milliseconds.
    pub uptime_ms: u32,
    /// Its datagrams.
    pub datagrams: Sequence,
    /// Data sources that send counters.
    pub counter_sources: u64,
    /// Their samples.
    pub counter_samples: Sequence,
    /// Data sources that send flow samples.
    pub flow_sources: u64,
    /// Their samples.
    pub flow_samples: Sequence,
    /// Samples that the device dropped, as it says.
    pub flow_drops: u64,
}

impl Agent {
    pub(crate) fn summary(&self, agent: Address, now_us: u64) -> AgentSummary {
        let mut summary = AgentSummary {
            agent,
            senders: self.senders.clone(),
            first_seen_us: now_us.saturating_sub(self.first_seen_us),
            last_seen_us: now_us.saturating_sub(self.last_seen_us),
            uptime_ms: self.uptime_ms,
            datagrams: Sequence::default(),
            counter_sources: 0,
            counter_samples: Sequence::default(),
            flow_sources: 0,
            flow_samples: Sequence::default(),
            flow_drops: 0,
        };
        for stream in self.sub_agents.values() {
            summary.datagrams.add(&stream.datagrams);
        }
        for source in self.sources.values() {
            summary.counter_sources += u64::from(source.counter_samples.received > 0);
            summary.flow_sources += u64::from(source.flow_samples.received > 0);
            summary.counter_samples.add(&source.counter_samples);
            summary.flow_samples.add(&source.flow_samples);
            summary.flow_drops += source.drops.total;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten percent of the samples lost at random: the total stays within one percent of the truth.
    #[test]
    fn totals_survive_loss() {
        let (rate, mut pool, mut state, mut total) = (400_u32, 0_u32, 7_u64, 0.0);
        let mut estimate = Estimate::default();
        for n in 0..100_000_u64 {
            pool = pool.wrapping_add(rate);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) % 10 != 0 {
                total += estimate.take(pool, rate, n * 1000).0;
            }
        }
        let truth = 100_000.0 * f64::from(rate);
        assert!((total - truth).abs() < 0.01 * truth, "{total}, not {truth}");
    }

    #[test]
    fn frozen_and_bogus_pools_are_not_believed() {
        for step in [0, 400 * 9, 100] {
            let mut estimate = Estimate::default();
            let mut disbelieved = 0;
            for n in 0..1000_u32 {
                let (weight, not) = estimate.take(n.wrapping_mul(step), 400, u64::from(n));
                assert!((weight - 400.0).abs() < f64::EPSILON);
                disbelieved += u32::from(not);
            }
            assert!(disbelieved > 5, "step {step}");
        }
    }
}
