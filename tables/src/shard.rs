//! A shard: fed with datagrams, asked questions.

use std::net::IpAddr;
use std::sync::Arc;

use decode::{Address, Datagram, DatagramError, SampleError};

use crate::agent::{Agent, Taken};
use crate::answer::Known;
use crate::flow::atom::key_text;
use crate::flow::flows::Flows;
use crate::intake::{Intake, Room};
use crate::metric::Moment;
use crate::outbox::{Outbox, ThresholdEvent};
use crate::program::Program;
use crate::question::{Owner, Partial, Question};
use crate::roster::{Roster, Yielding};
use crate::trust::{Trust, Verdict};
use crate::watch::{Numbered, Watch};

/// Limits and choices of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Agents at most; beyond, those heard but once give way to one another, then one that has been silent for long.
    pub agents: usize,
    /// Data sources of one agent at most; samples of further ones are counted and left out.
    pub sources_per_agent: usize,
    /// Custom metrics of one agent at most; further ones are counted and left out.
    pub custom_per_agent: usize,
    /// Data sources and custom metrics of all agents together at most. Beyond, agents that were heard but once give way; where there is
    /// none of those, samples of further data sources are counted and left out.
    pub sources: usize,
    /// How long an agent, or one of its data sources, may be silent before it is forgotten, microseconds.
    pub agent_timeout_us: u64,
    /// How long metrics are believed after the last sample, microseconds; three intervals when `None`.
    pub metric_timeout_us: Option<u64>,
    /// Largest size of each flow table, bytes; beyond, the smallest flows give way.
    pub flow_bytes: usize,
    /// The largest sampling rate that is believed (promise A2): samples of a larger one are counted and left out.
    pub largest_rate: u32,
    /// The largest frame that is believed, bytes (promise A2): longer ones are counted and cut.
    pub largest_frame: u32,
    /// What a sample stands for.
    pub scale: Scale,
}

/// What a sample stands for (promise I4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// What was really sampled, where the sample pool tells it believably.
    #[default]
    Pool,
    /// The sampling rate that is configured: the arithmetic of the field's incumbent.
    Rate,
}

impl Scale {
    /// What a sample counts for whose pool says `pool` and whose configuration says `rate`.
    pub(crate) fn of(self, pool: f64, rate: u32) -> f64 {
        match self {
            Self::Pool => pool,
            Self::Rate => f64::from(rate),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agents: 100_000,
            sources_per_agent: 10_000,
            custom_per_agent: 10_000,
            sources: 1_000_000,
            agent_timeout_us: 3_600_000_000,
            metric_timeout_us: None,
            flow_bytes: 256 << 20,
            largest_rate: 1 << 24,
            largest_frame: 65_535,
            scale: Scale::default(),
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
    /// Datagrams of agents that are not listed, which were refused.
    pub unlisted_refused: u64,
    /// Datagrams of listed agents that came from elsewhere, which were refused.
    pub foreign_refused: u64,
    /// The same, which were taken.
    pub foreign_flagged: u64,
    /// Datagrams of agents that are not listed, for which there was no room because listed ones had it all.
    pub agents_refused: u64,
    /// Agents that gave way to others.
    pub agents_evicted: u64,
    /// Agents that have been silent for long.
    pub agents_released: u64,
    /// Datagrams of sub-agents beyond the limit, whose loss is not followed.
    pub streams_refused: u64,
    /// Samples of data sources beyond the limit.
    pub sources_refused: u64,
    /// Custom metrics whose name, or data source's name, cannot be kept.
    pub custom_misnamed: u64,
    /// Custom metrics beyond the limit.
    pub custom_refused: u64,
    /// Texts of counters samples and custom metrics that were too long, and were cut.
    pub texts_cut: u64,
    /// Windows of samples whose pool could not be believed.
    pub pools_disbelieved: u64,
    /// Samples whose rate was beyond what is believed, which were left out, and frames whose length was, which was cut.
    pub outliers: u64,
    /// Packets left out of a flow because there was no room for the texts of its key.
    pub texts_refused: u64,
    /// MAC addresses of hosts beyond those that are remembered.
    pub macs_refused: u64,
    /// Addresses whose names could not be asked for because too many were already.
    pub names_refused: u64,
    /// Host locations beyond those that are remembered.
    pub locations_refused: u64,
    /// Metrics that rose above a threshold when too many others were above theirs: they made no event.
    pub thresholds_refused: u64,
}

impl Counters {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        // Named one by one, so that a new counter cannot be forgotten here.
        let Self {
            datagrams,
            bytes,
            datagram_errors,
            duplicates,
            flow_samples,
            counters_samples,
            discarded,
            custom,
            unknown,
            sample_errors,
            unlisted_refused,
            foreign_refused,
            foreign_flagged,
            agents_refused,
            agents_evicted,
            agents_released,
            streams_refused,
            sources_refused,
            pools_disbelieved,
            outliers,
            texts_refused,
            thresholds_refused,
            custom_misnamed,
            custom_refused,
            texts_cut,
            macs_refused,
            names_refused,
            locations_refused,
        } = other;
        for (sum, more) in [
            (&mut self.datagrams, datagrams),
            (&mut self.bytes, bytes),
            (&mut self.duplicates, duplicates),
            (&mut self.flow_samples, flow_samples),
            (&mut self.counters_samples, counters_samples),
            (&mut self.discarded, discarded),
            (&mut self.custom, custom),
            (&mut self.unknown, unknown),
            (&mut self.unlisted_refused, unlisted_refused),
            (&mut self.foreign_refused, foreign_refused),
            (&mut self.foreign_flagged, foreign_flagged),
            (&mut self.agents_refused, agents_refused),
            (&mut self.agents_evicted, agents_evicted),
            (&mut self.agents_released, agents_released),
            (&mut self.streams_refused, streams_refused),
            (&mut self.sources_refused, sources_refused),
            (&mut self.pools_disbelieved, pools_disbelieved),
            (&mut self.outliers, outliers),
            (&mut self.texts_refused, texts_refused),
            (&mut self.thresholds_refused, thresholds_refused),
            (&mut self.custom_misnamed, custom_misnamed),
            (&mut self.custom_refused, custom_refused),
            (&mut self.texts_cut, texts_cut),
            (&mut self.macs_refused, macs_refused),
            (&mut self.names_refused, names_refused),
            (&mut self.locations_refused, locations_refused),
        ]
        .into_iter()
        .chain(self.datagram_errors.iter_mut().zip(datagram_errors))
        .chain(self.sample_errors.iter_mut().zip(sample_errors))
        {
            *sum += more;
        }
    }

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
    /// What the operator says of agents; `None` where that is nothing.
    trust: Option<Arc<Trust>>,
    agents: Roster,
    /// Data sources and custom metrics of all agents.
    sources: usize,
    /// The last epoch that a restart has begun.
    epochs: u64,
    counters: Counters,
    flows: Flows,
    watch: Watch,
}

impl Shard {
    /// An empty shard.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            trust: None,
            agents: Roster::default(),
            sources: 0,
            epochs: 0,
            counters: Counters::default(),
            flows: Flows::new(options.flow_bytes, options.largest_frame),
            watch: Watch::default(),
        }
    }

    /// Takes what the operator says of agents; to be called before the first datagram.
    #[must_use]
    pub fn trusting(self, trust: Arc<Trust>) -> Self {
        Self { trust: (!trust.is_idle()).then_some(trust), ..self }
    }

    /// Takes a new program. A flow whose definition did not change keeps its table; others end with their records.
    pub fn adopt(&mut self, program: &Arc<Program>, now_us: u64, outbox: &mut Outbox) {
        self.watch.adopt(program);
        self.flows.adopt(program, &self.watch, now_us, outbox);
    }

    /// Ends all flows, those that are being recorded with their records: the shard is about to go.
    pub fn end(&mut self, now_us: u64, outbox: &mut Outbox) {
        self.flush(now_us, outbox);
        self.flows.end_all(now_us, outbox);
    }

    /// Flows that gave way to others, in all tables.
    pub fn flows_evicted(&self) -> u64 {
        self.flows.evicted()
    }

    /// Live flows, in all tables.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// What the flow tables and the texts of their keys take, bytes.
    pub fn flow_bytes(&self) -> usize {
        self.flows.bytes()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            outliers: self.counters.outliers + self.flows.outliers,
            texts_refused: self.flows.texts_refused(),
            names_refused: self.flows.names_refused(),
            locations_refused: self.flows.locations_refused(),
            thresholds_refused: self.watch.refused,
            ..self.counters
        }
    }

    /// How many agents are known.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// A datagram is taken soon, whose first bytes are near: brings near what is known of its agent.
    #[inline]
    pub fn bring_near(&self, bytes: &[u8]) {
        if let Ok(datagram) = Datagram::parse(bytes) {
            self.agents.bring_near(&datagram.header.agent);
        }
    }

    /// Takes a datagram that `sender` sent.
    pub fn datagram(&mut self, bytes: &[u8], sender: IpAddr, now_us: u64, outbox: &mut Outbox) {
        self.datagram_in(&mut Room::default(), bytes, sender, now_us, outbox);
    }

    /// The same in a room that further datagrams are taken in too.
    pub fn datagram_in<'a>(
        &mut self,
        room: &mut Room<'a>,
        bytes: &'a [u8],
        sender: IpAddr,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
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
        let place = self.agents.place(&header.agent);
        let verdict = match &self.trust {
            None => Verdict::Unlisted,
            Some(trust) => trust.verdict(header.agent, sender),
        };
        if verdict != Verdict::Unlisted && !self.admits(verdict, header.agent, place, now_us, outbox) {
            return;
        }
        let listed = matches!(verdict, Verdict::Listed | Verdict::Flagged);
        let place = match place {
            Some(place) => place,
            None if self.make_room(listed, outbox) => {
                self.agents.add(header.agent, Agent { listed, ..Agent::new(now_us) })
            }
            None => {
                self.counters.agents_refused += 1;
                outbox.released.push(header.agent);
                return;
            }
        };
        if verdict == Verdict::Flagged {
            if let Some(trust) = &self.trust {
                trust.flag(header.agent, now_us);
            }
            self.flag(place, now_us);
        }
        let spare = self.options.sources.saturating_sub(self.sources);
        let Some(agent) = self.agents.heard(place, now_us) else { return };
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
        let before = agent.weight();
        let intake = Intake {
            options: &self.options,
            counters: &mut self.counters,
            flows: &mut self.flows,
            most: before.saturating_add(spare),
            agent,
            address: header.agent,
            moment: Moment { now_us, uptime_ms: header.uptime_ms, epoch },
            watched: self.watch.is_on_counters(),
            counted: Vec::new(),
        };
        let (after, counted) = intake.take(datagram.samples(), room, outbox);
        self.sources += after - before;
        for source in counted {
            self.watch_counters(&Owner { agent: header.agent, source }, now_us, outbox);
        }
    }

    /// Ends a batch: what its datagrams add to flows is in the tables when this returns, and flows that rose above a
    /// threshold have made their events.
    pub fn flush(&mut self, now_us: u64, outbox: &mut Outbox) {
        self.flows.flush(now_us, outbox);
        for (hit, owner, stays_us) in self.flows.hits(&self.watch) {
            let Some(Numbered { name, threshold, .. }) = self.watch.numbered(hit.id).cloned() else {
                continue;
            };
            let known = know(&self.agents, &self.flows, &self.options, now_us);
            let passes = || known.passes(&owner, &threshold.filter);
            let watched = (hit.id, hit.owner, hit.flow);
            if self.watch.above(watched, Some(now_us + stays_us), now_us, passes) {
                let separator = self.flows.table(threshold.metric.name()).map(|t| t.plan.spec.fs.clone());
                let key = key_text(&hit.key, &separator.unwrap_or_default());
                self.watch.note_key(watched, &key);
                outbox.events.push(ThresholdEvent {
                    threshold: name,
                    owner,
                    metric: threshold.metric.name().to_owned(),
                    limit: threshold.value,
                    value: hit.value,
                    flow_key: Some(key),
                    values: hit.values,
                    at_us: now_us,
                });
            }
        }
    }

    /// Holds the counters, or the custom metrics, of a data source against the thresholds on them.
    fn watch_counters(&mut self, owner: &Owner, now_us: u64, outbox: &mut Outbox) {
        for place in 0..self.watch.thresholds.len() {
            let Some(Numbered { id, name, threshold, on_flow }) = self.watch.thresholds.get(place).cloned()
            else {
                break;
            };
            if on_flow {
                continue;
            }
            let known = know(&self.agents, &self.flows, &self.options, now_us);
            let Some(value) = known.number(owner, &threshold.metric) else { continue };
            let number = self.flows.number(owner, now_us);
            let watched = (id, number, 0);
            if value <= threshold.value {
                self.watch.below(watched, now_us);
                continue;
            }
            let known = know(&self.agents, &self.flows, &self.options, now_us);
            if self.watch.above(watched, None, now_us, || known.passes(owner, &threshold.filter)) {
                outbox.events.push(ThresholdEvent {
                    threshold: name,
                    owner: owner.clone(),
                    metric: threshold.metric.name().to_owned(),
                    limit: threshold.value,
                    value,
                    flow_key: None,
                    values: Vec::new(),
                    at_us: now_us,
                });
            }
        }
    }

    /// Whether a datagram is taken. One that is not leaves nothing behind but counts: neither the agent's clock nor its
    /// numbers, nor an agent that was not there.
    fn admits(
        &mut self,
        verdict: Verdict,
        agent: Address,
        place: Option<u32>,
        now_us: u64,
        outbox: &mut Outbox,
    ) -> bool {
        match verdict {
            Verdict::Unlisted | Verdict::Listed | Verdict::Flagged => return true,
            Verdict::RefusedUnlisted => self.counters.unlisted_refused += 1,
            Verdict::RefusedForeign => {
                self.counters.foreign_refused += 1;
                if let Some(known) = place.and_then(|place| self.agents.heard(place, now_us)) {
                    known.foreign += 1;
                }
            }
        }
        if place.is_none() {
            // Another worker may own it, should it come from where it ought to.
            outbox.released.push(agent);
        }
        false
    }

    /// Notes that a datagram was taken which came from elsewhere.
    fn flag(&mut self, place: u32, now_us: u64) {
        self.counters.foreign_flagged += 1;
        if let Some(agent) = self.agents.heard(place, now_us) {
            agent.foreign += 1;
            agent.flagged_us = Some(now_us);
        }
    }

    /// Where a limit is reached, an agent gives way; whether there is room for one more.
    fn make_room(&mut self, for_listed: bool, outbox: &mut Outbox) -> bool {
        let full = self.agents.len() >= self.options.agents;
        if !full && self.sources < self.options.sources {
            return true;
        }
        let most = match (full, for_listed) {
            (false, _) => Yielding::Newcomers,
            (true, false) => Yielding::Established,
            (true, true) => Yielding::Listed,
        };
        if let Some((address, agent)) = self.agents.give_way(most) {
            self.sources = self.sources.saturating_sub(agent.weight());
            self.counters.agents_evicted += 1;
            outbox.released.push(address);
            return true;
        }
        !full
    }

    /// Forgets what is no longer believed, ends flows, re-arms thresholds.
    pub fn tick(&mut self, now_us: u64, outbox: &mut Outbox) {
        self.watch.tick(now_us);
        self.flows.tick(now_us, outbox, &self.watch.owners());
        self.forget(now_us, outbox);
    }

    /// Forgets metrics that are no longer believed, and agents and data sources that are gone. A tick visits a part
    /// of the agents, so that it takes no longer than a batch does.
    fn forget(&mut self, now_us: u64, outbox: &mut Outbox) {
        let timeout = self.options.metric_timeout_us;
        let since_us = now_us.saturating_sub(self.options.agent_timeout_us);
        let (sources, counters) = (&mut self.sources, &mut self.counters);
        self.agents.sweep(TICKS_OF_A_SWEEP, |address, agent| {
            let before = agent.weight();
            if agent.last_seen_us < since_us {
                *sources = sources.saturating_sub(before);
                counters.agents_released += 1;
                outbox.released.push(address);
                return false;
            }
            agent.forget_before(since_us);
            agent.custom.forget(now_us, timeout, since_us);
            *sources = sources.saturating_sub(before - agent.weight());
            for source in agent.sources.values_mut() {
                source.metrics.forget(now_us, timeout);
            }
            true
        });
    }

    /// All that is known, at this moment.
    fn known(&self, now_us: u64) -> Known<'_> {
        know(&self.agents, &self.flows, &self.options, now_us)
    }

    /// What this shard knows towards the answer.
    pub fn ask(&self, question: &Question, now_us: u64) -> Partial {
        self.known(now_us).ask(question, &self.watch)
    }
}

/// What is known at one moment, of fields that are borrowed one by one.
fn know<'s>(agents: &'s Roster, flows: &'s Flows, options: &Options, now_us: u64) -> Known<'s> {
    Known { agents, flows, metric_timeout_us: options.metric_timeout_us, now_us }
}
