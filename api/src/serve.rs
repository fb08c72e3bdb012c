//! Connections: how many there may be, how slow they may be, and what they cost.
//!
//! A connection costs a socket and a few hundred bytes until its first request comes; only then it gets buffers. Of
//! those that have asked already, only [`KEPT`] stay open for a next request; further ones are closed with their answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;

/// How long a client may take to send its request's head, and its body, and to take in what waits for it.
pub(crate) const SLOWEST_CLIENT: Duration = Duration::from_secs(10);

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 10_240;

/// Connections that are kept for a next request.
const KEPT: usize = 1000;

/// Descriptors that are left for all else.
const OTHER_DESCRIPTORS: usize = 256;

/// Bytes that are read ahead of a connection at most.
const LARGEST_HEAD: usize = 16 << 10;

/// Who asks: beside each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What was served.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters {
    /// Connections that are open.
    pub(crate) current: AtomicUsize,
    /// Connections that were accepted.
    pub(crate) total: AtomicU64,
    /// Those that were cut off because the client was too slow.
    pub(crate) slow: AtomicU64,
    /// How often all places were taken when a connection wanted one.
    pub(crate) full: AtomicU64,
    /// Bytes that were sent.
    pub(crate) sent: AtomicU64,
    /// Bytes that were received.
    pub(crate) received: AtomicU64,
    /// Requests.
    pub(crate) messages: AtomicU64,
    /// Answers by the first digit of their status, from 1 to 5.
    pub(crate) answers: [AtomicU64; 5],
    /// Long polls and live pages that found no place to wait.
    pub(crate) refused: AtomicU64,
    /// Connections with buffers: those that have asked.
    pub(crate) asking: AtomicUsize,
}

impl HttpCounters {
    /// Counts a request.
    pub(crate) fn message(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    /// Counts a long poll or live page without a place.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(answers) = self.answers.get(class) {
            answers.fetch_add(1, Relaxed);
        }
    }

    /// Whether so many connections have asked that this one is not kept.
    pub(crate) fn crowded(&self) -> bool {
        self.asking.load(Relaxed) > KEPT
    }
}

/// Counts up, and down when it ends.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(counter: &'c AtomicUsize) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;

/// Listens on an address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart does not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers connections until the end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: axum::Router,
    counters: Arc<HttpCounters>,
    mut ended: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(places()));
    loop {
        if places.available_permits() == 0 {
            counters.full.fetch_add(1, Relaxed);
        }
        let place = tokio::select! {
            _ = ended.changed() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let (stream, peer) = tokio::select! {
            _ = ended.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of descriptors: others may be given back in a moment.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (router, counters) = (router.clone(), Arc::clone(&counters));
        tokio::spawn(async move {
            let _place = place;
            counters.total.fetch_add(1, Relaxed);
            let _current = Counted::new(&counters.current);
            // To peek is to know that something has come; that a socket is readable may be said too early.
            match tokio::time::timeout(SLOWEST_CLIENT, stream.peek(&mut [0])).await {
                // On the heap, so that a connection that has not asked yet does not hold the room for it.
                Ok(Ok(1)) => {
                    // An address of IPv4 that came by a socket of IPv6 is what it is.
                    let peer = Peer(peer.ip().to_canonical());
                    Box::pin(converse(stream, peer, router, &counters)).await;
                }
                Ok(_) => {}
                Err(_) => drop(counters.slow.fetch_add(1, Relaxed)),
            }
        });
    }
}

/// Answers the requests of a connection, until either side ends it.
async fn converse(stream: TcpStream, peer: Peer, router: axum::Router, counters: &Arc<HttpCounters>) {
    let _asking = Counted::new(&counters.asking);
    // Answers are written whole; none waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let line = Line { stream, counters: Arc::clone(counters), stuck: None };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_CLIENT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(line), service);
    // What a client did wrong on its connection concerns nobody else.
    if let Err(error) = connection.await {
        counters.slow.fetch_add(u64::from(error.is_timeout()), Relaxed);
    }
}

/// How many connections there may be: as many as the kernel gives descriptors for, when it is asked for all of them.
fn places() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // An operator who has set the hard limit has set ours; where the kernel refuses, the soft one holds.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = if raised.is_ok() { limit.maximum } else { limit.current };
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    most.saturating_sub(OTHER_DESCRIPTORS).clamp(16, CONNECTIONS)
}

/// A client's connection, whose bytes are counted, and which ends when the client takes nothing in for
/// [`SLOWEST_CLIENT`].
struct Line {
    stream: TcpStream,
    counters: Arc<HttpCounters>,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Line {
    /// What a write came to: when it must wait, it waits so long and no longer.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.stuck = None;
                self.counters.sent.fetch_add(written.as_ref().map_or(0, |bytes| *bytes as u64), Relaxed);
                Poll::Ready(written)
            }
            Poll::Pending => {
                let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(SLOWEST_CLIENT)));
                ready!(stuck.as_mut().poll(context));
                self.counters.slow.fetch_add(1, Relaxed);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.counters.received.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
