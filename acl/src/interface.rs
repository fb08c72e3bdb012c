//! Which interfaces of the switch a rule is about.

use std::fmt;
use std::str::FromStr;

use crate::error::{Invalid, shown};

/// Longest name of an interface that a kernel has, bytes (IFNAMSIZ less its end).
const LONGEST: usize = 15;

/// An interface by name, or with `+` at the end all whose names begin so: `swp1`, `swp1s0`, `bond0.100`, `swp+`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface(String);

impl Interface {
    /// All ports of the switch, as the article's rules have it.
    pub fn all_ports() -> Self {
        Self("swp+".to_owned())
    }

    /// Its name, with the `+` of a pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for several.
    pub fn is_pattern(&self) -> bool {
        self.0.ends_with('+')
    }
}

impl FromStr for Interface {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = text.strip_suffix('+').unwrap_or(text);
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=LONGEST).contains(&name.len())
            && name.bytes().all(of_name)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !fits {
            let wanted = "a letter or digit and up to 14 more, with . _ and -, are one, and a + at the end means all that begin so";
            return Err(Invalid(format!("{} is no interface: {wanted}", shown(text))));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_names_and_patterns() {
        for (text, pattern) in [
            ("swp1", false),
            ("swp1s0", false),
            ("bond0.100", false),
            ("swp+", true),
            ("a-b_c", false),
            ("x23456789012345", false),
        ] {
            let interface: Interface = text.parse().unwrap();
            assert_eq!((interface.as_str(), interface.is_pattern()), (text, pattern));
        }
        for text in [
            "",
            "+",
            "-i",
            ".",
            "..",
            "swp++",
            "s+p",
            "swp 1",
            "a/b",
            "x234567890123456",
            "swp1,swp2",
            "ü",
            "$I",
            "a\0",
        ] {
            assert!(text.parse::<Interface>().is_err(), "{text}");
        }
    }
}
