//! The folder of the rules: our files in it, changed whole or not at all, and which of them the switch has taken over.
//!
//! Ours are `50rest-NAME.rules`, `50rest-NAME.bld` while one is being written, and [`RECORD`]. Nothing else in the folder
//! is touched.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Name;

use super::log;

/// Files of rules at most.
pub(crate) const MOST_FILES: usize = 1000;

/// Longest file of rules that is read back, bytes: whatever the grammar has fits, other things may have been put there.
const FILE_BYTES: u64 = 1 << 20;

/// The file that tells what the switch had taken over last. No rule: the switch reads `*.rules`.
const RECORD: &str = ".finderscope-acl.installed";

/// What files hold, told apart by length and hash.
pub(crate) type Contents = BTreeMap<Name, (u64, u64)>;

/// The folder, which nobody else of us has.
pub(crate) struct Store {
    folder: PathBuf,
    /// Held while the folder is used; released when its file is closed.
    _lock: File,
    /// One changes at a time.
    changing: Mutex<()>,
}

/// What a request to write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The file is new or has changed.
    Changed,
    /// It is as it was.
    Unchanged,
    /// There are [`MOST_FILES`] others.
    Full,
}

impl Store {
    /// Takes the folder, and removes what was being written when a former process ended.
    ///
    /// # Errors
    /// The folder is not there, cannot be read, or another process has it.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("the folder of the rules {}: {error}", folder.display());
        let lock = File::open(folder).map_err(wrong)?;
        if !lock.metadata().map_err(wrong)?.is_dir() {
            return Err(format!("the folder of the rules {} is no folder", folder.display()));
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another finderscope-acl has the folder of the rules {}",
                    folder.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let store = Self { folder: folder.to_owned(), _lock: lock, changing: Mutex::new(()) };
        for name in store.with_ending(".bld").map_err(wrong)? {
            fs::remove_file(store.building(&name)).map_err(wrong)?;
            log::info(&format!("removed what was being written of {name} when a former process ended"));
        }
        Ok(store)
    }

    /// The names of our files.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn names(&self) -> io::Result<Vec<Name>> {
        self.with_ending(".rules")
    }

    /// The lines of a file; none if there is no such file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn lines(&self, name: &Name) -> io::Result<Option<Vec<String>>> {
        let text = self.text(name)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()))
    }

    /// Makes a file hold these rules, and comes back when the disk has it.
    ///
    /// # Errors
    /// It cannot be written. The file is as it was then.
    pub(crate) fn put(&self, name: &Name, rules: &crate::File) -> io::Result<Put> {
        let _changing = self.changing();
        let text: String = rules.lines().iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let old = self.text(name)?;
        if old.as_deref() == Some(text.as_bytes()) {
            return Ok(Put::Unchanged);
        }
        if old.is_none() && self.names()?.len() >= MOST_FILES {
            return Ok(Put::Full);
        }
        self.write(&self.building(name), &self.path(name), text.as_bytes())?;
        Ok(Put::Changed)
    }

    /// Removes a file. Whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn remove(&self, name: &Name) -> io::Result<bool> {
        let _changing = self.changing();
        let removed = self.unlink(&self.path(name))?;
        if removed {
            self.sync()?;
        }
        Ok(removed)
    }

    /// Removes all our files. How many there were.
    ///
    /// # Errors
    /// One cannot be removed; those before it are gone.
    pub(crate) fn remove_all(&self) -> io::Result<usize> {
        let _changing = self.changing();
        let mut removed = 0;
        for name in self.names()? {
            removed += usize::from(self.unlink(&self.path(&name))?);
        }
        if removed > 0 {
            self.sync()?;
        }
        Ok(removed)
    }

    /// What our files hold.
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) fn contents(&self) -> io::Result<Contents> {
        let _changing = self.changing();
        let mut contents = Contents::new();
        for name in self.names()? {
            if let Some(text) = self.text(&name)? {
                contents.insert(name, (text.len() as u64, hash(&text)));
            }
        }
        Ok(contents)
    }

    /// What the switch had taken over last; nothing where that is not known.
    pub(crate) fn installed(&self) -> Option<Contents> {
        let text = fs::read_to_string(self.folder.join(RECORD)).ok()?;
        text.lines()
            .map(|line| {
                let mut words = line.split(' ');
                let name = words.next()?.parse().ok()?;
                Some((name, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
            })
            .collect()
    }

    /// Notes what the switch has taken over, or that this is not known while it is being told.
    ///
    /// # Errors
    /// It cannot be written. The next start has the switch take all over again then.
    pub(crate) fn note(&self, installed: Option<&Contents>) -> io::Result<()> {
        let path = self.folder.join(RECORD);
        let Some(installed) = installed else {
            self.unlink(&path)?;
            return Ok(());
        };
        let lines = installed.iter().map(|(name, (length, hash))| format!("{name} {length} {hash}\n"));
        self.write(&self.folder.join(format!("{RECORD}.bld")), &path, lines.collect::<String>().as_bytes())
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("50rest-{name}.rules"))
    }

    fn building(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("50rest-{name}.bld"))
    }

    /// The names of our files that end so, in order. A folder or a link of such a name is not ours.
    fn with_ending(&self, ending: &str) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .and_then(|name| name.strip_prefix("50rest-")?.strip_suffix(ending)?.parse().ok());
            if let Some(name) = name.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn text(&self, name: &Name) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => {}
            Ok(_) => return Err(io::Error::other(format!("{} is no file", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut text = Vec::new();
        File::open(path)?.take(FILE_BYTES).read_to_end(&mut text)?;
        Ok(Some(text))
    }

    /// Writes a file beside its place and moves it there, so that it is whole or not there whenever the power fails.
    fn write(&self, building: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
        let written = (|| {
            self.unlink(building)?;
            let mut file = OpenOptions::new().write(true).create_new(true).open(building)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(building, path)
        })();
        if written.is_err() {
            // The next start removes it otherwise.
            let _ = fs::remove_file(building);
        }
        written?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn unlink(&self, path: &Path) -> io::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// FNV-1a: the same in every version of this program, which a file on the disk needs.
fn hash(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn rules(rule: &str) -> crate::File {
        crate::File::parse(&["[iptables]", rule]).unwrap()
    }

    fn listing(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_read_and_removed_and_foreign_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = [
            "00control_plane.rules",
            "50rest-A.rules",
            "50rest-a-b.rules",
            "50rest-lasterror.rules",
            "x.bld",
        ];
        for name in foreign {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("50rest-dir.rules")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("50rest-link.rules")).unwrap();
        fs::write(folder.path().join("50rest-stale.bld"), "half").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(!folder.path().join("50rest-stale.bld").exists());
        assert!(Store::open(folder.path()).err().unwrap().contains("another finderscope-acl has the folder"));
        let before = listing(folder.path());
        let (name, other): (Name, Name) = ("emrg0".parse().unwrap(), "emrg1".parse().unwrap());
        let drop = rules("-A FORWARD -j DROP");
        assert_eq!(store.put(&name, &drop).unwrap(), Put::Changed);
        assert_eq!(store.put(&name, &drop).unwrap(), Put::Unchanged);
        assert_eq!(store.put(&name, &rules("-A FORWARD -j LOG")).unwrap(), Put::Changed);
        assert_eq!(store.put(&other, &drop).unwrap(), Put::Changed);
        assert_eq!(store.names().unwrap(), [name.clone(), other.clone()]);
        assert_eq!(store.lines(&name).unwrap().unwrap(), ["[iptables]", "-A FORWARD -j LOG"]);
        assert!(store.remove(&name).unwrap() && !store.remove(&name).unwrap());
        assert_eq!((store.lines(&name).unwrap(), store.remove_all().unwrap()), (None, 1));
        assert!(store.lines(&"link".parse().unwrap()).is_err(), "a link is not followed");
        assert_eq!(listing(folder.path()), before);
    }

    #[test]
    fn what_is_installed_is_remembered_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.installed(), None);
        store.put(&"a".parse().unwrap(), &rules("-A FORWARD -j DROP")).unwrap();
        let contents = store.contents().unwrap();
        store.note(Some(&contents)).unwrap();
        assert_eq!(store.installed().as_ref(), Some(&contents));
        store.put(&"a".parse().unwrap(), &rules("-A FORWARD -j LOG")).unwrap();
        assert_ne!(store.installed(), Some(store.contents().unwrap()));
        fs::write(folder.path().join(RECORD), "a 1\n").unwrap();
        assert_eq!(store.installed(), None, "what is not understood is not known");
        store.note(None).unwrap();
        assert_eq!(listing(folder.path()), ["50rest-a.rules"]);
    }

    #[test]
    fn a_thousand_files_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for at in 0..MOST_FILES {
            fs::write(folder.path().join(format!("50rest-n{at}.rules")), "").unwrap();
        }
        let drop = rules("-A FORWARD -j DROP");
        assert_eq!(store.put(&"more".parse().unwrap(), &drop).unwrap(), Put::Full);
        assert_eq!(store.put(&"n7".parse().unwrap(), &drop).unwrap(), Put::Changed);
    }
}
