//! The data sources of an agent.
//!
//! What each flow sample changes is two cache lines of a vector, apart from the counters: a fabric has more data sources
//! than the near caches have room for, so the samples of a datagram ask for theirs before the first one is taken.

use ahash::RandomState;
use decode::counter::{HOST_ADAPTERS, VIRT_CPU};
use decode::layout::{Fields, Value};
use decode::{Address, CountersSample, DataSource, DiscardedPacket, FlowSample, Mac, Record, Records};
use hashbrown::HashMap;

use crate::estimate::Estimate;
use crate::flow::learned::MOST_MACS;
use crate::flow::owners::Known;
use crate::mem;
use crate::metric::Moment;
use crate::metric::store::{Metrics, State};
use crate::owner::{self, Owner};
use crate::sequence::{Arrival, Sequence};

/// A map whose hash is keyed per process, because its keys are the sender's to choose.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// The data sources of an agent.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    places: Map<DataSource, u32>,
    /// Places of those that were heard last, by a few bits of their names: most are found without a hash.
    guesses: Vec<u32>,
    pulses: Vec<Pulse>,
    /// At the same places.
    sources: Vec<Source>,
}

/// Data sources of an agent that are guessed.
const MOST_GUESSES: usize = 1024;

/// What flow samples change of a data source.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Pulse {
    name: DataSource,
    /// The number that flow tables know it by.
    pub(crate) number: Known,
    last_seen_us: u64,
    /// That of the sub-agent it comes from.
    epoch: u64,
    pub(crate) flow_samples: Sequence,
    /// Samples that the device dropped, as it says.
    pub(crate) drops: Dropped,
    estimate: Estimate,
}

/// What else is known of a data source.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) counter_samples: Sequence,
    pub(crate) metrics: Metrics,
    discards: Sequence,
    /// The MAC addresses of its adapters, where it says them.
    pub(crate) macs: Box<[Mac]>,
}

/// What a data source sends, and how often: the answer to "how is this one measured".
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSummary {
    /// Whose.
    pub owner: Owner,
    /// One in so many packets is sampled, as its last flow sample says; `None` where it has sent none.
    pub sampling_rate: Option<u32>,
    /// One in so many packets was really received, as its sample pool tells over the last 100 samples (promise I4); `None`
    /// while there were fewer, or where the pool is not believed.
    pub measured_rate: Option<f64>,
    /// Its flow samples.
    pub flow_samples: Sequence,
    /// Samples that the device dropped, as it says.
    pub flow_drops: u64,
    /// Its counters samples.
    pub counter_samples: Sequence,
    /// Its notifications of dropped packets.
    pub discarded: Sequence,
    /// The mean of the last two intervals between counters samples, microseconds; `None` before the second one, and when
    /// they have stopped.
    pub polling_interval_us: Option<u64>,
    /// Microseconds since its last sample.
    pub last_seen_us: u64,
}

/// A data source that is heard.
#[derive(Debug)]
pub(crate) struct SourceMut<'s> {
    pub(crate) pulse: &'s mut Pulse,
    source: &'s mut Source,
}

impl Sources {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// What is known of a data source.
    pub(crate) fn get(&self, name: &DataSource) -> Option<&Source> {
        self.sources.get(*self.places.get(name)? as usize)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&DataSource, &Source)> {
        self.both().map(|(pulse, source)| (&pulse.name, source))
    }

    /// All of them, with what flow samples say.
    pub(crate) fn both(&self) -> impl Iterator<Item = (&Pulse, &Source)> {
        self.pulses.iter().zip(&self.sources)
    }

    /// What each of them sends, of those that are meant.
    pub(crate) fn summaries(
        &self,
        agent: Address,
        is_meant: impl Fn(&DataSource) -> bool,
        now_us: u64,
    ) -> impl Iterator<Item = SourceSummary> {
        self.both().filter(move |(pulse, _)| is_meant(&pulse.name)).map(move |(pulse, source)| {
            let (sampling_rate, measured_rate) = pulse.estimate.rates();
            SourceSummary {
                owner: Owner { agent, source: owner::Source::Of(pulse.name) },
                sampling_rate,
                measured_rate,
                flow_samples: pulse.flow_samples,
                flow_drops: pulse.drops.total,
                counter_samples: source.counter_samples,
                discarded: source.discards,
                polling_interval_us: source.metrics.interval_us(),
                last_seen_us: now_us.saturating_sub(pulse.last_seen_us),
            }
        })
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        self.sources.iter_mut()
    }

    /// A flow sample of this data source is taken soon: the place where it is likely to be.
    #[inline]
    pub(crate) fn bring_near(&self, name: DataSource) -> Option<u32> {
        let place = *self.guesses.get(self.guess(name))?;
        if let Some(pulse) = self.pulses.get(place as usize) {
            mem::prefetch_value(pulse);
        }
        Some(place)
    }

    /// Where a data source is guessed.
    #[inline]
    fn guess(&self, name: DataSource) -> usize {
        name.index.wrapping_add(name.class << 7) as usize & self.guesses.len().wrapping_sub(1)
    }

    /// Whether a data source is at a place.
    #[inline]
    pub(crate) fn is_at(&self, place: u32, name: DataSource) -> bool {
        self.pulses.get(place as usize).is_some_and(|pulse| pulse.name == name)
    }

    /// The data source at a place.
    #[inline]
    pub(crate) fn at(&mut self, place: u32) -> Option<SourceMut<'_>> {
        let (pulse, source) = (self.pulses.get_mut(place as usize)?, self.sources.get_mut(place as usize)?);
        Some(SourceMut { pulse, source })
    }

    /// Where a data source is, which is new where there is `room` for one; `None` where there is none. It is guessed from now
    /// on.
    pub(crate) fn find(&mut self, name: DataSource, room: bool) -> Option<u32> {
        let guess = self.guess(name);
        let guessed = self.guesses.get(guess).copied().filter(|place| self.is_at(*place, name));
        if guessed.is_some() {
            return guessed;
        }
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None if room => self.add(name)?,
            None => return None,
        };
        let guess = self.guess(name);
        if let Some(guessed) = self.guesses.get_mut(guess) {
            *guessed = place;
        }
        Some(place)
    }

    #[cold]
    fn add(&mut self, name: DataSource) -> Option<u32> {
        let place = u32::try_from(self.sources.len()).ok()?;
        self.pulses.push(Pulse { name, ..Pulse::default() });
        self.sources.push(Source::default());
        self.places.insert(name, place);
        if self.places.len() > self.guesses.len() && self.guesses.len() < MOST_GUESSES {
            self.guesses.resize((self.places.len() * 2).next_power_of_two(), 0);
        }
        Some(place)
    }

    /// Forgets those that have not been heard since.
    pub(crate) fn forget_before(&mut self, since_us: u64) {
        for place in (0..self.pulses.len()).rev() {
            if self.pulses.get(place).is_none_or(|pulse| pulse.last_seen_us >= since_us) {
                continue;
            }
            // The last one takes its place.
            let gone = self.pulses.swap_remove(place);
            self.sources.swap_remove(place);
            self.places.remove(&gone.name);
            if let Some(moved) = self.pulses.get(place)
                && let Some(known) = self.places.get_mut(&moved.name)
            {
                *known = place as u32;
            }
        }
    }
}

/// The first records of a counters sample that say more than metrics.
#[derive(Clone, Copy, Debug, Default)]
struct Told<'a> {
    processors: Option<Record<'a>>,
    adapters: Option<Record<'a>>,
}

impl<'a> Told<'a> {
    fn by(records: &Records<'a>) -> Self {
        let mut told = Self::default();
        for record in records.iter() {
            if record.tag == VIRT_CPU.tag {
                told.processors = told.processors.or(Some(record));
            } else if record.tag == HOST_ADAPTERS.tag {
                told.adapters = told.adapters.or(Some(record));
            }
        }
        told
    }
}

/// The MAC addresses that a record says adapters have, and how many more there were. `None` where it cannot be read.
fn macs(adapters: Record<'_>) -> Option<(Box<[Mac]>, u64)> {
    let Some(Value::Adapters(adapters)) = Fields::new(&HOST_ADAPTERS, adapters.body).get(0) else {
        return None;
    };
    let mut refused = 0;
    let mut macs = Vec::new();
    for mac in adapters.iter().flat_map(|(_, macs)| macs.iter()) {
        // Addresses of nobody and of groups own nothing.
        if mac == Mac::default() || mac.0[0] & 1 == 1 || macs.contains(&mac) {
            continue;
        }
        if macs.len() < MOST_MACS {
            macs.push(mac);
        } else {
            refused += 1;
        }
    }
    Some((macs.into_boxed_slice(), refused))
}

/// What became of a counters sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountersTaken {
    /// Texts that were too long, and were cut.
    pub(crate) cut: u64,
    /// MAC addresses beyond those that are remembered.
    pub(crate) macs_refused: u64,
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

impl SourceMut<'_> {
    /// Takes a flow sample; the packets that it stands for, and whether its pool was not believed. `None` for a
    /// duplicate.
    pub(crate) fn flow(
        &mut self,
        sample: &FlowSample<'_>,
        rate: u32,
        epoch: u64,
        now_us: u64,
    ) -> Option<(f64, bool)> {
        self.heard(epoch, now_us);
        if self.pulse.flow_samples.take(sample.sequence) == Arrival::Duplicate {
            return None;
        }
        self.pulse.drops.take(sample.drops);
        Some(self.pulse.estimate.take(sample.sample_pool, rate))
    }

    /// Takes the notification of a dropped packet; false for a duplicate.
    pub(crate) fn discarded(&mut self, sample: &DiscardedPacket<'_>, epoch: u64, now_us: u64) -> bool {
        self.heard(epoch, now_us);
        self.source.discards.take(sample.sequence) != Arrival::Duplicate
    }

    /// Takes a counters sample.
    pub(crate) fn counters(&mut self, sample: &CountersSample<'_>, moment: Moment) -> CountersTaken {
        self.heard(moment.epoch, moment.now_us);
        if self.source.counter_samples.take(sample.sequence) == Arrival::Duplicate {
            return CountersTaken::default();
        }
        let mut macs_refused = 0;
        let told = Told::by(&sample.records);
        if let Some((macs, refused)) = told.adapters.and_then(macs) {
            (self.source.macs, macs_refused) = (macs, refused);
        }
        let state = State::of(told.processors);
        CountersTaken { cut: self.source.metrics.take(sample.records, moment, state), macs_refused }
    }

    fn heard(&mut self, epoch: u64, now_us: u64) {
        self.pulse.last_seen_us = now_us;
        if epoch != self.pulse.epoch {
            self.pulse.epoch = epoch;
            self.pulse.flow_samples.restart();
            self.source.counter_samples.restart();
            self.pulse.estimate.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(index: u32) -> DataSource {
        DataSource { class: 0, index }
    }

    #[test]
    fn what_flow_samples_change_is_two_cache_lines() {
        assert_eq!(size_of::<Pulse>(), 128);
    }

    #[test]
    fn places_hold_when_others_are_forgotten() {
        let mut sources = Sources::default();
        for index in 0..100 {
            let place = sources.find(port(index), true).expect("room");
            let source = sources.at(place).expect("it is there");
            source.pulse.last_seen_us = u64::from(index) % 3;
        }
        assert!(sources.find(port(100), false).is_none(), "no room");
        sources.forget_before(1);
        assert_eq!(sources.len(), 66);
        for index in 0..100 {
            let guess = sources.bring_near(port(index)).filter(|place| sources.is_at(*place, port(index)));
            let place = guess.or_else(|| sources.find(port(index), false));
            let source = place.and_then(|place| sources.at(place));
            assert_eq!(source.map(|source| source.pulse.name), (index % 3 > 0).then_some(port(index)));
            assert_eq!(sources.get(&port(index)).is_some(), index % 3 > 0);
        }
        assert!(!sources.is_at(0, port(50)), "a guess that is wrong is seen");
        let place = sources.find(port(50), false).expect("it is known");
        assert!(sources.is_at(place, port(50)));
    }
}
