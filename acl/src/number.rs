//! Numbers in a rule: digits alone, without signs and leading zeros, so that each number has one text.

use std::str::FromStr;

use crate::error::{Invalid, shown};

/// Reads a number; `what` names it in the error, with its range.
pub(crate) fn number<N: FromStr>(text: &str, what: &str) -> Result<N, Invalid> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().ok_or_else(|| Invalid(format!("{} is no {what}", shown(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_text() {
        assert_eq!(number::<u8>("255", "x"), Ok(255));
        assert_eq!(number::<u8>("0", "x"), Ok(0));
        for text in ["", "+1", "-1", "01", "00", "256", " 1", "1 ", "0x1", "1_0", "١"] {
            assert!(number::<u8>(text, "x").is_err(), "{text}");
        }
    }
}
