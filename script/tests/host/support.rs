//! A host for tests, with an engine on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actions::control::{Control, Start};
use actions::feeds::Feeds;
use actions::thread::Actions;
use engine::{Engine, EngineOptions};
use script::{Config, Own, Reply, Request, RequestError, Scripts};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Scripts, and all that they need.
pub(crate) struct Host {
    pub(crate) scripts: Scripts,
    pub(crate) engine: Option<Engine>,
    pub(crate) folder: TempDir,
    actions: Option<Actions>,
    runtime: tokio::runtime::Runtime,
}

impl Host {
    /// A host of these scripts, names and texts.
    pub(crate) fn start(scripts: &[(&str, &str)]) -> Self {
        Self::with(scripts, |_| {})
    }

    /// The same with another configuration.
    pub(crate) fn with(scripts: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let host = Self::inert(scripts, change);
        host.run();
        host
    }

    /// The same, of which nothing runs yet.
    pub(crate) fn inert(scripts: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { scripts: write(&folder, scripts), ..Config::default() };
        change(&mut config);
        let engine = Engine::start(&EngineOptions {
            sflow: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            ..EngineOptions::default()
        })
        .unwrap();
        let (actions, control) = start_actions(&engine, &folder);
        let scripts = Scripts::new(config, engine.handle(), control, "1.2.3");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { scripts, engine: Some(engine), folder, actions: Some(actions), runtime }
    }

    pub(crate) fn run(&self) {
        let own = Own {
            address: SocketAddr::from(([127, 0, 0, 1], 9)),
            analyzer: Box::new(|| json!({ "version": "1.2.3", "uptime": 5 })),
        };
        self.scripts.run(own).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a script answers.
    pub(crate) fn ask(&self, script: &str, request: Request) -> Result<Reply, RequestError> {
        self.runtime.block_on(self.scripts.request(script, request))
    }

    /// What it answers to `GET /script/NAME/json`, when it has set its handler.
    pub(crate) fn get(&self, script: &str) -> Json {
        until(&format!("{script} answers"), || {
            self.ask(script, get()) != Err(RequestError::NoHandler) || !self.is_alive(script)
        });
        let reply =
            self.ask(script, get()).unwrap_or_else(|error| panic!("{error}: {}", self.status(script)));
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| String::from_utf8_lossy(&reply.body).into())
    }

    /// How it stands.
    pub(crate) fn status(&self, script: &str) -> Json {
        self.scripts.json()[script].clone()
    }

    pub(crate) fn is_alive(&self, script: &str) -> bool {
        self.status(script)["alive"] == true
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.scripts.shutdown();
        if let Some(actions) = self.actions.take() {
            let _ = actions.shutdown();
        }
        if let Some(engine) = self.engine.take() {
            engine.shutdown();
        }
    }
}

/// `GET .../json`.
pub(crate) fn get() -> Request {
    Request { method: "GET".into(), format: "json".into(), ..Request::default() }
}

fn start_actions(engine: &Engine, folder: &TempDir) -> (Actions, Control) {
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let start = Start {
        engine: engine.handle(),
        state: Some(&state),
        changed: Json::Null,
        keep: Arc::new(|_| true),
        feeds: Feeds::new(&Default::default(), &[], Some(&state)),
        owner: "test".to_owned(),
    };
    actions::control::start(actions::config::Config::default(), start).unwrap()
}

fn write(folder: &TempDir, scripts: &[(&str, &str)]) -> Vec<PathBuf> {
    scripts
        .iter()
        .map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect()
}

/// Waits for this.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}
