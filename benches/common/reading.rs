//! Reading every byte of datagrams that matters, and copying all of them.

use std::hint::black_box;

use decode::flow::{ExtendedSwitch, SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;
use decode::{Datagram, Sample};

/// Reads every sample, its switch record and the layers of its packet.
pub(crate) fn read<'a>(datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> u64 {
    let mut sum = 0_u64;
    for datagram in datagrams {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        for sample in datagram.samples() {
            let Ok(Sample::Flow(sample)) = sample else { continue };
            sum = sum.wrapping_add(u64::from(sample.sample_pool));
            for record in &sample.records {
                if record.tag == SAMPLED_HEADER {
                    if let Ok(header) = SampledHeader::parse(record.body) {
                        let packet = dissect(header.protocol, header.bytes);
                        let last = packet.layers().last().map_or(0, |layer| layer.offset);
                        sum = sum.wrapping_add(u64::from(last));
                    }
                } else {
                    sum = sum.wrapping_add(u64::from(ExtendedSwitch::parse(record.body).source_vlan));
                }
            }
        }
    }
    sum
}

/// Copies the same bytes.
pub(crate) fn copy(datagrams: &[Vec<u8>]) -> u64 {
    let mut to = [0; 2048];
    let mut sum = 0;
    for datagram in datagrams {
        to[..datagram.len()].copy_from_slice(datagram);
        sum += u64::from(black_box(&to)[0]);
    }
    sum
}
