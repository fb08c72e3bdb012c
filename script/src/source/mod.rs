//! A script's text before QuickJS parses it.
//!
//! Scripts written for an engine with Rhino's extensions use `for each (x in y)` and `function (x) expression`; those are
//! rewritten, on the same lines, and so is `throw 'text'`, whose place nobody would know. Everything else comes out byte for byte as it went in. The header comments are read here too.
//! What the text means is QuickJS's business: text that isn't JavaScript passes, so that the error is the engine's own.

mod edits;
mod header;
mod lexer;
mod place;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub(crate) use edits::Columns;
pub(crate) use header::Header;

/// A script's text that is ready to be parsed.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// What QuickJS is given: line for line the script's own text.
    pub(crate) text: Cow<'a, str>,
    /// From QuickJS's columns to the script's own.
    pub(crate) columns: Columns,
}

/// Why a text is not run, and where. The line and the column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) why: &'static str,
}

impl<'a> Source<'a> {
    /// Makes a text ready. A byte order mark goes, and a first line `#!` becomes a comment.
    ///
    /// # Errors
    /// One of Rhino's extensions that is neither understood by QuickJS nor rewritten.
    pub(crate) fn read(text: &'a str) -> Result<Source<'a>, Refused> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Some(rest) = text.strip_prefix("#!") else {
            let (text, columns) = walk::edits(text)?.apply(text);
            return Ok(Source { text, columns });
        };
        let text = format!("//{rest}");
        let (changed, columns) = walk::edits(&text)?.apply(&text);
        Ok(Source { text: Cow::Owned(changed.into_owned()), columns })
    }
}

impl Refused {
    /// What is wrong at a byte of a text.
    fn at(text: &str, at: usize, why: &'static str) -> Refused {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |last| last + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Refused { line, column, why }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.why)
    }
}
