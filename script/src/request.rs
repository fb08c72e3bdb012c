//! Requests to a script's handler and what it answers.

use rquickjs::{Ctx, Value};
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};

/// A request to a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT` ...
    pub method: String,
    /// The parts of the path after the script's name, the format aside.
    pub path: Vec<String>,
    /// The query as pairs, in their order.
    pub query: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
    /// What the client says that the body is.
    pub content_type: Option<String>,
    /// What the answer is to be: the path's last part, `json`, `txt`, `html` ...
    pub format: String,
    /// Whether the client says that it takes JSON before anything else.
    pub wants_json: bool,
}

/// What a script answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a script does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no such script.
    #[error("no such script; /scripts/json lists them")]
    NoScript,
    /// It has set no handler.
    #[error("the script has set no handler of requests")]
    NoHandler,
    /// Too many requests wait for it.
    #[error("too many requests wait for the script; ask later")]
    Full,
    /// It has not answered in time.
    #[error("the script has not answered in time")]
    Late,
    /// It has ended.
    #[error("the script has ended; /scripts/json says why")]
    Ended,
}

impl Request {
    /// As the handler sees it: the body parsed, or the text of it and, where the client says that it is JSON, what is
    /// wrong with it.
    pub(crate) fn json(&self) -> Json {
        let mut query = serde_json::Map::new();
        for (name, value) in &self.query {
            let values = query.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(value.as_str().into());
            }
        }
        let mut object = json!({
            "method": self.method,
            "path": self.path,
            "query": query,
            "body": null,
            "format": self.format,
        });
        if !self.body.is_empty() {
            match serde_json::from_slice::<Json>(&self.body) {
                Ok(body) => object["body"] = body,
                Err(error) => {
                    object["body"] = String::from_utf8_lossy(&self.body).into();
                    if self.content_type.as_deref().is_none_or(|is| is.contains("json")) {
                        object["error"] = error.to_string().into();
                    }
                }
            }
        }
        object
    }
}

impl Reply {
    /// What a handler returned: a text as it is, unless the client wants JSON and it is none; anything else as JSON.
    ///
    /// # Errors
    /// JSON has nothing for it, as for an object that contains itself.
    pub(crate) fn of<'js>(ctx: &Ctx<'js>, request: &Request, value: Value<'js>) -> rquickjs::Result<Self> {
        let content_type = content_type(&request.format);
        let body = match value.as_string() {
            Some(text) => {
                let text = text.to_string()?;
                let quoted = request.wants_json
                    && request.format == "json"
                    && serde_json::from_str::<IgnoredAny>(&text).is_err();
                if quoted { Json::from(text).to_string() } else { text }
            }
            None => match ctx.json_stringify(value)? {
                Some(text) => text.to_string()?,
                None => String::new(),
            },
        };
        Ok(Self { status: 200, content_type, body: body.into_bytes() })
    }

    /// What a handler threw: a text, of which those that the field knows are statuses, or something else, of which this is
    /// said.
    pub(crate) fn thrown(text: Option<&str>, said: &str) -> Self {
        let status = match text.unwrap_or_default() {
            "bad_request" | "bad_value" => 400,
            "unauthorized" => 401,
            "forbidden" => 403,
            "not_found" => 404,
            "service_unavailable" => 503,
            _ => 500,
        };
        let body = json!({ "error": text.unwrap_or(said) }).to_string().into_bytes();
        Self { status, content_type: "application/json", body }
    }
}

fn content_type(format: &str) -> &'static str {
    match format {
        "json" => "application/json",
        "html" => "text/html; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "svg" => "image/svg+xml",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn requests_as_handlers_see_them() {
        let request = |body: &str, content_type: Option<&str>| {
            let query = vec![
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "2".to_owned()),
                ("a".into(), "3".into()),
            ];
            Request {
                method: "PUT".into(),
                path: vec!["x".into()],
                query,
                body: body.into(),
                content_type: content_type.map(str::to_owned),
                format: "json".into(),
                wants_json: false,
            }
            .json()
        };
        let seen = request("{\"n\":1}", None);
        assert_eq!(
            seen,
            json!({"method": "PUT", "path": ["x"], "query": {"a": ["1", "3"], "b": ["2"]}, "body": {"n": 1}, "format": "json"})
        );
        let wrong = request("{n:", Some("application/json"));
        assert_eq!(wrong["body"], "{n:");
        assert!(wrong["error"].as_str().unwrap().contains("line 1"), "{wrong}");
        let text = request("hello", Some("text/plain"));
        assert_eq!((&text["body"], text.get("error")), (&json!("hello"), None));
        assert_eq!(request("", None)["body"], Json::Null);
    }

    #[test]
    fn what_is_thrown_is_a_status() {
        for (text, status) in
            [("not_found", 404), ("bad_request", 400), ("service_unavailable", 503), ("x", 500)]
        {
            let reply = Reply::thrown(Some(text), "x.js:1:1 x");
            assert_eq!(
                (reply.status, reply.body),
                (status, format!(r#"{{"error":"{text}"}}"#).into()),
                "{text}"
            );
        }
        let other = Reply::thrown(None, "x.js:1:1 Error: not_found");
        assert_eq!((other.status, other.body), (500, r#"{"error":"x.js:1:1 Error: not_found"}"#.into()));
    }
}
