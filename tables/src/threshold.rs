//! Thresholds: metrics that must not rise above a value, as clients define them.

use serde_json::{Map, Value as Json, json};

use crate::flow::spec::{flag, number};
use crate::select::{Aggregation, Filter, MetricRef};
use crate::spec_error::{SpecError, wrong};

/// A threshold.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// The metric, or flow, that is watched on every data source.
    pub metric: MetricRef,
    /// What it must not rise above.
    pub value: f64,
    /// Data sources that are watched: those whose metrics, or whose host's, match.
    pub filter: Filter,
    /// Whether every flow above the value is an event, and not only the first one of a data source.
    pub by_flow: bool,
    /// How long the metric must have been at or below the value before it may be an event again, microseconds.
    pub timeout_us: u64,
    json: Json,
}

/// Attributes of a threshold's definition.
pub const ATTRIBUTES: [&str; 5] = ["metric", "value", "filter", "byFlow", "timeout"];

/// Seconds below the value before the next event, where the definition says nothing.
const TIMEOUT_S: f64 = 2.0;

impl PartialEq for Threshold {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Threshold {
    /// Reads `{"metric": ..., "value": ..., "filter": {attribute: [patterns]}, "byFlow": ..., "timeout": seconds}`.
    ///
    /// # Errors
    /// It is no object, `metric` or `value` is missing, or an attribute is wrong or not known; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object =
            json.as_object().ok_or_else(|| wrong("threshold", "must be an object with metric and value"))?;
        if let Some(name) = object.keys().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
            return Err(wrong(name, "is no attribute of a threshold"));
        }
        let text = object.get("metric").ok_or(SpecError::Missing("metric"))?;
        let text = text.as_str().ok_or_else(|| wrong("metric", "must be a text"))?;
        let metric: MetricRef = text.parse().map_err(|error| wrong("metric", format!("{error}")))?;
        if metric.aggregation != Aggregation::Max {
            return Err(wrong("metric", "is watched on each data source: no aggregation"));
        }
        let value = number(object, "value")?.ok_or(SpecError::Missing("value"))?;
        let timeout = number(object, "timeout")?.unwrap_or(TIMEOUT_S).clamp(0.0, 86_400.0);
        let by_flow = flag(object, "byFlow")?;
        let conditions = match object.get("filter") {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(conditions)) => conditions.clone(),
            Some(_) => return Err(wrong("filter", "must be an object of lists of patterns")),
        };
        let filter = Filter::from_json(&conditions)?;
        let mut json = json!({
            "metric": text, "value": value, "byFlow": by_flow, "timeout": timeout,
        });
        if let (false, Some(object)) = (conditions.is_empty(), json.as_object_mut()) {
            object.insert("filter".to_owned(), conditions.into());
        }
        Ok(Self { metric, value, filter, by_flow, timeout_us: (timeout * 1e6) as u64, json })
    }

    /// The definition with its defaults.
    pub fn to_json(&self) -> &Json {
        &self.json
    }
}
