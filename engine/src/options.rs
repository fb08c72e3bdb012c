//! What an engine needs to know.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use ingest::receiver::Backend;
use tables::Options;
use tables::trust::Trust;

use crate::interface::{Ingest, InterfaceOptions};

/// What an engine needs to know.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Addresses that sFlow comes to.
    pub sflow: Vec<SocketAddr>,
    /// Receive buffer asked for per socket, bytes.
    pub receive_buffer: usize,
    /// Workers; one per processor that this process may use when `None`, [`crate::MOST_WORKERS`] at most.
    pub workers: Option<NonZero<usize>>,
    /// Whether each worker stays on one processor.
    pub pin: bool,
    /// How datagrams are taken from the kernel.
    pub backend: Backend,
    /// Whether the kernel is asked to bring the datagrams of an agent to its worker.
    pub steer: bool,
    /// Whether the queues of an interface are read past the kernel's network stack.
    pub ingest: Ingest,
    /// Which interface that is, and how.
    pub interface: InterfaceOptions,
    /// Arguments of DPDK's environment.
    pub dpdk: Option<String>,
    /// Flow records that are kept.
    pub flows_max: usize,
    /// Threshold events that are kept.
    pub events_max: usize,
    /// Limits and choices of the tables, of all shards together.
    pub tables: Options,
    /// What the operator says of agents.
    pub trust: Arc<Trust>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            sflow: Vec::new(),
            receive_buffer: 4 << 20,
            workers: None,
            pin: false,
            backend: Backend::Auto,
            steer: true,
            ingest: Ingest::default(),
            interface: InterfaceOptions::default(),
            dpdk: None,
            flows_max: 1000,
            events_max: 1000,
            tables: Options::default(),
            trust: Arc::default(),
        }
    }
}
