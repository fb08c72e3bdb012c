//! Interfaces and collectors that come and go, and what a collector may do.

use super::lab::{
    FAR, Lab, NEAR, SFLOW, attached, frames, ingest, send, taken, to, wait_for_taken, with_only,
};
use crate::support::live::{run, wait_until};
use crate::support::traffic::Traffic;
use crate::support::{Collector, finderscope};

/// What AF_XDP needs, as `setpriv` names it.
const NEEDED: &str = "-all,+net_raw,+net_admin,+bpf,+perfmon,+ipc_lock";

fn some(count: usize) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    Traffic::of_fabric(count).next(count, |some| datagrams.extend(some.iter().map(|bytes| bytes.to_vec())));
    datagrams
}

/// The program goes with its process, however that ends, and the next collector has the interface at once.
#[test]
fn what_is_killed_leaves_nothing_on_the_interface() {
    let lab = Lab::new("killed", 1);
    lab.on_near(|| {
        for _ in 0..2 {
            let collector = Lab::collector(&["--ingest", "xdp"]);
            assert!(attached());
            send(&collector, &lab.senders([192, 0, 2, 2], 1), to(), &some(20));
            collector.signal("KILL");
            wait_until("an interface without a program", || (!attached()).then_some(()));
        }
        let collector = Lab::collector(&["--ingest", "xdp"]);
        assert_eq!(collector.end(), Some(0));
        assert!(!attached());
    });
}

#[test]
fn a_second_collector_is_refused_by_name_or_goes_on_by_udp() {
    let lab = Lab::new("second", 1);
    lab.on_near(|| {
        let first = Lab::collector(&["--ingest", "xdp"]);
        let other = ["--sflow", "0.0.0.0:7000", "--http", "127.0.0.1:0", "--state-dir", "none"];
        let second =
            finderscope().args(["run", "--ingest", "xdp", "--interface", NEAR]).args(other).output().unwrap();
        let said = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(1), "{said}");
        let holder = format!("\"finderscope\", process {}", first.id());
        for part in
            ["AF_XDP is asked for (ingest.mode, --ingest), and cannot be", &holder, "finderscope check"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        let second = Lab::collector(&["--sflow", "0.0.0.0:7000"]);
        let line =
            second.wait_for_log("Receiving by UDP sockets alone, and not by AF_XDP from near, because ");
        assert!(line.len() == 1 && line[0].contains(&holder), "{line:?}");
        let how = ingest(&second);
        assert_eq!((&how["mode"], &how["interface"]), (&"udp".into(), &NEAR.into()));
        assert!(how["why"][0].as_str().unwrap().contains(&holder), "{how:#}");
        // Each has its own datagrams.
        let sockets = lab.senders([192, 0, 2, 2], 1);
        let mut port = to();
        port.set_port(7000);
        send(&second, &sockets, port, &some(30));
        send(&first, &sockets, to(), &some(20));
        assert_eq!((taken(&first), taken(&second)), (20, 30));
        assert_eq!((frames(&first, "steered"), frames(&first, "other_port")), (20, 30));
    });
}

#[test]
fn an_interface_goes_down_and_comes_up_again() {
    let lab = Lab::new("down", 2);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp"]);
        let sockets = lab.senders([192, 0, 2, 2], 8);
        let datagrams = some(90);
        send(&collector, &sockets, to(), &datagrams[..30]);
        for n in 1..=2 {
            run("ip", &["link", "set", NEAR, "down"]);
            run("ip", &["link", "set", NEAR, "up"]);
            lab.far.inside(|| {
                wait_until("a cable with two ends", || {
                    run("ip", &["link", "show", "dev", FAR]).contains("LOWER_UP").then_some(())
                });
            });
            send(&collector, &sockets, to(), &datagrams[n * 30..][..30]);
            assert_eq!(frames(&collector, "steered"), (n as u64 + 1) * 30);
        }
        assert!(attached());
        assert_eq!(ingest(&collector)["gone"], false);
    });
}

/// What was counted stays, the log tells of it once, and the sockets beside go on.
#[test]
fn an_interface_that_goes_away_leaves_udp() {
    let lab = Lab::new("gone", 2);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp", "--workers", "2"]);
        send(&collector, &lab.senders([192, 0, 2, 2], 8), to(), &some(40));
        run("ip", &["link", "del", NEAR]);
        // Another one of this name is not the one that was read.
        run("ip", &["link", "add", "name", NEAR, "type", "veth", "peer", "name", FAR]);
        collector.wait_for_log("Interface near is gone: receiving by UDP sockets alone");
        let mut here = ingest::send::Sender::new(collector.sflow).unwrap();
        some(30).iter().for_each(|datagram| here.send(datagram));
        wait_for_taken(&collector, 70);
        let how = collector.wait_for("/analyzer/json", |answer| {
            let how = &answer["ingest"];
            (how["gone"] == true && how["frames"]["steered"] == 40).then(|| how.clone())
        });
        assert_eq!((&how["mode"], how["queues"].as_array().unwrap().len()), (&"udp".into(), 2));
        let told = collector.log().iter().filter(|line| line.contains("is gone")).count();
        assert_eq!(told, 1, "{:?}", collector.log());
        assert_eq!(collector.end(), Some(0));
    });
}

/// The five capabilities are enough; without them it is said which are missing, and UDP goes on.
#[test]
fn without_privileges_there_is_udp_and_a_reason() {
    let lab = Lab::new("rights", 1);
    lab.on_near(|| {
        let run = |capabilities: &str, mode: &str| {
            let state =
                ["--state-dir", "none", "--http", "127.0.0.1:0", "--ingest", mode, "--interface", NEAR];
            let mut command = with_only(capabilities, &["run"]);
            command.args(state).args(SFLOW);
            Collector::of(command)
        };
        let collector = run(NEEDED, "xdp");
        send(&collector, &lab.senders([192, 0, 2, 2], 1), to(), &some(10));
        assert_eq!(frames(&collector, "steered"), 10);
        assert_eq!(collector.end(), Some(0));
        let collector = run("-all", "auto");
        let line =
            collector.wait_for_log("Receiving by UDP sockets alone, and not by AF_XDP from near, because ");
        assert!(line[0].contains("Operation not permitted") || line[0].contains("CAP_"), "{line:?}");
        send(&collector, &lab.senders([192, 0, 2, 2], 1), to(), &some(10));
        assert_eq!(ingest(&collector)["mode"], "udp");
        assert_eq!(collector.end(), Some(0));
        let mut command = with_only("-all", &["run", "--ingest", "xdp", "--interface", NEAR]);
        let refused =
            command.args(["--state-dir", "none", "--http", "127.0.0.1:0"]).args(SFLOW).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("AF_XDP is asked for") && said.contains("finderscope check"), "{said}");
    });
}
