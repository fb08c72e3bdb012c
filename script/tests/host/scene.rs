//! A simulated fabric before a host: its datagrams come by UDP as time passes, and what really passed is known.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fabric::{Curve, Fabric, FabricOptions, Truth};
use script::{Config, Request, RequestError};
use serde_json::Value as Json;

use crate::support::Host;

/// How often the fabric goes on.
const STEP: Duration = Duration::from_millis(20);

/// Simulated time that is sent at once at the start, so that all counters have come twice.
const AHEAD_US: u64 = 3_000_000;

/// A host, and a fabric that sends to it.
pub(crate) struct Scene {
    pub(crate) host: Host,
    config: Config,
    fabric: Arc<Mutex<Fabric>>,
    is_over: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

/// One spine, two leaves, four hosts, two of which talk to a listed address, and a service of two containers; every packet
/// is sampled.
///
/// `leaf1` is 10.255.0.1, its ports 1 and 2 lead to the hosts 10.0.0.10 and 10.0.0.11, port 3 to `spine1`, 10.254.0.1,
/// port 4 out; `leaf2` is 10.255.0.2, with the hosts 10.0.16.10 and 10.0.16.11.
fn options() -> FabricOptions {
    FabricOptions {
        spines: 1,
        leaves: 2,
        hosts: 4,
        flows: 40,
        sampling: 1,
        polling_s: 1,
        host_bps: 1e6,
        load: Curve::Steady,
        web_bytes_per_s: 100_000.0,
        ..FabricOptions::default()
    }
}

impl Scene {
    /// A host without scripts, of which nothing but the counters is known yet.
    pub(crate) fn start(change: impl Fn(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let host = Host::with(&[], &change);
        std::fs::write(host.file("included.inc"), "var included = 'yes ' + 6 * 7;\n").unwrap();
        let to = host.engine.as_ref().unwrap().addresses()[0];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let fabric = Arc::new(Mutex::new(Fabric::new(&options()).unwrap()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (sent, ended) = (Arc::clone(&fabric), Arc::clone(&is_over));
        let sender = std::thread::spawn(move || {
            let began = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                let now_us = AHEAD_US + began.elapsed().as_micros() as u64;
                sent.lock().unwrap().step(now_us, &mut |_, bytes| {
                    socket.send_to(bytes, to).unwrap();
                });
                std::thread::sleep(STEP);
            }
        });
        Self { host, config, fabric, is_over, sender: Some(sender) }
    }

    /// Runs these scripts and no others; names and texts.
    pub(crate) fn run(&self, scripts: &[(String, String)]) {
        let file = |(name, text): &(String, String)| {
            let path = self.host.file(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = Config { scripts: scripts.iter().map(file).collect(), ..self.config.clone() };
        self.host.scripts.reload(config);
    }

    /// What a script answers: JSON, or why there is none.
    pub(crate) fn request(&self, script: &str, request: Request) -> Result<Json, String> {
        match self.host.ask(script, request) {
            Ok(reply) if reply.status == 200 => {
                let text = String::from_utf8(reply.body).unwrap();
                serde_json::from_str(&text).map_err(|_| text)
            }
            Ok(reply) => Err(String::from_utf8(reply.body).unwrap()),
            Err(RequestError::Ended) => Err(format!("it has ended: {}", self.host.status(script)["error"])),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What really passed until now.
    pub(crate) fn truth(&self) -> Truth {
        self.fabric.lock().unwrap().truth()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().unwrap();
        }
    }
}
