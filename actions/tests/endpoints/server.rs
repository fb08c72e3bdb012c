//! A server that says what it is told to, bytes and all, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// The connection ends.
    Close,
}

/// What is said to one request; the last one is said again and again.
pub(crate) type Script = Vec<Vec<Piece>>;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, asked: Arc::default(), connections: Arc::default() };
        let own = server.clone();
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.fetch_add(1, Ordering::SeqCst);
                let (own, script, tls) = (own.clone(), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => own.serve(stream, &script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                own.serve(stream, &script).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// On a thread of its own, for tests that have no runtime.
    pub(crate) fn alone(script: Script) -> Self {
        let (say, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                say.send(Self::start(script, None).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        started.recv().unwrap()
    }

    /// The requests so far, each whole.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, script: &Script) {
        let mut buffer = Vec::new();
        loop {
            let Some(request) = one_request(&mut stream, &mut buffer).await else { return };
            let number = {
                let mut asked = self.asked.lock().unwrap();
                asked.push(request);
                asked.len() - 1
            };
            let Some(pieces) = script.get(number).or(script.last()) else { return };
            for piece in pieces {
                match piece {
                    Piece::Bytes(bytes) => {
                        if stream.write_all(bytes).await.is_err() {
                            return;
                        }
                        let _ = stream.flush().await;
                    }
                    Piece::Pause(time) => tokio::time::sleep(*time).await,
                    Piece::Close => {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            }
        }
    }
}

/// Head and body of a request.
async fn one_request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(|n| n.parse::<usize>().unwrap())
            });
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let request = String::from_utf8(buffer[..whole].to_vec()).unwrap();
                buffer.drain(..whole);
                return Some(request);
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

/// An answer with a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<Piece> {
    let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    vec![Piece::Bytes(text.into_bytes())]
}
