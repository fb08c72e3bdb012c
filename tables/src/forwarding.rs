//! Forwarding: which agents' datagrams are sent on, and where to.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value as Json, json};

use crate::spec_error::{SpecError, wrong};

/// A destination of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Where to.
    pub to: SocketAddr,
    /// Whose; everybody's when empty.
    pub agents: Vec<IpAddr>,
}

/// Attributes of the definition.
pub const ATTRIBUTES: [&str; 3] = ["address", "port", "agents"];

/// The port of sFlow.
const PORT: u16 = 6343;

impl Forwarding {
    /// Reads `{"address": ..., "port": 6343, "agents": [...]}`.
    ///
    /// # Errors
    /// It is no object, `address` is missing, or an attribute is wrong or not known; the message names it.
    pub fn from_json(json: &Json) -> Result<Self, SpecError> {
        let object =
            json.as_object().ok_or_else(|| wrong("forwarding", "must be an object with an address"))?;
        if let Some(name) = object.keys().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
            return Err(wrong(name, "is no attribute of forwarding"));
        }
        let address = object.get("address").ok_or(SpecError::Missing("address"))?;
        let ip = ip(address).ok_or_else(|| wrong("address", "must be an IP address"))?;
        let port = match object.get("port") {
            None | Some(Json::Null) => Some(PORT),
            Some(Json::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
            Some(Json::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let port = port.filter(|port| *port > 0).ok_or_else(|| wrong("port", "must be 1 to 65535"))?;
        let agents = match object.get("agents") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(list)) => list
                .iter()
                .map(|agent| {
                    self::ip(agent).ok_or_else(|| wrong("agents", format!("{agent} is no IP address")))
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong("agents", "must be a list of IP addresses")),
        };
        Ok(Self { to: SocketAddr::new(ip, port), agents })
    }

    /// The definition with its defaults.
    pub fn to_json(&self) -> Json {
        let mut json = json!({ "address": self.to.ip().to_string(), "port": self.to.port() });
        if let (false, Some(object)) = (self.agents.is_empty(), json.as_object_mut()) {
            object.insert("agents".to_owned(), self.agents.iter().map(ToString::to_string).collect());
        }
        json
    }

    /// Whether this agent's datagrams are meant.
    pub fn means(&self, agent: decode::Address) -> bool {
        self.agents.is_empty() || agent.ip().is_some_and(|ip| self.agents.contains(&ip))
    }
}

fn ip(json: &Json) -> Option<IpAddr> {
    json.as_str()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_what_is_wrong() {
        let one = Forwarding::from_json(&json!({"address": "10.0.0.1"})).unwrap();
        assert_eq!((one.to.port(), one.means(decode::Address::Unknown)), (6343, true));
        let some = json!({"address": "::1", "port": 7000, "agents": ["10.0.0.254"]});
        let some = Forwarding::from_json(&some).unwrap();
        assert!(some.means(decode::Address::V4([10, 0, 0, 254].into())));
        assert!(!some.means(decode::Address::V4([10, 0, 0, 253].into())));
        assert_eq!(Forwarding::from_json(&some.to_json()).unwrap(), some);
        for (json, named) in [
            (json!([]), "forwarding"),
            (json!({}), "address is missing"),
            (json!({"address": "host"}), "address: must be an IP address"),
            (json!({"address": "10.0.0.1", "port": 0}), "port"),
            (json!({"address": "10.0.0.1", "agents": ["x"]}), "agents: \"x\" is no IP address"),
            (json!({"address": "10.0.0.1", "prot": 1}), "prot: is no attribute"),
        ] {
            let error = Forwarding::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
