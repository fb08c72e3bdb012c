//! Custom flows: any field is a key, and their data sources have names.

use std::net::IpAddr;
use std::sync::Arc;

use decode::build::DatagramBuilder;
use decode::rt::FlowValue;
use decode::{Address, Header, Mac};
use serde_json::json;
use tables::flow::active::FlowAggregation;
use tables::flow::plan::ActiveFlow;
use tables::question::Source;
use tables::select::Agents;
use tables::{Answer, Change, Options, Outbox, Program, Question, Shard};

use crate::specimen::{Custom, custom, evaluate, key};

const SECOND: u64 = 1_000_000;

#[test]
fn every_kind_of_field_is_a_key_and_a_number_a_value() {
    let fields: [Custom; 8] = [
        (b"user", FlowValue::Text(b"alice")),
        (b"station", FlowValue::Mac(Mac([0, 1, 2, 3, 4, 5]))),
        (b"client", FlowValue::Ip4([10, 0, 0, 9].into())),
        (b"client6", FlowValue::Ip6([1; 16].into())),
        (b"items", FlowValue::Int32(3)),
        (b"total", FlowValue::Int64(1 << 40)),
        (b"ratio", FlowValue::Float(0.5)),
        (b"seconds", FlowValue::Double(1.25)),
    ];
    let flow = custom(&fields);
    let keys = "user,station,client,client6,items,total,ratio,seconds";
    let text = "alice,000102030405,10.0.0.9,101:101:101:101:101:101:101:101,3,1099511627776,0.5,1.25";
    assert_eq!(key(&flow, keys).as_deref(), Some(text));
    assert_eq!(key(&flow, "group:client:sites").as_deref(), Some("berlin"));
    assert_eq!(key(&flow, "absent"), None);
    for (value, number) in [("items", 3.0), ("seconds", 1.25), ("avg:ratio", 0.5), ("frames", 1.0)] {
        assert_eq!(evaluate(&flow, json!({"value": value})).map(|(_, value)| value), Some(number), "{value}");
    }
    for value in ["user", "client", "bytes", "bps", "requests"] {
        assert_eq!(evaluate(&flow, json!({"value": value})), None, "{value}");
    }
}

/// A field that has the name of a key of the catalogue is that key, and nothing else is.
#[test]
fn a_field_may_have_the_name_of_a_key() {
    let flow = custom(&[
        (b"ipsource", FlowValue::Ip4([10, 0, 0, 9].into())),
        (b"inputifindex", FlowValue::Int32(5)),
        (b"bytes", FlowValue::Int32(700)),
        (b"frames", FlowValue::Int32(2)),
        (b"duration", FlowValue::Double(2.5)),
    ]);
    assert_eq!(key(&flow, "ipsource,inputifindex").as_deref(), Some("10.0.0.9,5"));
    for absent in ["ipsource.1", "stack", "outputifindex", "stripped", "reason", "vlan"] {
        assert_eq!(key(&flow, absent), None, "{absent}");
    }
    for (value, number) in [("bytes", 700.0), ("bps", 5600.0), ("frames", 2.0), ("duration", 2.5)] {
        assert_eq!(evaluate(&flow, json!({"value": value})).map(|(_, value)| value), Some(number), "{value}");
    }
}

struct Fixture {
    shard: Shard,
    outbox: Outbox,
    sequence: u32,
}

impl Fixture {
    fn new(options: Options, spec: serde_json::Value) -> Self {
        let program = Program::default().changed(Change::Flow("f".to_owned(), Some(spec))).unwrap();
        let mut fixture = Self { shard: Shard::new(options), outbox: Outbox::default(), sequence: 0 };
        fixture.shard.adopt(&Arc::new(program), 0, &mut fixture.outbox);
        fixture
    }

    fn send(&mut self, source: &[u8], rate: u32, pool: u32, fields: &[(&[u8], FlowValue<'_>)], now_us: u64) {
        self.sequence += 1;
        let agent = Address::V4([10, 0, 0, 1].into());
        let header = Header { agent, sequence: self.sequence, ..Header::default() };
        let mut buffer = [0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        builder.rt_flow(source, rate, pool, fields).unwrap();
        let length = builder.finish().unwrap();
        self.shard.datagram(&buffer[..length], IpAddr::from([127, 0, 0, 1]), now_us, &mut self.outbox);
        self.shard.flush(now_us, &mut self.outbox);
    }

    fn active(&self, now_us: u64) -> Vec<ActiveFlow> {
        let question = Question::ActiveFlows {
            agents: Agents::All,
            flow: "f".to_owned(),
            aggregation: FlowAggregation::Max,
            most: 10,
            least: 0.0,
            separator: ",".to_owned(),
        };
        match self.shard.ask(&question, now_us).finish(&question) {
            Answer::Flows(flows) => flows,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_custom_flow_stands_for_as_many_as_its_rate_and_pool_say() {
    // Steady for 20 time constants; the pool says that in truth one in 20 is reported.
    for (rate, pool_step, weight) in [(10, 0, 10.0), (10, 20, 20.0), (0, 0, 1.0)] {
        let spec = json!({"keys": "user", "value": "items", "t": 10});
        let mut fixture = Fixture::new(Options::default(), spec);
        for n in 0..2000_u32 {
            let fields: [(&[u8], FlowValue<'_>); 2] =
                [(b"user", FlowValue::Text(b"alice")), (b"items", FlowValue::Int32(3))];
            fixture.send(b"shop", rate, n * pool_step, &fields, u64::from(n) * SECOND / 10);
        }
        let flows = fixture.active(200 * SECOND);
        assert_eq!(flows.len(), 1);
        assert_eq!((flows[0].key.as_str(), &flows[0].owner.source), ("alice", &Source::Named("shop".into())));
        let expected = 10.0 * 3.0 * weight;
        assert!((flows[0].value - expected).abs() < 0.02 * expected, "{}, not {expected}", flows[0].value);
    }
}

#[test]
fn each_name_is_a_data_source_of_its_own_and_they_are_bounded() {
    let options = Options { sources_per_agent: 10, sources: 5, ..Options::default() };
    let mut fixture = Fixture::new(options, json!({"keys": "user", "value": "frames"}));
    for n in 0..20 {
        let fields: [(&[u8], FlowValue<'_>); 1] = [(b"user", FlowValue::Text(b"alice"))];
        fixture.send(format!("shop{n}").as_bytes(), 1, 0, &fields, SECOND);
    }
    fixture.send(b"bad\nname", 1, 0, &[], SECOND);
    let counters = fixture.shard.counters();
    assert_eq!((counters.custom, counters.sources_refused, counters.custom_misnamed), (21, 15, 1));
    let question = Question::FlowLocations {
        agents: Agents::All,
        flow: "f".to_owned(),
        key: "alice".to_owned(),
        separator: ",".to_owned(),
    };
    let Answer::Flows(places) = fixture.shard.ask(&question, SECOND).finish(&question) else { panic!() };
    assert_eq!(places.len(), 5);
}

#[test]
fn fields_are_listed_among_the_keys_of_recent_traffic() {
    let mut fixture = Fixture::new(Options::default(), json!({"keys": "user", "value": "frames"}));
    let fields: [(&[u8], FlowValue<'_>); 2] =
        [(b"user", FlowValue::Text(b"alice")), (b"ipsource", FlowValue::Ip4([10, 0, 0, 9].into()))];
    fixture.send(b"shop", 1, 0, &fields, SECOND);
    // Kinds of samples take turns to be looked at, so these come slowly.
    for n in 0..1000 {
        let name = format!("made_up_{n}");
        fixture.send(b"shop", 1, 0, &[(name.as_bytes(), FlowValue::Int32(1))], 2 * SECOND + n * 60_000);
    }
    let Answer::FlowKeys(keys) =
        fixture.shard.ask(&Question::FlowKeys, 62 * SECOND).finish(&Question::FlowKeys)
    else {
        panic!()
    };
    assert_eq!((keys.get("user"), keys.get("ipsource")), (Some(&(61 * SECOND)), Some(&(61 * SECOND))));
    assert_eq!(keys.len(), 256 + 1, "names are bounded");
}
