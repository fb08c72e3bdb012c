//! A stand-in for the manager of a swarm, on a socket: it speaks as much of the engine's API as is asked here, and its
//! services have as many tasks as they should after the time that a real swarm takes. No container is behind them. It
//! is for the demo and for tests, which can make it fail.

mod server;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use self::swarm::Swarm;
use crate::endpoint::Endpoint;
use crate::id::Id;

/// Most requests that are remembered.
const REMEMBERED: usize = 1000;

/// What the stand-in stands for.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its services, whose tasks all run at its start.
    pub services: Vec<Planned>,
    /// How many nodes its tasks are spread over; it answers for the containers of all of them.
    pub nodes: usize,
    /// How long things take.
    pub pace: Pace,
}

/// A service at the start of a stand-in.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// How many tasks it has.
    pub replicas: u64,
    /// Its image.
    pub image: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
}

impl Planned {
    /// Its specification: with limits and options that a careless client would lose.
    fn specification(&self) -> String {
        let text = |text: &str| json!(text).to_string();
        let labels = self.labels.iter().map(|(name, value)| format!("{}:{}", text(name), text(value)));
        format!(
            r#"{{"Name":{},"Labels":{{{}}},"TaskTemplate":{{"ContainerSpec":{{"Image":{},"Isolation":"default","Sysctls":{{"net.core.somaxconn":"1024"}},"CapabilityAdd":["CAP_NET_ADMIN"],"Ulimits":[{{"Name":"nofile","Hard":2048,"Soft":1024}}]}},"Resources":{{"Limits":{{"MemoryBytes":268435456,"Pids":100}},"Reservations":{{}}}},"Placement":{{}},"ForceUpdate":0,"Runtime":"container"}},"Mode":{{"Replicated":{{"Replicas":{}}}}},"EndpointSpec":{{"Mode":"vip"}}}}"#,
            text(&self.name),
            labels.collect::<Vec<_>>().join(","),
            text(&self.image),
            self.replicas
        )
    }
}

/// How long a swarm takes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a change to the first new task that runs.
    pub start: Duration,
    /// From one of these to the next.
    pub start_next: Duration,
    /// From a change to the end of the first container that is too many.
    pub stop: Duration,
    /// From one of these to the next.
    pub stop_next: Duration,
    /// From the end of a container that was stopped to the start of another in its slot, before `start`.
    pub restart: Duration,
}

impl Default for Pace {
    /// As measured with engine 20.10 on two processors: 1 to 2 tasks in 1.4 s, 10 to 1 in 4.0 s.
    fn default() -> Self {
        Self {
            start: Duration::from_millis(1400),
            start_next: Duration::from_millis(100),
            stop: Duration::from_millis(1000),
            stop_next: Duration::from_millis(375),
            restart: Duration::from_secs(5),
        }
    }
}

impl Pace {
    /// Everything takes this long, and what could be one after another comes at once.
    pub fn even(each: Duration) -> Self {
        Self { start: each, start_next: Duration::ZERO, stop: each, stop_next: Duration::ZERO, restart: each }
    }
}

/// A replica whose container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The service's name.
    pub service: String,
    /// Which of its replicas it is, from 1.
    pub slot: u64,
    /// Its container's name: `SERVICE.SLOT.TASK`.
    pub name: String,
    /// Its container.
    pub container: Id,
    /// Which of the nodes it is on, from 0.
    pub node: usize,
}

/// What a stand-in is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GET /version`.
    Version,
    /// `GET /services`.
    Services,
    /// `GET /services/NAME`.
    Service,
    /// `POST /services/NAME/update`.
    Update,
    /// `GET /tasks`.
    Tasks,
    /// `GET /containers/json` and `GET /containers/ID/json`.
    Containers,
    /// `POST /containers/ID/stop`.
    Stop,
}

/// What is done instead of answering well.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status and message are answered, and nothing is done.
    Refuse(u16, String),
    /// This is answered with status 200, and nothing is done.
    Say(String),
    /// It is done and answered, but only after this time.
    Delay(Duration),
    /// Nothing is done, and no answer comes.
    Hang,
    /// Nothing is done, and the connection ends.
    Drop,
    /// It is done, and the connection ends without an answer.
    DropAfter,
}

impl Fault {
    /// What an engine answers to a change of what is not so any more.
    pub fn stale() -> Self {
        Self::Refuse(500, "rpc error: code = Unknown desc = update out of sequence".to_owned())
    }

    /// What an engine answers that is no manager.
    pub fn not_a_manager() -> Self {
        let message = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. \
                       Please run this command on a manager node or promote the current node to a manager.";
        Self::Refuse(503, message.to_owned())
    }
}

/// A running stand-in, on a thread of its own. It ends with this handle.
pub struct StandIn {
    shared: Arc<Shared>,
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    swarm: Mutex<Swarm>,
    faults: Mutex<Vec<(Call, usize, Fault)>>,
    asked: Mutex<VecDeque<String>>,
}

impl Shared {
    fn swarm(&self) -> MutexGuard<'_, Swarm> {
        let mut swarm = locked(&self.swarm);
        swarm.advance(Instant::now());
        swarm
    }

    /// The fault that this call meets.
    fn fault(&self, call: Call) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let at = faults.iter().position(|(of, _, _)| *of == call)?;
        let (_, times, fault) = faults.get_mut(at)?;
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            faults.remove(at);
        }
        Some(fault)
    }

    fn remember(&self, request: String) {
        let mut asked = locked(&self.asked);
        if asked.len() == REMEMBERED {
            asked.pop_front();
        }
        asked.push_back(request);
    }
}

/// What is behind the lock; a thread that panicked has left it whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StandIn {
    /// Begins to answer at a socket that does not exist yet.
    ///
    /// # Errors
    /// The socket cannot be made, or no thread.
    pub fn start(socket: &Path, config: Config) -> io::Result<Self> {
        let swarm = Swarm::new(config, Instant::now(), OffsetDateTime::now_utc());
        let shared =
            Arc::new(Shared { swarm: Mutex::new(swarm), faults: Mutex::default(), asked: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = UnixListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let (end, ended) = oneshot::channel();
        let serving = server::serve(listener, Arc::clone(&shared));
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serving => {}
                    _ = ended => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("stand-in".to_owned()).spawn(run)?;
        Ok(Self { shared, socket: socket.to_owned(), end: Some(end), thread: Some(thread) })
    }

    /// Where it answers.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.socket.clone())
    }

    /// The replicas whose containers run now, in the order of services and slots.
    pub fn running(&self) -> Vec<Replica> {
        self.shared.swarm().running(Instant::now())
    }

    /// Makes the next calls of this kind fail so, this many times; faults of one kind come in the order in which they
    /// were given.
    pub fn fail(&self, call: Call, times: usize, fault: Fault) {
        if times > 0 {
            locked(&self.shared.faults).push((call, times, fault));
        }
    }

    /// Takes back all faults that have not been met.
    pub fn mend(&self) {
        locked(&self.shared.faults).clear();
    }

    /// The last thousand requests, each with its method and path.
    pub fn asked(&self) -> Vec<String> {
        locked(&self.shared.asked).iter().cloned().collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // It has ended already when nobody listens.
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Whoever took its folder away has taken it too.
        let _ = std::fs::remove_file(&self.socket);
    }
}
