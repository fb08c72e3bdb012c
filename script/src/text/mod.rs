//! What scripts make texts with: dates and numbers by the patterns of Java, and baselines of values. All of it is pure: no clock, no
//! file; the time zone is an argument.

pub(crate) mod baseline;
pub(crate) mod date;
mod digits;
mod locale;
mod names;
pub(crate) mod number;

use std::fmt::Write;

use md5::{Digest, Md5};

/// Longest pattern that is read, in bytes: a text grows with its pattern.
const LONGEST_PATTERN: usize = 1000;

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("a pattern is {LONGEST_PATTERN} bytes long at most")]
    LongPattern,
    #[error("a quote is open in the pattern {0:?}: write '' for a quote itself")]
    OpenQuote(String),
    #[error("{0:?} in the pattern {1:?} has no meaning there: put text in single quotes")]
    Letter(char, String),
    #[error("the pattern {0:?} is not one of numbers: {1}")]
    Number(String, &'static str),
    #[error("{0:?} is not a language that is known here: use one of {known}", known = locale::LANGUAGES)]
    Language(String),
    #[error("{0:?} is not a language that dates can be written in here: use one of {known}", known = names::LANGUAGES)]
    DateLanguage(String),
    #[error("the time {0} ms is not within the years -9999 to 9999")]
    Time(f64),
}

/// The MD5 of a text in UTF-8, as 32 lower-case hexadecimal digits.
pub(crate) fn md5(text: &str) -> String {
    Md5::digest(text).iter().fold(String::with_capacity(32), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The values of RFC 1321, appendix A.5, and one of two bytes in UTF-8.
    #[test]
    fn md5_is_that_of_rfc_1321() {
        assert_eq!(md5(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5("abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(md5("é"), "66ddcd97cfdeabb2f6fb8a999b4bc76f");
    }
}
