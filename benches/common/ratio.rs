//! Two things measured against each other: alternating passes on one core, in the thread's own CPU time, so that
//! whoever else uses the machine takes from both alike.

use std::hint::black_box;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Passes of each side.
const PASSES: usize = 11;

/// What a pass of each side took, nanoseconds per element: the medians.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "each bench has its own use for it")]
pub(crate) struct Ratio {
    pub(crate) ours: f64,
    pub(crate) other: f64,
}

#[allow(dead_code, reason = "each bench has its own use for it")]
impl Ratio {
    /// How many times as long as the other side ours takes.
    pub(crate) fn cost(self) -> f64 {
        self.ours / self.other
    }

    /// How many times as fast as the other side ours is.
    pub(crate) fn gain(self) -> f64 {
        self.other / self.ours
    }
}

/// Stays on the core it is on, where the system lets it.
pub(crate) fn pin() {
    let mut core = CpuSet::new();
    core.set(rustix::thread::sched_getcpu());
    // A bench that may move is noisier, not wrong.
    let _ = sched_setaffinity(None, &core);
}

/// The CPU time of this thread.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The CPU time of one call.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> Duration {
    let began = cpu_time();
    black_box(call());
    cpu_time() - began
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Measures both, which handle so many elements in a pass.
pub(crate) fn compare(
    elements: usize,
    mut ours: impl FnMut() -> u64,
    mut other: impl FnMut() -> u64,
) -> Ratio {
    pin();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    black_box(ours());
    black_box(other());
    for _ in 0..PASSES {
        first.push(timed(&mut ours));
        second.push(timed(&mut other));
    }
    let each = |times| median(times).as_nanos() as f64 / elements as f64;
    Ratio { ours: each(first), other: each(second) }
}
