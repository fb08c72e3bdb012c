//! A switch's agent as far as its samples are concerned: datagrams with a packet each, or with counters alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::Value;
use decode::packet::PacketBuilder;
use decode::{Address, CountersSample, DataSource, FlowSample, Header, Interface, Mac, counter, flow};

/// One packet in this many is sampled.
pub(crate) const RATE: u32 = 400;

/// Bytes of a sampled frame.
const FRAME_LENGTH: u32 = 1000;

/// An agent that sends from an address of loopback.
pub(crate) struct Sampler {
    socket: UdpSocket,
    agent: Ipv4Addr,
    sequence: u32,
}

impl Sampler {
    /// Sends to `collector` from `source`, as the agent that it says it is.
    pub(crate) fn new(collector: SocketAddr, source: Ipv4Addr, agent: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(collector).unwrap();
        Self { socket, agent, sequence: 0 }
    }

    /// Sends to another collector from here on.
    pub(crate) fn turn_to(&mut self, collector: SocketAddr) {
        self.socket.connect(collector).unwrap();
    }

    /// It has sampled a packet from one host to another at its port 3.
    pub(crate) fn packet(&mut self, from: &str, to: &str) {
        self.packet_of(from, to, "");
    }

    /// The same, and says which user sends.
    pub(crate) fn packet_of(&mut self, from: &str, to: &str, user: &str) {
        let bytes = self.packet_bytes(from.parse().unwrap(), to.parse().unwrap(), user);
        self.send(&bytes);
    }

    /// Sends a datagram. Nobody may be there to take it, which the kernel tells with the next one.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if self.socket.send(bytes).is_err() {
            let _ = self.socket.send(bytes);
        }
    }

    /// The datagram of [`Sampler::packet_of`]; without a user for an empty name.
    pub(crate) fn packet_bytes(&mut self, from: IpAddr, to: IpAddr, user: &str) -> Vec<u8> {
        let mut packet = [0; 64];
        let built = PacketBuilder::new(&mut packet);
        let built = built.ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])).unwrap();
        let built = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => built.ipv4(from, to, 0, 64).unwrap(),
            (IpAddr::V6(from), IpAddr::V6(to)) => built.ipv6(from, to, 0, 64).unwrap(),
            _ => panic!("{from} and {to} are of two families"),
        };
        let length = built.udp(1000, 2000).unwrap().finish(FRAME_LENGTH as usize - 4).unwrap();
        let user_is_known = !user.is_empty();
        let sampled =
            SampledHeader { protocol: 1, frame_length: FRAME_LENGTH, stripped: 4, bytes: &packet[..length] };
        self.datagram(|builder, sequence| {
            let sample = FlowSample {
                sequence,
                source: DataSource { class: 0, index: 3 },
                sampling_rate: RATE,
                sample_pool: RATE * sequence,
                input: Interface::index(3),
                output: Interface::index(9),
                ..FlowSample::default()
            };
            let user = [Value::U32(106), Value::Text(user.as_bytes())];
            let records = [RecordOut::Header(sampled), RecordOut::Fields(&flow::EXTENDED_USER, &user)];
            let records = if user_is_known { &records[..] } else { &records[..1] };
            builder.flow_sample(&sample, records).unwrap();
        })
    }

    /// It sends counters under this name: it is there, and has seen no packet.
    pub(crate) fn counters(&mut self, name: &str) {
        let bytes = self.datagram(|builder, sequence| {
            let source = DataSource { class: 2, index: 1 };
            let sample = CountersSample { sequence, source, ..CountersSample::default() };
            let identity = [Value::Text(name.as_bytes()), Value::Uuid([7; 16]), Value::U32(3), Value::U32(2)];
            builder.counters_sample(&sample, &[RecordOut::Fields(&counter::HOST_DESCR, &identity)]).unwrap();
        });
        self.send(&bytes);
    }

    fn datagram(&mut self, fill: impl FnOnce(&mut DatagramBuilder<'_>, u32)) -> Vec<u8> {
        self.sequence += 1;
        let header = Header {
            agent: Address::V4(self.agent),
            sequence: self.sequence,
            uptime_ms: self.sequence * 10,
            ..Header::default()
        };
        let mut buffer = vec![0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        fill(&mut builder, self.sequence);
        let length = builder.finish().unwrap();
        buffer.truncate(length);
        buffer
    }
}
