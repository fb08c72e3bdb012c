//! A collector for tests, which believes nothing: it checks every datagram and keeps what the samples say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use decode::counter::fields;
use decode::flow::{EXTENDED_SWITCH, SAMPLED_HEADER, SampledHeader};
use decode::layout::Value;
use decode::packet::{Packet, Vxlan, dissect};
use decode::{Address, CountersSample, DataSource, Datagram, FlowSample, Sample};

/// What tells one flow at one hop from others: agent, ifIndex, addresses, protocol, ports, VNI.
pub(crate) type Class = (Address, u32, IpAddr, IpAddr, u8, (u16, u16), Option<u32>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    pub(crate) output: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    pub(crate) sequence: u32,
    pub(crate) pool: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) speed_bps: u64,
    pub(crate) in_octets: u64,
    pub(crate) in_frames: u64,
    pub(crate) out_octets: u64,
    pub(crate) out_frames: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) records: Vec<u32>,
    pub(crate) bytes_in: u64,
    pub(crate) frames_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) frames_out: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) uptime_ms: u32,
    pub(crate) bytes: u64,
    pub(crate) cpu_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) source: DataSource,
    pub(crate) records: Vec<u32>,
    pub(crate) state: u64,
    pub(crate) history: Vec<At>,
}

impl Container {
    fn between(from: &At, to: &At, value: impl Fn(&At) -> u64) -> f64 {
        (value(to) - value(from)) as f64 / f64::from(to.uptime_ms - from.uptime_ms) * 1000.0
    }

    /// Growth per second over all samples.
    pub(crate) fn rate(&self, value: impl Fn(&At) -> u64) -> f64 {
        Self::between(self.history.first().unwrap(), self.history.last().unwrap(), value)
    }

    /// Growth per second over the last interval.
    pub(crate) fn rate_of_last(&self, value: impl Fn(&At) -> u64) -> f64 {
        let [.., from, to] = self.history.as_slice() else { panic!("two samples are needed") };
        Self::between(from, to, value)
    }
}

/// All that was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) datagrams: BTreeMap<Address, u32>,
    uptimes: BTreeMap<Address, (u32, u64)>,
    pub(crate) flow_samples: u64,
    pub(crate) samples: BTreeMap<(Address, DataSource), Source>,
    counter_sequences: BTreeMap<(Address, DataSource), u32>,
    pub(crate) classes: HashMap<Class, Seen>,
    pub(crate) stacks: BTreeMap<String, u64>,
    /// Whether flow samples were expanded.
    pub(crate) shapes: BTreeSet<bool>,
    pub(crate) interfaces: BTreeMap<(Address, DataSource), Interface>,
    pub(crate) hosts: BTreeMap<Address, Host>,
    pub(crate) containers: BTreeMap<String, Container>,
}

impl Heard {
    /// Takes a datagram; panics when anything about it is wrong.
    pub(crate) fn datagram(&mut self, agent: Address, bytes: &[u8], now_us: u64) {
        assert!(bytes.len() <= 1400, "{} bytes", bytes.len());
        let datagram = Datagram::parse(bytes).unwrap();
        let header = datagram.header;
        assert_eq!(header.agent, agent);
        let sequence = self.datagrams.entry(agent).or_default();
        *sequence += 1;
        assert_eq!(header.sequence, *sequence);
        // The uptime goes with the time that has passed, within a tick and a step of the test.
        let (first_ms, first_us) = *self.uptimes.entry(agent).or_insert((header.uptime_ms, now_us));
        let passed_ms = i64::from(header.uptime_ms - first_ms) - ((now_us - first_us) / 1000) as i64;
        assert!(passed_ms.abs() <= 200, "{passed_ms} ms");
        let mut samples = datagram.samples();
        let mut count = 0;
        for sample in &mut samples {
            count += 1;
            match sample.unwrap() {
                Sample::Flow(sample) => self.flow(agent, &sample),
                Sample::Counters(sample) => self.counters(agent, &sample, header.uptime_ms),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((count, samples.trailing()), (header.samples, 0));
    }

    fn flow(&mut self, agent: Address, sample: &FlowSample<'_>) {
        self.flow_samples += 1;
        self.shapes.insert(sample.expanded);
        let source = self.samples.entry((agent, sample.source)).or_default();
        source.sequence += 1;
        assert_eq!(sample.sequence, source.sequence);
        assert!(sample.sample_pool > source.pool, "each sample is of a packet of its own");
        source.pool = sample.sample_pool;
        assert_eq!((sample.drops, sample.input.value), (0, sample.source.index));
        let records: Vec<_> = sample.records.iter().collect();
        assert_eq!(records.iter().map(|r| r.tag).collect::<Vec<_>>(), [SAMPLED_HEADER, EXTENDED_SWITCH.tag]);
        let header = SampledHeader::parse(records[0].body).unwrap();
        assert_eq!((header.protocol, header.stripped), (1, 4));
        assert_eq!(header.bytes.len(), 128.min(header.frame_length as usize - 4));
        let packet = dissect(1, header.bytes);
        let mut stack = String::new();
        packet.write_stack(&mut stack).unwrap();
        let vni =
            packet.nth(decode::packet::LayerKind::Vxlan, 0).map(|bytes| Vxlan::new(bytes).vni().unwrap());
        let class = class(agent, sample.source.index, &packet, vni);
        let seen = self.classes.entry(class).or_default();
        seen.samples += 1;
        seen.bytes += u64::from(header.frame_length);
        seen.output = sample.output.value;
        *self.stacks.entry(stack).or_default() += 1;
    }

    fn counters(&mut self, agent: Address, sample: &CountersSample<'_>, uptime_ms: u32) {
        let sequence = self.counter_sequences.entry((agent, sample.source)).or_default();
        *sequence += 1;
        assert_eq!(sample.sequence, *sequence);
        let mut numbers: HashMap<(u32, &str), u64> = HashMap::new();
        let mut texts: HashMap<&str, String> = HashMap::new();
        let mut tags = Vec::new();
        for record in sample.records.iter() {
            let format = record.tag.0 & 0xfff;
            tags.push(format);
            for (field, value) in fields(record).unwrap().iter() {
                if let Some(number) = value.as_u64() {
                    numbers.insert((format, field.name), number);
                }
                if let Value::Text(text) = value {
                    texts.insert(field.name, String::from_utf8(text.to_vec()).unwrap());
                }
            }
        }
        let number = |format, name| numbers[&(format, name)];
        match sample.source.class {
            0 => {
                assert_eq!(tags, [1, 2, 1005]);
                assert_eq!(number(1, "ifIndex"), u64::from(sample.source.index));
                let interface = Interface {
                    name: texts["ifName"].clone(),
                    speed_bps: number(1, "ifSpeed"),
                    in_octets: number(1, "ifInOctets"),
                    in_frames: number(1, "ifInUcastPkts"),
                    out_octets: number(1, "ifOutOctets"),
                    out_frames: number(1, "ifOutUcastPkts"),
                };
                self.interfaces.insert((agent, sample.source), interface);
            }
            2 => {
                assert_eq!(sample.source.index, 1);
                let host = Host {
                    name: texts["hostname"].clone(),
                    records: tags,
                    bytes_in: number(2006, "nio_bytes_in"),
                    frames_in: number(2006, "nio_pkts_in"),
                    bytes_out: number(2006, "nio_bytes_out"),
                    frames_out: number(2006, "nio_pkts_out"),
                };
                self.hosts.insert(agent, host);
            }
            3 => {
                assert!(sample.expanded && sample.source.index >= 100_000);
                let container = self.containers.entry(texts["hostname"].clone()).or_default();
                container.source = sample.source;
                container.records = tags;
                container.state = number(2101, "vcpu_state");
                container.history.push(At {
                    uptime_ms,
                    bytes: number(2104, "vnio_bytes_in") + number(2104, "vnio_bytes_out"),
                    cpu_ms: number(2101, "vcpu_cpu_mS"),
                });
            }
            class => panic!("class {class}"),
        }
    }
}

/// The class of a packet, by its innermost addresses.
fn class(agent: Address, input: u32, packet: &Packet<'_>, vni: Option<u32>) -> Class {
    let inner = usize::from(vni.is_some());
    let (source, destination, protocol): (IpAddr, IpAddr, u8) = if let Some(ip) = packet.ipv4(inner) {
        (ip.source().unwrap().into(), ip.destination().unwrap().into(), ip.protocol().unwrap())
    } else {
        let ip = packet.ipv6(0).unwrap();
        let protocol = if packet.tcp(0).is_some() {
            6
        } else if packet.udp(inner).is_some() {
            17
        } else {
            58
        };
        (ip.source().unwrap().into(), ip.destination().unwrap().into(), protocol)
    };
    let ports = match protocol {
        6 => packet.tcp(0).map(|tcp| (tcp.source_port().unwrap(), tcp.destination_port().unwrap())),
        17 => packet.udp(inner).map(|udp| udp.ports().unwrap()),
        _ => None,
    };
    (agent, input, source, destination, protocol, ports.unwrap_or_default(), vni)
}
