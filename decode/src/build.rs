//! Emits datagrams into a caller's buffer. A sample that does not fit leaves what is there as it was, so that
//! the caller sends the datagram and begins the next one with it.

use crate::datagram::Header;
use crate::flow::{SAMPLED_HEADER, SampledHeader};
use crate::layout::{Layout, Value};
use crate::record::Tag;
use crate::rt::{FlowValue, MetricValue, RtFlow, RtMetric};
use crate::sample::{
    COUNTERS_SAMPLE, COUNTERS_SAMPLE_EXPANDED, CountersSample, DISCARDED_PACKET, DataSource, DiscardedPacket,
    FLOW_SAMPLE, FLOW_SAMPLE_EXPANDED, FlowSample, Interface, RT_FLOW, RT_METRIC,
};
use crate::xdr::{Full, Writer};

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub enum RecordOut<'a> {
    /// A `sampled_header`.
    Header(SampledHeader<'a>),
    /// The first fields of a structure from the tables of [`crate::flow`] and [`crate::counter`].
    Fields(&'static Layout, &'a [Value<'a>]),
    /// A body as it is.
    Raw(Tag, &'a [u8]),
}

impl RecordOut<'_> {
    fn tag(&self) -> Tag {
        match self {
            Self::Header(_) => SAMPLED_HEADER,
            Self::Fields(layout, _) => layout.tag,
            Self::Raw(tag, _) => *tag,
        }
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        framed(self.tag(), writer, |writer| match self {
            Self::Header(header) => header.write(writer),
            Self::Fields(layout, values) => layout.write(values, writer),
            Self::Raw(_, body) => writer.padded(body),
        })
    }
}

/// Tag, length, and what `body` writes.
fn framed(
    tag: Tag,
    writer: &mut Writer<'_>,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    writer.u32(tag.0)?;
    let length_at = writer.len();
    writer.u32(0)?;
    body(writer)?;
    let length = u32::try_from(writer.len() - length_at - 4).map_err(|_| Full)?;
    writer.patch_u32(length_at, length)
}

/// A datagram under construction.
#[derive(Debug)]
pub struct DatagramBuilder<'b> {
    writer: Writer<'b>,
    count_at: usize,
    samples: u32,
}

impl<'b> DatagramBuilder<'b> {
    /// Begins a datagram; `header.samples` is counted, whatever it says.
    ///
    /// # Errors
    /// Not even the header fits.
    pub fn new(buffer: &'b mut [u8], header: &Header) -> Result<Self, Full> {
        let mut writer = Writer::new(buffer);
        Header { samples: 0, ..*header }.write(&mut writer)?;
        let count_at = writer.len() - 4;
        Ok(Self { writer, count_at, samples: 0 })
    }

    /// Whether there is no sample yet.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Length so far, bytes.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// The datagram.
    pub fn finish(mut self) -> Result<usize, Full> {
        self.writer.patch_u32(self.count_at, self.samples)?;
        Ok(self.writer.len())
    }

    /// Adds a flow sample in the form that `sample.expanded` says; its records are `records`.
    ///
    /// # Errors
    /// It does not fit, or a value is too large for the compact form.
    pub fn flow_sample(&mut self, sample: &FlowSample<'_>, records: &[RecordOut<'_>]) -> Result<(), Full> {
        let tag = if sample.expanded { FLOW_SAMPLE_EXPANDED } else { FLOW_SAMPLE };
        self.sample(tag, |writer| {
            writer.u32(sample.sequence)?;
            write_source(sample.source, sample.expanded, writer)?;
            writer.u32(sample.sampling_rate)?;
            writer.u32(sample.sample_pool)?;
            writer.u32(sample.drops)?;
            write_interface(sample.input, sample.expanded, writer)?;
            write_interface(sample.output, sample.expanded, writer)?;
            write_records(records, writer)
        })
    }

    /// Adds a counters sample in the form that `sample.expanded` says; its records are `records`.
    ///
    /// # Errors
    /// It does not fit, or a value is too large for the compact form.
    pub fn counters_sample(
        &mut self,
        sample: &CountersSample<'_>,
        records: &[RecordOut<'_>],
    ) -> Result<(), Full> {
        let tag = if sample.expanded { COUNTERS_SAMPLE_EXPANDED } else { COUNTERS_SAMPLE };
        self.sample(tag, |writer| {
            writer.u32(sample.sequence)?;
            write_source(sample.source, sample.expanded, writer)?;
            write_records(records, writer)
        })
    }

    /// Adds the notification of a discarded packet; its records are `records`.
    ///
    /// # Errors
    /// It does not fit.
    pub fn discarded(&mut self, sample: &DiscardedPacket<'_>, records: &[RecordOut<'_>]) -> Result<(), Full> {
        self.sample(DISCARDED_PACKET, |writer| {
            writer.u32(sample.sequence)?;
            write_source(sample.source, true, writer)?;
            for word in [sample.drops, sample.input, sample.output, sample.reason] {
                writer.u32(word)?;
            }
            write_records(records, writer)
        })
    }

    /// Adds custom metrics.
    ///
    /// # Errors
    /// They do not fit.
    pub fn rt_metric(&mut self, source: &[u8], metrics: &[(&[u8], MetricValue<'_>)]) -> Result<(), Full> {
        self.sample(RT_METRIC, |writer| RtMetric::write(source, metrics, writer))
    }

    /// Adds a custom flow.
    ///
    /// # Errors
    /// It does not fit.
    pub fn rt_flow(
        &mut self,
        source: &[u8],
        sampling_rate: u32,
        sample_pool: u32,
        fields: &[(&[u8], FlowValue<'_>)],
    ) -> Result<(), Full> {
        self.sample(RT_FLOW, |writer| RtFlow::write(source, sampling_rate, sample_pool, fields, writer))
    }

    /// Adds a sample of any tag with a body as it is.
    ///
    /// # Errors
    /// It does not fit.
    pub fn raw_sample(&mut self, tag: Tag, body: &[u8]) -> Result<(), Full> {
        self.sample(tag, |writer| writer.padded(body))
    }

    fn sample(
        &mut self,
        tag: Tag,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let before = self.writer.len();
        let written = framed(tag, &mut self.writer, body);
        match written {
            Ok(()) => self.samples += 1,
            Err(Full) => self.writer.truncate(before),
        }
        written
    }
}

fn write_source(source: DataSource, expanded: bool, writer: &mut Writer<'_>) -> Result<(), Full> {
    if expanded {
        writer.u32(source.class)?;
        writer.u32(source.index)
    } else if source.class <= 0xff && source.index <= 0x00ff_ffff {
        writer.u32((source.class << 24) | source.index)
    } else {
        Err(Full)
    }
}

fn write_interface(interface: Interface, expanded: bool, writer: &mut Writer<'_>) -> Result<(), Full> {
    if expanded {
        writer.u32(interface.format)?;
        writer.u32(interface.value)
    } else if interface.format <= 3 && interface.value <= 0x3fff_ffff {
        writer.u32((interface.format << 30) | interface.value)
    } else {
        Err(Full)
    }
}

fn write_records(records: &[RecordOut<'_>], writer: &mut Writer<'_>) -> Result<(), Full> {
    writer.u32(u32::try_from(records.len()).map_err(|_| Full)?)?;
    records.iter().try_for_each(|record| record.write(writer))
}
