//! What a check has found: facts, what is wrong with them, and what to do about it; as text and as JSON.

use std::fmt::{self, Display, Write as _};

use serde_json::{Map, Value as Json, json};

use crate::escape::escape;

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better, or should be known.
    Note,
    /// It does not work.
    Problem,
}

impl Level {
    /// As text and JSON name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it belongs to: a heading of the text.
    pub(super) topic: String,
    /// What it is.
    pub(super) name: &'static str,
    /// How it is with it.
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// Commands that would make it better, to copy.
    pub(super) commands: Vec<String>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    topic: String,
    findings: Vec<Finding>,
    /// For programs: the facts behind the findings.
    facts: Map<String, Json>,
}

impl Report {
    /// What follows is about this.
    pub(super) fn topic(&mut self, topic: impl Into<String>) {
        self.topic = topic.into();
    }

    /// Adds a finding.
    pub(super) fn add(&mut self, level: Level, name: &'static str, found: impl Display) {
        self.advise(level, name, found, Vec::new());
    }

    /// Adds a finding, with commands that would make it better.
    pub(super) fn advise(
        &mut self,
        level: Level,
        name: &'static str,
        found: impl Display,
        commands: Vec<String>,
    ) {
        let (topic, found) = (self.topic.clone(), found.to_string());
        self.findings.push(Finding { topic, name, level, found, commands });
    }

    /// Adds a fact for programs.
    pub(super) fn fact(&mut self, name: &str, value: Json) {
        self.facts.insert(name.to_owned(), value);
    }

    /// Whether all works.
    pub(super) fn works(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Problem)
    }

    #[cfg(test)]
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> Json {
        let one = |finding: &Finding| {
            json!({
                "topic": finding.topic,
                "name": finding.name,
                "level": finding.level.label(),
                "found": finding.found,
                "commands": finding.commands,
            })
        };
        let mut object = Map::new();
        object.insert("works".to_owned(), self.works().into());
        object.extend(self.facts.clone());
        object.insert("findings".to_owned(), self.findings.iter().map(one).collect());
        object.into()
    }
}

/// Lines below their topics, with the commands below what they mend.
impl Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        let mut topic = None;
        for finding in &self.findings {
            if topic != Some(&finding.topic) {
                writeln!(out, "{}", escape(&finding.topic))?;
                topic = Some(&finding.topic);
            }
            let (level, name) = (finding.level.label(), finding.name);
            let mut lines = finding.found.lines();
            let first = lines.next().unwrap_or_default();
            writeln!(out, "  {level:7}  {name:widest$}  {}", escape(first))?;
            for line in lines {
                writeln!(out, "  {:7}  {:widest$}  {}", "", "", escape(line))?;
            }
            for command in &finding.commands {
                writeln!(out, "  {:7}  {:widest$}    {}", "", "", escape(command))?;
            }
        }
        out.write_char('\n')?;
        out.write_str(if self.works() {
            "This works.\n"
        } else {
            "This does not work: see the problems above.\n"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let mut report = Report::default();
        report.topic("machine");
        report.add(Level::Ok, "kernel", "6.18");
        report.topic("interface eth0");
        let longer = vec!["ethtool -G eth0 rx 4096".to_owned()];
        report.advise(Level::Note, "rings", "256 of 4096\nsecond line", longer);
        assert!(report.works());
        let text = "machine\n  ok       kernel  6.18\ninterface eth0\n  note     rings   256 of 4096\n                   \
                    second line\n                     ethtool -G eth0 rx 4096\n\nThis works.\n";
        assert_eq!(report.to_string(), text);
        report.add(Level::Problem, "mode", "\u{1b}[2J");
        report.fact("mode", json!("udp"));
        assert!(!report.works() && report.to_string().contains("problem  mode    \\u{1b}[2J\n"));
        let json = report.json();
        assert_eq!((&json["works"], &json["mode"]), (&json!(false), &json!("udp")));
        assert_eq!(json["findings"][1]["commands"], json!(["ethtool -G eth0 rx 4096"]));
        assert_eq!(json["findings"].as_array().map(Vec::len), Some(3));
    }
}
