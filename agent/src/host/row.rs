//! A record of numbers: what is known in its fields, and what stands for the rest.

use decode::build::RecordOut;
use decode::layout::{Kind, Layout, Value};

/// What is known of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// A number; what a 32-bit field cannot hold wraps, as counters do.
    Number(u64),
    /// A number with a fraction.
    Float(f32),
    /// Nothing.
    Unknown,
}

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, Self::Number)
    }
}

impl From<Option<u32>> for Cell {
    fn from(number: Option<u32>) -> Self {
        number.map(u64::from).into()
    }
}

impl From<Option<f32>> for Cell {
    fn from(number: Option<f32>) -> Self {
        number.map_or(Self::Unknown, Self::Float)
    }
}

/// A record of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    layout: &'static Layout,
    values: Vec<Value<'static>>,
}

impl Row {
    /// Unknown fields at the end beyond the first `least` are left out; other unknown ones have all bits set, or are NaN
    /// (sFlow Host Structures, section 4). There is no record if nothing in it is known.
    pub(super) fn new(layout: &'static Layout, least: usize, cells: &[Cell]) -> Option<Self> {
        let last = cells.iter().rposition(|cell| *cell != Cell::Unknown)?;
        let length = (last + 1).max(least.min(cells.len()));
        let values =
            layout.fields.iter().zip(cells).take(length).map(|(field, cell)| value(field.kind, *cell));
        Some(Self { layout, values: values.collect() })
    }

    pub(super) fn record(&self) -> RecordOut<'_> {
        RecordOut::Fields(self.layout, &self.values)
    }
}

fn value(kind: Kind, cell: Cell) -> Value<'static> {
    match (kind, cell) {
        (Kind::U64, Cell::Number(number)) => Value::U64(number),
        (Kind::U64, _) => Value::U64(u64::MAX),
        (Kind::F32, Cell::Float(number)) => Value::F32(number),
        (Kind::F32, _) => Value::F32(f32::NAN),
        (_, Cell::Number(number)) => Value::U32(wrapped(number)),
        _ => Value::U32(u32::MAX),
    }
}

/// The low word: counters of 32 bits wrap.
pub(super) fn wrapped(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
