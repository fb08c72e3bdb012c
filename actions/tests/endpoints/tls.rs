//! TLS: who is trusted, and who is not.

use std::sync::Arc;

use actions::http::{Client, Options, Tls, Url};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::private;
use crate::server::{Server, answer};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for a name; `old` is whether it has expired.
fn issued(by: &Issuer, name: &str, old: bool) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if old {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

fn acceptor(ours: (rcgen::Certificate, KeyPair), clients_of: Option<&Issuer>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::try_from(ours.1.serialize_der()).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![ours.0.der().clone()], key).unwrap()))
}

fn client(server: &Server, tls: Tls) -> Client {
    let url = Url::parse(&format!("https://127.0.0.1:{}/acl", server.address.port())).unwrap();
    Client::new(url, Options { tls, ..Options::default() })
}

#[tokio::test]
async fn only_a_certificate_of_the_right_authority_name_and_time_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (authority("right"), authority("wrong"));
    let ca_file = folder.path().join("ca.pem");
    private(&ca_file, &right.pem());
    for (certificate, says) in [
        (issued(&right, "127.0.0.1", false), None),
        (issued(&wrong, "127.0.0.1", false), Some("not signed by an authority")),
        (issued(&right, "127.0.0.1", true), Some("has expired")),
        (issued(&right, "switch.example.net", false), Some("not for 127.0.0.1")),
    ] {
        let server = Server::start(vec![answer(200, "", "[]")], Some(acceptor(certificate, None))).await;
        let given = client(&server, Tls { ca_file: Some(ca_file.clone()), client: None }).get(&[]).await;
        match says {
            None => assert_eq!(given.unwrap().body, b"[]"),
            Some(says) => {
                let error = given.unwrap_err();
                assert!(error.to_string().contains(says) && !error.may_have_arrived(), "{error}");
            }
        }
        let error = client(&server, Tls::default()).get(&[]).await.unwrap_err();
        assert_eq!(error.label(), "connect", "the system's authorities signed none of these: {error}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority("all");
    let (certificate, key) = issued(&ca, "finderscope", false);
    let path = |name: &str| folder.path().join(name);
    private(&path("ca.pem"), &ca.pem());
    private(&path("cert.pem"), &certificate.pem());
    private(&path("key.pem"), &key.serialize_pem());
    let acceptor = acceptor(issued(&ca, "127.0.0.1", false), Some(&ca));
    let server = Server::start(vec![answer(200, "", "welcome")], Some(acceptor)).await;
    let tls = Tls { ca_file: Some(path("ca.pem")), client: Some((path("cert.pem"), path("key.pem"))) };
    assert_eq!(client(&server, tls.clone()).get(&[]).await.unwrap().body, b"welcome");
    let nobody = client(&server, Tls { client: None, ..tls.clone() }).get(&[]).await.unwrap_err();
    assert!(nobody.to_string().contains("client certificate"), "{nobody}");
    let other = Tls { client: Some((path("cert.pem"), path("ca.pem"))), ..tls };
    let error = client(&server, other).get(&[]).await.unwrap_err();
    assert_eq!(error.label(), "file", "{error}");
}

#[tokio::test]
async fn a_folder_of_certificates_says_whom_to_trust_and_who_we_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let says = |part: &str| {
        let error = Tls::of_folder(folder.path()).unwrap_err();
        assert!(error.label() == "file" && error.to_string().contains(part), "{error}");
    };
    says("no ca.pem, cert.pem or key.pem in this folder");
    private(&path("ca.pem"), "");
    assert_eq!(Tls::of_folder(folder.path()).unwrap(), Tls { ca_file: Some(path("ca.pem")), client: None });
    private(&path("key.pem"), "");
    says("cert.pem: there is no such file");
    private(&path("cert.pem"), "");
    std::fs::remove_file(path("ca.pem")).unwrap();
    let pair = Some((path("cert.pem"), path("key.pem")));
    assert_eq!(Tls::of_folder(folder.path()).unwrap(), Tls { ca_file: None, client: pair });
    std::fs::remove_file(path("key.pem")).unwrap();
    says("key.pem: there is no such file");
}

#[tokio::test]
async fn an_answer_over_tls_leads_to_none_without() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority("ca");
    let ca_file = folder.path().join("ca.pem");
    private(&ca_file, &ca.pem());
    let acceptor = acceptor(issued(&ca, "127.0.0.1", false), None);
    let plain = Server::start(vec![answer(200, "", "")], None).await;
    let location = format!("location: http://{}/\r\n", plain.address);
    let server = Server::start(vec![answer(302, &location, "")], Some(acceptor)).await;
    let error = client(&server, Tls { ca_file: Some(ca_file), client: None }).get(&[]).await.unwrap_err();
    assert!(error.to_string().contains("from https to http"), "{error}");
    assert_eq!(plain.connections(), 0);
}
