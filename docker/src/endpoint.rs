//! Where an engine answers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::shown;

/// The port of an engine behind TLS.
const TLS_PORT: u16 = 2376;

/// Where an engine answers. There is no plain TCP: whoever reaches an engine's port is root on its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The socket of an engine on this host.
    Unix(PathBuf),
    /// An engine behind TLS, both sides with certificates.
    Tls {
        /// Its name or address, as its certificate has it.
        host: String,
        /// Its port.
        port: u16,
        /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
        certs: PathBuf,
    },
}

/// What is wrong with the text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnEndpoint(String);

impl Endpoint {
    /// Where the engine of this host answers unless it is told otherwise.
    pub const DEFAULT: &str = "unix:///var/run/docker.sock";

    /// Reads `unix:///PATH`, `tcp://HOST:PORT` or `https://HOST:PORT`; `certs` is the folder of the certificates that
    /// the latter two need.
    ///
    /// # Errors
    /// It is something else, or there is no folder.
    pub fn parse(text: &str, certs: Option<&Path>) -> Result<Self, NotAnEndpoint> {
        let wrong = |why: &str| NotAnEndpoint(format!("{}: {why}", shown(text)));
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.starts_with('/').then_some(text)) {
            if !path.starts_with('/') {
                return Err(wrong(
                    "a socket is named by its whole path, such as unix:///var/run/docker.sock",
                ));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with("http://") {
            return Err(wrong("an engine is asked over its unix socket or over TLS, never in the clear"));
        }
        let known = "unix:///var/run/docker.sock or tcp://HOST:2376 is needed";
        let rest = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| wrong(known))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest).ok_or_else(|| wrong(known))?;
        let certs = certs.ok_or_else(|| {
            wrong(
                "TLS needs the folder that has ca.pem, cert.pem and key.pem; name it, or use the unix socket",
            )
        })?;
        Ok(Self::Tls { host: host.to_owned(), port, certs: certs.to_owned() })
    }
}

/// The parts of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let literal = text.starts_with('[');
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if host.is_empty() || !(plain || literal) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => TLS_PORT,
    };
    Some((host, port))
}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    /// As [`Endpoint::parse`] without a folder of certificates: a unix socket.
    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        Self::parse(text, None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", shown(&path.to_string_lossy())),
            Self::Tls { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tls { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_written_as_they_are_read() {
        let certs = Some(Path::new("/certs"));
        for text in
            [Endpoint::DEFAULT, "tcp://docker.example.net:2376", "tcp://10.0.0.1:1", "tcp://[::1]:2376"]
        {
            assert_eq!(Endpoint::parse(text, certs).unwrap().to_string(), text);
        }
        for (text, full) in [
            ("/run/docker.sock", "unix:///run/docker.sock"),
            ("https://h", "tcp://h:2376"),
            ("https://h:99/", "tcp://h:99"),
            ("tcp://[fe80::1]", "tcp://[fe80::1]:2376"),
        ] {
            assert_eq!(Endpoint::parse(text, certs).unwrap().to_string(), full);
        }
    }

    #[test]
    fn what_is_no_endpoint_says_what_is_needed() {
        for (text, why) in [
            ("http://127.0.0.1:2375", "never in the clear"),
            ("unix://docker.sock", "whole path"),
            ("docker.sock", "is needed"),
            ("tcp://", "is needed"),
            ("tcp://h:0", "is needed"),
            ("tcp://h:65536", "is needed"),
            ("tcp://h:2376/v1.41", "is needed"),
            ("tcp://user@h:2376", "is needed"),
            ("tcp://[::1", "is needed"),
            ("tcp://[::1]2376", "is needed"),
            ("ssh://h", "is needed"),
            ("a\nb", "a\\nb: "),
        ] {
            let error = Endpoint::parse(text, Some(Path::new("/certs"))).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = "tcp://h:2376".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("ca.pem, cert.pem and key.pem"), "{error}");
    }
}
