//! The adapters of containers, in network namespaces as an engine makes them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};

use finderscope_agent::container::adapters::{self, Adapter};
use finderscope_agent::container::place::Root;

use netns::Namespace;

#[path = "../../tests/support/netns.rs"]
#[allow(dead_code, reason = "shared with the root package's tests")]
mod netns;

/// What the namespaces need of the root package's support.
#[path = "../../tests/support/alone.rs"]
mod live;

fn ip(line: &str) -> String {
    live::run("ip", &line.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn an_adapter_has_the_port_of_the_host_that_it_is_behind_and_none_in_an_overlay() {
    let host = Namespace::new("adapters-h");
    let overlay = Namespace::new("adapters-o");
    let container = Namespace::new("adapters-c");
    let inside = container.name();
    let mut process = container.inside(|| {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    });
    let found = host.inside(|| {
        ip(&format!(
            "link add port index 77 type veth peer name eth0 address 02:00:00:00:00:02 netns {inside}"
        ));
        // A task of a swarm has another one, whose other half only the network's own namespace sees; what has its index here
        // is somebody else's.
        ip("link add other index 4711 type veth peer name others");
        let far = "far index 4711 type veth peer name eth1 address 02:00:00:00:00:03";
        ip(&format!("-n {} link add {far} netns {inside}", overlay.name()));
        adapters::of_process(&Root::new(Path::new("/")), process.id(), || ())
    });
    process.kill().unwrap();
    process.wait().unwrap();
    let expected = [([2, 0, 0, 0, 0, 2], Some(77)), ([2, 0, 0, 0, 0, 3], None)];
    assert_eq!(found.unwrap(), expected.map(|(mac, peer)| Adapter { mac, peer }));
}
