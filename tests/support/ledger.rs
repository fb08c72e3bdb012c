//! What datagrams say, added up straight from their samples: the reference for what collectors make of them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::{Address, CountersSample, DataSource, Datagram, FlowSample, Sample, counter, packet};

/// Addresses, IP protocol and ports of a packet.
pub(crate) type Conversation = (IpAddr, IpAddr, u8, u16, u16);

/// A sum over samples; what one stands for is `sampling_rate` times as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Samples, and the lengths of their frames.
    pub(crate) samples: u64,
    pub(crate) sampled_bytes: u64,
    /// What they stand for.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Volume {
    fn add(&mut self, rate: u32, frame_length: u32) {
        self.samples += 1;
        self.sampled_bytes += u64::from(frame_length);
        self.frames += u64::from(rate);
        self.bytes += u64::from(rate) * u64::from(frame_length);
    }
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) datagrams: u64,
    /// Flow samples with a `sampled_header`.
    pub(crate) total: Volume,
    pub(crate) conversations: HashMap<Conversation, Volume>,
    /// The last values of `if_counters`, by interface and by the structure's field names.
    pub(crate) interfaces: BTreeMap<u32, BTreeMap<&'static str, u64>>,
    sequences: HashMap<(Address, u32), u32>,
    /// Datagrams that were not the next of their agent.
    pub(crate) out_of_sequence: u64,
}

impl Ledger {
    /// Adds a datagram, which has to be whole and free of errors.
    pub(crate) fn datagram(&mut self, bytes: &[u8]) {
        let datagram = Datagram::parse(bytes).unwrap();
        self.datagrams += 1;
        let header = datagram.header;
        let last = self.sequences.insert((header.agent, header.sub_agent), header.sequence);
        self.out_of_sequence += u64::from(last.is_some_and(|last| last.wrapping_add(1) != header.sequence));
        for sample in datagram.samples() {
            match sample.unwrap() {
                Sample::Flow(sample) => self.flow_sample(&sample),
                Sample::Counters(sample) => self.counters_sample(&sample),
                _ => {}
            }
        }
    }

    fn flow_sample(&mut self, sample: &FlowSample<'_>) {
        let Some(record) = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER) else { return };
        let header = SampledHeader::parse(record.body).unwrap();
        self.total.add(sample.sampling_rate, header.frame_length);
        if let Some(conversation) = conversation(&header) {
            let volume = self.conversations.entry(conversation).or_default();
            volume.add(sample.sampling_rate, header.frame_length);
        }
    }

    fn counters_sample(&mut self, sample: &CountersSample<'_>) {
        let DataSource { class: 0, index } = sample.source else { return };
        for record in sample.records.iter().filter(|record| record.tag == counter::IF_COUNTERS.tag) {
            let fields = counter::fields(record).unwrap();
            let values =
                fields.iter().filter_map(|(field, value)| Some((field.name, value.as_u64()?))).collect();
            self.interfaces.insert(index, values);
        }
    }
}

/// The outermost IP header of the packet and the ports after it, 0 for a protocol without ports.
pub(crate) fn conversation(header: &SampledHeader<'_>) -> Option<Conversation> {
    let packet = packet::dissect(header.protocol, header.bytes);
    let (source, destination, protocol) = match (packet.ipv4(0), packet.ipv6(0)) {
        (Some(ip), _) => (ip.source()?.into(), ip.destination()?.into(), ip.protocol()?),
        (None, Some(ip)) => (ip.source()?.into(), ip.destination()?.into(), ip.next_header()?),
        (None, None) => return None,
    };
    let (from, to) = match protocol {
        6 => packet.tcp(0).and_then(|tcp| Some((tcp.source_port()?, tcp.destination_port()?)))?,
        17 => packet.udp(0).and_then(|udp| udp.ports())?,
        _ => (0, 0),
    };
    Some((source, destination, protocol, from, to))
}
