//! The article's triggered capture as a script: lists served nearby, listed traffic in the telemetry, and rules that arrive at
//! the real `finderscope-acl` of a switch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value as Json;

use super::{Edited, server};
use crate::support::Collector;
use crate::support::acl_server::AclServer;
use crate::support::live::{require_root, run, wait_until};
use crate::support::netns::Namespace;
use crate::support::sampler::Sampler;

/// Ours, with the calls of the article's.
const LISTED: &str = include_str!("scripts/listed.js");

/// The switch: it answers where its agent's address is, as the script expects.
const AGENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);

/// Who talks to whom: the first is of one list, the second of the other.
const PAIRS: [(&str, &str); 2] = [("10.0.0.162", "45.9.148.7"), ("10.0.0.163", "185.220.101.34")];

/// Lists as they are published: comments, and lines that end as those of Windows do.
fn list(path: &str) -> &'static str {
    match path {
        "/blockrules/compromised-ips.txt" => "# compromised\r\n45.9.148.7\r\n45.9.149.1\r\n",
        "/fwrules/emerging-Block-IPs.txt" => "# block\n#\n1.10.16.0/20\n185.220.101.0/24\n",
        _ => "",
    }
}

/// A server of lists in this thread's network; its address.
fn lists() -> SocketAddr {
    server(|path| (200, list(path).to_owned()))
}

/// The rule of a pair but for its comments, as the article has it.
fn rule(local: &str, remote: &str) -> String {
    let mirror = |from: &str, to: &str| {
        format!(
            "-A FORWARD --in-interface swp+ -s {from} -d {to} -j ERSPAN --src-ip {AGENT} --dst-ip 10.0.0.70"
        )
    };
    format!("[iptables]\n{}\n{}", mirror(local, remote), mirror(remote, local))
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn sessions(collector: &Collector) -> Vec<Json> {
    collector.json("/captures/json")["sessions"].as_array().cloned().unwrap_or_default()
}

/// A script beside a switch, in a network of their own.
struct Lab {
    acl: AclServer,
    script: Edited,
    state: tempfile::TempDir,
    guarded: bool,
}

impl Lab {
    /// Has this done in it, with `emerging.js` of this text.
    fn within(text: &str, guarded: bool, done: impl FnOnce(&Lab) + Send) {
        require_root("script");
        // Several of these run at once.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let network = Namespace::new(&format!("emerging{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        network.inside(|| run("ip", &["address", "add", &format!("{AGENT}/32"), "dev", "lo"]));
        network.hide();
        network.inside(|| {
            let acl = AclServer::start_at((AGENT, 8080).into());
            let lists = lists();
            let [blockrules, fwrules] =
                ["blockrules", "fwrules"].map(|folder| format!("http://{lists}/{folder}/"));
            let theirs = "https://rules.emergingthreats.net";
            let addresses = [
                (&*format!("{theirs}/blockrules/"), &*blockrules),
                (&*format!("{theirs}/fwrules/"), &*fwrules),
            ];
            let script = Edited::new("emerging.js", text, &addresses);
            done(&Lab { acl, script, state: tempfile::tempdir().unwrap(), guarded });
        });
    }

    /// A collector with the script; another one goes on with the state of the one before.
    fn start(&self) -> Collector {
        let config = self.script.path.with_file_name("finderscope.toml");
        std::fs::write(&config, format!("[scripts.actions]\nguarded = {}\nttl_s = 2\n", self.guarded))
            .unwrap();
        let (config, switch) = (config.to_str().unwrap(), format!("{AGENT}:8080"));
        let allowed = ["--allow", "127.0.0.1", "--allow", &switch];
        let state = ["--state-dir", self.state.path().to_str().unwrap()];
        let options = ["--config", config, "--script", self.script.path()];
        let collector = Collector::start(&[&options[..], &allowed, &state].concat());
        collector.wait_for_log("INFO: emerging.js started");
        collector
    }

    /// Waits until the switch has these rules, and nothing else; `meanwhile` is done again and again.
    fn has_rules(&self, names: &[&str], mut meanwhile: impl FnMut()) {
        wait_until(&format!("the switch has {names:?}"), || {
            meanwhile();
            (self.acl.names() == names).then_some(())
        });
    }
}

/// `emerging.js` with this text, beside a switch. Guarded, its captures end with their evidence; else nobody ends them.
pub(super) fn captures_listed_traffic(text: &str, guarded: bool) {
    Lab::within(text, guarded, |lab| {
        let collector = lab.start();
        let groups = collector.json("/group/emerging/json");
        assert_eq!(groups["compromised"], serde_json::json!(["45.9.148.7", "45.9.149.1"]), "{groups}");
        assert_eq!(groups["block"].as_array().unwrap().len(), 2, "{groups}");

        let mut sampler = Sampler::new(collector.sflow, AGENT, AGENT);
        // What is not listed, and what comes from a listed host, starts nothing.
        sampler.packet("10.0.0.162", "198.51.100.1");
        sampler.packet("45.9.148.7", "10.0.0.162");
        for (at, (local, remote)) in PAIRS.into_iter().enumerate() {
            sampler.packet(local, remote);
            let said = format!("WARNING: capturing {local} rule emrg{at} on {AGENT}");
            assert_eq!(collector.wait_for_log(&said).len(), 1);
            let name = format!("emrg{at}");
            wait_until("the rule on the switch", || lab.acl.names().contains(&name).then_some(()));
            assert_eq!(without_comments(&lab.acl.text(&name)), rule(local, remote));
        }
        assert_eq!(lab.acl.names(), ["emrg0", "emrg1"]);
        assert!(collector.log().iter().filter(|line| line.contains("capturing ")).count() == 2);
        if guarded {
            wait_until("sessions of both", || (sessions(&collector).len() == 2).then_some(()));
            let shown = sessions(&collector);
            assert!(shown.iter().all(|session| session["owner"]["script"] == "emerging.js"), "{shown:#?}");
            // When nobody talks to listed hosts.
            lab.has_rules(&[], || sampler.packet("10.0.0.162", "198.51.100.1"));
        } else {
            assert_eq!(sessions(&collector), Vec::<Json>::new());
        }
        let script = &collector.json("/scripts/json")["emerging.js"];
        assert_eq!(
            (&script["alive"], &script["flowsReceived"], &script["exceptions"]),
            (&true.into(), &2.into(), &0.into()),
            "{script}"
        );
        assert_eq!(collector.end(), Some(0));
    });
}

#[test]
fn listed_traffic_is_captured_and_the_captures_end() {
    captures_listed_traffic(LISTED, true);
}

#[test]
fn without_a_guard_a_script_has_its_way() {
    captures_listed_traffic(LISTED, false);
}

#[test]
fn a_script_s_capture_outlives_a_crash_of_the_collector_and_ends_with_its_traffic() {
    Lab::within(LISTED, true, |lab| {
        let (local, remote) = PAIRS[0];
        let mut collector = lab.start();
        let mut sampler = Sampler::new(collector.sflow, AGENT, AGENT);
        sampler.packet(local, remote);
        lab.has_rules(&["emrg0"], || {});
        for talks_on in [true, false] {
            collector.signal("KILL");
            drop(collector);
            assert_eq!(lab.acl.names(), ["emrg0"], "nobody is there who could take it away");
            collector = lab.start();
            sampler.turn_to(collector.sflow);
            if talks_on {
                // The script begins anew, and means the same rule by the same name.
                wait_until("the capture goes on", || {
                    sampler.packet(local, remote);
                    let all = sessions(&collector);
                    let is_it =
                        |one: &Json| one["state"] == "active" && one["owner"]["script"] == "emerging.js";
                    (all.len() == 1 && all.iter().all(is_it)).then_some(())
                });
                let said = format!("WARNING: capturing {local} rule emrg0 on {AGENT}");
                collector.wait_for_log(&said);
                assert_eq!(lab.acl.names(), ["emrg0"]);
            } else {
                lab.has_rules(&[], || sampler.packet("10.0.0.162", "198.51.100.1"));
                let kept = sessions(&collector).iter().filter(|one| one["state"] == "active").count();
                assert_eq!(kept, 0);
            }
        }
        assert_eq!(collector.end(), Some(0));
    });
}
