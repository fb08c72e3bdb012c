//! Network namespaces of a test's own, and what the kernel counts in them.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::OnceLock;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::live::run;

/// A name for what this process makes on the machine for all to see. Its number alone may be another one's too, in another
/// PID namespace.
pub(crate) fn own_name(role: &str) -> String {
    static RANDOM: OnceLock<u64> = OnceLock::new();
    let random = RANDOM.get_or_init(|| RandomState::new().hash_one(0)) & 0xff_ffff;
    format!("finderscope-{}-{random:06x}-{role}", std::process::id())
}

/// A network namespace. It has a name only while it is furnished; then it lives as long as this handle and what
/// runs in it, so that nothing is left when the test is killed.
pub(crate) struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// A new one, named by this process and `role`, with its loopback up and IPv6's chatter off.
    pub(crate) fn new(role: &str) -> Self {
        let name = own_name(role);
        run("ip", &["netns", "add", &name]);
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let namespace = Self { name, file };
        namespace.inside(|| {
            run("ip", &["link", "set", "lo", "up"]);
            for which in ["all", "default"] {
                // A kernel without IPv6 has no such file, and no chatter.
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
        });
        namespace
    }

    /// The one that a process is in.
    pub(crate) fn of_process(process: &str) -> Self {
        let path = format!("/proc/{process}/ns/net");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self { name: String::new(), file }
    }

    /// Its name, for `ip`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes the name away.
    pub(crate) fn hide(&self) {
        run("ip", &["netns", "del", &self.name]);
    }

    /// Runs `body` on a thread inside; sockets it opens and processes it starts are inside as well.
    pub(crate) fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let joined = std::thread::scope(|scope| scope.spawn(|| self.enter_and(body)).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves this thread inside for good, and runs `body`.
    pub(crate) fn enter_and<T>(&self, body: impl FnOnce() -> T) -> T {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It is there only when the test failed before `hide`.
        if !self.name.is_empty() && fs::exists(format!("/run/netns/{}", self.name)).unwrap_or(false) {
            let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        }
    }
}

/// What the kernel has counted at an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) in_octets: u64,
    pub(crate) in_frames: u64,
    pub(crate) out_octets: u64,
    pub(crate) out_frames: u64,
}

/// The kernel's counters of `interface` in the namespace of this thread.
pub(crate) fn link(interface: &str) -> Link {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:")));
    let line = line.unwrap_or_else(|| panic!("no {interface} in:\n{text}"));
    let n: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Link { in_octets: n[0], in_frames: n[1], out_octets: n[8], out_frames: n[9] }
}
