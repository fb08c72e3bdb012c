//! Several managers: who is asked, who is asked next, and who never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use docker::{Endpoint, Error, Managers};

use crate::stand_in::{CLOSE, StandIn, engine};
use crate::{block_on, short};

const SERVICE: &str =
    r#"{"ID":"x7","Version":{"Index":5},"Spec":{"Name":"web","Mode":{"Replicated":{"Replicas":1}}}}"#;

/// A manager that answers with this status; 0 for one that closes its connections, 1 for one that hangs.
fn manager(status: u16) -> (StandIn, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let theirs = Arc::clone(&status);
    let stand_in = engine(move |path, answering| match theirs.load(Ordering::SeqCst) {
        0 => CLOSE,
        1 => answering.hang(),
        200 if path.contains("/services?") => answering.answer(200, &format!("[{SERVICE}]")),
        200 if path.contains("/tasks") => answering.answer(200, "[]"),
        200 => answering.answer(200, SERVICE),
        status => answering.answer(status, r#"{"message":"This node is not a swarm manager."}"#),
    });
    (stand_in, status)
}

fn nowhere() -> Endpoint {
    Endpoint::Unix("/nonexistent/engine.sock".into())
}

fn asked(stand_in: &StandIn) -> usize {
    stand_in.asked().iter().filter(|path| *path != "/version").count()
}

fn posted(stand_in: &StandIn) -> usize {
    stand_in.asked().iter().filter(|path| path.starts_with("POST")).count()
}

#[test]
fn the_one_that_answers_is_found_and_remembered() {
    let ((worker, _), (closing, _), (hanging, _), (good, _)) =
        (manager(503), manager(0), manager(1), manager(200));
    let all = [&worker, &closing, &hanging, &good].map(StandIn::endpoint);
    let mut managers = Managers::new([nowhere()].into_iter().chain(all), short());
    block_on(async {
        for _ in 0..3 {
            assert_eq!(managers.services().await.unwrap()[0].name, "web");
            assert_eq!(managers.tasks("x7").await.unwrap(), []);
        }
        let read = managers.service("web").await.unwrap();
        managers.set_replicas(&read, 2).await.unwrap();
    });
    assert_eq!([&worker, &hanging, &closing].map(asked), [1, 1, 1]);
    assert_eq!((posted(&good), managers.moves(), managers.current()), (1, 1, Some(&good.endpoint())));
    let troubles: Vec<&str> = managers.troubles().map(Error::label).collect();
    assert_eq!(troubles, ["connect", "not_a_manager", "lost", "time"]);
}

#[test]
fn when_the_one_that_answered_goes_the_next_is_asked_in_turn() {
    let ((first, of_first), (second, of_second)) = (manager(200), manager(200));
    let mut managers = Managers::new([first.endpoint(), second.endpoint()], short());
    block_on(async {
        managers.services().await.unwrap();
        for status in [0, 500, 503, 1] {
            of_first.store(status, Ordering::SeqCst);
            managers.services().await.unwrap();
            assert_eq!(managers.current(), Some(&second.endpoint()));
            of_first.store(200, Ordering::SeqCst);
            of_second.store(status, Ordering::SeqCst);
            managers.services().await.unwrap();
            assert_eq!(managers.current(), Some(&first.endpoint()));
            of_second.store(200, Ordering::SeqCst);
        }
        // What is not there is an answer.
        of_first.store(404, Ordering::SeqCst);
        let before = asked(&second);
        assert!(matches!(managers.service("web").await, Err(Error::NotFound { .. })));
        assert_eq!(asked(&second), before);
    });
    assert_eq!((managers.moves(), managers.troubles().count()), (8, 1));
}

#[test]
fn an_update_is_never_sent_to_two() {
    for (status, label) in [(0, "undecided"), (1, "undecided"), (503, "not_a_manager"), (500, "status")] {
        let ((first, of_first), (second, _)) = (manager(200), manager(200));
        let mut managers = Managers::new([first.endpoint(), second.endpoint()], short());
        block_on(async {
            let read = managers.service("web").await.unwrap();
            of_first.store(status, Ordering::SeqCst);
            assert_eq!(managers.set_replicas(&read, 2).await.unwrap_err().label(), label);
            assert_eq!((posted(&first), posted(&second)), (1, 0), "{status}");
            // It is read again at one that answers.
            let read = managers.service("web").await.unwrap();
            managers.set_replicas(&read, 2).await.unwrap();
            assert_eq!((posted(&first), posted(&second)), (1, 1), "{status}");
        });
    }
}

#[test]
fn an_update_goes_to_the_next_when_nobody_could_be_given_it() {
    let (second, _) = manager(200);
    block_on(async {
        let read = Managers::new([second.endpoint()], short()).service("web").await.unwrap();
        let mut managers = Managers::new([nowhere(), second.endpoint()], short());
        managers.set_replicas(&read, 2).await.unwrap();
        assert_eq!((posted(&second), managers.moves()), (1, 1));
    });
}

#[test]
fn when_none_answers_each_is_told() {
    let (worker, _) = manager(503);
    block_on(async {
        let error = Managers::new([nowhere(), worker.endpoint()], short()).services().await.unwrap_err();
        assert_eq!(error.label(), "no_manager");
        assert!(
            error.to_string().starts_with("no manager answers: unix:///nonexistent/engine.sock: "),
            "{error}"
        );
        assert!(
            error.to_string().contains("; ") && error.to_string().ends_with("not a swarm manager."),
            "{error}"
        );
        let alone = Managers::new([worker.endpoint()], short()).services().await.unwrap_err();
        assert_eq!(alone.label(), "not_a_manager");
        let none = Managers::new([], short()).services().await.unwrap_err();
        assert_eq!(none.to_string(), "no manager answers: none is configured");
    });
}
