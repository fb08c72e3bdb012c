//! BPF objects: programs and maps from the bytes that clang wrote into the kernel, and the maps' entries.
//!
//! All of libbpf that is used for it is behind this file; which programs there are and what their maps mean is the
//! business of the modules beside it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Once;

use libxdp_sys as bpf;
use thiserror::Error;

use crate::machine::Machine;

/// Bytes of the verifier's log that are kept; it says why at its end, and repeats itself before.
const LOG: usize = 1 << 16;

/// The types of maps that have a value for each processor.
const PER_CPU: [bpf::bpf_map_type; 3] = [
    bpf::bpf_map_type_BPF_MAP_TYPE_PERCPU_HASH,
    bpf::bpf_map_type_BPF_MAP_TYPE_PERCPU_ARRAY,
    bpf::bpf_map_type_BPF_MAP_TYPE_LRU_PERCPU_HASH,
];

/// Lines of that log in an error.
const LOG_LINES: usize = 12;

/// A function of libbpf that prints; its last argument is a `va_list`, and none of ours is one.
type Print = Option<unsafe extern "C" fn(c_int, *const c_char, *mut c_void) -> c_int>;

unsafe extern "C" {
    // Of libbpf, and not among the bindings.
    fn libbpf_set_print(print: Print) -> Print;
    fn libbpf_num_possible_cpus() -> c_int;
}

/// Why an object could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Not an object that libbpf understands.
    #[error("the BPF object cannot be read: {0}")]
    Object(#[source] io::Error),
    /// The process may not load programs.
    #[error("XDP programs are not for this process: {error}; {why}")]
    Privileges {
        /// What the kernel says.
        #[source]
        error: io::Error,
        /// Which capabilities are missing, or what else it may be.
        why: String,
    },
    /// The kernel refuses a program or a map.
    #[error("the kernel refuses the XDP program: {error}{log}")]
    Refused {
        /// What it says.
        #[source]
        error: io::Error,
        /// The end of the verifier's log, each line after a line break.
        log: String,
    },
    /// The object has no such program or map.
    #[error("the BPF object has no {what} {name:?}")]
    Missing {
        /// `program` or `map`.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

impl LoadError {
    /// The process may not do it.
    pub(super) fn privileges(error: io::Error) -> Self {
        let missing = Machine::read().missing();
        let why = if missing.is_empty() {
            "the process has the capabilities that it takes, but in a container's or a user's namespace they do not \
             reach so far, and a locked down kernel has none"
                .to_owned()
        } else {
            format!("it takes root or capabilities, of which the process lacks {}", missing.join(", "))
        };
        Self::Privileges { error, why }
    }
}

/// Programs and maps in the kernel. They go when this goes, but for what still uses them: a link, a socket.
#[derive(Debug)]
pub struct Object {
    raw: NonNull<bpf::bpf_object>,
}

// SAFETY: after `load` nothing of the object changes until it is dropped; what is asked of it is read only, and the
// file descriptors that it owns are the kernel's to synchronise.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

impl Object {
    /// Loads all programs and maps of the object in these bytes.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        Self::load_only(bytes, None)
    }

    /// Loads the maps, and of the programs only the named one: others may need a later kernel.
    pub fn load_program(bytes: &[u8], program: &str) -> Result<Self, LoadError> {
        Self::load_only(bytes, Some(program))
    }

    fn load_only(bytes: &[u8], only: Option<&str>) -> Result<Self, LoadError> {
        silence();
        // The reader wants its structures aligned, and is done with the bytes when it has opened them.
        let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
        // SAFETY: the buffer has room for the bytes, and the two do not overlap: it was allocated here.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), aligned.as_mut_ptr().cast(), bytes.len()) };
        // SAFETY: the pointer and the length are those of the buffer, which lives until the call returns; no options.
        let raw = unsafe { bpf::bpf_object__open_mem(aligned.as_ptr().cast(), bytes.len(), ptr::null()) };
        let raw = NonNull::new(raw).ok_or_else(|| LoadError::Object(io::Error::last_os_error()))?;
        let object = Self { raw };
        if let Some(name) = only
            && object.programs().all(|program| object.name_of(program) != Some(name))
        {
            return Err(LoadError::Missing { what: "program", name: name.to_owned() });
        }
        let mut log = vec![0_u8; LOG];
        for program in object.programs() {
            let wanted = only.is_none_or(|name| object.name_of(program) == Some(name));
            // SAFETY: the program is of this object, which is not loaded yet; the log lives until it is, and libbpf
            // writes into it only while it loads.
            unsafe {
                bpf::bpf_program__set_autoload(program, wanted);
                bpf::bpf_program__set_log_buf(program, log.as_mut_ptr().cast(), log.len());
            }
        }
        // SAFETY: the object is open, and loaded once.
        let result = unsafe { bpf::bpf_object__load(object.raw.as_ptr()) };
        let error = (result < 0).then(|| io::Error::from_raw_os_error(-result));
        for program in object.programs() {
            // SAFETY: the program is of this object; it forgets the log before the log goes.
            unsafe { bpf::bpf_program__set_log_buf(program, ptr::null_mut(), 0) };
        }
        match error {
            None => Ok(object),
            Some(error) if is_privileges(&error) => Err(LoadError::privileges(error)),
            Some(error) => Err(LoadError::Refused { error, log: end_of_log(&log) }),
        }
    }

    /// The file descriptor of a program that was loaded.
    pub fn program(&self, name: &str) -> Result<BorrowedFd<'_>, LoadError> {
        let program = self.programs().find(|program| self.name_of(*program) == Some(name));
        // SAFETY: the program is of this object, which is alive.
        let fd = program.map_or(-1, |program| unsafe { bpf::bpf_program__fd(program) });
        if fd < 0 {
            return Err(LoadError::Missing { what: "program", name: name.to_owned() });
        }
        // SAFETY: the descriptor is open as long as the object, which the result borrows.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// A map.
    pub fn map(&self, name: &str) -> Result<Map<'_>, LoadError> {
        let missing = || LoadError::Missing { what: "map", name: name.to_owned() };
        let text = CString::new(name).map_err(|_| missing())?;
        // SAFETY: the object is alive, and the name ends in a zero byte.
        let map = unsafe { bpf::bpf_object__find_map_by_name(self.raw.as_ptr(), text.as_ptr()) };
        if map.is_null() {
            return Err(missing());
        }
        // SAFETY: the map is of this object, which is alive.
        let (fd, key_size, value_size) =
            unsafe { (bpf::bpf_map__fd(map), bpf::bpf_map__key_size(map), bpf::bpf_map__value_size(map)) };
        if fd < 0 {
            return Err(missing());
        }
        // SAFETY: the map is of this object, which is alive.
        let per_cpu = PER_CPU.contains(&unsafe { bpf::bpf_map__type(map) });
        // The kernel hands over the values of all processors that there may be, each in whole words.
        let value_size = if per_cpu {
            // SAFETY: reads a file of the system.
            let cpus = unsafe { libbpf_num_possible_cpus() };
            (value_size as usize).next_multiple_of(8) * usize::try_from(cpus).map_err(|_| missing())?
        } else {
            value_size as usize
        };
        // SAFETY: the descriptor is open as long as the object, which the result borrows.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        Ok(Map { fd, key_size: key_size as usize, value_size })
    }

    /// Its programs, loaded or not.
    fn programs(&self) -> impl Iterator<Item = *mut bpf::bpf_program> {
        let next = |last: *mut bpf::bpf_program| {
            // SAFETY: the object is alive, and `last` is null or one of its programs.
            let next = unsafe { bpf::bpf_object__next_program(self.raw.as_ptr(), last) };
            (!next.is_null()).then_some(next)
        };
        std::iter::successors(next(ptr::null_mut()), move |last| next(*last))
    }

    fn name_of(&self, program: *mut bpf::bpf_program) -> Option<&str> {
        // SAFETY: the program is of this object; its name ends in a zero byte and lives as long as the object.
        unsafe { CStr::from_ptr(bpf::bpf_program__name(program)) }.to_str().ok()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object is open, and nothing uses it after this: what it lends borrows it.
        unsafe { bpf::bpf_object__close(self.raw.as_ptr()) };
    }
}

/// A map of an object. Keys and values are bytes as the program sees them, in whole: where each processor has a value of
/// its own, the value is all of them one after the other, each in whole words of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    fd: BorrowedFd<'a>,
    key_size: usize,
    value_size: usize,
}

impl<'a> Map<'a> {
    /// Its file descriptor.
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd
    }

    /// Sets an entry, new or not.
    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        fits(key, self.key_size)?;
        fits(value, self.value_size)?;
        // SAFETY: key and value are as long as the map's, and the kernel only reads them.
        done(unsafe {
            bpf::bpf_map_update_elem(self.fd.as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), 0)
        })
    }

    /// The value of an entry.
    pub fn lookup(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        fits(key, self.key_size)?;
        let mut value = vec![0; self.value_size];
        // SAFETY: key and value are as long as the map's; the kernel reads the one and writes the other.
        let result = unsafe {
            bpf::bpf_map_lookup_elem(self.fd.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast())
        };
        Ok(found(done(result))?.then_some(value))
    }

    /// Takes an entry away; whether it was there.
    pub fn remove(&self, key: &[u8]) -> io::Result<bool> {
        fits(key, self.key_size)?;
        // SAFETY: the key is as long as the map's, and the kernel only reads it.
        found(done(unsafe { bpf::bpf_map_delete_elem(self.fd.as_raw_fd(), key.as_ptr().cast()) }))
    }

    /// The keys that are in the map. An array has all of its indices.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0; self.key_size];
            let last = keys.last().map_or(ptr::null(), |key| key.as_ptr());
            // SAFETY: `last` is null or a key, `next` is as long as one; the kernel reads the one, writes the other.
            let result = unsafe {
                bpf::bpf_map_get_next_key(self.fd.as_raw_fd(), last.cast(), next.as_mut_ptr().cast())
            };
            if !found(done(result))? {
                return Ok(keys);
            }
            keys.push(next);
        }
    }

    /// An entry of a per-CPU map whose value is `N` counters of 64 bits: their sums over all processors.
    pub fn sums<const N: usize>(&self, key: &[u8]) -> io::Result<[u64; N]> {
        let value = self.lookup(key)?.ok_or(io::ErrorKind::NotFound)?;
        let (words, _) = value.as_chunks::<8>();
        let mut sums = [0_u64; N];
        for of_one in words.chunks_exact(N) {
            for (sum, word) in sums.iter_mut().zip(of_one) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        Ok(sums)
    }
}

/// A key or value of another length than the map's would have the kernel read or write beside it.
fn fits(bytes: &[u8], size: usize) -> io::Result<()> {
    if bytes.len() == size {
        return Ok(());
    }
    let why = format!("{} bytes for a map that has {size}", bytes.len());
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// The result of a call of libbpf.
pub(super) fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Whether it is the process that the kernel refuses, not the program.
fn is_privileges(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(libc::EPERM) => true,
        // Without this one the verifier refuses any comparison of pointers, as it does a program's faults.
        Some(libc::EACCES) => Machine::read().missing().contains(&"CAP_PERFMON"),
        _ => false,
    }
}

/// Whether an entry was there.
fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        other => other.map(|()| true),
    }
}

/// libbpf writes to stderr unless it is told not to; what went wrong is in the errors.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: no function means no messages; libbpf exchanges the pointer atomically.
        unsafe { libbpf_set_print(None) };
    });
}

/// The last lines of the verifier's log, each after a line break; nothing when there is no log.
fn end_of_log(log: &[u8]) -> String {
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
    last.iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_refused_without_a_word_on_stderr() {
        for bytes in [&b""[..], b"\x7fELF", &[0x7f; 4096]] {
            let error = Object::load(bytes).expect_err("no object");
            assert!(matches!(error, LoadError::Object(_)), "{error}");
        }
    }

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(end_of_log(&[0; 9]), "");
        let long: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let end = end_of_log(format!("{long}\0rest").as_bytes());
        assert!(end.starts_with("\n  line 8\n") && end.ends_with("\n  line 19"), "{end}");
    }

    #[test]
    fn sizes_are_checked() {
        assert!(fits(&[0; 4], 4).is_ok());
        let error = fits(&[0; 3], 4).expect_err("too short");
        assert_eq!(error.to_string(), "3 bytes for a map that has 4");
    }
}
