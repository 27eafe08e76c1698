//! CPU clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_nanos() -> f64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time of this process, all threads together, in nanoseconds.
pub(crate) fn process_nanos() -> f64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanos(time: Timespec) -> f64 {
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
