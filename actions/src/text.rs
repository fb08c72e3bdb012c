//! Somebody else's text as part of a line of ours, and JSON that stays on its line.

pub use docker::shown;
use serde_json::Value as Json;

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
