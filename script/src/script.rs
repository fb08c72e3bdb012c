//! What one script has: its name, the handlers it has set, what it waits for, and what was counted of it.
//!
//! All of it lives on the script's own thread; only the counters and what it wants to be told are seen by others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rquickjs::{Ctx, Function, Persistent};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::config::{Actions, DockerVersion};
use crate::functions::Baselines;
use crate::guard::{Capture, Docker, Guards};
use crate::http::{self, Http};
use crate::lines::{Level, Lines, cut};
use crate::mailbox::Wanted;
use crate::status::Counters;
use crate::world::World;

/// Timers of a script at most.
pub(crate) const MOST_TIMERS: usize = 10_000;

/// How long a script that is to end goes on waiting for others: what is under way may still come to something, and its
/// thread is waited for longer than that.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A function of the script, kept over calls.
pub(crate) type Kept = Persistent<Function<'static>>;

/// Files, and when they were written.
pub(crate) type Files = Arc<Mutex<BTreeMap<PathBuf, Option<SystemTime>>>>;

/// What is done on the script's thread when something that it did not wait for has come to an end.
pub(crate) type Then = Box<dyn for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<()>>;

/// One script.
pub(crate) struct Script {
    /// What all scripts share.
    pub(crate) world: Arc<World>,
    /// Its name: its file's, and before that and a `~` that of its application.
    pub(crate) name: Arc<str>,
    /// The application that it belongs to.
    pub(crate) app: Option<Arc<str>>,
    /// Its file.
    pub(crate) file: PathBuf,
    pub(crate) handlers: RefCell<Handlers>,
    pub(crate) baselines: RefCell<Baselines>,
    pub(crate) counters: Arc<Counters>,
    /// What the events thread passes on to it.
    pub(crate) wanted: Arc<Wanted>,
    /// Files that it was made of, and when they were written: those that it includes are added.
    pub(crate) files: Files,
    pub(crate) http: Http,
    lines: RefCell<Lines>,
    end: watch::Receiver<bool>,
    /// `None` when the script is dropped.
    runtime: Option<Runtime>,
    /// `None` when the script has ended.
    tasks: RefCell<Option<Rc<LocalSet>>>,
    ended: UnboundedSender<Then>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The functions that a script has set, each called with one thing at a time.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) flow: Option<Kept>,
    pub(crate) event: Option<Kept>,
    pub(crate) interval: Option<Interval>,
    pub(crate) request: Option<Kept>,
    timers: BTreeMap<(Instant, u64), Then>,
    next_timer: u64,
    /// Tasks of which nothing was heard yet.
    pub(crate) running: usize,
}

/// The interval handler.
pub(crate) struct Interval {
    pub(crate) handler: Kept,
    pub(crate) every: Duration,
    pub(crate) next: Instant,
}

impl Handlers {
    /// Calls at this time; the timer's number.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn set_timer(&mut self, at: Instant, call: Then) -> Result<u64, String> {
        if self.timers.len() >= MOST_TIMERS {
            return Err(format!("{MOST_TIMERS} timers are set already"));
        }
        self.next_timer += 1;
        self.timers.insert((at, self.next_timer), call);
        Ok(self.next_timer)
    }

    /// Does not call after all.
    pub(crate) fn clear_timer(&mut self, number: u64) {
        self.timers.retain(|(_, known), _| *known != number);
    }

    /// When something is to be done though nothing comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        timer.into_iter().chain(self.interval.as_ref().map(|interval| interval.next)).min()
    }

    /// Takes the timer that is due and has waited longest.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Then> {
        let ((at, _), _) = self.timers.first_key_value()?;
        if *at > now {
            return None;
        }
        self.timers.pop_first().map(|(_, call)| call)
    }

    /// Whether anything can ever call this script again.
    pub(crate) fn is_over(&self) -> bool {
        self.flow.is_none()
            && self.event.is_none()
            && self.interval.is_none()
            && self.request.is_none()
            && self.timers.is_empty()
            && self.running == 0
    }
}

/// What a script is made of.
pub(crate) struct Parts {
    pub(crate) world: Arc<World>,
    pub(crate) name: Arc<str>,
    pub(crate) app: Option<Arc<str>>,
    pub(crate) file: PathBuf,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) files: Files,
    /// Whether the script is to end.
    pub(crate) end: watch::Receiver<bool>,
}

impl Script {
    /// A script on this thread, and what it is told of tasks that have ended.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub(crate) fn new(parts: Parts) -> std::io::Result<(Rc<Self>, UnboundedReceiver<Then>)> {
        let Parts { world, name, app, file, counters, wanted, files, end } = parts;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, ends) = unbounded_channel();
        let http = client(&world, &name, &counters);
        let script = Self {
            world,
            name,
            app,
            file,
            handlers: RefCell::default(),
            baselines: RefCell::default(),
            counters,
            wanted,
            files,
            http,
            lines: RefCell::new(Lines::new(Instant::now())),
            end,
            runtime: Some(runtime),
            tasks: RefCell::new(Some(Rc::default())),
            ended,
        };
        Ok((Rc::new(script), ends))
    }

    /// Its folder, an absolute path without links.
    pub(crate) fn folder(&self) -> PathBuf {
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        parent.canonicalize().unwrap_or_else(|_| parent.to_owned())
    }

    /// Waits on the script's thread. Tasks of [`Script::spawn`] go on meanwhile.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().expect("it is taken when the script is dropped");
        let tasks = self.tasks.borrow().clone();
        match tasks {
            Some(tasks) => tasks.block_on(runtime, future),
            None => runtime.block_on(future),
        }
    }

    /// The same for what others may take long for; `None` when the script is to end before that.
    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut end = self.end.clone();
        let gives_up = async move {
            // Whoever could say so has gone, or has said so.
            let _ = end.wait_for(|end| *end).await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        self.wait(async {
            tokio::select! {
                came = future => Some(came),
                () = gives_up => None,
            }
        })
    }

    /// Until when what began now may go on, where it may take this long: less when the script is to end.
    pub(crate) fn until(&self, limit: Duration) -> Until {
        Until::new(limit, self.end.clone())
    }

    /// Goes on with the script while this runs; what it comes to is given to `then` when the script has nothing else to
    /// do. Whoever calls this bounds how many there are.
    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        then: impl for<'js> FnOnce(&Ctx<'js>, T) -> rquickjs::Result<()> + 'static,
    ) {
        let Some(tasks) = self.tasks.borrow().clone() else { return };
        self.handlers.borrow_mut().running += 1;
        let ended = self.ended.clone();
        tasks.spawn_local(async move {
            let came = future.await;
            // Nobody is told when the script has ended.
            let _ = ended.send(Box::new(move |ctx: &Ctx<'_>| then(ctx, came)));
        });
    }

    /// Writes a line into the collector's log.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let passes = self.lines.borrow_mut().take(Instant::now());
        let name = &self.name;
        if passes.left_out > 0 {
            tracing::info!(
                "{name}: {} lines were left out: a script writes 100 in a second",
                passes.left_out
            );
        }
        if !passes.is_written {
            return;
        }
        let text = cut(text);
        // They are limited here, each script by itself, so that none silences another one: the log limits no line of
        // this target.
        match level {
            Level::Info => tracing::info!(target: "script", "{text}"),
            Level::Warning => tracing::warn!(target: "script", "{text}"),
            Level::Severe => tracing::error!(target: "script", "{text}"),
        }
    }

    /// Lets go of everything that holds values of the script: none may be there when its runtime ends.
    pub(crate) fn close(&self) {
        self.tasks.borrow_mut().take();
        let handlers = self.handlers.take();
        drop(handlers);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // A name that is still looked up, on a thread of the runtime's, is waited for by nobody.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A deadline that comes sooner when the script is to end.
pub(crate) struct Until {
    deadline: Cell<Instant>,
    ends: Cell<bool>,
    end: watch::Receiver<bool>,
}

impl Until {
    pub(crate) fn new(limit: Duration, end: watch::Receiver<bool>) -> Self {
        Self { deadline: Cell::new(Instant::now() + limit), ends: Cell::new(false), end }
    }

    /// Whether it has come.
    pub(crate) fn is_over(&self) -> bool {
        let now = Instant::now();
        if !self.ends.get() && *self.end.borrow() {
            self.ends.set(true);
            self.deadline.set(self.deadline.get().min(now + LAST_WAIT));
        }
        now >= self.deadline.get()
    }

    /// Whether the script is to end.
    pub(crate) fn ends(&self) -> bool {
        self.ends.get()
    }
}

/// What a script asks others through.
fn client(world: &World, name: &str, counters: &Arc<Counters>) -> Http {
    let docker = match world.config.docker_version {
        DockerVersion::Engine => {
            let (audit, mode) = (world.actions.audit().clone(), world.actions.switch().clone());
            Some(Docker::new(name, audit, mode))
        }
        DockerVersion::AsWritten => None,
    };
    let Actions { guarded, ttl_s, max_s } = world.config.actions;
    let limits = actions::capture::scripts::session::Limits { ttl_s, max_s };
    let capture = guarded.then(|| Capture::new(name, world.actions.captures.clone(), limits));
    let guards = Guards { docker, capture };
    Http::new(&world.config.allow, http::Limits::default(), guards, Arc::clone(counters))
}
