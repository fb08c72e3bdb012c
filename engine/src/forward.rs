//! Datagrams that are sent on, whole and as they came, by the worker that received them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use decode::{Address, Header};
use ingest::send::Sender;
use tables::Program;
use tables::forwarding::Forwarding;

/// What became of the datagrams for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Name of the definition.
    pub name: Arc<str>,
    /// Where to.
    pub to: SocketAddr,
    /// Datagrams that the kernel took.
    pub forwarded: u64,
    /// Datagrams that it did not take at once, or not at all.
    pub forward_failed: u64,
}

/// The destinations of one worker.
#[derive(Debug, Default)]
pub(crate) struct Forwards(Vec<Forward>);

#[derive(Debug)]
struct Forward {
    name: Arc<str>,
    forwarding: Arc<Forwarding>,
    /// None when the kernel had no socket left.
    sender: Option<Sender>,
    unsent: u64,
}

impl Forwards {
    /// Takes the destinations of a program. One that did not change keeps its socket and counts.
    pub(crate) fn adopt(&mut self, program: &Program) {
        let mut old = std::mem::take(&mut self.0);
        for (name, forwarding) in &program.forwarding {
            let same = |known: &Forward| *known.name == **name && known.forwarding == *forwarding;
            let kept = old.iter().position(same).map(|place| old.swap_remove(place));
            self.0.push(kept.unwrap_or_else(|| Forward {
                name: name.as_str().into(),
                forwarding: Arc::clone(forwarding),
                sender: Sender::never_waiting(forwarding.to).ok(),
                unsent: 0,
            }));
        }
    }

    /// Whether nothing is sent on.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends a datagram to whoever wants it. One that cannot be read goes to those who want everybody's.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let agent = Header::read(&mut decode::xdr::Reader::new(bytes)).map_or(Address::Unknown, |h| h.agent);
        for forward in self.0.iter_mut().filter(|forward| forward.forwarding.means(agent)) {
            match &mut forward.sender {
                Some(sender) => sender.send(bytes),
                None => forward.unsent += 1,
            }
        }
    }

    /// What became of them.
    pub(crate) fn counts(&self) -> Vec<Forwarded> {
        let one = |forward: &Forward| Forwarded {
            name: Arc::clone(&forward.name),
            to: forward.forwarding.to,
            forwarded: forward.sender.as_ref().map_or(0, Sender::sent),
            forward_failed: forward.unsent + forward.sender.as_ref().map_or(0, Sender::failed),
        };
        self.0.iter().map(one).collect()
    }
}

/// Whether datagrams for this destination would come back to one of these addresses of our own.
pub(crate) fn comes_back(to: SocketAddr, own: &[SocketAddr]) -> bool {
    own.iter().filter(|own| own.port() == to.port()).any(|own| {
        let (ip, own) = (to.ip().to_canonical(), own.ip().to_canonical());
        // Only an address of this machine can be bound.
        ip == own
            || ip.is_unspecified()
            || (own.is_unspecified() && UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_are_ourselves() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let any = [address("[::]:6343")];
        let one = [address("127.0.0.1:6343")];
        assert!(comes_back(address("127.0.0.1:6343"), &any) && comes_back(address("[::1]:6343"), &any));
        assert!(comes_back(address("127.0.0.1:6343"), &one) && comes_back(address("0.0.0.0:6343"), &one));
        for (to, own) in [("127.0.0.1:6344", &any), ("192.0.2.1:6343", &any), ("127.0.0.2:6343", &one)] {
            assert!(!comes_back(address(to), own), "{to}");
        }
    }
}
