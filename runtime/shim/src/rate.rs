//! How much output a log takes: so many bytes a second on average, a second's worth at once.

use std::time::Instant;

/// A bucket that fills by itself.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u64,
    left: u64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        Self { per_second, left: per_second, at: now }
    }

    /// Takes `bytes` out, if they are there. One piece larger than the bucket passes when it is full, so that nothing is stuck for ever.
    pub(crate) fn allows(&mut self, bytes: usize, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.at).as_nanos().saturating_mul(u128::from(self.per_second)) / 1_000_000_000;
        if filled > 0 {
            self.left = self.left.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX)).min(self.per_second);
            self.at = now;
        }
        let bytes = bytes as u64;
        let passes = bytes <= self.left || self.left == self.per_second;
        if passes {
            self.left = self.left.saturating_sub(bytes);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_the_average_does() {
        let start = Instant::now();
        let mut rate = Rate::new(1000, start);
        assert!(rate.allows(600, start) && rate.allows(400, start) && !rate.allows(1, start));
        let passed = (1..=1000).filter(|step| rate.allows(10, start + Duration::from_millis(step * 10))).count();
        assert_eq!(passed, 1000, "ten bytes in ten milliseconds are the average");
        assert!(!rate.allows(500, start + Duration::from_millis(10_100)));
        assert!(rate.allows(5_000, start + Duration::from_mins(1)), "a full bucket lets one large piece pass");
        assert!(!rate.allows(1, start + Duration::from_mins(1)));
    }
}
