//! Interfaces of network namespaces are sampled, and what the samples say is compared with what was sent and with what
//! the kernel has counted.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use decode::counter::{IF_COUNTERS, PORT_NAME};
use decode::flow::{EXTENDED_ENTITIES, SampledHeader};
use decode::layout::Value;
use decode::sample::INTERNAL;
use decode::{DataSource, Datagram, Interface, Sample, counter, flow};
use finderscope_agent::export::{Exporter, Sink};
use finderscope_agent::sampler::{Sampler, Status, Who};
use finderscope_agent::settings::{Pattern, PcapSettings, Settings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use netns::{Link, Namespace, link};

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod netns;

/// What the namespaces need of the root package's support.
#[path = "../../tests/support/alone.rs"]
mod live;

fn ip(line: &str) -> String {
    live::run("ip", &line.split_whitespace().collect::<Vec<_>>())
}

fn index(name: &str) -> u32 {
    ip(&format!("-o link show dev {name}")).split(':').next().unwrap().trim().parse().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(20);

/// A host with a bridge `docker0` (10.0.0.1) and two containers on it (10.0.0.2, 10.0.0.3) behind `vetha`, `vethb`,
/// and a pair `other` (198.51.100.1), `further`.
struct Host {
    host: Namespace,
    containers: [Namespace; 2],
}

impl Host {
    fn new(role: &str) -> Self {
        let host = Namespace::new(&format!("{role}-h"));
        let containers = ["a", "b"].map(|name| Namespace::new(&format!("{role}-{name}")));
        host.inside(|| {
            ip("link add docker0 address 02:00:00:00:00:01 type bridge mcast_snooping 0");
            ip("addr add 10.0.0.1/24 dev docker0");
            ip("link set docker0 up");
            for (container, (name, place)) in containers.iter().zip([("vetha", 2), ("vethb", 3)]) {
                let inside = container.name();
                ip(&format!(
                    "link add {name} type veth peer name eth0 address {} netns {inside}",
                    mac(place)
                ));
                ip(&format!("link set {name} master docker0 up"));
                ip(&format!("-n {inside} addr add 10.0.0.{place}/24 dev eth0"));
                ip(&format!("-n {inside} link set eth0 up"));
                // Nobody asks for a neighbour in the middle of a test.
                for (other, address) in [1, 2, 3].map(|other| (other, mac(other))) {
                    if other != place {
                        let neighbour = format!("10.0.0.{other} lladdr {address} dev eth0 nud permanent");
                        ip(&format!("-n {inside} neigh add {neighbour}"));
                    }
                }
                ip(&format!("neigh add 10.0.0.{place} lladdr {} dev docker0 nud permanent", mac(place)));
            }
            ip("link add other type veth peer name further");
            ip("addr add 198.51.100.1/24 dev other");
            ip("link set other up");
            ip("link set further up");
            ip("neigh add 198.51.100.2 lladdr 02:00:00:00:00:99 dev other nud permanent");
        });
        host.hide();
        containers.iter().for_each(Namespace::hide);
        Self { host, containers }
    }

    /// A socket of a container, or of the host for 1.
    fn socket(&self, place: usize) -> UdpSocket {
        let bind = || UdpSocket::bind(format!("10.0.0.{place}:5000")).unwrap();
        match place {
            1 => self.host.inside(bind),
            _ => self.containers[place - 2].inside(bind),
        }
    }
}

fn mac(place: usize) -> String {
    format!("02:00:00:00:00:{place:02x}")
}

/// Keeps what it is given.
#[derive(Clone, Debug, Default)]
struct Kept(Rc<RefCell<Vec<Vec<u8>>>>);

impl Sink for Kept {
    fn send(&mut self, datagram: &[u8]) {
        self.0.borrow_mut().push(datagram.to_vec());
    }
}

/// A flow sample with all that it says.
#[derive(Clone, Debug, PartialEq)]
struct Flow {
    source: DataSource,
    sequence: u32,
    rate: u32,
    pool: u32,
    drops: u32,
    input: Interface,
    output: Interface,
    length: u32,
    bytes: Vec<u8>,
    ends: Option<[u32; 4]>,
}

struct Rig {
    sampler: Sampler,
    exporter: Exporter,
    kept: Kept,
    who: Box<dyn Who>,
}

impl Rig {
    /// In the namespace of this thread.
    fn new(settings: &Settings) -> Self {
        let kept = Kept::default();
        let now = Instant::now();
        let mut exporter = Exporter::new([192, 0, 2, 1].into(), 0, Box::new(kept.clone()), now);
        let sampler = Sampler::open(settings, &mut exporter, now).unwrap();
        Self { sampler, exporter, kept, who: Box::new(()) }
    }

    /// Does all that there is to do, and says how many samples there were.
    fn work(&mut self) -> usize {
        let mut samples = 0;
        loop {
            let work = self.sampler.work(&*self.who, &mut self.exporter, Instant::now());
            samples += work.samples;
            if !work.more {
                return samples;
            }
        }
    }

    fn readable(&self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).unwrap();
        poll(&mut [PollFd::new(&self.sampler, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    /// Works until the statuses are as they should.
    fn until(&mut self, what: &str, good: impl Fn(&[Status]) -> bool) -> Vec<Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.work();
            let statuses: Vec<_> = self.sampler.statuses().collect();
            if good(&statuses) {
                return statuses;
            }
            assert!(Instant::now() < deadline, "{what}: {statuses:?}");
            self.readable(Duration::from_millis(50));
        }
    }

    /// The datagrams since the last call.
    fn datagrams(&mut self) -> Vec<Vec<u8>> {
        self.exporter.flush(Instant::now());
        std::mem::take(&mut self.kept.0.borrow_mut())
    }

    /// The flow samples since the last call.
    fn flows(&mut self) -> Vec<Flow> {
        self.datagrams().iter().flat_map(|datagram| flows(datagram)).collect()
    }
}

fn flows(datagram: &[u8]) -> Vec<Flow> {
    let samples = Datagram::parse(datagram).unwrap().samples();
    let flow = |sample| {
        let Sample::Flow(sample) = sample else { return None };
        let mut records = sample.records.iter();
        let header = SampledHeader::parse(records.next().unwrap().body).unwrap();
        assert_eq!((header.protocol, header.stripped), (1, 4));
        let ends = records.next().map(|record| {
            assert_eq!(record.tag, EXTENDED_ENTITIES.tag);
            let values: Vec<_> = flow::fields(record).unwrap().iter().collect();
            std::array::from_fn(|n| u32::try_from(values[n].1.as_u64().unwrap()).unwrap())
        });
        Some(Flow {
            source: sample.source,
            sequence: sample.sequence,
            rate: sample.sampling_rate,
            pool: sample.sample_pool,
            drops: sample.drops,
            input: sample.input,
            output: sample.output,
            length: header.frame_length,
            bytes: header.bytes.to_vec(),
            ends,
        })
    };
    samples.filter_map(|sample| flow(sample.unwrap())).collect()
}

fn pcap(device: &str, sampling: u32) -> PcapSettings {
    PcapSettings {
        device: Some(Pattern(device.to_owned())),
        sampling: Some(sampling),
        ..PcapSettings::default()
    }
}

fn settings(pcap: &[PcapSettings]) -> Settings {
    Settings { polling: Duration::ZERO, pcap: pcap.to_vec(), ..Settings::default() }
}

/// Frames of both directions since.
fn frames(now: Link, before: Link) -> u64 {
    now.in_frames + now.out_frames - before.in_frames - before.out_frames
}

fn octets(now: Link, before: Link) -> u64 {
    now.in_octets + now.out_octets - before.in_octets - before.out_octets
}

/// Where the frames came in and went out.
fn ways(flows: &[Flow]) -> Vec<(Interface, Interface)> {
    flows.iter().map(|flow| (flow.input, flow.output)).collect()
}

/// Whether it is UDP; the kernel itself talks too.
fn is_udp(flow: &Flow) -> bool {
    flow.bytes.get(12..14) == Some(&[8, 0]) && flow.bytes.get(23) == Some(&17)
}

struct Adapters;

impl Who for Adapters {
    fn by_mac(&self, mac: &[u8; 6]) -> Option<DataSource> {
        (*mac == [2, 0, 0, 0, 0, 2]).then_some(DataSource { class: 3, index: 100_002 })
    }

    fn by_ifindex(&self, ifindex: u32) -> Option<DataSource> {
        (ifindex == index("vethb")).then_some(DataSource { class: 3, index: 100_003 })
    }
}

/// A bridge shows what passes between containers once, with the ports it passed; so do its ports.
#[test]
fn traffic_of_containers_is_marked_with_ports_and_containers() {
    let host = Host::new("ways");
    let [ours, a, b] = [1, 2, 3].map(|place| host.socket(place));
    host.host.inside(|| {
        // The bridge has learned where the containers are.
        for (from, to) in [(&a, "10.0.0.1:5000"), (&b, "10.0.0.1:5000"), (&ours, "10.0.0.2:5000")] {
            from.send_to(b"learn", to).unwrap();
        }
        let [bridge, port_a, port_b] = ["docker0", "vetha", "vethb"].map(index);
        let internal = Interface::index(INTERNAL);
        let [on_a, on_b] = [port_a, port_b].map(Interface::index);
        let several = Interface { format: 2, value: 0 };
        for device in ["docker0", "vetha"] {
            let mut rig = Rig::new(&settings(&[pcap(device, 1)]));
            rig.who = Box::new(Adapters);
            let status = rig.sampler.statuses().next().unwrap();
            assert_eq!((status.name.as_str(), status.promiscuous), (device, device == "docker0"));
            let mut seen = |from: &UdpSocket, to: &str| {
                from.send_to(&[7; 1000], to).unwrap();
                assert!(rig.readable(PATIENCE), "{device} {to}");
                rig.work();
                rig.flows().into_iter().filter(is_udp).collect::<Vec<_>>()
            };
            let both = Some([3, 100_002, 3, 100_003]);
            for (from, to, way, ends) in [
                (&a, "10.0.0.3:5000", (on_a, on_b), both),
                (&b, "10.0.0.2:5000", (on_b, on_a), Some([3, 100_003, 3, 100_002])),
                (&a, "10.0.0.1:5000", (on_a, internal), Some([3, 100_002, 0, 0])),
                (&ours, "10.0.0.2:5000", (internal, on_a), Some([0, 0, 3, 100_002])),
            ] {
                let flows = seen(from, to);
                assert_eq!(ways(&flows), [way], "{device} {to}");
                assert_eq!(flows[0].ends, ends, "{device} {to}");
                assert_eq!(flows[0].length, 14 + 28 + 1000 + 4);
                assert_eq!(flows[0].bytes.len(), 128);
                let source = if device == "docker0" { bridge } else { port_a };
                assert_eq!(flows[0].source, DataSource { class: 0, index: source });
            }
            a.set_broadcast(true).unwrap();
            assert_eq!(ways(&seen(&a, "10.0.0.255:5000")), [(on_a, several)]);
        }
    });
}

/// UDP and TCP between containers and with the host: what the samples tell of frames and bytes agrees with what the
/// interface has counted, and the pool is just that.
#[test]
fn estimates_agree_with_the_counters_of_the_interface() {
    const RATE: u32 = 20;
    let host = Host::new("estimate");
    let [ours, a, b] = [1, 2, 3].map(|place| host.socket(place));
    host.host.inside(|| {
        let mut rig = Rig::new(&settings(&[pcap("docker0", RATE), pcap("vetha", RATE)]));
        let devices = ["docker0", "vetha"];
        let before = devices.map(link);
        let mut sent = 0_u32;
        for n in 0..40_000_usize {
            let length = [18, 100, 1400][n % 3];
            let (from, to) =
                [(&a, "10.0.0.3:5000"), (&b, "10.0.0.2:5000"), (&ours, "10.0.0.2:5000")][n / 3 % 3];
            from.send_to(&[0; 1400][..length], to).unwrap();
            sent += 1;
            if n % 100 == 0 {
                rig.work();
            }
        }
        let listener = host.containers[1].inside(|| TcpListener::bind("10.0.0.3:80").unwrap());
        let mut from = host.containers[0].inside(|| TcpStream::connect("10.0.0.3:80").unwrap());
        let (mut to, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 20_000];
        for _ in 0..500 {
            from.write_all(&buffer).unwrap();
            to.read_exact(&mut buffer).unwrap();
            rig.work();
        }
        drop((from, to));
        rig.work();
        let flows = rig.flows();
        rig.sampler.tick(&mut rig.exporter, Instant::now());
        for (device, before) in devices.into_iter().zip(before) {
            let source = DataSource { class: 0, index: index(device) };
            let flows: Vec<&Flow> = flows.iter().filter(|flow| flow.source == source).collect();
            let now = link(device);
            let counted = frames(now, before);
            assert!(counted > u64::from(sent) / 3);
            assert!(flows.iter().all(|flow| flow.rate == RATE && flow.drops == 0));
            let numbers: Vec<u32> = flows.iter().map(|flow| flow.sequence).collect();
            assert_eq!(numbers, (1..=flows.len() as u32).collect::<Vec<_>>());
            assert!(flows.is_sorted_by_key(|flow| flow.pool));
            // Of n frames one in RATE is sampled, with the variance of so many throws.
            let (n, p) = (counted as f64, 1.0 / f64::from(RATE));
            let off = (flows.len() as f64 - n * p) / (n * p * (1.0 - p)).sqrt();
            assert!(off.abs() < 5.0, "{device}: {} samples of {counted} frames, {off:.1} sigma", flows.len());
            // A bridge does not count the Ethernet header of what comes in.
            if device != "docker0" {
                let lengths = flows.iter().map(|flow| f64::from(flow.length - 4));
                let estimate: f64 = lengths.clone().sum::<f64>() / p;
                let sigma = (lengths.map(|length| length * length).sum::<f64>() * (1.0 - p)).sqrt() / p;
                let off = (estimate - octets(now, before) as f64) / sigma;
                assert!(
                    off.abs() < 5.0,
                    "{device}: {estimate} octets of {}, {off:.1} sigma",
                    octets(now, before)
                );
            }
            // The pool is at most as old as its age allows, and all of it at the end.
            let last = flows.last().unwrap().pool;
            assert!(u64::from(last) <= counted, "{last} {counted}");
        }
        // A while later the pool of the next sample is what the interface has counted.
        let counted = [0, 1].map(|place| frames(link(devices[place]), before[place]));
        std::thread::sleep(Duration::from_millis(45));
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = devices.to_vec();
        while !waiting.is_empty() {
            assert!(Instant::now() < deadline);
            a.send_to(b"more", "10.0.0.3:5000").unwrap();
            rig.work();
            for flow in rig.flows() {
                let place = devices.iter().position(|name| index(name) == flow.source.index).unwrap();
                let most = frames(link(devices[place]), before[place]);
                let pool = u64::from(flow.pool);
                assert!((counted[place]..=most).contains(&pool), "{pool} {counted:?} {most}");
                waiting.retain(|name| *name != devices[place]);
            }
        }
    });
}

/// By name and by pattern, also after the sampler has begun.
#[test]
fn interfaces_come_change_and_go() {
    let host = Host::new("come");
    host.host.inside(|| {
        let mut rig = Rig::new(&settings(&[pcap("veth*", 7), pcap("late", 3)]));
        let names = |statuses: &[Status]| -> Vec<(String, u32)> {
            let mut names: Vec<_> = statuses.iter().map(|s| (s.name.clone(), s.sampling_rate)).collect();
            names.sort();
            names
        };
        let expect = |pairs: &[(&str, u32)]| -> Vec<(String, u32)> {
            pairs.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect()
        };
        let both = expect(&[("vetha", 7), ("vethb", 7)]);
        assert_eq!(names(&rig.sampler.statuses().collect::<Vec<_>>()), both);
        ip("link add late type veth peer name vethc");
        let four = expect(&[("late", 3), ("vetha", 7), ("vethb", 7), ("vethc", 7)]);
        rig.until("two new ones", |statuses| names(statuses) == four);
        // A name that fits no more, and another that does.
        ip("link set vethc name gone");
        ip("link set other name veth-other");
        let renamed = expect(&[("late", 3), ("veth-other", 7), ("vetha", 7), ("vethb", 7)]);
        rig.until("new names", |statuses| names(statuses) == renamed);
        ip("link del late");
        ip("link del vetha");
        let rest = expect(&[("veth-other", 7), ("vethb", 7)]);
        rig.until("two have gone", |statuses| names(statuses) == rest);
        // Other settings: what stays the same keeps its socket and pool.
        let mut other = settings(&[pcap("vethb", 7), pcap("docker0", 9)]);
        other.header_bytes = 128;
        rig.sampler.reload(&other, &mut rig.exporter, Instant::now()).unwrap();
        let last = expect(&[("docker0", 9), ("vethb", 7)]);
        assert_eq!(names(&rig.sampler.statuses().collect::<Vec<_>>()), last);
        rig.sampler.reload(&settings(&[]), &mut rig.exporter, Instant::now()).unwrap();
        assert_eq!(rig.sampler.statuses().count(), 0);
    });
}

/// More changes than the kernel keeps for the follower: the list is read anew.
#[test]
fn a_storm_of_interfaces_is_survived() {
    let host = Host::new("storm");
    host.host.inside(|| {
        let mut rig = Rig::new(&settings(&[pcap("veth*", 7)]));
        let script: String =
            (0..150).map(|n| format!("link add veth{n} type veth peer name peer{n}\n")).collect();
        let delete: String =
            (0..150).filter(|n| n % 50 != 0).map(|n| format!("link del veth{n}\n")).collect();
        let file = std::env::temp_dir().join(format!("finderscope-{}-storm", std::process::id()));
        std::fs::write(&file, script + &delete).unwrap();
        ip(&format!("-batch {}", file.display()));
        std::fs::remove_file(&file).unwrap();
        let statuses = rig.until("the storm is over", |statuses| statuses.len() == 5);
        let names: Vec<_> = statuses.iter().map(|status| status.name.as_str()).collect();
        for name in ["vetha", "vethb", "veth0", "veth50", "veth100"] {
            assert!(names.contains(&name), "{names:?}");
        }
    });
}

#[test]
fn a_flood_elsewhere_wakes_nobody() {
    let host = Host::new("flood");
    let [a, _b] = [2, 3].map(|place| host.socket(place));
    host.host.inside(|| {
        a.send_to(b"learn", "10.0.0.3:5000").unwrap();
        let mut rig = Rig::new(&settings(&[pcap("docker0", 1)]));
        rig.until("quiet", |_| true);
        // Going promiscuous is itself a change of the bridge; neighbours may still be asked for.
        while rig.readable(Duration::from_millis(300)) {
            rig.work();
        }
        rig.flows();
        let flood = UdpSocket::bind("198.51.100.1:5000").unwrap();
        let before = link("other");
        for _ in 0..20_000 {
            flood.send_to(&[0; 100], "198.51.100.2:6000").unwrap();
        }
        assert_eq!(frames(link("other"), before), 20_000);
        let woken = rig.readable(Duration::ZERO);
        assert_eq!((woken, rig.work(), rig.flows()), (false, 0, vec![]));
        a.send_to(b"hear", "10.0.0.3:5000").unwrap();
        assert!(rig.readable(PATIENCE));
        assert_eq!(rig.work(), 1);
    });
}

/// Counters leave when an interface begins to be sampled and once in every interval after that.
#[test]
fn counters_of_sampled_interfaces_are_polled() {
    let host = Host::new("poll");
    let [a, _b] = [2, 3].map(|place| host.socket(place));
    host.host.inside(|| {
        let polling = Duration::from_secs(10);
        let mut rig = Rig::new(&Settings { polling, ..settings(&[pcap("vetha", 400)]) });
        let start = Instant::now();
        a.send_to(&[0; 500], "10.0.0.3:5000").unwrap();
        let first = rig.sampler.due().unwrap();
        assert!(first <= start + polling);
        for turn in 0..4 {
            let due = first + polling * turn;
            assert_eq!(rig.sampler.due(), Some(due));
            rig.sampler.tick(&mut rig.exporter, due - Duration::from_millis(1));
            rig.sampler.tick(&mut rig.exporter, due);
        }
        // Nothing is made up for after a long pause.
        let late = first + polling * 100;
        rig.sampler.tick(&mut rig.exporter, late);
        assert_eq!(rig.sampler.due(), Some(late + polling));
        let now = link("vetha");
        let mut sequences = Vec::new();
        let mut last = Vec::new();
        for datagram in rig.datagrams() {
            for sample in Datagram::parse(&datagram).unwrap().samples() {
                let Sample::Counters(sample) = sample.unwrap() else { continue };
                assert_eq!(sample.source, DataSource { class: 0, index: index("vetha") });
                sequences.push(sample.sequence);
                last = sample
                    .records
                    .iter()
                    .map(|record| (record.tag, counter::fields(record).unwrap()))
                    .map(|(tag, fields)| {
                        (tag, fields.iter().map(|(_, v)| format!("{v:?}")).collect::<Vec<_>>())
                    })
                    .collect();
            }
        }
        assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
        assert_eq!([last[0].0, last[1].0], [IF_COUNTERS.tag, PORT_NAME.tag]);
        assert_eq!(last[1].1, [format!("{:?}", Value::Text(b"vetha"))]);
        let values = &last[0].1;
        assert_eq!(values[0], format!("{:?}", Value::U32(index("vetha"))));
        assert_eq!([&values[1], &values[4]], ["U32(6)", "U32(3)"]);
        assert_eq!(values[5], format!("U64({})", now.in_octets));
        assert_eq!(values[12], format!("U64({})", now.out_octets));
        assert_eq!(values[13], format!("U32({})", now.out_frames));
        assert_eq!(values.len(), 19);
    });
}

/// Without the privilege no interface is sampled, and everything else goes on.
#[test]
fn without_the_privilege_the_interface_is_left_out() {
    let host = Host::new("bare");
    host.host.inside(|| {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, mine).unwrap();
        let mut rig = Rig::new(&settings(&[pcap("docker0", 1)]));
        assert_eq!(rig.work(), 0);
        assert_eq!(rig.sampler.statuses().count(), 0);
        // It can be had later.
        mine.effective.insert(CapabilitySet::NET_RAW);
        set_capabilities(None, mine).unwrap();
        rig.sampler.reload(&settings(&[pcap("docker0", 1)]), &mut rig.exporter, Instant::now()).unwrap();
        assert_eq!(rig.sampler.statuses().count(), 1);
    });
}

/// As the agent runs it: one thread, its descriptor in the runtime's set.
#[test]
fn the_runtime_wakes_for_samples() {
    let host = Host::new("tokio");
    let [a, _b] = [2, 3].map(|place| host.socket(place));
    host.host.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Rig { sampler, mut exporter, kept, who } = Rig::new(&settings(&[pcap("docker0", 1)]));
        runtime.block_on(async {
            #[allow(
                deprecated,
                reason = "its replacement is unsafe; the sampler owns its descriptor and keeps it"
            )]
            let mut sampler = AsyncFd::with_interest(sampler, Interest::READABLE).unwrap();
            for n in 0..50_u8 {
                a.send_to(&[n; 200], "10.0.0.3:5000").unwrap();
                let heard = |kept: &Kept| {
                    let all = kept.0.borrow();
                    all.iter().flat_map(|d| flows(d)).any(|flow| flow.bytes.get(42) == Some(&n))
                };
                tokio::time::timeout(PATIENCE, async {
                    while !heard(&kept) {
                        let mut guard = sampler.readable_mut().await.unwrap();
                        let work = guard.get_inner_mut().work(&*who, &mut exporter, Instant::now());
                        if !work.more {
                            guard.clear_ready();
                        }
                        exporter.flush(Instant::now());
                    }
                })
                .await
                .unwrap_or_else(|_| panic!("packet {n} was not heard"));
            }
        });
    });
}
