//! Time for plans: monotonic, so that a jump of the machine's clock moves no timer (trust rule Q8).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Before the server's start there was time too: containers may be older than the server.
const PAST: Duration = Duration::from_hours(365 * 24);

/// A monotonic clock whose zero lies a year before it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// Time since its zero.
    pub fn now(&self) -> Duration {
        PAST + self.started.elapsed()
    }

    /// The instant of a time on this clock, for timers.
    pub fn instant(&self, at: Duration) -> Instant {
        self.started + at.saturating_sub(PAST)
    }

    /// The wall clock time of a time on this clock, as far as the wall clock can be believed now.
    pub fn unix_ms(&self, at: Duration) -> u64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let then = wall.saturating_sub(self.now().saturating_sub(at));
        u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
    }

    /// Where a wall clock time lies on this clock, as far as the wall clock can be believed now: never in the future.
    pub fn at_unix_ms(&self, unix_ms: u64) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = wall.saturating_sub(Duration::from_millis(unix_ms));
        self.now().saturating_sub(age)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
