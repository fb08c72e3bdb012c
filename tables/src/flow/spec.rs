//! A flow definition as clients write it. Numbers and booleans may be given as texts.

use serde_json::{Map, Value as Json, json};

/// A definition cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The definition is no JSON object.
    #[error("a flow is an object with keys and value")]
    NotAnObject,
    /// An attribute that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An attribute has a value that it cannot have.
    #[error("{attribute}: {reason}")]
    Attribute {
        /// Which.
        attribute: String,
        /// What is wrong with it.
        reason: String,
    },
}

pub(crate) fn wrong(attribute: &str, reason: impl Into<String>) -> SpecError {
    SpecError::Attribute { attribute: attribute.to_owned(), reason: reason.into() }
}

/// A flow definition.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSpec {
    /// Key expressions separated by commas; empty for one total.
    pub keys: String,
    /// What is measured.
    pub value: String,
    /// Which packets count.
    pub filter: Option<String>,
    /// How many of the largest flows a data source's metric names: 5 to 20.
    pub n: u32,
    /// Smoothing time, seconds: 0.2 to 600.
    pub t: f64,
    /// What separates keys in text.
    pub fs: String,
}

/// Attributes that are understood.
const ATTRIBUTES: [&str; 6] = ["keys", "value", "filter", "n", "t", "fs"];

/// Attributes that clients of the incumbent may send and that this collector does not have yet.
const NOT_YET: [&str; 8] = [
    "values",
    "log",
    "flowStart",
    "activeTimeout",
    "dropped",
    "aggMode",
    "ipfixCollectors",
    "activeFlowTimeout",
];

impl FlowSpec {
    /// Reads a definition.
    ///
    /// # Errors
    /// It is no object, has no value, or an attribute is wrong or not known; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object = json.as_object().ok_or(SpecError::NotAnObject)?;
        for name in object.keys() {
            if NOT_YET.contains(&name.as_str()) && !is_off(&object[name.as_str()]) {
                return Err(wrong(name, "not supported yet"));
            }
            if !ATTRIBUTES.contains(&name.as_str()) && !NOT_YET.contains(&name.as_str()) {
                return Err(wrong(name, "is no attribute of a flow"));
            }
        }
        Ok(Self {
            keys: list(object, "keys")?.unwrap_or_default(),
            value: text(object, "value")?.ok_or(SpecError::Missing("value"))?,
            filter: text(object, "filter")?.filter(|filter| !filter.trim().is_empty()),
            n: number(object, "n")?.map_or(5, |n| n.clamp(5.0, 20.0) as u32),
            t: number(object, "t")?.map_or(2.0, |t| t.clamp(0.2, 600.0)),
            fs: text(object, "fs")?.unwrap_or_else(|| ",".to_owned()),
        })
    }

    /// The definition with its defaults.
    pub fn to_json(&self) -> Json {
        let mut object = json!({
            "keys": self.keys, "value": self.value, "n": self.n, "t": self.t, "fs": self.fs,
        });
        if let (Some(filter), Some(object)) = (&self.filter, object.as_object_mut()) {
            object.insert("filter".to_owned(), filter.clone().into());
        }
        object
    }
}

/// Whether an attribute asks for what is the case anyway.
fn is_off(value: &Json) -> bool {
    matches!(value, Json::Null | Json::Bool(false)) || value.as_str() == Some("false")
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

fn number(object: &Map<String, Json>, name: &str) -> Result<Option<f64>, SpecError> {
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
            (json!({"value": "bytes", "log": true}), "log: not supported yet"),
        ] {
            let error = FlowSpec::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(FlowSpec::from_json(&json!({"value": "bytes", "log": false})).is_ok());
    }
}
