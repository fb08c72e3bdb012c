//! Feeds as the configuration has them: `[feed.NAME]`, and `[feeds]` for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ip_network::IpNetwork;
use serde::Deserialize;

use super::accept::{Limits, Rules};
use super::parse::prefix;
use crate::http::{Credentials, Options, Tls, Url};

/// Feeds at most.
const MOST: usize = 64;

/// What feeds are read, and what none of them may list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[feeds]`.
    pub feeds: General,
    /// `[feed.NAME]`.
    pub feed: BTreeMap<String, Feed>,
}

/// `[feeds]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct General {
    /// The operator's own networks: an entry that overlaps one is rejected.
    pub own: Vec<String>,
    /// What is never captured: an entry that overlaps it is rejected.
    pub never: Vec<String>,
    /// Reserved space of which entries are taken all the same, for laboratories.
    pub reserved_allowed: Vec<String>,
}

/// `[feed.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Where it is: http, https or file.
    pub url: Option<String>,
    /// Where it is, as a path.
    pub path: Option<PathBuf>,
    /// The group set that it is a label of; its name where there is none.
    pub set: Option<String>,
    /// Its label in the set; its name where there is none.
    pub label: Option<String>,
    /// How often it is read, seconds.
    #[serde(default = "refresh_s")]
    pub refresh_s: u64,
    /// How long reading it may take, seconds.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
    /// How long it may be, bytes.
    #[serde(default = "size_bytes")]
    pub size_bytes: u64,
    /// How many entries it may have.
    #[serde(default = "entries_most")]
    pub entries_most: usize,
    /// The least share of its lines that are entries.
    #[serde(default = "parsed_least")]
    pub parsed_least: f64,
    /// The largest share of it that may be new or gone at once; 1 is any.
    #[serde(default = "change_most")]
    pub change_most: f64,
    /// Authorities in PEM; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// The name of basic authentication.
    pub user: Option<String>,
    /// The file of its password.
    pub password_file: Option<PathBuf>,
    /// The file of a bearer token.
    pub token_file: Option<PathBuf>,
}

fn refresh_s() -> u64 {
    3600
}

fn timeout_s() -> u64 {
    60
}

fn size_bytes() -> u64 {
    64 << 20
}

fn entries_most() -> usize {
    1_000_000
}

fn parsed_least() -> f64 {
    Limits::default().parsed_least
}

fn change_most() -> f64 {
    Limits::default().change_most
}

/// Where a feed is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Http(Url, Box<Options>),
    File(PathBuf),
}

impl Source {
    /// How it is named where others read it.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Http(url, _) => url.to_string(),
            Self::File(path) => crate::text::shown(&path.to_string_lossy()),
        }
    }
}

impl Feed {
    /// The group set that it is a label of.
    pub fn set<'a>(&'a self, name: &'a str) -> &'a str {
        self.set.as_deref().unwrap_or(name)
    }

    /// Its label in the set.
    pub fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.label.as_deref().unwrap_or(name)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { parsed_least: self.parsed_least, change_most: self.change_most }
    }

    pub(super) fn source(&self) -> Result<Source, (&'static str, String)> {
        let url = match (&self.url, &self.path) {
            (Some(url), None) => url,
            (None, Some(path)) => return Ok(Source::File(path.clone())),
            _ => return Err(("url", "give one of url and path".to_owned())),
        };
        if let Some(path) = url.strip_prefix("file://") {
            let absolute = path.starts_with('/');
            let refused = "a file's address has three slashes and no escapes: file:///etc/list.txt";
            return if absolute && !path.contains('%') {
                Ok(Source::File(path.into()))
            } else {
                Err(("url", refused.to_owned()))
            };
        }
        let credentials = match (&self.user, &self.password_file, &self.token_file) {
            (None, None, None) => Credentials::None,
            (Some(user), Some(password_file), None) => {
                Credentials::Basic { user: user.clone(), password_file: password_file.clone() }
            }
            (None, None, Some(token_file)) => Credentials::Bearer { token_file: token_file.clone() },
            _ => {
                return Err((
                    "user",
                    "give user and password_file, or token_file, or none of them".to_owned(),
                ));
            }
        };
        let options = Options {
            tls: Tls { ca_file: self.ca_file.clone(), client: None },
            credentials,
            call: Duration::from_secs(self.timeout_s),
            body_bytes: usize::try_from(self.size_bytes).unwrap_or(usize::MAX),
            ..Options::default()
        };
        Ok(Source::Http(Url::parse(url).map_err(|why| ("url", why))?, Box::new(options)))
    }

    fn problems(&self, key: &str, wrong: &mut Vec<(String, String)>) {
        if let Err((what, why)) = self.source() {
            wrong.push((format!("{key}.{what}"), why));
        }
        let mut between = |what: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                wrong.push((format!("{key}.{what}"), format!("must be {least} to {most}")));
            }
        };
        between("refresh_s", self.refresh_s, 10, 30 * 86_400);
        between("timeout_s", self.timeout_s, 1, 600);
        between("size_bytes", self.size_bytes, 1, 1 << 30);
        between("entries_most", self.entries_most as u64, 1, 10_000_000);
        for (what, share) in [("parsed_least", self.parsed_least), ("change_most", self.change_most)] {
            if !(0.0..=1.0).contains(&share) {
                wrong.push((format!("{key}.{what}"), "must be 0 to 1".to_owned()));
            }
        }
        for (what, text) in [("set", &self.set), ("label", &self.label)] {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.chars().any(char::is_control)) {
                wrong.push((format!("{key}.{what}"), "must be a text without control characters".to_owned()));
            }
        }
    }
}

impl Config {
    /// What is wrong with it, each with its key; nothing is read or asked.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        for (what, list) in self.lists() {
            for text in list.iter().filter(|text| prefix(text).is_none()) {
                let text = crate::text::shown(text);
                wrong.push((format!("feeds.{what}"), format!("{text:?} is no address and no prefix")));
            }
        }
        if self.feed.len() > MOST {
            wrong.push(("feed".to_owned(), format!("{} of them: {MOST} at most", self.feed.len())));
        }
        let mut labels = BTreeSet::new();
        for (name, feed) in &self.feed {
            let key = format!("feed.{name}");
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if !(1..=64).contains(&name.len()) || !name.bytes().all(known) {
                wrong.push((key.clone(), "a name has 1 to 64 letters, digits, _ and -".to_owned()));
            }
            feed.problems(&key, &mut wrong);
            if !labels.insert((feed.set(name), feed.label(name))) {
                wrong.push((format!("{key}.label"), "another feed has this label of this set".to_owned()));
            }
        }
        wrong
    }

    /// The group sets that feeds make, each once.
    pub fn sets(&self) -> BTreeSet<&str> {
        self.feed.iter().map(|(name, feed)| feed.set(name)).collect()
    }

    pub(super) fn rules(&self) -> Rules {
        let read = |list: &[String]| -> Vec<IpNetwork> {
            list.iter().filter_map(|text| prefix(text)).map(|(network, _)| network).collect()
        };
        let General { own, never, reserved_allowed } = &self.feeds;
        Rules { own: read(own), never: read(never), reserved_allowed: read(reserved_allowed) }
    }

    fn lists(&self) -> [(&'static str, &[String]); 3] {
        let General { own, never, reserved_allowed } = &self.feeds;
        [("own", own), ("never", never), ("reserved_allowed", reserved_allowed)]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn config(json: Json) -> Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = config(json!({ "feed": {
            "compromised": { "url": "https://lists.example.net/a.txt", "set": "emerging" },
            "local": { "url": "file:///etc/list.txt" },
        } }));
        assert_eq!(config.problems(), []);
        assert_eq!(config.sets().into_iter().collect::<Vec<_>>(), ["emerging", "local"]);
        let feed = &config.feed["compromised"];
        assert_eq!(
            (feed.label("compromised"), feed.refresh_s, feed.size_bytes),
            ("compromised", 3600, 64 << 20)
        );
        assert_eq!(feed.limits(), Limits::default());
        assert!(
            matches!(config.feed["local"].source(), Ok(Source::File(path)) if path.as_os_str() == "/etc/list.txt")
        );
    }

    #[test]
    fn problems_name_their_keys() {
        let with = |key: &str, value: Json| {
            let mut feed = json!({ "url": "https://lists.example.net/a.txt" });
            feed[key] = value;
            config(json!({ "feed": { "a": feed } })).problems()
        };
        for (key, value, named) in [
            ("url", "lists.example.net".into(), "url"),
            ("url", "file://list".into(), "url"),
            ("path", "/etc/list".into(), "url"),
            ("refresh_s", 1.into(), "refresh_s"),
            ("timeout_s", 0.into(), "timeout_s"),
            ("size_bytes", 0.into(), "size_bytes"),
            ("entries_most", 0.into(), "entries_most"),
            ("parsed_least", 1.5.into(), "parsed_least"),
            ("change_most", json!(-0.1), "change_most"),
            ("set", "".into(), "set"),
            ("label", "a\n".into(), "label"),
            ("user", "me".into(), "user"),
            ("token_file", "/t".into(), ""),
            ("password_file", "/p".into(), "user"),
        ] {
            let keys: Vec<String> = with(key, value).into_iter().map(|(key, _)| key).collect();
            let expected = if named.is_empty() { vec![] } else { vec![format!("feed.a.{named}")] };
            assert_eq!(keys, expected, "{key}");
        }
        let same = json!({ "path": "/a", "set": "s", "label": "l" });
        let all = config(json!({
            "feeds": { "own": ["10.0.0.0/8", "10.0.0.0/99"], "never": ["x"] },
            "feed": { "a": same, "b": same, "c d": { "path": "/c" } },
        }));
        let keys: Vec<String> = all.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["feeds.own", "feeds.never", "feed.b.label", "feed.c d"]);
        assert!(serde_json::from_value::<Config>(json!({ "feed": { "a": { "ulr": "x" } } })).is_err());
    }
}
