//! Files that hold a secret: only their owner may read them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Most bytes of a file with a token, a key or certificates.
const FILE_BYTES: u64 = 1 << 20;

/// Shorter tokens can be guessed over the network.
const SHORTEST_TOKEN: usize = 16;

/// The token in a file; white space around it does not count.
///
/// # Errors
/// The file cannot be read, others can read it, or the token is too short or no header could carry it.
pub(crate) fn token(path: &Path) -> Result<String, String> {
    let text = String::from_utf8_lossy(&read(path, true)?).trim().to_owned();
    if text.len() >= SHORTEST_TOKEN && text.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(format!(
        "{}: a token has at least {SHORTEST_TOKEN} letters, digits and signs, and no spaces: openssl rand -hex 32 makes one",
        path.display()
    ))
}

/// What a file holds.
///
/// # Errors
/// It cannot be read, is too long, or is secret and others can read it.
pub(crate) fn read(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let unreadable = |error: io::Error| wrong(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(wrong("it is no file".to_owned()));
    }
    if secret && open_to_others(about.mode(), about.uid()) {
        let mode = about.mode() & 0o777;
        return Err(wrong(format!("others can read this secret (its mode is {mode:04o}): chmod 0600 it")));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(wrong(format!("it is longer than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Whether a file of this mode and owner is read by more than its owner. What root owns may be read by one group: that
/// is how a secret is given to a service.
fn open_to_others(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_or_of_one_group_of_roots() {
        for (mode, owner, open) in [
            (0o100_600, 1000, false),
            (0o100_400, 0, false),
            (0o100_640, 0, false),
            (0o100_640, 1000, true),
            (0o100_660, 0, true),
            (0o100_604, 0, true),
            (0o100_644, 1000, true),
        ] {
            assert_eq!(open_to_others(mode, owner), open, "{mode:o} of {owner}");
        }
    }
}
