//! One sampled interface: its socket, its pool of packets, its counters.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use decode::DataSource;
use ingest::packets::{self, PacketSocket};

use super::kernel;
use super::sides::At;
use crate::export::Exporter;
use crate::host::interface_records;
use crate::interfaces::{Counters, Interface, Kind};

/// How old the pool that a sample tells may be: reading it costs more than taking a sample.
const POOL_AGE: Duration = Duration::from_millis(20);

/// Why an interface is sampled, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// One packet in so many.
    pub(super) sampling_rate: u32,
    /// Whether packets for others are taken.
    pub(super) promiscuous: bool,
    /// Bytes of a packet.
    pub(super) header_bytes: usize,
}

/// A sampled interface.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) interface: Interface,
    pub(super) how: How,
    pub(super) socket: PacketSocket,
    pub(super) pool: Pool,
    /// When its counters are sent next; never, when they are not polled.
    pub(super) next_poll: Option<Instant>,
    /// Samples sent.
    pub(super) samples: u64,
    /// Samples of a kind that sFlow has no header protocol for, left out.
    pub(super) unsupported: u64,
}

/// The packets that could have been sampled.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Packets since the socket was opened.
    packets: u64,
    /// What the pool was when the interface was asked before, or is, if that is long ago.
    before: u64,
    /// What the last sample told.
    told: u64,
    /// What the interface had counted when it was last asked.
    counted: Option<u64>,
    asked: Option<Instant>,
    /// Samples lost since the socket was opened.
    pub(super) drops: u64,
}

impl Tap {
    /// Begins to sample an interface.
    pub(super) fn open(interface: Interface, how: How, kernel: &OwnedFd, now: Instant) -> io::Result<Self> {
        let socket = PacketSocket::open(&packets::Options {
            ifindex: interface.index,
            sampling_rate: how.sampling_rate,
            header_bytes: how.header_bytes,
            promiscuous: how.promiscuous,
            receive_buffer: packets::RECEIVE_BUFFER,
        })?;
        let mut pool = Pool::default();
        pool.see(&kernel::counters(kernel, interface.index)?, now);
        Ok(Self { interface, how, socket, pool, next_poll: None, samples: 0, unsupported: 0 })
    }

    pub(super) fn source(&self) -> DataSource {
        DataSource { class: 0, index: self.interface.index }
    }

    /// Where its packets are seen.
    pub(super) fn at(&self, bridges: &BTreeSet<u32>) -> At {
        at(&self.interface, bridges)
    }

    /// Brings pool and drops up to date, unless they are.
    pub(super) fn refresh(&mut self, kernel: &OwnedFd, now: Instant) {
        if self.pool.asked.is_some_and(|asked| now.saturating_duration_since(asked) < POOL_AGE) {
            return;
        }
        self.pool.drops = self.socket.drops();
        // An interface that is just going has no counters; the pool then stays as it was.
        if let Ok(counters) = kernel::counters(kernel, self.interface.index) {
            self.pool.see(&counters, now);
        }
    }

    /// Sends the interface's counters and name.
    pub(super) fn send_counters(&mut self, kernel: &OwnedFd, exporter: &mut Exporter, now: Instant) {
        let Ok(counters) = kernel::counters(kernel, self.interface.index) else { return };
        self.pool.see(&counters, now);
        self.pool.drops = self.socket.drops();
        interface_records(&self.interface, &counters, |records| {
            exporter.counters(self.source(), records, now);
        });
    }
}

impl Pool {
    fn see(&mut self, counters: &Counters, now: Instant) {
        let counted = counters.rx_packets.wrapping_add(counters.tx_packets);
        // A driver that is reset begins anew.
        let more = self.counted.map_or(0, |before| counted.checked_sub(before).unwrap_or(counted));
        let recent = self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < 2 * POOL_AGE);
        self.before = if recent { self.packets } else { self.packets + more };
        self.packets += more;
        self.counted = Some(counted);
        self.asked = Some(now);
    }

    /// Packets since the socket was opened; never less than were sampled, though a driver counts late.
    pub(super) fn packets(&self, samples: u64) -> u64 {
        self.packets.max(samples.saturating_add(self.drops))
    }

    /// The pool that the next sample tells; `samples` with it. Of many in a row each tells as much more as it stands for,
    /// within what was counted before and is now: who divides the pool's growth by a number of samples would find all of
    /// it at one of them otherwise.
    pub(super) fn tell(&mut self, sampling_rate: u32, samples: u64) -> u64 {
        let next = self.told.saturating_add(sampling_rate.into());
        self.told = next.clamp(self.before, self.packets).max(samples.saturating_add(self.drops));
        self.told
    }
}

/// A port of a bond, or of anything else that is no bridge, is as any other interface.
fn at(interface: &Interface, bridges: &BTreeSet<u32>) -> At {
    match (interface.kind, interface.master) {
        (Kind::Bridge, _) => At::Bridge(interface.index),
        (_, Some(master)) if bridges.contains(&master) => At::Port(interface.index, master),
        _ => At::Plain(interface.index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(rx_packets: u64, tx_packets: u64) -> Counters {
        Counters { rx_packets, tx_packets, ..Counters::default() }
    }

    #[test]
    fn the_pool_counts_from_the_opening_and_survives_a_reset() {
        let now = Instant::now();
        let mut pool = Pool::default();
        for (rx, tx, packets) in [(1000, 500, 0), (1010, 520, 30), (1010, 520, 30), (5, 2, 37)] {
            pool.see(&counters(rx, tx), now);
            assert_eq!(pool.packets(0), packets);
        }
        pool.drops = 3;
        assert_eq!(pool.packets(40), 43, "what was sampled was there");
    }

    #[test]
    fn of_many_samples_in_a_row_each_tells_what_it_stands_for() {
        let mut now = Instant::now();
        let mut pool = Pool::default();
        pool.see(&counters(0, 0), now);
        let mut told = Vec::new();
        for (passed, counted, samples) in [(20, 40, 3), (20, 90, 6), (1000, 500, 1)] {
            now += Duration::from_millis(passed);
            pool.see(&counters(counted, 0), now);
            told.extend((0..samples).map(|_| pool.tell(10, 1)));
        }
        // The first are a few too few, the next a few too many, and after a pause all is told at once.
        assert_eq!(told, [10, 20, 30, 40, 50, 60, 70, 80, 90, 500]);
    }

    #[test]
    fn a_port_is_a_port_of_a_bridge() {
        let bridges = BTreeSet::from([5]);
        for (kind, master, expected) in [
            (Kind::Bridge, None, At::Bridge(7)),
            (Kind::Veth, Some(5), At::Port(7, 5)),
            (Kind::Physical, Some(6), At::Plain(7)),
            (Kind::Veth, None, At::Plain(7)),
        ] {
            let interface = Interface { index: 7, kind, master, ..Interface::default() };
            assert_eq!(at(&interface, &bridges), expected);
        }
    }
}
