//! Who may ask under which name, and who may write (promise A9).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::shared::{Failure, Shared};

/// The rules of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// The address that it listens on.
    pub(crate) own: IpAddr,
    /// Names beside the address.
    pub(crate) names: Vec<String>,
    /// What a write must show.
    pub(crate) token: Option<String>,
    /// Whether nobody may write.
    pub(crate) read_only: bool,
}

impl Guard {
    /// Whether the Host header names this collector: by an address, by `localhost` when it is bound to loopback,
    /// or by a configured name. A web page in the operator's browser cannot reach it by a name of its own.
    fn host(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let mut given = headers.get_all(header::HOST).iter();
        let (one, more) = (given.next().and_then(|value| value.to_str().ok()), given.next());
        if more.is_none() && one.is_some_and(|host| self.names_us(host)) {
            return Ok(());
        }
        let error = "the Host header names another host: use the address, or start with --http-host NAME";
        Err(Failure::new(StatusCode::FORBIDDEN, error))
    }

    fn names_us(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => host.split(':').next().unwrap_or(host),
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return !self.own.is_loopback() || address.is_loopback();
        }
        (self.own.is_loopback() && name.eq_ignore_ascii_case("localhost"))
            || self.names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    /// Whether a request that changes something may do so.
    fn write(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if self.read_only {
            return Err(Failure::new(StatusCode::FORBIDDEN, "this collector is read only (--http-readonly)"));
        }
        let Some(token) = &self.token else {
            if self.own.is_loopback() {
                return Ok(());
            }
            let error =
                "writes are open on a loopback address only: elsewhere they need a token (--http-token-file)";
            return Err(Failure::new(StatusCode::FORBIDDEN, error));
        };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if shown.is_some_and(|shown| same(shown.as_bytes(), token.as_bytes())) {
            return Ok(());
        }
        let error = "a write needs the header Authorization: Bearer TOKEN";
        Err(Failure::new(StatusCode::UNAUTHORIZED, error))
    }

    /// Whether writes need no token, so that a page may offer them.
    pub(crate) fn open(&self) -> bool {
        !self.read_only && self.token.is_none() && self.own.is_loopback()
    }
}

/// Whether both are the same; how long that takes tells nothing but their lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b));
    std::hint::black_box(different) == 0 && a.len() == b.len()
}

/// What browsers are told about every answer: nothing is kept, guessed, framed, or loaded from elsewhere.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Lets through what may pass, counts it, and sees to it that every error is a JSON object.
pub(crate) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    shared.http.message();
    let wrong = shared.guard.host(request.headers()).and_then(|()| {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if reads { Ok(()) } else { shared.guard.write(request.headers()) }
    });
    let mut response = match wrong {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if status.is_client_error() && !is_json {
        response = explained(response).await;
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if shared.http.crowded() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    shared.http.answered(status.as_u16());
    response
}

/// An error that the library answered with a text, as ours are: with its other headers (`Allow`).
async fn explained(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let reason = parts.status.canonical_reason().unwrap_or("cannot be answered");
    let error = if text.is_empty() { reason.to_owned() } else { text };
    let mut explained = Failure::new(parts.status, error).into_response();
    for (name, value) in parts.headers.iter() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            explained.headers_mut().insert(name, value.clone());
        }
    }
    explained
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn guard(own: [u8; 4], token: Option<&str>, read_only: bool) -> Guard {
        let names = vec!["sflow.example.net".to_owned()];
        Guard { own: own.into(), names, token: token.map(str::to_owned), read_only }
    }

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn hosts_by_address_localhost_and_configured_names() {
        let loopback = guard([127, 0, 0, 1], None, false);
        for host in ["127.0.0.1:8008", "localhost:8008", "LOCALHOST", "[::1]:8008", "sflow.example.net:8008"]
        {
            assert!(loopback.host(&headers(header::HOST, host)).is_ok(), "{host}");
        }
        for host in ["evil.example.com", "10.0.0.1:8008", "localhost.evil.com", ""] {
            assert!(loopback.host(&headers(header::HOST, host)).is_err(), "{host:?}");
        }
        let mut two = headers(header::HOST, "localhost");
        two.append(header::HOST, "evil.example.com".parse().unwrap());
        assert!(loopback.host(&two).is_err() && loopback.host(&HeaderMap::new()).is_err());
        let open = guard([0, 0, 0, 0], None, false);
        assert!(open.names_us("10.0.0.1:8008") && !open.names_us("localhost"));
    }

    #[test]
    fn writes_are_open_on_loopback_and_need_the_token_elsewhere() {
        let status = |guard: &Guard, headers: &HeaderMap| guard.write(headers).map_err(|f| f.status.as_u16());
        let nothing = HeaderMap::new();
        let right = headers(header::AUTHORIZATION, "bearer secret");
        assert_eq!(status(&guard([127, 0, 0, 1], None, false), &nothing), Ok(()));
        assert_eq!(status(&guard([127, 0, 0, 1], None, true), &right), Err(403));
        assert_eq!(status(&guard([10, 0, 0, 1], None, false), &right), Err(403));
        let open = guard([0, 0, 0, 0], Some("secret"), false);
        assert_eq!(status(&open, &right), Ok(()));
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret", "Bearer Secret"]
        {
            assert_eq!(status(&open, &headers(header::AUTHORIZATION, wrong)), Err(401), "{wrong}");
        }
        assert_eq!(status(&open, &nothing), Err(401));
    }
}
