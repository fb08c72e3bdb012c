//! What is known of a container as records of a counters sample, in the order in which Host sFlow sends them.

use decode::DataSource;
use decode::build::RecordOut;
use decode::counter;
use decode::layout::{Adapters, Value};

use super::adapters::Adapter;
use super::cgroup::{Blocks, Usage};
use super::network::Traffic;
use super::tracker::RunState;
use crate::host;

/// The class of virtual machines and containers among data sources.
pub const CLASS: u32 = 3;

/// All ones: the sender does not know.
const UNKNOWN: u32 = u32::MAX;
const UNKNOWN_LONG: u64 = u64::MAX;

/// The data source of a container.
pub fn source(index: u32) -> DataSource {
    DataSource { class: CLASS, index }
}

/// What is known of a container at one moment. What is not known is left out, or all ones where the structure wants a
/// number.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Who it is: its name, the first bytes of its id, and the host's kernel.
    pub identity: &'a host::Identity,
    /// What it is doing.
    pub state: RunState,
    /// Its adapters as they stand on the wire, and their number.
    pub adapters: (u32, &'a [u8]),
    /// What it has used.
    pub usage: Usage,
    /// What it has sent and received.
    pub traffic: Option<Traffic>,
    /// How many processors it may use.
    pub processors: u32,
    /// How much memory it may use, bytes.
    pub memory_bytes: Option<u64>,
}

impl Known<'_> {
    /// Hands over the records.
    pub fn with_records<T>(&self, then: impl FnOnce(&[RecordOut<'_>]) -> T) -> T {
        let (number, bytes) = self.adapters;
        let adapters = [Value::Adapters(Adapters::from_bytes(number, bytes))];
        let blocks = self.usage.blocks.map(blocks);
        let memory = self.usage.memory_bytes.map(|used| {
            let limit = self.memory_bytes.unwrap_or(UNKNOWN_LONG);
            [Value::U64(used), Value::U64(limit)]
        });
        // A wrapping count of milliseconds, as the structure has it.
        let cpu_ms = self.usage.cpu_ns.map_or(UNKNOWN, |ns| (ns / 1_000_000) as u32);
        let cpu = [Value::U32(self.state as u32), Value::U32(cpu_ms), Value::U32(self.processors)];
        let traffic = self.traffic.map(traffic);
        let parent = [Value::U32(host::SOURCE.class), Value::U32(host::SOURCE.index)];
        let identity = self.identity.values();
        let records = [
            (number > 0).then_some(RecordOut::Fields(&counter::HOST_ADAPTERS, &adapters)),
            blocks.as_ref().map(|values| RecordOut::Fields(&counter::VIRT_DISK_IO, values)),
            memory.as_ref().map(|values| RecordOut::Fields(&counter::VIRT_MEMORY, values)),
            Some(RecordOut::Fields(&counter::VIRT_CPU, &cpu)),
            traffic.as_ref().map(|values| RecordOut::Fields(&counter::VIRT_NET_IO, values)),
            Some(RecordOut::Fields(&counter::HOST_PARENT, &parent)),
            Some(RecordOut::Fields(&counter::HOST_DESCR, &identity)),
        ];
        let records: Vec<RecordOut<'_>> = records.into_iter().flatten().collect();
        then(&records)
    }
}

/// A container has no disk of its own with a size; errors are not counted by container.
fn blocks(blocks: Blocks) -> [Value<'static>; 8] {
    [
        Value::U64(UNKNOWN_LONG),
        Value::U64(UNKNOWN_LONG),
        Value::U64(UNKNOWN_LONG),
        Value::U32(blocks.reads as u32),
        Value::U64(blocks.read_bytes),
        Value::U32(blocks.writes as u32),
        Value::U64(blocks.written_bytes),
        Value::U32(UNKNOWN),
    ]
}

fn traffic(traffic: Traffic) -> [Value<'static>; 8] {
    let Traffic { received, sent } = traffic;
    [
        Value::U64(received.bytes),
        Value::U32(received.packets as u32),
        Value::U32(received.errors as u32),
        Value::U32(received.drops as u32),
        Value::U64(sent.bytes),
        Value::U32(sent.packets as u32),
        Value::U32(sent.errors as u32),
        Value::U32(sent.drops as u32),
    ]
}

/// Adapters as they stand on the wire: ifIndex, one address, the address in eight bytes. The index is that of the virtual
/// switch's port (sFlow Host Structures), which packet samples have too; one of the container's own says nothing outside of it.
pub fn adapter_bytes(adapters: &[Adapter]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(adapters.len() * 16);
    for adapter in adapters {
        bytes.extend(adapter.peer.unwrap_or(0).to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(adapter.mac);
        bytes.extend([0, 0]);
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::network::Direction;
    use super::*;

    fn identity() -> host::Identity {
        host::Identity { name: "web.1".to_owned(), uuid: [7; 16], release: "6.1.0".to_owned() }
    }

    fn known(identity: &host::Identity) -> Known<'_> {
        Known {
            identity,
            state: RunState::Running,
            adapters: (0, &[]),
            usage: Usage::default(),
            traffic: None,
            processors: 2,
            memory_bytes: None,
        }
    }

    fn values(record: &RecordOut<'_>) -> (u32, Vec<u64>) {
        let RecordOut::Fields(layout, values) = record else { panic!("{record:?}") };
        (layout.tag.format(), values.iter().filter_map(Value::as_u64).collect())
    }

    #[test]
    fn all_records_are_in_order_with_their_values() {
        let identity = identity();
        let adapters = [
            Adapter { mac: [2, 0, 0, 0, 0, 9], peer: Some(77) },
            Adapter { mac: [2, 0, 0, 0, 0, 10], peer: None },
        ];
        let bytes = adapter_bytes(&adapters);
        let blocks = Blocks { reads: 1, read_bytes: 4096, writes: (1 << 32) + 2, written_bytes: 1 << 40 };
        let known = Known {
            state: RunState::Paused,
            adapters: (2, &bytes),
            usage: Usage {
                cpu_ns: Some(((1 << 32) + 7) * 1_000_000 + 999_999),
                memory_bytes: Some(1000),
                memory_limit_bytes: None,
                blocks: Some(blocks),
            },
            traffic: Some(Traffic {
                received: Direction { bytes: 10, packets: 1, errors: 2, drops: 3 },
                sent: Direction { bytes: 1 << 33, packets: 4, errors: 5, drops: 6 },
            }),
            memory_bytes: Some(2000),
            ..known(&identity)
        };
        known.with_records(|records| {
            let tags: Vec<u32> = records.iter().map(|record| values(record).0).collect();
            assert_eq!(tags, [2001, 2103, 2102, 2101, 2104, 2002, 2000]);
            let of = |tag: usize| values(&records[tag]).1;
            let all = u64::MAX;
            assert_eq!(of(1), [all, all, all, 1, 4096, 2, 1 << 40, u64::from(u32::MAX)]);
            assert_eq!(of(2), [1000, 2000]);
            assert_eq!(of(3), [3, 7, 2], "milliseconds wrap");
            assert_eq!(of(4), [10, 1, 2, 3, 1 << 33, 4, 5, 6]);
            assert_eq!(of(5), [2, 1]);
            let RecordOut::Fields(_, [Value::Text(name), Value::Uuid(uuid), ..]) = records[6] else {
                panic!()
            };
            assert_eq!((*name, *uuid), (b"web.1".as_slice(), [7; 16]));
            let RecordOut::Fields(_, [Value::Adapters(adapters)]) = records[0] else { panic!() };
            let told: Vec<_> =
                adapters.iter().map(|(index, macs)| (index, macs.iter().next().unwrap().0)).collect();
            assert_eq!(told, [(77, [2, 0, 0, 0, 0, 9]), (0, [2, 0, 0, 0, 0, 10])]);
        });
    }

    #[test]
    fn what_is_not_known_is_left_out_or_all_ones() {
        let identity = identity();
        let known = Known { state: RunState::Stopped, ..known(&identity) };
        known.with_records(|records| {
            let all: Vec<_> = records.iter().map(values).collect();
            let tags: Vec<u32> = all.iter().map(|(tag, _)| *tag).collect();
            assert_eq!(tags, [2101, 2002, 2000]);
            assert_eq!(all[0].1, [5, u64::from(u32::MAX), 2]);
        });
    }
}
