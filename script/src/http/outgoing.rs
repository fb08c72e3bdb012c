//! What a script asks for, read from the arguments of its call. No I/O.
//!
//! Arguments are read leniently, as the interface's published scripts give them; what cannot be asked for says which
//! argument is wrong and what to write.

use std::net::SocketAddr;
use std::path::PathBuf;

use actions::http::hyper::Method;
use actions::http::{Credentials, Secret, Url};
use actions::text::shown;
use serde_json::Value as Json;

/// Most bytes that a script sends.
pub(crate) const REQUEST_BYTES: usize = 16 << 20;

/// A request on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Whether it is for the collector itself, written without a host.
    pub(crate) own: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) credentials: Credentials,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub(crate) certs: Option<PathBuf>,
}

/// Where the collector itself answers; `None` where it does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnAddress(pub(crate) Option<SocketAddr>);

impl Outgoing {
    /// Reads the arguments of `http`: `(url[, "get"[, user, password[, accept]]])` or
    /// `(url, "put"|"post"|..., contentType, content[, user, password[, accept]])`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn of_http(arguments: &[Json], own: OwnAddress) -> Result<Self, String> {
        let argument = |n: usize| arguments.get(n).unwrap_or(&Json::Null);
        let method = method(argument(1))?;
        let mut outgoing = Self::to(argument(0), own)?;
        let rest = if method == Method::GET || method == Method::HEAD {
            2
        } else {
            outgoing.say("Content-Type", argument(2))?;
            outgoing.set_body(argument(3))?;
            4
        };
        outgoing.method = method;
        outgoing.credentials = credentials(argument(rest), argument(rest + 1))?;
        outgoing.say("Accept", argument(rest + 2))?;
        Ok(outgoing)
    }

    /// Reads the argument of `http2` and `httpAsync`: `{url, method|operation, headers, body, user, password, certs}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_request(request: &Json, own: OwnAddress) -> Result<Self, String> {
        if !request.is_object() {
            return Err("argument 1 is no object with a url".to_owned());
        }
        let member = |name: &str| request.get(name).unwrap_or(&Json::Null);
        let mut outgoing = Self::to(member("url"), own)?;
        outgoing.method = match member("method") {
            Json::Null => method(member("operation"))?,
            given => method(given)?,
        };
        match member("headers") {
            Json::Null => {}
            Json::Object(headers) => {
                for (name, value) in headers {
                    match value {
                        Json::Array(values) => {
                            values.iter().try_for_each(|value| outgoing.say(name, value))?;
                        }
                        value => outgoing.say(name, value)?,
                    }
                }
            }
            _ => return Err("headers is no object".to_owned()),
        }
        outgoing.set_body(member("body"))?;
        outgoing.credentials = credentials(member("user"), member("password"))?;
        outgoing.certs = match text(member("certs"), "certs")? {
            Some(folder) if !folder.is_empty() => Some(PathBuf::from(folder)),
            _ => None,
        };
        Ok(outgoing)
    }

    /// A request for an address, with nothing else said yet.
    fn to(url: &Json, own: OwnAddress) -> Result<Self, String> {
        let url = text(url, "url")?.filter(|url| !url.is_empty()).ok_or("url is missing")?;
        let url = url.trim();
        let is_own = url.starts_with('/') && !url.starts_with("//");
        let whole = match (is_own, own.0) {
            (false, _) => spelled(url),
            (true, Some(address)) => format!("http://{address}{}", spelled(url)),
            (true, None) => return Err(format!("{}: this collector has no REST to ask", shown(url))),
        };
        let url = Url::parse(&whole).map_err(|why| {
            if !why.contains("http:// or https://") {
                return why;
            }
            // What may be a password is not shown.
            let part = url.split(['?', '#']).next().filter(|part| !part.contains('@'));
            let named = part.map_or("the url".to_owned(), |part| format!("{:?}", shown(part)));
            format!("{named} is no address: one begins with http:// or https://, or with / for the collector itself")
        })?;
        Ok(Self {
            method: Method::GET,
            url,
            own: is_own,
            headers: Vec::new(),
            body: Vec::new(),
            credentials: Credentials::None,
            certs: None,
        })
    }

    /// Adds a header, unless it is one that the client decides itself, as clients of scripts do.
    fn say(&mut self, name: &str, value: &Json) -> Result<(), String> {
        let Some(value) = text(value, name)? else { return Ok(()) };
        if !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            self.headers.push((name.to_owned(), value));
        }
        Ok(())
    }

    /// A text goes as it is, anything else as JSON.
    fn set_body(&mut self, body: &Json) -> Result<(), String> {
        match body {
            Json::Null => {}
            Json::String(text) => self.body = text.clone().into_bytes(),
            json => {
                self.body = json.to_string().into_bytes();
                if self.header("content-type").is_none() {
                    self.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                }
            }
        }
        if self.body.len() > REQUEST_BYTES {
            return Err(format!("{}: the body is longer than {REQUEST_BYTES} bytes", self.url));
        }
        Ok(())
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// How many bytes it keeps while it waits, about.
    pub(super) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.url.path().len() + headers + self.body.len()
    }
}

/// Headers that say how a message is framed, or who is asked: these follow from the request.
const OURS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "accept-encoding",
];

/// The method, which is GET where none is given.
fn method(given: &Json) -> Result<Method, String> {
    let Some(given) = text(given, "method")? else { return Ok(Method::GET) };
    let known = [
        Method::GET,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
    ];
    let found = known.into_iter().find(|method| given.trim().eq_ignore_ascii_case(method.as_str()));
    found.ok_or_else(|| {
        format!("{:?} is no method: get, put, post, delete, patch, head or options", shown(&given))
    })
}

fn credentials(user: &Json, password: &Json) -> Result<Credentials, String> {
    let Some(user) = text(user, "user")?.filter(|user| !user.is_empty()) else {
        return Ok(Credentials::None);
    };
    if user.contains(':') {
        return Err("user: basic authentication has no name with a colon".to_owned());
    }
    let password = text(password, "password")?.unwrap_or_default();
    Ok(Credentials::Given { user: Secret::new(user), password: Secret::new(password) })
}

/// A value as text; absent where it is null.
fn text(value: &Json, name: &str) -> Result<Option<String>, String> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.clone())),
        Json::Number(number) => Ok(Some(number.to_string())),
        Json::Bool(bool) => Ok(Some(bool.to_string())),
        Json::Array(_) | Json::Object(_) => Err(format!("{} is no text", shown(name))),
    }
}

/// An address with all in it escaped that may not stand in one, as browsers do; what is escaped stays.
fn spelled(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for c in url.chars() {
        if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) {
            out.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    const NOWHERE: OwnAddress = OwnAddress(None);

    fn own(text: &str) -> OwnAddress {
        OwnAddress(Some(text.parse().unwrap()))
    }

    fn http(arguments: &Json) -> Result<Outgoing, String> {
        Outgoing::of_http(arguments.as_array().unwrap(), own("127.0.0.1:8008"))
    }

    fn headers(outgoing: &Outgoing) -> Vec<(&str, &str)> {
        outgoing.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn arguments_of_http_stand_where_the_method_says() {
        let plain = http(&json!(["http://a.net/x?y=1"])).unwrap();
        assert_eq!((plain.method.as_str(), plain.url.path(), plain.own), ("GET", "/x?y=1", false));
        assert_eq!((headers(&plain), plain.credentials.clone()), (vec![], Credentials::None));
        let given = |user: &str, password: &str| Credentials::Given {
            user: Secret::new(user),
            password: Secret::new(password),
        };
        let get = http(&json!(["http://a.net/", "Get", "me", "pw", "text/csv"])).unwrap();
        assert_eq!(
            (headers(&get), get.credentials.clone()),
            (vec![("Accept", "text/csv")], given("me", "pw"))
        );
        let acl = json!(["[iptables]"]).to_string();
        let put = http(&json!(["http://10.0.0.1:8080/acl/emrg0", "PUT", "application/json", acl])).unwrap();
        assert_eq!((put.method.as_str(), put.body), ("PUT", acl.into_bytes()));
        let post =
            http(&json!(["http://a.net/", "post", null, {"a": [1, "ü"]}, "me", 7, "text/plain"])).unwrap();
        assert_eq!(String::from_utf8(post.body.clone()).unwrap(), r#"{"a":[1,"ü"]}"#);
        assert_eq!(headers(&post), [("Content-Type", "application/json"), ("Accept", "text/plain")]);
        assert_eq!(post.credentials, given("me", "7"));
        let delete = http(&json!(["http://a.net/", "delete"])).unwrap();
        assert_eq!((delete.method.as_str(), delete.body.len()), ("DELETE", 0));
    }

    #[test]
    fn the_request_of_http2_has_names() {
        let request = json!({
            "url": "https://10.0.0.134:2376/v1.24/services/x/update?version=1",
            "certs": "/tls/",
            "method": "POST",
            "operation": "get",
            "headers": {"Content-Type": "application/json", "X": [1, true], "host": "b", "Content-Length": 3},
            "body": "{}",
            "user": "",
            "other": {},
        });
        let read = Outgoing::of_request(&request, NOWHERE).unwrap();
        assert_eq!((read.method.as_str(), read.body.as_slice()), ("POST", &b"{}"[..]));
        assert_eq!(headers(&read), [("Content-Type", "application/json"), ("X", "1"), ("X", "true")]);
        assert_eq!((read.credentials, read.certs), (Credentials::None, Some(PathBuf::from("/tls/"))));
        for (operation, method) in [(json!("put"), "PUT"), (json!("Delete"), "DELETE"), (json!(null), "GET")]
        {
            let request = json!({ "url": "http://a.net/", "operation": operation, "certs": null });
            assert_eq!(Outgoing::of_request(&request, NOWHERE).unwrap().method, method);
        }
    }

    #[test]
    fn an_address_without_a_host_is_the_collectors_own() {
        for (address, leads_to) in [
            ("127.0.0.1:8008", "http://127.0.0.1:8008/version"),
            ("[::1]:8008", "http://[::1]:8008/version"),
            ("10.0.0.5:80", "http://10.0.0.5/version"),
        ] {
            let read = Outgoing::of_http(&[json!("/version")], own(address)).unwrap();
            assert_eq!((read.url.to_string().as_str(), read.own), (leads_to, true));
        }
        let error = Outgoing::of_http(&[json!("/version")], NOWHERE).unwrap_err();
        assert_eq!(error, "/version: this collector has no REST to ask");
    }

    #[test]
    fn what_may_not_stand_in_an_address_is_escaped() {
        for (written, path) in [
            ("http://a.net/b c?x={\"a\":1}", "/b%20c?x=%7B%22a%22:1%7D"),
            ("http://a.net/ü%20|", "/%C3%BC%20%7C"),
            ("http://a.net/a\r\nX: y", "/a%0D%0AX:%20y"),
            (" http://a.net/metric/ALL/sum:ifinoctets;x/json ", "/metric/ALL/sum:ifinoctets;x/json"),
        ] {
            assert_eq!(http(&json!([written])).unwrap().url.path(), path, "{written:?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_says_why_and_shows_no_password() {
        for (arguments, why) in [
            (json!([]), "url is missing"),
            (json!([null]), "url is missing"),
            (json!([{}]), "url is no text"),
            (
                json!(["a.net/x"]),
                "\"a.net/x\" is no address: one begins with http:// or https://, or with / for the collector itself",
            ),
            (
                json!(["//a.net/x"]),
                "\"//a.net/x\" is no address: one begins with http:// or https://, or with / for the collector itself",
            ),
            (
                json!(["http://a.net/", "trace"]),
                "\"trace\" is no method: get, put, post, delete, patch, head or options",
            ),
            (
                json!(["http://a.net/", "get", "a:b", "geheim"]),
                "user: basic authentication has no name with a colon",
            ),
        ] {
            assert_eq!(http(&arguments).unwrap_err(), why);
        }
        let long = "x".repeat(REQUEST_BYTES + 1);
        let error = http(&json!(["http://a.net/?geheim", "put", "text/plain", long])).unwrap_err();
        assert_eq!(error, "http://a.net/?...: the body is longer than 16777216 bytes");
        for url in ["http://me:geheim@a.net/", "ftp://me:geheim@a.net/", "x?geheim"] {
            assert!(!http(&json!([url])).unwrap_err().contains("geheim"));
        }
        assert_eq!(
            Outgoing::of_request(&json!("x"), NOWHERE).unwrap_err(),
            "argument 1 is no object with a url"
        );
        let headers = json!({ "url": "http://a.net/", "headers": ["x"] });
        assert_eq!(Outgoing::of_request(&headers, NOWHERE).unwrap_err(), "headers is no object");
        let put = http(&json!(["http://a.net/", "put", null, "x", "me", "geheim"])).unwrap();
        assert!(!format!("{put:?}").contains("geheim"));
    }
}
