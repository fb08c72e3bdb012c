//! Asks a collector over HTTP: one connection per question, bounded in time and size.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hyper::body::Body as _;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer, bytes.
const LARGEST: usize = 16 << 20;

/// Where a collector answers.
pub struct Client {
    runtime: Runtime,
    url: String,
    host: String,
    address: (String, u16),
    authorization: Option<HeaderValue>,
}

/// What a collector answers.
struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

/// The variable that holds the token that a write must show.
pub const TOKEN: &str = "FINDERSCOPE_HTTP_TOKEN";

impl Client {
    /// A client of the collector at `http://HOST:PORT`.
    ///
    /// # Errors
    /// It is another URL.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let wrong = || anyhow!("--url {url}: an address such as http://127.0.0.1:8008 is needed");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = (uri.scheme_str(), uri.authority().ok_or_else(wrong)?);
        if scheme != Some("http") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            url: url.trim_end_matches('/').to_owned(),
            host: authority.as_str().to_owned(),
            address: (name, authority.port_u16().unwrap_or(80)),
            authorization: None,
        })
    }

    /// A client that shows the token of the environment, if there is one.
    ///
    /// # Errors
    /// It is another URL, or no header could carry the token.
    pub fn with_token_of_environment(url: &str) -> anyhow::Result<Self> {
        let client = Self::new(url)?;
        match std::env::var(TOKEN) {
            Ok(token) => client.with_token(&token),
            Err(_) => Ok(client),
        }
    }

    /// Shows this token with every question.
    ///
    /// # Errors
    /// No header could carry it.
    fn with_token(mut self, token: &str) -> anyhow::Result<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .with_context(|| format!("${TOKEN}: it has signs that no header can carry"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// `GET path` as JSON; `None` where there is no such thing.
    ///
    /// # Errors
    /// Nobody answers, or the answer is an error.
    pub fn get(&self, path: &str) -> anyhow::Result<Option<Json>> {
        let answer = self.ask(Method::GET, path, String::new())?;
        match answer.status {
            StatusCode::OK => Ok(Some(
                serde_json::from_slice(&answer.body)
                    .with_context(|| format!("{}{path}: no JSON came: is this a collector?", self.url))?,
            )),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(path, &answer)),
        }
    }

    /// Sends a definition.
    ///
    /// # Errors
    /// Nobody answers, or it is refused.
    pub fn put(&self, path: &str, body: &Json) -> anyhow::Result<()> {
        self.begin(path, body).map(drop)
    }

    /// The same where the answer says where what was made is shown.
    ///
    /// # Errors
    /// Nobody answers, or it is refused.
    pub fn begin(&self, path: &str, body: &Json) -> anyhow::Result<Option<String>> {
        let answer = self.ask(Method::PUT, path, body.to_string())?;
        if answer.status.is_success() { Ok(answer.location) } else { Err(self.refused(path, &answer)) }
    }

    /// Takes a definition away.
    ///
    /// # Errors
    /// Nobody answers, or it is refused.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.end(path).map(drop)
    }

    /// The same, and whether there was such a thing.
    ///
    /// # Errors
    /// Nobody answers, or it is refused.
    pub fn end(&self, path: &str) -> anyhow::Result<bool> {
        let answer = self.ask(Method::DELETE, path, String::new())?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused(path, &answer)),
        }
    }

    fn refused(&self, path: &str, answer: &Answer) -> anyhow::Error {
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = json["error"].as_str().unwrap_or_default();
        anyhow!("{}{path}: {}: {why}", self.url, answer.status)
    }

    fn ask(&self, method: Method, path: &str, body: String) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONNECTION, "close")
            .body(body)
            .with_context(|| format!("{path} is no path"))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = async {
            match tokio::time::timeout(PATIENCE, self.send(request)).await {
                Ok(answer) => answer,
                Err(_) => bail!("no answer in {} s", PATIENCE.as_secs()),
            }
        };
        self.runtime.block_on(answer).with_context(|| {
            format!(
                "no collector answers at {}: start one (finderscope run), or name another with --url",
                self.url
            )
        })
    }

    async fn send(&self, request: Request<String>) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect((self.address.0.as_str(), self.address.1)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, and what went wrong with it shows there.
        tokio::spawn(async move { drop(connection.await) });
        let mut answer = sender.send_request(request).await?;
        let mut body = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(answer.body_mut()).poll_frame(context)).await
        {
            let Ok(data) = frame?.into_data() else { continue };
            body.extend_from_slice(&data);
            if body.len() > LARGEST {
                bail!("the answer is longer than {LARGEST} bytes");
            }
        }
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        Ok(Answer { status: answer.status(), location: location.map(str::to_owned), body })
    }
}

/// The text as one segment of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,;:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn urls_and_segments() {
        let client = Client::new("http://[::1]:8008/").unwrap();
        assert_eq!((client.host.as_str(), &client.address), ("[::1]:8008", &("::1".to_owned(), 8008)));
        assert_eq!(Client::new("http://sflow.example.net").unwrap().address.1, 80);
        for url in ["127.0.0.1:8008", "https://127.0.0.1:8008", "http://a/b", "http://", "x", "http://a/?b"] {
            let refusal = Client::new(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refusal.contains("http://127.0.0.1:8008 is needed"), "{url}: {refusal}");
        }
        assert_eq!(segment("a b/ü;10.0.0.1,x"), "a%20b%2F%C3%BC;10.0.0.1,x");
    }
}
