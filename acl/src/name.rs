//! The name of a rules file, which is also its place in the server's URLs.

use std::fmt;
use std::str::FromStr;

use crate::error::{Invalid, shown};

/// Longest name, bytes: `50rest-NAME.rules` is a file name.
const LONGEST: usize = 128;

/// Names that mean something else in a URL.
const RESERVED: [&str; 2] = ["lasterror", "acl"];

/// Small letters, digits and `_`; neither `lasterror` nor `acl`, which mean something else in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(of_name);
        if !fits {
            let wanted = format!("small letters, digits and _ are one, {LONGEST} at most");
            return Err(Invalid(format!("{} is no name: {wanted}", shown(text))));
        }
        if RESERVED.contains(&text) {
            return Err(Invalid(format!("{} means something else and cannot be a name", shown(text))));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_small_letters_digits_and_underscores() {
        let longest = "x".repeat(LONGEST);
        for text in ["capture1", "emrg0", "_", "0", &longest] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
        let too_long = "x".repeat(LONGEST + 1);
        for text in [
            "",
            "A",
            "a-b",
            "a.b",
            "../x",
            "a/b",
            "a b",
            "a\n",
            "a\0",
            "ä",
            "%61",
            "lasterror",
            "acl",
            &too_long,
        ] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }
}
