//! The requests of the article and of a proxy, and their answers.

use serde_json::json;

use crate::running::{Place, RULE, exchange, until};

#[test]
fn the_requests_of_the_article_install_and_remove_its_rule() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let answer = server.put("/acl/capture1", &["[iptables]", RULE]);
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    assert_eq!(place.rules("capture1").unwrap(), format!("[iptables]\n{RULE}\n"));
    until("the commit", || place.commits().contains(&"end 1".to_owned()).then_some(()));
    assert_eq!(server.ask("GET", "/acl/capture1").json(), json!(["[iptables]", RULE]));
    assert_eq!(server.ask("GET", "/acl").json(), json!(["capture1"]));
    assert_eq!(server.ask("GET", "/acl/").json(), json!(["capture1"]));
    assert_eq!(server.ask("DELETE", "/acl/capture1").status, 204);
    assert_eq!(place.rules("capture1"), None);
    until("the commit", || place.commits().contains(&"end 0".to_owned()).then_some(()));
    assert_eq!(server.ask("DELETE", "/acl/capture1").status, 204, "also if absent");
    assert_eq!(server.ask("GET", "/acl/capture1").status, 404);
    assert_eq!(server.ask("GET", "/acl").json(), json!([]));
    assert_eq!(place.commits(), ["begin 1", "end 1", "begin 0", "end 0"]);
    assert!(
        server.log().contains("taken the rules over in 0.0 s"),
        "a commit ends with its command: {}",
        server.log()
    );
}

#[test]
fn both_forms_of_the_interface_are_one() {
    let place = Place::new("work");
    let server = place.start(&[]);
    assert_eq!(server.put("/acl/a", &["[iptables]", RULE]).status, 202);
    assert_eq!(server.put("/b", &["[iptables]", RULE]).status, 202);
    for list in ["/", "/acl", "/acl/"] {
        assert_eq!(server.ask("GET", list).json(), json!(["a", "b"]));
    }
    for lines in ["/a", "/acl/b"] {
        assert_eq!(server.ask("GET", lines).json(), json!(["[iptables]", RULE]));
    }
    assert_eq!(server.ask("GET", "/lasterror").status, 204);
    assert_eq!(server.ask("GET", "/acl/lasterror").status, 204);
    assert_eq!(server.ask("DELETE", "/").status, 204);
    assert_eq!(server.ask("GET", "/acl").json(), json!([]));
    assert_eq!(server.ask("HEAD", "/acl").text, "");
}

#[test]
fn each_mistake_has_its_answer() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let body = serde_json::to_vec(&["[iptables]", RULE]).unwrap();
    let with = |kind: &str| exchange(&mut server.connect(), "PUT", "/acl/x", kind, &body).status;
    assert_eq!(with("Content-Type: text/plain\r\n"), 406);
    assert_eq!(with(""), 406);
    assert_eq!(with("Content-Type: application/jsonx\r\n"), 406);
    assert_eq!(with("Content-Type: Application/JSON; charset=utf-8\r\n"), 202);
    for path in
        ["/acl/A", "/acl/a-b", "/acl/a.b", "/acl/a%62", "/acl/..", "/acl/a/b", "/acl/acl", "/acl/%2e%2e"]
    {
        assert_eq!(server.put(path, &["[iptables]", RULE]).status, 404, "{path}");
    }
    assert_eq!(server.put("/acl/lasterror", &["[iptables]", RULE]).status, 403);
    assert_eq!(server.ask("DELETE", "/lasterror").status, 403);
    for body in
        ["", "{", "{}", "null", "\"x\"", "[1]", "[null]", "[[\"x\"]]", "[\"[iptables]\"] x", "{\"lines\":[]}"]
    {
        assert_eq!(server.put_body("/acl/y", body.as_bytes()).status, 400, "{body}");
    }
    let answer = server.put("/acl/y", &["[iptables]", RULE, "-A FORWARD -j ACCEPT"]);
    assert_eq!(answer.status, 400);
    assert!(
        answer.error().starts_with("line 3: the target \"ACCEPT\" is not of the grammar"),
        "{}",
        answer.text
    );
    let posted = server.ask("POST", "/acl/y");
    assert_eq!(posted.status, 405);
    assert!(posted.head.to_lowercase().contains("allow: get, head, put, delete"), "{}", posted.head);
    assert_eq!(server.ask("PUT", "/acl").status, 405);
    assert_eq!(place.rules("y"), None, "nothing of what was refused is there");
    assert_eq!(server.metric("finderscope_acl_refused_total{reason=\"not_rules\"}"), 11);
}

#[test]
fn what_is_written_is_canonical_and_what_is_unchanged_is_not_committed() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let spelt = RULE.replace("--in-interface", "-i").replace(" -s 20.0.0.2", " --source 20.0.0.2/32");
    assert_eq!(server.put("/acl/x", &["", "[iptables]", &spelt]).status, 202);
    assert_eq!(server.ask("GET", "/acl/x").json(), json!(["[iptables]", RULE]));
    until("the commit", || place.commits().contains(&"end 1".to_owned()).then_some(()));
    for _ in 0..5 {
        assert_eq!(server.put("/acl/x", &["[iptables]", RULE]).status, 202);
    }
    assert_eq!(server.put("/acl/y", &["[iptables]", RULE]).status, 202);
    until("the next commit", || place.commits().contains(&"end 2".to_owned()).then_some(()));
    assert_eq!(place.commits(), ["begin 1", "end 1", "begin 2", "end 2"]);
    assert_eq!(server.metric("finderscope_acl_changes_total"), 2);
}
