//! Packets that span several frames, put together: buffers that are used again and again.

use crate::batch::BATCH;

/// The longest frame, bytes: Ethernet, two tags, IPv6 and the longest payload of that.
const LONGEST: usize = 14 + 8 + 40 + 65_535;

/// From one buffer to the next, bytes; not a power of two, so that packets of a usual size do not share the same few
/// sets of the processor's caches.
const STRIDE: usize = (LONGEST + 1536).next_multiple_of(64);

/// One for each datagram of a batch, and one for a packet that goes on in the next.
const BUFFERS: usize = BATCH + 1;

/// Buffers, the packets in them, and the one that is being put together.
#[derive(Debug)]
pub(super) struct Gather {
    /// Pages that no packet has reached take no memory.
    bytes: Box<[u8]>,
    lengths: [usize; BUFFERS],
    /// The buffer that is filled next, or being filled.
    next: usize,
    /// Whether a packet is being put together.
    open: bool,
}

impl Gather {
    /// Empty buffers.
    pub(super) fn new() -> Self {
        let bytes = vec![0; STRIDE * BUFFERS].into_boxed_slice();
        Self { bytes, lengths: [0; BUFFERS], next: 0, open: false }
    }

    /// None, for a socket whose packets have a frame each. What is put together nevertheless is empty.
    pub(super) fn none() -> Self {
        Self { bytes: Box::default(), lengths: [0; BUFFERS], next: 0, open: false }
    }

    /// Whether the next frame goes on with a packet.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Begins a batch: the packets of the one before are gone, but for one that is not whole yet.
    pub(super) fn begin(&mut self) {
        if !self.open {
            self.lengths[0] = 0;
            self.next = 0;
        }
    }

    /// Adds a frame to the packet; the number of its buffer when it is whole. One that is longer than any packet can
    /// be loses its end, so that it does not agree with its own lengths.
    pub(super) fn add(&mut self, frame: &[u8], last: bool) -> Option<usize> {
        let buffer = self.next;
        let begin = buffer * STRIDE;
        if let (Some(length), Some(room)) =
            (self.lengths.get_mut(buffer), self.bytes.get_mut(begin..begin + LONGEST))
        {
            let frame = frame.get(..frame.len().min(LONGEST - *length)).unwrap_or_default();
            if let Some(place) = room.get_mut(*length..*length + frame.len()) {
                place.copy_from_slice(frame);
                *length += frame.len();
            }
        }
        self.open = !last;
        if !last {
            return None;
        }
        self.next = (buffer + 1) % BUFFERS;
        if let Some(length) = self.lengths.get_mut(self.next) {
            *length = 0;
        }
        Some(buffer)
    }

    /// The packet in a buffer.
    pub(super) fn packet(&self, buffer: usize) -> &[u8] {
        let begin = buffer * STRIDE;
        let length = self.lengths.get(buffer).copied().unwrap_or(0);
        self.bytes.get(begin..begin + length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_until_the_batch_after() {
        let mut gather = Gather::new();
        for round in 0..3_u8 {
            gather.begin();
            let mut whole = Vec::new();
            // The first goes on with what the batch before has left.
            for n in 0..BATCH as u8 {
                assert_eq!(gather.is_open(), n == 0 && round > 0);
                assert_eq!(gather.add(&[n; 4000], false), None);
                assert!(gather.is_open());
                whole.push((gather.add(&[round; 500], true).unwrap_or(usize::MAX), n, 4500));
            }
            if let Some(first) = whole.first_mut().filter(|_| round > 0) {
                first.2 += 100;
            }
            assert_eq!(gather.add(&[9; 100], false), None);
            for (buffer, n, length) in whole {
                let packet = gather.packet(buffer);
                assert_eq!(packet.len(), length);
                assert!(packet[length - 4500..length - 500].iter().all(|byte| *byte == n));
                assert!(packet[length - 500..].iter().all(|byte| *byte == round));
            }
        }
    }

    #[test]
    fn a_packet_without_an_end_fills_its_own_buffer_at_most() {
        let mut gather = Gather::new();
        for _ in 0..100 {
            assert_eq!(gather.add(&[1; 4096], false), None);
        }
        assert_eq!(gather.add(&[1; 4096], true), Some(0));
        assert_eq!(gather.packet(0).len(), LONGEST);
        assert!(gather.packet(1).is_empty());
        let mut none = Gather::none();
        assert_eq!(none.add(&[1; 10], true), Some(0));
        assert!(none.packet(0).is_empty());
    }
}
