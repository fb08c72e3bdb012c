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

/// The longest of these, bytes.
const LONGEST_MARK: u64 = 6;

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
    nanoseconds: bool,
    link: i32,
    interfaces: Vec<Interface>,
    frames: u64,
    /// The current frame, copied out of the parser's buffer.
    bytes: Vec<u8>,
    ended: bool,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, is compressed, or is no capture file.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let unreadable = |source| CaptureError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        // A pipe cannot be read twice: what was looked at comes first again. A directory is refused here.
        let mut first = Vec::new();
        file.by_ref().take(LONGEST_MARK).read_to_end(&mut first).map_err(unreadable)?;
        if let Some((_, command)) = COMPRESSED.iter().find(|(mark, _)| first.starts_with(mark)) {
            return Err(CaptureError::Compressed { path: path.to_owned(), command });
        }
        Self::new(path, io::Cursor::new(first).chain(file))
    }

    /// Reads from anything; `path` names it in errors.
    ///
    /// # Errors
    /// It is no capture file.
    pub fn new(path: &Path, source: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let inner =
            create_reader(BUFFER, source).map_err(|_| CaptureError::Unknown { path: path.to_owned() })?;
        Ok(Self {
            path: path.to_owned(),
            inner,
            nanoseconds: false,
            link: -1,
            interfaces: Vec::new(),
            frames: 0,
            bytes: Vec::new(),
            ended: false,
        })
    }

    /// The next frame; `None` at the end. After an error the file is at its end.
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        if self.ended {
            return None;
        }
        loop {
            match self.advance() {
                Ok(Some((time_us, link, cut))) => {
                    self.frames += 1;
                    return Some(Ok(Frame { time_us, link, bytes: &self.bytes, cut }));
                }
                Ok(None) => {}
                Err(None) => {
                    self.ended = true;
                    return None;
                }
                Err(Some(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// One block: a frame (its bytes are then in `self.bytes`), or something else. `Err(None)` is the end.
    #[allow(clippy::type_complexity, reason = "one caller, right above")]
    fn advance(&mut self) -> Result<Option<(Option<u64>, i32, bool)>, Option<CaptureError>> {
        let (consumed, found) = match self.inner.next() {
            Ok((consumed, block)) => {
                let found = match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        self.nanoseconds = header.is_nanosecond_precision();
                        // The upper half says whether a frame check sequence follows, and how long it is.
                        self.link = header.network.0 & 0xffff;
                        None
                    }
                    PcapBlockOwned::Legacy(packet) => {
                        let captured = usize::try_from(packet.caplen).unwrap_or(usize::MAX);
                        let bytes = packet.data.get(..captured).unwrap_or(packet.data);
                        self.bytes.clear();
                        self.bytes.extend_from_slice(bytes);
                        let fraction = if self.nanoseconds { packet.ts_usec / 1000 } else { packet.ts_usec };
                        let time = u64::from(packet.ts_sec) * 1_000_000 + u64::from(fraction);
                        Some((Some(time), self.link, packet.origlen > packet.caplen))
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                        self.interfaces.clear();
                        None
                    }
                    PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
                        self.interfaces.push(Interface {
                            link: described.linktype.0,
                            ticks_per_second: described.ts_resolution().unwrap_or(1_000_000).max(1),
                            offset_s: described.ts_offset(),
                        });
                        None
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let interface = usize::try_from(packet.if_id)
                            .ok()
                            .and_then(|id| self.interfaces.get(id))
                            .copied();
                        self.bytes.clear();
                        self.bytes.extend_from_slice(packet.packet_data());
                        let ticks = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
                        interface.map(|interface| {
                            let time = interface.microseconds(ticks);
                            (Some(time), interface.link, packet.origlen > packet.caplen)
                        })
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        self.bytes.clear();
                        self.bytes.extend_from_slice(packet.packet_data());
                        let cut =
                            usize::try_from(packet.origlen).is_ok_and(|length| length > self.bytes.len());
                        self.interfaces.first().map(|interface| (None, interface.link, cut))
                    }
                    PcapBlockOwned::NG(_) => None,
                };
                (consumed, found)
            }
            Err(PcapError::Eof) => return Err(None),
            Err(PcapError::Incomplete(_)) => {
                return match self.inner.refill() {
                    Ok(()) => Ok(None),
                    Err(_) => Err(Some(self.damaged())),
                };
            }
            Err(PcapError::UnexpectedEof) => {
                return Err(Some(CaptureError::Cut { path: self.path.clone(), frames: self.frames }));
            }
            Err(PcapError::BufferTooSmall) => {
                let larger = self.inner.data().len().max(BUFFER) * 2;
                let grown = larger <= LARGEST_BLOCK && self.inner.grow(larger) && self.inner.refill().is_ok();
                return if grown { Ok(None) } else { Err(Some(self.damaged())) };
            }
            Err(_) => return Err(Some(self.damaged())),
        };
        self.inner.consume(consumed);
        Ok(found)
    }

    fn damaged(&self) -> CaptureError {
        CaptureError::Damaged { path: self.path.clone(), frames: self.frames }
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

impl Reader {
    /// The bytes of the frame that was given last.
    pub(super) fn current(&self) -> &[u8] {
        &self.bytes
    }
}
