//! Live flows as questions see them: rates, further values, the flow log, thresholds, what is dropped.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::packet::PacketBuilder;
use decode::rt::MetricValue;
use decode::sample::Interface;
use decode::{Address, DataSource, DiscardedPacket, FlowSample, Header, Mac};
use serde_json::{Value as Json, json};
use tables::flow::active::FlowAggregation;
use tables::flow::plan::ActiveFlow;
use tables::outbox::FlowRecord;
use tables::question::Column;
use tables::select::{Agents, Filter};
use tables::shard::Scale;
use tables::{Answer, Change, Options, Outbox, Partial, Program, Question, Shard};

const SECOND: u64 = 1_000_000;

/// A shard with definitions, and one agent that samples every packet.
struct Fixture {
    shard: Shard,
    program: Arc<Program>,
    outbox: Outbox,
    agent: u8,
    sequence: u32,
}

impl Fixture {
    fn new(flows: &[(&str, Json)]) -> Self {
        Self::with(Options::default(), flows)
    }

    fn with(options: Options, flows: &[(&str, Json)]) -> Self {
        let mut fixture = Self {
            shard: Shard::new(options),
            program: Arc::default(),
            outbox: Outbox::default(),
            agent: 1,
            sequence: 0,
        };
        for (name, spec) in flows {
            fixture.change(Change::Flow((*name).to_owned(), Some(spec.clone())), 0);
        }
        fixture
    }

    fn change(&mut self, change: Change, now_us: u64) {
        self.program = Arc::new(self.program.changed(change).unwrap());
        self.shard.adopt(&self.program, now_us, &mut self.outbox);
    }

    fn datagram(&mut self, now_us: u64, add: impl FnOnce(&mut DatagramBuilder<'_>, u32)) {
        self.sequence += 1;
        let header = Header {
            agent: Address::V4([10, 0, 0, self.agent].into()),
            sequence: self.sequence,
            uptime_ms: (now_us / 1000) as u32,
            ..Header::default()
        };
        let mut buffer = [0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        add(&mut builder, self.sequence);
        let length = builder.finish().unwrap();
        let sender = IpAddr::from([127, 0, 0, 1]);
        self.shard.datagram(&buffer[..length], sender, now_us, &mut self.outbox);
        self.shard.flush(now_us, &mut self.outbox);
    }

    /// A packet of a length seen at a port.
    fn packet(&mut self, port: u32, source: Ipv4Addr, frame_length: u32, now_us: u64) {
        self.sample(port, source, frame_length, 1, self.sequence + 1, now_us);
    }

    /// The same, sampled at a rate from a pool.
    fn sample(
        &mut self,
        port: u32,
        source: Ipv4Addr,
        frame_length: u32,
        sampling_rate: u32,
        sample_pool: u32,
        now_us: u64,
    ) {
        let packet = packet(source);
        self.datagram(now_us, |builder, sequence| {
            let sample = FlowSample {
                sequence,
                source: DataSource { class: 0, index: port },
                sampling_rate,
                sample_pool,
                input: Interface::index(port),
                ..FlowSample::default()
            };
            let header = SampledHeader { protocol: 1, frame_length, stripped: 4, bytes: &packet };
            builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
        });
    }

    fn tick(&mut self, now_us: u64) {
        self.shard.tick(now_us, &mut self.outbox);
    }

    fn active(&self, flow: &str, aggregation: FlowAggregation, now_us: u64) -> Vec<ActiveFlow> {
        let question = Question::ActiveFlows {
            agents: Agents::All,
            flow: flow.to_owned(),
            aggregation,
            most: 100,
            least: 0.0,
            separator: ",".to_owned(),
        };
        let Answer::Flows(flows) = self.shard.ask(&question, now_us).finish(&question) else { panic!() };
        flows
    }

    fn value(&self, flow: &str, now_us: u64) -> f64 {
        self.active(flow, FlowAggregation::Max, now_us).first().map_or(0.0, |flow| flow.value)
    }

    fn records(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.outbox.records)
    }
}

fn packet(source: Ipv4Addr) -> Vec<u8> {
    let mut buffer = vec![0; 128];
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let builder = PacketBuilder::new(&mut buffer).ethernet(mac, mac).unwrap();
    let builder = builder.ipv4(source, [192, 0, 2, 9].into(), 0, 64).unwrap().tcp(1000, 443, 2).unwrap();
    let length = builder.finish(96).unwrap();
    buffer.truncate(length);
    buffer
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, last)
}

/// Traffic of 1.25 MB/s for 30 s, none for 30 s, over and over, as compatibility tests of the field do it.
#[test]
fn a_step_load_is_followed_or_averaged_by_the_time_constant() {
    let times: [f64; 5] = [1.0, 2.0, 10.0, 60.0, 500.0];
    let names: Vec<String> = times.iter().map(|t| format!("t{t}")).collect();
    let flows: Vec<(&str, Json)> = names
        .iter()
        .zip(times)
        .map(|(name, t)| (name.as_str(), json!({"keys": "ipsource", "value": "bytes", "t": t})))
        .collect();
    let mut fixture = Fixture::new(&flows);
    const FULL: f64 = 1_250_000.0;
    for step in 0..400_000_u64 {
        let now_us = step * 10_000;
        if step / 3000 % 2 == 0 {
            fixture.packet(1, host(1), 12_500, now_us);
        }
        if step % 100 == 0 {
            fixture.tick(now_us);
        }
        // The curve of the definition, at the ends of the last two halves: the wave has settled by then, but for the
        // slowest, which is still within e^-8 of it.
        let (half, place) = (step / 3000, step % 3000);
        if half >= 131 && place == 2999 && step >= 393_000 {
            for (t, name) in times.iter().zip(&names) {
                let fall = (-30.0 / t).exp();
                let high = FULL / (1.0 + fall);
                let expected = if half % 2 == 0 { high } else { high * fall };
                let reading = fixture.value(name, now_us);
                let off = (reading - expected).abs();
                assert!(off < 0.012 * FULL, "t={t}, half {half}: {reading}, not {expected}");
            }
        }
    }
}

#[test]
fn a_flow_on_three_ports_is_counted_once_or_thrice() {
    let spec = json!({"keys": "ipsource", "value": "bytes", "t": 1});
    let mut fixture = Fixture::new(&[
        ("f", spec.clone()),
        ("agent", {
            let mut spec = spec;
            spec["aggMode"] = "AGENT".into();
            spec
        }),
    ]);
    for (port, length) in [(1, 100), (2, 120), (3, 110)] {
        fixture.packet(port, host(1), length, SECOND);
    }
    let max = fixture.active("f", FlowAggregation::Max, SECOND);
    assert_eq!((max.len(), max[0].value.round(), max[0].key.as_str()), (1, 120.0, "10.1.0.1"));
    assert_eq!(max[0].owner.source.to_string(), "2");
    assert_eq!(fixture.active("f", FlowAggregation::Sum, SECOND)[0].value.round(), 330.0);
    let agent = fixture.active("agent", FlowAggregation::Max, SECOND);
    assert_eq!((agent[0].value.round(), agent[0].owner.source.to_string().as_str()), (330.0, ""));

    let locations = Question::FlowLocations {
        agents: Agents::All,
        flow: "f".into(),
        key: "10.1.0.1".into(),
        separator: ",".into(),
    };
    let Answer::Flows(places) = fixture.shard.ask(&locations, SECOND).finish(&locations) else { panic!() };
    let ports: Vec<String> = places.iter().map(|place| place.owner.source.to_string()).collect();
    assert_eq!(ports, ["2", "3", "1"], "largest first");
    for (source, key, expected) in [
        (None, Some("10.1.0.1"), Some(120.0)),
        (Some(3), Some("10.1.0.1"), Some(110.0)),
        (Some(3), None, Some(110.0)),
        (Some(4), None, None),
        (None, Some("10.1.0.2"), None),
        (None, Some("no address"), None),
    ] {
        let question = Question::FlowValue {
            agents: Agents::of("10.0.0.1", &Arc::default()).unwrap(),
            source: source.map(|index| DataSource { class: 0, index }),
            flow: "f".into(),
            key: key.map(str::to_owned),
        };
        let answer = fixture.shard.ask(&question, SECOND).finish(&question);
        let Answer::FlowValue(value) = answer else { panic!() };
        assert_eq!(value.map(f64::round), expected, "{question:?}");
    }
}

#[test]
fn further_values_are_those_of_the_flow() {
    let values = "frames,avg:bytes,min:bytes,max:bytes,count:ipsource,rate:bytes";
    let spec = json!({"keys": "ipdestination", "value": "bytes", "values": values, "t": 2});
    let mut fixture = Fixture::new(&[("f", spec), ("n", json!({"value": "count:ipsource"}))]);
    for (last, length) in [(1, 100), (2, 200), (3, 300), (3, 400)] {
        fixture.packet(1, host(last), length, SECOND);
    }
    let flow = &fixture.active("f", FlowAggregation::Max, SECOND)[0];
    assert_eq!((flow.value.round(), flow.key.as_str()), (500.0, "192.0.2.9"));
    assert_eq!(flow.values, [2.0, 250.0, 100.0, 400.0, 3.0, 500.0]);
    let count = &fixture.active("n", FlowAggregation::Max, SECOND)[0];
    assert_eq!((count.value, count.key.as_str()), (3.0, ""));
    // Two smoothing times later the window of least, largest and distinct values is over.
    let flow = &fixture.active("f", FlowAggregation::Max, 5 * SECOND)[0];
    assert_eq!(flow.values[1..5], [250.0, 0.0, 0.0, 0.0]);
    assert!((flow.values[0] - 2.0 * (-2.0_f64).exp()).abs() < 1e-6);
}

#[test]
fn a_flow_is_recorded_when_its_time_is_over() {
    let spec =
        json!({"keys": "ipsource", "value": "bytes", "values": "frames", "log": true, "activeTimeout": 10});
    let mut fixture = Fixture::new(&[("f", spec)]);
    for second in 0..25 {
        fixture.packet(1, host(1), 100, second * SECOND + SECOND);
        fixture.tick(second * SECOND + SECOND);
    }
    let records = fixture.records();
    assert_eq!(records.len(), 2);
    assert_eq!((&*records[0].name, records[0].keys().as_str()), ("f", "10.1.0.1"));
    assert_eq!((records[0].value, records[0].values.as_slice()), (1100.0, [11.0].as_slice()), "totals");
    assert_eq!((records[0].start_us, records[0].end_us), (SECOND, 11 * SECOND));
    assert_eq!(
        (records[1].start_us, records[1].end_us, records[1].value),
        (12 * SECOND, 22 * SECOND, 1100.0)
    );
    assert_eq!(records[0].owner.source.to_string(), "1");
    // The rest of it comes when its own time is over, although no packet follows.
    fixture.tick(33 * SECOND);
    let records = fixture.records();
    assert_eq!((records.len(), records[0].value, records[0].end_us), (1, 300.0, 25 * SECOND));
    fixture.tick(2000 * SECOND);
    assert_eq!((fixture.records().len(), fixture.shard.flows()), (0, 0));
}

#[test]
fn a_flow_that_starts_is_recorded_at_once_and_again_after_its_time() {
    let spec =
        json!({"keys": "ipsource", "value": "frames", "log": true, "flowStart": true, "activeTimeout": 60});
    let mut fixture = Fixture::new(&[("f", spec)]);
    fixture.packet(1, host(1), 100, SECOND);
    fixture.packet(1, host(1), 100, SECOND);
    fixture.packet(2, host(1), 100, SECOND);
    let records = fixture.records();
    let ports: Vec<String> = records.iter().map(|record| record.owner.source.to_string()).collect();
    assert_eq!(
        (ports, records[0].value),
        (vec!["1".to_owned(), "2".to_owned()], 1.0),
        "one for each data source"
    );
    for second in 2..70 {
        fixture.packet(1, host(1), 100, second * SECOND);
        fixture.tick(second * SECOND);
    }
    let records = fixture.records();
    assert_eq!((records.len(), records[0].start_us), (1, 62 * SECOND), "when its time was over");
}

#[test]
fn a_changed_definition_ends_its_flows_with_records_and_begins_empty() {
    let spec = |t: u32| json!({"keys": "ipsource", "value": "bytes", "log": true, "t": t});
    let mut fixture = Fixture::new(&[("f", spec(2))]);
    fixture.packet(1, host(1), 100, SECOND);
    fixture.change(Change::Flow("f".into(), Some(spec(2))), 2 * SECOND);
    assert!(fixture.value("f", 2 * SECOND) > 0.0, "the same definition keeps its table");
    assert!(fixture.records().is_empty());
    fixture.change(Change::Flow("f".into(), Some(spec(3))), 2 * SECOND);
    assert_eq!((fixture.records().len(), fixture.shard.flows()), (1, 0));
    fixture.packet(1, host(2), 100, 3 * SECOND);
    fixture.change(Change::Flow("f".into(), None), 4 * SECOND);
    assert_eq!(fixture.records().len(), 1);
    fixture.change(Change::Flow("f".into(), Some(spec(3))), 4 * SECOND);
    fixture.packet(1, host(2), 100, 5 * SECOND);
    fixture.shard.end(6 * SECOND, &mut fixture.outbox);
    assert_eq!(fixture.records().len(), 1, "the shard ends with records too");
}

/// A group set whose labels change places while its flows live never shows a wrong name.
#[test]
fn labels_that_change_places_are_never_shown_wrong() {
    let set = |a: &str, b: &str| Change::Group("g".into(), Some(json!({a: ["10.1.0.1"], b: ["10.1.0.2"]})));
    let mut fixture = Fixture::new(&[]);
    fixture.change(set("one", "two"), 0);
    let spec = json!({"keys": "ipsource,group:ipsource:g", "value": "frames", "t": 1});
    fixture.change(Change::Flow("f".into(), Some(spec)), 0);
    let shown = |fixture: &Fixture, now_us| {
        let flows = fixture.active("f", FlowAggregation::Max, now_us);
        let mut keys: Vec<String> = flows.into_iter().map(|flow| flow.key).collect();
        keys.sort();
        keys
    };
    fixture.packet(1, host(1), 100, SECOND);
    fixture.packet(1, host(2), 100, SECOND);
    assert_eq!(shown(&fixture, SECOND), ["10.1.0.1,one", "10.1.0.2,two"]);
    fixture.change(set("two", "one"), SECOND);
    assert_eq!(shown(&fixture, SECOND), ["10.1.0.1,one", "10.1.0.2,two"], "what was counted keeps its name");
    fixture.packet(1, host(1), 100, 30 * SECOND);
    fixture.packet(1, host(2), 100, 30 * SECOND);
    fixture.tick(30 * SECOND);
    assert_eq!(shown(&fixture, 30 * SECOND), ["10.1.0.1,two", "10.1.0.2,one"]);
}

#[test]
fn the_smallest_give_way_and_are_counted() {
    let options = Options { flow_bytes: 64 << 10, ..Options::default() };
    let mut fixture =
        Fixture::with(options, &[("f", json!({"keys": "ipsource", "value": "bytes", "t": 100}))]);
    for n in 0..20_000_u32 {
        let large = n % 100 == 0;
        fixture.packet(1, (0x0a02_0000 + n).into(), if large { 60_000 } else { 64 }, SECOND + u64::from(n));
        assert!(fixture.shard.flow_bytes() <= 64 << 10);
    }
    let (evicted, alive) = (fixture.shard.flows_evicted(), fixture.shard.flows() as u64);
    assert_eq!(evicted + alive, 20_000);
    assert!(alive > 1300, "{alive} flows of about 40 bytes each find room: beyond half of the index too");
    let question = Question::ActiveFlows {
        agents: Agents::All,
        flow: "f".into(),
        aggregation: FlowAggregation::Max,
        most: 200,
        least: 0.0,
        separator: ",".into(),
    };
    let Answer::Flows(flows) = fixture.shard.ask(&question, 2 * SECOND).finish(&question) else { panic!() };
    assert!(flows.iter().all(|flow| flow.value > 500.0), "the 200 large ones are all there");
    assert_eq!(flows.len(), 200);
}

#[test]
fn a_flow_above_its_threshold_is_an_event_once() {
    let once = || {
        let spec = json!({"keys": "ipsource", "value": "frames", "values": "bytes", "t": 1});
        let mut fixture = Fixture::new(&[("f", spec)]);
        for by_flow in [true, false] {
            let json = json!({"metric": "f", "value": 2.5, "byFlow": by_flow, "timeout": 2});
            fixture.change(Change::Threshold(format!("by_flow_{by_flow}"), Some(json)), 0);
        }
        for last in [1, 2, 1, 2, 1, 2] {
            fixture.packet(1, host(last), 100, SECOND);
        }
        fixture
    };
    let mut fixture = once();
    let events = std::mem::take(&mut fixture.outbox.events);
    let of = |by_flow: bool| {
        let name = format!("by_flow_{by_flow}");
        events.iter().filter(|event| *event.threshold == *name).collect::<Vec<_>>()
    };
    let keys: Vec<_> = of(true).iter().map(|event| event.flow_key.clone().unwrap()).collect();
    assert_eq!(keys, ["10.1.0.1", "10.1.0.2"], "each flow");
    assert_eq!(of(false).len(), 1, "one for the data source");
    let event = of(true)[0];
    assert_eq!((event.metric.as_str(), event.limit, event.value.round()), ("f", 2.5, 3.0));
    assert_eq!((event.owner.source.to_string().as_str(), event.values[0].round()), ("1", 300.0));
    let triggered = |fixture: &Fixture, by_flow: bool, metric: &str, key: Option<&str>, at_ms: u64| {
        let question = Question::Triggered {
            agents: Agents::of("10.0.0.1", &Arc::default()).unwrap(),
            threshold: format!("by_flow_{by_flow}"),
            metric: metric.to_owned(),
            flow_key: key.map(str::to_owned),
        };
        match fixture.shard.ask(&question, at_ms * 1000) {
            Partial::Triggered(triggered) => triggered,
            other => panic!("{other:?}"),
        }
    };
    for (by_flow, metric, key, is_it) in [
        (true, "1.f", Some("10.1.0.2"), true),
        (true, "1.f", Some("10.1.0.3"), false),
        (true, "1.f", None, true),
        (true, "f", None, true),
        (true, "2.f", None, false),
        (true, "1.g", None, false),
        (false, "1.f", Some("10.1.0.9"), true),
    ] {
        assert_eq!(triggered(&fixture, by_flow, metric, key, 1000), is_it, "{by_flow} {metric} {key:?}");
    }
    // They fall below after 0.18 s, are in no table any more, and stay triggered for two seconds after that.
    for (at_ms, is_it) in [(3100, true), (3300, false)] {
        let mut fixture = once();
        fixture.tick(at_ms * 1000);
        assert_eq!(triggered(&fixture, true, "1.f", Some("10.1.0.1"), at_ms), is_it, "at {at_ms} ms");
        assert_eq!(triggered(&fixture, false, "1.f", None, at_ms), is_it, "at {at_ms} ms");
    }
    // Three a second fall below 2.5 after 0.18 s, and may be an event again two seconds later.
    for (at_ms, again) in [(3100, 0), (6000, 3)] {
        fixture.tick(at_ms * 1000);
        for last in [1, 2, 1, 2, 1, 2] {
            fixture.packet(1, host(last), 100, at_ms * 1000);
        }
        assert_eq!(std::mem::take(&mut fixture.outbox.events).len(), again, "at {at_ms} ms");
    }
}

#[test]
fn a_custom_metric_above_its_threshold_is_an_event_once_however_rarely_it_comes() {
    let mut fixture = Fixture::new(&[]);
    let json = json!({"metric": "shop.queue", "value": 100, "filter": {"region": ["eu"]}});
    fixture.change(Change::Threshold("busy".to_owned(), Some(json)), 0);
    let mut events = Vec::new();
    for (turn, queue) in [50, 150, 151, 10, 200].into_iter().enumerate() {
        let at_us = (1 + 70 * turn as u64) * SECOND;
        for (source, region) in [(b"shop", "eu"), (b"mill", "eu"), (b"shop", "us")] {
            // The same data source of another agent, in a region that the filter leaves out.
            fixture.agent = if region == "eu" { 1 } else { 2 };
            fixture.datagram(at_us, |builder, _| {
                let metrics = [
                    (b"queue".as_slice(), MetricValue::Gauge32(queue)),
                    (b"region", MetricValue::Text(region.as_bytes())),
                ];
                builder.rt_metric(source, &metrics).unwrap();
            });
        }
        events.append(&mut fixture.outbox.events);
        (0..70).for_each(|second| fixture.tick(at_us + second * SECOND));
    }
    let shown: Vec<String> = events
        .iter()
        .map(|event| format!("{} {} {} {}", event.threshold, event.owner.source, event.metric, event.value))
        .collect();
    assert_eq!(shown, ["busy shop shop.queue 150", "busy shop shop.queue 200"]);
    assert!(events.iter().all(|event| event.owner.agent == Address::V4([10, 0, 0, 1].into())));
}

#[test]
fn dropped_packets_have_flows_of_their_own() {
    let spec =
        |dropped: bool| json!({"keys": "ipsource,reason", "value": "frames", "dropped": dropped, "t": 1});
    let mut fixture = Fixture::new(&[("dropped", spec(true)), ("sampled", spec(false))]);
    let packet = packet(host(1));
    fixture.datagram(SECOND, |builder, sequence| {
        let sample = DiscardedPacket {
            sequence,
            source: DataSource { class: 0, index: 3 },
            input: 3,
            reason: 256,
            ..DiscardedPacket::default()
        };
        let header = SampledHeader { protocol: 1, frame_length: 100, stripped: 4, bytes: &packet };
        builder.discarded(&sample, &[RecordOut::Header(header)]).unwrap();
    });
    let flows = fixture.active("dropped", FlowAggregation::Max, SECOND);
    assert_eq!((flows[0].key.as_str(), flows[0].value), ("10.1.0.1,unknown", 1.0));
    assert!(fixture.active("sampled", FlowAggregation::Max, SECOND).is_empty());
}

/// One forged sample moves nothing; and a sample counts for what its pool says, or for the configured rate.
#[test]
fn what_a_sample_counts_for_is_bounded_and_chosen() {
    let spec = json!({"keys": "ipsource", "value": "frames", "t": 1});
    let value = |scale: Scale| {
        let mut fixture = Fixture::with(Options { scale, ..Options::default() }, &[("f", spec.clone())]);
        // Each sample stands for two packets by its pool, for one by its rate.
        for n in 0..200_u32 {
            fixture.sample(1, host(1), 100, 1, 2 * n, SECOND + u64::from(n));
        }
        fixture.sample(1, host(2), 100, (1 << 24) + 1, 400, 2 * SECOND);
        assert_eq!(fixture.shard.counters().outliers, 1);
        let flows = fixture.active("f", FlowAggregation::Max, SECOND + 200);
        assert_eq!(flows.len(), 1, "the forged one is left out");
        flows[0].value.round()
    };
    assert_eq!(value(Scale::Rate), 200.0);
    assert_eq!(value(Scale::Pool), 300.0, "the first hundred count for the rate, until the pool is known");
}

/// A definition is a metric of every data source, with the names of its largest flows.
#[test]
fn a_definition_is_a_metric() {
    let mut fixture = Fixture::new(&[("f", json!({"keys": "ipsource", "value": "bytes", "t": 1}))]);
    for (port, last, length) in [(1, 1, 100), (1, 2, 300), (1, 3, 200), (2, 4, 250)] {
        fixture.packet(port, host(last), length, SECOND);
    }
    let metrics = || vec!["max:f".parse().unwrap(), "sum:f".parse().unwrap(), "2.f".parse().unwrap()];
    let question = Question::Metric { agents: Agents::All, metrics: metrics(), filter: Filter::default() };
    let answer = fixture.shard.ask(&question, SECOND).finish(&question);
    let Answer::Statistics(statistics) = answer else { panic!() };
    let number = |n: usize| statistics[n].value.as_ref().unwrap().number().unwrap().round();
    assert_eq!((number(0), statistics[0].n, number(1), number(2)), (300.0, 2, 550.0, 250.0));
    let top: Vec<(&str, f64)> =
        statistics[0].top_keys.iter().map(|(key, value)| (key.as_str(), value.round())).collect();
    assert_eq!(top, [("10.1.0.2", 300.0), ("10.1.0.3", 200.0), ("10.1.0.1", 100.0)]);
    let question = Question::Table {
        agents: Agents::of("10.0.0.1", &Arc::default()).unwrap(),
        columns: Column::list("f,null:ifname").unwrap(),
        filter: Filter::default(),
    };
    let Answer::Table(rows) = fixture.shard.ask(&question, SECOND).finish(&question) else { panic!() };
    let cell = |row: usize| rows[row][0].as_ref().unwrap().value.number().unwrap().round();
    assert_eq!((rows.len(), cell(0), cell(1), &rows[0][1]), (2, 300.0, 250.0, &None));
    let question = Question::MetricNames;
    let Answer::MetricNames(names) = fixture.shard.ask(&question, 3 * SECOND).finish(&question) else {
        panic!()
    };
    assert_eq!(names.get("f"), Some(&(2 * SECOND)));
}

#[test]
fn keys_of_recent_packets() {
    let mut fixture = Fixture::new(&[]);
    fixture.packet(1, host(1), 100, SECOND);
    let Answer::FlowKeys(keys) =
        fixture.shard.ask(&Question::FlowKeys, 3 * SECOND).finish(&Question::FlowKeys)
    else {
        panic!()
    };
    assert_eq!(
        (keys.get("ipsource"), keys.get("tcpdestinationport")),
        (Some(&(2 * SECOND)), Some(&(2 * SECOND)))
    );
    assert_eq!((keys.get("ip6source"), keys.get("ipsource.1"), keys.get("bytes.1")), (None, None, None));
}

#[test]
fn any_partition_of_agents_gives_the_answer_of_one_shard() {
    let numbers = json!({"keys": "ipsource", "value": "bytes", "values": "frames", "t": 1});
    // Its texts have other numbers in each shard, and its means are read where they are.
    let texts =
        json!({"keys": "suffix:ipsource:.:1,ipdscpname,frames", "value": "avg:bytes", "values": "frames"});
    let flows = [("f", numbers), ("g", texts)];
    let mut whole = Fixture::new(&flows);
    let mut parts: Vec<Fixture> = (0..4).map(|_| Fixture::new(&flows)).collect();
    for n in 0..2000_u32 {
        let agent = (n % 7) as u8 + 1;
        let (port, source, length) = (n % 5 + 1, host((n % 13) as u8), 64 + n % 1400);
        for fixture in [&mut whole, &mut parts[usize::from(agent) % 4]] {
            fixture.agent = agent;
            fixture.packet(port, source, length, SECOND + u64::from(n));
        }
    }
    let agents = [Agents::All, Agents::Named(vec!["10.0.0.2".into(), "10.0.0.5".into()])];
    let aggregations = [FlowAggregation::Max, FlowAggregation::Sum];
    for (((flow, _), agents), aggregation) in flows
        .iter()
        .flat_map(|f| agents.iter().map(move |a| (f, a)))
        .flat_map(|fa| aggregations.map(|g| (fa, g)))
    {
        for most in [1, 3, 100] {
            let question = Question::ActiveFlows {
                agents: agents.clone(),
                flow: (*flow).into(),
                aggregation,
                most,
                least: 0.0,
                separator: ",".into(),
            };
            let now_us = 2 * SECOND;
            let rounded = |answer: Answer| {
                let Answer::Flows(flows) = answer else { panic!() };
                let round = |value: f64| (value * 1e3).round();
                let rounded = |flow: ActiveFlow| {
                    (
                        flow.key,
                        round(flow.value),
                        flow.values.into_iter().map(round).collect::<Vec<_>>(),
                        flow.owner,
                    )
                };
                flows.into_iter().map(rounded).collect::<Vec<_>>()
            };
            let one = rounded(whole.shard.ask(&question, now_us).finish(&question));
            assert_eq!(one.len(), most.min(13), "{one:?}");
            let partials: Vec<_> = parts.iter().map(|part| part.shard.ask(&question, now_us)).collect();
            for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
                let merged = order.iter().map(|n| partials[*n].clone()).reduce(|a, b| a.merge(b)).unwrap();
                assert_eq!(rounded(merged.finish(&question)), one, "{flow} {aggregation:?} {most}");
            }
        }
    }
}
