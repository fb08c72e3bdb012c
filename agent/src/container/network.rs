//! What a container has sent and received: the sum over the interfaces of its network namespace.
//!
//! `/proc/PID/net/dev` is opened once. The open file holds the namespace, so that the last values can be read when the
//! process is gone.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};

use super::cgroup::Scratch;
use super::place::Root;

/// Traffic, summed over interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What was received.
    pub received: Direction,
    /// What was sent.
    pub sent: Direction,
}

/// One direction of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets that were dropped.
    pub drops: u64,
}

impl Direction {
    fn add(&mut self, [bytes, packets, errors, drops]: [u64; 4]) {
        self.bytes = self.bytes.wrapping_add(bytes);
        self.packets = self.packets.wrapping_add(packets);
        self.errors = self.errors.wrapping_add(errors);
        self.drops = self.drops.wrapping_add(drops);
    }
}

/// What a read of the file told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The sum over all interfaces but loopback.
    pub traffic: Traffic,
    /// How many interfaces were summed.
    pub interfaces: usize,
    /// Changes when an interface comes, goes or is renamed.
    pub names: u64,
}

/// The open file of a container's network namespace.
#[derive(Debug)]
pub struct Network {
    file: File,
    /// How many interfaces it had last.
    interfaces: usize,
}

impl Network {
    /// Opens the counters of the process's network namespace; `None` when they cannot be read.
    pub fn open(root: &Root, pid: u32) -> Option<Self> {
        let file = File::open(root.of_process(pid, "net/dev")).ok()?;
        Some(Self { file, interfaces: 0 })
    }

    /// The values now, or when the container has `ended`; `None` when they are not known: an engine takes the interfaces away
    /// one by one, and their counters with them.
    pub fn read(&mut self, scratch: &mut Scratch, ended: bool) -> Option<Seen> {
        let seen = parse(scratch.text(&self.file)?)?;
        let fewest = if ended { self.interfaces } else { self.interfaces.min(1) };
        if seen.interfaces < fewest {
            return None;
        }
        self.interfaces = seen.interfaces;
        Some(seen)
    }
}

/// From the text of `/proc/net/dev`; `None` when it is something else.
pub fn parse(text: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut names = DefaultHasher::new();
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with("Inter-"))?;
    for line in lines.skip(1) {
        let (name, counters) = line.rsplit_once(':')?;
        let name = name.trim();
        if name == "lo" {
            continue;
        }
        let mut fields = [0_u64; 16];
        for (field, text) in fields.iter_mut().zip(counters.split_ascii_whitespace()) {
            *field = text.parse().ok()?;
        }
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_drops,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_drops,
            ..,
        ] = fields;
        seen.traffic.received.add([rx_bytes, rx_packets, rx_errors, rx_drops]);
        seen.traffic.sent.add([tx_bytes, tx_packets, tx_errors, tx_drops]);
        seen.interfaces += 1;
        names.write(name.as_bytes());
        names.write_u8(b':');
    }
    seen.names = names.finish();
    Some(seen)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive                                                |  Transmit\n \
                        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    #[test]
    fn interfaces_are_summed_without_loopback() {
        let text = format!(
            "{HEAD}    lo:  999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0\n  eth0:  1296  16 1 2 0 0 0 0  5000000000  7 3 4 0 0 0 0\n\
             eth1:0: 4 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n"
        );
        let seen = parse(&text).unwrap();
        assert_eq!(seen.interfaces, 2);
        assert_eq!(seen.traffic.received, Direction { bytes: 1300, packets: 17, errors: 1, drops: 2 });
        assert_eq!(seen.traffic.sent, Direction { bytes: 5_000_000_008, packets: 8, errors: 3, drops: 4 });
        let fewer = parse(&text.replace("eth1:0", "eth2")).unwrap();
        assert_ne!(fewer.names, seen.names, "a renamed interface shows");
    }

    #[test]
    fn other_texts_are_no_counters() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("hello"), None);
        assert_eq!(parse(&format!("{HEAD} eth0: 1 2 x\n")), None);
        assert_eq!(parse(HEAD).map(|seen| seen.interfaces), Some(0));
    }

    #[test]
    fn counters_that_went_away_with_their_interface_are_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::create_dir_all(folder.path().join("proc/7/net")).unwrap();
        let path = folder.path().join("proc/7/net/dev");
        std::fs::write(&path, HEAD).unwrap();
        let mut network = Network::open(&root, 7).unwrap();
        let mut scratch = Scratch::default();
        let mut sent = |text: &str, ended| {
            std::fs::write(&path, text).unwrap();
            network.read(&mut scratch, ended).map(|seen| seen.traffic.sent.bytes)
        };
        let one = format!("{HEAD} eth0: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n");
        let two = format!("{one} eth1: 1 2 0 0 0 0 0 0 5 4 0 0 0 0 0 0\n");
        assert_eq!(sent(HEAD, true), Some(0), "a container without a network");
        assert_eq!(sent(&two, false), Some(8));
        assert_eq!(sent(&one, true), None, "the engine has taken one away, and is about to take the other");
        assert_eq!(sent(&one, false), Some(3), "it was disconnected from a network");
        assert_eq!(sent(&one, true), Some(3));
        assert_eq!(sent(HEAD, false), None);
        assert!(Network::open(&root, 8).is_none());
    }
}
