//! A real exporter: Open vSwitch between two hosts, all in network namespaces of the test's own.
//!
//! What the collector answers is compared with what the kernel counted at the hosts, and with the sum over the
//! samples that Open vSwitch sent.

mod lab;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::support::ledger::{Conversation, Ledger};
use crate::support::live::{enlarge, require, require_root, run, temporary_folder, turn, wait_until};
use crate::support::netns::{Link, link};
use crate::support::{Collector, PATIENCE};
use lab::{Lab, OpenVswitch};

/// One packet in so many is sampled.
const SAMPLING: u32 = 10;
/// Counters are sent this often.
const POLLING_S: u32 = 1;
/// The time constant of the flows; the longest there is, so that nearly all that was sent is still in the value.
const T_S: f64 = 600.0;
/// The frame check sequence, which sFlow counts and the kernel does not.
const FCS: u64 = 4;
/// Ethernet, IPv4 and UDP headers.
const UDP_HEADERS: u64 = 14 + 20 + 8;

const UDP_DATAGRAMS: u64 = 70_000;
const UDP_PAYLOAD: u64 = 1000;
const TCP_BYTES: u64 = 120_000_000;

const HOST_A: [u8; 4] = [10, 77, 0, 1];
const HOST_B: [u8; 4] = [10, 77, 0, 2];
const UDP_FROM: u16 = 7000;
const UDP_TO: u16 = 7001;
const TCP_TO: u16 = 7002;

/// What was sent, by the kernel's counters at the sender, and what arrived, by those at the receiver.
#[derive(Debug)]
struct Sent {
    what: &'static str,
    conversation: Conversation,
    frames: u64,
    bytes: u64,
    arrived_frames: u64,
    arrived_bytes: u64,
}

/// Sends UDP from host a to host b, evenly, and counts what arrives. Sets `sent` when the last has been sent.
fn udp(lab: &Lab, sent: &AtomicBool) -> Sent {
    let ready = Barrier::new(2);
    let arrived = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| lab.b.enter_and(|| receive_udp(&ready)));
        let sender = scope.spawn(|| {
            let _sent = Ending(sent);
            lab.a.enter_and(|| send_udp(&ready));
        });
        sender.join().unwrap();
        receiver.join().unwrap()
    });
    let frame = UDP_PAYLOAD + UDP_HEADERS + FCS;
    Sent {
        what: "UDP",
        conversation: (HOST_A.into(), HOST_B.into(), 17, UDP_FROM, UDP_TO),
        frames: UDP_DATAGRAMS,
        bytes: UDP_DATAGRAMS * frame,
        arrived_frames: arrived,
        arrived_bytes: arrived * frame,
    }
}

fn send_udp(ready: &Barrier) {
    let socket = UdpSocket::bind((std::net::IpAddr::from(HOST_A), UDP_FROM)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    ready.wait();
    // The receiver speaks first, so that the switch knows where it is.
    let mut hello = [0; 8];
    let (_, receiver) = socket.recv_from(&mut hello).unwrap();
    let payload = [0x5a; UDP_PAYLOAD as usize];
    let began = Instant::now();
    for n in 0..UDP_DATAGRAMS {
        // 20 datagrams every 2 ms: more at once would not fit into the switch's socket.
        if n % 20 == 0 {
            let due = Duration::from_millis(n / 10);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        socket.send_to(&payload, receiver).unwrap();
    }
}

fn receive_udp(ready: &Barrier) -> u64 {
    let socket = UdpSocket::bind((std::net::IpAddr::from(HOST_B), UDP_TO)).unwrap();
    enlarge(&socket);
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    ready.wait();
    socket.send_to(b"hello", SocketAddr::from((HOST_A, UDP_FROM))).unwrap();
    let mut buffer = [0; 2048];
    let mut arrived = 0;
    while arrived < UDP_DATAGRAMS && socket.recv(&mut buffer).is_ok() {
        arrived += 1;
    }
    arrived
}

/// Sends a TCP stream from host a to host b: the stream, and its acknowledgements.
fn tcp(lab: &Lab) -> [Sent; 2] {
    let ready = Barrier::new(2);
    let before = (lab.a.inside(|| link("eth0")), lab.b.inside(|| link("eth0")));
    let port = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| lab.b.enter_and(|| receive_tcp(&ready)));
        let port = scope.spawn(|| lab.a.enter_and(|| send_tcp(&ready))).join().unwrap();
        assert_eq!(receiver.join().unwrap(), TCP_BYTES);
        port
    });
    let after = wait_until("the last acknowledgement", || {
        let now = (lab.a.inside(|| link("eth0")), lab.b.inside(|| link("eth0")));
        (now.1.out_frames == now.0.in_frames).then_some(now)
    });
    let (a, b) = (difference(after.0, before.0), difference(after.1, before.1));
    [
        Sent {
            what: "TCP",
            conversation: (HOST_A.into(), HOST_B.into(), 6, port, TCP_TO),
            frames: a.out_frames,
            bytes: a.out_octets + FCS * a.out_frames,
            arrived_frames: b.in_frames,
            arrived_bytes: b.in_octets + FCS * b.in_frames,
        },
        Sent {
            what: "TCP acknowledgements",
            conversation: (HOST_B.into(), HOST_A.into(), 6, TCP_TO, port),
            frames: b.out_frames,
            bytes: b.out_octets + FCS * b.out_frames,
            arrived_frames: a.in_frames,
            arrived_bytes: a.in_octets + FCS * a.in_frames,
        },
    ]
}

fn send_tcp(ready: &Barrier) -> u16 {
    ready.wait();
    let mut stream = TcpStream::connect(SocketAddr::from((HOST_B, TCP_TO))).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let chunk = [0xa5; 10_000];
    for _ in 0..TCP_BYTES / chunk.len() as u64 {
        stream.write_all(&chunk).unwrap();
    }
    stream.local_addr().unwrap().port()
}

fn receive_tcp(ready: &Barrier) -> u64 {
    let listener = TcpListener::bind(SocketAddr::from((HOST_B, TCP_TO))).unwrap();
    // A window that fits into the switch's socket, or it would drop in seven frames one before it samples.
    set_socket_recv_buffer_size(&listener, 32 << 10).unwrap();
    ready.wait();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut arrived = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return arrived,
            n => arrived += n as u64,
        }
    }
}

fn difference(after: Link, before: Link) -> Link {
    Link {
        in_octets: after.in_octets - before.in_octets,
        in_frames: after.in_frames - before.in_frames,
        out_octets: after.out_octets - before.out_octets,
        out_frames: after.out_frames - before.out_frames,
    }
}

/// Bytes per second into port-a and out of port-b over one polling interval.
#[derive(Clone, Copy, Debug)]
struct Rates {
    into_a: f64,
    out_of_b: f64,
}

/// Until `done`: the rates that the collector answers, each with the kernel's own over the same interval.
fn watch_rates(collector: &Collector, ports: [u32; 2], done: &AtomicBool) -> Vec<(Rates, Rates)> {
    let path = format!("/metric/127.0.0.1/{}.ifinoctets,{}.ifoutoctets/json", ports[0], ports[1]);
    let mut last: Option<(Instant, u64, u64)> = None;
    let mut last_age = u64::MAX;
    let mut pairs = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let answer = collector.json(&path);
        if let (Some(age), Some(into_a), Some(out_of_b)) = (
            answer[0]["lastUpdate"].as_u64(),
            answer[0]["metricValue"].as_f64(),
            answer[1]["metricValue"].as_f64(),
        ) {
            // A smaller age is a new sample.
            if age < last_age {
                let now = (Instant::now(), link("port-a").in_octets, link("port-b").out_octets);
                if let Some(then) = last {
                    let seconds = (now.0 - then.0).as_secs_f64();
                    let rate = |after: u64, before: u64| (after - before) as f64 / seconds;
                    let kernel = Rates { into_a: rate(now.1, then.1), out_of_b: rate(now.2, then.2) };
                    pairs.push((Rates { into_a, out_of_b }, kernel));
                }
                last = Some(now);
            }
            last_age = age;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    pairs
}

/// Compares the rates over all whole intervals of steady sending; the first began before it.
fn compare_rates(pairs: &[(Rates, Rates)]) {
    let steady = pairs.get(1..).unwrap_or_default();
    assert!(steady.len() >= 3, "too few counters samples while sending: {pairs:?}");
    for pick in [|rates: &Rates| rates.into_a, |rates: &Rates| rates.out_of_b] {
        let said: f64 = steady.iter().map(|(collector, _)| pick(collector)).sum();
        let counted: f64 = steady.iter().map(|(_, kernel)| pick(kernel)).sum();
        let off = said / counted - 1.0;
        eprintln!("rates of {} intervals: {:+.2} %", steady.len(), off * 100.0);
        assert!(off.abs() < 0.1, "{pairs:#.0?}");
    }
}

/// Adds up the datagrams that arrive at `socket` until `ended`.
fn keep_ledger(socket: &UdpSocket, ledger: &Mutex<Ledger>, ended: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 1 << 16];
    while !ended.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            ledger.lock().unwrap().datagram(&buffer[..length]);
        }
    }
}

/// Tells a thread to end, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn define_flows(collector: &Collector) {
    for protocol in ["tcp", "udp"] {
        for value in ["bytes", "frames"] {
            let keys = format!("ipsource,ipdestination,{protocol}sourceport,{protocol}destinationport");
            let body = format!("{{keys:'{keys}',value:'{value}',t:{T_S}}}");
            let path = format!("/flow/{protocol}_{value}/json");
            assert_eq!(collector.request("PUT", &path, Some(&body)).0, 204, "{body}");
        }
    }
    let pairs = format!("{{keys:'ipsource,ipdestination,ipprotocol',value:'bytes',t:{T_S}}}");
    assert_eq!(collector.request("PUT", "/flow/pair_bytes/json", Some(&pairs)).0, 204);
}

/// What the flow's value says was sent, given that it was sent in the `elapsed` seconds before now: at least, at most.
fn sent_by_flow(collector: &Collector, flow: &str, key: &str, elapsed: f64) -> (f64, f64) {
    let flows = collector.json(&format!("/activeflows/ALL/{flow}/json?aggMode=sum"));
    let found = flows.as_array().unwrap().iter().find(|found| found["key"] == key);
    let value = found.unwrap_or_else(|| panic!("no {key} in {flow}: {flows}"))["value"].as_f64().unwrap();
    (value * T_S, value * T_S * (elapsed / T_S).exp())
}

/// Compares one conversation: what the collector answers with what the kernel counted, and with the samples' sum.
fn compare(collector: &Collector, ledger: &Ledger, sent: &Sent, began: Instant) {
    assert!(sent.arrived_frames as f64 > 0.9 * sent.frames as f64, "the switch dropped too much: {sent:?}");
    let (source, destination, protocol, from, to) = sent.conversation;
    let ports = format!("{source},{destination},{from},{to}");
    let pair = format!("{source},{destination},{protocol}");
    let name = if protocol == 17 { "udp" } else { "tcp" };
    let sampled = ledger.conversations[&sent.conversation];
    // Four standard deviations of the number of samples.
    let error = 4.0 / (sent.frames as f64 / f64::from(SAMPLING)).sqrt();
    let bytes = (sent.bytes, sent.arrived_bytes, sampled.bytes);
    let frames = (sent.frames, sent.arrived_frames, sampled.frames);
    for (flow, key, (total, arrived, samples_say)) in [
        (format!("{name}_bytes"), &ports, bytes),
        (format!("{name}_frames"), &ports, frames),
        ("pair_bytes".to_owned(), &pair, bytes),
    ] {
        let elapsed = began.elapsed().as_secs_f64() + 1.0;
        let (least, most) = sent_by_flow(collector, &flow, key, elapsed);
        eprintln!(
            "{}, {flow}: sent {total}, arrived {arrived}, samples say {samples_say} ({:+.2} %, {:.2} % allowed), REST \
             says {least:.0} to {most:.0}",
            sent.what,
            (samples_say as f64 / total as f64 - 1.0) * 100.0,
            error * 100.0
        );
        assert!(least <= total as f64 * (1.0 + error) && most >= arrived as f64 * (1.0 - error), "{sent:?}");
        assert!(least <= samples_say as f64 * 1.005 && most >= samples_say as f64 * 0.995, "{sent:?}");
    }
}

/// The interface of this name as REST knows it and as the kernel numbers it.
fn port_index(collector: &Collector, name: &str) -> u32 {
    let path = format!("/dump/127.0.0.1/ifindex/json?ifname={name}");
    let index = collector.wait_for(&path, |answer| answer[0]["metricValue"].as_u64());
    let shown = run("ip", &["-o", "link", "show", name]);
    assert!(shown.starts_with(&format!("{index}:")), "{name} is {index} by REST; {shown}");
    u32::try_from(index).unwrap()
}

/// Whether the last counters sample of the port says what the kernel has counted.
fn counters_equal(ledger: &Ledger, port: u32, kernel: Link) -> bool {
    let Some(said) = ledger.interfaces.get(&port) else { return false };
    said["ifInOctets"] == kernel.in_octets
        && said["ifInUcastPkts"] + said["ifInMulticastPkts"] == kernel.in_frames
        && said["ifOutOctets"] == kernel.out_octets
        && said["ifOutUcastPkts"] == kernel.out_frames
}

#[test]
fn open_vswitch_is_read_within_the_sampling_error() {
    require(&["ip", "ethtool", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"]);
    require_root("openvswitch");
    let _turn = turn();
    let lab = Lab::new();
    lab.switch.inside(|| look(&lab));
}

/// The test, on a thread in the switch's namespace.
fn look(lab: &Lab) {
    let folder = temporary_folder();
    let collector = Collector::start(&[]);
    let tee = UdpSocket::bind("127.0.0.1:0").unwrap();
    enlarge(&tee);
    let _switch = OpenVswitch::start(folder.path(), &[collector.sflow, tee.local_addr().unwrap()]);
    define_flows(&collector);
    let (ledger, ended) = (Mutex::new(Ledger::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ending = Ending(&ended);
        scope.spawn(|| keep_ledger(&tee, &ledger, &ended));
        let ports = ["port-a", "port-b"].map(|name| port_index(&collector, name));
        let began = Instant::now();
        let done = AtomicBool::new(false);
        let (rates, udp) = std::thread::scope(|scope| {
            let sender = scope.spawn(|| udp(lab, &done));
            (watch_rates(&collector, ports, &done), sender.join().unwrap())
        });
        compare_rates(&rates);
        let [tcp, acknowledgements] = tcp(lab);
        let kernel = ["port-a", "port-b"].map(link);
        wait_until("counters samples that say what the kernel has counted", || {
            let ledger = ledger.lock().unwrap();
            (counters_equal(&ledger, ports[0], kernel[0]) && counters_equal(&ledger, ports[1], kernel[1]))
                .then_some(())
        });
        assert_eq!(kernel, ["port-a", "port-b"].map(link), "something else was sent");
        let ledger = ledger.lock().unwrap().clone();
        collector.wait_for("/agents/json", |agents| {
            (agents["127.0.0.1"]["sFlowDatagramsReceived"].as_u64()? >= ledger.datagrams).then_some(())
        });
        assert_eq!(collector.json("/agents/json")["127.0.0.1"]["sFlowDatagramsLost"], 0);
        assert_eq!(ledger.out_of_sequence, 0);
        for sent in [&udp, &tcp, &acknowledgements] {
            compare(&collector, &ledger, sent, began);
        }
    });
    assert_eq!(collector.end(), Some(0));
}
