//! DPDK's environment, ports and buffers as types: what the shim gives is owned by one value and goes back when that
//! goes. The only file here with unsafe code; it knows nothing of what is in a frame.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::OpenError;
use crate::batch::BATCH;

/// Buffers of a queue beside those in its rings: a burst that is lent, and what drivers take ahead.
const LENT: u32 = 4 * BATCH as u32;

/// `RTE_ETH_NAME_MAX_LEN`.
const NAME: usize = 64;

/// `RTE_MAX_ETHPORTS` as it is built, or less.
const MOST_PORTS: u16 = 32;

/// `struct rte_mbuf`, of which only the shim knows the inside.
#[repr(C)]
struct Mbuf([u8; 0]);

/// `struct rte_mempool`, likewise.
#[repr(C)]
struct Pool([u8; 0]);

/// `struct opened` of the shim.
#[repr(C)]
struct Started {
    pool: *mut Pool,
    queues: u16,
    descriptors: u16,
    mtu: u16,
    room: u16,
}

unsafe extern "C" {
    fn finderscope_dpdk_init(count: c_int, arguments: *mut *mut c_char) -> c_int;
    fn finderscope_dpdk_next_port(from: u16) -> u16;
    fn finderscope_dpdk_describe(port: u16, name: *mut c_char, driver: *mut *const c_char) -> c_int;
    fn finderscope_dpdk_open(port: u16, lent: u32, started: *mut Started) -> c_int;
    fn finderscope_dpdk_close(port: u16, pool: *mut Pool);
    fn finderscope_dpdk_burst(port: u16, queue: u16, taken: *mut *mut Mbuf, most: u16) -> u16;
    fn finderscope_dpdk_free(taken: *mut *mut Mbuf, count: c_uint);
    fn finderscope_dpdk_frame(mbuf: *const Mbuf, length: *mut u32) -> *const u8;
    fn finderscope_dpdk_copy(mbuf: *const Mbuf, length: u32, whole: *mut c_void);
    fn finderscope_dpdk_counts(port: u16, counts: *mut u64) -> c_int;
}

/// Starts the environment, which a process can do once, and gives the numbers of the ports that it found.
pub(super) fn start(arguments: Vec<CString>) -> Result<Vec<u16>, OpenError> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::AcqRel) {
        return Err(OpenError::Again);
    }
    // It ties the thread that starts it to a core, and those that this one starts later would inherit that.
    let starter = std::thread::Builder::new().name("dpdk".to_owned()).spawn(move || {
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        pointers.push(ptr::null_mut());
        // SAFETY: as many writable strings as are counted, and a null pointer behind them. They are leaked: the
        // environment may keep what it was given.
        unsafe { finderscope_dpdk_init(count, pointers.leak().as_mut_ptr()) }
    });
    let started = starter.and_then(|thread| thread.join().map_err(|_| io::ErrorKind::Other.into()));
    outcome(started.map_err(OpenError::Environment)?).map_err(OpenError::Environment)?;
    let mut ports = Vec::new();
    let mut from = 0;
    loop {
        // SAFETY: the environment has started; any number is allowed.
        let port = unsafe { finderscope_dpdk_next_port(from) };
        if port >= MOST_PORTS {
            return Ok(ports);
        }
        ports.push(port);
        from = port + 1;
    }
}

/// A negative number is an error's.
fn outcome(returned: c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned)) } else { Ok(()) }
}

/// A port that was started. It stops when its last queue is gone.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    pool: NonNull<Pool>,
    /// Its name to the environment, such as `0000:03:00.0` or `net_pcap0`.
    pub(super) name: String,
    /// Its driver's name.
    pub(super) driver: String,
    /// Queues that it receives on.
    pub(super) queues: u16,
    /// Frames that a queue's ring holds.
    pub(super) descriptors: u16,
    /// The largest packet, bytes.
    pub(super) mtu: u16,
    /// Memory of its buffers, bytes.
    memory_bytes: usize,
}

// SAFETY: the pool is only given back, in `drop`, by whoever is last. Queues of a port may be used by a thread each;
// its counts are read through queue 0 alone, so by one thread at a time.
unsafe impl Send for Port {}
// SAFETY: as above.
unsafe impl Sync for Port {}

/// What a port has counted since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PortCounts {
    /// Frames for which its rings had no room.
    pub(super) missed: u64,
    /// Frames that came damaged.
    pub(super) failed: u64,
    /// How often no buffer was to be had. The frame waits in the ring or is missed: none is counted twice.
    pub(super) no_buffer: u64,
}

impl Port {
    /// Starts a port that [`start`] has found, with as many queues as are wanted and it has.
    pub(super) fn open(number: u16, queues: u16, descriptors: u16) -> Result<Self, OpenError> {
        let (mut name, mut driver) = ([0; NAME], ptr::null());
        // SAFETY: room for a name, and for a pointer to a name that the driver keeps.
        let described = outcome(unsafe { finderscope_dpdk_describe(number, name.as_mut_ptr(), &mut driver) });
        let name = text(&name.map(|byte| byte.cast_unsigned()));
        let refused = |source: io::Error| OpenError::Port { port: name.clone(), source };
        described.map_err(refused)?;
        let driver = if driver.is_null() {
            String::new()
        } else {
            // SAFETY: the name of a driver is a constant of it, ended by a zero.
            unsafe { CStr::from_ptr(driver) }.to_string_lossy().into_owned()
        };
        let mut started =
            Started { pool: ptr::null_mut(), queues: queues.max(1), descriptors, mtu: 0, room: 0 };
        // SAFETY: a port that was found and not opened before: the environment is started once, and each port once.
        let opened = outcome(unsafe { finderscope_dpdk_open(number, LENT, &mut started) });
        let Some(pool) = NonNull::new(started.pool) else {
            return Err(refused(opened.err().unwrap_or_else(|| io::ErrorKind::OutOfMemory.into())));
        };
        let Started { queues, descriptors, mtu, room, .. } = started;
        let memory_bytes =
            usize::from(queues) * (usize::from(descriptors) + LENT as usize) * usize::from(room);
        let port = Self { number, pool, name: name.clone(), driver, queues, descriptors, mtu, memory_bytes };
        // Where its start failed it is closed again with its pool.
        opened.map_err(refused)?;
        Ok(port)
    }

    /// What it has counted; nothing where its driver does not count.
    fn counts(&self) -> PortCounts {
        let mut counts = [0; 3];
        // SAFETY: a port that is open, and room for three numbers.
        if unsafe { finderscope_dpdk_counts(self.number, counts.as_mut_ptr()) } < 0 {
            return PortCounts::default();
        }
        let [missed, failed, no_buffer] = counts;
        PortCounts { missed, failed, no_buffer }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: no queue is left that could receive, nor a burst, since each keeps the port: the pool's buffers are
        // in the rings, which are emptied, or in the pool.
        unsafe { finderscope_dpdk_close(self.number, self.pool.as_ptr()) }
    }
}

fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).unwrap_or_default().to_string_lossy().into_owned()
}

/// Frames that a queue has given, in buffers of the port's: they are owned here and go back with the next burst or
/// with this.
#[derive(Debug)]
pub(super) struct Burst {
    mbufs: [*mut Mbuf; BATCH],
    /// Where each frame lies, and its length.
    frames: [(NonNull<u8>, usize); BATCH],
    taken: usize,
    /// Frames that came in pieces, put together; by place in the burst.
    whole: Option<Box<[Vec<u8>; BATCH]>>,
    port: Arc<Port>,
    queue: u16,
}

// SAFETY: the pointers are to buffers that nobody else knows of until they are given back; any thread may do that.
unsafe impl Send for Burst {}

impl Burst {
    /// Those of a port, one for each of its queues and no other: the port is theirs.
    pub(super) fn of(port: Port) -> Vec<Self> {
        let port = Arc::new(port);
        let (mbufs, frames) = ([ptr::null_mut(); BATCH], [(NonNull::dangling(), 0); BATCH]);
        (0..port.queues)
            .map(|queue| Self { mbufs, frames, taken: 0, whole: None, port: port.clone(), queue })
            .collect()
    }

    /// Gives back what it has, and takes what has arrived, [`BATCH`] frames at most.
    pub(super) fn take(&mut self) {
        self.give_back();
        // SAFETY: a queue of an open port, which only this burst receives from; room for as many pointers as are said.
        let taken = unsafe {
            finderscope_dpdk_burst(self.port.number, self.queue, self.mbufs.as_mut_ptr(), BATCH as u16)
        };
        self.taken = usize::from(taken).min(BATCH);
        for (place, (mbuf, frame)) in self.mbufs.iter().zip(&mut self.frames).take(self.taken).enumerate() {
            let mut length = 0;
            // SAFETY: a buffer that the port has just given.
            let bytes = unsafe { finderscope_dpdk_frame(*mbuf, &mut length) };
            let bytes = NonNull::new(bytes.cast_mut()).or_else(|| {
                let whole = self.whole.get_or_insert_with(|| Box::new([const { Vec::new() }; BATCH]));
                let whole = whole.get_mut(place)?;
                whole.resize(length as usize, 0);
                // SAFETY: the frame has that many bytes, and so has the room for them.
                unsafe { finderscope_dpdk_copy(*mbuf, length, whole.as_mut_ptr().cast()) };
                NonNull::new(whole.as_mut_ptr())
            });
            *frame = bytes.map_or((NonNull::dangling(), 0), |bytes| (bytes, length as usize));
        }
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// The `n`th frame, from its first byte on.
    pub(super) fn frame(&self, n: usize) -> Option<&[u8]> {
        let (bytes, length) = self.frames.get(..self.taken)?.get(n)?;
        // SAFETY: so many bytes lie there, in a buffer or a vector that this owns and lends until it is changed.
        Some(unsafe { slice::from_raw_parts(bytes.as_ptr(), *length) })
    }

    /// Frames that the queue's ring holds.
    pub(super) fn descriptors(&self) -> u16 {
        self.port.descriptors
    }

    /// Memory of the queue's buffers, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.port.memory_bytes / usize::from(self.port.queues.max(1))
    }

    /// What the port has counted, told through its first queue only.
    pub(super) fn counts(&mut self) -> PortCounts {
        if self.queue == 0 { self.port.counts() } else { PortCounts::default() }
    }

    fn give_back(&mut self) {
        // SAFETY: as many buffers as were taken, each of them given back here once.
        unsafe { finderscope_dpdk_free(self.mbufs.as_mut_ptr(), self.taken as c_uint) };
        self.taken = 0;
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.give_back();
    }
}
