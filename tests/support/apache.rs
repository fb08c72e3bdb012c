//! The article's service on the lab's swarm, with clients that ask it for pages, and the agent that reports what its
//! containers do.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::docker_lab::{IMAGE, Lab};
use super::{Collector, PATIENCE};

/// Clients, each with its share of the requests: one container that hangs does not slow the others down.
const CLIENTS: u32 = 4;

/// The service, with what a client of an old API would strip from it. It goes with this handle.
pub(crate) struct Apache<'a> {
    pub(crate) lab: &'a Lab,
}

impl<'a> Apache<'a> {
    /// One replica, with these further options.
    pub(crate) fn create(lab: &'a Lab, more: &[&str]) -> Self {
        lab.clear();
        let options = "service create --detach --no-resolve-image --name apache --stop-grace-period 1s \
                       --sysctl net.core.somaxconn=512 --cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN \
                       --limit-pids 100 --ulimit nofile=1024:2048 --publish mode=host,target=80";
        let options: Vec<&str> = options.split_whitespace().collect();
        lab.docker(&[&options, more, &[IMAGE]].concat());
        Self { lab }
    }

    /// What the docker client says its specification is, with the number of replicas taken out; and that number.
    pub(crate) fn specification(&self) -> (String, u64) {
        let said = self.lab.docker(&["service", "inspect", "--format", "{{json .Spec}}", "apache"]);
        let (before, after) = said.split_once("\"Replicated\":{\"Replicas\":").unwrap();
        let (number, after) = after.split_once('}').unwrap();
        (format!("{before}|{after}"), number.parse().unwrap())
    }

    /// Which version of it the engine has: every change makes a new one.
    pub(crate) fn version(&self) -> String {
        self.lab.docker(&["service", "inspect", "--format", "{{.Version.Index}}", "apache"])
    }

    /// The containers that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let ids = self.lab.docker(&["ps", "--quiet", "--no-trunc", "--filter", "name=apache."]);
        ids.split_whitespace().map(str::to_owned).collect()
    }

    /// Where they answer.
    fn addresses(&self) -> Vec<SocketAddr> {
        let ids = self.running();
        if ids.is_empty() {
            return Vec::new();
        }
        let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        // One that goes at this moment is no failure.
        let output = self.lab.client().args(["inspect", "--format", template]).args(ids).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines().filter_map(|line| line.parse::<IpAddr>().ok()).map(|ip| (ip, 80).into()).collect()
    }

    /// Since when a container runs, and as which process.
    pub(crate) fn life(&self, id: &str) -> String {
        let template = "{{.State.StartedAt}} {{.State.Pid}} {{.RestartCount}} {{.State.Running}}";
        self.lab.docker(&["inspect", "--format", template, id])
    }

    /// What a container may do and use.
    pub(crate) fn limits(&self, id: &str) -> String {
        let template = "{{.HostConfig.PidsLimit}} {{json .HostConfig.Sysctls}} {{json .HostConfig.Ulimits}} \
                        {{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}}";
        self.lab.docker(&["inspect", "--format", template, id])
    }
}

impl Drop for Apache<'_> {
    fn drop(&mut self) {
        self.lab.clear();
    }
}

/// Spreads a fixed total of requests over the containers that run, as the swarm's own load balancer does where the
/// kernel has one.
#[derive(Default)]
pub(crate) struct Load {
    per_second: AtomicU32,
    ended: AtomicBool,
    targets: Mutex<Vec<SocketAddr>>,
}

impl Load {
    /// So many requests in all, from here on.
    pub(crate) fn set(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Reads who is there from the engine, every second.
    fn look(&self, apache: &Apache<'_>) {
        while !self.is_over() {
            let found = apache.addresses();
            *self.targets.lock().unwrap() = found;
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// One client: asks them in turn, and makes up for what was late.
    fn ask(&self) {
        let (began, mut due) = (Instant::now(), 0.0);
        for n in 0_usize.. {
            if self.is_over() {
                return;
            }
            let rate = f64::from(self.per_second.load(Ordering::Relaxed)) / f64::from(CLIENTS);
            let targets = self.targets.lock().unwrap().clone();
            if targets.is_empty() || rate == 0.0 {
                std::thread::sleep(Duration::from_millis(50));
                due = began.elapsed().as_secs_f64();
                continue;
            }
            // A container that has just gone answers nobody.
            let _ = get(targets[n % targets.len()]);
            due += 1.0 / rate;
            std::thread::sleep(
                Duration::try_from_secs_f64(due - began.elapsed().as_secs_f64()).unwrap_or_default(),
            );
        }
    }
}

fn get(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    std::io::copy(&mut stream.take(1 << 20), &mut std::io::sink()).map(drop)
}

/// Tells the clients to end, also when the test fails.
struct Ending<'a>(&'a Load);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// The agent beside the engine, which reports to this collector every two seconds, and the clients, while `body` runs in
/// the engine's network.
pub(crate) fn under_load(apache: &Apache<'_>, collector: &Collector, body: impl FnOnce(&Load)) {
    let (engine, to) = (format!("unix://{}", apache.lab.socket().display()), collector.sflow.to_string());
    let mut agent = Agent::start(&["--docker", &engine, "--collector", &to, "--polling", "2"]);
    agent.wait_for_engine();
    let load = Load::default();
    std::thread::scope(|scope| {
        let _ending = Ending(&load);
        scope.spawn(|| load.look(apache));
        for _ in 0..CLIENTS {
            scope.spawn(|| load.ask());
        }
        body(&load);
    });
    agent.end();
}
