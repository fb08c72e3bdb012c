//! The scripts of `examples/`, as they stand there: a stand-in for a swarm with the telemetry of its containers, and a switch
//! with the real `finderscope-acl`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use docker::stand_in::{Call, Config, Fault, Pace, Planned, StandIn};
use fabric::{Curve, Fabric, FabricOptions, WEB};

use super::server;
use crate::support::Collector;
use crate::support::acl_server::AclServer;
use crate::support::live::{require_root, run, wait_until};
use crate::support::netns::Namespace;
use crate::support::sampler::Sampler;

/// The switch: it answers where its agent's address is, as the script expects.
const AGENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    path.to_str().unwrap().to_owned()
}

/// The arguments `--set NAME=VALUE`.
fn set(all: &[(&str, &str)]) -> Vec<String> {
    all.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]).collect()
}

/// The collector with one example.
fn start(name: &str, allow: &[&str], all: &[(&str, &str)]) -> Collector {
    let mut arguments = vec!["--script".to_owned(), example(name)];
    arguments.extend(allow.iter().flat_map(|host| ["--allow".to_owned(), (*host).to_owned()]));
    arguments.extend(set(all));
    Collector::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A way to a socket of the file system by TCP. Its threads end with the process.
fn door(socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for outer in listener.incoming().map_while(Result::ok) {
            let Ok(inner) = UnixStream::connect(&socket) else { continue };
            let (mut from, mut to) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            let (mut from, mut to): (UnixStream, TcpStream) = (inner, outer);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

/// Has the containers of a swarm send their counters while `body` runs: the peak of their load, and nothing from the
/// fifteenth second on.
fn with_telemetry(collector: &Collector, swarm: &StandIn, body: impl FnOnce()) {
    let options = FabricOptions {
        spines: 1,
        leaves: 1,
        hosts: 2,
        flows: 0,
        suspects: 0,
        polling_s: 1,
        replicas: 0,
        load: Curve::Step { period_s: 60.0 },
        web_bytes_per_s: 100_000.0,
        ..FabricOptions::default()
    };
    let mut fabric = Fabric::new(&options).unwrap();
    let (socket, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), collector.sflow);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                let names: Vec<String> = swarm.running().into_iter().map(|replica| replica.name).collect();
                fabric.set_containers(WEB, &names).unwrap();
                let now_us = 15_000_000 + began.elapsed().as_micros() as u64;
                fabric.step(now_us, &mut |_, bytes| {
                    socket.send_to(bytes, to).unwrap();
                });
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        /// Ends the telemetry, also when the test fails.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&is_over);
        body();
    });
}

fn said(collector: &Collector, text: &str) -> usize {
    collector.log().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_service_is_scaled_and_said_to_be_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let web = Planned { name: WEB.to_owned(), replicas: 2, image: "nginx".to_owned(), labels: Vec::new() };
    let pace = Pace::even(Duration::from_millis(100));
    let swarm = StandIn::start(&socket, Config { services: vec![web], nodes: 1, pace }).unwrap();
    let door = door(socket).to_string();
    let url = format!("http://{door}");
    // A container takes 0.5 % of a processor for half of the service's load.
    let collector = start(
        "scale.js",
        &[&door],
        &[
            ("scale.swarm", &url),
            ("scale.service", WEB),
            ("scale.low", "0.2"),
            ("scale.high", "0.4"),
            ("scale.rest_s", "1"),
            ("scale.calm_s", "3"),
            ("scale.most", "6"),
        ],
    );
    with_telemetry(&collector, &swarm, || {
        collector.wait_for_log("web: would have 4 tasks instead of 2, but is disabled");
        assert_eq!(swarm.running().len(), 2);
        assert_eq!(collector.request("GET", "/script/scale.js/json?state=maybe", None).0, 400);
        // The engine refuses once: nothing is said to have happened.
        swarm.fail(Call::Update, 1, Fault::stale());
        let state = collector.json("/script/scale.js/json?state=enabled");
        assert_eq!((&state["enabled"], &state["service"]), (&true.into(), &WEB.into()));
        collector.wait_for_log("web: nothing was changed: Error: status 500");
        assert_eq!((swarm.running().len(), said(&collector, "web: from 2 to 4 tasks")), (2, 0));
        collector.wait_for_log("web: from 2 to 4 tasks");
        wait_until("four tasks", || (swarm.running().len() == 4).then_some(()));
        collector.wait_for_log("web: has as many tasks as it needs, 4");
        // Without load they go one by one.
        wait_until("three tasks", || (swarm.running().len() == 3).then_some(()));
        collector.wait_for_log("web: from 4 to 3 tasks");
    });
    let stands = &collector.json("/scripts/json")["scale.js"];
    assert_eq!((&stands["exceptions"], &stands["alive"]), (&0.into(), &true.into()), "{stands}");
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn a_service_without_a_number_is_left_alone() {
    let engine = server(|path| match path {
        "/services/everywhere" => {
            (200, "{\"ID\":\"a\",\"Version\":{\"Index\":1},\"Spec\":{\"Mode\":{\"Global\":{}}}}".to_owned())
        }
        "/services/stopped" => (
            200,
            "{\"ID\":\"b\",\"Version\":{\"Index\":1},\"Spec\":{\"Mode\":{\"Replicated\":{\"Replicas\":0}}}}"
                .to_owned(),
        ),
        _ => (404, "{\"message\":\"service not found\"}".to_owned()),
    })
    .to_string();
    let url = format!("http://{engine}");
    for (service, says) in [
        ("everywhere", "WARNING: everywhere: runs once on every node"),
        ("stopped", "INFO: stopped: has no tasks"),
        (
            "nosuch",
            "WARNING: nosuch: nothing was changed: Error: status 404: {\"message\":\"service not found\"}",
        ),
    ] {
        let all = [("scale.swarm", &*url), ("scale.service", service), ("scale.enabled", "yes")];
        let collector = start("scale.js", &[&engine], &all);
        collector.wait_for_log(says);
        assert_eq!(collector.json("/scripts/json")["scale.js"]["exceptions"], 0);
    }
}

#[test]
fn listed_traffic_is_captured_once_and_ended() {
    require_root("script");
    let network = Namespace::new("example");
    network.inside(|| run("ip", &["address", "add", &format!("{AGENT}/32"), "dev", "lo"]));
    network.hide();
    network.inside(|| {
        let acl = AclServer::start_at((AGENT, 8080).into());
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = Arc::clone(&is_broken);
        let lists = server(move |path| match path {
            _ if broken.load(Ordering::Relaxed) => (503, "later".to_owned()),
            "/compromised" => (200, "# compromised\r\n45.9.148.7\r\n2001:db8:bad::/48\r\n".to_owned()),
            _ => (200, "185.220.101.0/24 ; a network\nno address\n".to_owned()),
        })
        .to_string();
        let (compromised, block) = (format!("http://{lists}/compromised"), format!("http://{lists}/block"));
        let switch = format!("{AGENT}:8080");
        let collector = start(
            "capture.js",
            &[&lists, &switch],
            &[
                ("capture.compromised", &compromised),
                ("capture.block", &block),
                ("capture.refresh_s", "1"),
                ("capture.hold_s", "4"),
                ("capture.to", "10.0.0.70"),
            ],
        );
        collector.wait_for_log("INFO: lists: compromised 2, block 1");
        let mut sampler = Sampler::new(collector.sflow, AGENT, AGENT);
        sampler.packet("10.0.0.162", "198.51.100.1");
        let pairs = [
            ("10.0.0.162", "45.9.148.7", "[iptables]", "pair_10_0_0_162_45_9_148_7"),
            ("2001:db8:1::5", "2001:db8:bad::1", "[ip6tables]", "pair_2001_db8_1__5_2001_db8_bad__1"),
        ];
        for (local, remote, table, id) in pairs {
            sampler.packet(local, remote);
            collector.wait_for_log(&format!("of compromised on {AGENT} as {id}"));
            let text = acl.text(id);
            let rule = format!(
                "-A FORWARD --in-interface swp+ -s {local} -d {remote} -j ERSPAN --src-ip {AGENT} --dst-ip 10.0.0.70"
            );
            assert!(text.starts_with(table) && text.contains(&rule), "{text}");
            // The same pair again is no second capture.
            sampler.packet(local, remote);
        }
        // A switch that is not reached is not said to capture.
        let elsewhere = Ipv4Addr::new(10, 0, 0, 252);
        Sampler::new(collector.sflow, AGENT, elsewhere).packet("10.0.0.164", "185.220.101.9");
        collector.wait_for_log("WARNING: no capture of 10.0.0.164 and 185.220.101.9 on 10.0.0.252");
        assert_eq!(said(&collector, "capturing "), 2);
        assert_eq!(said(&collector, "--allow"), 1, "{:#?}", collector.log());
        is_broken.store(true, Ordering::Relaxed);
        collector.wait_for_log("WARNING: list block stays as it is");
        assert_eq!(collector.json("/group/capture/json")["block"], serde_json::json!(["185.220.101.0/24"]));
        for (.., id) in pairs {
            collector.wait_for_log(&format!("INFO: {id} on {AGENT} has ended"));
        }
        wait_until("no rule is left", || acl.names().is_empty().then_some(()));
        let stands = &collector.json("/scripts/json")["capture.js"];
        assert_eq!((&stands["exceptions"], &stands["alive"]), (&0.into(), &true.into()), "{stands}");
        assert_eq!(collector.end(), Some(0));
    });
}
