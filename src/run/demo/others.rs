//! Those that the demo's actions talk to: a stand-in for the manager of a swarm, and on every switch the server that
//! installs rules, which is the one that runs on real switches. All that they write is in a folder that goes with them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::JoinHandle;

use acl::server::{Options, Running};
use actions::config::Config;
use anyhow::{Context, anyhow};
use docker::stand_in::{self, Pace, Planned, StandIn};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// The service that the fabric's containers are of.
pub(super) const SERVICE: &str = "web";

/// Where captured packets would go.
const ANALYZER: &str = "10.0.0.70";

/// What the fabric calls listed, as a blacklist would say it.
const BLACKLIST: &str = "# addresses that hosts of the demo talk to\n198.51.100.0/24\n203.0.113.0/24\n";

/// The stand-ins, as long as this lives.
pub(super) struct Others {
    swarm: StandIn,
    switches: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// Addresses of the switches' agents, and where their servers answer.
    servers: Vec<(Ipv4Addr, SocketAddr)>,
    folder: TempDir,
}

impl Others {
    /// Starts them, for the switches of these agents.
    ///
    /// # Errors
    /// No folder, socket or thread can be had.
    pub(super) fn start(switches: Vec<Ipv4Addr>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("finderscope-demo-").tempdir().context("a folder")?;
        std::fs::write(folder.path().join("blacklist.txt"), BLACKLIST).context("the blacklist")?;
        let service =
            Planned { name: SERVICE.into(), replicas: 1, image: "httpd:2.4".into(), labels: Vec::new() };
        let planned = stand_in::Config { services: vec![service], nodes: 4, pace: Pace::default() };
        let swarm = StandIn::start(&socket(folder.path()), planned).context("the swarm's stand-in")?;
        let (started, servers) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let rules = folder.path().join("switches");
        let serve = move || {
            runtime.block_on(async move {
                match serve(&rules, switches).await {
                    Ok(running) => {
                        let servers =
                            running.iter().map(|(agent, server)| (*agent, server.address)).collect();
                        let _ = started.send(Ok(servers));
                        // An error is that nobody is left who could ask for the end.
                        let _ = ended.await;
                        for (_, server) in running {
                            server.end().await;
                        }
                    }
                    Err(why) => drop(started.send(Err(why))),
                }
            });
        };
        let thread = std::thread::Builder::new().name("switches".to_owned()).spawn(serve)?;
        let servers =
            servers.recv().context("the switches")?.map_err(|why| anyhow!("the switches: {why}"))?;
        Ok(Self { swarm, switches: Some((end, thread)), servers, folder })
    }

    /// What the configuration of a collector would say of them.
    ///
    /// # Errors
    /// It does not fit the configuration's form.
    pub(super) fn actions(&self) -> anyhow::Result<Config> {
        let switches: Vec<Json> = self
            .servers
            .iter()
            .map(|(agent, server)| json!({ "agent": agent, "url": format!("http://{server}/acl") }))
            .collect();
        let metric = json!([
            { "metric": "vir_cpu_utilization", "low": 10, "high": 20 },
            { "metric": "vir_bytes_in + vir_bytes_out", "low": 50_000, "high": 100_000 },
        ]);
        let mut config = Config::default();
        for (name, section) in [
            ("actions", json!({ "mode": "act", "owner": "demo" })),
            ("swarm", json!({ "demo": { "managers": [self.swarm.endpoint().to_string()] } })),
            (
                "autoscale",
                json!({ "interval_s": 1, "service": { SERVICE: { "rate": 60, "metric": metric } } }),
            ),
            ("switch", switches.into()),
            ("capture", json!({ "listed": { "group": "listed", "analyzer": ANALYZER } })),
            ("feeds", json!({ "reserved_allowed": ["198.51.100.0/24", "203.0.113.0/24"] })),
            (
                "feed",
                json!({ "blacklist": { "path": self.folder.path().join("blacklist.txt"), "set": "listed" } }),
            ),
        ] {
            config.section(name, section).with_context(|| format!("the demo's [{name}]"))?;
        }
        Ok(config)
    }

    /// A state directory that goes with them.
    pub(super) fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// Where the switches' rules are.
    pub(super) fn rules(&self) -> std::path::PathBuf {
        self.folder.path().join("switches")
    }

    /// The names of the containers that run.
    pub(super) fn containers(&self) -> Vec<String> {
        self.swarm.running().into_iter().map(|replica| replica.name).collect()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.switches.take() {
            let _ = end.send(());
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join("docker.sock")
}

/// A server for each switch, with a folder of its own.
async fn serve(rules: &Path, switches: Vec<Ipv4Addr>) -> Result<Vec<(Ipv4Addr, Running)>, String> {
    let mut running = Vec::new();
    for agent in switches {
        let policy_dir = rules.join(agent.to_string());
        std::fs::create_dir_all(&policy_dir).map_err(|why| format!("{}: {why}", policy_dir.display()))?;
        let options = Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            policy_dir,
            // There is no hardware that could take the rules over.
            commit_command: "true".to_owned(),
            commit_timeout: 10,
            token_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            open: false,
            command: None,
        };
        running.push((agent, Running::start(options).await?));
    }
    Ok(running)
}
