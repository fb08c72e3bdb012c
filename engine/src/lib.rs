//! The threads: a worker that receives, decodes and updates its shard, and the handle that asks it.
//!
//! The worker runs to completion: it takes what has arrived, then at most [`REQUESTS`] questions, then sleeps
//! until a datagram or a question comes, 100 ms at most. It never waits on another thread. Questions come over a
//! bounded channel; whoever asks waits, for [`DEADLINE`] at most.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Incoming, Sender as Outgoing, TrySendError, bounded};
use ingest::udp::{LARGEST_PAYLOAD, OpenError, Receiver, Waker, wait};
use tables::shard::Counters;
use tables::{Answer, Change, ChangeError, Options, Outbox, Partial, Program, Question, Shard};

/// Datagrams taken from one socket before the others, and questions, have their turn.
const BATCH: usize = 64;

/// Questions answered between two batches.
const REQUESTS: usize = 16;

/// Questions that may wait.
const WAITING: usize = 256;

/// How long an answer may take.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// How often the tables are tidied.
const TICK: Duration = Duration::from_millis(100);

/// What an engine needs to know.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Addresses that sFlow comes to.
    pub sflow: Vec<SocketAddr>,
    /// Receive buffer asked for per socket, bytes.
    pub receive_buffer: usize,
    /// Limits and choices of the tables.
    pub tables: Options,
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel refused something else.
    #[error("the worker cannot start: {0}")]
    Kernel(#[from] std::io::Error),
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many questions wait, or the answer took too long.
    #[error("the collector is too busy to answer")]
    Busy,
    /// The engine has ended.
    #[error("the collector has ended")]
    Ended,
}

/// Why a definition was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    /// The change cannot be made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The worker did not take it.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// What the worker counts and measures.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What its shard has counted.
    pub counters: Counters,
    /// Agents that are known.
    pub agents: u64,
    /// Datagrams that the kernel dropped; `None` where it does not say.
    pub kernel_drops: Option<u64>,
    /// Live flows.
    pub flows: u64,
    /// Flows that gave way to others.
    pub flows_evicted: u64,
    /// Time since the start.
    pub uptime: Duration,
}

enum Request {
    Ask(Arc<Question>, Outgoing<Partial>),
    Status(Outgoing<Status>),
    Adopt(Arc<Program>, Outgoing<()>),
}

/// A running worker; [`Engine::shutdown`] ends and joins it.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    addresses: Vec<SocketAddr>,
    receive_buffer: usize,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Asks the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: Outgoing<Request>,
    waker: Waker,
    /// What is defined; only those who change it wait for one another.
    program: Arc<Mutex<Arc<Program>>>,
}

impl Engine {
    /// Opens the sockets and starts the worker.
    ///
    /// # Errors
    /// An address cannot be listened on, or the kernel has no thread left.
    pub fn start(options: &EngineOptions) -> Result<Self, StartError> {
        let receivers = options
            .sflow
            .iter()
            .map(|address| Receiver::open(*address, options.receive_buffer))
            .collect::<Result<Vec<_>, _>>()?;
        for receiver in &receivers {
            receiver.never_block()?;
        }
        let addresses = receivers.iter().map(Receiver::local_address).collect::<Result<_, _>>()?;
        let receive_buffer = receivers.iter().map(Receiver::receive_buffer).min().unwrap_or(0);
        let waker = Waker::new()?;
        let (requests, incoming) = bounded(WAITING);
        let ended = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            receivers,
            waker: waker.clone(),
            requests: incoming,
            ended: Arc::clone(&ended),
            shard: Shard::new(options.tables),
            began: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("rx-0".to_owned()).spawn(|| worker.run())?;
        Ok(Self {
            handle: Handle { requests, waker, program: Arc::default() },
            addresses,
            receive_buffer,
            ended,
            thread,
        })
    }

    /// A handle to ask it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The smallest receive buffer that the kernel granted, bytes.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Ends the worker and waits for it.
    pub fn shutdown(self) {
        self.ended.store(true, Ordering::Release);
        self.handle.waker.wake();
        // A worker that panicked has said so on standard error.
        let _ = self.thread.join();
    }
}

impl Handle {
    /// The answer to a question.
    ///
    /// # Errors
    /// Too many questions wait, the answer takes longer than [`DEADLINE`], or the engine has ended.
    pub fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let question = Arc::new(question);
        let partial = self.request(|answer| Request::Ask(Arc::clone(&question), answer))?;
        Ok(partial.finish(&question))
    }

    /// What is defined.
    pub fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes a definition; when this returns the worker has taken it, so that clients read their own writes.
    ///
    /// # Errors
    /// The change cannot be made, or the worker is too busy to take it; nothing is then changed.
    pub fn define(&self, change: Change) -> Result<(), DefineError> {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(program.changed(change)?);
        self.request(|taken| Request::Adopt(Arc::clone(&next), taken))?;
        *program = next;
        Ok(())
    }

    /// What was counted.
    ///
    /// # Errors
    /// Those of [`Handle::ask`].
    pub fn status(&self) -> Result<Status, AskError> {
        self.request(Request::Status)
    }

    fn request<T>(&self, request: impl FnOnce(Outgoing<T>) -> Request) -> Result<T, AskError> {
        let (answer, answered) = bounded(1);
        match self.requests.try_send(request(answer)) {
            Ok(()) => self.waker.wake(),
            Err(TrySendError::Full(_)) => return Err(AskError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(AskError::Ended),
        }
        answered.recv_timeout(DEADLINE).map_err(|error| match error {
            crossbeam::channel::RecvTimeoutError::Timeout => AskError::Busy,
            crossbeam::channel::RecvTimeoutError::Disconnected => AskError::Ended,
        })
    }
}

struct Worker {
    receivers: Vec<Receiver>,
    waker: Waker,
    requests: Incoming<Request>,
    ended: Arc<AtomicBool>,
    shard: Shard,
    began: Instant,
}

impl Worker {
    fn run(mut self) {
        let mut buffer = vec![0; LARGEST_PAYLOAD];
        let mut next_tick = TICK;
        while !self.ended.load(Ordering::Acquire) {
            let taken = self.take(&mut buffer);
            let answered = self.answer();
            let now = self.began.elapsed();
            if now >= next_tick {
                self.shard.tick(micros(now), &mut Outbox::default());
                next_tick = now + TICK;
            }
            if taken + answered == 0 && wait(&self.receivers, &self.waker, TICK).is_err() {
                // A socket that cannot be polled is not worth spinning over.
                std::thread::sleep(TICK);
            }
        }
    }

    /// What has arrived, a batch from each socket.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        for receiver in &self.receivers {
            let now_us = micros(self.began.elapsed());
            for _ in 0..BATCH {
                let Ok(Some((bytes, sender))) = receiver.take(buffer) else { break };
                self.shard.datagram(bytes, sender.ip().to_canonical(), now_us, &mut Outbox::default());
                taken += 1;
            }
        }
        taken
    }

    fn answer(&mut self) -> usize {
        let mut answered = 0;
        while answered < REQUESTS {
            let Ok(request) = self.requests.try_recv() else { break };
            answered += 1;
            let now = self.began.elapsed();
            // Whoever asked may have given up: then nobody hears the answer.
            match request {
                Request::Ask(question, answer) => {
                    drop(answer.try_send(self.shard.ask(&question, micros(now))))
                }
                Request::Adopt(program, taken) => {
                    self.shard.adopt(&program, micros(now), &mut Outbox::default());
                    let _ = taken.try_send(());
                }
                Request::Status(answer) => drop(answer.try_send(self.status(now))),
            }
        }
        answered
    }

    fn status(&self, uptime: Duration) -> Status {
        let drops: Option<Vec<u64>> = self.receivers.iter().map(Receiver::drops).collect();
        Status {
            counters: self.shard.counters(),
            agents: self.shard.agents() as u64,
            kernel_drops: drops.map(|drops| drops.iter().sum()),
            flows: self.shard.flows() as u64,
            flows_evicted: self.shard.flows_evicted(),
            uptime,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tables::select::Agents;

    fn options() -> EngineOptions {
        EngineOptions {
            sflow: vec!["127.0.0.1:0".parse().unwrap()],
            receive_buffer: 1 << 20,
            tables: Options::default(),
        }
    }

    /// A datagram without samples.
    fn datagram(agent: u8, sequence: u32) -> Vec<u8> {
        [5, 1, 0x0a00_0000 + u32::from(agent), 0, sequence, 1000, 0]
            .iter()
            .flat_map(|w: &u32| w.to_be_bytes())
            .collect()
    }

    #[test]
    fn every_datagram_is_accounted_for() {
        let engine = Engine::start(&options()).unwrap();
        let handle = engine.handle();
        let mut sender = ingest::send::Sender::new(engine.addresses()[0]).unwrap();
        for sequence in 0..500 {
            sender.send(&datagram((sequence % 64) as u8, sequence / 64));
            sender.send(b"no sFlow");
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = handle.status().unwrap();
            let errors: u64 = status.counters.datagram_errors.iter().sum();
            if status.counters.datagrams + errors + status.kernel_drops.unwrap() == sender.sent() {
                assert_eq!(status.agents, 64);
                break;
            }
            assert!(Instant::now() < deadline, "{status:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let Answer::Agents(agents) = handle.ask(Question::Agents(Agents::All)).unwrap() else { panic!() };
        assert_eq!(agents.len(), 64);
        engine.shutdown();
        assert_eq!(handle.ask(Question::MetricNames).unwrap_err(), AskError::Ended);
    }

    #[test]
    fn a_second_collector_on_the_port_is_refused() {
        let first = Engine::start(&options()).unwrap();
        let second = EngineOptions { sflow: first.addresses().to_vec(), ..options() };
        let refusal = Engine::start(&second).unwrap_err().to_string();
        assert!(refusal.contains("another program has this port"), "{refusal}");
        first.shutdown();
    }
}
