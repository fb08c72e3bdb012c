//! Frames of a capture file, in the file's order.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};

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
    inner: Box<dyn PcapReaderIterator + Send>,
    section: Section,
    frames: u64,
    ended: bool,
}

/// What the blocks so far have said, and the current frame.
struct Section {
    nanoseconds: bool,
    link: i32,
    interfaces: Vec<Interface>,
    /// The current frame, copied out of the parser's buffer.
    bytes: Vec<u8>,
}

/// What a block is.
enum Step {
    /// A frame; its bytes are the section's.
    Frame { time_us: Option<u64>, link: i32, cut: bool },
    /// Something else.
    Other,
    /// None: the file is at its end.
    End,
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
    pub fn new(path: &Path, mut source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let path = path.to_owned();
        let first = match first_block(&mut source) {
            Ok(first) => first,
            Err(source) => return Err(CaptureError::Open { path, source }),
        };
        if let Some((_, command)) = COMPRESSED.iter().find(|(mark, _)| first.starts_with(mark)) {
            return Err(CaptureError::Compressed { path, command });
        }
        let Ok(inner) = create_reader(BUFFER, io::Cursor::new(first).chain(source)) else {
            return Err(CaptureError::Unknown { path });
        };
        let section =
            Section { nanoseconds: false, link: NO_LINK, interfaces: Vec::new(), bytes: Vec::new() };
        Ok(Self { path, inner, section, frames: 0, ended: false })
    }

    /// The next frame; `None` at the end. After an error the file is at its end.
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        while !self.ended {
            match self.advance() {
                Ok(Step::Frame { time_us, link, cut }) => {
                    self.frames += 1;
                    return Some(Ok(Frame { time_us, link, bytes: &self.section.bytes, cut }));
                }
                Ok(Step::Other) => {}
                Ok(Step::End) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// The bytes of the frame that was given last.
    pub(super) fn current(&self) -> &[u8] {
        &self.section.bytes
    }

    /// One block, or more bytes of one.
    fn advance(&mut self) -> Result<Step, CaptureError> {
        match self.inner.next() {
            Ok((consumed, block)) => {
                let step = self.section.take(block);
                self.inner.consume(consumed);
                Ok(step)
            }
            Err(PcapError::Eof) => Ok(Step::End),
            Err(PcapError::Incomplete(_)) => match self.inner.refill() {
                Ok(()) => Ok(Step::Other),
                Err(_) => Err(self.damaged()),
            },
            Err(PcapError::UnexpectedEof) => {
                Err(CaptureError::Cut { path: self.path.clone(), frames: self.frames })
            }
            Err(PcapError::BufferTooSmall) => {
                let larger = self.inner.data().len().max(BUFFER) * 2;
                let grown = larger <= LARGEST_BLOCK && self.inner.grow(larger) && self.inner.refill().is_ok();
                if grown { Ok(Step::Other) } else { Err(self.damaged()) }
            }
            Err(_) => Err(self.damaged()),
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

impl Section {
    fn take(&mut self, block: PcapBlockOwned<'_>) -> Step {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.nanoseconds = header.is_nanosecond_precision();
                // The upper half says whether a frame check sequence follows, and how long it is.
                self.link = header.network.0 & 0xffff;
                Step::Other
            }
            PcapBlockOwned::Legacy(packet) => {
                let captured = usize::try_from(packet.caplen).unwrap_or(usize::MAX);
                self.keep(packet.data.get(..captured).unwrap_or(packet.data));
                let fraction = if self.nanoseconds { packet.ts_usec / 1000 } else { packet.ts_usec };
                let time = u64::from(packet.ts_sec) * 1_000_000 + u64::from(fraction);
                Step::Frame { time_us: Some(time), link: self.link, cut: packet.origlen > packet.caplen }
            }
            PcapBlockOwned::NG(block) => self.take_ng(&block),
        }
    }

    fn take_ng(&mut self, block: &Block<'_>) -> Step {
        match block {
            Block::SectionHeader(_) => self.interfaces.clear(),
            Block::InterfaceDescription(described) => self.interfaces.push(Interface {
                link: described.linktype.0,
                ticks_per_second: described.ts_resolution().unwrap_or(1_000_000).max(1),
                offset_s: described.ts_offset(),
            }),
            Block::EnhancedPacket(packet) => {
                let interface =
                    usize::try_from(packet.if_id).ok().and_then(|id| self.interfaces.get(id)).copied();
                self.keep(packet.packet_data());
                let ticks = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
                return Step::Frame {
                    time_us: interface.map(|interface| interface.microseconds(ticks)),
                    link: interface.map_or(NO_LINK, |interface| interface.link),
                    cut: packet.origlen > packet.caplen,
                };
            }
            Block::SimplePacket(packet) => {
                let link = self.interfaces.first().map_or(NO_LINK, |interface| interface.link);
                self.keep(packet.packet_data());
                let cut = usize::try_from(packet.origlen).is_ok_and(|length| length > self.bytes.len());
                return Step::Frame { time_us: None, link, cut };
            }
            _ => {}
        }
        Step::Other
    }

    fn keep(&mut self, frame: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(frame);
    }
}

impl Interface {
    fn microseconds(self, ticks: u64) -> u64 {
        let microseconds = u128::from(ticks) * 1_000_000 / u128::from(self.ticks_per_second);
        let offset = i128::from(self.offset_s) * 1_000_000;
        let time = i128::try_from(microseconds).unwrap_or(0) + offset;
        u64::try_from(time).unwrap_or(0)
    }
}
