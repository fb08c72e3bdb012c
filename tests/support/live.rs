//! What tests with other people's programs need: the programs, root, a turn of their own, and an end to all that
//! they started, also when the test fails or is killed.

use std::fs::{File, OpenOptions};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::PATIENCE;

/// Where Debian keeps daemons, beside the user's own `PATH`.
const SYSTEM_PATHS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Where the program is; `None` where it is not installed.
fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Fails the test, saying all that is missing at once.
pub(crate) fn require(programs: &[&str]) {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| which(program).is_none()).collect();
    assert!(missing.is_empty(), "not installed: {}; `tools/deps.sh test` installs it", missing.join(", "));
}

/// Fails the test unless it runs as root; `tests` is the module whose tests need it.
pub(crate) fn require_root(tests: &str) {
    let effective = rustix::process::geteuid();
    let this = std::env::current_exe().unwrap();
    assert!(
        effective.is_root(),
        "network namespaces of the test's own need root: sudo {} {tests}",
        this.display()
    );
}

/// Waits until no other test of this kind runs on this machine, whichever checkout it is from: they compare rates,
/// which two of them on few cores would spoil for one another. The turn ends with the file, so with the process too.
pub(crate) fn turn() -> File {
    let path = std::env::temp_dir().join("finderscope-live-tests.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lock().unwrap();
    file
}

/// Gives a socket room for bursts on a busy machine; without root no more than the system's limit.
pub(crate) fn enlarge(socket: &UdpSocket) {
    if set_socket_recv_buffer_size_force(socket, 8 << 20).is_err() {
        set_socket_recv_buffer_size(socket, 8 << 20).unwrap();
    }
}

/// A folder that goes with the test. A killed test leaves it, named by its process.
pub(crate) fn temporary_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("finderscope-{}-", std::process::id())).tempdir().unwrap()
}

/// A command that names an installed program.
pub(crate) fn command(program: &str) -> Command {
    Command::new(which(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// Runs a command to its end; panics with what it said unless it succeeded.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = command(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {}\n{said}{complained}",
        arguments.join(" "),
        output.status
    );
    said
}

/// Asks until `ready` has an answer; panics naming `what` when it has none for too long.
pub(crate) fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a process group when it is dropped, and when this process ends in any other way, SIGKILL too: a shell waits
/// for the end of a pipe that only this process holds.
pub(crate) struct Watch(Child);

impl Watch {
    /// Watches the group that `leader` leads.
    pub(crate) fn over(leader: &Child) -> Self {
        // The shell's own `kill`, which has no `--`.
        let script = "cat; kill -KILL -\"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, &leader.id().to_string()]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Waiting closes the pipe first.
        let _ = self.0.wait();
    }
}

/// A daemon of the test's own, in a process group of its own, with its log in a file; dropping it kills the group.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    watch: Option<Watch>,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with its log in `folder`.
    pub(crate) fn start(folder: &Path, program: &str, mut command: Command) -> Self {
        let log = folder.join(format!("{program}.log"));
        let out = File::create(&log).unwrap();
        let both = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(both).process_group(0).spawn();
        let child = child.unwrap_or_else(|e| panic!("{program}: {e}"));
        let watch = Some(Watch::over(&child));
        Self { name: program.to_owned(), child, watch, log }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its log is.
    pub(crate) fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for something that it does; panics with its log when it ends instead or takes too long.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ready() {
                return answer;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended ({status}) before {what}; it said:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < deadline, "{}: waited for {what}; it said:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        run("kill", &[&format!("-{signal}"), &self.child.id().to_string()]);
    }

    /// Sends a signal by name and waits until it has ended; how it did.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end on {signal}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.watch = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the last of {}'s log:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
