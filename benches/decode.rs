//! P1: decoding and dissecting every sample, against copying the same bytes.
#![allow(missing_docs, reason = "a bench")]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decode::flow::{ExtendedSwitch, SAMPLED_HEADER, SampledHeader};
use decode::packet::{Packet, dissect};
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
                        sum = sum.wrapping_add(key(&dissect(header.protocol, header.bytes)));
                    }
                } else {
                    sum = sum.wrapping_add(u64::from(ExtendedSwitch::parse(record.body).source_vlan));
                }
            }
        }
    }
    sum
}

/// What a flow's key would read.
fn key(packet: &Packet<'_>) -> u64 {
    let mut key = 0;
    if let Some(ip) = packet.ipv4(0) {
        key ^= ip.source().map_or(0, |a| u64::from(a.to_bits()));
        key ^= ip.destination().map_or(0, |a| u64::from(a.to_bits()) << 32);
    } else if let Some(ip) = packet.ipv6(0) {
        key ^= ip.source().map_or(0, |a| a.to_bits() as u64);
        key ^= ip.destination().map_or(0, |a| (a.to_bits() as u64) << 1);
    }
    if let Some(tcp) = packet.tcp(0) {
        key ^= u64::from(tcp.destination_port().unwrap_or(0));
    }
    key
}

fn copy(datagrams: &[Vec<u8>], to: &mut [u8]) -> u64 {
    let mut sum = 0;
    for datagram in datagrams {
        to[..datagram.len()].copy_from_slice(datagram);
        sum += u64::from(black_box(&to)[0]);
    }
    sum
}

/// Medians of nine alternating passes over the whole set.
fn ratio(datagrams: &[Vec<u8>]) {
    let samples = (datagrams.len() * common::SAMPLES) as f64;
    let mut to = vec![0; 2048];
    let (mut decoding, mut copying) = (Vec::new(), Vec::new());
    let timed = |f: &mut dyn FnMut() -> u64| {
        let began = Instant::now();
        black_box(f());
        began.elapsed()
    };
    for _ in 0..9 {
        copying.push(timed(&mut || copy(datagrams, &mut to)));
        decoding.push(timed(&mut || decode(datagrams)));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / samples
    };
    let (decoding, copying) = (median(&mut decoding), median(&mut copying));
    println!(
        "P1 decode and dissect / memcpy = {:.2} ({decoding:.1} and {copying:.1} ns per sample, {} datagrams)",
        decoding / copying,
        datagrams.len()
    );
}

fn benches(criterion: &mut Criterion) {
    let cold = common::datagrams(SET);
    ratio(&cold);
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
