//! Packets between containers on docker0: what the collector and sfcapd make of the samples is what the containers'
//! interfaces have counted, and each sample names both containers.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use decode::InterfaceKind;

use super::{endpoint_of, shared};
use crate::support::agent::{Agent, Flow, Receiver};
use crate::support::docker_lab::Lab;
use crate::support::ledger::Conversation;
use crate::support::live::{require, run, temporary_folder, turn, wait_until};
use crate::support::netns::{Link, Namespace, link};
use crate::support::sfcapd::Sfcapd;
use crate::support::{Collector, PATIENCE};

/// One packet in so many is sampled.
const SAMPLING: u32 = 10;
/// The frame check sequence, which sFlow counts and the kernel does not.
const FCS: u64 = 4;
/// The time constant of the flows; the longest there is, so that nearly all that was sent is still in the value.
const T_S: f64 = 600.0;

const UDP_DATAGRAMS: u64 = 40_000;
const TCP_BYTES: u64 = 60_000_000;
const UDP: (u16, u16) = (7000, 7001);
const TCP_TO: u16 = 7002;

/// The article's configuration, but for the collector's address.
const CONFIGURATION: &str = "sflow {\n  sampling = 400\n  polling = 10\n  collector { ip = 10.0.0.162 } \n  docker { }\n  \
                             pcap { dev = docker0 }\n  pcap { dev = docker_gwbridge }\n}\n";

/// A container on docker0.
struct Host {
    id: String,
    name: &'static str,
    address: IpAddr,
    namespace: Namespace,
    /// The index of its port on the bridge.
    port: u32,
}

impl Host {
    fn new(lab: &Lab, name: &'static str) -> Self {
        let id = lab.run(&["--name", name], &["sleep", "1000"]);
        let said = |template: &str| lab.docker(&["inspect", "--format", template, &id]);
        let namespace = Namespace::of_process(&said("{{.State.Pid}}"));
        let address = said("{{(index .NetworkSettings.Networks \"bridge\").IPAddress}}").parse().unwrap();
        let shown = namespace.inside(|| {
            // Frames as they would be on a wire, and not packets of 64 KB.
            for feature in ["tso", "gso", "gro"] {
                run("ethtool", &["-K", "eth0", feature, "off"]);
            }
            run("ip", &["-o", "link", "show", "eth0"])
        });
        // "2: eth0@if7: <..."
        let port =
            shown.split("@if").nth(1).and_then(|rest| rest.split(':').next()).unwrap().parse().unwrap();
        Self { id, name, address, namespace, port }
    }

    fn link(&self) -> Link {
        self.namespace.inside(|| link("eth0"))
    }
}

/// What went from one container to the other, as their interfaces have counted it.
#[derive(Debug)]
struct Sent {
    what: &'static str,
    conversation: Conversation,
    frames: u64,
    bytes: u64,
    /// The indexes of the containers' ports.
    ports: (u32, u32),
}

/// Runs `send` in the one container and `receive` in the other, the receiver first; what both interfaces have counted.
fn exchange<T: Send>(
    a: &Host,
    b: &Host,
    send: impl FnOnce(&Barrier) -> T + Send,
    receive: impl FnOnce(&Barrier) + Send,
) -> (T, Link) {
    let before = a.link();
    let ready = Barrier::new(2);
    let sent = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| b.namespace.enter_and(|| receive(&ready)));
        let sent = scope.spawn(|| a.namespace.enter_and(|| send(&ready))).join().unwrap();
        receiver.join().unwrap();
        sent
    });
    let after = a.link();
    let link = Link {
        in_octets: after.in_octets - before.in_octets,
        in_frames: after.in_frames - before.in_frames,
        out_octets: after.out_octets - before.out_octets,
        out_frames: after.out_frames - before.out_frames,
    };
    (sent, link)
}

fn udp(a: &Host, b: &Host) -> Sent {
    let send = |ready: &Barrier| {
        let socket = UdpSocket::bind((a.address, UDP.0)).unwrap();
        ready.wait();
        let began = Instant::now();
        for n in 0..UDP_DATAGRAMS {
            // 40 datagrams every 2 ms.
            if n % 40 == 0 {
                std::thread::sleep(Duration::from_millis(n / 20).saturating_sub(began.elapsed()));
            }
            socket.send_to(&[0x5a; 1000], (b.address, UDP.1)).unwrap();
        }
    };
    let receive = |ready: &Barrier| {
        let socket = UdpSocket::bind((b.address, UDP.1)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        ready.wait();
        while socket.recv(&mut [0; 2048]).is_ok() {}
    };
    let ((), counted) = exchange(a, b, send, receive);
    let conversation = (a.address, b.address, 17, UDP.0, UDP.1);
    sent("UDP", conversation, (counted.out_frames, counted.out_octets), (a, b))
}

fn tcp(a: &Host, b: &Host) -> [Sent; 2] {
    let send = |ready: &Barrier| {
        ready.wait();
        let mut stream = TcpStream::connect((b.address, TCP_TO)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let began = Instant::now();
        for n in 0..TCP_BYTES / 100_000 {
            // 100,000 bytes every 4 ms: 2,000 samples a second, twice what the speed of a link would make.
            std::thread::sleep(Duration::from_millis(n * 4).saturating_sub(began.elapsed()));
            stream.write_all(&[0xa5; 100_000]).unwrap();
        }
        stream.local_addr().unwrap().port()
    };
    let receive = |ready: &Barrier| {
        let listener = TcpListener::bind((b.address, TCP_TO)).unwrap();
        ready.wait();
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 16];
        while stream.read(&mut buffer).unwrap() > 0 {}
    };
    let (port, counted) = exchange(a, b, send, receive);
    let there = (a.address, b.address, 6, port, TCP_TO);
    let back = (b.address, a.address, 6, TCP_TO, port);
    [
        sent("TCP", there, (counted.out_frames, counted.out_octets), (a, b)),
        sent("acknowledgements", back, (counted.in_frames, counted.in_octets), (b, a)),
    ]
}

fn sent(what: &'static str, conversation: Conversation, counted: (u64, u64), ends: (&Host, &Host)) -> Sent {
    let (frames, octets) = counted;
    Sent { what, conversation, frames, bytes: octets + FCS * frames, ports: (ends.0.port, ends.1.port) }
}

#[test]
fn packets_between_containers_are_estimated_and_named() {
    require(&["ip", "ethtool", "sfcapd", "nfdump"]);
    let _turn = turn();
    let lab = shared();
    lab.network().inside(|| look(lab));
}

/// The test, on a thread in the engine's namespace.
fn look(lab: &Lab) {
    let folder = temporary_folder();
    let (receiver, collector, sfcapd) =
        (Receiver::start(), Collector::start(&[]), Sfcapd::start(folder.path()));
    for value in ["bytes", "frames"] {
        let keys = "ipsource,ipdestination,ipprotocol";
        let body = format!("{{keys:'{keys}',value:'{value}',t:{T_S}}}");
        assert_eq!(collector.request("PUT", &format!("/flow/{value}/json"), Some(&body)).0, 204);
    }
    let configuration = folder.path().join("hsflowd.conf");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let collectors = [receiver.to(), collector.sflow.to_string(), format!("127.0.0.1:{}", sfcapd.port)];
    let mut arguments = vec!["--config", configuration.to_str().unwrap(), "--sampling", "10"];
    let endpoint = endpoint_of(lab);
    arguments.extend(["--docker", &endpoint]);
    collectors.iter().for_each(|collector| arguments.extend(["--collector", collector]));
    let mut agent = Agent::start(&arguments);
    agent.wait_for_engine();
    let (a, b) = (Host::new(lab, "sender"), Host::new(lab, "receiver"));
    let sources = [&a, &b].map(|host| {
        // The second sample: by then the agent knows its ports.
        receiver.wait_for(&host.id, "two samples", |samples| {
            assert!(samples.iter().all(|sample| sample.name == host.name));
            (samples.len() >= 2).then(|| samples[0].source)
        })
    });
    floods_elsewhere_cost_nothing(&agent, &receiver);
    let began = Instant::now();
    let udp = udp(&a, &b);
    let [tcp, acknowledgements] = tcp(&a, &b);
    // The last samples wait for a second at most.
    let mut last = (usize::MAX, Instant::now());
    wait_until("the last samples", || {
        let number = receiver.flows().len();
        if number != last.0 {
            last = (number, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(1500)).then_some(())
    });
    let flows = receiver.flows();
    assert!(flows.iter().all(|flow| flow.rate == SAMPLING && flow.drops == 0), "{:?}", flows.last());
    let bridge = index("docker0");
    for sent in [&udp, &tcp, &acknowledgements] {
        let own: Vec<&Flow> =
            flows.iter().filter(|flow| flow.conversation == Some(sent.conversation)).collect();
        let reversed = sent.conversation.0 == b.address;
        let [from, to] = if reversed { [sources[1], sources[0]] } else { sources };
        let ends = [from.class, from.index, to.class, to.index].map(u64::from);
        for flow in &own {
            assert_eq!(flow.entities, Some(ends), "{flow:?}");
            assert_eq!((flow.source.class, flow.source.index), (0, bridge), "{flow:?}");
            let ports = (flow.input.kind(), flow.output.kind());
            assert_eq!(
                ports,
                (InterfaceKind::Index(sent.ports.0), InterfaceKind::Index(sent.ports.1)),
                "{flow:?}"
            );
        }
        compare(&collector, &own, sent, began);
    }
    agent.end();
    let (sums, missing) = sfcapd.end();
    assert_eq!(missing, 0);
    for sent in [&udp, &tcp, &acknowledgements] {
        let own = receiver.flows().into_iter().filter(|flow| flow.conversation == Some(sent.conversation));
        let ours = own.fold((0, 0), |sum, flow| {
            let rate = u64::from(flow.rate);
            (sum.0 + rate, sum.1 + rate * u64::from(flow.frame_length))
        });
        assert_eq!(sums.get(&sent.conversation), Some(&ours), "sfcapd disagrees about {sent:?}");
    }
    lab.remove(&[&a.id, &b.id]);
}

fn index(interface: &str) -> u32 {
    run("ip", &["-o", "link", "show", "dev", interface]).split(':').next().unwrap().parse().unwrap()
}

/// What is not sampled does not even wake the agent.
fn floods_elsewhere_cost_nothing(agent: &Agent, receiver: &Receiver) {
    let wakes = || agent.counter("finderscope_agent_wakes_total");
    let before = (wakes(), receiver.flows().len());
    let began = Instant::now();
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (to, socket) = (target.local_addr().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let counted = link("lo").in_frames;
    (0..200_000).for_each(|_| drop(socket.send_to(&[0; 64], to)));
    let (counted, took) = (link("lo").in_frames - counted, began.elapsed());
    let woken = wakes() - before.0;
    eprintln!(
        "{counted} packets on another interface in {took:.1?}: {woken} wakes, those for time and this question too"
    );
    assert!(counted >= 200_000);
    // Two containers, the host, one interface, and what asks: some each second.
    assert!(woken < 100 + 20 * took.as_secs(), "{woken} wakes in {took:?}");
    let of_flood = receiver.flows()[before.1..].iter().filter(|flow| flow.frame_length < 120).count();
    assert!(of_flood < 20, "{of_flood} samples");
}

/// What the flow's value says was sent, given that it was sent in the `elapsed` seconds before now: at least, at most.
fn by_flow(collector: &Collector, flow: &str, key: &str, elapsed: f64) -> (f64, f64) {
    let flows = collector.json(&format!("/activeflows/ALL/{flow}/json?aggMode=sum"));
    let found = flows.as_array().unwrap().iter().find(|found| found["key"] == key);
    let value = found.unwrap_or_else(|| panic!("no {key} in {flow}: {flows}"))["value"].as_f64().unwrap();
    (value * T_S, value * T_S * (elapsed / T_S).exp())
}

/// Compares what the samples and the collector say with what the interface has counted.
fn compare(collector: &Collector, own: &[&Flow], sent: &Sent, began: Instant) {
    // Four standard deviations of the number of samples.
    let error = 4.0 / (sent.frames as f64 / f64::from(SAMPLING)).sqrt();
    let key = format!("{},{},{}", sent.conversation.0, sent.conversation.1, sent.conversation.2);
    let samples: (u64, u64) =
        own.iter().fold((0, 0), |sum, flow| (sum.0 + 1, sum.1 + u64::from(flow.frame_length)));
    for (flow, counted, sampled) in [("frames", sent.frames, samples.0), ("bytes", sent.bytes, samples.1)] {
        let (least, most) = by_flow(collector, flow, &key, began.elapsed().as_secs_f64() + 1.0);
        let estimate = (sampled * u64::from(SAMPLING)) as f64;
        let off = estimate / counted as f64 - 1.0;
        eprintln!(
            "{}: {counted} {flow} by the interface, {estimate} by the samples ({:+.2} %, {:.2} % allowed), {least:.0} to \
             {most:.0} by REST",
            sent.what,
            off * 100.0,
            error * 100.0
        );
        assert!(off.abs() < error, "{sent:?}: {estimate} {flow}");
        assert!(
            least <= counted as f64 * (1.0 + error) && most >= counted as f64 * (1.0 - error),
            "{sent:?}"
        );
    }
}
