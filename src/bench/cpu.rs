//! Processors: which threads run where, and what time they and the kernel beside them took. Where the system does not
//! tell, times are zero.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What threads took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// How long they ran.
    pub(crate) ran: Duration,
    /// How long they waited for a processor that others had.
    pub(crate) waited: Duration,
}

impl Time {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { ran: self.ran.saturating_sub(before.ran), waited: self.waited.saturating_sub(before.waited) }
    }

    fn add(&mut self, other: Self) {
        self.ran += other.ran;
        self.waited += other.waited;
    }
}

/// The time of the calling thread.
pub(crate) fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time of this process's threads whose names begin so.
pub(crate) fn of_threads(name: &str) -> Time {
    let mut sum = Time::default();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return sum };
    for task in tasks.flatten() {
        let path = task.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name)) {
            sum.add(
                fs::read_to_string(path.join("schedstat")).map_or(Time::default(), |text| scheduled(&text)),
            );
        }
    }
    sum
}

/// The time of the kernel's own threads to which it puts off what arrives: of all processors, and for whoever
/// receives. Nothing where this process does not see them.
pub(crate) fn of_put_off() -> Duration {
    let Ok(processes) = fs::read_dir("/proc") else { return Duration::ZERO };
    let numbers = processes.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let of = |path: std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).ok().filter(|comm| comm.starts_with("ksoftirqd/"))?;
        Some(scheduled(&fs::read_to_string(path.join("schedstat")).ok()?).ran)
    };
    numbers.filter_map(|entry| of(entry.path())).sum()
}

/// A line of `schedstat`.
fn scheduled(text: &str) -> Time {
    let mut numbers =
        text.split_whitespace().filter_map(|number| number.parse().ok()).map(Duration::from_nanos);
    Time { ran: numbers.next().unwrap_or_default(), waited: numbers.next().unwrap_or_default() }
}

/// What this process has in memory, bytes.
pub(crate) fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The processors that this process may use, by their numbers.
#[cfg(target_os = "linux")]
pub(crate) fn processors() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect()
}

/// Elsewhere they have no numbers that help.
#[cfg(not(target_os = "linux"))]
pub(crate) fn processors() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Keeps the calling thread on one processor, where the system lets it. A bench that may move is noisier, not wrong.
pub(crate) fn keep_to(processor: Option<usize>) {
    #[cfg(target_os = "linux")]
    if let Some(processor) = processor {
        let mut only = rustix::thread::CpuSet::new();
        only.set(processor);
        let _ = rustix::thread::sched_setaffinity(None, &only);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

/// The processor's name, as the system says it.
pub(crate) fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or_else(String::new, |line| line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// How many others want a processor, on average over the last minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_scheduler() {
        let time = scheduled("1500 20 3\n");
        assert_eq!((time.ran.as_nanos(), time.waited.as_nanos()), (1500, 20));
        assert_eq!(scheduled(""), Time::default());
    }

    /// A thread that works is seen to have worked.
    #[cfg(target_os = "linux")]
    #[test]
    fn time_of_a_thread_of_ours() {
        let thread = std::thread::Builder::new().name("bench-test".to_owned());
        let (alive, end) = std::sync::mpsc::channel::<()>();
        let (worked, ready) = std::sync::mpsc::channel();
        let thread = thread.spawn(move || {
            while of_this_thread() < Duration::from_millis(20) {}
            let _ = worked.send(());
            let _ = end.recv();
        });
        assert!(ready.recv().is_ok());
        assert!(of_threads("bench-test").ran >= Duration::from_millis(10));
        drop(alive);
        assert!(thread.is_ok_and(|thread| thread.join().is_ok()));
        assert!(resident() > 1 << 20);
        assert!(!processors().is_empty());
    }
}
