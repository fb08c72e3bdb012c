//! Scripts and applications by REST: who may ask them, what they are asked and answer, pages, reload.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value as Json, json};

use crate::support::{Collector, finderscope};

/// Answers what it was asked.
const ECHO: &str = "setHttpHandler(function(req) { return req; });\n";

/// A folder with scripts and applications.
struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| place.write(name, text));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn names(collector: &Collector) -> Vec<String> {
    collector.json("/scripts/json").as_object().unwrap().keys().cloned().collect()
}

/// Status, head and body of an answer to a request that is written here.
fn ask(collector: &Collector, request: &str, headers: &str) -> (u16, String, String) {
    let head = format!("{request} HTTP/1.1\r\nHost: {}\r\n{headers}", collector.http);
    let answer = crate::rest::exchange(collector, &head, "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn a_handler_is_asked_what_the_client_asks() {
    let place = Place::new(&[("echo.js", ECHO), ("app/trend/scripts/trend.js", ECHO)]);
    let collector = Collector::start(&["--script", &place.text("echo.js"), "--app-dir", &place.text("app")]);
    let echo = |method: &str, path: &str, body: Option<&str>| -> Json {
        let (status, answer) = collector.request(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    };
    assert_eq!(
        echo("GET", "/script/echo.js/json", None),
        json!({"method": "GET", "path": [], "query": {}, "body": null, "format": "json"})
    );
    let path = "/script/echo.js/a%2Fb/%C3%A9/trend/txt?state=enabled&n=1&n=2&t=a%20b+c";
    assert_eq!(
        echo("PUT", path, Some("{\"x\":[1]}")),
        json!({"method": "PUT", "path": ["a/b", "é", "trend"], "body": {"x": [1]}, "format": "txt",
               "query": {"state": ["enabled"], "n": ["1", "2"], "t": ["a b c"]}})
    );
    for path in ["/app/trend/scripts/trend.js/top/json", "/script/trend~trend.js/top/json"] {
        for method in ["POST", "DELETE", "PATCH", "PROPFIND"] {
            assert_eq!(echo(method, path, None)["method"], method, "{path}");
        }
        assert_eq!(echo("GET", path, None)["path"], json!(["top"]), "{path}");
    }
    for none in [
        "/script/nosuch.js/json",
        "/script/trend.js/json",
        "/script/echo.js",
        "/script/echo.js/",
        "/app/trend/scripts/nosuch.js/json",
        "/app/nosuch/scripts/trend.js/json",
        "/app/trend/scripts/..%2Fscripts%2Ftrend.js/json",
    ] {
        assert_eq!(collector.get(none).0, 404, "{none}");
    }
    assert_eq!(collector.request("POST", "/script/echo.js/json", Some(&" ".repeat(2 << 20))).0, 413);
    assert_eq!(collector.get("/script/echo.js/%FF/json").0, 400);
}

#[test]
fn what_a_handler_returns_and_throws_is_the_answer() {
    let text = "setHttpHandler(function(req) {\n\
                switch (req.path[0]) {\n\
                case 'text': return 'enabled';\n\
                case 'missing': throw 'not_found';\n\
                case 'busy': throw 'service_unavailable';\n\
                default: return req.no.such;\n\
                }\n});\n";
    let place = Place::new(&[("a.js", text), ("silent.js", "setIntervalHandler(function() {}, 60);\n")]);
    let collector =
        Collector::start(&["--script", &place.text("a.js"), "--script", &place.text("silent.js")]);
    let (status, head, body) = ask(&collector, "GET /script/a.js/text/json", "");
    assert_eq!((status, body.as_str()), (200, "enabled"));
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(head.contains("\r\nx-content-type-options: nosniff"), "{head}");
    let accept = "Accept: application/json, text/javascript, */*; q=0.01\r\n";
    assert_eq!(ask(&collector, "GET /script/a.js/text/json", accept).2, "\"enabled\"", "as pages ask");
    let (_, head, _) = ask(&collector, "GET /script/a.js/text/html", "");
    assert!(head.contains("content-type: text/html") && head.contains("'unsafe-inline'"), "{head}");
    for (path, status, said) in [
        ("/script/a.js/missing/json", 404, "not_found"),
        ("/script/a.js/busy/json", 503, "service_unavailable"),
        ("/script/a.js/other/json", 500, "a.js:6"),
        ("/script/silent.js/json", 404, "handler"),
    ] {
        let (found, body) = collector.get(path);
        assert_eq!(found, status, "{path}: {body}");
        let error: Json = serde_json::from_str(&body).unwrap();
        assert!(error["error"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    let scripts = collector.json("/scripts/json");
    assert_eq!((&scripts["a.js"]["alive"], &scripts["a.js"]["requestsReceived"]), (&true.into(), &6.into()));
    let (_, metrics) = collector.get("/metrics");
    assert!(metrics.contains("finderscope_script_requests_total{script=\"a.js\"} 6\n"), "{metrics}");
    assert!(metrics.contains("finderscope_script_alive{script=\"a.js\"} 1.0\n"), "{metrics}");
}

/// A handler may do anything by any method, so that asking is writing, but for clients that are let in.
#[test]
fn scripts_are_open_on_loopback_and_elsewhere_to_whom_is_let_in() {
    let place = Place::new(&[("echo.js", ECHO), ("token", "0123456789abcdef0123")]);
    std::fs::set_permissions(place.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
    let (script, token) = (place.text("echo.js"), place.text("token"));
    let status = |collector: &Collector, method: &str, headers: &str| {
        ask(collector, &format!("{method} /script/echo.js/json"), headers).0
    };
    let right = "Authorization: Bearer 0123456789abcdef0123\r\n";
    let anywhere = ["--http", "0.0.0.0:0", "--script", script.as_str()];
    let with = |more: &[&str]| Collector::start(&[&anywhere[..], more].concat());

    let loopback = Collector::start(&["--script", &script]);
    let refusing = with(&[]);
    let guarded = with(&["--http-token-file", &token]);
    let inside = with(&["--script-open", "10.0.0.0/8", "--script-open", "127.0.0.0/8"]);
    let outside = with(&["--script-open", "127.0.0.2"]);
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        assert_eq!(status(&loopback, method, ""), 200, "{method}");
        assert_eq!(status(&refusing, method, right), 403, "{method}");
        assert_eq!(status(&guarded, method, ""), 401, "{method}");
        assert_eq!(status(&guarded, method, right), 200, "{method}");
        assert_eq!(status(&inside, method, ""), 200, "{method}");
        assert_eq!(status(&outside, method, ""), 403, "{method}");
    }
    // What is no handler is as it was: read by all, written by nobody.
    assert_eq!(inside.get("/scripts/json").0, 200);
    assert_eq!(inside.request("PUT", "/flow/f/json", Some("{value:'bytes'}")).0, 403);
    for (headers, expected) in [
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: https://evil.example.com\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
    ] {
        assert_eq!(status(&loopback, "GET", headers), expected, "{headers}");
        assert_eq!(status(&inside, "POST", headers), expected, "{headers}");
    }
    assert_eq!(
        crate::rest::exchange(
            &loopback,
            "GET /script/echo.js/json HTTP/1.1\r\nHost: evil.example.com\r\n",
            ""
        )
        .split(' ')
        .nth(1),
        Some("403")
    );
    let read_only = Collector::start(&["--http-readonly", "--script", &script]);
    assert_eq!((status(&read_only, "GET", ""), status(&read_only, "POST", "")), (200, 403));
}

#[test]
fn requests_beyond_the_queue_of_a_busy_script_are_refused() {
    let text = "setHttpHandler(function(req) { var until = Date.now() + 700; while (Date.now() < until); return 'done'; });\n";
    let place = Place::new(&[("slow.js", text), ("echo.js", ECHO)]);
    let collector = Collector::start(&[
        "--script",
        &place.text("slow.js"),
        "--script",
        &place.text("echo.js"),
        "--script-queue",
        "2",
    ]);
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| collector.get("/script/slow.js/json"))).collect();
        // Who asks another script waits for nobody.
        assert_eq!(collector.get("/script/echo.js/json").0, 200);
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (done, full): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == 200);
    assert!(done.len() >= 2 && full.len() >= 4, "{answers:?}");
    assert!(done.iter().all(|(_, body)| body == "done"), "{answers:?}");
    assert!(full.iter().all(|(status, body)| *status == 503 && body.contains("wait")), "{answers:?}");
    let slow = collector.json("/scripts/json")["slow.js"].clone();
    assert_eq!(
        (slow["requestsLost"].as_u64(), &slow["alive"]),
        (Some(full.len() as u64), &true.into()),
        "{slow}"
    );
}

#[test]
fn pages_of_an_application_are_files_of_its_folder_and_nothing_else() {
    let place = Place::new(&[
        ("app/trend/scripts/trend.js", ECHO),
        ("app/trend/html/index.html", "<h1>trend</h1>"),
        ("app/trend/html/js/app.js", "let trend;"),
        ("app/trend/html/js/index.html", "list"),
        ("app/trend/html/.hidden", "secret"),
        ("app/trend/html/a b.txt", "space"),
        ("app/trend/secret.txt", "secret"),
        ("secret.txt", "secret"),
        ("app/bare/scripts/bare.js", "throw new Error('up');\n"),
    ]);
    let html = place.path("app/trend/html");
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, html.join(name)).unwrap();
    link(&place.path("secret.txt"), "out.txt");
    link(&place.path("app/trend"), "up");
    link(&html.join("js/app.js"), "inside.js");
    let large = "x".repeat(3 << 20);
    place.write("app/trend/html/large.css", &large);
    let collector = Collector::start(&["--app-dir", &place.text("app")]);

    for (path, kind, body) in [
        ("", "text/html; charset=utf-8", "<h1>trend</h1>"),
        ("index.html", "text/html; charset=utf-8", "<h1>trend</h1>"),
        ("js/app.js", "text/javascript; charset=utf-8", "let trend;"),
        ("js/", "text/html; charset=utf-8", "list"),
        ("inside.js", "text/javascript; charset=utf-8", "let trend;"),
        ("a%20b.txt?v=7", "text/plain; charset=utf-8", "space"),
        ("large.css", "text/css; charset=utf-8", &large),
    ] {
        let (status, head, found) = ask(&collector, &format!("GET /app/trend/html/{path}"), "");
        assert!(status == 200 && found == body, "{path}: {status} {} bytes", found.len());
        for header in [
            format!("content-type: {kind}"),
            format!("content-length: {}", body.len()),
            "x-content-type-options: nosniff".to_owned(),
            "cache-control: no-cache".to_owned(),
        ] {
            assert!(head.contains(&format!("\r\n{header}")), "{path}: {header} is not in {head}");
        }
    }
    let (_, head, _) = ask(&collector, "GET /app/trend/html/js/app.js", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = ask(&collector, "GET /app/trend/html/js/app.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.0, again.2.as_str()), (304, ""));
    let (status, head, body) = ask(&collector, "HEAD /app/trend/html/js/app.js", "");
    assert!(status == 200 && head.contains("content-length: 10") && body.is_empty(), "{head}");

    for out in [
        "../secret.txt",
        "../../../secret.txt",
        "..%2Fsecret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt",
        "js/../../secret.txt",
        "js/..%5C..%5Csecret.txt",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "out.txt",
        "up/secret.txt",
        ".hidden",
        "js",
        "nosuch.html",
        "index.html/",
        "index.html%00.txt",
    ] {
        let (status, _, body) = ask(&collector, &format!("GET /app/trend/html/{out}"), "");
        assert!((status == 404 || status == 400) && !body.contains("secret"), "{out}: {status} {body}");
    }
    assert_eq!(collector.request("PUT", "/app/trend/html/index.html", Some("x")).0, 405);
    for none in ["/app/nosuch/html/", "/app/bare/html/", "/app/..%2Ftrend/html/", "/app/nosuch/status"] {
        assert_eq!(collector.get(none).0, 404, "{none}");
    }
    let status = |path| collector.get(path);
    assert_eq!(status("/app/trend/status"), (200, "OK".to_owned()));
    collector.wait_for("/scripts/json", |scripts| (scripts["bare~bare.js"]["alive"] == false).then_some(()));
    assert_eq!(status("/app/bare/status"), (503, "UNAVAILABLE".to_owned()));
    // The first page shows both.
    let seen = crate::rest::Events::of(&collector, "/live").next();
    let shown = &seen["scripts"];
    assert_eq!((&shown["all"], &shown["pages"]), (&2.into(), &json!(["trend"])), "{seen}");
    assert_eq!(
        (&shown["rows"][0]["name"], &shown["rows"][0]["alive"]),
        (&"bare~bare.js".into(), &false.into())
    );
    assert!(shown["rows"][0]["error"].as_str().unwrap().contains("bare.js:1"), "{seen}");
    assert_eq!(
        collector.json("/apps/json"),
        json!({"bare": {"entry": null, "scripts": ["bare.js"]}, "trend": {"entry": "/html/", "scripts": ["trend.js"]}})
    );
}

#[test]
fn a_signal_starts_what_is_new_or_changed_and_ends_what_is_gone() {
    let says = |what: &str| format!("setHttpHandler(function() {{ return '{what}'; }});\n");
    let place = Place::new(&[("a.js", &says("a")), ("b.js", &says("b")), ("c.js", &says("c"))]);
    let config = |scripts: &[&str]| {
        let text: String = scripts.iter().map(|name| format!("[[script]]\nfile = '{name}'\n")).collect();
        place.write("f.toml", &text);
    };
    config(&["a.js", "b.js"]);
    let collector = Collector::start(&["--config", &place.text("f.toml")]);
    assert_eq!(names(&collector), ["a.js", "b.js"]);
    assert_eq!(collector.get("/script/a.js/txt"), (200, "a".to_owned()));

    config(&["b.js", "c.js"]);
    place.write("b.js", &says("another b"));
    collector.signal("HUP");
    collector.wait_for("/scripts/json", |scripts| (scripts["c.js"]["alive"] == true).then_some(()));
    collector.wait_for_log("The definitions of ");
    assert_eq!(names(&collector), ["b.js", "c.js"]);
    assert_eq!(collector.get("/script/a.js/txt").0, 404);
    assert_eq!(collector.get("/script/b.js/txt"), (200, "another b".to_owned()));
    assert_eq!(collector.get("/script/c.js/txt"), (200, "c".to_owned()));

    // A file that is wrong changes nothing, and who may ask takes a restart.
    place.write("f.toml", "[[script]]\nfile = 'a.js'\n[scripts]\naps = 'x'\n");
    collector.signal("HUP");
    collector.wait_for_log("Nothing changed");
    assert_eq!(names(&collector), ["b.js", "c.js"]);
    place.write("f.toml", "[[script]]\nfile = 'b.js'\n[scripts]\nopen = '10.0.0.0/8'\nqueue = 7\n");
    collector.signal("HUP");
    let said = collector.wait_for_log("A restart is needed for");
    assert!(said[0].ends_with("A restart is needed for scripts.open = 10.0.0.0/8"), "{said:?}");
    assert_eq!(names(&collector), ["b.js"]);
    assert_eq!(collector.end(), Some(0));

    // Without a file of configuration scripts are read again all the same.
    let collector = Collector::start(&["--script", &place.text("a.js")]);
    place.write("a.js", &says("now"));
    collector.signal("HUP");
    collector.wait_for_log("only scripts are read again");
    collector.wait_for("/scripts/json", |scripts| (scripts["a.js"]["starts"] == 2).then_some(()));
    assert_eq!(collector.get("/script/a.js/txt"), (200, "now".to_owned()));
}

#[test]
fn options_of_the_incumbents_start_scripts_too() {
    let place = Place::new(&[("a.js", ECHO), ("b.js", ECHO), ("c.js", ECHO)]);
    let both = format!("-Dscript.file={},{}", place.text("a.js"), place.text("b.js"));
    let collector = Collector::start(&[&both, "-Dname=value", "-D", "sflow.port=1"]);
    assert_eq!(names(&collector), ["a.js", "b.js"]);
    assert_ne!(collector.sflow.port(), 1, "an option of ours wins");
    let ours = Collector::start(&[&both, "--script", &place.text("c.js")]);
    assert_eq!(names(&ours), ["c.js"]);
}

#[test]
fn what_scripts_lack_is_told_before_they_are_started() {
    let run = |options: &[&str]| -> Output {
        finderscope().args(["run", "--check-config"]).args(options).output().unwrap()
    };
    let place = Place::new(&[("a.js", ECHO), ("app/x/scripts/x.js", ECHO)]);
    let (script, apps) = (place.text("a.js"), place.text("app"));
    let right = run(&["--script", &script, "--app-dir", &apps]);
    assert_eq!((right.status.code(), right.stderr.len()), (Some(0), 0), "{right:?}");
    let missing = place.text("nosuch.js");
    place.write("typo.js", "// author: A\nlogInfo('ran');\nsetFlow('a' {});\n");
    place.write("other/a.js", "while (true) {}");
    place.write("apps/x/scripts/x.js", "\nvar a = [x for each (x in y)];");
    let [typo, second, apps_too] = ["typo.js", "other/a.js", "apps"].map(|name| place.text(name));
    let all = [&missing, &apps, &typo, &script, &second].map(|file| ["--script", file]);
    let wrong = run(&[&all.concat()[..], &["--app-dir", &apps_too]].concat());
    let folders = run(&["--app-dir", &script]);
    assert!(String::from_utf8(folders.stderr).unwrap().contains("is no folder of applications"));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{said}");
    for line in [
        format!("the script {missing} cannot be read"),
        format!("the script {apps} is no file"),
        format!("{typo}:3:13 SyntaxError: "),
        format!("{second} is not started: {script} has the same name a.js"),
        format!("{apps_too}/x/scripts/x.js:2:12 SyntaxError: array comprehensions are not supported"),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!said.contains("ran"), "{said}");
    for (option, value, why) in [
        ("--allow", "http://a/", "name the host alone"),
        ("--script-open", "10.0.0.1/8", "host bits"),
        ("-D", "http.port=many", "is no port"),
        ("--set", "=x", "NAME=VALUE"),
    ] {
        let wrong = run(&[option, value]);
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert!(wrong.status.code() == Some(2) && said.contains(why), "{option} {value}: {said}");
    }
    // A running collector tells of it and goes on.
    let collector = Collector::start(&["--script", &missing, "--script", &script]);
    let scripts = collector.wait_for("/scripts/json", |scripts| {
        (scripts["nosuch.js"]["alive"] == false).then(|| scripts.clone())
    });
    assert!(scripts["nosuch.js"]["error"].as_str().unwrap().contains("nosuch.js"), "{scripts}");
    assert_eq!(collector.get("/script/nosuch.js/json").0, 503);
    assert_eq!(collector.get("/script/a.js/json").0, 200);
}
