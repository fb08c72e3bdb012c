//! `finderscope check`: what it says of a machine, and whether a configuration works there.

use std::process::Command;

use serde_json::{Value as Json, json};

use super::lab::{FAR, Lab, NEAR, attached, check, with_only};
use crate::support::finderscope;
use crate::support::live::run;

fn asking(options: &[&str]) -> Command {
    let mut command = finderscope();
    command.arg("check").args(["--interface", NEAR]).args(options);
    command
}

/// What was found of one name.
fn found<'j>(report: &'j Json, name: &str) -> &'j Json {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

#[test]
fn it_says_what_an_interface_can_do() {
    let lab = Lab::new("check", 4);
    lab.on_near(|| {
        // A cable whose far end sends by more queues than this one receives by is generic XDP's.
        run("ethtool", &["-L", NEAR, "rx", "2", "tx", "2"]);
        let (code, report) = check(asking(&["--ingest", "xdp"]));
        assert_eq!((code, &report["mode"]), (Some(0), &json!("generic")));
        lab.far.inside(|| run("ethtool", &["-L", FAR, "rx", "2", "tx", "2"]));
        let (code, report) = check(asking(&["--workers", "4"]));
        assert_eq!((code, &report["works"], &report["mode"]), (Some(0), &json!(true), &json!("copy")));
        let interface = &report["interface"];
        assert_eq!(
            (&interface["driver"], &interface["queues"], &interface["mtu"]),
            (&json!("veth"), &json!(2), &json!(1500))
        );
        assert_eq!(interface["channels"]["receiveMax"], 4);
        assert_eq!(
            (&interface["xdp"]["native"], &interface["xdp"]["zeroCopy"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(found(&report, "queues")["commands"], json!(["ethtool -L near rx 4"]));
        assert_eq!(found(&report, "capabilities")["level"], "ok");
        assert!(found(&report, "firewall")["found"].as_str().unwrap().contains("nftables"));
        let rules = asking(&["--queues", "1"]);
        let rules = check(rules).1;
        let expected = json!([
            "ethtool -K near ntuple on",
            "ethtool -N near flow-type udp4 dst-port 6343 action 1",
            "ethtool -N near flow-type udp6 dst-port 6343 action 1",
        ]);
        assert_eq!(found(&rules, "spreading")["commands"], expected);
        // Nothing is attached, unless it is to be tried; and then not for long.
        assert!(!attached());
        for (mode, reached, code) in
            [("auto", json!("copy"), 0), ("generic", json!("generic"), 0), ("zero-copy", Json::Null, 1)]
        {
            let (exit, report) = check(asking(&["--try", "--ingest", "xdp", "--xdp-mode", mode]));
            assert_eq!((exit, &report["mode"]), (Some(code), &reached), "{mode}: {report:#}");
        }
        assert!(!attached());
    });
}

#[test]
fn it_fails_where_the_configuration_cannot_work() {
    let lab = Lab::new("cannot", 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("finderscope.toml");
    lab.on_near(|| {
        let why = |options: &[&str], part: &str| {
            for (mode, code) in [("xdp", 1), ("auto", 0)] {
                let mut all = vec!["--ingest", mode];
                all.extend(options);
                let (exit, report) = check(asking(&all));
                assert_eq!((exit, report["works"].as_bool()), (Some(code), Some(code == 0)), "{report:#}");
                let said = found(&report, "mode")["found"].as_str().unwrap();
                assert!(said.contains(part), "{part}: {said}");
            }
        };
        why(&["--queues", "0,3"], "no 3");
        why(&["--xdp-mode", "zero-copy"], "veth has no zero-copy");
        run("ip", &["link", "set", NEAR, "down"]);
        why(&[], "it is down");
        run("ip", &["link", "set", NEAR, "up"]);
        let collector = Lab::collector(&["--ingest", "xdp"]);
        why(&["--sflow", "0.0.0.0:7000"], "native XDP program");
        let (exit, report) = check(asking(&["--ingest", "auto"]));
        let listen = found(&report, "sflow.listen");
        assert_eq!((exit, &listen["level"]), (Some(0), &json!("note")));
        assert!(
            listen["found"].as_str().unwrap().contains(&format!("process {}", collector.id())),
            "{listen}"
        );
        drop(collector);
        let (exit, report) = check(asking(&["--sflow", "127.0.0.1:6343"]));
        assert_eq!((exit, &found(&report, "addresses")["level"]), (Some(1), &json!("problem")));
        let (exit, report) = check(asking(&["--sflow", "198.51.100.7:6343"]));
        assert_eq!((exit, &found(&report, "sflow.listen")["level"]), (Some(1), &json!("problem")));
        std::fs::write(&file, "[ingest]\nmode = 'xdp'\nqueues = '0-3,6'\n").unwrap();
        let output = finderscope().arg("check").arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said.contains("finderscope.toml:2:8: ingest.mode: AF_XDP reads the queues of an interface"),
            "{said}"
        );
    });
}

/// It needs no privileges, and says which are missing.
#[test]
fn it_says_which_privileges_are_missing() {
    let lab = Lab::new("unprivileged", 1);
    lab.on_near(|| {
        let ask = |capabilities: &str, mode: &str| {
            check(with_only(capabilities, &["check", "--interface", NEAR, "--ingest", mode, "--try"]))
        };
        for (mode, code) in [("xdp", 1), ("auto", 0)] {
            let (exit, report) = ask("-all,+net_raw", mode);
            assert_eq!(exit, Some(code), "{report:#}");
            let said = found(&report, "mode")["found"].as_str().unwrap();
            assert!(said.contains("CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK is missing"), "{said}");
            let rights = found(&report, "capabilities");
            assert!(rights["commands"][0].as_str().unwrap().contains("finderscope-xdp.conf"), "{rights}");
        }
        // Root of a user namespace has all capabilities, and none of them reaches the kernel.
        let program = finderscope().get_program().to_owned();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(program);
        let (exit, report) = check({
            command.args(["check", "--interface", NEAR, "--ingest", "xdp"]);
            command
        });
        assert_eq!((exit, &report["machine"]["userNamespace"]), (Some(1), &json!(true)));
    });
}

/// What it prints without JSON, and without an interface.
#[test]
fn its_lines_have_topics_and_a_verdict() {
    let lab = Lab::new("lines", 1);
    lab.on_near(|| {
        let output = finderscope().arg("check").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        for line in
            ["machine\n", "interfaces\n", "near: veth, 1 queue, MTU 1500: copy, generic", "\nThis works.\n"]
        {
            assert!(said.contains(line), "{line}: {said}");
        }
    });
}
