//! Writes names and values as lines of text or as members of JSON objects.

use std::fmt::{self, Display, Write as _};

use crate::escape::is_hidden;

/// Lines of text, or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    Json,
}

/// Where pairs go.
pub(super) struct Report<'o> {
    style: Style,
    out: &'o mut Vec<u8>,
    /// Stands before every name.
    prefix: &'static str,
    /// Whether the next member of the current object or list is its first.
    first: bool,
}

impl<'o> Report<'o> {
    pub(super) fn new(style: Style, out: &'o mut Vec<u8>) -> Self {
        Self { style, out, prefix: "", first: true }
    }

    pub(super) fn is_json(&self) -> bool {
        self.style == Style::Json
    }

    /// A name and its value.
    pub(super) fn pair(&mut self, name: &str, value: impl Display) {
        self.prefixed("", name, value);
    }

    /// A name behind a prefix, and its value.
    pub(super) fn prefixed(&mut self, prefix: &str, name: &str, value: impl Display) {
        match self.style {
            Style::Text => {
                self.raw(self.prefix);
                self.raw(prefix);
                self.raw(name);
                self.raw(" ");
                let _ = write!(Line(self.out), "{value}");
                self.raw("\n");
            }
            Style::Json => {
                self.comma();
                self.raw("\"");
                self.raw(self.prefix);
                let _ = write!(JsonText(self.out), "{prefix}{name}");
                self.raw("\":\"");
                let _ = write!(JsonText(self.out), "{value}");
                self.raw("\"");
            }
        }
    }

    /// A name and a text from the wire; nothing when it is empty, as the reference decoder has it.
    pub(super) fn text(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pair(name, String::from_utf8_lossy(bytes));
        }
    }

    /// A line that only the text has.
    pub(super) fn note(&mut self, line: impl Display) {
        if self.style == Style::Text {
            let _ = write!(Line(self.out), "{line}");
            self.raw("\n");
        }
    }

    /// All names within `inner` begin with `prefix`.
    pub(super) fn with_prefix(&mut self, prefix: &'static str, inner: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.prefix, prefix);
        inner(self);
        self.prefix = before;
    }

    /// An object; in text, what is within.
    pub(super) fn object(&mut self, inner: impl FnOnce(&mut Self)) {
        self.nested("{", "}", inner);
    }

    /// A named list; in text, what is within.
    pub(super) fn list(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        if self.is_json() {
            self.comma();
            self.raw("\"");
            self.raw(name);
            self.raw("\":");
            self.first = true;
        }
        self.nested("[", "]", inner);
    }

    /// An item of a list of texts, in JSON.
    pub(super) fn item(&mut self, value: impl Display) {
        self.comma();
        self.raw("\"");
        let _ = write!(JsonText(self.out), "{value}");
        self.raw("\"");
    }

    fn nested(&mut self, open: &str, close: &str, inner: impl FnOnce(&mut Self)) {
        if !self.is_json() {
            inner(self);
            return;
        }
        self.comma();
        self.raw(open);
        self.first = true;
        inner(self);
        self.raw(close);
        self.first = false;
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.raw(",");
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Keeps a value on its line: control characters are written as `\u{..}`.
struct Line<'o>(&'o mut Vec<u8>);

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
            self.0.extend_from_slice(crate::escape::escape(text).as_bytes());
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }
}

/// The inside of a JSON string (RFC 8259, section 7), in which hidden characters are written by their numbers.
struct JsonText<'o>(&'o mut Vec<u8>);

impl fmt::Write for JsonText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Almost all is plain: numbers, addresses and names.
        if text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
            self.0.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend_from_slice(&[b'\\', c as u8]),
                hidden if is_hidden(hidden) => {
                    let number = format!("\\u{:04x}", u32::from(hidden));
                    self.0.extend_from_slice(number.as_bytes());
                }
                plain => self.0.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(())
    }
}

/// An address as the reference decoder shows it: IPv6 in full, `-` when it is not known.
pub(super) struct Ip(pub(super) decode::Address);

impl Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            decode::Address::Unknown => f.write_char('-'),
            decode::Address::V4(a) => a.fmt(f),
            decode::Address::V6(a) => {
                let mut colon = "";
                for word in a.segments() {
                    write!(f, "{colon}{word:04x}")?;
                    colon = ":";
                }
                Ok(())
            }
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes in upper-case hexadecimal, joined by dashes.
pub(super) struct Dashed<'a>(pub(super) &'a [u8]);

impl Display for Dashed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.0.len() * 3);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
            text.push('-');
        }
        text.pop();
        f.write_str(&text)
    }
}

/// Numbers joined by a character.
pub(super) struct Joined<I>(pub(super) I, pub(super) char);

impl<I: Iterator<Item = u32> + Clone> Display for Joined<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.0.clone().enumerate() {
            if place > 0 {
                f.write_char(self.1)?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}
