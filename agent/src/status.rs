//! The agent's own counters, answered to HTTP requests as Prometheus text.
//!
//! A connection is one request and one answer: it has [`LONGEST`] for both, and [`MOST`] are served at once.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at once; further ones are closed, and counted.
const MOST: usize = 16;
/// How long a connection lasts at most.
const LONGEST: Duration = Duration::from_secs(2);
/// Longest head of a request, bytes.
const LONGEST_HEAD: usize = 4_096;

/// Listens for requests.
#[derive(Debug)]
pub struct Status {
    listener: TcpListener,
    answers: JoinSet<()>,
    refused: u64,
}

impl Status {
    /// Listens on the address.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, answers: JoinSet::new(), refused: 0 })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for a connection. Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&self) -> Option<TcpStream> {
        match self.listener.accept().await {
            Ok((stream, _)) => Some(stream),
            Err(_) => {
                // Out of descriptors: the next try would fail at once too.
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }

    /// Answers a connection with the text.
    pub fn answer(&mut self, stream: TcpStream, text: String) {
        while self.answers.try_join_next().is_some() {}
        if self.answers.len() >= MOST {
            self.refused += 1;
            return;
        }
        self.answers.spawn(async move {
            // Who does not take his answer in time goes without.
            let _ = timeout(LONGEST, serve(stream, &text)).await;
        });
    }

    /// Connections that were closed because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

async fn serve(mut stream: TcpStream, text: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0; 512];
        let read = stream.read(&mut buffer).await?;
        if read == 0 || head.len() + read > LONGEST_HEAD {
            return Ok(());
        }
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    // Who scrapes may add a query, which changes nothing.
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, body) = match path {
        _ if !head.starts_with(b"GET ") => ("405 Method Not Allowed", "GET /metrics\n"),
        b"/" | b"/metrics" => ("200 OK", text),
        _ => ("404 Not Found", "GET /metrics\n"),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Metrics as Prometheus text.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    last: &'static str,
}

impl Text {
    /// Adds a counter.
    pub fn counter(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.metric(name, "counter", help, labels, value);
    }

    /// Adds a gauge.
    pub fn gauge(&mut self, name: &'static str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.metric(name, "gauge", help, labels, value);
    }

    fn metric(&mut self, name: &'static str, kind: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        // Writing to a text never fails.
        if self.last != name {
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.last = name;
        }
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{label}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_prometheus_text_whatever_the_labels_hold() {
        let mut text = Text::default();
        text.counter("a_total", "Things.", &[], 1);
        text.gauge("b", "Other things.", &[("name", "x\"y\\z\n"), ("n", "1")], 2);
        text.gauge("b", "Other things.", &[("name", "w")], 3);
        assert_eq!(
            text.finish(),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n# HELP b Other things.\n# TYPE b gauge\n\
             b{name=\"x\\\"y\\\\z\\n\",n=\"1\"} 2\nb{name=\"w\"} 3\n"
        );
    }

    #[tokio::test]
    async fn requests_are_answered_and_others_refused() {
        let mut status = Status::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = status.address().unwrap();
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK"),
            ("GET /metrics?name=x HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK"),
            ("GET /other HTTP/1.1\r\n\r\n", "HTTP/1.0 404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.0 405"),
        ] {
            let asking = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            };
            let answering = async {
                let stream = status.next().await.unwrap();
                status.answer(stream, "x 1\n".to_owned());
            };
            let (answer, ()) = tokio::join!(asking, answering);
            assert!(answer.starts_with(expected), "{answer}");
            assert_eq!(answer.ends_with("\r\n\r\nx 1\n"), expected.ends_with("OK"));
        }
        let mut silent = Vec::new();
        for _ in 0..=MOST {
            let (stream, accepted) = tokio::join!(TcpStream::connect(address), status.next());
            silent.push(stream.unwrap());
            status.answer(accepted.unwrap(), String::new());
        }
        assert_eq!(status.refused(), 1);
    }
}
