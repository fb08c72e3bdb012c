//! The host's own counters, from `/proc`, `/sys` and the list of interfaces: records 0:2000, 0:2001, 0:2003 to 0:2010 and
//! 0:2100. Each file is parsed by a pure function over its text; what a kernel does not tell is sent as unknown, and
//! fields at the end of a structure that it does not know are left out.

mod cpu;
mod disk;
mod identity;
mod interface;
mod memory;
mod row;
mod snmp;
mod uuid;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use decode::DataSource;
use decode::build::RecordOut;
use decode::counter;
use decode::layout::{Adapters, Value};

use crate::interfaces::Interface;
use row::Row;

pub use identity::Identity;
pub use interface::{interface_records, outward};
pub(crate) use uuid::parse as parse_uuid;

/// The data source that stands for the host, and is the parent of its containers: a physical entity.
pub const SOURCE: DataSource = DataSource { class: 2, index: 1 };

/// Largest file of `/proc` that is read, bytes: with 4,096 processors `/proc/stat` has 500 kB.
const LARGEST: u64 = 4 << 20;

/// Adapters that are told at most, so that the sample fits a datagram of 1,400 bytes.
const MOST_ADAPTERS: usize = 32;

/// Where the kernel's files are; for tests, and for an agent that sees the host's under another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
    /// `/etc`
    pub etc: PathBuf,
    /// The folder that mount points are below.
    pub root: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), etc: "/etc".into(), root: "/".into() }
    }
}

/// Reads the host's counters.
#[derive(Clone, Debug)]
pub struct Host {
    roots: Roots,
    /// What does not change while a host runs.
    cpu_mhz: Option<u32>,
    uuid: [u8; 16],
    ticks_per_second: u64,
}

impl Host {
    /// Reads what does not change.
    pub fn new(roots: Roots) -> Self {
        let cpuinfo = text(&roots.proc.join("cpuinfo")).unwrap_or_default();
        let most_khz = text(&roots.sys.join("devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"));
        Self {
            cpu_mhz: cpu::mhz(&cpuinfo, most_khz.as_deref()),
            uuid: uuid::of_host(&roots),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            roots,
        }
    }

    /// The same host under this identity, if one is given.
    pub fn with_uuid(self, uuid: Option<[u8; 16]>) -> Self {
        Self { uuid: uuid.unwrap_or(self.uuid), ..self }
    }

    /// The host's identity, for records 0:2000 of its own and of its containers.
    pub fn identity(&self) -> Identity {
        Identity::read(&self.roots.proc, self.uuid)
    }

    /// Processors of the host, where `/proc/stat` tells.
    pub fn processors(&self) -> Option<u32> {
        self.proc("stat").and_then(|text| cpu::Stat::parse(&text)).and_then(|stat| stat.processors)
    }

    /// Memory of the host in bytes, where `/proc/meminfo` tells.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.proc("meminfo").and_then(|text| memory::Info::parse(&text).total)
    }

    /// Reads all counters; `interfaces` are those of the host's network namespace, `containers` run on it.
    pub fn read(&self, interfaces: &[Interface], containers: u32) -> Sample {
        let stat = self.proc("stat").and_then(|text| cpu::Stat::parse(&text)).unwrap_or_default();
        let load = self.proc("loadavg").map(|text| cpu::Load::parse(&text)).unwrap_or_default();
        let uptime = self.proc("uptime").and_then(|text| cpu::uptime_s(&text));
        let memory = self.proc("meminfo").map(|text| memory::Info::parse(&text)).unwrap_or_default();
        let paging = self.proc("vmstat").map(|text| memory::Paging::parse(&text)).unwrap_or_default();
        let whole = |name: &str| self.roots.sys.join("block").join(name).join("device").exists();
        let transfers =
            self.proc("diskstats").map(|text| disk::Transfers::parse(&text, whole)).unwrap_or_default();
        let mounts = self.proc("self/mounts").map(|text| disk::mounts(&text)).unwrap_or_default();
        let space = disk::Space::sum(&mounts, |point| disk::space_of(&self.roots.root, point));
        let snmp = self.proc("net/snmp").unwrap_or_default();
        let rows = [
            snmp::row(&counter::HOST_UDP, "Udp", "udp", 4, &snmp),
            snmp::row(&counter::HOST_TCP, "Tcp", "tcp", 14, &snmp),
            snmp::row(&counter::HOST_ICMP, "Icmp", "icmp", usize::MAX, &snmp),
            snmp::row(&counter::HOST_IP, "Ip", "ip", usize::MAX, &snmp),
            cpu::node_row(self.cpu_mhz, &stat, &memory, containers),
            disk::row(&space, &transfers),
            memory::row(&memory, &paging),
            cpu::row(&stat, &load, uptime, self.cpu_mhz, self.ticks_per_second),
            interface::total_row(interfaces),
        ];
        let (adapters, adapter_bytes) = interface::adapters(interfaces, MOST_ADAPTERS);
        Sample {
            identity: self.identity(),
            adapters,
            adapter_bytes,
            rows: rows.into_iter().flatten().collect(),
        }
    }

    fn proc(&self, file: &str) -> Option<String> {
        text(&self.roots.proc.join(file))
    }
}

/// The host's counters at one time.
#[derive(Clone, Debug)]
pub struct Sample {
    identity: Identity,
    adapters: u32,
    adapter_bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Sample {
    /// Hands over the records in the order in which they are sent: adapters first, the name last.
    pub fn with_records<T>(&self, then: impl FnOnce(&[RecordOut<'_>]) -> T) -> T {
        let adapters = [Value::Adapters(Adapters::from_bytes(self.adapters, &self.adapter_bytes))];
        let identity = self.identity.values();
        let first = (self.adapters > 0).then_some(RecordOut::Fields(&counter::HOST_ADAPTERS, &adapters));
        let records: Vec<RecordOut<'_>> = first
            .into_iter()
            .chain(self.rows.iter().map(Row::record))
            .chain([RecordOut::Fields(&counter::HOST_DESCR, &identity)])
            .collect();
        then(&records)
    }
}

/// A file of `/proc` as text; none if it cannot be read. Bytes that are no UTF-8 become U+FFFD.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
