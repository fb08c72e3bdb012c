//! The comments at the head of a script that say whose it is, and the one that asks for a name space.

use serde_json::{Map, Value as Json};

use super::Refused;

/// Longest value of a header comment that is kept, in characters.
const LONGEST_VALUE: usize = 500;

/// What a script says of itself in the comments before its first statement: `// author: ...` and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) author: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) copyright: Option<String>,
    /// `// wrapglobals: rt`: the functions of this program are properties of this one global object, and no globals themselves.
    pub(crate) wrap_globals: Option<String>,
}

impl Header {
    /// The header of a script. Blank lines and other comments may stand between; the first of two with the same key counts.
    ///
    /// # Errors
    /// A `wrapglobals` that is no plain name.
    pub(crate) fn read(text: &str) -> Result<Header, Refused> {
        let mut header = Header::default();
        let mut in_block = false;
        for (line, raw) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let content = raw.trim();
            if line == 0 && content.starts_with("#!") {
                continue;
            }
            if in_block || content.starts_with("/*") {
                // what follows a block comment on its line is code
                match content.find("*/") {
                    Some(end) if content.len() == end + 2 => in_block = false,
                    Some(_) => break,
                    None => in_block = true,
                }
                continue;
            }
            if content.is_empty() {
                continue;
            }
            let Some(comment) = content.strip_prefix("//") else { break };
            let Some((key, value)) = comment.split_once(':') else { continue };
            header.set(key.trim(), value.trim(), line + 1)?;
        }
        Ok(header)
    }

    /// As `/scripts/json` has it: what is there, by name.
    pub(crate) fn json(&self) -> Json {
        let fields = [
            ("author", &self.author),
            ("version", &self.version),
            ("date", &self.date),
            ("description", &self.description),
            ("copyright", &self.copyright),
        ];
        let there = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Json::from(value.as_deref()?))));
        there.collect::<Map<_, _>>().into()
    }

    fn set(&mut self, key: &str, value: &str, line: usize) -> Result<(), Refused> {
        let field = match key.to_ascii_lowercase().as_str() {
            "author" => &mut self.author,
            "version" => &mut self.version,
            "date" => &mut self.date,
            "description" => &mut self.description,
            "copyright" => &mut self.copyright,
            "wrapglobals" if is_plain_name(value) => &mut self.wrap_globals,
            "wrapglobals" => {
                return Err(Refused {
                    line,
                    column: 1,
                    why: "wrapglobals wants a name of letters, digits, _ and $: write // wrapglobals: rt",
                });
            }
            _ => return Ok(()),
        };
        if field.is_none() && !value.is_empty() {
            *field = Some(value.chars().take(LONGEST_VALUE).collect());
        }
        Ok(())
    }
}

fn is_plain_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn comments_before_the_first_statement_are_the_header() {
        let text = "// author: A. Nother\n\n// version: 1.2: beta\n// a sentence\n/* licence\n text */\n//Description:  counts\n\
                    let a = 1;\n// date: 2020\n";
        let header = Header::read(text).unwrap();
        assert_eq!(header.author.as_deref(), Some("A. Nother"));
        assert_eq!(header.version.as_deref(), Some("1.2: beta"));
        assert_eq!(header.description.as_deref(), Some("counts"));
        assert_eq!((&header.date, &header.wrap_globals), (&None, &None));
        assert_eq!(
            header.json().to_string(),
            r#"{"author":"A. Nother","description":"counts","version":"1.2: beta"}"#
        );
    }

    #[test]
    fn the_first_of_two_counts_and_a_long_one_is_cut() {
        let header =
            Header::read(&format!("// date: one\r\n// date: two\r\n// copyright: {}\r\n", "é".repeat(600)))
                .unwrap();
        assert_eq!(header.date.as_deref(), Some("one"));
        assert_eq!(header.copyright.map(|text| text.chars().count()), Some(500));
    }

    #[test]
    fn a_name_space_is_a_plain_name() {
        assert_eq!(Header::read("// wrapglobals: rt").unwrap().wrap_globals.as_deref(), Some("rt"));
        let refused = Header::read("// author: x\n// wrapglobals: a b").unwrap_err();
        assert_eq!(refused.line, 2);
        assert!(refused.to_string().starts_with("line 2, column 1: wrapglobals wants a name"), "{refused}");
        assert_eq!(Header::read("f();\n// wrapglobals: a b").unwrap(), Header::default());
    }

    #[test]
    fn a_mark_and_an_interpreter_line_come_first() {
        let header = Header::read("\u{feff}#! /usr/bin/x\n// author: me").unwrap();
        assert_eq!(header.author.as_deref(), Some("me"));
    }

    #[test]
    fn code_behind_a_block_comment_ends_the_header() {
        assert_eq!(Header::read("/* a */ f();\n// author: x").unwrap(), Header::default());
        assert_eq!(Header::read("/*\n// author: x\n*/ f();\n// date: y").unwrap(), Header::default());
    }
}
