//! Frames of a capture file, in the file's order.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};

use super::legacy::{Legacy, Located, Next};

/// The largest block that is read, bytes: far above any frame, far below what a lying length asks for.
const LARGEST_BLOCK: usize = 16 << 20;

/// What the buffer holds at first, bytes.
const BUFFER: usize = 1 << 20;

/// What compressed files begin with, and the command that expands them.
const COMPRESSED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd -dc"),
    (b"\xfd7zXZ\0", "xz -dc"),
    (b"BZh", "bzip2 -dc"),
];

/// The header of a pcap file, bytes.
const HEADER: usize = 24;

/// The link type of a frame whose interface the file does not describe: none of [`super::link`].
const NO_LINK: i32 = -1;

/// Why a capture file cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be opened.
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no capture file.
    #[error("{}: is neither pcap nor pcapng", path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
    },
    /// It is compressed.
    #[error("{}: is compressed: give what `{command} {}` makes of it", path.display(), path.display())]
    Compressed {
        /// Which file.
        path: PathBuf,
        /// What makes a capture file of it.
        command: &'static str,
    },
    /// It ends within a frame: all frames before were given.
    #[error("{}: ends within a frame, after {frames} whole ones", path.display())]
    Cut {
        /// Which file.
        path: PathBuf,
        /// Frames given before.
        frames: u64,
    },
    /// A block is damaged: all frames before were given.
    #[error("{}: is damaged after {frames} frames", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Frames given before.
        frames: u64,
    },
}

/// A captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured, microseconds since 1970; `None` where the file does not say.
    pub time_us: Option<u64>,
    /// What the bytes begin with: see [`super::link`].
    pub link: i32,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// Whether it was longer than what was captured.
    pub cut: bool,
}

/// What a pcapng section says about one of its interfaces.
#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    ticks_per_second: u64,
    offset_s: i64,
}

/// Reads a capture file; pcap or pcapng is found out from its first bytes.
pub struct Reader {
    path: PathBuf,
    format: Format,
    frames: u64,
    ended: bool,
}

enum Format {
    Legacy(Legacy),
    Ng(Ng),
}

/// A pcapng file that is being read.
struct Ng {
    inner: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    /// The frames of the current batch, copied out of the parser's buffer.
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, is compressed, or is no capture file.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = File::open(path).map_err(|source| CaptureError::Open { path: path.to_owned(), source })?;
        Self::new(path, file)
    }

    /// Reads from anything; `path` names it in errors.
    ///
    /// # Errors
    /// It cannot be read, is compressed, or is no capture file.
    pub fn new(path: &Path, source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut source: Box<dyn Read + Send> = Box::new(source);
        let path = path.to_owned();
        let first = match first_block(&mut source) {
            Ok(first) => first,
            Err(source) => return Err(CaptureError::Open { path, source }),
        };
        if let Some((_, command)) = COMPRESSED.iter().find(|(mark, _)| first.starts_with(mark)) {
            return Err(CaptureError::Compressed { path, command });
        }
        let format = match Legacy::new(&first, source) {
            Ok(legacy) => Format::Legacy(legacy),
            Err(source) => {
                let Ok(inner) = create_reader(BUFFER, io::Cursor::new(first).chain(source)) else {
                    return Err(CaptureError::Unknown { path });
                };
                Format::Ng(Ng { inner, interfaces: Vec::new(), bytes: Vec::new() })
            }
        };
        Ok(Self { path, format, frames: 0, ended: false })
    }

    /// The next frame; `None` at the end. After an error the file is at its end.
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        self.begin_batch();
        // A batch begins with a frame where there is one.
        match self.next_of_batch()? {
            Ok(Located { time_us, link, at, cut }) => {
                let bytes = self.bytes().get(at).unwrap_or_default();
                Some(Ok(Frame { time_us, link, bytes, cut }))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Begins a batch of frames that lie in [`Reader::bytes`] together; those of the batch before are forgotten.
    pub(super) fn begin_batch(&mut self) {
        match &mut self.format {
            Format::Legacy(legacy) => legacy.begin_batch(),
            Format::Ng(ng) => ng.bytes.clear(),
        }
    }

    /// The next frame of the batch; `None` at its end, which is that of the file when the batch has none.
    pub(super) fn next_of_batch(&mut self) -> Option<Result<Located, CaptureError>> {
        if self.ended {
            return None;
        }
        loop {
            let next = match &mut self.format {
                Format::Legacy(legacy) => legacy.next(),
                Format::Ng(ng) => ng.next(),
            };
            let error = match next {
                Next::Frame(frame) => {
                    self.frames += 1;
                    return Some(Ok(frame));
                }
                Next::Other => continue,
                Next::Later => return None,
                Next::End => {
                    self.ended = true;
                    return None;
                }
                Next::Cut => CaptureError::Cut { path: self.path.clone(), frames: self.frames },
                Next::Damaged => self.damaged(),
            };
            self.ended = true;
            return Some(Err(error));
        }
    }

    /// What frames' places in the current batch count in.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.format {
            Format::Legacy(legacy) => legacy.bytes(),
            Format::Ng(ng) => &ng.bytes,
        }
    }

    fn damaged(&self) -> CaptureError {
        CaptureError::Damaged { path: self.path.clone(), frames: self.frames }
    }
}

/// What a file begins with: the header of a pcap file, the first block of a pcapng file. The parser wants it in one
/// piece, which a pipe does not promise.
fn first_block(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    source.by_ref().take(12).read_to_end(&mut first)?;
    let length = match *first {
        [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, 0x4d, 0x3c, 0x2b, 0x1a] => u32::from_le_bytes([a, b, c, d]),
        [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, 0x1a, 0x2b, 0x3c, 0x4d] => u32::from_be_bytes([a, b, c, d]),
        _ => HEADER as u32,
    };
    let missing = u64::from(length).min(BUFFER as u64).saturating_sub(first.len() as u64);
    source.by_ref().take(missing).read_to_end(&mut first)?;
    Ok(first)
}

impl Ng {
    /// One block, or more bytes of one.
    fn next(&mut self) -> Next {
        match self.inner.next() {
            Ok((consumed, block)) => {
                let next = match block {
                    PcapBlockOwned::NG(block) => take(&block, &mut self.interfaces, &mut self.bytes),
                    _ => Next::Other,
                };
                self.inner.consume(consumed);
                next
            }
            Err(PcapError::Eof) => Next::End,
            Err(PcapError::Incomplete(_)) => {
                if self.inner.refill().is_ok() {
                    Next::Other
                } else {
                    Next::Damaged
                }
            }
            Err(PcapError::UnexpectedEof) => Next::Cut,
            Err(PcapError::BufferTooSmall) => {
                let larger = self.inner.data().len().max(BUFFER) * 2;
                let grown = larger <= LARGEST_BLOCK && self.inner.grow(larger) && self.inner.refill().is_ok();
                if grown { Next::Other } else { Next::Damaged }
            }
            Err(_) => Next::Damaged,
        }
    }
}

/// What a block says; a frame is copied behind the others of its batch.
fn take(block: &Block<'_>, interfaces: &mut Vec<Interface>, bytes: &mut Vec<u8>) -> Next {
    let mut keep = |frame: &[u8]| {
        let begins = bytes.len();
        bytes.extend_from_slice(frame);
        begins..bytes.len()
    };
    match block {
        Block::SectionHeader(_) => interfaces.clear(),
        Block::InterfaceDescription(described) => interfaces.push(Interface {
            link: described.linktype.0,
            ticks_per_second: described.ts_resolution().unwrap_or(1_000_000).max(1),
            offset_s: described.ts_offset(),
        }),
        Block::EnhancedPacket(packet) => {
            let interface = usize::try_from(packet.if_id).ok().and_then(|id| interfaces.get(id));
            let ticks = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
            return Next::Frame(Located {
                time_us: interface.map(|interface| interface.microseconds(ticks)),
                link: interface.map_or(NO_LINK, |interface| interface.link),
                at: keep(packet.packet_data()),
                cut: packet.origlen > packet.caplen,
            });
        }
        Block::SimplePacket(packet) => {
            let frame = packet.packet_data();
            return Next::Frame(Located {
                time_us: None,
                link: interfaces.first().map_or(NO_LINK, |interface| interface.link),
                at: keep(frame),
                cut: usize::try_from(packet.origlen).is_ok_and(|length| length > frame.len()),
            });
        }
        _ => {}
    }
    Next::Other
}

impl Interface {
    fn microseconds(self, ticks: u64) -> u64 {
        let microseconds = u128::from(ticks) * 1_000_000 / u128::from(self.ticks_per_second);
        let offset = i128::from(self.offset_s) * 1_000_000;
        let time = i128::try_from(microseconds).unwrap_or(0) + offset;
        u64::try_from(time).unwrap_or(0)
    }
}
