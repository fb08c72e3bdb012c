//! The metrics of one data source: the last values, and what is needed to make rates of the next ones.
//!
//! Promise I5 lives here: a first sample gives no rate, a 32-bit counter may wrap but a fall is a gap and never a
//! spike, all ones mean unknown, and two samples of nearly the same moment make no rate.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use decode::layout::{Fields, Value};
use decode::{Records, counter};

use super::MetricValue;
use super::catalogue::{DERIVED, Derived, Kind, METRICS, Metric};

/// Samples closer together than this make no rate, microseconds.
const CLOSEST_US: u64 = 500_000;

/// No structure has more fields.
const MOST_FIELDS: usize = 48;

/// `virDomainState`: running.
const RUNNING: u64 = 1;

/// A structure of the catalogue, with the places of its metrics' fields.
pub(crate) struct Structure {
    layout: &'static decode::layout::Layout,
    /// Its metrics, and for each the place of its field and of the field it is a share of.
    metrics: Vec<(&'static Metric, usize, Option<usize>)>,
}

/// The catalogue by structure.
pub(crate) static STRUCTURES: LazyLock<Vec<Structure>> = LazyLock::new(|| {
    let mut structures: Vec<Structure> = Vec::new();
    for metric in METRICS {
        let at = metric.layout.position(metric.field);
        let share = if let Kind::Share(of) = metric.kind { metric.layout.position(of) } else { None };
        let Some(at) = at else { continue };
        match structures.last_mut().filter(|last| std::ptr::eq(last.layout, metric.layout)) {
            Some(last) => last.metrics.push((metric, at, share)),
            None => structures.push(Structure { layout: metric.layout, metrics: vec![(metric, at, share)] }),
        }
    }
    structures
});

/// When a sample was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When it arrived.
    pub(crate) now_us: u64,
    /// The agent's uptime, milliseconds.
    pub(crate) uptime_ms: u32,
    /// How often the agent has restarted.
    pub(crate) epoch: u64,
}

impl Moment {
    /// Microseconds since an earlier moment by the agent's own clock, where it can be trusted; `None` across
    /// a restart.
    fn since(self, earlier: Self) -> Option<u64> {
        if self.epoch != earlier.epoch {
            return None;
        }
        let arrived = self.now_us.saturating_sub(earlier.now_us);
        let own = u64::from(self.uptime_ms.wrapping_sub(earlier.uptime_ms)) * 1000;
        // A clock that stands still, or runs away, is not used.
        Some(if own > 0 && own < arrived.saturating_mul(100).max(3_600_000_000) { own } else { arrived })
    }
}

/// One structure's values.
#[derive(Debug)]
struct Block {
    structure: usize,
    /// The moment of the counters in `raw`.
    counted: Moment,
    updated_us: u64,
    raw: Vec<Option<u64>>,
    values: Vec<Option<MetricValue>>,
}

/// The metrics of one data source.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    blocks: Vec<Block>,
    updated_us: u64,
    intervals: Intervals,
}

/// How long the metrics of a data source are believed whose interval is not known yet.
const FIRST_BELIEF_US: u64 = 90_000_000;

/// The last two intervals between samples. One alone says little: Host sFlow sends a container's first sample when
/// it begins and the second at any moment within the interval.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intervals([Option<u64>; 2]);

impl Intervals {
    pub(super) fn take(&mut self, interval_us: u64) {
        if interval_us >= CLOSEST_US {
            self.0 = [Some(interval_us), self.0[0]];
        }
    }

    /// Three of the longer one, microseconds.
    pub(super) fn believed_us(self) -> u64 {
        match self.0 {
            [Some(a), Some(b)] => a.max(b).saturating_mul(3),
            _ => FIRST_BELIEF_US,
        }
    }
}

/// A metric that a question names, resolved once.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Places in the catalogue: structure and metric.
    Counted(Vec<(usize, usize)>),
    /// Made of others.
    Derived(&'static Derived, Vec<Wanted>),
    /// No structure gives it.
    Unknown,
}

/// The prefix of a host's identity where the data source is a virtual machine or container.
const VIRTUAL: &str = "vir_";

/// Class of logical entities: virtual machines and containers.
pub(crate) const LOGICAL: u32 = 3;

/// Whether a name asks for the identity of a virtual machine or container.
pub(crate) fn is_virtual_identity(name: &str) -> bool {
    name.strip_prefix(VIRTUAL).is_some_and(|rest| {
        METRICS.iter().any(|metric| metric.name == rest && std::ptr::eq(metric.layout, &counter::HOST_DESCR))
    })
}

impl Wanted {
    /// Finds a name in the catalogue.
    pub(crate) fn find(name: &str) -> Self {
        if let Some(derived) = DERIVED.iter().find(|derived| derived.name == name) {
            return Self::Derived(derived, derived.of.iter().map(|name| Self::find(name)).collect());
        }
        let name = if is_virtual_identity(name) { name.strip_prefix(VIRTUAL).unwrap_or(name) } else { name };
        let mut places = Vec::new();
        for (structure, entry) in STRUCTURES.iter().enumerate() {
            for (place, (metric, ..)) in entry.metrics.iter().enumerate() {
                if metric.name == name {
                    places.push((structure, place));
                }
            }
        }
        if places.is_empty() { Self::Unknown } else { Self::Counted(places) }
    }
}

impl Metrics {
    /// Takes the counter records of one sample.
    pub(crate) fn take(&mut self, records: Records<'_>, moment: Moment) {
        if self.updated_us > 0 {
            self.intervals.take(moment.now_us.saturating_sub(self.updated_us));
        }
        self.updated_us = moment.now_us.max(1);
        for record in records.iter() {
            let Some(fields) = counter::fields(record) else { continue };
            let found = STRUCTURES.iter().position(|structure| std::ptr::eq(structure.layout, fields.layout));
            let Some(place) = found else { continue };
            let block = match self.blocks.iter().position(|block| block.structure == place) {
                Some(at) => self.blocks.get_mut(at),
                None => {
                    self.blocks.push(Block::new(place, moment));
                    self.blocks.last_mut()
                }
            };
            if let Some(block) = block {
                block.take(&fields, moment);
            }
        }
    }

    /// Whether there is something to ask for, and it is believed: for `timeout_us` after the last sample, or for
    /// three of the data source's intervals.
    pub(crate) fn are_believed(&self, now_us: u64, timeout_us: Option<u64>) -> bool {
        let believed = timeout_us.unwrap_or_else(|| self.intervals.believed_us());
        !self.blocks.is_empty() && now_us.saturating_sub(self.updated_us) <= believed
    }

    /// Forgets what is no longer believed.
    pub(crate) fn forget(&mut self, now_us: u64, timeout_us: Option<u64>) {
        if !self.blocks.is_empty() && !self.are_believed(now_us, timeout_us) {
            *self = Self::default();
        }
    }

    /// A metric's value, and when it arrived.
    pub(crate) fn get(&self, wanted: &Wanted) -> Option<(MetricValue, u64)> {
        match wanted {
            Wanted::Unknown => None,
            Wanted::Counted(places) => places.iter().find_map(|&(structure, place)| {
                let block = self.blocks.iter().find(|block| block.structure == structure)?;
                Some((block.values.get(place)?.clone()?, block.updated_us))
            }),
            Wanted::Derived(derived, parts) => {
                let mut numbers = Vec::with_capacity(parts.len());
                let mut updated = u64::MAX;
                for part in parts {
                    let (value, at) = self.get(part)?;
                    numbers.push(value.number()?);
                    updated = updated.min(at);
                }
                Some((MetricValue::Number((derived.make)(&numbers)?), updated))
            }
        }
    }

    /// Every metric that has a value: its name as this class of data source has it, the value, and when it arrived.
    pub(crate) fn all(&self, class: u32) -> Vec<(String, MetricValue, u64)> {
        let mut all = Vec::new();
        for block in &self.blocks {
            let Some(structure) = STRUCTURES.get(block.structure) else { continue };
            let identity = class == LOGICAL && std::ptr::eq(structure.layout, &counter::HOST_DESCR);
            let prefix = if identity { VIRTUAL } else { "" };
            for ((metric, ..), value) in structure.metrics.iter().zip(&block.values) {
                if let Some(value) = value {
                    all.push((format!("{prefix}{}", metric.name), value.clone(), block.updated_us));
                }
            }
        }
        for derived in DERIVED {
            if let Some((value, updated)) = self.get(&Wanted::find(derived.name)) {
                all.push((derived.name.to_owned(), value, updated));
            }
        }
        all
    }
}

impl Block {
    fn new(structure: usize, moment: Moment) -> Self {
        let metrics = STRUCTURES.get(structure).map_or(0, |structure| structure.metrics.len());
        Self {
            structure,
            counted: moment,
            updated_us: moment.now_us,
            raw: Vec::new(),
            values: vec![None; metrics],
        }
    }

    fn take(&mut self, fields: &Fields<'_>, moment: Moment) {
        let Some(structure) = STRUCTURES.get(self.structure) else { return };
        let mut found: [Option<Value<'_>>; MOST_FIELDS] = [None; MOST_FIELDS];
        for (place, (_, value)) in found.iter_mut().zip(fields.iter()) {
            *place = Some(value);
        }
        let field = |at: usize| found.get(at).copied().flatten();
        let first = self.raw.is_empty();
        let elapsed = if first { None } else { moment.since(self.counted) };
        // Too close to the last one: gauges are taken, counters wait for the next sample.
        let too_close = elapsed.is_some_and(|elapsed| elapsed < CLOSEST_US);
        let grown: Vec<Option<f64>> = self
            .raw
            .iter()
            .enumerate()
            .map(|(at, before)| {
                elapsed.and((*before).zip(field(at)).and_then(|(before, now)| growth(before, now)))
            })
            .collect();
        let grown_at = |at: usize| grown.get(at).copied().flatten();
        let stopped = std::ptr::eq(structure.layout, &counter::VIRT_CPU)
            && field(0).and_then(|state| state.as_u64()).is_some_and(|state| state != RUNNING);
        let cpu_total: f64 = structure
            .metrics
            .iter()
            .filter(|(metric, ..)| metric.kind == Kind::CpuTime && !metric.name.starts_with("cpu_guest"))
            .filter_map(|&(_, at, _)| grown_at(at))
            .sum();
        for ((metric, at, share), value) in structure.metrics.iter().zip(&mut self.values) {
            let counted = matches!(metric.kind, Kind::Rate | Kind::Busy | Kind::CpuTime);
            if counted && too_close {
                continue;
            }
            let seconds = elapsed.map(|elapsed| elapsed as f64 / 1e6);
            let now = field(*at);
            let fell = || {
                let before = self.raw.get(*at).copied().flatten();
                before.zip(now.and_then(|now| now.as_u64())).is_some_and(|(before, now)| now < before)
            };
            let number = match metric.kind {
                Kind::Rate => grown_at(*at).zip(seconds).map(|(grown, seconds)| grown / seconds),
                // The last sample of a stopped container has 0 here: that is no wrap.
                Kind::Busy if stopped && fell() => None,
                Kind::Busy => grown_at(*at).zip(seconds).map(|(grown, seconds)| grown / seconds / 10.0),
                Kind::CpuTime => {
                    grown_at(*at).filter(|_| cpu_total > 0.0).map(|grown| 100.0 * grown / cpu_total)
                }
                Kind::Gauge => now.and_then(gauge),
                Kind::Hundredths => now.and_then(gauge).map(|number| number / 100.0),
                Kind::Share(_) => {
                    let whole = share.and_then(field).and_then(gauge).filter(|whole| *whole > 0.0);
                    now.and_then(gauge).zip(whole).map(|(part, whole)| 100.0 * part / whole)
                }
                Kind::Text | Kind::Hex | Kind::Name(_) => {
                    set_text(value, now.and_then(|now| text(metric.kind, now)));
                    continue;
                }
            };
            *value = number.map(MetricValue::Number);
        }
        self.updated_us = moment.now_us;
        if !too_close {
            self.counted = moment;
            self.raw.clear();
            self.raw.extend(
                (0..structure.layout.fields.len()).map(|at| field(at).and_then(|value| value.as_u64())),
            );
        }
    }
}

/// All ones mean that the sender does not know.
fn gauge(value: Value<'_>) -> Option<f64> {
    match value {
        Value::U32(u32::MAX) | Value::U64(u64::MAX) => None,
        Value::F32(number) => number.is_finite().then(|| f64::from(number)),
        other => other.as_u64().map(|number| number as f64),
    }
}

/// How much a counter has grown; `None` when it fell, or is not known.
fn growth(before: u64, now: Value<'_>) -> Option<f64> {
    match now {
        Value::U32(u32::MAX) | Value::U64(u64::MAX) => None,
        Value::U32(now) => {
            let before = u32::try_from(before).ok().filter(|before| *before != u32::MAX)?;
            // A difference of half the range or more is a fall, not a wrap.
            Some(now.wrapping_sub(before)).filter(|grown| *grown < 1 << 31).map(f64::from)
        }
        Value::U64(now) if before != u64::MAX => now.checked_sub(before).map(|grown| grown as f64),
        _ => None,
    }
}

fn text(kind: Kind, value: Value<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Name(names), value) => {
            value.as_u64().filter(|number| *number != u64::from(u32::MAX)).map(|number| names.of(number))
        }
        (Kind::Hex, value) => value.as_u64().map(|number| format!("{number:016X}")),
        (_, Value::Text(bytes)) => (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned()),
        (_, Value::Mac(mac)) => Some(mac.to_string()),
        (_, Value::Uuid(uuid)) => {
            let mut text = String::with_capacity(36);
            for (place, byte) in uuid.iter().enumerate() {
                if matches!(place, 4 | 6 | 8 | 10) {
                    text.push('-');
                }
                let _ = write!(text, "{byte:02x}");
            }
            Some(text)
        }
        _ => None,
    }
}

/// A text that did not change stays the same allocation.
fn set_text(value: &mut Option<MetricValue>, text: Option<String>) {
    match (&value, &text) {
        (Some(MetricValue::Text(old)), Some(new)) if **old == **new => {}
        _ => *value = text.map(|text| MetricValue::Text(Arc::from(text))),
    }
}

/// Whether a structure is a host's identity.
pub(crate) fn is_identity(structure: usize) -> bool {
    STRUCTURES.get(structure).is_some_and(|structure| std::ptr::eq(structure.layout, &counter::HOST_DESCR))
}
