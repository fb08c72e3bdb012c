//! Counters and gauges of actions, for whoever shows them.

/// A counter or a gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name; one that ends in `_total` counts, the others are gauges.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: f64,
}

impl Row {
    /// One without labels.
    pub fn new(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, labels: Vec::new(), value }
    }

    /// With a label more.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}
