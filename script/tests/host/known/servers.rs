//! Those whom scripts speak to: sockets of loopback that hear what comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long nothing has to come for an end.
const SILENT: Duration = Duration::from_millis(1500);

/// All of them.
pub(crate) struct Servers {
    /// Takes datagrams that are sent on.
    pub(super) forwarded: Heard,
    /// Takes some, until that ends.
    pub(super) ended: Heard,
    /// Takes syslog.
    pub(super) syslog: Heard,
    /// Takes lines of graphite.
    pub(super) graphite: Lines,
    /// Answers requests with what was asked; 404 for `/missing`.
    pub(super) http: SocketAddr,
}

/// They run as long as the tests do.
pub(crate) fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers {
        forwarded: Heard::new(),
        ended: Heard::new(),
        syslog: Heard::new(),
        graphite: Lines::new(),
        http: answering(),
    })
}

/// A server that answers each request with its method, path and body; its thread ends with the process.
fn answering() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who closes before it has asked is not answered.
            let _ = answer(&stream);
        }
    });
    address
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = first.trim().trim_end_matches(" HTTP/1.1");
    let status = if asked.ends_with("/missing") { "404 Not Found" } else { "200 OK" };
    let text = format!("{asked} {}", String::from_utf8_lossy(&body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    stream.write_all((head + &text).as_bytes())
}

/// A UDP socket.
pub(super) struct Heard {
    socket: UdpSocket,
    came: Mutex<(Vec<Vec<u8>>, Instant)>,
}

impl Heard {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, came: Mutex::new((Vec::new(), Instant::now())) }
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// The datagrams that have come, the first hundred.
    ///
    /// # Errors
    /// None has.
    pub(super) fn come(&self) -> Result<Vec<Vec<u8>>, String> {
        let mut came = self.came.lock().unwrap();
        let mut buffer = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            came.1 = Instant::now();
            if came.0.len() < 100 {
                came.0.push(buffer[..length].to_vec());
            }
        }
        if came.0.is_empty() { Err("nothing has come".to_owned()) } else { Ok(came.0.clone()) }
    }

    /// Whether some have come, and then no more.
    pub(super) fn came_and_ended(&self) -> Result<(), String> {
        self.come()?;
        let silent = self.came.lock().unwrap().1.elapsed();
        if silent > SILENT { Ok(()) } else { Err("more come".to_owned()) }
    }
}

/// A TCP socket.
pub(super) struct Lines(TcpListener, Mutex<String>);

impl Lines {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener, Mutex::default())
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// All that has come.
    pub(super) fn come(&self) -> String {
        let mut text = self.1.lock().unwrap();
        while let Ok((mut stream, _)) = self.0.accept() {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            stream.read_to_string(&mut text).unwrap();
        }
        text.clone()
    }
}
