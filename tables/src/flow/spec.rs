//! A flow definition as clients write it. Numbers and booleans may be given as texts.

use serde_json::{Map, Value as Json, json};

use crate::spec_error::{SpecError, wrong};
use crate::topology::role::Role;

/// Whose tables there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// One for each data source.
    #[default]
    DataSource,
    /// One for each agent.
    Agent,
    /// One for each data source that is a port of this role, see [`crate::topology`]; samples of others do not count.
    Port(Role),
}

/// A flow definition.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSpec {
    /// Key expressions separated by commas; empty for one total.
    pub keys: String,
    /// What is measured.
    pub value: String,
    /// What else is measured, separated by commas.
    pub values: Option<String>,
    /// Which packets count.
    pub filter: Option<String>,
    /// How many of the largest flows a data source's metric names: 5 to 20.
    pub n: u32,
    /// Smoothing time, seconds: 0.2 to 600.
    pub t: f64,
    /// What separates keys in text.
    pub fs: String,
    /// Whether flows are recorded.
    pub log: bool,
    /// Whether a record is made at the first packet of a flow, and not when it is flushed.
    pub flow_start: bool,
    /// Seconds after its first packet that a flow is flushed: 1 to 86,400.
    pub active_timeout: f64,
    /// Whether dropped packets are meant, and not sampled ones.
    pub dropped: bool,
    /// Whose tables there are.
    pub per: Per,
    /// Whether functions whose data the operator has not given find nothing, instead of being refused. No JSON says so:
    /// it is for scripts, which were written where such data is.
    pub without_data: bool,
}

/// Bytes of `fs` at most: it is in every key of every answer.
const LONGEST_SEPARATOR: usize = 64;

/// Attributes of a flow's definition.
pub const ATTRIBUTES: [&str; 12] = [
    "keys",
    "value",
    "values",
    "filter",
    "n",
    "t",
    "fs",
    "log",
    "flowStart",
    "activeTimeout",
    "dropped",
    "aggMode",
];

/// Attributes that clients of the incumbent may send and that this collector does not have.
const NOT_SUPPORTED: [&str; 1] = ["ipfixCollectors"];

impl FlowSpec {
    /// Reads a definition.
    ///
    /// # Errors
    /// It is no object, has no value, or an attribute is wrong or not known; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object = json.as_object().ok_or(SpecError::NotAnObject)?;
        for (name, value) in object {
            if NOT_SUPPORTED.contains(&name.as_str()) {
                if is_off(value) {
                    continue;
                }
                return Err(wrong(name, "is not supported"));
            }
            if !ATTRIBUTES.contains(&name.as_str()) {
                return Err(wrong(name, "is no attribute of a flow"));
            }
        }
        let per = match text(object, "aggMode")?.map(|mode| mode.to_ascii_lowercase()).as_deref() {
            None | Some("" | "datasource") => Per::DataSource,
            Some("agent") => Per::Agent,
            Some("edge") => Per::Port(Role::Edge),
            Some("core") => Per::Port(Role::Core),
            Some(mode) => return Err(wrong("aggMode", format!("{mode:?} is not agent, edge or core"))),
        };
        let fs = text(object, "fs")?.unwrap_or_else(|| ",".to_owned());
        if fs.len() > LONGEST_SEPARATOR {
            return Err(wrong("fs", format!("longer than {LONGEST_SEPARATOR} bytes")));
        }
        Ok(Self {
            keys: list(object, "keys")?.unwrap_or_default(),
            value: text(object, "value")?.ok_or(SpecError::Missing("value"))?,
            values: list(object, "values")?.filter(|values| !values.trim().is_empty()),
            filter: text(object, "filter")?.filter(|filter| !filter.trim().is_empty()),
            n: number(object, "n")?.map_or(5, |n| n.clamp(5.0, 20.0) as u32),
            t: number(object, "t")?.map_or(2.0, |t| t.clamp(0.2, 600.0)),
            fs,
            log: flag(object, "log")?,
            flow_start: flag(object, "flowStart")?,
            active_timeout: number(object, "activeTimeout")?.map_or(60.0, |t| t.clamp(1.0, 86_400.0)),
            dropped: flag(object, "dropped")?,
            per,
            without_data: false,
        })
    }

    /// The definition with its defaults.
    pub fn to_json(&self) -> Json {
        let mut json = json!({
            "keys": self.keys, "value": self.value, "n": self.n, "t": self.t, "fs": self.fs,
            "log": self.log, "flowStart": self.flow_start, "activeTimeout": self.active_timeout,
            "dropped": self.dropped,
        });
        let Some(object) = json.as_object_mut() else { return json };
        for (name, text) in [("values", &self.values), ("filter", &self.filter)] {
            if let Some(text) = text {
                object.insert(name.to_owned(), text.clone().into());
            }
        }
        match self.per {
            Per::DataSource => {}
            Per::Agent => drop(object.insert("aggMode".to_owned(), "AGENT".into())),
            Per::Port(role) => drop(object.insert("aggMode".to_owned(), role.label().into())),
        }
        json
    }
}

/// Whether an attribute asks for what is the case anyway.
fn is_off(value: &Json) -> bool {
    matches!(value, Json::Null | Json::Bool(false)) || value.as_array().is_some_and(Vec::is_empty)
}

pub(crate) fn flag(object: &Map<String, Json>, name: &str) -> Result<bool, SpecError> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(flag)) => Ok(*flag),
        Some(Json::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
        Some(_) => Err(wrong(name, "must be true or false")),
    }
}

fn text(object: &Map<String, Json>, name: &str) -> Result<Option<String>, SpecError> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(name, "must be a text")),
    }
}

/// A text, or a list of texts that become one.
fn list(object: &Map<String, Json>, name: &str) -> Result<Option<String>, SpecError> {
    match object.get(name) {
        Some(Json::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
            texts.map(|texts| Some(texts.join(","))).ok_or_else(|| wrong(name, "must be a list of texts"))
        }
        _ => text(object, name),
    }
}

pub(crate) fn number(object: &Map<String, Json>, name: &str) -> Result<Option<f64>, SpecError> {
    let number = match object.get(name) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Number(number)) => number.as_f64(),
        Some(Json::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    number.filter(|number: &f64| number.is_finite()).map(Some).ok_or_else(|| wrong(name, "must be a number"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_texts_for_numbers_and_lists() {
        let spec = FlowSpec::from_json(
            &json!({"keys": ["ipsource", "ipdestination"], "value": "bytes", "t": "0.1", "n": 100}),
        );
        let spec = spec.unwrap();
        assert_eq!((spec.keys.as_str(), spec.n, spec.t), ("ipsource,ipdestination", 20, 0.2));
        assert_eq!(spec.to_json()["fs"], ",");
        assert_eq!(FlowSpec::from_json(&spec.to_json()).unwrap(), spec);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, named) in [
            (json!([]), "object"),
            (json!({"keys": "ipsource"}), "value is missing"),
            (json!({"value": 5}), "value"),
            (json!({"value": "bytes", "t": "soon"}), "t: must be a number"),
            (json!({"value": "bytes", "key": "ipsource"}), "key: is no attribute"),
            (json!({"value": "bytes", "log": "perhaps"}), "log: must be true or false"),
            (json!({"value": "bytes", "fs": "-".repeat(65)}), "fs: longer than 64 bytes"),
            (json!({"value": "bytes", "aggMode": "sum"}), "aggMode: \"sum\" is not agent, edge or core"),
            (json!({"value": "bytes", "ipfixCollectors": ["a"]}), "ipfixCollectors: is not supported"),
        ] {
            let error = FlowSpec::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let all = json!({
            "value": "bytes", "values": ["count:ipsource", "avg:bytes"], "log": "true", "flowStart": true,
            "activeTimeout": 10, "dropped": true, "aggMode": "agent", "ipfixCollectors": [], "filter": "vlan=5",
        });
        let all = FlowSpec::from_json(&all).unwrap();
        assert_eq!(
            (all.values.as_deref(), all.log, all.per),
            (Some("count:ipsource,avg:bytes"), true, Per::Agent)
        );
        assert_eq!(FlowSpec::from_json(&all.to_json()).unwrap(), all);
        for (mode, role) in [("EDGE", Role::Edge), ("core", Role::Core)] {
            let spec = FlowSpec::from_json(&json!({"value": "bytes", "aggMode": mode})).unwrap();
            assert_eq!(
                (spec.per, FlowSpec::from_json(&spec.to_json()).unwrap()),
                (Per::Port(role), spec.clone())
            );
        }
    }
}
