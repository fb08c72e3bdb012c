//! A server for tests: it answers each request as a function says, and keeps what it was asked.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A request: its method and path, the lines of its head, and its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A status, lines of the head and a body.
    This(u16, String, String),
    /// The same after a while.
    Late(Duration, u16, String),
    /// Nothing, and the connection ends.
    Nothing,
}

pub(crate) fn says(status: u16, body: &str) -> Says {
    Says::This(status, String::new(), body.to_owned())
}

type Answering = dyn Fn(&Asked) -> Says + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Requests that are answered now, and the most of them at once.
    busy: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Server {
    pub(crate) async fn plain(answering: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Self {
        Self::start(None, answering).await
    }

    pub(crate) async fn start(
        tls: Option<TlsAcceptor>,
        answering: impl Fn(&Asked) -> Says + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, asked: Arc::default(), busy: Arc::default() };
        let own = server.clone();
        let answering: Arc<Answering> = Arc::new(answering);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, answering, tls) = (own.clone(), Arc::clone(&answering), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => own.serve(stream, &*answering).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                own.serve(stream, &*answering).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// The most requests that were answered at once.
    pub(crate) fn at_once(&self) -> usize {
        self.busy.1.load(Ordering::SeqCst)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, answering: &Answering) {
        let mut buffer = Vec::new();
        while let Some(asked) = request(&mut stream, &mut buffer).await {
            let now = self.busy.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.busy.1.fetch_max(now, Ordering::SeqCst);
            self.asked.lock().unwrap().push(asked.clone());
            let (status, head, body) = match answering(&asked) {
                Says::This(status, head, body) => (status, head, body),
                Says::Late(time, status, body) => {
                    tokio::time::sleep(time).await;
                    (status, String::new(), body)
                }
                Says::Nothing => {
                    self.busy.0.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
            };
            self.busy.0.fetch_sub(1, Ordering::SeqCst);
            let text = format!("HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(text.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let (line, head) = text.split_once("\r\n").unwrap();
            let head = head.to_owned() + "\r\n";
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let body = String::from_utf8(buffer[end + 4..whole].to_vec()).unwrap();
                let asked = Asked { line: line.strip_suffix(" HTTP/1.1").unwrap().to_owned(), head, body };
                buffer.drain(..whole);
                return Some(asked);
            }
        }
        let mut piece = [0; 4096];
        let many = stream.read(&mut piece).await.ok()?;
        if many == 0 {
            return None;
        }
        buffer.extend_from_slice(&piece[..many]);
    }
}

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for a name; `old` is whether it has expired.
pub(crate) fn issued(by: &Issuer, name: &str, old: bool) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if old {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// What a server with this certificate does, which wants to see one of its clients by `clients_of`.
pub(crate) fn acceptor(ours: &(rcgen::Certificate, KeyPair), clients_of: Option<&Issuer>) -> TlsAcceptor {
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

/// The folder of a client, as Docker's have it.
pub(crate) fn folder_of(folder: &Path, ca: &Issuer, client: &(rcgen::Certificate, KeyPair)) {
    for (name, text) in
        [("ca.pem", ca.pem()), ("cert.pem", client.0.pem()), ("key.pem", client.1.serialize_pem())]
    {
        private(&folder.join(name), &text, 0o600);
    }
}

pub(crate) fn private(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
