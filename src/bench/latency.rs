//! From the wire to a flow that starts: how long after a datagram was sent the news of its flow are there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::collector::{Collector, Receives};
use super::definitions::PROBE;
use super::input::probe_number;
use super::offer::{Load, Offer, now_ns};

/// How long the last news may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long probes took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    /// Datagrams per second meanwhile, probes among them.
    pub(crate) per_s: f64,
    pub(crate) probes: usize,
    /// Probes of which no news came.
    pub(crate) missing: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) most_us: f64,
}

/// When news came, by the number of the probe.
type Came = Arc<Mutex<Vec<(usize, u64)>>>;

/// Listens for the news of probes.
#[derive(Debug)]
pub(crate) struct Ear(Came);

impl Ear {
    /// Has the collector's own thread of events note when it tells of a probe.
    pub(crate) fn on(collector: &Collector) -> Self {
        let came = Came::default();
        let heard = Arc::clone(&came);
        collector.handle().on_news(Box::new(move |news| {
            let now = now_ns();
            let probes = news.records.iter().filter(|flow| &*flow.name == PROBE);
            let mut came = heard.lock().unwrap_or_else(PoisonError::into_inner);
            came.extend(probes.filter_map(|flow| Some((probe_number(&flow.keys)?, now))));
        }));
        Self(came)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Offers a load with probes in it, and waits for the news of all.
    pub(crate) fn measure(
        &self,
        collector: &Collector,
        offer: &mut dyn Offer,
        load: &Load,
        stop: &AtomicBool,
    ) -> anyhow::Result<Latency> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let offered = offer.offer(collector.address(), load, stop)?;
        let deadline = Instant::now() + PATIENCE;
        while self.count() < offered.probes_ns.len() && Instant::now() < deadline {
            if stop.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let came = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = came.iter().filter_map(|(number, ns)| {
            let sent = offered.probes_ns.get(number.checked_sub(offered.probes_before)?)?;
            Some(ns.saturating_sub(*sent))
        });
        Ok(Latency::of(took.collect(), offered.probes_ns.len(), offered.per_s()))
    }
}

impl Latency {
    fn of(mut took_ns: Vec<u64>, probes: usize, per_s: f64) -> Self {
        took_ns.sort_unstable();
        let within = |share: f64| {
            let place = (took_ns.len() as f64 * share).ceil() as usize;
            took_ns.get(place.saturating_sub(1)).map_or(0.0, |ns| *ns as f64 / 1e3)
        };
        Self {
            per_s,
            probes,
            missing: probes.saturating_sub(took_ns.len()),
            p50_us: within(0.5),
            p99_us: within(0.99),
            most_us: within(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_probes() {
        let latency = Latency::of((1..=100).rev().map(|n| n * 1000).collect(), 103, 5.0);
        assert_eq!((latency.p50_us, latency.p99_us, latency.most_us), (50.0, 99.0, 100.0));
        assert_eq!((latency.probes, latency.missing), (103, 3));
        assert_eq!(Latency::of(Vec::new(), 0, 0.0).p99_us, 0.0);
    }
}
