//! Comments, and the mark in one that says which controller a file belongs to.

use std::fmt;
use std::str::FromStr;

use crate::error::{Invalid, shown};
use crate::words::printable;

/// Longest text, bytes.
const LONGEST: usize = 400;

/// Longest name of an owner, bytes.
const LONGEST_OWNER: usize = 64;

/// What a mark begins with.
const MARK: &str = "finderscope owner=";

/// The text of a comment line: printable ASCII without `\`, `$` and `` ` ``, and without spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comment(String);

impl Comment {
    /// The comment that says whose file it is, with a text behind it.
    ///
    /// # Errors
    /// The text cannot stand in a comment.
    pub fn mark(owner: &Owner, text: &str) -> Result<Self, Invalid> {
        format!("{MARK}{} {text}", owner.0).parse()
    }

    /// Whose mark it is, if it is one.
    pub fn owner(&self) -> Option<Owner> {
        let owner = self.0.strip_prefix(MARK)?;
        owner.split(' ').next()?.parse().ok()
    }

    /// The text, without its `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Comment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        printable(text)?;
        // A shell, or a program that fills variables in, might read more into these.
        if let Some(odd) = text.chars().find(|c| matches!(c, '\\' | '$' | '`')) {
            return Err(Invalid(format!("{odd:?} cannot stand in a comment")));
        }
        let text = text.trim_matches(' ');
        if text.len() > LONGEST {
            return Err(Invalid(format!("the comment has {} bytes; {LONGEST} are allowed", text.len())));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The line.
impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("#") } else { write!(f, "# {}", self.0) }
    }
}

/// Who keeps a file: letters, digits, `.`, `_` and `-`, such as the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(String);

impl Owner {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let of_owner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=LONGEST_OWNER).contains(&text.len()) && text.bytes().all(of_owner) {
            return Ok(Self(text.to_owned()));
        }
        let wanted = format!("letters, digits, . _ and - are one, {LONGEST_OWNER} at most");
        Err(Invalid(format!("{} is no owner: {wanted}", shown(text))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_its_owner() {
        let owner: Owner = "collector-1.example".parse().unwrap();
        let mark = Comment::mark(&owner, "session 7").unwrap();
        assert_eq!(mark.to_string(), "# finderscope owner=collector-1.example session 7");
        assert_eq!(mark.owner(), Some(owner.clone()));
        let bare = Comment::mark(&owner, "").unwrap();
        assert_eq!(
            (bare.to_string().as_str(), bare.owner()),
            ("# finderscope owner=collector-1.example", Some(owner))
        );
        for text in [
            "emerging threat capture",
            "finderscope owner=",
            "finderscope owner=a;b",
            "x finderscope owner=a",
        ] {
            assert_eq!(text.parse::<Comment>().unwrap().owner(), None, "{text}");
        }
    }

    #[test]
    fn comments_stay_on_their_line() {
        let longest = "x".repeat(LONGEST + 1);
        for text in ["a\nb", "a\0", "a\\", "$A", "`a`", "ü", "\t", &longest] {
            assert!(text.parse::<Comment>().is_err(), "{text:?}");
        }
        assert_eq!(" ".parse::<Comment>().unwrap().to_string(), "#");
        for text in ["", "a b", "a\n", "ü", &"x".repeat(65)] {
            assert!(text.parse::<Owner>().is_err(), "{text:?}");
        }
    }
}
