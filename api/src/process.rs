//! What the kernel knows of this process and its machine, from `/proc`. Where a file or a line is missing, as on other
//! systems, so is the value.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the load is measured.
const PERIOD: Duration = Duration::from_secs(2);

/// Load over the last period.
#[derive(Debug, Default)]
pub(crate) struct Process {
    load: Mutex<Load>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    last: Option<Times>,
    process: Option<f64>,
    system: Option<f64>,
}

/// Processor time so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Of this process.
    process: u64,
    /// Of the machine, idle or not, over all processors.
    all: u64,
    idle: u64,
}

/// Sizes, in bytes, and counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Part of the process that is in memory.
    pub(crate) resident: Option<u64>,
    /// What it may use: the control group's limit, else the machine's memory.
    pub(crate) may_use: Option<u64>,
    pub(crate) memory_total: Option<u64>,
    pub(crate) memory_free: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// Processor time of the process, milliseconds.
    pub(crate) cpu_ms: Option<u64>,
    /// Share of the machine's processor time that the process had over the last two seconds, 0 to 1.
    pub(crate) load_process: Option<f64>,
    /// The same for everything that runs.
    pub(crate) load_system: Option<f64>,
}

impl Process {
    /// All that can be known now.
    pub(crate) fn read(&self) -> Reading {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_total = kilobytes(&memory, "MemTotal:");
        let load = *self.load.lock().unwrap_or_else(PoisonError::into_inner);
        Reading {
            resident: kilobytes(&status, "VmRSS:"),
            may_use: group_limit().or(memory_total),
            memory_total,
            memory_free: kilobytes(&memory, "MemFree:"),
            threads: field(&status, "Threads:"),
            cpu_ms: own_ticks().map(|ticks| ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)),
            load_process: load.process,
            load_system: load.system,
        }
    }

    fn measure(&self) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = times() else { return };
        if let Some(last) = load.last {
            let all = now.all.saturating_sub(last.all);
            if all == 0 {
                return;
            }
            let share = |part: u64| Some((part as f64 / all as f64).min(1.0));
            load.process = share(now.process.saturating_sub(last.process));
            load.system = share(all.saturating_sub(now.idle.saturating_sub(last.idle)));
        }
        load.last = Some(now);
    }
}

/// Measures the load for as long as it runs.
pub(crate) async fn watch(process: Arc<Process>) {
    loop {
        process.measure();
        tokio::time::sleep(PERIOD).await;
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name).map(|kilobytes| kilobytes * 1024)
}

/// Processor time of this process (proc(5), `/proc/pid/stat`, fields 14 and 15).
fn own_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may hold anything, so counting begins behind it.
    let behind = stat.get(stat.rfind(')')? + 1..)?;
    let mut fields = behind.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(Times { process: own_ticks()?, all: ticks.iter().sum(), idle })
}

fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.max")).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let status = "Name:\tx\nVmRSS:\t  2048 kB\nThreads:\t7\n";
        assert_eq!((kilobytes(status, "VmRSS:"), field(status, "Threads:")), (Some(2 << 20), Some(7)));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_is_seen_in_the_load() {
        let process = Process::default();
        process.measure();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        // A busy thread must show; ticks are 10 ms, so it takes some.
        while process.read().load_process.is_none_or(|load| load <= 0.0) {
            assert!(std::time::Instant::now() < deadline);
            let until = std::time::Instant::now() + Duration::from_millis(100);
            while std::time::Instant::now() < until {
                std::hint::spin_loop();
            }
            process.measure();
        }
        let reading = process.read();
        assert!(reading.load_system.unwrap() > 0.0 && reading.load_system.unwrap() <= 1.0);
        assert!(reading.resident.unwrap() > 100_000 && reading.resident < reading.memory_total);
        assert!(reading.threads.unwrap() > 0 && reading.cpu_ms.unwrap() > 0);
    }
}
