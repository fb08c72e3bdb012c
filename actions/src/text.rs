//! Somebody else's text as part of a line of ours.

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
