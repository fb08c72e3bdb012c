//! What the machine itself takes for the way of a capture: a datagram, three threads that wake one another as those of the
//! collector do, a connection, and the thread that reads the first byte. Nothing is decided on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The threads; they go with the process.
pub(crate) struct Floor {
    socket: UdpSocket,
    to: SocketAddr,
    came: Receiver<Instant>,
}

impl Floor {
    pub(crate) fn start() -> Self {
        let received = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = received.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        out.set_nodelay(true).unwrap();
        let (mut switch, _) = listener.accept().unwrap();
        let ((first, second), (third, fourth), (arrived, came)) = (channel(), channel(), channel());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while received.recv(&mut buffer).is_ok() && first.send(()).is_ok() {}
        });
        std::thread::spawn(move || while second.recv().is_ok() && third.send(()).is_ok() {});
        std::thread::spawn(move || while fourth.recv().is_ok() && out.write_all(&[1]).is_ok() {});
        std::thread::spawn(move || {
            while switch.read_exact(&mut [0]).is_ok() && arrived.send(Instant::now()).is_ok() {}
        });
        Self { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), to, came }
    }

    /// How long it takes once.
    pub(crate) fn once(&self) -> Duration {
        let sent = Instant::now();
        self.socket.send_to(&[0; 200], self.to).unwrap();
        self.came.recv_timeout(Duration::from_secs(20)).expect("it arrives") - sent
    }
}
