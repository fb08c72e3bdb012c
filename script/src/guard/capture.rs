//! Rules that a script has a switch install: they become captures of the collector's own kind, which are checked against the
//! grammar, the inventory and the budgets, and which go for certain. The script's request itself never leaves.

use actions::capture::control::{Control, Refusal};
use actions::capture::scripts::ScriptRule;
use actions::capture::scripts::place::Place;
use actions::capture::scripts::session::Limits;
use actions::http::hyper::{HeaderMap, Method};
use actions::http::{Answer, Credentials};
use actions::text::shown;
use serde_json::Value as Json;

use super::unescaped;
use crate::http::{Failure, Outgoing};

/// Where lists of rules are, as the first part of a path.
const LISTS: &str = "acl";
/// Where Cumulus Linux 5 has all of its configuration.
const NVUE: &str = "nvue_v1";

/// Sees to the rules of one script.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    script: String,
    captures: Control,
    limits: Limits,
}

/// A request that would change the rules of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A rule is to be there.
    Put(Place, String),
    /// A rule is to go.
    Delete(Place, String),
    /// Anything else, with what is wrong with it.
    Other(String),
}

impl Rule {
    /// What a request is; `None` where it changes no rules.
    pub(crate) fn of(outgoing: &Outgoing) -> Option<Self> {
        if outgoing.own || [Method::GET, Method::HEAD, Method::OPTIONS].contains(&outgoing.method) {
            return None;
        }
        let path = outgoing.url.path().split('?').next().unwrap_or_default();
        // A server may take %61 for an a, and two slashes for one.
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(unescaped).collect();
        let first = parts.first().map(String::as_str).unwrap_or_default();
        if first.eq_ignore_ascii_case(NVUE) {
            let why =
                "what a script changes by NVUE cannot be guarded: [capture.NAME] captures on such switches";
            return Some(Self::Other(format!("{why}, and guarded = false lets it through")));
        }
        let is_list = first.eq_ignore_ascii_case(LISTS);
        if !is_list && !has_rules(&outgoing.body) {
            return None;
        }
        let Some((name, base)) = parts.split_last().filter(|(_, base)| !is_list || base.len() == 1) else {
            let why = "a script puts and deletes rules one by one, by their names: /acl/NAME";
            return Some(Self::Other(why.to_owned()));
        };
        let url = &outgoing.url;
        let base: String = base.iter().map(|part| format!("/{part}")).collect();
        let place = Place::new(url.is_secure(), url.host(), url.port(), &base);
        let secret = outgoing.credentials != Credentials::None || outgoing.certs.is_some();
        let place = if secret { place.with_credentials() } else { place };
        Some(match outgoing.method {
            Method::PUT => Self::Put(place, name.clone()),
            Method::DELETE => Self::Delete(place, name.clone()),
            _ => Self::Other(format!("rules are put and deleted, and this is a {}", outgoing.method)),
        })
    }
}

impl Capture {
    /// For a script, whose captures last as these limits say.
    pub(crate) fn new(script: &str, captures: Control, limits: Limits) -> Self {
        Self { script: script.to_owned(), captures, limits }
    }

    /// Does what a request means, and answers as the switch would have.
    ///
    /// # Errors
    /// It is no capture, is not to be, has no room, or cannot be kept; the text says why.
    pub(crate) async fn send(&self, outgoing: &Outgoing, rule: &Rule) -> Result<Answer, Failure> {
        let status = match rule {
            Rule::Put(place, name) => self.put(outgoing, place, name).await.map(|()| 202),
            Rule::Delete(place, name) => self.delete(place, name).await.map(|()| 204),
            Rule::Other(why) => Err(why.clone()),
        };
        let status = status
            .map_err(|why| Failure::Guarded(format!("{}: {why}; nothing was changed", outgoing.url)))?;
        let url = outgoing.url.clone();
        Ok(Answer { status, headers: HeaderMap::new(), body: Vec::new(), framed: true, url })
    }

    async fn put(&self, outgoing: &Outgoing, place: &Place, name: &str) -> Result<(), String> {
        let kind = outgoing.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let kind = shown(kind);
            return Err(format!("the content type {kind:?} is not application/json"));
        }
        let lines: Vec<String> = serde_json::from_slice(&outgoing.body)
            .map_err(|error| format!("the body is no JSON array of lines: {error}"))?;
        let rule = ScriptRule {
            script: self.script.clone(),
            name: name.to_owned(),
            switch: place.clone(),
            lines,
            limits: self.limits,
        };
        self.captures.put_script(rule).await.map(drop).map_err(said)
    }

    async fn delete(&self, place: &Place, name: &str) -> Result<(), String> {
        // A switch answers the same whether or not there was one.
        self.captures.delete_script(&self.script, name, place.clone()).await.map(drop).map_err(said)
    }
}

fn said(refusal: Refusal) -> String {
    refusal.to_string()
}

/// Whether a body is a JSON array of lines with a table of rules among them.
fn has_rules(body: &[u8]) -> bool {
    if !body.trim_ascii_start().starts_with(b"[") {
        return false;
    }
    let Ok(Json::Array(lines)) = serde_json::from_slice(body) else { return false };
    let table = |line: &str| line.lines().any(|line| line.trim_start().starts_with("[ip"));
    lines
        .iter()
        .filter_map(Json::as_str)
        .any(|line| table(line) && (line.contains("[iptables]") || line.contains("[ip6tables]")))
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
