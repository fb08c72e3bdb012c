//! Names from the network on their way into lines of text: a line stays one line.

/// The text with control characters and bidirectional overrides written as `\u{..}`.
pub fn escape(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_with_a_newline_stays_on_its_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}é"), "a\\u{a}b\\u{1b}[31m\\u{202e}é");
    }
}
