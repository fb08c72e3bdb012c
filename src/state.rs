//! What survives a restart: definitions set by REST, in one JSON file of a directory that one collector locks.
//!
//! The file is replaced by rename after an fsync, so that a crash leaves the old one or the new one. What the
//! configuration file defines is not stored: it is read from there at every start.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tables::Definitions;

/// The format of the state file; a file of another version is refused, never overwritten.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    definitions: Definitions,
}

/// A locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Where state is kept when no option says: `$STATE_DIRECTORY` (set by systemd), else
/// `$XDG_STATE_HOME/finderscope`, else `~/.local/state/finderscope`.
///
/// # Errors
/// None of the three variables is set.
pub fn default_path() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(list) = std::env::var("STATE_DIRECTORY").ok().filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(list.split(':').next().unwrap_or(&list)));
    }
    if let Some(base) = variable("XDG_STATE_HOME") {
        return Ok(base.join("finderscope"));
    }
    if let Some(home) = variable("HOME") {
        return Ok(home.join(".local/state/finderscope"));
    }
    bail!("neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: say where state is kept with --state-dir DIR")
}

impl StateDir {
    /// Makes the directory (mode 0700) where it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be made or opened, or another collector holds it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("state directory {}: cannot be made", path.display()))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("{}: cannot be opened", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "state directory {} is in use by another collector: stop it, or give this one its own --state-dir",
                path.display()
            ),
            Err(TryLockError::Error(e)) => {
                Err(e).with_context(|| format!("{}: cannot be locked", lock_path.display()))
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join("definitions.json")
    }

    /// The stored definitions; none when nothing was stored yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not of this version.
    pub fn load(&self) -> anyhow::Result<Definitions> {
        let path = self.file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Definitions::default()),
            Err(e) => return Err(e).with_context(|| format!("{}: cannot be read", path.display())),
        };
        let stored: Stored = serde_json::from_str(&text).with_context(|| {
            format!("{}: is not a state file of this version; move it away to start without it", path.display())
        })?;
        if stored.version != VERSION {
            bail!("{}: version {} where this program knows {VERSION}", path.display(), stored.version);
        }
        Ok(stored.definitions)
    }

    /// Replaces the stored definitions.
    ///
    /// # Errors
    /// The new file cannot be written; the old one is then left as it was.
    pub fn store(&self, definitions: &Definitions) -> anyhow::Result<()> {
        let path = self.file();
        let next = self.path.join("definitions.json.next");
        let stored = Stored { version: VERSION, definitions: definitions.clone() };
        let mut text = serde_json::to_vec_pretty(&stored)?;
        text.push(b'\n');
        let write = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&next, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("{}: cannot be written", path.display()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn with_one_map() -> Definitions {
        serde_json::from_str(r#"{"maps":{"services":{"web":["80","443"]}}}"#).unwrap()
    }

    #[test]
    fn what_was_stored_is_loaded_and_the_directory_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.load().unwrap(), Definitions::default());
        state.store(&with_one_map()).unwrap();
        assert_eq!(state.load().unwrap(), with_one_map());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_collector_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        let refusal = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("another collector"), "{refusal}");
        drop(first);
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_of_another_version_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let text = r#"{"version":99,"definitions":{}}"#;
        fs::write(folder.path().join("definitions.json"), text).unwrap();
        assert!(state.load().unwrap_err().to_string().contains("version 99"));
        assert_eq!(fs::read_to_string(folder.path().join("definitions.json")).unwrap(), text);
    }
}
