//! The thread `actions`: what each component is given, and how they begin and end.
//!
//! All components are tasks of one runtime on one thread, which waits for Docker and for switches so that nothing else
//! has to. None may block it: questions to the engine and files that may be slow go through [`Context::ask`].

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::Handle;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::audit::Audit;
use crate::mode::Switch;
use crate::notify::{self, Notice, Notices, Severity};
pub use crate::stop::Stop;

/// How long components have to end, and how long the last notices.
const COMPONENTS_END: Duration = Duration::from_secs(8);
const NOTICES_END: Duration = Duration::from_secs(1);
/// How long [`Actions::shutdown`] takes at most.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// Threads that wait for answers of the engine and of the resolver, at most.
const WAITING_THREADS: usize = 64;

/// What a component works with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// What is seen.
    pub engine: Handle,
    /// What is done.
    pub audit: Audit,
    /// Whether it may be done.
    pub mode: Switch,
    /// Who is told.
    pub notices: Notices,
    /// From when the monotonic time of policies counts.
    pub began: Instant,
    /// Whether to end.
    pub stop: Stop,
}

impl Context {
    /// The monotonic time of policies.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Calls with the engine on a thread that may wait; `None` when the call panicked.
    pub async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Handle) -> T + Send + 'static,
    ) -> Option<T> {
        let engine = self.engine.clone();
        spawn_blocking(move || call(&engine)).await.ok()
    }

    /// Sleeps; whether it was for the whole time and there is no reason to end.
    pub async fn sleep(&self, time: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep(time) => !self.stop.is_asked(),
            () = stop.asked() => false,
        }
    }
}

/// Makes the task of a component on the thread.
type Run = Box<dyn FnOnce(Context) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What runs on the thread: made there, so that it need not be able to move.
pub struct Component {
    name: &'static str,
    run: Run,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Component {
    /// A component whose task ends when [`Context::stop`] says so: `Component::new("feeds", |context| feeds.run(context))`.
    pub fn new<F>(name: &'static str, run: impl FnOnce(Context) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { name, run: Box::new(move |context| Box::pin(run(context))) }
    }
}

/// Components that ended though nobody asked them to, with the reason.
pub type Broken = Arc<Mutex<Vec<(&'static str, String)>>>;

/// The running thread; [`Actions::shutdown`] ends it. One that is dropped instead is asked to end, and nobody waits.
#[derive(Debug)]
pub struct Actions {
    ask: watch::Sender<bool>,
    thread: JoinHandle<()>,
    ended: std::sync::mpsc::Receiver<Vec<&'static str>>,
    broken: Broken,
}

impl Actions {
    /// Starts the thread with these components, and with what tells notices.
    ///
    /// # Errors
    /// The system has no thread left, or no descriptors.
    pub fn start(
        engine: Handle,
        audit: Audit,
        mode: Switch,
        notices: Notices,
        components: Vec<Component>,
    ) -> io::Result<Self> {
        let (ask, stop) = Stop::new();
        let context = Context { engine, audit, mode, notices, began: Instant::now(), stop };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WAITING_THREADS)
            .thread_name("actions-waits")
            .build()?;
        let broken = Broken::default();
        let seen = Arc::clone(&broken);
        let (say, ended) = channel();
        let thread = std::thread::Builder::new().name("actions".to_owned()).spawn(move || {
            let late = LocalSet::new().block_on(&runtime, all(context, components, &seen));
            // Threads that still wait for somebody are left to themselves.
            runtime.shutdown_background();
            let _ = say.send(late);
        })?;
        Ok(Self { ask, thread, ended, broken })
    }

    /// Components that ended though nobody asked them to.
    pub fn broken(&self) -> Vec<(&'static str, String)> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same list, for whoever shows it.
    pub fn broken_list(&self) -> Broken {
        Arc::clone(&self.broken)
    }

    /// Asks all components to end and waits for them, [`SHUTDOWN`] at most.
    ///
    /// # Errors
    /// The names of those that did not end in time; empty when the thread itself did not.
    pub fn shutdown(self) -> Result<(), Vec<&'static str>> {
        let _ = self.ask.send(true);
        match self.ended.recv_timeout(SHUTDOWN) {
            Ok(late) => {
                let _ = self.thread.join();
                if late.is_empty() { Ok(()) } else { Err(late) }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Vec::new()),
        }
    }
}

/// Runs all components until they have ended; those that did not in time.
async fn all(context: Context, components: Vec<Component>, broken: &Broken) -> Vec<&'static str> {
    // Notices end after the components, which may have something to tell about their end.
    let (end_notices, notices_stop) = Stop::new();
    let mut tellers: Vec<_> = context
        .notices
        .couriers()
        .into_iter()
        .map(|courier| tokio::task::spawn_local(courier.run(notices_stop.clone())))
        .collect();
    let watch = notify::watch(context.engine.clone(), context.notices.clone(), context.stop.clone());
    tellers.push(tokio::task::spawn_local(watch));
    let tasks: Vec<_> = components
        .into_iter()
        .map(|component| {
            let task = tokio::task::spawn_local((component.run)(context.clone()));
            let watched = watched(component.name, task, context.clone(), Arc::clone(broken));
            (component.name, tokio::task::spawn_local(watched))
        })
        .collect();
    let mut stop = context.stop.clone();
    stop.asked().await;
    let deadline = tokio::time::Instant::now() + COMPONENTS_END;
    let mut late = Vec::new();
    for (name, task) in tasks {
        if tokio::time::timeout_at(deadline, task).await.is_err() {
            tracing::error!("{name} did not end within {} s", COMPONENTS_END.as_secs());
            late.push(name);
        }
    }
    let _ = end_notices.send(true);
    let told = async {
        for teller in tellers {
            let _ = teller.await;
        }
    };
    let _ = timeout(NOTICES_END, told).await;
    late
}

/// Waits for a component, and tells of one that ended without being asked.
async fn watched(name: &'static str, task: tokio::task::JoinHandle<()>, context: Context, broken: Broken) {
    let ended = task.await;
    let why = match ended {
        Ok(()) if context.stop.is_asked() => return,
        Ok(()) => "it ended".to_owned(),
        Err(error) => error.to_string(),
    };
    broken.lock().unwrap_or_else(PoisonError::into_inner).push((name, why.clone()));
    context.notices.tell(Notice {
        kind: "actions",
        name: name.to_owned(),
        what: "broken",
        text: format!("{name} does nothing any more: {why}; restart the collector, and report what it wrote"),
        severity: Severity::Error,
        ..Notice::default()
    });
}
