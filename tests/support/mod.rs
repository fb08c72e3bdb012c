//! A collector of a test's own: the real binary, on ports that the kernel chooses, ended with the test.

pub(crate) mod acl_server;
pub(crate) mod agent;
pub(crate) mod apache;
pub(crate) mod docker_lab;
pub(crate) mod engine_proxy;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod live;
pub(crate) mod netns;
pub(crate) mod observer;
pub(crate) mod sampler;
pub(crate) mod sfcapd;
pub(crate) mod traffic;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long a test waits for something that should be there in a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test.
pub(crate) fn finderscope() -> Command {
    Command::new(env!("CARGO_BIN_EXE_finderscope"))
}

/// A program of another package, built like the one that is tested here: cargo tells tests only of their own package's
/// programs.
pub(crate) fn build(package: &str, program: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_finderscope"));
    let folder = ours.parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut target = folder.parent().unwrap().to_owned();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--locked", "--package", package, "--bin", program, "--profile", profile]);
    // Built for a named target, the profile's folder is below one of that name.
    if !target.join("CACHEDIR.TAG").exists() {
        cargo.arg("--target").arg(target.file_name().unwrap());
        target.pop();
    }
    let output = cargo.arg("--target-dir").arg(&target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(program)
}

/// A running collector; dropping it kills it.
pub(crate) struct Collector {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Where its state is, unless the test says.
    _state: Option<tempfile::TempDir>,
    _watch: live::Watch,
    /// Where it takes sFlow.
    pub(crate) sflow: SocketAddr,
    /// Where it answers.
    pub(crate) http: SocketAddr,
}

impl Collector {
    /// Starts `finderscope run` on free loopback ports, with a state directory of its own and, unless the test
    /// says otherwise, without the built-in definitions.
    pub(crate) fn start(more: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut command = finderscope();
        command.arg("run");
        if !more.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        if !more.contains(&"--sflow") {
            command.args(["--sflow", "127.0.0.1:0"]);
        }
        if !more.contains(&"--state-dir") {
            command.arg("--state-dir").arg(state.path());
        }
        if !more.iter().any(|option| option.starts_with("--defaults")) {
            command.arg("--defaults=false");
        }
        command.args(more);
        let mut collector = Self::of(command);
        collector._state = Some(state);
        collector
    }

    /// Starts a whole command line, which says where REST listens and sFlow goes.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("finderscope starts");
        let watch = live::Watch::over(&child);
        let (send, said) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let lines = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line.clone());
                // After the start nobody listens, and the pipe is emptied all the same.
                let _ = send.send(line);
            }
        });
        let mut sflow = None;
        let mut http = None;
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while sflow.is_none() || http.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = said.recv_timeout(left) else {
                let _ = child.kill();
                panic!("finderscope did not say that it listens; it said: {seen:#?}");
            };
            let port = |text: &str| line.split(text).nth(1).and_then(|p| p.trim().parse::<u16>().ok());
            if let Some(port) = port("Listening, sFlow port ") {
                sflow = Some(SocketAddr::from(([127, 0, 0, 1], port)));
            }
            if let Some(port) = port("Listening, HTTP port ") {
                http = Some(SocketAddr::from(([127, 0, 0, 1], port)));
            }
            seen.push(line);
        }
        Self { child, _watch: watch, log, _state: None, sflow: sflow.unwrap(), http: http.unwrap() }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has a line with this text; all lines with it.
    pub(crate) fn wait_for_log(&self, text: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let found: Vec<String> = log.iter().filter(|line| line.contains(text)).cloned().collect();
            if !found.is_empty() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited for {text:?} in the log: {log:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `GET path`: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, None)
    }

    /// `GET path` as JSON; panics unless the status is 200.
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("GET {path}: {e}: {body}"))
    }

    /// Any request, over a connection of its own and without a content type.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = body.unwrap_or_default();
        // A body that is too long is refused before it is read whole: the answer says so, not this.
        let _ = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, rest) =
            answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { dechunk(rest) } else { rest.to_owned() })
    }

    /// Asks `path` until `wanted` is pleased with the JSON.
    pub(crate) fn wait_for<T>(
        &self,
        path: &str,
        mut wanted: impl FnMut(&serde_json::Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, body) = self.get(path);
            let answer = serde_json::from_str(&body).unwrap_or_default();
            if status == 200
                && let Some(found) = wanted(&answer)
            {
                return found;
            }
            assert!(Instant::now() < deadline, "waited for {path}; the last answer was {status} {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal by name (`TERM`, `HUP`).
    pub(crate) fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Asks it to end (SIGTERM) and waits until it has; the exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal("TERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the collector did not end on SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dechunk(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        out.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
    out
}
