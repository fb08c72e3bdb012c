//! `finderscope run --demo`: a simulated fabric that sends to this collector over loopback, and a line that says what
//! the collector sees of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value as Json, json};

use super::definitions::{self, Definitions};
use super::settings::Settings;
use crate::simulate::Simulation;
use crate::top::client::Client;
use crate::top::table::short;
use crate::top::watch::{Wanted, Watch};

/// After how long the collector is asked what it sees: rates have settled.
const SETTLED: Duration = Duration::from_secs(5);

/// A running fabric, and the thread that tells of it.
pub struct Demo {
    fabric: Simulation,
    end: Sender<()>,
    telling: JoinHandle<()>,
}

/// The settings of the demo, where the command line says nothing else: loopback, and nothing is kept.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.engine.sflow = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 6343))];
    settings.state_dir = Some(PathBuf::from("none"));
    settings
}

impl Demo {
    /// Starts the fabric and, after some seconds, tells what the collector sees of it.
    ///
    /// # Errors
    /// No thread or socket can be had.
    pub fn start(sflow: SocketAddr, http: SocketAddr) -> anyhow::Result<Self> {
        let sflow = reachable(sflow);
        let url = format!("http://{}", reachable(http));
        let fabric = Simulation::start(&Simulation::demo(), sflow).context("the simulated fabric")?;
        tracing::info!(
            "A simulated fabric sends to {sflow}: open {url}/, or run: finderscope top --url {url}"
        );
        let (end, ended) = channel();
        let telling = std::thread::Builder::new()
            .name("demo".to_owned())
            .spawn(move || {
                if let Err(error) = tell(&url, &ended) {
                    tracing::warn!("The demo sees nothing: {error:#}");
                }
            })
            .context("the demo's thread")?;
        Ok(Self { fabric, end, telling })
    }

    /// Ends the fabric.
    pub fn shutdown(self) {
        drop(self.end);
        self.fabric.shutdown();
        // A thread that panicked has said so already.
        let _ = self.telling.join();
    }
}

/// What the demo defines beside what is built in: the flows to the addresses that the fabric calls listed, and the
/// fabric's topology.
pub fn definitions() -> Definitions {
    definitions::of_json(&json!({
        // The demo's options make a fabric.
        "topology": Simulation::demo().topology().unwrap_or_default(),
        "groups": { "listed": { "yes": ["198.51.100.0/24", "203.0.113.0/24"] } },
        "flows": { "listed": {
            "keys": "ipsource,ipdestination",
            "value": "bytes",
            "filter": "group:ipdestination:listed=yes",
        } },
    }))
}

/// An address on which this machine reaches one that it listens on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// One line of what the collector sees, unless it ends before.
fn tell(url: &str, ended: &Receiver<()>) -> anyhow::Result<()> {
    let began = Instant::now();
    if ended.recv_timeout(SETTLED) != Err(RecvTimeoutError::Timeout) {
        return Ok(());
    }
    let agents = Client::new(url)?.get("/agents/json")?.unwrap_or_default();
    let samples = samples(&agents) / began.elapsed().as_secs_f64();
    let snapshot = Watch::start(Client::new(url)?, &Wanted::Defined(None), "ALL", 1)?.look()?;
    let largest = snapshot.rows.first().map_or_else(
        || "no flow yet".to_owned(),
        |row| {
            format!(
                "the largest flow is {} with {} {}",
                row.keys.join(" "),
                short(row.value),
                snapshot.flow.value
            )
        },
    );
    tracing::info!("The collector sees {} agents and {samples:.0} samples/s; {largest}", snapshot.agents);
    Ok(())
}

/// The samples that all agents have sent.
fn samples(agents: &Json) -> f64 {
    let counted = |agent: &Json| {
        ["sFlowFlowSamples", "sFlowCounterSamples"]
            .iter()
            .map(|name| agent[*name].as_f64().unwrap_or(0.0))
            .sum::<f64>()
    };
    agents.as_object().into_iter().flat_map(|agents| agents.values()).map(counted).sum()
}
