//! What survives a restart: how the definitions differ from those of the configuration, because REST changed them.
//!
//! One JSON file in a directory that one collector locks. It is replaced by rename after an fsync, so that a crash
//! leaves the old one or the new one, and it is never written over when it could not be read.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};

use super::definitions::{self, Definitions, KINDS};

/// The form of the file; one of another form is not read.
const VERSION: u64 = 1;

const FILE: &str = "definitions.json";

const ACTIONS_FILE: &str = "actions.json";

/// What REST changed of the definitions of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// Those that it defined, or defined otherwise.
    pub set: Definitions,
    /// Those that it took away.
    pub removed: Vec<definitions::Id>,
}

impl Overlay {
    /// What makes `defined` of `configured`.
    pub fn between(configured: &Definitions, defined: &Definitions) -> Self {
        let set = defined
            .iter()
            .filter(|(id, definition)| configured.get(*id) != Some(*definition))
            .map(|(id, definition)| (id.clone(), definition.clone()))
            .collect();
        let removed = configured.keys().filter(|id| !defined.contains_key(*id)).cloned().collect();
        Self { set, removed }
    }

    /// The definitions that it makes of those of a configuration.
    pub fn over(&self, configured: &Definitions) -> Definitions {
        let mut all = configured.clone();
        all.retain(|id, _| !self.removed.contains(id));
        all.extend(self.set.iter().map(|(id, definition)| (id.clone(), definition.clone())));
        all
    }

    fn to_json(&self) -> Json {
        let mut removed = json!({});
        for (kind, section) in KINDS.iter().enumerate() {
            let names: Vec<&str> =
                self.removed.iter().filter(|id| id.0 == kind).map(|id| id.1.as_str()).collect();
            if !names.is_empty() {
                removed[*section] = names.into();
            }
        }
        json!({ "version": VERSION, "set": definitions::to_json(&self.set), "removed": removed })
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match json["version"].as_u64() {
            Some(VERSION) => {}
            Some(other) => return Err(format!("has version {other} where this program knows {VERSION}")),
            None => return Err("has no version".to_owned()),
        }
        if !json["set"].is_object() || !json["removed"].is_object() {
            return Err("has no objects `set` and `removed`".to_owned());
        }
        let removed = KINDS.iter().enumerate().flat_map(|(kind, section)| {
            let names = json["removed"][*section].as_array();
            names.into_iter().flatten().filter_map(Json::as_str).map(move |name| (kind, name.to_owned()))
        });
        Ok(Self { set: definitions::of_json(&json["set"]), removed: removed.collect() })
    }
}

/// A locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// What the file holds.
    stored: Mutex<Overlay>,
    _lock: File,
}

/// Where state is kept when nobody says: `$STATE_DIRECTORY` (systemd sets it), else `$XDG_STATE_HOME/finderscope`,
/// else `~/.local/state/finderscope`.
///
/// # Errors
/// None of the three variables is set.
pub fn usual_place() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(list) = std::env::var("STATE_DIRECTORY").ok().filter(|list| !list.is_empty()) {
        return Ok(PathBuf::from(list.split(':').next().unwrap_or(&list)));
    }
    if let Some(base) = variable("XDG_STATE_HOME") {
        return Ok(base.join("finderscope"));
    }
    if let Some(home) = variable("HOME") {
        return Ok(home.join(".local/state/finderscope"));
    }
    bail!(
        "none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set: say with --state-dir where state is kept, or none"
    )
}

impl StateDir {
    /// Makes the directory (mode 0700) where it is missing, locks it, and reads what it holds. A file that is not
    /// understood is set aside, with a line in the log.
    ///
    /// # Errors
    /// It cannot be made or opened, another collector holds it, or its file cannot be read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = |what| format!("state directory {}: {what}", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| failed("cannot be made"))?;
        let lock = lock(path)?;
        let file = path.join(FILE);
        let text = match fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", file.display())),
        };
        let state = Self { path: path.to_owned(), stored: Mutex::default(), _lock: lock };
        let Some(text) = text else { return Ok(state) };
        match Overlay::from_text(&String::from_utf8_lossy(&text)) {
            Ok(overlay) => *state.stored.lock().unwrap_or_else(PoisonError::into_inner) = overlay,
            Err(why) => {
                let aside = state.set_aside()?;
                tracing::error!(
                    "{} is no state of this program ({why}): it is kept as {}, and what REST defined is not there",
                    file.display(),
                    aside.display()
                );
            }
        }
        Ok(state)
    }

    /// Renames the file, so that nothing is written over it; its new name.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(&self) -> anyhow::Result<PathBuf> {
        let file = self.path.join(FILE);
        let aside = (1..1000)
            .map(|n| self.path.join(format!("{FILE}.aside-{n}")))
            .find(|aside| !aside.exists())
            .with_context(|| format!("{} holds 999 files that were set aside", self.path.display()))?;
        fs::rename(&file, &aside).with_context(|| format!("{}: cannot be set aside", file.display()))?;
        Ok(aside)
    }

    /// What it holds.
    pub fn stored(&self) -> Overlay {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what it holds; returns when it is on disk.
    ///
    /// # Errors
    /// The new file cannot be written; the old one is then left as it was.
    pub fn store(&self, overlay: Overlay) -> anyhow::Result<()> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if *stored == overlay {
            return Ok(());
        }
        let mut text = serde_json::to_vec_pretty(&overlay.to_json())?;
        text.push(b'\n');
        self.replace(FILE, &text)?;
        *stored = overlay;
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What persons have changed of actions; null where there is nothing. Where it cannot be read, perhaps the kill switch
    /// is among it: actions then observe, with a line in the log.
    pub fn actions(&self) -> Json {
        let file = self.path.join(ACTIONS_FILE);
        let read = match fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| format!("is not understood: {error}"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Json::Null),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        read.unwrap_or_else(|why| {
            tracing::error!(
                "{} {why}; actions only observe until PUT /actions/json says otherwise",
                file.display()
            );
            json!({ "mode": "observe" })
        })
    }

    /// Replaces that; returns when it is on disk.
    ///
    /// # Errors
    /// The new file cannot be written; the old one is then left as it was.
    pub fn store_actions(&self, changed: &Json) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(changed)?;
        text.push(b'\n');
        self.replace(ACTIONS_FILE, &text)
    }

    /// Replaces a file of the directory by rename, after an fsync.
    fn replace(&self, name: &str, text: &[u8]) -> anyhow::Result<()> {
        let file = self.path.join(name);
        let next = self.path.join(format!("{name}.next"));
        let write = || -> std::io::Result<()> {
            let mut out =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
            out.write_all(text)?;
            out.sync_all()?;
            fs::rename(&next, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("{}: cannot be written", file.display()))
    }
}

/// Locks the directory for this process, and writes its number there for those that come later.
fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{}: cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let write = |file: &mut File| -> std::io::Result<()> {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())
            };
            write(&mut file).with_context(|| format!("{}: cannot be written", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut number = String::new();
            let _ = file.read_to_string(&mut number);
            let number: String = number.chars().filter(char::is_ascii_digit).take(10).collect();
            let owner = if number.is_empty() { String::new() } else { format!(", process {number}") };
            bail!(
                "state directory {} is in use by another finderscope{owner}: stop it, or give this one its own --state-dir",
                directory.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{}: cannot be locked", path.display()))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn some() -> Definitions {
        definitions::of_json(
            &json!({"maps": {"services": {"web": ["80"]}}, "flows": {"f": {"value": "bytes"}}}),
        )
    }

    #[test]
    fn what_was_stored_is_there_again_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let overlay = Overlay { set: some(), removed: vec![(0, "default".into())] };
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.stored(), Overlay::default());
        state.store(overlay.clone()).unwrap();
        drop(state);
        assert_eq!(StateDir::open(&path).unwrap().stored(), overlay);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(FILE)), mode(&path.join("lock"))), (0o700, 0o600, 0o600));
    }

    #[test]
    fn a_second_collector_is_refused_and_told_by_whom() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        let refusal = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("finderscope, process {}:", std::process::id())), "{refusal}");
        drop(first);
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_not_understood_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        for (n, text) in
            ["{\"version\":99,\"set\":{},\"removed\":{}}", "{\"version\":1", "", "\u{0}"].iter().enumerate()
        {
            fs::write(folder.path().join(FILE), text).unwrap();
            let state = StateDir::open(folder.path()).unwrap();
            assert_eq!(state.stored(), Overlay::default());
            state.store(Overlay { set: some(), removed: Vec::new() }).unwrap();
            let aside = folder.path().join(format!("{FILE}.aside-{}", n + 1));
            assert_eq!(fs::read_to_string(aside).unwrap(), *text);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.store(Overlay { set: some(), removed: Vec::new() }).unwrap();
        // A directory in the place of the next file cannot be opened for writing, not even by root.
        fs::create_dir(folder.path().join(format!("{FILE}.next"))).unwrap();
        assert!(state.store(Overlay::default()).is_err());
        drop(state);
        assert_eq!(StateDir::open(folder.path()).unwrap().stored().set, some());
    }

    #[test]
    fn an_overlay_is_what_differs() {
        let configured = definitions::built_in();
        let mut defined = configured.clone();
        defined.extend(some());
        defined.retain(|id, _| id.1 != "default");
        let overlay = Overlay::between(&configured, &defined);
        assert_eq!((overlay.set.len(), overlay.removed.len()), (2, 1));
        assert_eq!(overlay.over(&configured), defined);
        assert_eq!(
            overlay.over(&Definitions::new()),
            some(),
            "what the configuration no longer has stays away"
        );
    }
}
