//! `finderscope top`: what it prints of a running collector, and that it leaves nothing behind.

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::collector::packets;
use crate::support::{Collector, PATIENCE, finderscope};

fn once(collector: &Collector, more: &[&str]) -> Command {
    let mut command = finderscope();
    command.args(["top", "--once", "--url", &format!("http://{}", collector.http)]).args(more);
    command
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_table_of_a_defined_flow() {
    let collector = Collector::start(&[]);
    assert!(
        refusal(once(&collector, &[]))
            .contains("no flow is defined: say what to watch with --keys and --value")
    );
    let definition = "{keys:'ipsource,tcpdestinationport',value:'bytes',t:600}";
    assert_eq!(collector.request("PUT", "/flow/pairs/json", Some(definition)).0, 204);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 0..10 {
        socket.send_to(&packets(sequence, 6), collector.sflow).unwrap();
    }
    collector
        .wait_for("/agents/json", |agents| (agents["10.0.0.50"]["sFlowFlowSamples"] == 60).then_some(()));
    for more in [vec![], vec!["--flow", "pairs"], vec!["--agents", "10.0.0.50"]] {
        let said = stdout(&once(&collector, &more).output().unwrap());
        let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["bytes/s", "ipsource", "tcpdestinationport", "agent", "data", "source"]);
        assert_eq!(lines[1][1..], ["10.0.0.1", "443", "10.0.0.50", "3"], "{said}");
        let rate: f64 = lines[1][0].parse().unwrap();
        assert!((rate - 10_000.0).abs() < 1000.0, "{said}");
        assert_eq!(lines.len(), 2);
    }
    assert_eq!(stdout(&once(&collector, &["--agents", "10.9.9.9"]).output().unwrap()).lines().count(), 1);
    assert!(
        refusal(once(&collector, &["--flow", "nosuch"]))
            .contains("no flow \"nosuch\" is defined; defined are: pairs")
    );
    assert!(refusal(once(&collector, &["--keys", "ipsorce"])).contains("\"ipsorce\" is no key"));
}

#[test]
fn what_is_acted_on_stands_below_the_table_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("finderscope.toml");
    let config = "[[switch]]\nagent = '10.0.0.253'\ndriver = 'dry-run'\n[flows.pairs]\nvalue = 'bytes'\n\
                  [groups.bad]\nlisted = ['45.9.148.0/24']\n\
                  [capture.listed]\ngroup = 'bad'\nanalyzer = '10.0.0.70'\n";
    std::fs::write(&path, config).unwrap();
    let collector = Collector::start(&["--config", path.to_str().unwrap()]);
    let start = "{local: '10.0.0.162', remote: '45.9.148.7', agent: '10.0.0.253', seconds: 60}";
    assert_eq!(collector.request("PUT", "/captures/json", Some(start)).0, 204);
    collector.wait_for("/captures/json", |all| {
        let reason = all["sessions"][0]["reason"].as_str()?;
        reason.starts_with("the mode is observe").then_some(())
    });
    assert_eq!(stdout(&once(&collector, &["--flow", "pairs"]).output().unwrap()).lines().count(), 1);
    let said = stdout(&once(&collector, &["--flow", "pairs", "--actions"]).output().unwrap());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "actions: observe"), "{said}");
    let begins = "10.0.0.162 <-> 45.9.148.7: pending: the mode is observe";
    assert!(lines[2].starts_with(begins) && lines[2].contains("10.0.0.253"), "{said}");
    let nothing = Collector::start(&[]);
    assert_eq!(nothing.request("PUT", "/flow/pairs/json", Some("{value:'bytes'}")).0, 204);
    assert_eq!(stdout(&once(&nothing, &["--actions"]).output().unwrap()).lines().count(), 1);
}

#[test]
fn a_flow_of_its_own_is_gone_afterwards() {
    let collector = Collector::start(&[]);
    let child = once(&collector, &["--keys", "ipsource", "--value", "frames", "--filter", "ipprotocol=6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let name = format!("top-{}", child.id());
    let defined =
        collector.wait_for("/flow/json", |flows| flows.get(&name).is_some().then(|| flows[&name].clone()));
    assert_eq!((&defined["keys"], &defined["filter"]), (&"ipsource".into(), &"ipprotocol=6".into()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packets(1, 6), collector.sflow).unwrap();
    let said = stdout(&child.wait_with_output().unwrap());
    assert!(said.starts_with("frames/s  ipsource") && said.contains("10.0.0.1"), "{said}");
    assert_eq!(collector.json("/flow/json"), serde_json::json!({}));
}

#[test]
fn it_ends_with_its_terminal() {
    let collector = Collector::start(&[]);
    let program = finderscope().get_program().to_string_lossy().into_owned();
    let line = format!("exec '{program}' top --url http://{} --keys ipsource --value bytes", collector.http);
    let mut terminal = Command::new("script")
        .args(["-qfc", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("script (package bsdutils) is there");
    // Its flow is named after its process.
    let process = collector.wait_for("/flow/json", |flows| {
        flows.as_object()?.keys().find_map(|name| name.strip_prefix("top-").map(str::to_owned))
    });
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    collector.wait_for("/flow/json", |flows| flows.as_object()?.is_empty().then_some(()));
    let deadline = Instant::now() + PATIENCE;
    while std::path::Path::new(&format!("/proc/{process}/exe")).exists() {
        assert!(Instant::now() < deadline, "process {process} outlives its terminal");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_signal_takes_its_flow_away_too() {
    let collector = Collector::start(&[]);
    let mut child = once(&collector, &["--keys", "ipsource"]).stdout(Stdio::null()).spawn().unwrap();
    collector.wait_for("/flow/json", |flows| (flows.as_object().unwrap().len() == 1).then_some(()));
    let began = Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "top did not end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(collector.json("/flow/json"), serde_json::json!({}));
}

#[test]
fn without_a_collector_or_a_terminal_the_next_step_is_said() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let mut command = finderscope();
    command.args(["top", "--once", "--url", &url]);
    let said = refusal(command);
    assert!(said.contains(&url) && said.contains("finderscope run") && said.contains("refused"), "{said}");
    let mut command = finderscope();
    command.args(["top", "--url", &url]);
    assert!(refusal(command).contains("--once"), "standard output is no terminal here");
}

#[test]
fn a_token_comes_from_the_environment_and_is_shown() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = finderscope();
    let url = format!("http://{}", listener.local_addr().unwrap());
    command.args(["top", "--once", "--keys", "ipsource", "--url", &url]);
    command.env("FINDERSCOPE_HTTP_TOKEN", "0123456789abcdef").stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 4096];
    let length = stream.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    assert!(head.starts_with("put /flow/top-"), "{head}");
    assert!(head.contains("authorization: bearer 0123456789abcdef"), "{head}");
    write!(stream, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 18\r\n\r\n{{\"error\":\"no way\"}}")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("401 Unauthorized: no way") && !said.contains("0123456789"), "{said}");
}
