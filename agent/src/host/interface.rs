//! Interfaces: their counters (records 0:1 and 0:1005), the host's adapters (0:2001) and its traffic (0:2006).

use decode::build::RecordOut;
use decode::counter;
use decode::layout::Value;

use super::row::{Cell, Row, wrapped};
use crate::interfaces::{Counters, Interface, Kind, PROMISCUOUS, RUNNING, UP};

/// `ifType` other, ethernetCsmacd and softwareLoopback (IANAifType-MIB).
const OTHER: u32 = 1;
const ETHERNET: u32 = 6;
const LOOPBACK: u32 = 24;
/// Not known.
const UNKNOWN: Value<'static> = Value::U32(u32::MAX);

/// Hands over the records of a sampled interface, which has counted this by now: 0:1 and 0:1005. The kernel counts
/// multicasts that were received, and broadcasts among the unicasts; what it does not count is unknown.
pub fn interface_records<T>(
    interface: &Interface,
    counters: &Counters,
    then: impl FnOnce(&[RecordOut<'_>]) -> T,
) -> T {
    let word = |number: u64| Value::U32(wrapped(number));
    let status = u32::from(interface.has(UP)) | (u32::from(interface.has(UP | RUNNING)) << 1);
    let values = [
        Value::U32(interface.index),
        Value::U32(match interface.kind {
            Kind::Loopback => LOOPBACK,
            _ if interface.mac.is_some() => ETHERNET,
            _ => OTHER,
        }),
        Value::U64(interface.speed_bps.unwrap_or(0)),
        Value::U32(match interface.full_duplex {
            Some(true) => 1,
            Some(false) => 2,
            None => 0,
        }),
        Value::U32(status),
        Value::U64(counters.rx_bytes),
        word(counters.rx_packets.saturating_sub(counters.multicast)),
        word(counters.multicast),
        UNKNOWN,
        word(counters.rx_dropped),
        word(counters.rx_errors),
        UNKNOWN,
        Value::U64(counters.tx_bytes),
        word(counters.tx_packets),
        UNKNOWN,
        UNKNOWN,
        word(counters.tx_dropped),
        word(counters.tx_errors),
        // A TruthValue: 1 true, 2 false.
        Value::U32(if interface.promiscuity > 0 || interface.has(PROMISCUOUS) { 1 } else { 2 }),
    ];
    let name = [Value::Text(interface.name.as_bytes())];
    then(&[RecordOut::Fields(&counter::IF_COUNTERS, &values), RecordOut::Fields(&counter::PORT_NAME, &name)])
}

/// The interfaces that all of the host's traffic passes, each packet by one of them: network cards that are up, without
/// those that are the fast half of another one (a virtual function beneath the card of a hypervisor); on a host without any (an agent in a container's network), the veths and macvlans that are no port of another.
pub fn outward(interfaces: &[Interface]) -> impl Iterator<Item = &Interface> {
    let half = move |interface: &Interface| {
        interfaces.iter().any(|other| interface.master == Some(other.index) && other.kind == Kind::Physical)
    };
    let card = move |interface: &Interface| {
        interface.kind == Kind::Physical && interface.has(UP) && !half(interface)
    };
    let cards = interfaces.iter().any(card);
    interfaces.iter().filter(move |interface| {
        let inner = matches!(interface.kind, Kind::Veth | Kind::Macvlan) && interface.master.is_none();
        if cards { card(interface) } else { inner && interface.has(UP) }
    })
}

/// 0:2006.
pub(super) fn total_row(interfaces: &[Interface]) -> Option<Row> {
    let mut sums = [0u64; 8];
    let mut any = false;
    for Interface { counters, .. } in outward(interfaces) {
        any = true;
        let numbers = [
            counters.rx_bytes,
            counters.rx_packets,
            counters.rx_errors,
            counters.rx_dropped,
            counters.tx_bytes,
            counters.tx_packets,
            counters.tx_errors,
            counters.tx_dropped,
        ];
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(number);
        }
    }
    let cells = sums.map(Cell::Number);
    any.then(|| Row::new(&counter::HOST_NET_IO, cells.len(), &cells)).flatten()
}

/// The adapters of record 0:2001 and their number: interfaces that are up and have an Ethernet address, without the
/// host's ends of containers' pairs, which no frame's address names.
pub(super) fn adapters(interfaces: &[Interface], most: usize) -> (u32, Vec<u8>) {
    let cards = interfaces.iter().any(|interface| interface.kind == Kind::Physical);
    let told = interfaces.iter().filter(|interface| {
        let inside = interface.kind == Kind::Veth && (cards || interface.master.is_some());
        interface.has(UP) && interface.kind != Kind::Loopback && !inside
    });
    let mut bytes = Vec::new();
    let mut number = 0;
    for (interface, mac) in told.filter_map(|interface| Some((interface, interface.mac?))).take(most) {
        bytes.extend(interface.index.to_be_bytes());
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(mac.0);
        bytes.extend([0, 0]);
        number += 1;
    }
    (number, bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::Mac;
    use decode::layout::Adapters;

    use super::*;
    use crate::interfaces::Counters;

    fn interface(index: u32, kind: Kind) -> Interface {
        let counters = Counters {
            rx_packets: 10,
            tx_packets: 20,
            rx_bytes: 1 << 40,
            tx_bytes: 40,
            rx_errors: 5,
            tx_errors: 6,
            rx_dropped: 7,
            tx_dropped: 8,
            multicast: 3,
        };
        let mac = Some(Mac([2, 0, 0, 0, 0, u8::try_from(index).unwrap()]));
        Interface {
            index,
            name: format!("if{index}"),
            kind,
            mac,
            flags: UP | RUNNING,
            counters,
            ..Interface::default()
        }
    }

    #[test]
    fn counters_of_an_interface() {
        let mut eth = Interface {
            speed_bps: Some(10_000_000_000),
            full_duplex: Some(true),
            ..interface(2, Kind::Physical)
        };
        eth.counters.tx_packets = (1 << 32) + 9;
        interface_records(&eth, &eth.counters, |records| {
            let [RecordOut::Fields(counters, values), RecordOut::Fields(name, name_values)] = records else {
                panic!("{records:?}");
            };
            assert_eq!((name.tag, *name_values), (counter::PORT_NAME.tag, &[Value::Text(b"if2")][..]));
            assert_eq!(values.len(), counters.fields.len());
            let value = |name: &str| values[counters.position(name).unwrap()].as_u64().unwrap();
            for (name, expected) in [
                ("ifIndex", 2),
                ("networkType", 6),
                ("ifSpeed", 10_000_000_000),
                ("ifDirection", 1),
                ("ifStatus", 3),
                ("ifInOctets", 1 << 40),
                ("ifInUcastPkts", 7),
                ("ifInMulticastPkts", 3),
                ("ifInBroadcastPkts", u64::from(u32::MAX)),
                ("ifInDiscards", 7),
                ("ifInErrors", 5),
                ("ifOutOctets", 40),
                ("ifOutUcastPkts", 9),
                ("ifOutDiscards", 8),
                ("ifOutErrors", 6),
                ("ifPromiscuousMode", 2),
            ] {
                assert_eq!(value(name), expected, "{name}");
            }
        });
        eth.flags = UP;
        eth.promiscuity = 1;
        interface_records(&eth, &eth.counters, |records| {
            let RecordOut::Fields(counters, values) = records[0] else { panic!("{records:?}") };
            assert_eq!(
                values[counters.position("ifStatus").unwrap()],
                Value::U32(1),
                "up, but without a carrier"
            );
            assert_eq!(values[counters.position("ifPromiscuousMode").unwrap()], Value::U32(1));
        });
    }

    #[test]
    fn counters_of_32_bits_wrap() {
        let interface = Interface {
            index: 7,
            mac: Some(Mac([2; 6])),
            flags: UP | RUNNING,
            speed_bps: Some(10_000_000_000),
            full_duplex: Some(true),
            promiscuity: 1,
            ..Interface::default()
        };
        let counted = Counters {
            rx_packets: (1 << 32) + 10,
            tx_packets: 20,
            rx_bytes: 1 << 40,
            tx_bytes: 2000,
            rx_errors: 1,
            tx_errors: 2,
            rx_dropped: 3,
            tx_dropped: 4,
            multicast: 5,
        };
        let words: Vec<u64> = interface_records(&interface, &counted, |records| {
            let RecordOut::Fields(_, values) = records[0] else { panic!("{records:?}") };
            values.iter().map(|value| value.as_u64().unwrap_or(0)).collect()
        });
        let unknown = u64::from(u32::MAX);
        assert_eq!(
            words,
            [
                7,
                6,
                10_000_000_000,
                1,
                3,
                1 << 40,
                5,
                5,
                unknown,
                3,
                1,
                unknown,
                2000,
                20,
                unknown,
                unknown,
                4,
                2,
                1
            ]
        );
    }

    #[test]
    fn each_packet_of_the_host_is_counted_once() {
        let bridge = interface(4, Kind::Bridge);
        let port = Interface { master: Some(4), ..interface(5, Kind::Veth) };
        let down = Interface { flags: 0, ..interface(6, Kind::Physical) };
        let mut all =
            vec![interface(1, Kind::Loopback), interface(2, Kind::Physical), interface(3, Kind::Bond)];
        all.extend([bridge, port, down, interface(7, Kind::Physical)]);
        assert_eq!(outward(&all).map(|interface| interface.index).collect::<Vec<_>>(), [2, 7]);
        let row = total_row(&all).unwrap();
        let RecordOut::Fields(_, values) = row.record() else { panic!("{row:?}") };
        assert_eq!(values[..4], [Value::U64(2 << 40), Value::U32(20), Value::U32(10), Value::U32(14)]);
        // As on Azure: eth0 of the hypervisor counts what passes the virtual function that is enslaved to it.
        let halves = [
            interface(2, Kind::Physical),
            Interface { master: Some(2), ..interface(3, Kind::Physical) },
            interface(4, Kind::Bond),
            Interface { master: Some(4), ..interface(5, Kind::Physical) },
        ];
        assert_eq!(outward(&halves).map(|interface| interface.index).collect::<Vec<_>>(), [2, 5]);
        let inside = [interface(1, Kind::Loopback), interface(2, Kind::Veth)];
        assert_eq!(outward(&inside).count(), 1);
        assert_eq!(total_row(&[interface(1, Kind::Loopback)]), None, "nothing is known");
    }

    #[test]
    fn adapters_without_the_ends_of_containers() {
        let port = Interface { master: Some(4), ..interface(5, Kind::Veth) };
        let down = Interface { flags: 0, ..interface(6, Kind::Physical) };
        let all = [
            interface(1, Kind::Loopback),
            interface(2, Kind::Physical),
            interface(4, Kind::Bridge),
            port,
            down,
        ];
        let (number, bytes) = adapters(&all, 32);
        let read: Vec<_> = Adapters::from_bytes(number, &bytes)
            .iter()
            .map(|(index, macs)| (index, macs.iter().next()))
            .collect();
        assert_eq!(read, [(2, Some(Mac([2, 0, 0, 0, 0, 2]))), (4, Some(Mac([2, 0, 0, 0, 0, 4])))]);
        assert_eq!(adapters(&all, 1).0, 1);
        assert_eq!(adapters(&[interface(2, Kind::Veth)], 32).0, 1, "in a container");
        assert_eq!(adapters(&[], 32), (0, Vec::new()));
    }
}
