//! Trying it: a program that steers nothing is attached to the interface, sockets are opened on its queues, and all of that
//! is taken back.

use super::prospect::Prospect;
use crate::run::settings::Settings;

/// What came of it.
///
/// # Errors
/// Why AF_XDP cannot be.
pub(super) fn attempt(settings: &Settings) -> Result<Prospect, String> {
    let reached = engine::interface::attempt(&settings.engine.interface)?;
    Ok(Prospect { mode: reached.mode, blockers: Vec::new() })
}
