//! Telemetry from the wire: containers of the simulated fabric, over UDP, through the collector.

use std::net::UdpSocket;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actions::audit::Audit;
use actions::autoscale::Autoscaler;
use actions::mode::{Mode, Switch};
use actions::notify::{Config as NotifyConfig, Notices};
use actions::thread::{Actions, Component};
use docker::stand_in::{Config, Pace, Planned, StandIn};
use engine::{Engine, EngineOptions};
use fabric::{Curve, Fabric, FabricOptions};
use serde_json::{Value as Json, json};
use tables::trust::{List, Listed, Trust};

/// Containers whose names are right and whose tasks the swarm does not know: somebody tells of them who should not.
#[test]
fn containers_are_seen_and_strangers_are_no_replicas() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("swarm.sock");
    let web = Planned { name: "web".into(), replicas: 3, image: "httpd".into(), labels: Vec::new() };
    let pace = Pace::even(Duration::from_millis(10));
    let swarm = StandIn::start(&socket, Config { services: vec![web], nodes: 1, pace }).unwrap();
    let everybody_here = Listed::new("0.0.0.0/0", &["127.0.0.0/8"]).unwrap();
    let options = EngineOptions {
        sflow: vec!["127.0.0.1:0".parse().unwrap()],
        workers: NonZero::new(1),
        trust: Arc::new(Trust::new(List { listed: vec![everybody_here], ..List::default() })),
        ..EngineOptions::default()
    };
    let engine = Engine::start(&options).unwrap();
    let config = serde_json::from_value(json!({
        "swarm": { "main": { "managers": [format!("unix://{}", socket.display())] } },
        "autoscale": { "interval_s": 0.1, "service": { "web": {
            "samples": 0, "max": 10,
            "metric": [
                { "metric": "vir_cpu_utilization", "low": 1e-6, "high": 2e-6 },
                { "metric": "avg:vir_bytes_in + avg:vir_bytes_out", "low": 1, "high": 2 },
                { "metric": "max:vir_bytes_in", "total": true, "filter": { "vir_host_name": ["web.*"] }, "low": 1, "high": 2 },
            ],
        } } },
    }))
    .unwrap();
    let (scaler, control) = Autoscaler::new(config, &Json::Null).unwrap();
    let audit = Audit::open(folder.path(), actions::audit::Limits::default()).unwrap();
    let notices = Notices::new(&NotifyConfig::default());
    let component = Component::new("autoscale", |context| scaler.run(context));
    let actions =
        Actions::start(engine.handle(), audit, Switch::new(Mode::Act), notices, vec![component]).unwrap();
    let shown = || control.service_json("web").unwrap();

    let options = FabricOptions {
        replicas: 3,
        polling_s: 1,
        load: Curve::Steady,
        web_bytes_per_s: 900_000.0,
        flows: 10,
        ..FabricOptions::default()
    };
    let mut fabric = Fabric::new(&options).unwrap();
    let (sender, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), engine.addresses()[0]);
    let began = Instant::now();
    let seen = loop {
        fabric.step(began.elapsed().as_micros() as u64, &mut |_, datagram| {
            sender.send_to(datagram, to).unwrap();
        });
        let shown = shown();
        let has_values =
            |values: &Json| values.as_array().is_some_and(|all| all.iter().all(|one| one["value"].is_f64()));
        if shown["seen"] == 3 && has_values(&shown["values"]) {
            break shown;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{shown:#}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(seen["hold"], "differ", "{seen:#}");
    assert!(seen["reason"].as_str().unwrap().contains("3 of those seen are no tasks that run"), "{seen:#}");
    // Both directions of all three together are what the service has; each has a third.
    let value = |at: usize| seen["values"][at]["value"].as_f64().unwrap();
    assert!((200_000.0..400_000.0).contains(&value(1)), "{seen:#}");
    assert!(value(0) > 0.0 && value(2) > 0.0, "{seen:#}");
    assert!(swarm.asked().iter().all(|request| !request.starts_with("POST")), "nothing is scaled");
    actions.shutdown().unwrap();
    engine.shutdown();
}
