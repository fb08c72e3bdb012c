//! Frames of a pcap file, where they lie in a buffer: large reads, and nothing is copied.

use std::io::Read;
use std::ops::Range;

use pcap_parser::{LegacyPcapBlock, PcapError, PcapHeader, nom, parse_pcap_header};

/// The largest frame that is read, bytes: far above any, far below what a lying length asks for.
const LARGEST_FRAME: usize = 16 << 20;

/// What the buffer holds at first, bytes. It stays in a processor's second cache, from which each frame is read soon.
const BUFFER: usize = 128 << 10;

type Parse = for<'a> fn(&'a [u8]) -> nom::IResult<&'a [u8], LegacyPcapBlock<'a>, PcapError<&'a [u8]>>;

/// Where a frame is, and what is said about it.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// When it was captured, microseconds since 1970.
    pub(super) time_us: Option<u64>,
    /// What the bytes begin with.
    pub(super) link: i32,
    /// Where it is among the bytes of its batch.
    pub(super) at: Range<usize>,
    /// Whether it was longer than what was captured.
    pub(super) cut: bool,
}

/// What comes next.
pub(super) enum Next {
    /// A frame.
    Frame(Located),
    /// Something else, which is passed over.
    Other,
    /// Frames that come only when those of this batch are no longer needed.
    Later,
    /// Nothing.
    End,
    /// A part of a frame, and then nothing.
    Cut,
    /// What is no frame, or cannot be read.
    Damaged,
}

/// A pcap file that is being read.
pub(super) struct Legacy {
    source: Box<dyn Read + Send>,
    parse: Parse,
    nanoseconds: bool,
    link: i32,
    buffer: Vec<u8>,
    /// What of the buffer was not given yet.
    rest: Range<usize>,
    /// Whether frames of the current batch lie before it.
    is_held: bool,
}

impl Legacy {
    /// Goes on with a file whose first bytes are these; gives the rest of it back where it is no pcap file.
    pub(super) fn new(first: &[u8], source: Box<dyn Read + Send>) -> Result<Self, Box<dyn Read + Send>> {
        let Ok((_, header)) = parse_pcap_header(first) else { return Err(source) };
        let mut buffer = vec![0; BUFFER];
        let Some(place) = buffer.get_mut(..first.len()) else { return Err(source) };
        place.copy_from_slice(first);
        Ok(Self {
            source,
            parse: parser(&header),
            nanoseconds: header.is_nanosecond_precision(),
            // The upper half says whether a frame check sequence follows, and how long it is.
            link: header.network.0 & 0xffff,
            buffer,
            rest: header.size()..first.len(),
            is_held: false,
        })
    }

    /// What frames' places count in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Begins a batch: the frames of the one before are no longer needed.
    pub(super) fn begin_batch(&mut self) {
        self.is_held = false;
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Next {
        loop {
            let rest = self.buffer.get(self.rest.clone()).unwrap_or_default();
            match (self.parse)(rest) {
                Ok((after, frame)) => {
                    let ends = self.rest.end - after.len();
                    let at = ends - frame.data.len()..ends;
                    let fraction = if self.nanoseconds { frame.ts_usec / 1000 } else { frame.ts_usec };
                    let time_us = Some(u64::from(frame.ts_sec) * 1_000_000 + u64::from(fraction));
                    let cut = frame.origlen > frame.caplen;
                    self.rest.start = ends;
                    self.is_held = true;
                    return Next::Frame(Located { time_us, link: self.link, at, cut });
                }
                Err(nom::Err::Incomplete(_)) if self.is_held => return Next::Later,
                Err(nom::Err::Incomplete(_)) => match self.refill() {
                    Ok(0) if self.rest.is_empty() => return Next::End,
                    Ok(0) => return Next::Cut,
                    Ok(_) => {}
                    Err(()) => return Next::Damaged,
                },
                Err(_) => return Next::Damaged,
            }
        }
    }

    /// Reads on behind what is left, which moves to the front; how many bytes came.
    fn refill(&mut self) -> Result<usize, ()> {
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        if self.rest.end == self.buffer.len() {
            if self.buffer.len() >= LARGEST_FRAME {
                return Err(());
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.get_mut(self.rest.end..).unwrap_or_default();
        loop {
            match self.source.read(room) {
                Ok(read) => {
                    self.rest.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err(()),
            }
        }
    }
}

fn parser(header: &PcapHeader) -> Parse {
    if header.is_modified_format() {
        pcap_parser::parse_pcap_frame_modified
    } else if header.is_bigendian() {
        pcap_parser::parse_pcap_frame_be
    } else {
        pcap_parser::parse_pcap_frame
    }
}
