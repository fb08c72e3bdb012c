//! Connections: how many there may be, how slow they may be, and how long they last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::answer::Server;
use super::log;

/// How long a client may take for its side of TLS, for the head of a request, and for a body.
pub(crate) const SLOWEST_CLIENT: Duration = Duration::from_secs(10);

/// How long a connection lasts before it is closed with its next answer; as long again as [`SLOWEST_CLIENT`], and it is
/// cut off, so that a client which takes nothing in holds no place.
const LONGEST: Duration = Duration::from_secs(60);

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// Bytes that are read ahead of a connection at most.
const LARGEST_HEAD: usize = 16 << 10;

/// Listens on an address.
///
/// # Errors
/// It cannot be had.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))
}

/// Answers connections until the end, and then lets those that are open have their answers.
pub(crate) async fn serve(listener: TcpListener, server: Arc<Server>, mut ended: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let end = ended.clone();
    loop {
        if places.available_permits() == 0 {
            server.counters.connections_full.fetch_add(1, Relaxed);
        }
        let place = tokio::select! {
            _ = ended.changed() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let (stream, from) = tokio::select! {
            _ = ended.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of descriptors: others may be given back in a moment.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        server.counters.connections.fetch_add(1, Relaxed);
        let (server, end) = (Arc::clone(&server), end.clone());
        tokio::spawn(async move {
            let _place = place;
            connection(stream, from, server, end).await;
        });
    }
    // All places are free when all connections have ended; what is stuck is not waited for.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = timeout(Duration::from_secs(1), places.acquire_many(all)).await;
}

async fn connection(stream: TcpStream, from: SocketAddr, server: Arc<Server>, end: watch::Receiver<bool>) {
    // Answers are written whole; none waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let Some(tls) = server.access().tls.clone() else {
        return converse(stream, from, server, end).await;
    };
    match timeout(SLOWEST_CLIENT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Box::pin(converse(stream, from, server, end)).await,
        Ok(Err(error)) => {
            server.counters.tls_refused.fetch_add(1, Relaxed);
            log::client("tls", &format!("TLS with {from} failed: {error}"));
        }
        Err(_) => drop(server.counters.slow.fetch_add(1, Relaxed)),
    }
}

/// Answers the requests of a connection, until either side ends it.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    from: SocketAddr,
    server: Arc<Server>,
    mut end: watch::Receiver<bool>,
) {
    let answering = Arc::clone(&server);
    let service = service_fn(move |request| Arc::clone(&answering).answer(from, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_CLIENT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        _ = async { tokio::select! { _ = end.changed() => {}, () = tokio::time::sleep(LONGEST) => {} } } => {
            connection.as_mut().graceful_shutdown();
            timeout(SLOWEST_CLIENT, connection).await
        }
    };
    // What a client did wrong on its connection concerns nobody else.
    let slow = ended.map_or(true, |ended| ended.is_err_and(|error| error.is_timeout()));
    server.counters.slow.fetch_add(u64::from(slow), Relaxed);
}
