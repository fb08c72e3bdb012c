//! Reading a feed's bytes, from a server or a file.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::config::Source;
use crate::http::{Answer, Client, Error};

/// What a feed gave.
#[derive(Debug)]
pub(super) enum Fetched {
    /// What it gave the last time is all that there is.
    NotModified,
    /// Its bytes, and how to ask whether there are others.
    Body(Vec<u8>, Marks),
}

/// How to ask whether a feed has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    etag: Option<String>,
    last_modified: Option<String>,
    /// Of a file: its number, length and time of change.
    file: Option<(u64, u64, i64, i64)>,
}

/// Why there are no bytes.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// A short name, for counters.
    pub(super) label: &'static str,
    pub(super) why: String,
    /// Whether the same will not be answered in a moment too.
    pub(super) soon: bool,
}

impl Failure {
    fn lasting(label: &'static str, why: impl Into<String>) -> Self {
        Self { label, why: why.into(), soon: false }
    }
}

/// Reads a feed; `marks` are those of what it gave before.
pub(super) async fn fetch(source: &Source, size_bytes: u64, marks: &Marks) -> Result<Fetched, Failure> {
    match source {
        Source::Http(url, options) => {
            let client = Client::new(url.clone(), (**options).clone());
            let mut headers = vec![("accept", "text/plain, */*;q=0.5")];
            headers.extend(marks.etag.as_deref().map(|etag| ("if-none-match", etag)));
            headers.extend(marks.last_modified.as_deref().map(|time| ("if-modified-since", time)));
            taken(client.get(&headers).await.map_err(of_http)?, marks)
        }
        Source::File(path) => {
            let (path, marks) = (path.clone(), marks.clone());
            let read = tokio::task::spawn_blocking(move || file(&path, size_bytes, &marks)).await;
            read.map_err(|error| Failure::lasting("file", error.to_string()))?
        }
    }
}

fn of_http(error: Error) -> Failure {
    // Waiting does not make a list shorter or a redirect lead elsewhere.
    let soon = matches!(error, Error::Connect { .. } | Error::Time { .. } | Error::Lost { .. });
    Failure { label: error.label(), why: error.to_string(), soon }
}

fn taken(answer: Answer, marks: &Marks) -> Result<Fetched, Failure> {
    let asked = marks.etag.is_some() || marks.last_modified.is_some();
    match answer.status {
        200 => {}
        304 if asked => return Ok(Fetched::NotModified),
        status => {
            let why = format!("{}: status {status}: {}", answer.url, answer.words());
            return Err(Failure { label: "status", why, soon: status >= 500 });
        }
    }
    let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("text/html") || kind.starts_with("application/xhtml") {
        return Err(Failure::lasting("page", format!("{}: it is a page ({kind}) and no list", answer.url)));
    }
    if !answer.framed {
        let why = "its server does not say where its list ends, so that nobody can tell whether it is whole";
        return Err(Failure::lasting("unframed", format!("{}: {why}", answer.url)));
    }
    let text = |name| answer.header(name).filter(|text| text.len() <= 1024).map(str::to_owned);
    let marks = Marks { etag: text("etag"), last_modified: text("last-modified"), file: None };
    Ok(Fetched::Body(answer.body, marks))
}

fn file(path: &Path, size_bytes: u64, marks: &Marks) -> Result<Fetched, Failure> {
    let named = crate::text::shown(&path.to_string_lossy());
    let failed = |why: String| Failure::lasting("file", format!("{named}: {why}"));
    let about = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() {
        return Err(failed("it is no file".to_owned()));
    }
    let mark = Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()));
    if mark == marks.file {
        return Ok(Fetched::NotModified);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(size_bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > size_bytes {
        return Err(Failure::lasting("too_long", format!("{named}: it is longer than {size_bytes} bytes")));
    }
    Ok(Fetched::Body(bytes, Marks { file: mark, ..Marks::default() }))
}
