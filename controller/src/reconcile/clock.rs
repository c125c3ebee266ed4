//! Time for plans: the machine's uptime, so that a clock that is set moves no timer (trust rule Q8).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landfall_runtime::uptime_ms;
use landfall_store::BootTime;

/// Before the server's start there was time too: containers may be older than the server.
const PAST: Duration = Duration::from_hours(365 * 24);

/// A monotonic clock whose zero lies a year before it was made.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// Which boot of the machine this is. `None` = it does not say.
    boot: Option<String>,
}

impl Clock {
    /// Starts now.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self { started: Instant::now(), boot: boot.map(|boot| boot.trim().to_owned()) }
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
        let then = (wall + at).saturating_sub(self.now());
        u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
    }

    /// Where a wall clock time lies on this clock, as far as the wall clock can be believed now: never in the future.
    pub fn at_unix_ms(&self, unix_ms: u64) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = wall.saturating_sub(Duration::from_millis(unix_ms));
        self.now().saturating_sub(age)
    }

    /// Where a time lies on this clock that was noted as the uptime then, or (0 = it was not) by the wall clock.
    pub fn at(&self, uptime: u64, unix_ms: u64) -> Duration {
        match uptime {
            0 => self.at_unix_ms(unix_ms),
            then => self.now().saturating_sub(Duration::from_millis(uptime_ms().saturating_sub(then))),
        }
    }

    /// A time on this clock as the uptime then, to be understood as long as the machine runs.
    pub fn boot_time(&self, at: Duration) -> Option<BootTime> {
        let age = u64::try_from(self.now().saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
        Some(BootTime { boot: self.boot.clone()?, uptime_ms: uptime_ms().checked_sub(age).filter(|uptime| *uptime > 0)? })
    }

    /// Where a time lies on this clock that was noted as uptime. `None` = the machine was booted since.
    pub fn at_boot_time(&self, time: &BootTime) -> Option<Duration> {
        (self.boot.as_ref() == Some(&time.boot)).then(|| self.at(time.uptime_ms, 0))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
