//! The article's elastic load balancer on a real swarm: containers under real HTTP load, their telemetry by the real
//! agent, and the collector that scales their service through the engine's TLS port.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use crate::support::Collector;
use crate::support::apache::{Apache, Load, under_load};
use crate::support::docker_lab::{Lab, TLS};
use crate::support::live::{temporary_folder, turn};

/// Replicas at most, where the configuration says so.
const MOST: u64 = 4;

/// What the clients ask for in all, per second. A page is 10,000 bytes: four containers have more than the article's
/// 100,000 bytes/s each.
const REQUESTS_PER_S: u32 = 60;

/// How long a step may take: ten times what the longest takes.
const LONG: Duration = Duration::from_secs(200);

/// How long a person's number stays.
const HOLD: Duration = Duration::from_secs(5);

/// The article's question, with its metrics.
const QUESTION: &str = "/metric/ALL/avg:vir_bytes_in,avg:vir_bytes_out/json\
                        ?vir_host_name=apache%5C..*&vir_cpu_state=running";

/// A collector beside the engine that trusts the agent there and knows the swarm, with these further tables; the agent;
/// and the clients, while `body` runs.
fn with_load(lab: &Lab, apache: &Apache<'_>, tables: &str, body: impl FnOnce(&Collector, &Load) + Send) {
    lab.network().inside(|| {
        let folder = temporary_folder();
        let config = folder.path().join("finderscope.toml");
        let certs = lab.certs();
        let swarm = format!(
            "[[agents.listed]]\naddress = '127.0.0.1'\n[swarm.lab]\nmanagers = ['tcp://{TLS}']\ncerts = '{}'\n{tables}",
            certs.display()
        );
        fs::write(&config, swarm).unwrap();
        let collector = Collector::start(&["--config", config.to_str().unwrap()]);
        under_load(apache, &collector, |load| body(&collector, load));
        assert_eq!(collector.end(), Some(0));
    });
}

/// Asks until `ready` has an answer; panics with what the collector says of the service when it has none for too long.
fn eventually<T>(collector: &Collector, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ready() {
            eprintln!("{what}: after {:.1} s", began.elapsed().as_secs_f64());
            return answer;
        }
        if began.elapsed() > LONG {
            let service = collector.get("/autoscale/apache/json").1;
            panic!("waited for {what}: {service}\n{:#?}", collector.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the collector says this of the service.
fn wait_for(collector: &Collector, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    eventually(collector, what, || {
        Some(collector.json("/autoscale/apache/json")).filter(|service| wanted(service))
    })
}

/// The numbers that were set, by the log.
fn set(collector: &Collector) -> Vec<u64> {
    let number = |line: &String| line.split_once("apache set replicas=")?.1.parse().ok();
    collector.log().iter().filter_map(number).collect()
}

fn wait_for_set(collector: &Collector, numbers: &[u64]) {
    eventually(collector, &format!("replicas set {numbers:?}"), || (set(collector) == numbers).then_some(()));
}

/// The article's statistics: how many containers contribute, and the mean of their bytes in and out, per second.
fn ask(collector: &Collector) -> (u64, f64) {
    let answer = collector.json(QUESTION);
    let value = |at: usize| answer[at]["metricValue"].as_f64().unwrap_or(0.0);
    (answer[1]["metricN"].as_u64().unwrap_or(0), value(0) + value(1))
}

/// Entries of the audit log, the oldest first.
fn audit(collector: &Collector) -> Vec<Json> {
    let mut entries = collector.json("/audit/json").as_array().unwrap().clone();
    entries.reverse();
    entries
}

/// The bytes per second and container that a change was decided on.
fn decided_on(entry: &Json) -> f64 {
    let values = entry["evidence"]["values"].as_array().unwrap();
    let is =
        |value: &&Json| value["metric"].as_str().is_some_and(|metric| metric.starts_with("vir_bytes_in"));
    values.iter().find(is).unwrap()["value"].as_f64().unwrap()
}

/// Decisions of any kind so far.
fn decisions(collector: &Collector) -> f64 {
    let metrics = collector.get("/metrics").1;
    let ours = |line: &&str| line.starts_with("finderscope_autoscale_decisions_total{");
    metrics.lines().filter(ours).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Waits until it has been looked at some more times.
fn wait_for_decisions(collector: &Collector) {
    let before = decisions(collector);
    eventually(collector, "five more decisions", || (decisions(collector) >= before + 5.0).then_some(()));
}

fn put(collector: &Collector, body: &str) {
    let (status, said) = collector.request("PUT", "/autoscale/apache/json", Some(body));
    assert_eq!(status, 204, "{said}");
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Bytes per container at each number of replicas, read until the most are there and nothing more is wanted.
fn climb(collector: &Collector) -> BTreeMap<u64, f64> {
    let mut readings = BTreeMap::new();
    eventually(collector, "all replicas under load", || {
        let last = || set(collector).last().copied().unwrap_or(1);
        let full = collector.json("/autoscale/apache/json");
        let (before, (n, bytes), after) = (last(), ask(collector), last());
        // The last one of each number is what the next change was decided on.
        if before == after && n == before {
            readings.insert(n, bytes);
        }
        let is_most = full["reason"].as_str().is_some_and(|reason| reason.ends_with("4 is the most"));
        (before == MOST && full["verdict"] == "stay" && is_most && n == MOST).then_some(())
    });
    readings
}

/// The same load is spread over more containers.
fn assert_spread(what: &str, readings: &BTreeMap<u64, f64>) {
    let one = readings[&1];
    for (n, bytes) in readings {
        let share = bytes * *n as f64 / one;
        eprintln!("{what}: {n} containers, {bytes:.0} bytes/s each, {share:.3} of the load of one");
        assert!((share - 1.0).abs() < 0.2, "{what}: {readings:?}");
    }
}

#[test]
fn the_articles_service_grows_under_load_and_shrinks_after_it_on_a_real_swarm() {
    let _turn = turn();
    let lab = Lab::shared();
    let apache = Apache::create(lab, &[]);
    // Of three values after a change the last is of an interval in which nothing has changed.
    let tables = format!(
        "[actions]\nmode = 'act'\n[autoscale]\ninterval_s = 0.5\n[autoscale.service.apache]\nmin = 1\nmax = {MOST}\n\
         enabled = false\nsamples = 3\nmanual_hold_s = {}\nmetric = [\n\
         {{ metric = 'vir_cpu_utilization', low = 0.5, high = 1 }},\n\
         {{ metric = 'vir_bytes_in + vir_bytes_out', low = 50_000, high = 100_000 }},\n]\n",
        HOLD.as_secs()
    );
    with_load(lab, &apache, &tables, |collector, load| {
        wait_for(collector, "the first replica", |service| service["seen"] == 1 && service["running"] == 1);
        let (specification, replicas) = apache.specification();
        assert_eq!(replicas, 1);
        let first = apache.running()[0].clone();
        let (life, limits) = (apache.life(&first), apache.limits(&first));

        load.set(REQUESTS_PER_S);
        // As the article's, it begins disabled, whatever the load.
        let mut values: Vec<f64> = Vec::new();
        eventually(collector, "a load that is steady", || {
            let (_, bytes) = ask(collector);
            if bytes > 0.0 && values.last() != Some(&bytes) {
                values.push(bytes);
            }
            (values.len() >= 4 && bytes > 100_000.0).then_some(())
        });
        assert!(set(collector).is_empty());
        put(collector, r#"{"state": "enabled"}"#);
        let readings = climb(collector);
        assert_eq!(set(collector), [2, 3, 4]);
        assert_eq!(readings.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_spread("by REST", &readings);
        let evidence: BTreeMap<u64, f64> = audit(collector)
            .iter()
            .map(|entry| (entry["evidence"]["from"].as_u64().unwrap(), decided_on(entry)))
            .collect();
        assert_eq!(evidence.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_spread("by the audit log", &evidence);
        let running = apache.running();
        assert_eq!(running.len(), 4);
        assert!(running.iter().all(|id| apache.limits(id) == limits), "{limits}");

        load.set(0);
        wait_for_set(collector, &[2, 3, 4, 3, 2, 1]);
        wait_for(collector, "one replica", |service| service["seen"] == 1 && service["running"] == 1);
        assert_eq!(apache.specification(), (specification.clone(), 1));
        assert_eq!((apache.running(), apache.life(&first)), (vec![first.clone()], life.clone()));

        a_persons_number_stays_for_its_time_and_a_disabled_service_is_left_alone(collector, &apache);
        assert_eq!(apache.specification(), (specification, 1));
        assert_eq!((apache.life(&first), apache.limits(&first)), (life, limits));
        let entries = audit(collector);
        let whats: Vec<&str> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
        let changes = [(1, 2), (2, 3), (3, 4), (4, 3), (3, 2), (2, 1), (3, 2), (2, 1)];
        assert_eq!(whats, changes.map(|(from, to)| format!("set replicas={to}, from {from}")));
        let is_done = |entry: &Json| entry["outcome"] == "done" && entry["target"] == format!("tcp://{TLS}");
        assert!(entries.iter().all(is_done), "{entries:#?}");
    });
}

/// Three are one too many without load, twice.
fn a_persons_number_stays_for_its_time_and_a_disabled_service_is_left_alone(
    collector: &Collector,
    apache: &Apache<'_>,
) {
    let scaled_ms = now_ms();
    apache.lab.docker(&["service", "scale", "--detach", "apache=3"]);
    wait_for(collector, "a person's number", |service| service["hold"] == "manual");
    wait_for_set(collector, &[2, 3, 4, 3, 2, 1, 2]);
    let at_ms = audit(collector).last().unwrap()["at_ms"].as_u64().unwrap();
    assert!(at_ms >= scaled_ms + HOLD.as_millis() as u64, "{at_ms} after {scaled_ms}");
    put(collector, r#"{"state": "disabled"}"#);
    wait_for(collector, "two replicas that are left alone", |service| {
        service["hold"] == "disabled" && service["seen"] == 2 && service["running"] == 2
    });
    wait_for_decisions(collector);
    assert_eq!((set(collector).len(), apache.specification().1), (7, 2));
    put(collector, r#"{"state": "enabled"}"#);
    wait_for_set(collector, &[2, 3, 4, 3, 2, 1, 2, 1]);
    wait_for(collector, "one replica", |service| service["seen"] == 1 && service["running"] == 1);
}

#[test]
fn a_labelled_service_of_a_real_swarm_is_only_told_of_until_the_mode_is_act() {
    let _turn = turn();
    let lab = Lab::shared();
    let labels = [
        "finderscope.autoscale.max=2",
        "finderscope.autoscale.metrics=vir_bytes_in+vir_bytes_out low=50000 high=100000",
    ];
    let apache = Apache::create(lab, &["--label", labels[0], "--label", labels[1]]);
    with_load(lab, &apache, "[autoscale]\ninterval_s = 0.5\n", |collector, load| {
        eventually(collector, "a service that is found", || {
            let all = collector.json("/autoscale/json");
            (all["services"]["apache"]["foundBy"] == "labels").then_some(())
        });
        let before = (apache.specification(), apache.version());
        load.set(REQUESTS_PER_S);
        let said = eventually(collector, "what it would do", || {
            collector.log().into_iter().find(|line| line.contains("apache would set replicas="))
        });
        assert!(said.contains("apache would set replicas=2: vir_bytes_in+vir_bytes_out "), "{said}");
        assert!(said.ends_with(" > 100000"), "{said}");
        wait_for_decisions(collector);
        assert_eq!((apache.specification(), apache.version()), before);
        let entries = audit(collector);
        assert!(
            !entries.is_empty() && entries.iter().all(|entry| entry["outcome"] == "observed"),
            "{entries:?}"
        );
        assert!(set(collector).is_empty());

        let (status, said) = collector.request("PUT", "/actions/json", Some(r#"{"mode": "act"}"#));
        assert_eq!(status, 204, "{said}");
        wait_for_set(collector, &[2]);
        assert_eq!(apache.specification(), (before.0.0, 2));
    });
}
