//! What is sent: full datagrams of a mixed fabric, which go on for ever, and a probe whose every datagram is a flow of
//! its own.

use std::net::Ipv4Addr;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::packet::PacketBuilder;
use decode::sample::{DataSource, Interface};
use decode::{Address, FlowSample, Header, Mac};
use fabric::Stretch;
use fabric::mix::{Mix, datagrams};
use fabric::stretch::Moving;

pub(crate) use fabric::mix::SAMPLES;

/// Datagrams of a stretch, of the usual run and of a quick one: all different.
pub(crate) const STRETCH: usize = 16_384;
pub(crate) const QUICK_STRETCH: usize = 4096;

/// Agents that one sender's datagrams are of, and interfaces of each.
const AGENTS: usize = 128;
const PORTS: usize = 24;

/// Conversations that are sampled.
pub(crate) const CONVERSATIONS: u64 = 100_000;

/// The address of the agent that sends probes.
const PROBER: [u8; 4] = [10, 255, 255, 1];

/// Where the probes' flows come from: each one address after that before it.
const PROBED: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// The UDP port that no other packet goes to.
pub(crate) const PROBE_PORT: u16 = 9;

/// A stretch of `count` datagrams for the `n`th sender, whose agents are nobody else's.
pub(crate) fn stretch(count: usize, n: usize) -> Stretch {
    let mix = Mix {
        agents: AGENTS,
        first_agent: n * AGENTS,
        ports: PORTS,
        switch: false,
        conversations: CONVERSATIONS,
        seed: 7 + n as u64,
    };
    Stretch::new(datagrams(&mix, |so_far, _| so_far < count))
}

/// A datagram of one sample whose packet comes from the first of the probes' addresses; and what moves in it, the source
/// address of the packet too.
pub(crate) fn probe() -> (Vec<u8>, Vec<Moving>) {
    let mut packet = [0; 128];
    let (from, to) = (Ipv4Addr::from_bits(PROBED), Ipv4Addr::new(198, 51, 100, 1));
    let length = PacketBuilder::new(&mut packet)
        .ethernet(Mac([2, 0, 0, 0, 1, 1]), Mac([2, 0, 0, 0, 2, 1]))
        .and_then(|packet| packet.ipv4(from, to, 0, 64))
        .and_then(|packet| packet.udp(50_000, PROBE_PORT))
        .and_then(|packet| packet.finish(128))
        .expect("128 bytes are enough");
    let sample = FlowSample {
        sequence: 1,
        source: DataSource { class: 0, index: 1 },
        sampling_rate: 1000,
        sample_pool: 1000,
        input: Interface::index(1),
        output: Interface::index(2),
        ..FlowSample::default()
    };
    let header = SampledHeader { protocol: 1, frame_length: 132, stripped: 4, bytes: &packet };
    let mut bytes = vec![0; 400];
    let begin = Header { agent: Address::V4(PROBER.into()), sequence: 1, ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut bytes, &begin).expect("room");
    builder.flow_sample(&sample, &[RecordOut::Header(header)]).expect("room");
    let end = builder.finish().expect("room");
    bytes.truncate(end);
    // Ethernet, and what of an IPv4 header stands before the source address.
    let begins = bytes.windows(length.min(14)).position(|window| packet.starts_with(window)).unwrap_or(0);
    let stretch = Stretch::new(vec![bytes]);
    let (bytes, moving) = stretch.datagrams().next().expect("one is in it");
    let mut moving = moving.to_vec();
    moving.push(Moving { offset: (begins + 26) as u32, add: 1 });
    (bytes.to_vec(), moving)
}

/// Moves the probe on.
pub(crate) fn move_on(bytes: &mut [u8], moving: &[Moving]) {
    for Moving { offset, add } in moving {
        if let Some(number) = bytes.get_mut(*offset as usize..).and_then(|rest| rest.first_chunk_mut()) {
            *number = u32::from_be_bytes(*number).wrapping_add(*add).to_be_bytes();
        }
    }
}

/// Which probe a flow is, by the source address that is its key.
pub(crate) fn probe_number(key: &str) -> Option<usize> {
    let address: Ipv4Addr = key.parse().ok()?;
    address.to_bits().checked_sub(PROBED).map(|number| number as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::flow::SAMPLED_HEADER;
    use decode::packet::dissect;
    use decode::{Datagram, Sample};

    use super::*;

    fn source(bytes: &[u8]) -> String {
        let datagram = Datagram::parse(bytes).unwrap();
        let sample = datagram.samples().next().unwrap().unwrap();
        let Sample::Flow(sample) = sample else { panic!("{sample:?}") };
        assert_eq!(sample.sequence, datagram.header.sequence);
        assert_eq!(sample.sample_pool, 1000 * sample.sequence);
        let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER).unwrap();
        let header = SampledHeader::parse(header.body).unwrap();
        let packet = dissect(header.protocol, header.bytes);
        assert_eq!(packet.udp(0).unwrap().destination_port(), Some(PROBE_PORT));
        packet.ipv4(0).unwrap().source().unwrap().to_string()
    }

    #[test]
    fn each_probe_is_a_flow_of_its_own() {
        let (mut bytes, moving) = probe();
        for n in 0..600 {
            assert_eq!(probe_number(&source(&bytes)), Some(n));
            move_on(&mut bytes, &moving);
        }
        assert_eq!(probe_number("10.0.0.1"), None);
        assert_eq!(probe_number("2001:db8::1"), None);
    }

    #[test]
    fn senders_have_agents_of_their_own_and_datagrams_that_fit_a_frame() {
        let mut agents = [0, 1].map(|n| {
            let stretch = stretch(QUICK_STRETCH, n);
            assert_eq!(stretch.len(), QUICK_STRETCH);
            let of = |(bytes, _): (&[u8], &[Moving])| {
                assert!(bytes.len() <= 1472);
                Datagram::parse(bytes).unwrap().header.agent
            };
            let mut agents: Vec<Address> = stretch.datagrams().map(of).collect();
            agents.sort();
            agents.dedup();
            assert_eq!(agents.len(), AGENTS);
            agents
        });
        let [first, second] = &mut agents;
        first.retain(|agent| second.contains(agent));
        assert!(first.is_empty(), "{first:?}");
    }
}
