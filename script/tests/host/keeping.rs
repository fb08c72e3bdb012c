//! Values, files, properties and commands of scripts; and what they are told that there is not.

use std::collections::BTreeMap;

use serde_json::json;

use crate::asking::Console;
use crate::support::{Host, until};

#[test]
fn what_is_stored_is_the_scripts_own_and_there_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let start = || Console::with(|config| config.store = Some(folder.clone()));
    {
        let console = start();
        assert_eq!(console.run("storeGet('a')"), json!(null));
        console.run("storeSet('a', {n: [1, 2.5], t: 'é'}); storeSet('b', 7); storeSet('../c', true)");
        assert_eq!(console.run("storeKeys()"), json!(["../c", "a", "b"]));
        console.run("storeDelete('b'); storeDelete('b'); storeSet('../c', null)");
    }
    let console = start();
    assert_eq!(
        console.run("[storeKeys(), storeGet('a'), storeGet('b')]"),
        json!([["a"], {"n": [1, 2.5], "t": "é"}, null])
    );
    let large = "storeSet('large', 'x'.repeat(5000000))";
    assert!(console.throws(large).starts_with("Error: storeSet: no room"), "{}", console.throws(large));
    assert_eq!(console.run("storeKeys()"), json!(["a"]));
    assert!(console.throws("storeSet()").contains("argument 1 (name) is missing"));
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["script%3aconsole%2ejs.json"]);
}

#[test]
fn what_is_shared_all_scripts_see() {
    let host = Host::start(&[
        (
            "a.js",
            "sharedSet('n', {of: 'a'}); setHttpHandler(function() { sharedDelete('n'); return 'gone'; });",
        ),
        ("b.js", "setHttpHandler(function() { return [sharedGet('n'), sharedGet('m')]; });"),
    ]);
    until("b sees it", || host.get("b.js") == json!([{"of": "a"}, null]));
    assert_eq!(host.get("a.js"), "gone");
    assert_eq!(host.get("b.js"), json!([null, null]));
}

#[test]
fn files_are_included_from_the_scripts_folder_alone() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.js"), "var secret = 1;").unwrap();
    let console = Console::new();
    let folder = console.host.folder.path().canonicalize().unwrap();
    std::fs::create_dir(folder.join("inc")).unwrap();
    std::fs::write(folder.join("inc/trend.js"), "var points = 30;\nfunction twice(n) { return 2 * n; }")
        .unwrap();
    std::fs::write(folder.join("inc/bad.js"), "var ok = 1;\n\nnosuch();").unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.js"), folder.join("inc/link.js")).unwrap();
    assert_eq!(console.run("scriptdir()"), folder.to_str().unwrap());
    assert_eq!(console.run("include(scriptdir() + '/inc/trend.js'); twice(points)"), 60);
    assert_eq!(console.run("points = 1; load('inc/trend.js'); points"), 30);
    let thrown = console.throws("include('inc/bad.js')");
    assert!(thrown.starts_with("ReferenceError: nosuch"), "{thrown}");
    let stack = console.run("try { include('inc/bad.js') } catch (e) { e.stack }");
    assert!(stack.as_str().unwrap().contains("inc/bad.js:3:"), "{stack}");
    let secret = outside.path().join("secret.js");
    for (path, why) in [
        (secret.to_str().unwrap(), "is not in"),
        ("inc/link.js", "is not in"),
        ("../../etc/passwd", ""),
        ("/etc/passwd", "is not in"),
        ("inc", "is no file"),
        ("missing.js", "No such file"),
    ] {
        let thrown = console.throws(&format!("include('{path}')"));
        assert!(thrown.starts_with("Error: include: ") && thrown.contains(why), "{path}: {thrown}");
    }
    assert_eq!(console.run("typeof secret"), "undefined");
    // The oldest published scripts begin so.
    assert_eq!(console.run("include('extras/json2.js'); JSON.stringify([1])"), "[1]");
    std::fs::write(folder.join("json2.js"), "var theirs = 2;").unwrap();
    assert_eq!(console.run("include('json2.js'); theirs"), 2, "one that is there is run");
}

#[test]
fn an_application_includes_from_its_own_folder_and_shares_one_store() {
    let place = tempfile::tempdir().unwrap();
    let app = place.path().join("trend");
    for folder in ["scripts", "lib"] {
        std::fs::create_dir_all(app.join(folder)).unwrap();
    }
    std::fs::write(app.join("lib/n.js"), "var n = 5;").unwrap();
    std::fs::write(place.path().join("other.js"), "var n = 6;").unwrap();
    std::fs::write(
        app.join("scripts/a.js"),
        "include('../lib/n.js'); var out; try { include('../../other.js'); } catch (e) { out = String(e); }\n\
         storeSet('n', n); setHttpHandler(function() { return [n, out]; });",
    )
    .unwrap();
    std::fs::write(app.join("scripts/b.js"), "setHttpHandler(function() { return storeGet('n'); });")
        .unwrap();
    let host = Host::with(&[("own.js", "setHttpHandler(function() { return storeGet('n'); });")], |config| {
        config.apps = Some(place.path().to_owned());
    });
    let seen = host.get("trend~a.js");
    assert_eq!(seen[0], 5);
    assert!(seen[1].as_str().unwrap().contains("is not in"), "{seen}");
    assert_eq!((host.get("trend~b.js"), host.get("own.js")), (json!(5), json!(null)));
}

#[test]
fn properties_are_texts_that_the_operator_has_set() {
    let console = Console::with(|config| {
        config.properties =
            BTreeMap::from([("b.c".to_owned(), "7".to_owned()), ("a".to_owned(), String::new())]);
    });
    assert_eq!(console.run("getSystemProperty('b.c')"), "7");
    assert_eq!(console.run("[getSystemProperty('a'), getSystemProperty('x')]"), json!(["", null]));
    assert_eq!(console.run("getSystemPropertyNames()"), json!(["a", "b.c"]));
}

#[test]
fn commands_run_where_the_operator_lets_them() {
    let console = Console::new();
    let thrown = console.throws("runCmd(['true'])");
    assert!(thrown.contains("commands are off") && thrown.contains("--script-run-commands"), "{thrown}");
    let console = Console::with(|config| {
        config.run_commands = true;
        config.limits.call = std::time::Duration::from_secs(2);
    });
    assert_eq!(
        console.run("runCmd(['/bin/sh', '-c', 'echo a; echo b; echo c >&2; exit 3'])"),
        json!({"status": 3, "stdout": ["a", "b"], "stderr": ["c"]})
    );
    let folder = console.host.folder.path().canonicalize().unwrap();
    assert_eq!(console.run("runCmd(['/bin/pwd']).stdout"), json!([folder.to_str().unwrap()]));
    assert_eq!(console.run("runCmd(['/bin/pwd'], null, '/').stdout"), json!(["/"]));
    for environment in ["['A=1', 'B=x=y']", "{A: 1, B: 'x=y'}"] {
        let text = format!("runCmd(['/usr/bin/env'], {environment}).stdout.sort()");
        assert_eq!(console.run(&text), json!(["A=1", "B=x=y"]));
    }
    assert!(console.throws("runCmd('ls')").contains("must be an array of words"));
    assert!(console.throws("runCmd(['/no/such'])").contains("cannot be run"));
    let reply = console.host.ask(
        "console.js",
        script::Request {
            method: "PUT".into(),
            body: json!({ "run": "runCmd(['/bin/sleep', '60'])" }).to_string().into_bytes(),
            ..crate::support::get()
        },
    );
    let reply = String::from_utf8(reply.unwrap().body).unwrap();
    assert!(reply.contains("took longer"), "{reply}");
    assert_eq!(console.run("1 + 1"), 2, "and the script goes on");
}

#[test]
fn what_there_is_not_says_so_by_its_name() {
    let console = Console::new();
    let absent = script::catalogue::FAMILIES.iter().find(|family| family.title == "Not supported").unwrap();
    assert_eq!(absent.functions.len(), 18);
    for function in absent.functions {
        let thrown = console.throws(&format!("{}('10.0.0.254', 65000)", function.name));
        assert!(thrown.starts_with(&format!("Error: {}: not supported: ", function.name)), "{thrown}");
    }
}
