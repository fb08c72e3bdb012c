//! The addresses of a collector that is called by name: looked up again and again, because names move, and each time in a
//! thread of its own, because a resolver waits for its servers for seconds.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// How often a name is looked up that has an address.
const AGAIN: Duration = Duration::from_secs(60);
/// How often one is that has none.
const SOON: Duration = Duration::from_secs(5);
/// Stack of the thread, bytes: the resolver's buffers take some 80 KiB of it.
const STACK: usize = 512 << 10;

type Answer = io::Result<Vec<SocketAddr>>;

/// The look-ups of one name.
#[derive(Debug)]
pub(super) struct Lookup {
    host: String,
    port: u16,
    due: Instant,
    /// What comes of the look-up that is under way.
    pending: Option<Receiver<Answer>>,
}

impl Lookup {
    /// Of a name; `None` of an address, which is its own.
    pub(super) fn new(host: &str, port: u16, now: Instant) -> Option<Self> {
        let is_name = host.parse::<IpAddr>().is_err();
        is_name.then(|| Self { host: host.to_owned(), port, due: now, pending: None })
    }

    /// What a look-up has come to since it was last asked, if one has. Begins the next one when it is time; never waits.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Answer> {
        if self.pending.is_none() && self.due <= now {
            self.begin();
        }
        let answer = match self.pending.as_ref()?.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the look-up has failed")),
        };
        Some(self.end(answer, now))
    }

    /// Looks the name up, and waits for the answer for this long at most; none if it takes longer.
    pub(super) fn wait(&mut self, longest: Duration, now: Instant) -> Option<Answer> {
        if self.pending.is_none() {
            self.begin();
        }
        let answer = self.pending.as_ref()?.recv_timeout(longest).ok()?;
        Some(self.end(answer, now))
    }

    fn begin(&mut self) {
        let (sender, receiver) = channel();
        let (host, port, unasked) = (self.host.clone(), self.port, sender.clone());
        let look = move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // Who asked may be gone.
            let _ = sender.send(found);
        };
        let thread = std::thread::Builder::new().name("lookup".to_owned()).stack_size(STACK).spawn(look);
        if let Err(error) = thread {
            let _ = unasked.send(Err(error));
        }
        self.pending = Some(receiver);
    }

    fn end(&mut self, answer: Answer, now: Instant) -> Answer {
        self.pending = None;
        let answer = answer.and_then(|found| match found.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(found),
        });
        self.due = now + if answer.is_ok() { AGAIN } else { SOON };
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_again_and_again_and_an_address_never() {
        let start = Instant::now();
        assert!(Lookup::new("192.0.2.1", 6343, start).is_none() && Lookup::new("::1", 6343, start).is_none());
        let mut lookup = Lookup::new("localhost", 6343, start).unwrap();
        let found = lookup.wait(Duration::from_secs(20), start).unwrap().unwrap();
        assert!(
            found.iter().all(|address| address.ip().is_loopback() && address.port() == 6343),
            "{found:?}"
        );
        assert!(lookup.poll(start + AGAIN / 2).is_none() && lookup.pending.is_none(), "it is known");
        assert!(lookup.poll(start + AGAIN).is_some() || lookup.pending.is_some());
        let mut nobody = Lookup::new("collector.invalid", 6343, start).unwrap();
        assert!(nobody.wait(Duration::from_secs(20), start).unwrap().is_err());
        assert_eq!(nobody.due, start + SOON);
    }
}
