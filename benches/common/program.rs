//! Programs that are measured: whether they are there, and the CPU time that they take.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where Debian keeps daemons, where a user's PATH may not look.
const DAEMONS: &str = "/usr/sbin";

/// Where an installed program is.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain([PathBuf::from(DAEMONS)]).map(|at| at.join(name));
    found.into_iter().find(|at| at.is_file())
}

/// The CPU time of a program, user and system, with all of its processes; what it prints goes into a file. Its log is
/// left out.
pub(crate) fn cpu_time(program: &Path, args: &[&str], output: &Path) -> Duration {
    // `times` counts children that have been waited for, and theirs.
    let script = "TIMEFORMAT='%3U %3S'; out=$1; shift; time \"$@\" >\"$out\" 2>/dev/null";
    let told = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(output)
        .arg(program)
        .args(args)
        .stdout(Stdio::null())
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{}: {}: {said}", program.display(), told.status);
    let seconds = said.split_whitespace().map(|word| word.parse::<f64>().expect("bash tells seconds"));
    Duration::from_secs_f64(seconds.sum())
}
