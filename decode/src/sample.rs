//! Samples: what an agent reports about one data source (sFlow v5, `sample_data`).
//!
//! The compact forms (0:1, 0:2) and the expanded ones (0:3, 0:4) are read into the same values.

use core::fmt;
use core::str::FromStr;

use crate::counter;
use crate::flow::Noted;
use crate::record::{Record, Records, Tag};
use crate::rt::{RtFlow, RtMetric};
use crate::xdr::{Reader, Truncated};

/// `flow_sample`
pub const FLOW_SAMPLE: Tag = Tag::new(0, 1);
/// `counters_sample`
pub const COUNTERS_SAMPLE: Tag = Tag::new(0, 2);
/// `flow_sample_expanded`
pub const FLOW_SAMPLE_EXPANDED: Tag = Tag::new(0, 3);
/// `counters_sample_expanded`
pub const COUNTERS_SAMPLE_EXPANDED: Tag = Tag::new(0, 4);
/// `discarded_packet` (sFlow Dropped Packet Notification Structures)
pub const DISCARDED_PACKET: Tag = Tag::new(0, 5);
/// Custom metrics.
pub const RT_METRIC: Tag = Tag::new(4300, 1002);
/// Custom flows.
pub const RT_FLOW: Tag = Tag::new(4300, 1003);
/// A vendor's wrapper: three words before an ordinary flow sample.
pub const WRAPPED_FLOW_SAMPLE: Tag = Tag::new(1991, 1);

/// What a sample is about: an interface (class 0, index = ifIndex), VLAN (1), physical entity (2) or
/// logical entity (3: virtual machine, container).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataSource {
    /// `sFlowDataSource` type.
    pub class: u32,
    /// Index within the class.
    pub index: u32,
}

impl DataSource {
    fn compact(word: u32) -> Self {
        Self { class: word >> 24, index: word & 0x00ff_ffff }
    }
}

/// `22` for an interface, `2.1` for anything else.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            0 => write!(f, "{}", self.index),
            class => write!(f, "{class}.{}", self.index),
        }
    }
}

/// The text is not a data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDataSource;

impl FromStr for DataSource {
    type Err = NoDataSource;

    fn from_str(text: &str) -> Result<Self, NoDataSource> {
        let (class, index) = text.split_once('.').unwrap_or(("0", text));
        match (class.parse(), index.parse()) {
            (Ok(class), Ok(index)) => Ok(Self { class, index }),
            _ => Err(NoDataSource),
        }
    }
}

/// Where a packet came in or went out, as the wire says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface {
    /// 0 ifIndex, 1 discarded, 2 several interfaces; 3 is reserved.
    pub format: u32,
    /// ifIndex, reason or number of interfaces.
    pub value: u32,
}

/// What an [`Interface`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceKind {
    /// Not known.
    Unknown,
    /// The device itself.
    Internal,
    /// An interface.
    Index(u32),
    /// Nowhere: discarded for a reason.
    Discarded(u32),
    /// Several interfaces; 0 when their number is not known.
    Multiple(u32),
}

/// The ifIndex that means the device itself.
pub const INTERNAL: u32 = 0x3fff_ffff;

impl Interface {
    /// The interface of a compact sample's word.
    pub fn compact(word: u32) -> Self {
        Self { format: word >> 30, value: word & 0x3fff_ffff }
    }

    /// The interface with this ifIndex.
    pub fn index(index: u32) -> Self {
        Self { format: 0, value: index }
    }

    /// What it means.
    pub fn kind(self) -> InterfaceKind {
        match (self.format, self.value) {
            (0, 0) => InterfaceKind::Unknown,
            (0, INTERNAL) => InterfaceKind::Internal,
            (0, index) => InterfaceKind::Index(index),
            (1, reason) => InterfaceKind::Discarded(reason),
            (2, count) => InterfaceKind::Multiple(count),
            _ => InterfaceKind::Unknown,
        }
    }
}

/// Why a sample was dropped whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleError {
    /// Its length says more than the datagram holds.
    Length,
    /// It ends within its own head.
    Truncated,
    /// The number of its records, or the length of one, says more than it holds.
    RecordLength,
    /// A length inside a known record says more than the record holds.
    RecordContent,
}

impl SampleError {
    /// All reasons, in the order of [`SampleError::index`].
    pub const ALL: [Self; 4] = [Self::Length, Self::Truncated, Self::RecordLength, Self::RecordContent];

    /// A stable name for counters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Length => "sample_length",
            Self::Truncated => "sample_truncated",
            Self::RecordLength => "record_length",
            Self::RecordContent => "record_content",
        }
    }

    /// The place of the reason in [`SampleError::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<Truncated> for SampleError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A verified sample.
#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    /// A sampled packet.
    Flow(FlowSample<'a>),
    /// Counters of a data source.
    Counters(CountersSample<'a>),
    /// A packet that the device dropped.
    Discarded(DiscardedPacket<'a>),
    /// Custom metrics.
    RtMetric(RtMetric<'a>),
    /// A custom flow.
    RtFlow(RtFlow<'a>),
    /// A structure that is not known, skipped by its length.
    Unknown {
        /// Which.
        tag: Tag,
        /// Its length in bytes.
        length: usize,
    },
}

/// `flow_sample` and `flow_sample_expanded`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowSample<'a> {
    /// Whether it came in the expanded form.
    pub expanded: bool,
    /// Counts the flow samples of the data source.
    pub sequence: u32,
    /// What was sampled.
    pub source: DataSource,
    /// One packet in this many is sampled.
    pub sampling_rate: u32,
    /// Packets that could have been sampled, so far.
    pub sample_pool: u32,
    /// Samples dropped for lack of resources, so far.
    pub drops: u32,
    /// Where the packet came in.
    pub input: Interface,
    /// Where it went out.
    pub output: Interface,
    /// The flow records.
    pub records: Records<'a>,
    /// What was noted of them.
    pub noted: Noted<'a>,
}

/// `counters_sample` and `counters_sample_expanded`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountersSample<'a> {
    /// Whether it came in the expanded form.
    pub expanded: bool,
    /// Counts the counters samples of the data source.
    pub sequence: u32,
    /// Whose counters they are.
    pub source: DataSource,
    /// The counter records.
    pub records: Records<'a>,
}

/// `discarded_packet`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiscardedPacket<'a> {
    /// Counts the notifications of the data source.
    pub sequence: u32,
    /// Which part of the device reports.
    pub source: DataSource,
    /// Notifications that were left out, so far.
    pub drops: u32,
    /// Where the packet came in; 0 when not known.
    pub input: u32,
    /// Where it would have gone out; 0 when not known.
    pub output: u32,
    /// Why it was dropped: see [`crate::flow::drop_reason`].
    pub reason: u32,
    /// The flow records.
    pub records: Records<'a>,
    /// What was noted of them.
    pub noted: Noted<'a>,
}

impl<'a> Sample<'a> {
    /// Reads and verifies the sample with this tag and body.
    ///
    /// # Errors
    /// See [`SampleError`].
    #[inline]
    pub fn parse(tag: Tag, body: &'a [u8]) -> Result<Self, SampleError> {
        let mut flow = FlowSample::default();
        if let Some(read) = flow.read(tag, body) {
            return read.map(|()| Self::Flow(flow));
        }
        match tag {
            COUNTERS_SAMPLE => CountersSample::parse(body, false).map(Self::Counters),
            COUNTERS_SAMPLE_EXPANDED => CountersSample::parse(body, true).map(Self::Counters),
            DISCARDED_PACKET => DiscardedPacket::parse(body).map(Self::Discarded),
            RT_METRIC => RtMetric::parse(body).map(Self::RtMetric),
            RT_FLOW => RtFlow::parse(body).map(Self::RtFlow),
            _ => Ok(Self::Unknown { tag, length: body.len() }),
        }
    }
}

/// The forms of a flow sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowForm {
    Compact,
    Expanded,
    Wrapped,
}

impl FlowForm {
    #[inline(always)]
    fn of(tag: Tag) -> Option<Self> {
        match tag {
            FLOW_SAMPLE => Some(Self::Compact),
            FLOW_SAMPLE_EXPANDED => Some(Self::Expanded),
            WRAPPED_FLOW_SAMPLE => Some(Self::Wrapped),
            _ => None,
        }
    }
}

/// Bytes before a wrapped flow sample.
const WRAPPER: usize = 12;

impl<'a> FlowSample<'a> {
    /// The data source that a flow sample with this tag and body names, before anything is verified: for whoever wants to
    /// bring near what it knows of it. `None` for other samples, and for one that ends before.
    #[inline]
    pub fn source_of(tag: Tag, body: &[u8]) -> Option<DataSource> {
        let (expanded, at) = match FlowForm::of(tag)? {
            FlowForm::Compact => (false, 4),
            FlowForm::Expanded => (true, 4),
            FlowForm::Wrapped => (false, WRAPPER + 4),
        };
        read_source(&mut Reader::new(body.get(at..)?), expanded).ok()
    }

    /// Reads and verifies the flow sample with this tag and body in place of the one before; `None` for other samples. The
    /// packet path prefers this to [`Sample::parse`]: a value that is moved right after it was written in small pieces is
    /// waited for.
    ///
    /// # Errors
    /// See [`SampleError`]; the value is then a part of the sample.
    #[inline(always)]
    pub fn read(&mut self, tag: Tag, body: &'a [u8]) -> Option<Result<(), SampleError>> {
        let head = match FlowForm::of(tag)? {
            FlowForm::Compact => self.read_compact(body),
            FlowForm::Expanded => self.read_expanded(body),
            FlowForm::Wrapped => self.read_wrapped(body),
        };
        Some(head.and_then(|(records, count)| self.read_records(records, count)))
    }

    // Each form's head is read behind one check of its length; what is left are the records, of which it says how many.
    #[inline(always)]
    fn read_compact(&mut self, body: &'a [u8]) -> Result<(&'a [u8], u32), SampleError> {
        let (head, records) = body.split_first_chunk::<32>().ok_or(SampleError::Truncated)?;
        let [sequence, source, rate, pool, drops, input, output, count] = words(head);
        self.expanded = false;
        self.sequence = sequence;
        self.source = DataSource::compact(source);
        self.sampling_rate = rate;
        self.sample_pool = pool;
        self.drops = drops;
        self.input = Interface::compact(input);
        self.output = Interface::compact(output);
        Ok((records, count))
    }

    #[inline(always)]
    fn read_expanded(&mut self, body: &'a [u8]) -> Result<(&'a [u8], u32), SampleError> {
        let (head, records) = body.split_first_chunk::<44>().ok_or(SampleError::Truncated)?;
        let [sequence, class, index, rate, pool, drops, in_format, input, out_format, output, count] =
            words(head);
        self.expanded = true;
        self.sequence = sequence;
        self.source = DataSource { class, index };
        self.sampling_rate = rate;
        self.sample_pool = pool;
        self.drops = drops;
        self.input = Interface { format: in_format, value: input };
        self.output = Interface { format: out_format, value: output };
        Ok((records, count))
    }

    #[cold]
    fn read_wrapped(&mut self, body: &'a [u8]) -> Result<(&'a [u8], u32), SampleError> {
        self.read_compact(body.get(WRAPPER..).ok_or(SampleError::Truncated)?)
    }

    #[inline(always)]
    fn read_records(&mut self, bytes: &'a [u8], count: u32) -> Result<(), SampleError> {
        let Self { records, noted, .. } = self;
        *records = Records::new(bytes, count);
        *noted = Noted::default();
        verify(records, |record| noted.take(record))
    }
}

/// The big-endian words of a head.
#[inline]
fn words<const N: usize, const W: usize>(head: &[u8; N]) -> [u32; W] {
    let mut words = [0; W];
    for (word, bytes) in words.iter_mut().zip(head.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

impl<'a> CountersSample<'a> {
    fn parse(body: &'a [u8], expanded: bool) -> Result<Self, SampleError> {
        let mut reader = Reader::new(body);
        let sequence = reader.u32()?;
        let source = read_source(&mut reader, expanded)?;
        let records = read_records(&mut reader, counter::is_sound)?;
        Ok(Self { expanded, sequence, source, records })
    }
}

impl<'a> DiscardedPacket<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, SampleError> {
        let mut reader = Reader::new(body);
        let mut noted = Noted::default();
        Ok(Self {
            sequence: reader.u32()?,
            source: read_source(&mut reader, true)?,
            drops: reader.u32()?,
            input: reader.u32()?,
            output: reader.u32()?,
            reason: reader.u32()?,
            records: read_records(&mut reader, |record| noted.take(record))?,
            noted,
        })
    }
}

#[inline]
pub(crate) fn read_source(reader: &mut Reader<'_>, expanded: bool) -> Result<DataSource, Truncated> {
    if expanded {
        Ok(DataSource { class: reader.u32()?, index: reader.u32()? })
    } else {
        reader.u32().map(DataSource::compact)
    }
}

#[inline]
fn read_records<'a>(
    reader: &mut Reader<'a>,
    is_sound: impl FnMut(Record<'a>) -> bool,
) -> Result<Records<'a>, SampleError> {
    let count = reader.u32()?;
    let records = Records::new(reader.rest(), count);
    verify(&records, is_sound).map(|()| records)
}

/// Whether all records are framed and sound.
#[inline(always)]
fn verify<'a>(
    records: &Records<'a>,
    mut is_sound: impl FnMut(Record<'a>) -> bool,
) -> Result<(), SampleError> {
    let mut sound = true;
    let framed = records.verify(|record| {
        sound = is_sound(record);
        sound
    });
    match (framed, sound) {
        (true, _) => Ok(()),
        (false, true) => Err(SampleError::RecordLength),
        (false, false) => Err(SampleError::RecordContent),
    }
}
