//! The article's elastic load balancer as a script: a real swarm under real load, read and scaled through the engine's TLS
//! port.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::Edited;
use crate::support::Collector;
use crate::support::apache::{Apache, Load, under_load};
use crate::support::docker_lab::Lab;
use crate::support::engine_proxy::EngineProxy;
use crate::support::live::{turn, wait_until};

/// Ours, with the calls of the article's.
const BALANCE: &str = include_str!("scripts/balance.js");

/// One that scales as it is asked to.
const SCALE: &str = include_str!("scripts/scale.js");

/// What the clients ask for in all, per second: pages of 10,000 bytes, of which three containers have less than the
/// script's 100,000 bytes/s each, and two have more.
const REQUESTS_PER_S: u32 = 26;

/// How long a step may take: ten times what the longest takes.
const LONG: Duration = Duration::from_secs(120);

/// The numbers that the script says it has set.
fn set(collector: &Collector) -> Vec<u64> {
    let number = |line: &String| line.split_once("INFO: apache set replicas=")?.1.parse().ok();
    collector.log().iter().filter_map(number).collect()
}

/// What `curl` is answered.
fn curl(collector: &Collector, query: &str) -> String {
    let (status, said) = collector.request("GET", &format!("/script/elb.js/json{query}"), None);
    assert_eq!(status, 200, "{said}");
    said
}

/// Who runs, looked at again and again: nobody is replaced.
struct Tasks<'a> {
    apache: &'a Apache<'a>,
    running: BTreeSet<String>,
}

impl<'a> Tasks<'a> {
    fn new(apache: &'a Apache<'a>) -> Self {
        Self { apache, running: apache.running().into_iter().collect() }
    }

    fn look(&mut self) -> BTreeSet<String> {
        std::mem::replace(&mut self.running, self.apache.running().into_iter().collect())
    }

    /// Waits while their number grows, or while it shrinks: nobody goes, or nobody comes, until this is so.
    fn until(
        &mut self,
        what: &str,
        grows: bool,
        collector: &Collector,
        mut ready: impl FnMut(usize) -> bool,
    ) {
        let began = Instant::now();
        loop {
            let before = self.look();
            let (fewer, more) = if grows { (&before, &self.running) } else { (&self.running, &before) };
            assert!(fewer.is_subset(more), "{what}: {before:?} became {:?}", self.running);
            if ready(self.running.len()) {
                eprintln!("{what}: after {:.1} s", began.elapsed().as_secs_f64());
                return;
            }
            assert!(began.elapsed() < LONG, "waited for {what}: {:#?}", collector.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Enabled, disabled and enabled by `curl`, the script has the service rise by one at a time to this many at least, and fall
/// to one; what else the service is, and who runs, stays.
fn rises_and_falls(apache: &Apache<'_>, collector: &Collector, load: &Load, proxy: &EngineProxy, least: u64) {
    let polls = |more: usize| {
        let reads = || proxy.asked().iter().filter(|asked| asked.path == "/services/apache").count();
        let before = reads();
        wait_until("more looks at the service", || (reads() >= before + more).then_some(()));
    };
    let (specification, replicas) = apache.specification();
    assert_eq!(replicas, 1);
    let mut tasks = Tasks::new(apache);
    let first = apache.running();
    let [id] = first.as_slice() else { panic!("{first:?}") };
    let (life, limits) = (apache.life(id), apache.limits(id));
    assert_eq!(curl(collector, ""), "disabled");
    load.set(REQUESTS_PER_S);
    let question = "/metric/ALL/avg:vir_bytes_out/json?vir_host_name=apache%5C..*&vir_cpu_state=running";
    tasks.until("more than one can take", true, collector, |_| {
        collector.json(question)[0]["metricValue"].as_f64().is_some_and(|bytes| bytes > 200_000.0)
    });
    polls(2);
    assert_eq!((set(collector), apache.specification().1), (vec![], 1), "it begins disabled");

    assert_eq!(curl(collector, "?state=enabled"), "enabled");
    tasks.until("it rises", true, collector, |running| {
        let set = set(collector);
        set.last().is_some_and(|last| *last >= least && running as u64 == *last)
    });
    assert_eq!(curl(collector, "?state=disabled"), "disabled");
    let risen = set(collector);
    assert_eq!(risen, (2..=risen.len() as u64 + 1).collect::<Vec<_>>());
    let most = *risen.last().unwrap();
    assert!(tasks.running.iter().all(|id| apache.limits(id) == limits), "{limits}");
    load.set(0);
    tasks.until("no load", true, collector, |running| {
        let bytes = collector.json(question)[0]["metricValue"].as_f64();
        running as u64 == most && bytes.is_some_and(|bytes| bytes < 50_000.0)
    });
    polls(2);
    assert_eq!((set(collector), apache.specification().1), (risen.clone(), most), "disabled, it stays");

    assert_eq!(curl(collector, "?state=enabled"), "enabled");
    tasks.until("it falls", false, collector, |running| set(collector).last() == Some(&1) && running == 1);
    assert_eq!(set(collector), risen.into_iter().chain((1..most).rev()).collect::<Vec<_>>());
    assert_eq!((apache.specification(), apache.running()), ((specification, 1), first.clone()));
    assert_eq!((apache.life(id), apache.limits(id)), (life, limits));
    // The script says /v1.24/, which would have changed more than their number, or nothing.
    let updates = proxy.updates();
    assert_eq!(updates.len() as u64, 2 * (most - 1), "{updates:?}");
    assert!(updates.iter().all(|asked| asked.status == 200), "{updates:?}");
    assert!(proxy.asked().iter().all(|asked| !asked.path.starts_with("/v1.24/")));
}

/// A script that talks to this proxy, and shows it the lab's certificates.
fn beside(name: &str, text: &str, lab: &Lab, proxy: &EngineProxy) -> Edited {
    let (url, certs) = (proxy.url(), format!("{}/", lab.certs().display()));
    Edited::new(name, text, &[("https://10.0.0.134:2376", &url), ("/tls/", &certs)])
}

/// `elb.js` with this text beside the engine, behind a proxy that refuses `/v1.24/`, under load.
pub(super) fn scales_a_real_service(text: &str, least: u64) {
    let _turn = turn();
    let lab = Lab::shared();
    let apache = Apache::create(lab, &[]);
    lab.network().inside(|| {
        let proxy = EngineProxy::start(lab);
        let script = beside("elb.js", text, lab, &proxy);
        let collector = Collector::start(&["--script", script.path(), "--allow", "127.0.0.1"]);
        collector.wait_for_log("INFO: elb.js started");
        under_load(&apache, &collector, |load| {
            let question =
                "/metric/ALL/avg:vir_bytes_out/json?vir_host_name=apache%5C..*&vir_cpu_state=running";
            collector.wait_for(question, |answer| (answer[0]["metricN"] == 1).then_some(()));
            rises_and_falls(&apache, &collector, load, &proxy, least);
        });
        let script = &collector.json("/scripts/json")["elb.js"];
        assert_eq!((&script["alive"], &script["exceptions"]), (&true.into(), &0.into()), "{script}");
        assert_eq!(collector.end(), Some(0));
    });
}

#[test]
fn a_load_balancer_scales_a_real_service_and_changes_nothing_else() {
    scales_a_real_service(BALANCE, 3);
}

/// Two collectors, one after the other: one that sends what the script says, and one that does not know of the choice.
#[test]
fn an_update_goes_at_the_engines_own_version_or_as_it_is_written() {
    let _turn = turn();
    let lab = Lab::shared();
    let apache = Apache::create(lab, &[]);
    lab.network().inside(|| {
        wait_until("a replica", || (apache.running().len() == 1).then_some(()));
        let (proxy, first) = (EngineProxy::start(lab), apache.running());
        let (life, version) = (apache.life(&first[0]), apache.version());
        let script = beside("scale.js", SCALE, lab, &proxy);
        let scale = |more: &[&str]| -> Json {
            let options = ["--script", script.path(), "--allow", "127.0.0.1"];
            let collector = Collector::start(&[&options, more].concat());
            collector.wait_for_log("INFO: scale.js started");
            let answer = collector.json("/script/scale.js/json?replicas=2");
            assert_eq!(collector.end(), Some(0));
            answer
        };
        let refused = scale(&["--script-docker-version", "as-written"]);
        assert_eq!(refused["status"], 400, "{refused}");
        assert!(refused["body"].as_str().unwrap().contains("client version 1.24 is too old"), "{refused}");
        assert_eq!((apache.version(), apache.specification().1), (version, 1));
        let done = scale(&[]);
        assert_eq!(done["status"], 200, "{done}");
        wait_until("another replica", || (apache.running().len() == 2).then_some(()));
        assert!(apache.running().contains(&first[0]) && apache.life(&first[0]) == life);
        let [refused, done] = &*proxy.updates() else { panic!("{:?}", proxy.updates()) };
        assert!(refused.path.starts_with("/v1.24/services/") && refused.status == 400, "{refused:?}");
        assert!(done.path.starts_with("/v1.") && !done.path.starts_with("/v1.24/"), "{done:?}");
    });
}
