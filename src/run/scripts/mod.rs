//! Scripts of the running collector: what is set of them, and their start, reload and end. What a script can do is
//! `script`'s.

mod file;
mod settings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use actions::control::Control;
use anyhow::Context;
use api::Api;
use engine::Handle;
use ip_network::IpNetwork;
use script::{Config, Own};

use super::definitions::{self, Definitions};
use super::settings::Settings;

pub(super) use file::{Listed, properties, read};
pub(super) use settings::{SETTINGS, define};

/// The section of what all scripts share.
pub(super) const SECTION: &str = "scripts";

/// The list of scripts, `[[script]]`; as a table it is another name of [`SECTION`].
pub(super) const LIST: &str = "script";

/// The part of [`SECTION`] that holds what scripts read by getSystemProperty.
pub(super) const PROPERTIES: &str = "scripts.properties";

/// The part of [`SECTION`] that says what scripts may do to others.
pub(super) const ACTIONS: &str = "scripts.actions";

/// What is set of scripts.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    /// Which there are, and what they may do.
    pub config: Config,
    /// Clients that ask their handlers without a token.
    pub open: Vec<IpNetwork>,
}

/// What keeps scripts from being started, as far as their texts show it.
pub(super) fn problems(settings: &Settings) -> Vec<String> {
    script::problems(&settings.scripts.config)
}

/// The scripts of a running collector.
pub(super) struct Running {
    scripts: script::Scripts,
    /// Where they store what nobody says where.
    store: Option<PathBuf>,
}

impl Running {
    /// Makes them ready; nothing runs yet.
    pub(super) fn new(settings: &Settings, handle: Handle, actions: Control, state: Option<&Path>) -> Self {
        let store = state.map(|state| state.join("store"));
        let config = complete(settings, store.as_deref());
        Self { scripts: script::Scripts::new(config, handle, actions, env!("CARGO_PKG_VERSION")), store }
    }

    /// For whoever asks them.
    pub(super) fn scripts(&self) -> script::Scripts {
        self.scripts.clone()
    }

    /// Starts all of them.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn run(&self, api: &Api) -> anyhow::Result<()> {
        let own = Own { address: reached(api.address()), analyzer: api.analyzer() };
        self.scripts.run(own).context("scripts")
    }

    /// Takes what is set now: starts those that are new or have changed, ends those that are gone.
    pub(super) fn reload(&self, settings: &Settings) {
        self.scripts.reload(complete(settings, self.store.as_deref()));
    }

    /// Ends all of them.
    pub(super) fn shutdown(self) {
        self.scripts.shutdown();
    }
}

fn complete(settings: &Settings, store: Option<&Path>) -> Config {
    let config = &settings.scripts.config;
    let store = match &config.store {
        Some(path) => settings::set(path.clone()),
        None => store.map(Path::to_owned),
    };
    let built_in = if settings.defaults { definitions::built_in() } else { Definitions::new() };
    let flows = built_in.into_keys().filter(definitions::is_flow).map(|(_, name)| name);
    Config { store, unasked: flows.collect(), ..config.clone() }
}

/// Where this machine reaches an address that is listened on.
fn reached(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_reached_by_loopback() {
        for (listened, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reached(listened.parse().unwrap()).to_string(), expected);
        }
    }
}
