//! The sampled packets as a capture file.
//!
//! The file is of Ethernet frames. A packet that was sampled without a link layer (header protocols 11 and 12)
//! gets an Ethernet header of zeros with the right type; one of any other protocol is left out.

use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::packet::header_protocol;
use decode::{Datagram, Records, Sample};
use ingest::capture::{Writer, link};

use super::Output;
use super::source::Arrived;

/// A capture file of sampled packets.
#[derive(Default)]
pub(super) struct Packets {
    began: bool,
}

impl Output for Packets {
    fn datagram(&mut self, arrived: &Arrived<'_>, datagram: &Datagram<'_>, out: &mut Vec<u8>) {
        let mut writer = if self.began {
            Writer::resume(out)
        } else {
            self.began = true;
            match Writer::new(out, link::ETHERNET) {
                Ok(writer) => writer,
                // Writing to a vector does not fail.
                Err(_) => return,
            }
        };
        for sample in datagram.samples().flatten() {
            let records: Records<'_> = match sample {
                Sample::Flow(sample) => sample.records,
                Sample::Discarded(sample) => sample.records,
                _ => continue,
            };
            for record in records.iter().filter(|record| record.tag == SAMPLED_HEADER) {
                let Ok(header) = SampledHeader::parse(record.body) else { continue };
                let length = header.frame_length.saturating_sub(header.stripped);
                let ethertype: [u8; 2] = match header.protocol {
                    header_protocol::ETHERNET => {
                        let _ = writer.frame(arrived.time_us, header.bytes, length);
                        continue;
                    }
                    header_protocol::IPV4 => [0x08, 0x00],
                    header_protocol::IPV6 => [0x86, 0xdd],
                    _ => continue,
                };
                let frame = [&[0; 12], ethertype.as_slice(), header.bytes].concat();
                let _ = writer.frame(arrived.time_us, &frame, length.saturating_add(14));
            }
        }
    }
}
