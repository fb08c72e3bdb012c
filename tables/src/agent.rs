//! Agents: who sends, from where, and what was lost on the way.

use std::net::IpAddr;
use std::sync::Arc;

use decode::rt::RtFlow;
use decode::{Address, Header, SampleError};

use crate::estimate::Estimate;
use crate::flow::owners::Known;
use crate::metric::custom::Custom;
use crate::sequence::{Arrival, Sequence};
use crate::source::{Map, Sources};
use crate::trust::FLAGGED_US;

/// Senders remembered per agent; a spoofer chooses as many as it likes.
const MOST_SENDERS: usize = 8;

/// Sub-agents whose loss is followed per agent; a chassis has one per line card.
const MOST_SUB_AGENTS: usize = 256;

/// A datagram that was overtaken by others shows an uptime that is lower by at most this, milliseconds.
const OVERTAKEN_MS: u32 = 10_000;

/// What is known of one agent.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) first_seen_us: u64,
    pub(crate) last_seen_us: u64,
    pub(crate) uptime_ms: u32,
    pub(crate) senders: Vec<IpAddr>,
    /// The last one, with what every datagram touches.
    pub(crate) last_sender: Option<IpAddr>,
    /// Whether the operator has listed it.
    pub(crate) listed: bool,
    /// Its datagrams that came from elsewhere than the list says, and when the last of them came that was taken.
    pub(crate) foreign: u64,
    pub(crate) flagged_us: Option<u64>,
    pub(crate) sub_agents: Map<u32, SubAgent>,
    /// Samples that lied, by [`SampleError::index`].
    pub(crate) sample_errors: [u64; SampleError::ALL.len()],
    pub(crate) sources: Sources,
    /// The number that flow tables know it by.
    pub(crate) number: Known,
    pub(crate) custom: Custom,
    /// Data sources that custom flows name.
    pub(crate) emitters: Map<Arc<str>, Emitter>,
}

/// One stream of an agent's datagrams. Each has a clock, and a number of datagrams, of its own.
#[derive(Debug, Default)]
pub(crate) struct SubAgent {
    pub(crate) datagrams: Sequence,
    uptime_ms: u32,
    heard_us: u64,
    /// Changes when it restarts: its counters have then begun anew.
    epoch: u64,
}

/// A data source that custom flows name.
#[derive(Debug)]
pub(crate) struct Emitter {
    /// Its name.
    pub(crate) name: Arc<str>,
    last_seen_us: u64,
    estimate: Estimate,
    /// The number that flow tables know it by.
    pub(crate) number: Known,
}

impl Emitter {
    /// Takes a custom flow; for how many events it stands, and whether its pool was not believed.
    pub(crate) fn flow(&mut self, sample: &RtFlow<'_>, rate: u32, now_us: u64) -> (f64, bool) {
        self.last_seen_us = now_us;
        // Many senders have no pool.
        if sample.sample_pool == 0 {
            return (f64::from(rate), false);
        }
        self.estimate.take(sample.sample_pool, rate)
    }
}

/// What a datagram's header says about its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its samples are to be taken too. They are of this epoch: another one than before when the sub-agent has
    /// restarted.
    New(u64),
    /// The same, but there are too many sub-agents to follow this one.
    Untracked,
    /// It has arrived before.
    Duplicate,
}

impl SubAgent {
    /// Whether an uptime says that the sender began anew: it fell, by more than an overtaken datagram's would, and
    /// not because its 49 days have come round.
    fn has_restarted(&self, uptime_ms: u32, now_us: u64) -> bool {
        let fell = self.uptime_ms.checked_sub(uptime_ms).is_some_and(|fell| fell > OVERTAKEN_MS);
        let ran_us = u64::from(uptime_ms.wrapping_sub(self.uptime_ms)) * 1000;
        let passed_us = now_us.saturating_sub(self.heard_us);
        fell && ran_us > passed_us.saturating_mul(2).saturating_add(3_600_000_000)
    }
}

impl Agent {
    pub(crate) fn new(now_us: u64) -> Self {
        Self { first_seen_us: now_us, ..Self::default() }
    }

    /// Takes a datagram's header. A restart takes the next number of `epochs`.
    pub(crate) fn datagram(
        &mut self,
        header: &Header,
        sender: IpAddr,
        now_us: u64,
        epochs: &mut u64,
    ) -> Taken {
        self.last_seen_us = now_us;
        self.uptime_ms = header.uptime_ms;
        if self.last_sender != Some(sender) {
            self.note_sender(sender);
        }
        let room = self.sub_agents.len() < MOST_SUB_AGENTS;
        let stream = match self.sub_agents.get_mut(&header.sub_agent) {
            Some(stream) => stream,
            None if room => self.sub_agents.entry(header.sub_agent).or_default(),
            None => return Taken::Untracked,
        };
        if stream.has_restarted(header.uptime_ms, now_us) {
            stream.datagrams.restart();
            *epochs += 1;
            stream.epoch = *epochs;
            stream.uptime_ms = header.uptime_ms;
        } else if stream.uptime_ms.wrapping_sub(header.uptime_ms) > OVERTAKEN_MS {
            stream.uptime_ms = header.uptime_ms;
        }
        stream.heard_us = now_us;
        match stream.datagrams.take(header.sequence) {
            Arrival::Duplicate => Taken::Duplicate,
            _ => Taken::New(stream.epoch),
        }
    }

    fn note_sender(&mut self, sender: IpAddr) {
        self.last_sender = Some(sender);
        if !self.senders.contains(&sender) && self.senders.len() < MOST_SENDERS {
            self.senders.push(sender);
        }
    }

    /// Whether actions may use what is known of it: it is listed, and nothing from elsewhere was taken lately.
    pub(crate) fn is_trusted(&self, now_us: u64) -> bool {
        self.listed && self.flagged_us.is_none_or(|at| now_us.saturating_sub(at) >= FLAGGED_US)
    }

    /// How much it takes of what all agents may have together: data sources and custom metrics.
    pub(crate) fn weight(&self) -> usize {
        self.sources.len() + self.custom.len() + self.emitters.len()
    }

    /// Whether it may have one data source more.
    pub(crate) fn has_room(&self, sources: usize, weight: usize) -> bool {
        self.sources.len() < sources && self.weight() < weight
    }

    /// A data source that custom flows name, which is new where there is `room` for one; `None` where there is none.
    pub(crate) fn emitter(&mut self, name: &str, room: bool) -> Option<&mut Emitter> {
        if !self.emitters.contains_key(name) {
            if !room {
                return None;
            }
            let emitter = Emitter {
                name: Arc::from(name),
                last_seen_us: 0,
                estimate: Estimate::default(),
                number: Known::default(),
            };
            self.emitters.insert(Arc::clone(&emitter.name), emitter);
        }
        self.emitters.get_mut(name)
    }

    /// Forgets what has not been heard since.
    pub(crate) fn forget_before(&mut self, since_us: u64) {
        self.sources.forget_before(since_us);
        self.emitters.retain(|_, emitter| emitter.last_seen_us >= since_us);
        self.sub_agents.retain(|_, stream| stream.heard_us >= since_us);
    }
}

/// An agent's answer to "who sends, and what was lost".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSummary {
    /// Who.
    pub agent: Address,
    /// From which addresses its datagrams come; at most eight are remembered.
    pub senders: Vec<IpAddr>,
    /// Whether the operator has listed it.
    pub listed: bool,
    /// Whether actions may use what is known of it.
    pub trusted: bool,
    /// Its datagrams that came from elsewhere than the list says, whether they were refused or taken.
    pub foreign: u64,
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
    /// Samples that lied, by [`SampleError::index`].
    pub sample_errors: [u64; SampleError::ALL.len()],
}

impl Agent {
    pub(crate) fn summary(&self, agent: Address, now_us: u64) -> AgentSummary {
        let mut summary = AgentSummary {
            agent,
            senders: self.senders.clone(),
            listed: self.listed,
            trusted: self.is_trusted(now_us),
            foreign: self.foreign,
            first_seen_us: now_us.saturating_sub(self.first_seen_us),
            last_seen_us: now_us.saturating_sub(self.last_seen_us),
            uptime_ms: self.uptime_ms,
            datagrams: Sequence::default(),
            counter_sources: 0,
            counter_samples: Sequence::default(),
            flow_sources: 0,
            flow_samples: Sequence::default(),
            flow_drops: 0,
            sample_errors: self.sample_errors,
        };
        for stream in self.sub_agents.values() {
            summary.datagrams.add(&stream.datagrams);
        }
        for (pulse, source) in self.sources.both() {
            summary.counter_sources += u64::from(source.counter_samples.received > 0);
            summary.flow_sources += u64::from(pulse.flow_samples.received > 0);
            summary.counter_samples.add(&source.counter_samples);
            summary.flow_samples.add(&pulse.flow_samples);
            summary.flow_drops += pulse.drops.total;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sub_agent: u32, sequence: u32, uptime_ms: u32) -> Header {
        Header { sub_agent, sequence, uptime_ms, ..Header::default() }
    }

    const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const SECOND: u64 = 1_000_000;

    #[test]
    fn sub_agents_have_numbers_and_clocks_of_their_own() {
        let (mut agent, mut epochs) = (Agent::new(0), 0);
        let mut take =
            |agent: &mut Agent, header: Header, at| agent.datagram(&header, SENDER, at, &mut epochs);
        for n in 0..10 {
            let at = u64::from(n) * SECOND;
            // The second one's clock is behind the first one's by far, and neither is a restart.
            assert_eq!(take(&mut agent, header(1, 500 + n, 90_000_000 + n * 1000), at), Taken::New(0));
            assert_eq!(take(&mut agent, header(2, 1 + 2 * n, 5000 + n * 1000), at), Taken::New(0));
        }
        assert_eq!(take(&mut agent, header(2, 19, 14_000), 10 * SECOND), Taken::Duplicate);
        let datagrams = agent.summary(Address::Unknown, 10 * SECOND).datagrams;
        assert_eq!(
            (datagrams.received, datagrams.lost, datagrams.duplicates, datagrams.resets),
            (20, 9, 1, 0)
        );
        // One restarts: the other one goes on.
        assert_eq!(take(&mut agent, header(1, 1, 2000), 11 * SECOND), Taken::New(1));
        assert_eq!(take(&mut agent, header(2, 21, 16_000), 11 * SECOND), Taken::New(0));
        assert_eq!(take(&mut agent, header(1, 2, 3000), 12 * SECOND), Taken::New(1));
        let datagrams = agent.summary(Address::Unknown, 12 * SECOND).datagrams;
        assert_eq!((datagrams.received, datagrams.lost, datagrams.resets), (23, 10, 1));
        for sub_agent in 0..1000 {
            let taken = take(&mut agent, header(sub_agent, 100, 20_000), 13 * SECOND);
            assert_eq!(taken == Taken::Untracked, agent.sub_agents.get(&sub_agent).is_none());
        }
        assert_eq!(agent.sub_agents.len(), MOST_SUB_AGENTS);
        agent.forget_before(13 * SECOND + 1);
        assert!(agent.sub_agents.is_empty());
    }

    #[test]
    fn an_uptime_that_falls_is_a_restart_and_one_that_comes_round_is_not() {
        let after = |first: u32, second: u32, seconds: u64| {
            let (mut agent, mut epochs) = (Agent::new(0), 0);
            agent.datagram(&header(0, 1000, first), SENDER, 0, &mut epochs);
            agent.datagram(&header(0, 1001, second), SENDER, seconds * SECOND, &mut epochs)
        };
        assert_eq!(after(90_000, 2000, 5), Taken::New(1));
        assert_eq!(after(90_000, 85_000, 1), Taken::New(0), "overtaken");
        assert_eq!(after(u32::MAX - 999, 4000, 5), Taken::New(0), "after 49.7 days");
        assert_eq!(after(u32::MAX - 999, 7_200_000, 7201), Taken::New(0), "two hours of silence around it");
        // Up for 40 days: the clock would have had to run for 9 more within a minute.
        assert_eq!(after(40 * 86_400_000, 2000, 60), Taken::New(1));
    }
}
