//! A switch of a test's own, as far as its rules are concerned: the real `finderscope-acl`, with a script for the switch's
//! command, ended with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::build;
use super::live::{Daemon, temporary_folder};

/// The server's program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("acl", "finderscope-acl"))
}

/// A running server; dropping it kills it.
pub(crate) struct AclServer {
    _daemon: Daemon,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl AclServer {
    /// On a port of loopback, open to everybody, without rules. Its command notes that it was called.
    pub(crate) fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    /// The same at an address of this thread's network.
    pub(crate) fn start_at(listen: SocketAddr) -> Self {
        let folder = temporary_folder();
        let place = |name: &str| folder.path().join(name);
        std::fs::create_dir(place("policy.d")).unwrap();
        std::fs::write(place("commit.sh"), "echo committed >> \"$(dirname \"$0\")/commits\"\n").unwrap();
        let mut command = Command::new(program());
        command.arg("--policy-dir").arg(place("policy.d"));
        command.arg("--commit-command").arg(format!("/bin/sh {}", place("commit.sh").display()));
        command.args(["--listen", &listen.to_string(), "--open"]);
        let mut daemon = Daemon::start(folder.path(), "finderscope-acl", command);
        let log = daemon.log_file().to_owned();
        let listening = || {
            let said = std::fs::read_to_string(&log).unwrap();
            let (_, rest) = said.split_once("Listening, HTTP port ")?;
            rest.split_once(' ')?.0.parse().ok()
        };
        let port: u16 = daemon.wait_for("its port", listening);
        Self { _daemon: daemon, folder, address: (listen.ip(), port).into() }
    }

    /// Where its rules are written.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/acl", self.address)
    }

    /// Names of the rules that it has, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path().join("policy.d")).unwrap();
        let mut names: Vec<String> = files
            .filter_map(|file| {
                let name = file.unwrap().file_name().into_string().unwrap();
                Some(name.strip_prefix("50rest-")?.strip_suffix(".rules")?.to_owned())
            })
            .collect();
        names.sort();
        names
    }

    /// The file of a rule; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        let file = self.folder.path().join("policy.d").join(format!("50rest-{name}.rules"));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// How often its command was called.
    pub(crate) fn commits(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("commits")).unwrap_or_default().lines().count()
    }
}
