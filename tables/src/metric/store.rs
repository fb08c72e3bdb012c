//! The metrics of one data source: what its last samples said. Values are made of that when somebody asks; most are
//! never asked for, and samples come all the time.
//!
//! Promise I5 lives here and in [`super::growth`]: a first sample gives no rate, a 32-bit counter may wrap but a
//! fall is a gap and never a spike, all ones mean unknown, and two samples of nearly the same moment make no rate.

use std::sync::{Arc, LazyLock};

use decode::layout::{self, Fields, Value};
use decode::{Record, Records, counter};

use super::MetricValue;
use super::catalogue::{DERIVED, Derived, Kind, METRICS, Metric};
use super::growth::{CLOSEST_US, Intervals, Moment, gauge, growth, raw};
use super::kept::Kept;
use super::label::{LABELS, Label};

/// The longest text that is kept, bytes: the longest that a structure may have. What is beyond is cut off.
const MOST_TEXT: usize = 255;

/// What a sample says about the virtual machine or container that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or is none: a 32-bit counter that fell has wrapped.
    Running,
    /// It waits or is paused: nothing wraps while it does.
    Halted,
    /// It has ended: nothing wraps, and counters begin anew with its next sample.
    Ended,
}

impl State {
    /// By `virDomainState` in the sample's record of processors, where it has one.
    pub(crate) fn of(processors: Option<Record<'_>>) -> Self {
        match processors.and_then(counter::fields).and_then(|fields| fields.get(0)?.as_u64()) {
            None | Some(1) => Self::Running,
            // shutdown, shutoff, crashed
            Some(4..=6) => Self::Ended,
            Some(_) => Self::Halted,
        }
    }
}

/// A structure of the catalogue.
pub(crate) struct Structure {
    layout: &'static layout::Layout,
    metrics: Vec<Entry>,
    /// How many of them are made when they come.
    ready: usize,
}

/// A metric, with the places of what it is made of.
struct Entry {
    metric: &'static Metric,
    /// Its field.
    at: usize,
    /// The field that it is a share of.
    share: Option<usize>,
    /// For what is not kept until somebody asks: its place among the values that are made when they come.
    ready: Option<usize>,
}

/// The catalogue by structure.
pub(crate) static STRUCTURES: LazyLock<Vec<Structure>> = LazyLock::new(|| {
    let mut structures: Vec<Structure> = Vec::new();
    for metric in METRICS {
        let at = metric.layout.position(metric.field);
        let share = if let Kind::Share(of) = metric.kind { metric.layout.position(of) } else { None };
        let Some(at) = at else { continue };
        if structures.last().is_none_or(|last| !std::ptr::eq(last.layout, metric.layout)) {
            structures.push(Structure { layout: metric.layout, metrics: Vec::new(), ready: 0 });
        }
        let Some(last) = structures.last_mut() else { continue };
        let comes_ready = metric.layout.size.is_none() && matches!(metric.kind, Kind::Text | Kind::Lane(..));
        let ready = comes_ready.then_some(last.ready);
        last.ready += usize::from(ready.is_some());
        last.metrics.push(Entry { metric, at, share, ready });
    }
    structures
});

/// What samples said of one structure.
#[derive(Debug)]
struct Block {
    layout: &'static layout::Layout,
    structure: usize,
    updated_us: u64,
    /// The last sample that was not too close to the one before.
    counted: Kept,
    /// When that was; `None` before the first sample.
    counted_at: Option<Moment>,
    /// The one before that.
    before: Kept,
    /// The last sample of all, while it is one that was too close to the one before.
    close: Kept,
    is_close: bool,
    /// Seconds between these two; `None` where their counters cannot be compared.
    seconds: Option<f64>,
    /// Whether a 32-bit counter may have come round between them.
    wraps: bool,
    /// The counters of the next sample begin anew.
    ended: bool,
    /// Values that are made when they come: texts, and what has no fixed place among other fields.
    ready: Vec<Option<MetricValue>>,
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
fn is_shared(layout: &layout::Layout) -> bool {
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
            for (place, Entry { metric, .. }) in entry.metrics.iter().enumerate() {
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
    pub(crate) fn take(&mut self, records: Records<'_>, moment: Moment, state: State) -> u64 {
        if self.updated_us > 0 {
            self.intervals.take(moment.now_us.saturating_sub(self.updated_us));
        }
        self.updated_us = moment.now_us.max(1);
        let mut cut = 0;
        for record in records.iter() {
            let Some(fields) = counter::fields(record) else { continue };
            let block = match self.blocks.iter().position(|block| std::ptr::eq(block.layout, fields.layout)) {
                Some(at) => self.blocks.get_mut(at),
                None => {
                    self.blocks.extend(Block::new(fields.layout, moment));
                    self.blocks.last_mut().filter(|block| std::ptr::eq(block.layout, fields.layout))
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

    /// The mean of the last intervals between samples, microseconds; `None` before the second one.
    pub(crate) fn interval_us(&self) -> Option<u64> {
        self.intervals.mean_us()
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
                Some((block.value(place)?, block.arrived_us(place)))
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

    fn block(&self, layout: &'static layout::Layout) -> Option<&Block> {
        self.blocks.iter().find(|block| std::ptr::eq(block.layout, layout))
    }

    /// A label of the virtual machine or container that this is, and when its name arrived.
    fn label(&self, label: &Label) -> Option<(MetricValue, u64)> {
        let identity = self.block(&counter::HOST_DESCR)?;
        // The name is the first metric of the structure.
        let Some(MetricValue::Text(name)) = identity.value(0) else { return None };
        let is_jvm = self.block(&counter::JVM).is_some() || self.block(&counter::JMX).is_some();
        (label.make)(&name, is_jvm).map(|text| (MetricValue::Text(text.into()), identity.updated_us))
    }

    /// Every metric that has a value: its name as this class of data source has it, the value, and when it arrived.
    pub(crate) fn all(&self, class: u32) -> Vec<(String, MetricValue, u64)> {
        let mut all = Vec::new();
        for block in &self.blocks {
            let Some(structure) = STRUCTURES.get(block.structure) else { continue };
            let prefix = if class == LOGICAL && is_shared(structure.layout) { VIRTUAL } else { "" };
            for (place, Entry { metric, .. }) in structure.metrics.iter().enumerate() {
                if let Some(value) = block.value(place) {
                    all.push((format!("{prefix}{}", metric.name), value, block.arrived_us(place)));
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
    /// Nothing yet of a structure; `None` for one that has no metrics.
    fn new(layout: &'static layout::Layout, moment: Moment) -> Option<Self> {
        let structure = STRUCTURES.iter().position(|structure| std::ptr::eq(structure.layout, layout))?;
        Some(Self {
            layout,
            structure,
            updated_us: moment.now_us,
            counted: Kept::default(),
            counted_at: None,
            before: Kept::default(),
            close: Kept::default(),
            is_close: false,
            seconds: None,
            wraps: false,
            ended: false,
            ready: vec![None; STRUCTURES.get(structure)?.ready],
        })
    }

    fn entry(&self, place: usize) -> Option<&'static Entry> {
        STRUCTURES.get(self.structure)?.metrics.get(place)
    }

    /// When the value at this place arrived: rates wait for a sample that is not too close to the last one.
    fn arrived_us(&self, place: usize) -> u64 {
        let counted = self.entry(place).is_some_and(|entry| entry.metric.kind.is_counted());
        let counted_at = self.counted_at.filter(|_| counted);
        counted_at.map_or(self.updated_us, |moment| moment.now_us)
    }

    /// Takes a record; how many of its texts were cut.
    fn take(&mut self, fields: &Fields<'_>, moment: Moment, state: State) -> u64 {
        self.updated_us = moment.now_us;
        let comparable = self.counted_at.filter(|_| !self.ended);
        let elapsed = comparable.and_then(|counted_at| moment.since(counted_at));
        // Too close to the last one: gauges are taken, counters wait for the next sample.
        self.is_close = elapsed.is_some_and(|elapsed| elapsed < CLOSEST_US);
        if self.is_close {
            self.close.keep(fields);
        } else {
            std::mem::swap(&mut self.before, &mut self.counted);
            self.counted.keep(fields);
            self.counted_at = Some(moment);
            self.seconds = elapsed.map(|elapsed| elapsed as f64 / 1e6);
            self.wraps = state == State::Running;
        }
        self.ended = state == State::Ended;
        if self.ready.is_empty() { 0 } else { self.make_ready(fields) }
    }

    /// Makes the values that are not kept otherwise; how many texts were cut.
    fn make_ready(&mut self, fields: &Fields<'_>) -> u64 {
        let Some(structure) = STRUCTURES.get(self.structure) else { return 0 };
        let mut cut = 0;
        for Entry { metric, at, ready, .. } in &structure.metrics {
            let Some(value) = ready.and_then(|place| self.ready.get_mut(place)) else { continue };
            let now = fields.get(*at);
            if let Kind::Lane(lane, word) = metric.kind {
                *value = now.and_then(|now| of_lane(now, lane, word)).map(MetricValue::Number);
            } else {
                cut += u64::from(set_text(value, now));
            }
        }
        cut
    }

    /// The metric at this place, as far as samples told it.
    fn value(&self, place: usize) -> Option<MetricValue> {
        let entry = self.entry(place)?;
        if let Some(ready) = entry.ready {
            return self.ready.get(ready)?.clone();
        }
        let last = if self.is_close { &self.close } else { &self.counted };
        let latest = || last.get(self.layout, entry.at);
        let number = match entry.metric.kind {
            Kind::Text | Kind::Hex => {
                let sent = last.sent(self.layout, entry.at)?;
                return text(sent).map(|text| MetricValue::Text(text.into()));
            }
            // Lanes come ready.
            Kind::Lane(..) => return None,
            Kind::Name(names) => {
                let number = latest()?.as_u64().filter(|number| *number != u64::from(u32::MAX))?;
                return Some(MetricValue::Text(names.of(number).as_ref().into()));
            }
            Kind::Rate => self.grown(entry.at)? / self.seconds?,
            Kind::Busy => self.grown(entry.at)? / self.seconds? / 10.0,
            Kind::CpuTime => {
                let grown = self.grown(entry.at)?;
                100.0 * grown / self.cpu_total().filter(|total| *total > 0.0)?
            }
            Kind::Gauge => gauge(latest()?)?,
            Kind::Positive => gauge(latest()?).filter(|number| *number > 0.0)?,
            Kind::Hundredths => gauge(latest()?)? / 100.0,
            Kind::Share(_) => {
                let whole = gauge(last.get(self.layout, entry.share?)?).filter(|whole| *whole > 0.0)?;
                100.0 * gauge(latest()?)? / whole
            }
        };
        Some(MetricValue::Number(number))
    }

    /// How much a counter has grown between the last two samples that can be compared.
    fn grown(&self, at: usize) -> Option<f64> {
        self.seconds?;
        growth(raw(self.before.get(self.layout, at)?), self.counted.get(self.layout, at)?, self.wraps)
    }

    /// How much all states of the processors have grown. The time of guests is in that of their users too.
    fn cpu_total(&self) -> Option<f64> {
        let states = STRUCTURES.get(self.structure)?.metrics.iter().filter(|entry| {
            entry.metric.kind == Kind::CpuTime && !entry.metric.name.starts_with("cpu_guest")
        });
        Some(states.filter_map(|entry| self.grown(entry.at)).sum())
    }
}

/// A word of the optical lane with this index.
fn of_lane(value: Value<'_>, lane: u32, word: usize) -> Option<f64> {
    let Value::Lanes(lanes) = value else { return None };
    let mut found = lanes.iter().find(|words| words.iter().next() == Some(lane))?.iter();
    found.nth(word).filter(|number| *number != u32::MAX).map(f64::from)
}

/// Makes the text of a field the value; whether it was cut. A text that did not change stays the same allocation.
fn set_text(value: &mut Option<MetricValue>, now: Option<Value<'_>>) -> bool {
    let mut set = |text: &str| match &value {
        Some(MetricValue::Text(old)) if **old == *text => {}
        _ => *value = Some(MetricValue::Text(text.into())),
    };
    match now {
        Some(Value::Text(bytes)) if !bytes.is_empty() => {
            let (text, cut) = bounded(bytes, MOST_TEXT);
            set(&text);
            return cut;
        }
        Some(Value::Uuid(uuid)) => set(&uuid_text(&uuid)),
        _ => *value = None,
    }
    false
}

/// The usual text of what is no text: a number in hexadecimal, a MAC address, a UUID.
fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::U64(number) => Some(format!("{number:016X}")),
        Value::Mac(mac) => Some(mac.to_string()),
        Value::Uuid(uuid) => Some(uuid_text(&uuid)),
        _ => None,
    }
}

/// The first `most` bytes as text, and whether there are more.
pub(super) fn bounded(bytes: &[u8], most: usize) -> (std::borrow::Cow<'_, str>, bool) {
    (String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)), bytes.len() > most)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    // The text is compared with each sample's: digits are put one by one, because formatting takes ten times as long.
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or_default();
    for (place, byte) in uuid.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}
