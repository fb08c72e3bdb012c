//! What was seen, said at the end on standard error.

use std::collections::BTreeMap;
use std::io::{self, Write};

use decode::{Address, Datagram, DatagramError, Record, Sample, SampleError, Tag, counter, flow};
use ingest::send::Sender;

use super::source::Source;

/// Names kept at most, of agents and of unknown structures: both are the sender's to choose.
const MOST_NAMES: usize = 10_000;

/// Counts of what was read.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) datagrams: u64,
    refused: [u64; DatagramError::ALL.len()],
    flow_samples: u64,
    counters_samples: u64,
    discarded: u64,
    custom: u64,
    sample_errors: [u64; SampleError::ALL.len()],
    missing_samples: u64,
    trailing: u64,
    unknown: BTreeMap<(&'static str, Tag), u64>,
    agents: BTreeMap<Address, u64>,
}

impl Summary {
    pub(super) fn refused(&mut self, error: DatagramError) {
        if let Some(count) = self.refused.get_mut(error.index()) {
            *count += 1;
        }
    }

    pub(super) fn datagram(&mut self, datagram: &Datagram<'_>) {
        self.datagrams += 1;
        if self.agents.len() < MOST_NAMES || self.agents.contains_key(&datagram.header.agent) {
            *self.agents.entry(datagram.header.agent).or_default() += 1;
        }
        let mut samples = datagram.samples();
        for sample in samples.by_ref() {
            match sample {
                Ok(Sample::Flow(flow)) => {
                    self.flow_samples += 1;
                    self.records("flow record", &flow.records, known_flow);
                }
                Ok(Sample::Counters(counters)) => {
                    self.counters_samples += 1;
                    self.records("counter record", &counters.records, |r| counter::find(r.tag).is_some());
                }
                Ok(Sample::Discarded(discarded)) => {
                    self.discarded += 1;
                    self.records("flow record", &discarded.records, known_flow);
                }
                Ok(Sample::RtMetric(_) | Sample::RtFlow(_)) => self.custom += 1,
                Ok(Sample::Unknown { tag, .. }) => self.unknown("sample", tag),
                Err(error) => {
                    if let Some(count) = self.sample_errors.get_mut(error.index()) {
                        *count += 1;
                    }
                }
            }
        }
        self.missing_samples += u64::from(samples.missing());
        self.trailing += u64::from(samples.trailing() > 0);
    }

    fn records(
        &mut self,
        what: &'static str,
        records: &decode::Records<'_>,
        known: impl Fn(&Record<'_>) -> bool,
    ) {
        for record in records.iter().filter(|record| !known(record)) {
            self.unknown(what, record.tag);
        }
    }

    fn unknown(&mut self, what: &'static str, tag: Tag) {
        if self.unknown.len() < MOST_NAMES || self.unknown.contains_key(&(what, tag)) {
            *self.unknown.entry((what, tag)).or_default() += 1;
        }
    }

    pub(super) fn print(&self, source: &Source, forwards: &[Sender], out: &mut impl Write) -> io::Result<()> {
        let samples = [
            ("flow samples", self.flow_samples),
            ("counters samples", self.counters_samples),
            ("discarded packets", self.discarded),
            ("custom samples", self.custom),
        ];
        write!(out, "datagrams {} from {} agents", self.datagrams, self.agents.len())?;
        for (name, count) in samples.into_iter().filter(|(_, count)| *count > 0) {
            write!(out, ", {name} {count}")?;
        }
        writeln!(out)?;
        for ((what, tag), count) in &self.unknown {
            writeln!(out, "unknown {what} {tag}: {count}")?;
        }
        for (error, count) in DatagramError::ALL.iter().zip(self.refused).filter(|(_, count)| *count > 0) {
            writeln!(out, "error {}: {count} datagrams", error.label())?;
        }
        for (error, count) in SampleError::ALL.iter().zip(self.sample_errors).filter(|(_, count)| *count > 0)
        {
            writeln!(out, "error {}: {count} samples", error.label())?;
        }
        if self.missing_samples > 0 {
            writeln!(out, "error sample_count: {} samples promised and not there", self.missing_samples)?;
        }
        if self.trailing > 0 {
            writeln!(out, "bytes after the last sample in {} datagrams, ignored", self.trailing)?;
        }
        if let Some(frames) = source.statistics() {
            write!(out, "frames {}", frames.frames)?;
            for (name, count) in [
                ("not UDP", frames.not_udp),
                ("other ports", frames.other_port),
                ("other link types", frames.unknown_link),
                ("cut by the capture", frames.cut),
                ("IP fragments", frames.fragments),
                ("reassembled", frames.reassembled),
                ("incomplete", frames.incomplete),
            ] {
                if count > 0 {
                    write!(out, ", {name} {count}")?;
                }
            }
            writeln!(out)?;
        }
        for sender in forwards {
            let (to, sent, failed) = (sender.destination(), sender.sent(), sender.failed());
            writeln!(out, "forwarded to {to}: {sent}, failed {failed}")?;
        }
        Ok(())
    }
}

fn known_flow(record: &Record<'_>) -> bool {
    record.tag == flow::SAMPLED_HEADER || flow::find(record.tag).is_some()
}
