//! A file of rules: its lines, in order.

use std::fmt;

use crate::comment::{Comment, Owner};
use crate::error::{Invalid, Wrong, shown};
use crate::rule::Rule;
use crate::words::printable;

/// Most lines of a file.
pub const MOST_LINES: usize = 1000;

/// Longest line, bytes.
pub const LONGEST_LINE: usize = 512;

/// Which version of IP the rules behind it are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// `[iptables]`
    Ipv4,
    /// `[ip6tables]`
    Ipv6,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "[iptables]",
            Self::Ipv6 => "[ip6tables]",
        })
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// From here on it is about this version of IP.
    Table(Table),
    /// A comment.
    Comment(Comment),
    /// A rule.
    Rule(Rule),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Comment(comment) => comment.fmt(f),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

/// A file of rules, each of which its table can have. Empty lines are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    lines: Vec<Line>,
}

impl File {
    /// The file of these lines.
    ///
    /// # Errors
    /// A rule stands before a table or in one that cannot have it, or there are more than [`MOST_LINES`].
    pub fn new(lines: Vec<Line>) -> Result<Self, Wrong> {
        let mut reader = Reader::default();
        for (at, line) in lines.iter().enumerate() {
            reader.check(at, line)?;
        }
        Ok(Self { lines })
    }

    /// A table with comments and rules: `[iptables]`, the comments, the rules.
    ///
    /// # Errors
    /// The table cannot have a rule, or there are more than [`MOST_LINES`].
    pub fn of(table: Table, comments: Vec<Comment>, rules: Vec<Rule>) -> Result<Self, Wrong> {
        let comments = comments.into_iter().map(Line::Comment);
        Self::new(
            std::iter::once(Line::Table(table))
                .chain(comments)
                .chain(rules.into_iter().map(Line::Rule))
                .collect(),
        )
    }

    /// Reads lines as they are sent to a switch or read back from it.
    ///
    /// # Errors
    /// The first line that is not of the grammar, and what is wrong with it.
    pub fn parse<L: AsRef<str>>(lines: &[L]) -> Result<Self, Wrong> {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for (at, text) in lines.iter().enumerate() {
            let line = read(text.as_ref()).map_err(|why| Wrong { line: at + 1, why })?;
            if let Some(line) = line {
                reader.check(at, &line)?;
                found.push(line);
            }
        }
        Ok(Self { lines: found })
    }

    /// The lines as values.
    pub fn entries(&self) -> &[Line] {
        &self.lines
    }

    /// The lines as they are sent to a switch: canonical, so that equal files have equal lines.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(Line::to_string).collect()
    }

    /// The rules, each with its table.
    pub fn rules(&self) -> impl Iterator<Item = (Table, &Rule)> {
        let mut table = Table::Ipv4;
        self.lines.iter().filter_map(move |line| match line {
            Line::Table(next) => {
                table = *next;
                None
            }
            Line::Comment(_) => None,
            Line::Rule(rule) => Some((table, rule)),
        })
    }

    /// Whose file it is, by the first mark in it.
    pub fn owner(&self) -> Option<Owner> {
        self.lines.iter().find_map(|line| match line {
            Line::Comment(comment) => comment.owner(),
            _ => None,
        })
    }
}

/// What is known on the way through a file.
#[derive(Default)]
struct Reader {
    table: Option<Table>,
}

impl Reader {
    fn check(&mut self, at: usize, line: &Line) -> Result<(), Wrong> {
        let wrong = |why| Wrong { line: at + 1, why };
        if at >= MOST_LINES {
            return Err(wrong(Invalid(format!("a file has {MOST_LINES} lines at most"))));
        }
        match (line, self.table) {
            (Line::Table(table), _) => self.table = Some(*table),
            (Line::Comment(_), _) => {}
            (Line::Rule(rule), Some(table)) => rule.check(table).map_err(wrong)?,
            (Line::Rule(_), None) => {
                return Err(wrong(Invalid("a rule stands before [iptables] or [ip6tables]".to_owned())));
            }
        }
        Ok(())
    }
}

/// A line, or none when it is empty.
fn read(text: &str) -> Result<Option<Line>, Invalid> {
    if text.len() > LONGEST_LINE {
        return Err(Invalid(format!("it has {} bytes; {LONGEST_LINE} are allowed", text.len())));
    }
    printable(text)?;
    let text = text.trim_matches(' ');
    Ok(Some(match text {
        "" => return Ok(None),
        "[iptables]" => Line::Table(Table::Ipv4),
        "[ip6tables]" => Line::Table(Table::Ipv6),
        _ => match text.strip_prefix('#') {
            Some(comment) => Line::Comment(comment.parse()?),
            None if text.starts_with('[') => {
                let wanted = "[iptables] and [ip6tables] are allowed";
                return Err(Invalid(format!("the table {} is not of the grammar: {wanted}", shown(text))));
            }
            None => Line::Rule(text.parse()?),
        },
    }))
}
