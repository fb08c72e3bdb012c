//! Datagrams of one agent whose packets are all between different addresses: as many flow keys as one likes.

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::packet::PacketBuilder;
use decode::sample::Interface;
use decode::{Address, DataSource, FlowSample, Header, Mac};

/// Keys in each datagram.
pub(crate) const KEYS_EACH: usize = 7;

/// Makes them.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    made: u64,
    sequence: u32,
}

impl Keys {
    /// Keys so far, all different.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// The next datagrams.
    pub(crate) fn next(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.datagram()).collect()
    }

    fn datagram(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let agent = Address::V4([10, 0, 0, 50].into());
        let head = Header { agent, sequence: self.sequence, uptime_ms: self.sequence, ..Header::default() };
        let mut buffer = vec![0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &head).unwrap();
        for _ in 0..KEYS_EACH {
            self.made += 1;
            let mut packet = [0; 64];
            let built = PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), Mac([4; 6])).unwrap();
            let to = [192, 0, 2, 7].into();
            built.ipv4((self.made as u32).into(), to, 17, 64).unwrap().finish(996).unwrap();
            let header = SampledHeader { protocol: 1, frame_length: 1000, stripped: 4, bytes: &packet };
            let sample = FlowSample {
                sequence: self.made as u32,
                source: DataSource { class: 0, index: 3 },
                sampling_rate: 100,
                sample_pool: (self.made * 100) as u32,
                input: Interface::index(3),
                ..FlowSample::default()
            };
            builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
        }
        let length = builder.finish().unwrap();
        buffer.truncate(length);
        buffer
    }
}
