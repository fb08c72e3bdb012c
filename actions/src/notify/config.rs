//! Who is told, as the configuration has it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Severity;
use crate::http::Url;

/// Destinations at most, of each kind.
const MOST: usize = 16;

/// Kinds of notices.
pub(crate) const KINDS: [&str; 6] = ["threshold", "scale", "capture", "feed", "mode", "actions"];

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[webhook.NAME]`.
    pub webhook: BTreeMap<String, Webhook>,
    /// `[syslog.NAME]`.
    pub syslog: BTreeMap<String, Syslog>,
}

/// One that takes a POST for each notice.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where; its path is treated as a secret.
    pub url: String,
    /// Authorities in PEM; the system's where there is none.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The file of a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Kinds that it is told of; all where there are none.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// The least that it is told of.
    #[serde(default)]
    pub severity: Severity,
}

/// One that takes RFC 5424 over UDP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// Host and port.
    pub address: String,
    /// The facility.
    #[serde(default)]
    pub facility: Facility,
    /// Kinds that it is told of; all where there are none.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// The least that it is told of.
    #[serde(default)]
    pub severity: Severity,
}

/// A facility of RFC 5424, section 6.2.1, that a program of the operator's may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say all")]
pub enum Facility {
    #[default]
    Daemon = 3,
    User = 1,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

impl Config {
    /// What is wrong with it, each with its key; nothing is read or asked.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        for (kind, many) in [("webhook", self.webhook.len()), ("syslog", self.syslog.len())] {
            if many > MOST {
                wrong.push((kind.to_owned(), format!("{many} of them: {MOST} at most")));
            }
        }
        for (name, webhook) in &self.webhook {
            let key = format!("webhook.{name}");
            if let Err(why) = Url::parse(&webhook.url) {
                wrong.push((format!("{key}.url"), why));
            }
            kinds(&key, &webhook.kinds, &mut wrong);
        }
        for (name, syslog) in &self.syslog {
            let key = format!("syslog.{name}");
            let port = syslog.address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                wrong.push((format!("{key}.address"), "must be HOST:PORT; syslog's port is 514".to_owned()));
            }
            kinds(&key, &syslog.kinds, &mut wrong);
        }
        wrong
    }
}

fn kinds(key: &str, kinds: &[String], wrong: &mut Vec<(String, String)>) {
    for kind in kinds.iter().filter(|kind| !KINDS.contains(&kind.as_str())) {
        let kind = crate::text::shown(kind);
        wrong.push((format!("{key}.kinds"), format!("{kind:?} is none of {}", KINDS.join(", "))));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn problems_name_their_keys() {
        let config: Config = serde_json::from_value(json!({
            "webhook": {
                "a": { "url": "https://hooks.example.net/x", "severity": "warning", "kinds": ["scale", "feed"] },
                "b": { "url": "hooks.example.net", "kinds": ["sacle"] },
            },
            "syslog": { "c": { "address": "10.0.0.5", "facility": "local3" }, "d": { "address": "[::1]:514" } },
        }))
        .unwrap();
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["webhook.b.url", "webhook.b.kinds", "syslog.c.address"]);
        assert!(serde_json::from_value::<Config>(json!({ "webhook": { "a": { "ulr": "x" } } })).is_err());
    }
}
