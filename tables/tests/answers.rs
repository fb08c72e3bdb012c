//! Questions about metrics: statistics, tables, custom metrics, labels, and answers of many shards.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod common;

use common::*;
use decode::build::DatagramBuilder;
use decode::layout::Value;
use decode::rt::MetricValue as Sent;
use decode::{Address, DataSource, Header, counter};
use proptest::prelude::*;
use tables::metric::MetricValue;
use tables::metric::label::LABELS;
use tables::question::Column;
use tables::select::{Agents, Filter, MetricRef};
use tables::{Answer, Options, Outbox, Partial, Question, Shard};

#[test]
fn labels_are_those_of_containers_and_filter_them() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let mut send = |class, index, name: &'static str| {
        let identity = [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
        let cpu = [Value::U32(1), Value::U32(1), Value::U32(index)];
        let records: Records<'_> = &[(&counter::HOST_DESCR, &identity), (&counter::VIRT_CPU, &cpu)];
        feed(&mut shard, &sender.datagram(DataSource { class, index }, 1.0, records), 1.0);
    };
    send(2, 1, "node1");
    send(3, 1, "apache.1.0123456789abcdefghijklmno");
    send(3, 2, "apache.2.abcdefghijklmno0123456789");
    send(3, 3, "k8s_web_web-0_shop_0c5d_0");
    send(3, 4, "nginx.service");
    let found: Vec<_> = dump(&shard, "ALL", 1.0)
        .into_iter()
        .filter(|metric| LABELS.iter().any(|label| label.name == metric.name))
        .map(|metric| match metric.value {
            MetricValue::Text(text) => format!("{}.{}={text}", metric.owner.source, metric.name),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        found,
        [
            "3.1.docker_name=apache.1.0123456789abcdefghijklmno",
            "3.1.swarm_name=apache",
            "3.2.docker_name=apache.2.abcdefghijklmno0123456789",
            "3.2.swarm_name=apache",
            "3.3.k8s_name=web-0",
            "3.3.k8s_namespace=shop",
            "3.4.systemd_service=nginx",
        ]
    );
    let sum = statistics(&shard, "sum:vir_cpu_num", &[("swarm_name", "apache")], 1.0);
    assert_eq!((sum[0].n, sum[0].value.clone()), (2, Some(MetricValue::Number(3.0))));
}

#[test]
fn a_containers_name_is_no_hosts() {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let identity = |name: &'static str| [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
    for (source, name) in [((2, 1), "node1"), ((3, 100_000), "web.1")] {
        let source = DataSource { class: source.0, index: source.1 };
        feed(&mut shard, &sender.datagram(source, 1.0, &[(&counter::HOST_DESCR, &identity(name))]), 1.0);
    }
    let names = |asked| {
        let values = dump(&shard, asked, 1.0);
        values.iter().map(|metric| format!("{} {:?}", metric.owner.source, metric.value)).collect::<Vec<_>>()
    };
    assert_eq!(names("host_name"), ["2.1 Text(\"node1\")"]);
    assert_eq!(names("vir_host_name"), ["3.100000 Text(\"web.1\")"]);
    let found = statistics(&shard, "any:vir_host_name", &[("host_name", "node*")], 1.0);
    assert_eq!(
        found[0].value,
        Some(MetricValue::Text("web.1".into())),
        "the host's name filters its containers"
    );
}

#[test]
fn what_no_data_source_has_is_said_and_counted_as_none() {
    let shard = Shard::new(Options::default());
    let statistics = statistics(&shard, "max:load_one,nosuch", &[], 0.0);
    assert_eq!(statistics.len(), 2);
    assert_eq!((statistics[0].n, &statistics[0].value, &statistics[0].owner), (0, &None, &None));
}

/// A datagram of custom metrics.
fn custom(agent: u8, sequence: u32, at_s: f64, source: &[u8], metrics: &[(&[u8], Sent<'_>)]) -> Vec<u8> {
    let agent = Address::V4([10, 0, 0, agent].into());
    let header = Header { agent, sequence, uptime_ms: (at_s * 1000.0) as u32, ..Header::default() };
    let mut buffer = vec![0; 60_000];
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    builder.rt_metric(source, metrics).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn texts(found: &[tables::question::Metric]) -> Vec<String> {
    let value = |value: &MetricValue| match value {
        MetricValue::Number(number) => number.to_string(),
        MetricValue::Text(text) => text.to_string(),
    };
    found.iter().map(|m| format!("{}.{}={}", m.owner.source, m.name, value(&m.value))).collect()
}

#[test]
fn custom_metrics_of_every_type_answer_by_name() {
    let mut shard = Shard::new(Options::default());
    for (sequence, at, count) in [(1, 0.0, 1000_u32), (2, 10.0, 1500)] {
        let metrics: [(&[u8], Sent<'_>); 7] = [
            (b"version", Sent::Text(b"1.2")),
            (b"requests", Sent::Counter32(count)),
            (b"bytes", Sent::Counter64(u64::from(count) << 32)),
            (b"users", Sent::Gauge32(7)),
            (b"disk", Sent::Gauge64(1 << 40)),
            (b"ratio", Sent::Float(0.5)),
            (b"share", Sent::Double(0.25)),
        ];
        feed(&mut shard, &custom(1, sequence, at, b"shop", &metrics), at);
    }
    assert_eq!(
        texts(&dump(&shard, "ALL", 10.0)),
        [
            "shop.bytes=214748364800",
            "shop.disk=1099511627776",
            "shop.ratio=0.5",
            "shop.requests=50",
            "shop.share=0.25",
            "shop.users=7",
            "shop.version=1.2",
        ]
    );
    assert_eq!(texts(&dump(&shard, "requests,shop.users", 10.0)), ["shop.requests=50", "shop.shop.users=7"]);
    let found = statistics(&shard, "sum:users,any:version,2.1.users", &[("requests", "50")], 10.0);
    assert_eq!(found[0].value, Some(MetricValue::Number(7.0)));
    assert_eq!(found[1].value, Some(MetricValue::Text("1.2".into())));
    assert_eq!((found[2].n, &found[2].value), (0, &None), "no data source of the agent's own has it");
    assert_eq!(statistics(&shard, "sum:users", &[("requests", "51")], 10.0)[0].n, 0);
    let Answer::MetricNames(names) = answer(&shard, &Question::MetricNames, 12.0) else { panic!() };
    assert_eq!((names.len(), names["requests"]), (7, 2 * SECOND));
    // Counters are counters: a wrap is growth, a fall a gap, all ones unknown.
    for (n, (at, count, rate)) in [
        (20.0, u32::MAX - 99, None),
        (30.0, 100, Some(20.0)),
        (30.004, 900, Some(20.0)),
        (40.0, 300, Some(20.0)),
        (50.0, u32::MAX, None),
        (60.0, 5, None),
    ]
    .into_iter()
    .enumerate()
    {
        feed(&mut shard, &custom(1, 3 + n as u32, at, b"shop", &[(b"requests", Sent::Counter32(count))]), at);
        assert_eq!(number(&shard, "requests", at), rate, "at {at}");
    }
    assert_eq!(number(&shard, "users", 150.0), None, "the data source has aged away");
}

/// What the catalogue calls a name is not a sender's to change.
#[test]
fn a_custom_metric_takes_no_name_of_the_catalogue() {
    let mut shard = Shard::new(Options::default());
    let load = [Value::F32(2.0)];
    let host = DataSource { class: 2, index: 1 };
    feed(&mut shard, &Sender::new(1).datagram(host, 1.0, &[(&counter::HOST_CPU, &load)]), 1.0);
    feed(&mut shard, &custom(1, 2, 1.0, b"app", &[(b"load_one", Sent::Gauge32(900))]), 1.0);
    assert_eq!(texts(&dump(&shard, "load_one", 1.0)), ["2.1.load_one=2"]);
    assert_eq!(statistics(&shard, "sum:load_one", &[], 1.0)[0].value, Some(MetricValue::Number(2.0)));
    assert_eq!(texts(&dump(&shard, "app.load_one", 1.0)), ["app.app.load_one=900"]);
    assert!(texts(&dump(&shard, "ALL", 1.0)).contains(&"app.load_one=900".to_owned()));
}

#[test]
fn custom_metrics_are_bounded_in_name_and_number() {
    let mut shard = Shard::new(Options { custom_per_agent: 10, sources: 15, ..Options::default() });
    let gauge = Sent::Gauge32(1);
    let long = vec![b'a'; 129];
    for (n, (source, name)) in [
        (&b"2.1"[..], &b"a"[..]),
        (b"", b"a"),
        (&long[..65], b"a"),
        (b"app", b"9a"),
        (b"app", b"a,b"),
        (b"app", b"a\nb"),
        (b"app", b"a\xff"),
        (b"app", &long),
    ]
    .into_iter()
    .enumerate()
    {
        feed(&mut shard, &custom(1, n as u32, 1.0, source, &[(name, gauge)]), 1.0);
    }
    assert_eq!(shard.counters().custom_misnamed, 8);
    assert!(dump(&shard, "ALL", 1.0).is_empty());
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    let metrics: Vec<_> = names.iter().map(|name| (name.as_bytes(), gauge)).collect();
    for agent in [1, 2] {
        feed(&mut shard, &custom(agent, 100, 2.0, &long[..64], &metrics), 2.0);
    }
    let per_agent = |agent: u8| {
        let of = Address::V4([10, 0, 0, agent].into());
        dump(&shard, "ALL", 2.0).iter().filter(|metric| metric.owner.agent == of).count()
    };
    assert_eq!((per_agent(1), per_agent(2)), (10, 5), "ten of an agent, fifteen of all");
    assert_eq!(shard.counters().custom_refused, 25);
    let text = vec![b'x'; 1000];
    feed(&mut shard, &custom(1, 101, 3.0, &long[..64], &[(b"m1", Sent::Text(&text))]), 3.0);
    assert_eq!(
        (dump(&shard, "m1", 3.0)[0].value.clone(), shard.counters().texts_cut),
        (MetricValue::Text("x".repeat(255).into()), 1)
    );
    (0..20).for_each(|_| shard.tick(us(200.0), &mut Outbox::default()));
    feed(&mut shard, &custom(2, 102, 201.0, b"app", &metrics), 201.0);
    assert_eq!(dump(&shard, "ALL", 201.0).len(), 10, "what has aged away makes room");
}

fn answer(shard: &Shard, question: &Question, at_s: f64) -> Answer {
    shard.ask(question, us(at_s)).finish(question)
}

fn table_of(columns: &str, filter: &[(&str, &str)]) -> Question {
    let filter =
        Filter::new(filter.iter().map(|(name, pattern)| (*name, vec![(*pattern).to_owned()]))).unwrap();
    Question::Table { agents: Agents::All, columns: Column::list(columns).unwrap(), filter }
}

/// A row as text: data source and value of each cell.
fn cells(answer: Answer) -> Vec<String> {
    let Answer::Table(rows) = answer else { panic!("{answer:?}") };
    let cell =
        |cell: Option<tables::question::Metric>| cell.map_or("-".to_owned(), |cell| texts(&[cell]).concat());
    rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}

/// A switch with three ports, one of which has no name, that is also a host with a container.
fn switch() -> Shard {
    let mut shard = Shard::new(Options::default());
    let mut sender = Sender::new(1);
    let mut send = |class, index, records: Records<'_>| {
        feed(&mut shard, &sender.datagram(DataSource { class, index }, 1.0, records), 1.0);
    };
    let identity = |name: &'static str| [Value::Text(name.as_bytes()), Value::Uuid([1; 16])];
    send(2, 1, &[(&counter::HOST_DESCR, &identity("leaf1")), (&counter::HOST_CPU, &[Value::F32(0.5)])]);
    send(
        3,
        100_000,
        &[
            (&counter::HOST_DESCR, &identity("web.1")),
            (&counter::VIRT_CPU, &[Value::U32(1), Value::U32(0), Value::U32(2)]),
        ],
    );
    for (index, speed, name) in [(1, 10, Some("swp1")), (2, 40, Some("swp2")), (3, 25, None)] {
        let interface = [Value::U32(index), Value::U32(6), Value::U64(speed)];
        let name = name.map(|name: &str| [Value::Text(name.as_bytes())]);
        let mut records: Vec<(&'static decode::layout::Layout, &[Value<'_>])> =
            vec![(&counter::IF_COUNTERS, &interface)];
        records.extend(name.as_ref().map(|name| (&counter::PORT_NAME, &name[..])));
        send(0, index, &records);
    }
    shard
}

#[test]
fn a_table_joins_metrics_by_data_source_and_those_of_the_host_to_all() {
    let shard = switch();
    let rows = |columns, filter: &[(&str, &str)]| cells(answer(&shard, &table_of(columns, filter), 1.0));
    assert_eq!(
        rows("host_name,ifname,ifspeed", &[]),
        ["2.1.host_name=leaf1 1.ifname=swp1 1.ifspeed=10", "2.1.host_name=leaf1 2.ifname=swp2 2.ifspeed=40"]
    );
    assert_eq!(
        rows("ifspeed,null:ifname", &[]),
        ["1.ifspeed=10 1.ifname=swp1", "2.ifspeed=40 2.ifname=swp2", "3.ifspeed=25 -"]
    );
    assert_eq!(
        rows("host_name,load_one", &[]),
        ["2.1.host_name=leaf1 2.1.load_one=0.5"],
        "one row of the host"
    );
    assert_eq!(
        rows("host_name,vir_host_name,vir_cpu_state,vir_cpu_num", &[]),
        [
            "2.1.host_name=leaf1 3.100000.vir_host_name=web.1 3.100000.vir_cpu_state=running 3.100000.vir_cpu_num=2"
        ]
    );
    assert_eq!(rows("ifname,vir_host_name", &[]), [""; 0], "no data source has both");
    assert_eq!(rows("ifname", &[("vir_host_name", "leaf1")]), [""; 0], "the host is no container");
    assert_eq!(rows("ifname", &[("ifspeed", "4*")]), ["2.ifname=swp2"]);
    assert_eq!(
        rows("ifname,load_one", &[("host_name", "leaf1"), ("ifname", "swp1")]),
        ["1.ifname=swp1 2.1.load_one=0.5"]
    );
    assert_eq!(rows("ifname", &[("host_name", "spine*")]), [""; 0]);
    assert_eq!(rows("ifname,2.1.load_one", &[("ifspeed", "10")]), ["1.ifname=swp1 2.1.2.1.load_one=0.5"]);
    assert_eq!(rows("ifname,2.2.load_one", &[]), [""; 0]);
}

#[test]
fn a_table_sorts_and_keeps_the_first() {
    let shard = switch();
    let rows = |columns| cells(answer(&shard, &table_of(columns, &[]), 1.0));
    assert_eq!(rows("sort:ifspeed:-2,ifindex"), ["2.ifspeed=40 2.ifindex=2", "3.ifspeed=25 3.ifindex=3"]);
    assert_eq!(rows("ifindex,sort:ifspeed:1"), ["1.ifindex=1 1.ifspeed=10"]);
    assert_eq!(
        rows("sort:null:ifname:-3,ifindex"),
        ["2.ifname=swp2 2.ifindex=2", "1.ifname=swp1 1.ifindex=1", "- 3.ifindex=3"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any partition of the agents over shards gives the answer of one shard, in any order of merging.
    #[test]
    fn merging_is_commutative_and_associative(
        loads in prop::collection::vec((0u8..4, 0u32..1000), 1..20),
        aggregation in prop::sample::select(vec!["max", "min", "sum", "avg", "var", "med", "q1", "q3", "iqr", "any"]),
        turned in any::<bool>(),
    ) {
        let mut whole = Shard::new(Options::default());
        let mut parts: Vec<Shard> = (0..4).map(|_| Shard::new(Options::default())).collect();
        for (n, (part, load)) in loads.iter().enumerate() {
            let mut values = values(&counter::HOST_CPU, 0, 1);
            values[0] = Value::F32(*load as f32);
            let source = DataSource { class: 2, index: 1 };
            let datagram = Sender::new(n as u8).datagram(source, 1.0, &[(&counter::HOST_CPU, &values)]);
            feed(&mut whole, &datagram, 1.0);
            feed(&mut parts[usize::from(*part)], &datagram, 1.0);
        }
        let metrics = MetricRef::list(&format!("{aggregation}:load_one")).unwrap();
        let question = Question::Metric { agents: Agents::All, metrics, filter: Filter::default() };
        let mut partials: Vec<Partial> = parts.iter().map(|shard| shard.ask(&question, us(2.0))).collect();
        if turned {
            partials.reverse();
        }
        let [a, b, c, d] = <[Partial; 4]>::try_from(partials).unwrap();
        let left = a.clone().merge(b.clone()).merge(c.clone()).merge(d.clone()).finish(&question);
        let right = a.merge(b.merge(c.merge(d))).finish(&question);
        let one = whole.ask(&question, us(2.0)).finish(&question);
        prop_assert_eq!(&left, &one);
        prop_assert_eq!(&right, &one);
    }

    /// The same for tables: joined, filtered, sorted, cut to the first.
    #[test]
    fn tables_of_shards_merge_into_that_of_one(
        ports in prop::collection::vec((0u8..4, 0u8..6, 1u32..5, 0u64..4, any::<bool>()), 1..40),
        columns in prop::sample::select(vec![
            "ifindex,ifspeed", "host_name,ifindex,null:ifname", "sort:ifspeed:-3,ifindex", "ifindex,sort:null:ifname:4",
        ]),
        filtered in any::<bool>(),
        turned in any::<bool>(),
    ) {
        let mut whole = Shard::new(Options::default());
        let mut parts: Vec<Shard> = (0..4).map(|_| Shard::new(Options::default())).collect();
        let mut owners = [None; 6];
        let mut senders: Vec<Sender> = (0..6).map(Sender::new).collect();
        for (part, agent, index, speed, named) in ports {
            let part = *owners[usize::from(agent)].get_or_insert(part);
            let interface = [Value::U32(index), Value::U32(6), Value::U64(speed)];
            let name = [Value::Text(if named { b"swp" } else { b"" })];
            let identity = [Value::Text(b"leaf")];
            let port: Records<'_> = &[(&counter::IF_COUNTERS, &interface), (&counter::PORT_NAME, &name)];
            let sender = &mut senders[usize::from(agent)];
            for datagram in [
                sender.datagram(DataSource { class: 0, index }, 1.0, port),
                sender.datagram(DataSource { class: 2, index: 1 }, 1.0, &[(&counter::HOST_DESCR, &identity)]),
            ] {
                feed(&mut whole, &datagram, 1.0);
                feed(&mut parts[usize::from(part)], &datagram, 1.0);
            }
        }
        let question = table_of(columns, if filtered { &[("ifspeed", "[12]")] } else { &[] });
        let mut partials: Vec<Partial> = parts.iter().map(|shard| shard.ask(&question, us(2.0))).collect();
        if turned {
            partials.reverse();
        }
        let [a, b, c, d] = <[Partial; 4]>::try_from(partials).unwrap();
        let left = a.clone().merge(b.clone()).merge(c.clone()).merge(d.clone()).finish(&question);
        let right = a.merge(b.merge(c.merge(d))).finish(&question);
        let one = answer(&whole, &question, 2.0);
        prop_assert_eq!(&left, &one);
        prop_assert_eq!(&right, &one);
    }
}
