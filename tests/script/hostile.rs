//! Scripts that go wrong in every way, two hundred of them at once: what is received is received, questions are answered, and
//! it is told what each of them did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingest::send::Sender;
use serde_json::Value as Json;

use crate::support::Collector;
use crate::support::live::{turn, wait_until};
use crate::support::observer::{Account, Answers, ask_until};
use crate::support::traffic::Traffic;

/// Scripts of each kind.
const MANY: usize = 50;

/// The kinds, by the beginning of their files' names.
const KINDS: [(&str, &str); 4] = [
    (
        "loops",
        "setHttpHandler(() => 'here');\n\
         setIntervalHandler(() => { while (true) {} }, 1);\n",
    ),
    (
        "hoards",
        "setHttpHandler(() => 'here');\n\
         let all = [];\n\
         setIntervalHandler(() => { all = []; while (true) all.push(new Array(10000).fill(all.length)); }, 1);\n",
    ),
    (
        "throws",
        "setFlow('seen', {keys: 'ipsource', value: 'frames', log: true, flowStart: true});\n\
         setThreshold('many', {metric: 'seen', value: 0.001, byFlow: true});\n\
         const wrong = what => { throw new Error(what); };\n\
         setFlowHandler(() => wrong('flow'), ['seen']);\n\
         setEventHandler(() => wrong('event'), ['many']);\n\
         setIntervalHandler(() => wrong('interval'), 1);\n\
         setHttpHandler(() => wrong('request'));\n",
    ),
    ("spoilt", "logInfo('never said');\nlet number = ;\n"),
];

/// Datagrams while they run.
const DATAGRAMS: u64 = 20_000;

fn name(kind: &str, number: usize) -> String {
    format!("{kind}{number:02}.js")
}

/// Of each script of a kind.
fn of<'a>(scripts: &'a Json, kind: &'static str) -> impl Iterator<Item = &'a Json> + 'a {
    (0..MANY).map(move |number| &scripts[name(kind, number)])
}

fn counted(script: &Json, what: &str) -> u64 {
    script[what].as_u64().unwrap_or_else(|| panic!("{what} of {script}"))
}

#[test]
fn two_hundred_hostile_scripts_harm_nobody_and_are_told_of() {
    // They take all of the processors that nobody else wants.
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let mut options = vec!["--defaults".to_owned(), "--script-memory".to_owned(), "4".to_owned()];
    options.extend(["--script-call-limit".to_owned(), "1".to_owned()]);
    for (kind, text) in KINDS {
        for number in 0..MANY {
            let path = folder.path().join(name(kind, number));
            std::fs::write(&path, text).unwrap();
            options.extend(["--script".to_owned(), path.to_str().unwrap().to_owned()]);
        }
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let collector = Collector::start(&options);
    collector.wait_for("/scripts/json", |scripts| {
        (scripts.as_object()?.len() == KINDS.len() * MANY).then_some(())
    });
    // A handler is told of what begins after it was set.
    let started = |line: &String| line.ends_with(".js started");
    wait_until("all that can start", || {
        (collector.log().iter().filter(|line| started(line)).count() == 3 * MANY).then_some(())
    });
    let (answers, ended) = (Mutex::<Answers>::default(), AtomicBool::new(false));
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| ask_until(&answers, &collector, &ended, Duration::from_millis(50)));
        let mut traffic = Traffic::of_fabric(2000);
        let mut sender = Sender::new(collector.sflow).unwrap();
        let began = Instant::now();
        while sender.sent() < DATAGRAMS {
            traffic.next(64, |datagrams| sender.send_all(datagrams));
            // A steady rate, so that what is lost is not for want of room.
            let due = Duration::from_secs_f64(sender.sent() as f64 / 4000.0);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        ended.store(true, Ordering::Relaxed);
        sender.sent()
    });
    let account = Account::wait_for(&collector, sent);
    assert_eq!((account.decoded, account.dropped, account.errors), (sent, 0, 0), "{account:?}");
    let answers = answers.into_inner().unwrap();
    eprintln!("{} answers, 99 % within {:?}", answers.times.len(), answers.within(0.99));
    assert_eq!(answers.failed, Vec::<String>::new());
    assert!(answers.within(0.99) < Duration::from_secs(1), "{:?}", answers.slowest());

    wait_until("each of them tells what it does", || {
        let scripts = collector.json("/scripts/json");
        let all = |kind, what| of(&scripts, kind).all(|script| counted(script, what) > 0);
        (all("loops", "interrupted") && all("hoards", "exceptions") && all("throws", "exceptions"))
            .then_some(())
    });
    let scripts = collector.json("/scripts/json");
    for kind in ["loops", "hoards", "throws"] {
        assert!(of(&scripts, kind).all(|script| script["alive"] == true), "{scripts:#}");
    }
    for script in of(&scripts, "throws") {
        assert!(counted(script, "flowsReceived") > 0 && counted(script, "eventsReceived") > 0, "{script}");
        assert!(script["error"].as_str().unwrap().contains(".js:3"), "{script}");
    }
    for script in of(&scripts, "hoards") {
        assert!(counted(script, "memoryBytes") <= 4 << 20, "{script}");
    }
    for (number, script) in of(&scripts, "spoilt").enumerate() {
        let place = format!("{}:2", name("spoilt", number));
        assert!(script["error"].as_str().unwrap().contains(&place), "{script}");
        assert_eq!((&script["alive"], &script["gracefulExit"]), (&false.into(), &false.into()));
    }
    // Those that never come to an end by themselves answer between two calls.
    let ask = |kind| collector.get(&format!("/script/{}/json", name(kind, 7)));
    assert_eq!((ask("loops"), ask("hoards")), ((200, "here".into()), (200, "here".into())));
    assert_eq!((ask("throws").0, ask("spoilt").0), (500, 503));
    assert_eq!(collector.end(), Some(0));
}
