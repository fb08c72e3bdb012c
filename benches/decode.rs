//! P1: decoding and dissecting every sample, against copying the same bytes.
#![allow(missing_docs, reason = "a bench")]

mod common;

use std::hint::black_box;

use common::ratio;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decode::flow::{ExtendedSwitch, SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;
use decode::{Datagram, Sample};
use engine::process::ahead;

/// Far more than the caches hold.
const SET: usize = 256 << 20;

/// Reads every sample, its switch record and the layers of its packet.
fn decode<'a>(datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> u64 {
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

fn copy(datagrams: &[Vec<u8>], to: &mut [u8]) -> u64 {
    let mut sum = 0;
    for datagram in datagrams {
        to[..datagram.len()].copy_from_slice(datagram);
        sum += u64::from(black_box(&to)[0]);
    }
    sum
}

/// Reads every sample and frames its records, without looking into the packets.
fn frame(datagrams: &[Vec<u8>]) -> u64 {
    let mut sum = 0;
    for datagram in datagrams {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        for sample in datagram.samples() {
            let Ok(Sample::Flow(sample)) = sample else { continue };
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

fn ratios(datagrams: &[Vec<u8>]) {
    let mut to = vec![0; 2048];
    let samples = datagrams.len() * common::SAMPLES;
    let near = || decode(ahead(datagrams, |datagram| datagram));
    let ratio = ratio::compare(samples, near, || copy(datagrams, &mut to));
    println!(
        "P1 decode and dissect / memcpy = {:.2} ({:.1} and {:.1} ns per sample, {} datagrams)",
        ratio.cost(),
        ratio.ours,
        ratio.other,
        datagrams.len()
    );
    let ratio = ratio::compare(samples, near, || decode(datagrams));
    println!(
        "decode as the bytes come / brought near two datagrams ahead = {:.2} ({:.1} and {:.1} ns per sample)",
        ratio.gain(),
        ratio.other,
        ratio.ours
    );
    let warm = common::datagrams(12 << 20);
    let ratio = ratio::compare(warm.len() * common::SAMPLES, || frame(&warm), || peer(&warm));
    println!(
        "flowparser-sflow / decode without packets = {:.1} ({:.1} and {:.1} ns per sample)",
        ratio.gain(),
        ratio.other,
        ratio.ours
    );
}

fn benches(criterion: &mut Criterion) {
    let mut cold = common::datagrams(SET);
    // The frames of a ring come in any order.
    let mut random = common::random::Random(5);
    for at in (1..cold.len()).rev() {
        cold.swap(at, random.next() as usize % (at + 1));
    }
    ratios(&cold);
    let warm = &cold[..4096];
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements((warm.len() * common::SAMPLES) as u64));
    group.bench_function("4096 datagrams", |b| b.iter(|| decode(black_box(warm))));
    let mut to = vec![0; 2048];
    group.bench_function("memcpy of the same", |b| b.iter(|| copy(black_box(warm), &mut to)));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
