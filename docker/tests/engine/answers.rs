//! Versions, lists and containers: what is asked, and what is made of good answers and of bad ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use docker::{Endpoint, Engine, Error, Id, Limits, State};

use crate::stand_in::{Answering, CLOSE, StandIn, Then, engine, version, wait_until};
use crate::{block_on, short};

const ID: &str = "7a31c5f1d9be4cc0a1f4de7e7f6a2a8c3a1f1d6b7c8d9e0f1a2b3c4d5e6f7081";

fn id() -> Id {
    ID.parse().unwrap()
}

fn list_of(name: &str) -> String {
    format!(r#"[{{"Id":"{ID}","Names":["/{name}"],"State":"running"}}]"#)
}

/// The error of a list that is answered so, asked with limits that a test can wait for.
fn list_error(script: impl Fn(&str, &mut Answering<'_>) -> Then + Send + Sync + 'static) -> Error {
    let stand_in = engine(script);
    let mut engine = Engine::new(stand_in.endpoint(), short());
    block_on(engine.containers()).unwrap_err()
}

#[test]
fn engines_from_1_24_to_1_52_are_asked_in_their_own_version() {
    for minor in 24..=52 {
        let api = format!("1.{minor}");
        let answer = version(&api);
        let stand_in = StandIn::unix(move |path, answering| match path {
            "/version" => answering.answer(200, &answer),
            path if path.contains("/containers/json") => answering.answer(200, "[]"),
            _ => answering.answer(404, r#"{"message":"No such container"}"#),
        });
        block_on(async {
            let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
            assert_eq!(engine.containers().await.unwrap(), []);
            assert!(matches!(engine.inspect(&id()).await, Err(Error::NotFound { .. })));
            assert_eq!(engine.version().await.unwrap().api.minor, minor);
        });
        let (list, one) = (format!("/v{api}/containers/json"), format!("/v{api}/containers/{ID}/json"));
        assert_eq!(stand_in.asked(), ["/version", list.as_str(), one.as_str(), "/version"]);
        assert_eq!(stand_in.connections(), 1);
    }
}

#[test]
fn an_engine_that_is_too_old_or_none_at_all_is_said_to_be() {
    for (answer, why) in [
        (version("1.18"), "speaks version 1.18 of the API, and 1.24 or later is needed"),
        (version("1.41/../x"), "ApiVersion 1.41/../x: an API version is two numbers"),
        ("{}".to_owned(), "it has no ApiVersion"),
        ("<html>welcome</html>".to_owned(), "not understood"),
        (String::new(), "not understood"),
    ] {
        let stand_in = StandIn::unix(move |_, answering| answering.answer(200, &answer));
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let error = block_on(engine.containers()).unwrap_err().to_string();
        assert!(error.contains(why) && error.starts_with("unix:///"), "{error}");
        assert_eq!(stand_in.asked(), ["/version"]);
    }
}

#[test]
fn an_engine_that_was_replaced_is_asked_in_its_new_version() {
    let lists = AtomicUsize::new(0);
    let versions = AtomicUsize::new(0);
    let stand_in = StandIn::unix(move |path, answering| {
        if path == "/version" {
            let api = if versions.fetch_add(1, Ordering::SeqCst) == 0 { "1.41" } else { "1.52" };
            return answering.answer(200, &version(api));
        }
        // The first engine ends after its first list.
        answering.answer(200, "[]")?;
        if lists.fetch_add(1, Ordering::SeqCst) == 0 { CLOSE } else { Ok(true) }
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        for _ in 0..3 {
            engine.containers().await.unwrap();
        }
    });
    let (old, new) = ("/v1.41/containers/json", "/v1.52/containers/json");
    assert_eq!(stand_in.asked(), ["/version", old, "/version", new, new]);
    assert_eq!(stand_in.connections(), 2);
}

#[test]
fn a_kept_connection_that_breaks_under_a_question_is_replaced_once() {
    let asked = AtomicUsize::new(0);
    let stand_in = engine(move |_, answering| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => answering.answer(200, "[]"),
        _ => CLOSE,
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        engine.containers().await.unwrap();
        let error = engine.containers().await.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    });
    let list = "/v1.41/containers/json";
    assert_eq!(stand_in.asked(), ["/version", list, list, "/version", list]);
}

#[test]
fn bodies_are_the_same_by_length_in_chunks_and_until_the_end() {
    let kinds: [fn(&mut Answering<'_>, &str) -> Then; 3] = [
        |answering, body| answering.answer(200, body),
        |answering, body| {
            answering.begin_chunks()?;
            for letter in body.chars() {
                answering.chunk(&letter.to_string())?;
            }
            answering.end_chunks()
        },
        |answering, body| {
            answering.raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").as_bytes())?;
            CLOSE
        },
    ];
    for kind in kinds {
        let stand_in = engine(move |_, answering| kind(answering, &list_of("web")));
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let list = block_on(engine.containers()).unwrap();
        assert_eq!((list[0].id, list[0].name.as_str(), list[0].state), (id(), "web", State::Running));
    }
}

#[test]
fn refusals_are_told_in_the_engines_words_escaped_and_cut() {
    let stand_in = engine(|path, answering| match path {
        "/v1.41/containers/json" => answering.answer(500, &format!("{}\u{1b}[31m\n", "x".repeat(200))),
        _ => answering.answer(404, r#"{"message":"No such container: \"a\"\nb"}"#),
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), short());
        let error = engine.inspect(&id()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }));
        let said = error.to_string();
        let call = "GET /containers/7a31c5f1d9be/json: 404: ";
        assert!(said.contains(call) && said.ends_with(r#"No such container: "a"\nb"#), "{said}");
        let error = engine.containers().await.unwrap_err();
        assert!(matches!(error, Error::Status { status: 500, .. }));
        let said = error.to_string();
        assert!(said.ends_with("x\\u{1b}[31m") && said.lines().count() == 1, "{said}");
    });
    assert_eq!(stand_in.connections(), 1, "a refusal is no reason to connect again");

    let error = list_error(|_, answering| answering.answer(503, &"y".repeat(10_000)));
    assert!(error.to_string().ends_with("yyy...") && error.to_string().len() < 600, "{error}");
    let error = list_error(|_, answering| answering.answer(500, &"y".repeat(100_000)));
    assert!(error.to_string().ends_with("500: (its words could not be read)"), "{error}");
    let error = list_error(|_, answering| answering.answer(302, "moved"));
    assert!(matches!(error, Error::Status { status: 302, .. }), "{error}");
}

#[test]
fn nonsense_is_an_error_and_not_the_end() {
    type Script = fn(&str, &mut Answering<'_>) -> Then;
    let scripts: [(Script, &str); 9] = [
        (|_, answering| answering.raw(b"\x00\xff\x13what?\r\n\r\n").and(CLOSE), "lost"),
        (|_, answering| answering.raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").and(CLOSE), "lost"),
        (|_, answering| answering.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[{").and(CLOSE), "lost"),
        (
            |_, answering| {
                answering.begin_chunks()?;
                answering.raw(b"zz\r\n[]\r\n").and(CLOSE)
            },
            "lost",
        ),
        (
            |_, answering| {
                answering.raw(b"HTTP/1.1 200 OK\r\nX: ")?;
                // It is refused long before all of it is sent.
                let _ = answering.raw(&[b'x'; 1 << 20]);
                CLOSE
            },
            "lost",
        ),
        (|_, _| CLOSE, "lost"),
        (|_, answering| answering.answer(200, r#"[{"Id":"no"}]"#), "answer"),
        (|_, answering| answering.answer(200, "<html>"), "answer"),
        (|_, answering| answering.answer(200, &format!("\"{}\u{202e}\"", "x".repeat(3000))), "answer"),
    ];
    for (n, (script, label)) in scripts.into_iter().enumerate() {
        let good = AtomicUsize::new(0);
        let stand_in = engine(move |path, answering| {
            if good.fetch_add(1, Ordering::SeqCst) == 0 {
                return script(path, answering);
            }
            answering.answer(200, &list_of("web"))
        });
        block_on(async {
            let mut engine = Engine::new(stand_in.endpoint(), short());
            let error = engine.containers().await.unwrap_err();
            assert_eq!(error.label(), label, "script {n}: {error}");
            assert!(error.to_string().contains("GET /containers/json"), "{error}");
            assert!(error.to_string().len() < 600, "{error}");
            assert_eq!(engine.containers().await.unwrap()[0].name, "web", "script {n}");
        });
    }
}

#[test]
fn an_answer_that_does_not_come_or_comes_in_drops_is_late() {
    type Script = fn(&str, &mut Answering<'_>) -> Then;
    let scripts: [Script; 4] = [
        |_, answering| answering.hang(),
        |_, answering| {
            answering.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")?;
            answering.hang()
        },
        |_, answering| {
            answering.begin_chunks()?;
            loop {
                answering.chunk(" ")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        },
        |_, answering| {
            answering.raw(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n{")?;
            answering.hang()
        },
    ];
    for script in scripts {
        let began = Instant::now();
        let error = list_error(script);
        assert!(matches!(error, Error::Time { .. }), "{error}");
        assert!(error.to_string().ends_with("GET /containers/json: no answer in 0.3 s"), "{error}");
        assert!(began.elapsed() >= short().call);
    }
}

#[test]
fn an_answer_that_is_too_long_is_not_read() {
    let error = list_error(|_, answering| answering.answer(200, &" ".repeat(4097)));
    assert!(error.to_string().ends_with("the answer is longer than 4096 bytes"), "{error}");
    let error = list_error(|_, answering| {
        answering.begin_chunks()?;
        loop {
            answering.chunk(&" ".repeat(1000))?;
        }
    });
    assert!(matches!(error, Error::TooLong { limit_bytes: 4096, .. }), "{error}");
}

#[test]
fn a_name_is_any_text() {
    let name = format!("{}\\n\\u001b[31m\\\"", "n".repeat(4096));
    let body = format!(r#"{{"Id":"{ID}","Name":"/{name}"}}"#);
    let stand_in = engine(move |path, answering| match path {
        "/v1.41/containers/json" => answering.answer(200, &list_of(&name)),
        _ => answering.answer(200, &body),
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let wanted = "n".repeat(4096) + "\n\u{1b}[31m\"";
        assert_eq!(engine.containers().await.unwrap()[0].name, wanted);
        assert_eq!(engine.inspect(&id()).await.unwrap().name, wanted);
    });
}

#[test]
fn a_question_that_is_given_up_leaves_no_answer_to_the_next() {
    let asked = AtomicUsize::new(0);
    let stand_in = engine(move |_, answering| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return answering.hang();
        }
        answering.answer(200, &list_of("second"))
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let given_up = tokio::time::timeout(Duration::from_millis(50), engine.containers()).await;
        assert!(given_up.is_err());
        assert_eq!(engine.containers().await.unwrap()[0].name, "second");
    });
    wait_until("both connections", || stand_in.connections() == 2);
}

#[test]
fn where_nobody_answers_the_error_says_what_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let error = |path: &std::path::Path| {
        let mut engine = Engine::new(Endpoint::Unix(path.to_owned()), Limits::default());
        let error = block_on(engine.version()).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }));
        error.to_string()
    };
    assert!(error(&path).contains("is the engine running, and is this its socket?"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(error(&path).contains("nobody listens at"), "{}", error(&path));
}
