//! Address groups, by longest prefix, and maps of values to labels. What packets are looked up in is compiled once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ahash::AHashMap;
use ip_network::IpNetwork;
use serde_json::{Value as Json, json};

use super::prefixes::{MOST_LABELS, Prefixes};
use crate::spec_error::{SpecError, wrong};

/// A set of named groups of prefixes, built whole and never changed.
pub struct GroupSet {
    prefixes: Prefixes,
    /// The label with number n is at n - 1.
    labels: Vec<Arc<str>>,
    origin: Origin,
}

/// What a set was built from.
enum Origin {
    /// A definition of a client's.
    Defined(Json),
    /// A list that somebody keeps: prefixes and their labels' numbers.
    List(Vec<(IpNetwork, u32)>),
    /// Reference data, which nobody asks for.
    Reference,
}

impl std::fmt::Debug for GroupSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSet").field("labels", &self.labels.len()).finish_non_exhaustive()
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
        let (prefixes, labels, _) = compiled(networks);
        Ok(Self { prefixes, labels, origin: Origin::Defined(json.clone()) })
    }

    /// Builds a set from prefixes and their labels, for reference data: it shows no definition. Of equal prefixes the
    /// last one wins.
    pub fn from_networks(networks: impl IntoIterator<Item = (IpNetwork, Arc<str>)>) -> Self {
        let (prefixes, labels, _) = compiled(networks);
        Self { prefixes, labels, origin: Origin::Reference }
    }

    /// Builds a set from lists that somebody keeps, see [`Change::List`](crate::Change::List). Of equal prefixes the
    /// last one wins.
    pub fn from_lists(networks: impl IntoIterator<Item = (IpNetwork, Arc<str>)>) -> Self {
        let (prefixes, labels, known) = compiled(networks);
        Self { prefixes, labels, origin: Origin::List(known) }
    }

    /// Whether somebody keeps it, so that it is no definition of a client's.
    pub fn is_list(&self) -> bool {
        matches!(self.origin, Origin::List(_))
    }

    /// As it was defined, or as it would be.
    pub fn to_json(&self) -> Cow<'_, Json> {
        match &self.origin {
            Origin::Defined(json) => Cow::Borrowed(json),
            Origin::Reference => Cow::Owned(json!({})),
            Origin::List(known) => {
                let mut groups: Vec<Vec<Json>> = vec![Vec::new(); self.labels.len()];
                for (network, number) in known {
                    if let Some(group) = groups.get_mut((*number as usize).wrapping_sub(1)) {
                        group.push(network.to_string().into());
                    }
                }
                let labels = self.labels.iter().map(|label| label.to_string());
                Cow::Owned(Json::Object(labels.zip(groups.into_iter().map(Json::Array)).collect()))
            }
        }
    }

    /// The group of the longest prefix that holds the address.
    #[inline]
    pub fn group(&self, address: IpAddr) -> Option<&Arc<str>> {
        let number = match address {
            IpAddr::V4(address) => self.prefixes.v4(address),
            IpAddr::V6(address) => self.prefixes.v6(address),
        };
        // Number 0, no label, becomes the last place of all, where nothing is.
        self.labels.get((number as usize).wrapping_sub(1))
    }

    /// Whether an IPv4 address is in a group.
    #[inline(always)]
    pub(crate) fn holds_v4(&self, address: Ipv4Addr) -> bool {
        self.prefixes.v4(address) != 0
    }

    /// An IPv4 address is looked up soon.
    #[inline(always)]
    pub(crate) fn bring_near_v4(&self, address: Ipv4Addr) {
        self.prefixes.bring_near_v4(address);
    }

    /// An IPv6 address is looked up soon.
    #[inline]
    pub(crate) fn bring_near_v6(&self, address: Ipv6Addr) {
        self.prefixes.bring_near_v6(address);
    }

    /// What looking up takes, bytes.
    pub fn bytes(&self) -> usize {
        self.prefixes.bytes()
    }
}

/// What networks and labels are compiled to, and the networks with their labels' numbers.
fn compiled(
    networks: impl IntoIterator<Item = (IpNetwork, Arc<str>)>,
) -> (Prefixes, Vec<Arc<str>>, Vec<(IpNetwork, u32)>) {
    let networks = networks.into_iter();
    let mut numbers: AHashMap<Arc<str>, u32> = AHashMap::new();
    let mut labels = Vec::new();
    let mut known: Vec<(IpNetwork, u32)> = Vec::with_capacity(networks.size_hint().0);
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
        known.push((network, number));
    }
    let prefixes = Prefixes::new(known.iter().copied());
    (prefixes, labels, known)
}

/// Labels of values, which are compared as texts.
#[derive(Debug, Default)]
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
    fn lists_show_what_they_would_be_defined_as() {
        let label: Arc<str> = "a".into();
        let networks = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let set = GroupSet::from_lists(networks.map(|network| (network, Arc::clone(&label))));
        let json = set.to_json().into_owned();
        assert_eq!(json, json!({ "a": ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"] }));
        let defined = GroupSet::from_json(&json).unwrap();
        assert_eq!((set.is_list(), defined.is_list(), defined.to_json().into_owned()), (true, false, json));
        assert_eq!(group(&set, "2001:db8::7"), group(&defined, "2001:db8::7"));
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
