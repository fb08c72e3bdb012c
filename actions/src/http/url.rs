//! Addresses of what is asked, without credentials in them.

use std::fmt;

use hyper::Uri;

use crate::text::shown;

/// An address whose scheme is http or https. As text its query is left out: that may hold a key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    pub(super) secure: bool,
    /// A name or an address; one of IPv6 is without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none that can be asked; the message says what is wrong and never shows a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.split('#').next().unwrap_or_default();
        let rest = ["https://", "http://"].iter().find_map(|scheme| {
            text.get(..scheme.len())
                .is_some_and(|given| given.eq_ignore_ascii_case(scheme))
                .then(|| (*scheme == "https://", text.get(scheme.len()..).unwrap_or_default()))
        });
        let Some((secure, rest)) = rest else {
            return Err("an address begins with http:// or https://".to_owned());
        };
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(
                "a user or password does not belong into an address: there are keys of their own for them"
                    .to_owned(),
            );
        }
        let whole = if secure { format!("https://{rest}") } else { format!("http://{rest}") };
        let uri: Uri = whole.parse().map_err(|error| format!("{:?} is no address: {error}", shown(host)))?;
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err("the address has no host".to_owned());
        }
        let has_port = uri.authority().is_some_and(|all| all.as_str().len() > host.len());
        let port = match uri.port_u16() {
            Some(0) => None,
            None if has_port => None,
            None => Some(if secure { 443 } else { 80 }),
            some => some,
        };
        let Some(port) = port else { return Err("the port is none from 1 to 65535".to_owned()) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host: bare.to_ascii_lowercase(), port, path })
    }

    /// The same origin with another path, which begins with a slash and may have a query.
    ///
    /// # Errors
    /// It is no path.
    pub fn with_path(&self, path: &str) -> Result<Self, String> {
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(format!("{:?} is no path: it begins with one slash", shown(path)));
        }
        let uri: Uri = path.parse().map_err(|error| format!("{:?} is no path: {error}", shown(path)))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { path, ..self.clone() })
    }

    /// Where a `Location` leads from here.
    ///
    /// # Errors
    /// It leads to what cannot be asked.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.secure { "https:" } else { "http:" };
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}{location}"));
        }
        if location.starts_with('/') {
            return self.with_path(location);
        }
        let before_query = location.split(['?', '/']).next().unwrap_or_default();
        if before_query.contains(':') {
            return Self::parse(location);
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.with_path(&format!("{folder}/{location}"))
    }

    /// Whether it is asked over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host; an address of IPv6 is without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Scheme, host and port, for text.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }

    /// Host and port as the `Host` header has them.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether both are asked at the same place in the same way.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = self.path.split_once('?').map_or((&*self.path, ""), |(path, _)| (path, "?..."));
        write!(f, "{}{}{query}", self.origin(), shown(path))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_read_and_shown_without_their_query() {
        for (text, shown, path) in [
            ("http://10.0.0.253:8080/acl", "http://10.0.0.253:8080/acl", "/acl"),
            ("HTTPS://Feeds.Example.net", "https://feeds.example.net/", "/"),
            ("https://a.net:443/x?key=secret#top", "https://a.net/x?...", "/x?key=secret"),
            ("http://[2001:db8::1]:81?q", "http://[2001:db8::1]:81/?...", "/?q"),
        ] {
            let url = url(text);
            assert_eq!((url.to_string(), url.path()), (shown.to_owned(), path), "{text}");
        }
        assert_eq!((url("http://[::1]/").host(), url("http://[::1]/").port()), ("::1", 80));
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_shown() {
        for text in [
            "",
            "ftp://a/",
            "a.net/x",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a/\r\nx: y",
            "http://a:0/",
            "http://a:99999/",
            "http://ä.net/",
            "file:///etc/passwd",
            "http://a:/",
            "http://user:secret@a.net/",
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn locations_are_joined() {
        let base = url("https://a.net/lists/one.txt?x=/y");
        for (location, leads_to) in [
            ("/two", "https://a.net/two"),
            ("two", "https://a.net/lists/two"),
            ("two?u=http://b/", "https://a.net/lists/two?..."),
            ("//b.net/x", "https://b.net/x"),
            ("http://b.net/x#y", "http://b.net/x"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), leads_to, "{location}");
        }
        for location in ["file:///etc/passwd", "javascript:x", "/a b", "http://u:p@b.net/"] {
            assert!(base.join(location).is_err(), "{location}");
        }
        assert!(base.with_path("x").is_err() && base.with_path("//b/x").is_err());
    }
}
