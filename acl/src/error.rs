//! What is wrong with a value or a line, said so that it can be mended.

/// Why a value is not one of the grammar: what it is, and what is wanted instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

/// Why lines are not a file of the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Wrong {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: Invalid,
}

/// Most characters of somebody else's text in an error.
const SHOWN: usize = 60;

/// Somebody else's text within an error: in quotes, escaped, and cut when it is long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line_and_is_cut() {
        assert_eq!(shown("a\n\u{202e}\"ü"), r#""a\n\u{202e}\"ü""#);
        assert_eq!(shown(&"ü".repeat(1000)), format!("\"{}\"...", "ü".repeat(60)));
    }
}
