//! The docker room against a real swarm: a service is scaled and nothing else of it is changed, and engines that are no
//! managers, hang, are gone or show wrong certificates are told apart.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use docker::stand_in::{Config, Pace, Planned, StandIn};
use docker::{Endpoint, Engine, Error, Id, Limits, Managers, ServiceSpec, Task, TaskState};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::support::PATIENCE;
use crate::support::docker_lab::{IMAGE, Lab, TLS};
use crate::support::live::{temporary_folder, turn, wait_until};

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 4, test).await.expect("the engine answers") })
}

fn engine(lab: &Lab) -> Engine {
    Engine::new(Endpoint::Unix(lab.socket()), Limits::default())
}

fn tls(certs: &Path) -> Engine {
    let (host, port) = TLS.split_once(':').unwrap();
    let endpoint =
        Endpoint::Tls { host: host.to_owned(), port: port.parse().unwrap(), certs: certs.to_owned() };
    Engine::new(endpoint, Limits::default())
}

/// A service of one replica with everything that a client of an old API would strip from it. It goes with this handle.
struct Web<'a> {
    lab: &'a Lab,
}

impl<'a> Web<'a> {
    fn create(lab: &'a Lab) -> Self {
        lab.clear();
        let options = [
            "service create --detach --no-resolve-image --name web --stop-grace-period 1s --update-delay 3s",
            "--sysctl net.core.somaxconn=512 --cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN --limit-pids 100",
            "--ulimit nofile=1024:2048 --ulimit core=0 --mount type=tmpfs,target=/scratch,tmpfs-size=1048576",
            "--mount type=bind,source=/etc/passwd,target=/passwd,readonly --health-cmd true",
            "--health-interval 1s --label team=a --container-label team=b --env MODE=Replicas:7 --init",
            "--host db:10.0.0.9 --limit-memory 64m --reserve-cpu 0.01 --restart-delay 100ms",
            "--publish mode=host,target=80",
        ];
        let options = options.join(" ");
        let mut arguments: Vec<&str> = options.split(' ').collect();
        // Texts that look like what is changed, and that JSON escapes.
        arguments.extend([
            "--label",
            "note=<\"Replicas\":1> & \u{e9}\\",
            "--hostname",
            "{{.Service.Name}}.{{.Task.Slot}}",
            IMAGE,
        ]);
        lab.docker(&arguments);
        Self { lab }
    }

    /// What the docker client says its specification is, with the number of replicas taken out.
    fn specification(&self, replicas: u64) -> String {
        let said = self.lab.docker(&["service", "inspect", "--format", "{{json .Spec}}", "web"]);
        let (before, after) =
            said.split_once(&format!("\"Replicated\":{{\"Replicas\":{replicas}}}")).unwrap();
        format!("{before}|{after}")
    }
}

impl Drop for Web<'_> {
    fn drop(&mut self) {
        self.lab.clear();
    }
}

/// Changes the number of replicas, and waits until so many tasks run and no others; how long that took.
async fn scale(engine: &mut Engine, replicas: u64) -> (ServiceSpec, BTreeMap<u64, Id>, Duration) {
    let read = engine.service("web").await.unwrap();
    let began = Instant::now();
    assert_eq!(engine.set_replicas(&read, replicas).await.unwrap(), [""; 0]);
    let running = settled(engine, &read.service.id, replicas).await;
    (engine.service("web").await.unwrap(), running, began.elapsed())
}

/// The containers by slot, once so many tasks run, and no others do.
async fn settled(engine: &mut Engine, id: &str, replicas: u64) -> BTreeMap<u64, Id> {
    loop {
        let tasks = engine.tasks(id).await.unwrap();
        let (wanted, others): (Vec<&Task>, Vec<&Task>) =
            tasks.iter().partition(|task| task.desired == TaskState::Running);
        let over = others.iter().all(|task| task.state > TaskState::Running);
        if over && wanted.len() as u64 == replicas && wanted.iter().all(|task| task.is_running()) {
            return wanted.iter().map(|task| (task.slot.unwrap(), task.container.unwrap())).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// When a container was started, and what it may do and use.
fn container(lab: &Lab, id: &Id) -> String {
    let template = "{{.State.StartedAt}} {{.State.Pid}} {{.RestartCount}} pids={{.HostConfig.PidsLimit}} \
                    {{json .HostConfig.Sysctls}} {{json .HostConfig.Ulimits}} {{json .HostConfig.CapAdd}} \
                    {{json .HostConfig.CapDrop}} {{json .HostConfig.Mounts}} {{json .Config.Healthcheck}} \
                    {{json .Config.Labels}} {{json .Config.Env}} {{.HostConfig.Memory}}";
    lab.docker(&["inspect", "--format", template, &id.to_string()])
}

#[test]
fn scaling_changes_the_number_of_replicas_and_nothing_else() {
    let _turn = turn();
    let lab = Lab::shared();
    let web = Web::create(lab);
    block_on(async {
        let mut engine = engine(lab);
        let read = engine.service("web").await.unwrap();
        let first = settled(&mut engine, &read.service.id, 1).await;
        let (specification, raw) = (web.specification(1), String::from_utf8(read.raw().to_owned()).unwrap());
        for text in
            ["Sysctls", "Ulimits", "CapabilityAdd", "\"Pids\":100", "Healthcheck", "tmpfs", "Replicas:7"]
        {
            assert!(raw.contains(text), "{text} in {raw}");
        }
        let digits = "\"Replicated\":{\"Replicas\":1}";
        assert_eq!(raw.matches(digits).count(), 1);
        let one = container(lab, &first[&1]);
        assert!(one.contains("pids=100 ") && one.contains("net.core.somaxconn"), "{one}");

        let mut last = first;
        for replicas in [3, 5, 1, 0, 1] {
            let before: BTreeMap<u64, String> =
                last.iter().map(|(slot, id)| (*slot, container(lab, id))).collect();
            let (now, running, took) = scale(&mut engine, replicas).await;
            eprintln!("{} -> {replicas} in {:.2} s", last.len(), took.as_secs_f64());
            assert_eq!(web.specification(replicas), specification);
            let wanted = raw.replace(digits, &format!("\"Replicated\":{{\"Replicas\":{replicas}}}"));
            assert_eq!(String::from_utf8(now.raw().to_owned()).unwrap(), wanted);
            assert_eq!((now.service.replicas, now.service.update), (Some(replicas), None));
            // Those that were there and still should be were not touched.
            let kept = running.iter().filter(|(slot, id)| last.get(slot) == Some(id));
            assert_eq!(kept.count(), last.len().min(running.len()));
            for (slot, id) in &running {
                let now = container(lab, id);
                let limits = |text: &str| text.split_once("pids=").unwrap().1.to_owned();
                // The task's own labels and name are those of its slot.
                let plain = |text: &str| limits(text).split(" {\"com.docker").next().unwrap().to_owned();
                assert_eq!(plain(&now), plain(&one));
                if last.contains_key(slot) {
                    assert_eq!(before[slot], now);
                }
            }
            let listed = engine.services().await.unwrap();
            assert_eq!((listed.len(), listed[0].running_tasks), (1, Some(replicas)));
            assert_eq!((listed[0].desired_tasks, &listed[0].id), (Some(replicas), &now.service.id));
            assert_eq!(listed[0].labels["note"], "<\"Replicas\":1> & \u{e9}\\");
            let said = lab.docker(&["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]);
            assert_eq!(said, format!("web {replicas}/{replicas}"));
            last = running;
        }
    });
}

#[test]
fn a_stale_update_changes_nothing_and_what_is_not_there_is_said() {
    let _turn = turn();
    let lab = Lab::shared();
    let web = Web::create(lab);
    let mut asking = engine(lab);
    let (stale, nobody) = block_on(async {
        let read = asking.service("web").await.unwrap();
        settled(&mut asking, &read.service.id, 1).await;
        // Somebody else is faster.
        lab.docker(&["service", "update", "--detach", "--quiet", "--label-add", "by=hand", "web"]);
        let specification = web.specification(1);
        let stale = asking.set_replicas(&read, 3).await.unwrap_err();
        let now = asking.service("web").await.unwrap();
        assert_eq!((web.specification(1), &now.service.labels["by"]), (specification, &"hand".to_owned()));
        assert!(now.service.version_index > read.service.version_index);
        // Read again, it is done once, and not twice.
        asking.set_replicas(&now, 2).await.unwrap();
        let again = asking.set_replicas(&now, 2).await.unwrap_err();
        assert!(matches!(again, Error::OutOfSequence { .. }), "{again}");
        assert_eq!(settled(&mut asking, &now.service.id, 2).await.len(), 2);
        // The beginning of an id is no name, although engines take it.
        let id = &now.service.id;
        let part = asking.service(&id[..10]).await.unwrap_err();
        assert!(matches!(part, Error::NotFound { .. }), "{part}");
        assert_eq!(&asking.service(id).await.unwrap().service.name, "web");
        (stale, asking.service("nobody").await.unwrap_err())
    });
    assert!(matches!(stale, Error::OutOfSequence { .. }), "{stale}");
    assert!(stale.to_string().ends_with("update out of sequence"), "{stale}");
    assert!(matches!(nobody, Error::NotFound { .. }), "{nobody}");
    assert!(nobody.to_string().contains("GET /services/nobody: 404: "), "{nobody}");
    // The same over TLS.
    let over_tls = lab.network().inside(|| {
        block_on(async {
            let mut engine = tls(&lab.certs());
            let read = engine.service("web").await.unwrap();
            engine.set_replicas(&read, 1).await.unwrap();
            settled(&mut engine, &read.service.id, 1).await
        })
    });
    assert_eq!(over_tls.len(), 1);
}

#[test]
fn a_stopped_container_is_replaced_in_its_slot_alone() {
    let _turn = turn();
    let lab = Lab::shared();
    let _web = Web::create(lab);
    block_on(async {
        let mut engine = engine(lab);
        let (read, before, _) = scale(&mut engine, 2).await;
        let id = &read.service.id;
        let tasks = engine.tasks(id).await.unwrap();
        let names: Vec<String> = tasks.iter().map(|task| task.container_name("web")).collect();
        let listed: Vec<String> =
            engine.containers().await.unwrap().into_iter().map(|one| one.name).collect();
        assert!(names.iter().all(|name| listed.contains(name)), "{names:?} of {listed:?}");
        assert!(tasks.iter().all(|task| task.ports.len() == 1 && task.ports[0].target == 80), "{tasks:?}");
        let began = Instant::now();
        engine.stop_container(&before[&2]).await.unwrap();
        // One that does not run is stopped already.
        engine.stop_container(&before[&2]).await.unwrap();
        let after = loop {
            let after = settled(&mut engine, id, 2).await;
            if after[&2] != before[&2] {
                break after;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        eprintln!("replaced in {:.2} s", began.elapsed().as_secs_f64());
        assert_eq!(after[&1], before[&1]);
        assert_eq!(engine.service("web").await.unwrap().raw(), read.raw());
        let nobody = engine.stop_container(&Id::from_bytes([0xab; 32])).await.unwrap_err();
        assert!(matches!(nobody, Error::NotFound { .. }), "{nobody}");
    });
}

#[test]
fn an_engine_that_manages_nothing_hangs_or_is_gone_is_passed_over() {
    let _turn = turn();
    let manager = Lab::shared();
    let _web = Web::create(manager);
    let mut other = Lab::own(&[]);
    let limits = Limits { call: Duration::from_secs(1), ..Limits::default() };
    let endpoints = [Endpoint::Unix(other.socket()), Endpoint::Unix(manager.socket())];
    let passed_over = || {
        block_on(async {
            let mut managers = Managers::new(endpoints.clone(), limits);
            let began = Instant::now();
            assert_eq!(managers.service("web").await.unwrap().service.name, "web");
            let took = began.elapsed();
            assert_eq!(managers.current(), Some(&endpoints[1]));
            let error = managers.troubles().next().unwrap().clone();
            (error, took)
        })
    };
    // No swarm at all: a worker says the same.
    let (error, _) = passed_over();
    assert!(matches!(error, Error::NotAManager { .. }), "{error}");
    assert!(error.to_string().contains("This node is not a swarm manager."), "{error}");

    other.docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    let service = ["service", "create", "--detach", "--no-resolve-image", "--name", "still", IMAGE];
    other.docker(&service);
    let mut asking = Engine::new(endpoints[0].clone(), limits);
    let read = block_on(asking.service("still")).unwrap();
    other.signal_engine("STOP");
    let (error, took) = passed_over();
    assert!(matches!(error, Error::Time { .. }), "{error}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // It may do what it was sent when it goes on: that is known only then.
    let mut kept = Engine::new(endpoints[0].clone(), limits);
    let began = Instant::now();
    let error = block_on(asking.set_replicas(&read, 2)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(matches!(error, Error::Undecided { .. } | Error::Time { .. }), "{error}");
    other.signal_engine("CONT");
    block_on(async {
        let now = kept.service("still").await.unwrap();
        kept.set_replicas(&now, 3).await.unwrap();
        assert_eq!(kept.service("still").await.unwrap().service.replicas, Some(3));
    });

    other.kill_engine();
    let (error, took) = passed_over();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = block_on(kept.set_replicas(&read, 2)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

/// Files of an authority of the test's own: the engine's and its client's, in this folder.
fn certificates(folder: &Path, names: &[&str], alter: impl FnOnce(&mut CertificateParams)) {
    let _ = fs::create_dir(folder);
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let write = |params: CertificateParams, cert: &str, key: &str| {
        let pair = KeyPair::generate().unwrap();
        fs::write(folder.join(cert), params.signed_by(&pair, &issuer).unwrap().pem()).unwrap();
        fs::write(folder.join(key), pair.serialize_pem()).unwrap();
        fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let params = |names: &[&str], usage| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        params
    };
    let mut server = params(names, ExtendedKeyUsagePurpose::ServerAuth);
    alter(&mut server);
    write(server, "server.pem", "server-key.pem");
    write(params(&[], ExtendedKeyUsagePurpose::ClientAuth), "cert.pem", "key.pem");
}

/// What is said of a lab's engine by a client with these certificates.
fn refusal(lab: &Lab, certs: &Path) -> String {
    let error = lab.network().inside(|| block_on(tls(certs).services()).unwrap_err());
    assert!(matches!(error, Error::Connect { .. } | Error::Lost { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn an_engine_with_a_wrong_expired_or_misnamed_certificate_is_refused() {
    let _turn = turn();
    let mut lab = Lab::own(&[]);
    let folder = temporary_folder();
    let theirs = folder.path().join("theirs");
    certificates(&theirs, &["127.0.0.1"], |_| {});
    let wrong = refusal(&lab, &theirs);
    assert!(wrong.contains("the engine's certificate is not signed by "), "{wrong}");
    // We trust it, and it does not trust us.
    fs::copy(lab.certs().join("ca.pem"), theirs.join("ca.pem")).unwrap();
    let untrusted = refusal(&lab, &theirs);
    assert!(untrusted.contains("the engine refuses the certificate "), "{untrusted}");

    for (names, expired, why) in [
        (["127.0.0.1"], true, "the engine's certificate has expired"),
        (
            ["other.example.net"],
            false,
            "the engine's certificate is for DnsName(\"other.example.net\"), not for 127.0.0.1",
        ),
        (["127.0.0.1"], false, "no manager of a swarm: "),
    ] {
        lab.kill_engine();
        certificates(&lab.certs(), &names, |params| {
            if expired {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
            }
        });
        lab.start_engine();
        let error = lab.network().inside(|| block_on(tls(&lab.certs()).services()).unwrap_err()).to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The stand-in is what a swarm is to the docker client too, whose own way of scaling keeps its tasks.
#[test]
fn the_docker_client_takes_the_stand_in_for_a_swarm() {
    let _turn = turn();
    let lab = Lab::shared();
    let folder = temporary_folder();
    let socket = folder.path().join("engine.sock");
    let web = Planned { name: "web".to_owned(), replicas: 2, image: IMAGE.to_owned(), labels: Vec::new() };
    let pace = Pace::even(Duration::from_millis(50));
    let stand_in = StandIn::start(&socket, Config { services: vec![web], nodes: 1, pace }).unwrap();
    let docker = |arguments: &[&str]| {
        let mut client = lab.client();
        client.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let output = client.args(arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(docker(&["service", "ls", "--format", "{{.Name}}={{.Replicas}}"]), "web=2/2");
    let (before, specification) =
        (stand_in.running(), docker(&["service", "inspect", "--format", "{{json .Spec}}", "web"]));
    docker(&["service", "scale", "--detach", "web=3"]);
    wait_until("a third replica", || (stand_in.running().len() == 3).then_some(()));
    assert_eq!(stand_in.running()[..2], before);
    assert_eq!(docker(&["service", "ls", "--format", "{{.Name}}={{.Replicas}}"]), "web=3/3");
    let after = docker(&["service", "inspect", "--format", "{{json .Spec}}", "web"]);
    assert_eq!(after, specification.replace("\"Replicas\":2", "\"Replicas\":3"));
    let names: Vec<String> = stand_in.running().into_iter().map(|replica| replica.name).collect();
    let mut listed: Vec<String> =
        docker(&["ps", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, names);
    // A client that changes anything of the tasks has them replaced, here as there.
    docker(&["service", "update", "--detach", "--env-add", "A=1", "web"]);
    wait_until("other replicas", || {
        let running = stand_in.running();
        (running.len() == 3 && running.iter().all(|one| !names.contains(&one.name))).then_some(())
    });
}
