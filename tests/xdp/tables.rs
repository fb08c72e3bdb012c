//! The same traffic gives the same tables by UDP, by AF_XDP and from a file, by one queue and by several.

use std::collections::BTreeMap;

use fabric::{Fabric, FabricOptions};
use ingest::capture::{Writer, link};
use serde_json::Value as Json;

use super::lab::{Lab, frames, ingest, send, taken, to, wait_for_taken};
use crate::support::{Collector, finderscope};

/// Datagrams of a small fabric's agents, whose counters make several rates within a few seconds of the fabric's time.
fn traffic(count: usize) -> Vec<Vec<u8>> {
    let options = FabricOptions { polling_s: 1, rate: Some(100.0), ..FabricOptions::default() };
    let mut fabric = Fabric::new(&options).unwrap();
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    while datagrams.len() < count {
        fabric.step(fabric.now_us() + 100_000, &mut |_, bytes| datagrams.push(bytes.to_vec()));
    }
    datagrams.truncate(count);
    datagrams
}

const FLOW: &str = r#"{"keys":"ipsource,ipdestination","value":"frames","t":3600}"#;

fn define(collector: &Collector) {
    let (status, answer) = collector.request("PUT", "/flow/pairs/json", Some(FLOW));
    assert!(status < 300, "{answer}");
}

/// What the collector's tables hold that does not depend on the moment: counts of agents, metrics, flows.
#[derive(Debug, Default, PartialEq)]
struct Tables {
    agents: BTreeMap<String, Json>,
    metrics: BTreeMap<String, Json>,
    flows: BTreeMap<String, f64>,
}

impl Tables {
    fn of(collector: &Collector) -> Self {
        let mut tables = Self::default();
        for (agent, counts) in collector.json("/agents/json").as_object().unwrap() {
            let mut counts = counts.clone();
            let moments = ["sFlowDatagramSource", "firstSeen", "lastSeen"];
            counts.as_object_mut().unwrap().retain(|name, _| !moments.contains(&name.as_str()));
            tables.agents.insert(agent.clone(), counts);
        }
        for row in collector.json("/dump/ALL/ALL/json").as_array().unwrap() {
            if row["metricName"] != "pairs" {
                let key = format!("{} {} {}", row["agent"], row["dataSource"], row["metricName"]);
                tables.metrics.insert(key, row["metricValue"].clone());
            }
        }
        let flows = collector.json("/activeflows/ALL/pairs/json?maxFlows=100000&aggMode=sum");
        for row in flows.as_array().unwrap() {
            let key = row["key"].as_str().unwrap().to_owned();
            tables.flows.insert(key, row["value"].as_f64().unwrap());
        }
        tables
    }

    /// Fails where they differ, naming the first difference.
    fn assert_same(&self, expected: &Self, what: &str) {
        let sizes = (expected.agents.len(), expected.metrics.len(), expected.flows.len());
        assert!(sizes.0 > 5 && sizes.1 > 100 && sizes.2 > 50, "{sizes:?}");
        for (name, found, expected) in
            [("agents", &self.agents, &expected.agents), ("metrics", &self.metrics, &expected.metrics)]
        {
            assert_eq!(found.len(), expected.len(), "{what}: {name}");
            for (key, value) in expected {
                assert_eq!(found.get(key), Some(value), "{what}: {name}: {key}");
            }
        }
        assert_eq!(self.flows.len(), expected.flows.len(), "{what}: flows");
        for (key, value) in &expected.flows {
            // Rates decay with time: by half a percent in 18 seconds.
            let found = self.flows.get(key).copied().unwrap_or_default();
            assert!((found / value - 1.0).abs() < 0.02, "{what}: {key}: {found} and {value}");
        }
    }
}

/// What a collector makes of the traffic that comes over the cable from as many ports, and what it has to say of how
/// it came.
fn over_the_cable(
    lab: &Lab,
    options: &[&str],
    ports: usize,
    datagrams: &[Vec<u8>],
) -> (Tables, Json, String) {
    let mut collector = None;
    let mut found = None;
    lab.on_near(|| {
        let running = Lab::collector(options);
        define(&running);
        send(&running, &lab.senders([192, 0, 2, 2], ports), to(), datagrams);
        let metrics = running.get("/metrics").1;
        found = Some((Tables::of(&running), ingest(&running), metrics));
        collector = Some(running);
    });
    assert_eq!(collector.unwrap().end(), Some(0));
    found.unwrap()
}

/// What a collector makes of a capture file of the same traffic.
fn from_a_file(lab: &Lab, datagrams: &[Vec<u8>]) -> Tables {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.as_file_mut(), link::RAW).unwrap();
    for (n, payload) in datagrams.iter().enumerate() {
        let length = 28 + payload.len() as u32;
        let [.., high, low] = length.to_be_bytes();
        let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
        let [.., high, low] = (length - 20).to_be_bytes();
        packet.extend([0x10, 0, 0x18, 0xc7, high, low, 0, 0]);
        packet.extend(payload);
        writer.frame(n as u64 * 1000, &packet, length).unwrap();
    }
    writer.flush().unwrap();
    let mut tables = None;
    lab.on_near(|| {
        let collector = Collector::start(&["--sflow", "127.0.0.1:0", "--workers", "1"]);
        define(&collector);
        let to = collector.sflow.to_string();
        let replay = finderscope()
            .arg("replay")
            .arg(file.path())
            .args(["--to", &to, "--rate", "1000"])
            .output()
            .unwrap();
        assert!(replay.status.success(), "{replay:?}");
        wait_for_taken(&collector, datagrams.len() as u64);
        tables = Some(Tables::of(&collector));
    });
    tables.unwrap()
}

fn metric(metrics: &str, name: &str) -> Vec<f64> {
    let lines = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_same_traffic_gives_the_same_tables_by_udp_af_xdp_and_from_a_file() {
    let lab = Lab::new("same", 1);
    let datagrams = traffic(600);
    let (by_udp, how, _) = over_the_cable(&lab, &["--ingest", "udp", "--workers", "1"], 1, &datagrams);
    assert_eq!((&how["mode"], how.get("interface")), (&"udp".into(), None));
    let sent = datagrams.len() as u64;
    for mode in ["auto", "generic"] {
        let options = ["--ingest", "xdp", "--xdp-mode", mode, "--workers", "1"];
        let (by_xdp, how, metrics) = over_the_cable(&lab, &options, 1, &datagrams);
        by_xdp.assert_same(&by_udp, mode);
        let reached = if mode == "auto" { "copy" } else { mode };
        assert_eq!((&how["mode"], &how["interface"]), (&reached.into(), &"near".into()));
        assert_eq!(how["frames"]["steered"], sent, "{how:#}");
        let refused = how["why"].as_array().unwrap();
        assert_eq!(
            refused.len(),
            usize::from(mode == "auto"),
            "veth has no zero-copy, and says so: {refused:?}"
        );
        let queue = &how["queues"][0];
        assert_eq!(
            (&queue["queue"], &queue["worker"], &queue["rxDropped"]),
            (&0.into(), &0.into(), &0.into())
        );
        let of = |name: &str| queue[name].as_u64().unwrap();
        let known = of("fillLevel") + of("receiveLevel") + of("framesLent") + of("framesFree");
        assert_eq!(known, of("frames"), "no frame is lost: {queue}");
        assert_eq!(metric(&metrics, "finderscope_queue_drops_total"), [0.0; 4]);
        assert!(metrics.contains(&format!("finderscope_ingest{{mode=\"{reached}\",interface=\"near\"}} 1")));
        let steered =
            format!("finderscope_xdp_frames_total{{interface=\"near\",verdict=\"steered\"}} {sent}\n");
        assert!(metrics.contains(&steered), "{metrics}");
    }
    from_a_file(&lab, &datagrams).assert_same(&by_udp, "from a file");
}

/// The kernel cannot choose the queue by the agent inside a datagram: what comes to a worker that does not own the agent
/// is handed to the one that does.
#[test]
fn agents_that_come_by_several_queues_are_one_workers() {
    let lab = Lab::new("queues", 2);
    let datagrams = traffic(500);
    let (expected, ..) = over_the_cable(&lab, &["--ingest", "udp", "--workers", "1"], 1, &datagrams);
    // As many workers as queues, fewer, and more; and memory of their own, or one for all.
    for options in [
        &["--workers", "2", "--pin"][..],
        &["--workers", "1", "--share-umem"],
        &["--workers", "4", "--share-umem"],
        &["--workers", "2", "--busy-poll"],
    ] {
        let all = [&["--ingest", "xdp"], options].concat();
        // Sixteen ports: the kernel spreads them over both queues.
        let (found, how, metrics) = over_the_cable(&lab, &all, 16, &datagrams);
        found.assert_same(&expected, &format!("{options:?}"));
        let workers: Vec<u64> =
            how["queues"].as_array().unwrap().iter().map(|queue| queue["worker"].as_u64().unwrap()).collect();
        assert_eq!(workers, if options[1] == "1" { [0, 0] } else { [0, 1] });
        let handed_over: f64 = metric(&metrics, "finderscope_handed_over_total").iter().sum();
        assert_eq!(handed_over > 50.0, options[1] != "1", "{options:?}: {handed_over}");
        assert_eq!(how["busyPoll"], options.contains(&"--busy-poll"), "{how:#}");
    }
}

/// The worker that sees an agent first owns it: what comes by one queue stays there.
#[test]
fn agents_that_come_by_one_queue_stay_with_its_worker() {
    let lab = Lab::new("one-queue", 2);
    let datagrams = traffic(200);
    let options = ["--ingest", "xdp", "--workers", "2"];
    let (_, how, metrics) = over_the_cable(&lab, &options, 1, &datagrams);
    assert_eq!((how["queues"].as_array().unwrap().len(), &how["frames"]["steered"]), (2, &200.into()));
    assert_eq!(metric(&metrics, "finderscope_handed_over_total"), [0.0, 0.0]);
}

/// A queue that is not read is the kernel's, and its datagrams come to the UDP socket beside.
#[test]
fn what_comes_to_other_queues_comes_by_udp() {
    let lab = Lab::new("other-queues", 2);
    let datagrams = traffic(300);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp", "--queues", "1", "--workers", "2"]);
        send(&collector, &lab.senders([192, 0, 2, 2], 16), to(), &datagrams);
        let (steered, no_socket) = (frames(&collector, "steered"), frames(&collector, "no_socket"));
        assert_eq!(steered + no_socket, 300);
        assert!(steered > 20 && no_socket > 20, "{steered} and {no_socket}");
        assert_eq!(ingest(&collector)["queues"][0]["worker"], 1);
        assert_eq!(taken(&collector), 300);
        assert_eq!(
            collector.log().iter().filter(|line| line.contains("AF_XDP from near, queues 1, copy")).count(),
            1
        );
    });
}
