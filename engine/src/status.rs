//! What the engine counts and measures.

use std::net::SocketAddr;
use std::time::Duration;

use tables::shard::Counters;

use crate::events::Told;
use crate::forward::Forwarded;
use crate::interface::{self, QueueStatus, Reached, Verdicts};
use crate::ownership::HandOver;

/// What a socket was granted, and what the kernel dropped of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketStatus {
    /// Where it is bound.
    pub address: SocketAddr,
    /// Its receive buffer, bytes: as many as were asked for, where the kernel granted all.
    pub receive_buffer: usize,
    /// Datagrams that the kernel dropped; `None` where it does not say.
    pub kernel_drops: Option<u64>,
}

/// What one worker counts and measures.
#[derive(Clone, Debug, Default)]
pub struct WorkerStatus {
    /// Its number: its thread is `rx-N`.
    pub worker: usize,
    /// The processor that it was pinned to.
    pub pinned_to: Option<usize>,
    /// What its shard has counted.
    pub counters: Counters,
    /// Agents that it owns.
    pub agents: u64,
    /// Live flows.
    pub flows: u64,
    /// Flows that gave way to others.
    pub flows_evicted: u64,
    /// What the flow tables take, bytes.
    pub flow_bytes: u64,
    /// Its sockets.
    pub sockets: Vec<SocketStatus>,
    /// The queues of the interface or of ports that it reads.
    pub queues: Vec<QueueStatus>,
    /// What became of the frames of the ports' queues; the interface's are counted for all workers together.
    pub verdicts: Verdicts,
    /// Calls that the kernel failed when datagrams were to be taken.
    pub receive_errors: u64,
    /// What it handed to other workers.
    pub hand_over: HandOver,
    /// Batches of datagrams from its sockets.
    pub batches: u64,
    /// Questions that it answered.
    pub requests: u64,
    /// What its shard had to tell.
    pub told: Told,
    /// What it sent on.
    pub forwarded: Vec<Forwarded>,
}

/// What all workers together count and measure.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What the shards have counted.
    pub counters: Counters,
    /// Agents that are known.
    pub agents: u64,
    /// Datagrams that the kernel dropped, for its sockets or at the rings of queues; `None` where it does not say.
    pub kernel_drops: Option<u64>,
    /// Those of them at the rings of queues, and those that had a wrong length or checksum there.
    pub queue_drops: u64,
    /// Live flows.
    pub flows: u64,
    /// Flows that gave way to others.
    pub flows_evicted: u64,
    /// What the flow tables take, bytes.
    pub flow_bytes: u64,
    /// Datagrams that a worker handed to their owner, or dropped because too many waited for it.
    pub hand_over: HandOver,
    /// Flow records and threshold events.
    pub told: Told,
    /// What was sent on, by definition.
    pub forwarded: Vec<Forwarded>,
    /// How datagrams come in.
    pub reached: Reached,
    /// What became of the frames of the interface or the ports whose queues are read.
    pub verdicts: Verdicts,
    /// Time since the start.
    pub uptime: Duration,
    /// The same, worker by worker.
    pub workers: Vec<WorkerStatus>,
}

impl Status {
    /// Sums up.
    pub(crate) fn of(mut workers: Vec<WorkerStatus>, uptime: Duration) -> Self {
        workers.sort_by_key(|worker| worker.worker);
        let mut status = Self { kernel_drops: Some(0), uptime, ..Self::default() };
        for worker in &workers {
            status.counters.add(&worker.counters);
            status.agents += worker.agents;
            status.flows += worker.flows;
            status.flows_evicted += worker.flows_evicted;
            status.flow_bytes += worker.flow_bytes;
            status.hand_over.handed_over += worker.hand_over.handed_over;
            status.hand_over.handover_full += worker.hand_over.handover_full;
            status.told.add(worker.told);
            for socket in &worker.sockets {
                let sum = status.kernel_drops.zip(socket.kernel_drops);
                status.kernel_drops = sum.map(|(sum, drops)| sum + drops);
            }
            let of_queues: u64 = worker.queues.iter().map(QueueStatus::drops).sum();
            status.queue_drops += of_queues;
            interface::add(&mut status.verdicts, &worker.verdicts);
            status.kernel_drops = status.kernel_drops.map(|sum| sum + of_queues);
            for one in &worker.forwarded {
                match status.forwarded.iter_mut().find(|known| known.name == one.name && known.to == one.to) {
                    Some(known) => {
                        known.forwarded += one.forwarded;
                        known.forward_failed += one.forward_failed;
                    }
                    None => status.forwarded.push(one.clone()),
                }
            }
        }
        status.workers = workers;
        status
    }
}
