//! The records of a sample: each a tag, a length and a body (sFlow v5, `flow_record`, `counter_record`).

use core::fmt;

use crate::xdr::Reader;

/// A `data_format`: enterprise in the upper 20 bits, format in the lower 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

impl Tag {
    /// The tag of an enterprise's format.
    pub const fn new(enterprise: u32, format: u32) -> Self {
        Self((enterprise << 12) | (format & 0xfff))
    }

    /// Who defined the structure; 0 is sFlow.org.
    pub const fn enterprise(self) -> u32 {
        self.0 >> 12
    }

    /// Which of the enterprise's structures it is.
    pub const fn format(self) -> u32 {
        self.0 & 0xfff
    }
}

/// `0:1`
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.enterprise(), self.format())
    }
}

/// A framed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which structure the body is.
    pub tag: Tag,
    /// The structure, by the record's own length.
    pub body: &'a [u8],
}

/// The records of one sample, whose framing was verified when the sample was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a> {
    bytes: &'a [u8],
    count: u32,
}

/// How many bytes the last record may be short of: the pad that some switches leave out.
const FORGIVEN_PAD: usize = 4;

impl<'a> Records<'a> {
    /// `count` records at the front of `bytes`.
    pub fn new(bytes: &'a [u8], count: u32) -> Self {
        Self { bytes, count }
    }

    /// How many records the sample says it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The records in order. A record that does not fit ends the iteration with `None`; [`Records::verify`]
    /// tells whether there is one.
    pub fn iter(&self) -> RecordIter<'a> {
        RecordIter { reader: Reader::new(self.bytes), left: self.count }
    }

    /// Walks all records; false when their count or a length says more than there is, or `good` is false
    /// for one of them.
    #[inline(always)]
    pub(crate) fn verify(&self, mut good: impl FnMut(Record<'a>) -> bool) -> bool {
        let mut records = self.iter();
        for record in records.by_ref() {
            if !good(record) {
                return false;
            }
        }
        records.left == 0
    }
}

impl<'a> IntoIterator for &Records<'a> {
    type Item = Record<'a>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Iterator over framed records.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.left == 0 {
            return None;
        }
        let mut reader = self.reader;
        let [a, b, c, d, e, f, g, h] = reader.array::<8>().ok()?;
        let tag = Tag(u32::from_be_bytes([a, b, c, d]));
        let length = u32::from_be_bytes([e, f, g, h]) as usize;
        let body = frame(&mut reader, length, self.left == 1)?;
        self.reader = reader;
        self.left -= 1;
        Some(Record { tag, body })
    }
}

/// `length` bytes and their pad; the last one of its kind may be short of a pad.
#[inline]
pub(crate) fn frame<'a>(reader: &mut Reader<'a>, length: usize, last: bool) -> Option<&'a [u8]> {
    match reader.take(length.checked_add(3)? & !3) {
        Ok(padded) => padded.get(..length),
        Err(_) => frame_at_the_end(reader, length, last),
    }
}

#[cold]
fn frame_at_the_end<'a>(reader: &mut Reader<'a>, length: usize, last: bool) -> Option<&'a [u8]> {
    let rest = reader.remaining();
    if length <= rest {
        return reader.padded(length).ok();
    }
    if last && length - rest <= FORGIVEN_PAD { reader.take(rest).ok() } else { None }
}
