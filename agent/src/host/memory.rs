//! Memory: `/proc/meminfo` and `/proc/vmstat`; record 0:2004.

use decode::counter;

use super::row::Row;

/// What `/proc/meminfo` tells, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) total: Option<u64>,
    pub(super) free: Option<u64>,
    shared: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    /// What the kernel gives back of its own when memory is wanted: the names and attributes of files.
    reclaimable: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let place = match name {
                "MemTotal" => &mut info.total,
                "MemFree" => &mut info.free,
                "Shmem" => &mut info.shared,
                "Buffers" => &mut info.buffers,
                "Cached" => &mut info.cached,
                "SReclaimable" => &mut info.reclaimable,
                "SwapTotal" => &mut info.swap_total,
                "SwapFree" => &mut info.swap_free,
                _ => continue,
            };
            let kib = value.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            *place = kib.and_then(|kib| kib.checked_mul(1024));
        }
        info
    }
}

/// What `/proc/vmstat` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paging {
    /// KiB read from and written to disks, as the kernel counts them.
    page_in: Option<u64>,
    page_out: Option<u64>,
    /// Pages.
    swap_in: Option<u64>,
    swap_out: Option<u64>,
}

impl Paging {
    pub(super) fn parse(text: &str) -> Self {
        let mut paging = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let place = match name {
                "pgpgin" => &mut paging.page_in,
                "pgpgout" => &mut paging.page_out,
                "pswpin" => &mut paging.swap_in,
                "pswpout" => &mut paging.swap_out,
                _ => continue,
            };
            *place = value.trim().parse().ok();
        }
        paging
    }
}

/// 0:2004.
pub(super) fn row(info: &Info, paging: &Paging) -> Option<Row> {
    let cells = [
        info.total,
        info.free,
        info.shared,
        info.buffers,
        // As free(1) counts it: else memory that is there for the asking would seem to be in use.
        info.cached.map(|cached| cached.saturating_add(info.reclaimable.unwrap_or(0))),
        info.swap_total,
        info.swap_free,
        paging.page_in,
        paging.page_out,
        paging.swap_in,
        paging.swap_out,
    ]
    .map(Into::into);
    Row::new(&counter::HOST_MEMORY, cells.len(), &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_missing_huge_or_new() {
        let info = Info::parse(
            "MemTotal:  2 kB\nMemAvailable: 7 kB\nNew(x): 1\nMemFree: 18446744073709551615 kB\nno colon\n",
        );
        assert_eq!(info, Info { total: Some(2048), ..Info::default() });
        assert_eq!(Info::parse(""), Info::default());
        let paging = Paging::parse("pgpgin 7\npgpgout 18446744073709551615\npswpin x\npgpginx 9\n");
        assert_eq!(paging, Paging { page_in: Some(7), page_out: Some(u64::MAX), ..Paging::default() });
    }
}
