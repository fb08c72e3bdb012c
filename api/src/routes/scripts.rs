//! Scripts and applications: which there are, how they are, and what their handlers answer.
//!
//! A path is taken apart as it was written, segment by segment, so that a slash that is written as `%2F` stays in its
//! segment.

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use script::{Request as Asked, RequestError};

use super::files;
use crate::escape::JsonAnswer;
use crate::shared::{Conditions, Failure, Reply, Shared, bytes};

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let status = match error {
            RequestError::NoScript | RequestError::NoHandler => StatusCode::NOT_FOUND,
            RequestError::Full | RequestError::Late | RequestError::Ended => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

pub(crate) async fn scripts(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.scripts.json())
}

pub(crate) async fn apps(State(shared): State<Shared>) -> JsonAnswer {
    JsonAnswer(shared.scripts.apps_json())
}

pub(crate) async fn status(State(shared): State<Shared>, Path(app): Path<String>) -> Reply {
    match shared.scripts.app_is_ok(&app) {
        Some(true) => Ok("OK".into_response()),
        Some(false) => Ok((StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE").into_response()),
        None => Err(no_app()),
    }
}

/// `/script/{script}/{*path}`; the script of an application is `app~file.js`.
pub(crate) async fn script(State(shared): State<Shared>, request: Request) -> Reply {
    let segments = segments(request.uri())?;
    let [_, name, path @ ..] = segments.as_slice() else { return Err(RequestError::NoScript.into()) };
    ask(&shared, name, path, request).await
}

/// `/app/{app}/scripts/{script}/{*path}`
pub(crate) async fn of_app(State(shared): State<Shared>, request: Request) -> Reply {
    let segments = segments(request.uri())?;
    let [_, app, _, file, path @ ..] = segments.as_slice() else {
        return Err(RequestError::NoScript.into());
    };
    ask(&shared, &format!("{app}~{file}"), path, request).await
}

/// `/app/{app}/html/{*path}`
pub(crate) async fn page(State(shared): State<Shared>, request: Request) -> Reply {
    let segments = segments(request.uri())?;
    let [_, app, _, path @ ..] = segments.as_slice() else { return Err(no_app()) };
    let path = files::path(path).ok_or_else(files::none)?;
    let (scripts, app) = (shared.scripts.clone(), app.clone());
    let headers = request.into_parts().0.headers;
    let found = move || {
        let path = scripts.app_file(&app, &path).ok_or_else(files::none)?;
        files::find(&path, &headers)
    };
    let found = shared.aside(move |_| found()).await?;
    Ok(files::answer(found))
}

/// Has a script answer; the last segment of the path is the format.
async fn ask(shared: &Shared, name: &str, path: &[String], request: Request) -> Reply {
    let Some((format, path)) = path.split_last().filter(|(format, _)| !format.is_empty()) else {
        let example = "a script's path ends with the format that is wanted, as /script/elb.js/json";
        return Err(Failure::not_found(example));
    };
    let (parts, body) = request.into_parts();
    let Query(query) =
        Conditions::try_from_uri(&parts.uri).map_err(|wrong| Failure::wrong(wrong.body_text()))?;
    let says = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let (content_type, accept) = (says(header::CONTENT_TYPE), says(header::ACCEPT));
    let asked = Asked {
        method: parts.method.to_string(),
        path: path.to_vec(),
        query,
        content_type: content_type.map(str::to_owned),
        format: format.clone(),
        wants_json: accept.is_some_and(|accept| accept.trim_start().starts_with("application/json")),
        body: bytes(body).await?.to_vec(),
    };
    let reply = shared.scripts.request(name, asked).await?;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type))];
    let response = (status, kind, reply.body).into_response();
    Ok(if reply.content_type.starts_with("text/html") { files::of_application(response) } else { response })
}

fn no_app() -> Failure {
    Failure::not_found("no such application; /apps/json lists them")
}

/// The segments of a path without the first slash.
fn segments(uri: &Uri) -> Result<Vec<String>, Failure> {
    let path = uri.path();
    path.strip_prefix('/').unwrap_or(path).split('/').map(decoded).collect()
}

/// A segment without its percent signs. One that is not followed by two digits stands for itself.
fn decoded(segment: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let value = (*first == b'%').then(|| Some(digit(0)? * 16 + digit(1)?)).flatten();
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::wrong(format!("{segment:?} in the path is no UTF-8")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_before_it_is_decoded() {
        let of = |path: &'static str| segments(&Uri::from_static(path)).map_err(|f| f.status.as_u16());
        assert_eq!(
            of("/script/a.js/x%2Fy/%C3%A9/json?a=b%2F"),
            Ok(["script", "a.js", "x/y", "é", "json"].map(str::to_owned).to_vec())
        );
        assert_eq!(of("/a//%2e%2E/"), Ok(["a", "", "..", ""].map(str::to_owned).to_vec()));
        assert_eq!(of("/100%/%4/%zz/+"), Ok(["100%", "%4", "%zz", "+"].map(str::to_owned).to_vec()));
        assert_eq!(of("/%FF"), Err(400));
    }
}
