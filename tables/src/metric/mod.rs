//! Counters as metrics: what they are called, what is made of them, and how long they are believed.

pub mod catalogue;
pub(crate) mod custom;
mod growth;
mod kept;
pub mod label;
pub(crate) mod store;

pub(crate) use growth::Moment;

use std::sync::Arc;

/// The value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// A number in the metric's unit.
    Number(f64),
    /// A text as the sender gave it, or the name that a number stands for.
    Text(Arc<str>),
}

impl MetricValue {
    /// The number, when it is one.
    pub fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}
