//! The rooms import only downwards, and `unsafe` stays in its two places (ARCHITECTURE.md, Rooms).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our rooms each room may import. A room that is missing here may not exist.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("decode", &[]),
    ("ingest", &[]),
    ("acl", &[]),
    ("docker", &[]),
    ("tables", &["decode"]),
    ("fabric", &["decode"]),
    ("engine", &["ingest", "decode", "tables"]),
    ("actions", &["engine", "tables", "docker", "acl"]),
    ("script", &["actions", "engine", "tables", "docker", "acl"]),
    ("api", &["script", "actions", "engine", "tables"]),
    ("agent", &["decode", "ingest", "docker"]),
    (
        "finderscope",
        &["decode", "ingest", "acl", "docker", "tables", "fabric", "engine", "actions", "script", "api"],
    ),
];

/// What the tests of a room may import beside that.
const TESTS_MAY_IMPORT: &[(&str, &[&str])] = &[
    ("tables", &["fabric"]),
    ("engine", &["fabric"]),
    ("actions", &["fabric"]),
    ("script", &["decode", "fabric"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn rooms_import_only_downwards() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in &metadata.packages {
        let room = package.name.as_str();
        let Some(may) = allowed.get(room) else {
            wrong.push(format!("{room} is not in the table of rooms"));
            continue;
        };
        seen += 1;
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let name = dependency.name.as_str();
            let of_tests =
                TESTS_MAY_IMPORT.iter().find(|(of, _)| *of == room).map_or(&[][..], |(_, may)| may);
            let allowed_to_tests =
                dependency.kind == cargo_metadata::DependencyKind::Development && of_tests.contains(&name);
            if !may.contains(&name) && !allowed_to_tests {
                wrong.push(format!("{room} imports {name} ({:?})", dependency.kind));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that the table of rooms does not allow: {wrong:#?}");
    assert_eq!(seen, MAY_IMPORT.len(), "a room of the table is missing from the workspace");
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_lives_in_two_places() {
    let mut files = Vec::new();
    for (room, _) in MAY_IMPORT {
        let folder = if *room == "finderscope" { root().join("src") } else { root().join(room).join("src") };
        rust_files(&folder, &mut files);
    }
    assert!(files.len() > MAY_IMPORT.len());
    let mut wrong = Vec::new();
    for path in files {
        let inside = path.strip_prefix(root()).unwrap();
        if inside.starts_with("ingest/src") || inside == Path::new("tables/src/mem.rs") {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl") {
                wrong.push(format!("{}:{}", inside.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside ingest and tables/src/mem.rs: {wrong:#?}");
}
