//! Which engine it is, and which version of its API it speaks.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::shown;

/// A version of the API, such as 1.41.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Before the point.
    pub major: u16,
    /// After it.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest that is spoken here: that of engine 1.12, whose events name their actors.
    pub const OLDEST: Self = Self { major: 1, minor: 24 };
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is no version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API version is two numbers with a point between them")]
pub struct NotAVersion;

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |text: &str| {
            // `parse` takes a sign too.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or(NotAVersion)
        };
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// What `GET /version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The newest version of the API that the engine speaks, which is the one that is used.
    pub api: ApiVersion,
    /// The oldest that it takes; engines older than 1.13 do not say.
    pub oldest_api: Option<ApiVersion>,
    /// The engine's own version, such as `20.10.24`.
    pub engine: Option<String>,
    /// Such as `linux`.
    pub os: Option<String>,
    /// Such as `amd64`.
    pub arch: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    version: Option<String>,
    api_version: Option<String>,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: Option<String>,
    os: Option<String>,
    arch: Option<String>,
    kernel_version: Option<String>,
}

impl Version {
    /// Reads the answer of `GET /version`.
    ///
    /// # Errors
    /// It is no JSON, or has no version of the API; the text says what is wrong.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let api = answer.api_version.ok_or("it has no ApiVersion")?;
        let wrong = |error: NotAVersion| format!("ApiVersion {}: {error}", shown(&api));
        let api = api.parse().map_err(wrong)?;
        Ok(Self {
            api,
            oldest_api: answer.min_api_version.and_then(|text| text.parse().ok()),
            engine: answer.version,
            os: answer.os,
            arch: answer.arch,
            kernel: answer.kernel_version,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24") && version("1.52") < version("2.0"));
        assert_eq!(version("1.41").to_string(), "1.41");
        for wrong in ["", "1", "1.", ".1", "1.x", "1.41/../x", "+1.2", "1.99999", "1.2.3", " 1.2"] {
            assert_eq!(wrong.parse::<ApiVersion>(), Err(NotAVersion), "{wrong}");
        }
    }

    #[test]
    fn an_old_engine_and_a_new_one() {
        let old = Version::read(br#"{"Version":"1.12.6","ApiVersion":"1.24","Os":"linux"}"#).unwrap();
        assert_eq!((old.api.minor, old.oldest_api, old.kernel), (24, None, None));
        let new = br#"{"Platform":{"Name":""},"Version":"29.3.0","ApiVersion":"1.52","MinAPIVersion":"1.40",
            "Os":"linux","Arch":"amd64","KernelVersion":"6.12","Components":[{"Name":"Engine"}]}"#;
        let new = Version::read(new).unwrap();
        assert_eq!((new.api.minor, new.oldest_api.unwrap().minor), (52, 40));
        assert_eq!((new.engine.as_deref(), new.kernel.as_deref()), (Some("29.3.0"), Some("6.12")));
        assert_eq!(Version::read(b"{}").unwrap_err(), "it has no ApiVersion");
        assert!(Version::read(br#"{"ApiVersion":"1.41/x"}"#).unwrap_err().contains("1.41/x"));
        assert!(
            Version::read(br#"{"ApiVersion":"1.4\n1"}"#).unwrap_err().starts_with("ApiVersion 1.4\\n1: ")
        );
        assert!(Version::read(b"<html>").is_err());
    }
}
