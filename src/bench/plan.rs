//! How long each part takes.

use std::time::Duration;

/// Lengths and numbers of all parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Bytes of datagrams in memory, and passes over them.
    pub(crate) memory: usize,
    pub(crate) passes: usize,
    /// Different datagrams that each sender has.
    pub(crate) stretch: usize,
    /// What a run at one rate takes, and how often the range of rates is halved.
    pub(crate) trial: Duration,
    pub(crate) steps: usize,
    /// The measuring of what a datagram costs.
    pub(crate) cost: Duration,
    /// The overload, and as much before it to warm up.
    pub(crate) overload: Duration,
    /// The run without a pause, and its rate.
    pub(crate) sustained: Duration,
    pub(crate) samples_per_s: f64,
    /// Each of the runs with probes.
    pub(crate) latency: Duration,
    /// Points of the plot beside those that the search gives: parts of the sustainable rate.
    pub(crate) curve: &'static [f64],
}

impl Plan {
    /// The usual one, or a quick one that says little of a busy machine.
    pub(crate) fn new(quick: bool, seconds: Option<f64>, samples_per_s: f64) -> Self {
        let sustained =
            |usual| Duration::try_from_secs_f64(seconds.unwrap_or(usual)).unwrap_or(Duration::MAX);
        if quick {
            return Self {
                memory: 16 << 20,
                passes: 3,
                stretch: super::input::QUICK_STRETCH,
                trial: Duration::from_millis(100),
                steps: 3,
                cost: Duration::from_millis(200),
                overload: Duration::from_millis(300),
                sustained: sustained(0.5),
                samples_per_s,
                latency: Duration::from_millis(200),
                curve: &[2.0],
            };
        }
        Self {
            memory: 256 << 20,
            passes: 9,
            stretch: super::input::STRETCH,
            trial: Duration::from_secs(2),
            steps: 6,
            cost: Duration::from_secs(2),
            overload: Duration::from_secs(8),
            sustained: sustained(10.0),
            samples_per_s,
            latency: Duration::from_secs(2),
            curve: &[0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0],
        }
    }
}
