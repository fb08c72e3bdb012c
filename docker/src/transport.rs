//! Connections to an engine, and one question on one of them.

use std::error::Error as _;
use std::io;
use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::engine::Limits;
use crate::error::{Error, shown};

/// Most bytes of an answer's head, and of a piece of its body.
const BUFFER_BYTES: usize = 64 << 10;
/// Most bytes of an answer that says what went wrong.
const COMPLAINT_BYTES: usize = 64 << 10;

/// One connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// What moves the bytes.
    driver: JoinHandle<()>,
    endpoint: String,
    host: String,
    limits: Limits,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects within the limit.
    pub(crate) async fn open(endpoint: &Endpoint, limits: Limits) -> Result<Self, Error> {
        let refused = |why: String| Error::Connect { endpoint: endpoint.to_string(), why };
        let opening = async {
            match endpoint {
                Endpoint::Unix(path) => {
                    let stream = UnixStream::connect(path).await.map_err(|e| refused(no_socket(path, &e)))?;
                    shake_hands(stream).await.map_err(|e| refused(reason(&e)))
                }
                Endpoint::Tls { .. } => Err(refused("TLS is not spoken yet".to_owned())),
            }
        };
        let opened = timeout(limits.connect, opening).await;
        let (sender, driver) =
            opened.map_err(|_| refused(format!("no connection in {} s", limits.connect.as_secs_f32())))??;
        let host = match endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Tls { .. } => endpoint.to_string().trim_start_matches("tcp://").to_owned(),
        };
        Ok(Self { sender, driver, endpoint: endpoint.to_string(), host, limits })
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
        let request = Request::get(path)
            .header(header::HOST, &self.host)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| self.lost(call, error.to_string()))?;
        if let Err(error) = self.sender.ready().await {
            return Err(self.lost(call, reason(&error)));
        }
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(|error| self.lost(call, reason(&error)))?;
        if answer.status() == 200 {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let message = match self.body(answer, call, COMPLAINT_BYTES).await {
            Ok(body) => complaint(&body),
            Err(_) => "(its words could not be read)".to_owned(),
        };
        let (endpoint, call) = (self.endpoint.clone(), call.to_owned());
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
            || Error::TooLong { endpoint: self.endpoint.clone(), call: call.to_owned(), limit_bytes };
        let mut body = answer.into_body();
        if body.size_hint().lower() > limit_bytes as u64 {
            return Err(too_long());
        }
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(call, reason(&error)))?;
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

    fn lost(&self, call: &str, why: String) -> Error {
        Error::Lost { endpoint: self.endpoint.clone(), call: call.to_owned(), why }
    }
}

async fn shake_hands<S>(stream: S) -> hyper::Result<(SendRequest<Empty<Bytes>>, JoinHandle<()>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    // What goes wrong shows at the request as well.
    Ok((sender, tokio::spawn(async move { drop(connection.await) })))
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
pub(crate) fn reason(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the engine closed the connection within an answer".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {}", shown(&source.to_string())),
        None => error.to_string(),
    }
}
