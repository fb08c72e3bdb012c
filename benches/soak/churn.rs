//! What comes and goes while the collector runs: agents that are heard a few times and never again, flows that are all
//! different, definitions by REST, a list that is swapped, captures that begin and end, clients that go away. Each is a
//! thread with its own pace; all of it together is a small part of what the collector has to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingest::send::Sender;
use serde_json::json;

use crate::support::Collector;
use crate::support::keys::{KEYS_EACH, Keys};
use crate::support::sampler::Sampler;
use crate::switches::{self, Switches};
use crate::table::Table;

/// Silence after which an agent is forgotten: those that go must go within the time of a short run.
pub(crate) const AGENT_TIMEOUT_S: u64 = 20;

/// How often each kind of thing happens.
const AGENT_EVERY: Duration = Duration::from_millis(50);
const KEYS_EVERY: Duration = Duration::from_millis(20);
const DEFINITION_EVERY: Duration = Duration::from_millis(50);
const LIST_EVERY: Duration = Duration::from_secs(5);
const CAPTURE_EVERY: Duration = Duration::from_millis(250);
const CLIENT_EVERY: Duration = Duration::from_millis(100);

/// Datagrams of an agent before it is silent for ever.
const HEARD: u32 = 4;

/// Definitions of each kind that are there at once.
const DEFINED: u32 = 8;

/// Switches that capture, and entries of the list.
const SWITCHES: usize = 4;
const ENTRIES: u32 = 2000;

/// A listed host.
const LISTED: &str = "45.9.148.7";

/// What comes and goes.
pub(crate) struct Churn {
    folder: PathBuf,
    switches: Switches,
}

/// How often it did.
#[derive(Default)]
pub(crate) struct Done {
    /// Datagrams that were sent.
    pub(crate) sent: u64,
    agents: u64,
    keys: u64,
    definitions: u64,
    lists: u64,
    captures: u64,
    clients: u64,
}

impl Done {
    /// What was done, as rows.
    pub(crate) fn tell(&self, table: &mut Table) {
        table.check("agents that came and went", self.agents, self.agents > 0);
        table.check("flows that came and went", self.keys, self.keys > 0);
        table.check(
            "definitions that were made, changed or taken away",
            self.definitions,
            self.definitions > 0,
        );
        table.check("lists that were swapped", self.lists, self.lists > 0);
        table.check("captures that began", self.captures, self.captures > 0);
        table.check("clients that went away", self.clients, self.clients > 0);
    }
}

impl Churn {
    /// Writes the collector's configuration into a folder: a feed, and captures at switches of the soak's own.
    pub(crate) fn configure(folder: &Path) -> Self {
        let switches = Switches::start();
        switches::configure(folder, &switches, SWITCHES, ENTRIES);
        Self { folder: folder.to_owned(), switches }
    }

    /// Lets all of it come and go until the end; how often it did.
    pub(crate) fn run(self, collector: &Collector, ended: &AtomicBool) -> Done {
        let Self { folder, switches } = self;
        std::thread::scope(|scope| {
            let agents = scope.spawn(|| come_and_go(collector, ended));
            let keys = scope.spawn(|| new_flows(collector, ended));
            let definitions = scope.spawn(|| define(collector, ended));
            let lists = scope.spawn(|| swap(collector, &folder, ended));
            let captures = scope.spawn(move || capture(collector, &switches, ended));
            let clients = scope.spawn(|| leave(collector, ended));
            let (agents, by_agents) = agents.join().unwrap();
            let (keys, by_keys) = keys.join().unwrap();
            let (captures, by_captures) = captures.join().unwrap();
            Done {
                sent: by_agents + by_keys + by_captures,
                agents,
                keys,
                definitions: definitions.join().unwrap(),
                lists: lists.join().unwrap(),
                captures,
                clients: clients.join().unwrap(),
            }
        })
    }
}

/// Calls with 0, 1, 2 and so on, evenly, until the end; how often.
fn repeat(every: Duration, ended: &AtomicBool, mut call: impl FnMut(u32)) -> u64 {
    let (began, mut times) = (Instant::now(), 0);
    while !ended.load(Ordering::Relaxed) {
        call(times);
        times += 1;
        std::thread::sleep((every * times).saturating_sub(began.elapsed()).min(every));
    }
    u64::from(times)
}

/// Agents with an address that no other had, and the datagrams that were sent of them.
fn come_and_go(collector: &Collector, ended: &AtomicBool) -> (u64, u64) {
    let mut sent = 0;
    let agents = repeat(AGENT_EVERY, ended, |n| {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 1)) + n);
        let mut sampler = Sampler::new(collector.sflow, Ipv4Addr::LOCALHOST, address);
        sampler.counters(&format!("agent-{n}"));
        for host in 1..HEARD {
            sampler.packet(&format!("198.51.100.{host}"), "198.51.100.250");
        }
        sent += u64::from(HEARD);
    });
    (agents, sent)
}

/// Flows that no packet had before, and the datagrams that they came in.
fn new_flows(collector: &Collector, ended: &AtomicBool) -> (u64, u64) {
    let mut keys = Keys::default();
    let mut sender = Sender::new(collector.sflow).unwrap();
    repeat(KEYS_EVERY, ended, |_| keys.next(1).iter().for_each(|datagram| sender.send(datagram)));
    assert_eq!(keys.made(), sender.sent() * KEYS_EACH as u64, "the kernel took all of them");
    (keys.made(), sender.sent())
}

/// Definitions of all kinds: each turn makes some or changes them, and takes older ones away.
fn define(collector: &Collector, ended: &AtomicBool) -> u64 {
    // What is sent on goes to a socket that nobody reads.
    let to = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = to.local_addr().unwrap().port();
    let mut made = 0;
    repeat(DEFINITION_EVERY, ended, |turn| {
        let (number, kind) = (turn / 5, turn % 5);
        let keys = ["ipsource", "ipsource,ipdestination,tcpsourceport", "macsource,group:ipsource:churn0"];
        let path = |number: u32| match kind {
            0 => format!("/group/churn{}/json", number % DEFINED),
            1 => format!("/flow/churn{number}/json"),
            2 => format!("/threshold/churn{number}/json"),
            3 => format!("/forwarding/churn{number}/json"),
            _ => "/flow/again/json".to_owned(),
        };
        let body = match kind {
            0 => json!({"a": [format!("10.{}.0.0/16", number % 200)], "b": ["192.0.2.0/24"]}),
            1 => {
                json!({"keys": keys[number as usize % keys.len()], "value": "bytes", "log": number % 2 == 0, "t": 1})
            }
            2 => json!({"metric": "load_one", "value": 0.01, "timeout": 1 + number % 5}),
            3 => json!({"address": "127.0.0.1", "port": port, "agents": ["100.64.0.9"]}),
            _ => json!({"keys": keys[number as usize % keys.len()], "value": "frames"}),
        };
        let (status, said) = collector.request("PUT", &path(number), Some(&body.to_string()));
        assert!(status < 300, "PUT {}: {status} {said}", path(number));
        made += 1;
        if (1..=3).contains(&kind) && number >= DEFINED {
            let old = path(number - DEFINED);
            let (status, said) = collector.request("DELETE", &old, None);
            assert!(status < 300, "DELETE {old}: {status} {said}");
            made += 1;
        }
    });
    made
}

/// A feed's list, each time another one.
fn swap(collector: &Collector, folder: &Path, ended: &AtomicBool) -> u64 {
    let mut swapped = 0;
    let mut due = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        if due <= Instant::now() {
            due += LIST_EVERY;
            swapped += 1;
            fs::write(folder.join("list.new"), switches::list(swapped, ENTRIES)).unwrap();
            fs::rename(folder.join("list.new"), folder.join("list.txt")).unwrap();
            let (status, said) = collector.request("PUT", "/feed/bad/json", Some("{\"acceptChange\": true}"));
            assert_eq!(status, 204, "{said}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    u64::from(swapped)
}

/// Captures of hosts that nobody has seen; those that a switch was told of, and the datagrams that were sent for them.
fn capture(collector: &Collector, switches: &Switches, ended: &AtomicBool) -> (u64, u64) {
    let mut samplers: Vec<Sampler> = (0..SWITCHES)
        .map(|switch| Sampler::new(collector.sflow, Ipv4Addr::LOCALHOST, switches::agent(switch)))
        .collect();
    let sent = repeat(CAPTURE_EVERY, ended, |n| {
        let local = Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 0, 1)) + n % 65_000);
        samplers[n as usize % SWITCHES].packet(&local.to_string(), LISTED);
    });
    (switches.puts.try_iter().count() as u64, sent)
}

/// Clients that wait for events and go away, and some that go away in the middle of a word.
fn leave(collector: &Collector, ended: &AtomicBool) -> u64 {
    repeat(CLIENT_EVERY, ended, |n| {
        let mut stream = TcpStream::connect(collector.http).unwrap();
        let host = collector.http;
        let said = match n % 3 {
            0 => format!("GET /events/json?maxEvents=1&timeout=60 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            1 => "GET /metr".to_owned(),
            _ => format!("GET /agents/json HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        };
        stream.write_all(said.as_bytes()).unwrap();
        if n % 3 == 2 {
            // A part of the answer is read.
            stream.read_exact(&mut [0; 16]).unwrap();
        }
    })
}
