//! A second implementation of the ACL interface, which answers like the wrapper of Cumulus Linux 3: every `PUT` with 202
//! before anything is written, and what a commit failed with in a `Warning` header and at `lasterror`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::http::{Answer, Request, Server};

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<String>>,
    /// What commits fail with.
    fails: Option<String>,
    /// What the last one failed with.
    failed: Option<String>,
    commits: usize,
    slow: Duration,
}

/// The wrapper; dropping it ends it.
pub(crate) struct Wrapper {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

impl Wrapper {
    /// Each commit takes `slow`, and nothing is written before it begins.
    pub(crate) fn start(slow: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { slow, ..State::default() }));
        let shared = Arc::clone(&state);
        Self { server: Server::start(move |request| answer(&shared, request)), state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/acl", self.server.address)
    }

    /// What commits fail with from now on.
    pub(crate) fn fail(&self, with: Option<&str>) {
        self.state.lock().unwrap().fails = with.map(str::to_owned);
    }

    /// Names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().files.keys().cloned().collect()
    }

    pub(crate) fn lines(&self, name: &str) -> Option<Vec<String>> {
        self.state.lock().unwrap().files.get(name).cloned()
    }

    /// Someone else writes a file.
    pub(crate) fn write(&self, name: &str, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.state.lock().unwrap().files.insert(name.to_owned(), lines);
    }

    /// Requests that change something.
    pub(crate) fn writes(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.method != "GET").collect()
    }
}

fn answer(state: &Arc<Mutex<State>>, request: &Request) -> Answer {
    let (status, body) = content(state, request);
    let failed = state.lock().unwrap().failed.is_some();
    let warning = if failed { "Warning: 199 - \"check lasterror\"\r\n" } else { "" };
    (status, warning.to_owned(), body)
}

fn content(state: &Arc<Mutex<State>>, request: &Request) -> (u16, String) {
    let Some(name) = request.path.strip_prefix("/acl") else { return (404, String::new()) };
    let name = name.trim_start_matches('/').to_owned();
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return (404, String::new());
    }
    let mut held = state.lock().unwrap();
    match (request.method.as_str(), name.as_str()) {
        ("GET", "") => (200, json!(held.files.keys().collect::<Vec<_>>()).to_string()),
        ("GET", "lasterror") => match &held.failed {
            None => (204, String::new()),
            Some(why) => (200, json!({ "lines": [why], "returncode": 1 }).to_string()),
        },
        ("GET", _) => match held.files.get(&name) {
            Some(lines) => (200, json!(lines).to_string()),
            None => (404, String::new()),
        },
        ("PUT", "lasterror") => (403, String::new()),
        ("PUT", _) if request.content_type != "application/json" => (406, String::new()),
        ("PUT", _) => match serde_json::from_str::<Vec<String>>(&request.body) {
            Ok(lines) => {
                let slow = held.slow;
                drop(held);
                commit(Arc::clone(state), slow, move |files| drop(files.insert(name, lines)));
                (202, String::new())
            }
            Err(_) => (400, String::new()),
        },
        ("DELETE", _) => {
            held.files.remove(&name);
            let slow = held.slow;
            drop(held);
            commit(Arc::clone(state), slow, |_| {});
            (204, String::new())
        }
        _ => (405, String::new()),
    }
}

type Files = BTreeMap<String, Vec<String>>;

fn commit(state: Arc<Mutex<State>>, slow: Duration, change: impl FnOnce(&mut Files) + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(slow / 2);
        change(&mut state.lock().unwrap().files);
        std::thread::sleep(slow / 2);
        let mut state = state.lock().unwrap();
        state.commits += 1;
        state.failed = state.fails.clone();
    });
}
