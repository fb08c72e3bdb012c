//! Reading every byte of datagrams that matters, and copying all of them.

use std::hint::black_box;

use decode::flow::ExtendedSwitch;
use decode::packet::Packet;
use decode::{Datagram, FlowSample};

/// Reads every sample, its switch record and the layers of its packet, in place as the packet path does.
pub(crate) fn read<'a>(datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> u64 {
    let mut sum = 0_u64;
    let (mut sample, mut packet) = (FlowSample::default(), Packet::default());
    for datagram in datagrams {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        let mut samples = datagram.samples();
        while let Some(Ok((tag, body))) = samples.next_framed() {
            let Some(Ok(())) = sample.read(tag, body) else { continue };
            sum = sum.wrapping_add(u64::from(sample.sample_pool));
            if let Some(header) = &sample.noted.header {
                packet.dissect(header.protocol, header.bytes);
                let last = packet.layers().last().map_or(0, |layer| layer.offset);
                sum = sum.wrapping_add(u64::from(last));
            }
            if let Some(switch) = sample.noted.switch {
                sum = sum.wrapping_add(u64::from(ExtendedSwitch::parse(switch).source_vlan));
            }
        }
    }
    sum
}

/// The least that looking at datagrams can take: every eight bytes of them are added up.
#[allow(dead_code, reason = "each bench has its own use for it")]
pub(crate) fn touch<'a>(datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> u64 {
    let words = |datagram: &Vec<u8>| {
        datagram
            .as_chunks::<8>()
            .0
            .iter()
            .fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
    };
    datagrams.into_iter().map(words).fold(0_u64, u64::wrapping_add)
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
