//! Network namespaces of a program's own, in which it can make interfaces as it likes.
//!
//! One has no name: it lives as long as its handle and the threads and processes inside, however these end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with its loopback still down and the chatter of IPv6 off.
    ///
    /// # Errors
    /// The process lacks the capability CAP_SYS_ADMIN, or has no thread left.
    pub fn new() -> io::Result<Self> {
        let make = || {
            // SAFETY: only the network namespace of this thread changes; it shares no less with others than before, file
            // descriptors among it.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            for (protocol, setting, value) in [("ipv6", "disable_ipv6", "1"), ("ipv4", "rp_filter", "0")] {
                for which in ["all", "default"] {
                    // A kernel without IPv6 has no such file, and no chatter.
                    let _ = fs::write(format!("/proc/sys/net/{protocol}/conf/{which}/{setting}"), value);
                }
            }
            File::open("/proc/thread-self/ns/net").map(Self)
        };
        on_a_thread(make)?
    }

    /// Where another process of this user finds it, as `ip link set netns` takes it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }

    /// Moves this thread inside, for good. What it opens and starts from then on is inside as well.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Runs `body` on a thread of its own inside.
    ///
    /// # Errors
    /// There is no thread left, or the namespace cannot be entered.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| self.enter().map(|()| body()))?
    }
}

fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, body)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
