use std::collections::BTreeMap;
use std::path::Path;

use decode::build::DatagramBuilder;
use decode::{Address, CountersSample, Datagram, Header, Records, Sample as Read};

use super::*;
use crate::interfaces::{Counters, Kind, RUNNING, UP};

fn fixture(name: &str) -> Roots {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Roots {
        proc: folder.join("proc"),
        sys: folder.join("sys"),
        etc: folder.join("etc"),
        root: folder.join("root"),
    }
}

fn card() -> Interface {
    Interface {
        index: 4,
        name: "eth0".to_owned(),
        kind: Kind::Physical,
        mac: Some(decode::Mac([2, 0xfc, 0, 0, 0, 1])),
        flags: UP | RUNNING,
        counters: Counters { rx_bytes: 7, rx_packets: 1, ..Counters::default() },
        ..Interface::default()
    }
}

/// What a collector reads of the sample: the formats of its records in order, and each field by name.
fn read(sample: &Sample) -> (Vec<u32>, BTreeMap<&'static str, String>) {
    let mut buffer = [0; 1400];
    let header = Header {
        agent: Address::V4([10, 0, 0, 1].into()),
        sub_agent: 100_000,
        sequence: 1,
        uptime_ms: 1,
        samples: 0,
    };
    let mut datagram = DatagramBuilder::new(&mut buffer, &header).unwrap();
    let framed = CountersSample { sequence: 1, source: SOURCE, expanded: false, records: Records::default() };
    sample.with_records(|records| datagram.counters_sample(&framed, records)).unwrap();
    let length = datagram.finish().unwrap();
    let datagram = Datagram::parse(&buffer[..length]).unwrap();
    let (mut formats, mut fields) = (Vec::new(), BTreeMap::new());
    for sample in datagram.samples() {
        let Read::Counters(sample) = sample.unwrap() else { panic!("a counters sample") };
        for record in &sample.records {
            formats.push(record.tag.format());
            for (field, value) in counter::fields(record).unwrap().iter() {
                fields.insert(field.name, format!("{value:?}"));
            }
        }
    }
    (formats, fields)
}

fn expect(fields: &BTreeMap<&'static str, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(*value), "{name}");
    }
}

/// The recorded files, and what they need of `/sys` in a folder of its own: git keeps no empty ones.
fn today() -> (tempfile::TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("block/vda/device")).unwrap();
    std::fs::create_dir_all(folder.path().join("block/loop0")).unwrap();
    let roots =
        Roots { sys: folder.path().to_owned(), root: folder.path().to_owned(), ..fixture("linux-6-vm") };
    (folder, roots)
}

#[test]
fn a_virtual_machine_with_a_kernel_of_today() {
    let (folder, roots) = today();
    let host = Host::new(roots);
    assert_eq!(host.clone().with_uuid(Some([7; 16])).identity().uuid, [7; 16]);
    let sample = host.with_uuid(None).read(&[card()], 3);
    let (formats, fields) = read(&sample);
    assert_eq!(
        formats,
        [2001, 2010, 2009, 2008, 2007, 2100, 2005, 2004, 2003, 2006, 2000],
        "as hosts send them"
    );
    expect(
        &fields,
        &[
            ("cpu_load_one", "F32(3.59)"),
            ("cpu_load_fifteen", "F32(3.65)"),
            ("cpu_proc_run", "U32(1)"),
            ("cpu_proc_total", "U32(108)"),
            ("cpu_num", "U32(2)"),
            ("cpu_speed", "U32(2596)"),
            // Ticks of 10 ms.
            ("cpu_user", "U32(18144590)"),
            ("cpu_idle", "U32(4912980)"),
            ("cpu_wio", "U32(57250)"),
            ("cpu_sintr", "U32(96230)"),
            ("cpuinterrupts", "U32(13893802)"),
            ("cpu_contexts", "U32(24127790)"),
            ("cpu_steal", "U32(23430)"),
            ("cpu_guest_nice", "U32(0)"),
            ("vnode_mhz", "U32(2596)"),
            ("vnode_cpus", "U32(2)"),
            ("vnode_num_domains", "U32(3)"),
            // Cached and SReclaimable.
            ("mem_cached", "U64(19701383168)"),
            ("swap_total", "U64(0)"),
            ("disk_reads", "U32(2591246)"),
            ("disk_bytes_read", "U64(54430143488)"),
            ("disk_read_time", "U32(5266682)"),
            ("disk_writes", "U32(285309)"),
            ("disk_bytes_written", "U64(180018085888)"),
            ("disk_write_time", "U32(1696288)"),
            ("nio_bytes_in", "U64(7)"),
            ("ipForwarding", "U32(2)"),
            ("ipInReceives", "U32(51917678)"),
            ("icmpInDestUnreachs", "U32(208003)"),
            ("icmpOutDestUnreachs", "U32(208001)"),
            ("icmpOutParamProbs", "U32(0)"),
            ("icmpOutAddrMaskReps", "U32(0)"),
            ("tcpMaxConn", "U32(4294967295)"),
            ("tcpInSegs", "U32(2970100)"),
            ("tcpInCsumErrors", "U32(0)"),
            ("udpInErrors", "U32(12167099)"),
            ("udpRcvbufErrors", "U32(12167099)"),
            ("os_name", "U32(2)"),
        ],
    );
    // The one device is mounted where the temporary folder is.
    let number =
        |name: &str| fields[name].trim_end_matches(')').rsplit('(').next().unwrap().parse::<u64>().unwrap();
    let asked = rustix::fs::statvfs(folder.path()).unwrap();
    assert_eq!(number("disk_total"), asked.f_blocks * asked.f_frsize);
    assert!(number("disk_partition_max_used") <= 10_000, "hundredths of a percent");
}

#[test]
fn an_old_kernel_leaves_out_what_it_does_not_know() {
    let (formats, fields) = read(&Host::new(fixture("linux-2-6-9")).read(&[], 0));
    assert_eq!(
        formats,
        [2010, 2009, 2008, 2007, 2100, 2004, 2003, 2000],
        "no disks, no adapters, no traffic"
    );
    expect(
        &fields,
        &[
            ("cpu_num", "U32(1)"),
            ("cpu_uptime", "U32(5120)"),
            ("cpu_user", "U32(19410900)"),
            ("cpu_sintr", "U32(5160)"),
            ("cpu_contexts", "U32(5290922)"),
            ("mem_total", "U64(527867904)"),
            ("mem_shared", "U64(18446744073709551615)"),
            ("swap_free", "U64(1073561600)"),
            ("page_in", "U32(811234)"),
            ("swap_out", "U32(42)"),
            ("icmpInParamProbs", "U32(3)"),
            ("tcpOutRsts", "U32(17)"),
            ("udpOutDatagrams", "U32(9100)"),
            ("hostname", &format!("{:?}", Value::Text(b"old.example"))),
            ("os_release", &format!("{:?}", Value::Text(b"2.6.9-42.EL"))),
        ],
    );
    for absent in ["cpu_steal", "cpu_guest", "tcpInCsumErrors", "udpRcvbufErrors", "udpInCsumErrors"] {
        assert!(!fields.contains_key(absent), "{absent} is absent, not zero");
    }
}

#[test]
fn values_beyond_all_fields_are_unknown_or_wrap() {
    let (formats, fields) = read(&Host::new(fixture("huge")).read(&[], u32::MAX));
    assert_eq!(formats, [2009, 2100, 2004, 2003, 2000]);
    expect(
        &fields,
        &[
            ("cpu_load_one", "F32(NaN)"),
            ("cpu_load_five", "F32(-0.5)"),
            ("cpu_load_fifteen", "F32(NaN)"),
            ("cpu_proc_run", "U32(4294967295)"),
            ("cpu_num", "U32(2)"),
            ("cpu_uptime", "U32(4294967295)"),
            // 2^64 - 1 ticks of 10 ms, in the low 32 bits.
            ("cpu_user", "U32(4294967286)"),
            ("cpu_nice", "U32(4294967295)"),
            ("cpu_system", "U32(4)"),
            ("cpuinterrupts", "U32(4294967295)"),
            ("cpu_contexts", "U32(0)"),
            ("mem_total", "U64(18446744073709550592)"),
            ("mem_free", "U64(18446744073709551615)"),
            ("mem_cached", "U64(18446744073709551615)"),
            ("tcpRtoAlgorithm", "U32(4294967295)"),
            ("vnode_num_domains", "U32(4294967295)"),
        ],
    );
}

#[test]
fn a_host_without_proc_still_has_a_name_record() {
    let (formats, fields) = read(&Host::new(fixture("nothing")).read(&[], 2));
    assert_eq!(formats, [2100, 2000]);
    assert_eq!(fields["vnode_num_domains"], "U32(2)");
    assert_eq!(fields["vnode_memory"], format!("U64({})", u64::MAX));
}

#[test]
fn the_largest_sample_fits_a_datagram() {
    let (_folder, roots) = today();
    let many: Vec<Interface> = (1..=100).map(|index| Interface { index, ..card() }).collect();
    let mut sample = Host::new(roots).read(&many, 3);
    sample.identity.name = "n".repeat(1000);
    sample.identity.release = "r".repeat(1000);
    let (formats, fields) = read(&sample);
    assert_eq!(formats.len(), 11);
    assert_eq!(fields["hostname"], format!("{:?}", Value::Text(&[b'n'; 64])));
}

#[test]
fn this_machine() {
    let (formats, fields) = read(&Host::new(Roots::default()).read(&[card()], 0));
    assert_eq!(formats.len(), 11);
    assert_ne!(fields["cpu_num"], "U32(0)");
    assert!(!fields["hostname"].contains("[]"));
}
