//! The texts of scripts: Rhino's extensions, header comments.

use serde_json::{Value as Json, json};

use crate::support::{Host, until};

#[test]
fn scripts_of_the_field_use_extensions() {
    let host = Host::start(&[
        (
            "old.js",
            "// author: A. Nother\n// version: 1.2\n\
             var ports = {swp1: {n: 3}, swp2: {n: 1}};\n\
             var sorted = [];\n\
             for each (var port in ports) { sorted.push(port); }\n\
             sorted.sort(function(a, b) a.n - b.n);\n\
             setHttpHandler(function(req) {\n  if (req.path.length) { var f = function(x) x.y; f(null); }\n  return sorted; });",
        ),
        (
            "wrapped.js",
            "// wrapglobals: rt\n\
             function metric(name) { return 'my own ' + name; }\n\
             rt.setHttpHandler(function() { return [metric('a'), typeof logInfo, typeof rt.logInfo, rt.version ? 1 : 0]; });",
        ),
    ]);
    assert_eq!(host.get("old.js"), json!([{ "n": 1 }, { "n": 3 }]));
    assert_eq!(host.status("old.js")["header"], json!({ "author": "A. Nother", "version": "1.2" }));
    let seen = host.get("wrapped.js");
    assert_eq!(seen.as_array().unwrap()[..3], [json!("my own a"), json!("undefined"), json!("function")]);
    let request = script::Request { path: vec!["x".to_owned()], ..crate::support::get() };
    assert_eq!(host.ask("old.js", request).unwrap().status, 500);
    let error = host.status("old.js")["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("old.js:8:46 TypeError"), "{error}");
}

#[test]
fn what_is_refused_is_told_by_line() {
    let host = Host::start(&[
        ("list.js", "var a = 1;\nvar b = [x for each (x in [a])];"),
        ("space.js", "// wrapglobals: not one\nvar a;"),
    ]);
    until("they end", || !host.is_alive("list.js") && !host.is_alive("space.js"));
    let error = |name| match &host.status(name)["error"] {
        Json::String(error) => error.clone(),
        other => other.to_string(),
    };
    assert!(
        error("list.js").contains("list.js, line 2, column 12: array comprehensions"),
        "{}",
        error("list.js")
    );
    assert!(
        error("space.js").starts_with("space.js, line 1, column 1: wrapglobals wants a name"),
        "{}",
        error("space.js")
    );
}
