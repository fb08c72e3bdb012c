//! Disks: `/proc/diskstats` and the file systems of `/proc/self/mounts`; record 0:2005.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use decode::counter;

use super::row::{Cell, Row};

/// Bytes of a sector, which is this everywhere in the kernel's statistics.
const SECTOR: u64 = 512;
/// File systems that are asked at most.
const MOST_MOUNTS: usize = 256;

/// Sums over the whole disks of `/proc/diskstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transfers {
    disks: u32,
    reads: u64,
    read_bytes: u64,
    read_ms: u64,
    writes: u64,
    written_bytes: u64,
    write_ms: u64,
}

impl Transfers {
    /// Reads the text; `whole` tells which names are disks, neither parts of one nor made of others.
    pub(super) fn parse(text: &str, whole: impl Fn(&str) -> bool) -> Self {
        let mut sum = Self::default();
        let twice: BTreeSet<String> =
            text.lines().filter_map(named).filter_map(|(name, _)| joined(name)).collect();
        for (name, line) in text.lines().filter_map(named) {
            let words = line.split_ascii_whitespace().skip(3);
            // Reads, merged, sectors, ms; writes, merged, sectors, ms.
            let mut numbers = [0; 8];
            let mut read = 0;
            for (place, word) in numbers.iter_mut().zip(words) {
                let Ok(number) = word.parse::<u64>() else { break };
                *place = number;
                read += 1;
            }
            if read < numbers.len() || !whole(name) || twice.contains(name) {
                continue;
            }
            let [reads, _, read_sectors, read_ms, writes, _, written_sectors, write_ms] = numbers;
            sum.disks += 1;
            for (place, number) in [
                (&mut sum.reads, reads),
                (&mut sum.read_bytes, read_sectors.wrapping_mul(SECTOR)),
                (&mut sum.read_ms, read_ms),
                (&mut sum.writes, writes),
                (&mut sum.written_bytes, written_sectors.wrapping_mul(SECTOR)),
                (&mut sum.write_ms, write_ms),
            ] {
                *place = place.wrapping_add(number);
            }
        }
        sum
    }

    /// The number, if there is a disk.
    fn known(&self, number: u64) -> Cell {
        if self.disks > 0 { Cell::Number(number) } else { Cell::Unknown }
    }
}

/// The name in a line of `/proc/diskstats`, with the line.
fn named(line: &str) -> Option<(&str, &str)> {
    Some((line.split_ascii_whitespace().nth(2)?, line))
}

/// The disk that a way to it leads to, `nvme0n1` of `nvme0c1n1`: a disk with several controllers has a device for each of
/// them, and one for all of them together, which newer kernels count too.
fn joined(name: &str) -> Option<String> {
    let (subsystem, rest) = name.strip_prefix("nvme")?.split_once('c')?;
    let (_, namespace) = rest.split_once('n')?;
    Some(format!("nvme{subsystem}n{namespace}"))
}

/// Mount points of the file systems on local block devices, one for each device: of those that hold data of their own
/// and can fill up.
pub(super) fn mounts(text: &str) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut points = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(point), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // These are full by nature.
        let image = matches!(kind, "squashfs" | "iso9660" | "udf" | "erofs" | "cramfs");
        if source.starts_with("/dev/") && !image && points.len() < MOST_MOUNTS && seen.insert(source) {
            points.push(PathBuf::from(std::ffi::OsString::from_vec(unescaped(point))));
        }
    }
    points
}

/// Space, tab, newline and backslash stand as three octal digits.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// Size and what users may still write, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    total: u64,
    free: u64,
}

/// What a file system says of itself.
pub(super) fn space_of(root: &Path, point: &Path) -> Option<Capacity> {
    let below = root.join(point.strip_prefix("/").unwrap_or(point));
    let said = rustix::fs::statvfs(&below).ok()?;
    let bytes = |blocks: u64| blocks.checked_mul(said.f_frsize);
    Some(Capacity { total: bytes(said.f_blocks)?, free: bytes(said.f_bavail)? })
}

/// Space on all file systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    total: Option<u64>,
    free: Option<u64>,
    /// Of the fullest one, hundredths of a percent.
    most_used: Option<u64>,
}

impl Space {
    /// Asks each of the mount points.
    pub(super) fn sum(mounts: &[PathBuf], ask: impl Fn(&Path) -> Option<Capacity>) -> Self {
        let mut space = Self::default();
        for said in mounts.iter().filter_map(|point| ask(point)).filter(|said| said.total > 0) {
            let used = u128::from(said.total.saturating_sub(said.free)) * 10_000 / u128::from(said.total);
            let used = u64::try_from(used).unwrap_or(10_000);
            space.total = Some(space.total.unwrap_or(0).saturating_add(said.total));
            space.free = Some(space.free.unwrap_or(0).saturating_add(said.free.min(said.total)));
            space.most_used = space.most_used.max(Some(used));
        }
        space
    }
}

/// 0:2005.
pub(super) fn row(space: &Space, transfers: &Transfers) -> Option<Row> {
    let cells = [
        space.total.into(),
        space.free.into(),
        space.most_used.into(),
        transfers.known(transfers.reads),
        transfers.known(transfers.read_bytes),
        transfers.known(transfers.read_ms),
        transfers.known(transfers.writes),
        transfers.known(transfers.written_bytes),
        transfers.known(transfers.write_ms),
    ];
    Row::new(&counter::HOST_DISK_IO, cells.len(), &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_summed() {
        let text = " 254 0 vda 10 1 20 30 40 2 50 60 0 70 80 1 2 3 4 5 6\n 254 1 vda1 9 1 9 9 9 9 9 9 0 0 0\n\
                    \x20259 0 nvme0n1 1 0 2 3 4 0 5 6 0 0 0\n 7 0 loop0 1 1 1 1 1 1 1 1 0 0 0\n 8 0 vdx 1 2 3\n 8 1\n 8 2 vdy x\n";
        let sum = Transfers::parse(text, |name| matches!(name, "vda" | "nvme0n1" | "vdx" | "vdy"));
        let expected = Transfers {
            disks: 2,
            reads: 11,
            read_bytes: 22 * 512,
            read_ms: 33,
            writes: 44,
            written_bytes: 55 * 512,
            write_ms: 66,
        };
        assert_eq!(sum, expected);
        assert_eq!(Transfers::parse(text, |_| false), Transfers::default());
        let ways = " 259 0 nvme0n1 7 0 0 0 5 0 0 0\n 259 1 nvme0c0n1 3 0 0 0 1 0 0 0\n 259 2 nvme0c1n1 4 0 0 0 4 0 0 0\n \
                    259 3 nvme1n1 10 0 0 0 20 0 0 0\n";
        let sum = Transfers::parse(ways, |_| true);
        assert_eq!((sum.disks, sum.reads, sum.writes), (3, 17, 25), "each transfer once");
        let huge = "8 0 sda 18446744073709551615 0 36028797018963969 1 1 1 1 1\n8 1 sdb 2 0 1 1 1 1 1 1\n";
        assert_eq!(Transfers::parse(huge, |_| true).reads, 1, "counters wrap");
    }

    #[test]
    fn each_device_once_and_no_images() {
        let text = "/dev/vda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/vda1 /etc/hosts ext4 rw 0 0\n\
                    /dev/loop3 /snap/x squashfs ro 0 0\n/dev/mapper/data /srv/a\\040b\\134c xfs rw 0 0\n\
                    10.0.0.1:/x /nfs nfs4 rw 0 0\n/dev/sdc\n\n";
        assert_eq!(mounts(text), [Path::new("/"), Path::new("/srv/a b\\c")]);
        let many: String = (0..1000).map(|n| format!("/dev/x{n} /{n} ext4 rw\n")).collect();
        assert_eq!(mounts(&many).len(), MOST_MOUNTS);
        assert_eq!(unescaped("a\\04\\400\\"), b"a\\04\\400\\");
    }

    #[test]
    fn the_fullest_file_system() {
        let mounts: Vec<PathBuf> = ["/a", "/b", "/gone", "/empty", "/odd"].map(PathBuf::from).into();
        let space = Space::sum(&mounts, |point| match point.to_str()? {
            "/a" => Some(Capacity { total: 1000, free: 750 }),
            "/b" => Some(Capacity { total: 3000, free: 811 }),
            "/empty" => Some(Capacity { total: 0, free: 0 }),
            "/odd" => Some(Capacity { total: 10, free: 20 }),
            _ => None,
        });
        assert_eq!(space, Space { total: Some(4010), free: Some(1571), most_used: Some(7296) });
        assert_eq!(Space::sum(&mounts, |_| None), Space::default());
    }
}
