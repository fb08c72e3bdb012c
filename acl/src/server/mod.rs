//! `finderscope-acl`: installs rules on the switch it runs on, as REST asks for them.
//!
//! A request changes a file (`store`) and is answered at once; one task has the switch take the files over
//! (`commit`). What a request may hold is the grammar's business, which is the rest of this room.

mod access;
mod answer;
mod commit;
mod counters;
mod log;
mod options;
mod secret;
mod serve;
mod store;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use answer::Server;
pub use options::Options;

/// Threads that wait for the disk.
const DISK_THREADS: usize = 4;

/// The program: its command line, its signals and its exit code.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        Some(command) => command.run(&mut std::io::stdout().lock()).map_err(|error| error.to_string()),
        None => run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("finderscope-acl: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime =
        runtime.enable_all().max_blocking_threads(DISK_THREADS).build().map_err(|e| e.to_string())?;
    runtime.block_on(answer_until_the_end(options))
}

async fn answer_until_the_end(options: Options) -> Result<(), String> {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return Err("signals cannot be received".to_owned());
    };
    let running = Running::start(options).await?;
    let address = running.address;
    log::info(&format!("Listening, HTTP port {} on {}", address.port(), address.ip()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.server.reload(&running.options),
        }
    }
    log::info("ending: a commit that runs is waited for");
    running.end().await;
    Ok(())
}

/// A server that answers, on the runtime that it was started on.
pub struct Running {
    /// Where it answers: the port that the kernel chose, for port 0.
    pub address: SocketAddr,
    options: Options,
    server: Arc<Server>,
    end: watch::Sender<bool>,
    serving: JoinHandle<()>,
    commits: JoinHandle<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Opens the folder and the address, and answers.
    ///
    /// # Errors
    /// A file, the folder or the address cannot be had, or the options would let anybody in; the message says which.
    pub async fn start(options: Options) -> Result<Self, String> {
        let access = access::Access::read(&options)?;
        let store = store::Store::open(&options.policy_dir)?;
        let listener = serve::listen(options.listen).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (end, ended) = watch::channel(false);
        let (server, commits) = Server::new(Arc::new(store), access, &options)?;
        let commits = tokio::spawn(commits.run(ended.clone()));
        let serving = tokio::spawn(serve::serve(listener, Arc::clone(&server), ended));
        Ok(Self { address, options, server, end, serving, commits })
    }

    /// Ends it; a commit that runs is waited for.
    pub async fn end(self) {
        // Both wait for this; that one has ended by itself is no matter.
        let _ = self.end.send(true);
        let _ = self.serving.await;
        let _ = self.commits.await;
    }
}
