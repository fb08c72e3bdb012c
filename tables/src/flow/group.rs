//! Address groups, by longest prefix, and maps of values to labels. A set is gathered in a trie, which tells equal
//! prefixes; what packets are looked up in is compiled from it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;
use serde_json::Value as Json;

use super::prefixes::{MOST_LABELS, Prefixes};
use super::spec::{SpecError, wrong};

/// A set of named groups of prefixes, built whole and never changed.
pub struct GroupSet {
    prefixes: Prefixes,
    /// The label with number n is at n - 1.
    labels: Vec<Arc<str>>,
    json: Json,
}

impl std::fmt::Debug for GroupSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSet").field("json", &self.json).finish_non_exhaustive()
    }
}

/// A prefix; an address alone is a prefix of its whole length. Host bits are cleared.
fn prefix(text: &str) -> Option<IpNetwork> {
    let text = text.trim();
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?),
        None => {
            let address = text.parse::<IpAddr>().ok()?;
            (address, if address.is_ipv4() { 32 } else { 128 })
        }
    };
    IpNetwork::new_truncate(address, length).ok()
}

impl GroupSet {
    /// Builds a set from `{"label": ["prefix", ...], ...}`. Of equal prefixes in two groups the last one wins.
    ///
    /// # Errors
    /// It has another shape, or an entry is no prefix; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object = json.as_object().ok_or_else(|| wrong("group", "must be an object of lists"))?;
        let mut networks = Vec::new();
        for (label, prefixes) in object {
            let shared: Arc<str> = Arc::from(label.as_str());
            let prefixes = prefixes.as_array().ok_or_else(|| wrong(label, "must be a list of prefixes"))?;
            for entry in prefixes {
                let text = entry.as_str().ok_or_else(|| wrong(label, "must be a list of prefixes"))?;
                let network = prefix(text).ok_or_else(|| wrong(label, format!("{text:?} is no prefix")))?;
                networks.push((network, Arc::clone(&shared)));
            }
        }
        Ok(Self { json: json.clone(), ..Self::from_networks(networks) })
    }

    /// Builds a set from prefixes and their labels, for tables that no client defined: its definition is empty. Of
    /// equal prefixes the last one wins.
    pub fn from_networks(networks: impl IntoIterator<Item = (IpNetwork, Arc<str>)>) -> Self {
        let mut trie = IpNetworkTable::new();
        let mut numbers: AHashMap<Arc<str>, u32> = AHashMap::new();
        let mut labels = Vec::new();
        let mut known: Vec<(IpNetwork, u32)> = Vec::new();
        // Most prefixes have the label of the one before.
        let mut last: Option<(Arc<str>, u32)> = None;
        for (network, label) in networks {
            let number = match &last {
                Some((known, number)) if Arc::ptr_eq(known, &label) => *number,
                _ if labels.len() < MOST_LABELS => *numbers.entry(Arc::clone(&label)).or_insert_with(|| {
                    labels.push(Arc::clone(&label));
                    labels.len() as u32
                }),
                _ => continue,
            };
            last = Some((label, number));
            if let Some(at) = trie.insert(network, known.len())
                && let Some((_, earlier)) = known.get_mut(at)
            {
                *earlier = 0;
            }
            known.push((network, number));
        }
        let prefixes = Prefixes::new(known.into_iter().filter(|(_, number)| *number > 0));
        Self { prefixes, labels, json: Json::Object(serde_json::Map::new()) }
    }

    /// As it was defined.
    pub fn to_json(&self) -> &Json {
        &self.json
    }

    /// The group of the longest prefix that holds the address.
    #[inline]
    pub fn group(&self, address: IpAddr) -> Option<&Arc<str>> {
        let number = match address {
            IpAddr::V4(address) => self.prefixes.v4(address),
            IpAddr::V6(address) => self.prefixes.v6(address),
        };
        self.labels.get((number as usize).checked_sub(1)?)
    }

    /// What looking up takes, bytes.
    pub fn bytes(&self) -> usize {
        self.prefixes.bytes()
    }
}

/// Labels of values, which are compared as texts.
#[derive(Debug)]
pub struct ValueMap {
    labels: HashMap<String, Arc<str>>,
    json: Json,
}

impl ValueMap {
    /// Builds a map from `{"label": ["value", ...], ...}`; numbers are values too.
    ///
    /// # Errors
    /// It has another shape.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object = json.as_object().ok_or_else(|| wrong("map", "must be an object of lists"))?;
        let mut labels = HashMap::new();
        for (label, values) in object {
            let shared: Arc<str> = Arc::from(label.as_str());
            for value in values.as_array().ok_or_else(|| wrong(label, "must be a list of values"))? {
                let text = match value {
                    Json::String(text) => text.clone(),
                    Json::Number(number) => number.to_string(),
                    _ => return Err(wrong(label, "must be a list of texts or numbers")),
                };
                labels.insert(text, Arc::clone(&shared));
            }
        }
        Ok(Self { labels, json: json.clone() })
    }

    /// As it was defined.
    pub fn to_json(&self) -> &Json {
        &self.json
    }

    /// The label of a value.
    pub fn label(&self, value: &str) -> Option<&Arc<str>> {
        self.labels.get(value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn group(set: &GroupSet, address: &str) -> Option<String> {
        set.group(address.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let set = GroupSet::from_json(&json!({
            "external": ["0.0.0.0/0", "::/0"], "private": ["10.0.0.0/8", "fc00::/7"],
            "one": ["10.1.2.3"], "two": ["10.1.2.3/32", "10.9.9.9/16"],
        }))
        .unwrap();
        assert_eq!(group(&set, "10.1.2.4").as_deref(), Some("private"));
        assert_eq!(group(&set, "10.1.2.3").as_deref(), Some("two"), "of equal prefixes the last one");
        assert_eq!(group(&set, "10.9.0.1").as_deref(), Some("two"), "host bits are cleared");
        assert_eq!(group(&set, "8.8.8.8").as_deref(), Some("external"));
        assert_eq!(group(&set, "fd00::1").as_deref(), Some("private"));
    }

    #[test]
    fn what_is_no_prefix_is_named() {
        for entry in ["999.1.1.1", "10.0.0.0/99", "10.0.0.0/", "", "host", "10.0.0.0/8/8"] {
            let error = GroupSet::from_json(&json!({"bad": [entry]})).unwrap_err().to_string();
            assert!(error.starts_with("bad: ") && error.contains("is no prefix"), "{error}");
        }
    }

    #[test]
    fn maps_compare_texts() {
        let map = ValueMap::from_json(&json!({"web": ["80", 443]})).unwrap();
        assert_eq!((map.label("443").map(|l| &**l), map.label("25")), (Some("web"), None));
    }
}
