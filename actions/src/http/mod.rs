//! The HTTP client of switches, feeds, webhooks and scripts: one for each endpoint, with a connection that is kept.
//!
//! Every call has an end: 2 s to connect and 5 s in all, unless its options say otherwise, and its answer a size.
//! Redirects are followed for GET only, at most five, never from https to http and never to where only this host or its
//! cloud answers. A compressed answer is refused: nobody asks for one, and one that is small may be without end.

mod connection;
mod error;
mod reach;
mod secret;
mod tls;
mod url;

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body as _, Bytes};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use tokio::sync::Mutex;
use tokio::time::timeout;

use connection::{Allowed, Connection};
pub use error::Error;
pub use hyper;
pub use reach::{Reach, is_never_asked};
pub use secret::{Credentials, Secret};
pub use tls::Tls;
pub use url::Url;

use crate::text::shown;

/// How an endpoint is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom to trust, and our certificate.
    pub tls: Tls,
    /// Who we say that we are; never said to another origin that an answer leads to.
    pub credentials: Credentials,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a whole call may take, waiting for the call before it included.
    pub call: Duration,
    /// Most bytes of an answer's body.
    pub body_bytes: usize,
    /// The path is a secret, as those of many webhooks are: errors name the origin only.
    pub path_is_secret: bool,
    /// Where it may go; `None` where the operator has named the endpoint.
    pub reach: Option<Reach>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: Tls::default(),
            credentials: Credentials::None,
            connect: Duration::from_secs(2),
            call: Duration::from_secs(5),
            body_bytes: 1 << 20,
            path_is_secret: false,
            reach: None,
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the end of the body was told by a length or a last piece, not only by the end of the connection.
    pub framed: bool,
    /// Where it came from, after redirects.
    pub url: Url,
}

impl Answer {
    /// A header as text; `None` where there is none that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The beginning of the body as part of a line.
    pub fn words(&self) -> String {
        let start = self.body.get(..self.body.len().min(1000)).unwrap_or_default();
        shown(String::from_utf8_lossy(start).trim())
    }
}

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Asks one endpoint.
#[derive(Debug)]
pub struct Client {
    url: Url,
    options: Options,
    kept: Mutex<Option<Connection>>,
}

impl Client {
    /// For this endpoint; nothing is connected yet.
    pub fn new(url: Url, options: Options) -> Self {
        Self { url, options, kept: Mutex::new(None) }
    }

    /// The address that it was made with.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for a path of the endpoint (begins with a slash, may have a query), and waits for the whole answer, which
    /// may have any status.
    ///
    /// # Errors
    /// There is no whole answer; [`Error::may_have_arrived`] says whether the request may have been received.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Error> {
        let url = self.url.with_path(path).map_err(|why| self.unaskable(why))?;
        if let Some(reach) = &self.options.reach {
            reach.of_url(&url).map_err(|why| self.unaskable(why))?;
        }
        let body = Bytes::from(body);
        let call = self.follow(method, url, headers, body);
        let late = |_| Error::Time { url: self.named(&self.url), limit: self.options.call };
        timeout(self.options.call, call).await.map_err(late)?
    }

    /// Asks for the address that the client was made with.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn get(&self, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        self.request(Method::GET, self.url.path(), headers, Vec::new()).await
    }

    async fn follow(
        &self,
        method: Method,
        url: Url,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Error> {
        let mut url = url;
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&method, &url, headers, &body).await?;
            let Some(next) = self.redirect(&method, &answer)? else { return Ok(answer) };
            url = next;
        }
        let why = format!("it leads elsewhere more than {REDIRECTS} times");
        Err(Error::Redirect { url: self.named(&url), why })
    }

    /// Where an answer leads; `None` where it is to be taken as it is.
    fn redirect(&self, method: &Method, answer: &Answer) -> Result<Option<Url>, Error> {
        let from = &answer.url;
        if *method != Method::GET || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let refused = |why: String| Error::Redirect { url: self.named(from), why };
        let Some(location) = answer.header("location") else { return Ok(None) };
        let next = from.join(location).map_err(|why| refused(format!("it leads elsewhere: {why}")))?;
        if from.is_secure() && !next.is_secure() {
            return Err(refused(format!("it leads from https to {}, which is not followed", next.origin())));
        }
        if let Some(Err(why)) = self.options.reach.as_ref().map(|reach| reach.of_url(&next)) {
            return Err(refused(format!("it leads to {}: {why}", next.origin())));
        }
        Ok(Some(next))
    }

    /// One question; an answer of any status.
    async fn ask(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> Result<Answer, Error> {
        let reach = self.options.reach.as_ref();
        if !url.same_origin(&self.url) {
            let local = is_loopback(self.url.host());
            let allowed = |address| match reach {
                Some(reach) => reach.of_address(url, address),
                None => may_lead_to(address, local),
            };
            let mut connection =
                self.open(url, &Tls { client: None, ..self.options.tls.clone() }, &allowed).await?;
            let headers: Vec<_> =
                headers.iter().filter(|(name, _)| !is_for_one_origin(name)).copied().collect();
            return self.exchange(&mut connection, method, url, &headers, body, false).await;
        }
        let mut kept = self.kept.lock().await;
        // It is taken away for the call, so that one that is cut short leaves none that is out of step.
        if let Some(mut connection) = kept.take().filter(|connection| !connection.is_closed()) {
            match self.exchange(&mut connection, method, url, headers, body, true).await {
                // The other side may close a connection that nobody used in the moment in which it is used.
                Err(Error::Lost { .. }) if method.is_idempotent() => {}
                Ok(answer) => {
                    *kept = Some(connection);
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
        let allowed = |address| reach.map_or(Ok(()), |reach| reach.of_address(url, address));
        let mut connection = self.open(url, &self.options.tls, &allowed).await?;
        let answer = self.exchange(&mut connection, method, url, headers, body, true).await?;
        *kept = Some(connection);
        Ok(answer)
    }

    async fn open(&self, url: &Url, tls: &Tls, allowed: Allowed<'_>) -> Result<Connection, Error> {
        Connection::open(url, tls, self.options.connect, &self.named(url), allowed).await
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &Bytes,
        ours: bool,
    ) -> Result<Answer, Error> {
        let request = self.prepare(method, url, headers, body, ours)?;
        let named = self.named(url);
        let answer = connection.send(request, &named).await?;
        let (head, body) = answer.into_parts();
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            let encoding = shown(&String::from_utf8_lossy(encoding.as_bytes()));
            return Err(Error::Encoded { url: named, encoding });
        }
        let chunked = head.headers.get(header::TRANSFER_ENCODING).is_some();
        let framed = chunked || body.size_hint().exact().is_some();
        let body = connection.body(body, self.options.body_bytes, &named).await?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, framed, url: url.clone() })
    }

    fn prepare(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &Bytes,
        ours: bool,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.path())
            .header(header::HOST, url.authority())
            .header(header::ACCEPT_ENCODING, "identity");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            request = request.header(header::USER_AGENT, concat!("finderscope/", env!("CARGO_PKG_VERSION")));
        }
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).map_err(|error| self.unaskable(error.to_string()))?;
            let value = HeaderValue::try_from(*value).map_err(|error| self.unaskable(error.to_string()))?;
            request = request.header(name, value);
        }
        if ours && let Some(credentials) = self.options.credentials.header()? {
            let mut value = HeaderValue::try_from(credentials)
                .map_err(|_| self.unaskable("the secret is none that a header can have".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Full::new(body.clone())).map_err(|error| self.unaskable(error.to_string()))
    }

    /// How errors name an address.
    fn named(&self, url: &Url) -> String {
        if self.options.path_is_secret { url.origin() } else { url.to_string() }
    }

    fn unaskable(&self, why: String) -> Error {
        Error::Request { url: self.named(&self.url), why }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Headers that are said to the origin that they were meant for, and not where it leads.
fn is_for_one_origin(name: &str) -> bool {
    ["authorization", "cookie", "proxy-authorization"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

/// Whether an answer of somebody else may lead to this address; `local` is whether the operator's own address was of this
/// host.
fn may_lead_to(address: IpAddr, local: bool) -> Result<(), String> {
    let address = address.to_canonical();
    let refused = is_never_asked(address) || (address.is_loopback() && !local);
    if refused { Err(format!("it leads to {address}, which is not followed")) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn answers_lead_to_no_address_that_only_this_host_reaches() {
        for address in [
            "169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ] {
            assert!(may_lead_to(address.parse().unwrap(), true).is_err(), "{address}");
        }
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
            assert!(may_lead_to(address.parse().unwrap(), false).is_err(), "{address}");
            assert!(may_lead_to(address.parse().unwrap(), true).is_ok(), "{address}");
        }
        for address in ["10.0.0.1", "192.0.2.1", "2001:db8::1"] {
            assert!(may_lead_to(address.parse().unwrap(), false).is_ok(), "{address}");
        }
    }
}
