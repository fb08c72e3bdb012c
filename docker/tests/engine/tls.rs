//! Engines behind TLS: whom we trust, whom we do not, and what is said about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docker::{Action, Endpoint, Engine, Error, Id, Limits, ServiceSpec};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::block_on;
use crate::stand_in::{Answering, StandIn, Then, engine as plain, version as api};

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names, and its key.
    fn sign(&self, names: &[&str], alter: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        alter(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A client's folder with our certificate signed by this authority, and `trusted` as its authority.
    fn client(&self, trusted: &Self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self.sign(&[], |_| {});
        fs::write(folder.path().join("ca.pem"), &trusted.pem).unwrap();
        fs::write(folder.path().join("cert.pem"), cert).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        folder
    }

    /// A server with this certificate that lets in whom this authority has signed.
    fn server(
        &self,
        (cert, key): (String, String),
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Arc::new(server)
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

fn answer(path: &str, answering: &mut Answering<'_>) -> Then {
    match path {
        "/version" => answering.answer(200, &api("1.41")),
        "/v1.41/containers/json" => answering.answer(200, "[]"),
        _ => {
            let id = "ab".repeat(32);
            answering.begin_chunks()?;
            answering.chunk(&format!(
                "{{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{{\"ID\":\"{id}\"}},\"time\":1}}\n"
            ))?;
            answering.end_chunks()
        }
    }
}

/// A service that was read elsewhere.
async fn service() -> ServiceSpec {
    let body =
        r#"{"ID":"x7","Version":{"Index":5},"Spec":{"Name":"web","Mode":{"Replicated":{"Replicas":1}}}}"#;
    let other = plain(move |_, answering| answering.answer(200, body));
    Engine::new(other.endpoint(), Limits::default()).service("web").await.unwrap()
}

/// What is said of a server with these names or dates by a client that calls it `127.0.0.1`.
fn error_of(names: &[&str], alter: impl FnOnce(&mut CertificateParams)) -> String {
    let authority = Authority::new("ours");
    let folder = authority.client(&authority);
    let server = authority.server(authority.sign(names, alter), &BOTH);
    let stand_in = StandIn::tls(server, "127.0.0.1", folder.path().to_owned(), answer);
    let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
    let error = block_on(async {
        let error = engine.containers().await.unwrap_err();
        assert_eq!(engine.services().await.unwrap_err(), error);
        assert_eq!(engine.set_replicas(&service().await, 2).await.unwrap_err(), error);
        assert_eq!(engine.stop_container(&Id::from_bytes([7; 32])).await.unwrap_err(), error);
        error
    });
    assert_eq!(stand_in.asked().len(), 0, "nothing is asked of whom we do not trust");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn an_engine_that_we_trust_and_that_trusts_us_answers_in_both_versions_of_tls() {
    let authority = Authority::new("ours");
    let folder = authority.client(&authority);
    for version in BOTH {
        for (names, host) in [(["127.0.0.1"], "127.0.0.1"), (["localhost"], "localhost")] {
            let server = authority.server(authority.sign(&names, |_| {}), &[version]);
            let stand_in = StandIn::tls(server, host, folder.path().to_owned(), answer);
            block_on(async {
                let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
                assert_eq!(engine.containers().await.unwrap(), []);
                assert_eq!(engine.version().await.unwrap().api.minor, 41);
                let mut events = engine.events(None).await.unwrap();
                assert_eq!(events.next().await.unwrap().unwrap().action, Action::Start);
                assert!(events.next().await.unwrap().is_none());
            });
            assert_eq!(stand_in.connections(), 2);
        }
    }
}

#[test]
fn an_engine_of_another_authority_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = theirs.client(&ours);
    let server = theirs.server(theirs.sign(&["127.0.0.1"], |_| {}), &BOTH);
    let stand_in = StandIn::tls(server, "127.0.0.1", folder.path().to_owned(), answer);
    let error =
        block_on(Engine::new(stand_in.endpoint(), Limits::default()).version()).unwrap_err().to_string();
    let wanted = format!("the engine's certificate is not signed by {}/ca.pem", folder.path().display());
    assert!(error.starts_with("tcp://127.0.0.1:") && error.ends_with(&wanted), "{error}");
    assert_eq!(stand_in.asked().len(), 0);
}

#[test]
fn an_engine_that_does_not_trust_us_is_said_to_refuse_us() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = ours.client(&theirs);
    for version in BOTH {
        let server = theirs.server(theirs.sign(&["127.0.0.1"], |_| {}), &[version]);
        let stand_in = StandIn::tls(server, "127.0.0.1", folder.path().to_owned(), answer);
        for _ in 0..10 {
            let mut engine = Engine::new(stand_in.endpoint(), Limits::default());
            let error = block_on(engine.version()).unwrap_err().to_string();
            let wanted = format!("the engine refuses the certificate {}/cert.pem: ", folder.path().display());
            assert!(error.contains(&wanted), "{version:?}: {error}");
        }
    }
}

#[test]
fn certificates_that_are_expired_early_or_misnamed_are_refused() {
    let expired = error_of(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    assert!(expired.ends_with("the engine's certificate has expired"), "{expired}");
    let early = error_of(&["127.0.0.1"], |params| params.not_before = date_time_ymd(4000, 1, 1));
    assert!(early.contains("the engine's certificate is not valid yet"), "{early}");
    let misnamed = error_of(&["docker.example.net"], |_| {});
    assert!(misnamed.contains("docker.example.net") && misnamed.ends_with("not for 127.0.0.1"), "{misnamed}");
    let unnamed = error_of(&[], |params| params.distinguished_name.push(DnType::CommonName, "127.0.0.1"));
    assert!(unnamed.ends_with("not for 127.0.0.1"), "{unnamed}");
    let of_clients = error_of(&["127.0.0.1"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert!(of_clients.contains("the engine's certificate is refused: "), "{of_clients}");
}

/// What is said when the files are so.
fn folder_error(alter: impl FnOnce(&Path)) -> String {
    let authority = Authority::new("ours");
    let folder = authority.client(&authority);
    alter(folder.path());
    // A listener that lets no connection through: the files are looked at first.
    let endpoint = Endpoint::Tls { host: "127.0.0.1".to_owned(), port: 1, certs: folder.path().to_owned() };
    let error = block_on(Engine::new(endpoint, Limits::default()).version()).unwrap_err();
    assert!(matches!(error, Error::Certificates { .. }), "{error:?}");
    let said = error.to_string();
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    said.replace(folder.path().to_str().unwrap(), "")
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let error = folder_error(|folder| {
        fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    });
    assert_eq!(error, "/key.pem: others can read this key (its mode is 0644): chmod 0600 it");
}

#[test]
fn files_that_are_missing_or_something_else_are_named() {
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        let error = folder_error(|folder| fs::remove_file(folder.join(name)).unwrap());
        assert!(error.starts_with(&format!("/{name}: there is no such file")), "{error}");
        let error = folder_error(|folder| fs::write(folder.join(name), "x\n").unwrap());
        assert!(error.starts_with(&format!("/{name}: it has no ")), "{error}");
        let error = folder_error(|folder| fs::write(folder.join(name), vec![b'\n'; (1 << 20) + 1]).unwrap());
        assert!(error.starts_with(&format!("/{name}: it is longer than ")), "{error}");
        let error = folder_error(|folder| {
            fs::remove_file(folder.join(name)).unwrap();
            fs::create_dir(folder.join(name)).unwrap();
        });
        assert_eq!(error, format!("/{name}: it is no file"));
    }
    let error = folder_error(|folder| {
        fs::write(folder.join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap()
    });
    assert!(error.starts_with("/key.pem: it does not go with /cert.pem: "), "{error}");
}

#[test]
fn a_port_without_tls_or_without_answers_is_said_to_be() {
    let authority = Authority::new("ours");
    let folder = authority.client(&authority);
    let error = |port: u16| {
        let certs = PathBuf::from(folder.path());
        let endpoint = Endpoint::Tls { host: "127.0.0.1".to_owned(), port, certs };
        let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
        block_on(Engine::new(endpoint, limits).version()).unwrap_err().to_string()
    };
    let plain = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = plain.local_addr().unwrap().port();
    // The backlog takes the connection, and nobody answers.
    assert!(error(port).ends_with("no connection in 0.3 s"), "{}", error(port));
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = plain.accept() {
            use std::io::{Read, Write};
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    // The first two connections are of clients that have gone.
    let said = error(port);
    assert!(said.ends_with("what answers does not speak TLS"), "{said}");
}
