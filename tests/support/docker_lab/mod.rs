//! A real Docker engine of the tests' own: unpacked, never installed, in namespaces and cgroups of its own, with a unix
//! socket and TLS. All of it goes when the lab is dropped, and also when the test fails or is killed.

mod certificates;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::live::{require_root, temporary_folder, wait_until};
use super::netns::{Namespace, own_name};

/// The image that containers are made of: busybox, `burn SECONDS`, and pages under `/www`.
pub(crate) const IMAGE: &str = "lab:1";

/// The address of the engine's TLS port, inside its network namespace.
pub(crate) const TLS: &str = "127.0.0.1:2376";

/// How long the engine may take to answer after its start.
const START: Duration = Duration::from_secs(60);

const LOG: &str = "dockerd.log";

const HOME: &str = include_str!("home.sh");
const IMAGE_FILES: &str = include_str!("image.sh");
/// `end.sh`, which says what it takes.
pub(crate) const END: &str = include_str!("end.sh");

/// An engine with its containers.
pub(crate) struct Lab {
    programs: Programs,
    folder: PathBuf,
    /// The cgroup of its containers; that of the engine has `-engine` behind it.
    name: String,
    flags: Vec<String>,
    /// The engine's own cgroup, in its mount namespace.
    engine_cgroup: PathBuf,
    network: Namespace,
    /// Holds the mount namespace.
    home: Child,
    engine: Option<Child>,
    /// Takes everything away when its stdin ends.
    end: Child,
}

impl Lab {
    /// The lab that all tests of this binary share, a swarm of one node. It ends with the process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        SHARED.get_or_init(|| {
            let lab = Self::own(&[]);
            lab.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
            lab
        })
    }

    /// A lab of a test's own, no swarm, whose engine has these further options. It ends when it is dropped.
    pub(crate) fn own(flags: &[&str]) -> Self {
        Self::own_with(&cgroups(), &cgroups(), "", flags)
    }

    /// As [`Lab::own`], where there are no control groups but those of version 2. On a host with both, these have the
    /// processor time of containers, and what version 1 does not hold: nothing else that the agent tells.
    pub(crate) fn own_with_version_2() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = fields.find(|fields| fields.get(2) == Some(&"cgroup2"));
        let found = found.expect("control groups of version 2 are mounted").swap_remove(1);
        Self::own_with(Path::new(found), Path::new("/sys/fs/cgroup"), "2", &[])
    }

    /// The hierarchy that the engine's own processes are put into, outside and inside of its mount namespace.
    fn own_with(cgroups: &Path, inside: &Path, version: &str, flags: &[&str]) -> Self {
        static LABS: AtomicUsize = AtomicUsize::new(0);
        require_root("docker_engine");
        let programs = Programs::find();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = own_name(&number.to_string());
        let folder = temporary_folder().keep();
        let engine = format!("{name}-engine");
        let (cgroup, engine_cgroup) = (cgroups.join(&engine), inside.join(&engine));
        // Before there is anything to end.
        let end = script(END, &[Path::new(&name), &folder]);
        let end = quiet(end, Stdio::piped()).spawn().unwrap();
        fs::create_dir(&cgroup).unwrap_or_else(|e| panic!("{}: {e}", cgroup.display()));
        let network = Namespace::new(&format!("docker{number}"));
        network.hide();
        let home = network.inside(|| {
            let mut home = Command::new("unshare");
            home.args(["--mount", "--propagation", "private", "sh", "-c", HOME, "home"]);
            let log = log_of(&folder);
            quiet(home, Stdio::null()).arg(&folder).arg(&cgroup).arg(version).stderr(log).spawn().unwrap()
        });
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut lab = Self { programs, folder, name, flags, engine_cgroup, network, home, engine: None, end };
        wait_until("the engine's mounts", || lab.folder.join("home").exists().then_some(()));
        certificates::write(&lab.certs());
        fs::write(lab.folder.join("daemon.json"), "{}").unwrap();
        lab.start_engine();
        lab.make_image();
        lab
    }

    /// The engine's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// The cgroup of its containers, below the root of each hierarchy.
    pub(crate) fn cgroup(&self) -> &str {
        &self.name
    }

    /// The folder with `ca.pem`, `cert.pem` and `key.pem` for the engine's TLS port.
    pub(crate) fn certs(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// The engine's network namespace, where its bridges and its TLS port are.
    pub(crate) fn network(&self) -> &Namespace {
        &self.network
    }

    /// What runs a program, to be given its path, in the engine's mount namespace.
    pub(crate) fn at_home(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.home.id()));
        command
    }

    /// Runs the docker client; what it says. Panics unless it succeeds.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let output = self.client().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "docker {}: {said}{complained}\n{}",
            arguments.join(" "),
            self.log_tail()
        );
        said
    }

    /// Starts a container: `docker run --detach` with these options, image and command; its id.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> String {
        self.docker(&[&["run", "--detach"], options, &[IMAGE], command].concat())
    }

    /// Removes containers, running or not.
    pub(crate) fn remove(&self, containers: &[&str]) {
        self.docker(&[&["rm", "--force"], containers].concat());
    }

    /// Removes all services and containers of a swarm: what an earlier test has left when it failed, or what is just ending.
    pub(crate) fn clear(&self) {
        let list = |command: &[&str]| -> Vec<String> {
            self.docker(command).split_whitespace().map(str::to_owned).collect()
        };
        wait_until("an engine without services and containers", || {
            let (services, containers) =
                (list(&["service", "ls", "--quiet"]), list(&["ps", "--all", "--quiet"]));
            for (remove, left) in [(["service", "rm"], &services), (["rm", "--force"], &containers)] {
                if !left.is_empty() {
                    // One that goes at this moment is no failure.
                    let _ = self.client().args(remove).args(left).output();
                }
            }
            (services.is_empty() && containers.is_empty()).then_some(())
        });
    }

    /// Kills the engine's daemon with SIGKILL; its containers go on. When it starts again it takes them back with
    /// `--live-restore`; without, as in a swarm, it stops them, which takes their stop timeout, and starts anew those
    /// whose restart policy says so.
    pub(crate) fn kill_engine(&mut self) {
        let mut engine = self.engine.take().expect("the engine runs");
        engine.kill().unwrap();
        engine.wait().unwrap();
        // The kernel kills its containerd with it. While that is a zombie the next engine would take it for alive.
        let file = self.folder.join("exec/containerd/containerd.pid");
        let containerd = fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", containerd.trim());
        let dead = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
        wait_until("the end of containerd", || fs::read_to_string(&stat).map_or(true, dead).then_some(()));
        fs::remove_file(&file).unwrap();
    }

    /// Sends the engine's daemon a signal, such as `STOP`.
    pub(crate) fn signal_engine(&self, signal: &str) {
        let engine = self.engine.as_ref().expect("the engine runs");
        super::live::run("kill", &[&format!("-{signal}"), &engine.id().to_string()]);
    }

    /// Starts the engine's daemon, and waits until it answers.
    pub(crate) fn start_engine(&mut self) {
        let log = log_of(&self.folder);
        let namespace = |kind: &str, file: &str| format!("--{kind}=/proc/{}/ns/{file}", self.home.id());
        let mut engine = Command::new("nsenter");
        engine.arg(namespace("mount", "mnt")).arg(namespace("net", "net"));
        engine.args(["sh", "-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]);
        engine.arg(&self.engine_cgroup).arg(self.programs.path("dockerd"));
        engine.args(self.engine_options()).args(&self.flags);
        self.programs.prepare(&mut engine);
        engine.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut engine = engine.spawn().unwrap();
        let deadline = Instant::now() + START;
        while !self.answers() {
            if let Some(status) = engine.try_wait().unwrap() {
                panic!("dockerd ended ({status}); it said:\n{}", self.log_tail());
            }
            assert!(Instant::now() < deadline, "dockerd does not answer; it said:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.engine = Some(engine);
    }

    fn engine_options(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let cert = |name: &str| self.certs().join(name).to_str().unwrap().to_owned();
        vec![
            format!("--config-file={}", file("daemon.json")),
            format!("--data-root={}", file("data")),
            format!("--exec-root={}", file("exec")),
            format!("--pidfile={}", file("dockerd.pid")),
            format!("--host=unix://{}", file("docker.sock")),
            format!("--host=tcp://{TLS}"),
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", cert("ca.pem")),
            format!("--tlscert={}", cert("server.pem")),
            format!("--tlskey={}", cert("server-key.pem")),
            // Where systemd owns the cgroups, too: the lab finds its own by their name.
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            format!("--cgroup-parent=/{}", self.name),
        ]
    }

    /// Whether the engine answers.
    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
        let mut answer = [0; 12];
        stream.set_read_timeout(Some(START)).is_ok()
            && stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: lab\r\n\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"HTTP/1.1 200"
    }

    fn make_image(&self) {
        let mut files = script(IMAGE_FILES, &[&self.programs.path("busybox"), &self.folder]);
        let mut files = files.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = self.client();
        import.args(["import", "--change", "EXPOSE 80"]);
        import.args(["--change", r#"CMD ["httpd","-f","-p","80","-h","/www"]"#, "-", IMAGE]);
        let output = import.stdin(files.stdout.take().unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(files.wait().unwrap().success());
    }

    /// The docker client, to be given arguments.
    pub(crate) fn client(&self) -> Command {
        let mut client = Command::new(self.programs.path("docker"));
        client.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        // Nobody's settings or contexts.
        client.env("DOCKER_CONFIG", &self.folder).env_remove("DOCKER_CONTEXT");
        self.programs.prepare(&mut client);
        client.stdin(Stdio::null());
        client
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.folder.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last of dockerd's log:\n{}", self.log_tail());
        }
        // Waiting closes its stdin first.
        let _ = self.end.wait();
        for child in self.engine.iter_mut().chain([&mut self.home]) {
            let _ = child.wait();
        }
    }
}

/// A path in the file system of a container, by one of its processes.
pub(crate) fn inside(process: u32, path: &str) -> PathBuf {
    Path::new("/proc").join(process.to_string()).join("root").join(path)
}

/// Where a cgroup of the engine's own processes is made: anywhere in the one tree of version 2, and among version 1's
/// trees in that of `pids`, which changes nothing for them.
pub(crate) fn cgroups() -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() { root.to_owned() } else { root.join("pids") }
}

/// The engine's log, to be added to.
fn log_of(folder: &Path) -> fs::File {
    fs::OpenOptions::new().create(true).append(true).open(folder.join(LOG)).unwrap()
}

fn script(text: &str, arguments: &[&Path]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", text, "lab"]).args(arguments);
    shell
}

/// Out of the way of a terminal's signals, and without a say.
fn quiet(mut command: Command, stdin: Stdio) -> Command {
    command.process_group(0).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The unpacked programs.
struct Programs {
    folders: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
}

impl Programs {
    /// Panics when they are not there, and says how to get them.
    fn find() -> Self {
        // The agent's bench is of a package inside this one.
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let tool = above.map(|folder| folder.join("tools/docker-engine.sh")).find(|tool| tool.exists());
        let tool = tool.expect("tools/docker-engine.sh is there");
        let output = Command::new(&tool).arg("where").output();
        let output = output.unwrap_or_else(|e| panic!("{}: {e}", tool.display()));
        let tree = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("tree");
        assert!(
            tree.join("complete").exists(),
            "no Docker engine in {}; `tools/docker-engine.sh fetch`, run by this user, gets it",
            tree.display()
        );
        let folders = ["usr/sbin", "usr/bin", "sbin", "bin"].map(|folder| tree.join(folder));
        let mut libraries = Vec::new();
        for folder in ["usr/lib", "lib"] {
            let Ok(entries) = fs::read_dir(tree.join(folder)) else { continue };
            let linux = |path: &PathBuf| path.to_string_lossy().contains("-linux-gnu");
            libraries.extend(entries.flatten().map(|entry| entry.path()).filter(linux));
        }
        Self { folders: folders.to_vec(), libraries }
    }

    fn path(&self, program: &str) -> PathBuf {
        let found = self.folders.iter().map(|folder| folder.join(program)).find(|path| path.exists());
        found.unwrap_or_else(|| panic!("{program} was not unpacked"))
    }

    /// Lets it, and what it starts, find the programs and their libraries.
    fn prepare(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = self.folders.iter().cloned().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path).unwrap());
        command.env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries).unwrap());
        let modules = self.libraries.iter().map(|folder| folder.join("xtables")).find(|path| path.exists());
        command.envs(modules.map(|modules| ("XTABLES_LIBDIR", modules)));
    }
}
