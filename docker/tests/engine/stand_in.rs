//! A server on a socket of the test's own that answers each request as the test says, well or badly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use docker::Endpoint;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::PATIENCE;

/// Both ways of a connection.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection on which a request has come.
pub(crate) struct Answering<'a> {
    stream: &'a mut dyn Stream,
}

/// What becomes of the connection.
pub(crate) type Then = io::Result<bool>;
pub(crate) const KEEP: Then = Ok(true);
pub(crate) const CLOSE: Then = Ok(false);

impl Answering<'_> {
    /// These bytes, as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self, status: u16, body: &str) -> Then {
        let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw((head + body).as_bytes())?;
        KEEP
    }

    /// The head of an answer in chunks.
    pub(crate) fn begin_chunks(&mut self) -> io::Result<()> {
        self.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    }

    /// One chunk.
    pub(crate) fn chunk(&mut self, text: &str) -> io::Result<()> {
        self.raw(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    /// The end of an answer in chunks.
    pub(crate) fn end_chunks(&mut self) -> Then {
        self.raw(b"0\r\n\r\n")?;
        KEEP
    }

    /// Nothing more, until the other side goes.
    pub(crate) fn hang(&mut self) -> Then {
        let mut byte = [0; 64];
        while self.stream.read(&mut byte)? > 0 {}
        CLOSE
    }
}

type Script = dyn Fn(&str, &mut Answering<'_>) -> Then + Send + Sync;

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<String>>,
    /// What was posted.
    bodies: Mutex<Vec<String>>,
    connections: AtomicUsize,
    ended: AtomicBool,
}

/// A running stand-in; it ends with this handle.
pub(crate) struct StandIn {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    wake: Box<dyn Fn() + Send>,
    listener: Option<std::thread::JoinHandle<()>>,
    _folder: Option<tempfile::TempDir>,
}

impl StandIn {
    /// On a unix socket. `script` is called with the path of each request, that of a post with its method.
    pub(crate) fn unix(script: impl Fn(&str, &mut Answering<'_>) -> Then + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let accept = move || listener.accept().ok().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
        let endpoint = Endpoint::Unix(path.clone());
        let wake = move || drop(std::os::unix::net::UnixStream::connect(&path));
        Self::start(Box::new(script), endpoint, accept, Box::new(wake), Some(folder))
    }

    /// Behind TLS on a loopback port, to a client that uses `certs` and calls it `host`.
    pub(crate) fn tls(
        configuration: Arc<ServerConfig>,
        host: &str,
        certs: PathBuf,
        script: impl Fn(&str, &mut Answering<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let accept = move || {
            let (stream, _) = listener.accept().ok()?;
            let server = ServerConnection::new(Arc::clone(&configuration)).ok()?;
            Some(Box::new(StreamOwned::new(server, stream)) as Box<dyn Stream>)
        };
        let endpoint = Endpoint::Tls { host: host.to_owned(), port: address.port(), certs };
        let wake = move || drop(std::net::TcpStream::connect(address));
        Self::start(Box::new(script), endpoint, accept, Box::new(wake), None)
    }

    fn start(
        script: Box<Script>,
        endpoint: Endpoint,
        accept: impl Fn() -> Option<Box<dyn Stream>> + Send + 'static,
        wake: Box<dyn Fn() + Send>,
        folder: Option<tempfile::TempDir>,
    ) -> Self {
        let shared = Arc::new(Shared {
            script,
            asked: Mutex::default(),
            bodies: Mutex::default(),
            connections: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            while let Some(stream) = accept() {
                if theirs.ended.load(Ordering::SeqCst) {
                    return;
                }
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&theirs);
                // The thread ends when the client goes; an error is the client's to see.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { shared, endpoint, wake, listener: Some(listener), _folder: folder }
    }

    /// Where it answers.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The bodies that were posted so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.shared.bodies.lock().unwrap().clone()
    }

    /// The paths that were asked for so far, posts with their method before them.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        (self.wake)();
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

fn serve(mut stream: Box<dyn Stream>, shared: &Shared) -> io::Result<()> {
    loop {
        let (mut path, mut length) = (None, 0);
        // One byte at a time: nothing beyond the head and its body may be taken from the stream.
        let mut head = BufReader::with_capacity(1, &mut stream);
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            path = path.or_else(|| line.rsplit_once(" HTTP/").map(|(path, _)| path.replace("GET ", "")));
        }
        let path = path.unwrap_or_default();
        if path.starts_with("POST ") {
            let mut body = vec![0; length];
            head.read_exact(&mut body)?;
            shared.bodies.lock().unwrap().push(String::from_utf8(body).unwrap());
        }
        drop(head);
        shared.asked.lock().unwrap().push(path.clone());
        if !(shared.script)(&path, &mut Answering { stream: &mut *stream })? {
            return Ok(());
        }
    }
}

/// What `GET /version` says of an engine whose API is this.
pub(crate) fn version(api: &str) -> String {
    format!(r#"{{"Version":"20.10.24","ApiVersion":"{api}","MinAPIVersion":"1.12","Os":"linux"}}"#)
}

/// An engine of API 1.41 that answers all other paths as `script` says.
pub(crate) fn engine(script: impl Fn(&str, &mut Answering<'_>) -> Then + Send + Sync + 'static) -> StandIn {
    StandIn::unix(move |path, answering| match path {
        "/version" => answering.answer(200, &version("1.41")),
        _ => script(path, answering),
    })
}

/// Waits until it is so.
pub(crate) fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
