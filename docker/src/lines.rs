//! A stream of bytes cut into lines, of which none is kept beyond a limit.

use hyper::body::Bytes;

/// Cuts what is pushed into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    limit_bytes: usize,
    /// What came last and has not been looked at.
    piece: Bytes,
    /// The beginning of a line that came in pieces; at most the limit.
    begun: Vec<u8>,
    /// The line that is being received is too long: the rest of it is dropped.
    skipping: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end.
    Whole(Bytes),
    /// A line longer than the limit has begun; none of it is kept.
    TooLong,
}

impl Lines {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, piece: Bytes::new(), begun: Vec::new(), skipping: false }
    }

    /// Takes the next piece of the stream. All lines of the last one must have been taken.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "the last piece has lines in it");
        self.piece = piece;
    }

    /// The next line of what was pushed; `None` when it has no more.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let end = self.piece.iter().position(|byte| *byte == b'\n');
            let part = match end {
                Some(end) => {
                    let part = self.piece.split_to(end);
                    let _newline = self.piece.split_to(1);
                    part
                }
                None if self.piece.is_empty() => return None,
                None => std::mem::take(&mut self.piece),
            };
            if self.skipping {
                self.skipping = end.is_none();
                continue;
            }
            if self.begun.len() + part.len() > self.limit_bytes {
                self.begun = Vec::new();
                self.skipping = end.is_none();
                return Some(Line::TooLong);
            }
            if end.is_none() {
                self.begun.extend_from_slice(&part);
                return None;
            }
            if self.begun.is_empty() {
                return Some(Line::Whole(part));
            }
            self.begun.extend_from_slice(&part);
            return Some(Line::Whole(std::mem::take(&mut self.begun).into()));
        }
    }

    /// The limit.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Whether a line has begun that has no end yet.
    pub(crate) fn cut(&self) -> bool {
        !self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a text that comes in pieces of so many bytes; `None` for one that is too long.
    fn cut(text: &[u8], piece: usize, limit: usize) -> (Vec<Option<String>>, bool) {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for piece in text.chunks(piece) {
            lines.push(Bytes::copy_from_slice(piece));
            while let Some(line) = lines.next() {
                found.push(match line {
                    Line::Whole(line) => Some(String::from_utf8_lossy(&line).into_owned()),
                    Line::TooLong => None,
                });
            }
            assert!(lines.begun.len() <= limit);
        }
        (found, lines.cut())
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"one\n\ntwo\r\nfar too long a line\nthree\n12345678\n123456789\nhalf";
        let wanted = [Some("one"), Some(""), Some("two\r"), None, Some("three"), Some("12345678"), None];
        let wanted: Vec<Option<String>> = wanted.iter().map(|line| line.map(str::to_owned)).collect();
        for piece in 1..=text.len() {
            assert_eq!(cut(text, piece, 8), (wanted.clone(), true), "in pieces of {piece}");
        }
    }

    #[test]
    fn an_endless_line_is_said_once_and_not_kept() {
        assert_eq!(cut(&[b'x'; 100_000], 1000, 64), (vec![None], false));
        let mut text = vec![b'x'; 100_000];
        text.extend_from_slice(b"\nnext\n");
        assert_eq!(cut(&text, 1000, 64), (vec![None, Some("next".to_owned())], false));
    }
}
