//! REST over the engine's handle: turns a request into a question and an answer into JSON or text, nothing else.
//!
//! Paths, shapes and units are those that clients of the field's incumbent expect; `manual/rest.md` has them.
//!
//! | module | owns |
//! |---|---|
//! | [`endpoints`] | the table of endpoints, from which router, description and first page are made |
//! | `routes` | what answers them, a file per family |
//! | `shared` | what every handler has at hand, and how it fails |
//! | `guard` | who may ask under which name, and who may write |
//! | `serve` | connections: how many, how slow, how many bytes |
//! | `counts`, `prometheus`, `exposition` | the shapes of answers that are not `engine::json`'s |
//! | `openapi`, `schemas` | the description of all of it |
//! | [`escape`] | texts from the network on their way into answers |
//! | `process` | what the kernel knows of this process |
#![forbid(unsafe_code)]

mod counts;
pub mod endpoints;
pub mod escape;
mod exposition;
mod guard;
mod openapi;
mod process;
mod prometheus;
mod routes;
mod schemas;
mod serve;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use actions::control::Control;
use engine::Handle;
use ip_network::IpNetwork;
use script::Scripts;
use serde_json::Value as Json;
use tokio::sync::watch;

pub use endpoints::ENDPOINTS;

use guard::Guard;
use shared::Shared;

/// Threads that wait for answers and write them as text.
const ASKING: usize = 4;

/// What the interface needs to know.
#[derive(Clone)]
pub struct ApiOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names beside the address under which clients may reach it.
    pub hosts: Vec<String>,
    /// What `/version` answers.
    pub version: String,
    /// What a client that writes must show. Without one, writes are open on a loopback address and refused on any
    /// other; with one, they need it everywhere.
    pub token: Option<String>,
    /// Refuses every write.
    pub read_only: bool,
    /// Clients that ask scripts without the token, where that would be needed.
    pub script_open: Vec<IpNetwork>,
}

/// The token is a secret: it is not shown.
impl std::fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiOptions")
            .field("listen", &self.listen)
            .field("hosts", &self.hosts)
            .field("token", &self.token.is_some())
            .field("read_only", &self.read_only)
            .field("script_open", &self.script_open)
            .finish_non_exhaustive()
    }
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
pub struct Api {
    address: SocketAddr,
    shared: Shared,
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Api {
    /// Listens, and answers on a thread of its own.
    ///
    /// # Errors
    /// The address cannot be listened on, or the kernel has no thread left.
    pub fn start(
        handle: Handle,
        actions: Control,
        scripts: Scripts,
        options: &ApiOptions,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError { address: options.listen, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(ASKING)
            .build()
            .map_err(failed)?;
        let listener = {
            let _in_the_runtime = runtime.enter();
            serve::listen(options.listen).map_err(failed)?
        };
        let address = listener.local_addr().map_err(failed)?;
        let (end, ended) = watch::channel(false);
        let guard = Guard {
            own: address.ip(),
            names: options.hosts.clone(),
            token: options.token.clone(),
            read_only: options.read_only,
            script_open: options.script_open.clone(),
        };
        let http = Arc::<serve::HttpCounters>::default();
        let version = options.version.clone();
        let shared = Shared::new(handle, actions, scripts, guard, version, Arc::clone(&http));
        let routed = shared.clone();
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let watched = tokio::spawn(process::watch(Arc::clone(&routed.process)));
                    serve::serve(listener, endpoints::router(routed), http, ended).await;
                    watched.abort();
                });
                // Who waits for an answer has at most the engine's deadline to wait.
                runtime.shutdown_timeout(engine::DEADLINE);
            })
            .map_err(failed)?;
        Ok(Self { address, shared, end, thread })
    }

    /// Where it listens: the port that the kernel chose, for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What gives the answer to `/analyzer/json`; null when the workers are too busy to say.
    pub fn analyzer(&self) -> Box<dyn Fn() -> Json + Send + Sync> {
        let shared = self.shared.clone();
        Box::new(move || routes::about::analyzer_json(&shared).unwrap_or_default())
    }

    /// Ends all connections and waits for the thread.
    pub fn shutdown(self) {
        let _ = self.end.send(true);
        let _ = self.thread.join();
    }
}
