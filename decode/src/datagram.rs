//! The datagram: its header, and its samples one after another (sFlow v5, `sample_datagram_v5`).

use crate::address::{Address, AddressError};
use crate::record::{Tag, frame};
use crate::sample::{Sample, SampleError};
use crate::xdr::{Full, Reader, Writer};

/// The only version of the protocol that is read.
pub const VERSION: u32 = 5;

/// What stands before the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The agent's address: its identity, whatever address the datagram came from.
    pub agent: Address,
    /// Distinguishes streams of datagrams of one agent.
    pub sub_agent: u32,
    /// Counts the datagrams of a sub-agent.
    pub sequence: u32,
    /// Milliseconds since the agent started.
    pub uptime_ms: u32,
    /// How many samples the datagram says it has.
    pub samples: u32,
}

/// Why a datagram as a whole cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatagramError {
    /// It ends within its header.
    Truncated,
    /// Its version is not 5 (2 and 4 are sFlow's past, `00 05 00 xx` is NetFlow v5).
    Version,
    /// The agent's address is of a type that sFlow does not know.
    AddressType,
}

impl DatagramError {
    /// All reasons, in the order of [`DatagramError::index`].
    pub const ALL: [Self; 3] = [Self::Truncated, Self::Version, Self::AddressType];

    /// A stable name for counters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::AddressType => "address_type",
        }
    }

    /// The place of the reason in [`DatagramError::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A datagram whose header was read.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it, and when in its stream.
    pub header: Header,
    body: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`DatagramError`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(&mut reader)?;
        Ok(Self { header, body: reader.rest() })
    }

    /// The samples, each verified whole before it is given.
    #[inline]
    pub fn samples(&self) -> Samples<'a> {
        Samples { reader: Reader::new(self.body), left: self.header.samples, said: self.header.samples }
    }
}

impl Header {
    /// Reads version and header.
    ///
    /// # Errors
    /// See [`DatagramError`].
    #[inline]
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DatagramError> {
        let truncated = |_| DatagramError::Truncated;
        if reader.u32().map_err(truncated)? != VERSION {
            return Err(DatagramError::Version);
        }
        let agent = Address::read(reader).map_err(|e| match e {
            AddressError::Truncated => DatagramError::Truncated,
            AddressError::Type => DatagramError::AddressType,
        })?;
        Ok(Self {
            agent,
            sub_agent: reader.u32().map_err(truncated)?,
            sequence: reader.u32().map_err(truncated)?,
            uptime_ms: reader.u32().map_err(truncated)?,
            samples: reader.u32().map_err(truncated)?,
        })
    }

    /// Writes version and header.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u32(VERSION)?;
        self.agent.write(writer)?;
        writer.u32(self.sub_agent)?;
        writer.u32(self.sequence)?;
        writer.u32(self.uptime_ms)?;
        writer.u32(self.samples)
    }
}

/// Iterator over the samples of a datagram.
///
/// A sample that lies about itself is one `Err`, and the next one is found by its length. The iteration
/// ends when the stated number of samples was given or the bytes end, whichever is first.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    reader: Reader<'a>,
    left: u32,
    said: u32,
}

impl Samples<'_> {
    /// Bytes after the last sample, which are ignored; meaningful when the iteration has ended.
    pub fn trailing(&self) -> usize {
        self.reader.remaining()
    }

    /// Samples that the header promised and the bytes do not hold; meaningful when the iteration has ended.
    pub fn missing(&self) -> u32 {
        self.left.min(self.said)
    }
}

impl<'a> Samples<'a> {
    /// The next sample before it is read: what it is, and its bytes, for [`Sample::parse`] and [`FlowSample::read`]. The
    /// packet path prefers this to the iterator, which has to move each sample.
    ///
    /// [`FlowSample::read`]: crate::FlowSample::read
    #[inline(always)]
    pub fn next_framed(&mut self) -> Option<Result<(Tag, &'a [u8]), SampleError>> {
        if self.left == 0 || self.reader.remaining() == 0 {
            return None;
        }
        self.left -= 1;
        let mut framed = || -> Option<(Tag, &'a [u8])> {
            let tag = Tag(self.reader.u32().ok()?);
            let length = self.reader.u32().ok()? as usize;
            frame(&mut self.reader, length, true).map(|body| (tag, body))
        };
        let Some((tag, body)) = framed() else {
            // Where the next sample would begin cannot be known.
            self.reader = Reader::new(&[]);
            return Some(Err(SampleError::Length));
        };
        Some(Ok((tag, body)))
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Result<Sample<'a>, SampleError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_framed()?.and_then(|(tag, body)| Sample::parse(tag, body)))
    }
}
