//! P1: decoding and dissecting every sample, against copying the same bytes.

use decode::{Datagram, FlowSample};
use engine::process::ahead;

use crate::bench::{Bench, Number, Sides, Target};
use crate::common::reading::{copy, read, touch};
use crate::common::{self, random::Random};

/// Far more than the caches hold.
pub(crate) const SET: usize = 256 << 20;

/// What the caches hold: more than four thousand datagrams, so that branches are not learned by heart.
const WARM: usize = 12 << 20;

/// Reads every sample and frames its records, without looking into the packets; in place, as the packet path does.
fn frame(datagrams: &[Vec<u8>]) -> u64 {
    let mut sum = 0;
    let mut sample = FlowSample::default();
    for datagram in datagrams {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        let mut samples = datagram.samples();
        while let Some(Ok((tag, body))) = samples.next_framed() {
            let Some(Ok(())) = sample.read(tag, body) else { continue };
            sum += u64::from(sample.sample_pool);
            for record in &sample.records {
                sum += record.body.len() as u64;
            }
        }
    }
    sum
}

/// The same by the Rust package `flowparser-sflow`.
fn peer(datagrams: &[Vec<u8>]) -> u64 {
    let parser = flowparser_sflow::SflowParser::default();
    datagrams.iter().map(|datagram| parser.parse_bytes(datagram).datagrams.len() as u64).sum()
}

pub(crate) fn measure(bench: &mut Bench) {
    let mut cold = common::datagrams(SET);
    // The frames of a ring come in any order.
    let mut random = Random(5);
    for at in (1..cold.len()).rev() {
        cold.swap(at, random.next() as usize % (at + 1));
    }
    let near = || read(ahead(&cold, |datagram| datagram));
    let mut sides = Sides {
        row: "P1",
        what: "decode and dissect every sample / memcpy of the same bytes",
        elements: cold.len() * common::SAMPLES,
        unit: "sample",
        kind: Number::Cost,
        target: Target::AtMost(1.3),
    };
    bench.compare(&sides, near, || copy(&cold));
    sides.what = "the same, brought near two datagrams ahead / as the bytes come";
    (sides.kind, sides.target) = (Number::Gain, Target::None);
    bench.compare(&sides, near, || read(&cold));
    sides.what = "the same / adding up every eight bytes, brought near likewise";
    sides.kind = Number::Cost;
    bench.compare(&sides, near, || touch(ahead(&cold, |datagram| datagram)));
    let warm = common::datagrams(WARM);
    sides.what = "frame every record, warm / flowparser-sflow";
    (sides.elements, sides.kind) = (warm.len() * common::SAMPLES, Number::Gain);
    sides.target = Target::AtLeast(4.0);
    bench.compare(&sides, || frame(&warm), || peer(&warm));
    bench
        .say("P1", format!("{} different datagrams, {} of them where they are warm", cold.len(), warm.len()));
}
