//! Replicas that are not as their peers are.

use std::collections::BTreeSet;

use actions::autoscale::observation::{Replica, Sample};
use actions::mode::Mode;
use serde_json::{Value as Json, json};

use crate::support::{Plan, Scene, target};

/// Every container on `node1` loses its processor to others.
fn stolen(replica: &mut Replica) {
    let stolen = replica.node.iter().any(|node| node == "node1");
    let age = std::time::Duration::from_millis(10);
    replica.outliers = vec![Some(Sample { value: if stolen { 60.0 } else { 1.0 }, age })];
}

fn plan(replace: bool, mode: Mode) -> Plan {
    let mut web = target(2, 10);
    web["sick"] = json!({
        "metric": [{ "metric": "cpu_steal", "above": 3, "least": 10 }],
        "for_s": 0.3, "cooldown_s": 3600, "replace": true,
    });
    Plan {
        swarms: vec![vec![("web", 5)]],
        autoscale: json!({ "service": { "web": web } }),
        swarm: json!({ "node": [{ "host": "node1", "engine": "SOCKET", "replace": replace }] }),
        alter: Some(Box::new(stolen)),
        mode,
        ..Plan::default()
    }
}

fn stops(scene: &Scene) -> usize {
    scene.swarms[0].asked().iter().filter(|request| request.contains("/stop")).count()
}

fn names(scene: &Scene) -> BTreeSet<String> {
    scene.swarms[0].running().into_iter().map(|replica| replica.name).collect()
}

#[test]
fn the_sick_are_told_and_one_is_replaced_where_its_node_allows_it() {
    let scene = Scene::begin(plan(true, Mode::Act), 5.0);
    let before = names(&scene);
    scene.until("one is stopped and gone", |scene| {
        scene
            .audited()
            .last()
            .is_some_and(|(what, outcome)| what.starts_with("stop container") && outcome == "done")
    });
    scene.until("the swarm has replaced it", |scene| scene.running("web") == 5);
    scene.looks(0, 5);
    assert_eq!(before.difference(&names(&scene)).count(), 1);
    assert_eq!((stops(&scene), scene.updates(0)), (1, 0), "one, and no number is changed");
    let shown = scene.shown("web");
    assert!(shown["sick"].as_array().unwrap().iter().any(|finding| finding["sick"] == true), "{shown:#}");
}

#[test]
fn nothing_is_stopped_on_a_node_that_does_not_allow_it() {
    let scene = Scene::begin(plan(false, Mode::Act), 5.0);
    scene.until("they are told", |scene| scene.shown("web")["sick"][0]["sick"] == true);
    scene.looks(0, 5);
    assert_eq!((stops(&scene), scene.audited().len()), (0, 0));
}

#[test]
fn who_observes_stops_nothing() {
    let scene = Scene::begin(plan(true, Mode::Observe), 5.0);
    scene.until("it is told", |scene| {
        scene.audited().iter().any(|(what, _)| what.starts_with("stop container"))
    });
    scene.looks(0, 5);
    let outcomes: Vec<Json> = scene.audited().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!((stops(&scene), outcomes), (0, vec![json!("observed")]));
}
