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

/// Fails when systemd says that a unit is exposed by more than so many tenths.
fn assert_exposed_at_most(unit: &Path, tenths: u32) {
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={tenths}")])
        .arg(unit)
        .output()
        .expect("systemd-analyze is missing: tools/deps.sh test installs it (package systemd)");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("Overall exposure level"), "{unit:?}: {said}");
    assert!(out.status.success(), "{unit:?}: more than {tenths} tenths: {said}");
}

#[test]
fn no_unit_is_exposed_by_more_than_two_of_ten() {
    for unit in ["finderscope.service", "finderscope-agent.service"] {
        assert_exposed_at_most(&packaged(unit), 20);
    }
}

/// Six counter files and a pidfd of each of 4,096 containers, and 37 KB that the kernel was seen to take for them, beside
/// what the agent has of its own.
#[test]
fn the_agents_unit_has_room_for_all_containers_that_it_follows() {
    let unit = text("finderscope-agent.service");
    let value = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let memory_mb: usize = value("MemoryMax=").strip_suffix('M').unwrap().parse().unwrap();
    assert!(value("LimitNOFILE=").parse::<usize>().unwrap() >= 7 * 4096 + 1024);
    assert!(memory_mb * 1_000_000 >= 4096 * 37_000 + 50_000_000);
}

/// What manual/agent.md has one add, so that the agent enters the namespaces of containers.
#[test]
fn the_drop_in_for_namespaces_is_three_capabilities() {
    let manual = include_str!("../manual/agent.md");
    let from = &manual[manual.find("    [Service]\n").expect("the manual has a drop-in")..];
    let lines = from.lines().map_while(|line| line.strip_prefix("    "));
    let drop_in = lines.collect::<Vec<_>>().join("\n");
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("finderscope-agent.service");
    std::fs::write(&whole, format!("{}\n{drop_in}\n", text("finderscope-agent.service"))).unwrap();
    assert_exposed_at_most(&whole, 27);
    for set in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        let line = format!("{set}=CAP_NET_RAW CAP_SYS_ADMIN CAP_SYS_PTRACE");
        assert_eq!(drop_in.lines().filter(|found| **found == line).count(), 1, "{drop_in}");
    }
    assert_eq!(drop_in.matches("CAP_").count(), 6);
    assert!(drop_in.contains("\nRestrictNamespaces=net"));
}

/// The drop-in for AF_XDP names the five capabilities that the collector checks for, and what the unit forbids and
/// AF_XDP needs.
#[test]
fn the_drop_in_for_af_xdp_has_what_that_needs_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("finderscope.service");
    let drop_in = text("finderscope-xdp.conf");
    std::fs::write(&whole, format!("{}\n{drop_in}", text("finderscope.service"))).unwrap();
    assert_exposed_at_most(&whole, 25);
    let all: Vec<&str> = ingest::machine::CAPABILITIES.iter().map(|(name, _)| *name).collect();
    for line in [
        format!("CapabilityBoundingSet={}", all.join(" ")),
        format!("AmbientCapabilities={}", all.join(" ")),
        "PrivateUsers=no".to_owned(),
        "RestrictAddressFamilies=AF_XDP AF_NETLINK".to_owned(),
        "SystemCallFilter=bpf".to_owned(),
        "LimitMEMLOCK=infinity".to_owned(),
    ] {
        assert_eq!(drop_in.lines().filter(|found| **found == line).count(), 1, "{line}");
    }
    let manual = include_str!("../manual/scaling.md");
    assert!(manual.contains("packaging/finderscope-xdp.conf"));
}

/// What the binary is linked with is in the container that runs it.
#[cfg(feature = "xdp")]
#[test]
fn the_container_has_the_libraries_of_the_binary() {
    let program = env!("CARGO_BIN_EXE_finderscope");
    let out = Command::new("ldd").arg(program).output().unwrap();
    let libraries = String::from_utf8(out.stdout).unwrap();
    let dockerfile = text("Dockerfile");
    let runtime = dockerfile.rsplit("FROM ").next().unwrap();
    for (library, package) in [("libelf.so.1", "libelf1"), ("libz.so.1", "zlib1g")] {
        let linked = libraries.contains(library);
        assert_eq!(linked, runtime.split_whitespace().any(|word| word == package), "{library}: {libraries}");
    }
    // What else it is linked with is in every Debian.
    let known = [
        "linux-vdso",
        "libgcc_s",
        "libm.so",
        "libc.so",
        "ld-linux",
        "libelf",
        "libz.so",
        "libdl",
        "libpthread",
    ];
    for line in libraries.lines() {
        assert!(known.iter().any(|name| line.contains(name)), "{line}");
    }
}

#[test]
fn the_agents_unit_has_one_capability_and_the_collectors_none() {
    let agents = text("finderscope-agent.service");
    for line in ["CapabilityBoundingSet=CAP_NET_RAW", "AmbientCapabilities=CAP_NET_RAW", "DynamicUser=yes"] {
        assert_eq!(agents.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(agents.matches("CAP_").count(), 2);
    // The last word about the call by which it gives up what it does not need: without it, it would not start with more.
    let filters: Vec<&str> =
        agents.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    assert_eq!(filters.last(), Some(&"capset"));
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
