//! Updates of services, against an engine's stand-in behind TLS and against servers that only look like one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex as StdMutex};

use actions::audit::Limits as AuditLimits;
use docker::stand_in::{Call, Config, Fault, Pace, Planned, StandIn};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::guard::Guards;
use crate::http::server::{Asked, Says, Server, acceptor, authority, folder_of, issued, says};
use crate::http::{Allow, Limits, OwnAddress, Reply};

/// A script with its audit log.
struct Desk {
    http: Http,
    audit: Audit,
    mode: Switch,
    _state: tempfile::TempDir,
}

impl Desk {
    fn new(guarded: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let audit = Audit::open(state.path(), AuditLimits::default()).unwrap();
        let mode = Switch::new(Mode::Observe);
        let docker = guarded.then(|| Docker::new("elb.js", audit.clone(), mode.clone()));
        let allowed: Allow = "127.0.0.1".parse().unwrap();
        Self {
            http: Http::new(&[allowed], Limits::default(), Guards { docker, capture: None }, Arc::default()),
            audit,
            mode,
            _state: state,
        }
    }

    async fn ask(&self, request: Json) -> Result<Reply, Failure> {
        self.http.call(Outgoing::of_request(&request, OwnAddress(None)).unwrap()).await
    }

    /// Reads a service and writes it back as the article's script does, through doubles.
    async fn set(&self, api: &str, certs: &Path, change: impl FnOnce(&mut Json)) -> Result<Reply, Failure> {
        let certs = certs.to_str().unwrap();
        let info = self.ask(json!({ "url": format!("{api}/services/apache"), "certs": certs })).await?;
        let info: Json = serde_json::from_str(&info.body).unwrap();
        let mut spec = rounded(&info["Spec"]);
        change(&mut spec);
        let (id, version) = (info["ID"].as_str().unwrap(), &info["Version"]["Index"]);
        self.ask(json!({
            "url": format!("{api}/v1.24/services/{id}/update?version={version}"), "certs": certs,
            "method": "POST", "headers": { "Content-Type": "application/json" }, "body": spec.to_string(),
        }))
        .await
    }

    /// The newest entry of the audit log.
    fn newest(&self) -> Json {
        self.audit.newest(None, 1)[0].json()
    }
}

/// A value after `JSON.parse` and `JSON.stringify` of a script.
fn rounded(value: &Json) -> Json {
    match value {
        Json::Number(number) => match number.as_f64().unwrap() {
            whole if whole.fract() == 0.0 && whole.abs() < 1e15 => json!(whole as i64),
            other => json!(other),
        },
        Json::Array(values) => values.iter().map(rounded).collect(),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), rounded(value))).collect())
        }
        other => other.clone(),
    }
}

/// The stand-in behind TLS: where it answers.
async fn behind_tls(socket: &Path, tls: tokio_rustls::TlsAcceptor) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("https://{}", listener.local_addr().unwrap());
    let socket = socket.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, socket) = (tls.clone(), socket.clone());
            tokio::spawn(async move {
                let mut client = tls.accept(stream).await.unwrap();
                let mut engine = UnixStream::connect(socket).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    api
}

struct Engine {
    stand_in: StandIn,
    api: String,
    folder: tempfile::TempDir,
}

impl Engine {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = Planned {
            name: "apache".to_owned(),
            replicas: 1,
            image: "httpd:2".to_owned(),
            labels: vec![("a<b".to_owned(), "1".to_owned())],
        };
        let config = Config { services: vec![service], nodes: 1, pace: Pace::even(Duration::from_millis(5)) };
        let socket = folder.path().join("docker.sock");
        let stand_in = StandIn::start(&socket, config).unwrap();
        let ca = authority("ca");
        folder_of(folder.path(), &ca, &issued(&ca, "script", false));
        let api = behind_tls(&socket, acceptor(&issued(&ca, "127.0.0.1", false), Some(&ca))).await;
        Self { stand_in, api, folder }
    }

    /// What was asked with this beginning.
    fn asked(&self, beginning: &str) -> Vec<String> {
        self.stand_in.asked().into_iter().filter(|asked| asked.starts_with(beginning)).collect()
    }

    async fn spec(&self, desk: &Desk) -> String {
        let certs = self.folder.path().to_str().unwrap();
        let url = format!("{}/services/apache", self.api);
        let body = desk.ask(json!({ "url": url, "certs": certs })).await.unwrap().body;
        let api = ApiVersion { major: 1, minor: 41 };
        String::from_utf8(ServiceSpec::read(body.as_bytes(), api).unwrap().raw().to_owned()).unwrap()
    }
}

#[tokio::test]
async fn the_articles_update_changes_replicas_and_not_one_other_byte() {
    let (engine, desk) = (Engine::start().await, Desk::new(true));
    let before = engine.spec(&desk).await;
    let tasks = engine.stand_in.running();
    let set =
        desk.set(&engine.api, engine.folder.path(), |spec| spec["Mode"]["Replicated"]["Replicas"] = json!(2));
    let reply = set.await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"Warnings":null}"#));
    assert_eq!(engine.spec(&desk).await, before.replace("\"Replicas\":1", "\"Replicas\":2"));
    let posted = engine.asked("POST");
    assert!(posted.len() == 1 && posted[0].starts_with("POST /v1.41/services/"), "{posted:?}");
    assert_eq!(engine.asked("GET /version").len(), 1);
    assert!(tasks.iter().all(|task| engine.stand_in.running().contains(task)), "its tasks were replaced");
    let noted = desk.newest();
    assert_eq!((&noted["kind"], &noted["owner"]), (&json!("script.update"), &json!("script elb.js")));
    assert_eq!((&noted["name"], &noted["what"]), (&json!("apache"), &json!("set replicas=2, from 1")));
    assert_eq!((&noted["outcome"], &noted["target"]), (&json!("done"), &json!(engine.api)));
    // What is known of the engine is asked again only after a while.
    let set =
        desk.set(&engine.api, engine.folder.path(), |spec| spec["Mode"]["Replicated"]["Replicas"] = json!(1));
    assert_eq!(set.await.unwrap().status, 200);
    assert_eq!((engine.asked("GET /version").len(), engine.spec(&desk).await), (1, before));
}

#[tokio::test]
async fn what_a_script_left_out_stays_and_what_else_it_changes_is_changed() {
    let (engine, desk) = (Engine::start().await, Desk::new(true));
    let before = engine.spec(&desk).await;
    let set = desk.set(&engine.api, engine.folder.path(), |spec| {
        *spec = json!({
            "Name": "apache", "Mode": { "Replicated": { "Replicas": 3 } },
            "TaskTemplate": { "ContainerSpec": { "Image": "httpd:2.4" } },
        });
    });
    assert_eq!(set.await.unwrap().status, 200);
    let after = engine.spec(&desk).await;
    let wanted = before.replace("httpd:2", "httpd:2.4").replace("\"Replicas\":1", "\"Replicas\":3");
    assert_eq!(serde_json::from_str::<Json>(&after).unwrap(), serde_json::from_str::<Json>(&wanted).unwrap());
    let noted = desk.newest();
    assert_eq!(noted["what"], "change TaskTemplate.ContainerSpec.Image, Mode.Replicated.Replicas");
    assert_eq!(noted["evidence"]["changedInAll"], 2);
}

#[tokio::test]
async fn as_written_is_as_written() {
    let (engine, desk) = (Engine::start().await, Desk::new(false));
    let set = desk.set(&engine.api, engine.folder.path(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(2);
    });
    assert_eq!(set.await.unwrap().status, 200);
    assert!(engine.asked("POST")[0].starts_with("POST /v1.24/services/"));
    assert_eq!((engine.asked("GET /version").len(), desk.audit.newest(None, 1).len()), (0, 0));
}

#[tokio::test]
async fn answers_are_the_engines_own() {
    let (engine, desk) = (Engine::start().await, Desk::new(true));
    let certs = engine.folder.path();
    let two = |spec: &mut Json| spec["Mode"]["Replicated"]["Replicas"] = json!(2);
    engine.stand_in.fail(Call::Update, 1, Fault::stale());
    let reply = desk.set(&engine.api, certs, two).await.unwrap();
    assert!(reply.status == 500 && reply.body.contains("update out of sequence"), "{reply:?}");
    let noted = desk.newest();
    assert_eq!(noted["outcome"], "failed");
    assert!(noted["detail"].as_str().unwrap().contains("out of sequence"));
    // The service is gone, or the engine is no manager any more: it says so itself, and nothing is sent to it.
    let update = |service: &str| {
        json!({
            "url": format!("{}/services/{service}/update?version=1", engine.api), "method": "post",
            "certs": certs.to_str().unwrap(), "body": "{}",
        })
    };
    let reply = desk.ask(update("nobody")).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (404, r#"{"message":"service nobody not found"}"#));
    engine.stand_in.fail(Call::Service, 1, Fault::not_a_manager());
    assert_eq!(desk.ask(update("apache")).await.unwrap().status, 503);
    assert_eq!(engine.asked("POST").len(), 1);
    // No answer is no success.
    engine.stand_in.fail(Call::Update, 1, Fault::DropAfter);
    assert_eq!(desk.set(&engine.api, certs, two).await.unwrap_err().label(), "lost");
    assert_eq!(desk.newest()["outcome"], "unknown");
    // It took the update, and something else is there.
    engine.stand_in.fail(Call::Update, 1, Fault::Say("{}".to_owned()));
    let three = |spec: &mut Json| spec["Mode"]["Replicated"]["Replicas"] = json!(3);
    assert_eq!(desk.set(&engine.api, certs, three).await.unwrap().status, 200);
    assert_eq!(desk.newest()["outcome"], "unknown");
}

#[tokio::test]
async fn nothing_is_sent_that_cannot_be_noted_or_is_withdrawn_or_is_unclear() {
    let (engine, desk) = (Engine::start().await, Desk::new(true));
    let certs = engine.folder.path();
    let refused = async |desk: &Desk, change: fn(&mut Json)| {
        desk.set(&engine.api, certs, change).await.unwrap_err().to_string()
    };
    let two = |spec: &mut Json| spec["Mode"]["Replicated"]["Replicas"] = json!(2);
    desk.mode.set(Mode::Withdraw);
    assert!(refused(&desk, two).await.contains("actions are withdrawn"));
    desk.mode.set(Mode::Act);
    assert!(
        refused(&desk, |spec| spec["mode"] = json!({}))
            .await
            .contains("not clear which of its members is Mode")
    );
    assert!(refused(&desk, |spec| *spec = json!([1])).await.contains("cannot be read: it is no object"));
    let nowhere = Docker::new("elb.js", Audit::absent(), desk.mode.clone());
    let allowed: Allow = "127.0.0.1".parse().unwrap();
    let http = Http::new(
        &[allowed],
        Limits::default(),
        Guards { docker: Some(nowhere), capture: None },
        Arc::default(),
    );
    let desk = Desk { http, ..desk };
    assert!(refused(&desk, two).await.contains("give the collector a state directory; nothing was changed"));
    assert_eq!(engine.asked("POST").len(), 0);
}

#[tokio::test]
async fn another_service_with_such_a_path_is_asked_as_it_is_written() {
    for version in
        [says(404, "no such page"), says(200, "{\"version\":\"1\"}"), says(200, "<html>"), says(401, "")]
    {
        let server = Server::plain(move |asked| match asked.line.as_str() {
            "GET /version" => version.clone(),
            _ => says(201, "made"),
        })
        .await;
        let desk = Desk::new(true);
        let request = json!({
            "url": format!("http://{}/v1.24/services/7/update?version=2&x=y", server.address),
            "method": "POST", "body": "anything",
        });
        for _ in 0..2 {
            let reply = desk.ask(request.clone()).await.unwrap();
            assert_eq!((reply.status, reply.body.as_str()), (201, "made"));
        }
        let post = "POST /v1.24/services/7/update?version=2&x=y";
        assert_eq!(server.lines(), ["GET /version", post, post]);
        assert_eq!((server.asked()[1].body.as_str(), desk.audit.newest(None, 1).len()), ("anything", 0));
    }
    // What fails for the moment may be an engine.
    let server = Server::plain(|_| says(502, "bad gateway")).await;
    let desk = Desk::new(true);
    let url = format!("http://{}/v1.24/services/7/update?version=2", server.address);
    let error = desk.ask(json!({ "url": url, "method": "POST", "body": "{}" })).await.unwrap_err();
    assert!(error.to_string().contains("it does not tell its version"), "{error}");
    assert_eq!(server.lines(), ["GET /version"]);
}

/// An engine of version 29 and later, that was another one before: it refuses versions of the API that are too old.
#[tokio::test]
async fn an_engine_that_was_replaced_is_asked_for_its_version_again() {
    let newest = Arc::new(AtomicU16::new(41));
    let written = Arc::new(StdMutex::new(String::new()));
    let spec = r#"{"Name":"apache","Mode":{"Replicated":{"Replicas":1}},"Delay":9223372036854775807}"#;
    *written.lock().unwrap() = spec.to_owned();
    let (own, kept) = (Arc::clone(&newest), Arc::clone(&written));
    let server = Server::plain(move |asked: &Asked| -> Says {
        let newest = own.load(Ordering::SeqCst);
        let path = asked.line.split(' ').nth(1).unwrap();
        if path == "/version" {
            return says(200, &format!("{{\"ApiVersion\":\"1.{newest}\",\"MinAPIVersion\":\"1.{newest}\"}}"));
        }
        let spoken = path.starts_with(&format!("/v1.{newest}/")) || path.starts_with("/services/");
        if !spoken {
            return says(
                400,
                r#"{"message":"client version is too old. Minimum supported API version is ..."}"#,
            );
        }
        if asked.line.starts_with("POST ") {
            *kept.lock().unwrap() = asked.body.clone();
            return says(200, r#"{"Warnings":null}"#);
        }
        let spec = kept.lock().unwrap().clone();
        says(200, &format!(r#"{{"ID":"x1","Version":{{"Index":7}},"Spec":{spec}}}"#))
    })
    .await;
    let (desk, api) = (Desk::new(true), format!("http://{}", server.address));
    let nowhere = Path::new("");
    for (version, replicas) in [(41, 2), (52, 3)] {
        newest.store(version, Ordering::SeqCst);
        let set = desk.set(&api, nowhere, |spec| spec["Mode"]["Replicated"]["Replicas"] = json!(replicas));
        assert_eq!(set.await.unwrap().status, 200);
        let posted = server.lines().into_iter().rfind(|line| line.starts_with("POST")).unwrap();
        assert_eq!(posted, format!("POST /v1.{version}/services/x1/update?version=7"));
        assert_eq!(*written.lock().unwrap(), spec.replace(":1}", &format!(":{replicas}}}")));
    }
    assert_eq!(server.lines().iter().filter(|line| *line == "GET /version").count(), 2);
}

#[test]
fn an_update_is_known_by_method_and_path() {
    let update = |method: &str, path: &str| {
        let request = json!({ "url": format!("https://10.0.0.1:2376{path}"), "method": method });
        Update::of(&Outgoing::of_request(&request, OwnAddress(None)).unwrap())
    };
    let of = |written: Option<&str>, service: &str, query: &str| {
        let (service, query) = (service.to_owned(), query.to_owned());
        Some(Update { written: written.map(str::to_owned), service, query })
    };
    for (path, wanted) in [
        ("/services/apache/update?version=12", of(None, "apache", "version=12")),
        (
            "/v1.24/services/x1/update?version=1&rollback=previous",
            of(Some("1.24"), "x1", "version=1&rollback=previous"),
        ),
        ("/v1.24/%73ervices/x1/%75pdate?version=1", of(Some("1.24"), "x1", "version=1")),
        ("/v1/services/x1/update?version=1", None),
        ("/v1.24/services/x1/update", None),
        ("/v1.24/services/x1/update?versions=1", None),
        ("/v1.24/services/x1?version=1", None),
        ("/v1.24/services//update?version=1", None),
        ("/a/services/x1/update?version=1", None),
        ("/services/x1/update/?version=1", None),
        ("/services/a%2Fb/update?version=1", None),
        ("/services/%zz/update?version=1", None),
    ] {
        assert_eq!(update("post", path), wanted, "{path}");
        assert_eq!(update("put", path), None, "{path}");
    }
    let own = json!({ "url": "/services/x/update?version=1", "method": "post" });
    let own = Outgoing::of_request(&own, OwnAddress(Some("127.0.0.1:8008".parse().unwrap()))).unwrap();
    assert_eq!(Update::of(&own), None);
}
