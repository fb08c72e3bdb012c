//! What a shard has to tell others: flow records and threshold events. The engine takes them away after each batch.

use std::net::IpAddr;
use std::sync::Arc;

use decode::Address;

use crate::flow::plan::FlowPlan;
use crate::owner::Owner;

/// A record of the flow log, its key still packed.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// The definition, which shows the key as text.
    pub plan: Arc<FlowPlan>,
    /// Name of the definition.
    pub name: Arc<str>,
    /// Who saw it.
    pub owner: Owner,
    /// The key, packed by [`crate::flow::atom::Atom::pack`]; [`FlowRecord::keys`] shows it.
    pub key: Box<[u8]>,
    /// How much there was from start to end: a total, not a rate.
    pub value: f64,
    /// The same for the definition's further values.
    pub values: Vec<f64>,
    /// When its first sample came.
    pub start_us: u64,
    /// When its last sample came.
    pub end_us: u64,
}

impl FlowRecord {
    /// The keys as text, joined by the definition's separator.
    pub fn keys(&self) -> String {
        crate::flow::atom::key_text(&self.key, &self.plan.spec.fs)
    }
}

/// A metric rose above its threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdEvent {
    /// Name of the threshold.
    pub threshold: Arc<str>,
    /// Whose metric.
    pub owner: Owner,
    /// Name of the metric or flow.
    pub metric: String,
    /// What it must not rise above.
    pub limit: f64,
    /// What it was.
    pub value: f64,
    /// The key of the flow, where the metric is that of flows.
    pub flow_key: Option<String>,
    /// The flow's further values.
    pub values: Vec<f64>,
    /// When.
    pub at_us: u64,
}

/// What a shard has to tell others. It is emptied after each batch.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Flow records, in the order they arose.
    pub records: Vec<FlowRecord>,
    /// Threshold events, in the order they arose.
    pub events: Vec<ThresholdEvent>,
    /// Addresses whose names a `dns:` key wants and that nobody has looked up yet.
    pub names_wanted: Vec<IpAddr>,
    /// Agents that were evicted or have been silent for long: others may own them now.
    pub released: Vec<Address>,
}

impl Outbox {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.events.is_empty()
            && self.names_wanted.is_empty()
            && self.released.is_empty()
    }
}
