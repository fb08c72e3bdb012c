//! All that the configuration file says about actions: which of its sections are ours, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::mode::Mode;
use crate::{autoscale, capture, feeds, notify};

/// The names of the sections, as they stand in the file.
pub const SECTIONS: [&str; 10] = [
    "actions",
    "swarm",
    "autoscale",
    "switch",
    "capture",
    "capture_limits",
    "feeds",
    "feed",
    "webhook",
    "syslog",
];

/// The section `[actions]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct General {
    /// What policies may do, until a person says otherwise by REST.
    pub mode: Mode,
    /// Who writes rules: the mark in their comments. Collectors that share a switch need different ones; the host's name
    /// where there is none.
    pub owner: Option<String>,
}

/// The sections as they were read; [`Config::problems`] says whether they are right.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[actions]`.
    pub actions: General,
    /// `[swarm.NAME]` and `[autoscale]`.
    pub autoscale: autoscale::config::Config,
    /// `[[switch]]`, `[capture.NAME]` and `[capture_limits]`.
    pub capture: capture::config::Raw,
    /// `[feeds]` and `[feed.NAME]`.
    pub feeds: feeds::config::Config,
    /// `[webhook.NAME]` and `[syslog.NAME]`.
    pub notify: notify::Config,
}

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which key, as `autoscale.service.apache.max` or `switch[0].url`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Config {
    /// Reads a section of one of [`SECTIONS`].
    ///
    /// # Errors
    /// Those of the deserializer: a key that is not known, a value of the wrong kind.
    pub fn section<'de, D: Deserializer<'de>>(&mut self, name: &str, value: D) -> Result<(), D::Error> {
        match name {
            "actions" => self.actions = Deserialize::deserialize(value)?,
            "swarm" => self.autoscale.swarm = Deserialize::deserialize(value)?,
            "autoscale" => self.autoscale.autoscale = Deserialize::deserialize(value)?,
            "switch" => self.capture.switch = Deserialize::deserialize(value)?,
            "capture" => self.capture.capture = Deserialize::deserialize(value)?,
            "capture_limits" => self.capture.capture_limits = Deserialize::deserialize(value)?,
            "feeds" => self.feeds.feeds = Deserialize::deserialize(value)?,
            "feed" => self.feeds.feed = Deserialize::deserialize(value)?,
            "webhook" => self.notify.webhook = Deserialize::deserialize(value)?,
            "syslog" => self.notify.syslog = Deserialize::deserialize(value)?,
            _ => return Err(serde::de::Error::custom(format_args!("{name:?} is no section of actions"))),
        }
        Ok(())
    }

    /// All that is wrong with what was read.
    pub fn problems(&self) -> Vec<Problem> {
        let scale = self.autoscale.validate().into_iter().map(|wrong| (wrong.key, wrong.why));
        let capture = self.capture.clone().check().err().unwrap_or_default();
        let capture = capture.into_iter().map(|line| match line.split_once(": ") {
            Some((key, why)) => (key.to_owned(), why.to_owned()),
            None => (String::new(), line),
        });
        let all = scale.chain(capture).chain(self.feeds.problems()).chain(self.notify.problems());
        all.map(|(key, why)| Problem { key, why }).collect()
    }

    /// Relative paths become those from `folder`, that of the file.
    pub fn resolve(&mut self, folder: &Path) {
        let one = |path: &mut PathBuf| *path = folder.join(&*path);
        for swarm in self.autoscale.swarm.values_mut() {
            swarm.certs.iter_mut().for_each(one);
            swarm.node.iter_mut().filter_map(|node| node.certs.as_mut()).for_each(one);
        }
        for switch in &mut self.capture.switch {
            let files = [
                &mut switch.password_file,
                &mut switch.token_file,
                &mut switch.ca,
                &mut switch.certificate,
                &mut switch.key,
            ];
            files.into_iter().flatten().for_each(one);
        }
        for feed in self.feeds.feed.values_mut() {
            let files = [&mut feed.path, &mut feed.ca_file, &mut feed.password_file, &mut feed.token_file];
            files.into_iter().flatten().for_each(one);
        }
        for webhook in self.notify.webhook.values_mut() {
            [&mut webhook.ca_file, &mut webhook.token_file].into_iter().flatten().for_each(one);
        }
    }

    /// What of `newer` only a start takes, named as it stands in the file: all that differs but `[swarm.NAME]` and
    /// `[autoscale]`, which are taken at once.
    pub fn waiting(&self, newer: &Self) -> Vec<String> {
        let mut names = Vec::new();
        if self.actions.mode != newer.actions.mode {
            names.push(format!(
                "actions.mode = {} (PUT /actions/json changes it at once)",
                newer.actions.mode
            ));
        }
        let (ours, theirs) = (&self.capture, &newer.capture);
        for (name, differs) in [
            ("actions.owner", self.actions.owner != newer.actions.owner),
            ("switch", ours.switch != theirs.switch),
            ("capture_limits", ours.capture_limits != theirs.capture_limits),
            ("feeds", self.feeds.feeds != newer.feeds.feeds),
        ] {
            names.extend(differs.then(|| name.to_owned()));
        }
        differing("capture", &ours.capture, &theirs.capture, &mut names);
        differing("feed", &self.feeds.feed, &newer.feeds.feed, &mut names);
        differing("webhook", &self.notify.webhook, &newer.notify.webhook, &mut names);
        differing("syslog", &self.notify.syslog, &newer.notify.syslog, &mut names);
        names
    }

    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.autoscale.swarm.is_empty()
            && self.autoscale.autoscale.service.is_empty()
            && self.capture.switch.is_empty()
            && self.capture.capture.is_empty()
            && self.feeds.feed.is_empty()
            && self.notify.webhook.is_empty()
            && self.notify.syslog.is_empty()
    }
}

/// The tables of a section that are new, gone or others now.
fn differing<T: PartialEq>(
    section: &str,
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    names: &mut Vec<String>,
) {
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let others = all.into_iter().filter(|name| ours.get(*name) != theirs.get(*name));
    names.extend(others.map(|name| format!("{section}.{name}")));
}
