//! A `finderscope-acl` of the test's own, in a temporary folder, with a script for the switch's command.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The article's rule.
pub(crate) const RULE: &str =
    "-A FORWARD --in-interface swp+ -s 20.0.0.2 -d 20.0.1.2 -j ERSPAN --src-ip 90.0.0.1 --dst-ip 20.0.2.2";

/// Longest that is waited for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// The switch's command: notes when it begins and ends and how many files it sees, and does what the file `mode` says.
/// `overlap` is noted when two run at once.
const SCRIPT: &str = r#"
cd "$(dirname "$0")"
mkdir running 2>/dev/null || echo overlap >> commits
files=$(ls policy.d | grep -c '^50rest-.*[.]rules$')
echo "begin $files" >> commits
case "$(cat mode)" in
    work) ;;
    slow) sleep 0.3 ;;
    fail) echo "Reading rule file ..."; echo "error: no TCAM" >&2; rmdir running; exit 3 ;;
    chatter) yes 'a line of nothing' | head -c 1000000; echo; echo the end; rmdir running; exit 1 ;;
    hang) sleep 1000 & echo $! > sleeper; wait ;;
    orphan) sleep 1000 & echo $! > sleeper; rmdir running; exit 1 ;;
esac
rmdir running
echo "end $files" >> commits
"#;

/// A folder with `policy.d`, the script and its notes; it outlives servers.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policy.d")).unwrap();
        fs::write(folder.path().join("commit.sh"), SCRIPT).unwrap();
        fs::write(folder.path().join("commits"), "").unwrap();
        let place = Self { folder };
        place.mode(mode);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the command does from now on.
    pub(crate) fn mode(&self, mode: &str) {
        fs::write(self.path("mode.new"), mode).unwrap();
        fs::rename(self.path("mode.new"), self.path("mode")).unwrap();
    }

    /// What the command has noted.
    pub(crate) fn commits(&self) -> Vec<String> {
        fs::read_to_string(self.path("commits")).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn rules(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("policy.d").join(format!("50rest-{name}.rules"))).ok()
    }

    /// A file that only its owner reads.
    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn start(&self, options: &[&str]) -> Running {
        Running::start(&mut self.command(options))
    }

    /// The command line, with this place's options where no others are given.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_finderscope-acl"));
        let policies = self.path("policy.d").display().to_string();
        let commit = format!("/bin/sh {}", self.path("commit.sh").display());
        for (option, value) in
            [("--policy-dir", policies.as_str()), ("--commit-command", &commit), ("--listen", "127.0.0.1:0")]
        {
            if !options.contains(&option) {
                command.args([option, value]);
            }
        }
        command.args(options);
        command
    }

    /// What a server says that does not start, and the status that it ends with.
    pub(crate) fn refusal(&self, options: &[&str]) -> (i32, String) {
        let out = self.command(options).output().unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

/// A server that is killed with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it has not started: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
            if let Some((_, place)) = line.trim_end().split_once("Listening, HTTP port ") {
                let (port, ip) = place.split_once(" on ").unwrap();
                let ip: IpAddr = ip.parse().unwrap();
                let ip = if ip.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { ip };
                break SocketAddr::new(ip, port.parse().unwrap());
            }
        };
        let more = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                more.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, address, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        exchange(&mut self.connect(), method, path, "", b"")
    }

    pub(crate) fn put(&self, path: &str, lines: &[&str]) -> Answer {
        self.put_body(path, serde_json::to_vec(lines).unwrap().as_slice())
    }

    pub(crate) fn put_body(&self, path: &str, body: &[u8]) -> Answer {
        exchange(&mut self.connect(), "PUT", path, "Content-Type: application/json\r\n", body)
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.ask("GET", "/acl/-/metrics").text;
        let line = text.lines().find(|line| line.starts_with(name)).expect("the metric is there");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for its end: its status, and how long that took.
    pub(crate) fn ended(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let status = until("the server has ended", || self.child.try_wait().unwrap());
        (status.code(), began.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn warns(&self) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case("warning: 199 - \"check lasterror\""))
    }

    /// The text of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// Asks one thing on a connection, and reads to its end.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: switch\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that has refused already may have closed its side.
    let _ = stream.write_all(body);
    let _ = stream.flush();
    answer(stream)
}

/// Reads an answer to the end of its connection.
pub(crate) fn answer(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, text) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {read:?} {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}

/// Waits for something.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process lives; a dead one that nobody has waited for does not.
pub(crate) fn lives(process: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process.trim()).join("stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}
