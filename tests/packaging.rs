//! What packaging/ promises (manual/agent.md, Privileges; manual/configuration.md, Install).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::finderscope;

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(packaged(file)).unwrap_or_else(|why| panic!("packaging/{file}: {why}"))
}

#[test]
fn no_unit_is_exposed_by_more_than_two_of_ten() {
    for unit in ["finderscope.service", "finderscope-agent.service"] {
        let out = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
            .arg(packaged(unit))
            .output()
            .expect("systemd-analyze is missing: tools/deps.sh test installs it (package systemd)");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("Overall exposure level"), "{unit}: {said}");
        assert!(out.status.success(), "{unit}: more than 2.0: {said}");
    }
}

#[test]
fn the_agents_unit_has_one_capability_and_the_collectors_none() {
    let agents = text("finderscope-agent.service");
    for line in ["CapabilityBoundingSet=CAP_NET_RAW", "AmbientCapabilities=CAP_NET_RAW", "DynamicUser=yes"] {
        assert_eq!(agents.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(agents.matches("CAP_").count(), 2);
    let collectors = text("finderscope.service");
    for line in ["CapabilityBoundingSet=", "AmbientCapabilities=", "DynamicUser=yes", "NoNewPrivileges=yes"] {
        assert_eq!(collectors.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(collectors.matches("CAP_").count(), 0);
}

#[test]
fn the_packaged_configuration_and_the_containers_command_are_right() {
    let check = |arguments: &[&str]| {
        let out = finderscope().args(arguments).arg("--check-config").output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let file = packaged("finderscope.toml");
    check(&["run", "--config", file.to_str().unwrap()]);
    let dockerfile = text("Dockerfile");
    let entry = dockerfile.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let command: Vec<String> = serde_json::from_str(entry).unwrap();
    let arguments: Vec<&str> = command.iter().skip(1).map(String::as_str).collect();
    check(&arguments);
    for exposed in ["6343/udp", "8008"] {
        assert!(dockerfile.lines().any(|line| line.starts_with("EXPOSE ") && line.contains(exposed)));
    }
}
