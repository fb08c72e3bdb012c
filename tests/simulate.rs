//! `finderscope simulate` sends a fabric's sFlow, and writes the truth about it.

use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use decode::{Datagram, Sample};

use crate::support::live::Watch;
use crate::support::{Collector, PATIENCE, finderscope};

const SMALL: [&str; 12] =
    ["--hosts", "8", "--flows", "60", "--sampling", "50", "--rate", "100", "--polling", "1", "--seed", "5"];

#[test]
fn what_was_sent_is_in_the_truth() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let to = collector.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("truth.json");
    let mut child = finderscope()
        .args(["simulate", "--to", &to, "--duration", "3", "--truth"])
        .arg(&file)
        .args(SMALL)
        .stderr(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let _watch = Watch::over(&child);
    let (mut datagrams, mut flow_samples, mut counters_samples) = (0, 0, 0);
    let mut take = |collector: &UdpSocket| {
        let mut buffer = [0; 2000];
        let Ok(length) = collector.recv(&mut buffer) else { return false };
        datagrams += 1;
        for sample in Datagram::parse(&buffer[..length]).unwrap().samples() {
            match sample.unwrap() {
                Sample::Flow(_) => flow_samples += 1,
                Sample::Counters(_) => counters_samples += 1,
                other => panic!("{other:?}"),
            }
        }
        true
    };
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it did not end after its duration");
        take(&collector);
    }
    while take(&collector) {}
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("sent {datagrams} datagrams")), "{datagrams}: {said}");
    assert!((150..600).contains(&datagrams), "about 100 a second: {datagrams}");
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let sum = |list: &str, name: &str| -> u64 {
        truth[list].as_array().unwrap().iter().map(|one| one[name].as_u64().unwrap()).sum()
    };
    assert_eq!((truth["time_us"].as_u64(), truth["sampling"].as_u64()), (Some(3_000_000), Some(50)));
    assert_eq!(sum("agents", "datagrams"), datagrams);
    assert_eq!(sum("interfaces", "samples"), flow_samples);
    // Every interface, host and container at least twice, and once more at the end.
    let sources = truth["interfaces"].as_array().unwrap().len() + 8 + 2;
    assert!(counters_samples >= 3 * sources, "{counters_samples} of {sources}");
    assert!(sum("flows", "bytes") > 1_000_000);
    assert_eq!(truth["listed"].as_array().unwrap().len(), 2);
}

/// The collector, told by the fabric, agrees with the fabric's truth.
#[test]
fn a_collector_sees_the_fabric() {
    let collector = Collector::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("truth.json");
    let to = collector.sflow.to_string();
    let status = finderscope()
        .args(["simulate", "--to", &to, "--duration", "3", "--truth"])
        .arg(&file)
        .args(SMALL)
        .status()
        .unwrap();
    assert!(status.success());
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let agents = truth["agents"].as_array().unwrap();
    let seen = collector.wait_for("/agents/json", |all| {
        let all = all.as_object()?;
        (all.len() == agents.len()).then(|| all.clone())
    });
    for agent in agents {
        assert!(seen.contains_key(agent["agent"].as_str().unwrap()), "{agent} is missing from {seen:?}");
    }
    let running =
        collector.json("/metric/ALL/sum:vir_bytes_in/json?vir_host_name=web.*&vir_cpu_state=running");
    assert_eq!(running[0]["metricN"], 2, "{running}");
    let hosts = collector.json("/metric/ALL/avg:load_one/json?host_name=host*");
    assert_eq!(hosts[0]["metricN"], 8, "{hosts}");
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn a_fabric_that_cannot_be_made_is_refused_by_what_is_wrong() {
    for (args, said) in [
        (["--hosts", "1"], "the number of hosts is 1: give 2 to 16000"),
        (["--rate", "1"], "raise the rate or the polling interval"),
        (["--truth", "/nowhere/truth"], "--truth /nowhere/truth: it cannot be written"),
    ] {
        let output = finderscope().args(["simulate", "--to", "127.0.0.1:9"]).args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(said), "{args:?}: {error}");
    }
    let output = finderscope().args(["simulate", "--to", "127.0.0.1:9", "--rate", "none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
