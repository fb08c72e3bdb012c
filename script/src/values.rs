//! Values that scripts keep: those that all of them see, for as long as the collector runs, and those of one script or
//! application, which are there after a restart too.
//!
//! A store is one file of JSON, written aside and renamed over the former one: after a crash it has all of the former
//! values or all of the new ones. Names are inside it, and never become paths.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

/// What all values of `sharedSet` may take, bytes, their names included; and what those of one store may take.
const MOST_SHARED: usize = 16 << 20;
const MOST_STORED: usize = 4 << 20;

/// Bytes of a name at most.
const LONGEST_NAME: usize = 1000;

/// What is stored, by owner and by file.
type Stores = BTreeMap<(String, Option<PathBuf>), Arc<Mutex<Store>>>;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Values {
    shared: Mutex<Kept>,
    /// The operator may move them while the collector runs.
    stores: Mutex<Stores>,
}

/// Values by name, and what they take.
#[derive(Debug, Default)]
struct Kept {
    values: BTreeMap<String, Json>,
    bytes: usize,
}

/// The values of one script or application.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None` where nothing is kept over a restart.
    file: Option<PathBuf>,
    kept: Kept,
}

impl Values {
    /// A value that all scripts see.
    pub(crate) fn shared(&self, name: &str) -> Option<Json> {
        lock(&self.shared).values.get(name).cloned()
    }

    /// Sets a value that all scripts see; `None` takes it away.
    ///
    /// # Errors
    /// The name is too long, or there is no room for it.
    pub(crate) fn share(&self, name: &str, value: Option<Json>) -> Result<(), String> {
        lock(&self.shared).set(name, value, MOST_SHARED).map(|_| ())
    }

    /// The values of an owner, kept in this folder; the same for all who ask.
    ///
    /// # Errors
    /// Its file is there and cannot be read.
    pub(crate) fn store(&self, owner: &str, folder: Option<&Path>) -> Result<Arc<Mutex<Store>>, String> {
        let mut stores = lock(&self.stores);
        let key = (owner.to_owned(), folder.map(|folder| folder.join(file_name(owner))));
        if let Some(store) = stores.get(&key) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Mutex::new(Store::open(key.1.clone())?));
        stores.insert(key, Arc::clone(&store));
        Ok(store)
    }
}

impl Kept {
    /// Sets a value or takes it away; whether that changed anything.
    fn set(&mut self, name: &str, value: Option<Json>, most: usize) -> Result<bool, String> {
        if name.len() > LONGEST_NAME {
            return Err(format!("a name has {LONGEST_NAME} bytes at most"));
        }
        if self.values.get(name) == value.as_ref() {
            return Ok(false);
        }
        let was = self.values.get(name).map_or(0, |value| weight(name, value));
        let bytes = self.bytes - was + value.as_ref().map_or(0, |value| weight(name, value));
        if value.is_some() && bytes > most {
            return Err(format!("no room: all values and their names have {most} bytes at most"));
        }
        self.bytes = bytes;
        match value {
            Some(value) => drop(self.values.insert(name.to_owned(), value)),
            None => drop(self.values.remove(name)),
        }
        Ok(true)
    }
}

impl Store {
    fn open(file: Option<PathBuf>) -> Result<Self, String> {
        let mut kept = Kept::default();
        if let Some(path) = &file {
            let wrong = |why: String| format!("{} cannot be read, move it away: {why}", path.display());
            match fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(wrong(error.to_string())),
                Ok(text) => {
                    kept.values = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                    kept.bytes = kept.values.iter().map(|(name, value)| weight(name, value)).sum();
                }
            }
        }
        Ok(Self { file, kept })
    }

    /// A value.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.kept.values.get(name)
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.kept.values.keys()
    }

    /// Sets a value, or takes it away, and has it on the disk when this returns.
    ///
    /// # Errors
    /// The name is too long, there is no room for it, or it cannot be written; nothing is then changed.
    pub(crate) fn set(&mut self, name: &str, value: Option<Json>) -> Result<(), String> {
        let was = self.kept.values.get(name).cloned();
        if !self.kept.set(name, value, MOST_STORED)? {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = write(file, &self.kept.values) {
            let why = format!("{} cannot be written: {error}", file.display());
            self.kept.set(name, was, usize::MAX)?;
            return Err(why);
        }
        Ok(())
    }
}

/// What a value and its name take in a file, bytes.
fn weight(name: &str, value: &Json) -> usize {
    name.len() + value.to_string().len() + 6
}

fn write(file: &Path, values: &BTreeMap<String, Json>) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let aside = file.with_extension("new");
    let mut new = File::create(&aside)?;
    new.write_all(&serde_json::to_vec(values)?)?;
    new.sync_all()?;
    fs::rename(&aside, file)?;
    File::open(folder)?.sync_all()
}

/// A file name of an owner's name, a different one for each: what may mean something in a path is written by its number.
fn file_name(owner: &str) -> String {
    let mut name = String::new();
    for byte in owner.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name + ".json"
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_stored_is_there_after_a_restart_and_in_its_own_file() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("store");
        let open = |owner: &str| Values::default().store(owner, Some(&folder)).unwrap();
        {
            let store = open("script:../../etc/passwd");
            let mut store = lock(&store);
            store.set("../a", Some(json!({"n": [1, null]}))).unwrap();
            store.set("b", Some(json!("x"))).unwrap();
            store.set("b", None).unwrap();
        }
        let again = open("script:../../etc/passwd");
        assert_eq!(lock(&again).get("../a"), Some(&json!({"n": [1, null]})));
        assert_eq!(lock(&again).names().collect::<Vec<_>>(), ["../a"]);
        assert_eq!(lock(&open("script:other")).names().count(), 0);
        let files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(files, ["script%3a%2e%2e%2f%2e%2e%2fetc%2fpasswd.json"], "and none beside it");
        // The operator has moved it while the collector runs.
        let values = Values::default();
        let moved = values.store("script:a", Some(&place.path().join("moved"))).unwrap();
        lock(&values.store("script:a", Some(&folder)).unwrap()).set("c", Some(json!(1))).unwrap();
        assert_eq!(lock(&moved).names().count(), 0);
        fs::remove_file(folder.join(file_name("script:a"))).unwrap();
        // A file that was broken is kept for whoever looks after it.
        fs::write(folder.join(&files[0]), "{").unwrap();
        let error = Values::default().store("script:../../etc/passwd", Some(&folder)).unwrap_err();
        assert!(error.contains("cannot be read, move it away"), "{error}");
    }

    #[test]
    fn values_have_a_limit_that_is_given_back() {
        let values = Values::default();
        let large = || Some(Json::from("x".repeat(MOST_SHARED - 100)));
        values.share("a", large()).unwrap();
        assert!(values.share("b", large()).unwrap_err().contains("no room"));
        values.share("a", Some(json!(1))).unwrap();
        values.share("b", large()).unwrap();
        values.share("b", None).unwrap();
        assert_eq!((values.shared("a"), values.shared("b")), (Some(json!(1)), None));
        assert_eq!(lock(&values.shared).bytes, weight("a", &json!(1)));
        assert!(values.share(&"n".repeat(LONGEST_NAME + 1), Some(json!(1))).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_not_said_to_be_kept() {
        let place = tempfile::tempdir().unwrap();
        // Where the folder should be is a file.
        fs::write(place.path().join("store"), "").unwrap();
        let store = Store { file: Some(place.path().join("store/x.json")), kept: Kept::default() };
        let store = Mutex::new(store);
        assert!(lock(&store).set("a", Some(json!(1))).unwrap_err().contains("cannot be written"));
        assert_eq!(lock(&store).get("a"), None);
    }
}
