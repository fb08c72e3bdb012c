//! Names of addresses, for `dns:` keys: a few threads ask the system's resolver, so that nobody else waits for it.
//! What they have learned is given to the engine once a second at most.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use engine::Handle;
use tables::flow::learned::Names;

/// Threads that wait for the resolver.
const RESOLVERS: usize = 4;

/// Addresses that may wait; further ones are asked for again by the flows that want them.
const WAITING: usize = 4096;

/// Names that are kept; beyond, the oldest gives way.
const MOST_NAMES: usize = 100_000;

/// How long a name is believed.
const BELIEVED: Duration = Duration::from_secs(3600);

/// How often what was learned is given to the engine, and the end is looked for.
const EVERY: Duration = Duration::from_secs(1);

/// The threads.
#[derive(Debug)]
pub struct Resolver {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Resolver {
    /// Looks up what flows want from now on.
    ///
    /// # Errors
    /// The kernel has no thread left.
    pub fn start(handle: Handle) -> anyhow::Result<Self> {
        let (wanted, waiting) = sync_channel::<IpAddr>(WAITING);
        let (found, answers) = sync_channel(WAITING);
        let ended = Arc::new(AtomicBool::new(false));
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..RESOLVERS {
            let (waiting, found, ended) = (Arc::clone(&waiting), found.clone(), Arc::clone(&ended));
            // Nobody waits for these at the end: the system's resolver may take its time.
            std::thread::Builder::new()
                .name(format!("resolver-{number}"))
                .spawn(move || resolve(&waiting, &found, &ended))
                .context("resolver")?;
        }
        handle.on_names_wanted(Box::new(move |addresses| {
            for address in addresses {
                // Where too many wait the flow asks again.
                let _ = wanted.try_send(*address);
            }
        }));
        let over = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || publish(&handle, &answers, &over))
            .context("names")?;
        Ok(Self { ended, thread })
    }

    /// Ends them.
    pub fn shutdown(self) {
        self.ended.store(true, Ordering::Release);
        let _ = self.thread.join();
    }
}

fn resolve(waiting: &Mutex<Receiver<IpAddr>>, found: &SyncSender<(IpAddr, String)>, ended: &AtomicBool) {
    while !ended.load(Ordering::Acquire) {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(EVERY);
        let Ok(address) = next else { continue };
        // The resolver gives the address itself back where there is no name.
        let name = dns_lookup::lookup_addr(&address).unwrap_or_default();
        let name = if name.parse::<IpAddr>().is_ok() { String::new() } else { name };
        if found.send((address, name)).is_err() {
            return;
        }
    }
}

fn publish(handle: &Handle, answers: &Receiver<(IpAddr, String)>, ended: &AtomicBool) {
    let mut names = Names::default();
    let mut order: VecDeque<(Instant, IpAddr)> = VecDeque::new();
    let mut changed = false;
    let mut next = Instant::now() + EVERY;
    while !ended.load(Ordering::Acquire) {
        match answers.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok((address, name)) => {
                if names.insert(address, name.into()).is_none() {
                    order.push_back((Instant::now(), address));
                }
                changed = true;
                if Instant::now() < next {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some((learned, address)) = order.front()
            && (order.len() > MOST_NAMES || learned.elapsed() > BELIEVED)
        {
            names.remove(address);
            order.pop_front();
            changed = true;
        }
        // A collector that is too busy takes them later.
        if std::mem::take(&mut changed) {
            let _ = handle.learn_names(names.clone());
        }
        next = Instant::now() + EVERY;
    }
}
