//! `finderscope bench`: every part is there, every datagram of every run is somewhere (promise I1), and what it says of them
//! agrees with itself. How fast it is no test says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::live::{command, run, temporary_folder};
use crate::support::netns::Namespace;
use crate::support::{PATIENCE, finderscope};

/// Flow samples of each datagram.
const SAMPLES: u64 = 7;

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert_eq!(said, "", "nothing but the report, where nobody watches");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

fn figure(value: &Value, path: &str) -> f64 {
    let figure =
        value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {value:#}"));
    assert!(figure >= 0.0, "{path}: {figure}");
    figure
}

/// Sent = read + errors + drops, and a sample for a seventh of what was read.
fn adds_up(account: &Value) {
    let of = |name: &str| number(account, &format!("/{name}"));
    let drops = ["socket_drops", "ring_drops", "hand_over_drops", "interface_drops"].map(of);
    assert!(of("sent") > 0, "{account:#}");
    assert_eq!(of("sent"), of("read") + of("errors") + drops.iter().sum::<u64>(), "{account:#}");
    assert_eq!(of("samples"), of("read") * SAMPLES, "{account:#}");
    assert_eq!((of("errors"), account["missing"].as_i64()), (0, Some(0)), "{account:#}");
    // What sequence numbers tell of is among the drops; of a stretch that was dropped to its end they tell nothing.
    assert!(of("lost_datagrams_by_sequence") <= drops.iter().sum::<u64>(), "{account:#}");
}

/// One way with all of its runs.
fn is_whole(way: &Value, reached: &str) {
    assert_eq!(way["reached"], reached);
    assert!(figure(way, "/receive_only/received/datagrams_per_s") > 0.0);
    assert!(figure(way, "/receive_only/cost/ns_per_datagram") > 0.0);
    assert_eq!(way["pipeline"][0]["workers"], 1);
    for row in way["pipeline"].as_array().unwrap() {
        let per_s = figure(row, "/sustainable/datagrams_per_s");
        assert!((figure(row, "/sustainable/samples_per_s") - per_s * SAMPLES as f64).abs() < 1.0, "{row:#}");
        assert!(
            (figure(row, "/sustainable/fabric_tbps") * 1250.0 - per_s * SAMPLES as f64).abs() < 1.0,
            "{row:#}"
        );
        assert!(
            figure(row, "/cost/ns_per_sample") > 0.0 && row["sustainable"]["limited_by_sender"].is_boolean()
        );
    }
    for run in ["sustained", "overload"] {
        adds_up(&way[run]["account"]);
        assert!(number(way, &format!("/{run}/resident_bytes/1")) > 1 << 20);
    }
    let sustained = &way["sustained"];
    let account = &sustained["account"];
    let whole = account["sent"] == account["read"] && account["lost_samples_by_sequence"] == 0;
    assert!(whole || sustained["holds"] == false, "{sustained:#}");
    for run in ["idle", "busy"] {
        let latency = &way["latency"][run];
        assert!(number(latency, "/probes") > number(latency, "/missing"), "{latency:#}");
        let [p50, p99, most] = ["/p50_us", "/p99_us", "/most_us"].map(|path| figure(latency, path));
        assert!(p50 > 0.0 && p50 <= p99 && p99 <= most, "{latency:#}");
    }
    assert_eq!(way["latency"]["idle"]["missing"], 0);
    let curve = way["curve"].as_array().unwrap();
    assert!(curve.len() > 2, "{curve:?}");
    for point in curve {
        assert!(figure(point, "/received") <= figure(point, "/offered") * 1.000_001, "{point}");
    }
}

#[test]
fn a_quick_run_has_every_part_and_every_datagram() {
    let folder = temporary_folder();
    let [report, plot] = ["report.json", "plot.svg"].map(|name| folder.path().join(name));
    let mut bench = finderscope();
    bench
        .args(["bench", "--quick", "--format", "json", "--compare", "--output"])
        .arg(&report)
        .arg("--plot")
        .arg(&plot);
    let told = json(&bench.output().unwrap());
    let written: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(told, written, "what is printed is what is written");
    assert_eq!(told["left_out"].as_array().map(Vec::len), Some(0), "{:#}", told["left_out"]);
    let memory = &told["memory"];
    assert!(figure(memory, "/copy_ns_per_sample") < figure(memory, "/pipeline_ns_per_sample"), "{memory:#}");
    assert!(figure(memory, "/decode_ns_per_sample") > 0.0 && number(memory, "/flows") > 1000);
    let ways = told["ways"].as_array().unwrap();
    let names: Vec<_> = ways.iter().map(|way| way["way"].as_str().unwrap()).collect();
    assert_eq!(names, ["udp", "af_xdp", "af_xdp-unverified", "af_xdp-generic"]);
    is_whole(&ways[0], "udp");
    is_whole(&ways[1], "copy");
    assert_eq!((&ways[2]["reached"], &ways[3]["reached"]), (&"copy".into(), &"generic".into()));
    assert!(figure(&ways[2], "/receive_only/cost/worker_ns_per_datagram") > 0.0);
    // Only on AF_XDP's way there are rings, only on UDP's sockets that can be full.
    assert_eq!(ways[0]["overload"]["account"]["ring_drops"], 0);
    assert_eq!(ways[1]["overload"]["account"]["socket_drops"], 0);
    let runs: u64 = ways.iter().map(|way| number(way, "/accounts")).sum();
    assert_eq!(number(&told, "/accounts/runs"), runs);
    assert_eq!(told["accounts"]["wrong"].as_array().map(Vec::len), Some(0), "{:#}", told["accounts"]);
    compared(&told["compared"]);
    drawn(&fs::read_to_string(&plot).unwrap());
}

/// Each peer is there with its ratio, or it is said that it is not installed.
fn compared(compared: &Value) {
    assert_eq!(compared["failed"].as_array().map(Vec::len), Some(0), "{compared:#}");
    let of = |list: &str, name: Option<&str>| -> Vec<String> {
        let all = compared[list].as_array().unwrap().iter();
        all.map(|one| name.map_or(one, |name| &one[name]).as_str().unwrap().to_owned()).collect()
    };
    let mut all = of("peers", Some("peer"));
    all.extend(of("not_installed", None));
    all.sort();
    assert_eq!(all, ["sfacctd", "sfcapd", "sflowtool"]);
    for row in compared["peers"].as_array().unwrap() {
        assert!(figure(row, "/ratio") > 0.0);
        let (theirs, ours) = (number(row, "/their_output"), number(row, "/our_output"));
        // Lines and records are the same in number; of flows, sfacctd's cache may have given some twice.
        let equal = if row["output"] == "flows" { theirs >= ours && ours > 0 } else { theirs == ours };
        assert!(equal, "{row:#}");
    }
}

/// The plot is a whole SVG with a line for each way.
fn drawn(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let tag = tag.split_once('>').unwrap().0;
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        match tag {
            tag if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            tag if tag.ends_with('/') => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty() && svg.starts_with("<svg "), "{open:?}");
    for text in ["af_xdp", "udp", "<polyline", "<circle"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn without_root_it_runs_what_it_can_and_says_what_it_left_out() {
    let folder = temporary_folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    // The checkout may be in a folder that only its owner may enter.
    let program = folder.path().join("finderscope");
    fs::copy(env!("CARGO_BIN_EXE_finderscope"), &program).unwrap();
    let mut plain = command("setpriv");
    plain.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    plain.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(&program);
    plain.args(["bench", "--quick", "--format", "json", "--workers", "1"]);
    let told = json(&plain.output().unwrap());
    let left_out = told["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0]["why"].as_str().unwrap().contains("need root"), "{left_out:?}");
    assert!(figure(&told["memory"], "/pipeline_ns_per_sample") > 0.0);
    let [way] = &told["ways"].as_array().unwrap()[..] else { panic!("{told:#}") };
    assert_eq!(way["way"], "udp-loopback");
    is_whole(way, "udp");
    assert_eq!(told["accounts"]["wrong"].as_array().map(Vec::len), Some(0), "{told:#}");
}

/// Waits until it sends.
fn sends(process: u32) {
    let deadline = Instant::now() + PATIENCE * 3;
    let is_sender = |task: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|comm| comm.starts_with("sender"))
    };
    while !fs::read_dir(format!("/proc/{process}/task")).unwrap().any(is_sender) {
        assert!(Instant::now() < deadline, "no sender has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Its network goes with it, whatever it is at.
#[test]
fn it_ends_when_it_is_asked_to() {
    for signal in ["INT", "TERM"] {
        let mut bench: Command = finderscope();
        bench.args(["bench", "--only", "xdp"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = bench.spawn().unwrap();
        sends(child.id());
        let asked = Instant::now();
        let done =
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(done.success());
        let output = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "finderscope: interrupted\n");
    }
}

/// Interfaces that are there, as those of cards would be, in a network of the test's own.
#[test]
fn between_two_interfaces_and_from_elsewhere() {
    let namespace = Namespace::new("bench");
    namespace.hide();
    namespace.inside(|| {
        run("ip", &["link", "add", "one", "type", "veth", "peer", "name", "two"]);
        for end in ["one", "two"] {
            run("ip", &["link", "set", end, "up"]);
        }
        let bench = |args: &[&str]| {
            json(
                &finderscope()
                    .args(["bench", "--quick", "--format", "json", "--only", "xdp"])
                    .args(args)
                    .output()
                    .unwrap(),
            )
        };
        let told = bench(&["--interface", "one", "--peer", "two", "--workers", "1"]);
        is_whole(&told["ways"][0], "copy");
        // Zero-copy was tried first.
        assert!(told["ways"][0]["refused"][0].as_str().unwrap().contains("zero-copy"), "{told:#}");
        assert_eq!(told["accounts"]["wrong"].as_array().map(Vec::len), Some(0), "{told:#}");
        let told = bench(&["--interface", "one", "--seconds", "0.2"]);
        let way = &told["ways"][0];
        assert_eq!((way["reached"].as_str(), number(way, "/of_elsewhere/errors")), (Some("copy"), 0));
        let output = finderscope().args(["bench", "--interface", "three", "--peer", "two"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("interface three"), "{said}");
    });
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_run() {
    let output = finderscope().args(["bench", "--output", "/nonexistent/report.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--output /nonexistent/report.json"), "{said}");
}
