//! What keeps scripts from being started, as far as their texts show it. No line of them runs.

use std::fs;
use std::path::Path;

use tokio::sync::watch;

use crate::config::{Config, Limits};
use crate::meant::All;
use crate::runtime::Js;
use crate::source::{Header, Refused, Source};

/// Declared once before the text and once at its end. QuickJS parses the whole text, and sees that a name is declared
/// twice before it runs the first line.
const TWICE: &str = "__finderscope_is_declared_twice";

/// What is wrong with the scripts of a configuration: files that are missing, names that two have, and texts that are
/// no JavaScript, with file, line and column. Scripts that these include are not looked at.
pub fn problems(config: &Config) -> Vec<String> {
    let all = All::of(config);
    let mut problems = all.problems;
    for one in all.scripts.values() {
        problems.extend(problem(&one.file, &config.limits));
    }
    problems
}

fn problem(file: &Path, limits: &Limits) -> Option<String> {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(known) if !known.is_file() => return Some(format!("the script {shown} is no file")),
        _ => {}
    }
    match fs::read_to_string(file) {
        Ok(text) => parses(&shown.to_string(), &text, limits).err(),
        Err(error) => Some(format!("the script {shown} cannot be read: {error}")),
    }
}

/// Whether a text is JavaScript, as a script's thread would read it.
fn parses(name: &str, text: &str, limits: &Limits) -> Result<(), String> {
    let refused = |Refused { line, column, why }| format!("{name}:{line}:{column} SyntaxError: {why}");
    Header::read(text).map_err(refused)?;
    Source::read(text).map_err(refused)?;
    let (_end, ended) = watch::channel(false);
    let js = Js::new(limits, ended).map_err(|error| error.to_string())?;
    js.evaluate(name, &format!("let {TWICE}")).map_err(|thrown| thrown.text)?;
    let Err(thrown) = js.evaluate(name, &format!("{text}\nlet {TWICE}")) else { return Ok(()) };
    if thrown.text.contains(&format!("redeclaration of '{TWICE}'")) {
        return Ok(());
    }
    let ours = format!("{name}:{}:", text.matches('\n').count() + 2);
    match thrown.text.strip_prefix(&ours) {
        // It was still open where ours begins.
        Some(_) => Err(format!("{} SyntaxError: the text ends too early", end(name, text))),
        None => Err(thrown.text),
    }
}

/// The place where a text ends.
fn end(name: &str, text: &str) -> String {
    let whole = text.trim_end();
    let column = whole.lines().last().map_or(0, str::len) + 1;
    format!("{name}:{}:{column}", whole.lines().count().max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        parses("/x/a.js", text, &Limits::default()).err().unwrap_or_default()
    }

    #[test]
    fn what_is_no_javascript_is_told_with_its_place() {
        for (text, place) in [
            ("let a = 1;\nlet c = ;\n", "/x/a.js:2:9 SyntaxError: "),
            ("f();\nf(\n\n", "/x/a.js:2:3 SyntaxError: the text ends too early"),
            ("function f() {\n  g();\n", "/x/a.js:2:7 SyntaxError: the text ends too early"),
            ("var a = [1,", "/x/a.js:1:12 SyntaxError: the text ends too early"),
            ("if (a)", "/x/a.js:1:7 SyntaxError: the text ends too early"),
            ("var t = `never\nclosed", "/x/a.js:1:"),
            ("/* never\nclosed", "/x/a.js:1:"),
            ("'use strict'; with (a) {}", "/x/a.js:1:15 SyntaxError: "),
            ("let a; let a;", "/x/a.js:1:"),
            ("return 1;", "/x/a.js:1:1 SyntaxError: "),
            ("}); (function () {", "/x/a.js:1:1 SyntaxError: "),
            ("for each (var x in [1]) f(x); let = = 2;", "/x/a.js:1:37 SyntaxError: "),
            ("\nvar a = [x for each (x in y)];", "/x/a.js:2:12 SyntaxError: array comprehensions"),
            ("// wrapglobals: a b\nf();", "/x/a.js:1:1 SyntaxError: wrapglobals wants"),
        ] {
            let said = said(text);
            assert!(said.starts_with(place), "{text}: {said}");
        }
    }

    #[test]
    fn nothing_of_it_runs() {
        for text in [
            "",
            "throw new Error('ran')",
            "while (true) {}",
            "nothing.of.this()",
            "const metric = 1; function flows() {} var x = flows()",
            "'use strict'; undeclared = 1",
            "with (Math) { undeclared = 1 }",
            "for each (var x in y) f(x)\nvar g = function(a) a + 1",
            "#! /usr/bin/x\nf() // at the end",
            "\u{feff}f()\nx = async () => { await f() }",
            "a = b\n++c",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
    }
}
