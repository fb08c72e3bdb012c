//! What a container has used, from the files of its control groups. They are opened once and kept, so that the last
//! values can still be read when the container's process has ended.
//!
//! A value that the kernel does not tell is `None`, never 0.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::place::{Controller, Hierarchies, Membership, Root, Version};

/// The longest file that is read, bytes; a longer one is cut there at a line's end.
const LONGEST_FILE: usize = 256 * 1024;

/// Kept between reads, so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
}

impl Scratch {
    /// The text of a file from its beginning; `None` when it cannot be read. What is not UTF-8 ends it.
    pub fn text(&mut self, file: &File) -> Option<&str> {
        self.text_by(|room, at| file.read_at(room, at))
    }

    fn text_by(&mut self, mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> Option<&str> {
        let mut filled = 0;
        let mut whole = false;
        loop {
            if self.bytes.len() < filled + 4_096 {
                self.bytes.resize(filled + 8_192, 0);
            }
            let room = self.bytes.get_mut(filled..)?;
            let most = room.len();
            match read(room, filled as u64) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    // The kernel makes all of a control group's file at once, so that the rest would have come with it.
                    whole = read < most;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The group was removed just after.
                Err(_) if whole => break,
                Err(_) => return None,
            }
            if filled >= LONGEST_FILE {
                break;
            }
        }
        let bytes = self.bytes.get(..filled)?;
        let valid = std::str::from_utf8(bytes)
            .or_else(|error| std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()));
        valid.ok()
    }
}

/// What a container has used up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of processors, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory in use without what is only cached and inactive, as the docker client shows it; bytes.
    pub memory_bytes: Option<u64>,
    /// The limit of memory, bytes; `None` also when there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Block devices.
    pub blocks: Option<Blocks>,
}

/// Requests to block devices, and their bytes, summed over the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Reading requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writing requests.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// The open files of a container's control groups.
#[derive(Debug, Default)]
pub struct Files {
    cpu: Option<(Version, File)>,
    memory: Option<(Version, File)>,
    memory_stat: Option<File>,
    memory_limit: Option<File>,
    blocks: Option<BlockFiles>,
}

#[derive(Debug)]
enum BlockFiles {
    V1 { bytes: File, requests: File },
    V2(File),
}

impl Files {
    /// Opens what is there of a container's counters; what cannot be opened stays unknown.
    pub fn open(root: &Root, hierarchies: &Hierarchies, membership: &Membership) -> Self {
        let folders = |controller| hierarchies.folders(root, controller, membership);
        let cpu = folders(Controller::Cpu).into_iter().find_map(|(version, folder)| {
            let name = if version == Version::V1 { "cpuacct.usage" } else { "cpu.stat" };
            Some((version, open(&folder, name)?))
        });
        let memory = folders(Controller::Memory).into_iter().find_map(|(version, folder)| {
            let (usage, limit) = match version {
                Version::V1 => ("memory.usage_in_bytes", None),
                Version::V2 => ("memory.current", open(&folder, "memory.max")),
            };
            Some((version, open(&folder, usage)?, open(&folder, "memory.stat"), limit))
        });
        let blocks = folders(Controller::Blocks).into_iter().find_map(|(version, folder)| match version {
            Version::V1 => BlockFiles::open_v1(&folder),
            Version::V2 => Some(BlockFiles::V2(open(&folder, "io.stat")?)),
        });
        let (memory, memory_stat, memory_limit) = match memory {
            Some((version, usage, stat, limit)) => (Some((version, usage)), stat, limit),
            None => (None, None, None),
        };
        Self { cpu, memory, memory_stat, memory_limit, blocks }
    }

    /// Whether none of the counters could be opened.
    pub fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none() && self.blocks.is_none()
    }

    /// The values now.
    pub fn read(&self, scratch: &mut Scratch) -> Usage {
        let cpu_ns = self.read_cpu(scratch);
        self.read_others(cpu_ns, scratch)
    }

    /// The time of processors now: the quickest of the counters to read, and the first to be wanted when a container has
    /// ended and its groups are about to be removed.
    pub fn read_cpu(&self, scratch: &mut Scratch) -> Option<u64> {
        let (version, file) = self.cpu.as_ref()?;
        let text = scratch.text(file)?;
        match version {
            Version::V1 => number(text),
            Version::V2 => named(text, "usage_usec")?.checked_mul(1_000),
        }
    }

    /// The other values now, beside a time of processors that was read before.
    pub fn read_others(&self, cpu_ns: Option<u64>, scratch: &mut Scratch) -> Usage {
        let (memory_bytes, memory_limit_bytes) = self.read_memory(scratch).unwrap_or_default();
        let blocks = self.blocks.as_ref().and_then(|files| files.read(scratch));
        Usage { cpu_ns, memory_bytes, memory_limit_bytes, blocks }
    }

    fn read_memory(&self, scratch: &mut Scratch) -> Option<(Option<u64>, Option<u64>)> {
        let (version, file) = self.memory.as_ref()?;
        let used = number(scratch.text(file)?)?;
        let stat = self.memory_stat.as_ref().and_then(|file| scratch.text(file));
        let (inactive, limit) = match version {
            Version::V1 => {
                ("total_inactive_file", stat.and_then(|stat| named(stat, "hierarchical_memory_limit")))
            }
            Version::V2 => ("inactive_file", None),
        };
        // Without its part that is cache the usage would be another number than on other hosts: it is not known then.
        let inactive = stat.and_then(|stat| named(stat, inactive));
        let limit = limit.or_else(|| number(scratch.text(self.memory_limit.as_ref()?)?));
        Some((inactive.map(|inactive| used.checked_sub(inactive).unwrap_or(used)), limit))
    }
}

impl BlockFiles {
    /// The throttling layer counts every device. The files of schedulers (bfq, and cfq of old kernels) count only theirs.
    fn open_v1(folder: &Path) -> Option<Self> {
        let layers = ["blkio.throttle.", "blkio.bfq.", "blkio."];
        let names = layers.iter().flat_map(|layer| ["_recursive", ""].map(|suffix| (layer, suffix)));
        names.into_iter().find_map(|(layer, suffix)| {
            let bytes = open(folder, &format!("{layer}io_service_bytes{suffix}"))?;
            let requests = open(folder, &format!("{layer}io_serviced{suffix}"))?;
            Some(Self::V1 { bytes, requests })
        })
    }

    fn read(&self, scratch: &mut Scratch) -> Option<Blocks> {
        match self {
            Self::V1 { bytes, requests } => {
                let (read_bytes, written_bytes) = of_devices_v1(scratch.text(bytes)?);
                let (reads, writes) = of_devices_v1(scratch.text(requests)?);
                Some(Blocks { reads, read_bytes, writes, written_bytes })
            }
            Self::V2(file) => Some(of_devices_v2(scratch.text(file)?)),
        }
    }
}

fn open(folder: &Path, name: &str) -> Option<File> {
    File::open(folder.join(name)).ok()
}

/// A file that is one number; `max` is none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number after a name at the beginning of a line.
fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

/// Reads and writes of all devices: lines `8:0 Read 4096`.
fn of_devices_v1(text: &str) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(operation), Some(count)) = (words.next(), words.next().and_then(number)) else { continue };
        match operation {
            "Read" => read = read.wrapping_add(count),
            "Write" => written = written.wrapping_add(count),
            _ => {}
        }
    }
    (read, written)
}

/// Reads and writes of all devices: lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn of_devices_v2(text: &str) -> Blocks {
    let mut blocks = Blocks::default();
    for pair in text.split_ascii_whitespace() {
        let Some((name, count)) = pair.split_once('=') else { continue };
        let sum = match name {
            "rios" => &mut blocks.reads,
            "rbytes" => &mut blocks.read_bytes,
            "wios" => &mut blocks.writes,
            "wbytes" => &mut blocks.written_bytes,
            _ => continue,
        };
        *sum = sum.wrapping_add(number(count).unwrap_or(0));
    }
    blocks
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What is read of a file that its group is removed from after so many pieces.
    fn until_it_is_gone(pieces: &[usize]) -> Option<usize> {
        let mut left = pieces.iter();
        let mut scratch = Scratch::default();
        let text = scratch.text_by(|room, _| match left.next() {
            Some(piece) => {
                let length = (*piece).min(room.len());
                room.get_mut(..length).unwrap().fill(b'7');
                Ok(length)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        });
        text.map(str::len)
    }

    #[test]
    fn what_was_read_whole_is_known_also_when_its_group_is_gone_a_moment_later() {
        assert_eq!(until_it_is_gone(&[]), None);
        assert_eq!(until_it_is_gone(&[9]), Some(9));
        assert_eq!(until_it_is_gone(&[8_192]), None, "there may have been more");
        assert_eq!(until_it_is_gone(&[8_192, 100]), Some(8_292));
    }
}
