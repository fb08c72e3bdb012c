//! Datagrams under construction: one at a time for each agent, with its sequence and uptime.

use decode::build::{DatagramBuilder, RecordOut};
use decode::xdr::{Full, Writer};
use decode::{Address, CountersSample, FlowSample, Header};

/// Largest datagram, bytes: what crosses a path with an MTU of 1,500 inside a tunnel.
pub(crate) const LARGEST_DATAGRAM: usize = 1400;

/// A datagram's header before an IPv4 agent's samples, bytes.
pub(crate) const HEADER_BYTES: usize = 28;

/// How long a sample waits at most for others, microseconds.
pub(crate) const LONGEST_WAIT_US: u64 = 500_000;

/// Who takes datagrams: the agent, and the bytes.
pub(crate) type Sink<'s> = dyn FnMut(Address, &[u8]) + 's;

/// A sender of sFlow.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) address: Address,
    /// Uptime at the start of the simulation.
    booted_ms: u32,
    /// Datagrams sent.
    pub(crate) sent: u32,
    pending: Vec<u8>,
    samples: u32,
    oldest_us: u64,
}

impl Agent {
    pub(crate) fn new(address: Address, booted_ms: u32) -> Self {
        Self { address, booted_ms, sent: 0, pending: Vec::new(), samples: 0, oldest_us: 0 }
    }

    /// Milliseconds since the agent started, as its datagrams say.
    pub(crate) fn uptime_ms(&self, now_us: u64) -> u32 {
        self.booted_ms.wrapping_add((now_us / 1000) as u32)
    }

    /// Adds a flow sample.
    pub(crate) fn flow_sample(
        &mut self,
        sample: &FlowSample<'_>,
        records: &[RecordOut<'_>],
        now_us: u64,
        sink: &mut Sink<'_>,
    ) {
        self.add(now_us, sink, |datagram| datagram.flow_sample(sample, records));
    }

    /// Adds a counters sample.
    pub(crate) fn counters_sample(
        &mut self,
        sample: &CountersSample<'_>,
        records: &[RecordOut<'_>],
        now_us: u64,
        sink: &mut Sink<'_>,
    ) {
        self.add(now_us, sink, |datagram| datagram.counters_sample(sample, records));
    }

    fn add(
        &mut self,
        now_us: u64,
        sink: &mut Sink<'_>,
        write: impl FnOnce(&mut DatagramBuilder<'_>) -> Result<(), Full>,
    ) {
        let mut buffer = [0; LARGEST_DATAGRAM];
        let header = Header { agent: self.address, ..Header::default() };
        let written = DatagramBuilder::new(&mut buffer, &header)
            .and_then(|mut datagram| write(&mut datagram).and_then(|()| datagram.finish()));
        let length = written.expect("one sample of the fabric fits in a datagram");
        if HEADER_BYTES + self.pending.len() + (length - HEADER_BYTES) > LARGEST_DATAGRAM {
            self.send(now_us, sink);
        }
        if self.pending.is_empty() {
            self.oldest_us = now_us;
        }
        self.pending.extend_from_slice(&buffer[HEADER_BYTES..length]);
        self.samples += 1;
    }

    /// Sends what has waited for long enough.
    pub(crate) fn tick(&mut self, now_us: u64, sink: &mut Sink<'_>) {
        if !self.pending.is_empty() && now_us.saturating_sub(self.oldest_us) >= LONGEST_WAIT_US {
            self.send(now_us, sink);
        }
    }

    /// Sends what there is.
    pub(crate) fn send(&mut self, now_us: u64, sink: &mut Sink<'_>) {
        if self.pending.is_empty() {
            return;
        }
        self.sent = self.sent.wrapping_add(1);
        let header = Header {
            agent: self.address,
            sub_agent: 0,
            sequence: self.sent,
            uptime_ms: self.uptime_ms(now_us),
            samples: self.samples,
        };
        let mut buffer = [0; LARGEST_DATAGRAM];
        let mut writer = Writer::new(&mut buffer);
        header
            .write(&mut writer)
            .and_then(|()| writer.bytes(&self.pending))
            .expect("what is pending was made to fit");
        sink(self.address, writer.written());
        self.pending.clear();
        self.samples = 0;
    }
}
