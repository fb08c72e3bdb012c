//! What tests of the whole program share.

use std::process::Command;
use std::time::Duration;

/// How long a test waits for something that should be there in a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test.
pub(crate) fn finderscope() -> Command {
    Command::new(env!("CARGO_BIN_EXE_finderscope"))
}
