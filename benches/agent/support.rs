//! What the bench has of the tests' support: a real engine, and an end to all that was started.

use std::time::Duration;

#[path = "../../tests/support/docker_lab/mod.rs"]
pub(crate) mod docker_lab;
#[path = "../../tests/support/live.rs"]
pub(crate) mod live;
#[path = "../../tests/support/netns.rs"]
pub(crate) mod netns;

/// How long something may take that should be there in a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
