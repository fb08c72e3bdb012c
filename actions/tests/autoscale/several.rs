//! Several services and swarms, and services that are found by their labels.

use std::time::Instant;

use docker::stand_in::{Call, Fault};
use serde_json::json;

use crate::support::{Plan, Scene, target};

#[test]
fn a_manager_that_hangs_delays_no_other_swarm() {
    let mut other = target(1, 10);
    other["swarm"] = json!("s1");
    let plan = Plan {
        swarms: vec![vec![("web", 1)], vec![("shop", 1)]],
        autoscale: json!({ "service": { "web": target(1, 10), "shop": other } }),
        ..Plan::default()
    };
    let scene = Scene::begin(plan, 1.0);
    scene.until("both stay", |scene| {
        ["web", "shop"].iter().all(|name| scene.shown(name)["verdict"] == "stay")
    });
    scene.swarms[0].fail(Call::Services, 1000, Fault::Hang);
    scene.looks(0, 1);
    let began = Instant::now();
    for load in 2..8 {
        scene.load("shop", f64::from(load));
        scene.until("it follows", |scene| scene.running("shop") == load as usize);
    }
    // A question may hang for five seconds.
    assert!(began.elapsed().as_secs_f64() < 4.0, "{:?}", began.elapsed());
    scene.swarms[0].mend();
    scene.load("web", 3.0);
    scene.until("the other one goes on when it answers", |scene| scene.running("web") == 3);
}

#[test]
fn services_share_a_budget_and_never_have_more() {
    let mut shop = target(1, 10);
    shop["priority"] = json!(5);
    let plan = Plan {
        swarms: vec![vec![("batch", 2), ("shop", 1)]],
        autoscale: json!({ "budget": 8, "service": { "batch": target(2, 10), "shop": shop } }),
        ..Plan::default()
    };
    let scene = Scene::begin(plan, 1.0);
    let are = |batch: usize, shop: usize| {
        scene.until("they share", |scene| {
            let asked = |name: &str| scene.shown(name)["replicas"].as_u64().unwrap_or(0);
            assert!(asked("batch") + asked("shop") <= 8, "{:#}", scene.control.json());
            (scene.running("batch"), scene.running("shop")) == (batch, shop)
        });
    };
    scene.load("batch", 7.0);
    are(7, 1);
    scene.load("shop", 5.0);
    are(3, 5);
    scene.load("shop", 20.0);
    are(2, 6);
    scene.until("it wants more", |scene| scene.shown("shop")["hold"] == "budget");
    scene.load("shop", 1.0);
    are(7, 1);
}

#[test]
fn labels_say_what_the_configuration_would() {
    let plan = Plan {
        autoscale: json!({}),
        labels: vec![
            ("finderscope.autoscale.metrics", "load target=1"),
            ("finderscope.autoscale.max", "4"),
            ("finderscope.autoscale.rate", "1000"),
            ("finderscope.autoscale.samples", "0"),
        ],
        ..Plan::default()
    };
    let scene = Scene::begin(plan, 9.0);
    scene.until("four run", |scene| scene.running("web") == 4);
    assert_eq!(scene.shown("web")["foundBy"], "labels");
}

#[test]
fn labels_that_are_wrong_are_told_and_ignored() {
    let labels =
        vec![("finderscope.autoscale.metrics", "load target=1"), ("finderscope.autoscale.max", "many")];
    let scene = Scene::begin(Plan { autoscale: json!({}), labels, ..Plan::default() }, 9.0);
    scene.until("it is told", |scene| {
        let json = scene.control.json();
        json["swarms"]["s0"]["labelsRefused"]["web"].as_str().is_some_and(|why| why.contains("many"))
    });
    scene.looks(0, 3);
    assert_eq!(scene.control.json()["services"], json!({}));
    assert_eq!(scene.updates(0), 0);
}

#[test]
fn metrics_tell_what_rest_shows() {
    let scene = Scene::begin(Plan::default(), 3.0);
    scene.until("three run", |scene| {
        scene.shown("web")["replicas"] == 3 && scene.shown("web")["verdict"] == "stay"
    });
    let rows = scene.control.metrics();
    let value = |name: &str, label: Option<(&'static str, &str)>| {
        let is = |row: &&actions::row::Row| {
            row.name == name
                && row.labels[0] == ("service", "web".to_owned())
                && label.is_none_or(|(label, value)| row.labels.contains(&(label, value.to_owned())))
        };
        rows.iter().find(is).map(|row| row.value)
    };
    assert_eq!(value("finderscope_autoscale_replicas", None), Some(3.0));
    assert_eq!(value("finderscope_autoscale_seen", None), Some(3.0));
    assert_eq!(value("finderscope_autoscale_value", Some(("metric", "load"))), Some(1.0));
    assert_eq!(value("finderscope_autoscale_actions_total", Some(("outcome", "done"))), Some(1.0));
    assert!(value("finderscope_autoscale_decisions_total", Some(("verdict", "up"))) >= Some(1.0));
    assert!(rows.is_sorted_by_key(|row| row.name));
}
