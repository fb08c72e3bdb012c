//! The time of processors that programs have had, as the kernel accounts for it by cgroup: to the nanosecond with version 1,
//! to the microsecond with 2, with threads and children that have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::docker_lab::{Lab, cgroups};

/// A cgroup. It goes with the lab.
pub(crate) struct Account {
    folder: PathBuf,
}

impl Account {
    /// A new one below that of the lab's containers, for programs that join it.
    pub(crate) fn new(lab: &Lab, name: &str) -> Self {
        let folder = accounting().join(lab.cgroup()).join(name);
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        Self { folder }
    }

    /// That of the engine, its containerd and the shims of its containers, and of what these start.
    pub(crate) fn of_engine(lab: &Lab) -> Self {
        let name = format!("{}-engine", lab.cgroup());
        let folder = accounting().join(&name);
        // The tree in which the lab has put them may be one that does not account.
        if folder != cgroups().join(&name) {
            fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            let processes = fs::read_to_string(cgroups().join(&name).join("cgroup.procs")).unwrap();
            for process in processes.lines() {
                // One that ends at this moment is no matter.
                let _ = fs::write(folder.join("cgroup.procs"), process);
            }
        }
        Self { folder }
    }

    /// Where it is; who writes its number into `cgroup.procs` joins.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was used up to now.
    pub(crate) fn used(&self) -> Duration {
        used(&self.folder)
    }
}

/// The tree that accounts for processors: the one of version 2, or version 1's `cpuacct`.
pub(crate) fn accounting() -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() { root.to_owned() } else { root.join("cpuacct") }
}

/// What all that was in a cgroup of [`accounting`] has used.
pub(crate) fn used(folder: &Path) -> Duration {
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    if let Ok(text) = fs::read_to_string(folder.join("cpuacct.usage")) {
        return Duration::from_nanos(number(&text));
    }
    let stat = fs::read_to_string(folder.join("cpu.stat"));
    let stat = stat.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    Duration::from_micros(number(stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap()))
}
