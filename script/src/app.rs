//! Application folders: `NAME/scripts/*.js` are scripts, `NAME/html/` is served.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Between the name of an application and that of its script.
const BETWEEN: char = '~';

/// An application, as its folder has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Its scripts' files, sorted.
    pub(crate) scripts: Vec<PathBuf>,
}

impl App {
    /// The name of a script of it.
    pub(crate) fn script(&self, file: &Path) -> Option<String> {
        Some(format!("{}{BETWEEN}{}", self.name, file.file_name()?.to_str()?))
    }

    /// Whether it has pages.
    pub(crate) fn has_pages(&self) -> bool {
        self.folder.join("html").is_dir()
    }
}

/// The applications in a folder, sorted by name. What is no folder, or has neither scripts nor pages, is none.
pub(crate) fn find(folder: &Path) -> std::io::Result<Vec<App>> {
    let mut apps = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !path.is_dir() || name.starts_with('.') || name.contains(BETWEEN) {
            continue;
        }
        let app = App { name: name.to_owned(), scripts: scripts(&path.join("scripts")), folder: path };
        if !app.scripts.is_empty() || app.has_pages() {
            apps.push(app);
        }
    }
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(apps)
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_script =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "js") && path.is_file();
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_script).collect();
    found.sort();
    found
}

/// A file below a folder; `None` when there is none, and for every path that leads out of it, by links too.
pub(crate) fn beneath(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(path).canonicalize().ok()?;
    file.starts_with(&folder).then_some(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn applications_and_their_files() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        for folder in ["trend/scripts", "trend/html", "pages/html", "nothing", "a~b/scripts", ".git/scripts"]
        {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "trend/scripts/b.js",
            "trend/scripts/a.js",
            "trend/scripts/a.txt",
            "trend/html/index.html",
            "secret",
        ] {
            fs::write(root.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink(root.join("secret"), root.join("trend/html/link")).unwrap();
        let apps = find(root).unwrap();
        let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).collect();
        assert_eq!(names, ["pages", "trend"]);
        let scripts: Vec<_> = apps[1].scripts.iter().filter_map(|file| apps[1].script(file)).collect();
        assert_eq!(scripts, ["trend~a.js", "trend~b.js"]);
        let html = root.join("trend/html");
        assert!(beneath(&html, "index.html").is_some());
        for out in ["../../secret", "/etc/passwd", "link", "missing", "./index.html", ".."] {
            assert_eq!(beneath(&html, out), None, "{out}");
        }
    }
}
