//! What shards learn of hosts and names, and how it comes back with the program.

use std::net::IpAddr;
use std::sync::Arc;

use decode::build::{DatagramBuilder, RecordOut};
use decode::layout::{Adapters, Value};
use decode::{Address, CountersSample, DataSource, Header, Mac, counter};
use serde_json::json;
use tables::flow::learned::{HostAdapters, Hosts, Names};
use tables::flow::reference::References;
use tables::{Answer, Change, ChangeError, Options, Outbox, Partial, Program, Question, Shard};

use crate::specimen::{A, tcp};

const SECOND: u64 = 1_000_000;

fn send(shard: &mut Shard, agent: u8, sample: &CountersSample<'_>, records: &[RecordOut<'_>]) {
    let agent = Address::V4([10, 0, 0, agent].into());
    let header = Header { agent, sequence: sample.sequence, ..Header::default() };
    let mut buffer = [0; 2000];
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    builder.counters_sample(sample, records).unwrap();
    let length = builder.finish().unwrap();
    shard.datagram(&buffer[..length], [127, 0, 0, 1].into(), SECOND, &mut Outbox::default());
}

/// A host or container says its name and the MAC addresses of one adapter.
fn host(shard: &mut Shard, agent: u8, class: u32, index: u32, sequence: u32, name: &str, macs: &[Mac]) {
    let mut adapters = vec![0, 0, 0, 1];
    adapters.extend((macs.len() as u32).to_be_bytes());
    macs.iter().for_each(|mac| adapters.extend([mac.0.as_slice(), &[0, 0]].concat()));
    let description = [
        Value::Text(name.as_bytes()),
        Value::Uuid([class as u8; 16]),
        Value::U32(3),
        Value::U32(2),
        Value::Text(b"6.12"),
    ];
    let records = [
        RecordOut::Fields(&counter::HOST_ADAPTERS, &[Value::Adapters(Adapters::from_bytes(1, &adapters))]),
        RecordOut::Fields(&counter::HOST_DESCR, &description),
    ];
    let source = DataSource { class, index };
    let sample = CountersSample { expanded: true, sequence, source, ..CountersSample::default() };
    send(shard, agent, &sample, &records);
}

fn adapters(shards: &[&Shard]) -> Vec<HostAdapters> {
    let question = Question::Adapters;
    let partials = shards.iter().map(|shard| shard.ask(&question, SECOND));
    let Answer::Adapters(adapters) = partials.reduce(Partial::merge).unwrap().finish(&question) else {
        panic!()
    };
    adapters
}

#[test]
fn hosts_of_all_shards_come_back_with_the_program() {
    let mut shards = [Shard::new(Options::default()), Shard::new(Options::default())];
    let mac = |n| Mac([2, 0, 0, 0, 0, n]);
    host(&mut shards[0], 1, 2, 1, 1, "h1", &[mac(1), Mac([0xff; 6]), Mac::default(), mac(1)]);
    host(&mut shards[0], 1, 3, 100_001, 2, "web.1", &[A]);
    host(&mut shards[1], 2, 2, 1, 1, "h2", &[mac(2)]);
    let found = adapters(&[&shards[0], &shards[1]]);
    assert_eq!(found, adapters(&[&shards[1], &shards[0]]), "in any order");
    assert_eq!(
        found.iter().map(|host| host.macs.clone()).collect::<Vec<_>>(),
        [vec![mac(1)], vec![A], vec![mac(2)]]
    );
    let hosts = Hosts::new(&found);
    let attribute = |mac, n: usize| hosts.by_mac(mac).and_then(|of| of[n].as_deref().map(str::to_owned));
    assert_eq!(attribute(A, 5).as_deref(), Some("web.1"), "vir_host_name");
    assert_eq!(attribute(A, 0).as_deref(), Some("h1"), "host_name is that of the container's host");
    assert_eq!((attribute(mac(2), 0).as_deref(), attribute(mac(2), 5)), (Some("h2"), None));
    assert_eq!(attribute(mac(1), 2).as_deref(), Some("linux"));
    let address = hosts.by_address([10, 0, 0, 2].into()).unwrap();
    assert_eq!(address[0].as_deref(), Some("h2"));
    assert_eq!(hosts, Hosts::new(&found));
}

#[test]
fn more_adapters_than_are_remembered_are_counted() {
    let mut shard = Shard::new(Options::default());
    let macs: Vec<Mac> = (0..70).map(|n| Mac([2, 0, 0, 0, 1, n])).collect();
    host(&mut shard, 1, 2, 1, 1, "h1", &macs);
    assert_eq!(adapters(&[&shard])[0].macs.len(), 64);
    assert_eq!(shard.counters().macs_refused, 6);
}

#[test]
fn a_name_is_null_until_it_is_known() {
    let spec = json!({"keys": "dns:ipsource", "value": "frames"});
    let program = Program::default().changed(Change::Flow("f".to_owned(), Some(spec.clone())));
    assert!(matches!(program, Err(ChangeError::Spec(error)) if error.to_string().contains("dns.enabled")));
    let references = References { dns: true, ..References::default() };
    let program = Program::default().with_references(references).unwrap();
    let program = program.changed(Change::Flow("f".to_owned(), Some(spec))).unwrap();
    let (mut shard, mut outbox) = (Shard::new(Options::default()), Outbox::default());
    shard.adopt(&Arc::new(program.clone()), 0, &mut outbox);
    let (_, packet) = tcp().header.unwrap();
    let mut sequence = 0;
    let mut packet = |shard: &mut Shard, outbox: &mut Outbox| {
        sequence += 1;
        let header =
            decode::flow::SampledHeader { protocol: 1, frame_length: 100, stripped: 4, bytes: &packet };
        let agent = Address::V4([10, 0, 0, 1].into());
        let mut buffer = [0; 1000];
        let header_of = Header { agent, sequence, ..Header::default() };
        let mut builder = DatagramBuilder::new(&mut buffer, &header_of).unwrap();
        let sample = decode::FlowSample { sequence, sampling_rate: 1, ..decode::FlowSample::default() };
        builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
        let length = builder.finish().unwrap();
        shard.datagram(&buffer[..length], [127, 0, 0, 1].into(), SECOND, outbox);
        shard.flush(SECOND, outbox);
    };
    packet(&mut shard, &mut outbox);
    packet(&mut shard, &mut outbox);
    assert_eq!(
        (shard.flows(), outbox.names_wanted.as_slice()),
        (0, [IpAddr::from([10, 0, 0, 1])].as_slice())
    );
    let names: Names = [(IpAddr::from([10, 0, 0, 1]), "a.example.".into())].into_iter().collect();
    shard.adopt(&Arc::new(program.with_names(names)), SECOND, &mut outbox);
    packet(&mut shard, &mut outbox);
    assert_eq!((shard.flows(), outbox.names_wanted.len()), (1, 1));
    // The option cannot be taken away while a flow needs it.
    let error = program.with_references(References::default()).unwrap_err().to_string();
    assert!(error.contains("dns: needs the option dns.enabled"), "{error}");
}
