//! `finderscope-acl`: installs rules on the switch it runs on, as REST asks for them.
//!
//! A request changes a file (`store`) and is answered at once; one task has the switch take the files over
//! (`commit`). What a request may hold is the grammar's business, which is the library of this room.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod commit;
mod counters;
mod log;
mod options;
mod secret;
mod serve;
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::answer::Server;
use crate::options::Options;

/// Threads that wait for the disk.
const DISK_THREADS: usize = 4;

fn main() -> ExitCode {
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
    let access = access::Access::read(&options)?;
    let store = store::Store::open(&options.policy_dir)?;
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else {
        return Err("signals cannot be received".to_owned());
    };
    let listener = serve::listen(options.listen).await?;
    let (end, ended) = watch::channel(false);
    let (server, commits) = Server::new(Arc::new(store), access, &options)?;
    let commits = tokio::spawn(commits.run(ended.clone()));
    let serving = tokio::spawn(serve::serve(listener, Arc::clone(&server), ended));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload(&options),
        }
    }
    log::info("ending: a commit that runs is waited for");
    // Both wait for this; that one has ended by itself is no matter.
    let _ = end.send(true);
    let _ = serving.await;
    let _ = commits.await;
    Ok(())
}
