//! The MIB-II groups of `/proc/net/snmp`: records 0:2007 to 0:2010. The kernel names its columns, so that each structure
//! finds its own whatever a kernel adds or leaves out.

use decode::layout::Layout;

use super::row::{Cell, Row};

/// Fields that the kernel calls otherwise.
const OTHERWISE: &[(&str, &str)] = &[("InParamProbs", "InParmProbs"), ("OutParamProbs", "OutParmProbs")];

/// The record of a group, whose lines begin with `group:`; its fields are named `prefix` and the kernel's name.
pub(super) fn row(
    layout: &'static Layout,
    group: &str,
    prefix: &str,
    least: usize,
    text: &str,
) -> Option<Row> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let values: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let cell = |kernels: &str| -> Cell {
        let place = names.iter().position(|candidate| *candidate == kernels);
        place.and_then(|place| values.get(place)).and_then(|value| number(value)).into()
    };
    let cells: Vec<Cell> = layout
        .fields
        .iter()
        .map(|field| {
            let name = field.name.strip_prefix(prefix).unwrap_or(field.name);
            cell(OTHERWISE.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, kernels)| kernels))
        })
        .collect();
    Row::new(layout, least, &cells)
}

/// A number; -1 (no limit) has all bits set, as the MIB's integer has.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::build::RecordOut;
    use decode::counter;
    use decode::layout::Value;

    use super::*;

    fn numbers(row: &Row) -> Vec<u32> {
        let RecordOut::Fields(_, values) = row.record() else { panic!("a record of fields") };
        values
            .iter()
            .map(|value| if let Value::U32(number) = value { *number } else { panic!("{value:?}") })
            .collect()
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "Udp: New InErrors InDatagrams NoPorts OutDatagrams\nUdp: 9 3 1 2 4294967300\nUdpLite: InDatagrams\nUdpLite: 77\n";
        let udp = row(&counter::HOST_UDP, "Udp", "udp", 4, text).unwrap();
        assert_eq!(
            numbers(&udp),
            [1, 2, 3, 4],
            "fields at the end that the kernel lacks are left out, counters wrap"
        );
        assert_eq!(row(&counter::HOST_UDP, "Tcp", "udp", 4, text), None);
        assert_eq!(
            row(&counter::HOST_UDP, "Udp", "udp", 4, "Udp: InDatagrams\n"),
            None,
            "values are missing"
        );
        assert_eq!(row(&counter::HOST_UDP, "Udp", "udp", 4, "Udp: InDatagrams\nUdp: x\n"), None);
        let one = row(&counter::HOST_UDP, "Udp", "udp", 4, "Udp: NoPorts InDatagrams\nUdp: 5\n").unwrap();
        assert_eq!(numbers(&one), [u32::MAX, 5, u32::MAX, u32::MAX], "inside they are unknown");
    }

    #[test]
    fn no_limit_and_names_of_the_kernels_own() {
        let tcp =
            row(&counter::HOST_TCP, "Tcp", "tcp", 14, "Tcp: RtoAlgorithm MaxConn\nTcp: 1 -1\n").unwrap();
        assert_eq!(numbers(&tcp)[..4], [1, u32::MAX, u32::MAX, u32::MAX]);
        let text = "Icmp: InParmProbs OutParmProbs\nIcmp: 6 7\n";
        let icmp = row(&counter::HOST_ICMP, "Icmp", "icmp", usize::MAX, text).unwrap();
        assert_eq!((numbers(&icmp)[4], numbers(&icmp)[16]), (6, 7));
        assert_eq!(numbers(&icmp).len(), 25);
    }
}
