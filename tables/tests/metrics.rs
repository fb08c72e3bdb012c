//! Counters become metrics: every entry of the catalogue, and what must not become a spike (promise I5).
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use common::*;
use decode::DataSource;
use decode::counter;
use decode::layout::{Kind as WireKind, Layout, Value};
use tables::metric::MetricValue;
use tables::metric::catalogue::{DERIVED, Kind, METRICS, Metric};
use tables::metric::label::LABELS;
use tables::{Options, Outbox, Shard};

/// Style of the house: an entry that is accepted and never answers is found here.
#[test]
fn every_metric_of_the_catalogue_answers_with_what_its_field_says() {
    for metric in METRICS {
        let mut shard = Shard::new(Options::default());
        let mut sender = Sender::new(1);
        let source = DataSource { class: 2, index: 1 };
        let (first, second) = (values(metric.layout, 0, 100), values(metric.layout, 0, 300));
        feed(&mut shard, &sender.datagram(source, 1.0, &[(metric.layout, &first)]), 1.0);
        feed(&mut shard, &sender.datagram(source, 11.0, &[(metric.layout, &second)]), 11.0);
        let place = metric.layout.position(metric.field).unwrap() as f64 + 1.0;
        let found = dump(&shard, metric.name, 12.0);
        assert_eq!(found.len(), 1, "{}", metric.name);
        let value = &found[0].value;
        let expected = match metric.kind {
            Kind::Gauge if metric.layout.fields[place as usize - 1].kind == WireKind::Byte => 1.0,
            Kind::Gauge | Kind::Positive => 300.0 * place,
            Kind::Lane(lane, word) => 300.0 * f64::from(10 * lane + word as u32),
            Kind::Rate => 200.0 * place / 10.0,
            Kind::Busy => 200.0 * place / 10.0 / 1000.0 * 100.0,
            Kind::Hundredths => 3.0 * place,
            Kind::Share(of) => 100.0 * place / (metric.layout.position(of).unwrap() as f64 + 1.0),
            Kind::CpuTime => {
                // Places 9 to 15 and 18 (steal) are the states that make up the whole.
                100.0 * place / ((9..=15).sum::<u32>() + 18) as f64
            }
            Kind::Text | Kind::Hex | Kind::Name(_) => {
                let MetricValue::Text(text) = value else { panic!("{}: {value:?}", metric.name) };
                assert!(!text.is_empty(), "{}", metric.name);
                continue;
            }
        };
        let value = value.number().unwrap();
        assert!(
            (value - expected).abs() < 1e-6 * expected.max(1.0),
            "{}: {value}, not {expected}",
            metric.name
        );
        assert_eq!(found[0].age_us, SECOND);
    }
}

/// The rows of the manual's table, as the catalogue has them.
fn rows() -> Vec<String> {
    let how = |kind| match kind {
        Kind::Gauge => "as sent",
        Kind::Positive => "as sent, 0 is unknown",
        Kind::Rate => "growth per second",
        Kind::Busy => "share of the time that passed",
        Kind::CpuTime => "share of all states",
        Kind::Hundredths => "as sent, divided by 100",
        Kind::Share(_) => "share",
        Kind::Lane(..) => "as sent, of the lane",
        Kind::Text | Kind::Hex => "text",
        Kind::Name(_) => "name",
    };
    let counted = METRICS.iter().map(|metric| {
        let Metric { name, layout, field, kind, unit } = metric;
        format!("| `{name}` | {} | {field} | {} | {unit} |", layout.tag, how(*kind))
    });
    let derived = DERIVED.iter().map(|derived| {
        format!("| `{}` | | {} | derived | {} |", derived.name, derived.of.join(", "), derived.unit)
    });
    let labels =
        LABELS.iter().map(|label| format!("| `{}` | | vir_host_name | {} | text |", label.name, label.shows));
    counted.chain(derived).chain(labels).collect()
}

/// With `MANUAL=write` the page is brought up to date.
#[test]
fn the_manual_has_every_metric_with_its_source_and_unit() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manual/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let first = page.find("| `").unwrap();
    let end = page.rfind("\n| `").map_or(page.len(), |last| last + 2 + page[last + 1..].find('\n').unwrap());
    if std::env::var_os("MANUAL").is_some_and(|word| word == "write") {
        let table = rows().join("\n") + "\n";
        std::fs::write(path, format!("{}{table}{}", &page[..first], &page[end..])).unwrap();
        return;
    }
    let found: Vec<&str> = page[first..end].lines().collect();
    assert_eq!(found, rows(), "MANUAL=write cargo test -p tables the_manual brings the page up to date");
}

#[test]
fn every_derived_metric_answers() {
    let expected = [
        ("ifinpkts", 20.0 * (7.0 + 8.0 + 9.0)),
        ("ifoutpkts", 20.0 * (14.0 + 15.0 + 16.0)),
        ("ifinutilization", 100.0 * 20.0 * 6.0 * 8.0 / 900.0),
        ("ifoututilization", 100.0 * 20.0 * 13.0 * 8.0 / 900.0),
        ("cpu_utilization", 100.0 - 100.0 * 12.0 / 102.0),
        ("load_one_per_cpu", 1.0 / 6.0),
        ("mem_used", 300.0 * (1.0 - 2.0 - 4.0 - 5.0)),
        ("mem_utilization", 100.0 * (1.0 - 2.0 - 4.0 - 5.0)),
        ("disk_utilization", 100.0 * (1.0 - 2.0)),
    ];
    assert_eq!(expected.len(), DERIVED.len());
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let layouts = [&counter::IF_COUNTERS, &counter::HOST_CPU, &counter::HOST_MEMORY, &counter::HOST_DISK_IO];
    let source = DataSource { class: 2, index: 1 };
    for (at, step) in [(1.0, 100), (11.0, 300)] {
        let all: Vec<_> = layouts.iter().map(|layout| values(layout, 0, step)).collect();
        let records: Vec<_> =
            layouts.iter().zip(&all).map(|(layout, values)| (*layout, values.as_slice())).collect();
        feed(&mut shard, &sender.datagram(source, at, &records), at);
    }
    for (name, expected) in expected {
        let value = number(&shard, name, 11.0).unwrap_or_else(|| panic!("{name}"));
        assert!((value - expected).abs() < 1e-6 * expected.abs().max(1.0), "{name}: {value}, not {expected}");
    }
}

/// The rate of `ifinucastpkts` after two samples with these counters, `seconds` apart.
fn rate_of(first: u32, second: u32, seconds: f64) -> Option<f64> {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    for (at, packets) in [(100.0, first), (100.0 + seconds, second)] {
        let mut values = values(&counter::IF_COUNTERS, 0, 1);
        values[6] = Value::U32(packets);
        feed(&mut shard, &sender.datagram(source, at, &[(&counter::IF_COUNTERS, &values)]), at);
    }
    number(&shard, "ifinucastpkts", 200.0)
}

#[test]
fn wraps_are_growth_and_falls_are_gaps() {
    assert_eq!(rate_of(100, 200, 10.0), Some(10.0));
    assert_eq!(rate_of(u32::MAX - 9, 90, 10.0), Some(10.0), "a wrap");
    assert_eq!(rate_of(5000, 100, 10.0), None, "a fall is no wrap");
    assert_eq!(rate_of(100, u32::MAX, 10.0), None, "all ones are unknown");
    assert_eq!(rate_of(u32::MAX, 100, 10.0), None);
    assert_eq!(rate_of(100, 200, 0.004), None, "two samples of nearly the same moment");
}

#[test]
fn a_first_sample_gives_gauges_and_no_rate() {
    let mut shard = Shard::new(Options::default());
    let datagram = Sender::new(1).datagram(
        DataSource { class: 0, index: 4 },
        5.0,
        &[(&counter::IF_COUNTERS, &values(&counter::IF_COUNTERS, 0, 1))],
    );
    feed(&mut shard, &datagram, 5.0);
    assert_eq!(number(&shard, "ifindex", 5.0), Some(1.0));
    assert_eq!(number(&shard, "ifinoctets", 5.0), None);
}

#[test]
fn a_restart_is_a_gap_and_never_a_spike() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    let with = |octets: u64| {
        let mut values = values(&counter::IF_COUNTERS, 0, 1);
        values[5] = Value::U64(octets);
        values
    };
    let mut send = |sender: &mut Sender, uptime: f64, at: f64, octets| {
        let datagram = sender.datagram(source, uptime, &[(&counter::IF_COUNTERS, &with(octets))]);
        feed(&mut shard, &datagram, at);
        number(&shard, "ifinoctets", at)
    };
    assert_eq!(send(&mut sender, 1000.0, 1000.0, 0), None);
    assert_eq!(send(&mut sender, 1010.0, 1010.0, 1000), Some(100.0));
    sender.sequence = 0;
    sender.sample = 0;
    // The new counter is above the old one: only the uptime tells that it began anew.
    assert_eq!(send(&mut sender, 5.0, 1020.0, 1_000_000), None);
    assert_eq!(send(&mut sender, 15.0, 1030.0, 1_002_000), Some(200.0));
}

#[test]
fn values_are_forgotten_after_three_intervals() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    let mut send = |shard: &mut Shard, at| {
        let values = values(&counter::IF_COUNTERS, 0, 1);
        feed(shard, &sender.datagram(source, at, &[(&counter::IF_COUNTERS, &values)]), at);
    };
    // The second sample comes early, as Host sFlow's does: the interval is not known yet.
    for at in [0.0, 1.0] {
        send(&mut shard, at);
    }
    assert_eq!(number(&shard, "ifindex", 90.0), Some(1.0));
    assert_eq!(number(&shard, "ifindex", 91.1), None);
    for at in [11.0, 21.0] {
        send(&mut shard, at);
    }
    shard.tick(us(50.0), &mut Outbox::default());
    assert_eq!(number(&shard, "ifindex", 50.9), Some(1.0));
    assert_eq!(number(&shard, "ifindex", 51.1), None, "to the moment, whenever a tick comes");
}

/// What the published autoscaling script asks: only running containers that have a rate are counted.
#[test]
fn only_fresh_running_containers_are_counted() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let mut send = |index: u32, name: &'static str, state: u32, cpu_ms: u32, at: f64| {
        let network = values(&counter::VIRT_NET_IO, 0, at as u64 * 1000);
        let cpu = [Value::U32(state), Value::U32(cpu_ms), Value::U32(0)];
        let identity = [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
        let records: Records<'_> = &[
            (&counter::VIRT_CPU, &cpu),
            (&counter::VIRT_NET_IO, &network),
            (&counter::HOST_DESCR, &identity),
        ];
        let source = DataSource { class: 3, index: 100_000 + index };
        feed(&mut shard, &sender.datagram(source, at, records), at);
        let asked = "avg:vir_cpu_utilization,avg:vir_bytes_in,avg:vir_bytes_out";
        let filter = [("vir_host_name", "apache\\.*"), ("vir_cpu_state", "running")];
        statistics(&shard, asked, &filter, at)
    };
    let none = send(1, "apache.1.aaaa", 1, 1000, 100.0);
    assert_eq!((none[0].n, none[0].value.clone()), (0, None), "a first sample has no rate");
    let one = send(1, "apache.1.aaaa", 1, 1500, 110.0);
    assert_eq!((one[0].n, one[0].value.clone()), (1, Some(MetricValue::Number(5.0))));
    assert_eq!(one[1].value, Some(MetricValue::Number(1000.0)));
    assert_eq!(one[2].value, Some(MetricValue::Number(5000.0)));
    send(2, "apache.2.bbbb", 1, 0, 110.0);
    send(3, "apache2.1.cccc", 1, 0, 110.0);
    send(3, "apache2.1.cccc", 1, 9000, 120.0);
    let two = send(2, "apache.2.bbbb", 1, 1500, 120.0);
    assert_eq!((two[0].n, two[0].value.clone()), (2, Some(MetricValue::Number(10.0))));
    // The final sample of a stopped container has cpu time 0, which is no wrap.
    let stopped = send(2, "apache.2.bbbb", 5, 0, 121.0);
    assert_eq!((stopped[0].n, stopped[0].value.clone()), (1, Some(MetricValue::Number(5.0))));
}

#[test]
fn a_final_sample_with_true_counters_closes_the_last_interval() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 3, index: 100_000 };
    for (at, state, cpu) in [(100.0, 1, 1000), (110.0, 4, 3000)] {
        let cpu = [Value::U32(state), Value::U32(cpu), Value::U32(0)];
        feed(&mut shard, &sender.datagram(source, at, &[(&counter::VIRT_CPU, &cpu)]), at);
    }
    assert_eq!(number(&shard, "vir_cpu_utilization", 110.0), Some(20.0));
}

/// Each is either true or absent, whatever the sample before and after it say.
#[test]
fn what_is_unknown_or_left_out_is_absent() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 2, index: 1 };
    let mut send = |shard: &mut Shard, at: f64, layout: &'static Layout, values: &[Value<'_>]| {
        feed(shard, &sender.datagram(source, at, &[(layout, values)]), at);
    };
    let mut interface = values(&counter::IF_COUNTERS, 0, 1000);
    send(&mut shard, 0.0, &counter::IF_COUNTERS, &interface);
    interface = values(&counter::IF_COUNTERS, 0, 2000);
    (interface[2], interface[4], interface[5]) = (Value::U64(0), Value::U32(u32::MAX), Value::U64(u64::MAX));
    send(&mut shard, 10.0, &counter::IF_COUNTERS, &interface);
    for name in ["ifspeed", "ifoperstatus", "ifinoctets", "ifinutilization", "ifoututilization"] {
        assert_eq!(number(&shard, name, 10.0), None, "{name}");
    }
    assert_eq!(number(&shard, "ifoutoctets", 10.0), Some(1300.0));
    send(&mut shard, 20.0, &counter::VLAN_COUNTERS, &[Value::U32(u32::MAX), Value::U64(1)]);
    assert!(dump(&shard, "ALL", 20.0).iter().all(|metric| !metric.name.starts_with("vlan_")));
    // Host sFlow before 2.0 leaves out steal, guest and guest_nice.
    for (at, step) in [(30.0, 100), (40.0, 300)] {
        send(&mut shard, at, &counter::HOST_CPU, &values(&counter::HOST_CPU, 0, step)[..17]);
    }
    let user = number(&shard, "cpu_user", 40.0).unwrap();
    assert!((user - 100.0 * 9.0 / 84.0).abs() < 1e-9, "{user}");
    assert_eq!(number(&shard, "cpu_steal", 40.0), None);
}

/// Two samples of nearly the same moment: gauges are of the second, rates and their age of the first.
#[test]
fn rates_are_as_old_as_the_sample_they_were_made_of() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 0, index: 4 };
    for (at, step) in [(0.0, 100), (10.0, 200), (10.004, 300), (20.0, 400)] {
        let values = values(&counter::IF_COUNTERS, 0, step);
        feed(&mut shard, &sender.datagram(source, at, &[(&counter::IF_COUNTERS, &values)]), at);
        let found =
            |name| dump(&shard, name, at).first().map(|metric| (metric.value.number(), metric.age_us));
        match step {
            200 => assert_eq!(found("ifinoctets"), Some((Some(60.0), 0))),
            300 => {
                assert_eq!(found("ifinoctets"), Some((Some(60.0), 4000)));
                assert_eq!(found("ifindex"), Some((Some(300.0), 0)));
                assert_eq!(found("ifinpkts"), Some((Some(240.0), 4000)));
            }
            400 => assert_eq!(found("ifinoctets"), Some((Some(120.0), 0)), "the interval is the whole one"),
            _ => assert_eq!(found("ifinoctets"), None),
        }
    }
}

#[test]
fn nothing_wraps_when_a_container_ends_and_all_begins_anew_when_it_comes_back() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let source = DataSource { class: 3, index: 100_000 };
    let mut send = |at: f64, state: u32, cpu_ms: u32, packets: u32, bytes: u64| {
        let mut network = values(&counter::VIRT_NET_IO, 0, 0);
        (network[0], network[1]) = (Value::U64(bytes), Value::U32(packets));
        let cpu = [Value::U32(state), Value::U32(cpu_ms), Value::U32(0)];
        // The state stands behind the network.
        let records: Records<'_> = &[(&counter::VIRT_NET_IO, &network), (&counter::VIRT_CPU, &cpu)];
        feed(&mut shard, &sender.datagram(source, at, records), at);
        ["vir_cpu_utilization", "vir_pkts_in", "vir_bytes_in"].map(|name| number(&shard, name, at))
    };
    let (high, low) = (u32::MAX - 10_000, 5_000);
    assert_eq!(send(0.0, 1, high, high, 1000), [None, None, None]);
    assert_eq!(send(10.0, 1, low - 1, low - 1, 2000), [Some(150.0), Some(1500.0), Some(100.0)], "wraps");
    assert_eq!(send(20.0, 1, high, high, 3000), [None, None, Some(100.0)]);
    assert_eq!(send(30.0, 5, 0, 0, 3000), [None, None, Some(0.0)], "a fall, and what is stale did not grow");
    assert_eq!(send(40.0, 1, 500, 700, 9000), [None, None, None], "all begins anew");
    assert_eq!(send(50.0, 1, 1000, 710, 9100), [Some(5.0), Some(1.0), Some(10.0)]);
    // An idle virtual machine is `blocked`: it goes on counting, but does not wrap.
    assert_eq!(send(60.0, 2, 1100, 720, 9200), [Some(1.0), Some(1.0), Some(10.0)]);
    assert_eq!(send(70.0, 2, 1200, 730, 9300), [Some(1.0), Some(1.0), Some(10.0)]);
}

#[test]
fn virtual_machines_have_names_of_their_own_for_what_hosts_have_too() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let shared = [&counter::HOST_DESCR, &counter::NVIDIA_GPU];
    for (class, at) in [(2, 0.0), (3, 0.0), (2, 10.0), (3, 10.0)] {
        let all: Vec<_> = shared.iter().map(|layout| values(layout, 0, 100 + at as u64)).collect();
        let records: Vec<_> =
            shared.iter().zip(&all).map(|(layout, values)| (*layout, values.as_slice())).collect();
        feed(&mut shard, &sender.datagram(DataSource { class, index: 1 }, at, &records), at);
    }
    for metric in
        METRICS.iter().filter(|metric| shared.iter().any(|layout| std::ptr::eq(*layout, metric.layout)))
    {
        let name = format!("vir_{}", metric.name);
        for (name, source) in [(metric.name, "2.1"), (&name, "3.1")] {
            let found = dump(&shard, name, 10.0);
            let sources: Vec<_> = found.iter().map(|metric| metric.owner.source.to_string()).collect();
            assert_eq!(sources, [source], "{name}");
            let listed = dump(&shard, "ALL", 10.0);
            let listed: Vec<_> = listed.iter().filter(|metric| metric.name == name).collect();
            assert_eq!(listed.len(), 1, "{name}");
            assert_eq!((&listed[0].value, &listed[0].owner), (&found[0].value, &found[0].owner));
        }
    }
}

#[test]
fn a_text_is_cut_where_no_structure_has_a_longer_one() {
    let mut shard = Shard::new(Options::default());
    let text = vec![b'a'; 5000];
    let source = DataSource { class: 0, index: 4 };
    feed(
        &mut shard,
        &Sender::new(1).datagram(source, 1.0, &[(&counter::PORT_NAME, &[Value::Text(&text)])]),
        1.0,
    );
    assert_eq!(dump(&shard, "ifname", 1.0)[0].value, MetricValue::Text("a".repeat(255).into()));
    assert_eq!(shard.counters().texts_cut, 1);
}
