//! P5: all that happens to a datagram between the socket and the tables, against copying it, and against the sum of
//! its parts: decoding, two checks against a blacklist, the update of a flow.
#![allow(missing_docs, reason = "a bench")]

mod common;

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use common::random::Random;
use common::ratio;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decode::flow::{SAMPLED_HEADER, SampledHeader};
use decode::packet::dissect;
use decode::{Address, DataSource, Datagram, Sample};
use engine::ownership::Ownership;
use engine::process::{ahead, process_batch};
use serde_json::json;
use tables::flow::group::GroupSet;
use tables::flow::owners::Owners;
use tables::flow::table::{Context, FlowTable};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, FlowSpec, Lookups};
use tables::question::Source;
use tables::{Change, Options, Outbox, Program, Shard};

/// Far more than the caches hold.
const SET: usize = 256 << 20;

/// Datagrams of a batch.
const BATCH: usize = 64;

/// The flow that is updated.
const KEYS: &str = "ipsource,ipdestination,tcpsourceport,tcpdestinationport";

/// 50,000 addresses that no packet has but for a few.
fn blacklist() -> serde_json::Value {
    let mut random = Random(21);
    let addresses: Vec<String> =
        (0..50_000).map(|_| std::net::Ipv4Addr::from_bits(random.next() as u32).to_string()).collect();
    json!({ "listed": addresses })
}

/// A shard with the definitions.
fn shard(blacklist: &serde_json::Value, topology: Option<Change>) -> Shard {
    let flow =
        |name: &str, keys: &str| Change::Flow(name.to_owned(), Some(json!({"keys": keys, "value": "bytes"})));
    let program = [
        Change::Group("blacklist".to_owned(), Some(blacklist.clone())),
        flow("tcp", KEYS),
        flow("from", "group:ipsource:blacklist"),
        flow("to", "group:ipdestination:blacklist"),
    ]
    .into_iter()
    .chain(topology)
    .fold(Program::default(), |program, change| program.changed(change).expect("a definition"));
    let mut shard = Shard::new(Options::default());
    shard.adopt(&Arc::new(program), 0, &mut Outbox::default());
    shard
}

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

/// What a worker does with its batches.
fn pipeline(datagrams: &[Vec<u8>], shard: &mut Shard, ownership: &mut Ownership, now_us: &mut u64) -> u64 {
    let sender = IpAddr::from([10, 0, 0, 1]);
    let mut outbox = Outbox::default();
    let mut own = 0;
    for batch in datagrams.chunks(BATCH) {
        *now_us += 100;
        let batch = batch.iter().map(|datagram| (datagram.as_slice(), sender));
        own += process_batch(batch, *now_us, shard, &mut outbox, ownership);
    }
    own as u64
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
        let owner = self.owners.number(&mut { u32::MAX }, &agent, &Source::Of(source), 0);
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
    for datagram in ahead(datagrams, |datagram| datagram) {
        let Ok(datagram) = Datagram::parse(datagram) else { continue };
        for sample in datagram.samples() {
            let Ok(Sample::Flow(sample)) = sample else { continue };
            let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER);
            let Some(Ok(header)) = header.map(|record| SampledHeader::parse(record.body)) else { continue };
            let packet = dissect(header.protocol, header.bytes);
            sum += packet.layers().last().map_or(0, |layer| u64::from(layer.offset));
        }
    }
    sum
}

fn copy(datagrams: &[Vec<u8>]) -> u64 {
    let mut to = [0; 2048];
    let mut sum = 0;
    for datagram in datagrams {
        to[..datagram.len()].copy_from_slice(datagram);
        sum += u64::from(black_box(&to)[0]);
    }
    sum
}

fn benches(criterion: &mut Criterion) {
    let datagrams = common::datagrams(SET);
    let samples = datagrams.len() * common::SAMPLES;
    let blacklist = blacklist();
    let mut with_topology = shard(&blacklist, Some(topology()));
    let mut shard = shard(&blacklist, None);
    let (mut ownership, mut now_us) = (Ownership::alone(), 0);
    let mut whole = || pipeline(&datagrams, &mut shard, &mut ownership, &mut now_us);
    let against_copy = ratio::compare(samples, &mut whole, || copy(&datagrams));
    println!(
        "P5 pipeline / memcpy = {:.1} ({:.1} and {:.1} ns per sample, {} datagrams)",
        against_copy.cost(),
        against_copy.ours,
        against_copy.other,
        datagrams.len()
    );
    let (mut alone, mut later_us) = (Ownership::alone(), 0);
    let against_none = ratio::compare(
        samples,
        || pipeline(&datagrams, &mut with_topology, &mut alone, &mut later_us),
        &mut whole,
    );
    println!(
        "pipeline with a topology / without = {:.2} ({:.1} and {:.1} ns per sample)",
        against_none.cost(),
        against_none.ours,
        against_none.other,
    );
    let mut parts = Parts::new(&datagrams, &blacklist);
    let against_parts =
        ratio::compare(samples, &mut whole, || read(&datagrams) + parts.check() + parts.update());
    let each = |call: &mut dyn FnMut() -> u64| {
        ratio::median((0..9).map(|_| ratio::timed(&mut *call)).collect()).as_nanos() as f64 / samples as f64
    };
    println!(
        "P5 pipeline / its parts = {:.2} ({:.1} and {:.1} ns per sample; decode {:.1}, checks {:.1}, updates {:.1}; \
         {} flows)",
        against_parts.cost(),
        against_parts.ours,
        against_parts.other,
        each(&mut || read(&datagrams)),
        each(&mut || parts.check()),
        each(&mut || parts.update()),
        parts.table.len(),
    );
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(samples as u64)).sample_size(10);
    group.bench_function("256 MiB of datagrams", |b| b.iter(&mut whole));
    group.finish();
    let counters = shard.counters();
    assert_eq!(counters.sample_errors.iter().sum::<u64>() + counters.duplicates, 0, "all were taken");
}

criterion_group!(all, benches);
criterion_main!(all);
