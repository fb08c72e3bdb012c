//! What this machine lets the process do, as far as receiving goes: capabilities, limits, huge pages.
//!
//! Nothing is changed. What a system does not tell is `None`.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// The capabilities that AF_XDP needs, by their names, and what for.
pub const CAPABILITIES: [(&str, &str); 5] = [
    ("CAP_NET_RAW", "opens the sockets"),
    ("CAP_NET_ADMIN", "attaches the program, and makes receive buffers larger than net.core.rmem_max"),
    ("CAP_BPF", "loads the program"),
    ("CAP_PERFMON", "lets the program do arithmetic with pointers"),
    ("CAP_IPC_LOCK", "keeps the frames in memory, beyond the limit of locked memory"),
];

/// What a process may do here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release, as `uname -r` says.
    pub release: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Whether it has each of [`CAPABILITIES`], in their order.
    pub capabilities: [bool; CAPABILITIES.len()],
    /// Whether it is in a user namespace of its own, where capabilities do not reach the kernel's programs.
    pub own_users: bool,
    /// How much memory it may lock, bytes; `None` for all.
    pub memlock: Option<u64>,
    /// The largest receive buffer that a process without CAP_NET_ADMIN is granted, bytes.
    pub rmem_max: Option<u64>,
    /// Huge pages of the usual size.
    pub huge_pages: HugePages,
}

/// Huge pages that were set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// All of them.
    pub total: u64,
    /// Those that nobody uses.
    pub free: u64,
    /// Bytes of each.
    pub bytes: u64,
}

impl Machine {
    /// Looks.
    pub fn read() -> Self {
        let held = capabilities(None).map(|sets| sets.effective).unwrap_or_else(|_| CapabilitySet::empty());
        let needed = [
            CapabilitySet::NET_RAW,
            CapabilitySet::NET_ADMIN,
            CapabilitySet::BPF,
            CapabilitySet::PERFMON,
            CapabilitySet::IPC_LOCK,
        ];
        let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let rmem_max = fs::read_to_string("/proc/sys/net/core/rmem_max").ok();
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            capabilities: needed.map(|one| held.contains(one)),
            own_users: !is_whole(&users),
            memlock: getrlimit(Resource::Memlock).current,
            rmem_max: rmem_max.and_then(|text| text.trim().parse().ok()),
            huge_pages: HugePages::of(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        }
    }

    /// The capabilities that AF_XDP needs and this process does not have.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = CAPABILITIES.iter().zip(self.capabilities);
        all.filter(|(_, held)| !held).map(|((name, _), _)| *name).collect()
    }
}

/// Whether a map of users is that of the first user namespace: all of them, as themselves.
fn is_whole(map: &str) -> bool {
    map.is_empty() || map.split_whitespace().eq(["0", "0", "4294967295"])
}

impl HugePages {
    /// As `/proc/meminfo` says.
    fn of(text: &str) -> Self {
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
        };
        Self {
            total: number("HugePages_Total").unwrap_or(0),
            free: number("HugePages_Free").unwrap_or(0),
            bytes: number("Hugepagesize").unwrap_or(0).saturating_mul(1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_and_users_are_read_as_the_kernel_writes_them() {
        let text = "MemTotal:  100 kB\nHugePages_Total:      16\nHugePages_Free:        3\nHugepagesize:       2048 kB\n";
        assert_eq!(HugePages::of(text), HugePages { total: 16, free: 3, bytes: 2 << 20 });
        assert_eq!(HugePages::of(""), HugePages::default());
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0       1000          1\n"));
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::read();
        assert!(machine.processors > 0 && machine.release.contains('.'), "{machine:?}");
        assert_eq!(machine.missing().len(), machine.capabilities.iter().filter(|held| !**held).count());
    }
}
