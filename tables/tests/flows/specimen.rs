//! Samples that keys are read from, and what a definition makes of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::layout::{Layout, Value};
use decode::packet::{PacketBuilder, dissect};
use decode::rt::{FlowValue, RtFlow};
use decode::sample::Interface;
use decode::xdr::{Full, Writer};
use decode::{Address, DataSource, Datagram, FlowSample, Header, Mac, Records, Sample};
use serde_json::{Value as Json, json};
use tables::flow::atom::key_text;
use tables::flow::group::{GroupSet, ValueMap};
use tables::flow::keys::{Basics, Sampled};
use tables::flow::layout::MOST_WORDS;
use tables::flow::learned::{Attributes, HostAdapters, Hosts, Learned, Names};
use tables::flow::recipe::{Outcome, Recipe, Shape};
use tables::flow::reference::{References, Vendors, countries, systems};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};
use tables::question::{Owner, Source};
use tables::topology::{Definition, Topology};

use crate::{mmdb, records};

pub(crate) const A: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
pub(crate) const B: Mac = Mac([4, 0, 0, 0, 0, 0xbb]);

/// The fields of a record.
pub(crate) type Fields = (&'static Layout, Vec<Value<'static>>);

/// A field of a custom flow.
pub(crate) type Custom = (&'static [u8], FlowValue<'static>);

/// A sample.
#[derive(Clone)]
pub(crate) struct Specimen {
    /// Protocol and bytes of the sampled header.
    pub(crate) header: Option<(u32, Vec<u8>)>,
    /// The records beside it.
    pub(crate) records: Vec<Fields>,
    /// A custom flow, where it is one.
    pub(crate) custom: Option<Vec<Custom>>,
}

/// A sampled packet with all that a switch may say about it.
pub(crate) fn packet(protocol: u32, bytes: Vec<u8>) -> Specimen {
    Specimen { header: Some((protocol, bytes)), records: records::all(), custom: None }
}

/// A sample without a packet's header.
pub(crate) fn without_header(records: Vec<Fields>) -> Specimen {
    Specimen { header: None, records, custom: None }
}

/// A custom flow.
pub(crate) fn custom(fields: &[Custom]) -> Specimen {
    Specimen { header: None, records: Vec::new(), custom: Some(fields.to_vec()) }
}

pub(crate) fn build(
    add: impl for<'b> FnOnce(PacketBuilder<'b>) -> Result<PacketBuilder<'b>, Full>,
) -> Specimen {
    let mut buffer = vec![0; 256];
    let length = add(PacketBuilder::new(&mut buffer)).unwrap().finish(1000).unwrap();
    buffer.truncate(length);
    packet(1, buffer)
}

pub(crate) fn tcp() -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .vlan(30, 5)?
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0xb9, 63)?
            .tcp(40000, 443, 0x12)
    })
}

pub(crate) fn ip6() -> Specimen {
    let (a, b) = ("fe80::104c:51df".parse().unwrap(), "2001:db8::2".parse().unwrap());
    build(|p| p.ethernet(B, A)?.ipv6(a, b, 501_244, 64)?.udp(5353, 9999))
}

pub(crate) fn tunnel() -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .ipv4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 0, 64)?
            .udp(50000, 4789)?
            .vxlan(77)?
            .ethernet(A, B)?
            .ipv4([10, 9, 0, 1].into(), [10, 9, 0, 2].into(), 0, 64)?
            .tcp(1, 2, 0)
    })
}

pub(crate) fn with_payload(port: u16, payload: &[u8]) -> Specimen {
    build(|p| {
        p.ethernet(B, A)?
            .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0, 64)?
            .udp(5000, port)?
            .payload(payload)
    })
}

/// A packet of this protocol with these bytes behind an IPv4 header.
pub(crate) fn behind_ip(protocol: u8, payload: &[u8]) -> Specimen {
    let mut bytes = vec![0x45, 0, 0, 99, 0x12, 0x34, 0x20, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    bytes.extend(payload);
    packet(11, bytes)
}

pub(crate) fn arp() -> Specimen {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 0xaa, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend([1, 1, 1, 1, 1, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    packet(1, bytes)
}

/// What definitions may look up.
pub(crate) fn lookups() -> Lookups {
    let group = |json| Arc::new(GroupSet::from_json(&json).unwrap());
    let map = |json| Arc::new(ValueMap::from_json(&json).unwrap());
    let sites = json!({"berlin": ["10.0.0.0/24"], "rest": ["10.0.0.0/8", "2001:db8::/32"]});
    let all = json!({"external": ["0.0.0.0/0", "::/0"], "private": ["10.0.0.0/8"], "link": ["fe80::/10"]});
    Lookups {
        groups: BTreeMap::from([
            ("sites".to_owned(), group(sites)),
            ("other".to_owned(), group(json!({"local": ["fe80::/10"]}))),
            ("default".to_owned(), group(all)),
        ]),
        maps: BTreeMap::from([("services".to_owned(), map(json!({"web": ["80", "443"]})))]),
        references: References {
            country: Some(Arc::new(countries(&mmdb::countries()).unwrap())),
            asn: Some(Arc::new(systems(&mmdb::systems()).unwrap())),
            oui: Some(Arc::new(Vendors::read("02:00:00\tShort\tExample Networks, Inc\n").unwrap())),
            dns: true,
        },
        ..Lookups::default()
    }
}

/// What shards have learned: a host with the address of [`A`], an agent's host, a name.
/// Whose sample it is.
const AGENT: Address = Address::V4(std::net::Ipv4Addr::new(10, 0, 0, 254));

/// The port that specimens come in by is one end of a link.
fn topology() -> Arc<Topology> {
    let link = json!({"node1": "10.0.0.254", "port1": 7, "node2": "10.0.0.253", "port2": 8});
    let definition = Definition::from_json(&json!({"links": {"uplink": link}})).unwrap();
    Arc::new(Topology::new(Arc::new(definition), Arc::default()))
}

pub(crate) fn learned() -> Learned {
    let host = |class, index, macs: &[Mac], names: [&str; 6]| {
        let mut attributes = Attributes::default();
        for (attribute, name) in attributes.iter_mut().zip(names) {
            *attribute = (!name.is_empty()).then(|| name.into());
        }
        let source = Source::Of(DataSource { class, index });
        HostAdapters {
            owner: Owner { agent: Address::V4([10, 0, 0, 1].into()), source },
            macs: macs.to_vec(),
            address: (class == 2).then(|| [10, 0, 0, 1].into()),
            attributes,
        }
    };
    let hosts = Hosts::new(&[
        host(2, 1, &[B], ["h1", "x86_64", "linux", "u-1", "6.12", ""]),
        host(3, 100_001, &[A], ["h1", "x86_64", "linux", "u-2", "", "web.1"]),
    ]);
    let names: Names = [(IpAddr::from([10, 0, 0, 2]), "b.example.".into())].into_iter().collect();
    let mut learned = Learned::default();
    learned.adopt(&Arc::new(hosts), &Arc::new(names), &topology());
    learned
}

pub(crate) fn compile(spec: Json) -> Result<FlowPlan, String> {
    compile_with(spec, &lookups())
}

pub(crate) fn compile_with(spec: Json, lookups: &Lookups) -> Result<FlowPlan, String> {
    let spec = FlowSpec::from_json(&spec).map_err(|error| error.to_string())?;
    FlowPlan::compile(spec, lookups).map_err(|error| error.to_string())
}

/// What a definition makes of a specimen: the key's text and the value.
pub(crate) fn evaluate(specimen: &Specimen, spec: Json) -> Option<(String, f64)> {
    let plan = compile(spec.clone()).unwrap_or_else(|error| panic!("{spec}: {error}"));
    with_sampled(specimen, |sampled| {
        let by_recipe = by_recipe(&plan, sampled);
        let Some((atoms, measured)) = plan.evaluate(sampled, &ahash::RandomState::new()) else {
            assert!(by_recipe.is_none_or(|made| made.is_none()), "{spec}: {sampled:?}");
            return None;
        };
        let mut texts = Texts::new(1 << 20);
        let mut words = [0; MOST_WORDS];
        // A key whose form is not that of its atom has no place in a table.
        plan.layout.pack(&atoms, &mut words, &mut texts).unwrap_or_else(|| panic!("{spec}: {atoms:?}"));
        let key = key_text(&plan.layout.portable(&words, &texts), &plan.spec.fs);
        let found = (key, f64::from_bits(measured[0]));
        assert!(by_recipe.is_none_or(|made| made.as_ref() == Some(&found)), "{spec}: {found:?}");
        Some(found)
    })
}

/// The same by the recipe for packets of this shape; `None` where there is none for it, or where it is unlike them.
fn by_recipe(plan: &FlowPlan, sampled: &Sampled<'_>) -> Option<Option<(String, f64)>> {
    Shape::of(sampled.packet, sampled.switch.is_some())?;
    let Some(recipe) = Recipe::like(sampled.packet, sampled.switch.is_some(), plan) else {
        return Some(None);
    };
    if recipe.shuts_out(sampled.packet) {
        return Some(None);
    }
    let (mut key, mut measures, mut texts) = ([0; MOST_WORDS], [0; 8], Texts::new(1 << 20));
    let hasher = ahash::RandomState::new();
    match recipe.follow(plan, sampled, &hasher, &mut key, &mut measures, &mut texts) {
        Outcome::Unlike => None,
        Outcome::Nothing => Some(None),
        Outcome::Made => {
            let key = key_text(&plan.layout.portable(&key, &texts), &plan.spec.fs);
            Some(Some((key, f64::from_bits(measures[0]))))
        }
    }
}

/// The text of a key.
pub(crate) fn key(specimen: &Specimen, key: &str) -> Option<String> {
    // Operations have no frames, packets no requests.
    let of = |value| evaluate(specimen, json!({"keys": key, "value": value})).map(|(key, _)| key);
    of("frames").or_else(|| of("requests"))
}

/// The sample as a shard reads it.
pub(crate) fn with_sampled<T>(specimen: &Specimen, read: impl FnOnce(&Sampled<'_>) -> T) -> T {
    let mut buffer = vec![0; 8000];
    let learned = learned();
    let arena = bumpalo::Bump::new();
    if let Some(fields) = &specimen.custom {
        let mut writer = Writer::new(&mut buffer);
        RtFlow::write(b"app", 10, 0, fields, &mut writer).unwrap();
        let length = writer.len();
        let packet = dissect(0, &[]);
        return read(&Sampled {
            agent: &AGENT,
            source: DataSource::default(),
            input: Interface::default(),
            output: Interface::default(),
            frame_length: 0,
            stripped: 0,
            reason: None,
            packet: &packet,
            basics: None,
            records: Records::default(),
            switch: None,
            custom: Some(RtFlow::parse(&buffer[..length]).unwrap()),
            learned: &learned,
            arena: &arena,
        });
    }
    let header = specimen.header.as_ref().map(|(protocol, bytes)| {
        RecordOut::Header(SampledHeader { protocol: *protocol, frame_length: 1004, stripped: 4, bytes })
    });
    let records = specimen.records.iter().map(|(layout, values)| RecordOut::Fields(layout, values));
    let records: Vec<RecordOut<'_>> = header.into_iter().chain(records).collect();
    let sample = FlowSample {
        source: DataSource { class: 0, index: 7 },
        input: Interface::index(7),
        output: Interface { format: 2, value: 3 },
        ..FlowSample::default()
    };
    let mut builder = DatagramBuilder::new(&mut buffer, &Header::default()).unwrap();
    builder.flow_sample(&sample, &records).unwrap();
    let length = builder.finish().unwrap();
    let datagram = Datagram::parse(&buffer[..length]).unwrap();
    let Some(Ok(Sample::Flow(sample))) = datagram.samples().next() else { panic!("no sample") };
    let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER);
    let header = header.map(|header| SampledHeader::parse(header.body).unwrap());
    let packet = header.map_or_else(|| dissect(0, &[]), |header| dissect(header.protocol, header.bytes));
    let basics = Basics::of(&sample.records);
    let length = basics.map_or(0, |basics| basics.length());
    read(&Sampled {
        agent: &AGENT,
        source: sample.source,
        input: sample.input,
        output: sample.output,
        frame_length: header.map_or(length, |header| header.frame_length),
        stripped: header.map_or(0, |header| header.stripped),
        reason: Some(256),
        packet: &packet,
        basics: basics.as_ref(),
        records: sample.records,
        switch: sample.noted.switch,
        custom: None,
        learned: &learned,
        arena: &arena,
    })
}
