//! What a script is given of an answer. No I/O.

use actions::http::{Answer, hyper::header};
use actions::text::shown;

/// An answer as a script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names are in lower case; those that came several times have their values behind one another, after commas.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(super) fn of(answer: Answer) -> Self {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            match headers.iter_mut().find(|(known, _)| known == name.as_str()) {
                Some((_, values)) => {
                    values.push_str(", ");
                    values.push_str(&value);
                }
                None => headers.push((name.to_string(), value.into_owned())),
            }
        }
        let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = decoded(answer.body, content_type.unwrap_or_default());
        Self { status: answer.status, headers, body }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status and the beginning of the body as part of an error.
    pub(crate) fn words(&self) -> String {
        let body = self.body.trim();
        if body.is_empty() { self.status.to_string() } else { format!("{}: {}", self.status, shown(body)) }
    }
}

/// The text of a body: Latin-1 where it is said to be that, UTF-8 otherwise, with marks for what is none. A mark of its
/// byte order is no part of it.
fn decoded(body: Vec<u8>, content_type: &str) -> String {
    let latin = content_type.split(';').skip(1).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && ["iso-8859-1", "latin1"].iter().any(|latin| value.eq_ignore_ascii_case(latin))
    });
    if latin {
        return body.into_iter().map(char::from).collect();
    }
    let text = String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_text_in_what_they_are_said_to_be_in() {
        for (bytes, content_type, text) in [
            (&b"\xc3\xbc"[..], "text/plain", "ü"),
            (b"\xfc", "text/plain; charset=\"ISO-8859-1\"", "ü"),
            (b"\xfc", "text/plain", "\u{fffd}"),
            (b"\xef\xbb\xbf{}", "application/json", "{}"),
            (b"", "", ""),
        ] {
            assert_eq!(decoded(bytes.to_vec(), content_type), text, "{content_type}");
        }
    }

    #[test]
    fn words_are_one_short_line() {
        let reply = |status, body: &str| Reply { status, headers: Vec::new(), body: body.to_owned() };
        assert_eq!(reply(404, "").words(), "404");
        assert_eq!(reply(500, "{\"message\":\"x\"}\n").words(), "500: {\"message\":\"x\"}");
        assert!(reply(500, &"x\n".repeat(10_000)).words().len() < 1000);
        assert!(reply(204, "").is_success() && !reply(304, "").is_success() && !reply(199, "").is_success());
    }
}
