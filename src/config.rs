//! The configuration file: TOML, every key optional, unknown keys refused with their line.
//!
//! `manual/configuration.md` describes the keys; a test walks the example there through this parser.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use tables::Definitions;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where sFlow comes in, and the threads that take it.
    pub sflow: Sflow,
    /// The REST interface.
    pub http: Http,
    /// Limits and choices of the tables.
    pub tables: Tables,
    /// MaxMind-format files for the key functions `country:` and `asn:`.
    pub geo: Geo,
    /// The file of vendor names for the key function `oui:`.
    pub oui: Oui,
    /// Reverse names for the key function `dns:`.
    pub dns: Dns,
    /// Log lines.
    pub log: Log,
    /// Where definitions set by REST are kept; see [`crate::state::default_path`].
    pub state_dir: Option<PathBuf>,
    /// Whether the built-in flow `flows` and group set `default` are defined (default true).
    pub defaults: Option<bool>,
    /// Flow definitions by name.
    pub flow: toml::Table,
    /// Group sets by name: label to list of prefixes.
    pub group: toml::Table,
    /// Maps by name: label to list of values.
    pub map: toml::Table,
    /// Thresholds by name.
    pub threshold: toml::Table,
    /// Collectors by name to which whole datagrams are sent on.
    pub forward: toml::Table,
}

/// `[sflow]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sflow {
    /// Addresses to listen on (default `[::]:6343`, which takes IPv4 too).
    pub listen: Option<Vec<SocketAddr>>,
    /// Worker threads (default one per core, at most 4).
    pub workers: Option<usize>,
    /// Whether each worker stays on a core of its own (default false).
    pub pin: bool,
    /// Receive buffer asked for per socket, bytes (default 4 MiB).
    pub receive_buffer: Option<usize>,
}

/// `[http]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address of the REST interface (default `127.0.0.1:8008`).
    pub listen: Option<SocketAddr>,
    /// A file with the token that writes need on an address other than loopback.
    pub token_file: Option<PathBuf>,
    /// Refuse every write with 403.
    pub readonly: bool,
    /// Names beside the bound address under which clients reach this collector (Host header).
    pub hosts: Vec<String>,
}

/// `[tables]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Cap of all flow tables together, bytes (default 1 GiB).
    pub flow_bytes: Option<u64>,
    /// Cap of agents (default 100,000).
    pub agents: Option<usize>,
    /// Records kept for `/flows/json` (default 1,000).
    pub flows_max: Option<usize>,
    /// Events kept for `/events/json` (default 1,000).
    pub events_max: Option<usize>,
    /// What a packet sample stands for: `pool` (what was really sampled) or `rate` (what was configured).
    pub scale: Option<String>,
    /// Seconds after which the counters of a silent data source are forgotten (default 3 polling intervals).
    pub metric_timeout_s: Option<u64>,
    /// Largest sampling rate that is believed (default 2^24).
    pub sampling_rate_max: Option<u32>,
    /// Largest frame that is believed, bytes (default 65,535).
    pub frame_length_max: Option<u32>,
}

/// `[geo]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// Country database (`GeoLite2-Country.mmdb` or alike).
    pub country: Option<PathBuf>,
    /// AS number database (`GeoLite2-ASN.mmdb` or alike).
    pub asn: Option<PathBuf>,
}

/// `[oui]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oui {
    /// IEEE `oui.txt`, its CSV form, or Wireshark's `manuf`.
    pub file: Option<PathBuf>,
}

/// `[dns]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Whether reverse names are looked up (default false).
    pub enabled: bool,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info` (default) or `debug`.
    pub level: Option<String>,
}

/// What is defined when neither a file nor a client says anything: the largest conversations, and the
/// address ranges that the field calls private, multicast and external.
const DEFAULTS: &str = r#"
[flow.flows]
keys = "or:ipsource:ip6source,or:ipdestination:ip6destination,stack"
value = "bytes"

[group.default]
external = ["0.0.0.0/0", "::/0"]
private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
multicast = ["224.0.0.0/4", "ff00::/8"]
"#;

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key or value that is not known: with file and line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("configuration file {}: cannot be read", path.display()))?;
        let config: Self =
            toml::from_str(&text).with_context(|| format!("configuration file {}", path.display()))?;
        config.check().with_context(|| format!("configuration file {}", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(scale) = &self.tables.scale
            && !matches!(scale.as_str(), "pool" | "rate")
        {
            bail!("tables.scale is {scale:?}: it is \"pool\" or \"rate\"");
        }
        if self.sflow.workers == Some(0) {
            bail!("sflow.workers is 0: at least one worker is needed");
        }
        if self.sflow.listen.as_ref().is_some_and(Vec::is_empty) {
            bail!("sflow.listen is empty: leave it out for the default, or name an address");
        }
        self.definitions()?;
        Ok(())
    }

    /// What the file defines, with the built-in definitions beneath it.
    ///
    /// # Errors
    /// A definition is wrong; the message names it.
    pub fn definitions(&self) -> anyhow::Result<Definitions> {
        let mut all = if self.defaults.unwrap_or(true) {
            let built_in: Self = toml::from_str(DEFAULTS).context("built-in definitions")?;
            built_in.own_definitions()?
        } else {
            Definitions::default()
        };
        overlay(&mut all, self.own_definitions()?);
        Ok(all)
    }

    fn own_definitions(&self) -> anyhow::Result<Definitions> {
        let mut object = serde_json::Map::new();
        for (kind, section, table) in [
            ("flows", "flow", &self.flow),
            ("groups", "group", &self.group),
            ("maps", "map", &self.map),
            ("thresholds", "threshold", &self.threshold),
            ("forwards", "forward", &self.forward),
        ] {
            let mut entries = serde_json::Map::new();
            for (name, value) in table {
                let value = serde_json::to_value(value)?;
                let alone = serde_json::json!({ kind: { name: value.clone() } });
                serde_json::from_value::<Definitions>(alone).with_context(|| format!("[{section}.{name}]"))?;
                entries.insert(name.clone(), value);
            }
            object.insert(kind.to_owned(), entries.into());
        }
        Ok(serde_json::from_value(object.into())?)
    }
}

/// Puts every entry of `above` into `below`, replacing what has the same name.
pub fn overlay(below: &mut Definitions, above: Definitions) {
    below.flows.extend(above.flows);
    below.groups.extend(above.groups);
    below.maps.extend(above.maps);
    below.thresholds.extend(above.thresholds);
    below.forwards.extend(above.forwards);
}

/// The entries of `all` that `base` does not hold in the same form: what clients have defined.
pub fn beyond(all: &Definitions, base: &Definitions) -> Definitions {
    fn differing<T: Clone + PartialEq>(
        all: &std::collections::BTreeMap<String, T>,
        base: &std::collections::BTreeMap<String, T>,
    ) -> std::collections::BTreeMap<String, T> {
        all.iter()
            .filter(|(name, value)| base.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
    Definitions {
        flows: differing(&all.flows, &base.flows),
        groups: differing(&all.groups, &base.groups),
        maps: differing(&all.maps, &base.maps),
        thresholds: differing(&all.thresholds, &base.thresholds),
        forwards: differing(&all.forwards, &base.forwards),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finderscope.toml");
        std::fs::write(&path, "[sflow]\nworkers = 2\nworker = 3\n").unwrap();
        let refusal = format!("{:#}", Config::read(&path).unwrap_err());
        assert!(refusal.contains("line 3") && refusal.contains("worker"), "{refusal}");
    }

    #[test]
    fn the_manuals_example_is_accepted() {
        let page = include_str!("../manual/configuration.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let config: Config = toml::from_str(example).unwrap();
        config.check().unwrap();
        let definitions = config.definitions().unwrap();
        assert!(definitions.flows.contains_key("tcp") && definitions.forwards.contains_key("archive"));
    }

    #[test]
    fn a_wrong_flow_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finderscope.toml");
        std::fs::write(&path, "[flow.tcp]\nkeys = \"ipsource\"\n").unwrap();
        let refusal = format!("{:#}", Config::read(&path).unwrap_err());
        assert!(refusal.contains("flow.tcp") && refusal.contains("value"), "{refusal}");
    }

    #[test]
    fn the_built_in_definitions_can_be_left_out_and_replaced() {
        let definitions = Config::default().definitions().unwrap();
        assert!(definitions.flows.contains_key("flows") && definitions.groups.contains_key("default"));
        let none: Config = toml::from_str("defaults = false").unwrap();
        assert_eq!(none.definitions().unwrap(), Definitions::default());
        let own: Config = toml::from_str("[flow.flows]\nkeys='macsource'\nvalue='frames'").unwrap();
        let flows = own.definitions().unwrap().flows;
        assert_ne!(flows["flows"], definitions.flows["flows"]);
    }

    #[test]
    fn beyond_finds_what_a_client_defined() {
        let base = Config::default().definitions().unwrap();
        let mut all = base.clone();
        let mine: Definitions = serde_json::from_str(r#"{"maps":{"m":{"web":["80"]}}}"#).unwrap();
        overlay(&mut all, mine.clone());
        assert_eq!(beyond(&all, &base), mine);
    }
}
