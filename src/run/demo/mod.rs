//! `finderscope run --demo`: a simulated fabric that sends to this collector over loopback, those that its actions talk to,
//! and a line that says what the collector sees.
//!
//! The fabric runs the containers that the swarm's stand-in says, so that what the collector does about their load is seen
//! in the load again.

mod others;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use fabric::Fabric;
use serde_json::{Value as Json, json};

use super::definitions::{self, Definitions};
use super::file::Beneath;
use crate::client::Client;
use crate::simulate::Simulation;
use crate::top::table::short;
use crate::top::watch::{Wanted, Watch};
use others::Others;
use tables::trust::Listed;

/// After how long the collector is asked what it sees: rates have settled.
const SETTLED: Duration = Duration::from_secs(5);

/// How often the fabric learns which containers run.
const FOLLOWED_EVERY: Duration = Duration::from_millis(100);

/// A running fabric, and the thread that tells of it.
pub struct Demo {
    fabric: Arc<Simulation>,
    end: [Sender<()>; 2],
    threads: [JoinHandle<()>; 2],
}

/// What there is before the collector starts.
pub struct Stage {
    others: Others,
}

impl Stage {
    /// Sets up all that the collector's actions talk to.
    ///
    /// # Errors
    /// No folder, socket or thread can be had.
    pub fn set() -> anyhow::Result<Self> {
        let switches = Fabric::new(&Simulation::demo())?.switches().collect();
        Ok(Self { others: Others::start(switches)? })
    }

    /// What the collector is told where the command line says nothing else: loopback, and nothing is kept.
    ///
    /// # Errors
    /// The configuration does not have the form that it should have.
    pub fn beneath(&self) -> anyhow::Result<Beneath> {
        let mut beneath = Beneath { actions: self.others.actions()?, ..Beneath::default() };
        beneath.settings.engine.sflow = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 6343))];
        beneath.settings.state_dir = Some(self.others.state());
        beneath.settings.trust.listed = vec![Listed::new("0.0.0.0/0", &["127.0.0.0/8"])?];
        beneath.definitions.extend(definitions());
        Ok(beneath)
    }
}

impl Demo {
    /// Starts the fabric and, after some seconds, tells what the collector sees of it.
    ///
    /// # Errors
    /// No thread or socket can be had.
    pub fn start(stage: Stage, sflow: SocketAddr, http: SocketAddr) -> anyhow::Result<Self> {
        let sflow = reachable(sflow);
        let url = format!("http://{}", reachable(http));
        let fabric = Arc::new(Simulation::start(&Simulation::demo(), sflow).context("the simulated fabric")?);
        tracing::info!(
            "A simulated fabric sends to {sflow}: open {url}/, or run: finderscope top --url {url}"
        );
        tracing::info!("The rules of its switches are below {}", stage.others.rules().display());
        let (end_following, following_ended) = channel();
        let (end_telling, telling_ended) = channel();
        let followed = Arc::clone(&fabric);
        let following = thread("swarm", move || follow(&stage.others, &followed, &following_ended))?;
        let telling = thread("demo", move || {
            if let Err(error) = tell(&url, &telling_ended) {
                tracing::warn!("The demo sees nothing: {error:#}");
            }
        })?;
        Ok(Self { fabric, end: [end_following, end_telling], threads: [following, telling] })
    }

    /// Ends all of it.
    pub fn shutdown(self) {
        drop(self.end);
        for thread in self.threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        self.fabric.shutdown();
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).context("the demo's threads")
}

/// Has the fabric run the containers that the swarm runs, until it ends.
fn follow(others: &Others, fabric: &Simulation, ended: &Receiver<()>) {
    let mut running = Vec::new();
    while ended.recv_timeout(FOLLOWED_EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = others.containers();
        if now == running {
            continue;
        }
        match fabric.with(|fabric| fabric.set_containers(others::SERVICE, &now)) {
            Ok(()) => running = now,
            Err(error) => return tracing::warn!("The demo's containers: {error}"),
        }
    }
}

/// What the demo defines beside what is built in: the flows to the addresses that the fabric calls listed, and the
/// fabric's topology.
fn definitions() -> Definitions {
    definitions::of_json(&json!({
        // The demo's options make a fabric.
        "topology": Simulation::demo().topology().unwrap_or_default(),
        "flows": { "listed": { "keys": "ipsource,ipdestination,group:ipdestination:listed", "value": "bytes" } },
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
