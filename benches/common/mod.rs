//! What the benches read: datagrams of seven flow samples, all different, mixed as a fabric mixes them.

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{EXTENDED_SWITCH, SampledHeader};
use decode::layout::Value;
use decode::packet::PacketBuilder;
use decode::sample::{DataSource, Interface};
use decode::{Address, FlowSample, Header, Mac};

pub(crate) mod random;
pub(crate) mod ratio;

use random::Random;

/// Samples in each datagram.
pub(crate) const SAMPLES: usize = 7;

/// Conversations that are sampled.
const CONVERSATIONS: u64 = 200_000;

/// A sampled packet of 128 bytes: IPv4 or IPv6, tagged or not, TCP or UDP.
fn packet(random: &mut Random, buffer: &mut [u8; 128]) {
    // One of so many conversations; each looks the same in every sample.
    let bits = Random(random.next() % CONVERSATIONS).next();
    let mut random = Random(bits);
    let mac = |n: u64| Mac([2, 0, 0, (n >> 8) as u8, n as u8, 1]);
    let (a, b) = (random.next(), random.next());
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

/// Agents that send, and interfaces of each.
pub(crate) const AGENTS: usize = 256;
const PORTS: usize = 48;

/// `bytes` of datagrams, each with [`SAMPLES`] flow samples of a sampled header and an extended switch, numbered as
/// their agents would number them.
pub(crate) fn datagrams(bytes: usize) -> Vec<Vec<u8>> {
    let mut random = Random(7);
    let mut all = Vec::new();
    let mut total = 0;
    let mut sent = [0_u32; AGENTS];
    let mut sampled = vec![[0_u32; PORTS]; AGENTS];
    while total < bytes {
        let place = random.next() as usize % AGENTS;
        sent[place] += 1;
        let agent = Address::V4([10, 0, (place >> 8) as u8, place as u8].into());
        let mut buffer = vec![0; 1600];
        let header = Header { agent, sequence: sent[place], ..Header::default() };
        let mut builder = DatagramBuilder::new(&mut buffer, &header).expect("room");
        for _ in 0..SAMPLES {
            let mut bytes = [0; 128];
            packet(&mut random, &mut bytes);
            let port = random.next() as usize % PORTS;
            let number = &mut sampled[place][port];
            *number += 1;
            let port = port as u32 + 1;
            let sample = FlowSample {
                sequence: *number,
                source: DataSource { class: 0, index: port },
                sampling_rate: 1000,
                sample_pool: 1000 * *number,
                input: Interface::index(port),
                output: Interface::index(50),
                ..FlowSample::default()
            };
            let header = SampledHeader { protocol: 1, frame_length: 1518, stripped: 4, bytes: &bytes };
            let switch = [Value::U32(1), Value::U32(0), Value::U32(1), Value::U32(0)];
            let records = [RecordOut::Header(header), RecordOut::Fields(&EXTENDED_SWITCH, &switch)];
            builder.flow_sample(&sample, &records).expect("seven samples fit");
        }
        let length = builder.finish().expect("room");
        buffer.truncate(length);
        total += length;
        all.push(buffer);
    }
    all
}
