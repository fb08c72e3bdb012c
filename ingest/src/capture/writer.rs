//! Writes pcap files with microsecond timestamps.

use std::io::{self, Write};

/// Bytes of a frame that readers accept at most.
const SNAPLEN: u32 = 262_144;

/// A pcap file being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file of one link type: see [`super::link`].
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, link: i32) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&2_u16.to_le_bytes())?;
        out.write_all(&4_u16.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&SNAPLEN.to_le_bytes())?;
        out.write_all(&link.to_le_bytes())?;
        Ok(Self { out })
    }

    /// Goes on with a file that was begun by [`Writer::new`].
    pub fn resume(out: W) -> Self {
        Self { out }
    }

    /// Adds a frame that was `length` bytes long, of which `bytes` were captured.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn frame(&mut self, time_us: u64, bytes: &[u8], length: u32) -> io::Result<()> {
        let captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(time_us / 1_000_000).unwrap_or(u32::MAX);
        let fraction = (time_us % 1_000_000) as u32;
        for word in [seconds, fraction, captured, length.max(captured)] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(bytes)
    }

    /// Hands buffered bytes on.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
