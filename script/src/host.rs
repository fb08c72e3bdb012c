//! All scripts: which there are, their threads, and who asks them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use actions::control::Control;
use actions::row::Row;
use engine::{Handle, News};
use serde_json::{Map, Value as Json, json};

use crate::app::{self, App};
use crate::config::Config;
use crate::mailbox::{Mailbox, mailbox};
use crate::meant::{All, Meant};
use crate::request::{Reply, Request, RequestError};
use crate::script::{Files, Parts};
use crate::status::Counters;
use crate::thread;
use crate::world::{Own, Shared, World};

/// Stack of a script's thread, bytes: that of its values and ours.
const STACK: usize = 4 << 20;

/// How long scripts have to end.
const END: Duration = Duration::from_secs(3);

/// How often files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a request waits beyond what a call of a script may take.
const BEYOND: Duration = Duration::from_secs(5);

/// All scripts; cheap to clone. Nothing runs before [`Scripts::run`].
#[derive(Clone, Debug)]
pub struct Scripts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Handle,
    actions: Control,
    shared: Arc<Shared>,
    own: Arc<OnceLock<Own>>,
    config: Mutex<Arc<Config>>,
    running: Mutex<BTreeMap<String, Running>>,
    /// Where news go; a copy of what runs, so that the events thread waits for nobody.
    mailboxes: Arc<RwLock<Vec<Mailbox>>>,
    apps: Mutex<Vec<App>>,
    /// Had by whoever starts and ends scripts, who waits for threads.
    turn: Mutex<()>,
    watcher: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// A script that was started.
#[derive(Debug)]
struct Running {
    file: PathBuf,
    app: Option<String>,
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
    /// Files that it was made of, and when they were written.
    files: Files,
    config: Arc<Config>,
}

/// What was counted of scripts that were ended, by name.
type Former = BTreeMap<String, Option<Arc<Counters>>>;

impl Scripts {
    /// The scripts of a configuration; none of them runs yet.
    pub fn new(config: Config, engine: Handle, actions: Control, version: &str) -> Self {
        let mailboxes = Arc::<RwLock<Vec<Mailbox>>>::default();
        let told = Arc::clone(&mailboxes);
        engine.on_news(Box::new(move |news| take(&told, news)));
        let shared = Arc::new(Shared::new(version));
        let inner = Inner {
            engine,
            actions,
            shared,
            own: Arc::default(),
            config: Mutex::new(Arc::new(config)),
            running: Mutex::default(),
            mailboxes,
            apps: Mutex::default(),
            turn: Mutex::default(),
            watcher: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts all of them, each on a thread of its own. One that cannot start stops no other one.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn run(&self, own: Own) -> std::io::Result<()> {
        // A second call changes nothing.
        let _ = self.inner.own.set(own);
        self.inner.adopt();
        let (end, ended) = channel();
        let inner = Arc::clone(&self.inner);
        let thread = std::thread::Builder::new().name("scripts".to_owned()).spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                inner.look();
            }
        })?;
        *lock(&self.inner.watcher) = Some((end, thread));
        Ok(())
    }

    /// Puts records and events before the scripts that want them, as the events thread does with all that come.
    pub fn take(&self, news: &News<'_>) {
        take(&self.inner.mailboxes, news);
    }

    /// Takes another configuration: scripts that are new start, those that are gone end, and those whose file or
    /// settings have changed start anew.
    pub fn reload(&self, config: Config) {
        *lock(&self.inner.config) = Arc::new(config);
        if self.inner.own.get().is_some() {
            self.inner.adopt();
        }
    }

    /// Ends all of them.
    pub fn shutdown(&self) {
        if let Some((end, thread)) = lock(&self.inner.watcher).take() {
            drop(end);
            let _ = thread.join();
        }
        let _turn = lock(&self.inner.turn);
        self.inner.take_out(|_, _| true);
        self.inner.tell();
    }

    /// How they stand, as `/scripts/json` has it.
    pub fn json(&self) -> Json {
        let running = lock(&self.inner.running);
        running.iter().map(|(name, script)| (name.clone(), script.json())).collect::<Map<_, _>>().into()
    }

    /// Applications, as `/apps/json` has them.
    pub fn apps_json(&self) -> Json {
        let one = |app: &App| {
            let name = |file: &PathBuf| file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            let scripts: Vec<_> = app.scripts.iter().filter_map(name).collect();
            let entry = app.has_pages().then_some("/html/");
            (app.name.clone(), json!({ "entry": entry, "scripts": scripts }))
        };
        lock(&self.inner.apps).iter().map(one).collect::<Map<_, _>>().into()
    }

    /// Whether all scripts of an application run; `None` when there is no such application.
    pub fn app_is_ok(&self, name: &str) -> Option<bool> {
        lock(&self.inner.apps).iter().find(|app| app.name == name)?;
        let running = lock(&self.inner.running);
        let mut scripts = running.values().filter(|script| script.app.as_deref() == Some(name));
        Some(scripts.all(|script| script.mailbox.counters.is_ok()))
    }

    /// A file of an application's pages; `None` when there is none.
    pub fn app_file(&self, name: &str, path: &str) -> Option<PathBuf> {
        let html = lock(&self.inner.apps).iter().find(|app| app.name == name)?.folder.join("html");
        app::beneath(&html, path).filter(|file| file.is_file())
    }

    /// Has a script answer.
    ///
    /// # Errors
    /// There is none of this name, or it does not answer.
    pub async fn request(&self, script: &str, request: Request) -> Result<Reply, RequestError> {
        let (answer, limit) = {
            let running = lock(&self.inner.running);
            let script = running.get(script).ok_or(RequestError::NoScript)?;
            if !script.mailbox.counters.is_alive() {
                return Err(RequestError::Ended);
            }
            (script.mailbox.ask(request)?, script.config.limits.call + BEYOND)
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RequestError::Ended),
            Err(_) => Err(RequestError::Late),
        }
    }

    /// Counters of all scripts.
    pub fn metrics(&self) -> Vec<Row> {
        type Of = fn(&Counters) -> u64;
        let families: [(&'static str, &'static str, Of); 9] = [
            ("finderscope_script_alive", "1 where the script's thread runs", |c| u64::from(c.is_alive())),
            ("finderscope_script_flows_total", "Flow records that came for the script", |c| {
                c.flows.received()
            }),
            ("finderscope_script_flows_lost_total", "Flow records that found its queue full", |c| {
                c.flows.lost()
            }),
            ("finderscope_script_events_total", "Events that came for the script", |c| c.events.received()),
            ("finderscope_script_events_lost_total", "Events that found its queue full", |c| c.events.lost()),
            ("finderscope_script_requests_total", "Requests that came for the script", |c| {
                c.requests.received()
            }),
            ("finderscope_script_requests_lost_total", "Requests that found its queue full", |c| {
                c.requests.lost()
            }),
            ("finderscope_script_exceptions_total", "Exceptions that the script did not catch", |c| {
                c.exceptions.load(Relaxed)
            }),
            ("finderscope_script_cpu_milliseconds_total", "Processor time of the script", |c| {
                c.cpu_ms.load(Relaxed)
            }),
        ];
        let running = lock(&self.inner.running);
        let row = |(name, help, of): (&'static str, &'static str, Of)| {
            running
                .iter()
                .map(move |(script, is)| {
                    Row::new(name, help, of(&is.mailbox.counters) as f64).with("script", script.clone())
                })
                .collect::<Vec<_>>()
        };
        let mut rows: Vec<Row> = families.into_iter().flat_map(row).collect();
        for (script, is) in &*running {
            for (outcome, count) in is.mailbox.counters.http.get() {
                let help = "Calls of the script over HTTP by what they came to";
                let row = Row::new("finderscope_script_http_total", help, count as f64);
                rows.push(row.with("script", script.clone()).with("outcome", outcome));
            }
        }
        rows
    }
}

impl Running {
    fn json(&self) -> Json {
        let mut object = self.mailbox.counters.json();
        object["file"] = self.file.display().to_string().into();
        object
    }
}

impl Inner {
    /// Makes what runs what the configuration means.
    fn adopt(&self) {
        let _turn = lock(&self.turn);
        let config = Arc::clone(&lock(&self.config));
        let meant = self.meant(&config);
        let changed = self.changed();
        let stays = |name: &str, script: &Running| {
            let is_meant = meant.get(name).is_some_and(|meant| meant.file == script.file);
            is_meant && *script.config == *config && !changed.contains(name)
        };
        let former = self.take_out(|name, script| !stays(name, script));
        for name in former.keys().filter(|name| !meant.contains_key(*name)) {
            self.shared.definitions.forget(&self.engine, name);
        }
        for (name, meant) in &meant {
            if !lock(&self.running).contains_key(name) {
                self.start(name, meant.clone(), &config, counted(&former, name));
            }
        }
        self.tell();
        let may_capture = meant.into_keys().filter(|_| config.actions.guarded).collect();
        if self.actions.captures.scripts(may_capture).is_err() {
            tracing::warn!("captures of scripts that are gone end with their time to live");
        }
    }

    /// Starts those anew whose files have changed, where the operator wants that.
    fn look(&self) {
        let config = Arc::clone(&lock(&self.config));
        if !config.reload {
            return;
        }
        let _turn = lock(&self.turn);
        let changed = self.changed();
        if changed.is_empty() {
            return;
        }
        let mut meant = BTreeMap::new();
        let former = self.take_out(|name, script| {
            let goes = changed.contains(name);
            if goes {
                meant.insert(name.to_owned(), Meant { file: script.file.clone(), app: script.app.clone() });
            }
            goes
        });
        for (name, meant) in meant {
            tracing::info!("{name} has changed and starts anew");
            self.start(&name, meant, &config, counted(&former, &name));
        }
        self.tell();
    }

    /// Scripts of which a file, theirs or one that they include, is another one than they were made of. Nobody who asks a script
    /// waits while a disk does.
    fn changed(&self) -> BTreeSet<String> {
        let all: Vec<(String, Files)> =
            lock(&self.running).iter().map(|(name, is)| (name.clone(), Arc::clone(&is.files))).collect();
        let has_changed = |files: &Files| {
            let files = lock(files).clone();
            files.iter().any(|(file, was)| written(file) != *was)
        };
        all.into_iter().filter(|(_, files)| has_changed(files)).map(|(name, _)| name).collect()
    }

    /// Ends these; what was counted of them, `None` of those that did not end in time. Nobody who asks other scripts
    /// waits for that.
    fn take_out(&self, mut is_meant: impl FnMut(&str, &Running) -> bool) -> Former {
        let ending: BTreeMap<String, Running> = {
            let mut running = lock(&self.running);
            let (goes, stays) =
                std::mem::take(&mut *running).into_iter().partition(|(name, script)| is_meant(name, script));
            *running = stays;
            goes
        };
        end(ending, END)
    }

    /// The scripts that a configuration means, by name.
    fn meant(&self, config: &Config) -> BTreeMap<String, Meant> {
        let All { scripts, apps, problems } = All::of(config);
        problems.iter().for_each(|problem| tracing::error!("{problem}"));
        *lock(&self.apps) = apps;
        scripts
    }

    fn start(&self, name: &str, meant: Meant, config: &Arc<Config>, counters: Arc<Counters>) {
        let (mailbox, inbox) = mailbox(config.limits.queue, Arc::clone(&counters));
        // From now on it runs, so that whoever asks now is answered when it has begun.
        counters.begin();
        let world = World {
            engine: self.engine.clone(),
            actions: self.actions.clone(),
            own: Arc::clone(&self.own),
            shared: Arc::clone(&self.shared),
            config: Arc::clone(config),
        };
        // What it defines in its first lines may come to something before the others are started.
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner).push(mailbox.clone());
        let files = Arc::new(Mutex::new(BTreeMap::from([(meant.file.clone(), written(&meant.file))])));
        let parts = Parts {
            world: Arc::new(world),
            name: name.into(),
            app: meant.app.as_deref().map(Into::into),
            file: meant.file.clone(),
            counters: Arc::clone(&counters),
            wanted: Arc::clone(&mailbox.wanted),
            files: Arc::clone(&files),
            end: inbox.end(),
        };
        let spawned = std::thread::Builder::new()
            .name(format!("script-{name}"))
            .stack_size(STACK)
            .spawn(move || thread::run(parts, inbox));
        let thread = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                counters.end(Err(format!("no thread for it: {error}")));
                None
            }
        };
        let config = Arc::clone(config);
        let running = Running { file: meant.file, app: meant.app, mailbox, thread, files, config };
        lock(&self.running).insert(name.to_owned(), running);
    }

    /// From here on news go to those that run.
    fn tell(&self) {
        let mailboxes = lock(&self.running).values().map(|script| script.mailbox.clone()).collect();
        *self.mailboxes.write().unwrap_or_else(PoisonError::into_inner) = mailboxes;
    }
}

/// What was counted of it before it starts anew.
fn counted(former: &Former, name: &str) -> Arc<Counters> {
    former.get(name).cloned().flatten().unwrap_or_default()
}

/// Puts news into these.
fn take(mailboxes: &RwLock<Vec<Mailbox>>, news: &News<'_>) {
    for mailbox in &*mailboxes.read().unwrap_or_else(PoisonError::into_inner) {
        mailbox.take(news.records, news.events);
    }
}

/// Ends scripts, and waits for their threads. One that still waits for somebody else is left to itself: what it counts
/// from here on, its end too, is not that of the script that takes its place.
fn end(scripts: BTreeMap<String, Running>, limit: Duration) -> Former {
    let deadline = Instant::now() + limit;
    for script in scripts.values() {
        script.mailbox.end();
    }
    let one = |(name, script): (String, Running)| {
        let has_ended = script.thread.is_none_or(|thread| {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            thread.is_finished() && thread.join().is_ok()
        });
        if !has_ended {
            tracing::warn!("{} did not end within {} s", script.file.display(), limit.as_secs());
        }
        (name, has_ended.then_some(script.mailbox.counters))
    };
    scripts.into_iter().map(one).collect()
}

/// When a file was written; `None` where there is none.
fn written(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|file| file.modified()).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_end_counts_for_itself() {
        let (go, goes) = channel::<()>();
        let running = |thread: JoinHandle<()>| {
            let counters = Arc::<Counters>::default();
            Running {
                file: PathBuf::new(),
                app: None,
                mailbox: mailbox(1, counters).0,
                thread: Some(thread),
                files: Files::default(),
                config: Arc::default(),
            }
        };
        let scripts = BTreeMap::from([
            ("ended".to_owned(), running(std::thread::spawn(|| {}))),
            (
                "hangs".to_owned(),
                running(std::thread::spawn(move || {
                    let _ = goes.recv();
                })),
            ),
        ]);
        let ended = Arc::clone(&scripts["ended"].mailbox.counters);
        let hangs = Arc::clone(&scripts["hangs"].mailbox.counters);
        let former = end(scripts, Duration::from_secs(1));
        assert_eq!(former.keys().collect::<Vec<_>>(), ["ended", "hangs"]);
        assert!(Arc::ptr_eq(&counted(&former, "ended"), &ended));
        assert!(!Arc::ptr_eq(&counted(&former, "hangs"), &hangs));
        drop(go);
    }
}
