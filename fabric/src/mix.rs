//! Datagrams of seven flow samples, all different, mixed as a fabric mixes them: what speed is measured with.
//!
//! A simulated fabric's datagrams are as full as its traffic makes them; these are all full, and of as many agents and
//! conversations as are asked for.

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{EXTENDED_SWITCH, SampledHeader};
use decode::layout::Value;
use decode::packet::PacketBuilder;
use decode::sample::{DataSource, Interface};
use decode::{Address, FlowSample, Header, Mac};

use crate::random::Random;

/// Samples in each datagram.
pub const SAMPLES: usize = 7;

/// What is mixed.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Agents that send, 65,536 at most.
    pub agents: usize,
    /// The first agent's number: agent `n` has the address 10.0.0.0 + `n`.
    pub first_agent: usize,
    /// Interfaces of each.
    pub ports: usize,
    /// Whether each sample has an extended switch record: then a datagram has 1,540 bytes, else 1,372, which an Ethernet
    /// frame holds.
    pub switch: bool,
    /// Conversations that are sampled. Each looks the same in every sample.
    pub conversations: u64,
    /// Other seeds give other packets.
    pub seed: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { agents: 256, first_agent: 0, ports: 48, switch: true, conversations: 200_000, seed: 7 }
    }
}

/// Datagrams, as long as `more` says so of their number and bytes so far: each with [`SAMPLES`] flow samples of a sampled
/// header of 128 bytes (IPv4 or IPv6, tagged or not, TCP or UDP), numbered as their agents would number them.
pub fn datagrams(mix: &Mix, more: impl Fn(usize, usize) -> bool) -> Vec<Vec<u8>> {
    let mut random = Random::at(mix.seed);
    let (mut all, mut total) = (Vec::new(), 0);
    let mut sent = vec![0_u32; mix.agents];
    let mut sampled = vec![vec![0_u32; mix.ports]; mix.agents];
    while more(all.len(), total) {
        let place = random.bits() as usize % mix.agents;
        sent[place] += 1;
        let number = mix.first_agent + place;
        let agent = Address::V4([10, (number >> 16) as u8, (number >> 8) as u8, number as u8].into());
        let mut buffer = vec![0; 1600];
        let header = Header { agent, sequence: sent[place], ..Header::default() };
        let mut builder = DatagramBuilder::new(&mut buffer, &header).expect("room");
        for _ in 0..SAMPLES {
            let mut bytes = [0; 128];
            packet(mix, &mut random, &mut bytes);
            let port = random.bits() as usize % mix.ports;
            let number = &mut sampled[place][port];
            *number += 1;
            flow_sample(mix, &mut builder, port as u32 + 1, *number, &bytes);
        }
        let length = builder.finish().expect("room");
        buffer.truncate(length);
        total += length;
        all.push(buffer);
    }
    all
}

/// Adds the flow sample of this number, of a packet that came in by `port`.
fn flow_sample(mix: &Mix, builder: &mut DatagramBuilder<'_>, port: u32, number: u32, packet: &[u8]) {
    let sample = FlowSample {
        sequence: number,
        source: DataSource { class: 0, index: port },
        sampling_rate: 1000,
        sample_pool: 1000 * number,
        input: Interface::index(port),
        output: Interface::index(50),
        ..FlowSample::default()
    };
    let header = SampledHeader { protocol: 1, frame_length: 1518, stripped: 4, bytes: packet };
    let switch = [Value::U32(1), Value::U32(0), Value::U32(1), Value::U32(0)];
    let records = [RecordOut::Header(header), RecordOut::Fields(&EXTENDED_SWITCH, &switch)];
    let records = if mix.switch { &records[..] } else { &records[..1] };
    builder.flow_sample(&sample, records).expect("seven samples fit");
}

/// A sampled packet of 128 bytes.
fn packet(mix: &Mix, random: &mut Random, buffer: &mut [u8; 128]) {
    let bits = Random::at(random.bits() % mix.conversations).bits();
    let mut random = Random::at(bits);
    let mac = |n: u64| Mac([2, 0, 0, (n >> 8) as u8, n as u8, 1]);
    let (a, b) = (random.bits(), random.bits());
    let builder = PacketBuilder::new(buffer).ethernet(mac(a), mac(b)).expect("128 bytes are enough");
    let builder =
        if bits & 1 == 0 { builder.vlan((bits >> 8) as u16 & 0xfff, 0).expect("room") } else { builder };
    let builder = if bits & 6 != 0 {
        builder.ipv4((a as u32).into(), (b as u32).into(), 0, 64).expect("room")
    } else {
        let v6 = |n: u64| ((0x2001_0db8_u128 << 96) | u128::from(n)).into();
        builder.ipv6(v6(a), v6(b), bits as u32, 64).expect("room")
    };
    let (source, destination) = ((bits >> 16) as u16 | 1024, (bits >> 32) as u16 | 8192);
    let builder = if bits & 24 != 0 {
        builder.tcp(source, destination, 0x10).expect("room")
    } else {
        builder.udp(source, destination).expect("room")
    };
    builder.finish(1514).expect("lengths fit");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::flow::SAMPLED_HEADER;
    use decode::packet::dissect;
    use decode::{Datagram, Sample};

    use super::*;

    #[test]
    fn all_kinds_of_packets_in_datagrams_of_seven() {
        let all = datagrams(&Mix { first_agent: 0x1_0000, switch: false, ..Mix::default() }, |count, _| {
            count < 500
        });
        let (mut v4, mut v6, mut tagged, mut tcp, mut udp) = (0, 0, 0, 0, 0);
        for bytes in &all {
            assert_eq!(bytes.len(), 1372);
            let datagram = Datagram::parse(bytes).unwrap();
            assert!(datagram.header.agent.to_string().starts_with("10.1.0."));
            for sample in datagram.samples() {
                let Ok(Sample::Flow(sample)) = sample else { panic!("{sample:?}") };
                let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER).unwrap();
                let header = SampledHeader::parse(header.body).unwrap();
                let packet = dissect(header.protocol, header.bytes);
                v4 += usize::from(packet.ipv4(0).is_some());
                v6 += usize::from(packet.ipv6(0).is_some());
                tagged += usize::from(packet.vlan(0).is_some());
                tcp += usize::from(packet.tcp(0).is_some());
                udp += usize::from(packet.udp(0).is_some());
            }
        }
        let samples = all.len() * SAMPLES;
        assert_eq!((v4 + v6, tcp + udp), (samples, samples));
        assert!(v4 > samples * 2 / 3 && v6 > samples / 5 && tagged > samples * 2 / 5, "{v4} {v6} {tagged}");
        assert!(tcp > samples * 2 / 3 && udp > samples / 5, "{tcp} {udp}");
        let mut different = all.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), all.len());
    }
}
