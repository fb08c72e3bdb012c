//! What all scripts share: what they ask, what they define and do with, and where this collector answers.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use actions::control::Control;
use engine::Handle;
use serde_json::Value as Json;

use crate::config::Config;
use crate::definitions::Definitions;
use crate::values::Values;

/// This collector's own interface.
pub struct Own {
    /// Where it answers.
    pub address: SocketAddr,
    /// What `/analyzer/json` answers.
    pub analyzer: Box<dyn Fn() -> Json + Send + Sync>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What scripts have in common for as long as the collector runs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) version: String,
    /// What scripts have defined.
    pub(crate) definitions: Definitions,
    /// Values of `sharedSet`.
    pub(crate) values: Values,
}

impl Shared {
    pub(crate) fn new(version: &str) -> Self {
        Self { version: version.to_owned(), definitions: Definitions::default(), values: Values::default() }
    }
}

/// What a script is started with.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) engine: Handle,
    pub(crate) actions: Control,
    /// Known when scripts are started.
    pub(crate) own: Arc<OnceLock<Own>>,
    pub(crate) shared: Arc<Shared>,
    /// What the operator said when it was started.
    pub(crate) config: Arc<Config>,
}
