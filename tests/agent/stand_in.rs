//! A stand-in for an engine: a socket of the test's own where each request is answered as the test says, well or badly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A connection on which a request has come.
pub(super) struct Answering(UnixStream);

/// What becomes of the connection.
pub(super) type Then = io::Result<bool>;
const KEEP: Then = Ok(true);
pub(super) const CLOSE: Then = Ok(false);

impl Answering {
    /// These bytes, as they are.
    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// A whole answer.
    pub(super) fn answer(&mut self, status: u16, body: &str) -> Then {
        self.raw(&format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len()))?;
        KEEP
    }

    /// The head of an answer in chunks.
    pub(super) fn begin_chunks(&mut self) -> io::Result<()> {
        self.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    }

    /// One chunk.
    pub(super) fn chunk(&mut self, text: &str) -> io::Result<()> {
        self.raw(&format!("{:x}\r\n{text}\r\n", text.len()))
    }

    /// Nothing more, until the other side goes.
    pub(super) fn hang(&mut self) -> Then {
        let mut bytes = [0; 64];
        while self.0.read(&mut bytes)? > 0 {}
        CLOSE
    }
}

/// A running stand-in; it ends with this handle.
pub(super) struct StandIn {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl StandIn {
    /// `script` is called with the path of each request, and how often it was asked for before.
    pub(super) fn start(
        script: impl Fn(&str, usize, &mut Answering) -> Then + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let (asked, ended) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, end, script) = (Arc::clone(&asked), Arc::clone(&ended), Arc::new(script));
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (asked, script) = (Arc::clone(&theirs), Arc::clone(&script));
                // The thread ends when the client goes; an error is the client's to see.
                std::thread::spawn(move || drop(serve(stream, &asked, &*script)));
            }
        });
        Self { folder, asked, ended, listener: Some(listener) }
    }

    /// For `--docker`.
    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}/engine.sock", self.folder.path().display())
    }

    /// The paths that were asked for so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.folder.path().join("engine.sock"));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(
    stream: UnixStream,
    asked: &Mutex<Vec<String>>,
    script: &dyn Fn(&str, usize, &mut Answering) -> Then,
) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    loop {
        let Some(first) = lines.next().transpose()? else { return Ok(()) };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let before = {
            let mut asked = asked.lock().unwrap();
            let before = asked.iter().filter(|other| **other == path).count();
            asked.push(path.clone());
            before
        };
        if !script(&path, before, &mut Answering(stream.try_clone()?))? {
            stream.shutdown(std::net::Shutdown::Both)?;
            return Ok(());
        }
    }
}
