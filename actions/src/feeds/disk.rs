//! The last good list of a feed on disk: a list as any other, after a line that says what it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ip_network::IpNetwork;
use serde::{Deserialize, Serialize};

use super::parse::parse;

/// The folder in the state directory.
const FOLDER: &str = "feeds";
/// The form of the files; one of another form is not read.
const VERSION: u64 = 1;
/// The largest file that is read, bytes.
const LARGEST: u64 = 1 << 30;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) networks: Vec<IpNetwork>,
    /// When it came, milliseconds since 1970.
    pub(super) fetched_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct About {
    version: u64,
    /// Where it came from, without credentials: the list of another source is another list.
    source: String,
    fetched_ms: u64,
    prefixes: usize,
}

fn path(state: &Path, name: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{name}.list"))
}

/// The list that was kept of a feed; `None` where there is none of this source.
///
/// # Errors
/// There is a file that cannot be used; the message names it.
pub(super) fn load(state: &Path, name: &str, source: &str) -> Result<Option<Kept>, String> {
    let path = path(state, name);
    let failed = |why: String| format!("{}: {why}: it is not used", path.display());
    let text = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(about) if about.len() > LARGEST => {
            return Err(failed(format!("it is longer than {LARGEST} bytes")));
        }
        Ok(_) => fs::read(&path).map_err(|error| failed(error.to_string()))?,
    };
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let about: About = first
        .strip_prefix(b"# ")
        .and_then(|json| serde_json::from_slice(json).ok())
        .filter(|about: &About| about.version == VERSION)
        .ok_or_else(|| failed("it is no list of this program".to_owned()))?;
    if about.source != source {
        return Ok(None);
    }
    let parsed = parse(&text, about.prefixes).map_err(|error| failed(error.to_string()))?;
    if parsed.unparsed > 0 || parsed.networks.len() != about.prefixes {
        return Err(failed("it is not whole".to_owned()));
    }
    Ok(Some(Kept { networks: parsed.networks, fetched_ms: about.fetched_ms }))
}

/// Replaces the list that is kept; returns when it is on disk. A crash leaves the old one or the new one.
///
/// # Errors
/// It cannot be written; the old one is then left as it was.
pub(super) fn store(state: &Path, name: &str, source: &str, kept: &Kept) -> io::Result<()> {
    let path = path(state, name);
    let next = path.with_extension("next");
    let folder = state.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let about = About {
        version: VERSION,
        source: source.to_owned(),
        fetched_ms: kept.fetched_ms,
        prefixes: kept.networks.len(),
    };
    let mut text = format!("# {}\n", serde_json::to_string(&about)?);
    for network in &kept.networks {
        text.push_str(&network.to_string());
        text.push('\n');
    }
    let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&next, &path)?;
    File::open(&folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_whatever_is_broken_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let networks = ["192.0.2.0/24", "2001:db8::1/128"].map(|text| text.parse().unwrap()).to_vec();
        let kept = Kept { networks, fetched_ms: 42 };
        assert_eq!(load(state, "a", "https://x/"), Ok(None));
        store(state, "a", "https://x/", &kept).unwrap();
        assert_eq!(load(state, "a", "https://x/"), Ok(Some(kept.clone())));
        assert_eq!(load(state, "a", "https://y/"), Ok(None), "of another source");
        let file = path(state, "a");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&state.join(FOLDER))), (0o600, 0o700));
        let whole = fs::read_to_string(&file).unwrap();
        for broken in [
            &whole[..whole.len() - 18],
            "",
            "192.0.2.0/24\n",
            &whole.replace(":1,", ":2,"),
            &(whole.clone() + "x\n"),
        ] {
            fs::write(&file, broken).unwrap();
            let error = load(state, "a", "https://x/").unwrap_err();
            assert!(error.contains("a.list") && error.ends_with("it is not used"), "{error}");
        }
        // A folder in the place of the next file cannot be written, not even by root: the old one stays.
        store(state, "a", "https://x/", &kept).unwrap();
        fs::create_dir(file.with_extension("next")).unwrap();
        assert!(store(state, "a", "https://x/", &Kept { networks: Vec::new(), fetched_ms: 43 }).is_err());
        assert_eq!(load(state, "a", "https://x/"), Ok(Some(kept)));
    }
}
