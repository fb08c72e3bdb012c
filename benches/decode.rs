//! P1: decoding and dissecting every sample, against copying the same bytes.
#![allow(missing_docs, reason = "a bench")]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decode::flow::{ExtendedSwitch, SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;
use decode::{Datagram, Sample};

/// Far more than the caches hold.
const SET: usize = 256 << 20;

/// Reads every sample, its switch record and the layers of its packet.
fn decode(datagrams: &[Vec<u8>]) -> u64 {
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

/// Nanoseconds per sample of both: medians of nine alternating passes.
fn compare(datagrams: &[Vec<u8>], mut a: impl FnMut() -> u64, mut b: impl FnMut() -> u64) -> (f64, f64) {
    let samples = (datagrams.len() * common::SAMPLES) as f64;
    let timed = |f: &mut dyn FnMut() -> u64| {
        let began = Instant::now();
        black_box(f());
        began.elapsed()
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        first.push(timed(&mut a));
        second.push(timed(&mut b));
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / samples
    };
    (median(first), median(second))
}

fn ratios(datagrams: &[Vec<u8>]) {
    let mut to = vec![0; 2048];
    let (ours, copying) = compare(datagrams, || decode(datagrams), || copy(datagrams, &mut to));
    println!(
        "P1 decode and dissect / memcpy = {:.2} ({ours:.1} and {copying:.1} ns per sample, {} datagrams)",
        ours / copying,
        datagrams.len()
    );
    let warm = &datagrams[..8192.min(datagrams.len())];
    let (ours, theirs) = compare(warm, || frame(warm), || peer(warm));
    println!(
        "flowparser-sflow / decode without packets = {:.1} ({theirs:.1} and {ours:.1} ns per sample)",
        theirs / ours
    );
}

fn benches(criterion: &mut Criterion) {
    let cold = common::datagrams(SET);
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
