//! What the kernel has counted of a cgroup, by the paths that its documentation names.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The file that holds a cgroup's processor time. It stays open, and can be read until the cgroup is gone.
pub(super) struct Cpu(File);

impl Cpu {
    /// Of the cgroup with this path below the root of its hierarchy.
    pub(super) fn open(cgroup: &str) -> Self {
        let v1 = ["cpuacct", "cpu,cpuacct"]
            .map(|tree| PathBuf::from(format!("/sys/fs/cgroup/{tree}/{cgroup}/cpuacct.usage")));
        let v2 = PathBuf::from(format!("/sys/fs/cgroup/{cgroup}/cpu.stat"));
        let beside = PathBuf::from(format!("/sys/fs/cgroup/unified/{cgroup}/cpu.stat"));
        let file = v1.into_iter().chain([v2.clone(), beside]).find_map(|path| File::open(path).ok());
        Self(file.unwrap_or_else(|| panic!("no cpuacct.usage of {cgroup}, and no {}", v2.display())))
    }

    /// Of the cgroup and all that are or were below it, nanoseconds; `None` when it is gone.
    pub(super) fn ns(&self) -> Option<u64> {
        let mut buffer = [0; 4096];
        let length = self.0.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        match text.lines().find_map(|line| line.strip_prefix("usage_usec ")) {
            Some(microseconds) => Some(microseconds.parse::<u64>().unwrap() * 1000),
            None => Some(text.trim().parse().unwrap()),
        }
    }
}

/// Memory in use as the docker client shows it, of the cgroup with this path, bytes.
pub(super) fn memory_bytes(cgroup: &str) -> u64 {
    let v1 = PathBuf::from(format!("/sys/fs/cgroup/memory/{cgroup}"));
    let v2 = PathBuf::from(format!("/sys/fs/cgroup/{cgroup}"));
    let (folder, usage, inactive) = match v1.is_dir() {
        true => (v1, "memory.usage_in_bytes", "total_inactive_file "),
        false => (v2, "memory.current", "inactive_file "),
    };
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let stat = text("memory.stat");
    let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)).unwrap();
    text(usage).trim().parse::<u64>().unwrap() - inactive.parse::<u64>().unwrap()
}
