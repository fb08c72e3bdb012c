//! The file of the audit log: appended to, rotated, never rewritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FILE, OLD_FILE};

/// How much of the end of the file is read to find the last number.
const TAIL_BYTES: u64 = 256 << 10;

/// Whether a new file was begun.
#[derive(Debug)]
pub(super) enum Rotated {
    No,
    /// The file before; its last lines may not be on the disk.
    Away(Arc<fs::File>),
}

#[derive(Debug)]
pub(super) struct File {
    directory: PathBuf,
    path: PathBuf,
    handle: Arc<fs::File>,
    bytes: u64,
    /// The file ends within a line.
    torn: bool,
}

impl File {
    /// Opens it, and finds the last number in it or in the file before it.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Option<u64>)> {
        let path = directory.join(FILE);
        let handle = append_to(&path)?;
        fs::File::open(directory)?.sync_all()?;
        let bytes = handle.metadata()?.len();
        let tail = tail(&path)?;
        let last = match last_id(&tail) {
            Some(last) => Some(last),
            None => {
                let old = directory.join(OLD_FILE);
                if old.is_file() { last_id(&self::tail(&old)?) } else { None }
            }
        };
        let torn = tail.last().is_some_and(|byte| *byte != b'\n');
        Ok((Self { directory: directory.to_owned(), path, handle: Arc::new(handle), bytes, torn }, last))
    }

    /// Appends a line, in a new file if this one has the size.
    pub(super) fn append(&mut self, line: &str, file_bytes: u64) -> io::Result<Rotated> {
        let rotated = if self.bytes > 0 && self.bytes >= file_bytes { self.rotate()? } else { Rotated::No };
        let torn = std::mem::replace(&mut self.torn, true);
        let mut handle = &*self.handle;
        if torn {
            handle.write_all(b"\n")?;
            self.bytes += 1;
        }
        handle.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.torn = false;
        Ok(rotated)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn handle(&self) -> Arc<fs::File> {
        Arc::clone(&self.handle)
    }

    fn rotate(&mut self) -> io::Result<Rotated> {
        match fs::rename(&self.path, self.directory.join(OLD_FILE)) {
            // It was renamed before, and the next one could not be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        let next = Arc::new(append_to(&self.path)?);
        // A name that is lost in a crash is lost with lines that nobody was told are on the disk.
        fs::File::open(&self.directory)?.sync_all()?;
        self.bytes = 0;
        self.torn = false;
        Ok(Rotated::Away(std::mem::replace(&mut self.handle, next)))
    }
}

fn append_to(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The largest number of the lines that are whole.
fn last_id(tail: &[u8]) -> Option<u64> {
    let id = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).ok()?.get("id")?.as_u64();
    tail.split(|byte| *byte == b'\n').filter_map(id).max()
}
