//! The datagrams that one call takes from the kernel, in buffers that are used again and again.

use std::net::{IpAddr, Ipv4Addr};

/// Datagrams of one batch at most.
pub const BATCH: usize = 64;

/// The largest UDP payload, bytes.
pub const LARGEST_PAYLOAD: usize = 65_535;

/// From one buffer to the next, bytes. It is not a power of two: datagrams of a usual size would else share the
/// same few sets of the processor's caches. Pages that no datagram has reached take no memory.
const STRIDE: usize = LARGEST_PAYLOAD + 1 + 1536;

/// Datagrams and who sent them.
#[derive(Debug)]
pub struct Batch {
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
    /// Datagrams in it.
    pub fn len(&self) -> usize {
        self.taken
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The `n`th datagram and the address that it came from, an IPv4 address as such.
    pub fn get(&self, n: usize) -> Option<(&[u8], IpAddr)> {
        if n >= self.taken {
            return None;
        }
        let begin = n * STRIDE;
        Some((self.bytes.get(begin..begin + *self.lengths.get(n)?)?, *self.senders.get(n)?))
    }

    /// All datagrams, in the order of their arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], IpAddr)> {
        (0..self.taken).map_while(|n| self.get(n))
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
