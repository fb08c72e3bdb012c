//! Somebody else's text as part of a line of ours, and JSON that stays on its line.

use serde_json::Value as Json;

/// Most characters of it.
const SHOWN: usize = 300;

/// The text with what is not printable escaped, cut short where it is long.
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == SHOWN {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// JSON in which all that is not printable ASCII is escaped, so that no name turns a terminal's line round.
pub fn ascii_json(json: &Json) -> String {
    let mut out = String::new();
    for c in json.to_string().chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            // Characters beyond ASCII stand only in strings, where each may be written by its numbers.
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line_and_is_cut() {
        assert_eq!(shown("a \"b\"\r\n"), "a \"b\"\\r\\n");
        assert_eq!(shown("\u{1b}[31m\u{202e}x\u{2028}ü"), "\\u{1b}[31m\\u{202e}x\\u{2028}ü");
        assert_eq!(shown(&"x".repeat(4096)), "x".repeat(SHOWN) + "...");
    }
}
