//! Connections, and one question on one of them.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::error::Error;
use super::tls::{self, Tls};
use super::url::Url;
use crate::text::shown;

/// Most bytes of an answer's head, and of a piece of its body.
const BUFFER_BYTES: usize = 64 << 10;

type Sender = SendRequest<Full<Bytes>>;
type Driver = JoinHandle<hyper::Result<()>>;

/// One connection; dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    /// What moves the bytes; `None` when it has ended and was asked why.
    driver: Option<Driver>,
    host: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// Which addresses may be connected to.
pub(super) type Allowed<'a> = &'a (dyn Fn(IpAddr) -> Result<(), String> + Send + Sync);

impl Connection {
    /// Connects within the limit, to the first allowed address of the host that answers. `named` is how errors name it.
    pub(super) async fn open(
        url: &Url,
        tls: &Tls,
        limit: Duration,
        named: &str,
        allowed: Allowed<'_>,
    ) -> Result<Self, Error> {
        let refused = |why: String| Error::Connect { url: named.to_owned(), why };
        let opening = async {
            let stream = tcp(url, allowed).await.map_err(refused)?;
            // Only a delay is lost with a system that does not know it.
            let _ = stream.set_nodelay(true);
            if !url.is_secure() {
                return shake_hands(stream).await.map_err(|error| refused(reason(&error, url.host())));
            }
            let configuration = tls::configuration(tls).map_err(|error| match error {
                Error::Connect { why, .. } => refused(why),
                other => other,
            })?;
            let name = ServerName::try_from(url.host().to_owned())
                .map_err(|_| refused(format!("{} is no name that a certificate could have", url.host())))?;
            let stream = TlsConnector::from(configuration).connect(name, stream).await;
            let stream = stream.map_err(|error| {
                refused(tls::refusal(&error, url.host()).unwrap_or_else(|| match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends the connection when asked for TLS".to_owned(),
                    _ => error.to_string(),
                }))
            })?;
            shake_hands(stream).await.map_err(|error| refused(reason(&error, url.host())))
        };
        let late = |_| refused(format!("no connection in {} s", limit.as_secs_f32()));
        let (sender, driver) = timeout(limit, opening).await.map_err(late)??;
        Ok(Self { sender, driver: Some(driver), host: url.host().to_owned() })
    }

    /// Whether the next question would find nobody.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Asks, and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        named: &str,
    ) -> Result<Response<Incoming>, Error> {
        if let Err(error) = self.sender.ready().await {
            return Err(self.ended(named, &error).await);
        }
        match self.sender.send_request(request).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.ended(named, &error).await),
        }
    }

    /// The whole body of an answer.
    pub(super) async fn body(
        &self,
        body: Incoming,
        limit_bytes: usize,
        named: &str,
    ) -> Result<Vec<u8>, Error> {
        let too_long = || Error::TooLong { url: named.to_owned(), limit_bytes };
        let mut body = body;
        if body.size_hint().lower() > limit_bytes as u64 {
            return Err(too_long());
        }
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Error::Lost { url: named.to_owned(), why: reason(&error, &self.host) })?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit_bytes {
                return Err(too_long());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    /// Why the connection ended. The sender is told that it ended, the driver why.
    async fn ended(&mut self, named: &str, seen: &hyper::Error) -> Error {
        let mut why = reason(seen, &self.host);
        if let Some(driver) = self.driver.take()
            && let Ok(Ok(Err(error))) = timeout(Duration::from_millis(100), driver).await
        {
            why = reason(&error, &self.host);
        }
        Error::Lost { url: named.to_owned(), why }
    }
}

/// A connection to the first address that is allowed and answers.
async fn tcp(url: &Url, allowed: Allowed<'_>) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match url.host().parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, url.port())],
        Err(_) => lookup_host((url.host(), url.port()))
            .await
            .map_err(|error| format!("the address of {} is not known: {error}", url.host()))?
            .collect(),
    };
    let mut why = format!("{} has no address", url.host());
    for address in addresses {
        if let Err(refusal) = allowed(address.ip()) {
            why = refusal;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

async fn shake_hands<S>(stream: S) -> hyper::Result<(Sender, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    Ok((sender, tokio::spawn(connection)))
}

/// What hyper says went wrong, and what made it say so.
fn reason(error: &hyper::Error, host: &str) -> String {
    if let Some(refusal) = tls::refusal(error, host) {
        return refusal;
    }
    let carried = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    let ended = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    if error.is_incomplete_message() || carried.is_some_and(|kind| ended.contains(&kind)) {
        return "the connection was closed before the answer was whole".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {}", shown(&source.to_string())),
        None => error.to_string(),
    }
}
