//! What stands between a client and an engine's TLS port: it notes what is asked, and refuses old versions of the API as
//! newer engines do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::PATIENCE;
use super::docker_lab::Lab;

/// The oldest version of the API that engines from 29.3 on speak.
const OLDEST: (u32, u32) = (1, 40);

/// A proxy in the network of its maker; its threads end with the process.
pub(crate) struct EngineProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request, and the status of what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl EngineProxy {
    /// Shows the engine's certificate, and wants one that the engine's authority has signed.
    pub(crate) fn start(lab: &Lab) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, socket) = (Arc::<Mutex<Vec<Asked>>>::default(), lab.socket());
        let (config, notes) = (Arc::new(tls(&lab.certs())), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, notes, socket) = (Arc::clone(&config), Arc::clone(&notes), socket.clone());
                // What goes wrong with a connection is its client's to tell.
                std::thread::spawn(move || serve(stream, config, &notes, &socket));
            }
        });
        Self { address, asked }
    }

    /// For a script: `https://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Requests to change a service so far.
    pub(crate) fn updates(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.method == "POST").collect()
    }
}

fn tls(certs: &Path) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let mut authority = RootCertStore::empty();
    authority.add(CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(authority), Arc::clone(&provider));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(certs.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certs.join("server-key.pem")).unwrap();
    let builder = builder.with_client_cert_verifier(clients.build().unwrap());
    builder.with_single_cert(vec![certificate], key).unwrap()
}

/// One request, and its answer.
fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    notes: &Mutex<Vec<Asked>>,
    socket: &PathBuf,
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(connection, stream));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let lines = || head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let length = lines().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.trim().parse().unwrap())];
    client.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut answer = Vec::new();
    match version(&path).filter(|version| *version < OLDEST) {
        Some((major, minor)) => {
            let (most, least) = OLDEST;
            let body = format!(
                "{{\"message\":\"client version {major}.{minor} is too old. Minimum supported API version is \
                 {most}.{least}, please upgrade your client to a newer version\"}}\n"
            );
            let length = body.len();
            write!(
                answer,
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            )?;
        }
        None => {
            let mut engine = UnixStream::connect(socket)?;
            write!(engine, "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n")?;
            write!(engine, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())?;
            engine.write_all(&body)?;
            engine.read_to_end(&mut answer)?;
        }
    }
    let status =
        String::from_utf8_lossy(&answer[..answer.len().min(12)])[9..].parse().map_err(io::Error::other)?;
    notes.lock().unwrap().push(Asked { method, path, status });
    let client = client.get_mut();
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

/// The version of the API that a path begins with.
fn version(path: &str) -> Option<(u32, u32)> {
    let (major, minor) = path.strip_prefix("/v")?.split('/').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
