//! Which switch a script means by an address: one of the inventory, or one that is implied by an address which scripts may
//! call.

use std::net::IpAddr;

use super::super::config::{Config, DriverKind, MOST_SWITCHES, Switch, is_host};
use crate::http::Url;

/// Switches at most that are in no inventory: each has a task and a connection.
const MOST_IMPLIED: usize = 256;

/// Where a script sends its rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    secure: bool,
    host: String,
    port: u16,
    base: String,
    has_credentials: bool,
}

/// The switch of an address.
#[derive(Clone, Debug, PartialEq)]
pub enum Meant {
    /// One that is known, by its place in the configuration.
    Known(usize),
    /// One that would be new.
    New(Box<Switch>),
}

impl Place {
    /// The address of a list of rules: whether it is asked over TLS, its host without brackets, its port, and its path
    /// without the name of a rule, `/acl`.
    pub fn new(secure: bool, host: &str, port: u16, base: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Self { secure, host, port, base: base.trim_end_matches('/').to_owned(), has_credentials: false }
    }

    /// One that the script would ask with a password or a certificate. Only a switch of the inventory has such a thing,
    /// which is the inventory's own then: none of a script is kept.
    #[must_use]
    pub fn with_credentials(self) -> Self {
        Self { has_credentials: true, ..self }
    }

    /// As text.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{host}:{}{}", self.port, self.base)
    }

    /// The switch that is meant: that of the inventory with this address or this agent, else one that is implied.
    ///
    /// # Errors
    /// It is in no inventory and cannot be implied, or does not take lines; the message says what would help.
    pub fn meant(&self, config: &Config) -> Result<Meant, String> {
        let (host, port) = (self.host.as_str(), self.port);
        let address = host.parse::<IpAddr>().ok();
        let at_url = |switch: &Switch| {
            let url = switch.url.as_deref().and_then(|url| Url::parse(url).ok());
            url.is_some_and(|url| url.host() == host && url.port() == port)
        };
        let listed = || config.switches.iter().enumerate().filter(|(_, switch)| !switch.implied);
        let by_url = listed().find(|(_, switch)| at_url(switch));
        let by_agent = || listed().find(|(_, switch)| Some(switch.agent) == address);
        if let Some((at, switch)) = by_url.or_else(by_agent) {
            if switch.driver == DriverKind::CumulusNvue {
                let (agent, driver) = (switch.agent, switch.driver.name());
                return Err(format!(
                    "the switch {agent} has the driver {driver}, which takes no lines: use [capture.NAME]"
                ));
            }
            return Ok(Meant::Known(at));
        }
        let url = self.url();
        if self.has_credentials {
            return Err(format!(
                "{url} is in no inventory, and is asked with credentials: a [[switch]] with this url has its own, user and password_file"
            ));
        }
        let implied = |switch: &Switch| switch.implied && switch.url.as_deref() == Some(&url);
        if let Some(at) = config.switches.iter().position(implied) {
            return Ok(Meant::Known(at));
        }
        let address = address.filter(|address| address.is_loopback() || is_host(*address));
        let Some(agent) = address else {
            return Err(format!(
                "{url} is in no inventory: a [[switch]] with this url, or the address of its agent in place of the name, helps"
            ));
        };
        let implied = config.switches.iter().filter(|switch| switch.implied).count();
        if implied >= MOST_IMPLIED || config.switches.len() >= MOST_SWITCHES {
            return Err(format!(
                "there are {implied} switches that are in no inventory, and no more are taken: [[switch]] lists them"
            ));
        }
        Ok(Meant::New(Box::new(Switch::implied(agent, url))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::super::super::config::Raw;
    use super::*;

    fn place(host: &str, port: u16) -> Place {
        Place::new(false, host, port, "/acl")
    }

    #[test]
    fn a_switch_is_meant_by_its_url_by_its_agent_or_by_an_address_that_may_be_called() {
        let json = json!({ "switch": [
            { "agent": "10.0.0.1", "url": "https://leaf1.example:9443/acl" },
            { "agent": "10.0.0.2", "url": "http://10.0.9.2:8080/acl" },
            { "agent": "10.0.0.3", "url": "https://10.0.9.3:8765/nvue_v1", "driver": "cumulus-nvue", "ports": ["swp1"] },
        ] });
        let mut config = serde_json::from_value::<Raw>(json).unwrap().check().unwrap();
        let known = |config: &Config, place: Place| match place.meant(config).unwrap() {
            Meant::Known(at) => at,
            Meant::New(switch) => panic!("{switch:?}"),
        };
        assert_eq!(known(&config, place("LEAF1.example", 9443)), 0);
        assert_eq!(known(&config, place("10.0.0.1", 8080)), 0, "by its agent, at whatever port");
        assert_eq!(known(&config, place("10.0.9.2", 8080)), 1);
        let why = place("10.0.0.3", 8080).meant(&config).unwrap_err();
        assert!(why.contains("cumulus-nvue"), "{why}");
        let Meant::New(new) = place("10.0.0.253", 8080).meant(&config).unwrap() else { panic!() };
        assert_eq!(
            (new.agent, new.url.as_deref()),
            ([10, 0, 0, 253].into(), Some("http://10.0.0.253:8080/acl"))
        );
        config.switches.push(*new);
        assert_eq!(known(&config, place("10.0.0.253", 8080)), 3);
        assert!(matches!(place("10.0.0.253", 8081).meant(&config), Ok(Meant::New(_))), "another server");
        let why = place("10.0.0.253", 8080).with_credentials().meant(&config).unwrap_err();
        assert!(why.contains("password_file"), "{why}");
        assert_eq!(known(&config, place("10.0.0.1", 8080).with_credentials()), 0);
        for host in ["leaf9.example", "169.254.169.254", "0.0.0.0", "fe80::1"] {
            let why = place(host, 8080).meant(&config).unwrap_err();
            assert!(why.contains("is in no inventory"), "{why}");
        }
        assert_eq!(place("[2001:db8::1]", 8080).url(), "http://[2001:db8::1]:8080/acl");
        while config.switches.len() < 3 + MOST_IMPLIED {
            config.switches.push(Switch::implied([10, 0, 0, 9].into(), "http://10.0.0.9:1/acl".to_owned()));
        }
        assert!(place("10.0.0.8", 8080).meant(&config).unwrap_err().contains("256 switches"));
    }
}
