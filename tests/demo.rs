//! `finderscope run --demo`: a fabric that is seen.

use crate::support::{Collector, finderscope};

#[test]
fn the_demo_sees_its_own_fabric_and_ends() {
    let collector = Collector::start(&["--demo", "--defaults", "--state-dir", "none"]);
    let url = format!("http://{}", collector.http);
    assert!(collector.wait_for_log("A simulated fabric sends to")[0].contains(&url));
    collector.wait_for("/activeflows/ALL/flows/json", |flows| {
        flows.as_array().is_some_and(|flows| flows.len() > 50).then_some(())
    });
    let said = collector.wait_for_log("The collector sees");
    let line = said[0].split("INFO: ").nth(1).unwrap();
    let number = |after: &str| -> f64 {
        let word = line.split(after).nth(1).unwrap().split_whitespace().next().unwrap();
        word.parse().unwrap_or_else(|_| panic!("{line}"))
    };
    // Two spines, four leaves and sixteen hosts.
    assert_eq!(number("The collector sees "), 22.0, "{line}");
    assert!(number("agents and ") > 100.0, "{line}");
    assert!(line.contains("; the largest flow is ") && line.ends_with(" bytes/s"), "{line}");
    // Hosts of the fabric talk to listed addresses, rarely enough that few samples show it.
    collector.wait_for("/activeflows/ALL/listed/json", |flows| {
        flows.as_array().is_some_and(|flows| !flows.is_empty()).then_some(())
    });
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn a_demo_whose_port_is_taken_says_what_to_do() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _holder = std::net::UdpSocket::bind(taken).unwrap();
    let output = finderscope()
        .args(["run", "--demo", "--sflow", &taken.to_string(), "--http", "127.0.0.1:0"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&taken.to_string()) && said.contains("other ports are taken with --sflow"),
        "{said}"
    );
}
