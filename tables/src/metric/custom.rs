//! Custom metrics: named, typed values of named data sources (4300:1002).
//!
//! Names are the sender's, so they are bounded in length, and metrics in number. A metric whose name is one of the
//! catalogue's answers only together with its data source's name: what `load_one` means is not the sender's to change.

use std::sync::Arc;

use decode::layout::Value;
use decode::rt::{MetricValue as Sent, RtMetric};

use super::MetricValue;
use super::growth::{CLOSEST_US, Intervals, Moment, UNKNOWN, gauge, growth, raw};
use super::store::bounded;
use crate::source::Map;

/// The longest name of a data source, bytes.
const MOST_SOURCE_NAME: usize = 64;

/// The longest name of a metric, bytes.
const MOST_NAME: usize = 128;

/// The longest text that is kept, bytes; what is beyond is cut off.
const MOST_TEXT: usize = 255;

/// The custom metrics of one agent, by data source.
#[derive(Debug, Default)]
pub(crate) struct Custom {
    sources: Map<Arc<str>, CustomSource>,
    metrics: usize,
}

/// The custom metrics of one data source.
#[derive(Debug, Default)]
pub(crate) struct CustomSource {
    metrics: Map<Arc<str>, CustomMetric>,
    updated_us: u64,
    intervals: Intervals,
}

#[derive(Debug)]
struct CustomMetric {
    value: Option<MetricValue>,
    /// When the value arrived.
    at_us: u64,
    /// The last count, and its moment, where it is a counter.
    counted: Option<(Moment, u64)>,
}

/// What became of a sample's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CustomTaken {
    /// Those whose name, or data source's name, cannot be kept.
    pub(crate) misnamed: u64,
    /// Those beyond the limit.
    pub(crate) refused: u64,
    /// Texts that were too long.
    pub(crate) cut: u64,
}

impl Custom {
    /// How many metrics there are.
    pub(crate) fn len(&self) -> usize {
        self.metrics
    }

    /// All data sources by name.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&Arc<str>, &CustomSource)> {
        self.sources.iter()
    }

    /// A data source, and its name as it is kept.
    pub(crate) fn source(&self, name: &str) -> Option<(&Arc<str>, &CustomSource)> {
        self.sources.get_key_value(name)
    }

    /// Takes a sample. There may be `most` metrics.
    pub(crate) fn take(&mut self, sample: &RtMetric<'_>, moment: Moment, most: usize) -> CustomTaken {
        let mut taken = CustomTaken::default();
        let Some(source) = named(sample.source, MOST_SOURCE_NAME) else {
            taken.misnamed += sample.metrics().count() as u64;
            return taken;
        };
        for (name, value) in sample.metrics() {
            let Some(name) = named(name, MOST_NAME) else {
                taken.misnamed += 1;
                continue;
            };
            let known = self.sources.get(source).is_some_and(|source| source.metrics.contains_key(name));
            if !known && self.metrics >= most {
                taken.refused += 1;
                continue;
            }
            if !self.sources.contains_key(source) {
                self.sources.insert(source.into(), CustomSource::default());
            }
            let Some(source) = self.sources.get_mut(source) else { continue };
            self.metrics += usize::from(!known);
            taken.cut += source.take(name, value, moment);
        }
        if let Some(source) = self.sources.get_mut(source) {
            source.updated(moment.now_us);
        }
        taken
    }

    /// Forgets data sources that are no longer believed, and metrics that did not come since.
    pub(crate) fn forget(&mut self, now_us: u64, timeout_us: Option<u64>, since_us: u64) {
        if self.sources.is_empty() {
            return;
        }
        self.sources.retain(|_, source| source.is_believed(now_us, timeout_us));
        for source in self.sources.values_mut() {
            source.metrics.retain(|_, metric| metric.at_us >= since_us);
        }
        self.metrics = self.sources.values().map(|source| source.metrics.len()).sum();
    }
}

impl CustomSource {
    /// Whether it is not too old: for `timeout_us` after the last sample, or for three of its intervals.
    pub(crate) fn is_believed(&self, now_us: u64, timeout_us: Option<u64>) -> bool {
        let believed = timeout_us.unwrap_or_else(|| self.intervals.believed_us());
        now_us.saturating_sub(self.updated_us) <= believed
    }

    /// A metric, and when it arrived. A name that begins with the data source's and a dot is the rest of it.
    pub(crate) fn get(&self, source: &str, name: &str) -> Option<(MetricValue, u64)> {
        let rest = || name.strip_prefix(source)?.strip_prefix('.');
        let metric = self.metrics.get(name).or_else(|| self.metrics.get(rest()?))?;
        Some((metric.value.clone()?, metric.at_us))
    }

    /// Every metric that has a value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, MetricValue, u64)> {
        self.metrics.iter().filter_map(|(name, metric)| Some((name, metric.value.clone()?, metric.at_us)))
    }

    /// Takes a metric; how many texts were cut.
    fn take(&mut self, name: &str, value: Sent<'_>, moment: Moment) -> u64 {
        if !self.metrics.contains_key(name) {
            let none = CustomMetric { value: None, at_us: moment.now_us, counted: None };
            self.metrics.insert(name.into(), none);
        }
        self.metrics.get_mut(name).map_or(0, |metric| metric.take(value, moment))
    }

    fn updated(&mut self, now_us: u64) {
        if self.updated_us > 0 {
            self.intervals.take(now_us.saturating_sub(self.updated_us));
        }
        self.updated_us = now_us.max(1);
    }
}

impl CustomMetric {
    fn take(&mut self, value: Sent<'_>, moment: Moment) -> u64 {
        let mut cut = false;
        let number = |number: f64| number.is_finite().then_some(MetricValue::Number(number));
        self.value = match value {
            Sent::Counter32(count) => return self.count(Value::U32(count), moment),
            Sent::Counter64(count) => return self.count(Value::U64(count), moment),
            Sent::Text(bytes) => {
                let (text, was_cut) = bounded(bytes, MOST_TEXT);
                cut = was_cut;
                match &self.value {
                    Some(MetricValue::Text(old)) if **old == *text => self.value.take(),
                    _ => Some(MetricValue::Text(text.into())),
                }
            }
            Sent::Gauge32(value) => gauge(Value::U32(value)).and_then(number),
            Sent::Gauge64(value) => gauge(Value::U64(value)).and_then(number),
            Sent::Float(value) => number(value.into()),
            Sent::Double(value) => number(value),
        };
        self.counted = None;
        self.at_us = moment.now_us;
        u64::from(cut)
    }

    fn count(&mut self, count: Value<'_>, moment: Moment) -> u64 {
        let last = self.counted.filter(|(_, count)| *count != UNKNOWN);
        let elapsed = last.and_then(|(counted, _)| moment.since(counted));
        // Too close to the last one: the next sample makes a rate of both.
        if elapsed.is_some_and(|elapsed| elapsed < CLOSEST_US) {
            return 0;
        }
        let grown = last.and_then(|(_, before)| growth(before, count, true));
        let rate = grown.zip(elapsed).map(|(grown, elapsed)| grown / (elapsed as f64 / 1e6));
        self.value = rate.map(MetricValue::Number);
        self.counted = Some((moment, raw(count)));
        self.at_us = moment.now_us;
        0
    }
}

/// The name of a data source, where it is one that can be kept.
pub(crate) fn source_name(bytes: &[u8]) -> Option<&str> {
    named(bytes, MOST_SOURCE_NAME)
}

/// A name that can be asked for: it begins with a letter, and nothing in it separates names or ends a line.
fn named(bytes: &[u8], most: usize) -> Option<&str> {
    let name = std::str::from_utf8(bytes).ok().filter(|name| name.len() <= most)?;
    let asked = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.contains(|c: char| c.is_control() || matches!(c, ',' | ';'));
    asked.then_some(name)
}
