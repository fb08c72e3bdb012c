//! Changes of one service, and what can go wrong with them.

use std::time::Duration;

use actions::mode::Mode;
use docker::stand_in::{Call, Fault};
use docker::{Limits, Managers};
use serde_json::{Value as Json, json};

use crate::support::{Plan, Scene, target};

fn outcomes(scene: &Scene) -> Vec<Json> {
    scene.audited().into_iter().map(|(_, outcome)| outcome).collect()
}

/// The replicas of `web` changed by somebody else.
fn by_hand(scene: &Scene, replicas: u64) {
    let mut managers = Managers::new([scene.swarms[0].endpoint()], Limits::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        loop {
            let read = managers.service("web").await.unwrap();
            if managers.set_replicas(&read, replicas).await.is_ok() {
                break;
            }
        }
    });
}

#[test]
fn replicas_follow_the_load_up_to_the_bounds_and_back() {
    let scene = Scene::begin(Plan::default(), 4.0);
    scene.until("four run", |scene| scene.running("web") == 4);
    scene.load("web", 30.0);
    scene.until("ten run, which is the most", |scene| scene.running("web") == 10);
    scene.load("web", 0.0);
    scene.until("one runs, which is the least", |scene| scene.running("web") == 1);
    scene.until("it is read back", |scene| scene.shown("web")["decisions"][1]["outcome"].is_string());
    scene.looks(0, 3);
    assert!(outcomes(&scene).iter().all(|outcome| outcome == "done"), "{:?}", scene.audited());
    assert_eq!(scene.updates(0), scene.audited().len(), "the same wish twice causes no second write");
    assert_eq!(scene.audited()[0].0, "set replicas=4, from 1");
    let shown = scene.shown("web");
    assert_eq!((&shown["replicas"], &shown["verdict"]), (&json!(1), &json!("stay")), "{shown:#}");
}

#[test]
fn a_stale_version_is_read_and_decided_again() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Update, 3, Fault::stale());
    scene.load("web", 5.0);
    scene.until("five run", |scene| scene.running("web") == 5);
    scene.until("it is written", |scene| outcomes(scene).last() == Some(&json!("done")));
    assert_eq!(outcomes(&scene), ["failed", "failed", "failed", "done"]);
}

#[test]
fn a_version_that_stays_stale_is_tried_five_times() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Update, 5, Fault::stale());
    scene.load("web", 5.0);
    scene.until("it is given up", |scene| scene.shown("web")["trouble"].is_string());
    assert_eq!((scene.updates(0), scene.running("web")), (5, 1));
    assert!(scene.shown("web")["trouble"].as_str().unwrap().starts_with("after 5 attempts"));
    scene.until("after a wait it works", |scene| scene.running("web") == 5);
}

#[test]
fn what_was_done_though_the_answer_was_lost_is_read_back_and_not_sent_again() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Update, 1, Fault::DropAfter);
    scene.load("web", 5.0);
    scene.until("it is read back", |scene| outcomes(scene) == ["done"]);
    scene.until("five run", |scene| scene.running("web") == 5);
    scene.looks(0, 5);
    assert_eq!(scene.updates(0), 1);
    assert_eq!(scene.shown("web")["hold"], Json::Null, "what was asked for is no person's");
}

#[test]
fn what_was_lost_before_it_was_done_is_no_success() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Update, 1, Fault::Drop);
    scene.load("web", 5.0);
    scene.until("five run", |scene| scene.running("web") == 5);
    scene.until("it is written", |scene| outcomes(scene).last() == Some(&json!("done")));
    assert_eq!(outcomes(&scene), ["failed", "done"]);
}

#[test]
fn an_engine_that_is_no_manager_or_says_nothing_is_left_alone() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Services, 1000, Fault::not_a_manager());
    scene.load("web", 5.0);
    scene.until("it is held", |scene| scene.shown("web")["hold"] == "engine");
    scene.until("the breaker opens", |scene| {
        scene.shown("web")["reason"].as_str().is_some_and(|reason| reason.contains("are asked again in"))
    });
    assert_eq!((scene.updates(0), scene.running("web")), (0, 1));
    scene.swarms[0].mend();
    scene.until("it goes on", |scene| scene.running("web") == 5);
}

#[test]
fn a_persons_number_is_left_alone() {
    let mut web = target(1, 10);
    web["manual_hold_s"] = json!(3600);
    let scene =
        Scene::begin(Plan { autoscale: json!({ "service": { "web": web } }), ..Plan::default() }, 2.0);
    scene.until("two run", |scene| scene.running("web") == 2);
    scene.until("it stays", |scene| scene.shown("web")["verdict"] == "stay");
    by_hand(&scene, 7);
    scene.until("it is held", |scene| scene.shown("web")["hold"] == "manual");
    scene.looks(0, 5);
    assert_eq!(scene.running("web"), 7);
    assert_eq!(scene.updates(0), 2, "ours and the person's");
}

#[test]
fn who_observes_tells_and_does_nothing() {
    let scene = Scene::begin(Plan { mode: Mode::Observe, ..Plan::default() }, 5.0);
    scene.until("it is told", |scene| outcomes(scene) == ["observed"]);
    scene.looks(0, 5);
    assert_eq!((scene.updates(0), outcomes(&scene).len()), (0, 1), "once");
    scene.mode.set(Mode::Withdraw);
    scene.looks(0, 5);
    assert_eq!(scene.updates(0), 0);
    scene.control.put("web", &json!({ "dry_run": true })).unwrap();
    scene.mode.set(Mode::Act);
    scene.looks(0, 5);
    assert_eq!(scene.updates(0), 0);
    scene.control.put("web", &json!({ "dry_run": false })).unwrap();
    scene.until("now it is done", |scene| scene.running("web") == 5);
}

#[test]
fn the_operator_disables_pauses_and_moves_the_bounds() {
    let scene = Scene::begin(Plan::default(), 3.0);
    scene.until("three run", |scene| scene.running("web") == 3);
    assert_eq!(scene.control.put("web", &json!({ "state": "disabled" })).unwrap()["enabled"], false);
    scene.load("web", 6.0);
    scene.until("it is held", |scene| scene.shown("web")["hold"] == "disabled");
    scene.control.put("web", &json!({ "state": "enabled", "paused": true })).unwrap();
    scene.until("it is paused", |scene| scene.shown("web")["hold"] == "paused");
    assert_eq!(scene.running("web"), 3);
    assert!(scene.control.put("web", &json!({ "max": 0 })).is_err());
    assert!(scene.control.put("other", &json!({})).is_err());
    scene.control.put("web", &json!({ "paused": false, "max": 5 })).unwrap();
    scene.until("five run", |scene| scene.running("web") == 5);
    let kept = scene.control.settings_json();
    assert_eq!(kept, json!({ "web": { "enabled": true, "paused": false, "max": 5 } }));
}

#[test]
fn without_data_or_an_audit_log_nothing_is_done() {
    let scene = Scene::begin(Plan { has_audit: false, ..Plan::default() }, 5.0);
    scene.until("it is refused", |scene| scene.shown("web")["trouble"].is_string());
    assert!(scene.shown("web")["trouble"].as_str().unwrap().contains("audit"));
    scene.silent("web");
    scene.until("it is held", |scene| scene.shown("web")["hold"] == "missing");
    assert_eq!((scene.updates(0), scene.running("web")), (0, 1));
}

#[test]
fn the_end_waits_for_the_change_that_is_under_way() {
    let scene = Scene::begin(Plan::default(), 1.0);
    scene.until("it is looked at", |scene| scene.shown("web")["verdict"] == "stay");
    scene.swarms[0].fail(Call::Update, 1, Fault::Delay(Duration::from_millis(500)));
    scene.load("web", 5.0);
    scene.until("it is asked for", |scene| scene.updates(0) == 1);
    let audit = scene.audit.clone();
    drop(scene);
    let outcomes: Vec<Json> =
        audit.newest(None, 10).iter().map(|kept| kept.json()["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done"]);
}
