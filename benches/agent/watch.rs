//! What truly happens to containers: when the engine says that one was started, when the kernel says that its process
//! has ended, and what the cgroup around it has used in the end.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use docker::{Action, Endpoint, Engine, Id, Limits};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setpriority_process};

use crate::account::{accounting, used};
use crate::support::docker_lab::{Lab, cgroups};

/// How long the process of a container is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// A run of a container. Times are by the host's clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// The container's name, which is also that of the cgroup around it.
    pub(crate) name: String,
    /// The time in the event `start`.
    pub(crate) start_ns: u64,
    /// When its process had ended; `None` while it runs, and when it had ended before it could be watched.
    pub(crate) end_ns: Option<u64>,
}

/// Watches the containers of a lab until the process ends.
pub(crate) struct Watch {
    lives: Arc<Mutex<HashMap<Id, Life>>>,
}

impl Watch {
    /// Begins; when it is back no start is missed.
    pub(crate) fn start(lab: &Lab) -> Self {
        let lives = Arc::<Mutex<HashMap<Id, Life>>>::default();
        let theirs = Arc::clone(&lives);
        let socket = lab.socket();
        let cgroup = cgroups().join(lab.cgroup());
        let (ready, begun) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // The clock is looked at when a process ends, not when the machine has a moment for it.
            setpriority_process(None, -20).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut engine = Engine::new(Endpoint::Unix(socket), Limits::default());
                engine.version().await.unwrap();
                let mut events = engine.events(None).await.unwrap();
                ready.send(()).unwrap();
                // Until the engine ends, which is when the bench does.
                while let Ok(Some(event)) = events.next().await {
                    if event.action == Action::Start {
                        let start_ns = event.time.as_nanos();
                        let life = Life { name: event.name.clone(), start_ns, end_ns: None };
                        theirs.lock().unwrap().insert(event.id, life);
                        let folder = cgroup.join(&event.name).join(event.id.to_string());
                        let (id, lives) = (event.id, Arc::clone(&theirs));
                        // With this thread's priority.
                        std::thread::spawn(move || watch(&folder, id, &lives));
                    }
                }
            });
        });
        begun.recv().unwrap();
        Self { lives }
    }

    /// The runs so far of containers whose name begins so.
    pub(crate) fn lives(&self, prefix: &str) -> Vec<(Id, Life)> {
        let lives = self.lives.lock().unwrap();
        let mine = lives.iter().filter(|(_, life)| life.name.starts_with(prefix));
        mine.map(|(id, life)| (*id, life.clone())).collect()
    }
}

/// Notes when the first process in the cgroup has ended.
fn watch(folder: &Path, id: Id, lives: &Mutex<HashMap<Id, Life>>) {
    let until = Instant::now() + LOOK;
    let pidfd = loop {
        match first_process(folder) {
            Some(pidfd) => break pidfd,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            None => return,
        }
    };
    while poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).is_err() {}
    let end_ns = now_ns();
    if let Some(life) = lives.lock().unwrap().get_mut(&id) {
        life.end_ns = Some(end_ns);
    }
}

/// The process that is number 1 in its namespace.
fn first_process(folder: &Path) -> Option<OwnedFd> {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    processes.lines().find_map(|pid| {
        let pidfd = pidfd_open(Pid::from_raw(pid.parse().ok()?)?, PidfdFlags::empty()).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        (numbers.split_whitespace().last() == Some("1")).then_some(pidfd)
    })
}

/// What the cgroup around a container has used, with all that was in it; milliseconds.
pub(crate) fn used_around_ms(lab: &Lab, name: &str) -> u64 {
    let used = used(&accounting().join(lab.cgroup()).join(name));
    u64::try_from(used.as_millis()).unwrap()
}

/// The host's clock, which is the engine's.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}
