//! Reads a configuration file of either form. All that is wrong is found in one reading, each with its line and column.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Settings, hsflowd, toml_form};

/// Largest file that is read, bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// Problems that are told one by one.
const MOST_PROBLEMS: usize = 100;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it says.
    pub settings: Settings,
    /// What was passed over, as `FILE:LINE:COLUMN: what`.
    pub warnings: Vec<String>,
}

/// All that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct Wrong {
    /// Lines of the form `FILE:LINE:COLUMN: what is wrong`.
    pub lines: Vec<String>,
}

/// Reads a file; modules and settings of hsflowd that this agent does not have are passed over if `ignore_unknown`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path, ignore_unknown: bool) -> Result<Read, Wrong> {
    let failed = |why: String| Wrong { lines: vec![format!("{}: {why}", path.display())] };
    let mut bytes = Vec::new();
    // A limit on what is read, because a pipe has no size.
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(format!("is longer than the {LARGEST} bytes that a configuration may have")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(format!("is not UTF-8 text at byte {}", error.utf8_error().valid_up_to())))?;
    parse(path, &text, ignore_unknown)
}

/// Reads the text of a file, whose name says which form it has if it ends in `.toml` or `.conf`; else the text does.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str, ignore_unknown: bool) -> Result<Read, Wrong> {
    let mut reading = Reading { settings: Settings::default(), problems: Vec::new(), warnings: Vec::new() };
    let of_hsflowd = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => false,
        Some("conf") => true,
        _ => hsflowd::looks_like(text),
    };
    if of_hsflowd {
        hsflowd::read(text, ignore_unknown, &mut reading);
    } else {
        toml_form::read(text, &mut reading);
    }
    let Reading { mut settings, problems, warnings } = reading;
    if !problems.is_empty() {
        return Err(Wrong { lines: lines(path, text, problems) });
    }
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    if let Some(certificates) = settings.docker.as_mut().and_then(|docker| docker.certificates.as_mut()) {
        // Relative to the file, which is where its writer stood.
        *certificates = folder.join(std::mem::take::<PathBuf>(certificates));
    }
    Ok(Read { settings, warnings: lines(path, text, warnings) })
}

/// What the readers of both forms fill.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) settings: Settings,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    /// Where in the text, bytes.
    at: usize,
    what: String,
}

impl Reading {
    /// Something is wrong at this byte.
    pub(super) fn problem(&mut self, at: usize, what: impl Into<String>) {
        self.problems.push(Problem { at, what: what.into() });
    }

    /// How many there are: what follows from another mistake is not told.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Something at this byte is passed over.
    pub(super) fn warning(&mut self, at: usize, what: impl Into<String>) {
        self.warnings.push(Problem { at, what: what.into() });
    }

    /// What a step has found wrong, at this byte.
    pub(super) fn check(&mut self, at: usize, result: Result<(), String>) {
        if let Err(what) = result {
            self.problem(at, what);
        }
    }
}

/// Problems as lines, in the order of the text.
fn lines(path: &Path, text: &str, mut problems: Vec<Problem>) -> Vec<String> {
    problems.sort_by_key(|problem| problem.at);
    let line = |problem: &Problem| {
        let before = text.get(..problem.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}: {}", path.display(), problem.what)
    };
    let mut lines: Vec<String> = problems.iter().take(MOST_PROBLEMS).map(line).collect();
    if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0) {
        lines.push(format!("{}: and {more} more", path.display()));
    }
    lines
}

/// `: did you mean "x"?` where a known name is near, else the names that are known.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min();
    if let Some((_, candidate)) = near {
        return format!(": did you mean {candidate:?}?");
    }
    let mut text = String::from("; known are ");
    for (n, candidate) in known.iter().enumerate() {
        // Writing to a text never fails.
        let _ = write!(text, "{}{candidate}", if n > 0 { ", " } else { "" });
    }
    text
}
