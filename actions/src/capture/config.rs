//! What the configuration says about capture: switches, policies and limits. Everything that an action calls comes from
//! here, nothing of it from a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ip_network::IpNetwork;
use serde::Deserialize;

/// Switches of the inventory at most: each has a task and a connection.
pub const MOST_SWITCHES: usize = 1000;

/// Policies at most: each takes up to four of the hundred flow definitions.
pub const MOST_POLICIES: usize = 20;

/// All of it, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// `[[switch]]`.
    #[serde(default)]
    pub switch: Vec<Switch>,
    /// `[capture.NAME]`.
    #[serde(default)]
    pub capture: BTreeMap<String, Policy>,
    /// `[capture_limits]`.
    #[serde(default)]
    pub capture_limits: Limits,
}

/// A switch that may capture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The address by which its sFlow agent names itself.
    pub agent: IpAddr,
    /// Where its rules are written: `http://10.0.0.253:8080/acl`, `https://10.0.0.253:8765/nvue_v1`.
    pub url: Option<String>,
    /// What it speaks.
    #[serde(default)]
    pub driver: DriverKind,
    /// User of basic authentication.
    pub user: Option<String>,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates that its own is verified with, PEM; those of the system when there is none.
    pub ca: Option<PathBuf>,
    /// A file with a client certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// A file with the key of the client certificate, PEM.
    pub key: Option<PathBuf>,
    /// Source address of what it mirrors; the agent's address when there is none.
    pub erspan_source: Option<Ipv4Addr>,
    /// Interfaces whose packets are looked at, `swp+` means all whose names begin with `swp`.
    #[serde(default = "swp")]
    pub interfaces: String,
    /// Ports that rules are bound to, for `cumulus-nvue`, which has no patterns.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Whether it mirrors IPv6 too.
    #[serde(default)]
    pub ipv6: bool,
    /// How long a commit takes at most that fails, milliseconds: a rule counts as installed when it was read back this
    /// long after it was put, and no commit had failed.
    pub commit_ms: Option<u64>,
    /// Sessions at most; else what the limits say.
    pub sessions: Option<usize>,
    /// Bits per second at most; else what the limits say.
    pub bits_per_second: Option<f64>,
    /// Whether it is in no inventory, and an address that scripts may call stands in for it: it takes their rules only.
    #[serde(skip)]
    pub implied: bool,
}

fn swp() -> String {
    "swp+".to_owned()
}

/// What a switch speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// `PUT /acl/NAME`: `finderscope-acl`, and the server of Cumulus Linux 3 that it stands for.
    #[default]
    CumulusAcl,
    /// The REST interface of Cumulus Linux 5.
    CumulusNvue,
    /// Nothing: rules are kept in memory.
    DryRun,
}

impl DriverKind {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::CumulusAcl => "cumulus-acl",
            Self::CumulusNvue => "cumulus-nvue",
            Self::DryRun => "dry-run",
        }
    }
}

/// Which traffic is captured, and how much evidence it takes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The group set whose addresses are listed.
    pub group: String,
    /// Where captured packets go. ERSPAN needs IPv4.
    pub analyzer: Ipv4Addr,
    /// Flow definitions instead of the default ones.
    #[serde(default)]
    pub flow: Vec<Flow>,
    /// Samples that it takes to begin.
    #[serde(default = "one")]
    pub samples: u32,
    /// Frames that these must stand for.
    #[serde(default)]
    pub frames: f64,
    /// How long a capture lasts without new evidence, seconds.
    #[serde(default = "minute")]
    pub ttl_s: u64,
    /// How long a better switch is waited for, seconds.
    #[serde(default = "two")]
    pub settle_s: u64,
    /// How long a capture is held when nothing is heard of the agents that gave its evidence, seconds.
    #[serde(default = "five_minutes")]
    pub hold_s: u64,
    /// How long a pair is left alone after a person has stopped its capture, seconds.
    #[serde(default = "ten_minutes")]
    pub stopped_s: u64,
}

fn one() -> u32 {
    1
}

fn two() -> u64 {
    2
}

fn minute() -> u64 {
    60
}

fn five_minutes() -> u64 {
    300
}

fn ten_minutes() -> u64 {
    600
}

/// A flow definition whose flows are evidence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Its keys: the first two are source and destination, `ipsource,ipdestination` or `ip6source,ip6destination`.
    pub keys: String,
    /// Its filter.
    pub filter: Option<String>,
    /// Which of them is ours.
    #[serde(default)]
    pub local: End,
}

/// An end of a packet's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Where it comes from.
    #[default]
    Source,
    /// Where it goes.
    Destination,
}

/// What all captures together may take.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions at most.
    pub sessions: usize,
    /// Sessions of a switch at most: rules cost TCAM.
    pub sessions_per_switch: usize,
    /// Sessions towards an analyzer at most.
    pub sessions_per_analyzer: usize,
    /// Bits per second at most.
    pub bits_per_second: f64,
    /// Bits per second that a switch mirrors at most.
    pub bits_per_second_per_switch: f64,
    /// Bits per second towards an analyzer at most.
    pub bits_per_second_per_analyzer: f64,
    /// Captures that begin in a minute at most.
    pub begun_per_minute: u32,
    /// Captures that begin in a minute at a switch at most.
    pub begun_per_minute_per_switch: u32,
    /// Addresses whose traffic is never captured.
    pub never: Vec<Prefix>,
    /// How often each switch is read and mended, milliseconds.
    pub reconcile_ms: u64,
    /// What becomes of the rules when the collector ends.
    pub on_stop: OnStop,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 64,
            sessions_per_switch: 16,
            sessions_per_analyzer: 64,
            bits_per_second: 1e10,
            bits_per_second_per_switch: 1e9,
            bits_per_second_per_analyzer: 1e9,
            begun_per_minute: 60,
            begun_per_minute_per_switch: 30,
            never: Vec::new(),
            reconcile_ms: 10_000,
            on_stop: OnStop::Withdraw,
        }
    }
}

/// What becomes of the rules when the collector ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They stay, and are adopted at the next start.
    Keep,
    /// They are taken away.
    Withdraw,
}

/// A prefix; an address alone is one of its whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(pub IpNetwork);

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = match text.split_once('/') {
            Some((address, length)) => {
                let parsed = address.parse::<IpAddr>().ok().zip(length.parse().ok());
                parsed.and_then(|(address, length)| IpNetwork::new_truncate(address, length).ok())
            }
            None => text.parse::<IpAddr>().ok().map(IpNetwork::from),
        };
        network.map(Self).ok_or_else(|| format!("{text:?} is no prefix: 10.0.0.0/8 and 2001:db8::1 are"))
    }
}

/// A policy with its name and the flows that are its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPolicy {
    /// Its name.
    pub name: String,
    /// What it says.
    pub policy: Policy,
}

/// What was read and is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Switches that may capture, each agent once.
    pub switches: Vec<Switch>,
    /// Policies by their names, in their order.
    pub policies: Vec<NamedPolicy>,
    /// What all captures together may take.
    pub limits: Limits,
}

impl Config {
    /// Whether a switch that captures for policies mirrors IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.switches.iter().any(|switch| switch.ipv6 && !switch.implied)
    }
}

impl Raw {
    /// What is never captured: no feed may list it either.
    pub fn never(&self) -> Vec<IpNetwork> {
        self.capture_limits.never.iter().map(|prefix| prefix.0).collect()
    }

    /// What it says when all of it is right.
    ///
    /// # Errors
    /// Everything that is wrong, each line begins with the key that it is about.
    pub fn check(self) -> Result<Config, Vec<String>> {
        let mut wrong = Vec::new();
        check_switches(&self.switch, &mut wrong);
        for (name, policy) in &self.capture {
            check_policy(name, policy, &mut wrong);
        }
        check_limits(&self.capture_limits, &mut wrong);
        for (what, length, most) in
            [("switch", self.switch.len(), MOST_SWITCHES), ("capture", self.capture.len(), MOST_POLICIES)]
        {
            if length > most {
                wrong.push(format!("{what}: there are {length}, at most {most} are possible"));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let named = |(name, policy)| NamedPolicy { name, policy };
        Ok(Config {
            switches: self.switch,
            policies: self.capture.into_iter().map(named).collect(),
            limits: self.capture_limits,
        })
    }
}

impl Switch {
    /// A switch that is in no inventory: whoever lets scripts call this address lets them put their rules there.
    pub fn implied(agent: IpAddr, url: String) -> Self {
        Self {
            agent,
            url: Some(url),
            driver: DriverKind::CumulusAcl,
            user: None,
            password_file: None,
            token_file: None,
            ca: None,
            certificate: None,
            key: None,
            erspan_source: None,
            interfaces: swp(),
            ports: Vec::new(),
            ipv6: true,
            commit_ms: None,
            sessions: None,
            bits_per_second: None,
            implied: true,
        }
    }

    /// Source address of what it mirrors; every switch that was checked has one.
    pub fn erspan_source(&self) -> Option<Ipv4Addr> {
        self.erspan_source.or(match self.agent {
            IpAddr::V4(agent) => Some(agent),
            IpAddr::V6(_) => None,
        })
    }

    /// How long a commit takes that fails, milliseconds. Only `cumulus-acl` does not say itself when it has committed.
    pub fn commit_ms(&self) -> u64 {
        match self.driver {
            DriverKind::CumulusAcl => self.commit_ms.unwrap_or(1000),
            DriverKind::CumulusNvue | DriverKind::DryRun => 0,
        }
    }

    /// What its rules are bound to: the ports for `cumulus-nvue`, else the pattern.
    pub fn rule_interfaces(&self) -> Vec<String> {
        match self.driver {
            DriverKind::CumulusNvue => {
                // In the order in which they are read back.
                let ports: BTreeSet<&String> = self.ports.iter().collect();
                ports.into_iter().cloned().collect()
            }
            DriverKind::CumulusAcl | DriverKind::DryRun => vec![self.interfaces.clone()],
        }
    }
}

impl Policy {
    /// The flow definitions that are its evidence: name, JSON and what it needs to be read. `ipv6` says whether there is
    /// a switch that mirrors IPv6.
    pub fn flows(&self, ipv6: bool) -> Vec<Flow> {
        if !self.flow.is_empty() {
            return self.flow.clone();
        }
        let group = &self.group;
        let families = [("ip", true), ("ip6", ipv6)];
        let mut flows = Vec::new();
        for (ip, _) in families.iter().filter(|(_, wanted)| *wanted) {
            for (listed, local) in [("destination", End::Source), ("source", End::Destination)] {
                let keys = format!("{ip}source,{ip}destination,group:{ip}{listed}:{group}");
                flows.push(Flow { keys, filter: None, local });
            }
        }
        flows
    }
}

fn check_switches(switches: &[Switch], wrong: &mut Vec<String>) {
    let mut agents = BTreeSet::new();
    for (number, switch) in switches.iter().enumerate() {
        let mut say = |key: &str, what: &str| wrong.push(format!("switch[{number}].{key}: {what}"));
        if !agents.insert(switch.agent) {
            say("agent", &format!("{} is there twice", switch.agent));
        }
        match (&switch.url, switch.driver) {
            (None, DriverKind::DryRun) => {}
            (Some(_), DriverKind::DryRun) => say("url", "the driver dry-run calls nobody: leave it out"),
            (None, _) => say("url", "is missing: http://SWITCH:8080/acl is an example"),
            (Some(url), driver) => {
                let secure = url.starts_with("https://");
                if !secure && !url.starts_with("http://") {
                    say("url", "must begin with http:// or https://");
                }
                if driver == DriverKind::CumulusNvue && !secure {
                    say("url", "must begin with https:// for the driver cumulus-nvue");
                }
            }
        }
        if switch.erspan_source().is_none() {
            say("erspan_source", "is missing: ERSPAN has an IPv4 source, and the agent's address is none");
        }
        if switch.user.is_some() != switch.password_file.is_some() {
            say("password_file", "user and password_file belong together");
        }
        if switch.user.is_some() && switch.token_file.is_some() {
            say("token_file", "there is a user already: one of them is used");
        }
        if switch.certificate.is_some() != switch.key.is_some() {
            say("key", "certificate and key belong together");
        }
        if switch.commit_ms.is_some_and(|ms| ms > 60_000) {
            say("commit_ms", "must be 60000 at most");
        }
        if !is_interfaces(&switch.interfaces) {
            say(
                "interfaces",
                "must be a name of at most 15 characters, with a + at its end for all that begin so",
            );
        }
        if switch.driver == DriverKind::CumulusNvue && switch.ports.is_empty() {
            say("ports", "is missing: the driver cumulus-nvue binds rules to each port by its name");
        }
        if switch.ports.iter().any(|port| port.ends_with('+') || !is_interfaces(port)) {
            say("ports", "must be names of interfaces, of at most 15 characters each");
        }
        if switch.bits_per_second.is_some_and(|bits| !is_amount(bits)) {
            say("bits_per_second", "must be a number above 0");
        }
    }
}

fn check_policy(name: &str, policy: &Policy, wrong: &mut Vec<String>) {
    let mut say = |key: &str, what: &str| wrong.push(format!("capture.{name}{key}: {what}"));
    if !is_name(name) {
        say("", "a policy's name has 1 to 32 characters of a-z, A-Z, 0-9, - and _");
    }
    if !is_name(&policy.group) {
        say(".group", "the name of a group set here has 1 to 32 characters of a-z, A-Z, 0-9, - and _");
    }
    if !is_host(policy.analyzer.into()) {
        say(".analyzer", "is no address of a host");
    }
    for (number, flow) in policy.flow.iter().enumerate() {
        let keys: Vec<&str> = flow.keys.split(',').map(str::trim).take(2).collect();
        if !matches!(keys[..], ["ipsource", "ipdestination"] | ["ip6source", "ip6destination"]) {
            let what = "must begin with ipsource,ipdestination or ip6source,ip6destination";
            say(&format!(".flow[{number}].keys"), what);
        }
    }
    if policy.flow.len() > 4 {
        say(".flow", "there may be four");
    }
    if policy.samples == 0 {
        say(".samples", "must be 1 or more: nothing is captured without evidence");
    }
    if !(policy.frames.is_finite() && policy.frames >= 0.0) {
        say(".frames", "must be a number of at least 0");
    }
    for (key, value, range) in [
        (".ttl_s", policy.ttl_s, 1..=86_400),
        (".settle_s", policy.settle_s, 0..=60),
        (".hold_s", policy.hold_s, 0..=86_400),
        (".stopped_s", policy.stopped_s, 0..=604_800),
    ] {
        if !range.contains(&value) {
            say(key, &format!("must be {} to {}", range.start(), range.end()));
        }
    }
}

fn check_limits(limits: &Limits, wrong: &mut Vec<String>) {
    for (key, bits) in [
        ("bits_per_second", limits.bits_per_second),
        ("bits_per_second_per_switch", limits.bits_per_second_per_switch),
        ("bits_per_second_per_analyzer", limits.bits_per_second_per_analyzer),
    ] {
        if !is_amount(bits) {
            wrong.push(format!("capture_limits.{key}: must be a number above 0"));
        }
    }
    if limits.sessions > 4096 {
        wrong.push("capture_limits.sessions: at most 4096 are possible".to_owned());
    }
    if !(50..=3_600_000).contains(&limits.reconcile_ms) {
        wrong.push("capture_limits.reconcile_ms: must be 50 to 3600000".to_owned());
    }
}

fn is_amount(bits: f64) -> bool {
    bits.is_finite() && bits > 0.0
}

fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(known)
}

/// A name of interfaces as the kernel allows it, with a `+` for all that begin so.
fn is_interfaces(text: &str) -> bool {
    let name = text.strip_suffix('+').unwrap_or(text);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=15).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('-')
}

/// Whether an address may be that of one host that talks to others.
pub(crate) fn is_host(address: IpAddr) -> bool {
    let special = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    !special
        && match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local() && v4.octets()[0] != 0,
            IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
        }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn read(json: Json) -> Result<Config, Vec<String>> {
        serde_json::from_value::<Raw>(json).map_err(|error| vec![error.to_string()])?.check()
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let config = read(json!({
            "switch": [{ "agent": "10.0.0.253", "url": "http://10.0.0.253:8080/acl" }],
            "capture": { "emerging": { "group": "emerging", "analyzer": "10.0.0.70" } },
        }))
        .unwrap();
        let [switch] = &config.switches[..] else { panic!() };
        assert_eq!((switch.driver, switch.interfaces.as_str()), (DriverKind::CumulusAcl, "swp+"));
        assert_eq!(switch.erspan_source(), Some([10, 0, 0, 253].into()));
        let policy = &config.policies[0].policy;
        assert_eq!((policy.samples, policy.ttl_s, policy.settle_s), (1, 60, 2));
        let keys: Vec<String> = policy.flows(false).into_iter().map(|flow| flow.keys).collect();
        assert_eq!(
            keys,
            [
                "ipsource,ipdestination,group:ipdestination:emerging",
                "ipsource,ipdestination,group:ipsource:emerging"
            ]
        );
        assert_eq!(policy.flows(true).len(), 4);
        assert_eq!(read(json!({})).unwrap().limits, Limits::default());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let switch = |more: Json| {
            let mut switch = json!({ "agent": "10.0.0.253", "url": "http://10.0.0.253:8080/acl" });
            switch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "switch": [switch] })
        };
        let policy = |more: Json| {
            let mut policy = json!({ "group": "g", "analyzer": "10.0.0.70" });
            policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "capture": { "p": policy } })
        };
        for (json, named) in [
            (switch(json!({"urll": 1})), "urll"),
            (switch(json!({"url": "ftp://x"})), "switch[0].url: must begin"),
            (switch(json!({"url": null})), "switch[0].url: is missing"),
            (switch(json!({"driver": "cumulus-nvue"})), "switch[0].url: must begin with https"),
            (switch(json!({"driver": "cumulus-nvue"})), "switch[0].ports: is missing"),
            (switch(json!({"driver": "telnet"})), "telnet"),
            (switch(json!({"driver": "dry-run"})), "switch[0].url: the driver dry-run"),
            (switch(json!({"agent": "2001:db8::1"})), "switch[0].erspan_source: is missing"),
            (switch(json!({"user": "u"})), "switch[0].password_file"),
            (switch(json!({"key": "k"})), "switch[0].key"),
            (switch(json!({"interfaces": "swp1 -j ACCEPT"})), "switch[0].interfaces"),
            (switch(json!({"ports": ["swp+"]})), "switch[0].ports"),
            (switch(json!({"bits_per_second": 0})), "switch[0].bits_per_second"),
            (policy(json!({"analyzer": "2001:db8::1"})), "IPv4"),
            (policy(json!({"analyzer": "224.0.0.1"})), "capture.p.analyzer"),
            (policy(json!({"samples": 0})), "capture.p.samples"),
            (policy(json!({"frames": -1})), "capture.p.frames"),
            (policy(json!({"ttl_s": 0})), "capture.p.ttl_s: must be 1 to 86400"),
            (policy(json!({"group": "a:b"})), "capture.p.group"),
            (policy(json!({"flow": [{"keys": "macsource,ipsource"}]})), "capture.p.flow[0].keys"),
            (json!({"capture": {"a b": {"group": "g", "analyzer": "10.0.0.70"}}}), "capture.a b: "),
            (json!({"capture_limits": {"never": ["10.0.0.0/99"]}}), "10.0.0.0/99"),
            (json!({"capture_limits": {"reconcile_ms": 1}}), "capture_limits.reconcile_ms"),
            (json!({"capture_limits": {"bits_per_second": -5}}), "capture_limits.bits_per_second"),
        ] {
            let wrong = read(json.clone()).unwrap_err().join("\n");
            assert!(wrong.contains(named), "{json}: {wrong}");
        }
        let twice = json!({"agent": "10.0.0.1", "driver": "dry-run"});
        let wrong = read(json!({"switch": [twice, twice]})).unwrap_err();
        assert_eq!(wrong, ["switch[1].agent: 10.0.0.1 is there twice"]);
    }

    #[test]
    fn addresses_that_are_no_hosts() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "::",
            "::1",
            "ff02::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_host(text.parse().unwrap()), "{text}");
        }
        assert!(is_host([10, 0, 0, 1].into()) && is_host("2001:db8::1".parse().unwrap()));
    }
}
