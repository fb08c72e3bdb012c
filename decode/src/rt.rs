//! Custom metrics and flows: named, typed values of a named data source (4300:1002, 4300:1003).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::Mac;
use crate::sample::SampleError;
use crate::xdr::{Full, Reader, Truncated, Writer};

/// Custom metrics.
#[derive(Clone, Copy, Debug)]
pub struct RtMetric<'a> {
    /// Name of the data source.
    pub source: &'a [u8],
    count: u32,
    bytes: &'a [u8],
}

/// Value of a custom metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue<'a> {
    /// Type 0.
    Text(&'a [u8]),
    /// Type 1: a rate is made of it.
    Counter32(u32),
    /// Type 2: a rate is made of it.
    Counter64(u64),
    /// Type 3.
    Gauge32(u32),
    /// Type 4.
    Gauge64(u64),
    /// Type 5.
    Float(f32),
    /// Type 6.
    Double(f64),
}

/// A custom flow.
#[derive(Clone, Copy, Debug)]
pub struct RtFlow<'a> {
    /// Name of the data source.
    pub source: &'a [u8],
    /// One event in this many is reported.
    pub sampling_rate: u32,
    /// Events that could have been reported, so far.
    pub sample_pool: u32,
    count: u32,
    bytes: &'a [u8],
}

/// Value of a custom flow's field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FlowValue<'a> {
    /// Type 0.
    Text(&'a [u8]),
    /// Type 1.
    Mac(Mac),
    /// Type 2.
    Ip4(Ipv4Addr),
    /// Type 3.
    Ip6(Ipv6Addr),
    /// Type 4.
    Int32(u32),
    /// Type 5.
    Int64(u64),
    /// Type 6.
    Float(f32),
    /// Type 7.
    Double(f64),
}

/// A type that is not known: its length cannot be, so the sample is dropped.
struct UnknownType;

impl From<Truncated> for UnknownType {
    fn from(_: Truncated) -> Self {
        Self
    }
}

impl<'a> MetricValue<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, UnknownType> {
        Ok(match reader.u32()? {
            0 => Self::Text(reader.opaque()?),
            1 => Self::Counter32(reader.u32()?),
            2 => Self::Counter64(reader.u64()?),
            3 => Self::Gauge32(reader.u32()?),
            4 => Self::Gauge64(reader.u64()?),
            5 => Self::Float(f32::from_bits(reader.u32()?)),
            6 => Self::Double(f64::from_bits(reader.u64()?)),
            _ => return Err(UnknownType),
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::Text(v) => writer.u32(0).and_then(|()| writer.opaque(v)),
            Self::Counter32(v) => writer.u32(1).and_then(|()| writer.u32(v)),
            Self::Counter64(v) => writer.u32(2).and_then(|()| writer.u64(v)),
            Self::Gauge32(v) => writer.u32(3).and_then(|()| writer.u32(v)),
            Self::Gauge64(v) => writer.u32(4).and_then(|()| writer.u64(v)),
            Self::Float(v) => writer.u32(5).and_then(|()| writer.u32(v.to_bits())),
            Self::Double(v) => writer.u32(6).and_then(|()| writer.u64(v.to_bits())),
        }
    }
}

impl<'a> FlowValue<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, UnknownType> {
        Ok(match reader.u32()? {
            0 => Self::Text(reader.opaque()?),
            1 => Self::Mac(Mac::read(reader)?),
            2 => Self::Ip4(reader.array::<4>()?.into()),
            3 => Self::Ip6(reader.array::<16>()?.into()),
            4 => Self::Int32(reader.u32()?),
            5 => Self::Int64(reader.u64()?),
            6 => Self::Float(f32::from_bits(reader.u32()?)),
            7 => Self::Double(f64::from_bits(reader.u64()?)),
            _ => return Err(UnknownType),
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::Text(v) => writer.u32(0).and_then(|()| writer.opaque(v)),
            Self::Mac(v) => writer.u32(1).and_then(|()| v.write(writer)),
            Self::Ip4(v) => writer.u32(2).and_then(|()| writer.bytes(&v.octets())),
            Self::Ip6(v) => writer.u32(3).and_then(|()| writer.bytes(&v.octets())),
            Self::Int32(v) => writer.u32(4).and_then(|()| writer.u32(v)),
            Self::Int64(v) => writer.u32(5).and_then(|()| writer.u64(v)),
            Self::Float(v) => writer.u32(6).and_then(|()| writer.u32(v.to_bits())),
            Self::Double(v) => writer.u32(7).and_then(|()| writer.u64(v.to_bits())),
        }
    }
}

/// Walks `count` named values; false when one lies.
fn all_read<'a, T>(
    count: u32,
    bytes: &'a [u8],
    read: impl Fn(&mut Reader<'a>) -> Result<T, UnknownType>,
) -> bool {
    let mut reader = Reader::new(bytes);
    // Each value takes eight bytes at least, so the loop ends with the bytes.
    (0..count).all(|_| reader.opaque().is_ok() && read(&mut reader).is_ok())
}

impl<'a> RtMetric<'a> {
    /// Reads and verifies the sample.
    ///
    /// # Errors
    /// A length lies or a value's type is not known.
    pub fn parse(body: &'a [u8]) -> Result<Self, SampleError> {
        let mut reader = Reader::new(body);
        let source = reader.opaque()?;
        let count = reader.u32()?;
        let metric = Self { source, count, bytes: reader.rest() };
        if all_read(count, metric.bytes, MetricValue::read) {
            Ok(metric)
        } else {
            Err(SampleError::RecordContent)
        }
    }

    /// The metrics in order: name and value.
    pub fn metrics(&self) -> impl Iterator<Item = (&'a [u8], MetricValue<'a>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count)
            .map_while(move |_| Some((reader.opaque().ok()?, MetricValue::read(&mut reader).ok()?)))
    }

    /// Writes a sample's body.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(
        source: &[u8],
        metrics: &[(&[u8], MetricValue<'_>)],
        writer: &mut Writer<'_>,
    ) -> Result<(), Full> {
        writer.opaque(source)?;
        writer.u32(u32::try_from(metrics.len()).map_err(|_| Full)?)?;
        metrics.iter().try_for_each(|(name, value)| {
            writer.opaque(name)?;
            value.write(writer)
        })
    }
}

impl<'a> RtFlow<'a> {
    /// Reads and verifies the sample.
    ///
    /// # Errors
    /// A length lies or a value's type is not known.
    pub fn parse(body: &'a [u8]) -> Result<Self, SampleError> {
        let mut reader = Reader::new(body);
        let source = reader.opaque()?;
        let (sampling_rate, sample_pool, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let flow = Self { source, sampling_rate, sample_pool, count, bytes: reader.rest() };
        if all_read(count, flow.bytes, FlowValue::read) { Ok(flow) } else { Err(SampleError::RecordContent) }
    }

    /// The fields in order: name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], FlowValue<'a>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| Some((reader.opaque().ok()?, FlowValue::read(&mut reader).ok()?)))
    }

    /// Writes a sample's body.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(
        source: &[u8],
        sampling_rate: u32,
        sample_pool: u32,
        fields: &[(&[u8], FlowValue<'_>)],
        writer: &mut Writer<'_>,
    ) -> Result<(), Full> {
        writer.opaque(source)?;
        writer.u32(sampling_rate)?;
        writer.u32(sample_pool)?;
        writer.u32(u32::try_from(fields.len()).map_err(|_| Full)?)?;
        fields.iter().try_for_each(|(name, value)| {
            writer.opaque(name)?;
            value.write(writer)
        })
    }
}
