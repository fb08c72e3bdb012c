//! Counters samples: interfaces of switches, hosts as Host sFlow sends them, and their containers.

use decode::build::RecordOut;
use decode::layout::{Adapters, Layout, Value};
use decode::{CountersSample, DataSource, Mac, counter};

use crate::agent::{Agent, Sink};
use crate::service::{Container, Volume};
use crate::topology::Port;

/// Processors of every host, and their clock, MHz.
const CPUS: u32 = 8;
const CPU_MHZ: u32 = 2400;

/// Memory of every host, and of the programs on it.
const MEMORY_BYTES: u64 = 64 << 30;
const USED_BYTES: u64 = 4 << 30;
const CONTAINER_BYTES: u64 = 48 << 20;

/// Disk of every host, and of what is on it.
const DISK_BYTES: u64 = 480_000_000_000;
const DISK_FREE_BYTES: u64 = 312_000_000_000;

/// `virDomainState`
const RUNNING: u32 = 1;
const SHUTOFF: u32 = 5;

/// `machine_type` x86_64, `os_name` Linux.
const X86_64: u32 = 3;
const LINUX: u32 = 2;

/// The physical host among an agent's data sources.
const PHYSICAL: DataSource = DataSource { class: 2, index: 1 };

/// A record of a structure whose fields are these numbers.
fn words(layout: &'static Layout, numbers: &[u64]) -> (&'static Layout, Vec<Value<'static>>) {
    use decode::layout::Kind;
    let values = layout
        .fields
        .iter()
        .zip(numbers)
        .map(|(field, number)| match field.kind {
            Kind::U64 => Value::U64(*number),
            // A counter of 32 bits wraps.
            _ => Value::U32(*number as u32),
        })
        .collect();
    (layout, values)
}

fn records<'v>(all: &'v [(&'static Layout, Vec<Value<'v>>)]) -> Vec<RecordOut<'v>> {
    all.iter().map(|(layout, values)| RecordOut::Fields(layout, values)).collect()
}

/// One adapter with one address.
fn adapter(if_index: u32, mac: Mac) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&if_index.to_be_bytes());
    bytes[7] = 1;
    bytes[8..14].copy_from_slice(&mac.0);
    bytes
}

/// Sends the counters of a switch's port.
pub(crate) fn interface(
    port: &mut Port,
    agent: &mut Agent,
    expanded: bool,
    now_us: u64,
    sink: &mut Sink<'_>,
) {
    port.counter_samples = port.counter_samples.wrapping_add(1);
    let name = port.name();
    // ethernetCsmacd, full duplex, administratively and operationally up; everything is unicast.
    let generic = words(
        &counter::IF_COUNTERS,
        &[
            port.if_index.into(),
            6,
            port.speed_bps,
            1,
            3,
            port.in_octets,
            port.in_frames,
            0,
            0,
            0,
            0,
            0,
            port.out_octets,
            port.out_frames,
            0,
            0,
            0,
            0,
            0,
        ],
    );
    let all = [
        generic,
        words(&counter::ETHERNET_COUNTERS, &[0; 13]),
        (&counter::PORT_NAME, vec![Value::Text(name.as_bytes())]),
    ];
    let sample = CountersSample {
        expanded,
        sequence: port.counter_samples,
        source: DataSource { class: 0, index: port.if_index },
        ..CountersSample::default()
    };
    agent.counters_sample(&sample, &records(&all), now_us, sink);
}

/// What a host counts beside the traffic of its port.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostState {
    uuid: [u8; 16],
    counter_samples: u32,
    pub(crate) poll_us: u64,
    /// Processor time, microseconds: user, system, idle.
    user_us: u64,
    system_us: u64,
    idle_us: u64,
    /// Until when the processor time is counted, and what had been done by then.
    until_us: u64,
    containers_ns: u64,
    frames: u64,
    /// Load over one, five and fifteen minutes.
    load: [f64; 3],
}

/// What a host's sample says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostView<'v> {
    pub(crate) name: &'v str,
    pub(crate) mac: Mac,
    /// Traffic in and out, as its switch counts it.
    pub(crate) volumes: (Volume, Volume),
    /// Containers that run on it.
    pub(crate) containers: usize,
    /// Processor time of all containers that ever ran on it, nanoseconds.
    pub(crate) containers_ns: u64,
}

impl HostState {
    /// A host that has this identity, and counts from now on.
    pub(crate) fn new(uuid: [u8; 16], poll_us: u64) -> Self {
        Self { uuid, poll_us, ..Self::default() }
    }

    /// Divides the time since the last sample: containers and a fiftieth of a processor are user time, frames cost a
    /// microsecond of system time each, all together at most nine tenths.
    fn account(&mut self, view: &HostView<'_>, now_us: u64) {
        let passed_us = now_us - self.until_us;
        let all_us = passed_us * u64::from(CPUS);
        let frames = view.volumes.0.frames + view.volumes.1.frames;
        let most = all_us / 20 * 9;
        let user = (passed_us / 50 + (view.containers_ns - self.containers_ns) / 1000).min(most);
        let system = (frames - self.frames).min(most);
        self.user_us += user;
        self.system_us += system;
        self.idle_us += all_us - user - system;
        (self.until_us, self.containers_ns, self.frames) = (now_us, view.containers_ns, frames);
        let busy = (user + system) as f64 / passed_us.max(1) as f64;
        for (load, minutes) in self.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            *load += (busy - *load) * (1.0 - (-(passed_us as f64) / 6e7 / minutes).exp());
        }
    }
}

/// Sends the counters of a host.
pub(crate) fn host(
    state: &mut HostState,
    view: &HostView<'_>,
    agent: &mut Agent,
    now_us: u64,
    sink: &mut Sink<'_>,
) {
    state.account(view, now_us);
    state.counter_samples = state.counter_samples.wrapping_add(1);
    let adapter = adapter(2, view.mac);
    let uptime_s = u64::from(agent.uptime_ms(now_us)) / 1000;
    let used = USED_BYTES + CONTAINER_BYTES * view.containers as u64;
    let cached = 2 << 30;
    let (in_, out) = view.volumes;
    let mut cpu: Vec<Value<'_>> = state.load.iter().map(|load| Value::F32(*load as f32)).collect();
    let ms = |us: u64| us / 1000;
    let numbers = [
        u64::from(state.load[0] > 0.5),
        180 + view.containers as u64,
        CPUS.into(),
        CPU_MHZ.into(),
        uptime_s,
        ms(state.user_us),
        0,
        ms(state.system_us),
        ms(state.idle_us),
        0,
        0,
        0,
        state.frames,
        state.frames / 2 + uptime_s * 500,
        0,
        0,
        0,
    ];
    cpu.extend(numbers.map(|number| Value::U32(number as u32)));
    let all = [
        (&counter::HOST_ADAPTERS, vec![Value::Adapters(Adapters::from_bytes(1, &adapter))]),
        (&counter::HOST_CPU, cpu),
        words(
            &counter::HOST_MEMORY,
            &[MEMORY_BYTES, MEMORY_BYTES - used - cached, 0, 0, cached, 0, 0, 0, 0, 0, 0],
        ),
        words(
            &counter::HOST_DISK_IO,
            &[
                DISK_BYTES,
                DISK_FREE_BYTES,
                3500,
                uptime_s,
                uptime_s << 14,
                uptime_s,
                uptime_s * 4,
                uptime_s << 16,
                uptime_s * 2,
            ],
        ),
        words(&counter::HOST_NET_IO, &[in_.bytes, in_.frames, 0, 0, out.bytes, out.frames, 0, 0]),
        words(
            &counter::VIRT_NODE,
            &[CPU_MHZ.into(), CPUS.into(), MEMORY_BYTES, MEMORY_BYTES - used, view.containers as u64],
        ),
        (
            &counter::HOST_DESCR,
            vec![
                Value::Text(view.name.as_bytes()),
                Value::Uuid(state.uuid),
                Value::U32(X86_64),
                Value::U32(LINUX),
                Value::Text(b"6.12.0"),
            ],
        ),
    ];
    let sample =
        CountersSample { sequence: state.counter_samples, source: PHYSICAL, ..CountersSample::default() };
    agent.counters_sample(&sample, &records(&all), now_us, sink);
}

/// Sends the counters of a container; its last ones when it has stopped, with a processor time of 0 as Host sFlow
/// sends it.
pub(crate) fn container(
    container: &mut Container,
    mac: Mac,
    (in_, out): (Volume, Volume),
    stopped: bool,
    agent: &mut Agent,
    now_us: u64,
    sink: &mut Sink<'_>,
) {
    container.counter_samples = container.counter_samples.wrapping_add(1);
    let adapter = adapter(3, mac);
    let cpu_ms = (in_.bytes + out.bytes) * crate::service::CPU_NS_PER_BYTE / 1_000_000;
    let (state, cpu_ms) = if stopped { (SHUTOFF, 0) } else { (RUNNING, cpu_ms) };
    let all = [
        (&counter::HOST_ADAPTERS, vec![Value::Adapters(Adapters::from_bytes(1, &adapter))]),
        words(&counter::VIRT_DISK_IO, &[0, 0, 0, 120, 4_300_000, in_.frames / 100, in_.frames * 40, 0]),
        words(&counter::VIRT_MEMORY, &[CONTAINER_BYTES, MEMORY_BYTES]),
        words(&counter::VIRT_CPU, &[state.into(), cpu_ms, 0]),
        words(&counter::VIRT_NET_IO, &[in_.bytes, in_.frames, 0, 0, out.bytes, out.frames, 0, 0]),
        words(&counter::HOST_PARENT, &[PHYSICAL.class.into(), PHYSICAL.index.into()]),
        (
            &counter::HOST_DESCR,
            vec![
                Value::Text(container.name.as_bytes()),
                Value::Uuid(container.uuid),
                Value::U32(X86_64),
                Value::U32(LINUX),
                Value::Text(b""),
            ],
        ),
    ];
    let sample = CountersSample {
        expanded: true,
        sequence: container.counter_samples,
        source: DataSource { class: 3, index: container.index },
        ..CountersSample::default()
    };
    agent.counters_sample(&sample, &records(&all), now_us, sink);
}
