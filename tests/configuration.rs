//! `finderscope run`: the configuration file, its reload, and what REST defined over a restart.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::support::{Collector, finderscope};

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("finderscope.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn check(path: &Path) -> (Option<i32>, String) {
    let output = finderscope().args(["run", "--check-config", "--config"]).arg(path).output().unwrap();
    (output.status.code(), stderr(&output))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn define(collector: &Collector, path: &str, body: &str) {
    assert_eq!(collector.request("PUT", path, Some(body)).0, 204, "{path} {body}");
}

fn keys(collector: &Collector, path: &str) -> Vec<String> {
    collector.json(path).as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_file_is_checked_and_every_problem_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "[sflow]\nlistne = '[::]:1'\n\n[flows.pairs]\nkeys = 'ipsorce'\nvalue = 'bytes'\n",
    );
    let (code, said) = check(&path);
    let place = path.display();
    assert_eq!(code, Some(1));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[0], format!("{place}:2:1: \"listne\" is no key of [sflow]: did you mean \"listen\"?"));
    assert!(lines[1].starts_with(&format!("{place}:5:1: [flows.pairs] keys: ")), "{said}");
    // The collector refuses the same file in the same words, before it opens anything.
    let output = finderscope().args(["run", "--config"]).arg(&path).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), said));

    let (code, said) = check(&folder.path().join("nosuch.toml"));
    assert_eq!(code, Some(1));
    assert!(said.contains("nosuch.toml: cannot be read"), "{said}");
    let output = finderscope().args(["run", "--check-config"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    let output = finderscope().args(["run", "--check-config", "--agents", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--agents: a number from 1"), "{}", stderr(&output));
}

#[test]
fn the_example_of_the_manual_is_right() {
    let page = include_str!("../manual/configuration.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(check(&file(folder.path(), example)), (Some(0), String::new()));
}

#[test]
fn the_file_is_taken_and_the_command_line_wins() {
    let folder = tempfile::tempdir().unwrap();
    // The file's addresses cannot be listened on.
    let path = file(
        folder.path(),
        "[sflow]\nlisten = '192.0.2.1:6343'\n[http]\nlisten = '192.0.2.1:8008'\nhosts = ['sflow.example.net']\n[maps.services]\nweb = [80]\n",
    );
    let collector = Collector::start(&["--config", path.to_str().unwrap(), "--defaults"]);
    assert_eq!(collector.json("/map/services/json"), json!({"web": [80]}));
    assert_eq!(keys(&collector, "/flow/json"), ["flows"]);
    assert_eq!(collector.json("/group/json"), json!(["default"]));
}

#[test]
fn a_reload_takes_all_definitions_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "[flows.a]\nvalue = 'bytes'\n[flows.b]\nvalue = 'bytes'\n");
    let collector = Collector::start(&["--config", path.to_str().unwrap()]);
    define(&collector, "/flow/mine/json", "{keys:'ipsource',value:'bytes'}");
    assert_eq!(keys(&collector, "/flow/json"), ["a", "b", "mine"]);

    file(folder.path(), "[flows.c]\nvalue = 'bytes'\n\n[flows.d]\nkeys = 'ipsorce'\nvalue = 'bytes'\n");
    collector.signal("HUP");
    let said = collector.wait_for_log("Nothing changed");
    assert!(
        said[0].contains(" SEVERE: ") && said[0].contains("finderscope.toml:5:1: [flows.d] keys"),
        "{said:?}"
    );
    assert_eq!(keys(&collector, "/flow/json"), ["a", "b", "mine"]);

    file(folder.path(), "[tables]\nagents = 7\n[flows.b]\nvalue = 'frames'\n[flows.c]\nvalue = 'bytes'\n");
    collector.signal("HUP");
    let said = collector.wait_for_log("A restart is needed for");
    assert!(said[0].ends_with("WARNING: A restart is needed for tables.agents = 7"), "{said:?}");
    assert_eq!(keys(&collector, "/flow/json"), ["b", "c", "mine"]);
    assert_eq!(collector.json("/flow/b/json")["value"], "frames");
    assert_eq!(collector.wait_for_log("Nothing changed").len(), 1);
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn a_reload_that_what_rest_defined_does_not_go_with_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "[groups.sites]\na = ['10.0.0.0/8']\n");
    let collector = Collector::start(&["--config", path.to_str().unwrap()]);
    define(&collector, "/flow/mine/json", "{keys:'group:ipsource:sites',value:'bytes'}");
    file(folder.path(), "[maps.m]\nweb = [80]\n");
    collector.signal("HUP");
    let said = collector.wait_for_log("Nothing changed");
    assert!(said[0].contains("flows.mine, which REST defined, does not go with it"), "{said:?}");
    assert_eq!(collector.json("/group/json"), json!(["sites"]));
    assert_eq!(collector.json("/map/json"), json!([]));
}

#[test]
fn a_reload_takes_what_is_said_of_scaling_and_names_what_else_of_actions_waits() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let scaling = |service: &str| {
        format!(
            "[swarm.main]\nmanagers = ['unix://{}']\n[autoscale.service.{service}]\n\
             metric = [{{ metric = 'vir_cpu_utilization', low = 0.5, high = 1 }}]\n",
            socket.display()
        )
    };
    let feed = "[feed.listed]\npath = 'listed.txt'\n";
    let capture = "[capture.a]\ngroup = 'listed'\nanalyzer = '10.0.0.70'\n";
    std::fs::write(folder.path().join("listed.txt"), "198.51.100.7\n").unwrap();
    let path = file(folder.path(), &format!("{}{feed}{capture}", scaling("apache")));
    let collector = Collector::start(&["--config", path.to_str().unwrap()]);
    define(&collector, "/autoscale/apache/json", "{max:7}");
    assert_eq!(collector.json("/autoscale/apache/json")["max"], 7);

    // A file that is wrong about scaling changes nothing at all.
    let wrong = format!("{}max = 0\n[flows.b]\nvalue = 'bytes'\n", scaling("apache"));
    file(folder.path(), &wrong);
    collector.signal("HUP");
    let said = collector.wait_for_log("Nothing changed");
    assert!(said[0].contains("autoscale.service.apache.min: 1 must be"), "{said:?}");

    // What a person has changed of a service lies over the file; other services come and go.
    let rest = "[actions]\nmode = 'act'\n[[switch]]\nagent = '10.0.0.253'\ndriver = 'dry-run'\n\
                [capture.b]\ngroup = 'listed'\nanalyzer = '10.0.0.70'\n\
                [syslog.central]\naddress = '127.0.0.1:9'\n";
    let both = scaling("apache") + "min = 2\n" + &scaling("shop").replace("[swarm.main]\n", "# ");
    let both = both + capture + rest;
    file(folder.path(), &both);
    collector.signal("HUP");
    let said = collector.wait_for_log("A restart is needed for");
    assert!(
        said[0].ends_with(
            "A restart is needed for actions.mode = act (PUT /actions/json changes it at once); switch; \
             capture.b; feed.listed; syslog.central"
        ),
        "{said:?}"
    );
    let services = collector.json("/autoscale/json")["services"].clone();
    assert_eq!((&services["apache"]["min"], &services["apache"]["max"]), (&2.into(), &7.into()));
    assert_eq!(services["shop"]["enabled"], true);
    assert_eq!(collector.json("/actions/json")["mode"], "observe");
    assert_eq!(collector.json("/feeds/json").as_object().unwrap().len(), 1);
    file(folder.path(), &format!("{}{feed}{capture}", scaling("shop")));
    collector.signal("HUP");
    collector.wait_for("/autoscale/json", |all| {
        (all["services"].as_object()?.keys().collect::<Vec<_>>() == ["shop"]).then_some(())
    });
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn a_mode_that_nobody_said_by_rest_follows_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[swarm.main]\nmanagers = ['unix:///nosuch.sock']\n[autoscale.service.apache]\n\
                metric = [{ metric = 'vir_cpu_utilization', low = 0.5, high = 1 }]\n";
    let path = file(folder.path(), text);
    let state = folder.path().join("state");
    let args = ["--config", path.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
    let collector = Collector::start(&args);
    define(&collector, "/autoscale/apache/json", "{max:7}");
    drop(collector);
    file(folder.path(), &format!("[actions]\nmode = 'act'\n{text}"));
    let collector = Collector::start(&args);
    assert_eq!(collector.json("/autoscale/apache/json")["max"], 7);
    assert_eq!(collector.json("/actions/json")["mode"], "act");
    define(&collector, "/actions/json", "{mode:'withdraw'}");
    drop(collector);
    let collector = Collector::start(&args);
    assert_eq!(collector.json("/actions/json")["mode"], "withdraw");
    collector.wait_for_log("the mode is withdraw, as the state directory has it; the configuration says act");
}

#[test]
fn what_rest_defined_is_there_after_kill_and_lies_over_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let text = "[flows.a]\nvalue = 'bytes'\n[flows.b]\nvalue = 'bytes'\n[flows.c]\nvalue = 'bytes'\n";
    let path = file(folder.path(), text);
    let args =
        ["--config", path.to_str().unwrap(), "--state-dir", state.to_str().unwrap()].map(ToOwned::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let collector = Collector::start(&args);
    define(&collector, "/group/sites/json", "{a:['10.0.0.0/8']}");
    define(&collector, "/flow/mine/json", "{keys:'group:ipsource:sites',value:'bytes'}");
    define(&collector, "/flow/a/json", "{value:'frames'}");
    assert_eq!(collector.request("DELETE", "/flow/b/json", None).0, 204);
    // Dropping it is SIGKILL, right after the last answer.
    drop(collector);

    let collector = Collector::start(&args);
    assert_eq!(keys(&collector, "/flow/json"), ["a", "c", "mine"]);
    assert_eq!(collector.json("/flow/a/json")["value"], "frames");
    assert_eq!(collector.json("/group/sites/json"), json!({"a": ["10.0.0.0/8"]}));
    // A reload keeps what REST changed, and brings what it did not touch.
    file(
        folder.path(),
        &text
            .replace("[flows.c]\nvalue = 'bytes'", "[flows.c]\nvalue = 'frames'\n[flows.d]\nvalue = 'bytes'"),
    );
    collector.signal("HUP");
    collector.wait_for_log("are in effect");
    assert_eq!(keys(&collector, "/flow/json"), ["a", "c", "d", "mine"]);
    assert_eq!(collector.json("/flow/a/json")["value"], "frames");
    assert_eq!(collector.json("/flow/c/json")["value"], "frames");
    // What REST made as the configuration has it follows the configuration again.
    define(&collector, "/flow/a/json", "{value:'bytes'}");
    file(folder.path(), "[flows.a]\nvalue = 'frames'\nt = 9\n");
    collector.signal("HUP");
    collector.wait_for("/flow/a/json", |flow| (flow["t"] == 9.0).then_some(()));
    assert_eq!(keys(&collector, "/flow/json"), ["a", "mine"]);
    drop(collector);

    // A group that is gone takes the flow that needs it along, and the state as it was is kept.
    let kept = std::fs::read_to_string(state.join("definitions.json")).unwrap();
    std::fs::write(state.join("definitions.json"), kept.replace("\"sites\"", "\"places\"")).unwrap();
    let collector = Collector::start(&args);
    let said = collector.wait_for_log("not defined, because");
    assert!(said[0].contains("flows.mine") && said[0].contains("definitions.json.aside-1"), "{said:?}");
    assert_eq!(keys(&collector, "/flow/json"), ["a"]);
    assert_eq!(collector.json("/group/json"), json!(["places"]));
}

#[test]
fn a_state_that_is_not_understood_is_kept_and_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("definitions.json"), "{\"version\":1,\"se").unwrap();
    let state = folder.path().to_str().unwrap();
    let collector = Collector::start(&["--state-dir", state]);
    let said = collector.wait_for_log("is no state of this program");
    assert!(said[0].contains(" SEVERE: ") && said[0].contains("definitions.json.aside-1"), "{said:?}");
    define(&collector, "/map/m/json", "{web:[80]}");
    let aside = std::fs::read_to_string(folder.path().join("definitions.json.aside-1")).unwrap();
    assert_eq!(aside, "{\"version\":1,\"se");
}

#[test]
fn a_second_collector_on_the_state_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let first = Collector::start(&["--state-dir", state]);
    let args = ["run", "--sflow", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir", state];
    let output = finderscope().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(state) && said.contains(&format!("process {}", first.id())), "{said}");
}

#[test]
fn what_cannot_be_saved_is_an_error_takes_effect_and_is_saved_as_soon_as_possible() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(&["--state-dir", folder.path().to_str().unwrap()]);
    // In the place of the next file, so that not even root can write it.
    let obstacle = folder.path().join("definitions.json.next");
    std::fs::create_dir(&obstacle).unwrap();
    for (method, path, body) in [
        ("PUT", "/map/m/json", Some("{web:[80]}")),
        ("PUT", "/map/n/json", Some("{web:[80]}")),
        ("PUT", "/map/o/json", Some("{web:[80]}")),
        ("PUT", "/map/o/json", Some("{web:[80]}")),
        ("DELETE", "/map/n/json", None),
    ] {
        let (status, answer) = collector.request(method, path, body);
        assert!(status == 507 && answer.contains("could not be saved"), "{method} {path}: {status} {answer}");
    }
    let said = collector.wait_for_log("will not survive a restart");
    assert_eq!(said.len(), 1, "one line in ten seconds: {said:?}");
    assert_eq!(collector.json("/map/json"), json!(["m", "o"]));
    // As soon as it can be it is saved, and a request is right again.
    std::fs::remove_dir(&obstacle).unwrap();
    collector.wait_for_log("saved again");
    define(&collector, "/map/p/json", "{web:[80]}");
    drop(collector);
    let collector = Collector::start(&["--state-dir", folder.path().to_str().unwrap()]);
    assert_eq!(collector.json("/map/json"), json!(["m", "o", "p"]));
}

#[test]
fn without_state_nothing_is_written() {
    let home = tempfile::tempdir().unwrap();
    let mut command = finderscope();
    command.env("HOME", home.path()).env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
    let output = command.args(["run", "--sflow", "192.0.2.1:1", "--state-dir", "none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    // The usual place, made private.
    let mut command = finderscope();
    command.env("HOME", home.path()).env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
    assert_eq!(command.args(["run", "--sflow", "192.0.2.1:1"]).output().unwrap().status.code(), Some(1));
    let place = home.path().join(".local/state/finderscope");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    // The one that systemd makes comes before.
    let given = home.path().join("given");
    let mut command = finderscope();
    command
        .env("HOME", home.path())
        .env("STATE_DIRECTORY", &given)
        .env("XDG_STATE_HOME", home.path().join("x"));
    assert_eq!(command.args(["run", "--sflow", "192.0.2.1:1"]).output().unwrap().status.code(), Some(1));
    assert!(given.join("lock").exists() && !home.path().join("x").exists());
}
