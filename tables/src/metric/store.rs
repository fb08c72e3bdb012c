//! The metrics of one data source: the last values, and what is needed to make rates of the next ones.
//!
//! Promise I5 lives here and in [`super::growth`]: a first sample gives no rate, a 32-bit counter may wrap but a
//! fall is a gap and never a spike, all ones mean unknown, and two samples of nearly the same moment make no rate.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use decode::layout::{Fields, Value};
use decode::{Records, counter};

use super::MetricValue;
use super::catalogue::{DERIVED, Derived, Kind, METRICS, Metric};
use super::growth::{CLOSEST_US, Intervals, Moment, UNKNOWN, gauge, growth, raw};
use super::label::{LABELS, Label};

/// No structure has more fields.
const MOST_FIELDS: usize = 48;

/// The longest text that is kept, bytes: the longest that a structure may have. What is beyond is cut off.
const MOST_TEXT: usize = 255;

/// What a sample says about the virtual machine or container that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It runs, or is none: a 32-bit counter that fell has wrapped.
    Running,
    /// It waits or is paused: nothing wraps while it does.
    Halted,
    /// It has ended: nothing wraps, and counters begin anew with its next sample.
    Ended,
}

impl State {
    /// By `virDomainState` of its processors, wherever they stand among the records.
    fn of(records: Records<'_>) -> Self {
        let cpu = records.iter().find(|record| record.tag == counter::VIRT_CPU.tag);
        match cpu.and_then(counter::fields).and_then(|fields| fields.get(0)?.as_u64()) {
            None | Some(1) => Self::Running,
            // shutdown, shutoff, crashed
            Some(4..=6) => Self::Ended,
            Some(_) => Self::Halted,
        }
    }
}

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

/// One structure's values.
#[derive(Debug)]
struct Block {
    structure: usize,
    /// The moment of the counters in `raw`.
    counted: Moment,
    updated_us: u64,
    /// The fields as numbers, [`UNKNOWN`] where one is none; empty before the first sample.
    raw: Vec<u64>,
    values: Vec<Option<MetricValue>>,
}

/// The metrics of one data source.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    blocks: Vec<Block>,
    updated_us: u64,
    intervals: Intervals,
}

/// A metric that a question names, resolved once.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Places in the catalogue: structure and metric.
    Counted(Vec<(usize, usize)>),
    /// Made of others.
    Derived(&'static Derived, Vec<Wanted>),
    /// Made of the name of a virtual machine or container.
    Label(&'static Label),
    /// No structure gives it: a custom metric, perhaps, or a flow.
    Named(Arc<str>),
}

/// The prefix of what a virtual machine or container shares with hosts.
const VIRTUAL: &str = "vir_";

/// Class of logical entities: virtual machines and containers.
pub(crate) const LOGICAL: u32 = 3;

/// Whether hosts, and virtual machines and containers, both send the structure, under names of their own.
fn is_shared(layout: &decode::layout::Layout) -> bool {
    std::ptr::eq(layout, &counter::HOST_DESCR) || std::ptr::eq(layout, &counter::NVIDIA_GPU)
}

/// Whether the structure at this place of the catalogue is such a one.
pub(crate) fn is_shared_at(structure: usize) -> bool {
    STRUCTURES.get(structure).is_some_and(|structure| is_shared(structure.layout))
}

/// Whether a name is that of a virtual machine or container for what hosts have too.
pub(crate) fn is_virtual(name: &str) -> bool {
    name.strip_prefix(VIRTUAL)
        .is_some_and(|rest| METRICS.iter().any(|metric| metric.name == rest && is_shared(metric.layout)))
}

impl Wanted {
    /// Finds a name in the catalogue.
    pub(crate) fn find(name: &str) -> Self {
        if let Some(derived) = DERIVED.iter().find(|derived| derived.name == name) {
            return Self::Derived(derived, derived.of.iter().map(|name| Self::find(name)).collect());
        }
        if let Some(label) = LABELS.iter().find(|label| label.name == name) {
            return Self::Label(label);
        }
        let plain = if is_virtual(name) { name.strip_prefix(VIRTUAL).unwrap_or(name) } else { name };
        let mut places = Vec::new();
        for (structure, entry) in STRUCTURES.iter().enumerate() {
            for (place, (metric, ..)) in entry.metrics.iter().enumerate() {
                if metric.name == plain {
                    places.push((structure, place));
                }
            }
        }
        if places.is_empty() { Self::Named(name.into()) } else { Self::Counted(places) }
    }
}

impl Metrics {
    /// Takes the counter records of one sample; how many of its texts were cut.
    pub(crate) fn take(&mut self, records: Records<'_>, moment: Moment) -> u64 {
        if self.updated_us > 0 {
            self.intervals.take(moment.now_us.saturating_sub(self.updated_us));
        }
        self.updated_us = moment.now_us.max(1);
        let state = State::of(records);
        let mut cut = 0;
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
            cut += block.map_or(0, |block| block.take(&fields, moment, state));
        }
        cut
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
            Wanted::Named(_) => None,
            Wanted::Label(label) => self.label(label),
            Wanted::Counted(places) => places.iter().find_map(|&(structure, place)| {
                let block = self.blocks.iter().find(|block| block.structure == structure)?;
                Some((block.values.get(place)?.clone()?, block.arrived_us(place)))
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

    fn block(&self, layout: &'static decode::layout::Layout) -> Option<&Block> {
        self.blocks.iter().find(|block| {
            STRUCTURES.get(block.structure).is_some_and(|structure| std::ptr::eq(structure.layout, layout))
        })
    }

    /// A label of the virtual machine or container that this is, and when its name arrived.
    fn label(&self, label: &Label) -> Option<(MetricValue, u64)> {
        let identity = self.block(&counter::HOST_DESCR)?;
        // The name is the first metric of the structure.
        let Some(MetricValue::Text(name)) = identity.values.first()? else { return None };
        let is_jvm = self.block(&counter::JVM).is_some() || self.block(&counter::JMX).is_some();
        (label.make)(name, is_jvm).map(|text| (MetricValue::Text(text.into()), identity.updated_us))
    }

    /// Every metric that has a value: its name as this class of data source has it, the value, and when it arrived.
    pub(crate) fn all(&self, class: u32) -> Vec<(String, MetricValue, u64)> {
        let mut all = Vec::new();
        for block in &self.blocks {
            let Some(structure) = STRUCTURES.get(block.structure) else { continue };
            let prefix = if class == LOGICAL && is_shared(structure.layout) { VIRTUAL } else { "" };
            for (place, ((metric, ..), value)) in structure.metrics.iter().zip(&block.values).enumerate() {
                if let Some(value) = value {
                    all.push((format!("{prefix}{}", metric.name), value.clone(), block.arrived_us(place)));
                }
            }
        }
        for derived in DERIVED {
            if let Some((value, updated)) = self.get(&Wanted::find(derived.name)) {
                all.push((derived.name.to_owned(), value, updated));
            }
        }
        for label in LABELS.iter().filter(|_| class == LOGICAL) {
            if let Some((value, updated)) = self.label(label) {
                all.push((label.name.to_owned(), value, updated));
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

    /// When the value at this place arrived: rates wait for a sample that is not too close to the last one.
    fn arrived_us(&self, place: usize) -> u64 {
        let metric = STRUCTURES.get(self.structure).and_then(|structure| structure.metrics.get(place));
        let counted = metric.is_some_and(|(metric, ..)| metric.kind.is_counted());
        if counted { self.counted.now_us } else { self.updated_us }
    }

    /// Takes a record; how many of its texts were cut.
    fn take(&mut self, fields: &Fields<'_>, moment: Moment, state: State) -> u64 {
        let Some(structure) = STRUCTURES.get(self.structure) else { return 0 };
        let mut found: [Option<Value<'_>>; MOST_FIELDS] = [None; MOST_FIELDS];
        for (place, (_, value)) in found.iter_mut().zip(fields.iter()) {
            *place = Some(value);
        }
        let field = |at: usize| found.get(at).copied().flatten();
        let elapsed = if self.raw.is_empty() { None } else { moment.since(self.counted) };
        // Too close to the last one: gauges are taken, counters wait for the next sample.
        let too_close = elapsed.is_some_and(|elapsed| elapsed < CLOSEST_US);
        let seconds = elapsed.map(|elapsed| elapsed as f64 / 1e6);
        let grown = |at: usize| {
            let (before, now) = (self.raw.get(at).copied()?, field(at)?);
            let per = seconds?;
            growth(before, now, state == State::Running).map(|grown| (grown, grown / per))
        };
        let cpu_total: f64 = structure
            .metrics
            .iter()
            .filter(|(metric, ..)| metric.kind == Kind::CpuTime && !metric.name.starts_with("cpu_guest"))
            .filter_map(|&(_, at, _)| grown(at))
            .map(|(grown, _)| grown)
            .sum();
        let mut cut = 0;
        for (&(metric, at, share), value) in structure.metrics.iter().zip(&mut self.values) {
            if metric.kind.is_counted() && too_close {
                continue;
            }
            let now = field(at);
            let number = match metric.kind {
                Kind::Rate => grown(at).map(|(_, rate)| rate),
                Kind::Busy => grown(at).map(|(_, rate)| rate / 10.0),
                Kind::CpuTime => {
                    grown(at).filter(|_| cpu_total > 0.0).map(|(grown, _)| 100.0 * grown / cpu_total)
                }
                Kind::Gauge => now.and_then(gauge),
                Kind::Positive => now.and_then(gauge).filter(|number| *number > 0.0),
                Kind::Hundredths => now.and_then(gauge).map(|number| number / 100.0),
                Kind::Lane(lane, word) => now.and_then(|now| of_lane(now, lane, word)),
                Kind::Share(_) => {
                    let whole = share.and_then(field).and_then(gauge).filter(|whole| *whole > 0.0);
                    now.and_then(gauge).zip(whole).map(|(part, whole)| 100.0 * part / whole)
                }
                Kind::Text | Kind::Hex | Kind::Name(_) => {
                    cut += u64::from(set_text(value, metric.kind, now));
                    continue;
                }
            };
            *value = number.map(MetricValue::Number);
        }
        self.updated_us = moment.now_us;
        if !too_close {
            self.counted = moment;
            self.raw.clear();
            self.raw.extend((0..structure.layout.fields.len()).map(|at| field(at).map_or(UNKNOWN, raw)));
        }
        if state == State::Ended {
            self.raw.clear();
        }
        cut
    }
}

/// A word of the optical lane with this index.
fn of_lane(value: Value<'_>, lane: u32, word: usize) -> Option<f64> {
    let Value::Lanes(lanes) = value else { return None };
    let mut found = lanes.iter().find(|words| words.iter().next() == Some(lane))?.iter();
    found.nth(word).filter(|number| *number != u32::MAX).map(f64::from)
}

/// Makes the text of a field the value; whether it was cut. A text that did not change stays the same allocation.
fn set_text(value: &mut Option<MetricValue>, kind: Kind, now: Option<Value<'_>>) -> bool {
    let mut set = |text: &str| match &value {
        Some(MetricValue::Text(old)) if **old == *text => {}
        _ => *value = Some(MetricValue::Text(text.into())),
    };
    match (kind, now) {
        (Kind::Name(names), Some(now))
            if now.as_u64().is_some_and(|number| number != u64::from(u32::MAX)) =>
        {
            set(&names.of(now.as_u64().unwrap_or_default()));
        }
        (Kind::Hex, Some(Value::U64(number))) => set(&format!("{number:016X}")),
        (Kind::Text, Some(Value::Text(bytes))) if !bytes.is_empty() => {
            let (text, cut) = bounded(bytes, MOST_TEXT);
            set(&text);
            return cut;
        }
        (Kind::Text, Some(Value::Mac(mac))) => set(&mac.to_string()),
        (Kind::Text, Some(Value::Uuid(uuid))) => set(&uuid_text(&uuid)),
        _ => *value = None,
    }
    false
}

/// The first `most` bytes as text, and whether there are more.
pub(super) fn bounded(bytes: &[u8], most: usize) -> (std::borrow::Cow<'_, str>, bool) {
    (String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)), bytes.len() > most)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in uuid.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}
