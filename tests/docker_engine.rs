//! The docker room against a real engine: what it says of containers is what the docker client says, and every event of
//! a container's life comes, also of a short one and after the engine was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use docker::{Action, Container, Endpoint, Engine, Error, Event, EventTime, Events, Id, Limits, State};

use crate::support::PATIENCE;
use crate::support::docker_lab::{IMAGE, Lab, TLS, inside};
use crate::support::live::{turn, wait_until};

/// Runs a test's questions on one thread, as the agent does.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, test).await.expect("the engine answers") })
}

fn engine(lab: &Lab) -> Engine {
    Engine::new(Endpoint::Unix(lab.socket()), Limits::default())
}

/// The next event of this container.
async fn next(events: &mut Events, id: Id) -> Event {
    loop {
        let event = events.next().await.unwrap().expect("the stream goes on");
        if event.id == id {
            return event;
        }
    }
}

/// The event that tells of this container's start.
async fn start_of(events: &mut Events, id: Id) -> Event {
    loop {
        let event = next(events, id).await;
        if event.action == Action::Start {
            return event;
        }
    }
}

/// The events of this container until it is destroyed.
async fn life(events: &mut Events, id: Id) -> Vec<Event> {
    let mut life = Vec::new();
    while life.last().is_none_or(|event: &Event| event.action != Action::Destroy) {
        life.push(next(events, id).await);
    }
    life
}

fn actions(events: &[Event]) -> Vec<Action> {
    events.iter().map(|event| event.action.clone()).collect()
}

/// What `docker inspect` says of a container with this template.
fn said(lab: &Lab, container: &str, template: &str) -> String {
    lab.docker(&["inspect", "--format", template, container])
}

/// Whether this process runs.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Compares a container with what the docker client says of it.
fn compare(lab: &Lab, found: &Container) {
    let id = found.id.to_string();
    let said = |template: &str| said(lab, &id, template);
    assert_eq!(format!("/{}", found.name), said("{{.Name}}"));
    assert_eq!(found.pid.unwrap_or(0).to_string(), said("{{.State.Pid}}"));
    assert_eq!(format!("{:?}", found.state).to_lowercase(), said("{{.State.Status}}"));
    assert_eq!((found.image.as_str(), &found.hostname), (IMAGE, &said("{{.Config.Hostname}}")));
    assert_eq!(found.network_mode, said("{{.HostConfig.NetworkMode}}"));
    for network in &found.networks {
        let of = |field: &str| {
            said(&format!("{{{{(index .NetworkSettings.Networks \"{}\").{field}}}}}", network.name))
        };
        let mac = network.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        assert_eq!(mac.unwrap_or_default(), of("MacAddress"));
        assert_eq!(network.ipv4.map(|address| address.to_string()).unwrap_or_default(), of("IPAddress"));
    }
}

#[test]
fn what_it_says_of_containers_is_what_the_docker_client_says() {
    let _turn = turn();
    let lab = Lab::shared();
    let limits =
        ["--cpus", "0.5", "--memory", "64m", "--cpuset-cpus", "0", "--label", "team=a b", "--hostname", "h1"];
    let limited = lab.run(&[&limits[..], &["--name", "limited"]].concat(), &["sleep", "1000"]);
    let hosts = lab.run(&["--name", "hosts", "--network", "host"], &["sleep", "1000"]);
    let ended = lab.run(&["--name", "ended"], &["true"]);
    lab.docker(&["wait", &ended]);
    lab.docker(&["pause", &hosts]);
    let ask = async |mut engine: Engine| {
        let version = engine.version().await.unwrap();
        assert_eq!(version.api.to_string(), lab.docker(&["version", "--format", "{{.Server.APIVersion}}"]));
        let mine = [&limited, &hosts, &ended];
        let listed = engine.containers().await.unwrap();
        let listed = listed.into_iter().filter(|one| mine.contains(&&one.id.to_string()));
        let listed: BTreeMap<String, State> = listed.map(|one| (one.name, one.state)).collect();
        let wanted = [("hosts".to_owned(), State::Paused), ("limited".to_owned(), State::Running)];
        assert_eq!(listed, BTreeMap::from(wanted));
        let mut found = Vec::new();
        for id in mine {
            found.push(engine.inspect(&id.parse().unwrap()).await.unwrap());
            compare(lab, found.last().unwrap());
        }
        let nobody = engine.inspect(&Id::from_bytes([0xab; 32])).await.unwrap_err();
        assert!(matches!(nobody, Error::NotFound { .. }), "{nobody}");
        found
    };
    let found = block_on(ask(engine(lab)));
    let [limited, hosts, ended] = &found[..] else { unreachable!() };
    assert_eq!((limited.nano_cpus, limited.memory_limit_bytes), (Some(500_000_000), Some(64 << 20)));
    assert_eq!((limited.cpuset_cpus.as_str(), limited.hostname.as_str()), ("0", "h1"));
    assert_eq!((limited.labels["team"].as_str(), limited.networks.len()), ("a b", 1));
    assert!(limited.networks[0].mac.is_some() && limited.networks[0].ipv4.is_some());
    assert!(Path::new(&format!("/proc/{}", limited.pid.unwrap())).exists());
    assert_eq!((hosts.network_mode.as_str(), hosts.memory_limit_bytes), ("host", None));
    assert_eq!((ended.pid, ended.state, hosts.nano_cpus), (None, State::Exited, None));

    // The same over TLS, where the engine listens.
    let (host, port) = TLS.split_once(':').unwrap();
    let tls = Endpoint::Tls { host: host.to_owned(), port: port.parse().unwrap(), certs: lab.certs() };
    let over_tls = lab.network().inside(|| block_on(ask(Engine::new(tls, Limits::default()))));
    assert_eq!(over_tls, found);
    lab.remove(&["limited", "hosts", "ended"]);
}

#[test]
fn a_container_that_lives_for_a_moment_is_told_whole() {
    let _turn = turn();
    let lab = Lab::shared();
    block_on(async {
        let mut engine = engine(lab);
        let mut events = engine.events(None).await.unwrap();
        let command = ["sh", "-c", "sleep 0.3; exit 7"];
        let id: Id = lab.run(&["--rm", "--name", "moment"], &command).parse().unwrap();
        assert_eq!(next(&mut events, id).await.action, Action::Create);
        let start = next(&mut events, id).await;
        assert_eq!(start.action, Action::Start);
        let running = engine.inspect(&id).await.unwrap();
        let mut rest = life(&mut events, id).await;
        assert_eq!((running.state, running.name.as_str()), (State::Running, "moment"));
        assert!(
            running.pid.is_some() && running.started_at.is_some_and(|at| at <= start.time),
            "{running:?}"
        );
        assert_eq!(actions(&rest), [Action::Die, Action::Destroy]);
        assert_eq!((rest[0].exit_code, rest[1].exit_code), (Some(7), None));
        let lived = Duration::from_nanos(rest[0].time.as_nanos() - start.time.as_nanos());
        assert!(lived > Duration::from_millis(250) && lived < Duration::from_secs(2), "{lived:?}");
        rest.insert(0, start);
        assert!(rest.iter().all(|event| event.name == "moment"), "{rest:?}");
        assert!(rest.is_sorted_by_key(|event| event.time), "{rest:?}");
    });
}

#[test]
fn what_is_done_to_a_container_is_told() {
    let _turn = turn();
    let lab = Lab::shared();
    let mut events = None;
    block_on(async {
        let events = events.insert(engine(lab).events(None).await.unwrap());
        let id =
            lab.run(&["--name", "first"], &["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.01; done"]);
        lab.docker(&["pause", &id]);
        lab.docker(&["unpause", &id]);
        lab.docker(&["rename", &id, "second"]);
        lab.docker(&["update", "--cpus", "1.5", &id]);
        lab.docker(&["kill", "--signal", "WINCH", &id]);
        // A second sleep, so that the shell has set its trap when it is told to stop.
        lab.docker(&["exec", &id, "sleep", "0.1"]);
        lab.docker(&["restart", &id]);
        lab.docker(&["exec", &id, "sleep", "0.1"]);
        lab.docker(&["stop", &id]);
        lab.remove(&[&id]);
        let life = life(events, id.parse().unwrap()).await;
        let stopped = [Action::Kill, Action::Die, Action::Stop];
        let before = [Action::Create, Action::Start, Action::Pause, Action::Unpause];
        let renamed = [Action::Rename { old: "first".to_owned() }, Action::Update, Action::Kill];
        let restarted = [Action::Start, Action::Restart];
        let wanted = [&before[..], &renamed, &stopped, &restarted, &stopped, &[Action::Destroy]].concat();
        assert_eq!(actions(&life), wanted);
        let names: Vec<&str> = life.iter().map(|event| event.name.as_str()).collect();
        assert_eq!((&names[..4], &names[4..]), (&["first"; 4][..], &["second"; 12][..]));
        let signals: Vec<i32> = life.iter().filter_map(|event| event.signal).collect();
        let codes: Vec<i32> = life.iter().filter_map(|event| event.exit_code).collect();
        assert_eq!((signals, codes), (vec![28, 15, 15], vec![3, 3]));
    });
}

#[test]
fn an_engine_that_is_killed_ends_the_stream_and_gives_what_was_missed_when_it_is_back() {
    let _turn = turn();
    // With this option, which a swarm does not allow, containers outlive the next start too.
    let mut lab = Lab::own(&["--live-restore"]);
    let mut asking = engine(&lab);
    block_on(async {
        let mut events = asking.events(None).await.unwrap();
        let survivor: Id = lab.run(&["--name", "survivor"], &["sleep", "1000"]).parse().unwrap();
        let waiting = ["sh", "-c", "while [ ! -e /end ]; do sleep 0.02; done"];
        let ending: Id = lab.run(&["--name", "ending"], &waiting).parse().unwrap();
        let last = start_of(&mut events, ending).await;
        let before = asking.inspect(&survivor).await.unwrap();
        let ending = asking.inspect(&ending).await.unwrap().pid.unwrap();
        let process = format!("/proc/{}", before.pid.unwrap());

        let killed = Instant::now();
        lab.kill_engine();
        let end = loop {
            match events.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
        assert!(matches!(end, Some(Error::Lost { .. })), "{end:?}");
        assert!(matches!(events.next().await, Ok(None)));
        let refused = asking.containers().await.unwrap_err();
        assert!(matches!(refused, Error::Connect { .. }), "{refused}");
        assert!(refused.to_string().contains("is the engine running?"), "{refused}");
        assert!(Path::new(&process).exists(), "containers live on");
        // This one ends meanwhile.
        std::fs::write(inside(ending, "end"), "").unwrap();
        wait_until("the end of a container", || (!alive(ending)).then_some(()));

        lab.start_engine();
        // It starts and ends before anybody is registered.
        let missed: Id = lab.run(&["--rm", "--name", "missed"], &["sh", "-c", "exit 9"]).parse().unwrap();
        let gone = async || matches!(engine(&lab).inspect(&missed).await, Err(Error::NotFound { .. }));
        while !gone().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let since: EventTime = last.time.after();
        let mut events = asking.events(Some(since)).await.unwrap();
        let life = life(&mut events, missed).await;
        assert_eq!(actions(&life), [Action::Create, Action::Start, Action::Die, Action::Destroy]);
        assert_eq!(life[2].exit_code, Some(9));
        assert!(life.iter().all(|event| event.time >= since));
        // No event tells of the one that ended while nobody watched it: only the list does.
        let listed = asking.containers().await.unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].state), (1, survivor, State::Running));
        assert_eq!(asking.inspect(&survivor).await.unwrap(), before);
    });
}

#[test]
fn what_an_engine_does_to_its_containers_before_it_answers_again_is_told() {
    let _turn = turn();
    let mut lab = Lab::own(&[]);
    let options = ["--stop-timeout", "1", "--restart", "always"];
    block_on(async {
        let mut asking = engine(&lab);
        let mut events = asking.events(None).await.unwrap();
        let id: Id = lab.run(&options, &["sleep", "1000"]).parse().unwrap();
        let last = start_of(&mut events, id).await;
        let before = asking.inspect(&id).await.unwrap();
        lab.kill_engine();
        lab.start_engine();
        let mut events = asking.events(Some(last.time.after())).await.unwrap();
        let mut told = Vec::new();
        while told.last().is_none_or(|event: &Event| event.action != Action::Start) {
            told.push(next(&mut events, id).await);
        }
        told.retain(|event| event.action != Action::Kill);
        assert!(actions(&told).starts_with(&[Action::Die]) && told[0].exit_code == Some(137), "{told:?}");
        let after = asking.inspect(&id).await.unwrap();
        assert!(after.pid.is_some() && after.pid != before.pid && after.started_at > before.started_at);
    });
}

#[test]
fn the_containers_of_a_swarm_service_come_and_go() {
    let _turn = turn();
    let lab = Lab::shared();
    block_on(async {
        let mut engine = engine(lab);
        let mut events = engine.events(None).await.unwrap();
        let service = ["service", "create", "--no-resolve-image", "--detach", "--stop-grace-period", "1s"];
        lab.docker(&[&service[..], &["--name", "web", "--publish", "mode=host,target=80", IMAGE]].concat());
        let mut running: BTreeMap<Id, String> = BTreeMap::new();
        for replicas in [1, 4, 1, 0] {
            lab.docker(&["service", "scale", "--detach", &format!("web={replicas}")]);
            while running.len() != replicas {
                let event = events.next().await.unwrap().expect("the stream goes on");
                match event.action {
                    Action::Start if event.name.starts_with("web.") => {
                        drop(running.insert(event.id, event.name))
                    }
                    Action::Die => {
                        running.remove(&event.id);
                        // Unlike the list, an inspection is never behind the events.
                        let ended = engine.inspect(&event.id).await;
                        let ended = ended.map(|container| (container.pid, container.state == State::Running));
                        assert!(
                            matches!(ended, Ok((None, false)) | Err(Error::NotFound { .. })),
                            "{ended:?}"
                        );
                    }
                    _ => {}
                }
            }
            loop {
                let listed = engine.containers().await.unwrap().into_iter();
                let listed = listed.filter(|one| one.name.starts_with("web.")).map(|one| (one.id, one.name));
                if listed.collect::<BTreeMap<Id, String>>() == running {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for id in running.keys() {
                let labels = engine.inspect(id).await.unwrap().labels;
                assert_eq!(labels["com.docker.swarm.service.name"], "web");
            }
        }
        lab.docker(&["service", "rm", "web"]);
    });
}
