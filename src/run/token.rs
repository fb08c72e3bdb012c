//! The token that a client must show before it may write: from a file that only its owner reads, or from the environment.

use std::fs::{self, Metadata};
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The variable that holds it where no file is named.
pub const VARIABLE: &str = "FINDERSCOPE_HTTP_TOKEN";

/// Shorter ones can be guessed over the network.
const SHORTEST: usize = 16;

/// The token, if there is one; white space around it does not count.
///
/// # Errors
/// The file cannot be read, others may read it, or the token is too short or no header could carry it.
pub fn read(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let (token, place) = match file.filter(|path| *path != Path::new("none")) {
        Some(path) => {
            let named = || format!("the token file {}", path.display());
            let known = fs::metadata(path).with_context(named)?;
            ensure!(!others_read(&known), "{} can be read by others: chmod 600 {}", named(), path.display());
            (fs::read_to_string(path).with_context(named)?, named())
        }
        None => match std::env::var(VARIABLE) {
            Ok(token) => (token, format!("${VARIABLE}")),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(error) => bail!("${VARIABLE}: {error}"),
        },
    };
    let token = token.trim();
    ensure!(
        token.len() >= SHORTEST && token.chars().all(|c| c.is_ascii_graphic()),
        "{place}: a token has at least {SHORTEST} letters, digits and signs, and no spaces: openssl rand -hex 32 makes one"
    );
    Ok(Some(token.to_owned()))
}

#[cfg(unix)]
fn others_read(known: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&known.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn others_read(_: &Metadata) -> bool {
    false
}
