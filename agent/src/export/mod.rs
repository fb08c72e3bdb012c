//! Samples on their way out: sequence numbers, datagrams of at most 1,400 bytes, none of whose samples waits longer than
//! a second. Reads no clock and opens no socket: the time is an argument, and datagrams go to a [`Sink`].

mod dry_run;
mod lookup;
mod shorten;
mod udp;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use decode::build::{DatagramBuilder, RecordOut};
use decode::xdr::{Full, Writer};
use decode::{CountersSample, DataSource, FlowSample, Header, Interface, Records};

use crate::settings::Collector;

pub use dry_run::DryRun;
pub use udp::{CollectorStatus, UdpSink};

/// A datagram's length at most, bytes of UDP payload: with its headers and those of a tunnel it stays whole on Ethernet.
pub const LARGEST_DATAGRAM: usize = 1400;

/// What a datagram's largest length can be set to at least, bytes: one that holds a flow sample of 128 header bytes.
pub const LEAST_LARGEST_DATAGRAM: usize = 256;

/// How long a sample waits for others at most: none is to leave later than a second after it was taken, and a timer is
/// late by some milliseconds, on a busy host by tens of them.
pub const LONGEST_WAIT: Duration = Duration::from_millis(900);

/// How long counters wait for others at most. Collectors take the time of a datagram for that at which its counters were
/// read, so that rates over a second would be off by as much of it as they waited.
pub const LONGEST_WAIT_OF_COUNTERS: Duration = Duration::from_millis(50);

/// Data sources whose sequence numbers are kept at most.
pub const MOST_SOURCES: usize = 65_536;

/// Class of data sources that are virtual machines or containers.
const LOGICAL: u32 = 3;

/// Takes finished datagrams.
pub trait Sink: fmt::Debug {
    /// Passes a datagram on, never waiting; what cannot be passed on is counted and gone.
    fn send(&mut self, datagram: &[u8]);

    /// Whether nobody takes datagrams any more, nor will.
    fn is_over(&self) -> bool {
        false
    }

    /// Does what is to be done by the time, never waiting.
    fn tick(&mut self, _now: Instant) {}

    /// Passes datagrams on to these collectors from here on; nothing changes for those that stay.
    fn set_collectors(&mut self, _collectors: &[Collector]) {}

    /// What became of the datagrams, for each collector.
    fn collectors(&self) -> Vec<CollectorStatus> {
        Vec::new()
    }
}

/// A flow sample to be sent; its sequence number is the exporter's.
#[derive(Clone, Copy, Debug)]
pub struct FlowSampleOut<'a> {
    /// One packet in so many was sampled.
    pub sampling_rate: u32,
    /// Packets that could have been sampled so far, wrapping.
    pub sample_pool: u32,
    /// Samples that were lost for lack of room so far, wrapping.
    pub drops: u32,
    /// Where the packet came in.
    pub input: Interface,
    /// Where it went out.
    pub output: Interface,
    /// The flow records.
    pub records: &'a [RecordOut<'a>],
}

/// What was exported so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Datagrams given to the sink.
    pub datagrams: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples that had to be shortened to fit a datagram of their own.
    pub shortened: u64,
    /// Samples that were left out because [`MOST_SOURCES`] have sequence numbers.
    pub sources_full: u64,
}

/// Which of a data source's two sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sequence {
    Counters,
    Flows,
}

/// Makes datagrams of samples.
#[derive(Debug)]
pub struct Exporter {
    agent: IpAddr,
    sub_agent: u32,
    sink: Box<dyn Sink>,
    started: Instant,
    sequence: u32,
    sources: HashMap<(Sequence, DataSource), u32>,
    /// The datagram under construction; its header is written when it is sent.
    datagram: Box<[u8; LARGEST_DATAGRAM]>,
    /// The length that it may have.
    largest: usize,
    length: usize,
    samples: u32,
    /// When the first of its samples has waited for long enough.
    due: Option<Instant>,
    exported: Exported,
}

impl Exporter {
    /// An exporter for this agent, whose uptime begins `now`.
    pub fn new(agent: IpAddr, sub_agent: u32, sink: Box<dyn Sink>, now: Instant) -> Self {
        Self {
            agent,
            sub_agent,
            sink,
            started: now,
            sequence: 0,
            sources: HashMap::new(),
            datagram: Box::new([0; LARGEST_DATAGRAM]),
            largest: LARGEST_DATAGRAM,
            length: head_bytes(agent),
            samples: 0,
            due: None,
            exported: Exported::default(),
        }
    }

    /// Adds a counters sample with the next sequence number of its source. Its form is expanded where the compact one
    /// has no room for the source, and always for containers, as other agents send them.
    pub fn counters(&mut self, source: DataSource, records: &[RecordOut<'_>], now: Instant) {
        let Some(sequence) = self.next(Sequence::Counters, source) else { return };
        let sample =
            CountersSample { expanded: expanded(source, &[]), sequence, source, records: Records::default() };
        self.add(records, now, LONGEST_WAIT_OF_COUNTERS, |builder, records| {
            builder.counters_sample(&sample, records)
        });
    }

    /// Adds a flow sample with the next sequence number of its source.
    pub fn flow(&mut self, source: DataSource, out: &FlowSampleOut<'_>, now: Instant) {
        let Some(sequence) = self.next(Sequence::Flows, source) else { return };
        let sample = FlowSample {
            expanded: expanded(source, &[out.input, out.output]),
            sequence,
            source,
            sampling_rate: out.sampling_rate,
            sample_pool: out.sample_pool,
            drops: out.drops,
            input: out.input,
            output: out.output,
            ..FlowSample::default()
        };
        self.add(out.records, now, LONGEST_WAIT, |builder, records| builder.flow_sample(&sample, records));
    }

    /// Sends what waits, if anything does.
    pub fn flush(&mut self, now: Instant) {
        if self.samples == 0 {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            agent: self.agent.into(),
            sub_agent: self.sub_agent,
            sequence: self.sequence,
            // The uptime wraps after 49.7 days, as the specification has it.
            uptime_ms: now.saturating_duration_since(self.started).as_millis() as u32,
            samples: self.samples,
        };
        let written = header.write(&mut Writer::new(self.datagram.as_mut_slice()));
        debug_assert_eq!(written, Ok(()), "a header has less than 1,400 bytes");
        let datagram = self.datagram.get(..self.length).unwrap_or_default();
        self.exported.datagrams += 1;
        self.exported.bytes += datagram.len() as u64;
        self.exported.samples += u64::from(self.samples);
        self.sink.send(datagram);
        self.begin();
    }

    /// When what waits has to be sent; `None` while nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Lets go of the sequence numbers of a data source, which begins anew if it comes back.
    pub fn forget(&mut self, source: DataSource) {
        for sequence in [Sequence::Counters, Sequence::Flows] {
            self.sources.remove(&(sequence, source));
        }
    }

    /// Sends what waits under the old address, and everything after it under this one.
    pub fn set_agent(&mut self, agent: IpAddr, now: Instant) {
        if self.agent != agent {
            self.flush(now);
            self.agent = agent;
            self.begin();
        }
    }

    /// Makes datagrams of this many bytes at most, from [`LEAST_LARGEST_DATAGRAM`] to [`LARGEST_DATAGRAM`].
    pub fn set_largest_datagram(&mut self, bytes: usize, now: Instant) {
        self.flush(now);
        self.largest = bytes.clamp(LEAST_LARGEST_DATAGRAM, LARGEST_DATAGRAM);
    }

    /// The agent's address.
    pub fn agent(&self) -> IpAddr {
        self.agent
    }

    /// Sends what waits to the old collectors, and everything after it to these.
    pub fn set_collectors(&mut self, collectors: &[Collector], now: Instant) {
        self.flush(now);
        self.sink.set_collectors(collectors);
    }

    /// Whether nobody takes datagrams any more, nor will.
    pub fn is_over(&self) -> bool {
        self.sink.is_over()
    }

    /// Has the sink do what is to be done by the time.
    pub fn tick(&mut self, now: Instant) {
        self.sink.tick(now);
    }

    /// What was exported so far.
    pub fn exported(&self) -> Exported {
        self.exported
    }

    /// What became of the datagrams, for each collector.
    pub fn collectors(&self) -> Vec<CollectorStatus> {
        self.sink.collectors()
    }

    fn begin(&mut self) {
        self.length = head_bytes(self.agent);
        self.samples = 0;
        self.due = None;
    }

    fn next(&mut self, sequence: Sequence, source: DataSource) -> Option<u32> {
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&(sequence, source)) {
            self.exported.sources_full += 1;
            return None;
        }
        let last = self.sources.entry((sequence, source)).or_default();
        *last = last.wrapping_add(1);
        Some(*last)
    }

    /// Adds the sample that `write` makes of the records, sending first what it does not fit beside.
    fn add(
        &mut self,
        records: &[RecordOut<'_>],
        now: Instant,
        longest_wait: Duration,
        write: impl Fn(&mut DatagramBuilder<'_>, &[RecordOut<'_>]) -> Result<(), Full>,
    ) {
        if self.due().is_some_and(|due| due <= now) {
            self.flush(now);
        }
        let head = head_bytes(self.agent);
        let mut scratch = [0; LARGEST_DATAGRAM];
        let scratch = scratch.get_mut(..self.largest).unwrap_or_default();
        let end = self.alone(scratch, |builder| write(builder, records)).or_else(|Full| {
            self.exported.shortened += 1;
            // How much the sample has beside its records is seen on one without any.
            let bare = self.alone(scratch, |builder| write(builder, &[]))?;
            let shorter = shorten::shorten(records, self.largest.saturating_sub(bare));
            let shorter: Vec<_> = shorter.iter().map(|(tag, body)| RecordOut::Raw(*tag, body)).collect();
            self.alone(scratch, |builder| write(builder, &shorter))
        });
        let sample = end.ok().and_then(|end| scratch.get(head..end)).unwrap_or_default();
        debug_assert!(!sample.is_empty(), "a sample without records fits");
        if self.length + sample.len() > self.largest {
            self.flush(now);
        }
        if let Some(room) = self.datagram.get_mut(self.length..self.length + sample.len()) {
            room.copy_from_slice(sample);
            self.length += sample.len();
            self.samples += 1;
            let due = now + longest_wait;
            self.due = Some(self.due.map_or(due, |first| first.min(due)));
        }
    }

    /// Writes one sample to a datagram of its own; where it ends.
    fn alone(
        &self,
        scratch: &mut [u8],
        write: impl FnOnce(&mut DatagramBuilder<'_>) -> Result<(), Full>,
    ) -> Result<usize, Full> {
        let header = Header { agent: self.agent.into(), ..Header::default() };
        let mut builder = DatagramBuilder::new(scratch, &header)?;
        write(&mut builder)?;
        builder.finish()
    }
}

/// Length of a datagram's header with an agent address of this family, bytes.
fn head_bytes(agent: IpAddr) -> usize {
    if agent.is_ipv4() { 28 } else { 40 }
}

/// Whether the compact form has no room for the source or one of the interfaces.
fn expanded(source: DataSource, interfaces: &[Interface]) -> bool {
    source.class == LOGICAL
        || source.class > 0xff
        || source.index > 0x00ff_ffff
        || interfaces.iter().any(|interface| interface.format > 3 || interface.value > 0x3fff_ffff)
}

#[cfg(test)]
mod tests;
