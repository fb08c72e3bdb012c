//! A shard: fed with datagrams, asked questions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use decode::{Address, DataSource, Datagram, DatagramError, FlowSample, Sample, SampleError};

use std::sync::Arc;

use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;

use crate::agent::{Agent, Taken};
use crate::answer::Known;
use crate::flow::FlowPlan;
use crate::flow::keys::Sampled;
use crate::flow::table::{ActivePartial, FlowTable};
use crate::metric::store::Moment;
use crate::outbox::Outbox;
use crate::program::Program;
use crate::question::{Partial, Question};
use crate::roster::Roster;
use crate::select::Agents;

/// Limits and choices of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Agents at most; beyond, those heard but once give way to one another, then one that has been silent for long.
    pub agents: usize,
    /// Data sources of one agent at most; samples of further ones are counted and left out.
    pub sources_per_agent: usize,
    /// Data sources of all agents together at most. Beyond, agents that were heard but once give way; where there is
    /// none of those, samples of further data sources are counted and left out.
    pub sources: usize,
    /// How long an agent, or one of its data sources, may be silent before it is forgotten, microseconds.
    pub agent_timeout_us: u64,
    /// How long metrics are believed after the last sample, microseconds; three intervals when `None`.
    pub metric_timeout_us: Option<u64>,
    /// Largest size of each flow table, bytes; beyond, the smallest flows give way.
    pub flow_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agents: 100_000,
            sources_per_agent: 10_000,
            sources: 1_000_000,
            agent_timeout_us: 3_600_000_000,
            metric_timeout_us: None,
            flow_bytes: 256 << 20,
        }
    }
}

/// Agents are looked through once in so many ticks, to forget what is gone: about once a second.
const TICKS_OF_A_SWEEP: usize = 10;

/// What a shard has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams whose header was read.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams that could not be read, by [`DatagramError::index`].
    pub datagram_errors: [u64; DatagramError::ALL.len()],
    /// Datagrams that had arrived before.
    pub duplicates: u64,
    /// Flow samples.
    pub flow_samples: u64,
    /// Counters samples.
    pub counters_samples: u64,
    /// Discarded packets.
    pub discarded: u64,
    /// Custom metrics and flows.
    pub custom: u64,
    /// Samples of unknown structure.
    pub unknown: u64,
    /// Samples that lied, by [`SampleError::index`].
    pub sample_errors: [u64; SampleError::ALL.len()],
    /// Agents that gave way to others.
    pub agents_evicted: u64,
    /// Agents that have been silent for long.
    pub agents_released: u64,
    /// Datagrams of sub-agents beyond the limit, whose loss is not followed.
    pub streams_refused: u64,
    /// Samples of data sources beyond the limit.
    pub sources_refused: u64,
    /// Windows of samples whose pool could not be believed.
    pub pools_disbelieved: u64,
    /// Samples whose rate or frame length was beyond what is believed, and was cut.
    pub outliers: u64,
}

/// The largest sampling rate, and frame, that are believed (promise A2).
const LARGEST_RATE: u32 = 1 << 24;
const LARGEST_FRAME: u32 = 65_535;

/// A definition and its live flows.
#[derive(Debug)]
struct Flow {
    plan: Arc<FlowPlan>,
    table: FlowTable,
}

impl Counters {
    /// Datagrams that could not be read: reason and number.
    pub fn datagram_errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DatagramError::ALL.iter().map(|error| error.label()).zip(self.datagram_errors)
    }

    /// Samples that lied: reason and number.
    pub fn sample_errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SampleError::ALL.iter().map(|error| error.label()).zip(self.sample_errors)
    }
}

/// All that one shard knows.
#[derive(Debug)]
pub struct Shard {
    options: Options,
    agents: Roster,
    /// Data sources of all agents.
    sources: usize,
    /// The last epoch that a restart has begun.
    epochs: u64,
    counters: Counters,
    flows: BTreeMap<String, Flow>,
    /// The packed key of one flow, kept for its allocation.
    key: Vec<u8>,
}

impl Shard {
    /// An empty shard.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            agents: Roster::default(),
            sources: 0,
            epochs: 0,
            counters: Counters::default(),
            flows: BTreeMap::new(),
            key: Vec::new(),
        }
    }

    /// Takes a new program. A flow whose definition did not change keeps its table.
    pub fn adopt(&mut self, program: &Arc<Program>, now_us: u64, _outbox: &mut Outbox) {
        let mut old = std::mem::take(&mut self.flows);
        for (name, plan) in &program.flows {
            let plan = Arc::clone(plan);
            let kept = old.remove(name).filter(|flow| flow.plan.spec == plan.spec).map(|flow| flow.table);
            let table = kept.unwrap_or_else(|| FlowTable::new(plan.spec.t, self.options.flow_bytes, now_us));
            self.flows.insert(name.clone(), Flow { plan, table });
        }
    }

    /// Flows that gave way to others, in all tables.
    pub fn flows_evicted(&self) -> u64 {
        self.flows.values().map(|flow| flow.table.evicted).sum()
    }

    /// Live flows, in all tables.
    pub fn flows(&self) -> usize {
        self.flows.values().map(|flow| flow.table.len()).sum()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many agents are known.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Takes a datagram that `sender` sent.
    pub fn datagram(&mut self, bytes: &[u8], sender: IpAddr, now_us: u64, outbox: &mut Outbox) {
        let datagram = match Datagram::parse(bytes) {
            Ok(datagram) => datagram,
            Err(error) => {
                if let Some(count) = self.counters.datagram_errors.get_mut(error.index()) {
                    *count += 1;
                }
                return;
            }
        };
        self.counters.datagrams += 1;
        self.counters.bytes += bytes.len() as u64;
        let header = datagram.header;
        if !self.agents.contains(&header.agent) {
            self.make_room(outbox);
            self.agents.add(header.agent, Agent::new(now_us));
        }
        let room = self.options.sources.saturating_sub(self.sources);
        let Some(agent) = self.agents.heard(&header.agent, now_us) else { return };
        let epoch = match agent.datagram(&header, sender, now_us, &mut self.epochs) {
            Taken::New(epoch) => epoch,
            Taken::Untracked => {
                self.counters.streams_refused += 1;
                0
            }
            Taken::Duplicate => {
                self.counters.duplicates += 1;
                return;
            }
        };
        let moment = Moment { now_us, uptime_ms: header.uptime_ms, epoch };
        let before = agent.sources.len();
        let limit = self.options.sources_per_agent.min(before.saturating_add(room));
        for sample in datagram.samples() {
            let taken = match sample {
                Ok(Sample::Flow(sample)) => {
                    self.counters.flow_samples += 1;
                    let rate = sample.sampling_rate.min(LARGEST_RATE);
                    let room = agent.sources.len() < limit;
                    let source = agent.source(sample.source, room);
                    let taken = source.map(|source| source.flow(&sample, rate, epoch, now_us));
                    if let Some(Some((frames, disbelieved))) = taken {
                        self.counters.pools_disbelieved += u64::from(disbelieved);
                        let owner = (header.agent, sample.source);
                        let counters = &mut self.counters;
                        take_packet(&mut self.flows, &mut self.key, owner, &sample, frames, now_us, counters);
                    }
                    taken.map(|_| ())
                }
                Ok(Sample::Counters(sample)) => {
                    self.counters.counters_samples += 1;
                    let room = agent.sources.len() < limit;
                    agent.source(sample.source, room).map(|source| source.counters(&sample, moment))
                }
                Ok(Sample::Discarded(_)) => {
                    self.counters.discarded += 1;
                    continue;
                }
                Ok(Sample::RtMetric(_) | Sample::RtFlow(_)) => {
                    self.counters.custom += 1;
                    continue;
                }
                Ok(Sample::Unknown { .. }) => {
                    self.counters.unknown += 1;
                    continue;
                }
                Err(error) => {
                    if let Some(count) = self.counters.sample_errors.get_mut(error.index()) {
                        *count += 1;
                    }
                    continue;
                }
            };
            self.counters.sources_refused += u64::from(taken.is_none());
        }
        self.sources += agent.sources.len() - before;
    }

    /// Ends a batch: what its datagrams add to flows is in the tables when this returns.
    pub fn flush(&mut self, _now_us: u64, _outbox: &mut Outbox) {}

    /// Where a limit is reached, an agent gives way.
    fn make_room(&mut self, outbox: &mut Outbox) {
        let full = self.agents.len() >= self.options.agents;
        if !full && self.sources < self.options.sources {
            return;
        }
        if let Some((address, agent)) = self.agents.give_way(full) {
            self.sources = self.sources.saturating_sub(agent.sources.len());
            self.counters.agents_evicted += 1;
            outbox.released.push(address);
        }
    }

    /// Forgets what is no longer believed, ends flows, re-arms thresholds.
    pub fn tick(&mut self, now_us: u64, outbox: &mut Outbox) {
        for flow in self.flows.values_mut() {
            flow.table.tick(now_us);
        }
        self.forget(now_us, outbox);
    }

    /// Forgets metrics that are no longer believed, and agents and data sources that are gone. A tick visits a part
    /// of the agents, so that it takes no longer than a batch does.
    fn forget(&mut self, now_us: u64, outbox: &mut Outbox) {
        let timeout = self.options.metric_timeout_us;
        let since_us = now_us.saturating_sub(self.options.agent_timeout_us);
        let (sources, counters) = (&mut self.sources, &mut self.counters);
        self.agents.sweep(TICKS_OF_A_SWEEP, |address, agent| {
            let before = agent.sources.len();
            if agent.last_seen_us < since_us {
                *sources = sources.saturating_sub(before);
                counters.agents_released += 1;
                outbox.released.push(address);
                return false;
            }
            agent.forget_before(since_us);
            *sources = sources.saturating_sub(before - agent.sources.len());
            for source in agent.sources.values_mut() {
                source.metrics.forget(now_us, timeout);
            }
            true
        });
    }

    /// The agents and what is believed of them now.
    fn known(&self, now_us: u64) -> Known<'_> {
        Known { agents: &self.agents, metric_timeout_us: self.options.metric_timeout_us, now_us }
    }

    /// What this shard knows towards the answer.
    pub fn ask(&self, question: &Question, now_us: u64) -> Partial {
        if let Some(partial) = self.known(now_us).ask(question) {
            return partial;
        }
        match question {
            Question::ActiveFlows { agents, flow, .. } => {
                let Some(flow) = self.flows.get(flow) else {
                    return Partial::Flows(ActivePartial::default());
                };
                let meant: Option<Vec<Address>> = match agents {
                    Agents::All => None,
                    Agents::Named(_) => {
                        Some(self.known(now_us).meant(agents).map(|(address, _)| address).collect())
                    }
                };
                let wanted = |agent| meant.as_ref().is_none_or(|meant| meant.contains(&agent));
                Partial::Flows(flow.table.active(now_us, |(agent, _)| wanted(agent)))
            }
            Question::FlowKeys => Partial::FlowKeys(BTreeMap::new()),
            Question::FlowValue { .. } => Partial::FlowValue(None),
            _ => Partial::Flows(ActivePartial::default()),
        }
    }
}

/// Adds a sampled packet to the flows of every definition.
fn take_packet(
    flows: &mut BTreeMap<String, Flow>,
    key: &mut Vec<u8>,
    owner: (Address, DataSource),
    sample: &FlowSample<'_>,
    frames: f64,
    now_us: u64,
    counters: &mut Counters,
) {
    if flows.is_empty() {
        return;
    }
    let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER);
    let Some(header) = header.and_then(|record| SampledHeader::parse(record.body).ok()) else { return };
    counters.outliers +=
        u64::from(header.frame_length > LARGEST_FRAME || sample.sampling_rate > LARGEST_RATE);
    let packet = dissect(header.protocol, header.bytes);
    let sampled = Sampled {
        source: sample.source,
        input: sample.input,
        output: sample.output,
        frame_length: header.frame_length.min(LARGEST_FRAME),
        stripped: header.stripped,
        packet: &packet,
        records: sample.records,
    };
    for flow in flows.values_mut() {
        if let Some(value) = flow.plan.evaluate(&sampled, key) {
            flow.table.add(owner, key, value * frames, now_us);
        }
    }
}
