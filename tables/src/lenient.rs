//! JSON as clients of the field write it: names without quotes, single quotes, texts without quotes, commas too many.
//! Strict JSON reads the same as it would anywhere.

use serde_json::{Map, Number, Value as Json};

/// How deep objects and lists may nest.
const DEEPEST: usize = 32;

/// Reads a value; the whole text must be one.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn parse(text: &str) -> Result<Json, String> {
    // Some editors begin a text with the mark of its byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at == text.len() { Ok(value) } else { Err(parser.wrong("the value ends, and more follows")) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} (at byte {})", self.at)
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a character, behind white space.
    fn take(&mut self, wanted: char) -> bool {
        self.space();
        let is = self.rest().starts_with(wanted);
        self.at += if is { wanted.len_utf8() } else { 0 };
        is
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEEPEST {
            return Err(self.wrong("nested too deep"));
        }
        if self.take('{') {
            return self.object(depth);
        }
        if self.take('[') {
            return self.list(depth);
        }
        self.space();
        match self.rest().chars().next() {
            None => Err(self.wrong("a value is missing")),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Json::String),
            Some(_) => self.bare(&[',', '}', ']']).map(|text| meaning(&text)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut object = Map::new();
        loop {
            while self.take(',') {}
            if self.take('}') {
                return Ok(Json::Object(object));
            }
            self.space();
            let name = match self.rest().chars().next() {
                None => return Err(self.wrong("an object is not closed")),
                Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                Some(_) => self.bare(&[':', ',', '}', '{', '[', ']'])?,
            };
            if !self.take(':') {
                return Err(self.wrong("a colon is missing after a name"));
            }
            let value = self.value(depth + 1)?;
            object.insert(name, value);
            self.space();
            if !self.rest().starts_with([',', '}']) {
                return Err(self.wrong("a comma or a closing brace is missing"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        let mut list = Vec::new();
        loop {
            while self.take(',') {}
            if self.take(']') {
                return Ok(Json::Array(list));
            }
            list.push(self.value(depth + 1)?);
            self.space();
            if !self.rest().starts_with([',', ']']) {
                return Err(self.wrong("a comma or a closing bracket is missing"));
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.at += quote.len_utf8();
        let mut out = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else { return Err(self.wrong("a quote is not closed")) };
            self.at += c.len_utf8();
            match c {
                _ if c == quote => return Ok(out),
                '\\' => out.push(self.escaped()?),
                _ => out.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let Some(c) = self.rest().chars().next() else { return Err(self.wrong("a quote is not closed")) };
        self.at += c.len_utf8();
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let first = self.unit()?;
                let is_half = (0xd800..0xdc00).contains(&first);
                if is_half && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let second = self.unit()?;
                    let pair = char::decode_utf16([first as u16, second as u16]).next();
                    pair.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
                } else {
                    char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
            }
            other => other,
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.rest().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = digits.ok_or_else(|| self.wrong("\\u needs four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// A text without quotes, up to one of these characters.
    fn bare(&mut self, ends: &[char]) -> Result<String, String> {
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default().trim().to_owned();
        if text.is_empty() {
            return Err(self.wrong("a name or a value is missing"));
        }
        self.at += end;
        Ok(text)
    }
}

/// What a text without quotes means.
fn meaning(text: &str) -> Json {
    match text {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        "null" => Json::Null,
        _ => match text.parse::<i64>() {
            Ok(number) => Json::from(number),
            Err(_) => {
                let begins = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
                let number = text.parse::<f64>().ok().filter(|_| begins).and_then(Number::from_f64);
                number.map_or_else(|| Json::String(text.to_owned()), Json::Number)
            }
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_published_clients_send() {
        let text = "{keys:'ipsource,ipdestination', value:'frames', filter:'ipprotocol=1'}";
        let flow = json!({"keys": "ipsource,ipdestination", "value": "frames", "filter": "ipprotocol=1"});
        assert_eq!(parse(text), Ok(flow));
        assert_eq!(
            parse("{value:bytes,log:true,n:5,t:1.5,}"),
            Ok(json!({"value": "bytes", "log": true, "n": 5, "t": 1.5}))
        );
        assert_eq!(
            parse("\u{feff}{external:['0.0.0.0/0', 10.0.0.0/8]}"),
            Ok(json!({"external": ["0.0.0.0/0", "10.0.0.0/8"]}))
        );
    }

    #[test]
    fn strict_json_reads_as_anywhere() {
        for text in [
            r#"{"a":[1,2.5,-3e2,true,false,null,"x\ny\"\u00e9\ud83d\ude00"],"b":{"c":[]},"d":{}}"#,
            "[]",
            "\"text\"",
            " 7 ",
        ] {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Json>(text).unwrap());
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, what) in [
            ("", "a value is missing (at byte 0)"),
            ("{keys 'a'}", "a colon is missing"),
            ("{a:1", "a comma or a closing brace"),
            ("{a:'x}", "a quote is not closed"),
            ("[1 2", "a comma or a closing bracket"),
            ("{} {}", "more follows"),
            (r#""\u12""#, "four hexadecimal digits"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("nested too deep"));
    }
}
