//! Who is let in: addresses, tokens, certificates.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::running::{Answer, Place, RULE, Running, exchange, until};

const TOKEN: &str = "0123456789abcdef0123";

#[test]
fn beyond_loopback_somebody_must_say_that_anybody_may() {
    let place = Place::new("work");
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = place.refusal(&["--listen", listen]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("anybody could have rules installed") && said.contains("--token-file"),
            "{said}"
        );
    }
    // TLS without certificates of clients keeps nobody out.
    let authority = Authority::new();
    let (cert, key) = authority.files(&place, "server");
    let (code, said) = place.refusal(&["--listen", "0.0.0.0:0", "--tls-cert", &cert, "--tls-key", &key]);
    assert_eq!(code, 1, "{said}");
    let open = place.start(&["--listen", "0.0.0.0:0", "--open"]);
    assert_eq!(open.put("/acl/x", &["[iptables]", RULE]).status, 202);
    let (code, said) = place.refusal(&["--open", "--token-file", "x"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn with_a_token_nothing_is_told_without_it() {
    let place = Place::new("work");
    let file = place.secret("token", &format!("{TOKEN}\n"));
    let server = place.start(&["--listen", "0.0.0.0:0", "--token-file", file.to_str().unwrap()]);
    for (method, path) in [
        ("GET", "/acl"),
        ("GET", "/acl/x"),
        ("DELETE", "/acl"),
        ("GET", "/lasterror"),
        ("GET", "/-/metrics"),
        ("GET", "/A"),
    ] {
        let answer = server.ask(method, path);
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{}", answer.head);
    }
    assert_eq!(server.put("/acl/x", &["[iptables]", RULE]).status, 401);
    let ask = |header: &str| exchange(&mut server.connect(), "GET", "/acl", header, b"").status;
    assert_eq!(ask(&format!("Authorization: Bearer {TOKEN}\r\n")), 200);
    // cumulus:0123456789abcdef0123
    assert_eq!(ask("Authorization: Basic Y3VtdWx1czowMTIzNDU2Nzg5YWJjZGVmMDEyMw==\r\n"), 200);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef0124\r\n"), 401);

    let other = "fedcba98765432100123";
    fs::write(&file, other).unwrap();
    server.signal("HUP");
    let new = format!("Authorization: Bearer {other}\r\n");
    until("the new token", || (ask(&new) == 200).then_some(()));
    assert_eq!(ask(&format!("Authorization: Bearer {TOKEN}\r\n")), 401);
    fs::write(&file, "short").unwrap();
    server.signal("HUP");
    until("the refusal", || server.log().contains("stay as they are").then_some(()));
    assert_eq!(ask(&new), 200);
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let place = Place::new("work");
    let token = place.secret("token", TOKEN);
    let authority = Authority::new();
    let (cert, key) = authority.files(&place, "server");
    for (file, options) in [
        (token.to_str().unwrap(), vec!["--token-file", token.to_str().unwrap()]),
        (key.as_str(), vec!["--tls-cert", &cert, "--tls-key", &key]),
    ] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        let (code, said) = place.refusal(&options);
        assert_eq!(code, 1);
        assert_eq!(
            said,
            format!(
                "finderscope-acl: {file}: others can read this secret (its mode is 0644): chmod 0600 it\n"
            )
        );
        assert!(!said.contains(TOKEN));
    }
    let short = place.secret("short", "0123456789abcde");
    let (code, said) = place.refusal(&["--token-file", short.to_str().unwrap()]);
    assert!(code == 1 && said.contains("a token has at least 16"), "{said}");
}

#[test]
fn a_taken_address_a_taken_folder_and_a_missing_one_are_named() {
    let place = Place::new("work");
    let server = place.start(&[]);
    let (code, said) = place.refusal(&[]);
    assert!(code == 1 && said.contains("another finderscope-acl has the folder of the rules"), "{said}");
    let other = Place::new("work");
    let (code, said) = other.refusal(&["--listen", &server.address.to_string()]);
    assert!(code == 1 && said.contains(&server.address.to_string()), "{said}");
    let (code, said) = other.refusal(&["--policy-dir", "/nonexistent"]);
    assert!(code == 1 && said.contains("the folder of the rules /nonexistent: "), "{said}");
}

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for 127.0.0.1, and its key.
    fn sign(&self, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The same as files.
    fn files(&self, place: &Place, name: &str) -> (String, String) {
        let (cert, key) = self.sign(ExtendedKeyUsagePurpose::ServerAuth);
        let path =
            |end: &str, text: &str| place.secret(&format!("{name}.{end}"), text).to_str().unwrap().to_owned();
        (path("cert", &cert), path("key", &key))
    }

    /// Asks over TLS, with a certificate of `ours` or without one. An error is what TLS says.
    fn ask(&self, server: &Running, ours: Option<&Self>) -> Result<Answer, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match ours {
            None => builder.with_no_client_auth(),
            Some(ours) => {
                let (cert, key) = ours.sign(ExtendedKeyUsagePurpose::ClientAuth);
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, server.connect());
        // A server that refuses us says so after our side of TLS 1.3 is done.
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        if stream.conn.is_handshaking() {
            return Err("TLS was not finished".to_owned());
        }
        let head = "GET /acl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, head.as_bytes()).map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(crate::running::answer(&mut text.as_slice()))
    }
}

#[test]
fn with_mutual_tls_only_certificates_of_our_authority_are_let_in() {
    let place = Place::new("work");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (cert, key) = ours.files(&place, "server");
    let ca = place.secret("ca.pem", &ours.pem).to_str().unwrap().to_owned();
    let options = ["--listen", "0.0.0.0:0", "--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let server = place.start(&options);
    let answer = ours.ask(&server, Some(&ours)).unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (200, "[]"));
    for stranger in [None, Some(&theirs)] {
        let refused = ours.ask(&server, stranger);
        assert!(refused.is_err(), "{refused:?}");
    }
    // No TLS at all.
    let mut stream = server.connect();
    std::io::Write::write_all(&mut stream, b"GET /acl HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(!String::from_utf8_lossy(&told).contains("HTTP/1.1"), "{told:?}");
    until("the log", || server.log().contains("TLS with 127.0.0.1").then_some(()));
}

#[test]
fn certificates_that_are_none_are_named() {
    let place = Place::new("work");
    let authority = Authority::new();
    let (cert, key) = authority.files(&place, "server");
    let (other, _) = authority.files(&place, "other");
    let junk = place.secret("junk", "junk\n").to_str().unwrap().to_owned();
    for (options, why) in [
        (vec!["--tls-cert", &junk, "--tls-key", &key], "junk: it has no certificate in PEM"),
        (vec!["--tls-cert", &cert, "--tls-key", &junk], "junk: it has no private key in PEM"),
        (vec!["--tls-cert", &other, "--tls-key", &key], "server.key: it does not go with "),
        (
            vec!["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &junk],
            "junk: it has no certificate in PEM",
        ),
        (vec!["--tls-cert", "/nonexistent", "--tls-key", &key], "/nonexistent: No such file"),
    ] {
        let (code, said) = place.refusal(&options);
        assert!(code == 1 && said.contains(why), "{why}: {said}");
    }
}
