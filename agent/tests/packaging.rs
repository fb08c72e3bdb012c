//! What packaging/ promises of the unit (manual/agent.md, Privileges).

use std::path::PathBuf;
use std::process::Command;

fn unit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/finderscope-agent.service")
}

#[test]
fn the_unit_is_exposed_by_two_of_ten_at_most() {
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
        .arg(unit())
        .output()
        .expect("systemd-analyze is missing: tools/deps.sh test installs it (package systemd)");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("Overall exposure level"), "{said}");
    assert!(out.status.success(), "more than 2.0: {said}");
}

#[test]
fn the_unit_has_one_capability() {
    let text = std::fs::read_to_string(unit()).expect("the unit is there");
    for line in ["CapabilityBoundingSet=CAP_NET_RAW", "AmbientCapabilities=CAP_NET_RAW", "DynamicUser=yes"] {
        assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(text.matches("CAP_").count(), 2);
}
