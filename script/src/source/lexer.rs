//! The tokens of a JavaScript text, as far as a rewriter needs them: where each begins and ends, and what it can stand for.
//!
//! Whether a `/` begins a regular expression or divides, and where a template goes on after a `}`, is known to who follows the
//! grammar (`walk.rs`) and asked from there. Spaces and comments are skipped, and it is remembered whether a line ended in them.
//! Every byte is looked at once: the time is linear in the text. Nothing here panics, whatever the text.

/// What a token is to the rewriter. Names are not told from keywords here: which they are depends on the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    /// `#name`.
    Private,
    Number,
    /// A string in single or double quotes.
    Text,
    Regex,
    /// A template without `${`, or its last part.
    Template,
    /// The part of a template that ends in `${`.
    TemplateOpen,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Semicolon,
    Comma,
    Colon,
    Question,
    /// `?.`
    OptionalDot,
    Dot,
    /// `...`
    Spread,
    /// `=>`
    Arrow,
    /// `++` and `--`.
    Step,
    /// `!` and `~`, which only stand before an operand.
    Prefix,
    /// `+` and `-`, which stand before an operand or between two.
    Sign,
    Star,
    /// Any operator between two operands, and what assigns.
    Operator,
    /// The end of the text.
    End,
    /// What is no token: an open string, a character that JavaScript does not know.
    Bad,
}

/// A token and where it is, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The text of a word, else nothing.
    pub(super) word: &'a str,
    /// Whether a line ended between the token before and this one.
    pub(super) after_newline: bool,
}

/// Longest `{10FFFF}` of an escape in a name that is looked for, in bytes; leading zeros are allowed.
const LONGEST_ESCAPE: usize = 16;

/// Walks over a text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    after_newline: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0, after_newline: true }
    }

    /// Skips spaces and comments; whether a line ended in them (or the text begins here).
    pub(super) fn skip(&mut self) -> bool {
        while let Some(c) = self.peek() {
            match c {
                '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                    self.after_newline = true;
                    self.at += c.len_utf8();
                }
                '/' if self.rest().starts_with("//") => self.skip_line(),
                '/' if self.rest().starts_with("/*") => {
                    if !self.skip_block() {
                        return self.after_newline;
                    }
                }
                // comments as HTML pages of old had them, which the standard still knows
                '<' if self.rest().starts_with("<!--") => self.skip_line(),
                '-' if self.after_newline && self.rest().starts_with("-->") => self.skip_line(),
                '\u{feff}' => self.at += c.len_utf8(),
                c if c.is_whitespace() => self.at += c.len_utf8(),
                _ => break,
            }
        }
        self.after_newline
    }

    /// The next token; `regex` says that a `/` begins a regular expression here.
    pub(super) fn next(&mut self, regex: bool) -> Token<'a> {
        self.skip();
        let start = self.at;
        let kind = self.scan(regex);
        let word = match kind {
            Kind::Word => self.text.get(start..self.at).unwrap_or_default(),
            _ => "",
        };
        let after_newline = std::mem::take(&mut self.after_newline);
        Token { kind, start, end: self.at, word, after_newline }
    }

    /// The next part of a template, right after the `}` that ended a substitution.
    pub(super) fn template_part(&mut self) -> Token<'a> {
        let start = self.at;
        let kind = self.template();
        Token { kind, start, end: self.at, word: "", after_newline: false }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The byte that is `n` after the current one, 0 beyond the end.
    fn byte(&self, n: usize) -> u8 {
        self.text.as_bytes().get(self.at + n).copied().unwrap_or(0)
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find(is_newline).unwrap_or(rest.len());
    }

    /// Whether the comment has an end; one that has none is left for [`Lexer::scan`] to refuse.
    fn skip_block(&mut self) -> bool {
        let rest = self.rest();
        let Some(inside) = rest.get(2..) else { return false };
        let Some(end) = inside.find("*/") else { return false };
        self.after_newline |= inside.get(..end).is_some_and(|comment| comment.contains(is_newline));
        self.at += end + 4;
        true
    }

    fn scan(&mut self, regex: bool) -> Kind {
        let Some(c) = self.peek() else { return Kind::End };
        match c {
            '\'' | '"' => self.string(c),
            '`' => {
                self.at += 1;
                self.template()
            }
            '0'..='9' => self.number(),
            '.' if self.byte(1).is_ascii_digit() => self.number(),
            '/' if self.byte(1) == b'*' => Kind::Bad,
            '/' if regex => self.regex(),
            '#' => {
                self.at += 1;
                if self.name() { Kind::Private } else { Kind::Bad }
            }
            c if is_name(c) => {
                if self.name() {
                    Kind::Word
                } else {
                    Kind::Bad
                }
            }
            c if c.is_ascii() => self.punctuation(c),
            _ => Kind::Bad,
        }
    }

    fn punctuation(&mut self, c: char) -> Kind {
        use Kind::{
            Arrow, Bad, CloseBrace, CloseBracket, CloseParen, Colon, Comma, Dot, OpenBrace, OpenBracket,
            OpenParen, Operator, OptionalDot, Prefix, Question, Semicolon, Sign, Spread, Star, Step,
        };
        let (second, third) = (self.byte(1), self.byte(2));
        let (kind, length) = match c {
            '{' => (OpenBrace, 1),
            '}' => (CloseBrace, 1),
            '(' => (OpenParen, 1),
            ')' => (CloseParen, 1),
            '[' => (OpenBracket, 1),
            ']' => (CloseBracket, 1),
            ';' => (Semicolon, 1),
            ',' => (Comma, 1),
            ':' => (Colon, 1),
            '.' if second == b'.' && third == b'.' => (Spread, 3),
            '.' => (Dot, 1),
            // `a?.5:1` divides a condition from a number
            '?' if second == b'.' && !third.is_ascii_digit() => (OptionalDot, 2),
            '?' if second == b'?' => (Operator, if third == b'=' { 3 } else { 2 }),
            '?' => (Question, 1),
            '=' if second == b'>' => (Arrow, 2),
            '+' | '-' if char::from(second) == c => (Step, 2),
            '+' | '-' if second == b'=' => (Operator, 2),
            '+' | '-' => (Sign, 1),
            '!' if second == b'=' => (Operator, if third == b'=' { 3 } else { 2 }),
            '!' | '~' => (Prefix, 1),
            '*' if second != b'*' && second != b'=' => (Star, 1),
            '*' if second == b'*' => (Operator, if third == b'=' { 3 } else { 2 }),
            '=' | '<' | '>' | '&' | '|' | '^' | '%' | '/' | '*' => (Operator, self.operator()),
            _ => (Bad, 0),
        };
        self.at += length;
        kind
    }

    /// The length of an operator that is written with one character (`>>>`, `&&`) and perhaps a `=`.
    fn operator(&self) -> usize {
        let first = self.byte(0);
        let most = match first {
            b'=' => 3,
            b'>' => 3,
            b'<' | b'&' | b'|' => 2,
            _ => 1,
        };
        let mut length = 1;
        while length < most && self.byte(length) == first {
            length += 1;
        }
        if first != b'=' && self.byte(length) == b'=' { length + 1 } else { length }
    }

    fn string(&mut self, quote: char) -> Kind {
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.escaped(),
                '\n' | '\r' => return Kind::Bad,
                c if c == quote => return Kind::Text,
                _ => {}
            }
        }
        Kind::Bad
    }

    /// The character after a backslash, whatever it is; a line's end of two characters is one.
    fn escaped(&mut self) {
        if self.rest().starts_with("\r\n") {
            self.at += 2;
        } else if let Some(c) = self.peek() {
            self.at += c.len_utf8();
        }
    }

    fn template(&mut self) -> Kind {
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.escaped(),
                '`' => return Kind::Template,
                '$' if self.byte(0) == b'{' => {
                    self.at += 1;
                    return Kind::TemplateOpen;
                }
                _ => {}
            }
        }
        Kind::Bad
    }

    fn regex(&mut self) -> Kind {
        self.at += 1;
        let mut class = false;
        while let Some(c) = self.peek() {
            if is_newline(c) {
                return Kind::Bad;
            }
            self.at += c.len_utf8();
            match c {
                '\\' if self.peek().is_none_or(is_newline) => return Kind::Bad,
                '\\' => self.escaped(),
                '[' => class = true,
                ']' => class = false,
                '/' if !class => {
                    self.name();
                    return Kind::Regex;
                }
                _ => {}
            }
        }
        Kind::Bad
    }

    fn number(&mut self) -> Kind {
        let based = self.byte(0) == b'0' && matches!(self.byte(1).to_ascii_lowercase(), b'x' | b'o' | b'b');
        while !based && (self.byte(0).is_ascii_digit() || self.byte(0) == b'_') {
            self.at += 1;
        }
        if !based && self.byte(0) == b'.' {
            self.at += 1;
            while self.byte(0).is_ascii_digit() || self.byte(0) == b'_' {
                self.at += 1;
            }
        }
        if !based && matches!(self.byte(0), b'e' | b'E') && matches!(self.byte(1), b'+' | b'-') {
            self.at += 2;
        }
        // the rest: digits of a base or of an exponent, the `n` of a large integer
        self.name();
        Kind::Number
    }

    /// Skips the characters of a name; whether there were any, with escapes that are whole.
    fn name(&mut self) -> bool {
        let start = self.at;
        while let Some(c) = self.peek() {
            if c == '\\' {
                if self.byte(1) != b'u' {
                    break;
                }
                self.at += 2;
                if self.byte(0) == b'{' {
                    let escape = self.text.as_bytes().get(self.at..).unwrap_or_default();
                    let Some(end) = escape.iter().take(LONGEST_ESCAPE).position(|b| *b == b'}') else {
                        return false;
                    };
                    self.at += end + 1;
                }
            } else if is_name(c) {
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        self.at > start
    }
}

/// What ends a line in JavaScript.
pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// What a name is made of. Beyond ASCII that is more than the standard allows, which QuickJS refuses by itself.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '$' | '\\')
        || (!c.is_ascii() && !c.is_whitespace() && c != '\u{feff}')
}
