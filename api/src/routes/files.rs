//! Files of applications, as pages in a browser. Where they are, and that they are nowhere else, is `script`'s.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::live::Feed;
use crate::shared::Failure;

/// What is read at once, bytes: as much of a file as is in memory for a client.
const PIECE: usize = 64 << 10;

/// What is shown for a folder.
const INDEX: &str = "index.html";

/// What pages of applications may do: their own scripts and styles may stand in them, since many published ones are
/// written so. All that they load is this collector's.
const POLICY: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; form-action 'self'; \
                      frame-ancestors 'self'";

/// Media types by what a name ends with.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("geojson", "application/geo+json"),
    ("topojson", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("eot", "application/vnd.ms-fontobject"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
];

/// A file that is there.
pub(crate) struct Found {
    /// `None` where the client has it already.
    file: Option<File>,
    length: u64,
    kind: &'static str,
    tag: HeaderValue,
    changed: Option<HeaderValue>,
}

/// There is no such file, or it is not shown.
pub(crate) fn none() -> Failure {
    Failure::not_found("no such file; /apps/json lists applications, whose pages are in their folder html")
}

/// The path inside of a folder that segments name; `None` for one that could name anything else. An empty last one means
/// the folder's index.
pub(crate) fn path(segments: &[String]) -> Option<String> {
    let Some((last, folders)) = segments.split_last() else { return Some(INDEX.to_owned()) };
    let last = if last.is_empty() { INDEX } else { last };
    let all: Vec<&str> = folders.iter().map(String::as_str).chain([last]).collect();
    // What begins with a dot is hidden, or leads out.
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\', ':'])
            && !name.contains(char::is_control)
    };
    all.iter().all(is_name).then(|| all.join("/"))
}

/// Opens a file, unless the client's headers say that it has it.
pub(crate) fn find(path: &Path, headers: &HeaderMap) -> Result<Found, Failure> {
    // A pipe would have to be waited for.
    if !std::fs::metadata(path).is_ok_and(|known| known.is_file()) {
        return Err(none());
    }
    let file = File::open(path).map_err(|_| none())?;
    let known = file.metadata().map_err(|_| none())?;
    let modified = known.modified().ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let tag = format!("\"{:x}-{:x}\"", known.len(), since.as_nanos());
    let has_it = has(headers, &tag, since);
    let text = |text: String| HeaderValue::from_str(&text).ok();
    Ok(Found {
        file: (!has_it).then_some(file),
        length: known.len(),
        kind: kind(path),
        tag: text(tag).ok_or_else(none)?,
        changed: modified.and_then(|at| text(httpdate::fmt_http_date(at))),
    })
}

/// Whether the client has the file with this tag and time already (RFC 9110, 13.2.2: a tag counts before a time).
fn has(headers: &HeaderMap, tag: &str, since: Duration) -> bool {
    let mut tags = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        let all = tags.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        return all.map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    }
    let time = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let time: Option<SystemTime> = time.and_then(|time| httpdate::parse_http_date(time).ok());
    let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.is_some_and(|time| since.as_secs() <= time.as_secs())
}

fn kind(path: &Path) -> &'static str {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let known = KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(end));
    known.map_or("application/octet-stream", |(_, kind)| *kind)
}

/// The answer, piece by piece as the client takes it.
pub(crate) fn answer(found: Found) -> Response {
    let Found { file, length, kind, tag, changed } = found;
    let mut response = match file {
        Some(file) => {
            let (feed, pieces) = mpsc::channel(1);
            tokio::spawn(read(file, feed));
            let kind = HeaderValue::from_static(kind);
            let about = [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, length.into())];
            (about, Body::new(Feed(pieces))).into_response()
        }
        None => StatusCode::NOT_MODIFIED.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    // It may be kept, and is asked for anew each time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(changed) = changed {
        headers.insert(header::LAST_MODIFIED, changed);
    }
    of_application(response)
}

/// An answer that is part of an application's pages.
pub(crate) fn of_application(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    response
}

/// Reads a file on threads that may wait, until its end or that of the client. One that ends early ends the connection,
/// because more was promised.
async fn read(mut file: File, feed: mpsc::Sender<Bytes>) {
    loop {
        let next = move || {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).unwrap_or(0);
            piece.truncate(read);
            (file, piece)
        };
        let Ok((same, piece)) = tokio::task::spawn_blocking(next).await else { return };
        if piece.is_empty() || feed.send(piece.into()).await.is_err() {
            return;
        }
        file = same;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_file_below_is_a_path() {
        let of = |segments: &[&str]| path(&segments.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        for (segments, expected) in [
            (&[][..], Some("index.html")),
            (&[""], Some("index.html")),
            (&["js", ""], Some("js/index.html")),
            (&["js", "app.min.js"], Some("js/app.min.js")),
            (&["..", "secret"], None),
            (&["a", "..", "b"], None),
            (&[".", "b"], None),
            (&[".git", "config"], None),
            (&["", "etc", "passwd"], None),
            (&["a", "", "b"], None),
            (&["../secret"], None),
            (&["a/b"], None),
            (&["a\\b"], None),
            (&["c:x"], None),
            (&["a\0.html"], None),
        ] {
            assert_eq!(of(segments).as_deref(), expected, "{segments:?}");
        }
    }

    #[test]
    fn a_file_that_the_client_has_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("App.JS");
        std::fs::write(&path, "let x;").unwrap();
        let nothing = HeaderMap::new();
        let first = find(&path, &nothing).ok().unwrap();
        assert_eq!(
            (first.length, first.kind, first.file.is_some()),
            (6, "text/javascript; charset=utf-8", true)
        );
        let is_sent = |name: header::HeaderName, value: &str| {
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            find(&path, &headers).ok().unwrap().file.is_some()
        };
        let tag = first.tag.to_str().unwrap();
        let changed = first.changed.unwrap();
        for (name, value, sent) in [
            (header::IF_NONE_MATCH, tag.to_owned(), false),
            (header::IF_NONE_MATCH, format!("\"other\", W/{tag}"), false),
            (header::IF_NONE_MATCH, "\"other\"".to_owned(), true),
            (header::IF_MODIFIED_SINCE, changed.to_str().unwrap().to_owned(), false),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), true),
            (header::IF_MODIFIED_SINCE, "yesterday".to_owned(), true),
        ] {
            assert_eq!(is_sent(name.clone(), &value), sent, "{name}: {value}");
        }
        std::fs::write(&path, "let longer;").unwrap();
        assert_ne!(find(&path, &nothing).ok().unwrap().tag, first.tag);
        assert!(find(folder.path(), &nothing).is_err() && find(&folder.path().join("b"), &nothing).is_err());
    }
}
