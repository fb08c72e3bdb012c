//! A worker: receives, feeds its shard, answers. It runs to completion and never waits on another thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver as Incoming;
use ingest::batch::BATCH;
use ingest::receiver::Receiver;
use ingest::wake::{Waker, wait};
use tables::{Outbox, Shard};

use crate::definitions::Definitions;
use crate::events::Teller;
use crate::forward::Forwards;
use crate::handle::Request;
use crate::interface::{self, Watch, ports};
use crate::ownership::{Ownership, Parcel};
use crate::pin::pin;
use crate::process::process_batch;
use crate::status::{SocketStatus, WorkerStatus};

/// Questions answered, and parcels of other workers taken, between two batches.
const REQUESTS: usize = 16;
const PARCELS: usize = 16;

/// How often the tables are tidied, and the longest sleep.
const TICK: Duration = Duration::from_millis(100);

/// How often the kernel's counts of drops are read: they have 32 bits.
const DROPS: Duration = Duration::from_secs(1);

/// Where queues of an interface are read and more is there, sockets have a turn in so many passes: asking one that has
/// nothing costs as much as two datagrams of a queue.
const SOCKETS_EVERY: u32 = 16;

/// How long the end waits for what other workers still hand over.
const LAST_PARCELS: Duration = Duration::from_secs(1);

/// One worker and all that it owns.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) pin: bool,
    /// One for each address, then one for each queue of the interface.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) addresses: Vec<SocketAddr>,
    /// The interface of the queues.
    pub(crate) watch: Option<Arc<Watch>>,
    /// Whether drivers of queues are polled, which nobody does while this worker sleeps.
    pub(crate) polls: bool,
    pub(crate) waker: Waker,
    pub(crate) requests: Incoming<Request>,
    pub(crate) parcels: Incoming<Parcel>,
    pub(crate) ownership: Ownership,
    pub(crate) teller: Teller,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) ended: Arc<AtomicBool>,
    pub(crate) shard: Shard,
    pub(crate) began: Instant,
}

/// What a worker has beside what it was given.
struct Running {
    worker: Worker,
    outbox: Outbox,
    forwards: Forwards,
    epoch: u64,
    /// Passes over the receivers since the worker slept.
    passes: u32,
    /// What the worker itself counts.
    status: WorkerStatus,
}

impl Worker {
    /// Works until the engine has ended.
    pub(crate) fn run(self) {
        let status = WorkerStatus {
            worker: self.number,
            pinned_to: self.pin.then(|| pin(self.number)).flatten(),
            ..WorkerStatus::default()
        };
        let running = Running {
            worker: self,
            outbox: Outbox::default(),
            forwards: Forwards::default(),
            epoch: 0,
            passes: 0,
            status,
        };
        running.run();
    }
}

impl Running {
    fn run(mut self) {
        let mut next_tick = TICK;
        let mut next_drops = DROPS;
        while !self.worker.ended.load(Ordering::Acquire) {
            let mut more = self.take();
            more |= self.take_parcels();
            self.adopt();
            more |= self.answer();
            let now = self.worker.began.elapsed();
            if now >= next_tick {
                self.leave_what_is_gone();
                self.tick(now);
                next_tick = now + TICK;
            }
            if now >= next_drops {
                self.read_drops();
                next_drops = now + DROPS;
            }
            let sleep = next_tick.saturating_sub(now);
            self.passes = if more { self.passes.wrapping_add(1) } else { 0 };
            if !more && wait(&self.worker.receivers, Some(&self.worker.waker), sleep).is_err() {
                // Sockets that cannot be polled are not worth spinning over.
                std::thread::sleep(TICK);
            }
        }
        self.end();
    }

    fn now_us(&self) -> u64 {
        micros(self.worker.began.elapsed())
    }

    /// Takes a batch from each socket; whether there may be more.
    fn take(&mut self) -> bool {
        let mut more = false;
        let worker = &mut self.worker;
        let sockets = worker.addresses.len();
        let queues = worker.receivers.len() > sockets;
        let first = if queues && !self.passes.is_multiple_of(SOCKETS_EVERY) { sockets } else { 0 };
        for (n, receiver) in worker.receivers.iter_mut().enumerate().skip(first) {
            let Ok(batch) = receiver.receive() else {
                self.status.receive_errors += 1;
                continue;
            };
            more |= worker.polls && n >= sockets;
            if batch.is_empty() {
                continue;
            }
            more |= batch.len() == BATCH;
            self.status.batches += 1;
            if !self.forwards.is_empty() {
                batch.datagrams().for_each(|(bytes, _)| self.forwards.send(bytes));
            }
            process_batch(
                batch.datagrams(),
                micros(worker.began.elapsed()),
                &mut worker.shard,
                &mut self.outbox,
                &mut worker.ownership,
            );
            worker.teller.tell(&mut self.outbox);
        }
        more
    }

    /// Takes what other workers have handed over; whether there may be more.
    fn take_parcels(&mut self) -> bool {
        for _ in 0..PARCELS {
            let Ok(parcel) = self.worker.parcels.try_recv() else { return false };
            self.take_parcel(parcel);
        }
        true
    }

    fn take_parcel(&mut self, parcel: Parcel) {
        let (now_us, worker) = (self.now_us(), &mut self.worker);
        process_batch(parcel.datagrams(), now_us, &mut worker.shard, &mut self.outbox, &mut worker.ownership);
        worker.ownership.recycle(parcel);
        worker.teller.tell(&mut self.outbox);
    }

    /// Takes the newest definitions.
    fn adopt(&mut self) {
        let Some(published) = self.worker.definitions.newer(self.epoch) else { return };
        let now_us = self.now_us();
        self.worker.shard.adopt(&published.program, now_us, &mut self.outbox);
        self.worker.teller.tell(&mut self.outbox);
        self.forwards.adopt(&published.program);
        self.epoch = published.epoch;
        published.taken();
    }

    /// Answers what was asked; whether there may be more.
    fn answer(&mut self) -> bool {
        for _ in 0..REQUESTS {
            let Ok(request) = self.worker.requests.try_recv() else { return false };
            self.status.requests += 1;
            let now_us = self.now_us();
            // Whoever asked may have given up: then nobody hears the answer.
            match request {
                Request::Ask(question, answer) => {
                    drop(answer.try_send(self.worker.shard.ask(&question, now_us)));
                }
                Request::Status(answer) => {
                    self.read_drops();
                    drop(answer.try_send(self.status()));
                }
            }
        }
        true
    }

    fn tick(&mut self, now: Duration) {
        let (now_us, worker) = (micros(now), &mut self.worker);
        worker.shard.tick(now_us, &mut self.outbox);
        worker.ownership.settle(&mut self.outbox, now_us);
        worker.teller.tell(&mut self.outbox);
    }

    /// Closes the queues of an interface that went away. What was counted of them stays.
    fn leave_what_is_gone(&mut self) {
        let sockets = self.worker.addresses.len();
        let queues = self.worker.receivers.len() > sockets;
        if queues && self.worker.watch.as_ref().is_some_and(|watch| watch.is_gone()) {
            self.read_drops();
            self.worker.receivers.truncate(sockets);
        }
    }

    fn read_drops(&mut self) {
        let addresses = &self.worker.addresses;
        let Some((sockets, queues)) = self.worker.receivers.split_at_mut_checked(addresses.len()) else {
            return;
        };
        self.status.sockets.clear();
        self.status.sockets.extend(sockets.iter_mut().zip(addresses).map(|(receiver, address)| {
            SocketStatus {
                address: *address,
                receive_buffer: receiver.receive_buffer(),
                kernel_drops: receiver.drops(),
            }
        }));
        if !queues.is_empty() {
            self.status.queues.clear();
            self.status.verdicts.clear();
            for queue in queues {
                if let Some((status, verdicts)) = ports::status(queue) {
                    self.status.queues.push(status);
                    interface::add(&mut self.status.verdicts, &verdicts);
                } else {
                    self.status.queues.extend(queue.rings());
                }
            }
        }
    }

    fn status(&self) -> WorkerStatus {
        let shard = &self.worker.shard;
        WorkerStatus {
            counters: shard.counters(),
            agents: shard.agents() as u64,
            flows: shard.flows() as u64,
            flows_evicted: shard.flows_evicted(),
            flow_bytes: shard.flow_bytes() as u64,
            hand_over: self.worker.ownership.counts(),
            told: self.worker.teller.told(),
            forwarded: self.forwards.counts(),
            ..self.status.clone()
        }
    }

    /// Takes what other workers still hand over, and ends all live flows with their records.
    fn end(mut self) {
        // With this the last worker that ends has closed the way to all others.
        self.worker.ownership = Ownership::alone();
        let deadline = Instant::now() + LAST_PARCELS;
        while let Ok(parcel) = self.worker.parcels.recv_deadline(deadline) {
            self.take_parcel(parcel);
        }
        let now_us = self.now_us();
        self.worker.shard.end(now_us, &mut self.outbox);
        self.worker.teller.tell(&mut self.outbox);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
