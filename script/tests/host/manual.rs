//! The manual's page of functions is that of the catalogue.

use std::fmt::Write as _;

use script::catalogue::{FAMILIES, Family, Function};

/// What stands before the part that is made here.
const BEGIN: &str = "\n## Functions\n";

/// Characters of a line.
const WIDTH: usize = 120;

/// A text in lines.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            lines.push('\n');
            width = 0;
        }
        if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

/// The part of the page that is made of the catalogue.
fn functions() -> String {
    let mut page =
        format!("{BEGIN}\nWhat is in brackets may be left out. Every example is run by a test.\n\n");
    page.push_str("| | functions |\n|---|---|\n");
    for Family { title, functions } in FAMILIES {
        let names: Vec<String> = functions
            .iter()
            .map(|Function { name, .. }| format!("[`{name}`](#{})", name.to_lowercase()))
            .collect();
        let _ = writeln!(page, "| {title} | {} |", names.join(", "));
    }
    for Family { title, functions } in FAMILIES {
        let _ = write!(page, "\n### {title}\n");
        for Function { name, parameters, what, example, .. } in *functions {
            let _ = write!(
                page,
                "\n#### {name}\n\n`{name}({parameters})`\n\n{}\n\n```js\n{}\n```\n",
                wrapped(what),
                example.trim_end()
            );
        }
    }
    page
}

/// With `MANUAL=write` the page is brought up to date.
#[test]
fn the_manual_has_every_function_of_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manual/scripting.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (written, _) = page.split_once(BEGIN).expect("the page has the heading of functions");
    let wanted = written.to_owned() + &functions();
    if std::env::var_os("MANUAL").is_some_and(|word| word == "write") {
        std::fs::write(path, wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "MANUAL=write cargo test -p script the_manual brings manual/scripting.md up to date"
    );
}
