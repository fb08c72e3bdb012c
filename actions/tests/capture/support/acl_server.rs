//! The real `finderscope-acl`, in a folder of the test's own, with a script for the switch's command.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The program, built like the test itself: cargo tells tests only of their own package's programs.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().unwrap().parent().unwrap().to_owned();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut target = folder.parent().unwrap().to_owned();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args([
            "build",
            "--locked",
            "--package",
            "acl",
            "--features",
            "server",
            "--bin",
            "finderscope-acl",
        ]);
        cargo.args(["--profile", profile]);
        // Built for a named target, the profile's folder is below one of that name.
        if !target.join("CACHEDIR.TAG").exists() {
            cargo.arg("--target").arg(target.file_name().unwrap());
            target.pop();
        }
        let output = cargo.arg("--target-dir").arg(&target).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("finderscope-acl")
    })
}

/// A running server; dropping it kills it.
pub(crate) struct AclServer {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl AclServer {
    /// Its command does what the folder's file `mode` says: `work` or `fail`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::create_dir(place("policy.d")).unwrap();
        let script = "case \"$(cat \"$(dirname \"$0\")/mode\")\" in work) ;; *) echo 'error: no TCAM'; exit 3;; esac\n";
        std::fs::write(place("commit.sh"), script).unwrap();
        std::fs::write(place("mode"), "work").unwrap();
        let mut command = Command::new(program());
        command.arg("--policy-dir").arg(place("policy.d"));
        command.arg("--commit-command").arg(format!("/bin/sh {}", place("commit.sh").display()));
        command.args(["--listen", "127.0.0.1:0"]).args(options).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some((_, place)) = line.split_once("Listening, HTTP port ") {
                let (port, ip) = place.trim_end().split_once(" on ").unwrap();
                break SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
            }
        };
        // Somebody has to read on, or it waits for its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/acl", self.address)
    }

    pub(crate) fn mode(&self, mode: &str) {
        std::fs::write(self.folder.path().join("mode.new"), mode).unwrap();
        std::fs::rename(self.folder.path().join("mode.new"), self.folder.path().join("mode")).unwrap();
    }

    /// Names of the rules that are on disk.
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

    pub(crate) fn text(&self, name: &str) -> String {
        let file = self.folder.path().join("policy.d").join(format!("50rest-{name}.rules"));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// It does not answer for this long.
    pub(crate) fn pause(&self, time: Duration) {
        let signal = |name: &str| {
            let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
            assert!(done.success());
        };
        signal("-STOP");
        std::thread::sleep(time);
        signal("-CONT");
    }
}

impl Drop for AclServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
