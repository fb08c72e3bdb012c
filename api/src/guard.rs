//! Who may ask under which name, who may write, and who may ask scripts (promise A9).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ip_network::IpNetwork;

use crate::serve::Peer;
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
    /// Clients whose requests to scripts need no token.
    pub(crate) script_open: Vec<IpNetwork>,
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
        self.changeable()?;
        self.authorized(headers, "a write needs the header Authorization: Bearer TOKEN").unwrap_or_else(|| {
            if self.own.is_loopback() {
                return Ok(());
            }
            let error =
                "writes are open on a loopback address only: elsewhere they need a token (--http-token-file)";
            Err(Failure::new(StatusCode::FORBIDDEN, error))
        })
    }

    /// Whether a handler of a script may be asked: it may do anything, whatever the method, so that it is asked as a
    /// write is made. Clients of `script_open` need no token.
    fn ask_script(
        &self,
        method: &Method,
        headers: &HeaderMap,
        client: Option<IpAddr>,
    ) -> Result<(), Failure> {
        if !reads(method) {
            self.changeable()?;
        }
        let wrong = "a script is asked with the header Authorization: Bearer TOKEN, or from an address of --script-open";
        let is_open = client.is_some_and(|client| self.script_open.iter().any(|open| open.contains(client)));
        let refused = match self.authorized(headers, wrong) {
            Some(Ok(())) => return Ok(()),
            Some(Err(failure)) => Some(failure),
            None if self.own.is_loopback() => None,
            None => Some(Failure::new(
                StatusCode::FORBIDDEN,
                "scripts are open on a loopback address only: elsewhere they need a token (--http-token-file), or a \
                 client of --script-open CIDR",
            )),
        };
        match refused {
            Some(failure) if !is_open => Err(failure),
            // A browser asks from an address that is let in, for whichever page it shows.
            _ if !of_our_pages(headers) => Err(Failure::new(
                StatusCode::FORBIDDEN,
                "a page of another origin asks: a script answers its own pages, and programs",
            )),
            _ => Ok(()),
        }
    }

    /// Whether anything may be changed.
    fn changeable(&self) -> Result<(), Failure> {
        let error = "this collector is read only (--http-readonly)";
        if self.read_only { Err(Failure::new(StatusCode::FORBIDDEN, error)) } else { Ok(()) }
    }

    /// Whether the token is shown; `None` where there is none to be shown.
    fn authorized(&self, headers: &HeaderMap, otherwise: &str) -> Option<Result<(), Failure>> {
        let token = self.token.as_ref()?;
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let is_shown = shown.is_some_and(|shown| same(shown.as_bytes(), token.as_bytes()));
        Some(if is_shown { Ok(()) } else { Err(Failure::new(StatusCode::UNAUTHORIZED, otherwise)) })
    }

    /// Whether writes need no token, so that a page may offer them.
    pub(crate) fn open(&self) -> bool {
        !self.read_only && self.token.is_none() && self.own.is_loopback()
    }
}

/// Whether a path is that of a script's handler. Paths are routed as they are written, and so they are read here.
pub(crate) fn is_script(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    match segments.next() {
        Some("script") => true,
        Some("app") => segments.nth(1) == Some("scripts"),
        _ => false,
    }
}

fn reads(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Whether a request is no browser's, or that of a page which came from here. GET and POST need nobody's leave to be
/// sent to another origin, and a handler may change something by either.
fn of_our_pages(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.is_some() && origin == host
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
    let (method, headers) = (request.method(), request.headers());
    let wrong = shared.guard.host(headers).and_then(|()| match request.uri().path() {
        path if is_script(path) => {
            let client = request.extensions().get::<Peer>().map(|peer| peer.0);
            shared.guard.ask_script(method, headers, client)
        }
        _ if reads(method) => Ok(()),
        _ => shared.guard.write(headers),
    });
    let mut response = match wrong {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if status.is_client_error() && !is_json {
        response = explained(response).await;
    }
    for (name, value) in HEADERS {
        // Pages of applications say otherwise of some.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
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
        let script_open = vec![tables::trust::prefix("10.0.0.0/24").unwrap()];
        Guard { own: own.into(), names, token: token.map(str::to_owned), read_only, script_open }
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

    #[test]
    fn the_paths_of_scripts_are_those_that_the_router_sends_to_them() {
        for endpoint in crate::ENDPOINTS {
            assert_eq!(is_script(endpoint.path), endpoint.any, "{}", endpoint.path);
        }
    }

    #[test]
    fn scripts_are_open_on_loopback_to_a_token_and_to_clients_that_are_let_in() {
        let ask = |guard: &Guard, method: &Method, headers: &HeaderMap, client: [u8; 4]| {
            guard.ask_script(method, headers, Some(client.into())).map_err(|failure| failure.status.as_u16())
        };
        let (nothing, right) = (HeaderMap::new(), headers(header::AUTHORIZATION, "Bearer secret"));
        let (inside, outside) = ([10, 0, 0, 7], [10, 0, 1, 7]);
        let loopback = guard([127, 0, 0, 1], None, false);
        let elsewhere = guard([0, 0, 0, 0], None, false);
        let secret = guard([0, 0, 0, 0], Some("secret"), false);
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(ask(&loopback, &method, &nothing, [127, 0, 0, 1]), Ok(()), "{method}");
            assert_eq!(ask(&elsewhere, &method, &right, outside), Err(403), "{method}");
            assert_eq!(ask(&elsewhere, &method, &nothing, inside), Ok(()), "{method}");
            assert_eq!(ask(&secret, &method, &nothing, outside), Err(401), "{method}");
            assert_eq!(ask(&secret, &method, &right, outside), Ok(()), "{method}");
            assert_eq!(ask(&secret, &method, &nothing, inside), Ok(()), "{method}");
        }
        assert_eq!(secret.ask_script(&Method::GET, &nothing, None).map_err(|f| f.status.as_u16()), Err(401));
        let read_only = guard([127, 0, 0, 1], None, true);
        assert_eq!(ask(&read_only, &Method::GET, &nothing, inside), Ok(()));
        assert_eq!(ask(&read_only, &Method::POST, &nothing, inside), Err(403));
    }

    #[test]
    fn a_page_of_another_origin_asks_no_script() {
        let loopback = guard([127, 0, 0, 1], None, false);
        let ask = |name: &str, value: &str| {
            let mut all = headers(header::HOST, "localhost:8008");
            all.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
            loopback.ask_script(&Method::GET, &all, None).is_ok()
        };
        for (name, value, passes) in [
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("origin", "http://localhost:8008", true),
            ("origin", "http://localhost:3000", false),
            ("origin", "https://evil.example.com", false),
            ("origin", "null", false),
            ("referer", "https://evil.example.com", true),
        ] {
            assert_eq!(ask(name, value), passes, "{name}: {value}");
        }
    }
}
