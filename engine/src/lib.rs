//! The threads: workers that receive, decode and update their shards, the events thread, and the handle that asks.
//!
//! A worker runs to completion: it takes what has arrived, what other workers handed over and at most 16 questions,
//! then sleeps until a datagram or a question comes, 100 ms at most. It never waits on another thread. Each has a
//! shard of its own, and all of an agent is on one shard.
//!
//! | module | owns |
//! |---|---|
//! | [`process`] | the function through which all datagrams go |
//! | `worker` | the thread `rx-N` |
//! | [`ownership`], `steer` | which worker owns an agent, and the way of a datagram to it |
//! | [`events`] | flow records and threshold events: the thread `events` and what it keeps |
//! | [`forward`] | datagrams that are sent on |
//! | `options` | what an engine needs to know |
//! | [`interface`] | what is wanted of an interface whose queues are read, and what was reached |
//! | [`handle`] | questions, and putting the answers together |
//! | [`json`] | the shapes of answers as JSON |
//! | `definitions` | what is defined, and how all workers come to know it |
//! | [`status`] | what is counted and measured |
//! | `pin` | a worker's processor |
#![forbid(unsafe_code)]

mod definitions;
pub mod events;
pub mod forward;
pub mod handle;
pub mod interface;
pub mod json;
mod learning;
mod options;
pub mod ownership;
mod pin;
pub mod process;
pub mod status;
mod steer;
mod worker;

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Sender, bounded};
use ingest::receiver::{Group, MOST_ADDRESSES, OpenError, Receiver};
use ingest::wake::Waker;
use tables::{Options, Shard};

use definitions::Definitions;
use events::{EventsThread, Logs};
pub use events::{LoggedEvent, LoggedFlow, News};
use handle::Way;
pub use handle::{AskError, DEADLINE, DefineError, Handle};
use interface::{Ingest, Reached, Watch, ports};
pub use options::EngineOptions;
use ownership::Ownership;
pub use process::process_batch;
pub use status::Status;
use worker::Worker;

/// Questions that may wait for a worker.
const WAITING: usize = 256;

/// Workers at most.
pub const MOST_WORKERS: usize = 256;

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There are too many addresses.
    #[error(
        "{0} addresses for sFlow: at most {MOST_ADDRESSES} are possible, and an address of all interfaces takes what comes to any"
    )]
    Addresses(usize),
    /// The queues of the interface cannot be read, and nothing else was wanted.
    #[error(
        "AF_XDP is asked for (ingest.mode, --ingest), and cannot be: {0}; `finderscope check` tells what this machine can do"
    )]
    Interface(String),
    /// There are no ports of DPDK.
    #[error("DPDK is asked for (ingest.mode, --ingest), and cannot be: {0}")]
    Ports(String),
    /// The kernel refused something else.
    #[error("the workers cannot start: {0}")]
    Kernel(#[from] std::io::Error),
}

/// Running workers and the events thread; [`Engine::shutdown`] ends and joins them. One that is dropped instead
/// ends too, but nobody waits for it.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    receive_buffer: usize,
    workers: Vec<JoinHandle<()>>,
    events: Option<JoinHandle<()>>,
    /// Dropping the sender ends the thread.
    learning: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Engine {
    /// Opens the sockets and starts the threads.
    ///
    /// # Errors
    /// An address cannot be listened on, or the kernel has no thread left.
    pub fn start(options: &EngineOptions) -> Result<Self, StartError> {
        let count = options.workers.map_or_else(processors, NonZero::get).min(MOST_WORKERS);
        let Sockets { mut of_worker, addresses, mut steered } = open(options, count)?;
        let receive_buffer = of_worker.iter().flatten().map(Receiver::receive_buffer).min().unwrap_or(0);
        let (reached, watch) = open_interface(options, &addresses, &mut of_worker)?;
        // The kernel cannot choose the queue by the agent inside a datagram: who sees one first owns it.
        steered &= watch.is_none() && options.ingest != Ingest::Dpdk;
        let wakers = (0..count).map(|_| Waker::new()).collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        let ended = Arc::new(AtomicBool::new(false));
        let definitions = Arc::new(Definitions::new(count));
        let logs = Arc::new(Logs::new(options.flows_max, options.events_max));
        let (events, tellers) = EventsThread::new(count, Arc::clone(&logs), began);
        let ownerships = Ownership::shared(&wakers, steered, options.tables.agents);
        let (requests, incoming): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(WAITING)).unzip();
        let ways =
            requests.into_iter().zip(&wakers).map(|(requests, waker)| Way { requests, waker: waker.clone() });
        let handle = Handle {
            workers: ways.collect(),
            definitions: Arc::clone(&definitions),
            logs,
            ended: Arc::clone(&ended),
            addresses: addresses.clone().into(),
            began,
            trust: Arc::clone(&options.trust),
            reached: Arc::new(reached),
            watch: watch.clone(),
        };
        // From here on a failure drops the engine, which ends the threads that run already.
        let mut engine = Self { handle, receive_buffer, workers: Vec::new(), events: None, learning: None };
        let polls = engine.handle.reached.busy_poll;
        let shares = of_worker.into_iter().zip(wakers).zip(incoming).zip(ownerships).zip(tellers);
        for (number, ((((receivers, waker), requests), (ownership, parcels)), teller)) in shares.enumerate() {
            let worker = Worker {
                number,
                pin: options.pin,
                receivers,
                addresses: addresses.clone(),
                watch: watch.clone(),
                polls,
                waker,
                requests,
                parcels,
                ownership,
                teller,
                definitions: Arc::clone(&definitions),
                ended: Arc::clone(&ended),
                shard: Shard::new(share(options.tables, count)).trusting(Arc::clone(&options.trust)),
                began,
            };
            let thread = std::thread::Builder::new().name(format!("rx-{number}"));
            engine.workers.push(thread.spawn(|| worker.run())?);
        }
        let thread = std::thread::Builder::new().name("events".to_owned());
        engine.events = Some(thread.spawn(|| events.run())?);
        let (alive, end) = bounded(0);
        let learner = engine.handle();
        let thread = std::thread::Builder::new().name("learning".to_owned());
        engine.learning = Some((alive, thread.spawn(move || learning::run(&learner, &end))?));
        Ok(engine)
    }

    /// A handle to ask it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.handle.addresses
    }

    /// The smallest receive buffer that the kernel granted, bytes.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// How datagrams come in, as it was found at the start.
    pub fn reached(&self) -> &Reached {
        &self.handle.reached
    }

    /// Workers that run.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Ends all threads and waits for them: the workers, whose live flows end with records, then the events thread,
    /// which has then taken all of these.
    pub fn shutdown(mut self) {
        self.end();
        // A thread that panicked has said so on standard error.
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        if let Some((alive, learning)) = self.learning.take() {
            drop(alive);
            let _ = learning.join();
        }
        if let Some(events) = self.events.take() {
            let _ = events.join();
        }
    }

    fn end(&self) {
        self.handle.ended.store(true, Ordering::Release);
        self.handle.workers.iter().for_each(|worker| worker.waker.wake());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A worker's share of the limits. Agents are spread evenly but not exactly, so that with several workers a table may
/// be full a little before all of them together are.
fn share(all: Options, workers: usize) -> Options {
    Options { agents: all.agents.div_ceil(workers), flow_bytes: all.flow_bytes.div_ceil(workers), ..all }
}

/// Opens the queues of the interface or of ports of DPDK, where there are to be any, and deals them out: queue N to the worker that N leaves when
/// divided by their number. A worker's queues come after its sockets.
fn open_interface(
    options: &EngineOptions,
    addresses: &[SocketAddr],
    of_worker: &mut [Vec<Receiver>],
) -> Result<(Reached, Option<Arc<Watch>>), StartError> {
    let workers = of_worker.len().max(1);
    if options.ingest == Ingest::Dpdk {
        let opened = ports::open(options, addresses, workers).map_err(StartError::Ports)?;
        for (number, receiver) in opened.receivers.into_iter().enumerate() {
            if let Some(own) = of_worker.get_mut(number % workers) {
                own.push(receiver);
            }
        }
        return Ok((opened.reached, None));
    }
    let Some(name) = options.interface.name.as_ref().filter(|_| options.ingest != Ingest::Udp) else {
        return match options.ingest {
            Ingest::Xdp => Err(StartError::Interface("no interface is named (--interface)".to_owned())),
            Ingest::Auto | Ingest::Udp | Ingest::Dpdk => Ok((Reached::default(), None)),
        };
    };
    match interface::open(options, addresses) {
        Ok(opened) => {
            for (queue, receiver) in opened.receivers {
                if let Some(own) = of_worker.get_mut(queue as usize % workers) {
                    own.push(receiver);
                }
            }
            Ok((opened.reached, Some(Arc::new(opened.watch))))
        }
        Err(why) if options.ingest == Ingest::Xdp => Err(StartError::Interface(why)),
        Err(why) => {
            Ok((Reached { interface: Some(name.clone()), why: vec![why], ..Reached::default() }, None))
        }
    }
}

/// The sockets of all workers.
struct Sockets {
    /// A worker's receivers, in the order of the addresses.
    of_worker: Vec<Vec<Receiver>>,
    addresses: Vec<SocketAddr>,
    /// Whether the kernel brings the datagrams of an agent to its worker, whatever address they come to.
    steered: bool,
}

fn open(options: &EngineOptions, workers: usize) -> Result<Sockets, StartError> {
    if options.sflow.len() > MOST_ADDRESSES {
        return Err(StartError::Addresses(options.sflow.len()));
    }
    let steering = if options.steer { steer::program(workers) } else { Vec::new() };
    let group = ingest::receiver::Options {
        backend: options.backend,
        receivers: workers,
        receive_buffer: options.receive_buffer,
        steering: &steering,
    };
    let mut sockets = Sockets { of_worker: Vec::new(), addresses: Vec::new(), steered: options.steer };
    sockets.of_worker.resize_with(workers, Vec::new);
    for address in &options.sflow {
        let Group { receivers, steered } = Group::open(*address, &group)?;
        sockets.steered &= steered;
        if let Some(receiver) = receivers.first() {
            sockets.addresses.push(receiver.local_address()?);
        }
        for (own, receiver) in sockets.of_worker.iter_mut().zip(receivers) {
            own.push(receiver);
        }
    }
    Ok(sockets)
}
