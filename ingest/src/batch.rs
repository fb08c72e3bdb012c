//! The datagrams that one call takes from the kernel: how a receiver lends them, and the buffers, used again and again,
//! of back ends that copy.

use std::net::{IpAddr, Ipv4Addr};

#[cfg(all(target_os = "linux", feature = "dpdk"))]
use crate::dpdk::PortQueue;
#[cfg(all(target_os = "linux", feature = "xdp"))]
use crate::xdp::QueueSocket;

/// Datagrams of one batch at most.
pub const BATCH: usize = 64;

/// The largest UDP payload, bytes.
pub const LARGEST_PAYLOAD: usize = 65_535;

/// From one buffer to the next, bytes. It is not a power of two: datagrams of a usual size would else share the
/// same few sets of the processor's caches. Pages that no datagram has reached take no memory.
const STRIDE: usize = LARGEST_PAYLOAD + 1 + 1536;

/// What a receiver has taken last, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a>(Lent<'a>);

/// Where it lies, by back end.
#[derive(Clone, Copy, Debug)]
enum Lent<'a> {
    Batch(&'a Batch),
    #[cfg(all(target_os = "linux", feature = "xdp"))]
    Queue(&'a QueueSocket),
    #[cfg(all(target_os = "linux", feature = "dpdk"))]
    Port(&'a PortQueue),
}

impl<'a> Received<'a> {
    pub(crate) fn of(batch: &'a Batch) -> Self {
        Self(Lent::Batch(batch))
    }

    #[cfg(all(target_os = "linux", feature = "xdp"))]
    pub(crate) fn of_queue(socket: &'a QueueSocket) -> Self {
        Self(Lent::Queue(socket))
    }

    #[cfg(all(target_os = "linux", feature = "dpdk"))]
    pub(crate) fn of_port(queue: &'a PortQueue) -> Self {
        Self(Lent::Port(queue))
    }

    /// How many datagrams there are.
    pub fn len(self) -> usize {
        match self.0 {
            Lent::Batch(batch) => batch.taken,
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Lent::Queue(socket) => socket.len(),
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Lent::Port(queue) => queue.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The `n`th datagram and the address that it came from, an IPv4 address as such.
    pub fn get(self, n: usize) -> Option<(&'a [u8], IpAddr)> {
        match self.0 {
            Lent::Batch(batch) => batch.get(n),
            #[cfg(all(target_os = "linux", feature = "xdp"))]
            Lent::Queue(socket) => socket.get(n),
            #[cfg(all(target_os = "linux", feature = "dpdk"))]
            Lent::Port(queue) => queue.get(n),
        }
    }

    /// All datagrams, in the order of their arrival.
    pub fn datagrams(self) -> impl Iterator<Item = (&'a [u8], IpAddr)> {
        (0..self.len()).map_while(move |n| self.get(n))
    }
}

/// Datagrams that the kernel has copied, and who sent them.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Box<[u8]>,
    lengths: [usize; BATCH],
    senders: [IpAddr; BATCH],
    taken: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            bytes: vec![0; STRIDE * BATCH].into_boxed_slice(),
            lengths: [0; BATCH],
            senders: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); BATCH],
            taken: 0,
        }
    }
}

impl Batch {
    fn get(&self, n: usize) -> Option<(&[u8], IpAddr)> {
        if n >= self.taken {
            return None;
        }
        let begin = n * STRIDE;
        Some((self.bytes.get(begin..begin + *self.lengths.get(n)?)?, *self.senders.get(n)?))
    }

    /// Forgets what is in it.
    pub(crate) fn clear(&mut self) {
        self.taken = 0;
    }

    /// The buffers, [`LARGEST_PAYLOAD`] bytes each, [`BATCH`] of them.
    pub(crate) fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(STRIDE).map(|slot| slot.split_at_mut(LARGEST_PAYLOAD).0)
    }

    /// Notes what stands in the next buffer.
    pub(crate) fn push(&mut self, length: usize, sender: IpAddr) {
        let (Some(known), Some(from)) = (self.lengths.get_mut(self.taken), self.senders.get_mut(self.taken))
        else {
            return;
        };
        (*known, *from) = (length.min(LARGEST_PAYLOAD), sender.to_canonical());
        self.taken += 1;
    }
}
