//! P5: all that happens to a datagram between the socket and the tables, against copying it, and against the sum of
//! its parts: decoding, two checks against a blacklist, the update of a flow.

use std::net::IpAddr;
use std::sync::Arc;

use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::packet::{Packet, dissect};
use decode::{Address, DataSource, Datagram, FlowSample, Sample};
use engine::process::ahead;
use serde_json::json;
use tables::Change;
use tables::flow::group::GroupSet;
use tables::flow::owners::{Known, Owners};
use tables::flow::table::{Context, FlowTable};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};
use tables::question::Source;

use crate::bench::{Bench, Number, Sides, Target};
use crate::common::reading::copy;
use crate::common::whole::{BATCH, KEYS, Whole, blacklist};
use crate::common::{self, ratio};
use crate::decode::SET;

/// A topology of the agents: eight of the 48 ports of each are in links.
fn topology() -> Change {
    let port = |place: usize, port: usize| (format!("10.0.{}.{}", place >> 8, place & 255), port.to_string());
    let link = |n: usize| {
        let (node1, port1) = port(n / 4, n % 4 + 1);
        let (node2, port2) = port((n / 4 + 1) % common::AGENTS, n % 4 + 5);
        (n.to_string(), json!({"node1": node1, "port1": port1, "node2": node2, "port2": port2}))
    };
    let links: serde_json::Map<_, _> = (0..4 * common::AGENTS).map(link).collect();
    Change::Topology(Some(json!({ "links": links })))
}

/// The parts on their own, each fed with what the one before would give it.
struct Parts {
    set: GroupSet,
    /// Source and destination of the IPv4 packets.
    addresses: Vec<[IpAddr; 2]>,
    /// The keys of the TCP segments among them, and whose they are.
    keys: Vec<(u32, [u64; 2])>,
    table: FlowTable,
    texts: Texts,
    owners: Owners,
    now_us: u64,
}

impl Parts {
    fn new(datagrams: &[Vec<u8>], blacklist: &serde_json::Value) -> Self {
        let spec = FlowSpec::from_json(&json!({"keys": KEYS, "value": "bytes"})).expect("a definition");
        let plan = FlowPlan::compile(spec, &Lookups::default()).expect("keys of the catalogue");
        let mut parts = Self {
            set: GroupSet::from_json(blacklist).expect("addresses"),
            addresses: Vec::new(),
            keys: Vec::new(),
            table: FlowTable::new(Arc::from("tcp"), Arc::new(plan), 256 << 20, 0),
            texts: Texts::new(1 << 20),
            owners: Owners::default(),
            now_us: 0,
        };
        for datagram in datagrams {
            let datagram = Datagram::parse(datagram).expect("it was built here");
            for sample in datagram.samples() {
                let Ok(Sample::Flow(sample)) = sample else { continue };
                parts.note(datagram.header.agent, sample.source, &sample.records);
            }
        }
        parts
    }

    fn note(&mut self, agent: Address, source: DataSource, records: &decode::Records<'_>) {
        let header = records.iter().find(|record| record.tag == SAMPLED_HEADER).expect("each sample has one");
        let header = SampledHeader::parse(header.body).expect("it was built here");
        let packet = dissect(header.protocol, header.bytes);
        let Some(ip) = packet.ipv4(0) else { return };
        let ends = [ip.source(), ip.destination()].map(|address| address.expect("it was sampled"));
        self.addresses.push(ends.map(IpAddr::V4));
        let Some(tcp) = packet.tcp(0) else { return };
        let port = |port: Option<u16>| u64::from(port.expect("it was sampled"));
        let [from, to] = ends.map(|address| u64::from(address.to_bits()));
        let key = [from << 32 | to, port(tcp.source_port()) << 16 | port(tcp.destination_port())];
        let owner = self.owners.number(&mut Known::default(), &agent, &Source::Of(source), 0);
        self.keys.push((owner, key));
    }

    fn check(&self) -> u64 {
        let hit = |address: &IpAddr| u64::from(self.set.group(*address).is_some());
        self.addresses.iter().flatten().map(hit).sum()
    }

    fn update(&mut self) -> u64 {
        let (mut records, mut hits) = (Vec::new(), Vec::new());
        let mut context = Context {
            texts: &mut self.texts,
            owners: &mut self.owners,
            records: &mut records,
            hits: &mut hits,
        };
        for batch in self.keys.chunks(BATCH * common::SAMPLES / 2) {
            self.now_us += 100;
            for (owner, key) in batch {
                let measures = [1518_f64.to_bits()];
                self.table.push(*owner, key, 1000.0, &measures, self.now_us, &mut context);
            }
            self.table.flush(self.now_us, &mut context);
        }
        self.table.len() as u64
    }
}

/// Reads every sample and the layers of its packet.
fn read(datagrams: &[Vec<u8>]) -> u64 {
    let mut sum = 0_u64;
    let (mut sample, mut packet) = (FlowSample::default(), Packet::default());
    for datagram in ahead(datagrams, |datagram| datagram) {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        let mut samples = datagram.samples();
        while let Some(Ok((tag, body))) = samples.next_framed() {
            let Some(Ok(())) = sample.read(tag, body) else { continue };
            let Some(header) = &sample.noted.header else { continue };
            packet.dissect(header.protocol, header.bytes);
            sum += packet.layers().last().map_or(0, |layer| u64::from(layer.offset));
        }
    }
    sum
}

pub(crate) fn measure(bench: &mut Bench) {
    let datagrams = common::datagrams(SET);
    let samples = datagrams.len() * common::SAMPLES;
    let blacklist = blacklist();
    let (mut plain, mut linked) = (Whole::new(&blacklist, None), Whole::new(&blacklist, Some(topology())));
    let mut sides = Sides {
        row: "P5",
        what: "the whole pipeline / memcpy of the same bytes",
        elements: samples,
        unit: "sample",
        kind: Number::Cost,
        target: Target::AtMost(3.5),
    };
    bench.compare(&sides, || plain.pass(&datagrams), || copy(&datagrams));
    let mut parts = Parts::new(&datagrams, &blacklist);
    sides.what = "the whole pipeline / decode, checks and updates on their own";
    sides.target = Target::AtMost(1.2);
    bench.compare(&sides, || plain.pass(&datagrams), || read(&datagrams) + parts.check() + parts.update());
    sides.what = "with a topology of 1,024 links / without one";
    sides.target = Target::None;
    bench.compare(&sides, || linked.pass(&datagrams), || plain.pass(&datagrams));
    let each = |call: &mut dyn FnMut() -> u64| {
        ratio::median((0..9).map(|_| ratio::timed(&mut *call)).collect()).as_nanos() as f64 / samples as f64
    };
    let [decode, checks, updates] =
        [each(&mut || read(&datagrams)), each(&mut || parts.check()), each(&mut || parts.update())];
    bench.say(
        "P5",
        format!(
            "{} different datagrams, {} flows; the parts take {decode:.1}, {checks:.1} and {updates:.1} ns/sample",
            datagrams.len(),
            parts.table.len()
        ),
    );
    let counters = plain.shard.counters();
    assert_eq!(counters.sample_errors.iter().sum::<u64>() + counters.duplicates, 0, "all were taken");
}
