//! What is seen of a service: by its engine, and by telemetry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::loss::Datagrams;

/// What is seen of a service at a moment. What could not be seen is the reason why.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What the engine says.
    pub pool: Result<Pool, String>,
    /// What telemetry says.
    pub telemetry: Result<Telemetry, String>,
}

/// What the engine says of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// How many replicas are asked for; `None` where it runs on every node.
    pub replicas: Option<u64>,
    /// The tasks that run.
    pub running: BTreeSet<String>,
    /// Whether the engine replaces its tasks just now.
    pub updating: bool,
}

/// What telemetry says of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// Its containers that run.
    pub replicas: Vec<Replica>,
    /// For each metric of the service the value that is the service's in all, where it is such a metric.
    pub totals: Vec<Option<Sample>>,
    /// The datagrams of the agents that tell of its containers.
    pub datagrams: BTreeMap<String, Datagrams>,
}

/// A container that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// Its task.
    pub task: String,
    /// The host name and the agent's address of its node.
    pub node: Vec<String>,
    /// For each metric of the service its value.
    pub metrics: Vec<Option<Sample>>,
    /// For each metric that tells the sick its value.
    pub outliers: Vec<Option<Sample>>,
}

/// A value, and how old it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The value.
    pub value: f64,
    /// Since it came.
    pub age: Duration,
}
