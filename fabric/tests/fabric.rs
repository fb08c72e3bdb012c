//! What the fabric emits, read back by `decode` and compared with the truth.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod heard;

use std::collections::{BTreeMap, BTreeSet};

use decode::{Address, DataSource};
use fabric::{Curve, Fabric, FabricError, FabricOptions, WEB};
use heard::Heard;

const SECOND: u64 = 1_000_000;

/// A fabric of which much is sampled.
fn busy() -> FabricOptions {
    FabricOptions {
        hosts: 24,
        flows: 400,
        sampling: 50,
        host_bps: 4e7,
        polling_s: 2,
        load: Curve::Sine { period_s: 20.0 },
        ..FabricOptions::default()
    }
}

/// Runs a fabric for some seconds, in steps of 70 ms.
fn run(options: &FabricOptions, seconds: u64) -> (Heard, Fabric) {
    let mut fabric = Fabric::new(options).unwrap();
    let mut heard = Heard::default();
    for now_us in (0..=seconds * SECOND).step_by(70_000) {
        fabric.step(now_us, &mut |agent, bytes| heard.datagram(agent, bytes, now_us));
    }
    let now_us = seconds * SECOND;
    fabric.step(now_us, &mut |agent, bytes| heard.datagram(agent, bytes, now_us));
    fabric.finish(&mut |agent, bytes| heard.datagram(agent, bytes, now_us));
    (heard, fabric)
}

#[test]
fn the_same_seed_gives_the_same_bytes_however_time_passes() {
    let all = |seed, step| {
        let mut bytes = Vec::new();
        let mut fabric = Fabric::new(&FabricOptions { seed, ..busy() }).unwrap();
        for now_us in (0..=5 * SECOND).step_by(step) {
            fabric.step(now_us, &mut |_, datagram| bytes.extend_from_slice(datagram));
        }
        bytes
    };
    let one = all(7, 50_000);
    assert!(one.len() > 100_000);
    assert!(one == all(7, 1_000_000), "steps of another length");
    assert!(one != all(8, 50_000), "another seed");
}

#[test]
fn counters_equal_the_truth() {
    let (heard, fabric) = run(&busy(), 10);
    let truth = fabric.truth();
    assert_eq!(truth.time_us, 10 * SECOND);
    let mut octets = 0;
    for port in &truth.interfaces {
        let counted = &heard.interfaces[&(port.agent, port.source)];
        assert_eq!(counted.name, port.name);
        assert_eq!(counted.speed_bps, port.speed_bps);
        assert_eq!(
            [counted.in_octets, counted.in_frames, counted.out_octets, counted.out_frames],
            [port.in_octets, port.in_frames, port.out_octets, port.out_frames],
            "{} {}",
            port.agent,
            port.name
        );
        octets += port.in_octets;
    }
    assert!(octets > 100_000_000);
    // A host counts what its port counts, the other way round.
    let hosts: Vec<_> = truth.agents.iter().filter(|agent| agent.role == "host").collect();
    assert_eq!(hosts.len(), 24);
    for (n, host) in hosts.iter().enumerate() {
        let leaf = truth.agents.iter().find(|agent| agent.name == format!("leaf{}", n % 4 + 1)).unwrap();
        let source = DataSource { class: 0, index: n as u32 / 4 + 1 };
        let port = &heard.interfaces[&(leaf.agent, source)];
        let counted = &heard.hosts[&host.agent];
        assert_eq!(counted.name, host.name);
        assert_eq!(
            [counted.bytes_in, counted.frames_in, counted.bytes_out, counted.frames_out],
            [port.out_octets, port.out_frames, port.in_octets, port.in_frames],
        );
        assert_eq!(counted.records, [2001, 2003, 2004, 2005, 2006, 2100, 2000]);
    }
}

#[test]
fn pools_sequences_and_samples_are_exact() {
    let (heard, fabric) = run(&busy(), 10);
    let truth = fabric.truth();
    for agent in &truth.agents {
        assert_eq!(
            heard.datagrams.get(&agent.agent).copied().unwrap_or(0),
            agent.datagrams,
            "{}",
            agent.name
        );
    }
    for port in &truth.interfaces {
        let Some(seen) = heard.samples.get(&(port.agent, port.source)) else {
            assert_eq!(port.samples, 0);
            continue;
        };
        assert_eq!(u64::from(seen.sequence), port.samples);
        // The pool counts every packet: what came after the last sample is all that is missing.
        let after = port.in_frames - u64::from(seen.pool);
        assert!(after < 50 * 30, "{after} packets without a sample");
    }
    let sampled: u64 = truth.flows.iter().flat_map(|flow| &flow.hops).map(|hop| hop.samples).sum();
    assert_eq!(sampled, heard.flow_samples);
    assert!(sampled > 5000, "{sampled}");
}

/// Every flow at every hop: the samples of it that were heard are those that were taken, and their estimate is
/// within the bound of promise I4 for nine classes in ten and more.
#[test]
fn estimates_are_within_the_bound() {
    let (heard, fabric) = run(&FabricOptions { flows: 600, ..busy() }, 40);
    let truth = fabric.truth();
    let sampling = truth.sampling;
    let (mut classes, mut inside) = (0, 0);
    for flow in &truth.flows {
        for (n, hop) in flow.hops.iter().enumerate() {
            // The first leaf sees the packet before it is put into its tunnel.
            let vni = flow.vni.filter(|_| n > 0);
            let key = (hop.agent, hop.input, flow.source, flow.destination, flow.protocol, flow.ports, vni);
            let class = heard.classes.get(&key).copied().unwrap_or_default();
            assert_eq!(class.samples, hop.samples, "{key:?}");
            if class.samples < 30 {
                continue;
            }
            assert_eq!(class.output, hop.output);
            assert_eq!(class.bytes, hop.samples * u64::from(hop.frame_length));
            let truth = (flow.frames * u64::from(hop.frame_length)) as f64;
            let estimate = class.bytes as f64 * f64::from(sampling);
            let bound = 1.96 * (1.0 / class.samples as f64).sqrt();
            classes += 1;
            inside += u64::from((estimate - truth).abs() <= bound * truth);
        }
    }
    assert!(classes >= 200, "{classes} classes");
    assert!(inside * 10 >= classes * 9, "{inside} of {classes}");
    // In all, hundreds of thousands of frames at every hop.
    let frames: u64 = truth.flows.iter().map(|flow| flow.frames * flow.hops.len() as u64).sum();
    let estimate = heard.flow_samples * 50;
    let error = (estimate as f64 - frames as f64).abs() / frames as f64;
    assert!(error < 1.96 * (1.0 / heard.flow_samples as f64).sqrt() * 1.5, "{error}");
}

#[test]
fn every_kind_of_traffic_is_there() {
    let (heard, fabric) = run(&busy(), 20);
    for stack in [
        "eth.ip.tcp",
        "eth.ip.udp",
        "eth.ip6.tcp",
        "eth.ip6.udp",
        "eth.ip.udp.vxlan.eth.ip.tcp",
        "eth.ip.udp.vxlan.eth.ip6.tcp",
    ] {
        assert!(heard.stacks.contains_key(stack), "{stack} is missing from {:?}", heard.stacks);
    }
    for token in ["dns", "icmp"] {
        assert!(heard.stacks.keys().any(|stack| stack.contains(token)), "{token}: {:?}", heard.stacks);
    }
    assert!(heard.shapes.contains(&true) && heard.shapes.contains(&false), "both forms of samples");
    // Equal-cost paths: every spine is crossed, and samples come from each.
    let truth = fabric.truth();
    let spines: BTreeSet<Address> =
        truth.agents.iter().filter(|agent| agent.role == "spine").map(|agent| agent.agent).collect();
    assert_eq!(spines.len(), 2);
    let mut crossed: BTreeMap<Address, u64> = BTreeMap::new();
    for flow in truth.flows.iter().filter(|flow| flow.hops.len() == 3) {
        *crossed.entry(flow.hops[1].agent).or_default() += 1;
    }
    assert_eq!(crossed.keys().copied().collect::<BTreeSet<_>>(), spines);
    assert!(crossed.values().all(|flows| *flows > 50), "{crossed:?}");
    assert!(spines.iter().all(|spine| heard.samples.keys().any(|(agent, _)| agent == spine)));
}

#[test]
fn listed_addresses_are_talked_to_through_the_uplink() {
    let fabric = Fabric::new(&busy()).unwrap();
    let (listed, truth) = (fabric.listed(), fabric.truth());
    assert_eq!(listed.len(), 2);
    assert!(listed[0].address.to_string().starts_with("198.51.100."));
    assert!(listed[1].address.to_string().starts_with("203.0.113."));
    let border = truth.agents.iter().find(|agent| agent.name == "leaf1").unwrap().agent;
    let uplink = truth.interfaces.iter().filter(|port| port.agent == border).count() as u32;
    for listed in listed {
        let there = truth.flows.iter().find(|flow| flow.destination == listed.address).unwrap();
        assert_eq!(there.source, listed.host);
        let last = there.hops.last().unwrap();
        assert_eq!((last.agent, last.output), (border, uplink));
        let back = truth.flows.iter().find(|flow| flow.source == listed.address).unwrap();
        assert_eq!((back.hops[0].agent, back.hops[0].input), (border, uplink));
    }
}

#[test]
fn containers_follow_the_load_and_say_when_they_stop() {
    let options = FabricOptions { load: Curve::Steady, ..busy() };
    let mut fabric = Fabric::new(&options).unwrap();
    let mut heard = Heard::default();
    let until = |fabric: &mut Fabric, heard: &mut Heard, end_us| {
        while fabric.now_us() < end_us {
            let now_us = fabric.now_us() + 50_000;
            fabric.step(now_us, &mut |agent, bytes| heard.datagram(agent, bytes, now_us));
        }
    };
    until(&mut fabric, &mut heard, 20 * SECOND);
    let two = fabric.truth().containers;
    assert_eq!((fabric.replicas(WEB), two.len()), (Some(2), 2));
    for (place, container) in two.iter().enumerate() {
        let (slot, task) = container.name.strip_prefix("web.").unwrap().split_once('.').unwrap();
        assert_eq!((slot, task.len()), ((place + 1).to_string().as_str(), 25));
        let said = &heard.containers[&container.name];
        assert_eq!(said.records, [2001, 2103, 2102, 2101, 2104, 2002, 2000]);
        assert_eq!((said.state, said.source.class, said.source.index), (1, 3, 100_000));
        // Half of 600 kB/s each, and a tenth of a microsecond for each byte.
        let (bytes, ms) = (said.rate(|at| at.bytes), said.rate(|at| at.cpu_ms));
        assert!((bytes - 300_000.0).abs() < 6000.0, "{bytes} bytes per second");
        assert!((ms - 30.0).abs() < 1.5, "{ms} ms of processor time per second");
    }
    fabric.set_replicas(WEB, 5).unwrap();
    until(&mut fabric, &mut heard, 40 * SECOND);
    let five = fabric.truth().containers;
    assert_eq!(five.len(), 5);
    for container in &five {
        let bytes = heard.containers[&container.name].rate_of_last(|at| at.bytes);
        assert!((bytes - 120_000.0).abs() < 12_000.0, "{bytes} bytes per second");
    }
    fabric.set_replicas(WEB, 1).unwrap();
    until(&mut fabric, &mut heard, 41 * SECOND);
    for (place, container) in five.iter().enumerate() {
        let said = &heard.containers[&container.name];
        let last = said.history.last().unwrap();
        if place == 0 {
            assert_eq!(said.state, 1);
        } else {
            assert_eq!((said.state, last.cpu_ms), (5, 0), "shut off, without processor time");
            assert_eq!(last.bytes, container.in_octets + container.out_octets, "what it had carried");
        }
    }
    // A slot that starts again has a container of another name and index, which counts from the beginning.
    fabric.set_replicas(WEB, 2).unwrap();
    until(&mut fabric, &mut heard, 42 * SECOND);
    let again = &fabric.truth().containers[1];
    assert_ne!(again.name, five[1].name);
    assert_eq!(again.source.index, 100_001);
    assert!(heard.containers[&again.name].history[0].bytes < 100_000);
    assert_eq!(fabric.set_replicas("db", 1), Err(FabricError::Service("db".to_owned())));
    assert!(fabric.set_replicas(WEB, 101).is_err());
}

#[test]
fn the_rate_wanted_is_made() {
    for wanted in [150.0, 2000.0] {
        let options = FabricOptions { rate: Some(wanted), polling_s: 2, ..FabricOptions::default() };
        let (heard, _) = run(&options, 20);
        let made = heard.datagrams.values().sum::<u32>() as f64 / 20.0;
        assert!((made - wanted).abs() < 0.15 * wanted, "{made} datagrams per second, not {wanted}");
    }
    let few = FabricOptions { rate: Some(3.0), hosts: 1000, ..FabricOptions::default() };
    let refused = Fabric::new(&few).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("raise the rate or the polling interval"), "{refused}");
}
