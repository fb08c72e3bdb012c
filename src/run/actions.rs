//! Actions of the running collector: what they start with, and where what persons change of them is kept.

use std::sync::Arc;

use actions::config::Config;
use actions::control::{Control, Start, start as start_all};
use actions::feeds::Feeds;
use actions::thread::Actions;
use engine::Engine;
use serde_json::Value as Json;

use super::state::StateDir;

/// Starts all actions. Without a state directory nothing is done: the audit log has no place.
///
/// # Errors
/// The configuration cannot be done, the audit log cannot be opened, or the system has no thread left.
pub fn start(
    engine: &Engine,
    config: Config,
    state: Option<&Arc<StateDir>>,
    feeds: Feeds,
) -> anyhow::Result<(Actions, Control)> {
    let kept = state.map(Arc::clone);
    let keep = move |changed: &Json| match kept.as_ref().map(|state| state.store_actions(changed)) {
        Some(Err(error)) => {
            tracing::error!("{error:#}: what was changed of actions will not survive a restart");
            false
        }
        // Without a directory everything is for this run only, and whoever started it has said so.
        Some(Ok(())) | None => true,
    };
    let started = start_all(
        config,
        Start {
            engine: engine.handle(),
            state: state.map(|state| state.path()),
            changed: state.map(|state| state.actions()).unwrap_or_default(),
            keep: Arc::new(keep),
            feeds,
            owner: host_name(),
        },
    )?;
    Ok(started)
}

/// The feeds of a configuration with their last good lists, and their sets defined, so that flows can look them up.
///
/// # Errors
/// The engine does not take them.
pub fn feeds(engine: &Engine, config: &Config, state: Option<&Arc<StateDir>>) -> anyhow::Result<Feeds> {
    let feeds = Feeds::new(&config.feeds, &config.capture.never(), state.map(|state| state.path()));
    engine.handle().define_all(feeds.initial())?;
    Ok(feeds)
}

/// This host's name, as the kernel has it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Ends them, and says who did not end in time.
pub fn shutdown(actions: Actions) {
    if let Err(late) = actions.shutdown() {
        tracing::error!(
            "actions did not end in time: {}",
            if late.is_empty() { "all".into() } else { late.join(", ") }
        );
    }
}
