//! What `netns.rs` needs, for tests of a room that include it without the rest of this folder.

use std::process::Command;

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {complained} (network namespaces of the test's own need root)",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
