//! Services and tasks: what is asked, what is posted byte by byte, and what is made of good answers and of bad ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use docker::{Endpoint, Engine, Error, Id, Limits, Service, UpdateState};

use crate::stand_in::{Answering, CLOSE, StandIn, Then, engine, version};
use crate::{block_on, short};

/// A specification with what no client of an older API knows, in an order and with numbers that no serializer writes.
const SPEC: &str = r#"{"TaskTemplate" : {"ContainerSpec":{"Image":"web:1","Sysctls":{"net.core.somaxconn":"1024"},
    "Ulimits":[{"Name":"nofile","Soft":1024,"Hard":2.048e3}],"CapabilityAdd":["CAP_NET_ADMIN"]},
    "Resources":{"Limits":{"Pids":100,"Replicas":5}}},"Name":"web","Labels":{"say":"\u003cReplicas\u003e: \"Replicas\":1"},
    "Mode":{ "Replicated" : {"Replicas" : 3 } },"Later":[null,1.0,{"Mode":{"Replicated":{"Replicas":9}}}]}"#;

fn one(index: u64) -> String {
    format!(
        r#"{{"ID":"x7k2","Version":{{"Index":{index}}},"PreviousSpec":{{"Mode":{{"Replicated":{{"Replicas":8}}}}}},
            "Spec":{SPEC},"UpdateStatus":{{"State":"completed"}}}}"#
    )
}

/// A manager that knows this one service and answers its update as `update` says.
fn manager(update: impl Fn(&mut Answering<'_>) -> Then + Send + Sync + 'static) -> StandIn {
    engine(move |path, answering| match path {
        "/v1.41/services/web" | "/v1.41/services/x7k2" | "/v1.41/services/x7" => {
            answering.answer(200, &one(21))
        }
        path if path.starts_with("POST ") => update(answering),
        _ => answering.answer(404, r#"{"message":"service nobody not found"}"#),
    })
}

/// What comes of setting the replicas at such a manager, and what was asked of it.
fn set(
    update: impl Fn(&mut Answering<'_>) -> Then + Send + Sync + 'static,
) -> (Result<Vec<String>, Error>, StandIn) {
    let stand_in = manager(update);
    let mut engine = Engine::new(stand_in.endpoint(), short());
    let result = block_on(async {
        let read = engine.service("web").await.unwrap();
        engine.set_replicas(&read, 12).await
    });
    (result, stand_in)
}

const UPDATE: &str = "POST /v1.41/services/x7k2/update?version=21";

fn posts(stand_in: &StandIn) -> Vec<String> {
    stand_in.asked().into_iter().filter(|path| path.starts_with("POST")).collect()
}

#[test]
fn only_the_digits_of_replicas_are_posted_otherwise() {
    for (answer, wanted) in [
        (r#"{"Warnings":null}"#, vec![]),
        (r#"{"Warnings":["unable to pin image"]}"#, vec!["unable to pin image"]),
        ("", vec![]),
    ] {
        let (result, stand_in) = set(move |answering| answering.answer(200, answer));
        assert_eq!(result.unwrap(), wanted);
        assert_eq!(stand_in.bodies(), [SPEC.replace("\"Replicas\" : 3 ", "\"Replicas\" : 12 ")]);
        assert_eq!(stand_in.asked(), ["/version", "/v1.41/services/web", UPDATE]);
        assert_eq!(stand_in.connections(), 1);
    }
}

#[test]
fn a_stale_version_is_told_apart_from_every_other_failure() {
    for (status, message, label) in [
        (500, "rpc error: code = Unknown desc = update out of sequence", "out_of_sequence"),
        (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "status"),
        (503, "This node is not a swarm manager. Use \\\"docker swarm init\\\"", "not_a_manager"),
        (404, "service x7k2 not found", "not_found"),
        (400, "client version 1.41 is too old", "status"),
        (403, "out of sequence", "status"),
    ] {
        let body = format!("{{\"message\":\"{message}\"}}");
        let (result, stand_in) = set(move |answering| answering.answer(status, &body));
        let error = result.unwrap_err();
        assert_eq!(error.label(), label, "{error}");
        let said = message.replace('\\', "");
        assert!(error.to_string().contains("POST /services/web/update: "), "{error}");
        assert!(error.to_string().ends_with(&said), "{error}");
        assert_eq!(posts(&stand_in), [UPDATE]);
    }
}

#[test]
fn an_update_without_an_answer_is_undecided_and_never_sent_again() {
    type Script = fn(&mut Answering<'_>) -> Then;
    let scripts: [(Script, &str); 6] = [
        (|_| CLOSE, "closed the connection"),
        (|answering| answering.hang(), "no answer in 0.3 s"),
        (|answering| answering.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").and(CLOSE), "closed"),
        (
            |answering| {
                answering.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")?;
                answering.hang()
            },
            "no answer in 0.3 s",
        ),
        (|answering| answering.answer(200, &" ".repeat(4097)), "longer than 4096 bytes"),
        (|answering| answering.raw(b"\x00\xff\x13what?\r\n\r\n").and(CLOSE), ""),
    ];
    for (script, why) in scripts {
        let began = Instant::now();
        let (result, stand_in) = set(script);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Undecided { .. }), "{error:?}");
        assert!(error.to_string().contains("it may be done or not, read again: "), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(posts(&stand_in), [UPDATE]);
    }
    let (result, _) = set(|answering| answering.answer(200, "<html>"));
    assert_eq!(result.unwrap_err().label(), "answer");
}

#[test]
fn an_update_on_a_connection_that_has_ended_is_sent_on_a_new_one() {
    let reads = AtomicUsize::new(0);
    let stand_in = engine(move |path, answering| {
        if path.starts_with("POST") {
            return answering.answer(200, r#"{"Warnings":null}"#);
        }
        answering.answer(200, &one(21))?;
        if reads.fetch_add(1, Ordering::SeqCst) == 0 { CLOSE } else { Ok(true) }
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let read = engine.service("web").await.unwrap();
        // The end of the connection is seen before the update is asked for.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(engine.set_replicas(&read, 4).await.unwrap(), [""; 0]);
    });
    assert_eq!(stand_in.asked(), ["/version", "/v1.41/services/web", "/version", UPDATE]);
}

#[test]
fn what_was_read_in_one_version_of_the_api_is_not_written_in_another() {
    let versions = AtomicUsize::new(0);
    let stand_in = StandIn::unix(move |path, answering| {
        if path == "/version" {
            let api = if versions.fetch_add(1, Ordering::SeqCst) == 0 { "1.41" } else { "1.52" };
            return answering.answer(200, &version(api));
        }
        answering.answer(200, &one(21))?;
        if path.starts_with("/v1.41") { CLOSE } else { Ok(true) }
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let read = engine.service("web").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let error = engine.set_replicas(&read, 4).await.unwrap_err();
        assert!(matches!(error, Error::OutOfSequence { .. }), "{error}");
        assert!(error.to_string().contains("version 1.41 of the API, and the engine speaks 1.52"), "{error}");
        let read = engine.service("web").await.unwrap();
        engine.set_replicas(&read, 4).await.unwrap();
    });
    assert_eq!(posts(&stand_in), ["POST /v1.52/services/x7k2/update?version=21"]);
}

#[test]
fn a_service_is_found_by_its_whole_name_or_id() {
    let stand_in = manager(|answering| answering.answer(200, ""));
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let by_name = engine.service("web").await.unwrap();
        assert_eq!(engine.service("x7k2").await.unwrap(), by_name);
        assert_eq!((by_name.raw(), by_name.service.version_index), (SPEC.as_bytes(), 21));
        assert_eq!(
            (by_name.service.replicas, by_name.service.update),
            (Some(3), Some(UpdateState::Completed))
        );
        for (name, label) in [("nobody", "not_found"), ("x7", "not_found")] {
            assert_eq!(engine.service(name).await.unwrap_err().label(), label);
        }
        let asked = stand_in.asked().len();
        for name in ["", ".", "..", "a/b", "a?b", "a b", "a\r\nb", "\u{fc}", "%41", &"a".repeat(256)] {
            assert_eq!(engine.service(name).await.unwrap_err().label(), "not_asked", "{name:?}");
            assert_eq!(engine.tasks(name).await.unwrap_err().label(), "not_asked", "{name:?}");
        }
        assert_eq!(stand_in.asked().len(), asked);
    });
}

#[test]
fn a_global_service_is_not_scaled() {
    let global = one(21).replace(r#""Mode":{ "Replicated" : {"Replicas" : 3 } }"#, r#""Mode":{"Global":{}}"#);
    let stand_in = engine(move |_, answering| answering.answer(200, &global));
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let read = engine.service("web").await.unwrap();
        assert_eq!(read.service.replicas, None);
        let error = engine.set_replicas(&read, 4).await.unwrap_err();
        assert!(error.to_string().starts_with("service web: its mode is not Replicated"), "{error}");
    });
    assert_eq!(posts(&stand_in).len(), 0);
}

#[test]
fn lists_of_services_have_the_running_tasks_where_the_engine_counts_them() {
    for (api, path) in [("1.40", "/v1.40/services"), ("1.41", "/v1.41/services?status=true")] {
        let answer = version(api);
        let status =
            if api == "1.41" { r#","ServiceStatus":{"RunningTasks":2,"DesiredTasks":3}"# } else { "" };
        let list = format!("[{}{status}}}]", one(21).trim_end_matches('}').to_owned() + "}");
        let stand_in = StandIn::unix(move |path, answering| match path {
            "/version" => answering.answer(200, &answer),
            _ => answering.answer(200, &list),
        });
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let list: Vec<Service> = block_on(engine.services()).unwrap();
        let counts = (list[0].running_tasks, list[0].desired_tasks);
        assert_eq!(counts, if api == "1.41" { (Some(2), Some(3)) } else { (None, None) });
        assert_eq!(stand_in.asked(), ["/version", path]);
    }
}

#[test]
fn tasks_are_those_of_the_service_alone() {
    let container = "ab".repeat(32);
    let list = format!(
        r#"[{{"ID":"t1","ServiceID":"x7k2","Slot":1,"DesiredState":"running","Status":{{"State":"running",
            "ContainerStatus":{{"ContainerID":"{container}"}}}}}},{{"ID":"t2","ServiceID":"other","Slot":1}}]"#
    );
    let stand_in = engine(move |_, answering| answering.answer(200, &list));
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let tasks = engine.tasks("x7k2").await.unwrap();
        assert_eq!((tasks.len(), tasks[0].container), (1, Some(container.parse().unwrap())));
    });
    assert_eq!(stand_in.asked()[1], "/v1.41/tasks?filters=%7B%22service%22:%5B%22x7k2%22%5D%7D");
}

#[test]
fn a_container_is_stopped_once() {
    let id = Id::from_bytes([0xab; 32]);
    for (status, label) in [(204, None), (304, None), (404, Some("not_found")), (500, Some("status"))] {
        let stand_in = engine(move |_, answering| {
            answering.raw(format!("HTTP/1.1 {status} Said\r\n").as_bytes())?;
            let rest: &[u8] = if status < 400 { b"\r\n" } else { b"Content-Length: 1\r\n\r\nx" };
            answering.raw(rest)?;
            Ok(true)
        });
        let mut engine = Engine::new(stand_in.endpoint(), short());
        let result = block_on(engine.stop_container(&id));
        assert_eq!(result.err().map(|error| error.label()), label);
        assert_eq!(stand_in.asked()[1..], [format!("POST /v1.41/containers/{id}/stop")]);
    }
    let stand_in = engine(|_, answering| answering.hang());
    let limits = Limits { stop: Duration::from_millis(400), ..short() };
    let began = Instant::now();
    let error = block_on(Engine::new(stand_in.endpoint(), limits).stop_container(&id)).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "POST /containers/abababababab/stop: it may be done or not, read again: no answer in 0.4 s"
        ),
        "{error}"
    );
    assert!(began.elapsed() >= limits.stop);
    assert_eq!(posts(&stand_in).len(), 1);
}

#[test]
fn where_nobody_answers_nothing_is_undecided() {
    let stand_in = manager(|answering| answering.answer(200, ""));
    block_on(async {
        let read = Engine::new(stand_in.endpoint(), Limits::default()).service("web").await.unwrap();
        let nowhere = Endpoint::Unix("/nonexistent/engine.sock".into());
        let error = Engine::new(nowhere, Limits::default()).set_replicas(&read, 4).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        let silent = StandIn::unix(|_, answering| answering.hang());
        let error = Engine::new(silent.endpoint(), short()).set_replicas(&read, 4).await.unwrap_err();
        assert!(matches!(error, Error::Time { .. }), "{error}");
        assert_eq!(posts(&silent).len(), 0);
    });
}
