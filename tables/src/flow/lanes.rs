//! What the entries of a flow table have beside their value: the state of measures that are no plain rate, and of the
//! flow log. Each entry has the same number of lanes, one number each.

use super::measure::{Distinct, Mode};
use super::plan::FlowPlan;
use crate::mem::{self, Array};

/// Where the state of a measure begins, and how many become one.
#[derive(Clone, Copy, Debug)]
struct Column {
    mode: Mode,
    lane: usize,
    /// Lane of its total since the flow's record began.
    total: Option<usize>,
}

/// The lanes of a table.
#[derive(Debug)]
pub(crate) struct Lanes {
    columns: Vec<Column>,
    stride: usize,
    /// Where the log's times begin: first packet, last packet.
    log: Option<usize>,
    /// Lanes that decay as values do.
    decaying: Vec<usize>,
    data: Array<f64>,
    /// Length of the windows of least, largest and distinct values, microseconds.
    window_us: u64,
    distinct: Vec<Distinct>,
    free: Vec<usize>,
}

/// Windows count from 2: the lanes of a new entry are those of no window, and not of the one before the first.
const FIRST_WINDOW: f64 = 2.0;

/// What a set of different values costs, bytes.
const DISTINCT_BYTES: usize = 1024;

impl Lanes {
    pub(crate) fn new(plan: &FlowPlan) -> Self {
        let mut stride = 0;
        let mut decaying = Vec::new();
        let mut columns = Vec::new();
        for (place, measure) in plan.measures.iter().enumerate() {
            let lane = stride;
            // The first rate, and the sum of the first mean, are the table's values.
            let (lanes, decay) = match (measure.mode, place) {
                (Mode::Rate, 0) => (0, 0),
                (Mode::Rate, _) | (Mode::Avg, 0) => (1, 1),
                (Mode::Avg, _) => (2, 2),
                (Mode::Min | Mode::Max, _) => (3, 0),
                (Mode::Count, _) => (1, 0),
            };
            decaying.extend(lane..lane + decay);
            stride += lanes;
            columns.push(Column { mode: measure.mode, lane, total: None });
        }
        let mut log = None;
        if plan.spec.log {
            log = Some(stride);
            stride += 2;
            for column in columns.iter_mut().filter(|column| column.mode == Mode::Rate) {
                column.total = Some(stride);
                stride += 1;
            }
        }
        Self {
            columns,
            stride,
            log,
            decaying,
            data: Array::new(),
            window_us: (plan.spec.t.max(1.0) * 1e6) as u64,
            distinct: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Lanes of an entry.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// What sets of different values take, bytes.
    pub(crate) fn distinct_bytes(&self) -> usize {
        (self.distinct.len() - self.free.len()) * DISTINCT_BYTES
    }

    #[inline]
    pub(crate) fn prefetch(&self, at: usize) {
        if self.stride > 0 {
            mem::prefetch(&self.data, at * self.stride);
        }
    }

    /// What the first measure adds to the table's value: the volume of a rate or a mean, else the frames, so that the
    /// largest flows are those that stay.
    #[inline]
    pub(crate) fn weight(&self, frames: f64, measures: &[u64]) -> f64 {
        match (self.columns.first().map(|column| column.mode), measures.first()) {
            (Some(Mode::Rate | Mode::Avg), Some(bits)) => frames * f64::from_bits(*bits),
            _ => frames,
        }
    }

    /// Makes lanes for one more entry.
    pub(crate) fn push(&mut self, most: usize) {
        if self.stride == 0 {
            return;
        }
        self.data.grow(self.stride, most * self.stride);
        let begins = self.data.len();
        self.data.extend_with(0.0, self.stride);
        for place in 0..self.columns.len() {
            let Some(column) = self.columns.get(place).copied() else { continue };
            if column.mode == Mode::Count {
                let set = self.free.pop().unwrap_or_else(|| {
                    self.distinct.push(Distinct::default());
                    self.distinct.len() - 1
                });
                self.set(begins + column.lane, set as f64);
            }
        }
    }

    pub(crate) fn swap_remove(&mut self, at: usize) {
        if self.stride == 0 {
            return;
        }
        for column in self.columns.iter().filter(|column| column.mode == Mode::Count) {
            let set = self.data.get(at * self.stride + column.lane).map_or(0, |set| *set as usize);
            if let Some(distinct) = self.distinct.get_mut(set) {
                *distinct = Distinct::default();
                self.free.push(set);
            }
        }
        let last = self.data.len() - self.stride;
        self.data.copy_within(last.., at * self.stride);
        self.data.truncate(last);
    }

    fn get(&self, lane: usize) -> f64 {
        self.data.get(lane).copied().unwrap_or(0.0)
    }

    fn set(&mut self, lane: usize, value: f64) {
        if let Some(place) = self.data.get_mut(lane) {
            *place = value;
        }
    }

    fn more(&mut self, lane: usize, value: f64) {
        if let Some(place) = self.data.get_mut(lane) {
            *place += value;
        }
    }

    /// Takes a packet: whether a record began with it.
    pub(crate) fn add(&mut self, at: usize, frames: f64, gain: f64, measures: &[u64], now_us: u64) -> bool {
        let begins = at * self.stride;
        let window = now_us / self.window_us;
        for place in 0..self.columns.len() {
            let (Some(column), Some(bits)) = (self.columns.get(place).copied(), measures.get(place)) else {
                continue;
            };
            let (lane, number) = (begins + column.lane, f64::from_bits(*bits));
            match (column.mode, place) {
                (Mode::Rate, 0) => {}
                (Mode::Rate, _) => self.more(lane, frames * number * gain),
                (Mode::Avg, 0) => self.more(lane, frames * gain),
                (Mode::Avg, _) => {
                    self.more(lane, frames * number * gain);
                    self.more(lane + 1, frames * gain);
                }
                (Mode::Min, _) => self.extreme(lane, number, window, f64::min),
                (Mode::Max, _) => self.extreme(lane, number, window, f64::max),
                (Mode::Count, _) => {
                    let set = self.get(lane) as usize;
                    if let Some(distinct) = self.distinct.get_mut(set) {
                        distinct.add(*bits, window);
                    }
                }
            }
            if let Some(total) = column.total {
                self.more(begins + total, frames * number);
            }
        }
        let Some(log) = self.log else { return false };
        self.set(begins + log + 1, now_us as f64);
        let opens = self.get(begins + log) == 0.0;
        if opens {
            self.set(begins + log, now_us.max(1) as f64);
        }
        opens
    }

    /// Lanes of a least or largest value: that of this window, that of the one before, and which window this is.
    fn extreme(&mut self, lane: usize, number: f64, window: u64, pick: fn(f64, f64) -> f64) {
        let window = window as f64 + FIRST_WINDOW;
        let of = self.get(lane + 2);
        if of == window {
            self.set(lane, pick(self.get(lane), number));
            return;
        }
        self.set(lane + 1, if of + 1.0 == window { self.get(lane) } else { f64::NAN });
        self.set(lane, number);
        self.set(lane + 2, window);
    }

    /// The value of a measure; `value` is the table's value of the entry.
    pub(crate) fn reading(&self, at: usize, measure: usize, value: f64, decay: f64, now_us: u64) -> f64 {
        let Some(column) = self.columns.get(measure) else { return 0.0 };
        let lane = at * self.stride + column.lane;
        let window = now_us / self.window_us;
        let mean = |sum: f64, weight: f64| if weight > 0.0 { sum / weight } else { 0.0 };
        match (column.mode, measure) {
            (Mode::Rate, 0) => value,
            (Mode::Rate, _) => self.get(lane) * decay,
            (Mode::Avg, 0) => mean(value, self.get(lane) * decay),
            (Mode::Avg, _) => mean(self.get(lane), self.get(lane + 1)),
            (mode @ (Mode::Min | Mode::Max), _) => {
                let (now, before, of) = (self.get(lane), self.get(lane + 1), self.get(lane + 2));
                // `min` and `max` pass over what is not a number.
                match window as f64 + FIRST_WINDOW - of {
                    0.0 if mode == Mode::Min => now.min(before),
                    0.0 => now.max(before),
                    1.0 => now,
                    _ => 0.0,
                }
            }
            (Mode::Count, _) => {
                self.distinct.get(self.get(lane) as usize).map_or(0.0, |distinct| distinct.count(window))
            }
        }
    }

    pub(crate) fn rescale(&mut self, decay: f64) {
        if self.decaying.is_empty() {
            return;
        }
        for entry in self.data.chunks_exact_mut(self.stride) {
            for lane in &self.decaying {
                if let Some(value) = entry.get_mut(*lane) {
                    *value *= decay;
                }
            }
        }
    }

    /// Whether the entry's flow is being recorded.
    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.log.is_some_and(|log| self.get(at * self.stride + log) > 0.0)
    }

    /// Whether the time of the record is over.
    pub(crate) fn is_over(&self, at: usize, now_us: u64, timeout_us: u64) -> bool {
        self.log.is_some_and(|log| {
            let began = self.get(at * self.stride + log);
            began > 0.0 && now_us.saturating_sub(began as u64) >= timeout_us
        })
    }

    /// Ends the record: the next packet begins another.
    pub(crate) fn close(&mut self, at: usize) {
        let Some(log) = self.log else { return };
        let begins = at * self.stride;
        self.set(begins + log, 0.0);
        for place in 0..self.columns.len() {
            if let Some(total) = self.columns.get(place).and_then(|column| column.total) {
                self.set(begins + total, 0.0);
            }
        }
    }

    /// When the first and the last packet of the record came.
    pub(crate) fn times(&self, at: usize) -> (u64, u64) {
        let begins = at * self.stride;
        self.log.map_or((0, 0), |log| (self.get(begins + log) as u64, self.get(begins + log + 1) as u64))
    }

    /// The total of a measure since the record began; `None` for what is no rate.
    pub(crate) fn total(&self, at: usize, measure: usize) -> Option<f64> {
        let total = self.columns.get(measure)?.total?;
        Some(self.get(at * self.stride + total))
    }
}
