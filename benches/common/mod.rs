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

/// A sampled packet of 128 bytes: IPv4 or IPv6, tagged or not, TCP or UDP.
fn packet(random: &mut Random, buffer: &mut [u8; 128]) {
    let bits = random.next();
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

/// `bytes` of datagrams, each with [`SAMPLES`] flow samples of a sampled header and an extended switch.
pub(crate) fn datagrams(bytes: usize) -> Vec<Vec<u8>> {
    let mut random = Random(7);
    let mut all = Vec::new();
    let mut total = 0;
    while total < bytes {
        let agent = Address::V4([10, 0, (random.next() % 4) as u8, random.next() as u8].into());
        let mut buffer = vec![0; 1600];
        let header = Header { agent, sequence: all.len() as u32, ..Header::default() };
        let mut builder = DatagramBuilder::new(&mut buffer, &header).expect("room");
        for n in 0..SAMPLES as u32 {
            let mut sampled = [0; 128];
            packet(&mut random, &mut sampled);
            let port = (random.next() % 48) as u32 + 1;
            let sample = FlowSample {
                sequence: n,
                source: DataSource { class: 0, index: port },
                sampling_rate: 1000,
                sample_pool: 1000 * n,
                input: Interface::index(port),
                output: Interface::index(50),
                ..FlowSample::default()
            };
            let header = SampledHeader { protocol: 1, frame_length: 1518, stripped: 4, bytes: &sampled };
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
