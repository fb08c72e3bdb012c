//! The manual lists every key, in the catalogue's words, and every function.

use tables::flow::keys::{ALIASES, KEYS};

#[test]
fn the_manual_has_every_key_as_the_catalogue_says_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manual/flows.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let rows: Vec<String> = KEYS.iter().map(|key| format!("| `{}` | {} |", key.name, key.what)).collect();
    let missing: Vec<&String> = rows.iter().filter(|row| !manual.lines().any(|line| line == **row)).collect();
    assert!(missing.is_empty(), "manual/flows.md lacks:\n{missing:#?}");
    let listed = manual.split_once("## Keys").unwrap().1.split_once("\n## ").unwrap().0;
    let listed = listed.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, KEYS.len() + ALIASES.len(), "manual/flows.md has a key that there is not");
    assert!(ALIASES.iter().all(|(name, meaning)| manual.contains(&format!("| `{name}` | `{meaning}` |"))));
}

#[test]
fn the_manual_has_every_function() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manual/flows.md");
    let manual = std::fs::read_to_string(path).unwrap();
    for name in [
        "group", "map", "country", "asn", "oui", "host", "dns", "uri", "prefix", "suffix", "mask", "range",
        "eq", "null", "or", "if", "first", "concat", "bits", "link",
    ] {
        assert!(manual.contains(&format!("`{name}:")), "{name}");
    }
}
