//! Time that nobody sets.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine's boot: the same for every process on it, whatever is done to its clock.
pub fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
