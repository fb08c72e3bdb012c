//! The samples of one datagram on their way into a shard.
//!
//! Flow samples come by far most often, and have a way of their own; all others are taken beside it.

use std::sync::Arc;

use decode::rt::{RtFlow, RtMetric};
use decode::{
    Address, CountersSample, DataSource, DiscardedPacket, FlowSample, Sample, SampleError, Samples, Tag,
};

use crate::agent::Agent;
use crate::flow::flows::{By, Flows, Numbers, Prepared};
use crate::metric::{Moment, custom};
use crate::outbox::Outbox;
use crate::owner::Source as Named;
use crate::shard::{Counters, Options};

/// Samples that are read together, so that what is known of their data sources and what their packets are looked up in
/// comes near before the first of them is taken. Most datagrams have no more.
const TOGETHER: usize = 8;

/// Where the samples of a datagram wait. It is made once for a batch: making it costs as much as a sample does.
#[derive(Debug, Default)]
pub struct Room<'a> {
    waiting: [Waiting<'a>; TOGETHER],
}

/// A sample that waits.
#[derive(Debug, Default)]
struct Waiting<'a> {
    /// What it is where it is no flow sample.
    other: Option<(Tag, &'a [u8])>,
    sample: FlowSample<'a>,
    packet: Prepared<'a>,
    /// Where its data source is likely to be.
    place: Option<u32>,
}

/// What the samples of one datagram are taken into.
pub(crate) struct Intake<'s> {
    pub(crate) options: &'s Options,
    pub(crate) counters: &'s mut Counters,
    pub(crate) flows: &'s mut Flows,
    pub(crate) agent: &'s mut Agent,
    /// The agent's.
    pub(crate) address: Address,
    pub(crate) moment: Moment,
    /// What the agent may take of what all agents may have together.
    pub(crate) most: usize,
    /// Whether there are thresholds on counters.
    pub(crate) watched: bool,
    /// The data sources that said something which these thresholds may be on.
    pub(crate) counted: Vec<Named>,
}

impl Intake<'_> {
    /// Takes all samples; what the agent then takes of what all may have together, and the data sources that said something
    /// which thresholds may be on.
    pub(crate) fn take<'a>(
        mut self,
        mut samples: Samples<'a>,
        room: &mut Room<'a>,
        outbox: &mut Outbox,
    ) -> (usize, Vec<Named>) {
        loop {
            let many = self.read(&mut samples, &mut room.waiting);
            for Waiting { other, sample, packet, place } in room.waiting.iter().take(many) {
                match other {
                    None => self.flow(sample, packet, *place, outbox),
                    Some((tag, body)) => self.other(*tag, body, outbox),
                }
            }
            if many < TOGETHER {
                return (self.agent.weight(), self.counted);
            }
        }
    }

    /// Reads the next few samples, in place of those before, and brings near what they need; how many there are.
    #[inline(always)]
    fn read<'a>(&mut self, samples: &mut Samples<'a>, waiting: &mut [Waiting<'a>; TOGETHER]) -> usize {
        let mut many = 0;
        while let Some(Waiting { other, sample, packet, place }) = waiting.get_mut(many) {
            let (tag, body) = match samples.next_framed() {
                None => break,
                Some(Err(error)) => {
                    self.refuse(error);
                    continue;
                }
                Some(Ok(framed)) => framed,
            };
            // In place: a sample is not moved right after it was written.
            match sample.read(tag, body) {
                Some(Ok(())) => {
                    *other = None;
                    *place = self.agent.sources.bring_near(sample.source);
                    self.flows.prepare(sample, packet, self.moment.now_us);
                }
                Some(Err(error)) => {
                    self.refuse(error);
                    continue;
                }
                None => (*other, *place) = (Some((tag, body)), None),
            }
            many += 1;
        }
        many
    }

    /// Counts a sample that lied.
    #[cold]
    fn refuse(&mut self, error: SampleError) {
        for errors in [&mut self.counters.sample_errors, &mut self.agent.sample_errors] {
            errors.get_mut(error.index()).into_iter().for_each(|count| *count += 1);
        }
    }

    /// Where a data source is; `None`, which is counted, where there is no room for one more.
    fn find(&mut self, name: DataSource) -> Option<u32> {
        let room = self.agent.has_room(self.options.sources_per_agent, self.most);
        let place = self.agent.sources.find(name, room);
        self.counters.sources_refused += u64::from(place.is_none());
        place
    }

    #[inline(always)]
    fn flow(
        &mut self,
        sample: &FlowSample<'_>,
        packet: &Prepared<'_>,
        place: Option<u32>,
        outbox: &mut Outbox,
    ) {
        self.counters.flow_samples += 1;
        let is_there = |place: &u32| self.agent.sources.is_at(*place, sample.source);
        let Some(place) = place.filter(is_there).or_else(|| self.find(sample.source)) else { return };
        let Agent { sources, number, .. } = &mut *self.agent;
        let Some(mut source) = sources.at(place) else { return };
        let rate = sample.sampling_rate.min(self.options.largest_rate);
        let Moment { now_us, epoch, .. } = self.moment;
        let Some((frames, disbelieved)) = source.flow(sample, rate, epoch, now_us) else { return };
        self.counters.pools_disbelieved += u64::from(disbelieved);
        if sample.sampling_rate > self.options.largest_rate {
            self.counters.outliers += 1;
            return;
        }
        let frames = self.options.scale.of(frames, rate);
        let mut numbers = Numbers { source: source.pulse.number, agent: *number };
        let by = By { agent: &self.address, numbers: &mut numbers, frames };
        self.flows.sampled(by, sample, packet, now_us, outbox);
        (source.pulse.number, *number) = (numbers.source, numbers.agent);
    }

    /// Takes a sample that is no flow sample.
    #[inline(never)]
    fn other(&mut self, tag: Tag, body: &[u8], outbox: &mut Outbox) {
        match Sample::parse(tag, body) {
            Ok(Sample::Counters(sample)) => self.counters(&sample),
            Ok(Sample::Discarded(sample)) => self.discarded(&sample, outbox),
            Ok(Sample::RtMetric(sample)) => self.custom_metrics(&sample),
            Ok(Sample::RtFlow(sample)) => self.custom_flow(&sample, outbox),
            Ok(Sample::Unknown { .. } | Sample::Flow(_)) => self.counters.unknown += 1,
            Err(error) => self.refuse(error),
        }
    }

    fn counters(&mut self, sample: &CountersSample<'_>) {
        self.counters.counters_samples += 1;
        if self.watched {
            self.counted.push(Named::Of(sample.source));
        }
        let place = self.find(sample.source);
        let Some(mut source) = place.and_then(|place| self.agent.sources.at(place)) else { return };
        let taken = source.counters(sample, self.moment);
        self.counters.texts_cut += taken.cut;
        self.counters.macs_refused += taken.macs_refused;
    }

    fn discarded(&mut self, sample: &DiscardedPacket<'_>, outbox: &mut Outbox) {
        self.counters.discarded += 1;
        let Some(place) = self.find(sample.source) else { return };
        let Agent { sources, number, .. } = &mut *self.agent;
        let Some(mut source) = sources.at(place) else { return };
        let Moment { now_us, epoch, .. } = self.moment;
        if source.discarded(sample, epoch, now_us) {
            let mut numbers = Numbers { source: source.pulse.number, agent: *number };
            let by = By { agent: &self.address, numbers: &mut numbers, frames: 1.0 };
            self.flows.discarded(by, sample, now_us, outbox);
            (source.pulse.number, *number) = (numbers.source, numbers.agent);
        }
    }

    fn custom_metrics(&mut self, sample: &RtMetric<'_>) {
        self.counters.custom += 1;
        let most = self.agent.custom.len() + self.most.saturating_sub(self.agent.weight());
        let most = most.min(self.options.custom_per_agent);
        let taken = self.agent.custom.take(sample, self.moment, most);
        self.counters.custom_misnamed += taken.misnamed;
        self.counters.custom_refused += taken.refused;
        self.counters.texts_cut += taken.cut;
        if self.watched {
            let name = custom::source_name(sample.source);
            let known = name.and_then(|name| self.agent.custom.source(name));
            self.counted.extend(known.map(|(name, _)| Named::Named(Arc::clone(name))));
        }
    }

    fn custom_flow(&mut self, sample: &RtFlow<'_>, outbox: &mut Outbox) {
        self.counters.custom += 1;
        let Some(name) = custom::source_name(sample.source) else {
            self.counters.custom_misnamed += 1;
            return;
        };
        let room = self.agent.has_room(self.options.sources_per_agent, self.most);
        let mut number = self.agent.number;
        let Some(emitter) = self.agent.emitter(name, room) else {
            self.counters.sources_refused += 1;
            return;
        };
        // One that says no rate reports every event.
        let rate = sample.sampling_rate.clamp(1, self.options.largest_rate);
        let (events, disbelieved) = emitter.flow(sample, rate, self.moment.now_us);
        self.counters.pools_disbelieved += u64::from(disbelieved);
        if sample.sampling_rate > self.options.largest_rate {
            self.counters.outliers += 1;
            return;
        }
        let events = self.options.scale.of(events, rate);
        let agent = (self.address, &mut number);
        self.flows.custom(agent, emitter, *sample, events, self.moment.now_us, outbox);
        self.agent.number = number;
    }
}
