//! Which scripts a configuration means: those it lists, and those of its applications, each by its name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::app::{self, App};
use crate::config::Config;

/// A script that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) file: PathBuf,
    pub(crate) app: Option<String>,
}

/// What a configuration means.
#[derive(Debug, Default)]
pub(crate) struct All {
    /// Scripts by name.
    pub(crate) scripts: BTreeMap<String, Meant>,
    pub(crate) apps: Vec<App>,
    /// What of it cannot be.
    pub(crate) problems: Vec<String>,
}

impl All {
    /// What this one means, as the disk has it now. Of two scripts of one name the first one counts.
    pub(crate) fn of(config: &Config) -> Self {
        let mut all = Self::default();
        for file in &config.scripts {
            let name = file
                .file_name()
                .map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned());
            all.add(name, Meant { file: file.clone(), app: None });
        }
        let apps = config.apps.as_deref().map_or_else(Vec::new, |folder| {
            app::find(folder).unwrap_or_else(|error| {
                let folder = folder.display();
                all.problems.push(format!("{folder} is no folder of applications (scripts.apps): {error}"));
                Vec::new()
            })
        });
        for app in &apps {
            for file in &app.scripts {
                let Some(name) = app.script(file) else { continue };
                all.add(name, Meant { file: file.clone(), app: Some(app.name.clone()) });
            }
        }
        all.apps = apps;
        all
    }

    fn add(&mut self, name: String, one: Meant) {
        if let Some(other) = self.scripts.get(&name) {
            let (file, other) = (one.file.display(), other.file.display());
            self.problems.push(format!("{file} is not started: {other} has the same name {name}"));
        } else {
            self.scripts.insert(name, one);
        }
    }
}
