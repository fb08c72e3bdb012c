//! What the packet path asks of the processor and the kernel: prefetching, counting bits, memory on huge pages. The one place
//! of this crate with unsafe code.
#![allow(unsafe_code, reason = "prefetch, popcnt, and memory on huge pages; each block says why it holds")]

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::{fmt, slice};

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

/// How the bits of a word that are ones are counted: by the processor's own instruction where it has one. Without it a dozen
/// are needed, and a compiler that does not know the processor must not use it. The processor is asked once, by whoever
/// keeps this: asking for each word would make a call of what is three instructions.
#[derive(Clone, Copy, Debug)]
pub struct Ones {
    by_instruction: bool,
}

impl Default for Ones {
    fn default() -> Self {
        #[cfg(target_arch = "x86_64")]
        let by_instruction = std::arch::is_x86_feature_detected!("popcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let by_instruction = false;
        Self { by_instruction }
    }
}

impl Ones {
    /// How many bits of a word are ones.
    #[inline(always)]
    pub fn of(self, word: u64) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.by_instruction {
            let ones: u64;
            // SAFETY: the processor has the instruction, which reads a register and writes one; nobody else sets what says so.
            unsafe {
                std::arch::asm!("popcnt {0}, {1}", out(reg) ones, in(reg) word, options(pure, nomem, nostack));
            }
            return ones as u32;
        }
        word.count_ones()
    }
}

/// From this size on elements lie on huge pages.
const HUGE_FROM: usize = 4 << 20;

/// Elements one behind the other, as in a vector. The first one begins with a cache line, so that what is as large as a
/// line, or as half or a quarter of one, lies in one. Many elements have memory of their own, on huge pages where the
/// kernel has them: random access then misses the translation cache far less often than where an allocator has them lie
/// on what was small pages before. It goes back to the kernel with them.
pub struct Array<T: Copy> {
    start: NonNull<T>,
    len: usize,
    /// Elements that there is room for.
    room: usize,
}

// SAFETY: an array owns its elements, as a vector does.
unsafe impl<T: Copy + Send> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Sync> Sync for Array<T> {}

impl<T: Copy> Array<T> {
    /// An empty one that takes no memory.
    pub const fn new() -> Self {
        Self { start: NonNull::dangling(), len: 0, room: 0 }
    }

    /// An empty one with room for so many elements.
    pub fn with_room(room: usize) -> Self {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= LINE) };
        if room == 0 {
            return Self::new();
        }
        let layout = layout::<T>(room);
        let start = if layout.size() < HUGE_FROM {
            // SAFETY: elements have a size, and there is room for one at least.
            NonNull::new(unsafe { std::alloc::alloc(layout) })
        } else {
            map(layout.size())
        };
        let Some(start) = start else { std::alloc::handle_alloc_error(layout) };
        Self { start: start.cast(), len: 0, room }
    }

    /// Makes room for `more` elements, doubling as vectors do. Room for more than `most` elements is made in small steps,
    /// for whoever goes beyond.
    #[inline]
    pub fn grow(&mut self, more: usize, most: usize) {
        if more > self.room - self.len {
            self.enlarge(self.len + more, most);
        }
    }

    #[cold]
    fn enlarge(&mut self, needed: usize, most: usize) {
        let beyond = if needed > most { needed / 8 } else { 0 };
        let mut larger = Self::with_room((self.room * 2).max(64).min(most).max(needed + beyond));
        larger.extend_from_slice(self);
        *self = larger;
    }

    /// Adds an element.
    #[inline]
    pub fn push(&mut self, element: T) {
        self.grow(1, usize::MAX);
        // SAFETY: there is room for one behind those that are there.
        unsafe { self.start.add(self.len).write(element) };
        self.len += 1;
    }

    /// Adds elements.
    #[inline]
    pub fn extend_from_slice(&mut self, elements: &[T]) {
        self.grow(elements.len(), usize::MAX);
        // SAFETY: there is room for so many behind those that are there, and nobody else has it.
        unsafe {
            let end = self.start.add(self.len);
            end.copy_from_nonoverlapping(NonNull::from(elements).cast(), elements.len());
        }
        self.len += elements.len();
    }

    /// Adds so many times this element.
    pub fn extend_with(&mut self, element: T, many: usize) {
        self.grow(many, usize::MAX);
        for at in self.len..self.len + many {
            // SAFETY: there is room for so many behind those that are there.
            unsafe { self.start.add(at).write(element) };
        }
        self.len += many;
    }

    /// Takes elements away from the end.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// What it takes, bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T: Copy> Drop for Array<T> {
    fn drop(&mut self) {
        if self.room == 0 {
            return;
        }
        let layout = layout::<T>(self.room);
        if layout.size() < HUGE_FROM {
            // SAFETY: it was allocated with this layout.
            unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), layout) };
        } else {
            unmap(self.start.cast(), layout.size());
        }
    }
}

impl<T: Copy> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: so many elements were written there, and `start` is aligned even where there is none.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Clone for Array<T> {
    fn clone(&self) -> Self {
        let mut other = Self::with_room(self.len);
        other.extend_from_slice(self);
        other
    }
}

impl<T: Copy> Default for Array<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Copy> FromIterator<T> for Array<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let elements = elements.into_iter();
        let mut array = Self::with_room(elements.size_hint().0);
        elements.for_each(|element| array.push(element));
        array
    }
}

/// The layout of room for so many elements.
fn layout<T>(room: usize) -> Layout {
    let layout = Layout::array::<T>(room).and_then(|layout| layout.align_to(LINE));
    layout.expect("tables are bounded far below the address space")
}

/// Bytes of a huge page.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

/// Memory of the kernel's, which begins with a huge page; `None` where it has none left.
#[cfg(target_os = "linux")]
fn map(bytes: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    let length = bytes.checked_next_multiple_of(HUGE)?;
    // SAFETY: new memory, where the kernel likes. What lies before the first huge page and behind the last one is given
    // back before anybody knows of it. Advice changes nothing that a program can see, and may be refused.
    unsafe {
        let all =
            mmap_anonymous(null_mut(), length + HUGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        let all = all.ok()?.cast::<u8>();
        let before = all.addr().next_multiple_of(HUGE) - all.addr();
        let start = all.add(before);
        if before > 0 {
            let _ = munmap(all.cast(), before);
        }
        if before < HUGE {
            let _ = munmap(start.add(length).cast(), HUGE - before);
        }
        let _ = madvise(start.cast(), length, Advice::LinuxHugepage);
        NonNull::new(start)
    }
}

/// Gives back what [`map`] has given for so many bytes.
#[cfg(target_os = "linux")]
fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: these pages are an array's alone, which is being dropped. A failure leaves them where they are.
    let _ = unsafe { rustix::mm::munmap(start.as_ptr().cast(), bytes.next_multiple_of(HUGE)) };
}

#[cfg(not(target_os = "linux"))]
fn map(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: there are many bytes.
    NonNull::new(unsafe { std::alloc::alloc(layout::<u8>(bytes)) })
}

#[cfg(not(target_os = "linux"))]
fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: it was allocated with this layout.
    unsafe { std::alloc::dealloc(start.as_ptr(), layout::<u8>(bytes)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_grows_and_keeps_what_is_there() {
        let mut numbers: Array<u64> = Array::new();
        for n in 0..1_000_000_u64 {
            numbers.grow(1, 700_000);
            numbers.push(n);
            assert_eq!(numbers.as_ptr().addr() % LINE, 0);
        }
        assert!(numbers.room < 1_200_000, "{} for a million", numbers.room);
        assert!(numbers.iter().copied().eq(0..1_000_000));
        #[cfg(target_os = "linux")]
        assert_eq!(numbers.as_ptr().addr() % HUGE, 0);
        prefetch(&numbers, 5);
        prefetch(&numbers, 5_000_000);
        let copy = numbers.clone();
        numbers.truncate(7);
        numbers.extend_with(9, 2);
        assert_eq!((*numbers).to_vec(), [0, 1, 2, 3, 4, 5, 6, 9, 9]);
        assert_eq!((copy.len(), copy.last().copied(), copy.bytes()), (1_000_000, Some(999_999), 8_000_000));
    }

    #[test]
    fn ones_are_counted() {
        for word in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x0123_4567_89ab_cdef] {
            assert_eq!(Ones::default().of(word), word.count_ones());
            assert_eq!(Ones { by_instruction: false }.of(word), word.count_ones());
        }
    }

    #[test]
    fn small_and_empty_arrays_are_arrays_too() {
        let mut bytes: Array<u8> = Array::default();
        assert!(bytes.is_empty() && bytes.clone().is_empty());
        bytes.extend_from_slice(&[]);
        bytes.extend_from_slice(b"abc");
        assert_eq!((*bytes).to_vec(), b"abc");
        assert!((0..100_u16).collect::<Array<_>>().iter().copied().eq(0..100));
    }
}
