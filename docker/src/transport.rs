//! Connections to an engine, and one question on one of them.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::endpoint::Endpoint;
use crate::engine::Limits;
use crate::error::{Error, shown};
use crate::tls;

/// Most bytes of an answer's head, and of a piece of its body.
const BUFFER_BYTES: usize = 64 << 10;
/// Most bytes of an answer that says what went wrong.
const COMPLAINT_BYTES: usize = 64 << 10;

/// How soon it is noticed that the host of an engine is gone: the event stream may be silent for days.
const SILENCE: Duration = Duration::from_secs(30);
const PROBES: u32 = 3;

type Sender = SendRequest<Full<Bytes>>;
type Driver = JoinHandle<hyper::Result<()>>;

/// One connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: Sender,
    /// What moves the bytes; `None` when it has ended and was asked why.
    driver: Option<Driver>,
    endpoint: Endpoint,
    limits: Limits,
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Why there is none.
    pub(crate) error: Error,
    /// Whether the engine may have it.
    pub(crate) sent: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Connection {
    /// Connects within the limit.
    pub(crate) async fn open(endpoint: &Endpoint, limits: Limits) -> Result<Self, Error> {
        let refused = |why: String| Error::Connect { endpoint: endpoint.to_string(), why };
        let opening = async {
            let hands = match endpoint {
                Endpoint::Unix(path) => {
                    let stream = UnixStream::connect(path).await;
                    shake_hands(stream.map_err(|error| refused(no_socket(path, &error)))?).await
                }
                Endpoint::Tls { host, port, certs } => {
                    let stream = secure(host, *port, certs, &refused).await?;
                    shake_hands(stream).await
                }
            };
            hands.map_err(|error| refused(reason(&error, endpoint)))
        };
        let late = |_| refused(format!("no connection in {} s", limits.connect.as_secs_f32()));
        let (sender, driver) = timeout(limits.connect, opening).await.map_err(late)??;
        Ok(Self { sender, driver: Some(driver), endpoint: endpoint.clone(), limits })
    }

    /// Whether the next question would find nobody.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// `GET path`: the answer with status 200, its body still to be read. `call` is how errors name it.
    ///
    /// # Errors
    /// There is no answer, or it has another status.
    pub(crate) async fn get(&mut self, path: &str, call: &str) -> Result<Response<Incoming>, Error> {
        let answer = self.send(Method::GET, path, Vec::new(), call).await.map_err(|failed| failed.error)?;
        self.accepted(answer, &[200], call).await
    }

    /// `POST path` with this body, JSON unless it is empty: the answer with one of the statuses that mean `done`.
    ///
    /// # Errors
    /// There is no answer, or it has another status; the error tells whether the engine may have the request.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        body: Vec<u8>,
        done: &[u16],
        call: &str,
    ) -> Result<Response<Incoming>, Failed> {
        let answer = self.send(Method::POST, path, body, call).await?;
        self.accepted(answer, done, call).await.map_err(|error| Failed { error, sent: true })
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        call: &str,
    ) -> Result<Response<Incoming>, Failed> {
        let host = match &self.endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Tls { .. } => self.endpoint.to_string().trim_start_matches("tcp://").to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        request = request.header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let unsent = |error| Failed { error, sent: false };
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unsent(self.lost(call, error.to_string())))?;
        if let Err(error) = self.sender.ready().await {
            return Err(unsent(self.ended(call, &error).await));
        }
        match self.sender.try_send_request(request).await {
            Ok(answer) => Ok(answer),
            Err(mut failed) => {
                // It is given back when no byte of it was written.
                let sent = failed.take_message().is_none();
                Err(Failed { error: self.ended(call, failed.error()).await, sent })
            }
        }
    }

    /// The answer, if it has one of these statuses.
    async fn accepted(
        &self,
        answer: Response<Incoming>,
        statuses: &[u16],
        call: &str,
    ) -> Result<Response<Incoming>, Error> {
        let status = answer.status().as_u16();
        if statuses.contains(&status) {
            return Ok(answer);
        }
        let message = match self.body(answer, call, COMPLAINT_BYTES).await {
            Ok(body) => complaint(&body),
            Err(_) => "(its words could not be read)".to_owned(),
        };
        let (endpoint, call) = (self.endpoint.to_string(), call.to_owned());
        Err(match status {
            404 => Error::NotFound { endpoint, call, message },
            _ => Error::Status { endpoint, call, status, message },
        })
    }

    /// The whole body of an answer.
    ///
    /// # Errors
    /// It is longer than the limit, or the connection broke.
    pub(crate) async fn body(
        &self,
        answer: Response<Incoming>,
        call: &str,
        limit_bytes: usize,
    ) -> Result<Vec<u8>, Error> {
        let too_long =
            || Error::TooLong { endpoint: self.endpoint.to_string(), call: call.to_owned(), limit_bytes };
        let mut body = answer.into_body();
        if body.size_hint().lower() > limit_bytes as u64 {
            return Err(too_long());
        }
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(call, reason(&error, &self.endpoint)))?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit_bytes {
                return Err(too_long());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    /// The limits that it was opened with.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Why the connection ended. The sender is told that it ended, the driver why.
    async fn ended(&mut self, call: &str, seen: &hyper::Error) -> Error {
        if let Some(driver) = self.driver.take()
            && let Ok(Ok(Err(error))) = timeout(Duration::from_millis(100), driver).await
        {
            return self.lost(call, reason(&error, &self.endpoint));
        }
        self.lost(call, reason(seen, &self.endpoint))
    }

    fn lost(&self, call: &str, why: String) -> Error {
        Error::Lost { endpoint: self.endpoint.to_string(), call: call.to_owned(), why }
    }
}

/// A connection over TLS to whom `certs` trusts.
async fn secure(
    host: &str,
    port: u16,
    certs: &Path,
    refused: &impl Fn(String) -> Error,
) -> Result<TlsStream<TcpStream>, Error> {
    let configuration = tls::configuration(certs)?;
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| refused(format!("{host} is no name that a certificate could have")))?;
    let stream = TcpStream::connect((host, port)).await.map_err(|error| refused(error.to_string()))?;
    let keepalive =
        TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / PROBES).with_retries(PROBES);
    // Neither is needed for the answer: a system without them only notices later.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
    TlsConnector::from(configuration).connect(name, stream).await.map_err(|error| {
        refused(tls::refusal(&error, certs, host).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends the connection when asked for TLS".to_owned(),
            _ => error.to_string(),
        }))
    })
}

async fn shake_hands<S>(stream: S) -> hyper::Result<(Sender, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    Ok((sender, tokio::spawn(connection)))
}

/// Why a socket cannot be connected to, and what to do.
fn no_socket(path: &Path, error: &io::Error) -> String {
    let path = shown(&path.to_string_lossy());
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no {path}: is the engine running, and is this its socket?")
        }
        io::ErrorKind::ConnectionRefused => format!("nobody listens at {path}: is the engine running?"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "{path} is not open to this user: run as root, or in the group that owns it (often docker)"
            )
        }
        _ => error.to_string(),
    }
}

/// What the engine says went wrong.
fn complaint(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Complaint {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Complaint { message }) => shown(message.trim()),
        Err(_) => shown(String::from_utf8_lossy(body).trim()),
    }
}

/// What hyper says went wrong, and what made it say so.
pub(crate) fn reason(error: &hyper::Error, endpoint: &Endpoint) -> String {
    if let Endpoint::Tls { host, certs, .. } = endpoint
        && let Some(refusal) = tls::refusal(error, certs, host)
    {
        return refusal;
    }
    let carried = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    let ended = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    if error.is_incomplete_message() || carried.is_some_and(|kind| ended.contains(&kind)) {
        return "the engine closed the connection before its answer was whole".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {}", shown(&source.to_string())),
        None => error.to_string(),
    }
}
