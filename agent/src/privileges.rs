//! What the process may do once it has begun: everything that it does not need any more is given up, for good.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What the agent goes on to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Interfaces are sampled, and more of them may come.
    pub packets: bool,
    /// Containers are followed, whose network namespaces are entered.
    pub containers: bool,
}

/// Gives up all other capabilities, and the right to gain any. What is needed is kept only where it is held.
///
/// # Errors
/// The kernel refuses, although there is something to give up.
pub fn give_up_all_but(needs: Needs) -> io::Result<()> {
    set_no_new_privs(true)?;
    let held = capabilities(None)?;
    let kept = needed(needs) & held.permitted;
    if held.permitted == kept && held.inheritable.is_empty() {
        return Ok(());
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    match set_capabilities(None, sets) {
        // A unit may forbid the call, having given no more than the least itself.
        Err(Errno::PERM) if (held.permitted & !CapabilitySet::NET_RAW).is_empty() => Ok(()),
        done => Ok(done?),
    }
}

fn needed(needs: Needs) -> CapabilitySet {
    let mut set = CapabilitySet::empty();
    set.set(CapabilitySet::NET_RAW, needs.packets);
    set.set(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE, needs.containers);
    set
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::Ipv4Addr;

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;

    /// Each in a thread of its own: what is given up does not come back.
    fn after(needs: Needs) -> (CapabilitySets, bool) {
        let thread = std::thread::spawn(move || {
            give_up_all_but(needs).unwrap();
            let raw = socket(AddressFamily::PACKET, SocketType::DGRAM, None);
            (capabilities(None).unwrap(), raw.is_ok())
        });
        thread.join().unwrap()
    }

    #[test]
    fn what_is_not_needed_is_gone() {
        let held = capabilities(None).unwrap().permitted;
        let (sets, raw) = after(Needs { packets: false, containers: false });
        assert!(sets.permitted.is_empty() && sets.effective.is_empty() && sets.inheritable.is_empty());
        assert!(!raw, "a packet socket needs a capability");
        let (sets, raw) = after(Needs { packets: true, containers: false });
        assert_eq!(sets.effective, CapabilitySet::NET_RAW & held);
        assert_eq!(raw, held.contains(CapabilitySet::NET_RAW));
        let (sets, _) = after(Needs { packets: false, containers: true });
        assert_eq!(sets.effective, (CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE) & held);
        // The other threads keep theirs, and what needs nothing goes on.
        assert_eq!(capabilities(None).unwrap().permitted, held);
        assert!(std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok());
    }
}
