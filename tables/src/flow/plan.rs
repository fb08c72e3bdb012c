//! A flow definition compiled: which keys are read, which packets count, what is measured.

pub use super::expression::Lookups;
use super::expression::{self, Expression, Filter};
use super::keys::{self, Sampled};
use super::spec::{FlowSpec, SpecError, wrong};
use crate::question::Owner;

/// What is measured of each packet.
#[derive(Clone, Debug)]
enum Measure {
    /// Bytes of the frame.
    Bytes,
    /// Bits of the frame.
    Bits,
    /// The frame itself.
    Frames,
    /// A key that is a number.
    Key(Expression),
}

/// A compiled definition.
#[derive(Clone, Debug)]
pub struct FlowPlan {
    /// As it was defined.
    pub spec: FlowSpec,
    keys: Vec<Expression>,
    filter: Option<Filter>,
    measure: Measure,
}

impl FlowPlan {
    /// Compiles a definition.
    ///
    /// # Errors
    /// A key, function, filter or value cannot be understood; the message names it.
    pub fn compile(spec: FlowSpec, lookups: &Lookups) -> Result<Self, SpecError> {
        let measure = match spec.value.trim() {
            "bytes" => Measure::Bytes,
            "bps" => Measure::Bits,
            "frames" | "fps" => Measure::Frames,
            name if name.contains(':') => {
                return Err(wrong("value", format!("{name:?} is not supported yet")));
            }
            name => match keys::find(name) {
                Some((key, layer)) => Measure::Key(Expression::Key(key, layer)),
                None => return Err(wrong("value", format!("{name:?} is no key"))),
            },
        };
        Ok(Self {
            keys: expression::list(&spec.keys, lookups)?,
            filter: spec.filter.as_deref().map(|filter| Filter::compile(filter, lookups)).transpose()?,
            measure,
            spec,
        })
    }

    /// Whether it looks something up in group sets or maps.
    pub(crate) fn looks_up(&self) -> bool {
        let texts = [Some(self.spec.keys.as_str()), self.spec.filter.as_deref()];
        texts.iter().flatten().any(|text| text.contains("group:") || text.contains("map:"))
    }

    /// Packs the keys of a packet into `key`, and gives what it counts for. `None` when the filter leaves it out, or
    /// a key or the value is null: then it contributes nothing.
    pub fn evaluate(&self, sampled: &Sampled<'_>, key: &mut Vec<u8>) -> Option<f64> {
        if self.filter.as_ref().is_some_and(|filter| !filter.holds(sampled)) {
            return None;
        }
        key.clear();
        for expression in &self.keys {
            expression.evaluate(sampled)?.pack(key);
        }
        match &self.measure {
            Measure::Bytes => Some(f64::from(sampled.frame_length)),
            Measure::Bits => Some(f64::from(sampled.frame_length) * 8.0),
            Measure::Frames => Some(1.0),
            Measure::Key(expression) => expression.evaluate(sampled)?.number(),
        }
    }
}

/// One flow of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveFlow {
    /// Who reports the value.
    pub owner: Owner,
    /// The keys as text.
    pub key: String,
    /// The value, per second.
    pub value: f64,
    /// The definition's further values.
    pub values: Vec<f64>,
}
