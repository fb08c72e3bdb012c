//! Texts from the network on their way into answers: what would move a reader's cursor or turn the direction of
//! writing is written by its number.

use std::fmt::Write;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value as Json;

/// Whether a character is not seen itself, but changes how others are seen or makes a text differ from one that looks
/// the same: controls, line separators, marks, embeddings and overrides of direction, spaces without width. Those that
/// join letters stay: scripts and emoji need them.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text with hidden characters written as `\u{..}`: a line stays one line.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON as text in which no hidden character stands as itself. They are in strings alone, so each may be written as
/// the string's own escape.
pub(crate) fn json_text(json: &Json) -> String {
    let text = json.to_string();
    if !text.chars().any(is_hidden) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_hidden(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// An answer in JSON.
pub(crate) struct JsonAnswer(pub(crate) Json);

impl IntoResponse for JsonAnswer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], json_text(&self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_newline_stays_on_its_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}é"), "a\\u{a}b\\u{1b}[31m\\u{202e}é");
    }

    #[test]
    fn what_has_no_width_or_turns_direction_is_shown() {
        assert_eq!(escape("\u{feff}a\u{200b}b\u{61c}"), "\\u{feff}a\\u{200b}b\\u{61c}");
        assert_eq!(escape("نمی\u{200c}دانم"), "نمی\u{200c}دانم");
    }

    #[test]
    fn json_shows_no_hidden_character_and_means_the_same() {
        let json =
            serde_json::json!({ "a\u{202e}": "\u{9b}31m\u{7f}\n\u{1b}\"é\u{2028}", "n": [1, 2.5, null] });
        let text = json_text(&json);
        assert_eq!(text, r#"{"a\u202e":"\u009b31m\u007f\n\u001b\"é\u2028","n":[1,2.5,null]}"#);
        assert_eq!(serde_json::from_str::<Json>(&text).ok(), Some(json));
    }
}
