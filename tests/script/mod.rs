//! Scripts in the running collector: the article's two, as they stand there and as we say the same; examples; and hostile ones.

mod article;
mod elb;
mod emerging;
mod examples;
mod hostile;
mod rest;

use std::path::{Path, PathBuf};

/// A script with other addresses, in a folder of the test's own.
struct Edited {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Edited {
    /// Each of these texts stands in the script once, and is replaced; nothing else is changed.
    fn new(name: &str, text: &str, addresses: &[(&str, &str)]) -> Self {
        let mut edited = text.to_owned();
        for (theirs, ours) in addresses {
            assert_eq!(edited.matches(theirs).count(), 1, "{theirs} in {name}");
            edited = edited.replace(theirs, ours);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, edited).unwrap();
        Self { _folder: folder, path }
    }

    /// For `--script`.
    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// The folder with the article's scripts: `$FINDERSCOPE_ARTICLE`, else beside the checkout. They are not ours to hand on.
fn articles() -> Option<PathBuf> {
    let given = std::env::var_os("FINDERSCOPE_ARTICLE").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/seed"));
    folder.is_dir().then_some(folder)
}
