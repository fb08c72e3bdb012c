//! Those that follow the containers of an engine: our agent, and hsflowd where there is a build of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::receiver::Receiver;
use crate::support::docker_lab::Lab;
use crate::support::live::{Daemon, temporary_folder, wait_until};

/// Counters are sent every so many seconds.
pub(crate) const POLLING_S: u64 = 10;

/// What both need for containers and for the article's configuration.
const MODULES: [&str; 2] = ["mod_docker.so", "mod_pcap.so"];

/// Joins the cgroup $0, makes the engine's socket $1 the one of this system, and becomes the program.
const START: &str = "echo $$ >\"$0/cgroup.procs\" && mount -n -t tmpfs none /run && ln -s \"$1\" /run/docker.sock && \
                     cd \"$2\" && shift 2 && exec \"$@\"";

/// A running one, which reports to the receiver.
pub(crate) struct Follower {
    daemon: Daemon,
    pub(crate) receiver: Receiver,
    /// What it uses of processors, with all that it starts.
    pub(crate) account: Account,
    _folder: tempfile::TempDir,
}

impl Follower {
    /// Our agent.
    pub(crate) fn ours(lab: &Lab) -> Self {
        let agent = [env!("CARGO_BIN_EXE_finderscope-agent"), "--config", "hsflowd.conf"];
        let follower = Self::start(lab, "finderscope-agent", &agent);
        wait_until("our agent", || follower.daemon.log().contains("following the containers").then_some(()));
        follower
    }

    /// hsflowd, as its service runs it but for the place of its files.
    pub(crate) fn hsflowd(lab: &Lab, build: &Hsflowd) -> Self {
        let (program, modules) = (build.program.to_str().unwrap(), build.modules.to_str().unwrap());
        let hsflowd = [program, "-d", "-l", modules, "-f", "hsflowd.conf", "-p", "pid", "-c", "crash"];
        Self::start(lab, "hsflowd", &[&hsflowd[..], &["-o", "auto"]].concat())
    }

    /// Starts one where an agent is in production: in the network of the engine's bridges, with the configuration of the
    /// article, the same for all.
    fn start(lab: &Lab, name: &str, command: &[&str]) -> Self {
        let (receiver, folder) = (lab.network().inside(Receiver::start), temporary_folder());
        let (ip, port) = (receiver.address.ip(), receiver.address.port());
        let settings = format!(
            "sflow {{\n sampling = 400\n polling = {POLLING_S}\n agentIP = {ip}\n collector {{ ip = {ip} UDPPort = {port} }}\n \
             docker {{ }}\n pcap {{ dev = docker0 }}\n pcap {{ dev = docker_gwbridge }}\n}}\n"
        );
        std::fs::write(folder.path().join("hsflowd.conf"), settings).unwrap();
        let account = Account::new(lab, name);
        let mut start = Command::new("unshare");
        start.args(["--mount", "--propagation", "private", "sh", "-c", START]).arg(account.folder());
        start.arg(lab.socket()).arg(folder.path()).args(command);
        let daemon = lab.network().inside(|| Daemon::start(folder.path(), name, start));
        Self { daemon, receiver, account, _folder: folder }
    }

    /// Its resident memory, bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id()));
        let status = status.unwrap_or_else(|e| panic!("it has ended ({e}): {}", self.daemon.log()));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }
}

/// A build of hsflowd.
pub(crate) struct Hsflowd {
    program: PathBuf,
    modules: PathBuf,
    /// Its name and version.
    pub(crate) title: String,
}

impl Hsflowd {
    /// The one that FINDERSCOPE_HSFLOWD names, the program or the folder that it was built in, or else the installed one.
    /// Why there is none, otherwise.
    pub(crate) fn find() -> Result<Self, String> {
        let Some(named) = std::env::var_os("FINDERSCOPE_HSFLOWD").map(PathBuf::from) else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
            let found = folders.map(|folder| folder.join("hsflowd")).find(|file| file.is_file());
            let why = "FINDERSCOPE_HSFLOWD names no build, and none is installed; benches/README.md says how to get one";
            return Self::of(&found.ok_or(why)?);
        };
        Self::of(&if named.is_dir() { named.join("hsflowd") } else { named })
    }

    fn of(program: &Path) -> Result<Self, String> {
        let beside = program.parent().unwrap_or(Path::new("/"));
        let folders = [beside, Path::new("/etc/hsflowd/modules")];
        let complete = |folder: &&Path| MODULES.iter().all(|module| folder.join(module).is_file());
        let modules = folders.into_iter().find(complete).ok_or_else(|| {
            format!(
                "{} has no {}, neither beside it nor in {}",
                program.display(),
                MODULES.join(" or no "),
                folders[1].display()
            )
        })?;
        let output = Command::new(program).arg("-v").output();
        let output = output.map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said.split_whitespace().last().unwrap_or("of an unknown version");
        let absolute = |path: &Path| path.canonicalize().map_err(|e| format!("{}: {e}", path.display()));
        Ok(Self {
            program: absolute(program)?,
            modules: absolute(modules)?,
            title: format!("hsflowd {version}"),
        })
    }
}
