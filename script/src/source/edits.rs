//! What a rewriting changes: bytes taken out and text put in, in order; and the columns of the original text.
//!
//! No edit adds or removes a line's end, so that lines need no mapping.

use std::borrow::Cow;

/// One change at a place of the original text.
#[derive(Clone, Copy, Debug)]
struct Edit {
    /// Where, in bytes of the original.
    at: usize,
    /// How many bytes go.
    gone: usize,
    /// What comes in their place; ASCII.
    new: &'static str,
}

/// The changes to a text, in the order of their places.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<Edit>);

/// From columns of a rewritten text back to those that its author sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns(Vec<Shift>);

/// Where columns begin to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shift {
    /// The line, from 1.
    line: usize,
    /// The first column of the rewritten text that is beyond this edit, from 0, in bytes.
    from: usize,
    /// The column of the original that is there.
    original: usize,
    /// How many columns were put in, so that a place inside them is told from one beyond them.
    new: usize,
}

impl Edits {
    /// Replaces `gone` bytes at `at`. Calls come in the order of `at`.
    pub(super) fn replace(&mut self, at: usize, gone: usize, new: &'static str) {
        self.0.push(Edit { at, gone, new });
    }

    /// The text with the changes made, and the way back to its columns.
    pub(super) fn apply<'a>(&self, text: &'a str) -> (Cow<'a, str>, Columns) {
        if self.0.is_empty() {
            return (Cow::Borrowed(text), Columns::default());
        }
        let mut out =
            String::with_capacity(text.len() + self.0.iter().map(|edit| edit.new.len()).sum::<usize>());
        let mut columns = Vec::with_capacity(self.0.len());
        let mut done = 0;
        let (mut line, mut line_start, mut out_line_start) = (1, 0, 0);
        for edit in &self.0 {
            let kept = text.get(done..edit.at).unwrap_or_default();
            if let Some(last) = kept.rfind('\n') {
                line += kept.bytes().filter(|b| *b == b'\n').count();
                line_start = done + last + 1;
                out_line_start = out.len() + last + 1;
            }
            out.push_str(kept);
            out.push_str(edit.new);
            done = edit.at + edit.gone;
            columns.push(Shift {
                line,
                from: out.len() - out_line_start,
                original: done - line_start,
                new: edit.new.len(),
            });
        }
        out.push_str(text.get(done..).unwrap_or_default());
        (Cow::Owned(out), Columns(columns))
    }
}

impl Columns {
    /// Whether all columns are the original's.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The column of the original text that is at a column of the rewritten one. Both count bytes from 1, as QuickJS does; a place
    /// inside what was put in is told as the place where it was put in.
    pub(crate) fn original(&self, line: usize, column: usize) -> usize {
        let column = column.saturating_sub(1);
        let after = self.0.partition_point(|shift| (shift.line, shift.from - shift.new) <= (line, column));
        let Some(shift) = after.checked_sub(1).and_then(|i| self.0.get(i)).filter(|shift| shift.line == line)
        else {
            return column + 1;
        };
        shift.original + column.saturating_sub(shift.from) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_change_is_not_copied() {
        let (text, columns) = Edits::default().apply("a = 1");
        assert!(matches!(text, Cow::Borrowed("a = 1")));
        assert_eq!(columns.original(1, 3), 3);
    }

    #[test]
    fn columns_are_those_of_the_original() {
        let mut edits = Edits::default();
        // 1: `ab-cd`  2: `ef>>gh`
        edits.replace(2, 0, "-");
        edits.replace(7, 0, ">");
        edits.replace(7, 0, ">");
        let (text, columns) = edits.apply("abcd\nefgh\nij");
        assert_eq!(text, "ab-cd\nef>>gh\nij");
        let back = |line, column| columns.original(line, column);
        assert_eq!([back(1, 1), back(1, 2), back(1, 3), back(1, 4), back(1, 5)], [1, 2, 3, 3, 4]);
        assert_eq!([back(2, 2), back(2, 3), back(2, 4), back(2, 5), back(2, 6)], [2, 3, 3, 3, 4]);
        assert_eq!([back(3, 1), back(3, 2)], [1, 2]);
    }

    #[test]
    fn replaced_text_of_the_same_width_moves_nothing() {
        let mut edits = Edits::default();
        edits.replace(1, 2, "  ");
        let (text, columns) = edits.apply("abcd");
        assert_eq!(text, "a  d");
        assert_eq!(columns.original(1, 4), 4);
    }
}
