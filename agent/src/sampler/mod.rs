//! Packet samples: which interfaces are sampled, as they come and go.
//!
//! Taking samples from the kernel is [`ingest::packets`]'s; who a container is, is told by a [`Who`].

mod kernel;
mod ports;
mod record;
mod sides;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use decode::build::RecordOut;
use decode::flow::EXTENDED_ENTITIES;
use decode::{DataSource, Mac};
use ingest::packets::MOST_HEADER_BYTES;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, recv};

use crate::export::{Exporter, FlowSampleOut};
use crate::interfaces::{self, Change, Kind};
use crate::settings::Settings;
use ports::Ports;
use record::{ETHERNET, ends, header, macs};
use sides::{At, sides};
use tap::{How, Tap};

/// Interfaces that are sampled at most: each has a socket.
pub const MOST_INTERFACES: usize = 1024;

/// Events that one call takes at most, so that nobody waits long for the thread.
const EVENTS: usize = 32;

/// Knows which data source an address or an interface belongs to.
pub trait Who {
    /// The container with an adapter of this address.
    fn by_mac(&self, mac: &[u8; 6]) -> Option<DataSource>;
    /// The container behind the interface with this ifIndex.
    fn by_ifindex(&self, ifindex: u32) -> Option<DataSource>;
}

/// Knows nobody: without containers.
impl Who for () {
    fn by_mac(&self, _: &[u8; 6]) -> Option<DataSource> {
        None
    }

    fn by_ifindex(&self, _: u32) -> Option<DataSource> {
        None
    }
}

/// What one call of [`Sampler::work`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Samples given to the exporter.
    pub samples: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// An interface that is sampled, for those who want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its ifIndex.
    pub ifindex: u32,
    /// One packet in so many.
    pub sampling_rate: u32,
    /// Whether packets for others are taken.
    pub promiscuous: bool,
    /// Samples sent.
    pub samples: u64,
    /// Packets that could have been sampled.
    pub pool: u64,
    /// Samples lost for want of room.
    pub drops: u64,
    /// Samples left out, because sFlow has no header protocol for them.
    pub unsupported: u64,
}

/// Samples interfaces.
///
/// It never waits: its descriptor is readable when [`Sampler::work`] has something to do. With tokio, put it into an
/// `AsyncFd`, and clear the readiness when `work` says that there is no more.
#[derive(Debug)]
pub struct Sampler {
    settings: Settings,
    /// `/sys/class/net`, where drivers tell speeds.
    class: PathBuf,
    epoll: OwnedFd,
    changes: OwnedFd,
    kernel: OwnedFd,
    taps: BTreeMap<u32, Tap>,
    /// Bridges, by ifIndex: what a port belongs to may be a bond or another thing without a forwarding database.
    bridges: BTreeSet<u32>,
    ports: Ports,
    /// Interfaces that could not be opened, of which was told.
    refused: BTreeSet<u32>,
    random: RandomState,
    interfaces_full: u64,
}

/// The event of [`Sampler::changes`]; no interface has this index.
const CHANGES: u64 = 0;

impl Sampler {
    /// Follows the interfaces of the calling thread's network namespace, and samples those that the settings name.
    ///
    /// # Errors
    /// The kernel gives no netlink socket. An interface that cannot be sampled is told in the log and left out.
    pub fn open(settings: &Settings, exporter: &mut Exporter, now: Instant) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Changes are followed before the list is made, so that nothing falls between.
        let changes = interfaces::follow()?;
        epoll::add(&epoll, &changes, epoll::EventData::new_u64(CHANGES), epoll::EventFlags::IN)?;
        let mut sampler = Self {
            settings: settings.clone(),
            class: PathBuf::from("/sys/class/net"),
            epoll,
            changes,
            kernel: interfaces::open()?,
            taps: BTreeMap::new(),
            bridges: BTreeSet::new(),
            ports: Ports::default(),
            refused: BTreeSet::new(),
            random: RandomState::new(),
            interfaces_full: 0,
        };
        sampler.rescan(exporter, now)?;
        Ok(sampler)
    }

    /// Takes on new settings. Interfaces that are sampled as before lose nothing.
    ///
    /// # Errors
    /// The kernel's list of interfaces cannot be had.
    pub fn reload(&mut self, settings: &Settings, exporter: &mut Exporter, now: Instant) -> io::Result<()> {
        let polling = self.settings.polling != settings.polling;
        self.settings = settings.clone();
        self.refused.clear();
        if polling {
            for (index, tap) in &mut self.taps {
                tap.next_poll = first_poll(&self.random, self.settings.polling, *index, now);
            }
        }
        self.rescan(exporter, now)
    }

    /// Does what is to be done, some of it: takes samples, follows interfaces that come and go.
    pub fn work(&mut self, who: &dyn Who, exporter: &mut Exporter, now: Instant) -> Work {
        let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [none; EVENTS];
        // Asked for no wait, it has no reason to fail; if it did, asking again at once would not help.
        let ready = epoll::wait(&self.epoll, &mut events, Some(&Timespec::default())).unwrap_or(0);
        let mut work = Work { samples: 0, more: ready > 0 };
        for event in events.iter().take(ready) {
            let data = event.data;
            match u32::try_from(data.u64()) {
                Ok(0) | Err(_) => self.follow(exporter, now),
                Ok(index) => work.samples += self.sample(index, who, exporter, now),
            }
        }
        work
    }

    /// When [`Sampler::tick`] has counters to send next.
    pub fn due(&self) -> Option<Instant> {
        self.taps.values().filter_map(|tap| tap.next_poll).min()
    }

    /// Sends the counters of the interfaces whose time has come.
    pub fn tick(&mut self, exporter: &mut Exporter, now: Instant) {
        let is_due = |tap: &Tap| tap.next_poll.is_some_and(|due| due <= now);
        let due: Vec<_> =
            self.taps.values().filter(|tap| is_due(tap)).map(|tap| tap.interface.clone()).collect();
        for interface in due {
            let index = interface.index;
            // Not every driver knows its speed when it tells of its carrier, or tells when its speed changes.
            self.consider(interface, exporter, now);
            let Some(tap) = self.taps.get_mut(&index) else { continue };
            let Some(due) = tap.next_poll.filter(|due| *due <= now) else { continue };
            tap.send_counters(&self.kernel, exporter, now);
            // After a pause of the host the next one is an interval from now, not many at once.
            let next = due + self.settings.polling;
            tap.next_poll = Some(if next > now { next } else { now + self.settings.polling });
        }
    }

    /// The interfaces that are sampled, by ifIndex.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.taps.values().map(|tap| Status {
            name: tap.interface.name.clone(),
            ifindex: tap.interface.index,
            sampling_rate: tap.how.sampling_rate,
            promiscuous: tap.how.promiscuous,
            samples: tap.samples,
            pool: tap.pool.packets(tap.samples),
            drops: tap.pool.drops,
            unsupported: tap.unsupported,
        })
    }

    /// How often an interface was not sampled because [`MOST_INTERFACES`] are.
    pub fn interfaces_full(&self) -> u64 {
        self.interfaces_full
    }

    /// Entries of bridges' forwarding databases that were left out because there were too many.
    pub fn ports_full(&self) -> u64 {
        self.ports.full()
    }

    /// Takes a batch of samples from an interface.
    fn sample(&mut self, index: u32, who: &dyn Who, exporter: &mut Exporter, now: Instant) -> usize {
        let Self { taps, bridges, ports, kernel, .. } = self;
        let Some(tap) = taps.get_mut(&index) else { return 0 };
        tap.refresh(kernel, now);
        let (at, source) = (tap.at(bridges), tap.source());
        let Tap { socket, how, pool, samples, unsupported, .. } = tap;
        let mut given = 0;
        let taken = socket.receive(|sampled| {
            let Some(header) = header(&sampled) else {
                *unsupported += 1;
                return;
            };
            given += 1;
            *samples += 1;
            let macs = if header.protocol == ETHERNET { macs(sampled.bytes) } else { None };
            let (input, output) = match macs {
                Some((from, to)) => sides(at, sampled.direction, from, to, |mac| {
                    at.bridge().and_then(|bridge| ports.place(kernel, bridge, mac, now))
                }),
                None => sides(At::Plain(index), sampled.direction, Mac::default(), Mac::default(), |_| None),
            };
            let ends = ends(who, macs, input, output);
            let known = ends.as_ref().map_or(&[][..], |ends| ends.as_slice());
            let records = [RecordOut::Header(header), RecordOut::Fields(&EXTENDED_ENTITIES, known)];
            let count = if ends.is_some() { 2 } else { 1 };
            let out = FlowSampleOut {
                sampling_rate: how.sampling_rate,
                // The pool wraps, as the specification has it.
                sample_pool: pool.tell(how.sampling_rate, *samples) as u32,
                drops: pool.drops as u32,
                input,
                output,
                records: records.get(..count).unwrap_or_default(),
            };
            exporter.flow(source, &out, now);
        });
        if let Err(error) = taken {
            // Its descriptor would be ready for ever.
            tracing::warn!("{} is no longer sampled: {error}", tap.interface.name);
            exporter.forget(source);
            self.taps.remove(&index);
            self.refused.insert(index);
        }
        given
    }

    /// Reads which interfaces have come, changed or gone.
    fn follow(&mut self, exporter: &mut Exporter, now: Instant) {
        let mut buffer = [0; 32 << 10];
        for _ in 0..EVENTS {
            match recv(&self.changes, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    for change in interfaces::changes(buffer.get(..read).unwrap_or_default()) {
                        self.ports.changed();
                        match change {
                            Change::Link(interface) => self.consider(interface, exporter, now),
                            Change::Gone(index) => self.gone(index, exporter),
                        }
                    }
                }
                // More has changed than the kernel keeps for us.
                Err(rustix::io::Errno::NOBUFS) => {
                    if let Err(error) = self.rescan(exporter, now) {
                        tracing::warn!("the list of interfaces cannot be had: {error}");
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Considers all interfaces there are.
    fn rescan(&mut self, exporter: &mut Exporter, now: Instant) -> io::Result<()> {
        let there = interfaces::list(&self.kernel)?;
        self.ports.changed();
        let indexes: BTreeSet<u32> = there.iter().map(|interface| interface.index).collect();
        let known = self.taps.keys().chain(&self.bridges).chain(&self.refused).copied();
        for index in known.filter(|index| !indexes.contains(index)).collect::<Vec<_>>() {
            self.gone(index, exporter);
        }
        for name in self.settings.pcap.iter().filter_map(|pcap| pcap.device.as_ref()?.name()) {
            if !there.iter().any(|interface| interface.name == name) {
                tracing::info!("{name} is not there; it is sampled when it comes");
            }
        }
        for interface in there {
            self.consider(interface, exporter, now);
        }
        Ok(())
    }

    fn gone(&mut self, index: u32, exporter: &mut Exporter) {
        self.refused.remove(&index);
        self.bridges.remove(&index);
        if let Some(tap) = self.taps.remove(&index) {
            // Its socket leaves the set of descriptors with it.
            tracing::info!("{} is gone, and no longer sampled", tap.interface.name);
            exporter.forget(tap.source());
        }
    }

    /// Samples an interface, stops it, or leaves it as it is, by the settings.
    fn consider(&mut self, mut interface: interfaces::Interface, exporter: &mut Exporter, now: Instant) {
        let index = interface.index;
        if interface.kind == Kind::Bridge {
            self.bridges.insert(index);
        }
        // Drivers are asked only for what may be sampled.
        if self.settings.pcap.iter().any(|pcap| pcap.may_fit(&interface.name, interface.kind)) {
            interfaces::add_speeds(std::slice::from_mut(&mut interface), &self.class);
        }
        let wanted = self.how(&interface);
        match (self.taps.get_mut(&index), wanted) {
            (None, None) => {}
            (Some(tap), Some(how)) if tap.how == how => tap.interface = interface,
            (Some(tap), None) => {
                tracing::info!("{} is no longer sampled", tap.interface.name);
                exporter.forget(tap.source());
                self.taps.remove(&index);
            }
            (_, Some(how)) => {
                if let Some(tap) = self.taps.remove(&index) {
                    exporter.forget(tap.source());
                }
                self.begin(interface, how, exporter, now);
            }
        }
    }

    /// How an interface is to be sampled, if it is.
    fn how(&self, interface: &interfaces::Interface) -> Option<How> {
        let speed = interface.speed_bps;
        let pcap = self.settings.pcap.iter().find(|pcap| pcap.fit(&interface.name, interface.kind, speed))?;
        Some(How {
            sampling_rate: self.settings.rate(pcap, speed),
            promiscuous: pcap.promiscuous.unwrap_or(interface.kind == Kind::Bridge),
            header_bytes: usize::try_from(self.settings.header_bytes).unwrap_or(MOST_HEADER_BYTES),
        })
    }

    fn begin(&mut self, interface: interfaces::Interface, how: How, exporter: &mut Exporter, now: Instant) {
        let index = interface.index;
        if self.taps.len() >= MOST_INTERFACES {
            self.interfaces_full += 1;
            tracing::warn!("{} is not sampled: {MOST_INTERFACES} interfaces are already", interface.name);
            return;
        }
        let name = interface.name.clone();
        let opened = Tap::open(interface, how, &self.kernel, now).and_then(|tap| {
            let data = epoll::EventData::new_u64(index.into());
            epoll::add(&self.epoll, &tap.socket, data, epoll::EventFlags::IN)?;
            Ok(tap)
        });
        match opened {
            Ok(mut tap) => {
                tracing::info!(
                    "{name} is sampled, one packet in {}{}",
                    how.sampling_rate,
                    if how.promiscuous { ", those for others too" } else { "" }
                );
                self.refused.remove(&index);
                if !self.settings.polling.is_zero() {
                    tap.send_counters(&self.kernel, exporter, now);
                }
                tap.next_poll = first_poll(&self.random, self.settings.polling, index, now);
                self.taps.insert(index, tap);
            }
            // It came and went.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
            Err(error) => {
                if self.refused.insert(index) {
                    tracing::warn!("{name} is not sampled: {error}{}", hint(&error));
                }
            }
        }
    }
}

impl AsFd for Sampler {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Sampler {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// A moment within the first interval, so that the counters of many interfaces do not all leave at once.
fn first_poll(random: &RandomState, interval: Duration, index: u32, now: Instant) -> Option<Instant> {
    let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let phase = random.hash_one(index).checked_rem(nanoseconds)?;
    Some(now + Duration::from_nanos(phase))
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; give the agent the capability CAP_NET_RAW, or take the interface out"
        }
        _ => "",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::export::Sink;
    use crate::settings::{Pattern, PcapSettings};

    #[derive(Debug)]
    struct Nobody;

    impl Sink for Nobody {
        fn send(&mut self, _: &[u8]) {}
    }

    /// The loopback with a driver that comes to know its speed without telling.
    #[test]
    fn the_rate_follows_a_speed_of_which_nobody_tells() {
        let (folder, start) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut exporter = Exporter::new([192, 0, 2, 1].into(), 0, Box::new(Nobody), start);
        let device = Some(Pattern("lo".to_owned()));
        let settings = Settings {
            pcap: vec![PcapSettings { device, ..PcapSettings::default() }],
            ..Settings::default()
        };
        let mut sampler = Sampler::open(&settings, &mut exporter, start).unwrap();
        sampler.class = folder.path().to_owned();
        let rate =
            |sampler: &Sampler| sampler.statuses().next().expect("packet sockets need root").sampling_rate;
        assert_eq!(rate(&sampler), 10_000);
        std::fs::create_dir(folder.path().join("lo")).unwrap();
        std::fs::write(folder.path().join("lo/speed"), "1000\n").unwrap();
        sampler.tick(&mut exporter, start + settings.polling);
        assert_eq!(rate(&sampler), 1_000);
    }
}
