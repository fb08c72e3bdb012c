//! Those that follow the containers of an engine: our agent, and hsflowd where a build of it was named.

use std::path::PathBuf;
use std::process::Command;

use crate::receiver::Receiver;
use crate::support::docker_lab::Lab;
use crate::support::live::{Daemon, temporary_folder, wait_until};

/// Counters are sent every so many seconds.
pub(crate) const POLLING_S: u64 = 10;

/// A running one, which reports to the receiver.
pub(crate) struct Follower {
    daemon: Daemon,
    pub(crate) receiver: Receiver,
    _folder: tempfile::TempDir,
}

impl Follower {
    /// Our agent.
    pub(crate) fn ours(lab: &Lab) -> Self {
        let (receiver, folder) = (Receiver::start(), temporary_folder());
        let mut command = Command::new(env!("CARGO_BIN_EXE_finderscope-agent"));
        command.arg("--docker").arg(format!("unix://{}", lab.socket().display()));
        command.args(["--collector", &receiver.address.to_string(), "--agent", "127.0.0.1"]);
        command.args(["--polling", &POLLING_S.to_string()]);
        let daemon = Daemon::start(folder.path(), "finderscope-agent", command);
        let follower = Self { daemon, receiver, _folder: folder };
        wait_until("our agent", || follower.daemon.log().contains("following the containers").then_some(()));
        follower
    }

    /// hsflowd, whose place for the engine's socket is in /run; `None` without a build of it.
    pub(crate) fn hsflowd(lab: &Lab) -> Option<Self> {
        let build = PathBuf::from(std::env::var_os("FINDERSCOPE_HSFLOWD")?);
        let (receiver, folder) = (Receiver::start(), temporary_folder());
        let (ip, port) = (receiver.address.ip(), receiver.address.port());
        let settings = format!(
            "sflow {{\n polling = {POLLING_S}\n sampling = 400\n agentIP = {ip}\n collector {{ ip = {ip} udpport = {port} }}\n \
             docker {{ }}\n}}\n"
        );
        std::fs::write(folder.path().join("hsflowd.conf"), settings).unwrap();
        let script = "mount -n -t tmpfs none /run && ln -s \"$1\" /run/docker.sock && cd \"$2\" && \
                      exec \"$0/hsflowd\" -d -P -l \"$0\" -f hsflowd.conf -p pid -o auto -c crash";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        command.arg(build).arg(lab.socket()).arg(folder.path());
        let daemon = Daemon::start(folder.path(), "hsflowd", command);
        Some(Self { daemon, receiver, _folder: folder })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.id()
    }
}
