//! A line taken apart into words. Nothing but printable ASCII gets here into a word, and only one kind of quotes.

use crate::error::Invalid;

/// A word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'l> {
    pub(crate) text: &'l str,
    /// Whether it stood in double quotes, without which it was taken.
    pub(crate) quoted: bool,
}

/// The words of a line, with spaces between them. A word in double quotes may hold spaces.
pub(crate) fn words(line: &str) -> Result<Vec<Word<'_>>, Invalid> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(' ');
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(inner) => {
                let (text, after) = inner
                    .split_once('"')
                    .ok_or_else(|| Invalid("a quote is opened and not closed".to_owned()))?;
                if !after.is_empty() && !after.starts_with(' ') {
                    return Err(Invalid("a closing quote is followed by more than a space".to_owned()));
                }
                (Word { text, quoted: true }, after)
            }
            None => {
                let (text, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
                if let Some(odd) = text.chars().find(|c| matches!(c, '"' | '\'' | '\\' | '`' | '$')) {
                    return Err(Invalid(format!("{odd:?} cannot stand within a word")));
                }
                (Word { text, quoted: false }, after)
            }
        };
        words.push(word);
        rest = after.trim_start_matches(' ');
    }
    Ok(words)
}

/// Refuses what is not printable ASCII: a newline would begin a rule, a NUL end one.
pub(crate) fn printable(line: &str) -> Result<(), Invalid> {
    match line.chars().enumerate().find(|(_, c)| !matches!(c, ' '..='~')) {
        None => Ok(()),
        Some((at, c)) => {
            let what = match c {
                '\n' => "a newline; each line is an element of its own".to_owned(),
                '\0' => "a NUL".to_owned(),
                '\t' => "a tab; words are separated by spaces".to_owned(),
                c => format!("U+{:04X}; only printable ASCII is taken", u32::from(c)),
            };
            Err(Invalid(format!("character {} is {what}", at + 1)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_spaces_and_may_be_quoted() {
        let word = |text, quoted| Word { text, quoted };
        assert_eq!(
            words("  -A  \"a b\" x ").unwrap(),
            [word("-A", false), word("a b", true), word("x", false)]
        );
        assert_eq!(words("").unwrap(), []);
        for line in ["\"a", "\"a\"b", "a\"b\"", "a\"", "it's", "a\\", "`a`", "$A", "\"\"\""] {
            assert!(words(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_not_printable_is_named_with_its_place() {
        assert!(printable("a ~").is_ok());
        let said = |line: &str| printable(line).unwrap_err().to_string();
        assert_eq!(said("a\nb"), "character 2 is a newline; each line is an element of its own");
        assert_eq!(said("\0"), "character 1 is a NUL");
        assert_eq!(said("ab\tc"), "character 3 is a tab; words are separated by spaces");
        assert_eq!(said("\r"), "character 1 is U+000D; only printable ASCII is taken");
        assert_eq!(said("ü\u{2028}"), "character 1 is U+00FC; only printable ASCII is taken");
    }
}
