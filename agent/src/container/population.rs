//! What is open of the containers that run: their counter files, the watch on their processes, and whom an address or an
//! interface belongs to.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use decode::DataSource;
use docker::{Container, Id};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::adapters::{self, Adapter};
use super::cgroup::{Files, Scratch, Usage};
use super::limits::processors;
use super::network::{self, Network};
use super::owners::Owners;
use super::place::{Hierarchies, Membership, Place, Root};
use super::records::{self, Known};
use super::tracker::{Cause, RunState, Sample};
use crate::export::Exporter;
use crate::host;
use crate::sampler::Who;

/// Ends that are taken from the kernel at once.
const ENDS: usize = 64;

/// Places of groups that are remembered; those of two engines' drivers and of some parents.
const PLACES: usize = 8;

/// What a host offers its containers.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Its processors.
    pub processors: u32,
    /// Its memory, bytes.
    pub memory_bytes: Option<u64>,
}

/// The containers that run.
///
/// Its descriptor is readable when a process has ended.
#[derive(Debug)]
pub struct Population {
    root: Root,
    hierarchies: Hierarchies,
    capacity: Capacity,
    /// The kernel's release, which containers share.
    release: String,
    /// Whether a container is called by the host name that its processes see.
    by_hostname: bool,
    epoll: OwnedFd,
    open: HashMap<Id, Open>,
    /// Whom the kernel's words are about: an event of the watch carries the index.
    ids: HashMap<u32, Id>,
    owners: Owners,
    /// Where the groups of containers were found, or are usually.
    places: VecDeque<Place>,
    scratch: Scratch,
    lacks: Lacks,
    unseen: u64,
}

/// What the agent may not do; each is said once.
#[derive(Debug, Default)]
struct Lacks {
    namespaces: bool,
    counters: bool,
    watches: bool,
    processes: bool,
}

#[derive(Debug)]
struct Open {
    index: u32,
    pid: u32,
    /// The processors of its host; absent when its process is not to be seen, and so perhaps not on this one.
    host_processors: Option<u32>,
    hostname: String,
    /// The container whose network it uses.
    joined: Option<Id>,
    /// Leaves the set of watched ones with it.
    _watch: Option<OwnedFd>,
    files: Files,
    network: Option<Network>,
    /// Which interfaces the adapters were listed for.
    names: Option<u64>,
    adapters: Vec<Adapter>,
    adapter_bytes: Vec<u8>,
    processors: u32,
    memory_bytes: Option<u64>,
    /// What goes first when a container has ended, read as soon as its end was seen.
    at_end: Option<AtEnd>,
}

impl Open {
    /// Of a container of which nothing is open.
    fn new(container: &Container, index: u32, host_processors: Option<u32>) -> Self {
        Self {
            index,
            pid: container.pid.unwrap_or_default(),
            host_processors,
            hostname: container.hostname.clone(),
            joined: container.network_mode.strip_prefix("container:").and_then(|id| id.parse().ok()),
            _watch: None,
            files: Files::default(),
            network: None,
            names: None,
            adapters: Vec::new(),
            adapter_bytes: Vec::new(),
            processors: processors(container, host_processors.unwrap_or(u32::MAX)),
            memory_bytes: container.memory_limit_bytes,
            at_end: None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct AtEnd {
    cpu_ns: Option<u64>,
    seen: Option<network::Seen>,
}

/// What was read of a container.
struct Read {
    usage: Usage,
    traffic: Option<network::Traffic>,
    /// Whether its adapters are the engine's to tell, and have changed.
    ask: bool,
}

/// What came of opening a container's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// They are open, and its end will be seen.
    Watched,
    /// They are open; its end is the engine's to tell.
    Unwatched,
    /// It has ended: nobody is in its control groups any more.
    Ended,
    /// Its process is not to be seen: it has ended, or it is hidden.
    Unseen,
}

impl Population {
    /// Without containers.
    ///
    /// # Errors
    /// The mounts of this process cannot be read, or the kernel gives no epoll descriptor.
    pub fn new(root: Root, capacity: Capacity, release: String, by_hostname: bool) -> io::Result<Self> {
        Ok(Self {
            hierarchies: Hierarchies::read(&root)?,
            root,
            capacity,
            release,
            by_hostname,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            open: HashMap::new(),
            ids: HashMap::new(),
            owners: Owners::default(),
            places: Place::usual().into(),
            scratch: Scratch::default(),
            lacks: Lacks::default(),
            unseen: 0,
        })
    }

    /// How many containers have open counters.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Containers whose process was not to be seen.
    pub fn unseen(&self) -> u64 {
        self.unseen
    }

    /// Opens the counters of a container that runs.
    pub fn open(&mut self, container: &Container, index: u32) -> Opened {
        let Some(pid) = container.pid else { return Opened::Unseen };
        // The watch comes first: what is found after it is about a process that it is for, or one before it.
        let watch = match i32::try_from(pid).ok().and_then(Pid::from_raw) {
            Some(process) => pidfd_open(process, PidfdFlags::empty()),
            None => Err(Errno::SRCH),
        };
        if let Err(error) = watch
            && error != Errno::SRCH
            && !std::mem::replace(&mut self.lacks.watches, true)
        {
            tracing::warn!("ends of containers are known from the engine only: pidfd_open: {error}");
        }
        let found = match watch {
            Err(Errno::SRCH) => None,
            _ => self.membership(&container.id, pid),
        };
        let Some(membership) = found else {
            self.unseen += 1;
            return if self.left(&container.id).is_some() { Opened::Ended } else { Opened::Unseen };
        };
        self.remember(&membership, &container.id);
        let files = Files::open(&self.root, &self.hierarchies, &membership);
        if files.is_empty() && !std::mem::replace(&mut self.lacks.counters, true) {
            tracing::warn!(
                "the control group of {} is not to be seen below the agent's /sys/fs/cgroup, so that its counters are not \
                 known; in a container the agent needs --cgroupns=host and that folder",
                container.id.short()
            );
        }
        let network =
            if self.shares_the_hosts(container, pid) { None } else { Network::open(&self.root, pid) };
        let watch = watch.ok().filter(|watch| {
            let data = epoll::EventData::new_u64(index.into());
            epoll::add(&self.epoll, watch, data, epoll::EventFlags::IN).is_ok()
        });
        let opened = if watch.is_some() { Opened::Watched } else { Opened::Unwatched };
        let open = Open::new(container, index, Some(self.capacity.processors));
        self.insert(container, Open { _watch: watch, files, network, ..open });
        opened
    }

    /// Takes in a container that runs as the engine says, although its process is not to be seen. What the engine says of it
    /// is all that is known.
    pub fn open_unseen(&mut self, container: &Container, index: u32) {
        self.insert(container, Open::new(container, index, None));
    }

    /// A process that is not to be seen after a second more has not just ended.
    fn say_what_is_hidden(&mut self, sample: &Sample) {
        let hidden = self.open.get(&sample.id).filter(|open| open.host_processors.is_none());
        if let Some(open) = hidden
            && sample.cause == Cause::Second
            && !std::mem::replace(&mut self.lacks.processes, true)
        {
            tracing::warn!(
                "container {} runs, but its process {} is not to be seen here, so that its counters are not known; if that \
                 is so for all containers, the agent needs --pid=host, or to run on the engine's host",
                sample.id.short(),
                open.pid
            );
        }
    }

    fn insert(&mut self, container: &Container, open: Open) {
        self.ids.insert(open.index, container.id);
        self.open.insert(container.id, open);
        self.set_adapters(container.id, told(container));
    }

    fn membership(&self, id: &Id, pid: u32) -> Option<Membership> {
        // The kernel keeps readers of /proc/PID/cgroup waiting while it makes or removes any group, which can be tens of
        // milliseconds; where others' groups were found it is not asked.
        let places = self.places.iter().map(|place| place.of(id));
        if let Some(found) = { places }.find(|place| self.hierarchies.holds(&self.root, place, pid)) {
            return Some(found);
        }
        let text = fs::read_to_string(self.root.of_process(pid, "cgroup")).ok()?;
        Membership::parse(&text, id, pid == std::process::id()).ok()
    }

    fn remember(&mut self, membership: &Membership, id: &Id) {
        let Some(place) = Place::new(membership, id) else { return };
        if !self.places.contains(&place) {
            self.places.push_front(place);
            self.places.truncate(PLACES);
        }
    }

    /// Whether the container uses the host's network, whose counters are the host's.
    fn shares_the_hosts(&self, container: &Container, pid: u32) -> bool {
        let namespace = |pid| fs::read_link(self.root.of_process(pid, "ns/net")).ok();
        container.network_mode == "host"
            || namespace(pid).is_some_and(|own| namespace(1).is_some_and(|host| host == own))
    }

    /// What the engine says of a container may have changed.
    pub fn update(&mut self, container: &Container) {
        if self.lacks.namespaces {
            self.set_adapters(container.id, told(container));
        }
        if let Some(open) = self.open.get_mut(&container.id) {
            open.processors = processors(container, open.host_processors.unwrap_or(u32::MAX));
            open.memory_bytes = container.memory_limit_bytes;
        }
    }

    /// Closes what is open of a container.
    pub fn close(&mut self, id: &Id) {
        if let Some(open) = self.open.remove(id) {
            self.owners.forget(open.index, &open.adapters);
            self.ids.remove(&open.index);
        }
    }

    /// The watched containers whose process has ended; to be asked again until there are none. Counters that go with the
    /// container are read here, before anything is sent of any of them.
    pub fn ended(&mut self) -> Vec<Id> {
        let Self { epoll, ids, open, scratch, .. } = self;
        note_ends(epoll, ids, open, scratch)
    }

    /// Reads the counters of a container, and gives the sample to the exporter. Gives whether the engine is to be asked what
    /// its adapters are now.
    pub fn send(&mut self, sample: &Sample, exporter: &mut Exporter, now: std::time::Instant) -> bool {
        self.say_what_is_hidden(sample);
        let Read { usage, traffic, ask } = self.read(sample);
        let open = self.open.get(&sample.id);
        let name = open.map(|open| &open.hostname).filter(|name| self.by_hostname && !name.is_empty());
        let identity = host::Identity {
            name: name.unwrap_or(&sample.name).clone(),
            uuid: sample.id.uuid(),
            release: self.release.clone(),
        };
        let adapters = open.map_or((0, [].as_slice()), |open| {
            (u32::try_from(open.adapters.len()).unwrap_or(0), open.adapter_bytes.as_slice())
        });
        let limit =
            [usage.memory_limit_bytes, open.and_then(|open| open.memory_bytes), self.capacity.memory_bytes];
        let known = Known {
            identity: &identity,
            state: sample.state,
            adapters,
            usage,
            traffic,
            processors: open.map_or(u32::MAX, |open| open.processors),
            memory_bytes: limit.into_iter().flatten().min(),
        };
        known.with_records(|records| exporter.counters(records::source(sample.index), records, now));
        ask
    }

    fn read(&mut self, sample: &Sample) -> Read {
        let Sample { id, state, .. } = sample;
        if self.joins_the_hosts(id)
            && let Some(open) = self.open.get_mut(id)
        {
            open.network = None;
        }
        let Some(open) = self.open.get_mut(id) else {
            let usage = if sample.newest { self.left_over(id) } else { None };
            return Read { usage: usage.unwrap_or_default(), traffic: None, ask: false };
        };
        let stopped = *state == RunState::Stopped;
        let at_end = open.at_end.unwrap_or_else(|| {
            let network = open.network.as_mut();
            AtEnd {
                cpu_ns: open.files.read_cpu(&mut self.scratch),
                seen: network.and_then(|network| network.read(&mut self.scratch, stopped)),
            }
        });
        let AtEnd { cpu_ns, seen } = at_end;
        let usage = open.files.read_others(cpu_ns, &mut self.scratch);
        let mut ask = false;
        if let Some(seen) = seen
            && open.names != Some(seen.names)
            && !stopped
        {
            // What the engine said when the container was opened holds until its interfaces change.
            let changed = open.names.replace(seen.names).is_some();
            let pid = open.pid;
            self.list_adapters(*id, pid);
            ask = changed && self.lacks.namespaces;
        }
        Read { usage, traffic: seen.map(|seen| seen.traffic), ask }
    }

    /// Whether a container uses the network of another one, which is the host's. The other may be opened later.
    fn joins_the_hosts(&self, id: &Id) -> bool {
        let joined = self.open.get(id).and_then(|open| open.joined);
        joined.and_then(|joined| self.open.get(&joined)).is_some_and(|joined| joined.network.is_none())
    }

    /// What a container has used that was over before its counters could be opened: its groups are there for some
    /// milliseconds more. `None` when they are gone, or when a process is in them.
    fn left_over(&mut self, id: &Id) -> Option<Usage> {
        let files = Files::open(&self.root, &self.hierarchies, &self.left(id)?);
        Some(files.read(&mut self.scratch))
    }

    /// The groups of a container, where those of others were, when nobody is in them.
    fn left(&self, id: &Id) -> Option<Membership> {
        let mut places = self.places.iter().map(|place| place.of(id));
        places.find(|place| self.hierarchies.is_deserted(&self.root, place))
    }

    /// The adapters are listed when interfaces have come or gone. Where the namespace may not be entered, the engine's
    /// word holds.
    fn list_adapters(&mut self, id: Id, pid: u32) {
        if self.lacks.namespaces {
            return;
        }
        let Self { root, epoll, ids, open, scratch, .. } = self;
        let meanwhile = || drop(note_ends(epoll, ids, open, scratch));
        match adapters::of_process(root, pid, meanwhile) {
            Ok(adapters) => self.set_adapters(id, adapters),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.lacks.namespaces = true;
                tracing::info!(
                    "the adapters of containers are known from the engine only ({error}): with CAP_SYS_ADMIN and \
                     CAP_SYS_PTRACE the agent also tells those that the engine does not know, and which interface of \
                     the host leads to which container"
                );
            }
            // It has just ended.
            Err(_) => {}
        }
    }

    fn set_adapters(&mut self, id: Id, adapters: Vec<Adapter>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        // The packets of a network that several use are those of whose network it is.
        if open.joined.is_none() {
            self.owners.forget(open.index, &open.adapters);
            self.owners.add(open.index, &adapters);
        }
        open.adapter_bytes = records::adapter_bytes(&adapters);
        open.adapters = adapters;
    }
}

/// The containers whose process has ended, as the kernel tells them again until they are closed. What goes with a
/// container is read at once.
fn note_ends(
    epoll: &OwnedFd,
    ids: &HashMap<u32, Id>,
    open: &mut HashMap<Id, Open>,
    scratch: &mut Scratch,
) -> Vec<Id> {
    let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
    let mut events = [none; ENDS];
    let ready = epoll::wait(epoll, &mut events, Some(&Timespec::default())).unwrap_or(0);
    let index = |event: &epoll::Event| {
        let data = event.data;
        u32::try_from(data.u64()).ok()
    };
    let ended = events.iter().take(ready).filter_map(|event| ids.get(&index(event)?).copied());
    let ended: Vec<Id> = ended.collect();
    for id in &ended {
        if let Some(open) = open.get_mut(id) {
            open.at_end.get_or_insert_with(|| AtEnd {
                cpu_ns: open.files.read_cpu(scratch),
                seen: open.network.as_mut().and_then(|network| network.read(scratch, true)),
            });
        }
    }
    ended
}

impl Who for Population {
    fn by_mac(&self, mac: &[u8; 6]) -> Option<DataSource> {
        self.owners.by_mac(mac).map(records::source)
    }

    fn by_ifindex(&self, ifindex: u32) -> Option<DataSource> {
        self.owners.by_peer(ifindex).map(records::source)
    }
}

impl AsFd for Population {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Population {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// The adapters that the engine tells of.
fn told(container: &Container) -> Vec<Adapter> {
    let mac = |mac| Adapter { mac, peer: None };
    container.networks.iter().filter_map(|network| network.mac).map(mac).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests;
