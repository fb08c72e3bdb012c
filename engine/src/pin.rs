//! A worker that stays on one processor keeps its tables in that processor's caches.

/// Keeps the calling thread on the `n`th of the processors that this process may use; its number, or `None` where
/// the system does not do that.
#[cfg(target_os = "linux")]
pub(crate) fn pin(n: usize) -> Option<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).ok()?;
    let processors: Vec<usize> =
        (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect();
    let processor = *processors.get(n % processors.len().max(1))?;
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).ok()?;
    Some(processor)
}

/// Other systems have no such call in common.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_n: usize) -> Option<usize> {
    None
}
