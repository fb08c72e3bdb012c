//! The stand-in by itself on a clock of the test's, and as our client sees it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::{Engine, Error, Limits, Managers, Service, ServiceSpec, Task, TaskState, UpdateState};

fn planned(name: &str, replicas: u64) -> Planned {
    let labels = vec![("finderscope.autoscale.max".to_owned(), "8 \"of\" us".to_owned())];
    Planned { name: name.to_owned(), replicas, image: format!("{name}:1"), labels }
}

fn config(services: Vec<Planned>) -> Config {
    Config { services, nodes: 2, pace: Pace::even(Duration::from_millis(30)) }
}

fn start(services: Vec<Planned>) -> (StandIn, Engine, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::start(&folder.path().join("engine.sock"), config(services)).unwrap();
    let limits =
        Limits { call: Duration::from_millis(500), stop: Duration::from_millis(500), ..Limits::default() };
    let engine = Engine::new(stand_in.endpoint(), limits);
    (stand_in, engine, folder)
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test ends") })
}

/// Waits until so many tasks run and no others are left.
async fn settled(engine: &mut Engine, service: &Service, replicas: usize) -> Vec<Task> {
    loop {
        let mut tasks = engine.tasks(&service.id).await.unwrap();
        tasks.retain(|task| task.state <= TaskState::Running);
        if tasks.len() == replicas && tasks.iter().all(Task::is_running) {
            return tasks;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn scale(engine: &mut Engine, name: &str, replicas: u64) -> (ServiceSpec, Vec<Task>) {
    let read = engine.service(name).await.unwrap();
    assert_eq!(engine.set_replicas(&read, replicas).await.unwrap(), [""; 0]);
    let tasks = settled(engine, &read.service, replicas as usize).await;
    (engine.service(name).await.unwrap(), tasks)
}

#[test]
fn a_service_is_scaled_and_what_runs_stays_as_it_is() {
    let (stand_in, mut engine, _folder) = start(vec![planned("web", 1), planned("db", 2)]);
    block_on(async {
        let listed = engine.services().await.unwrap();
        let names: Vec<(&str, Option<u64>, Option<u64>)> =
            listed.iter().map(|one| (one.name.as_str(), one.replicas, one.running_tasks)).collect();
        assert_eq!(names, [("db", Some(2), Some(2)), ("web", Some(1), Some(1))]);
        assert_eq!(listed[1].labels["finderscope.autoscale.max"], "8 \"of\" us");
        let mut last = settled(&mut engine, &listed[1], 1).await;
        let raw = String::from_utf8(engine.service("web").await.unwrap().raw().to_owned()).unwrap();
        for replicas in [3, 5, 2, 0, 1] {
            let (now, tasks) = scale(&mut engine, "web", replicas).await;
            let kept = tasks.iter().filter(|task| last.contains(task)).count();
            assert_eq!(kept, tasks.len().min(last.len()), "{last:?} {tasks:?}");
            let slots: Vec<u64> = tasks.iter().filter_map(|task| task.slot).collect();
            assert_eq!(slots, (1..=replicas).collect::<Vec<_>>());
            let wanted = raw.replace("\"Replicas\":1}", &format!("\"Replicas\":{replicas}}}"));
            assert_eq!(String::from_utf8(now.raw().to_owned()).unwrap(), wanted);
            assert_eq!((now.service.replicas, now.service.update), (Some(replicas), None));
            let running = stand_in.running();
            let web: Vec<&Replica> = running.iter().filter(|one| one.service == "web").collect();
            assert_eq!((web.len() as u64, running.len()), (replicas, web.len() + 2));
            for (task, replica) in tasks.iter().zip(web) {
                assert_eq!(
                    (task.container, &task.container_name("web")),
                    (Some(replica.container), &replica.name)
                );
                assert_eq!(engine.inspect(&replica.container).await.unwrap().name, replica.name);
            }
            last = tasks;
        }
        let containers = engine.containers().await.unwrap();
        assert_eq!(containers.len(), 3);
    });
    let asked = stand_in.asked();
    assert_eq!(asked[0], "GET /version");
    assert_eq!(asked.iter().filter(|request| request.starts_with("POST /v1.41/services/")).count(), 5);
}

#[test]
fn a_client_that_changes_more_than_the_number_has_all_tasks_replaced() {
    let now = Instant::now();
    let after = |s: f64| now + Duration::from_secs_f64(s);
    let mut swarm = Swarm::new(
        Config { pace: Pace::default(), ..config(vec![planned("web", 3)]) },
        now,
        OffsetDateTime::UNIX_EPOCH,
    );
    let before: Vec<Replica> = swarm.running(now);
    let read = |swarm: &Swarm, at: Instant| {
        let api = crate::ApiVersion { major: 1, minor: 41 };
        ServiceSpec::read(swarm.service("web", at).unwrap().as_bytes(), api).unwrap()
    };
    let first = read(&swarm, now);
    let stripped = String::from_utf8(first.raw().to_owned())
        .unwrap()
        .replace(r#""Sysctls":{"net.core.somaxconn":"1024"},"#, "");
    swarm.update("web", first.service.version_index, stripped.as_bytes(), after(1.0)).unwrap();
    assert_eq!(read(&swarm, after(1.0)).service.update, Some(UpdateState::Updating));
    swarm.advance(after(20.0));
    let replaced = read(&swarm, after(20.0)).service;
    assert_eq!((replaced.update, replaced.replicas), (Some(UpdateState::Completed), Some(3)));
    let running = swarm.running(after(20.0));
    assert!(running.len() == 3 && running.iter().all(|one| !before.contains(one)), "{running:?}");
}

/// The numbers of containers that run at these seconds after a change at 100 s.
fn course(from: u64, to: u64, seconds: &[f64]) -> Vec<usize> {
    let began = Instant::now();
    let at = |s: f64| began + Duration::from_secs_f64(100.0 + s);
    let pace = Pace::default();
    let mut swarm =
        Swarm::new(Config { pace, ..config(vec![planned("web", from)]) }, began, OffsetDateTime::UNIX_EPOCH);
    let spec = planned("web", to).specification();
    let index = serde_json::from_str::<serde_json::Value>(&swarm.service("web", began).unwrap()).unwrap();
    let index = index["Version"]["Index"].as_u64().unwrap();
    swarm.update("web", index, spec.as_bytes(), at(0.0)).unwrap();
    let count = |s: &f64| {
        swarm.advance(at(*s));
        swarm.running(at(*s)).len()
    };
    seconds.iter().map(count).collect()
}

#[test]
fn things_take_as_long_as_in_a_swarm() {
    assert_eq!(course(1, 2, &[0.0, 1.39, 1.4, 60.0]), [1, 1, 2, 2]);
    assert_eq!(course(10, 1, &[0.0, 0.99, 1.0, 2.5, 3.9, 4.0, 60.0]), [10, 10, 9, 5, 2, 1, 1]);
    assert_eq!(course(1, 4, &[1.4, 1.5, 1.6]), [2, 3, 4]);
    assert_eq!(course(2, 2, &[0.0, 60.0]), [2, 2]);
}

#[test]
fn what_makes_no_sense_is_refused_as_engines_do() {
    let (stand_in, mut engine, _folder) = start(vec![planned("web", 1)]);
    block_on(async {
        let read = engine.service("web").await.unwrap();
        engine.set_replicas(&read, 2).await.unwrap();
        let stale = engine.set_replicas(&read, 3).await.unwrap_err();
        assert!(matches!(stale, Error::OutOfSequence { .. }), "{stale}");
        assert!(matches!(engine.service("nobody").await, Err(Error::NotFound { .. })));
        let now = engine.service("web").await.unwrap();
        let many = engine.set_replicas(&now, 1001).await.unwrap_err();
        assert!(many.to_string().ends_with("400: this stand-in has room for 1000 replicas"), "{many}");
        assert_eq!(engine.service("web").await.unwrap(), now);
    });
    for (request, status, words) in [
        ("GET /_ping", 200, "OK"),
        ("GET /services", 200, "\"Name\":\"web\""),
        ("GET /v1.24/services/web", 200, "\"Replicas\":2"),
        (
            "GET /v1.42/services/web",
            400,
            "client version 1.42 is too new. Maximum supported API version is 1.41",
        ),
        (
            "GET /v1.11/services/web",
            400,
            "client version 1.11 is too old. Minimum supported API version is 1.12",
        ),
        ("GET /v1.41/swarm", 404, "page not found"),
        ("DELETE /v1.41/services/web", 404, "page not found"),
        (
            "GET /v1.41/tasks?filters=%7B%22service%22%3A%7B%22web%22%3Atrue%7D%7D",
            200,
            "\"DesiredState\":\"running\"",
        ),
        ("GET /v1.41/tasks?filters=%7B%22desired-state%22:[%22shutdown%22]%7D", 200, "[]"),
        ("GET /v1.41/tasks?filters=%7B%22node%22:[%22x%22]%7D", 400, "invalid filter 'node'"),
        ("GET /v1.41/tasks?filters=x", 400, "expected value"),
        ("POST /v1.41/services/web/update", 400, "invalid service version"),
        ("POST /v1.41/services/web/update?version=1", 400, "EOF while parsing"),
        ("POST /v1.41/containers/00/stop", 404, "No such container: 00"),
    ] {
        let mut stream = UnixStream::connect(&stand_in.socket).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains(words), "{request}: {answer}");
    }
}

#[test]
fn a_stopped_container_is_replaced_in_its_slot_and_few_are_remembered() {
    let (_stand_in, mut engine, _folder) = start(vec![planned("web", 2)]);
    block_on(async {
        let service = engine.services().await.unwrap().remove(0);
        let mut last = settled(&mut engine, &service, 2).await;
        for _ in 0..8 {
            engine.stop_container(&last[1].container.unwrap()).await.unwrap();
            let ended = engine.tasks(&service.id).await.unwrap();
            let ended = ended.iter().find(|task| task.id == last[1].id).unwrap().state;
            assert_eq!(ended, TaskState::Ended);
            let next = settled(&mut engine, &service, 2).await;
            assert_eq!(next[0], last[0]);
            assert!(next[1].slot == Some(2) && next[1].container != last[1].container);
            last = next;
        }
        let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
        for task in engine.tasks(&service.id).await.unwrap() {
            *slots.entry(task.slot.unwrap()).or_default() += 1;
        }
        assert_eq!(slots, BTreeMap::from([(1, 1), (2, 5)]));
    });
}

#[test]
fn faults_come_as_they_were_asked_for_and_no_longer() {
    let (stand_in, mut engine, folder) = start(vec![planned("web", 1)]);
    let (_other, _, other_folder) = start(vec![planned("web", 1)]);
    let both = [folder.path(), other_folder.path()].map(|folder| Endpoint::Unix(folder.join("engine.sock")));
    block_on(async {
        let mut replicas = 1;
        for (fault, label, done) in [
            (Fault::stale(), "out_of_sequence", false),
            (Fault::not_a_manager(), "not_a_manager", false),
            (Fault::Refuse(404, "service web not found".to_owned()), "not_found", false),
            (Fault::Say("<html>".to_owned()), "answer", false),
            (Fault::Hang, "undecided", false),
            (Fault::Drop, "undecided", false),
            (Fault::DropAfter, "undecided", true),
        ] {
            stand_in.fail(Call::Update, 1, fault.clone());
            let read = engine.service("web").await.unwrap();
            assert_eq!(read.service.replicas, Some(replicas), "{fault:?}");
            let error = engine.set_replicas(&read, replicas + 1).await.unwrap_err();
            assert_eq!(error.label(), label, "{fault:?}: {error}");
            replicas += u64::from(done);
        }
        let read = engine.service("web").await.unwrap();
        assert_eq!(read.service.replicas, Some(replicas));
        stand_in.fail(Call::Update, 1, Fault::Delay(Duration::from_millis(50)));
        let began = Instant::now();
        engine.set_replicas(&read, 1).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(50));

        stand_in.fail(Call::Services, 2, Fault::not_a_manager());
        stand_in.fail(Call::Tasks, usize::MAX, Fault::Drop);
        let mut managers = Managers::new(both, Limits::default());
        managers.services().await.unwrap();
        assert_eq!((managers.moves(), managers.troubles().count()), (1, 1));
        assert_eq!(engine.services().await.unwrap_err().label(), "not_a_manager");
        assert_eq!(engine.services().await.unwrap().len(), 1);
        for _ in 0..3 {
            assert_eq!(engine.tasks(&read.service.id).await.unwrap_err().label(), "lost");
        }
        stand_in.mend();
        assert_eq!(settled(&mut engine, &read.service, 1).await.len(), 1);
    });
}

/// Whatever a manager is asked for, these are the only paths.
#[test]
fn of_a_manager_only_version_services_tasks_and_one_update_are_asked() {
    let (stand_in, _, folder) = start(vec![planned("web", 1)]);
    block_on(async {
        let endpoint = Endpoint::Unix(folder.path().join("engine.sock"));
        let mut managers = Managers::new([endpoint], Limits::default());
        managers.services().await.unwrap();
        let read = managers.service("web").await.unwrap();
        managers.tasks(&read.service.id).await.unwrap();
        managers.set_replicas(&read, 2).await.unwrap();
        let id = read.service.id;
        assert_eq!(
            stand_in.asked(),
            [
                "GET /version".to_owned(),
                "GET /v1.41/services?status=true".to_owned(),
                "GET /v1.41/services/web".to_owned(),
                format!("GET /v1.41/tasks?filters=%7B%22service%22:%5B%22{id}%22%5D%7D"),
                format!("POST /v1.41/services/{id}/update?version={}", read.service.version_index),
            ]
        );
    });
}

#[test]
fn it_ends_with_its_handle_and_lets_no_more_in_than_it_has_room_for() {
    let (stand_in, mut engine, folder) = start(vec![planned("web", 1)]);
    let socket = folder.path().join("engine.sock");
    assert!(StandIn::start(&socket, config(vec![])).is_err(), "the socket is taken");
    let mut clients: Vec<UnixStream> = (0..64).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
    assert_eq!(UnixStream::connect(&socket).unwrap().read(&mut [0; 1]).unwrap(), 0);
    drop(clients);
    block_on(async {
        while engine.services().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stand_in);
        assert!(!socket.exists());
        let error = engine.services().await.unwrap_err();
        assert!(error.to_string().contains("is the engine running, and is this its socket?"), "{error}");
    });
}
