//! REST over the engine's handle: turns a request into a question and an answer into JSON or text, nothing else.
//!
//! Paths, shapes and units are those that clients of the field's incumbent expect; `manual/rest.md` has them.
//! Writes are open on loopback and refused on any other address. The Host header is checked, so that a web page in the operator's browser cannot reach
//! the collector by a name of its own (DNS rebinding); slow clients are cut off, connections are bounded.
#![forbid(unsafe_code)]

mod json;
pub mod lenient;
mod prometheus;
mod routes;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use engine::Handle;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

pub use routes::ENDPOINTS;

/// How long a client may take to send its request's head.
const SLOWEST_CLIENT: Duration = Duration::from_secs(10);

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1000;

/// Threads that wait for answers.
const ASKING: usize = 4;

/// What the interface needs to know.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names beside the address under which clients may reach it.
    pub hosts: Vec<String>,
    /// What `/version` answers.
    pub version: String,
}

/// The interface cannot start.
#[derive(Debug, thiserror::Error)]
#[error("HTTP {address}: {source}")]
pub struct StartError {
    /// Where it should have listened.
    pub address: SocketAddr,
    /// Why it does not.
    pub source: std::io::Error,
}

/// The running interface.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Api {
    /// Listens, and answers on a thread of its own.
    ///
    /// # Errors
    /// The address cannot be listened on, or the kernel has no thread left.
    pub fn start(handle: Handle, options: &ApiOptions) -> Result<Self, StartError> {
        let failed = |source| StartError { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(ASKING)
            .build()
            .map_err(failed)?;
        let (end, ended) = watch::channel(false);
        let hosts = Hosts { own: address.ip(), names: options.hosts.clone() };
        let router = routes::router(handle, hosts, options.version.clone());
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, ended)))
            .map_err(failed)?;
        Ok(Self { address, end, thread })
    }

    /// Where it listens: the port that the kernel chose, for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and waits for the thread.
    pub fn shutdown(self) {
        let _ = self.end.send(true);
        let _ = self.thread.join();
    }
}

async fn serve(listener: TcpListener, router: axum::Router, mut ended: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            _ = ended.changed() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            _ = ended.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of descriptors: others may be given back in a moment.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SLOWEST_CLIENT)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // What a client did wrong on its connection concerns nobody else.
            let _ = connection.await;
        });
    }
}

/// Under which names a request may come.
#[derive(Clone, Debug)]
struct Hosts {
    own: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Whether the Host header names this collector: by an address, by `localhost` when it is bound to loopback,
    /// or by a configured name.
    fn allow(&self, header: Option<&str>) -> bool {
        let Some(header) = header else { return false };
        let name = match header.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => header.split(':').next().unwrap_or(header),
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return !self.own.is_loopback() || address.is_loopback();
        }
        (self.own.is_loopback() && name.eq_ignore_ascii_case("localhost"))
            || self.names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_address_localhost_and_configured_names() {
        let loopback = Hosts { own: IpAddr::from([127, 0, 0, 1]), names: vec!["sflow.example.net".into()] };
        for host in ["127.0.0.1:8008", "localhost:8008", "LOCALHOST", "[::1]:8008", "sflow.example.net:8008"]
        {
            assert!(loopback.allow(Some(host)), "{host}");
        }
        for host in [None, Some("evil.example.com"), Some("10.0.0.1:8008"), Some("localhost.evil.com")] {
            assert!(!loopback.allow(host), "{host:?}");
        }
        let open = Hosts { own: IpAddr::from([0, 0, 0, 0]), names: Vec::new() };
        assert!(open.allow(Some("10.0.0.1:8008")) && !open.allow(Some("localhost")));
    }
}
