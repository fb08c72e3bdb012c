//! The stages that need no network: copying, decoding, and the whole pipeline, of datagrams in memory.
//!
//! Passes alternate on one processor in the thread's own time, so that whoever else uses the machine takes from all alike;
//! figures are medians.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;
use decode::{Datagram, Sample};
use engine::ownership::Ownership;
use engine::process::{ahead, process_batch};
use fabric::mix::{Mix, SAMPLES, datagrams};
use ingest::batch::BATCH;
use tables::{Options, Outbox, Program, Shard};

use super::{cpu, definitions};

/// What the stages take, nanoseconds per flow sample, of datagrams as they come from the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
    /// Reading every byte once and writing it once.
    pub(crate) copy_ns: f64,
    /// Reading every sample and all layers of its packet.
    pub(crate) decode_ns: f64,
    /// All that a worker does with its batches.
    pub(crate) pipeline_ns: f64,
    /// Flows that are live afterwards.
    pub(crate) flows: usize,
}

/// Bytes of a datagram, and how many of them an agent sends in a pass at least.
const DATAGRAM: usize = 1372;
const OF_AGENT: usize = 200;

/// Measures, with so many bytes and passes, on a thread of its own.
pub(crate) fn measure(bytes: usize, passes: usize, stop: &AtomicBool) -> anyhow::Result<Stages> {
    std::thread::scope(|scope| {
        let body = || {
            cpu::keep_to(cpu::processors().first().copied());
            run(bytes, passes, stop)
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, body).context("a thread")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run(bytes: usize, passes: usize, stop: &AtomicBool) -> anyhow::Result<Stages> {
    // Passes repeat the sequence numbers: those of an agent must be more than it is forgiven for being late.
    let agents = (bytes / DATAGRAM / OF_AGENT).clamp(1, Mix::default().agents);
    let mix = Mix { agents, switch: false, ..Mix::default() };
    let datagrams = datagrams(&mix, |_, so_far| so_far < bytes);
    let program = definitions::pipeline()
        .into_iter()
        .try_fold(Program::default(), |program, change| program.changed(change))?;
    let mut shard = Shard::new(Options::default());
    shard.adopt(&Arc::new(program), 0, &mut Outbox::default());
    let mut now_us = 0;
    let mut times = [const { Vec::new() }; 3];
    // The first pass warms.
    for pass in 0..=passes {
        let took = [
            timed(|| copy(&datagrams)),
            timed(|| decode(&datagrams)),
            timed(|| pipeline(&datagrams, &mut shard, &mut now_us)),
        ];
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        for (all, one) in times.iter_mut().zip(took).filter(|_| pass > 0) {
            all.push(one);
        }
    }
    let refused = shard.counters().duplicates + shard.counters().datagram_errors.iter().sum::<u64>();
    ensure!(refused == 0, "{refused} of the datagrams in memory were not taken: the figures would be wrong");
    let samples = (datagrams.len() * SAMPLES) as f64;
    let [copy_ns, decode_ns, pipeline_ns] = times.map(|times| median(times).as_nanos() as f64 / samples);
    let bytes = datagrams.iter().map(Vec::len).sum();
    Ok(Stages { datagrams: datagrams.len(), bytes, copy_ns, decode_ns, pipeline_ns, flows: shard.flows() })
}

fn copy(datagrams: &[Vec<u8>]) -> u64 {
    let mut to = [0; 2048];
    let mut sum = 0;
    for datagram in datagrams {
        if let Some(to) = to.get_mut(..datagram.len()) {
            to.copy_from_slice(datagram);
        }
        sum += u64::from(black_box(&to)[0]);
    }
    sum
}

fn decode(datagrams: &[Vec<u8>]) -> u64 {
    let mut sum = 0_u64;
    for datagram in ahead(datagrams, |datagram| datagram) {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        for sample in datagram.samples() {
            let Ok(Sample::Flow(sample)) = sample else { continue };
            let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER);
            let Some(Ok(header)) = header.map(|record| SampledHeader::parse(record.body)) else { continue };
            let packet = dissect(header.protocol, header.bytes);
            sum += packet.layers().last().map_or(0, |layer| u64::from(layer.offset));
        }
    }
    sum
}

fn pipeline(datagrams: &[Vec<u8>], shard: &mut Shard, now_us: &mut u64) -> u64 {
    let sender = IpAddr::from([10, 0, 0, 1]);
    let (mut outbox, mut ownership) = (Outbox::default(), Ownership::alone());
    let mut own = 0;
    for batch in datagrams.chunks(BATCH) {
        *now_us += 100;
        let batch = batch.iter().map(|datagram| (datagram.as_slice(), sender));
        own += process_batch(batch, *now_us, shard, &mut outbox, &mut ownership);
    }
    own as u64
}

/// The processor time of one call.
fn timed(call: impl FnOnce() -> u64) -> Duration {
    let began = cpu::of_this_thread();
    black_box(call());
    cpu::of_this_thread().saturating_sub(began)
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn stages_take_time_and_make_flows() {
        let stages = measure(1 << 20, 3, &AtomicBool::new(false)).unwrap();
        assert!(stages.bytes >= 1 << 20 && stages.datagrams == stages.bytes / DATAGRAM);
        assert!(stages.copy_ns > 0.0 && stages.decode_ns > 0.0 && stages.flows > 1000, "{stages:?}");
        assert!(stages.pipeline_ns > 0.0);
        assert!(measure(1 << 20, 3, &AtomicBool::new(true)).is_err());
        assert_eq!(median([5, 1, 3].map(Duration::from_secs).to_vec()), Duration::from_secs(3));
    }
}
