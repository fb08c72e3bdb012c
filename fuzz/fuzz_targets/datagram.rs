//! Any bytes as a datagram: every sample, record and field is read.
#![no_main]

use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::layout::Value;
use decode::packet::dissect;
use decode::{Datagram, Sample, counter, flow};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(datagram) = Datagram::parse(bytes) else { return };
    for sample in datagram.samples().flatten() {
        let (records, is_flow) = match sample {
            Sample::Flow(sample) => (sample.records, true),
            Sample::Discarded(sample) => (sample.records, true),
            Sample::Counters(sample) => (sample.records, false),
            Sample::RtMetric(sample) => {
                assert!(sample.metrics().count() <= bytes.len());
                continue;
            }
            Sample::RtFlow(sample) => {
                assert!(sample.fields().count() <= bytes.len());
                continue;
            }
            Sample::Unknown { .. } => continue,
        };
        assert_eq!(records.iter().count(), records.count() as usize, "a verified sample has all its records");
        for record in &records {
            if is_flow && record.tag == SAMPLED_HEADER {
                let header = SampledHeader::parse(record.body).expect("a verified header can be read");
                dissect(header.protocol, header.bytes);
                continue;
            }
            let fields = if is_flow { flow::fields(record) } else { counter::fields(record) };
            for (_, value) in fields.iter().flat_map(|fields| fields.iter()) {
                match value {
                    Value::AsPath(path) => assert!(path.segments().count() <= bytes.len()),
                    Value::Adapters(adapters) => assert!(adapters.iter().count() == adapters.len()),
                    Value::Lanes(lanes) => assert!(lanes.iter().all(|lane| lane.len() == 10)),
                    _ => {}
                }
            }
        }
    }
});
