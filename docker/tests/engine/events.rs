//! The event stream: lines good, bad, halved and endless, and its end.

use std::time::Duration;

use docker::{Action, Engine, Error, Event, EventTime, Events, Limits};

use crate::stand_in::{Answering, CLOSE, StandIn, Then, engine, version};
use crate::{block_on, short};

const ID: &str = "7a31c5f1d9be4cc0a1f4de7e7f6a2a8c3a1f1d6b7c8d9e0f1a2b3c4d5e6f7081";

/// A line as engines write it, with what those before API 1.52 say twice.
fn line(action: &str, attributes: &str, nanos: u64) -> String {
    let (seconds, more) = (nanos / 1_000_000_000, if attributes.is_empty() { "" } else { "," });
    format!(
        r#"{{"status":"{action}","id":"{ID}","from":"web:1","Type":"container","Action":"{action}","Actor":{{"ID":"{ID}","Attributes":{{{attributes}{more}"image":"web:1"}}}},"scope":"local","time":{seconds},"timeNano":{nanos}}}"#
    ) + "\n"
}

/// All that comes until the end, and the end's error if it has one.
async fn all(events: &mut Events) -> (Vec<Result<Event, String>>, Option<Error>) {
    let mut found = Vec::new();
    loop {
        match events.next().await {
            Ok(Some(event)) => found.push(Ok(event)),
            Ok(None) => return (found, None),
            Err(error) if error.is_line() => found.push(Err(error.to_string())),
            Err(error) => return (found, Some(error)),
        }
    }
}

/// What is made of a stream in these chunks that ends well.
fn read(chunks: Vec<String>) -> Vec<Result<Event, String>> {
    let stand_in = engine(move |_, answering| {
        answering.begin_chunks()?;
        chunks.iter().try_for_each(|chunk| answering.chunk(chunk))?;
        answering.end_chunks()
    });
    block_on(async {
        let mut events = Engine::new(stand_in.endpoint(), short()).events(None).await.unwrap();
        let (found, error) = all(&mut events).await;
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(events.next().await, Ok(None)), "the end is the end");
        found
    })
}

#[test]
fn every_action_is_read() {
    let actions = [
        ("create", "", Action::Create),
        ("start", "", Action::Start),
        ("kill", r#""signal":"9""#, Action::Kill),
        ("die", r#""exitCode":"137","execDuration":"2""#, Action::Die),
        ("stop", "", Action::Stop),
        ("pause", "", Action::Pause),
        ("unpause", "", Action::Unpause),
        ("rename", r#""oldName":"/old""#, Action::Rename { old: "old".to_owned() }),
        ("restart", "", Action::Restart),
        ("oom", "", Action::Oom),
        ("update", "", Action::Update),
        ("destroy", "", Action::Destroy),
        ("health_status: healthy", "", Action::Other("health_status: healthy".to_owned())),
    ];
    let lines = actions.iter().zip(1..).map(|((action, attributes, _), n)| {
        let more = if attributes.is_empty() { "" } else { "," };
        line(action, &format!(r#""name":"web.{n}"{more}{attributes}"#), 1_772_360_430_000_000_000 + n)
    });
    let found = read(vec![lines.collect()]);
    assert_eq!(found.len(), actions.len());
    for (((_, _, action), n), event) in actions.iter().zip(1..).zip(found) {
        let event = event.unwrap();
        assert_eq!((event.id.to_string().as_str(), &event.action), (ID, action));
        assert_eq!(event.name, format!("web.{n}"));
        assert_eq!(event.time.as_nanos(), 1_772_360_430_000_000_000 + n);
        assert_eq!(event.exit_code, (*action == Action::Die).then_some(137));
        assert_eq!(event.signal, (*action == Action::Kill).then_some(9));
    }
}

#[test]
fn labels_that_look_like_attributes_are_not_taken_for_them() {
    let found = read(vec![line("start", r#""exitCode":"1","signal":"9","oldName":"x""#, 5)]);
    let event = found.into_iter().next().unwrap().unwrap();
    assert_eq!((event.action, event.exit_code, event.signal), (Action::Start, None, None));
}

#[test]
fn what_old_and_new_engines_leave_out_is_not_missed() {
    let without_legacy = format!(
        r#"{{"Type":"container","Action":"start","Actor":{{"ID":"{ID}","Attributes":{{}}}},"time":7}}"#
    );
    let without_attributes = format!(
        r#"{{"Action":"start","Actor":{{"ID":"{ID}","Attributes":null}},"time":7,"timeNano":7000000001}}"#
    );
    let times: Vec<u64> = read(vec![without_legacy + "\n" + &without_attributes + "\n"])
        .into_iter()
        .map(|event| event.unwrap().time.as_nanos())
        .collect();
    assert_eq!(times, [7_000_000_000, 7_000_000_001]);
}

#[test]
fn a_line_is_the_same_in_whatever_pieces_it_comes() {
    let text = line("start", r#""name":"a\nb""#, 1) + "\r\n\n" + &line("die", r#""exitCode":"0""#, 2);
    for size in [1, 2, 7, 100, text.len()] {
        let chunks = text.as_bytes().chunks(size).map(|chunk| String::from_utf8(chunk.to_vec()).unwrap());
        let found: Vec<Event> = read(chunks.collect()).into_iter().map(Result::unwrap).collect();
        assert_eq!(found.len(), 2, "in pieces of {size}");
        assert_eq!((found[0].name.as_str(), found[1].exit_code), ("a\nb", Some(0)));
    }
    // The form of `application/json-seq`.
    let found = read(vec![format!("\u{1e}{}", line("start", "", 3))]);
    assert_eq!(found[0].as_ref().unwrap().time.as_nanos(), 3);
}

#[test]
fn a_bad_line_is_said_and_the_next_one_is_read() {
    let bad = [
        "what?\n".to_owned(),
        "{\"Type\":\"container\"\n".to_owned(),
        "[]\n".to_owned(),
        line("start", "", 1).replace(ID, "7a31\\u001b"),
        line("start", "", 1).replace("time", "tide"),
        line("start", "", 1).replace("Nano\":1", &format!("Nano\":\"{}\"", "t".repeat(200))),
        format!("{{\"x\":\"{}\"}}\n", "y".repeat(600)),
        "\n".to_owned() + &"z".repeat(5000) + "\n",
    ];
    for bad in bad {
        let found = read(vec![line("start", "", 1), bad.clone(), line("start", "", 2)]);
        assert_eq!(found.len(), 3, "{bad}: {found:?}");
        assert!(found[0].is_ok() && found[2].is_ok(), "{found:?}");
        let said = found[1].as_ref().unwrap_err();
        assert!(said.contains("an event was left out: ") && said.lines().count() == 1, "{said}");
        assert!(said.len() < 600 && !said.contains('\u{1b}'), "{said}");
    }
    let found = read(vec!["z".repeat(513) + "\n" + &line("start", "", 1)]);
    assert!(found[0].as_ref().unwrap_err().ends_with("its line is longer than 512 bytes"), "{found:?}");
}

#[test]
fn an_endless_line_is_said_once_and_then_skipped() {
    let mut chunks = vec!["z".repeat(400); 5000];
    chunks.push("\n".to_owned() + &line("start", "", 1));
    let found = read(chunks);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].is_err() && found[1].is_ok());
}

#[test]
fn what_is_about_no_container_is_passed_over() {
    let network = line("connect", "", 1).replace("\"Type\":\"container\"", "\"Type\":\"network\"");
    let prune = line("prune", r#""reclaimed":"0""#, 1).replace(ID, "");
    let found = read(vec![network, prune, line("start", "", 2)]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_broken_stream_is_an_error_and_one_that_ended_is_none() {
    type Script = fn(&mut Answering<'_>) -> Then;
    let scripts: [(Script, Option<&str>); 4] = [
        (
            |answering| {
                answering.begin_chunks()?;
                answering.chunk(&line("start", "", 1)).and(CLOSE)
            },
            Some("the engine closed the connection"),
        ),
        (
            |answering| {
                answering.begin_chunks()?;
                answering.chunk(&line("start", "", 1))?;
                answering.chunk("{\"Type\":\"conta")?;
                answering.end_chunks()
            },
            Some("it ended within a line"),
        ),
        (
            |answering| {
                answering.begin_chunks()?;
                answering.chunk(&line("start", "", 1))?;
                answering.raw(b"nonsense\r\n").and(CLOSE)
            },
            Some("GET /events: "),
        ),
        (
            |answering| {
                answering.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                answering.raw(line("start", "", 1).as_bytes()).and(CLOSE)
            },
            None,
        ),
    ];
    for (script, why) in scripts {
        let stand_in = engine(move |_, answering| script(answering));
        block_on(async {
            let mut events = Engine::new(stand_in.endpoint(), short()).events(None).await.unwrap();
            let (found, error) = all(&mut events).await;
            assert_eq!(found.len(), 1);
            match (&error, why) {
                (Some(error @ Error::Lost { .. }), Some(why)) if error.to_string().contains(why) => {}
                (None, None) => {}
                _ => panic!("{why:?} was expected, not {error:?}"),
            }
            assert!(matches!(events.next().await, Ok(None)));
        });
    }
}

#[test]
fn silence_is_no_error_and_a_wait_that_is_given_up_loses_nothing() {
    let (more, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let text = line("die", r#""exitCode":"3""#, 1);
    let stand_in = engine(move |_, answering| {
        answering.begin_chunks()?;
        let (first, second) = text.split_at(50);
        answering.chunk(first)?;
        wait.lock().unwrap().recv().unwrap();
        answering.chunk(second)?;
        answering.hang()
    });
    block_on(async {
        let mut events = Engine::new(stand_in.endpoint(), short()).events(None).await.unwrap();
        // Longer than a call may take.
        for _ in 0..10 {
            let waited = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        more.send(()).unwrap();
        assert_eq!(events.next().await.unwrap().unwrap().exit_code, Some(3));
    });
}

#[test]
fn it_is_registered_when_the_engine_says_so() {
    let (say, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let stand_in = engine(move |_, answering| {
        wait.lock().unwrap().recv().unwrap();
        answering.begin_chunks()?;
        answering.hang()
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let registering = engine.events(None);
        tokio::pin!(registering);
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut registering).await;
        assert!(waited.is_err());
        say.send(()).unwrap();
        registering.await.unwrap();
    });
    let refusing = engine(|_, answering| answering.answer(500, r#"{"message":"no"}"#));
    let error = block_on(Engine::new(refusing.endpoint(), short()).events(None)).unwrap_err();
    assert!(error.to_string().ends_with("GET /events: 500: no"), "{error}");
    let hanging = engine(|_, answering| answering.hang());
    let error = block_on(Engine::new(hanging.endpoint(), short()).events(None)).unwrap_err();
    assert!(error.to_string().ends_with("GET /events: no answer in 0.3 s"), "{error}");
}

#[test]
fn events_begin_at_the_engines_own_time_or_where_the_last_ones_ended() {
    let body = version("1.41");
    let stand_in = StandIn::unix(move |path, answering| {
        if path != "/version" {
            answering.begin_chunks()?;
            return answering.end_chunks();
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2026 10:20:30 GMT\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        answering.raw((head + &body).as_bytes())?;
        Ok(true)
    });
    block_on(async {
        let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
        let events = engine.events(None).await.unwrap();
        let time = EventTime::from_nanos(1_772_360_430_000_000_000);
        assert_eq!(events.engine_time(), Some(time));
        let last = EventTime::from_nanos(1_772_360_430_899_999_999);
        engine.events(Some(last.after())).await.unwrap();
        let before_it_was_set_back = EventTime::from_nanos(1_772_364_030_000_000_000);
        engine.events(Some(before_it_was_set_back)).await.unwrap();
    });
    let asked = stand_in.asked();
    assert!(asked[1].ends_with("&since=1772360430.000000000"), "{asked:?}");
    assert!(asked[3].ends_with("&since=1772360430.900000000"), "{asked:?}");
    assert!(asked[5].ends_with("&since=1772360430.000000000"), "{asked:?}");
    assert!(asked[3].starts_with("/v1.41/events?filters=%7B%22type%22:%5B%22container%22%5D"), "{asked:?}");
    assert_eq!(stand_in.connections(), 3);
}
