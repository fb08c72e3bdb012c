//! What the packet path asks of the processor and the kernel about memory: prefetching, huge pages, cache lines. The one
//! place of this crate with unsafe code.
#![allow(unsafe_code, reason = "prefetch, madvise and lines of words; each block says why it holds")]

use std::ops::{Deref, DerefMut};
use std::slice;

/// Asks the processor to bring the cache line of an element near; does nothing beyond the end, or on processors
/// without the instruction.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], at: usize) {
    if let Some(element) = slice.get(at) {
        ask_for(std::ptr::from_ref(element).cast());
    }
}

/// Asks the processor to bring a line near.
#[inline(always)]
fn ask_for(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that a program can see and cannot fault, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; the instruction touches no register and no flag.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Bytes that a processor moves at once.
const LINE: usize = 64;

/// Asks the processor to bring all of these bytes near.
#[inline]
pub fn prefetch_all(bytes: &[u8]) {
    for at in (0..bytes.len()).step_by(LINE) {
        prefetch(bytes, at);
    }
}

/// Asks the processor to bring all of a value near.
#[inline]
pub fn prefetch_value<T>(value: &T) {
    for at in (0..size_of::<T>()).step_by(LINE) {
        ask_for(std::ptr::from_ref(value).cast::<u8>().wrapping_add(at));
    }
}

/// Below this size huge pages are not worth a system call.
const HUGE_FROM: usize = 4 << 20;

/// An empty vector with room for `capacity` elements, on huge pages where it is large and the kernel has them: random
/// access to it then misses the translation cache far less often.
pub fn roomy<T>(capacity: usize) -> Vec<T> {
    let vector = Vec::with_capacity(capacity);
    advise(&vector);
    vector
}

/// Asks for huge pages under the room of a vector.
fn advise<T>(vector: &Vec<T>) {
    let bytes = vector.capacity() * size_of::<T>();
    if bytes < HUGE_FROM {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let begins = vector.as_ptr().addr();
        let skipped = begins.next_multiple_of(PAGE) - begins;
        let length = (bytes - skipped) / PAGE * PAGE;
        // SAFETY: the range lies within memory that this vector owns, on page boundaries, and MADV_HUGEPAGE
        // changes neither its contents nor its protection. The kernel may refuse, which changes nothing.
        let _ = unsafe {
            let start = vector.as_ptr().cast::<u8>().add(skipped).cast_mut();
            rustix::mm::madvise(start.cast(), length, rustix::mm::Advice::LinuxHugepage)
        };
    }
}

/// The words of a cache line, which begin where it begins.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([u64; LINE / size_of::<u64>()]);

/// Words that begin with a cache line, on huge pages where there are many: what has as many words as a line, or half or a
/// quarter of them, lies in one.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    /// Words that count.
    len: usize,
}

impl Lines {
    /// Adds words. Room for more than `most` is made in small steps.
    pub(crate) fn extend(&mut self, words: &[u64], most: usize) {
        let begins = self.len;
        let lines = (begins + words.len()).div_ceil(Line::default().0.len());
        let more = lines.saturating_sub(self.lines.len());
        grow(&mut self.lines, more, most.div_ceil(Line::default().0.len()));
        self.lines.resize(self.lines.len() + more, Line::default());
        self.len += words.len();
        if let Some(place) = self.get_mut(begins..) {
            place.copy_from_slice(words);
        }
    }

    /// Takes words away from the end.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.lines.truncate(self.len.div_ceil(Line::default().0.len()));
    }
}

impl Deref for Lines {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: a line is words without anything between them, and all lines are there; `extend` and `truncate` keep
        // `len` within them.
        unsafe { slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Lines {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above; whoever has the words has the lines for as long.
        unsafe { slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Makes room for `more` elements on huge pages, doubling as vectors do. Room for more than `most` elements is made in
/// small steps, for whoever goes beyond.
pub fn grow<T: Copy>(vector: &mut Vec<T>, more: usize, most: usize) {
    if vector.len() + more <= vector.capacity() {
        return;
    }
    let needed = vector.len() + more;
    let wanted =
        (vector.capacity() * 2).max(64).min(most).max(needed + if needed > most { needed / 8 } else { 0 });
    let mut larger = roomy(wanted);
    larger.extend_from_slice(vector);
    *vector = larger;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_and_keeps_what_is_there() {
        let mut numbers: Vec<u64> = Vec::new();
        for n in 0..1_000_000_u64 {
            grow(&mut numbers, 1, 700_000);
            numbers.push(n);
        }
        assert!(numbers.iter().copied().eq(0..1_000_000));
        prefetch(&numbers, 5);
        prefetch(&numbers, 5_000_000);
    }

    #[test]
    fn lines_begin_at_lines_and_keep_their_words() {
        let mut lines = Lines::default();
        let mut words = Vec::new();
        for n in 0..2000_u64 {
            lines.extend(&[n, !n, n << 8], 3000);
            words.extend([n, !n, n << 8]);
            assert_eq!(lines.as_ptr().addr() % LINE, 0);
        }
        assert_eq!(*lines, *words);
        for len in [5000, 17, 16, 0] {
            lines.truncate(len);
            words.truncate(len);
            assert_eq!(*lines, *words);
        }
        lines.extend(&[1], 1);
        assert_eq!(*lines, [1]);
    }
}
